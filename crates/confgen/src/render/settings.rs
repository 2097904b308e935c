//! Keys of the spec that become one directive or one option each: a line in a table is all that such a key needs.

use crate::spec::{App, Daemon, EnvValue, MapHead, Model, Mpm, MpmSettings, RecordFormat, Reload, Scalar};

/// A key that becomes a directive of the multi-processing module.
pub(super) struct MpmSetting {
    pub(super) directive: &'static str,
    pub(super) key: &'static str,
    pub(super) mpms: &'static [Mpm],
    pub(super) value: fn(&MpmSettings) -> Option<u64>,
}

const ALL: &[Mpm] = &[Mpm::Event, Mpm::Worker, Mpm::Prefork];
const THREADED: &[Mpm] = &[Mpm::Event, Mpm::Worker];

/// In the order in which httpd wants limits before what they limit.
pub(super) const MPM: &[MpmSetting] = &[
    MpmSetting { directive: "ServerLimit", key: "server-limit", mpms: ALL, value: |s| s.server_limit.map(Into::into) },
    MpmSetting {
        directive: "ThreadLimit",
        key: "thread-limit",
        mpms: THREADED,
        value: |s| s.thread_limit.map(Into::into),
    },
    MpmSetting {
        directive: "StartServers",
        key: "start-servers",
        mpms: ALL,
        value: |s| s.start_servers.map(Into::into),
    },
    MpmSetting {
        directive: "ThreadsPerChild",
        key: "threads-per-child",
        mpms: THREADED,
        value: |s| s.threads_per_child.map(Into::into),
    },
    MpmSetting {
        directive: "MaxRequestWorkers",
        key: "max-request-workers",
        mpms: ALL,
        value: |s| s.max_request_workers.map(Into::into),
    },
    MpmSetting {
        directive: "MinSpareServers",
        key: "min-spare-servers",
        mpms: &[Mpm::Prefork],
        value: |s| s.min_spare_servers.map(Into::into),
    },
    MpmSetting {
        directive: "MaxSpareServers",
        key: "max-spare-servers",
        mpms: &[Mpm::Prefork],
        value: |s| s.max_spare_servers.map(Into::into),
    },
    MpmSetting {
        directive: "MinSpareThreads",
        key: "min-spare-threads",
        mpms: THREADED,
        value: |s| s.min_spare_threads.map(Into::into),
    },
    MpmSetting {
        directive: "MaxSpareThreads",
        key: "max-spare-threads",
        mpms: THREADED,
        value: |s| s.max_spare_threads.map(Into::into),
    },
    MpmSetting {
        directive: "MaxConnectionsPerChild",
        key: "max-connections-per-child",
        mpms: ALL,
        value: |s| s.max_connections_per_child.map(Into::into),
    },
    MpmSetting {
        directive: "AsyncRequestWorkerFactor",
        key: "async-request-worker-factor",
        mpms: &[Mpm::Event],
        value: |s| s.async_request_worker_factor.map(Into::into),
    },
    MpmSetting {
        directive: "ThreadStackSize",
        key: "thread-stack-size",
        mpms: THREADED,
        value: |s| s.thread_stack_size.map(|size| size.0),
    },
    MpmSetting {
        directive: "ListenBackLog",
        key: "listen-backlog",
        mpms: ALL,
        value: |s| s.listen_backlog.map(Into::into),
    },
    MpmSetting {
        directive: "GracefulShutdownTimeout",
        key: "graceful-shutdown-timeout",
        mpms: ALL,
        value: |s| s.graceful_shutdown_timeout.map(|time| time.0),
    },
];

/// A key that becomes a directive of the main server; each of the values becomes a line of its own.
pub(super) struct GlobalSetting {
    pub(super) directive: &'static str,
    pub(super) key: &'static [&'static str],
    pub(super) values: fn(&Model) -> Vec<String>,
}

