//! `RewriteRule` of the server and of virtual hosts, as far as the configuration alone decides it.

use regex_lite::{Regex, RegexBuilder};

use super::alias::substitute;
use super::{Outcome, Walk, answer};
use crate::configuration::Statement;

/// Whether a rule holds.
enum Holds {
    Yes,
    No,
    /// That depends on something that is not known here.
    Unknown(String),
}

impl<'w> Walk<'w> {
    /// The path after the rules of the host; an outcome when a rule ends the request, or cannot be judged.
    pub(super) fn rewrite(&mut self, path: &str) -> Result<String, Outcome> {
        let configuration = self.configuration;
        let of_host = |host: usize| {
            configuration
                .statements
                .iter()
                .filter(move |statement| statement.host == host && statement.sections.is_empty())
                .filter(|statement| {
                    ["RewriteEngine", "RewriteCond", "RewriteRule"].iter().any(|name| statement.node.is(name))
                })
        };
        let engine = of_host(self.host).rfind(|statement| statement.node.is("RewriteEngine"));
        if !engine.is_some_and(Statement::is_on) {
            return Ok(path.to_owned());
        }
        let mut path = path.to_owned();
        let mut conditions: Vec<&Statement<'_>> = Vec::new();
        let mut skip_chain = false;
        for statement in of_host(self.host) {
            if statement.node.is("RewriteCond") {
                conditions.push(statement);
                continue;
            }
            if !statement.node.is("RewriteRule") {
                continue;
            }
            let taken = std::mem::take(&mut conditions);
            let flags = Flags::of(statement);
            if skip_chain {
                skip_chain = flags.has("C", "chain");
                continue;
            }
            match self.rule(statement, &flags, &taken, &path)? {
                Some(next) => {
                    path = next;
                    if flags.has("L", "last") || flags.has("END", "END") || flags.has("PT", "passthrough") {
                        break;
                    }
                }
                None => skip_chain = flags.has("C", "chain"),
            }
        }
        Ok(path)
    }

