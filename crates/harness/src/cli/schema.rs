//! `harness schema`

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Args;

use super::output::Output;
use crate::exit::Exit;
use crate::scenario::schema;

/// Options of `schema`.
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Writes to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn schema(args: &SchemaArgs, output: &Output) -> io::Result<Exit> {
    let text = format!("{:#}\n", schema::json_schema());
    match &args.output {
        Some(file) => fs::write(file, text)?,
        None => output.print(&text)?,
    }
    Ok(Exit::Expected)
}
