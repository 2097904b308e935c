//! The confgen program.

use std::process::ExitCode;

fn main() -> ExitCode {
    confgen::cli::run(std::env::args_os(), &confgen::environment::Environment::of_process())
}
