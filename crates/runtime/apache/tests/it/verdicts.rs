//! Right and wrong configurations of every directive and option, and what mod_wsgi says to them.
//!
//! `verdicts.txt` holds a configuration per line (`⏎` between its lines) and, indented below it, what C mod_wsgi 6.1
//! says: `OK` or the text of the refusal. A line that begins with `!` gives what ours says where it differs on purpose,
//! with the reason behind `#`. Where the C module is installed (`make peer`), what the file says of it is checked too.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::httpd::{Folder, check};
use crate::server::example;

const FILE: &str = include_str!("verdicts.txt");

/// One configuration and what is said to it.
struct Case {
    configuration: String,
    theirs: String,
    ours: Option<String>,
}

fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for line in FILE.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let Some(verdict) = line.strip_prefix("    ") else {
            let configuration = line.replace('⏎', "\n");
            cases.push(Case { configuration, theirs: String::new(), ours: None });
            continue;
        };
        let case = cases.last_mut().expect("a verdict stands below its configuration");
        match verdict.strip_prefix("! ") {
            Some(ours) => case.ours = Some(ours.split(" # ").next().unwrap_or_default().trim().to_owned()),
            None => verdict.clone_into(&mut case.theirs),
        }
    }
    cases
}

/// The C module, where `make peer` has installed it; a test that needs it says that it was skipped.
#[expect(clippy::print_stderr, reason = "how a test tells that it was skipped")]
pub(crate) fn peer() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/peer/mod_wsgi.so");
    if !path.exists() {
        eprintln!("skipped: C mod_wsgi is not installed (make peer)");
        return None;
    }
    Some(path)
}

/// What differs by machine, or is Apache's own help, is left out.
fn plain(verdict: &str, folder: &Path) -> String {
    let text = verdict.replace(&folder.display().to_string(), "ROOT");
    // Apache prints its own name and code before a user that is not there.
    let text = match text.find("bad user name").or_else(|| text.find("bad group name")) {
        Some(start) => text[start..].to_owned(),
        None => text,
    };
    // The program's name is a matter of the installation, a record's time and process one of the moment.
    let text = match text.find("Syntax error on line").or_else(|| text.find("WSGI09")) {
        Some(start) => text[start..].to_owned(),
        None => text,
    };
    match text.split_once(" takes one argument, ") {
        Some((name, _)) => format!("{name} takes one argument"),
        None => text,
    }
}

fn is_root() -> bool {
    // SAFETY: a plain call.
    unsafe { libc::geteuid() == 0 }
}

/// What only root is told.
fn needs_root(configuration: &str) -> bool {
    ["user=", "group=#", "groups=", "chroot="].iter().any(|option| configuration.contains(option))
}

/// Runs `judge` for all cases on some threads and collects what it finds wrong.
fn all(judge: impl Fn(&Case, &Folder) -> Option<String> + Sync) -> Vec<String> {
    let cases = cases();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(number) else { return };
                    if !is_root() && needs_root(&case.configuration) {
                        continue;
                    }
                    let folder = Folder::new(&format!("verdict-{number}"));
                    if let Some(text) = judge(case, &folder) {
                        wrong.lock().expect("no judge panics").push(format!("{}\n{text}\n", case.configuration));
                    }
                }
            });
        }
    });
    assert!(cases.len() > 500, "the file has its cases");
    wrong.into_inner().expect("no judge panics")
}

// Covers: rule:config/flags, rule:config/option-lists, rule:config/option-unknown, rule:config/integers-checked,
// rule:config/context-server-only, rule:config/directives-removed, rule:config/interpreter-options-errors,
// rule:config/interpreter-options-contents, rule:mapping/alias-errors, rule:mapping/handler-script-errors,
// rule:mapping/alias-preload-order, rule:mapping/alias-match-preload, rule:mapping/alias-match-bad-regex,
// rule:daemon/options-checked, rule:daemon/buffer-sizes-checked, rule:daemon/script-user-group-exclusive,
// rule:daemon/name-needed, rule:daemon/user-unknown, rule:auth/errors, rule:telemetry/service-target,
// rule:telemetry/service-interval, rule:telemetry/options-flags, rule:telemetry/slow-threshold,
// rule:mapping/import-errors, rule:config/context-directory-only, rule:config/directives-deprecated,
// directive:WSGIGroupAuthoritative
#[test]
fn every_verdict_is_that_of_mod_wsgi_or_differs_on_purpose() {
    let home = Folder::new("verdicts-module");
    let files = [
        (crate::httpd::module(), "mod_wsgi_rs.so"),
        (example("libecho_engine.so"), "wsgi_python-3.11.so"),
        (example("probe_daemon"), "wsgi-daemon-3.11"),
    ];
    for (from, to) in files {
        std::fs::copy(&from, home.path().join(to)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    }
    let module = home.path().join("mod_wsgi_rs.so");
    let wrong = all(|case, folder| {
        let given = plain(&check(folder, &module, &case.configuration), folder.path());
        let wanted = case.ours.as_ref().unwrap_or(&case.theirs);
        // A directive or option that is not supported yet says so; once it is, its line counts.
        let right = if wanted == "OK" { given == "OK" } else { given.starts_with(wanted.as_str()) };
        let postponed =
            given.contains("is known, not supported yet.") || given.contains("that is known, not supported");
        (!right && !postponed).then(|| format!("    ours:   {given}\n    wanted: {wanted}"))
    });
    assert!(wrong.is_empty(), "{} verdicts are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn the_file_says_what_the_c_module_says() {
    let Some(peer) = peer() else {
        return;
    };
    let wrong = all(|case, folder| {
        let given = plain(&check(folder, &peer, &case.configuration), folder.path());
        (given != case.theirs).then(|| format!("    mod_wsgi: {given}\n    the file: {}", case.theirs))
    });
    assert!(wrong.is_empty(), "{} verdicts are not those of C mod_wsgi:\n{}", wrong.len(), wrong.join("\n"));
}
