//! `sites`: virtual hosts and what they serve.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::access::{Auth, Decider};
use super::scalar::{
    Callable, Extension, FilePath, HandlerName, HeaderName, HostName, ModuleReference, Name, Network, PlainPath,
    Seconds, Size, UpstreamUrl, UrlPath, VariableName,
};
use super::server::Scalar;

/// A virtual host.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Site {
    /// Its host names; the first is canonical. Without any, the site answers for every name that no other site has.
    pub hosts: Vec<HostName>,
    /// Where plain requests are sent. Default: `https` for a site with TLS, `none` for others. Files of `static` below
    /// `/.well-known/acme-challenge/` are served without a redirect, so that a certificate can be renewed.
    pub redirect: Option<Redirect>,
    /// TLS; needs `server.listen.https`.
    pub tls: Option<Tls>,
    /// Applications by URL path.
    pub apps: BTreeMap<UrlPath, App>,
    /// Files and directories by URL path. The longest path wins, whatever it serves.
    #[serde(rename = "static")]
    pub statics: BTreeMap<PlainPath, Static>,
    /// Scripts that serve files of a kind, or whatever lies below a path of `static`.
    pub handlers: BTreeMap<HandlerName, Handler>,
    /// Limits on requests.
    pub limits: Limits,
    /// Proxies in front of the server whose word is taken.
    pub proxies: Option<Proxies>,
    /// Other servers by URL path. The longest path wins, whatever it serves.
    pub upstreams: BTreeMap<PlainPath, Upstream>,
    /// A URL for health checks. What httpd answers itself it answers on every port, also where others are redirected, and for names that
    /// no site has, such as the server's address.
    pub health: Option<Health>,
    /// Variables of the request (`SetEnv`), seen in the WSGI environ.
    pub env: BTreeMap<VariableName, Scalar>,
    /// The only daemons that requests of this site may reach; `embedded` for Apache's own processes.
    pub restrict_process: Vec<Name>,
}

impl Site {
    /// Where plain requests are sent: a site with TLS is not served without it unless that is said.
    pub fn redirect(&self) -> Redirect {
        self.redirect.unwrap_or(if self.tls.is_some() { Redirect::Https } else { Redirect::None })
    }
}

/// Where plain requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Redirect {
    /// They are served.
    None,
    /// To the same host by https.
    Https,
    /// To the canonical host by https; so are requests by https for the other names.
    CanonicalHttps,
}

/// TLS of a site.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Tls {
    /// The profile of Mozilla's server-side TLS guidelines.
    #[serde(default)]
    pub profile: TlsProfile,
    /// The certificate with its chain, PEM.
    pub cert: FilePath,
    /// The private key, PEM.
    pub key: KeySource,
    /// How long browsers remember to use https only.
    #[serde(default)]
    pub hsts: Option<Seconds>,
    /// Certificates of clients have to be signed by one of these, PEM.
    #[serde(default)]
    pub client_ca: Option<FilePath>,
    /// How many authorities may stand between a client's certificate and the end of its chain. Default: httpd's (1).
    #[serde(default)]
    #[schemars(range(min = 1, max = 20))]
    pub verify_depth: Option<u32>,
}

/// A profile of Mozilla's guidelines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TlsProfile {
    /// TLS 1.3 only.
    Modern,
    /// TLS 1.2 and 1.3.
    #[default]
    Intermediate,
}

/// Where the private key is.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum KeySource {
    /// A file.
    Path(FilePath),
    /// A file.
    File(KeyFile),
}

impl KeySource {
    /// The file.
    pub fn file(&self) -> &FilePath {
        match self {
            Self::Path(file) | Self::File(KeyFile { file }) => file,
        }
    }
}

/// A file with a private key.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyFile {
    /// The file.
    pub file: FilePath,
}

/// An application.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct App {
    /// A WSGI script, or (with a slash at the end) a directory of them.
    pub script: Option<FilePath>,
    /// A module and the application in it: `package.module:callable`.
    pub module: Option<ModuleReference>,
    /// The daemon that runs it. Without: Apache's own processes (embedded mode).
    pub daemon: Option<Name>,
    /// The interpreter: `main` (default), `resource` (one per script), or a name.
    pub interpreter: Interpreter,
    /// The application's name in the script. Default: `application`.
    pub callable: Option<Callable>,
    /// Whether it is loaded when a process starts, or on its first request. Default: true.
    #[serde(default = "yes")]
    pub preload: bool,
    /// Whether it sees the Authorization header.
    pub pass_authorization: Option<bool>,
    /// Whether requests may be chunked.
    pub chunked: Option<bool>,
    /// Whether a changed script is loaded. Default: what the daemon's `reload` says.
    pub script_reloading: Option<bool>,
    /// Whether httpd's error pages replace those of the application (daemons only).
    pub error_override: Option<bool>,
    /// How HEAD requests are passed.
    pub map_head_to_get: Option<MapHead>,
    /// Whether its requests leave the daemon's inactivity timer alone.
    pub ignore_activity: Option<bool>,
    /// Whether the system's sendfile is used for files.
    pub enable_sendfile: Option<bool>,
    /// The only daemons that its requests may reach; `embedded` for Apache's own processes.
    pub restrict_process: Vec<Name>,
    /// A script that says of each request whether it may come in (`allow_access`). It holds for everything below the path, also
    /// for files and for other applications that have none of their own.
    pub access: Option<Decider>,
    /// Users and their passwords, or `none`. It holds for everything below the path, also for files and for other applications
    /// that have none of their own.
    pub auth: Option<Auth>,
    /// A script that chooses daemon, interpreter and callable for each request. It holds for everything below the path, also for
    /// other applications that have none of their own; `restrict-process` says which daemons it may choose.
    pub dispatch: Option<Decider>,
    /// Variables of the request (`SetEnv`), seen in the WSGI environ.
    pub env: BTreeMap<VariableName, Scalar>,
    /// Scripts to import before it, into the same processes and interpreter.
    pub import: Vec<FilePath>,
}

