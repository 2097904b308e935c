//! The numbers the project promises, measured in one run: requests per second and memory against C mod_wsgi, and the time the
//! tools take.
//!
//! `make bench` builds what is measured and calls this. What is compared runs side by side and takes turns, and medians are
//! compared, so that a busy machine slows both alike. A number that falls short, or that could not be measured because something is
//! not installed, is shown as such; it is an error of the run with `BENCH_STRICT=1`.

#[expect(dead_code, reason = "faults are asked for by the port of a connection, which no number is")]
mod client;
mod large;
mod latency;
mod memory;
mod pair;
mod pythons;
mod report;
mod restarts;
mod start;
mod statistics;
mod throughput;
mod tools;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anstream::{eprintln, println};

use report::{Bound, Row};

/// What went wrong, as text: nobody reacts to kinds of failures of a measurement.
type Failure = Box<dyn std::error::Error>;

/// Where things are.
struct Places {
    /// What `make build` made.
    dist: PathBuf,
    /// C mod_wsgi.
    peer: PathBuf,
    /// The `target/dist` of another build of ours to compare with (`BENCH_BASELINE`).
    baseline: Option<PathBuf>,
    /// The environment of the scenarios.
    venv: PathBuf,
    /// The Django project whose start is measured.
    django: PathBuf,
    /// The project's folder.
    root: PathBuf,
    /// The example that `confgen render` is measured with.
    example: PathBuf,
    /// The facts that go with it.
    facts: PathBuf,
    /// The script that runs the whole catalogue.
    catalogue: PathBuf,
    /// Where the results go.
    results: PathBuf,
}

impl Places {
    fn new() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
        let target = root.join("target");
        Self {
            dist: target.join("dist"),
            peer: target.join("peer/mod_wsgi.so"),
            baseline: baseline(),
            venv: target.join("venv"),
            django: root.join("scenarios/apps/django-admin"),
            example: root.join("examples/two-sites.yaml"),
            root: root.to_path_buf(),
            facts: root.join("examples/two-sites.facts.json"),
            catalogue: root.join("setup/scenarios.sh"),
            results: target.join("bench"),
        }
    }
}

/// A measurement: its name on the command line and what it does. It may bring several rows.
struct Measurement {
    name: &'static str,
    run: fn(&Places) -> Result<Vec<Row>, Failure>,
}

/// The measurement that needs another build.
const BASELINE: &str = "baseline";

const MEASUREMENTS: &[Measurement] = &[
    Measurement {
        name: "embedded",
        run: |places| throughput::hello(places, pair::Mode::Embedded, Bound::AtLeast(4.0)),
    },
    Measurement { name: "daemon", run: |places| throughput::hello(places, pair::Mode::Daemon, Bound::AtLeast(3.0)) },
    Measurement { name: BASELINE, run: throughput::baseline },
    Measurement { name: "subscribed", run: throughput::subscribed },
    Measurement { name: "transfers", run: throughput::transfers },
    Measurement { name: "latency", run: latency::compare },
    Measurement { name: "start", run: start::compare },
    Measurement { name: "restarts", run: restarts::compare },
    Measurement { name: "pythons", run: pythons::scale },
    Measurement { name: "memory", run: memory::compare },
    Measurement { name: "shared", run: memory::shared },
    Measurement { name: "render", run: tools::render },
    Measurement { name: "confgen", run: large::confgen },
    Measurement { name: "cell", run: tools::trivial_cell },
    Measurement { name: "catalogue", run: tools::catalogue },
];

fn main() -> ExitCode {
    // Cargo adds `--bench`; what is left are names of measurements, none meaning all.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(unknown) = wanted.iter().find(|name| MEASUREMENTS.iter().all(|measurement| measurement.name != *name)) {
        let names: Vec<&str> = MEASUREMENTS.iter().map(|measurement| measurement.name).collect();
        eprintln!("no measurement is called {unknown:?}; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let places = Places::new();
    if places.baseline.is_none() && wanted.iter().any(|name| name == BASELINE) {
        eprintln!("{BASELINE}: set BENCH_BASELINE to the target/dist folder of the build to compare with");
        return ExitCode::from(2);
    }
    let mut rows = Vec::new();
    let mut complete = true;
    for measurement in MEASUREMENTS
        .iter()
        .filter(|measurement| wanted.is_empty() || wanted.iter().any(|name| name == measurement.name))
    {
        eprintln!("measuring {} …", measurement.name);
        match (measurement.run)(&places) {
            Ok(measured) => rows.extend(measured),
            Err(failure) => {
                eprintln!("{} could not be measured: {failure}", measurement.name);
                complete = false;
            }
        }
    }
    println!("{}", report::markdown(&rows));
    match report::write(&places.results, &wanted, &rows) {
        Ok(()) => eprintln!("written to {}", places.results.display()),
        Err(failure) => {
            eprintln!("cannot write to {}: {failure}", places.results.display());
            complete = false;
        }
    }
    let short = rows.iter().filter(|row| !row.passes()).count();
    if short > 0 {
        eprintln!("{short} of {} numbers fall short or were not measured", rows.len());
    }
    if complete && (short == 0 || !is_strict()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether every number has to reach its bound.
#[expect(clippy::disallowed_methods, reason = "how strict the run is is the caller's choice")]
fn is_strict() -> bool {
    std::env::var("BENCH_STRICT").is_ok_and(|value| value == "1")
}

/// The build to compare with, if one is given.
#[expect(clippy::disallowed_methods, reason = "which build to compare with is the caller's choice")]
fn baseline() -> Option<PathBuf> {
    std::env::var_os("BENCH_BASELINE").filter(|value| !value.is_empty()).map(PathBuf::from)
}
