//! `harness man`

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Args;
use clap_mangen::Man;

use super::output::Output;
use crate::exit::Exit;

/// Options of `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The folder that gets one page per command. Without it the main page is printed.
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

pub(crate) fn man(args: &ManArgs, output: &Output) -> io::Result<Exit> {
    let mut command = super::command();
    command.build();
    match &args.to {
        None => {
            let mut page = Vec::new();
            Man::new(command).render(&mut page)?;
            output.print(&String::from_utf8_lossy(&page))?;
        }
        Some(folder) => {
            fs::create_dir_all(folder)?;
            clap_mangen::generate_to(command, folder)?;
        }
    }
    Ok(Exit::Expected)
}
