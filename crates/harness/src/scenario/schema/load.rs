//! The load step.

use schemars::JsonSchema;
use serde::Deserialize;

use super::http::Http;
use super::matrix::OneOrMany;
use super::step::Deferred;
use crate::scenario::quantity::Time;

/// Requests by several clients for some time, counted. With `during`, they go on while those steps are done, as for restarts
/// under load. A failed request fails the step unless its `check` says something about `failed`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Load {
    /// A request or a list of requests that every client sends in turn. Redirects and cookies are left alone.
    pub requests: OneOrMany<Http>,
    /// How many clients. Default: 8.
    #[serde(default)]
    #[schemars(range(min = 1, max = 512))]
    pub clients: Option<u32>,
    /// Whether clients keep their connections, open one for each request, or (default) the one half does this and the other that.
    #[serde(default)]
    pub connections: Connections,
    /// At least so long. Default: 1s, or with `during` or `total` until that is done.
    #[serde(default, rename = "for")]
    pub length: Option<Time>,
    /// Ends after so many requests of all clients together.
    #[serde(default)]
    pub total: Option<u64>,
    /// What each client waits between an answer and its next request. Default: nothing.
    #[serde(default)]
    pub pause: Option<Time>,
    /// The longest time of one request. Default: 10s.
    #[serde(default)]
    pub timeout: Option<Time>,
    /// Statuses that count as served. Default: all below 400.
    #[serde(default)]
    pub accept: OneOrMany<u16>,
    /// A regular expression that the body of every served answer must match.
    #[serde(default)]
    pub matches: Option<String>,
    /// Steps done while the clients send; the load ends after the last of them.
    #[serde(default)]
    pub during: Vec<Deferred>,
}

/// What clients do with their connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Connections {
    /// Every other client keeps its connection.
    #[default]
    Mixed,
    /// All keep theirs until the server closes it.
    Kept,
    /// One for each request.
    Fresh,
}
