//! Every option of `mod_wsgi-express start-server`, and what becomes of it.

/// An option.
#[derive(Debug)]
pub struct Opt {
    /// Its name, without dashes.
    pub name: &'static str,
    /// How many values it takes.
    pub values: usize,
    /// What becomes of it.
    pub to: To,
}

/// What becomes of an option.
#[derive(Clone, Copy, Debug)]
pub enum To {
    /// A key of the spec takes its value.
    Key(&'static [&'static str], Kind),
    /// A key of the spec is set.
    On(&'static [&'static str], Plain),
    /// Several options make a part of the spec together.
    Together,
    /// It is refused, with what to do instead.
    Refused(&'static str),
    /// It needs nothing, for this reason.
    Nothing(&'static str),
}

/// How a value is spelled in a spec.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// As it is.
    Text,
    /// A whole number.
    Number,
    /// A number.
    Float,
    /// A time in seconds.
    Seconds,
    /// A time in milliseconds.
    Milliseconds,
}

/// A value that an option without one stands for.
#[derive(Clone, Copy, Debug)]
pub enum Plain {
    /// Yes or no.
    Switch(bool),
    /// A word.
    Text(&'static str),
}

/// Every option, in the order of their names.
pub const OPTIONS: &[Opt] = &[
    Opt { name: "access-log", values: 0, to: To::Together },
    Opt { name: "access-log-format", values: 1, to: To::Together },
    Opt { name: "access-log-name", values: 1, to: To::Together },
    Opt { name: "add-handler", values: 2, to: To::Together },
    Opt {
        name: "allow-localhost",
        values: 0,
        to: To::Refused("sites are chosen by their names; add `localhost` with `--server-alias`"),
    },
    Opt {
        name: "allow-override",
        values: 1,
        to: To::Refused("`.htaccess` files are never read by what confgen renders"),
    },
    Opt { name: "application-group", values: 1, to: To::Together },
    Opt { name: "application-type", values: 1, to: To::Together },
    Opt { name: "auth-group", values: 1, to: To::Together },
    Opt { name: "auth-group-script", values: 1, to: To::Together },
    Opt { name: "auth-type", values: 1, to: To::Together },
    Opt { name: "auth-user-script", values: 1, to: To::Together },
    Opt {
        name: "body-max-timeout",
        values: 1,
        to: To::Refused(
            "the rate and the longest time of slow requests have no key; add `RequestReadTimeout` to `raw`",
        ),
    },
    Opt {
        name: "body-min-rate",
        values: 1,
        to: To::Refused(
            "the rate and the longest time of slow requests have no key; add `RequestReadTimeout` to `raw`",
        ),
    },
    Opt { name: "body-timeout", values: 1, to: To::Key(&["sites", "main", "limits", "body-timeout"], Kind::Seconds) },
    Opt { name: "callable-object", values: 1, to: To::Together },
    Opt { name: "chunked-request", values: 0, to: To::Together },
    Opt {
        name: "compress-responses",
        values: 0,
        to: To::Refused(
            "responses of applications are not compressed by confgen; add `AddOutputFilterByType DEFLATE ...` to `raw`",
        ),
    },
    Opt { name: "connect-timeout", values: 1, to: To::Key(&["daemons", "main", "timeouts", "connect"], Kind::Seconds) },
    Opt { name: "coverage-directory", values: 1, to: To::Refused("the tool that it belongs to is not there yet") },
    Opt { name: "cpu-time-limit", values: 1, to: To::Key(&["daemons", "main", "cpu-time-limit"], Kind::Seconds) },
    Opt { name: "daemon-backlog", values: 1, to: To::Key(&["daemons", "main", "listen-backlog"], Kind::Number) },
    Opt {
        name: "deadlock-timeout",
        values: 1,
        to: To::Key(&["daemons", "main", "timeouts", "deadlock"], Kind::Seconds),
    },
    Opt { name: "debug-mode", values: 0, to: To::On(&["runtime", "debug"], Plain::Switch(true)) },
    Opt { name: "debugger-startup", values: 0, to: To::On(&["runtime", "debug", "at-start"], Plain::Switch(true)) },
    Opt {
        name: "directory-index",
        values: 1,
        to: To::Refused("index files have no key; add `DirectoryIndex` to `raw` at `site.main.end`"),
    },
    Opt { name: "directory-listing", values: 0, to: To::Together },
    Opt { name: "disable-reloading", values: 0, to: To::Together },
    Opt { name: "document-root", values: 1, to: To::Together },
    Opt { name: "embedded-mode", values: 0, to: To::Together },
    Opt {
        name: "enable-coverage",
        values: 0,
        to: To::Refused("it is not there yet; wrap the application in its script"),
    },
    Opt { name: "enable-debugger", values: 0, to: To::On(&["runtime", "debug", "debugger"], Plain::Switch(true)) },
    Opt { name: "enable-docs", values: 0, to: To::Nothing("there is no documentation to serve") },
    Opt { name: "enable-gdb", values: 0, to: To::Refused("it is not there yet; wrap the application in its script") },
    Opt {
        name: "enable-profiler",
        values: 0,
        to: To::Refused("it is not there yet; wrap the application in its script"),
    },
    Opt {
        name: "enable-recorder",
        values: 0,
        to: To::Refused("it is not there yet; wrap the application in its script"),
    },
    Opt { name: "enable-sendfile", values: 0, to: To::Together },
    Opt {
        name: "enable-telemetry",
        values: 0,
        to: To::Refused("start the collector by itself, and name its socket with `--telemetry-service`"),
    },
    Opt { name: "entry-point", values: 1, to: To::Together },
    Opt {
        name: "envvars-script",
        values: 1,
        to: To::Refused("scripts are not executed; name the variables in `server.environment`"),
    },
    Opt {
        name: "error-document",
        values: 2,
        to: To::Refused("error pages have no key; add `ErrorDocument` to `raw` at `site.main.end`"),
    },
    Opt {
        name: "error-log-format",
        values: 1,
        to: To::Refused("the format of the error log has no key; add `ErrorLogFormat` to `raw` at `server.end`"),
    },
    Opt { name: "error-log-name", values: 1, to: To::Together },
    Opt { name: "error-override", values: 0, to: To::Together },
    Opt {
        name: "eviction-timeout",
        values: 1,
        to: To::Key(&["daemons", "main", "timeouts", "eviction"], Kind::Seconds),
    },
    Opt {
        name: "free-threading",
        values: 0,
        to: To::On(&["runtime", "python", "free-threading"], Plain::Switch(true)),
    },
    Opt { name: "gdb-executable", values: 1, to: To::Refused("the tool that it belongs to is not there yet") },
    Opt {
        name: "graceful-timeout",
        values: 1,
        to: To::Key(&["daemons", "main", "timeouts", "graceful"], Kind::Seconds),
    },
    Opt { name: "group", values: 1, to: To::Key(&["server", "group"], Kind::Text) },
    Opt {
        name: "header-buffer-size",
        values: 1,
        to: To::Key(&["daemons", "main", "header-buffer-size"], Kind::Number),
    },
    Opt {
        name: "header-max-timeout",
        values: 1,
        to: To::Refused(
            "the rate and the longest time of slow requests have no key; add `RequestReadTimeout` to `raw`",
        ),
    },
    Opt {
        name: "header-min-rate",
        values: 1,
        to: To::Refused(
            "the rate and the longest time of slow requests have no key; add `RequestReadTimeout` to `raw`",
        ),
    },
    Opt {
        name: "header-timeout",
        values: 1,
        to: To::Key(&["sites", "main", "limits", "header-timeout"], Kind::Seconds),
    },
    Opt { name: "host", values: 1, to: To::Together },
    Opt { name: "host-access-script", values: 1, to: To::Together },
    Opt {
        name: "hsts-policy",
        values: 1,
        to: To::Refused("the policy is made from a time: set `tls.hsts`, for example `180d`"),
    },
    Opt {
        name: "http2",
        values: 0,
        to: To::Refused(
            "HTTP/2 has no key; load mod_http2 by `server.modules`, and add `Protocols h2 h2c http/1.1` to `raw`",
        ),
    },
    Opt { name: "httpd-executable", values: 1, to: To::Nothing("`--httpd` of each command names it") },
    Opt { name: "https-only", values: 0, to: To::Together },
    Opt { name: "https-port", values: 1, to: To::Together },
    Opt {
        name: "ignore-activity",
        values: 1,
        to: To::Refused("for single URLs it has no key; an application has `ignore-activity`"),
    },
    Opt {
        name: "inactivity-timeout",
        values: 1,
        to: To::Key(&["daemons", "main", "timeouts", "inactivity"], Kind::Seconds),
    },
    Opt { name: "include-file", values: 1, to: To::Refused("files are not included; put their lines into `raw`") },
    Opt {
        name: "initial-workers",
        values: 1,
        to: To::Refused("fractions of the workers have no key; give numbers in `server.mpm-settings`"),
    },
    Opt {
        name: "interrupt-timeout",
        values: 1,
        to: To::Key(&["daemons", "main", "timeouts", "interrupt"], Kind::Seconds),
    },
    Opt { name: "keep-alive-timeout", values: 1, to: To::Together },
    Opt { name: "lang", values: 1, to: To::Key(&["daemons", "main", "lang"], Kind::Text) },
    Opt { name: "limit-request-body", values: 1, to: To::Key(&["sites", "main", "limits", "body"], Kind::Number) },
    Opt { name: "locale", values: 1, to: To::Key(&["daemons", "main", "locale"], Kind::Text) },
    Opt { name: "log-directory", values: 1, to: To::Together },
    Opt { name: "log-level", values: 1, to: To::Key(&["server", "log", "level"], Kind::Text) },
    Opt { name: "log-to-terminal", values: 0, to: To::On(&["server", "log", "to"], Plain::Text("terminal")) },
    Opt { name: "map-head-to-get", values: 1, to: To::Together },
    Opt {
        name: "max-clients",
        values: 1,
        to: To::Key(&["server", "mpm-settings", "max-request-workers"], Kind::Number),
    },
    Opt { name: "max-log-size", values: 1, to: To::Together },
    Opt {
        name: "maximum-requests",
        values: 1,
        to: To::Key(&["daemons", "main", "recycle", "max-requests"], Kind::Number),
    },
    Opt {
        name: "maximum-spare-workers",
        values: 1,
        to: To::Refused("fractions of the workers have no key; give numbers in `server.mpm-settings`"),
    },
    Opt { name: "mime-types", values: 1, to: To::Nothing("the list of the system is used") },
    Opt {
        name: "minimum-spare-workers",
        values: 1,
        to: To::Refused("fractions of the workers have no key; give numbers in `server.mpm-settings`"),
    },
    Opt { name: "modules-directory", values: 1, to: To::Nothing("confgen finds the modules of httpd itself") },
    Opt { name: "mount-point", values: 1, to: To::Together },
    Opt {
        name: "orphan-interpreter",
        values: 0,
        to: To::On(&["runtime", "destroy-interpreters"], Plain::Switch(false)),
    },
    Opt {
        name: "passenv",
        values: 1,
        to: To::Refused("the environment of the caller is not passed on; name the value with `--setenv`"),
    },
    Opt {
        name: "pid-file",
        values: 1,
        to: To::Nothing("the PID file is `run/httpd.pid` in the directory of the server"),
    },
    Opt { name: "port", values: 1, to: To::Together },
    Opt { name: "process-group", values: 1, to: To::Together },
    Opt { name: "process-name", values: 1, to: To::Refused("httpd keeps its own name; daemons have `display-name`") },
    Opt { name: "processes", values: 1, to: To::Key(&["daemons", "main", "processes"], Kind::Number) },
    Opt { name: "profiler-directory", values: 1, to: To::Refused("the tool that it belongs to is not there yet") },
    Opt { name: "proxy-mount-point", values: 2, to: To::Together },
    Opt { name: "proxy-timeout", values: 1, to: To::Refused("each upstream has its own `timeout`") },
    Opt { name: "proxy-url-alias", values: 2, to: To::Together },
    Opt { name: "proxy-virtual-host", values: 2, to: To::Refused("make a site with `upstreams` of its own") },
    Opt { name: "python-eggs", values: 1, to: To::Key(&["daemons", "main", "python-eggs"], Kind::Text) },
    Opt { name: "python-path", values: 1, to: To::Together },
    Opt { name: "python-warnings", values: 1, to: To::Together },
    Opt { name: "queue-timeout", values: 1, to: To::Key(&["daemons", "main", "timeouts", "queue"], Kind::Seconds) },
    Opt {
        name: "receive-buffer-size",
        values: 1,
        to: To::Key(&["daemons", "main", "receive-buffer-size"], Kind::Number),
    },
    Opt { name: "recorder-directory", values: 1, to: To::Refused("the tool that it belongs to is not there yet") },
    Opt { name: "reload-on-changes", values: 0, to: To::On(&["daemons", "main", "reload"], Plain::Text("on-change")) },
    Opt { name: "request-timeout", values: 1, to: To::Key(&["daemons", "main", "timeouts", "request"], Kind::Seconds) },
    Opt {
        name: "response-buffer-size",
        values: 1,
        to: To::Key(&["daemons", "main", "response-buffer-size"], Kind::Number),
    },
    Opt {
        name: "response-flush-delay",
        values: 1,
        to: To::Key(&["daemons", "main", "response-flush-delay"], Kind::Milliseconds),
    },
    Opt {
        name: "response-socket-timeout",
        values: 1,
        to: To::Key(&["daemons", "main", "response-socket-timeout"], Kind::Seconds),
    },
    Opt {
        name: "restart-interval",
        values: 1,
        to: To::Key(&["daemons", "main", "recycle", "interval"], Kind::Seconds),
    },
    Opt { name: "rewrite-rules", values: 1, to: To::Refused("files are not included; put their lines into `raw`") },
    Opt { name: "rotate-logs", values: 0, to: To::Together },
    Opt { name: "rotatelogs-executable", values: 1, to: To::Nothing("confgen finds the program itself") },
    Opt { name: "send-buffer-size", values: 1, to: To::Key(&["daemons", "main", "send-buffer-size"], Kind::Number) },
    Opt { name: "server-alias", values: 1, to: To::Together },
    Opt { name: "server-backlog", values: 1, to: To::Key(&["server", "mpm-settings", "listen-backlog"], Kind::Number) },
    Opt { name: "server-metrics", values: 0, to: To::Together },
    Opt { name: "server-mpm", values: 1, to: To::Together },
    Opt { name: "server-name", values: 1, to: To::Together },
    Opt { name: "server-root", values: 1, to: To::Together },
    Opt { name: "server-status", values: 0, to: To::Refused("mod_status has no key; add it to `raw`") },
    Opt { name: "service-group", values: 2, to: To::Refused("make a daemon with `threads: 0`, `import` and `user`") },
    Opt {
        name: "service-log-file",
        values: 2,
        to: To::Refused("make a daemon with `threads: 0`, `import` and `user`"),
    },
    Opt { name: "service-script", values: 2, to: To::Refused("make a daemon with `threads: 0`, `import` and `user`") },
    Opt { name: "service-user", values: 2, to: To::Refused("make a daemon with `threads: 0`, `import` and `user`") },
    Opt { name: "setenv", values: 2, to: To::Together },
    Opt { name: "setup-only", values: 0, to: To::Nothing("`confgen render` writes the files and starts nothing") },
    Opt { name: "shell-executable", values: 1, to: To::Nothing("no shell is needed") },
    Opt {
        name: "shutdown-timeout",
        values: 1,
        to: To::Key(&["daemons", "main", "timeouts", "shutdown"], Kind::Seconds),
    },
    Opt { name: "slow-requests", values: 1, to: To::Key(&["runtime", "telemetry", "slow-requests"], Kind::Float) },
    Opt { name: "socket-prefix", values: 1, to: To::Refused("set `runtime.socket-prefix`") },
    Opt { name: "socket-timeout", values: 1, to: To::Together },
    Opt { name: "ssl-ca-certificate-file", values: 1, to: To::Together },
    Opt { name: "ssl-certificate", values: 1, to: To::Together },
    Opt {
        name: "ssl-certificate-chain-file",
        values: 1,
        to: To::Refused("the chain belongs into the file of the certificate: append it there"),
    },
    Opt { name: "ssl-certificate-file", values: 1, to: To::Together },
    Opt { name: "ssl-certificate-key-file", values: 1, to: To::Together },
    Opt {
        name: "ssl-environment",
        values: 0,
        to: To::Refused("`SSLOptions +StdEnvVars` has no key; add it to `raw` at `site.main.end`"),
    },
    Opt { name: "ssl-port", values: 1, to: To::Together },
    Opt {
        name: "ssl-verify-client",
        values: 1,
        to: To::Refused(
            "client certificates for some URLs have no key; `tls.client-ca` asks for them on the whole site",
        ),
    },
    Opt { name: "startup-log", values: 0, to: To::Nothing("what httpd says while it starts is on standard error") },
    Opt {
        name: "startup-log-name",
        values: 1,
        to: To::Nothing("what httpd says while it starts is on standard error"),
    },
    Opt { name: "startup-timeout", values: 1, to: To::Key(&["daemons", "main", "timeouts", "startup"], Kind::Seconds) },
    Opt { name: "switch-interval", values: 1, to: To::Together },
    Opt { name: "telemetry-interval", values: 1, to: To::Key(&["runtime", "telemetry", "interval"], Kind::Float) },
    Opt { name: "telemetry-options", values: 1, to: To::Together },
    Opt { name: "telemetry-service", values: 1, to: To::Key(&["runtime", "telemetry", "service"], Kind::Text) },
    Opt {
        name: "telemetry-ui-port",
        values: 1,
        to: To::Refused("start the collector by itself, and name its socket with `--telemetry-service`"),
    },
    Opt { name: "threads", values: 1, to: To::Key(&["daemons", "main", "threads"], Kind::Number) },
    Opt { name: "trust-proxy", values: 1, to: To::Together },
    Opt { name: "trust-proxy-header", values: 1, to: To::Together },
    Opt { name: "url-alias", values: 2, to: To::Together },
    Opt { name: "user", values: 1, to: To::Key(&["server", "user"], Kind::Text) },
    Opt { name: "verbose-debugging", values: 0, to: To::Nothing("it has no effect any more") },
    Opt { name: "with-cgi", values: 0, to: To::Refused("CGI programs have no key; add them to `raw`") },
    Opt { name: "with-php5", values: 0, to: To::Refused("PHP has no key") },
    Opt { name: "working-directory", values: 1, to: To::Together },
];
