//! Taking over what changed in the spec of a running server, before it reads its configuration again.

use super::context::Context;
use super::exit::{Exit, Failure};
use super::input::{MachineArgs, SpecArgs};
use super::staged;
use crate::diagnostic::{Code, Diagnostic};
use crate::httpd::{Record, SpecSource};
use crate::render::{RenderOptions, Secrets, Tree, WriteOptions, refresh_secrets, render_draft, spec_hash_in};

/// Beginnings of lines that a running httpd does not take over, or that the record of the server tells of.
const FIXED: &[&str] = &["LoadModule mpm_", "LoadModule wsgi_module", "User ", "Group ", "Listen ", "ServerRoot "];

/// What was done about the spec.
pub(super) enum Applied {
    /// The server was started without a spec, or the spec is as it was.
    Nothing,
    /// The tree was rendered anew from this file.
    Changes(String),
}

/// Renders the spec of a server again if it has changed, and puts the tree in place once httpd accepts it. What fails leaves
/// the server and its tree as they are.
pub(super) fn changes(record: &Record, context: &Context<'_>) -> Result<Applied, Failure> {
    match changed(record, context)? {
        Applied::Nothing if spec_hash_in(&record.identity.root).is_some() => {
            // What is taken at the start of a server is taken anew when it reads its configuration again.
            let options = WriteOptions { environment: context.environment.clone(), ..WriteOptions::default() };
            refresh_secrets(&record.identity.root, &options)
                .map_err(|diagnostics| Failure { exit: Exit::Environment, diagnostics })?;
            Ok(Applied::Nothing)
        }
        applied => Ok(applied),
    }
}

fn changed(record: &Record, context: &Context<'_>) -> Result<Applied, Failure> {
    let (Some(source), Some(before)) = (&record.source, spec_hash_in(&record.identity.root)) else {
        return Ok(Applied::Nothing);
    };
    let goes_on = |mut failure: Failure| {
        let note = format!("{} has changed; the server {} goes on as it was", source.file.display(), record.name);
        if let Some(first) = failure.diagnostics.first_mut() {
            first.notes.push(note);
        }
        failure
    };
    apply(record, source, &before, context).map_err(goes_on)
}

fn apply(record: &Record, source: &SpecSource, before: &str, context: &Context<'_>) -> Result<Applied, Failure> {
    let draft =
        SpecArgs { spec: source.file.clone(), profile: source.profile.clone(), set: source.set.clone() }.load()?;
    if draft.errors.is_empty() && crate::render::hash_of(&draft.spec) == before {
        return Ok(Applied::Nothing);
    }
    let facts = MachineArgs { facts: None, httpd: Some(record.binary.clone()) }.probe(context)?;
    let options = RenderOptions {
        server_root: Some(record.identity.root.clone()),
        check_files: None,
        ..RenderOptions::default()
    };
    let tree = render_draft(&draft, &facts, &options).map_err(Failure::of_spec)?;
    ensure_reload_is_enough(record, &tree)?;
    let mut findings = tree.warnings.clone();
    findings.extend(staged::test(&draft, &facts, context)?);
    let all =
        WriteOptions { secrets: Secrets::TakeAll, environment: context.environment.clone(), ..WriteOptions::default() };
    tree.write(&all).map_err(Failure::of_spec)?;
    context.report(&findings);
    Ok(Applied::Changes(source.file.display().to_string()))
}

/// Some changes need a new start.
fn ensure_reload_is_enough(record: &Record, tree: &Tree) -> Result<(), Failure> {
    let fixed = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| FIXED.iter().any(|start| line.starts_with(start)));
        lines.map(str::to_owned).collect()
    };
    let old = std::fs::read_to_string(&record.config).map_err(|error| Failure::io("read", &record.config, &error))?;
    let (old, new) = (fixed(&old), fixed(tree.text("httpd.conf").unwrap_or_default()));
    let mut differing: Vec<&str> = old
        .iter()
        .filter(|line| !new.contains(line))
        .chain(new.iter().filter(|line| !old.contains(line)))
        .filter_map(|line| line.split(' ').next())
        .collect();
    if tree.environment != record.environment {
        differing.push("server.environment");
    }
    differing.dedup();
    if differing.is_empty() {
        return Ok(());
    }
    let message = format!("the change needs a new start of the server: {}", differing.join(", "));
    let diagnostic = Diagnostic::error(Code::NeedsStart, message);
    let help = format!("`confgen stop {}`, then start it again", record.name);
    Err(Failure::new(Exit::Spec, diagnostic.help(help)))
}
