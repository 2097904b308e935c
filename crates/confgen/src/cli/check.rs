//! `confgen check`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::context::Context;
use super::exit::{Exit, Failure};
use super::input::{MachineArgs, SpecArgs};
use super::staged;
use crate::diagnostic::Diagnostic;
use crate::render::{RenderOptions, Tree, render_draft};
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
        let intended =
            RenderOptions { server_root: self.server_root.clone(), check_files: None, ..RenderOptions::default() };
        let tree = render_draft(&draft, &facts, &intended).map_err(Failure::of_spec)?;
        let mut findings = tree.warnings.clone();
        let tested = !self.no_httpd && facts.here;
        if facts.here {
            let missing = tree.secrets_that_fail(context.environment);
            if !missing.is_empty() {
                return Err(Failure { exit: Exit::Spec, diagnostics: missing });
            }
        }
        if tested {
            findings.extend(staged::test(&draft, &facts, context)?);
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
