//! `# confgen: allow CG2nn reason`: comments that let findings of the next directive pass.

use std::collections::BTreeMap;

use crate::conf::reader::Place;
use crate::configuration::{Configuration, Texts};
use crate::diagnostic::{Code, Diagnostic, closest};

/// How such a comment begins.
const MARK: &str = "confgen:";

/// An allowance.
struct Allow {
    code: Code,
    place: Place,
    /// Lines of the same source for which it holds.
    lines: std::ops::RangeInclusive<usize>,
    used: bool,
}

/// All allowances of a configuration.
pub(super) struct Allows {
    by_source: BTreeMap<usize, Vec<Allow>>,
    wrong: Vec<(Place, String, Option<String>)>,
}

/// Reads the comments of every text.
pub(super) fn of(configuration: &Configuration<'_>) -> Allows {
    let mut allows = Allows { by_source: BTreeMap::new(), wrong: Vec::new() };
    for (source, text) in configuration.reading.sources.iter().enumerate() {
        for (line, logical) in text.lines.iter().enumerate().filter(|(_, line)| line.is_comment()) {
            let comment = String::from_utf8_lossy(logical.text());
            let Some(rest) = comment.trim_start_matches('#').trim_start().strip_prefix(MARK) else { continue };
            let place = Place { source, line };
            match parse(rest) {
                Ok(code) => {
                    let next = (line + 1..text.lines.len())
                        .find(|index| !text.lines[*index].is_comment() && !text.lines[*index].is_blank())
                        .unwrap_or(line);
                    let end = end_of(configuration, Place { source, line: next });
                    let allow = Allow { code, place, lines: next..=end, used: false };
                    allows.by_source.entry(source).or_default().push(allow);
                }
                Err((message, help)) => allows.wrong.push((place, message, help)),
            }
        }
    }
    allows
}

/// The last line of a section that begins at a place, or the line itself.
fn end_of(configuration: &Configuration<'_>, start: Place) -> usize {
    let text = &configuration.reading.sources[start.source];
    let mut depth = 0_i32;
    for (index, line) in text.lines.iter().enumerate().skip(start.line) {
        if line.text().starts_with(b"</") {
            depth -= 1;
        } else if line.text().starts_with(b"<") {
            depth += 1;
        }
        if depth <= 0 {
            return index;
        }
    }
    start.line
}

fn parse(rest: &str) -> Result<Code, (String, Option<String>)> {
    let usage = || Some("write `# confgen: allow CG225 reason`".to_owned());
    let mut words = rest.split_whitespace();
    match words.next() {
        Some("allow") => {}
        Some(word) => return Err((format!("unknown word `{word}` after `{MARK}`"), usage())),
        None => return Err((format!("nothing follows `{MARK}`"), usage())),
    }
    let Some(written) = words.next() else { return Err(("`allow` names no code".to_owned(), usage())) };
    let codes = super::codes();
    let Some(code) = Code::find(&codes, written) else {
        let near = closest(&written.to_uppercase(), codes.iter().map(|code| code.id()))
            .map(|near| format!("did you mean `{near}`?"));
        return Err((format!("unknown code `{written}`"), near.or_else(usage)));
    };
    match words.next() {
        Some(_) => Ok(code),
        None => Err((format!("`allow {}` gives no reason", code.id()), usage())),
    }
}

impl Allows {
    /// Whether a finding about a directive is allowed.
    pub(super) fn permits(&mut self, code: Code, configuration: &Configuration<'_>, at: usize) -> bool {
        let place = configuration.statements[at].node.place;
        let allow = self
            .by_source
            .get_mut(&place.source)
            .and_then(|allows| allows.iter_mut().find(|allow| allow.code == code && allow.lines.contains(&place.line)));
        match allow {
            Some(allow) => {
                allow.used = true;
                true
            }
            None => false,
        }
    }

    /// Comments that are wrong, or allow nothing.
    pub(super) fn problems(&self, texts: &Texts<'_>) -> Vec<Diagnostic> {
        let mut found: Vec<Diagnostic> = self
            .wrong
            .iter()
            .map(|(place, message, help)| {
                Diagnostic::error(Code::LintAllow, message.clone()).at(texts.line(*place), "").maybe_help(help.clone())
            })
            .collect();
        for allow in self.by_source.values().flatten().filter(|allow| !allow.used) {
            let message = format!("nothing here is reported as {}", allow.code.id());
            let mut diagnostic = Diagnostic::warning(Code::LintAllow, message).at(texts.line(allow.place), "");
            diagnostic.severity = crate::diagnostic::Severity::Note;
            found.push(diagnostic.help("remove the comment, or put it directly above the directive that it is for"));
        }
        found
    }
}
