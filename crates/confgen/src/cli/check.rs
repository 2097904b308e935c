//! `confgen check`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::input::{MachineArgs, SpecArgs};
use crate::diagnostic::{Code, Diagnostic};
use crate::httpd::{ConfigTest, ConfigTestError, ServerRoot};
use crate::render::{RenderOptions, Secrets, Tree, WriteOptions, render_draft};
use crate::spec::Spec;

/// Check a spec, and let httpd check what is rendered from it, in a temporary directory.
#[derive(Debug, Args)]
pub(super) struct Check {
    #[command(flatten)]
    spec: SpecArgs,
    #[command(flatten)]
    machine: MachineArgs,
    /// The directory that the tree is to stand in.
    #[arg(long, value_name = "DIR")]
    server_root: Option<PathBuf>,
    /// Check the spec alone, without httpd.
    #[arg(long)]
    no_httpd: bool,
}

impl Check {
    pub(super) fn run(self, context: &Context<'_>) -> Result<Exit, Failure> {
        let draft = self.spec.load()?;
        let facts = self.machine.load(context)?;
        let intended = RenderOptions { server_root: self.server_root.clone(), check_files: None };
        let tree = render_draft(&draft, &facts, &intended).map_err(Failure::of_spec)?;
        let mut findings = tree.warnings.clone();
        let tested = !self.no_httpd && facts.here;
        if tested {
            let root = ServerRoot::temporary(None)
                .map_err(|error| Failure::new(Exit::Environment, Diagnostic::error(Code::Io, error.to_string())))?;
            let options = RenderOptions { server_root: Some(root.path().to_owned()), check_files: None };
            let tree = render_draft(&draft, &facts, &options).map_err(Failure::of_spec)?;
            let test = config_test(&tree, context);
            findings.extend(test?);
        }
        self.answer(context, &draft.spec, &tree, &findings, tested);
        Ok(Exit::Ok)
    }

    fn answer(&self, context: &Context<'_>, spec: &Spec, tree: &Tree, findings: &[Diagnostic], tested: bool) {
        if context.json {
            let mut answer = crate::diagnostic::render_json(findings);
            answer["choice"] = json!(tree.choice);
            answer["httpd-tested"] = tested.into();
            answer["exit"] = 0.into();
            context.print_json(&answer);
            return;
        }
        context.report(findings);
        let choice = &tree.choice;
        let mut text = format!(
            "httpd    {} ({})\nMPM      {}\nmodule   {}\n",
            choice.httpd.display(),
            choice.httpd_version,
            choice.mpm,
            choice.module.display()
        );
        let engines = match choice.engines.is_empty() {
            true => "built into the module".to_owned(),
            false => format!("Python {}", choice.engines.join(", ")),
        };
        text += &format!("engine   {engines}\nuser     {}\n", choice.user);
        let apps: usize = spec.sites.values().map(|site| site.apps.len()).sum();
        let by = match tested {
            true => "httpd accepts it",
            false => "httpd was not asked",
        };
        text += &format!(
            "ok       {}: {}, {}, {}; {by}\n",
            self.spec.spec.display(),
            count(spec.sites.len(), "site"),
            count(apps, "application"),
            count(spec.daemons.len(), "daemon")
        );
        context.print(&text);
    }
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Writes the tree to its (temporary) root and lets httpd read it. Secrets stay where they are.
fn config_test(tree: &Tree, context: &Context<'_>) -> Result<Vec<Diagnostic>, Failure> {
    let options =
        WriteOptions { secrets: Secrets::Blank, environment: context.environment.clone(), ..WriteOptions::default() };
    tree.write(&options).map_err(|diagnostics| Failure { exit: Exit::Environment, diagnostics })?;
    let config = tree.config();
    let test = ConfigTest {
        binary: &tree.choice.httpd,
        root: &tree.server_root,
        config: &config,
        environment: &tree.environment,
    };
    match test.run() {
        Ok(warnings) => Ok(warnings.iter().map(|complaint| tree.explain(&tree.server_root, complaint)).collect()),
        Err(ConfigTestError::Refused { complaints, .. }) => {
            let diagnostics = complaints.iter().map(|complaint| tree.explain(&tree.server_root, complaint)).collect();
            Err(Failure { exit: Exit::Refused, diagnostics })
        }
        Err(error @ ConfigTestError::Run { .. }) => {
            Err(Failure::new(Exit::Environment, Diagnostic::error(Code::NoHttpd, error.to_string())))
        }
    }
}
