//! The time that confgen and the harness take.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use confgen::httpd::{HeldPort, Httpd, Launch, Readiness, ServerRoot, Signal};

use crate::report::{Bound, Row};
use crate::statistics::{median, milliseconds};
use crate::{Failure, Places};

/// How often the short programs run.
const RENDERS: usize = 41;
/// Cells of the longer of the two runs that are compared, and how often both run.
const CELLS: usize = 11;
const RUNS: usize = 7;

/// `confgen render` of the example, with facts from a file, so that nothing is probed.
pub(crate) fn render(places: &Places) -> Result<Vec<Row>, Failure> {
    let mut times = Vec::new();
    for _ in 0..RENDERS {
        let began = Instant::now();
        run(program(places, "confgen").arg("render").arg(&places.example).arg("--facts").arg(&places.facts))?;
        times.push(milliseconds(began.elapsed()));
    }
    Ok(vec![Row {
        what: "`confgen render examples/two-sites.yaml --facts FILE`, whole process".into(),
        value: Some(median(&times)),
        unit: "ms",
        bound: Bound::AtMost(10.0),
        detail: format!("median of {RENDERS} runs"),
    }])
}

/// What a cell costs beyond the server's own start and stop: two runs of the same trivial scenario with a different number of
/// cells, less the time of the same server started and stopped by hand.
pub(crate) fn trivial_cell(places: &Places) -> Result<Vec<Row>, Failure> {
    let folder = ServerRoot::temporary(None)?;
    let one = folder.path().join("one.yaml");
    let many = folder.path().join("many.yaml");
    fs::write(&one, scenario(1))?;
    fs::write(&many, scenario(CELLS))?;
    let (mut cells, mut servers) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let extra = harness(places, &many)?.saturating_sub(harness(places, &one)?);
        cells.push(milliseconds(extra) / (CELLS - 1) as f64);
        servers.push(milliseconds(bare_server(places, folder.path())?));
    }
    let (cell, server) = (median(&cells), median(&servers));
    Ok(vec![Row {
        what: "harness: a trivial cell beyond httpd's own start and stop".into(),
        value: Some(cell - server),
        unit: "ms",
        bound: Bound::AtMost(30.0),
        detail: format!(
            "{cell:.1} ms a cell, {server:.1} ms the server alone, medians of {RUNS} runs of {CELLS} cells"
        ),
    }])
}

/// The whole catalogue, as `make run` runs it.
pub(crate) fn catalogue(places: &Places) -> Result<Vec<Row>, Failure> {
    let log = places.results.join("catalogue.log");
    fs::create_dir_all(&places.results)?;
    let began = Instant::now();
    let mut command = command(&places.catalogue);
    command.stdout(fs::File::create(&log)?).stderr(Stdio::inherit());
    let status = command.status().map_err(|cause| format!("cannot run {}: {cause}", places.catalogue.display()))?;
    let seconds = began.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("not every scenario ended as expected; see {}", log.display()).into());
    }
    Ok(vec![Row {
        what: "`harness run scenarios`".into(),
        value: Some(seconds),
        unit: "s",
        bound: Bound::AtMost(120.0),
        detail: "one run".into(),
    }])
}

fn scenario(cells: usize) -> String {
    let variants: Vec<String> = (0..cells).map(|number| format!("  v{number}: {{expect: healthy}}\n")).collect();
    format!(
        "schema: harness/1\nid: trivial\ntitle: One file, fetched once\nfiles:\n  htdocs/index.txt: hello\nserver: {{sites: {{main: {{static: {{/: {{dir: \"${{dir}}/htdocs\"}}}}}}}}}}\nvariants:\n{}\
         steps:\n  - {{http: {{get: /index.txt}}, check: {{status: 200}}}}\n",
        variants.concat()
    )
}

/// How long the harness takes for a scenario, cell after cell.
fn harness(places: &Places, scenario: &Path) -> Result<Duration, Failure> {
    let mut command = program(places, "harness");
    command.arg("run").arg(scenario).args(["--jobs", "1"]).env("HARNESS_VENV", &places.venv);
    let began = Instant::now();
    run(&mut command)?;
    Ok(began.elapsed())
}

/// How long the same server takes from its start to its end when nobody looks after it.
fn bare_server(places: &Places, folder: &Path) -> Result<Duration, Failure> {
    let httpd = Httpd::locate(None, None)?;
    let port = HeldPort::loopback()?;
    let documents = folder.join("htdocs");
    fs::create_dir_all(&documents)?;
    fs::write(documents.join("index.txt"), "hello")?;
    let spec = folder.join("server.json");
    // What the harness fills in for a cell, so that both servers do the same at their start.
    let content = serde_json::json!({
        "schema": "confgen/1",
        "server": {
            "layout": "single",
            "mpm": "event",
            "mpm-settings": {
                "start-servers": 1, "server-limit": 2, "thread-limit": 64, "threads-per-child": 16,
                "max-request-workers": 16, "min-spare-threads": 1, "max-spare-threads": 32,
            },
            "log": {"level": {"default": "warn", "wsgi": "info"}},
            "listen": {"http": format!("127.0.0.1:{}", port.port())},
        },
        "runtime": {"python": {"venv": places.venv}},
        "sites": {"main": {"static": {"/": {"dir": documents}}}},
    });
    fs::write(&spec, content.to_string())?;
    let root = ServerRoot::at(&folder.join("bare"))?;
    run(program(places, "confgen").arg("render").arg(&spec).arg("--force").arg("--output").arg(root.path()))?;

    let began = Instant::now();
    let mut server = Launch::new(&httpd.binary, root.path()).ready_when(Readiness::Answers(port.address())).start()?;
    let started = began.elapsed();
    let report = server.stop(Signal::SIGTERM, Duration::from_secs(10), |_| ())?;
    // Looking for processes that stayed behind is the harness's work, not the server's.
    Ok(started + report.duration)
}

fn program(places: &Places, name: &str) -> Command {
    command(&places.dist.join(name))
}

#[expect(clippy::disallowed_methods, reason = "whole processes are what is measured here")]
fn command(program: &Path) -> Command {
    Command::new(program)
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|cause| format!("cannot run {command:?}: {cause}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?} ended with {}:\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}
