//! `Redirect` and its relatives.

use regex_lite::Regex;

use super::alias::{matched, substitute};
use super::{Outcome, Walk};
use crate::configuration::{Statement, Target};

/// A redirect as it is written.
struct Redirect<'s, 'c> {
    statement: &'s Statement<'c>,
    status: u16,
    from: Option<String>,
    to: Option<String>,
    regex: bool,
}

impl<'w> Walk<'w> {
    pub(super) fn redirect(&mut self, path: &str) -> Option<Outcome> {
        let mut all: Vec<&'w Statement<'w>> = ["Redirect", "RedirectMatch", "RedirectPermanent", "RedirectTemp"]
            .iter()
            .flat_map(|name| self.of_host(name))
            .collect();
        all.sort_by_key(|statement| (statement.host == 0, statement.index));
        all.into_iter().filter_map(read).find_map(|redirect| self.follow(&redirect, path))
    }

    /// Those within `<Location>` and `<Directory>`, which httpd looks at when the file is known.
    pub(super) fn redirect_within(&mut self, path: &str, file: &str) -> Option<Outcome> {
        let target = Target { host: self.host, url: Some(path), file: Some(file) };
        let configuration = self.configuration;
        let mut all: Vec<&Statement<'w>> = ["Redirect", "RedirectMatch", "RedirectPermanent", "RedirectTemp"]
            .iter()
            .flat_map(|name| configuration.in_order(&target, name))
            .filter(|statement| !statement.sections.is_empty())
            .collect();
        all.reverse();
        all.into_iter().filter_map(read).find_map(|redirect| self.follow(&redirect, path))
    }

    fn follow(&mut self, redirect: &Redirect<'_, '_>, path: &str) -> Option<Outcome> {
        let location = match (&redirect.from, redirect.regex) {
            (Some(from), true) => {
                let regex = Regex::new(from).ok()?;
                let found = regex.captures(path)?;
                redirect.to.as_ref().map(|to| encoded(&substitute(to, &found)))
            }
            (Some(from), false) => {
                let length = matched(path, from)?;
                redirect.to.as_ref().map(|to| format!("{to}{}", encoded(&path[length..])))
            }
            // Within a section the whole section is redirected.
            (None, _) => redirect.to.clone(),
        };
        let location = location.map(|location| match &self.request.query {
            Some(query) if !location.contains('?') => format!("{location}?{query}"),
            _ => location,
        });
        let location = location.map(|location| self.absolute(&location));
        let shown = location.clone().unwrap_or_else(|| redirect.status.to_string());
        self.step("redirect", shown, Some(redirect.statement));
        Some(Outcome::Answer { status: redirect.status, location })
    }

    /// A location with scheme and host.
    pub(super) fn absolute(&self, location: &str) -> String {
        if !location.starts_with('/') {
            return location.to_owned();
        }
        let scheme = if self.request.https { "https" } else { "http" };
        let port = self.request.asked_port();
        let usual = if self.request.https { 443 } else { 80 };
        let port = if port == usual { String::new() } else { format!(":{port}") };
        format!("{scheme}://{}{port}{location}", self.request.name())
    }
}

fn read<'s, 'c>(statement: &'s Statement<'c>) -> Option<Redirect<'s, 'c>> {
    let words: Vec<String> = statement.words().iter().map(ToString::to_string).collect();
    let mut words = words.as_slice();
    let regex = statement.node.is("RedirectMatch");
    let mut status = if statement.node.is("RedirectPermanent") { 301 } else { 302 };
    if let Some(named) = words.first().and_then(|word| number(word)) {
        status = named;
        words = &words[1..];
    }
    let gone = !(300..400).contains(&status);
    let (from, to) = match words {
        [from, to] => (Some(from.clone()), Some(to.clone())),
        [only] if gone && statement.sections.is_empty() => (Some(only.clone()), None),
        [only] if !gone => (None, Some(only.clone())),
        [] if gone => (None, None),
        _ => return None,
    };
    Some(Redirect { statement, status, from, to: to.filter(|_| !gone), regex })
}

fn number(word: &str) -> Option<u16> {
    match word.to_ascii_lowercase().as_str() {
        "permanent" => Some(301),
        "temp" => Some(302),
        "seeother" => Some(303),
        "gone" => Some(410),
        word => word.parse().ok().filter(|status| (100..600).contains(status)),
    }
}

/// A path as httpd writes it into a location.
pub(super) fn encoded(path: &str) -> String {
    let mut made = String::new();
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => made.push(char::from(byte)),
            b'$' | b'-' | b'_' | b'.' | b'+' | b'!' | b'*' | b'\'' | b'(' | b')' | b',' | b':' | b'@' | b'&' | b'='
            | b'/' | b'~' => {
                made.push(char::from(byte));
            }
            byte => made += &format!("%{byte:02x}"),
        }
    }
    made
}
