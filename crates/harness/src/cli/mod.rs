//! The command line: one file per command.

mod catalogue;
mod clean_up;
mod completions;
mod explain;
mod lint;
mod list;
mod man;
mod new;
mod output;
mod run;
mod schema;
mod up;

use clap::{ColorChoice, CommandFactory, Parser, Subcommand};
use confgen::environment::Environment;

use crate::exit::{EXITS, Exit};
use output::Output;

/// Runs YAML scenarios against launched Apache/mod_wsgi servers.
#[derive(Debug, Parser)]
#[command(name = "harness", version, about, after_help = exit_statuses(), propagate_version = true)]
pub(crate) struct Cli {
    /// When to use colours.
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: ColorChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run scenarios.
    Run(run::RunArgs),
    /// List scenarios and their cells.
    List(list::ListArgs),
    /// Show what a scenario comes to (its cells, the merged server, the rendered httpd.conf), or what a code such as HS203 means.
    Explain(explain::ExplainArgs),
    /// Check scenarios without running them.
    Lint(lint::LintArgs),
    /// Print the JSON Schema of scenarios.
    Schema(schema::SchemaArgs),
    /// Start a cell's server and leave it running until Ctrl-C.
    Up(up::UpArgs),
    /// Begin a new scenario.
    New(new::NewArgs),
    /// Print a shell's completions.
    Completions(completions::CompletionsArgs),
    /// Write the manual pages.
    Man(man::ManArgs),
    /// Wait for the end of the harness that started this process, and end what it leaves behind.
    #[command(name = crate::runner::cleaner::COMMAND, hide = true)]
    CleanUp,
}

fn exit_statuses() -> String {
    let lines: Vec<_> = EXITS.iter().map(|(_, code, meaning)| format!("  {code:<4} {meaning}")).collect();
    format!("Exit status:\n{}", lines.join("\n"))
}

/// The command line as clap describes it.
pub(crate) fn command() -> clap::Command {
    Cli::command()
}

/// Reads the command line and does what it says.
#[must_use]
pub fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and versions are no mistakes; clap knows where each is printed.
            let mistaken = error.use_stderr();
            let printed = error.print();
            return if mistaken || printed.is_err() { Exit::Scenario } else { Exit::Expected };
        }
    };
    let environment = Environment::of_process();
    let output = Output::new(cli.color, &environment);
    let result = match cli.command {
        Command::Run(args) => run::run(&args, &environment, &output),
        Command::List(args) => list::list(&args, &environment, &output),
        Command::Explain(args) => explain::explain(&args, &environment, &output),
        Command::Lint(args) => lint::lint(&args, &environment, &output),
        Command::Schema(args) => schema::schema(&args, &output),
        Command::Up(args) => up::up(&args, &environment, &output),
        Command::New(args) => new::new(&args, &output),
        Command::Completions(args) => completions::completions(&args, &output),
        Command::Man(args) => man::man(&args, &output),
        Command::CleanUp => clean_up::clean_up(),
    };
    match result {
        Ok(exit) => exit,
        Err(error) => {
            output.complain(&format!("error: failed to write: {error}"));
            Exit::Infrastructure
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
