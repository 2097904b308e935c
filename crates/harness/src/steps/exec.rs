//! The exec step: the only place of the harness that runs programs other than httpd.

use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use confgen::httpd::{Handle, Leak, Signal, Stat, process};

use super::stage::Stage;
use super::wire::Limit;
use super::{Produced, bytes_value, json_value};
use crate::runner::outcome::FailureKind;
use crate::scenario::schema::{self, Exec};

/// How long the pipes of an ended program are read: a process that it left behind may hold them open.
const PIPES: Duration = Duration::from_millis(500);

/// The variable that every program of a cell has in its environment, with the cell's folder as its value. It finds the
/// processes that left their group and session.
const MARKER: &str = "HARNESS_CELL";

/// How long killed programs may take to disappear.
const KILLED: Duration = Duration::from_secs(5);

/// The programs that steps of a cell have started. What is still there when the cell is over gets killed.
#[derive(Debug)]
pub struct Leftovers {
    dir: PathBuf,
}

impl Leftovers {
    /// Of the cell with this folder.
    #[must_use]
    pub const fn of(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Kills the programs that are still there after a time and names them: `sleep 300 &` outlives its step, but not its
    /// cell. One that waits for the server's end leaves within that time.
    #[must_use]
    pub fn end(&self, grace: Duration) -> Vec<Leak> {
        let own = std::process::id();
        let ours = |stat: &Stat| {
            stat.pid != own
                && !stat.is_zombie()
                && process::environment(stat.pid, MARKER).is_some_and(|dir| Path::new(&dir) == self.dir)
        };
        let mut leaks: Vec<Leak> = Vec::new();
        let begin = Instant::now() + grace;
        let end = begin + KILLED;
        loop {
            // Once more after the kills: a process may have forked meanwhile.
            let left: Vec<Stat> = process::all().into_iter().filter(ours).collect();
            if left.is_empty() || Instant::now() >= end {
                return leaks;
            }
            if let Some(first) = left.first()
                && Instant::now() < begin
            {
                if let Ok(handle) = Handle::open(first.pid) {
                    handle.wait(begin.saturating_duration_since(Instant::now()));
                    process::reap(first.pid);
                }
                continue;
            }
            for stat in left {
                if leaks.iter().all(|leak| leak.pid != stat.pid) {
                    let command = process::command_line(stat.pid).unwrap_or_else(|| stat.name.clone());
                    leaks.push(Leak { pid: stat.pid, command });
                }
                if let Ok(handle) = Handle::open(stat.pid)
                    && handle.id() == stat.id()
                    && handle.signal(Signal::SIGKILL).is_ok()
                {
                    handle.wait(end.saturating_duration_since(Instant::now()));
                    // An orphan has become a child of this program.
                    process::reap(stat.pid);
                }
            }
        }
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        let _ = self.end(Duration::ZERO);
    }
}

/// What came of a program.
pub(crate) struct Ended {
    pub(crate) status: Option<ExitStatus>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
    pub(crate) error: Option<String>,
}

/// A command of any program.
#[expect(clippy::disallowed_methods, reason = "the owner of the programs that scenarios and stack dumps run")]
pub(crate) fn command(program: &str) -> Command {
    Command::new(program)
}

/// Runs a program and takes what it prints.
pub(super) fn run(step: &Exec, stage: &Stage, limit: Limit<'_>) -> Produced {
    let limit = step.timeout.map_or(limit, |timeout| limit.at_most(timeout.into()));
    let mut program = match &step.command {
        schema::Command::Shell(text) => {
            let mut shell = command("/bin/sh");
            shell.arg("-c").arg(text);
            shell
        }
        schema::Command::Program(words) => {
            let Some((name, arguments)) = words.split_first() else {
                return Produced::failed(FailureKind::Step, "there is no program to run".to_owned());
            };
            let mut program = command(name);
            program.args(arguments);
            program
        }
    };
    program
        .current_dir(step.cwd.as_ref().map_or_else(|| stage.dir().to_owned(), |folder| stage.path(folder)))
        .envs(&step.env)
        .env(MARKER, stage.dir());
    let ended = finish(program, step.stdin.as_deref(), limit);
    let mut produced = Produced::with([
        ("exit", ended.status.and_then(|status| status.code()).into()),
        ("signal", ended.status.and_then(|status| status.signal()).into()),
        ("stdout", bytes_value(&ended.stdout)),
        ("stderr", bytes_value(&ended.stderr)),
        ("json", json_value(&ended.stdout)),
    ]);
    if let Some(error) = ended.error {
        produced.fail(FailureKind::Step, error);
    } else if let Some(status) = ended.status
        && !status.success()
    {
        let mut text = format!("the program ended with {status}");
        if let Some(line) = String::from_utf8_lossy(&ended.stderr).lines().last() {
            text.push_str(": ");
            text.push_str(line);
        }
        produced.unless_checked("exit", FailureKind::Step, text);
    }
    produced
}

/// Runs a command to its end, or to the limit, in a process group of its own.
pub(crate) fn finish(mut program: Command, stdin: Option<&str>, limit: Limit<'_>) -> Ended {
    program
        .stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = match program.spawn() {
        Ok(child) => child,
        Err(error) => {
            let name = program.get_program().to_string_lossy().into_owned();
            return Ended {
                status: None,
                stdout: Vec::new(),
                stderr: Vec::new(),
                error: Some(format!("cannot run {name}: {error}")),
            };
        }
    };
    let group = child.id();
    if let (Some(text), Some(mut pipe)) = (stdin.map(str::to_owned), child.stdin.take()) {
        // In its own thread: a program that reads nothing must not block the step. Its end closes the pipe.
        std::thread::spawn(move || pipe.write_all(text.as_bytes()));
    }
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let (status, error) = wait(&mut child, limit);
    if error.is_some() {
        let _ = process::signal_group(group, Signal::SIGKILL);
        let _ = child.wait();
    }
    Ended { status, stdout: gather(&stdout), stderr: gather(&stderr), error }
}

fn wait(child: &mut Child, limit: Limit<'_>) -> (Option<ExitStatus>, Option<String>) {
    let handle = match Handle::open(child.id()) {
        Ok(handle) => handle,
        Err(error) => return (None, Some(error.to_string())),
    };
    loop {
        if handle.wait(limit.left().min(Duration::from_millis(100))) {
            return match child.wait() {
                Ok(status) => (Some(status), None),
                Err(error) => (None, Some(error.to_string())),
            };
        }
        if let Err(error) = limit.check() {
            return (None, Some(format!("the program {error} and was killed")));
        }
    }
}

/// Reads a pipe in a thread, piece by piece, so that what came is there even if the pipe never ends.
fn collect(pipe: Option<impl std::io::Read + Send + 'static>) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    if let Some(mut pipe) = pipe {
        std::thread::spawn(move || {
            let mut piece = vec![0; 64 * 1024];
            while let Ok(count) = pipe.read(&mut piece)
                && count > 0
                && sender.send(piece[..count].to_vec()).is_ok()
            {}
        });
    }
    receiver
}

