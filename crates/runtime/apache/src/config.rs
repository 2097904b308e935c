//! What the directives set: per directory ([`Settings`]), per server ([`ServerConfig`]), and for a whole configuration
//! ([`Draft`] while it is read, [`Generation`] once it is settled).
//!
//! Everything here lives on the configuration's pool and dies with it; the module itself may be unloaded then.

use std::cell::{Cell, RefCell};
use std::ffi::CStr;
use std::sync::OnceLock;

use crate::daemon::Daemons;
use crate::directives::{self, DaemonGroup, TelemetryService};
use crate::embedded::Embedded;
use crate::engines::{DaemonEngine, Engine};
use crate::host::{HandlerSetting, Mpm, Pool, Regex, Request, Server};
use crate::interpreter_options::{Block, Scoped};
use crate::module;
use crate::observe::children::Children;
use crate::proxies::{Header, Subnet};
use crate::scripts::Scripts;
use crate::tokens::Token;

/// `WSGIMapHEADToGET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapHead {
    /// The application sees HEAD.
    Off,
    /// The application sees GET.
    On,
    /// GET when a filter needs the body.
    Auto,
}

/// What applies to a directory or location. Unset values are `None`, so that an outer scope shows through. Texts live
/// in the pool of the settings.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Settings<'p> {
    pub(crate) process_group: Option<Token<'p>>,
    pub(crate) application_group: Option<Token<'p>>,
    pub(crate) callable: Option<Token<'p>>,
    pub(crate) restrict_process: Option<&'p [&'p [u8]]>,
    pub(crate) pass_authorization: Option<bool>,
    pub(crate) script_reloading: Option<bool>,
    pub(crate) error_override: Option<bool>,
    pub(crate) chunked_request: Option<bool>,
    pub(crate) map_head: Option<MapHead>,
    pub(crate) ignore_activity: Option<bool>,
    pub(crate) enable_sendfile: Option<bool>,
    pub(crate) trusted_headers: Option<&'p [&'static Header]>,
    /// The `SetHandler` of a section that says itself who is allowed.
    pub(crate) admitted_handler: Option<HandlerSetting>,
    pub(crate) trusted_proxies: Option<&'p [Subnet]>,
    pub(crate) pass_apache_request: Option<bool>,
    pub(crate) scripts: Option<&'p Scripts<'p>>,
}

impl<'p> Settings<'p> {
    /// The one merge: what the inner scope sets replaces what the outer one set.
    pub(crate) fn merge(pool: Pool<'p>, outer: &Self, inner: &Self) -> Self {
        Self {
            process_group: inner.process_group.or(outer.process_group),
            application_group: inner.application_group.or(outer.application_group),
            callable: inner.callable.or(outer.callable),
            restrict_process: inner.restrict_process.or(outer.restrict_process),
            pass_authorization: inner.pass_authorization.or(outer.pass_authorization),
            script_reloading: inner.script_reloading.or(outer.script_reloading),
            error_override: inner.error_override.or(outer.error_override),
            chunked_request: inner.chunked_request.or(outer.chunked_request),
            map_head: inner.map_head.or(outer.map_head),
            ignore_activity: inner.ignore_activity.or(outer.ignore_activity),
            enable_sendfile: inner.enable_sendfile.or(outer.enable_sendfile),
            trusted_headers: inner.trusted_headers.or(outer.trusted_headers),
            admitted_handler: inner.admitted_handler.or(outer.admitted_handler),
            trusted_proxies: inner.trusted_proxies.or(outer.trusted_proxies),
            pass_apache_request: inner.pass_apache_request.or(outer.pass_apache_request),
            scripts: Scripts::merge(pool, outer.scripts, inner.scripts),
        }
    }

    /// `WSGIPassApacheRequest`.
    pub(crate) fn passes_request(&self) -> bool {
        self.pass_apache_request.unwrap_or(directives::PASS_APACHE_REQUEST.flag())
    }

    /// The settings that apply to a request.
    pub(crate) fn of<'r>(request: Request<'r>) -> &'r Settings<'r> {
        let settings = request.directory_config(module::index()).cast::<Settings<'r>>();
        // SAFETY: `module` is the only one that stores there, and only settings, which live at least as long as the
        // request. Shortening their lifetime is what `Settings<'p>` allows.
        unsafe { settings.as_ref() }.unwrap_or(&NOTHING_SET)
    }
}

