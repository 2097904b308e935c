//! What the commands about running servers have in common: finding one by its name.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::context::Context;
use super::exit::{Exit, Failure};
use crate::diagnostic::{Code, Diagnostic};
use crate::httpd::{
    ConfigTest, ConfigTestError, Instance, LogTail, ProcessId, Record, Registry, RegistryError, Stat, State,
};
use crate::render::{WriteOptions, ensure_ours};

/// How often a server without a log is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The registry of the calling user.
pub(super) fn registry(context: &Context<'_>) -> Registry {
    Registry::of_user(context.environment.get_os("XDG_RUNTIME_DIR").map(Path::new))
}

/// An error of the registry.
pub(super) fn failure(error: &RegistryError) -> Failure {
    let diagnostic = Diagnostic::error(Code::Instance, error.to_string());
    match error {
        RegistryError::Running { .. } => Failure::new(
            Exit::Environment,
            diagnostic.help("give this one another name with `--name`, or stop the other one with `confgen stop NAME`"),
        ),
        RegistryError::Unknown { .. } => Failure::new(
            Exit::Differs,
            diagnostic.help("`confgen status` lists the servers that `confgen start` started"),
        ),
        RegistryError::Name(_) => Failure::new(Exit::Spec, diagnostic),
        _ => Failure::new(Exit::Environment, diagnostic),
    }
}

/// The running server of a name, or the only one if none is named. A record whose server has ended is removed, and said so.
pub(super) fn running(context: &Context<'_>, name: Option<&str>) -> Result<(Registry, Record, Instance), Failure> {
    let registry = registry(context);
    let (record, state) = match name {
        Some(name) => registry.find(name).map_err(|error| failure(&error))?,
        None => only(&registry)?,
    };
    match state {
        State::Running(instance) => {
            let log = record.error_log.clone();
            Ok((registry, record, instance.with_error_log(log)))
        }
        State::Ended(why) => {
            // One that cannot be removed is told of again the next time.
            let _ = registry.forget(&record);
            let diagnostic =
                Diagnostic::error(Code::Instance, format!("the server {} does not run: {why}", record.name));
            Err(Failure::new(Exit::Differs, diagnostic.note("its record is removed")))
        }
    }
}

fn only(registry: &Registry) -> Result<(Record, State), Failure> {
    let mut all = registry.all().map_err(|error| failure(&error))?;
    if all.iter().any(|(_, state)| matches!(state, State::Running(_))) {
        all.retain(|(_, state)| matches!(state, State::Running(_)));
    }
    let names: Vec<String> = all.iter().map(|(record, _)| record.name.clone()).collect();
    match all.pop() {
        None => Err(Failure::new(Exit::Differs, Diagnostic::error(Code::Instance, "no server is running"))),
        Some(one) if all.is_empty() => Ok(one),
        Some(_) => {
            let diagnostic = Diagnostic::error(Code::Instance, "several servers are running");
            Err(Failure::new(Exit::Spec, diagnostic.help(format!("name one of them: {}", names.join(", ")))))
        }
    }
}

/// The directory of a server to come: one that is confgen's to write to, and that no running server uses.
pub(super) fn free_root(folder: &Path) -> Result<PathBuf, Failure> {
    let folder = std::path::absolute(folder).map_err(|error| Failure::io("use", folder, &error))?;
    ensure_ours(&folder, &WriteOptions::default())
        .map_err(|diagnostics| Failure { exit: Exit::Environment, diagnostics })?;
    match Instance::serving_from(&folder) {
        None => Ok(folder),
        Some(pid) => {
            let message = format!("{} is in use by a running server (pid {pid})", folder.display());
            let help = "stop that server, or name another directory with `--server-root`";
            Err(Failure::new(Exit::Environment, Diagnostic::error(Code::InUse, message).help(help)))
        }
    }
}

/// Lets httpd read its configuration before it is asked to take it over: with a broken one it would end.
pub(super) fn ensure_sound(record: &Record) -> Result<(), Failure> {
    let test = ConfigTest {
        binary: &record.binary,
        root: &record.identity.root,
        config: &record.config,
        environment: &record.environment,
    };
    match test.run() {
        Ok(_) => Ok(()),
        Err(ConfigTestError::Refused { complaints, .. }) => {
            let told = |complaint: &crate::httpd::Complaint| {
                let place = complaint
                    .file
                    .as_ref()
                    .zip(complaint.line)
                    .map(|(file, line)| format!("{}:{line}: ", file.display()))
                    .unwrap_or_default();
                Diagnostic::error(Code::HttpdRefused, format!("{place}{}", complaint.message))
                    .note(format!("the server {} goes on as it was", record.name))
            };
            Err(Failure { exit: Exit::Refused, diagnostics: complaints.iter().map(told).collect() })
        }
        Err(error) => Err(Failure::new(Exit::Environment, Diagnostic::error(Code::NoHttpd, error.to_string()))),
    }
}

/// Sends the signal to read the configuration again, and waits until the server says that it goes on.
pub(super) fn reload(
    record: &Record,
    instance: &Instance,
    limit: Duration,
    signal: impl FnOnce(&Instance) -> std::io::Result<()>,
) -> Result<(), Failure> {
    let failed = |message: String| Failure::new(Exit::Environment, Diagnostic::error(Code::Start, message));
    let tail = record.error_log.as_deref().map(LogTail::from_end);
    let before: Vec<ProcessId> = instance.children().iter().map(Stat::id).collect();
    signal(instance).map_err(|error| failed(format!("cannot signal the server {}: {error}", record.name)))?;
    let Some(mut tail) = tail else {
        // Without a log to read, children that were not there before show that it goes on.
        let deadline = Instant::now() + limit;
        let goes_on = || instance.children().iter().any(|stat| !before.contains(&stat.id()));
        while !goes_on() {
            if !instance.is_alive() {
                return Err(failed(format!("the server {} ended", record.name)));
            }
            if Instant::now() >= deadline {
                return Err(failed(format!("the server {} has not resumed within {limit:?}", record.name)));
            }
            std::thread::sleep(LOOK);
        }
        return Ok(());
    };
    let (resumed, lines) = tail
        .wait_for(limit, |line| line.message.contains("resuming normal operations"))
        .map_err(|error| failed(error.to_string()))?;
    if resumed {
        return Ok(());
    }
    let shown: Vec<&str> = lines.iter().filter(|line| line.is_fault()).map(|line| line.message.as_str()).collect();
    let what = if instance.is_alive() { format!("has not resumed within {limit:?}") } else { "ended".to_owned() };
    Err(failed(format!(
        "the server {} {what}{}{}",
        record.name,
        if shown.is_empty() { "" } else { ": " },
        shown.join("; ")
    )))
}
