//! `harness new`

use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Args;

use super::output::Output;
use crate::exit::Exit;

/// Options of `new`.
#[derive(Debug, Args)]
pub(crate) struct NewArgs {
    /// The scenario's id: lower-case letters, digits and dashes.
    id: String,
    /// One line: what goes wrong.
    #[arg(long, default_value = "What goes wrong, in one line")]
    title: String,
    /// The folder of the catalogue that gets it.
    #[arg(long, value_name = "NAME", default_value = "new")]
    area: String,
    /// The catalogue.
    #[arg(long, value_name = "DIR", default_value = "scenarios")]
    catalogue: PathBuf,
}

/// The beginning of a scenario: complete, so that it can be run at once and changed step by step.
const TEMPLATE: &str = include_str!("new.yaml");

pub(crate) fn new(args: &NewArgs, output: &Output) -> io::Result<Exit> {
    let plain = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    for (what, text) in [("id", &args.id), ("area", &args.area)] {
        if !plain(text) {
            output.complain(&format!("error: `{text}` is no {what}: use lower-case letters, digits and dashes"));
            return Ok(Exit::Scenario);
        }
    }
    let folder = args.catalogue.join(&args.area).join(&args.id);
    let file = folder.join(crate::scenario::load::FILE_OF_FOLDER);
    if folder.exists() {
        output.complain(&format!("error: {} exists already", folder.display()));
        return Ok(Exit::Scenario);
    }
    let title = serde_json::Value::from(args.title.as_str()).to_string();
    fs::create_dir_all(&folder)?;
    fs::write(&file, TEMPLATE.replace("@ID@", &args.id).replace("@TITLE@", &title))?;
    let file = file.display();
    output.print(&format!("{file}\n\nnext: edit it, then\n  harness lint {file}\n  harness run {file}\n"))?;
    Ok(Exit::Expected)
}
