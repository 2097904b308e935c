//! Where the commands write.

use std::io::{self, IsTerminal, Write};

use clap::ColorChoice;
use confgen::diagnostic::Style;
use confgen::environment::Environment;

use crate::scenario::problem::Problem;

/// A closed output is no failure: its reader has seen enough.
pub(crate) fn closed_is_fine(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Standard output and standard error, with or without colours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    out: Style,
    error: Style,
    /// Whether both are a terminal on which lines may be drawn again.
    pub(crate) live: bool,
}

impl Output {
    pub(crate) fn new(choice: ColorChoice, environment: &Environment) -> Self {
        let dumb = environment.get("TERM").is_none_or(|term| term == "dumb");
        let plain = environment.is_set("NO_COLOR");
        let style = |terminal: bool| match choice {
            ColorChoice::Always => Style::Coloured,
            ColorChoice::Never => Style::Plain,
            ColorChoice::Auto if terminal && !plain && !dumb => Style::Coloured,
            ColorChoice::Auto => Style::Plain,
        };
        let live = io::stderr().is_terminal() && io::stdout().is_terminal() && !dumb && !environment.is_set("CI");
        Self { out: style(io::stdout().is_terminal()), error: style(io::stderr().is_terminal()), live }
    }

    /// Whether standard output takes colours.
    pub(crate) const fn style(&self) -> Style {
        self.out
    }

    /// Writes to standard output. A reader that has closed it (`| head -1`) is no error: what the command finds, and so
    /// its exit status, stays the same.
    pub(crate) fn print(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        closed_is_fine(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// Writes a line to standard error. Nothing can be done where that fails.
    pub(crate) fn complain(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    /// Writes problems to standard error.
    pub(crate) fn problems(&self, problems: &[Problem]) {
        for problem in problems {
            self.complain(&(problem.render(self.error) + "\n"));
        }
    }
}
