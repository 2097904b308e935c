//! Groups of daemon processes.

use super::options::{Opt, after_words};
use super::{Configuration, Statement};

/// A `WSGIDaemonProcess`.
#[derive(Clone, Debug)]
pub struct Daemon {
    /// The group's name.
    pub name: String,
    /// The index of its directive.
    pub statement: usize,
    /// The index of the host that it stands in.
    pub host: usize,
    /// Its options, in order.
    pub options: Vec<Opt>,
}

impl Daemon {
    /// An option by its name; of several the last one counts.
    #[must_use]
    pub fn option(&self, name: &str) -> Option<&Opt> {
        self.options.iter().rev().find(|option| option.name == name)
    }

    /// The value of an option.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.option(name)?.value.as_deref()
    }

    /// The value of an option that is a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        self.option(name)?.number()
    }

    /// The number of its processes.
    #[must_use]
    pub fn processes(&self) -> i64 {
        self.number("processes").unwrap_or(1)
    }

    /// The number of threads of each process.
    #[must_use]
    pub fn threads(&self) -> i64 {
        self.number("threads").unwrap_or(15)
    }
}

pub(super) fn of(configuration: &Configuration<'_>) -> Vec<Daemon> {
    let read = |index: &usize| {
        let statement: &Statement<'_> = &configuration.statements[*index];
        let (words, options) = after_words(&statement.node.arguments, 1);
        Some(Daemon { name: words.into_iter().next()?, statement: *index, host: statement.host, options })
    };
    configuration.indices("WSGIDaemonProcess").iter().filter_map(read).collect()
}

impl<'r> Configuration<'r> {
    /// The group of a name.
    #[must_use]
    pub fn daemon(&self, name: &str) -> Option<&Daemon> {
        self.daemons.iter().find(|daemon| daemon.name == name)
    }

    /// The directive of a group.
    #[must_use]
    pub fn daemon_statement(&self, daemon: &Daemon) -> &Statement<'r> {
        &self.statements[daemon.statement]
    }

    /// Whether requests of a host may be passed to a group: groups of another server's name are closed to it.
    #[must_use]
    pub fn reaches(&self, host: usize, daemon: &Daemon) -> bool {
        if daemon.host == 0 || daemon.host == host {
            return true;
        }
        let name = |host: usize| self.hosts[host].name.as_deref().unwrap_or_default().to_ascii_lowercase();
        name(host) == name(daemon.host)
    }
}