fn gather(pieces: &mpsc::Receiver<Vec<u8>>) -> Vec<u8> {
    let end = Instant::now() + PIPES;
    let mut all = Vec::new();
    while let Ok(piece) = pieces.recv_timeout(end.saturating_duration_since(Instant::now())) {
        all.extend(piece);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn shell(text: &str, stdin: Option<&str>, time: Duration) -> Ended {
        let flag = AtomicBool::new(false);
        let mut program = command("/bin/sh");
        program.arg("-c").arg(text);
        finish(program, stdin, Limit::new(Instant::now() + time, &flag))
    }

    #[test]
    fn output_status_and_input() {
        let ended = shell("cat; echo err >&2; exit 3", Some("in"), Duration::from_secs(20));
        assert_eq!(
            (ended.status.and_then(|status| status.code()), ended.stdout.as_slice(), ended.stderr.as_slice()),
            (Some(3), b"in".as_slice(), b"err\n".as_slice())
        );
        assert_eq!(ended.error, None);
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed_with_its_children() {
        let started = Instant::now();
        let ended = shell("echo before; sleep 300 & sleep 300", None, Duration::from_millis(200));
        assert!(started.elapsed() < Duration::from_secs(20));
        assert_eq!(ended.error.as_deref(), Some("the program timed out and was killed"));
        assert_eq!(ended.stdout, b"before\n");
        let mut program = command("/nonexistent/program");
        program.arg("x");
        let flag = AtomicBool::new(false);
        let ended = finish(program, None, Limit::new(started, &flag));
        assert!(ended.error.unwrap().starts_with("cannot run /nonexistent/program"));
    }
}
