//! Keys of the spec that become one directive or one option each: a line in a table is all that such a key needs.

use crate::spec::{App, Daemon, EnvValue, Handover, MapHead, Model, Mpm, MpmSettings, RecordFormat, Reload, Scalar};

/// A key that becomes a directive of the multi-processing module.
pub(super) struct MpmSetting {
    pub(super) directive: &'static str,
    pub(super) key: &'static str,
    pub(super) mpms: &'static [Mpm],
    pub(super) value: fn(&MpmSettings) -> Option<u64>,
}

const ALL: &[Mpm] = &[Mpm::Event, Mpm::Worker, Mpm::Prefork];
const THREADED: &[Mpm] = &[Mpm::Event, Mpm::Worker];

macro_rules! mpm_settings {
    ($($directive:literal [$key:literal] $mpms:expr, $value:expr;)+) => {
        /// In the order in which httpd wants limits before what they limit.
        pub(super) const MPM: &[MpmSetting] = &[
            $(MpmSetting { directive: $directive, key: $key, mpms: $mpms, value: $value },)+
        ];
    };
}

mpm_settings! {
    "ServerLimit" ["server-limit"] ALL, |s| s.server_limit.map(Into::into);
    "ThreadLimit" ["thread-limit"] THREADED, |s| s.thread_limit.map(Into::into);
    "StartServers" ["start-servers"] ALL, |s| s.start_servers.map(Into::into);
    "ThreadsPerChild" ["threads-per-child"] THREADED, |s| s.threads_per_child.map(Into::into);
    "MaxRequestWorkers" ["max-request-workers"] ALL, |s| s.max_request_workers.map(Into::into);
    "MinSpareServers" ["min-spare-servers"] &[Mpm::Prefork], |s| s.min_spare_servers.map(Into::into);
    "MaxSpareServers" ["max-spare-servers"] &[Mpm::Prefork], |s| s.max_spare_servers.map(Into::into);
    "MinSpareThreads" ["min-spare-threads"] THREADED, |s| s.min_spare_threads.map(Into::into);
    "MaxSpareThreads" ["max-spare-threads"] THREADED, |s| s.max_spare_threads.map(Into::into);
    "MaxConnectionsPerChild" ["max-connections-per-child"] ALL, |s| s.max_connections_per_child.map(Into::into);
    "AsyncRequestWorkerFactor" ["async-request-worker-factor"] &[Mpm::Event], |s| s.async_request_worker_factor.map(Into::into);
    "ThreadStackSize" ["thread-stack-size"] THREADED, |s| s.thread_stack_size.map(|size| size.0);
    "ListenBackLog" ["listen-backlog"] ALL, |s| s.listen_backlog.map(Into::into);
    "GracefulShutdownTimeout" ["graceful-shutdown-timeout"] ALL, |s| s.graceful_shutdown_timeout.map(|time| time.0);
}

/// A key that becomes a directive of the main server; each of the values becomes a line of its own.
pub(super) struct GlobalSetting {
    pub(super) directive: &'static str,
    pub(super) key: &'static [&'static str],
    pub(super) values: fn(&Model) -> Vec<String>,
}

macro_rules! global_settings {
    ($($directive:literal [$($key:literal).+] $values:expr;)+) => {
        /// In the order in which they are rendered.
        pub(super) const GLOBAL: &[GlobalSetting] = &[
            $(GlobalSetting { directive: $directive, key: &[$($key),+], values: $values },)+
        ];
    };
}

global_settings! {
    "WSGIRestrictStdin" ["runtime"."restrict"."stdin"] |m| flag(m.runtime.restrict.stdin);
    "WSGIRestrictStdout" ["runtime"."restrict"."stdout"] |m| flag(m.runtime.restrict.stdout);
    "WSGIRestrictSignal" ["runtime"."restrict"."signal"] |m| flag(m.runtime.restrict.signal);
    "WSGIRestrictEmbedded" ["runtime"."restrict"."embedded"] |m| flag(super::embedded::restricted(m));
    "WSGIPython" ["runtime"."python"."version"] |m| one(m.runtime.python.version.as_ref());
    "WSGIPythonHome" ["runtime"."python"."venv"] |m| one(m.runtime.python.venv.as_ref());
    "WSGIPythonHome" ["runtime"."python"."home"] |m| one(m.runtime.python.home.as_ref());
    "WSGIPythonPath" ["runtime"."python"."path"] |m| joined(&m.runtime.python.path);
    "WSGIPythonEggs" ["runtime"."python"."eggs"] |m| one(m.runtime.python.eggs.as_ref());
    "WSGIPythonOptimize" ["runtime"."python"."optimize"] |m| one(m.runtime.python.optimize);
    "WSGIPythonWarnings" ["runtime"."python"."warnings"] |m| m.runtime.python.warnings.clone();
    "WSGIDontWriteBytecode" ["runtime"."python"."dont-write-bytecode"] |m| flag(m.runtime.python.dont_write_bytecode);
    "WSGIPythonHashSeed" ["runtime"."python"."hash-seed"] |m| one(m.runtime.python.hash_seed.as_ref());
    "WSGISwitchInterval" ["runtime"."python"."switch-interval"] |m| one(m.runtime.python.switch_interval);
    "WSGIPerInterpreterGIL" ["runtime"."python"."per-interpreter-gil"] |m| flag(m.runtime.python.per_interpreter_gil);
    "WSGIFreeThreading" ["runtime"."python"."free-threading"] |m| flag(m.runtime.python.free_threading);
    "WSGIDestroyInterpreter" ["runtime"."destroy-interpreters"] |m| flag(m.runtime.destroy_interpreters);
    "WSGIServerMetrics" ["runtime"."server-metrics"] |m| flag(m.runtime.server_metrics);
    "WSGIVerboseDebugging" ["runtime"."verbose"] |m| flag(m.runtime.verbose);
    "WSGITelemetryOptions" ["runtime"."telemetry"."options"] |m| m.runtime.telemetry.as_ref().map(|telemetry| telemetry.options.clone()).unwrap_or_default();
    "WSGISlowRequests" ["runtime"."telemetry"."slow-requests"] |m| one(m.runtime.telemetry.as_ref().and_then(|telemetry| telemetry.slow_requests));
    "WSGIMaximumInterpreters" ["runtime"."maximum-interpreters"] |m| one(m.runtime.maximum_interpreters);
    "WSGILogFormat" ["runtime"."log-format"] |m| {
        one(m.runtime.log_format.map(|format| match format {
            RecordFormat::Text => "text",
            RecordFormat::Json => "json",
        }))
    };
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
    "handover" ["handover"] |d| d.handover.map(|handover| match handover {
        Handover::Overlap => "overlap".to_owned(),
        Handover::Sequential => "sequential".to_owned(),
    });
    "handover-timeout" ["timeouts"."handover"] |d| text(d.timeouts.handover);
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
