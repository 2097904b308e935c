//! Lines of httpd's own language from the spec, and the places that they go to.

use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;

use super::builder::Builder;
use super::view::RawView;

/// Where a raw text goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    ServerStart,
    ServerEnd,
    SiteStart(String),
    SiteEnd(String),
    App(String, String),
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "server.start" => return Some(Self::ServerStart),
            "server.end" => return Some(Self::ServerEnd),
            _ => {}
        }
        let rest = text.strip_prefix("site.")?;
        if let Some((site, path)) = rest.split_once(".app.") {
            return Some(Self::App(site.to_owned(), path.to_owned()));
        }
        if let Some(site) = rest.strip_suffix(".start") {
            return Some(Self::SiteStart(site.to_owned()));
        }
        Some(Self::SiteEnd(rest.strip_suffix(".end")?.to_owned()))
    }

    fn site(&self) -> Option<&str> {
        match self {
            Self::ServerStart | Self::ServerEnd => None,
            Self::SiteStart(site) | Self::SiteEnd(site) | Self::App(site, _) => Some(site),
        }
    }
}

/// All raw texts with their places.
pub(super) fn collect(builder: &mut Builder<'_>) -> Vec<(Place, RawView)> {
    let spec = builder.spec;
    let mut views = Vec::new();
    for (index, raw) in spec.raw.iter().enumerate() {
        let path = Path::of(["raw"]).join(index);
        let Some(place) = place(builder, &path, &raw.at) else { continue };
        let text_path = path.join("text");
        check_structure(builder, &text_path, &raw.text);
        let mut lines = Vec::new();
        for (number, line) in raw.text.lines().enumerate() {
            let own = text_path.join(number);
            let words = line.trim_start();
            if !words.starts_with('#')
                && let Some(name) = words.split(|character: char| character.is_whitespace() || character == '>').next()
            {
                builder.modules.need_for(name, words);
            }
            lines.push(builder.origins.arg(&own, line));
        }
        views.push((place, RawView { block: builder.origins.block(&path), lines }));
    }
    views
}

fn place(builder: &mut Builder<'_>, path: &Path, at: &str) -> Option<Place> {
    let spec = builder.spec;
    let at_path = path.join("at");
    let Some(place) = Place::parse(at) else {
        let diagnostic = Diagnostic::error(Code::Raw, format!("`{at}` is no place for raw text"));
        builder.report(
            &at_path,
            "not a place",
            diagnostic.help("places: server.start, server.end, site.NAME.start, site.NAME.end, site.NAME.app./PATH"),
        );
        return None;
    };
    if let Some(name) = place.site() {
        let Some((_, site)) = spec.sites.iter().find(|(site, _)| site.as_str() == name) else {
            let diagnostic = Diagnostic::error(Code::Reference, format!("there is no site `{name}`"));
            builder.report(
                &at_path,
                "",
                diagnostic.did_you_mean(name, spec.sites.keys().map(crate::spec::Name::as_str)),
            );
            return None;
        };
        if let Place::App(_, mount) = &place
            && !site.apps.keys().any(|known| known.as_str() == mount)
        {
            let diagnostic =
                Diagnostic::error(Code::Reference, format!("the site `{name}` has no application at `{mount}`"));
            builder.report(
                &at_path,
                "",
                diagnostic.did_you_mean(mount, site.apps.keys().map(crate::spec::UrlPath::as_str)),
            );
            return None;
        }
    }
    Some(place)
}

/// Sections are closed within the text, and its last line does not continue.
fn check_structure(builder: &mut Builder<'_>, path: &Path, text: &str) {
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut continued = false;
    for (number, line) in text.lines().enumerate() {
        let words = line.trim();
        let statement = !continued;
        continued = line.ends_with('\\');
        if let Some(character) = line.chars().find(|character| character.is_control() && *character != '\t') {
            let diagnostic = Diagnostic::error(
                Code::ControlCharacter,
                format!("the raw text contains the control character U+{:04X}", u32::from(character)),
            );
            builder.report(&path.join(number), "", diagnostic);
        }
        if !statement || words.starts_with('#') {
            continue;
        }
        let name = |text: &str| {
            text.split(|character: char| character.is_whitespace() || character == '>')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase()
        };
        if let Some(rest) = words.strip_prefix("</") {
            let closed = name(rest);
            match open.pop() {
                Some((_, opened)) if opened == closed => {}
                _ => {
                    let diagnostic =
                        Diagnostic::error(Code::Raw, format!("`</{closed}>` closes no section of this text"));
                    builder.report(&path.join(number), "closed here", diagnostic);
                    return;
                }
            }
        } else if let Some(rest) = words.strip_prefix('<') {
            open.push((number, name(rest)));
        }
    }
    if let Some((number, opened)) = open.pop() {
        builder.report(
            &path.join(number),
            "opened here",
            Diagnostic::error(Code::Raw, format!("the section `<{opened}>` is not closed")),
        );
    }
    if continued {
        let last = text.lines().count().saturating_sub(1);
        builder.report(
            &path.join(last),
            "ends with a backslash",
            Diagnostic::error(Code::Raw, "the last line continues into nothing"),
        );
    }
}
