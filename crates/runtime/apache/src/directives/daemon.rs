//! Daemon process groups: `WSGIDaemonProcess`, what loads scripts into them, and their sockets.

use crate::config::ImportScript;
use crate::directives::daemon_group::DaemonGroup;
use crate::directives::spec::{Arity, Command, Directive, Fallback, Parse, Place, Refusal};
use crate::directives::words::{nearest, next_option, next_word};
use crate::directives::{daemon_options, daemon_reading};
use crate::host::{Target, log, server_relative};
use crate::tokens::Token;

pub(crate) const DAEMON_PROCESS: Directive = Directive {
    syntax: "name [option=value …]",
    options: daemon_options::NAMES,
    parse: Parse::Words(daemon_process),
    ..Directive::new(
        c"WSGIDaemonProcess",
        Arity::OneOrMore,
        Place::Servers,
        c"Specify details of daemon processes to start.",
    )
};

pub(crate) const IMPORT_SCRIPT: Directive = Directive {
    syntax: "path process-group=name application-group=name",
    options: &["process-group", "application-group"],
    parse: Parse::Words(import_script),
    ..Directive::new(c"WSGIImportScript", Arity::OneOrMore, Place::Servers, c"Location of WSGI import script.")
};

pub(crate) const SOCKET_PREFIX: Directive = Directive {
    syntax: "path",
    fallback: Fallback::Text("wsgi in the runtime directory"),
    parse: Parse::Words(|command, value| {
        let path = server_relative(command.pool(), command.keep(value))
            .ok_or_else(|| Refusal::new(format!("Invalid WSGISocketPrefix '{}'.", String::from_utf8_lossy(value))))?;
        command.registry().draft().borrow_mut().main.socket_prefix = Some(path.to_bytes().to_vec());
        Ok(())
    }),
    ..Directive::new(c"WSGISocketPrefix", Arity::One, Place::Main, c"Path prefix for the daemon process sockets.")
};

/// Accepted without an effect: each process keeps one listener through all generations.
pub(crate) const SOCKET_ROTATION: Directive = Directive {
    fallback: Fallback::Flag(true),
    parse: Parse::Words(|command, value| {
        command.flag(value)?;
        without_meaning(command);
        Ok(())
    }),
    ..Directive::new(
        c"WSGISocketRotation",
        Arity::Flag,
        Place::Main,
        c"Enable/Disable rotation of daemon process sockets.",
    )
};

const MUTEXES: &[&str] = &["default", "flock", "fcntl", "sysvsem", "posixsem", "pthread"];

/// Accepted without an effect: no two processes accept from one listener under a lock.
pub(crate) const ACCEPT_MUTEX: Directive = Directive {
    syntax: "default|flock|fcntl|sysvsem|posixsem|pthread",
    fallback: Fallback::Text("default"),
    parse: Parse::Words(|command, value| {
        let value = String::from_utf8_lossy(value);
        if !MUTEXES.iter().any(|known| known.eq_ignore_ascii_case(&value)) {
            return Err(Refusal::new(format!(
                "Accept mutex lock mechanism '{value}' is invalid. Valid accept mutex mechanisms for this platform \
                 are: {}.",
                MUTEXES.join(", ")
            )));
        }
        without_meaning(command);
        Ok(())
    }),
    ..Directive::new(c"WSGIAcceptMutex", Arity::One, Place::Main, c"Set accept mutex type for daemon processes.")
};

fn without_meaning(command: &Command) {
    let name = command.directive().plain_name();
    log::info(Target::Process, format_args!("{name} is accepted and has no effect in this module."));
}