fn yes() -> bool {
    true
}

/// How HEAD requests are passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MapHead {
    /// As they are.
    Off,
    /// As GET.
    On,
    /// As GET when a filter needs the body.
    Auto,
}

/// Which interpreter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "String", into = "String")]
pub enum Interpreter {
    /// The first one of the process.
    #[default]
    Main,
    /// One per script.
    Resource,
    /// One with a name.
    Named(String),
}

impl From<String> for Interpreter {
    fn from(text: String) -> Self {
        match text.as_str() {
            "main" => Self::Main,
            "resource" => Self::Resource,
            _ => Self::Named(text),
        }
    }
}

impl From<Interpreter> for String {
    fn from(interpreter: Interpreter) -> Self {
        match interpreter {
            Interpreter::Main => "main".to_owned(),
            Interpreter::Resource => "resource".to_owned(),
            Interpreter::Named(name) => name,
        }
    }
}

impl JsonSchema for Interpreter {
    fn schema_name() -> Cow<'static, str> {
        "Interpreter".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "minLength": 1,
            "maxLength": 200,
            "x-expected": "`main`, `resource` or a name",
        })
    }
}

/// Files that httpd serves itself.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Static {
    /// A directory.
    pub dir: Option<FilePath>,
    /// A single file.
    pub file: Option<FilePath>,
    /// How long clients may keep a copy.
    pub cache: Option<Seconds>,
    /// Whether text is sent compressed.
    pub compress: bool,
    /// Whether a directory without an index is listed.
    pub listing: bool,
    /// Whether files and directories are served whose name begins with a dot, such as `.env`, `.git` and `.htpasswd`. Default: false;
    /// `.well-known` is served in any case.
    pub hidden: bool,
    /// Which symbolic links below the directory are followed.
    pub links: Links,
    /// One of the site's `handlers`, which serves whatever lies below the path.
    pub handler: Option<HandlerName>,
    /// A script that says of each request whether it may come in (`allow_access`).
    pub access: Option<Decider>,
    /// Users and their passwords, or `none`.
    pub auth: Option<Auth>,
}

/// Which symbolic links are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Links {
    /// Those whose target belongs to the owner of the link (`SymLinksIfOwnerMatch`).
    #[default]
    SameOwner,
    /// All of them (`FollowSymLinks`), wherever they lead.
    All,
    /// None.
    None,
}

/// A script that serves resources which are no scripts themselves (`handle_request`).
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Handler {
    /// The script.
    pub script: FilePath,
    /// The daemon that runs it. Without: Apache's own processes (embedded mode).
    #[serde(default)]
    pub daemon: Option<Name>,
    /// The interpreter: `main` (default), `resource` (one per resource), or a name.
    #[serde(default)]
    pub interpreter: Interpreter,
    /// Whether it sees the Authorization header.
    #[serde(default)]
    pub pass_authorization: Option<bool>,
    /// Endings of the files of this site that it serves.
    #[serde(default)]
    pub extensions: Vec<Extension>,
}

/// Limits on requests.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Limits {
    /// The largest request body; 0 is without limit.
    pub body: Option<Size>,
    /// For the whole header to arrive.
    pub header_timeout: Option<Seconds>,
    /// For the body to arrive, extended as long as it keeps coming.
    pub body_timeout: Option<Seconds>,
}

/// Proxies in front of the server.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Proxies {
    /// Their addresses or networks.
    #[schemars(length(min = 1))]
    pub trust: Vec<Network>,
    /// The headers that are taken from them.
    #[schemars(length(min = 1))]
    pub headers: Vec<HeaderName>,
}

/// Another server.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Upstream {
    /// Its address.
    pub to: UpstreamUrl,
    /// Whether a connection may become a WebSocket.
    #[serde(default)]
    pub websocket: bool,
    /// How long it may take to answer.
    #[serde(default)]
    pub timeout: Option<Seconds>,
}

/// A URL for health checks.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Health {
    /// The path.
    pub path: PlainPath,
    /// Who answers.
    #[serde(default)]
    pub answers: HealthBy,
}

/// Who answers a health check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HealthBy {
    /// httpd, without Python.
    #[default]
    Httpd,
    /// The application at that path.
    App,
}