    /// The path after one rule; `None` when the rule does not hold.
    fn rule(
        &mut self,
        statement: &Statement<'_>,
        flags: &Flags,
        conditions: &[&Statement<'_>],
        path: &str,
    ) -> Result<Option<String>, Outcome> {
        let (Some(pattern), Some(target)) = (statement.word(0), statement.word(1)) else { return Ok(None) };
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest.to_owned()),
            None => (false, pattern.into_owned()),
        };
        let unknown = |what: String| {
            Outcome::Open(format!("whether the rewrite rule `{}` holds depends on {what}", statement.text()))
        };
        let Ok(regex) = RegexBuilder::new(&pattern).case_insensitive(flags.has("NC", "nocase")).build() else {
            return Err(unknown("a regular expression that confgen does not understand".to_owned()));
        };
        let found = regex.captures(path);
        if found.is_some() == negated {
            return Ok(None);
        }
        match self.conditions_hold(conditions) {
            Holds::Yes => {}
            Holds::No => return Ok(None),
            Holds::Unknown(what) => {
                self.step("rewrite", statement.text().into_owned(), Some(statement));
                return Err(unknown(what));
            }
        }
        self.step("rewrite", statement.text().into_owned(), Some(statement));
        if flags.has("F", "forbidden") {
            return Err(answer(403));
        }
        if flags.has("G", "gone") {
            return Err(answer(410));
        }
        if target == "-" {
            return Ok(Some(path.to_owned()));
        }
        let made = found.map_or_else(|| target.to_string(), |found| substitute(&target, &found));
        let Some(made) = self.expand(&made) else {
            return Err(unknown(format!("the variables in `{made}`")));
        };
        if flags.has("P", "proxy") {
            return Err(Outcome::Proxy(made));
        }
        let redirect = flags.value("R", "redirect");
        if redirect.is_some() || made.contains("://") {
            let status = redirect.flatten().map_or(302, |status| match status.to_ascii_lowercase().as_str() {
                "permanent" => 301,
                "seeother" => 303,
                status => status.parse().unwrap_or(302),
            });
            let made = match &self.request.query {
                Some(query) if !made.contains('?') => format!("{made}?{query}"),
                _ => made.trim_end_matches('?').to_owned(),
            };
            return Err(Outcome::Answer { status, location: Some(self.absolute(&made)) });
        }
        let made = made.split('?').next().unwrap_or_default().to_owned();
        if !flags.has("PT", "passthrough") && (flags.has("L", "last") || flags.has("END", "END")) {
            return Err(Outcome::Open(format!(
                "the result of a rewrite rule, `{made}`, is taken for the name of a file"
            )));
        }
        Ok(Some(made))
    }

    fn conditions_hold(&self, conditions: &[&Statement<'_>]) -> Holds {
        // `[OR]` joins a condition with the next one.
        let mut any = false;
        let mut joined = false;
        for condition in conditions {
            let flags = Flags::of(condition);
            let holds = match self.condition(condition, &flags) {
                Holds::Unknown(what) => return Holds::Unknown(what),
                holds => matches!(holds, Holds::Yes),
            };
            any = if joined { any || holds } else { holds };
            joined = flags.has("OR", "ornext");
            if !joined && !any {
                return Holds::No;
            }
        }
        Holds::Yes
    }

    fn condition(&self, condition: &Statement<'_>, flags: &Flags) -> Holds {
        let (Some(text), Some(pattern)) = (condition.word(0), condition.word(1)) else { return Holds::No };
        let Some(value) = self.expand(&text) else { return Holds::Unknown(format!("`{text}`")) };
        let (negated, pattern) = match pattern.strip_prefix('!') {
            Some(rest) => (true, rest.to_owned()),
            None => (false, pattern.into_owned()),
        };
        let holds = if let Some(wanted) = pattern.strip_prefix('=') {
            value == wanted.trim_matches('"')
        } else if pattern.starts_with('-') || pattern.starts_with('<') || pattern.starts_with('>') || text == "expr" {
            return Holds::Unknown(format!("`{}`", condition.text()));
        } else {
            match RegexBuilder::new(&pattern).case_insensitive(flags.has("NC", "nocase")).build() {
                Ok(regex) => regex.is_match(&value),
                Err(_) => return Holds::Unknown(format!("`{pattern}`")),
            }
        };
        if holds == negated { Holds::No } else { Holds::Yes }
    }

    /// A text with its variables replaced; `None` when one of them is not known.
    fn expand(&self, text: &str) -> Option<String> {
        let variable = Regex::new(r"%\{([^}]*)\}").ok()?;
        let mut made = String::new();
        let mut end = 0;
        for found in variable.captures_iter(text) {
            let whole = found.get(0)?;
            made += &text[end..whole.start()];
            made += &self.variable(found.get(1)?.as_str())?;
            end = whole.end();
        }
        made += &text[end..];
        // `%1` refers to what a condition found.
        (!Regex::new(r"%[0-9]").ok()?.is_match(&made)).then_some(made)
    }

    fn variable(&self, name: &str) -> Option<String> {
        let request = self.request;
        let header = |name: &str| request.header(name).unwrap_or_default().to_owned();
        Some(match name.to_ascii_uppercase().as_str() {
            "HTTPS" => if request.https { "on" } else { "off" }.to_owned(),
            "HTTP_HOST" => request.header("Host").map_or_else(
                || match (request.port, request.https) {
                    (80, false) | (443, true) => request.host.clone(),
                    (port, _) => format!("{}:{port}", request.host),
                },
                str::to_owned,
            ),
            "SERVER_PORT" => request.port.to_string(),
            "SERVER_NAME" => request.name(),
            "REQUEST_SCHEME" => if request.https { "https" } else { "http" }.to_owned(),
            "REQUEST_METHOD" => request.method.clone(),
            "REQUEST_URI" => request.path.clone(),
            "QUERY_STRING" => request.query.clone().unwrap_or_default(),
            "REMOTE_ADDR" => request.from?.to_string(),
            other => match other.strip_prefix("HTTP:").or_else(|| other.strip_prefix("HTTP_")) {
                Some(name) => header(&name.replace('_', "-")),
                None => return None,
            },
        })
    }
}

/// The flags of a rule or condition.
struct Flags(Vec<(String, Option<String>)>);

impl Flags {
    fn of(statement: &Statement<'_>) -> Self {
        let text = statement.word(2).unwrap_or_default();
        let inner = text.trim().trim_start_matches('[').trim_end_matches(']');
        let flag = |flag: &str| match flag.trim().split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (flag.trim().to_owned(), None),
        };
        Self(inner.split(',').filter(|flag| !flag.trim().is_empty()).map(flag).collect())
    }

    fn has(&self, short: &str, long: &str) -> bool {
        self.value(short, long).is_some()
    }

    fn value(&self, short: &str, long: &str) -> Option<Option<String>> {
        self.0
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(short) || name.eq_ignore_ascii_case(long))
            .map(|(_, value)| value.clone())
    }
}
