//! `docs/python-api.md` against the modules, events and metrics as they are.

use std::collections::BTreeMap;

use crate::process::passed;
use crate::server::{Client, evaluating, file, request, serve};

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../docs/python-api.md");
    std::fs::read_to_string(path).expect("the page is there")
}

/// The names in the first column of the tables below a heading, sorted. What stands behind a `(` is left out.
fn names(page: &str, heading: &str) -> Vec<String> {
    let level = heading.chars().take_while(|sign| *sign == '#').count();
    let start = page.find(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading '{heading}'"));
    let mut names = Vec::new();
    for line in page[start + 1..].lines().skip(1) {
        let own = line.chars().take_while(|sign| *sign == '#').count();
        if own > 0 && own <= level && !line.starts_with("#!") {
            break;
        }
        if let Some(name) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) {
            names.push(name.split('(').next().unwrap_or_default().to_owned());
        }
    }
    names.sort_unstable();
    names
}

/// Python's `sorted(…)` of names, as text.
fn shown(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
    format!("[{}]", names.join(", "))
}

// Covers: api:mod_wsgi.version, api:apache.version, api:apache.description, api:apache.build_date
// Covers: api:apache.mpm_name, api:apache.maximum_processes, api:apache.threads_per_process
#[test]
fn the_modules_names_are_those_of_the_page() {
    let page = page();
    let source = evaluating(
        "import mod_wsgi, apache",
        &[
            "sorted(n for n in dir(mod_wsgi) if not n.startswith('_'))",
            "sorted(n for n in dir(apache) if not n.startswith('_'))",
        ],
    );
    let expected =
        format!("{}\n{}", shown(&names(&page, "## Module `mod_wsgi`")), shown(&names(&page, "## Module `apache`")));
    assert_eq!(serve(&source, Client::default()).text(), expected);
}

const EVENTS: [&str; 6] = [
    "request_started",
    "response_started",
    "request_exception",
    "request_finished",
    "process_stopping",
    "process_signal",
];

// Covers: event:request_started, event:response_started, event:request_exception, event:request_finished
// Covers: event:process_stopping, event:process_signal
#[test]
fn the_events_keys_are_those_of_the_page() {
    passed("api_page::events_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn events_inside() {
    let page = page();
    let record = crate::server::folder().join("events");
    let script = file(
        "page.wsgi",
        format!(
            "import mod_wsgi\n@mod_wsgi.subscribe_events\ndef on(name, **event):\n    with open({record:?}, 'a') as f: \
             print(name, sorted(event), file=f)\ndef application(e, s):\n    s('200 OK', [])\n    raise ValueError('x')\n"
        )
        .as_bytes(),
    );
    request(&script, Client::default());
    let engine = crate::server::engine();
    engine.signal("SIGHUP", 1);
    engine.stop("reason");
    let seen = std::fs::read_to_string(&record).expect("events were seen");
    let seen: BTreeMap<&str, &str> = seen.lines().filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(seen.len(), EVENTS.len(), "{seen:?}");
    for event in EVENTS {
        assert_eq!(seen.get(event), Some(&shown(&names(&page, &format!("### Keys of `{event}`"))).as_str()), "{event}");
    }
    let mut listed = names(&page, "## Events");
    listed.retain(|name| EVENTS.contains(&name.as_str()));
    let mut expected = EVENTS.map(str::to_owned);
    expected.sort_unstable();
    assert_eq!(listed, expected);
}

// Covers: api:mod_wsgi.request_metrics, api:mod_wsgi.process_metrics
#[test]
fn the_metrics_keys_are_those_of_the_page() {
    passed("api_page::metrics_inside", "");
}

#[test]
#[ignore = "runs in a process of its own"]
fn metrics_inside() {
    let page = page();
    let source = evaluating(
        "import mod_wsgi\nmod_wsgi.start_recording_metrics()",
        &["sorted(mod_wsgi.request_metrics())", "sorted(mod_wsgi.process_metrics())"],
    );
    let phases = [
        "server_time",
        "queue_time",
        "daemon_time",
        "application_time",
        "request_time",
        "gil_wait_time",
        "input_read_time",
        "output_write_time",
    ];
    let mut keys: Vec<String> = names(&page, "### Keys of `request_metrics()`")
        .iter()
        .flat_map(|name| match name.strip_prefix("PHASE") {
            Some(rest) => phases.iter().map(|phase| format!("{phase}{rest}")).collect(),
            None => vec![name.clone()],
        })
        .collect();
    keys.sort_unstable();
    let expected = format!("{}\n{}", shown(&keys), shown(&names(&page, "### Keys of `process_metrics()`")));
    assert_eq!(serve(&source, Client::default()).text(), expected);
}
