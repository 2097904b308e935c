//! Who may come in, and where a request goes: scripts that decide on requests before an application sees them. They run in
//! Apache's own processes, also for applications of a daemon.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{FilePath, Principal, Realm};
use super::site::Interpreter;

/// A script that decides on requests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Decider {
    /// The script, in the first interpreter.
    File(FilePath),
    /// The script and its interpreter.
    Script(DeciderScript),
}

/// A script that decides on requests, and its interpreter.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DeciderScript {
    /// The script.
    pub script: FilePath,
    /// The interpreter: `main` (default) or a name.
    #[serde(default)]
    pub interpreter: Interpreter,
}

impl Decider {
    /// The script and its interpreter.
    pub fn parts(&self) -> (&FilePath, &Interpreter) {
        match self {
            Self::File(script) => (script, &Interpreter::Main),
            Self::Script(DeciderScript { script, interpreter }) => (script, interpreter),
        }
    }
}

/// Who has to say who they are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Auth {
    /// Nobody, whatever holds further out.
    Open(NoAuth),
    /// Everybody.
    Users(Box<UserAuth>),
}

/// Nobody has to say who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NoAuth {
    /// Open to everybody.
    None,
}

/// How users are known, and which of them come in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct UserAuth {
    /// What browsers show when they ask for a password.
    pub realm: Realm,
    /// The script that knows the users: `check_password` for Basic, `get_realm_hash` for Digest authentication.
    pub script: FilePath,
    /// The script's interpreter: `main` (default) or a name.
    #[serde(default)]
    pub interpreter: Interpreter,
    /// How passwords are sent. Default: `basic`.
    #[serde(rename = "type", default)]
    pub scheme: AuthScheme,
    /// The users that come in. Default: everyone whom the script knows; with `groups` also everyone in one of these.
    #[serde(default)]
    pub users: Vec<Principal>,
    /// The groups whose members come in.
    #[serde(default)]
    pub groups: Option<Groups>,
}

/// How passwords are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthScheme {
    /// As they are; over TLS only they stay secret.
    #[default]
    Basic,
    /// As a hash with what the server gave.
    Digest,
}

/// Groups of users.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Groups {
    /// The script with `groups_for_user`. Default: the script that knows the users.
    #[serde(default)]
    pub script: Option<FilePath>,
    /// The script's interpreter: `main` (default) or a name.
    #[serde(default)]
    pub interpreter: Interpreter,
    /// Membership in one of these is enough.
    #[schemars(length(min = 1))]
    pub any_of: Vec<Principal>,
}
