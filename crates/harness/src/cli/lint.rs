//! `harness lint`

use std::io;

use clap::{Args, ValueEnum};
use confgen::diagnostic::render_sarif;
use confgen::environment::Environment;

use super::catalogue::{CatalogueArgs, count_of, of_servers};
use super::output::Output;
use crate::exit::Exit;
use crate::scenario::load;
use crate::scenario::problem::Problem;

/// Options of `lint`.
#[derive(Debug, Args)]
pub(crate) struct LintArgs {
    #[command(flatten)]
    catalogue: CatalogueArgs,
    /// How to report.
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
}

pub(crate) fn lint(args: &LintArgs, environment: &Environment, output: &Output) -> io::Result<Exit> {
    let (loaded, mut problems) = args.catalogue.load();
    let scenarios = loaded.len();
    if scenarios > 0 {
        let (machine, _) = match args.catalogue.machine.probe(environment, output) {
            Ok(machine) => machine,
            Err(exit) => return Ok(exit),
        };
        let mut found: Vec<Problem> = loaded.iter().flat_map(|scenario| scenario.warnings.clone()).collect();
        found.extend(of_servers(&loaded, &machine));
        problems.extend(found);
        load::sort(&mut problems);
    }
    let wrong = problems.iter().any(Problem::is_error);
    match args.format {
        Format::Json => {
            let found: Vec<_> = problems.iter().map(Problem::to_json).collect();
            output.print(&format!("{:#}\n", serde_json::json!({"problems": found})))?;
        }
        Format::Sarif => {
            let log = render_sarif("harness", env!("CARGO_PKG_VERSION"), &problems);
            output.print(&format!("{log:#}\n"))?;
        }
        Format::Text => {
            for problem in &problems {
                output.print(&format!("{}\n\n", problem.render(output.style())))?;
            }
            match problems.is_empty() {
                true => output.print(&format!("{scenarios} scenarios, nothing to complain about\n"))?,
                false => output.print(&format!("{}\n", count_of(&problems)))?,
            }
        }
    }
    Ok(match (wrong, scenarios) {
        (true, _) => Exit::Scenario,
        (false, 0) => Exit::NothingSelected,
        (false, _) => Exit::Expected,
    })
}