static NOTHING_SET: Settings<'static> = Settings {
    process_group: None,
    application_group: None,
    callable: None,
    restrict_process: None,
    pass_authorization: None,
    script_reloading: None,
    error_override: None,
    chunked_request: None,
    map_head: None,
    ignore_activity: None,
    enable_sendfile: None,
    trusted_headers: None,
    admitted_handler: None,
    trusted_proxies: None,
    pass_apache_request: None,
    scripts: None,
};

/// How an alias finds its URLs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pattern<'p> {
    /// `WSGIScriptAlias`: a prefix.
    Prefix(&'p CStr),
    /// `WSGIScriptAliasMatch`: an expression.
    Expression(Regex),
}

/// `WSGIScriptAlias` or `WSGIScriptAliasMatch`. Texts live as long as the configuration.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Alias<'p> {
    pub(crate) pattern: Pattern<'p>,
    pub(crate) target: &'p CStr,
    pub(crate) process_group: Option<Token<'p>>,
    pub(crate) application_group: Option<Token<'p>>,
    /// Literal: tokens do not count here.
    pub(crate) callable: Option<&'p [u8]>,
    pub(crate) pass_authorization: Option<bool>,
}

/// What belongs to the main server or a virtual host.
pub(crate) struct ServerConfig {
    server: Server<'static>,
    registry: &'static Registry,
    own: RefCell<Vec<Alias<'static>>>,
    joined: OnceLock<Box<[Alias<'static>]>>,
    /// `WSGILogFormat json`.
    json: Cell<Option<bool>>,
}

impl ServerConfig {
    /// An empty one.
    pub(crate) fn new(server: Server<'static>, registry: &'static Registry) -> Self {
        Self { server, registry, own: RefCell::default(), joined: OnceLock::new(), json: Cell::new(None) }
    }

    /// The configuration of a server.
    pub(crate) fn of<'s>(server: Server<'s>) -> Option<&'s ServerConfig> {
        // SAFETY: `module` is the only one that stores there, and only this type, for as long as the server lives.
        unsafe { server.module_config(module::index()).cast::<ServerConfig>().as_ref() }
    }

    /// The configuration as a whole.
    pub(crate) fn registry(&self) -> &'static Registry {
        self.registry
    }

    /// `WSGILogFormat`, while the configuration is read.
    pub(crate) fn set_json_log(&self, json: bool) {
        self.json.set(Some(json));
    }

    /// Whether application log records are JSON here.
    pub(crate) fn json_log(&self) -> bool {
        self.json.get().unwrap_or(false)
    }

    /// Adds an alias while the configuration is read.
    pub(crate) fn add_alias(&self, alias: Alias<'static>) {
        self.own.borrow_mut().push(alias);
    }

    /// Joins the aliases: a virtual host's own come before the main server's.
    fn settle(&self, main: &ServerConfig) {
        let mut aliases = self.own.borrow().clone();
        if self.server != main.server {
            aliases.extend(main.own.borrow().iter().copied());
        }
        self.json.set(self.json.get().or(main.json.get()));
        // Settled once per configuration; the main server is met more than once when virtual hosts share its own.
        let _ = self.joined.set(aliases.into_boxed_slice());
    }

    /// The aliases in the order in which they are tried.
    pub(crate) fn aliases<'s>(&'s self) -> &'s [Alias<'s>] {
        self.joined.get().map_or(&[], |aliases| aliases)
    }
}

/// Server-wide values, from the main server only.
#[derive(Clone, Debug, Default)]
pub(crate) struct Main {
    pub(crate) python: Option<String>,
    pub(crate) python_home: Option<Vec<u8>>,
    pub(crate) python_eggs: Option<Vec<u8>>,
    pub(crate) python_optimize: Option<u8>,
    pub(crate) python_warnings: Vec<Vec<u8>>,
    pub(crate) hash_seed: Option<u32>,
    pub(crate) dont_write_bytecode: Option<bool>,
    pub(crate) destroy_interpreter: Option<bool>,
    pub(crate) server_metrics: Option<bool>,
    pub(crate) telemetry: Option<TelemetryService>,
    /// Seconds.
    pub(crate) slow_requests: Option<f64>,
    pub(crate) capture_user_agent: bool,
    pub(crate) restrict_embedded: Option<bool>,
    pub(crate) case_sensitivity: Option<bool>,
    pub(crate) maximum_interpreters: Option<u32>,
    pub(crate) socket_prefix: Option<Vec<u8>>,
    /// Outside of all `<WSGIInterpreterOptions>` blocks.
    pub(crate) scoped: Scoped,
    /// `<WSGIInterpreterOptions>`, in their order.
    pub(crate) blocks: Vec<Block>,
    /// A script that decides on requests is configured: it runs in Apache's children.
    pub(crate) deciding_scripts: bool,
}

