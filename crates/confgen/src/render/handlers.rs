//! Scripts that serve resources which are no scripts themselves.

use super::builder::Builder;
use super::daemons::{GLOBAL, application_group};
use super::processes::daemon;
use super::view::{Line, Word};
use super::{files, settings};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::spec::{HandlerName, Site};

/// The handlers of a site, and the files that they serve.
pub(super) fn lines(builder: &mut Builder<'_>, site: &Site, key: &Path) -> Vec<Line> {
    let mut lines = Vec::new();
    for (name, handler) in &site.handlers {
        let own = key.join("handlers").join(name.as_str());
        let script_key = own.join("script");
        files::check(builder, &handler.script, files::Wanted::File, &script_key);
        if let Some(group) = &handler.daemon {
            daemon(builder, group, &own.join("daemon"));
        }
        let mut line = Line::quoted("WSGIHandlerScript", [builder.arg(&own, name)]);
        line.words.push(Word::quoted(builder.arg(&script_key, &handler.script)));
        let group = handler.daemon.as_ref().map_or(GLOBAL, |name| name.as_str());
        line.words.push(Word::option("process-group", builder.arg(&own.join("daemon"), group)));
        let interpreter = application_group(&handler.interpreter);
        line.words.push(Word::option("application-group", builder.arg(&own.join("interpreter"), interpreter)));
        if let Some(pass) = handler.pass_authorization {
            let pass = builder.arg(&own.join("pass-authorization"), settings::switch(pass));
            line.words.push(Word::option("pass-authorization", pass));
        }
        lines.push(line);
        if !handler.extensions.is_empty() {
            let extensions = own.join("extensions");
            let mut line = Line::bare("AddHandler", [builder.arg(&extensions, name)]);
            line.words.extend(
                handler
                    .extensions
                    .iter()
                    .enumerate()
                    .map(|(index, extension)| Word::bare(builder.arg(&extensions.join(index), extension))),
            );
            lines.push(line);
        }
    }
    lines
}

/// The handler of whatever lies below a path.
pub(super) fn of_location(
    builder: &mut Builder<'_>,
    site: &Site,
    name: Option<&HandlerName>,
    key: &Path,
) -> Option<Line> {
    let name = name?;
    let own = key.join("handler");
    if !site.handlers.contains_key(name) {
        let known = || site.handlers.keys().map(HandlerName::as_str);
        let diagnostic = Diagnostic::error(Code::Reference, format!("this site has no handler `{name}`"))
            .did_you_mean(name.as_str(), known());
        let diagnostic = match site.handlers.is_empty() {
            true => diagnostic.help(format!("define it in the site: `handlers: {{{name}: {{script: /path}}}}`")),
            false => diagnostic.note(format!("handlers: {}", known().collect::<Vec<_>>().join(", "))),
        };
        builder.report(&own, "", diagnostic);
    }
    Some(Line::bare("SetHandler", [builder.arg(&own, name)]))
}