pub(super) const GLOBAL: &[GlobalSetting] = &[
    GlobalSetting {
        directive: "WSGIRestrictStdin",
        key: &["runtime", "restrict", "stdin"],
        values: |m| flag(m.runtime.restrict.stdin),
    },
    GlobalSetting {
        directive: "WSGIRestrictStdout",
        key: &["runtime", "restrict", "stdout"],
        values: |m| flag(m.runtime.restrict.stdout),
    },
    GlobalSetting {
        directive: "WSGIRestrictSignal",
        key: &["runtime", "restrict", "signal"],
        values: |m| flag(m.runtime.restrict.signal),
    },
    GlobalSetting {
        directive: "WSGIRestrictEmbedded",
        key: &["runtime", "restrict", "embedded"],
        values: |m| flag(restrict_embedded(m)),
    },
    GlobalSetting {
        directive: "WSGIPython",
        key: &["runtime", "python", "version"],
        values: |m| one(m.runtime.python.version.as_ref()),
    },
    GlobalSetting {
        directive: "WSGIPythonHome",
        key: &["runtime", "python", "venv"],
        values: |m| one(m.runtime.python.venv.as_ref()),
    },
    GlobalSetting {
        directive: "WSGIPythonHome",
        key: &["runtime", "python", "home"],
        values: |m| one(m.runtime.python.home.as_ref()),
    },
    GlobalSetting {
        directive: "WSGIPythonPath",
        key: &["runtime", "python", "path"],
        values: |m| joined(&m.runtime.python.path),
    },
    GlobalSetting {
        directive: "WSGIPythonEggs",
        key: &["runtime", "python", "eggs"],
        values: |m| one(m.runtime.python.eggs.as_ref()),
    },
    GlobalSetting {
        directive: "WSGIPythonOptimize",
        key: &["runtime", "python", "optimize"],
        values: |m| one(m.runtime.python.optimize),
    },
    GlobalSetting {
        directive: "WSGIPythonWarnings",
        key: &["runtime", "python", "warnings"],
        values: |m| m.runtime.python.warnings.clone(),
    },
    GlobalSetting {
        directive: "WSGIDontWriteBytecode",
        key: &["runtime", "python", "dont-write-bytecode"],
        values: |m| flag(m.runtime.python.dont_write_bytecode),
    },
    GlobalSetting {
        directive: "WSGIPythonHashSeed",
        key: &["runtime", "python", "hash-seed"],
        values: |m| one(m.runtime.python.hash_seed.as_ref()),
    },
    GlobalSetting {
        directive: "WSGISwitchInterval",
        key: &["runtime", "python", "switch-interval"],
        values: |m| one(m.runtime.python.switch_interval),
    },
    GlobalSetting {
        directive: "WSGIPerInterpreterGIL",
        key: &["runtime", "python", "per-interpreter-gil"],
        values: |m| flag(m.runtime.python.per_interpreter_gil),
    },
    GlobalSetting {
        directive: "WSGIFreeThreading",
        key: &["runtime", "python", "free-threading"],
        values: |m| flag(m.runtime.python.free_threading),
    },
    GlobalSetting {
        directive: "WSGIDestroyInterpreter",
        key: &["runtime", "destroy-interpreters"],
        values: |m| flag(m.runtime.destroy_interpreters),
    },
    GlobalSetting {
        directive: "WSGIServerMetrics",
        key: &["runtime", "server-metrics"],
        values: |m| flag(m.runtime.server_metrics),
    },
    GlobalSetting {
        directive: "WSGIVerboseDebugging",
        key: &["runtime", "verbose"],
        values: |m| flag(m.runtime.verbose),
    },
    GlobalSetting {
        directive: "WSGITelemetryOptions",
        key: &["runtime", "telemetry", "options"],
        values: |m| m.runtime.telemetry.as_ref().map(|telemetry| telemetry.options.clone()).unwrap_or_default(),
    },
    GlobalSetting {
        directive: "WSGISlowRequests",
        key: &["runtime", "telemetry", "slow-requests"],
        values: |m| one(m.runtime.telemetry.as_ref().and_then(|telemetry| telemetry.slow_requests)),
    },
    GlobalSetting {
        directive: "WSGIMaximumInterpreters",
        key: &["runtime", "maximum-interpreters"],
        values: |m| one(m.runtime.maximum_interpreters),
    },
    GlobalSetting {
        directive: "WSGILogFormat",
        key: &["runtime", "log-format"],
        values: |m| {
            one(m.runtime.log_format.map(|format| match format {
                RecordFormat::Text => "text",
                RecordFormat::Json => "json",
            }))
        },
    },
];

/// Apache's children need no Python when every application has a daemon.
fn restrict_embedded(model: &Model) -> Option<bool> {
    model.runtime.restrict.embedded.or_else(|| {
        let apps = model.sites.values().flat_map(|site| site.apps.values()).map(|app| app.daemon.is_some());
        let handlers = model.sites.values().flat_map(|site| site.handlers.values());
        let mut in_daemon = apps.chain(handlers.map(|handler| handler.daemon.is_some())).peekable();
        let any = in_daemon.peek().is_some();
        let only_daemons = in_daemon.all(|daemon| daemon);
        (any && only_daemons && model.runtime.import.is_empty() && model.raw.is_empty()).then_some(true)
    })
}

