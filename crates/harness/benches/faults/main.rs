//! What the server does when things break: processes killed, sockets removed, garbage sent, disks and tables full.
//!
//! `make faults` builds what is tested and calls this; it takes minutes. Every fault happens while fifty clients send requests,
//! each with a mark of its own that its answer has to carry. Afterwards: no client waited for ever, no answer belonged to
//! another request, no more requests failed than each blow may cost, each failed one has its line in the log and no other has one,
//! other groups noticed nothing, and nothing stayed behind.
//!
//! Attacks come after the faults: fifty thousand requests of one hostile kind each, which must not make the server hold more.
//!
//! Root starts itself once more as the web server's user for the faults that depend on who the server runs as.

mod attacks;
#[path = "../numbers/client.rs"]
mod client;
mod disk;
mod generations;
mod journal;
mod leftovers;
mod limits;
mod ordinary;
mod sabotage;
mod server;
mod storm;
mod verdict;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anstream::{eprintln, println};

use attacks::ATTACKS;
use sabotage::{FAULTS, Fault};

/// What went wrong, as text: nobody reacts to kinds of failures here.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How long each fault goes on, unless `FAULT_SECONDS` says otherwise.
const SECONDS: u64 = 20;

/// Requests that a whole run has to have sent: fewer would not show what happens rarely.
const ENOUGH: u64 = 100_000;

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let names: Vec<&str> =
        FAULTS.iter().map(|fault| fault.name).chain(ATTACKS.iter().map(|attack| attack.name)).collect();
    if let Some(unknown) = wanted.iter().find(|name| !names.contains(&name.as_str())) {
        eprintln!("no fault is called {unknown:?}; there are {}", names.join(", "));
        return ExitCode::from(2);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("."));
    let handed = ordinary::given_dist();
    let dist = handed.clone().unwrap_or_else(|| root.join("target/dist"));
    let seconds = duration();
    let mut good = true;
    let mut total = 0;
    let chosen: Vec<&Fault> =
        FAULTS.iter().filter(|fault| wanted.is_empty() || wanted.iter().any(|name| name == fault.name)).collect();
    for fault in &chosen {
        let length = seconds * fault.weight;
        eprintln!("{}: {} s …", fault.name, length.as_secs());
        match storm::tried(&dist, fault, length) {
            Ok(verdict) => {
                total += verdict.requests();
                good &= verdict.holds();
                println!("{}", verdict.text(fault));
                if !verdict.holds() && handed.is_none() {
                    match verdict.keep_log(&root.join("target/faults"), fault) {
                        Ok(path) => println!("             its log: {}", path.display()),
                        Err(failure) => println!("             its log cannot be kept: {failure}"),
                    }
                }
            }
            Err(failure) => {
                good = false;
                println!("{:<12} could not be tried: {failure}", fault.name);
            }
        }
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    for attack in ATTACKS.iter().filter(|attack| handed.is_none() && is_wanted(attack.name)) {
        eprintln!("attack {} …", attack.name);
        match attacks::attacked(&dist, attack) {
            Ok(attacked) => {
                good &= attacked.well;
                total += attacked.requests;
                println!("{}", attacked.text());
            }
            Err(failure) => {
                good = false;
                println!("{:<12} could not be tried: {failure}", attack.name);
            }
        }
    }
    let again: Vec<&str> = chosen.iter().filter(|fault| fault.again).map(|fault| fault.name).collect();
    match ordinary::run(&dist, &again) {
        Ok(ordinary) => {
            good &= ordinary.well;
            total += ordinary.requests;
        }
        Err(failure) => {
            good = false;
            println!("nothing could be tried as an ordinary user: {failure}");
        }
    }
    println!("{}", ordinary::total(total));
    if wanted.is_empty() && seconds >= Duration::from_secs(SECONDS) && handed.is_none() && total < ENOUGH {
        good = false;
        println!("a whole run has to send {ENOUGH}");
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[expect(clippy::disallowed_methods, reason = "the length of the run is the caller's choice")]
fn duration() -> Duration {
    let given = std::env::var("FAULT_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(given.unwrap_or(SECONDS))
}
