//! What processes are doing, for the report on something that took too long.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use confgen::httpd::{Instance, LogLine, LogTail, Signal, Stat, process};

use super::outcome::Failure;
use crate::scenario::schema::LogFile;
use crate::steps::wire::Limit;
use crate::steps::{Stage, exec};

/// The longest time that looking may take, for all processes together.
const WHOLE: Duration = Duration::from_secs(10);

/// The longest time for one process.
const EACH: Duration = Duration::from_secs(4);

/// How long processes may take to log their stacks.
const TELLING: Duration = Duration::from_secs(2);

/// How the lines about stacks begin, and the last one of a process.
const STACK_LINES: &[&str] = &["Thread ", "called from "];
const LAST_LINE: &str = "These are all Python threads of daemon process";

/// How many processes are looked at.
const MOST_PROCESSES: usize = 6;

/// The state of a process that a signal has stopped.
const STOPPED: char = 'T';

/// How many lines of a debugger's output are kept per process.
const MOST_LINES: usize = 120;

/// What a server's processes are doing.
#[derive(Debug, Default)]
pub(super) struct Stacks {
    python: Vec<String>,
    native: Vec<String>,
}

impl Stacks {
    /// Adds them to the failure that they explain.
    pub(super) fn explain(self, failure: &mut Failure) {
        failure.notes.extend(self.python);
        failure.native.extend(self.native);
    }
}

/// What a server's processes are doing.
///
/// Our own daemon processes log what they serve and where their Python code is when they are asked to. For others py-spy is asked.
pub(super) fn dump(server: &Instance, stage: &Stage) -> Stacks {
    let daemons: Vec<Stat> = server.daemons().into_iter().map(|daemon| daemon.stat).collect();
    let (own, others): (Vec<Stat>, Vec<Stat>) =
        daemons.iter().filter(|stat| !stat.is_zombie()).cloned().partition(|stat| shows_stacks(stat.pid));
    let mut python = told_by(&own, stage.log_path(LogFile::Error));
    let mut processes = daemons;
    processes.extend(server.children());
    processes.extend(process::stat(server.pid()));
    processes.retain(|stat| !stat.is_zombie());
    let end = Instant::now() + WHOLE;
    let beside = others.into_iter().chain(server.children()).filter(|stat| !stat.is_zombie());
    for stat in beside.take(MOST_PROCESSES) {
        let Some(code) = python_code(stage.py_spy(), &stat, end) else { continue };
        // What keeps it from one process keeps it from the others.
        if !python.contains(&code) {
            python.push(code);
        }
    }
    let mut lines = Vec::new();
    for stat in processes.iter().take(MOST_PROCESSES) {
        lines.push(format!(
            "process {} ({}), state {}, {} threads",
            stat.pid,
            process::title(stat.pid).unwrap_or_else(|| stat.name.clone()),
            stat.state,
            stat.threads
        ));
        lines.extend(kernel(stat.pid));
        lines.extend(native_code("gdb", stat, end));
    }
    if processes.len() > MOST_PROCESSES {
        lines.push(format!("and {} more processes", processes.len() - MOST_PROCESSES));
    }
    Stacks { python, native: lines }
}

/// Whether a process is a daemon process of our own, which logs its stacks on SIGQUIT. Others would end.
fn shows_stacks(pid: u32) -> bool {
    let program = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    program.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"wsgi-daemon-"))
}

/// What processes log about themselves.
fn told_by(processes: &[Stat], error_log: &Path) -> Vec<String> {
    let mut log = LogTail::from_start(error_log);
    log.skip_to(fs::metadata(error_log).map_or(0, |metadata| metadata.len()));
    let asked: Vec<u32> = processes
        .iter()
        .filter(|stat| process::Handle::open(stat.pid).and_then(|handle| handle.signal(Signal::SIGQUIT)).is_ok())
        .map(|stat| stat.pid)
        .collect();
    let mut lines: Vec<LogLine> = Vec::new();
    let ended = |lines: &[LogLine], pid: u32| {
        lines.iter().any(|line| line.pid == Some(pid) && line.message.starts_with(LAST_LINE))
    };
    let end = Instant::now() + TELLING;
    while !asked.iter().all(|pid| ended(&lines, *pid)) && Instant::now() < end {
        match log.wait_for(end.saturating_duration_since(Instant::now()), |line| line.message.starts_with(LAST_LINE)) {
            Ok((_, more)) => lines.extend(more),
            Err(_) => break,
        }
    }
    let mut told = Vec::new();
    for pid in asked {
        let own = lines.iter().filter(|line| line.pid == Some(pid));
        let own = own.filter(|line| STACK_LINES.iter().any(|start| line.message.starts_with(start)));
        let mut code: Vec<String> = vec![format!("Python code of process {pid}:")];
        code.extend(own.map(|line| format!("  {}", line.message)));
        if !ended(&lines, pid) {
            code.push("  it did not say where its Python code is: C code may keep Python's lock, or its log leaves out notices".to_owned());
        }
        told.push(code.join("\n"));
    }
    told
}