/// An option of a group of daemons.
pub(super) struct DaemonSetting {
    pub(super) option: &'static str,
    pub(super) key: &'static [&'static str],
    pub(super) value: fn(&Daemon) -> Option<String>,
}

macro_rules! daemon_settings {
    ($($option:literal [$($key:literal).+] $value:expr;)+) => {
        /// In the order in which they are rendered.
        pub(super) const DAEMON: &[DaemonSetting] = &[
            $(DaemonSetting { option: $option, key: &[$($key),+], value: $value },)+
        ];
    };
}

daemon_settings! {
    "user" ["user"] |d| text(d.user.as_ref());
    "group" ["group"] |d| text(d.group.as_ref());
    "supplementary-groups" ["supplementary-groups"] |d| list(&d.supplementary_groups, ",");
    "umask" ["umask"] |d| text(d.umask.as_ref());
    "chroot" ["chroot"] |d| text(d.chroot.as_ref());
    "processes" ["processes"] |d| text(d.processes);
    "threads" ["threads"] |d| text(d.threads);
    "home" ["home"] |d| text(d.home.as_ref());
    "python" ["python"] |d| text(d.python.as_ref());
    "python-home" ["python-home"] |d| text(d.python_home.as_ref());
    "python-path" ["python-path"] |d| list(&d.python_path, ":");
    "python-eggs" ["python-eggs"] |d| text(d.python_eggs.as_ref());
    "lang" ["lang"] |d| d.lang.clone();
    "locale" ["locale"] |d| d.locale.clone();
    "display-name" ["display-name"] |d| d.display_name.clone();
    "stack-size" ["stack-size"] |d| text(d.stack_size);
    "memory-limit" ["memory-limit"] |d| text(d.memory_limit);
    "virtual-memory-limit" ["virtual-memory-limit"] |d| text(d.virtual_memory_limit);
    "cpu-time-limit" ["cpu-time-limit"] |d| text(d.cpu_time_limit);
    "cpu-priority" ["cpu-priority"] |d| text(d.cpu_priority);
    "listen-backlog" ["listen-backlog"] |d| text(d.listen_backlog);
    "socket-user" ["socket-user"] |d| text(d.socket_user.as_ref());
    "script-user" ["script-user"] |d| text(d.script_user.as_ref());
    "script-group" ["script-group"] |d| text(d.script_group.as_ref());
    "send-buffer-size" ["send-buffer-size"] |d| text(d.send_buffer_size);
    "receive-buffer-size" ["receive-buffer-size"] |d| text(d.receive_buffer_size);
    "header-buffer-size" ["header-buffer-size"] |d| text(d.header_buffer_size);
    "response-buffer-size" ["response-buffer-size"] |d| text(d.response_buffer_size);
    "response-socket-timeout" ["response-socket-timeout"] |d| text(d.response_socket_timeout);
    "response-flush-delay" ["response-flush-delay"] |d| text(d.response_flush_delay);
    "server-metrics" ["server-metrics"] |d| d.server_metrics.map(|on| switch(on).to_owned());
    "switch-interval" ["switch-interval"] |d| text(d.switch_interval);
    "shutdown-timeout" ["timeouts"."shutdown"] |d| text(d.timeouts.shutdown);
    "graceful-timeout" ["timeouts"."graceful"] |d| text(d.timeouts.graceful);
    "eviction-timeout" ["timeouts"."eviction"] |d| text(d.timeouts.eviction);
    "request-timeout" ["timeouts"."request"] |d| text(d.timeouts.request);
    "interrupt-timeout" ["timeouts"."interrupt"] |d| text(d.timeouts.interrupt);
    "startup-timeout" ["timeouts"."startup"] |d| text(d.timeouts.startup);
    "queue-timeout" ["timeouts"."queue"] |d| text(d.timeouts.queue);
    "connect-timeout" ["timeouts"."connect"] |d| text(d.timeouts.connect);
    "socket-timeout" ["timeouts"."socket"] |d| text(d.timeouts.socket);
    "inactivity-timeout" ["timeouts"."inactivity"] |d| text(d.timeouts.inactivity);
    "inactivity-timeout" ["recycle"."idle"] |d| text(d.recycle.idle);
    "deadlock-timeout" ["timeouts"."deadlock"] |d| text(d.timeouts.deadlock);
    "restart-interval" ["timeouts"."restart-interval"] |d| text(d.timeouts.restart_interval);
    "restart-interval" ["recycle"."interval"] |d| text(d.recycle.interval);
    "maximum-requests" ["recycle"."max-requests"] |d| text(d.recycle.max_requests);
    "environment-file" ["environment-file"] |d| text(d.environment_file.as_ref());
    "rolling" ["rolling"] |d| on_off(d.rolling);
    "fork-after-load" ["fork-after-load"] |d| on_off(d.fork_after_load);
}

