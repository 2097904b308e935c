//! Exit codes.

use std::process::ExitCode;

use crate::diagnostic::{Code, Diagnostic};

/// How the program ends. The numbers are interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Success.
    Ok = 0,
    /// No such server, or it does not run; a file is not formatted.
    Differs = 1,
    /// The command line or the spec is invalid; a folder has no application.
    Spec = 2,
    /// httpd rejected the configuration.
    Refused = 3,
    /// Something of the machine is missing or failed: httpd, a module, a file that cannot be written.
    Environment = 4,
    /// An application does not load.
    Application = 6,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) struct Failure {
    /// How the program ends.
    pub(super) exit: Exit,
    /// What is reported.
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Failure {
    /// A failure with one finding.
    pub(super) fn new(exit: Exit, diagnostic: Diagnostic) -> Self {
        Self { exit, diagnostics: vec![diagnostic] }
    }

    /// Findings about a spec: wrong input, unless what is wrong is the machine.
    pub(super) fn of_spec(diagnostics: Vec<Diagnostic>) -> Self {
        let machine = |code| matches!(code, Code::NoHttpd | Code::NoModule | Code::Io | Code::Unreachable);
        let only_machine =
            diagnostics.iter().filter(|diagnostic| diagnostic.is_error()).all(|diagnostic| machine(diagnostic.code));
        Self { exit: if only_machine { Exit::Environment } else { Exit::Spec }, diagnostics }
    }

    /// A file that could not be read or written.
    pub(super) fn io(what: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::new(Exit::Environment, Diagnostic::error(Code::Io, format!("cannot {what} {}: {error}", path.display())))
    }
}
