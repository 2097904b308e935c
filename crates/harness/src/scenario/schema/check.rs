//! Checks: what must hold of a step's result.

use std::borrow::Cow;

use indexmap::IndexMap;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// What must hold of a step's result. A key is a member of the result, or a dotted path into it (`json.user.id`,
/// `header.content-type`); its value is what the member must be, or operators.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// The status, or a list of the allowed ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Matcher>,
    /// Header fields by name, upper and lower case being the same; null: absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<IndexMap<String, Matcher>>,
    /// The body's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Matcher>,
    /// A regular expression that the body matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// Members of the JSON body; those that are not named may be there too. Keys may be dotted paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Matcher>,
    /// How long the step took, as in "< 500ms".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Matcher>,
    /// The length of the body in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Matcher>,
    /// What must hold of every result of a concurrent or repeated step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all: Option<Box<Check>>,
    /// What must hold of at least one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<Box<Check>>,
    /// Expressions over the scope and the result's members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub that: Option<Vec<String>>,
    /// Other members, or dotted paths.
    #[serde(flatten)]
    pub paths: IndexMap<String, Matcher>,
}

/// What a value must be: a value it equals, a text like "< 500ms" for numbers and durations, or operators:
/// `{eq, ne, lt, le, gt, ge, matches, not-matches, contains, not-contains, starts-with, ends-with, in, not-in, exists, length}`.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Matcher(pub Json);

/// An operator of a matcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// The regular expression matches.
    Matches,
    /// The regular expression does not match.
    NotMatches,
    /// The text, list or object contains it.
    Contains,
    /// It does not.
    NotContains,
    /// The text starts so.
    StartsWith,
    /// The text ends so.
    EndsWith,
    /// It is one of these.
    In,
    /// It is none of these.
    NotIn,
    /// Whether there is anything (not null).
    Exists,
    /// The length fits this matcher.
    Length,
}

/// Operators with their keys and what they mean.
pub const OPERATORS: &[(&str, Operator, &str)] = &[
    ("eq", Operator::Eq, "equals"),
    ("ne", Operator::Ne, "differs from"),
    ("lt", Operator::Lt, "is less than"),
    ("le", Operator::Le, "is at most"),
    ("gt", Operator::Gt, "is greater than"),
    ("ge", Operator::Ge, "is at least"),
    ("matches", Operator::Matches, "matches the regular expression"),
    ("not-matches", Operator::NotMatches, "does not match the regular expression"),
    ("contains", Operator::Contains, "contains"),
    ("not-contains", Operator::NotContains, "does not contain"),
    ("starts-with", Operator::StartsWith, "starts with"),
    ("ends-with", Operator::EndsWith, "ends with"),
    ("in", Operator::In, "is one of"),
    ("not-in", Operator::NotIn, "is none of"),
    ("exists", Operator::Exists, "is there"),
    ("length", Operator::Length, "has the length"),
];

impl Operator {
    /// The operator with this key.
    #[must_use]
    pub fn of_key(key: &str) -> Option<Self> {
        OPERATORS.iter().find(|(name, ..)| *name == key).map(|(_, operator, _)| *operator)
    }

    /// What it means, as a predicate.
    #[must_use]
    pub fn phrase(self) -> &'static str {
        OPERATORS.iter().find(|(_, operator, _)| *operator == self).map_or("", |(.., phrase)| phrase)
    }
}

impl JsonSchema for Matcher {
    fn schema_name() -> Cow<'static, str> {
        "Matcher".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let keys: Vec<_> = OPERATORS.iter().map(|(key, ..)| format!("`{key}`")).collect();
        json_schema!({
            "description": format!(
                "What the value must be: a value, a comparison such as \"< 500ms\", or operators: {}.",
                keys.join(", ")
            )
        })
    }
}