fn daemon_process(command: &mut Command, line: &[u8]) -> Result<(), Refusal> {
    let mut rest = line;
    let name = next_word(&mut rest);
    if name.is_empty() {
        return Err(Refusal::new("Name of WSGI daemon process not supplied."));
    }
    command.check_for_options(&name, || false)?;
    let registry = command.registry();
    if registry.draft().borrow().groups.iter().any(|group| group.name == name) {
        let name = String::from_utf8_lossy(&name);
        return Err(Refusal::new(format!(
            "Name duplicates previous WSGI daemon definition. '{name}' is defined above."
        )));
    }
    let group = daemon_reading::read(command.pool(), command.server(), name, rest)?;
    registry.draft().borrow_mut().groups.push(group);
    Ok(())
}

fn import_script(command: &mut Command, line: &[u8]) -> Result<(), Refusal> {
    const INVALID: &str = "Invalid option to WSGI import script definition.";
    let mut rest = line;
    let script = next_word(&mut rest);
    if script.is_empty() {
        return Err(Refusal::new("Location of import script not supplied."));
    }
    let script = command.script_path(&script)?;
    let (mut process_group, mut application_group) = (None, None);
    while !rest.is_empty() {
        let known = IMPORT_SCRIPT.options.iter().copied();
        let (name, value) = next_option(&mut rest).map_err(|word| Refusal::option(INVALID, &word, known.clone()))?;
        match name.as_str() {
            "process-group" if value.is_empty() => {
                return Err(Refusal::new("Invalid name for WSGI process group."));
            }
            "application-group" if value.is_empty() => {
                return Err(Refusal::new("Invalid name for WSGI application group."));
            }
            "process-group" => process_group = Some(value),
            "application-group" => application_group = Some(value),
            other => return Err(Refusal::option(INVALID, other, known)),
        }
    }
    let application_group = application_group.ok_or(Refusal::new("Name of WSGI application group required."))?;
    let process_group = process_group.ok_or(Refusal::new("Name of WSGI process group required."))?;
    // Only %{GLOBAL} counts here; everything else is a name.
    let name = |value: Vec<u8>| if Token::parse(&value) == Token::Global { Vec::new() } else { value };
    let (process_group, application_group) = (name(process_group), name(application_group));
    check_access(command, &process_group)?;
    let script = script.to_bytes().to_vec();
    let import = ImportScript { script, process_group, application_group };
    command.registry().draft().borrow_mut().imports.push(import);
    Ok(())
}

/// A group that is named where the configuration is read must be there already, and usable from this server.
pub(crate) fn check_access(command: &Command, process_group: &[u8]) -> Result<(), Refusal> {
    if process_group.is_empty() {
        return Ok(());
    }
    let draft = command.registry().draft().borrow();
    let Some(group) = draft.groups.iter().find(|group| group.name == process_group) else {
        let wanted = String::from_utf8_lossy(process_group);
        let known: Vec<_> = draft.groups.iter().map(|group| String::from_utf8_lossy(&group.name)).collect();
        let hint = nearest(&wanted, known.iter().map(|name| &**name)).map(|near| format!("; did you mean '{near}'?"));
        return Err(Refusal::new(format!(
            "WSGI process group not yet configured. No WSGIDaemonProcess above this line defines '{wanted}'{}",
            hint.unwrap_or_default()
        )));
    };
    match access(group, command.server()) {
        Access::Allowed => Ok(()),
        Access::Unknowable => Err(Refusal::new("WSGI process group not matchable.")),
        Access::Refused => Err(Refusal::new("WSGI process group not accessible.")),
    }
}

/// Whether a server may use a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It may.
    Allowed,
    /// The group belongs to another virtual host.
    Refused,
    /// One of the two virtual hosts has no name to compare.
    Unknowable,
}

/// A group of the main server is for everybody; a virtual host's is for that one and those of the same name.
pub(crate) fn access(group: &DaemonGroup, server: crate::host::Server<'_>) -> Access {
    if !group.server.is_virtual() || group.server == server {
        return Access::Allowed;
    }
    match (group.server.name(), server.name()) {
        (left, right) if left == right => Access::Allowed,
        (Some(_), Some(_)) => Access::Refused,
        _ => Access::Unknowable,
    }
}
