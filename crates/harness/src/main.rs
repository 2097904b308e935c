//! Command line of the harness.

use std::process::ExitCode;

fn main() -> ExitCode {
    harness::cli::main().into()
}