/// A script to load when a process starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImportScript {
    pub(crate) script: Vec<u8>,
    /// Empty is embedded mode.
    pub(crate) process_group: Vec<u8>,
    pub(crate) application_group: Vec<u8>,
}

/// A configuration while it is read.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) main: Main,
    pub(crate) groups: Vec<DaemonGroup>,
    pub(crate) imports: Vec<ImportScript>,
    /// The `<WSGIInterpreterOptions>` blocks that are being read, by their number, the innermost last.
    pub(crate) open: Vec<usize>,
}

impl Draft {
    /// Where a directive that may stand in `<WSGIInterpreterOptions>` puts its value.
    pub(crate) fn scoped(&mut self) -> &mut Scoped {
        match self.open.last().and_then(|number| self.main.blocks.get_mut(*number)) {
            Some(block) => &mut block.values,
            None => &mut self.main.scoped,
        }
    }
}

/// How much there is of what has application groups of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hosts {
    /// The main server and the virtual hosts.
    pub(crate) servers: u32,
    /// Their aliases.
    pub(crate) aliases: u32,
}

impl Hosts {
    /// Counts, while the configuration is read.
    pub(crate) fn count(main: Server<'_>) -> Self {
        let mut hosts = Self::default();
        let mut next = Some(main);
        while let Some(server) = next {
            hosts.servers += 1;
            let aliases = ServerConfig::of(server).map_or(0, |config| config.own.borrow().len());
            hosts.aliases = hosts.aliases.saturating_add(u32::try_from(aliases).unwrap_or(u32::MAX));
            next = server.next();
        }
        hosts
    }
}

/// A configuration once it is settled.
#[derive(Debug)]
pub(crate) struct Generation {
    pub(crate) main: Main,
    /// In the order of their definition.
    pub(crate) groups: Vec<DaemonGroup>,
    pub(crate) imports: Vec<ImportScript>,
    pub(crate) mpm: Mpm,
    pub(crate) hosts: Hosts,
    /// `WSGILogFormat json` of the main server.
    pub(crate) json_log: bool,
    /// The engine of embedded mode; `None` when embedded mode is not used.
    pub(crate) engine: Option<Engine>,
    /// The engine of each group, in the groups' order.
    pub(crate) group_engines: Vec<DaemonEngine>,
}

impl Generation {
    /// The daemon group of this name, with its position.
    pub(crate) fn group(&self, name: &[u8]) -> Option<(usize, &DaemonGroup)> {
        self.groups.iter().enumerate().find(|(_, group)| group.name == name)
    }

    /// `WSGIRestrictEmbedded`.
    pub(crate) fn restricts_embedded(&self) -> bool {
        self.main.restrict_embedded.unwrap_or(directives::RESTRICT_EMBEDDED.flag())
    }

    /// `WSGICaseSensitivity`.
    pub(crate) fn folds_case(&self) -> bool {
        !self.main.case_sensitivity.unwrap_or(directives::CASE_SENSITIVITY.flag())
    }
}

/// Whether Apache's children run Python: unless `WSGIRestrictEmbedded On`, or when a script is imported there or decides
/// on requests all the same.
pub(crate) fn uses_embedded(main: &Main, imports: &[ImportScript]) -> bool {
    !main.restrict_embedded.unwrap_or(directives::RESTRICT_EMBEDDED.flag())
        || main.deciding_scripts
        || imports.iter().any(|import| import.process_group.is_empty())
}

/// One configuration, from its first directive to the end of its last child.
pub(crate) struct Registry {
    pool: Pool<'static>,
    draft: RefCell<Draft>,
    generation: OnceLock<Generation>,
    /// The engine in this child; set by the child itself.
    embedded: OnceLock<Embedded>,
    daemons: OnceLock<Daemons>,
    /// What is to be done once the server has its scoreboard.
    with_scoreboard: RefCell<Option<Box<dyn FnOnce()>>>,
    /// What the parent does every now and then.
    at_times: RefCell<Option<Box<dyn Fn()>>>,
    /// Apache's children that run Python; made by the parent.
    children: OnceLock<Children>,
    /// The pid of this process in digits, so that no request asks the kernel for it.
    process: OnceLock<String>,
}

