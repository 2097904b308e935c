//! `confgen render`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::input::{MachineArgs, SpecArgs};
use super::staged;
use crate::diagnostic::Diagnostic;
use crate::facts::Facts;
use crate::render::{RenderOptions, Secrets, Tree, WriteOptions, ensure_ours, render_draft};
use crate::spec::SecretTime;

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
    /// Take over a directory that confgen did not make: files that the tree needs are overwritten, others stay.
    #[arg(long, requires = "output")]
    adopt: bool,
    /// With `--adopt`: take over a folder of the system, such as /etc/apache2.
    #[arg(long, requires = "adopt")]
    system_folder: bool,
    /// Remove the files of the tree before although the spec has no application any more.
    #[arg(long, requires = "output")]
    prune: bool,
    /// Write without letting httpd test the configuration first. With `--facts` it is not tested.
    #[arg(long, requires = "output")]
    no_test: bool,
    /// When the values of secrets are taken that have no `at` in the spec: `now`, `later` by `confgen secrets DIR`, or at each `start` of
    /// the server. Default: now; with `--facts` at the start for daemons whose secrets are all files, and later for others.
    #[arg(long, value_name = "WHEN", requires = "output")]
    secrets: Option<When>,
}

/// When the values of secrets are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum When {
    /// When the tree is written.
    Now,
    /// On the machine that it is for, by `confgen secrets`.
    Later,
    /// When the server starts, by the script `ctl` of the tree.
    Start,
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
            secrets: self.secrets.map(|when| match when {
                When::Now | When::Later => SecretTime::Render,
                When::Start => SecretTime::Start,
            }),
        };
        let tree = render_draft(&draft, &facts, &options).map_err(Failure::of_spec)?;
        match output {
            Some(output) => {
                // The directory is judged first: what is wrong with it is no matter of the spec.
                ensure_ours(&output, &self.write_options(context, &facts)).map_err(Failure::of_spec)?;
                let mut findings = tree.warnings.clone();
                if facts.here && !self.no_test {
                    findings.extend(staged::test(&draft, &facts, context)?);
                }
                self.write(context, &tree, &output, &self.write_options(context, &facts), &findings)?;
                return Ok(Exit::Ok);
            }
            None if context.json => context.print_json(&json!({
                "choice": tree.choice,
                "files": tree.files.iter().map(|file| json!({
                    "path": file.path,
                    "mode": format!("{:04o}", file.mode),
                    "text": tree.text(&file.path),
                })).collect::<Vec<_>>(),
                "environment": tree.environment,
                "diagnostics": tree.warnings.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
            })),
            None => context.print(&tree.to_text()),
        }
        if !context.json {
            context.report(&tree.warnings);
        }
        Ok(Exit::Ok)
    }

    fn write_options(&self, context: &Context<'_>, facts: &Facts) -> WriteOptions {
        let later = self.secrets.map_or(!facts.here, |when| when == When::Later);
        WriteOptions {
            force: self.force,
            adopt: self.adopt,
            system_folder: self.system_folder,
            prune: self.prune,
            secrets: if later { Secrets::Later } else { Secrets::Take },
            environment: context.environment.clone(),
        }
    }

    fn write(
        &self,
        context: &Context<'_>,
        tree: &Tree,
        output: &std::path::Path,
        options: &WriteOptions,
        findings: &[Diagnostic],
    ) -> Result<(), Failure> {
        let written = tree.write_to(output, options).map_err(Failure::of_spec)?;
        if context.json {
            context.print_json(&json!({
                "directory": output,
                "choice": tree.choice,
                "changed": written.changed,
                "unchanged": written.unchanged,
                "removed": written.removed,
                "later": written.later,
                "at-start": written.at_start,
                "environment": tree.environment,
                "diagnostics": findings.iter().map(Diagnostic::to_json).collect::<Vec<_>>(),
            }));
            return Ok(());
        }
        context.print(&written.to_text(output));
        context.report(findings);
        Ok(())
    }
}
