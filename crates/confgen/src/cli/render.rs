//! `confgen render`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::input::{MachineArgs, SpecArgs};
use crate::render::{RenderOptions, Tree, WriteOptions, render_draft};

/// Render a spec: the files to standard output, or into a directory.
#[derive(Debug, Args)]
pub(super) struct Render {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    machine: MachineArgs,
    /// Write the tree into this directory in place of printing it.
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// The directory that the tree is to stand in, when it is not the one it is written to.
    #[arg(long, value_name = "DIR")]
    server_root: Option<PathBuf>,
    /// Look at the files that the spec names although the facts are of another machine.
    #[arg(long)]
    check_files: bool,
    /// Overwrite files that were edited by hand.
    #[arg(long, requires = "output")]
    force: bool,
}

impl Render {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let draft = self.spec.load()?;
        let facts = self.machine.load(context)?;
        let output = match &self.output {
            Some(output) => Some(std::path::absolute(output).map_err(|error| Failure::io("find", output, &error))?),
            None => None,
        };
        let options = RenderOptions {
            server_root: self.server_root.clone().or_else(|| output.clone()),
            check_files: self.check_files.then_some(true),
        };
        let tree = render_draft(&draft, &facts, &options).map_err(Failure::of_spec)?;
        match output {
            Some(output) => self.write(context, &tree, &output)?,
            None if context.json => context.print_json(&json!({
                "choice": tree.choice,
                "files": tree.files.iter().map(|file| json!({
                    "path": file.path,
                    "mode": format!("{:04o}", file.mode),
                    "text": tree.text(&file.path),
                })).collect::<Vec<_>>(),
                "environment": tree.environment,
                "diagnostics": tree.warnings.iter().map(crate::diagnostic::Diagnostic::to_json).collect::<Vec<_>>(),
            })),
            None => context.print(&tree.to_text()),
        }
        if !context.json {
            context.report(&tree.warnings);
        }
        Ok(Exit::Ok)
    }

    fn write(&self, context: &Context<'_>, tree: &Tree, output: &std::path::Path) -> Result<(), Failure> {
        let options =
            WriteOptions { force: self.force, environment: context.environment.clone(), ..WriteOptions::default() };
        let written = tree.write_to(output, &options).map_err(Failure::of_spec)?;
        if context.json {
            context.print_json(&json!({
                "directory": output,
                "choice": tree.choice,
                "changed": written.changed,
                "unchanged": written.unchanged,
                "removed": written.removed,
                "environment": tree.environment,
                "diagnostics": tree.warnings.iter().map(crate::diagnostic::Diagnostic::to_json).collect::<Vec<_>>(),
            }));
            return Ok(());
        }
        let mut text = String::new();
        for (what, files) in
            [("wrote", &written.changed), ("unchanged", &written.unchanged), ("removed", &written.removed)]
        {
            for file in files {
                text += &format!("{what:<10}{}\n", output.join(file).display());
            }
        }
        context.print(&text);
        Ok(())
    }
}
