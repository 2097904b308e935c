//! `harness completions`

use std::io;

use clap::Args;
use clap_complete::Shell;

use super::output::Output;
use crate::exit::Exit;

/// Options of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

pub(crate) fn completions(args: &CompletionsArgs, output: &Output) -> io::Result<Exit> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "harness", &mut text);
    output.print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Expected)
}
