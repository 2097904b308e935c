//! What the templates see: values with the keys that they came from, nothing that has to be decided any more.

use askama::Template;

use super::origin::Arg;

#[derive(Template)]
#[template(path = "single/httpd.conf")]
pub(super) struct HttpdConf<'a> {
    pub(super) version: &'a str,
    pub(super) dollar: bool,
    pub(super) server: ServerView,
    pub(super) mpm_modules: Vec<ModuleView>,
    pub(super) modules: Vec<ModuleView>,
    pub(super) logs: LogsView,
    pub(super) runtime: RuntimeView,
    pub(super) daemons: Vec<DaemonView>,
    pub(super) imports: Vec<ImportView>,
    pub(super) hosts: Vec<HostView>,
}

pub(super) struct ServerView {
    pub(super) block: Arg,
    pub(super) root: Arg,
    pub(super) name: Arg,
    pub(super) user: Option<Arg>,
    pub(super) group: Option<Arg>,
    pub(super) lines: Vec<Line>,
    pub(super) listen_block: Arg,
    pub(super) listen: Vec<EndpointView>,
    pub(super) mpm_block: Arg,
    pub(super) mpm_lines: Vec<Line>,
    pub(super) types: Arg,
    /// Whether a site has TLS: its sessions are resumed in whichever process takes the next connection.
    pub(super) tls: bool,
    pub(super) log_block: Arg,
    pub(super) start: Vec<RawView>,
    pub(super) end: Vec<RawView>,
}

pub(super) struct EndpointView {
    pub(super) address: Arg,
    pub(super) tls: bool,
}

pub(super) struct ModuleView {
    pub(super) name: String,
    pub(super) file: Arg,
}

pub(super) struct LogsView {
    pub(super) error: Arg,
    pub(super) levels: Vec<Arg>,
    pub(super) access: Option<AccessView>,
}

pub(super) struct AccessView {
    pub(super) target: Arg,
    pub(super) format: Arg,
}

pub(super) struct RuntimeView {
    pub(super) block: Arg,
    pub(super) module: Arg,
    pub(super) lines: Vec<Line>,
}

/// A directive with its words.
pub(super) struct Line {
    pub(super) directive: &'static str,
    pub(super) words: Vec<Word>,
}

/// A word, in quotes unless it is bare; with the option's name in front when it is the value of one.
pub(super) struct Word {
    pub(super) arg: Arg,
    pub(super) bare: bool,
    pub(super) option: Option<&'static str>,
}

impl Word {
    /// A number, a flag, a name of httpd's own.
    pub(super) fn bare(arg: Arg) -> Self {
        Self { arg, bare: true, option: None }
    }

    /// Any text.
    pub(super) fn quoted(arg: Arg) -> Self {
        Self { arg, bare: false, option: None }
    }

    /// `option="value"`.
    pub(super) fn option(name: &'static str, arg: Arg) -> Self {
        Self { arg, bare: false, option: Some(name) }
    }
}

impl Line {
    /// A directive whose words are numbers, flags and names of httpd's own.
    pub(super) fn bare(directive: &'static str, args: impl IntoIterator<Item = Arg>) -> Self {
        Self { directive, words: args.into_iter().map(Word::bare).collect() }
    }

    /// A directive whose words are quoted.
    pub(super) fn quoted(directive: &'static str, args: impl IntoIterator<Item = Arg>) -> Self {
        Self { directive, words: args.into_iter().map(Word::quoted).collect() }
    }
}

pub(super) struct DaemonView {
    pub(super) block: Arg,
    pub(super) name: Arg,
    pub(super) options: Vec<OptionView>,
}

pub(super) struct OptionView {
    pub(super) name: &'static str,
    pub(super) value: Arg,
}

pub(super) struct ImportView {
    pub(super) block: Arg,
    pub(super) script: Arg,
    pub(super) process_group: Arg,
    pub(super) application_group: Arg,
}

pub(super) struct HostView {
    pub(super) block: Arg,
    pub(super) addresses: Vec<Arg>,
    pub(super) name: Arg,
    pub(super) aliases: Vec<Arg>,
    pub(super) tls: Option<TlsView>,
    pub(super) content: Content,
}

#[expect(clippy::large_enum_variant, reason = "a handful per server")]
pub(super) enum Content {
    Refuse(Option<ExceptView>),
    Redirect(Arg, Option<ExceptView>),
    Serve(SiteView),
}

/// What a host serves that otherwise redirects or refuses.
pub(super) struct ExceptView {
    /// The alternatives of an expression that fit its paths from their first slash on.
    pub(super) paths: Arg,
    pub(super) sites: Vec<SiteView>,
}

