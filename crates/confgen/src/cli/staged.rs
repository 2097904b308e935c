//! Letting httpd judge a rendering before anything of it is put in place.

use super::context::Context;
use super::exit::{Exit, Failure};
use crate::diagnostic::{Code, Diagnostic};
use crate::facts::Facts;
use crate::httpd::{ConfigTest, ConfigTestError, ServerRoot};
use crate::render::{RenderOptions, Secrets, Tree, WriteOptions, render_draft};
use crate::spec::Draft;

/// Renders into a temporary directory and lets httpd read it there. Secrets stay where they are. Returns httpd's warnings.
pub(super) fn test(draft: &Draft, facts: &Facts, context: &Context<'_>) -> Result<Vec<Diagnostic>, Failure> {
    let root = ServerRoot::temporary(None)
        .map_err(|error| Failure::new(Exit::Environment, Diagnostic::error(Code::Io, error.to_string())))?;
    let options =
        RenderOptions { server_root: Some(root.path().to_owned()), check_files: None, ..RenderOptions::default() };
    let tree = render_draft(draft, facts, &options).map_err(Failure::of_spec)?;
    config_test(&tree, context)
}

/// Writes the tree to its (temporary) root and lets httpd read it.
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