/// Lets a process go on that a debugger may have left stopped when it was killed while it attached itself.
fn resume(stat: &Stat) {
    if stat.state != STOPPED
        && let Ok(handle) = process::Handle::open(stat.pid)
        && handle.id() == stat.id()
    {
        // One that has ended meanwhile needs nothing.
        let _ = handle.signal(Signal::SIGCONT);
    }
}

/// What the kernel says of each thread: where it sleeps, and in which system call.
fn kernel(pid: u32) -> Vec<String> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut lines = Vec::new();
    for thread in threads.flatten() {
        let read = |name: &str| {
            fs::read_to_string(thread.path().join(name)).map(|text| text.trim().to_owned()).unwrap_or_default()
        };
        let call = read("syscall");
        let number = call.split(' ').next().unwrap_or_default().to_owned();
        lines.push(format!(
            "  thread {} ({}): waits in {}, system call {number}",
            thread.file_name().to_string_lossy(),
            read("comm"),
            read("wchan")
        ));
        lines.extend(read("stack").lines().map(|line| format!("    {line}")));
    }
    lines
}

/// The Python code of a process, or why it cannot be seen; nothing for a process that runs none.
fn python_code(py_spy: &Path, stat: &Stat, end: Instant) -> Option<String> {
    let told = match ask(py_spy, &["dump", "--full-filenames", "--pid"], stat, end) {
        Ok(told) => told,
        Err(error) => return Some(format!("no Python stacks: {error}")),
    };
    let mut code = vec![format!("Python code of process {}:", stat.pid)];
    let mut thread = None;
    for line in &told {
        if line.starts_with("Thread ") {
            thread = Some(line);
        } else if line.starts_with(' ') {
            // A thread without frames runs no Python code.
            code.extend(thread.take().map(|thread| format!("  {thread}")));
            code.push(line.clone());
        }
    }
    (code.len() > 1).then(|| code.join("\n"))
}

/// What a debugger shows of the native code of a process.
fn native_code(program: &str, stat: &Stat, end: Instant) -> Vec<String> {
    let arguments = ["-nx", "-batch", "-ex", "set pagination off", "-ex", "thread apply all backtrace 24", "-p"];
    match ask(Path::new(program), &arguments, stat, end) {
        Ok(told) => std::iter::once("  native stacks:".to_owned())
            .chain(told.iter().take(MOST_LINES).map(|line| format!("    {line}")))
            .collect(),
        Err(error) => vec![format!("  no native stacks: {error}")],
    }
}

/// What a program says of a process, whose pid is its last argument.
fn ask(program: &Path, arguments: &[&str], stat: &Stat, end: Instant) -> Result<Vec<String>, String> {
    let left = end.saturating_duration_since(Instant::now()).min(EACH);
    if left.is_zero() {
        return Err("no time left".to_owned());
    }
    let mut command = exec::command(&program.to_string_lossy());
    command.args(arguments).arg(stat.pid.to_string());
    let never = AtomicBool::new(false);
    let ended = exec::finish(command, None, Limit::new(Instant::now() + left, &never));
    if let Some(error) = ended.error {
        resume(stat);
        return Err(error);
    }
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    let told: Vec<String> = text
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with("[New LWP"))
        .map(str::to_owned)
        .collect();
    if told.is_empty() {
        let error = String::from_utf8_lossy(&ended.stderr).lines().next_back().unwrap_or("it said nothing").to_owned();
        return Err(format!("{}: {error}", program.display()));
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_tells_of_every_thread() {
        let lines = kernel(std::process::id());
        assert!(lines.iter().filter(|line| line.starts_with("  thread ")).count() >= 1, "{lines:?}");
    }

    #[test]
    fn a_debugger_that_is_not_there_is_named() {
        let own = process::stat(std::process::id()).unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        let code = python_code(Path::new("no-such-debugger"), &own, end).unwrap();
        assert!(code.starts_with("no Python stacks: cannot run no-such-debugger"), "{code}");
        let lines = native_code("no-such-debugger", &own, end);
        assert!(lines[0].starts_with("  no native stacks: cannot run no-such-debugger"), "{lines:?}");
    }
}