pub(super) struct TlsView {
    pub(super) block: Arg,
    pub(super) profile: Arg,
    pub(super) guidelines: &'static str,
    pub(super) cert: Arg,
    pub(super) key: Arg,
    pub(super) protocols: &'static str,
    pub(super) ciphers: Option<&'static str>,
    pub(super) client_ca: Option<Arg>,
    pub(super) verify_depth: Option<Arg>,
    pub(super) hsts: Option<Arg>,
}

pub(super) struct SiteView {
    pub(super) start: Vec<RawView>,
    pub(super) end: Vec<RawView>,
    pub(super) lines: Vec<Line>,
    pub(super) health: Option<HealthView>,
    pub(super) statics: Vec<StaticView>,
    /// In the order in which httpd looks: the first that fits wins.
    pub(super) proxies: Vec<ProxyView>,
    pub(super) apps: Vec<AppView>,
    pub(super) locations: Vec<LocationView>,
}

/// What holds for the URLs below a path.
pub(super) struct LocationView {
    pub(super) block: Arg,
    pub(super) regex: bool,
    /// Of the path; what lies deeper has the longer one.
    pub(super) length: usize,
    pub(super) path: Arg,
    pub(super) lines: Vec<Line>,
    pub(super) raw: Vec<RawView>,
}

pub(super) struct HealthView {
    pub(super) block: Arg,
    pub(super) alias: AliasView,
    pub(super) directory: Arg,
}

/// A URL path and the file or directory that it stands for.
pub(super) struct AliasView {
    pub(super) regex: bool,
    pub(super) path: Arg,
    pub(super) target: Arg,
}

/// Where httpd is told of files.
pub(super) enum Place {
    Root(Arg),
    Alias(AliasView),
}

pub(super) struct StaticView {
    pub(super) block: Arg,
    pub(super) place: Place,
    pub(super) directory: Arg,
    pub(super) only: Option<Arg>,
    pub(super) options: Arg,
    /// The expression for what is not served, if there is anything.
    pub(super) closed: Option<Arg>,
}

/// What is passed on to another server, or kept from it.
pub(super) enum ProxyView {
    Pass(UpstreamView),
    Keep(KeptView),
}

/// A path that lies below an upstream and is served here.
pub(super) struct KeptView {
    pub(super) regex: bool,
    pub(super) path: Arg,
}

pub(super) struct UpstreamView {
    pub(super) block: Arg,
    pub(super) path: Arg,
    pub(super) to: Arg,
    pub(super) websocket: bool,
    pub(super) timeout: Option<Arg>,
}

pub(super) struct AppView {
    pub(super) block: Arg,
    pub(super) regex: bool,
    pub(super) path: Arg,
    pub(super) script: Arg,
    pub(super) options: Vec<OptionView>,
    pub(super) imports: Vec<ImportView>,
    pub(super) grants: Vec<Grant>,
}

/// A directory, or one file in it, that is opened.
pub(super) struct Grant {
    pub(super) directory: Arg,
    pub(super) only: Option<Arg>,
}

#[derive(Clone)]
pub(super) struct RawView {
    pub(super) block: Arg,
    pub(super) lines: Vec<Arg>,
}

/// The script that loads an application from a module.
#[derive(Template)]
#[template(path = "_partials/app.wsgi")]
pub(super) struct AppScript<'a> {
    pub(super) key: &'a str,
    pub(super) module: &'a str,
    pub(super) callable: &'a str,
    pub(super) first: &'a str,
    pub(super) rest: Option<&'a str>,
}

/// The script that serves an application under a debugger. Values are Python's own literals and names.
#[derive(Template)]
#[template(path = "_partials/debug.wsgi")]
pub(super) struct DebugScript<'a> {
    pub(super) key: &'a str,
    /// What the terminal is told when it is loaded.
    pub(super) notice: String,
    /// The working directory.
    pub(super) home: Option<String>,
    /// The name of the module that it becomes, and its file; otherwise `module` is imported.
    pub(super) name: String,
    pub(super) script: Option<String>,
    pub(super) module: &'a str,
    pub(super) callable: &'a str,
    pub(super) debugger: bool,
    pub(super) at_start: bool,
}

/// The script that watches the modules of an interpreter.
#[derive(Template)]
#[template(path = "_partials/monitor.py", escape = "none")]
pub(super) struct Monitor<'a> {
    pub(super) key: &'a str,
}

/// A list of MIME types for machines that have none.
#[derive(Template)]
#[template(path = "_partials/mime.types")]
pub(super) struct MimeTypes;
