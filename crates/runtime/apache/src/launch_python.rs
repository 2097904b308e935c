//! What a process that runs Python is told: from the configuration to [`wsgi_protocol::launch::Python`].

use wsgi_protocol::launch::{Import, Python, Restrict, Server, Telemetry};

use crate::config::{Generation, ServerConfig};
use crate::daemon::inside;
use crate::directives::{self, DaemonGroup};
use crate::host::{is_single_process, server_description};
use crate::interpreter_options::{Scoped, of_process, scopes, split_path};

fn imports(generation: &Generation, process_group: &[u8]) -> Vec<Import> {
    let mut imports: Vec<Import> = Vec::new();
    for import in generation.imports.iter().filter(|import| import.process_group == process_group) {
        let import = Import { script: import.script.clone(), application_group: import.application_group.clone() };
        // Two aliases of one script load it once.
        if !imports.contains(&import) {
            imports.push(import);
        }
    }
    imports
}

fn restrict(main: &Scoped) -> Restrict {
    Restrict {
        stdin: main.restrict_stdin.unwrap_or(directives::RESTRICT_STDIN.flag()),
        stdout: main.restrict_stdout.unwrap_or(directives::RESTRICT_STDOUT.flag()),
        signal: main.restrict_signal.unwrap_or(directives::RESTRICT_SIGNAL.flag()),
    }
}

fn common(generation: &Generation, process_group: &[u8]) -> Python {
    let main = &generation.main;
    let free_threading = of_process(&main.scoped, &main.blocks, process_group, |values| values.free_threading);
    let (version, description, build_date) = server_description();
    Python {
        optimize: main.python_optimize.unwrap_or(0),
        warnings: main.python_warnings.clone(),
        hash_seed: main.hash_seed,
        dont_write_bytecode: main.dont_write_bytecode.unwrap_or(directives::DONT_WRITE_BYTECODE.flag()),
        destroy_interpreter: main.destroy_interpreter.unwrap_or(directives::DESTROY_INTERPRETER.flag()),
        telemetry: main.telemetry.as_ref().map(|service| Telemetry {
            target: service.target.clone(),
            path: service.path.clone(),
            interval: service.interval,
            slow_requests: main.slow_requests.unwrap_or(0.0),
            capture_user_agent: main.capture_user_agent,
        }),
        switch_interval: of_process(&main.scoped, &main.blocks, process_group, |values| values.switch_interval),
        free_threading: free_threading.unwrap_or(directives::FREE_THREADING.flag()),
        restrict: restrict(&main.scoped),
        scopes: scopes(&main.scoped, &main.blocks, process_group),
        maximum_interpreters: maximum_interpreters(generation),
        kept_interpreters: generation.hosts.servers,
        server: Server {
            version,
            description,
            build_date,
            mpm_name: generation.mpm.name.clone().into_bytes(),
            maximum_processes: generation.mpm.maximum_processes,
            threads_per_process: generation.mpm.threads_per_process,
        },
        ..Python::default()
    }
}

/// `WSGIMaximumInterpreters`. Where it is not set, a configuration with many applications is not refused any of them.
fn maximum_interpreters(generation: &Generation) -> u32 {
    let hosts = &generation.hosts;
    generation.main.maximum_interpreters.unwrap_or_else(|| {
        let own = hosts.servers.saturating_add(hosts.aliases);
        directives::MAXIMUM_INTERPRETERS.number().max(own)
    })
}

/// For an Apache child.
pub(crate) fn embedded(generation: &Generation) -> Python {
    let main = &generation.main;
    let mpm = &generation.mpm;
    Python {
        home: main.python_home.clone(),
        path: split_path(main.scoped.python_path.as_deref()),
        eggs: main.python_eggs.clone(),
        imports: imports(generation, b""),
        json_log: generation.json_log,
        maximum_processes: mpm.maximum_processes,
        threads_per_process: mpm.threads_per_process,
        multithread: mpm.threads_per_process != 1,
        multiprocess: mpm.maximum_processes != 1,
        console: is_single_process(),
        server_metrics: main.server_metrics.unwrap_or(directives::SERVER_METRICS.flag()),
        ..common(generation, b"")
    }
}

/// What a daemon group loads at the start; in a chroot, by the names that the scripts have there. A name that lies
/// outside is taken for one inside already, as mod_wsgi takes all of them.
fn group_imports(generation: &Generation, group: &DaemonGroup) -> Vec<Import> {
    let mut imports = imports(generation, &group.name);
    if let Some(root) = &group.chroot {
        for import in &mut imports {
            if let Some(below) = inside(root, &import.script) {
                import.script = below.to_vec();
            }
        }
    }
    imports
}

/// For a process of a daemon group. The server's own path and eggs are for embedded mode only.
pub(crate) fn daemon(generation: &Generation, group: &DaemonGroup) -> Python {
    let common = common(generation, &group.name);
    Python {
        home: group.python_home.clone(),
        path: split_path(group.python_path.as_deref()),
        eggs: group.python_eggs.clone(),
        working_directory: group.home.clone(),
        switch_interval: group.switch_interval.or(common.switch_interval),
        imports: group_imports(generation, group),
        json_log: ServerConfig::of(group.server).is_some_and(ServerConfig::json_log),
        process_group: group.name.clone(),
        maximum_processes: group.processes,
        threads_per_process: group.threads,
        multithread: group.threads != 1,
        multiprocess: group.multiprocess,
        server_metrics: group.server_metrics,
        run_once: group.threads == 1 && group.maximum_requests == 1,
        ..common
    }
}
