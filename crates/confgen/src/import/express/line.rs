//! Reading the command line as `mod_wsgi-express` reads it.

use std::path::PathBuf;
use std::sync::Arc;

use super::options::{OPTIONS, Opt};
use crate::diagnostic::{Code, Diagnostic};
use crate::source::{Source, Span};

/// The commands that have options of their own.
const COMMANDS: [&str; 2] = ["start-server", "setup-server"];

/// A command line.
#[derive(Debug)]
pub struct Line {
    /// What was given, in order: options with their values and places.
    pub(super) given: Vec<Given>,
    /// The words that are no options: the script or module.
    pub(super) positional: Vec<(String, Span)>,
    /// Where relative paths begin.
    pub(super) folder: PathBuf,
    /// The whole line.
    pub(super) whole: Span,
    /// What is no option, or has not as many values as it takes.
    pub(super) wrong: Vec<Diagnostic>,
}

/// An option as it was given.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) option: &'static Opt,
    pub(super) values: Vec<String>,
    pub(super) span: Span,
}

impl Line {
    /// The values of the last use of an option.
    pub(super) fn last(&self, name: &str) -> Option<&[String]> {
        self.given.iter().rev().find(|given| given.option.name == name).map(|given| given.values.as_slice())
    }

    /// The value of an option that takes one.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.last(name)?.first().map(String::as_str)
    }

    /// Whether an option was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.last(name).is_some()
    }
}

/// Reads the words of a command line. `mod_wsgi-express` and the command in front may be left out. Relative paths begin in
/// `folder`.
///
/// What is wrong with it is reported by [`super::spec`], together with what cannot be taken over.
#[must_use]
pub fn parse(words: &[String], folder: PathBuf) -> Line {
    let (source, spans) = source(words);
    let mut wrong = Vec::new();
    let mut at = 0;
    if words.first().is_some_and(|word| word.rsplit('/').next() == Some("mod_wsgi-express")) {
        at += 1;
    }
    if let Some(word) = words.get(at)
        && !word.starts_with('-')
    {
        if COMMANDS.contains(&word.as_str()) {
            at += 1;
        } else if ["module-config", "module-location", "install-module"].contains(&word.as_str()) {
            let diagnostic = Diagnostic::error(Code::Express, format!("`{word}` starts no server"));
            wrong.push(diagnostic.at(spans[at].clone(), "").help("`confgen facts` says where the module is"));
            at = words.len();
        }
    }
    let whole = Span::whole(&source);
    let mut line = Line { given: Vec::new(), positional: Vec::new(), folder, whole, wrong: Vec::new() };
    let mut only_words = false;
    while at < words.len() {
        let (word, span) = (&words[at], spans[at].clone());
        at += 1;
        let Some(rest) = word.strip_prefix("--").filter(|_| !only_words) else {
            if word.starts_with('-') && word.len() > 1 && !only_words {
                wrong.push(Diagnostic::error(Code::Express, format!("unknown option `{word}`")).at(span, ""));
            } else {
                line.positional.push((word.clone(), span));
            }
            continue;
        };
        if rest.is_empty() {
            only_words = true;
            continue;
        }
        let (name, joined) = match rest.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (rest, None),
        };
        let Some(option) = OPTIONS.iter().find(|option| option.name == name) else {
            wrong.push(unknown(name, span));
            continue;
        };
        let mut values: Vec<String> = joined.into_iter().collect();
        while values.len() < option.values && at < words.len() {
            values.push(words[at].clone());
            at += 1;
        }
        if values.len() != option.values {
            let takes = match option.values {
                0 => "no value".to_owned(),
                1 => "a value".to_owned(),
                number => format!("{number} values"),
            };
            wrong.push(Diagnostic::error(Code::Express, format!("`--{name}` takes {takes}")).at(span, ""));
            continue;
        }
        line.given.push(Given { option, values, span });
    }
    line.wrong = wrong;
    line
}

fn unknown(name: &str, span: Span) -> Diagnostic {
    let diagnostic = Diagnostic::error(Code::Express, format!("unknown option `--{name}`")).at(span, "");
    let begin: Vec<&str> = OPTIONS.iter().map(|option| option.name).filter(|known| known.starts_with(name)).collect();
    match begin.as_slice() {
        // mod_wsgi-express takes the beginning of a name for the whole.
        [only] => diagnostic.help(format!("write the whole name: `--{only}`")),
        _ => match crate::diagnostic::closest(name, OPTIONS.iter().map(|option| option.name)) {
            Some(near) => diagnostic.help(format!("did you mean `--{near}`?")),
            None => diagnostic.help("`mod_wsgi-express start-server --help` lists its options"),
        },
    }
}

/// The line as one text, with the place of each word.
fn source(words: &[String]) -> (Arc<Source>, Vec<Span>) {
    let mut text = String::new();
    let mut ranges = Vec::new();
    for word in words {
        if !text.is_empty() {
            text.push(' ');
        }
        let start = text.len();
        match word.chars().any(|letter| letter.is_whitespace() || matches!(letter, '\'' | '"' | '\\'))
            || word.is_empty()
        {
            true => text += &shlex::try_quote(word).unwrap_or_default(),
            false => text += word,
        }
        ranges.push(start..text.len());
    }
    let source = Source::new("<command line>", text);
    let spans = ranges.into_iter().map(|range| Span::new(&source, range)).collect();
    (source, spans)
}
