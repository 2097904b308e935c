//! Lint: rules over configurations of httpd, whoever wrote them.
//!
//! A rule is one file in `rules/` with its code, its reason, its cure, and two examples that its test uses. It looks at a
//! [`Configuration`] and returns findings; where they stand in the text, whether they are allowed, and what of them can be fixed
//! is decided here, once for all rules.

mod allow;
mod finding;
mod fix;
mod input;
mod rules;
mod structure;

pub use finding::{Finding, Fix};
pub use fix::{Fixed, apply_fixes};
pub use input::{Input, Scripts};
pub use rules::RULES;
pub use structure::structure;

use crate::configuration::{Configuration, Texts};
use crate::diagnostic::{Code, Diagnostic, Severity};

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Its code, with why it matters (the cause) and what to do (the fix).
    pub code: Code,
    /// Its name: that of its file, with dashes.
    pub name: &'static str,
    /// How bad what it finds is, unless a finding says otherwise.
    pub severity: Severity,
    /// A configuration in which it finds something.
    pub bad: &'static str,
    /// The same one, mended.
    pub good: &'static str,
    /// Scripts that the examples name: paths and texts.
    pub scripts: &'static [(&'static str, &'static str)],
    /// What it does.
    pub check: fn(&Input<'_>) -> Vec<Finding>,
}

/// What a rule found, with its place.
#[derive(Clone, Debug)]
pub struct Reported {
    /// For people.
    pub diagnostic: Diagnostic,
    /// What would mend it.
    pub fix: Option<Fix>,
}

/// Judges a configuration by every rule. What comments of the configuration allow is left out; what is wrong with these
/// comments is reported as well.
#[must_use]
pub fn lint(configuration: &Configuration<'_>, texts: &Texts<'_>, scripts: &Scripts) -> Vec<Reported> {
    let input = Input::new(configuration, scripts);
    let mut allows = allow::of(configuration);
    let mut reported = Vec::new();
    for rule in RULES {
        for finding in (rule.check)(&input) {
            if !allows.permits(rule.code, configuration, finding.at) {
                let found = finding.report(rule, configuration, texts);
                // Two applications may have the same to say of one directive.
                let said = reported.iter().any(|other: &Reported| {
                    other.diagnostic.code == rule.code
                        && other.diagnostic.message == found.diagnostic.message
                        && other.diagnostic.span() == found.diagnostic.span()
                });
                if !said {
                    reported.push(found);
                }
            }
        }
    }
    reported.extend(allows.problems(texts).into_iter().map(|diagnostic| Reported { diagnostic, fix: None }));
    let order = |reported: &Reported| {
        reported.diagnostic.span().map(|span| {
            let file = configuration
                .reading
                .sources
                .iter()
                .position(|source| source.path.display().to_string() == span.source.name);
            (file, span.range.start)
        })
    };
    reported.sort_by_key(order);
    reported
}

/// The codes of all rules, in order.
#[must_use]
pub fn codes() -> Vec<Code> {
    RULES.iter().map(|rule| rule.code).collect()
}
