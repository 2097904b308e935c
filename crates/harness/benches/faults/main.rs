//! What the server does when things break: processes killed, sockets removed, garbage sent, disks and tables full.
//!
//! `make faults` builds what is tested and calls this; it takes minutes. Every fault happens while fifty clients send requests,
//! each with a mark of its own that its answer has to carry. Afterwards: no client waited for ever, no answer belonged to
//! another request, every failure is in the log, other groups noticed nothing, and nothing stayed behind.

#[path = "../numbers/client.rs"]
mod client;
mod sabotage;
mod server;
mod storm;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anstream::{eprintln, println};

use sabotage::FAULTS;
use server::Stage;

/// What went wrong, as text: nobody reacts to kinds of failures here.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Where things are.
struct Places {
    /// What `make build` made.
    dist: PathBuf,
}

/// How long each fault goes on, unless `FAULT_SECONDS` says otherwise.
const SECONDS: u64 = 20;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let Some(unknown) = wanted.iter().find(|name| FAULTS.iter().all(|fault| fault.name != *name)) {
        let names: Vec<&str> = FAULTS.iter().map(|fault| fault.name).collect();
        eprintln!("no fault is called {unknown:?}; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
    let places = Places { dist: root.join("target/dist") };
    let seconds = duration();
    let mut good = true;
    let mut total = 0;
    for fault in FAULTS.iter().filter(|fault| wanted.is_empty() || wanted.iter().any(|name| name == fault.name)) {
        let length = seconds * fault.weight;
        eprintln!("{}: {} s …", fault.name, length.as_secs());
        match Stage::new(&places).and_then(|stage| storm::run(stage, fault, length)) {
            Ok(verdict) => {
                total += verdict.requests();
                good &= verdict.holds();
                println!("{}", verdict.text(fault));
            }
            Err(failure) => {
                good = false;
                println!("{:<12} could not be tried: {failure}", fault.name);
            }
        }
    }
    println!("{total} requests in all");
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::disallowed_methods, reason = "the length of the run is the caller's choice")]
fn duration() -> Duration {
    let given = std::env::var("FAULT_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(SECONDS))
}
