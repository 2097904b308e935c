//! The spec: what a server is to be, as one typed model. Everything that has a default says it here, in its type or its
//! accessor, and nowhere else.

mod access;
mod daemon;
mod draft;
pub mod relative;
mod runtime;
mod scalar;
mod server;
mod site;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::diagnostic::{Code, Diagnostic};
use crate::document::{Node, Path, merge_patch};

pub use access::{Auth, AuthScheme, Decider, DeciderScript, Groups, NoAuth, UserAuth};
pub use daemon::{Daemon, EnvValue, Handover, Recycle, Reload, Secret, SecretFrom, SecretSource, SecretTime, Timeouts};
pub use draft::Draft;
pub use runtime::{Debug, Debugging, Import, ModuleChoice, Python, RecordFormat, Restrict, Runtime, Telemetry};
pub use scalar::{
    Account, Callable, Extension, FilePath, HandlerName, HeaderName, HostName, Milliseconds, ModuleName,
    ModuleReference, Name, Network, NotYet, PlainPath, Principal, PythonVersion, Realm, SIZE_UNITS, Seconds, Size,
    Umask, UpstreamUrl, UrlPath, VariableName,
};
pub use server::{
    AccessFormat, AccessLog, CustomFormat, Endpoint, EndpointAddress, Endpoints, KeepAlive, Layout, Level, Listen, Log,
    LogFiles, LogLevels, LogTarget, Mpm, MpmSettings, PublicPorts, Rotate, Scalar, Server, ServerTokens,
};
pub use site::{
    App, Handler, Health, HealthBy, Interpreter, KeyFile, KeySource, Limits, Links, MapHead, Proxies, Redirect, Site,
    Static, Tls, TlsProfile, Upstream,
};

/// The version of the format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum FormatVersion {
    /// The first one.
    #[default]
    #[serde(rename = "confgen/1")]
    V1,
}

/// A server with its daemons and sites.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Model {
    /// The version of this format.
    pub schema: FormatVersion,
    /// The httpd itself.
    pub server: Server,
    /// The wsgi module and Python.
    pub runtime: Runtime,
    /// Groups of processes that run applications.
    pub daemons: BTreeMap<Name, Daemon>,
    /// Virtual hosts.
    pub sites: BTreeMap<Name, Site>,
    /// Patches (RFC 7396) that `--profile NAME` applies.
    pub profiles: BTreeMap<Name, BTreeMap<String, serde_json::Value>>,
    /// Which warnings about this spec are errors, and which are meant. Nothing of it is rendered.
    pub lint: Lint,
    /// Lines of httpd's own language at named places.
    pub raw: Vec<Raw>,
    /// Several nodes from one spec.
    pub hosts: Option<NotYet>,
}

/// How findings are judged.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct Lint {
    /// From which severity on a finding fails.
    pub deny: Option<LintLevel>,
    /// Findings that are meant, by code, each with its reason.
    pub allow: BTreeMap<String, LintReason>,
}

/// Severities of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LintLevel {
    /// Worth knowing.
    Note,
    /// Probably not meant.
    Warning,
    /// Wrong.
    Error,
}

/// Why a finding is meant.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("minLength" = 1, "x-expected" = "a reason"))]
pub struct LintReason(pub String);

/// Lines of httpd's own language.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// The place: `server.start`, `server.end`, `site.NAME.start`, `site.NAME.end` or `site.NAME.app./PATH`.
    pub at: String,
    /// The lines.
    pub text: String,
}

/// The schema of specs, made once.
pub(crate) static MODEL_SCHEMA: std::sync::LazyLock<serde_json::Value> =
    std::sync::LazyLock::new(crate::document::schema::of::<Model>);

/// A spec: the typed model together with the tree that it was read from, so that everything found later has its place.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The model.
    pub model: Model,
    /// The tree, profiles and overrides applied.
    pub root: Node,
}

impl std::ops::Deref for Spec {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.model
    }
}

impl Spec {
    /// Reads a tree. What can be judged without a machine is judged here: types, names, ranges, control characters;
    /// what needs one is judged by [`crate::render`].
    ///
    /// # Errors
    /// Every mistake of the tree.
    pub fn from_node(root: Node) -> Result<Self, Vec<Diagnostic>> {
        let draft = Draft::new(root);
        if draft.errors.is_empty() { Ok(draft.spec) } else { Err(draft.errors) }
    }

