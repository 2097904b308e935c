//! The table of hooks: a phase, an order, a safe function. Each goes through the panic wall.

use std::ffi::{CStr, c_char, c_int};

use crate::config::{Generation, Hosts, Main, Registry, ServerConfig, uses_embedded};
use crate::engines::{
    DaemonEngine, Engine, EngineError, Engines, Wanted, can_own_gil, check_home, home_serves, is_free_threaded,
};
use crate::guard::wall;
use crate::host::status::Answer;
use crate::host::{MainState, Mpm, Pool, Request, Server, Target, log, main_state, refuse_unknown, serving_user};
use crate::interpreter_options::{of_process, scopes};
use crate::observe::children::Children;
use crate::{codes, daemon, directives, dispatch, embedded, mapping, observe, scripts, sys};

/// The level of mod_wsgi that frameworks check for, and our own version.
const COMPONENTS: [&CStr; 2] = [c"mod_wsgi/6.1.1", OWN_COMPONENT];

/// The first of them, for the metrics.
pub(crate) const COMPATIBLE_VERSION: &str = "6.1.1";

const OWN_COMPONENT: &CStr = {
    match CStr::from_bytes_with_nul(concat!("mod_wsgi_rs/", env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("the version holds no NUL byte"),
    }
};

/// One hook.
enum Hook {
    /// The configuration was read, and nothing of it was carried out.
    PreConfig(sys::ap_HOOK_pre_config_t),
    CheckConfig(sys::ap_HOOK_check_config_t),
    PostConfig(sys::ap_HOOK_post_config_t),
    /// After the core, which makes the scoreboard.
    PreMpm(sys::ap_HOOK_pre_mpm_t),
    ChildInit(sys::ap_HOOK_child_init_t),
    ChildStatus(sys::ap_HOOK_child_status_t),
    /// In the parent, every ten seconds or sooner.
    Monitor(sys::ap_HOOK_monitor_t),
    /// After and before these modules.
    TranslateName(sys::ap_HOOK_translate_name_t, Names, Names),
    /// After and before these modules.
    AccessChecker(sys::ap_HOOK_access_checker_t, Names, Names),
    Handler(sys::ap_HOOK_handler_t),
}

/// Names of modules, ended by null.
struct Names(&'static [*const c_char]);

// SAFETY: constant texts.
unsafe impl Sync for Names {}

static HOOKS: [Hook; 10] = [
    Hook::PreConfig(Some(pre_config)),
    Hook::CheckConfig(Some(check_config)),
    Hook::PostConfig(Some(post_config)),
    Hook::PreMpm(Some(pre_mpm)),
    Hook::ChildInit(Some(child_init)),
    Hook::ChildStatus(Some(child_status)),
    Hook::Monitor(Some(monitor)),
    Hook::TranslateName(
        Some(request_hook::<Translate>),
        Names(&[c"mod_alias.c".as_ptr(), std::ptr::null()]),
        Names(&[c"mod_userdir.c".as_ptr(), c"mod_vhost_alias.c".as_ptr(), std::ptr::null()]),
    ),
    Hook::AccessChecker(
        Some(request_hook::<CheckAccess>),
        Names(&[c"mod_ssl.c".as_ptr(), std::ptr::null()]),
        Names(&[c"mod_authz_host.c".as_ptr(), std::ptr::null()]),
    ),
    Hook::Handler(Some(request_hook::<Handle>)),
];

/// Registers all hooks.
pub(crate) fn register() {
    const MIDDLE: c_int = sys::APR_HOOK_MIDDLE.cast_signed();
    const LAST: c_int = sys::APR_HOOK_LAST.cast_signed();
    let nobody = std::ptr::null();
    for hook in &HOOKS {
        // SAFETY: the functions have the phases' types; the lists end in null and live as long as the module.
        unsafe {
            match hook {
                Hook::PreConfig(function) => sys::ap_hook_pre_config(*function, nobody, nobody, MIDDLE),
                Hook::CheckConfig(function) => sys::ap_hook_check_config(*function, nobody, nobody, MIDDLE),
                Hook::PostConfig(function) => sys::ap_hook_post_config(*function, nobody, nobody, MIDDLE),
                Hook::PreMpm(function) => sys::ap_hook_pre_mpm(*function, nobody, nobody, LAST),
                Hook::ChildInit(function) => sys::ap_hook_child_init(*function, nobody, nobody, MIDDLE),
                Hook::ChildStatus(function) => sys::ap_hook_child_status(*function, nobody, nobody, MIDDLE),
                Hook::Monitor(function) => sys::ap_hook_monitor(*function, nobody, nobody, MIDDLE),
                Hook::TranslateName(function, after, before) => {
                    sys::ap_hook_translate_name(*function, after.0.as_ptr(), before.0.as_ptr(), MIDDLE);
                }
                Hook::AccessChecker(function, after, before) => {
                    // A script decides by the path: what it allowed for one path says nothing about another path under
                    // the same configuration. With "per configuration", httpd would skip all checks of such internal
                    // requests, those of other modules included.
                    let always = sys::AP_AUTH_INTERNAL_PER_URI.cast_signed();
                    sys::ap_hook_check_access(*function, after.0.as_ptr(), before.0.as_ptr(), MIDDLE, always);
                }
                Hook::Handler(function) => sys::ap_hook_handler(*function, nobody, nobody, MIDDLE),
            }
        }
    }
    observe::register();
}

/// A hook of a request's processing.
trait RequestHook {
    /// Its name in the log.
    const NAME: &'static str;
    /// What it does.
    fn run(request: Request<'_>) -> impl Answer;
}

struct Translate;

impl RequestHook for Translate {
    const NAME: &'static str = "translate_name";

    fn run(request: Request<'_>) -> impl Answer {
        mapping::translate(request)
    }
}

struct CheckAccess;

impl RequestHook for CheckAccess {
    const NAME: &'static str = "the access checker";

    fn run(request: Request<'_>) -> impl Answer {
        scripts::check_access(request)
    }
}

struct Handle;

impl RequestHook for Handle {
    const NAME: &'static str = "the handler";

    fn run(request: Request<'_>) -> impl Answer {
        dispatch::handle(request)
    }
}

unsafe extern "C" fn request_hook<H: RequestHook>(request: *mut sys::request_rec) -> c_int {
    let failed = sys::HTTP_INTERNAL_SERVER_ERROR.cast_signed();
    wall(H::NAME, failed, || {
        // SAFETY: Apache passes a request that lives during the hook.
        let request = unsafe { Request::from_raw(request) };
        H::run(request).for_apache(request)
    })
}

/// Why a configuration is not used.
#[derive(Debug, thiserror::Error)]
enum ConfigError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("WSGIDaemonProcess {group}: {reason}")]
    Group { group: String, reason: EngineError },
    #[error(transparent)]
    Daemon(#[from] daemon::Failed),
    #[error("the configuration was never settled")]
    Unsettled,
}

unsafe extern "C" fn pre_config(pool: *mut sys::apr_pool_t, _: *mut sys::apr_pool_t, _: *mut sys::apr_pool_t) -> c_int {
    wall("pre_config", (), || {
        // SAFETY: Apache passes the configuration's pool.
        refuse_unknown(unsafe { Pool::from_raw(pool) }, &directives::refusal_of_unknown);
    });
    sys::OK.cast_signed()
}

unsafe extern "C" fn check_config(
    pool: *mut sys::apr_pool_t,
    _: *mut sys::apr_pool_t,
    _: *mut sys::apr_pool_t,
    server: *mut sys::server_rec,
) -> c_int {
    config_hook("check_config", pool, server, |registry, server| {
        registry.settle(server, generation(registry, server)?);
        Ok(())
    })
}

unsafe extern "C" fn post_config(
    pool: *mut sys::apr_pool_t,
    _: *mut sys::apr_pool_t,
    _: *mut sys::apr_pool_t,
    server: *mut sys::server_rec,
) -> c_int {
    config_hook("post_config", pool, server, |registry, server| {
        // The first configuration is thrown away.
        if main_state() == MainState::InitialStartup {
            return Ok(());
        }
        for component in COMPONENTS {
            // SAFETY: the configuration's pool is alive, and the text is copied.
            unsafe { sys::ap_add_version_component(registry.pool().raw(), component.as_ptr()) };
        }
        let generation = registry.generation().ok_or(ConfigError::Unsettled)?;
        observe::settle(server, registry);
        if generation.engine.is_some() {
            // Without the page nothing is missing but its metrics.
            let _ = Children::new(Mpm::hard_limits().0).map(|children| registry.children().set(children));
        }
        Ok(daemon::start(server, registry)?)
    })
}

fn config_hook(
    name: &'static str,
    pool: *mut sys::apr_pool_t,
    server: *mut sys::server_rec,
    run: impl FnOnce(&'static Registry, Server<'static>) -> Result<(), ConfigError>,
) -> c_int {
    let failed = sys::HTTP_INTERNAL_SERVER_ERROR.cast_signed();
    wall(name, failed, || {
        // SAFETY: Apache passes the configuration's pool and the main server.
        let (pool, server): (Pool<'static>, Server<'static>) =
            unsafe { (Pool::from_raw(pool), Server::from_raw(server)) };
        match run(Registry::of(pool), server) {
            Ok(()) => sys::OK.cast_signed(),
            Err(error) => {
                log::server(server, &codes::ENGINE_REFUSED, format_args!("{error}"));
                failed
            }
        }
    })
}

unsafe extern "C" fn pre_mpm(_: *mut sys::apr_pool_t, _: sys::ap_scoreboard_e) -> c_int {
    wall("pre_mpm", (), || {
        let config = log::main_server().and_then(ServerConfig::of);
        if let Some(work) = config.and_then(|config| config.registry().with_scoreboard().take()) {
            work();
        }
    });
    sys::OK.cast_signed()
}

unsafe extern "C" fn monitor(_: *mut sys::apr_pool_t, server: *mut sys::server_rec) -> c_int {
    wall("monitor", (), || {
        // SAFETY: Apache passes the main server.
        let server: Server<'static> = unsafe { Server::from_raw(server) };
        if let Some(config) = ServerConfig::of(server)
            && let Some(work) = &*config.registry().at_times().borrow()
        {
            work();
        }
    });
    sys::DECLINED
}

unsafe extern "C" fn child_init(child: *mut sys::apr_pool_t, server: *mut sys::server_rec) {
    wall("child_init", (), || {
        // SAFETY: Apache passes the child's pool and the main server.
        let (child, server): (Pool<'static>, Server<'static>) =
            unsafe { (Pool::from_raw(child), Server::from_raw(server)) };
        let registry = ServerConfig::of(server).map(ServerConfig::registry);
        let Some((registry, generation)) = registry.and_then(|registry| Some((registry, registry.generation()?)))
        else {
            log::info(Target::Process, format_args!("The configuration was never settled."));
            return;
        };
        daemon::child_init(registry);
        if let Some(children) = registry.children().get() {
            children.join();
        }
        embedded::child_init(registry, generation, child);
    });
}

unsafe extern "C" fn child_status(
    server: *mut sys::server_rec,
    pid: libc::pid_t,
    _: sys::ap_generation_t,
    _: c_int,
    state: sys::mpm_child_status,
) {
    // One that has lost its slot of the scoreboard to a successor still serves.
    if state != sys::MPM_CHILD_EXITED {
        return;
    }
    wall("child_status", (), || {
        // SAFETY: Apache passes the main server.
        let server: Server<'static> = unsafe { Server::from_raw(server) };
        if let Some(config) = ServerConfig::of(server) {
            daemon::child_ended(config.registry(), pid);
            if let Some(children) = config.registry().children().get() {
                children.ended(pid);
            }
        }
    });
}

/// Settles what was read: chooses and checks the engines.
fn generation(registry: &Registry, server: Server<'_>) -> Result<Generation, ConfigError> {
    let draft = registry.draft().borrow();
    let main = draft.main.clone();
    let engines = Engines::beside_module()?;
    let version = main.python.as_deref().map(|version| ("WSGIPython", version));
    let home = main.python_home.as_deref().map(|home| ("WSGIPythonHome", home));
    let engine = if uses_embedded(&main, &draft.imports) {
        let user = serving_user();
        let engine = engines.choose(Wanted { version, home })?.check_library(&user)?;
        if let Some((asked_by, home)) = home {
            check_home(asked_by, home, &user)?;
        }
        Some(engine)
    } else {
        None
    };
    let mut groups = draft.groups.clone();
    let group_engines = groups.iter_mut().map(|group| {
        let below = |home: &[u8]| [group.chroot.as_deref().unwrap_or_default(), home].concat();
        // What is said of the group's Python goes before what is said of the server's: a group on another Python than
        // the one of the server's home does not inherit that.
        let own = group.python.as_deref().map(|version| ("python", version));
        let inherited = home.filter(|(_, home)| own.is_none_or(|(_, version)| home_serves(&below(home), version)));
        let named = group.python_home.as_deref().map(|home| ("python-home", home)).or(inherited);
        // The processes will find it below their root.
        let real = named.map(|(asked_by, home)| (asked_by, below(home)));
        let wanted = Wanted {
            version: own.or(version.filter(|_| group.python_home.is_none())),
            home: real.as_ref().map(|(asked_by, home)| (*asked_by, &home[..])),
        };
        let engine = engines.choose(wanted).and_then(Engine::open_daemon);
        group.python_home = named.map(|(_, home)| home.to_vec());
        engine.map_err(|reason| ConfigError::Group { group: group.display().into_owned(), reason })
    });
    let group_engines: Vec<DaemonEngine> = group_engines.collect::<Result<_, _>>()?;
    let embedded = engine.as_ref().map(|engine| (&b""[..], engine.version.as_str()));
    let daemons = draft.groups.iter().map(|group| group.name.as_slice());
    let daemons = daemons.zip(group_engines.iter().map(|engine| engine.version.as_str()));
    for (process_group, version) in embedded.into_iter().chain(daemons) {
        warn_of_version(server, &main, process_group, version);
    }
    Ok(Generation {
        group_engines,
        groups,
        imports: draft.imports.clone(),
        mpm: Mpm::ask(),
        hosts: Hosts::count(server),
        json_log: ServerConfig::of(server).is_some_and(ServerConfig::json_log),
        engine,
        main,
    })
}

/// Warns of what the Python of a process cannot do.
fn warn_of_version(server: Server<'_>, main: &Main, process_group: &[u8], version: &str) {
    let process = match process_group {
        b"" => "embedded mode".to_owned(),
        group => format!("daemon process '{}'", String::from_utf8_lossy(group)),
    };
    let own_gil = scopes(&main.scoped, &main.blocks, process_group).iter().any(|scope| scope.own_gil == Some(true));
    if own_gil && !can_own_gil(version) {
        log::server(
            server,
            &codes::OWN_GIL_UNAVAILABLE,
            format_args!(
                "WSGIPerInterpreterGIL requires Python 3.12 or later; directive has no effect in {process}, which runs \
                 Python {version}."
            ),
        );
    }
    let free_threading = of_process(&main.scoped, &main.blocks, process_group, |values| values.free_threading);
    if free_threading == Some(true) && !is_free_threaded(version) {
        log::server(
            server,
            &codes::FREE_THREADING_UNAVAILABLE,
            format_args!(
                "WSGIFreeThreading On has no effect in {process}: this Python build ({version}) does not support \
                 free-threading (PEP 703). Choose a free-threaded engine, such as python=3.13t."
            ),
        );
    }
}