const KEY: &CStr = c"mod_wsgi_rs configuration";

impl Registry {
    /// The configuration that lives on this pool.
    pub(crate) fn of(pool: Pool<'static>) -> &'static Registry {
        // SAFETY: only this function stores under the key.
        unsafe { pool.recall::<Registry>(KEY) }.unwrap_or_else(|| {
            let registry = Registry {
                pool,
                draft: RefCell::default(),
                generation: OnceLock::new(),
                embedded: OnceLock::new(),
                daemons: OnceLock::new(),
                with_scoreboard: RefCell::default(),
                at_times: RefCell::default(),
                children: OnceLock::new(),
                process: OnceLock::new(),
            };
            pool.remember(KEY, registry)
        })
    }

    /// The configuration's pool.
    pub(crate) fn pool(&self) -> Pool<'static> {
        self.pool
    }

    /// The configuration while it is read. Only configuration code, which has one thread, calls this.
    pub(crate) fn draft(&self) -> &RefCell<Draft> {
        &self.draft
    }

    /// Settles the configuration: nothing changes it afterwards.
    pub(crate) fn settle(&self, main_server: Server<'_>, generation: Generation) -> &Generation {
        if let Some(main) = ServerConfig::of(main_server) {
            let mut next = Some(main_server);
            while let Some(server) = next {
                if let Some(config) = ServerConfig::of(server) {
                    config.settle(main);
                }
                next = server.next();
            }
        }
        self.generation.get_or_init(|| generation)
    }

    /// The settled configuration.
    pub(crate) fn generation(&self) -> Option<&Generation> {
        self.generation.get()
    }

    /// The engine in this Apache child.
    pub(crate) fn embedded(&self) -> &OnceLock<Embedded> {
        &self.embedded
    }

    /// The pid of this child in digits. The parent, which serves nothing, must not ask.
    pub(crate) fn process(&self) -> &[u8] {
        self.process.get_or_init(|| std::process::id().to_string()).as_bytes()
    }

    /// What is to be done once the server has its scoreboard. Only the parent, which has one thread, calls this.
    pub(crate) fn with_scoreboard(&self) -> &RefCell<Option<Box<dyn FnOnce()>>> {
        &self.with_scoreboard
    }

    /// What the parent, which has one thread, does every now and then.
    pub(crate) fn at_times(&self) -> &RefCell<Option<Box<dyn Fn()>>> {
        &self.at_times
    }

    /// Apache's children that run Python.
    pub(crate) fn children(&self) -> &OnceLock<Children> {
        &self.children
    }

    /// The running daemons of this configuration.
    pub(crate) fn daemons(&self) -> &OnceLock<Daemons> {
        &self.daemons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Covers: rule:config/merge-directory-over-server, rule:mapping/process-group-cancel
    #[test]
    fn inner_values_replace_outer_ones() {
        let outer = Settings {
            process_group: Some(Token::Literal(b"outer")),
            pass_authorization: Some(true),
            error_override: Some(true),
            ..Settings::default()
        };
        let inner =
            Settings { process_group: Some(Token::Global), pass_authorization: Some(false), ..Settings::default() };
        let merged = Settings::merge(Pool::nowhere(), &outer, &inner);
        assert_eq!(merged.process_group, Some(Token::Global));
        assert_eq!(merged.pass_authorization, Some(false));
        assert_eq!(merged.error_override, Some(true));
        assert_eq!(merged.chunked_request, None);
    }

    // Covers: rule:mapping/restrict-embedded
    #[test]
    fn python_runs_in_children_unless_restricted() {
        let mut main = Main::default();
        assert!(uses_embedded(&main, &[]));
        main.restrict_embedded = Some(true);
        assert!(!uses_embedded(&main, &[]));
        let import =
            ImportScript { script: b"/a.wsgi".to_vec(), process_group: Vec::new(), application_group: Vec::new() };
        assert!(uses_embedded(&main, &[import]));
        main.deciding_scripts = true;
        assert!(uses_embedded(&main, &[]));
    }
}
