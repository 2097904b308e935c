//! `confgen express`.

use std::io::Write;

use clap::{Args, Parser};

use super::context::Context;
use super::exit::{Exit, Failure};
use super::import::{express, yaml};
use super::{render, start};
use crate::diagnostic::{Code, Diagnostic};

/// Do what a command line of mod_wsgi-express does: serve (start-server), or write the files of a server (setup-server).
#[derive(Debug, Args)]
#[command(
    after_help = "Options without a counterpart are refused by name. `confgen import express` prints the spec that is served.\n\nExamples:\n  confgen express start-server app.wsgi --port 8080\n  confgen express setup-server app.wsgi --server-root /srv/www"
)]
pub(super) struct Express {
    /// The command line without `mod_wsgi-express`.
    #[arg(value_name = "COMMAND LINE", required = true, trailing_var_arg = true)]
    line: Vec<String>,
}

/// The arguments of another command, as that command reads them.
#[derive(Debug, Parser)]
struct Of<T: Args> {
    #[command(flatten)]
    arguments: T,
}

impl Express {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let refuse = |message: &str, help: &str| {
            Err(Failure::new(Exit::Spec, Diagnostic::error(Code::Express, message.to_owned()).help(help)))
        };
        let made = express(&self.line)?;
        context.report(&made.notes);
        let failed = |error: &std::io::Error| Failure::io("write", &std::env::temp_dir(), error);
        let mut file =
            tempfile::Builder::new().prefix("express-").suffix(".yaml").tempfile().map_err(|error| failed(&error))?;
        file.write_all(yaml(&made.spec, "express")?.as_bytes()).map_err(|error| failed(&error))?;
        let spec = file.path().as_os_str().to_owned();
        let usage = |error: clap::Error| Failure::new(Exit::Spec, Diagnostic::error(Code::Express, error.to_string()));
        match self.line.first().map(String::as_str) {
            Some("start-server") => {
                let words = ["start".into(), "--spec".into(), spec];
                Of::<start::Start>::try_parse_from(words).map_err(usage)?.arguments.run(context)
            }
            Some("setup-server") => {
                let root = self.line.windows(2).find(|pair| pair[0] == "--server-root").map(|pair| pair[1].clone());
                let joined = self.line.iter().find_map(|word| word.strip_prefix("--server-root=")).map(str::to_owned);
                let Some(root) = root.or(joined) else {
                    return refuse("setup-server needs a folder for the files", "name it: `--server-root /srv/www`");
                };
                let words = ["render".into(), spec, "--output".into(), root.into()];
                Of::<render::Render>::try_parse_from(words).map_err(usage)?.arguments.run(context)
            }
            _ => refuse("the command line begins with no command", "write `start-server` or `setup-server` first"),
        }
    }
}
