//! What every command gets: the caller's environment, and where and how to write.

use std::io::{self, IsTerminal, Write};

use crate::diagnostic::{Diagnostic, Style, render_all};
use crate::environment::Environment;

/// When colours are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The surroundings of a command.
#[derive(Debug)]
pub(super) struct Context<'a> {
    /// The caller's environment.
    pub(super) environment: &'a Environment,
    /// Whether the answer is JSON.
    pub(super) json: bool,
    style: Style,
    /// Whether colours are wanted wherever the output goes.
    always: bool,
}

impl<'a> Context<'a> {
    pub(super) fn new(environment: &'a Environment, json: bool, colour: Colour) -> Self {
        let coloured = match colour {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => {
                io::stderr().is_terminal() && !environment.is_set("NO_COLOR") && environment.get("TERM") != Some("dumb")
            }
        };
        let style = if coloured { Style::Coloured } else { Style::Plain };
        Self { environment, json, style, always: colour == Colour::Always }
    }

    /// Whether what people read on standard error is coloured.
    pub(super) fn coloured(&self) -> bool {
        matches!(self.style, Style::Coloured)
    }

    /// Writes to standard output. A reader that went away is no error of ours.
    pub(super) fn print(&self, text: &str) {
        let mut output = io::stdout().lock();
        let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    }

    /// Writes an answer for programs.
    pub(super) fn print_json(&self, value: &serde_json::Value) {
        let text = serde_json::to_string_pretty(value).unwrap_or_default();
        self.print(&(text + "\n"));
    }

    /// Writes findings to standard error, for people.
    pub(super) fn report(&self, diagnostics: &[Diagnostic]) {
        let mut error = io::stderr().lock();
        let _ = error.write_all(render_all(diagnostics, self.style).as_bytes());
    }

    /// Writes findings that were asked for to standard output, for people.
    pub(super) fn print_report(&self, diagnostics: &[Diagnostic]) {
        let style = if io::stdout().is_terminal() { self.style } else { Style::Plain };
        let style = if self.always { Style::Coloured } else { style };
        self.print(&render_all(diagnostics, style));
    }

    /// Writes a line to standard error.
    pub(super) fn note(&self, text: &str) {
        let mut error = io::stderr().lock();
        let _ = writeln!(error, "{text}");
    }
}
