//! The arguments, as data, and the list of commands.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use super::context::{Colour, Context};
use super::exit::{Exit, Failure};
use super::{
    check, completions, explain, express, facts, fmt, graceful, import, init, lint, man, render, restart, route,
    schema, secrets, show, start, status, stop,
};
use crate::diagnostic::{Code, Diagnostic};
use crate::environment::Environment;

/// Complete Apache/mod_wsgi configurations from a typed spec.
#[derive(Debug, Parser)]
#[command(
    name = "confgen",
    version,
    after_help = "Exit status:\n  0  success\n  1  no such server, or it does not run; `fmt --check`: a file would change; `lint`: findings\n  2  the command line or the spec is invalid; `init` found no application\n  3  httpd rejected the configuration\n  4  the machine: httpd, a module, a port, a file that cannot be read or written\n  6  an application does not load\n\nExamples:\n  confgen init\n  confgen start app.wsgi\n  confgen check site.yaml\n  confgen render site.yaml --profile dev -o /srv/www\n  confgen explain CG103"
)]
pub(super) struct Arguments {
    /// Answer in JSON.
    #[arg(long, global = true, help_heading = "Output")]
    json: bool,
    /// When to use colours: always, never, or auto: on a terminal, unless NO_COLOR is set.
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true,
        help_heading = "Output"
    )]
    color: Colour,
    #[command(subcommand)]
    command: Command,
}

/// Every command: one line here, one file beside this one.
#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Init),
    Render(render::Render),
    Check(check::Check),
    Start(start::Start),
    Stop(stop::Stop),
    Restart(restart::Restart),
    Graceful(graceful::Graceful),
    Status(status::Status),
    Secrets(secrets::SecretsCommand),
    Schema(schema::Schema),
    Explain(explain::Explain),
    Facts(facts::Facts),
    Fmt(fmt::Fmt),
    Lint(lint::Lint),
    Import(import::Import),
    Express(express::Express),
    Route(route::Route),
    Show(show::Show),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Command {
    fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        match self {
            Self::Init(command) => command.run(context),
            Self::Render(command) => command.run(context),
            Self::Check(command) => command.run(context),
            Self::Start(command) => command.run(context),
            Self::Stop(command) => command.run(context),
            Self::Restart(command) => command.run(context),
            Self::Graceful(command) => command.run(context),
            Self::Status(command) => command.run(context),
            Self::Secrets(command) => command.run(context),
            Self::Schema(command) => command.run(context),
            Self::Explain(command) => command.run(context),
            Self::Facts(command) => command.run(context),
            Self::Fmt(command) => command.run(context),
            Self::Lint(command) => command.run(context),
            Self::Import(command) => command.run(context),
            Self::Express(command) => command.run(context),
            Self::Route(command) => command.run(context),
            Self::Show(command) => command.run(context),
            Self::Completions(command) => command.run(context),
            Self::Man(command) => command.run(context),
        }
    }
}

/// The definition of the command line, for completions and manuals.
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Runs the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: &Environment) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let parsed = match Arguments::try_parse_from(&arguments) {
        Ok(parsed) => parsed,
        Err(error) => return usage(&arguments, &error, environment),
    };
    let context = Context::new(environment, parsed.json, parsed.color);
    match parsed.command.run(&context) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            fail(&context, &failure);
            failure.exit.into()
        }
    }
}

fn fail(context: &Context<'_>, failure: &Failure) {
    if context.json {
        let mut answer = crate::diagnostic::render_json(&failure.diagnostics);
        answer["exit"] = (failure.exit as u8).into();
        context.print_json(&answer);
    } else {
        context.report(&failure.diagnostics);
        let errors = failure.diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).count();
        if errors > 1 {
            context.note(&format!("{errors} errors; `confgen explain CODE` tells more about each code"));
        }
    }
}

/// clap's own report: help and version are answers, everything else is a mistake of the command line.
fn usage(arguments: &[OsString], error: &clap::Error, environment: &Environment) -> ExitCode {
    let json = arguments.iter().any(|argument| argument == "--json");
    if error.use_stderr() && json {
        let context = Context::new(environment, true, Colour::Never);
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        fail(&context, &Failure::new(Exit::Spec, Diagnostic::error(Code::UnknownValue, message)));
        return Exit::Spec.into();
    }
    let text = error.render();
    match asked_colour(arguments) {
        Colour::Auto => {
            // Standard error may be closed; there is nobody left to tell.
            let _ = error.print();
        }
        colour => {
            let text = if colour == Colour::Always { text.ansi().to_string() } else { text.to_string() };
            let context = Context::new(environment, false, colour);
            match error.use_stderr() {
                true => context.note(text.trim_end()),
                false => context.print(&text),
            }
        }
    }
    match error.use_stderr() {
        true => Exit::Spec.into(),
        false => Exit::Ok.into(),
    }
}

/// The value of `--color` of a command line that cannot be read as a whole.
fn asked_colour(arguments: &[OsString]) -> Colour {
    let words: Vec<&str> = arguments.iter().filter_map(|argument| argument.to_str()).collect();
    let joined = words.iter().filter_map(|word| word.strip_prefix("--color="));
    let apart = words.windows(2).filter(|pair| pair[0] == "--color").map(|pair| pair[1]);
    joined.chain(apart).find_map(|value| Colour::from_str(value, false).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does() {
        for sub in command().get_subcommands() {
            assert!(sub.get_about().is_some(), "{}", sub.get_name());
        }
    }
}