/// The option that carries one variable of `env`.
pub(super) const SETENV: &str = "setenv";

/// The option that names a file of variables.
pub(super) const ENVIRONMENT_FILE: &str = "environment-file";

/// Variables that may be seen, as `NAME=VALUE`.
pub(super) fn plain_variables(daemon: &Daemon) -> impl Iterator<Item = (&str, String)> {
    daemon.env.iter().filter_map(|(name, value)| match value {
        EnvValue::Plain(value) => Some((name.as_str(), value.to_string())),
        EnvValue::Secret(_) => None,
    })
}

/// A key of an application that becomes a directive of its location.
pub(super) struct AppSetting {
    pub(super) directive: &'static str,
    pub(super) key: &'static str,
    pub(super) value: fn(&App, Option<&Daemon>) -> Option<String>,
}

pub(super) const APP: &[AppSetting] = &[
    AppSetting {
        directive: "WSGIPassAuthorization",
        key: "pass-authorization",
        value: |a, _| on_off(a.pass_authorization),
    },
    AppSetting { directive: "WSGIChunkedRequest", key: "chunked", value: |a, _| on_off(a.chunked) },
    AppSetting {
        directive: "WSGIScriptReloading",
        key: "script-reloading",
        value: |a, daemon| {
            let off = daemon.is_some_and(|daemon| daemon.reload == Reload::Off);
            on_off(a.script_reloading.or(off.then_some(false)))
        },
    },
    AppSetting { directive: "WSGIErrorOverride", key: "error-override", value: |a, _| on_off(a.error_override) },
    AppSetting {
        directive: "WSGIMapHEADToGET",
        key: "map-head-to-get",
        value: |a, _| {
            a.map_head_to_get.map(|map| match map {
                MapHead::Off => "Off".to_owned(),
                MapHead::On => "On".to_owned(),
                MapHead::Auto => "Auto".to_owned(),
            })
        },
    },
    AppSetting { directive: "WSGIIgnoreActivity", key: "ignore-activity", value: |a, _| on_off(a.ignore_activity) },
    AppSetting { directive: "WSGIEnableSendfile", key: "enable-sendfile", value: |a, _| on_off(a.enable_sendfile) },
];

/// Variables of a request.
pub(super) fn variables<'a, K: AsRef<str> + 'a>(
    env: impl IntoIterator<Item = (&'a K, &'a Scalar)>,
) -> Vec<(String, String)> {
    env.into_iter().map(|(name, value)| (name.as_ref().to_owned(), value.to_string())).collect()
}

/// `On` or `Off`.
pub(super) fn switch(on: bool) -> &'static str {
    if on { "On" } else { "Off" }
}

fn on_off(value: Option<bool>) -> Option<String> {
    value.map(|on| switch(on).to_owned())
}

fn flag(value: Option<bool>) -> Vec<String> {
    on_off(value).into_iter().collect()
}

fn one<T: ToString>(value: Option<T>) -> Vec<String> {
    value.map(|value| value.to_string()).into_iter().collect()
}

fn text<T: ToString>(value: Option<T>) -> Option<String> {
    value.map(|value| value.to_string())
}

fn list<T: ToString>(values: &[T], separator: &str) -> Option<String> {
    let values: Vec<String> = values.iter().map(ToString::to_string).collect();
    (!values.is_empty()).then(|| values.join(separator))
}

fn joined<T: ToString>(values: &[T]) -> Vec<String> {
    list(values, ":").into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directives;

    #[test]
    fn every_name_is_in_the_module_s_table() {
        for setting in GLOBAL {
            assert!(directives::directive(setting.directive).is_some(), "{}", setting.directive);
        }
        for setting in APP {
            let entry = directives::directive(setting.directive);
            assert!(entry.is_some_and(|entry| entry.default.is_some()), "{}", setting.directive);
        }
        for option in DAEMON.iter().map(|setting| setting.option).chain([SETENV, ENVIRONMENT_FILE]) {
            assert!(directives::daemon_option(option).is_some(), "{option}");
        }
    }
}