    /// Applies one of a tree's own profiles to it.
    ///
    /// # Errors
    /// When the tree has no such profile.
    pub fn with_profile(root: Node, profile: &str) -> Result<Node, Box<Diagnostic>> {
        let profiles = root.get("profiles").cloned();
        let known: Vec<&str> = profiles
            .as_ref()
            .and_then(Node::as_map)
            .into_iter()
            .flat_map(|map| map.entries.iter().map(|entry| entry.key.as_str()))
            .collect();
        match profiles.as_ref().and_then(|profiles| profiles.get(profile)) {
            Some(patch) => Ok(merge_patch(root, patch)),
            None => {
                let diagnostic = Diagnostic::error(Code::Reference, format!("there is no profile `{profile}`"));
                let diagnostic =
                    diagnostic.at(Path::of(["profiles"]).span(&root), "").did_you_mean(profile, known.iter().copied());
                Err(Box::new(match known.is_empty() {
                    true => diagnostic.note("the spec has no profiles"),
                    false => diagnostic.note(format!("profiles: {}", known.join(", "))),
                }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::{Style, render_all};
    use crate::document::{Document, Format};

    fn errors(text: &str) -> String {
        let root = Document::parse("spec.yaml", text, Format::Yaml).unwrap().root;
        Spec::from_node(root).map_or_else(|errors| render_all(&errors, Style::Plain), |_| String::new())
    }

    #[test]
    fn the_defaults_are_a_spec() {
        assert_eq!(errors(""), "");
        assert_eq!(
            errors(
                "schema: confgen/1\nserver: {listen: {http: 8000, https: null}}\nruntime: {restrict: {signal: false}}\n"
            ),
            ""
        );
        assert_eq!(
            errors(
                "server: {log: {to: {at: {error: /a, access: /b}}, level: debug, access: {format: '%h'}}, keep-alive: 5s}\n"
            ),
            ""
        );
        assert_eq!(
            errors(
                "daemons: {d: {env: {A: 1, B: true, C: {secret: {file: /s}}}, umask: '027', switch-interval: 0.005}}\n"
            ),
            ""
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, expected) in [
            ("server: {listen: {http: 70000}}", "`server.listen.http` is out of range: 70000"),
            ("server: {listen: {http: '127.0.0.1'}}", "expected a port, `address:port`, or a list of them"),
            ("server: {mpm: evnet}", "did you mean `event`?"),
            ("server: {log: {level: wran}}", "did you mean `warn`?"),
            ("server: {log: {level: {wsgi: infos}}}", "did you mean `info`?"),
            ("server: {log: {access: combind}}", "did you mean `combined`?"),
            ("server: {log: {to: fiels}}", "did you mean `files`?"),
            ("server: {keep-alive: maybe}", "expected true, false or a time such as 5s"),
            ("daemons: {d: {threads: -3}}", "expected 0 to 65533"),
            ("daemons: {d: {processes: many}}", "expected an integer"),
            ("daemons: {d: {thraeds: 3}}", "did you mean `threads`?"),
            ("daemons: {d: {umask: 22}}", "expected octal digits in quotes"),
            ("daemons: {d: {env: {A: 1.5}}}", "quote the value"),
            ("daemons: {d: {env: {A: {secret: {fiel: /x}}}}}", "did you mean `file`?"),
            ("runtime: {debug: {debuger: true}}", "did you mean `debugger`?"),
            ("runtime: {debug: pdb}", "expected true, false or a map"),
            ("sites: {s: {apps: {/: {auth: nome}}}}", "did you mean `none`?"),
            ("sites: {s: {apps: {/: {auth: {script: /u.py}}}}}", "`realm` is missing"),
            ("sites: {s: {apps: {/: {auth: {realm: 'a\"b', script: /u.py}}}}}", "expected text without"),
            (
                "sites: {s: {apps: {/: {auth: {realm: r, script: /u.py, groups: {any-of: []}}}}}}",
                "`sites.s.apps./.auth.groups.any-of` has too few items",
            ),
            ("sites: {s: {apps: {/: {auth: {realm: r, script: /u.py, users: ['%{x}']}}}}}", "expected a name without"),
            ("sites: {s: {apps: {/: {access: a.py}}}}", "expected an absolute path"),
            ("sites: {s: {handlers: {Markdown: {script: /m.py}}}}", "cannot be a key of `sites.s.handlers`"),
            ("sites: {s: {handlers: {m: {script: /m.py, extensions: [md]}}}}", "expected an ending such as .md"),
            ("sites: {s: {static: {/: {dir: /d, handler: A}}}}", "expected a name of small letters"),
            ("daemons: {'a b': {}}", "cannot be a key of `daemons`"),
            ("sites: {s: {hosts: ['a b']}}", "expected a host name"),
            ("sites: {s: {tls: {cert: /c}}}", "`key` is missing in `sites.s.tls`"),
            ("sites: {s: {proxies: {trust: [foo], headers: [X]}}}", "expected an IP address or a network"),
            ("sites: {s: {apps: {app: {script: /a}}}}", "cannot be a key of `sites.s.apps`"),
            (
                "server: {environment: {A: \"x\\nInclude /etc/passwd\"}}",
                "the value of `server.environment.A` contains a line break",
            ),
            ("schema: confgen/2", "did you mean `confgen/1`?"),
            ("lint: {allow: {CG225: ''}}", "expected a reason"),
            ("hosts: {a: {}}", "known, not supported yet"),
        ] {
            let shown = errors(text);
            assert!(shown.contains(expected), "{text}\n{shown}");
            assert_eq!(shown.matches("error[").count(), 1, "{text}\n{shown}");
        }
    }

    #[test]
    fn a_profile_is_a_patch() {
        let root = Document::parse(
            "s",
            "server: {name: a, mpm: event}\nprofiles: {dev: {server: {mpm: null, name: b}}}\n",
            Format::Yaml,
        )
        .unwrap()
        .root;
        let spec = Spec::from_node(Spec::with_profile(root.clone(), "dev").unwrap()).unwrap();
        assert_eq!(spec.server.name.as_ref().unwrap().as_str(), "b");
        assert_eq!(spec.server.mpm, Mpm::Auto);
        assert!(Spec::with_profile(root, "dve").unwrap_err().help[0].contains("`dev`"));
    }
}
