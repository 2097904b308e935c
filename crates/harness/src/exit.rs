//! Exit statuses.

use std::process::ExitCode;

/// Why the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Every cell ended as its scenario expects; the command did what it was asked.
    Expected,
    /// A cell had an unexpected verdict.
    Unexpected,
    /// A scenario, a filter or the command line is wrong.
    Scenario,
    /// The machine lacks what every cell needs, such as httpd, or a cell was skipped although that was not allowed.
    Environment,
    /// No cell was selected, or all of them were skipped.
    NothingSelected,
    /// The harness could not do its work.
    Infrastructure,
    /// It was interrupted.
    Interrupted,
}

/// Every exit status with its number and its meaning.
pub const EXITS: &[(Exit, u8, &str)] = &[
    (Exit::Expected, 0, "every cell ended as its scenario expects"),
    (Exit::Unexpected, 1, "a cell had an unexpected verdict"),
    (Exit::Scenario, 2, "a scenario, a filter or the command line is wrong"),
    (
        Exit::Environment,
        3,
        "the machine lacks what the cells need: no httpd, a path that does not exist, a skip with --deny-skips",
    ),
    (Exit::NothingSelected, 4, "no cell was selected, or all of them were skipped"),
    (Exit::Infrastructure, 5, "the harness could not do its work"),
    (Exit::Interrupted, 130, "interrupted"),
];

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        EXITS.iter().find(|(exit, ..)| *exit == self).map_or(5, |(_, code, _)| *code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
