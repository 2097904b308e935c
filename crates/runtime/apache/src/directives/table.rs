//! The table of directives. A new one is a constant in its group's file and a line here.

use crate::directives::spec::{Directive, Records};
use crate::directives::{auth, daemon, mapping, python, request, telemetry};
use crate::sys;

/// Every directive of mod_wsgi 6.1 and ours.
pub(crate) static DIRECTIVES: &[&Directive] = &[
    &mapping::SCRIPT_ALIAS,
    &mapping::SCRIPT_ALIAS_MATCH,
    &mapping::HANDLER_SCRIPT,
    &mapping::CASE_SENSITIVITY,
    &daemon::DAEMON_PROCESS,
    &daemon::IMPORT_SCRIPT,
    &daemon::SOCKET_PREFIX,
    &daemon::SOCKET_ROTATION,
    &daemon::ACCEPT_MUTEX,
    &request::PROCESS_GROUP,
    &request::APPLICATION_GROUP,
    &request::CALLABLE_OBJECT,
    &request::RESTRICT_PROCESS,
    &auth::DISPATCH_SCRIPT,
    &request::PASS_APACHE_REQUEST,
    &request::PASS_AUTHORIZATION,
    &request::SCRIPT_RELOADING,
    &request::ERROR_OVERRIDE,
    &request::CHUNKED_REQUEST,
    &request::MAP_HEAD_TO_GET,
    &request::IGNORE_ACTIVITY,
    &request::ENABLE_SENDFILE,
    &request::TRUSTED_PROXY_HEADERS,
    &request::TRUSTED_PROXIES,
    &python::PYTHON_HOME,
    &python::PYTHON_PATH,
    &python::PYTHON_EGGS,
    &python::PYTHON_OPTIMIZE,
    &python::PYTHON_WARNINGS,
    &python::PYTHON_HASH_SEED,
    &python::DONT_WRITE_BYTECODE,
    &python::DESTROY_INTERPRETER,
    &python::SWITCH_INTERVAL,
    &python::PER_INTERPRETER_GIL,
    &python::FREE_THREADING,
    &python::INTERPRETER_OPTIONS,
    &python::RESTRICT_EMBEDDED,
    &python::RESTRICT_STDIN,
    &python::RESTRICT_STDOUT,
    &python::RESTRICT_SIGNAL,
    &python::VERBOSE_DEBUGGING,
    &auth::ACCESS_SCRIPT,
    &auth::AUTH_USER_SCRIPT,
    &auth::AUTH_GROUP_SCRIPT,
    &auth::GROUP_AUTHORITATIVE,
    &telemetry::SERVER_METRICS,
    &telemetry::TELEMETRY_SERVICE,
    &telemetry::SLOW_REQUESTS,
    &telemetry::TELEMETRY_OPTIONS,
    &python::PYTHON,
    &python::MAXIMUM_INTERPRETERS,
    &python::LOG_FORMAT,
];

const COUNT: usize = 53;

static RECORDS: Records<COUNT> = Records::of(DIRECTIVES);

/// What the module record points to.
pub(crate) const fn commands() -> *const sys::command_rec {
    RECORDS.first()
}
