//! From a spec and a machine to a tree of files. Everything that could make httpd refuse the tree, or do something else
//! than what was asked, is refused here first, all of it at once.

mod access;
mod accounts;
mod app;
mod beneath;
mod builder;
mod certificate;
mod ctl;
mod daemons;
mod debug;
mod embedded;
mod exceptions;
pub(crate) mod files;
mod handlers;
mod hazards;
mod hosts;
mod manifest;
mod modules;
mod mounts;
mod origin;
mod processes;
mod python;
mod raw;
mod reach;
mod secrets;
mod server;
mod settings;
mod sharing;
mod site;
mod support;
mod territory;
mod tree;
mod upstreams;
mod view;
mod write;

pub use manifest::MANIFEST;
pub use secrets::{fill_secrets, forget_secrets, refresh_secrets};
pub use territory::ensure_ours;
pub use tree::{Choice, Content, File, SecretLine, Tree};
pub use write::{Secrets, WriteOptions, Written, hash_of, spec_hash_in};

use std::path::PathBuf;

use crate::diagnostic::{CODES, Code, Diagnostic, Severity};
use crate::document::Path;
use crate::facts::Facts;
use crate::lint;
use crate::spec::{Draft, Lint, LintLevel, SecretTime, Spec};

/// What a rendering depends on beside the spec and the machine.
#[derive(Clone, Debug, Default)]
pub struct RenderOptions {
    /// Where the tree is to stand. Default: `/var/lib/confgen/NAME`.
    pub server_root: Option<PathBuf>,
    /// Whether files that the spec names are looked at. Default: when the facts are of this machine.
    pub check_files: Option<bool>,
    /// When the values of secrets are taken that do not say so themselves. Default: when the tree is written; for another machine
    /// when the server starts, where all secrets of a daemon are files.
    pub secrets: Option<SecretTime>,
}

/// Renders a spec for a machine.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn render(spec: &Spec, facts: &Facts, options: &RenderOptions) -> Result<Tree, Vec<Diagnostic>> {
    let tree = builder::Builder::new(spec, facts, options).build()?;
    let Some(single) = debug::single_process(spec) else { return Ok(tree) };
    // The spec was found to be right as it is; now it is rendered without its daemons.
    let mut tree = builder::Builder::new(&single.spec, facts, options).made_from(spec).build()?;
    tree.environment.extend(single.environment);
    tree.warnings.extend(single.warnings);
    tree.choice.single_process = true;
    Ok(tree)
}

/// Renders a draft: when it has mistakes, the rest of it is judged too, and all of them are reported together.
///
/// # Errors
/// Everything that is wrong, at once.
pub fn render_draft(draft: &Draft, facts: &Facts, options: &RenderOptions) -> Result<Tree, Vec<Diagnostic>> {
    match (render(&draft.spec, facts, options), draft.errors.is_empty()) {
        (Ok(mut tree), true) => {
            tree.warnings = judged(&draft.spec, tree.warnings)?;
            Ok(tree)
        }
        (Ok(_), false) => Err(draft.errors.clone()),
        (Err(more), true) => Err(more),
        (Err(more), false) => Err(draft.errors_with(more)),
    }
}

/// What is left of the warnings when the spec's own judgement is applied: those that are meant go, and where warnings are
/// denied, the rest are errors. A code that does not exist lets nothing pass, and is refused.
fn judged(spec: &Spec, warnings: Vec<Diagnostic>) -> Result<Vec<Diagnostic>, Vec<Diagnostic>> {
    let unknown: Vec<Diagnostic> = spec.lint.allow.keys().filter_map(|code| unknown_code(code, spec)).collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    let lint: &Lint = &spec.lint;
    let left: Vec<_> =
        warnings.into_iter().filter(|warning| !lint.allow.contains_key(warning.code.info().id)).collect();
    let denied = matches!(lint.deny, Some(LintLevel::Note | LintLevel::Warning));
    if !denied || left.is_empty() {
        return Ok(left);
    }
    let note = "`lint.deny` of the spec makes a warning an error; `lint.allow` with a reason lets one pass";
    Err(left.into_iter().map(|warning| Diagnostic { severity: Severity::Error, ..warning }.note(note)).collect())
}

fn unknown_code(code: &str, spec: &Spec) -> Option<Diagnostic> {
    let known: Vec<&str> = CODES.iter().copied().chain(lint::codes()).map(Code::id).collect();
    if known.contains(&code) {
        return None;
    }
    let diagnostic = Diagnostic::error(Code::UnknownValue, format!("unknown code `{code}`"));
    let path = Path::of(["lint", "allow", code]);
    let diagnostic = diagnostic.at(path.key_span(&spec.root), "");
    let nearest = crate::diagnostic::closest(code, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
    Some(diagnostic.help(nearest.unwrap_or_else(|| "`confgen explain` lists all codes".to_owned())))
}
