//! What the code of an application is seen to do and its place in the server does not go with: processes that it forks, and ports and
//! locks that it takes when it is imported. The code is not run; what it does in roundabout ways is not seen.

use std::sync::LazyLock;

use regex_lite::Regex;

use super::builder::Builder;
use super::python;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::spec::{App, Handover, Interpreter, Name};

/// Calls that fork the process, wherever they stand.
static FORKS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"\b(os\.fork(pty)?\(|multiprocessing\.(Process|Pool|Manager)\(|ProcessPoolExecutor\(|preexec_fn\s*=|from multiprocessing(\.pool)? import [^#\n]*\b(Process|Pool)\b)",
    )
    .expect("a fixed pattern")
});

/// Calls that take what only one process can have, in code that runs when the module is imported: it is not indented.
static TAKES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?m)^([A-Za-z_][^#\n]*)?(\.bind\(|\.bind_and_activate\(|fcntl\.(flock|lockf)\(|FileStorage\(|FileLock\(|\.start_http_server\()|^start_http_server\(")
        .expect("a fixed pattern")
});

pub(super) fn check(builder: &mut Builder<'_>) {
    let spec = builder.original;
    for (name, site) in &spec.sites {
        for (path, app) in &site.apps {
            let Some(code) = python::code_of(builder, app) else { continue };
            let key = Path::of(["sites", name.as_str(), "apps", path.as_str()]);
            // The method spawn starts a new interpreter in place of a fork.
            if let Some(call) = FORKS.find(&code).filter(|_| !code.contains("spawn")) {
                check_fork(builder, app, &key, call.as_str());
            }
            if let Some(call) = TAKES.find(&code) {
                check_handover(builder, app, &key, call.as_str());
            }
        }
    }
}

/// CPython cannot fork in a sub-interpreter, nor in the main one of a process that has others.
fn check_fork(builder: &mut Builder<'_>, app: &App, key: &Path, call: &str) {
    let spec = builder.original;
    let beside = spec
        .sites
        .values()
        .flat_map(|site| site.apps.values())
        .any(|other| other.daemon == app.daemon && other.interpreter != Interpreter::Main);
    if app.interpreter == Interpreter::Main && !beside {
        return;
    }
    let why = match app.interpreter {
        Interpreter::Main => "another application has an interpreter of its own in the same processes",
        _ => "it runs in an interpreter of its own",
    };
    let message = format!("the application starts processes by fork (`{}`), which is refused: {why}", shown(call));
    let diagnostic = Diagnostic::warning(Code::ForkRefused, message);
    let help = "give it a daemon of its own with `interpreter: main`, or start programs with subprocess";
    builder.report(key, "", diagnostic.help(help));
}

/// While one process takes over from another, both have loaded the application.
fn check_handover(builder: &mut Builder<'_>, app: &App, key: &Path, call: &str) {
    let spec = builder.original;
    let handover = |name: &Name| spec.daemons.get(name).and_then(|daemon| daemon.handover);
    let (why, help) = match &app.daemon {
        Some(name) if handover(name) == Some(Handover::Sequential) => return,
        Some(name) => (
            "at a graceful restart the next process loads it while the one before still has it".to_owned(),
            format!("set `daemons.{name}.handover: sequential`, and `processes: 1` if only one process may have it"),
        ),
        None => (
            "every one of Apache's processes loads it, at a graceful restart beside those before".to_owned(),
            "give it a daemon with `processes: 1` and `handover: sequential`".to_owned(),
        ),
    };
    let message = format!("the application takes a port or a lock when it is imported (`{}`): {why}", shown(call));
    builder.report(key, "", Diagnostic::warning(Code::TakenAtImport, message).help(help));
}

/// A call as it stands in a message.
fn shown(call: &str) -> String {
    const LONGEST: usize = 60;
    let line = call.lines().next().unwrap_or_default().trim();
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_in_code_and_what_only_looks_like_them() {
        for code in [
            "import os\nos.fork()",
            "with ProcessPoolExecutor(2) as pool:",
            "p = multiprocessing.Pool()",
            "Popen(x, preexec_fn=f)",
        ] {
            assert!(FORKS.is_match(code), "{code}");
        }
        for code in [
            "# nothing",
            "os.forked()",
            "ThreadPoolExecutor(2)",
            "from multiprocessing import cpu_count",
            "from multiprocessing.pool import ThreadPool",
            "subprocess.run(['x'])",
        ] {
            assert!(!FORKS.is_match(code), "{code}");
        }
        for code in [
            "s.bind((\"\", 1))",
            "import x\nfcntl.flock(f, 2)",
            "db = FileStorage('Data.fs')",
            "start_http_server(8000)",
        ] {
            assert!(TAKES.is_match(code), "{code}");
        }
        for code in ["def f():\n    s.bind(1)", "# s.bind(1)", "x = 1  # s.bind(1)"] {
            assert!(!TAKES.is_match(code), "{code}");
        }
        assert_eq!(shown(&"x".repeat(99)), format!("{}…", "x".repeat(60)));
    }
}
