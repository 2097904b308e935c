//! `WSGIDaemonProcess`.

use serde_json::Value;

use super::Importer;
use super::spell;

/// How the value of an option is spelled in a spec.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Float,
    Seconds,
    Milliseconds,
    Switch,
    /// A list with a separator.
    List(char),
}

use Kind::{Float, List, Milliseconds, Number, Seconds, Switch, Text};

/// Options, their keys and how their values are spelled.
const OPTIONS: &[(&str, &[&str], Kind)] = &[
    ("processes", &["processes"], Number),
    ("threads", &["threads"], Number),
    ("user", &["user"], Text),
    ("group", &["group"], Text),
    ("supplementary-groups", &["supplementary-groups"], List(',')),
    ("umask", &["umask"], Text),
    ("chroot", &["chroot"], Text),
    ("home", &["home"], Text),
    ("lang", &["lang"], Text),
    ("locale", &["locale"], Text),
    ("python", &["python"], Text),
    ("python-home", &["python-home"], Text),
    ("python-path", &["python-path"], List(':')),
    ("python-eggs", &["python-eggs"], Text),
    ("switch-interval", &["switch-interval"], Float),
    ("stack-size", &["stack-size"], Number),
    ("maximum-requests", &["recycle", "max-requests"], Number),
    ("restart-interval", &["recycle", "interval"], Seconds),
    ("startup-timeout", &["timeouts", "startup"], Seconds),
    ("shutdown-timeout", &["timeouts", "shutdown"], Seconds),
    ("deadlock-timeout", &["timeouts", "deadlock"], Seconds),
    ("inactivity-timeout", &["timeouts", "inactivity"], Seconds),
    ("request-timeout", &["timeouts", "request"], Seconds),
    ("interrupt-timeout", &["timeouts", "interrupt"], Seconds),
    ("graceful-timeout", &["timeouts", "graceful"], Seconds),
    ("handover-timeout", &["timeouts", "handover"], Seconds),
    ("eviction-timeout", &["timeouts", "eviction"], Seconds),
    ("connect-timeout", &["timeouts", "connect"], Seconds),
    ("socket-timeout", &["timeouts", "socket"], Seconds),
    ("queue-timeout", &["timeouts", "queue"], Seconds),
    ("listen-backlog", &["listen-backlog"], Number),
    ("display-name", &["display-name"], Text),
    ("send-buffer-size", &["send-buffer-size"], Number),
    ("receive-buffer-size", &["receive-buffer-size"], Number),
    ("header-buffer-size", &["header-buffer-size"], Number),
    ("response-buffer-size", &["response-buffer-size"], Number),
    ("response-socket-timeout", &["response-socket-timeout"], Seconds),
    ("response-flush-delay", &["response-flush-delay"], Milliseconds),
    ("socket-user", &["socket-user"], Text),
    ("script-user", &["script-user"], Text),
    ("script-group", &["script-group"], Text),
    ("cpu-time-limit", &["cpu-time-limit"], Seconds),
    ("cpu-priority", &["cpu-priority"], Number),
    ("memory-limit", &["memory-limit"], Number),
    ("virtual-memory-limit", &["virtual-memory-limit"], Number),
    ("server-metrics", &["server-metrics"], Switch),
    ("environment-file", &["environment-file"], Text),
    ("handover", &["handover"], Text),
    ("rolling", &["rolling"], Switch),
    ("fork-after-load", &["fork-after-load"], Switch),
];

fn spelled(kind: Kind, text: &str) -> Option<Value> {
    match kind {
        Text => Some(Value::from(text)),
        Number => spell::number(text),
        Float => text.parse::<f64>().ok().map(Value::from),
        Seconds => spell::seconds(text),
        Milliseconds => text.parse::<u64>().ok().map(|number| Value::from(format!("{number}ms"))),
        Switch => spell::switch(text),
        List(separator) => {
            let parts = text.split(separator).map(str::trim).filter(|part| !part.is_empty());
            Some(parts.map(Value::from).collect())
        }
    }
}

impl Importer<'_> {
    pub(super) fn daemons(&mut self) {
        let configuration = self.configuration;
        for daemon in &configuration.daemons {
            let name = spell::name(&daemon.name);
            if self.daemons.iter().any(|(known, _)| *known == daemon.name) {
                self.note(
                    Some(daemon.statement),
                    format!("the group `{}` is defined twice; the first one is taken", daemon.name),
                );
                self.take(daemon.statement);
                continue;
            }
            if name != daemon.name {
                self.note(Some(daemon.statement), format!("the group `{}` is called `{name}` now", daemon.name));
            }
            self.daemons.push((daemon.name.clone(), name.clone()));
            self.take(daemon.statement);
            self.draft.set(&["daemons", &name], Value::Object(serde_json::Map::new()));
            for option in &daemon.options {
                let value = option.value.as_deref().unwrap_or_default();
                if option.name == "setenv" {
                    match value.split_once('=') {
                        Some((variable, value)) => self.draft.set(&["daemons", &name, "env", variable], value),
                        None => self.note(
                            Some(daemon.statement),
                            format!("`setenv={value}` sets no variable, and is left out"),
                        ),
                    }
                    continue;
                }
                // One process and `processes=1` differ in `wsgi.multiprocess`, which no spec asks for.
                if option.name == "processes" && value == "1" {
                    self.note(Some(daemon.statement), "`processes=1` is left out: `wsgi.multiprocess` is False now");
                    continue;
                }
                let known = OPTIONS.iter().find(|(known, ..)| *known == option.name);
                let taken = known.and_then(|(_, key, kind)| Some((key, spelled(*kind, value)?)));
                match taken {
                    Some((key, value)) => {
                        let path: Vec<&str> = ["daemons", &name].into_iter().chain(key.iter().copied()).collect();
                        self.draft.set(&path, value);
                    }
                    None => {
                        let text = format!(
                            "the option `{}={value}` of group `{}` is not understood, and is left out",
                            option.name, daemon.name
                        );
                        self.note(Some(daemon.statement), text);
                    }
                }
            }
        }
    }

    /// The name of a group in the spec.
    pub(super) fn daemon_name(&self, group: &str) -> Option<String> {
        self.daemons.iter().find(|(known, _)| known == group).map(|(_, name)| name.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_the_module_has_a_key() {
        let known: Vec<&str> = OPTIONS.iter().map(|(name, ..)| *name).chain(["setenv"]).collect();
        for entry in crate::directives::all() {
            if entry.kind == crate::directives::Kind::DaemonOption {
                assert!(known.contains(&entry.name.as_str()), "{}", entry.name);
            }
        }
    }
}
