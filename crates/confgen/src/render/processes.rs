//! Which processes requests may reach.

use super::builder::Builder;
use super::daemons::GLOBAL;
use super::view::Line;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::spec::{Daemon, Name};

/// What a list of processes calls Apache's own.
const EMBEDDED: &str = "embedded";

/// The only processes that requests may reach.
pub(super) fn restrict(builder: &mut Builder<'_>, names: &[Name], key: &Path) -> Option<Line> {
    if names.is_empty() {
        return None;
    }
    let mut args = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let own = key.join(index);
        if name.as_str() == EMBEDDED {
            args.push(builder.arg(&own, GLOBAL));
        } else {
            daemon(builder, name, &own);
            args.push(builder.arg(&own, name));
        }
    }
    Some(Line::quoted("WSGIRestrictProcess", args))
}

/// A daemon by its name; reports one that does not exist.
pub(super) fn daemon<'a>(builder: &mut Builder<'a>, name: &Name, key: &Path) -> Option<&'a Daemon> {
    let spec = builder.spec;
    let found = spec.daemons.get(name);
    if found.is_none() {
        let diagnostic = Diagnostic::error(Code::Reference, format!("there is no daemon `{name}`"));
        let diagnostic = diagnostic.did_you_mean(name.as_str(), spec.daemons.keys().map(Name::as_str));
        let names: Vec<&str> = spec.daemons.keys().map(Name::as_str).collect();
        let diagnostic = match names.is_empty() {
            true => diagnostic.help(format!("define it: `daemons: {{{name}: {{}}}}`")),
            false => diagnostic.note(format!("daemons: {}", names.join(", "))),
        };
        builder.report(key, "", diagnostic);
    }
    found
}
