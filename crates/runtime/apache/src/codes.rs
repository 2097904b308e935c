//! The codes of log records: one table. Numbers are those of mod_wsgi where it has the event; ours begin at 900.

use wsgi_protocol::abi::Level;

#[cfg(test)]
pub(crate) mod absent;
mod ownership;
#[cfg(test)]
mod page;
#[cfg(test)]
pub(crate) mod process;

pub(crate) use ownership::*;
#[cfg(test)]
pub(crate) use page::page;

/// One code.
#[derive(Debug)]
pub(crate) struct Code {
    /// The number behind `WSGI`.
    pub(crate) number: u16,
    /// The level that it is logged at.
    pub(crate) level: Level,
    /// What happened.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the pages that tests generate"))]
    pub(crate) cause: &'static str,
    /// What became of the request or process.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the pages that tests generate"))]
    pub(crate) outcome: &'static str,
    /// What to do about it.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the pages that tests generate"))]
    pub(crate) action: &'static str,
}

impl Code {
    /// `WSGInnnn`.
    pub(crate) fn name(&self) -> String {
        format!("WSGI{:04}", self.number)
    }
}

const fn code(number: u16, level: Level, cause: &'static str, outcome: &'static str, action: &'static str) -> Code {
    Code { number, level, cause, outcome, action }
}

use Level::{Alert, Critical, Error, Warning};

pub(crate) static PYTHON_FAILED: Code = code(
    1,
    Critical,
    "Python could not be started in an Apache child.",
    "Requests for embedded mode get status 500; daemon groups are not affected.",
    "Read the lines before it; check WSGIPythonHome and that the Apache user can read it.",
);
pub(crate) static SOCKET_FAILED: Code = code(
    12,
    Alert,
    "The listener of a daemon group could not be made.",
    "The group does not start; its requests get status 503.",
    "Check the limits on open files.",
);
pub(crate) static BIND_FAILED: Code = code(
    13,
    Alert,
    "The UNIX socket of a daemon group could not be bound.",
    "The group does not start; its requests get status 503.",
    "Set WSGISocketPrefix to a folder that the starting user can write and the Apache user can search.",
);
pub(crate) static LISTEN_FAILED: Code = code(
    14,
    Alert,
    "listen() failed on the socket of a daemon group.",
    "The group does not start; its requests get status 503.",
    "Check listen-backlog and the limits on open files.",
);
pub(crate) static CHOWN_FAILED: Code = code(
    15,
    Alert,
    "The socket of a daemon group could not be given to the Apache user.",
    "The group does not start; its requests get status 503.",
    "Check socket-user and the file system of WSGISocketPrefix.",
);
pub(crate) static FORK_FAILED: Code = code(
    24,
    Alert,
    "A daemon process could not be forked.",
    "The process is missing until it is tried again: when another process ends, ten seconds later at the latest.",
    "Check the server's limits on processes, memory and open files.",
);
pub(crate) static DAEMON_FAILED: Code = code(
    25,
    Alert,
    "A daemon process could not be set up.",
    "The process ends and is started again after a delay.",
    "Read the reason in the line; check user, group, home and the limits.",
);
pub(crate) static BASIC_WITHOUT_SCRIPT: Code = code(
    41,
    Error,
    "AuthBasicProvider wsgi is used where no WSGIAuthUserScript applies.",
    "Status 500.",
    "Name the script with WSGIAuthUserScript.",
);
pub(crate) static BASIC_INTERPRETER: Code = code(
    42,
    Error,
    "No interpreter could be had for the script of WSGIAuthUserScript (Basic).",
    "Status 500.",
    "Read the lines before it. A script that only an .htaccess names needs WSGIRestrictEmbedded Off.",
);
pub(crate) static DIGEST_WITHOUT_SCRIPT: Code = code(
    44,
    Error,
    "AuthDigestProvider wsgi is used where no WSGIAuthUserScript applies.",
    "Status 500.",
    "Name the script with WSGIAuthUserScript.",
);
pub(crate) static DIGEST_INTERPRETER: Code = code(
    45,
    Error,
    "No interpreter could be had for the script of WSGIAuthUserScript (Digest).",
    "Status 500.",
    "Read the lines before it. A script that only an .htaccess names needs WSGIRestrictEmbedded Off.",
);
pub(crate) static GROUPS_INTERPRETER: Code = code(
    48,
    Error,
    "No interpreter could be had for the script of WSGIAuthGroupScript.",
    "The user is in no group; rules that forbid a group end in status 500.",
    "Read the lines before it. A script that only an .htaccess names needs WSGIRestrictEmbedded Off.",
);
pub(crate) static ACCESS_INTERPRETER: Code = code(
    54,
    Error,
    "No interpreter could be had for the script of WSGIAccessScript.",
    "Status 403.",
    "Read the lines before it. A script that only an .htaccess names needs WSGIRestrictEmbedded Off.",
);
pub(crate) static ACCESS_DENIED: Code = code(
    57,
    Error,
    "The script of WSGIAccessScript did not let the client in, or failed.",
    "Status 403.",
    "Nothing, unless lines before it tell of an error in the script.",
);
pub(crate) static GROUPS_WITHOUT_SCRIPT: Code = code(
    58,
    Error,
    "Require wsgi-group is used where no WSGIAuthGroupScript applies.",
    "The user is in no group; rules that forbid a group end in status 500.",
    "Name the script with WSGIAuthGroupScript.",
);
pub(crate) static NO_GROUPS: Code = code(
    59,
    Error,
    "The script of WSGIAuthGroupScript knows no group of the user.",
    "The rule is not met: status 401, or 403 with AuthzSendForbiddenOnFailure On.",
    "Nothing, unless the user should be let in.",
);
pub(crate) static NOT_A_MEMBER: Code = code(
    60,
    Error,
    "The user is in none of the groups of Require wsgi-group.",
    "The rule is not met: status 401, or 403 with AuthzSendForbiddenOnFailure On.",
    "Nothing, unless the user should be let in.",
);
pub(crate) static SOCKET_PATH_TOO_LONG: Code = code(
    64,
    Warning,
    "The path of a daemon group's socket is longer than the system allows.",
    "The group cannot start.",
    "Set WSGISocketPrefix to a shorter path.",
);
pub(crate) static STALE_SOCKET: Code = code(
    65,
    Warning,
    "A socket file was in the way.",
    "It was removed.",
    "Nothing, unless two servers share one WSGISocketPrefix.",
);
pub(crate) static OUTSIDE_CHROOT: Code = code(
    81,
    Error,
    "A script lies outside of the directory that its daemon group is confined to (chroot).",
    "Status 500.",
    "Move the script below the directory, or name it as it is called outside.",
);
pub(crate) static QUEUE_TIMEOUT: Code = code(
    84,
    Error,
    "A request waited longer than queue-timeout.",
    "Status 504.",
    "Add processes or threads, or raise queue-timeout.",
);
pub(crate) static DISPATCH_INTERPRETER: Code = code(
    86,
    Error,
    "No interpreter could be had for the script of WSGIDispatchScript.",
    "Status 500.",
    "Read the lines before it.",
);
pub(crate) static SOCKET_CREATION: Code = code(
    115,
    Error,
    "A socket to a daemon process could not be made.",
    "Status 500.",
    "Check the limits on open files.",
);
pub(crate) static CONNECT_EXHAUSTED: Code = code(
    116,
    Error,
    "No daemon process took the connection within connect-timeout.",
    "Status 503.",
    "Look for daemon processes that die at their start; raise listen-backlog, processes or threads.",
);
pub(crate) static CONNECT_FAILED: Code = code(
    117,
    Error,
    "A daemon process could not be connected to.",
    "Status 503.",
    "Let the Apache user search the folder of WSGISocketPrefix. Where the socket's file was removed, as by a program that \
     cleans folders of temporary files, a graceful restart makes it anew.",
);
pub(crate) static PROXY_READ_TIMEOUT: Code = code(
    118,
    Error,
    "A daemon process sent nothing for socket-timeout in the middle of a response.",
    "The response is cut and the connection closed.",
    "Look for what blocks the application; raise socket-timeout.",
);
pub(crate) static PROXY_FAILED: Code = code(
    119,
    Error,
    "A daemon process broke off in the middle of a response.",
    "The response is cut and the connection closed.",
    "Look for a crash of the daemon process.",
);
pub(crate) static PROXY_WRITE_TIMEOUT: Code = code(
    120,
    Error,
    "The client took nothing for response-socket-timeout.",
    "The response is given up.",
    "Nothing, unless it is frequent.",
);
pub(crate) static REQUEST_SEND_FAILED: Code = code(
    121,
    Error,
    "The request could not be sent to a daemon process.",
    "Status 500.",
    "Look for a crash of the daemon process.",
);
pub(crate) static ATTEMPTS_EXHAUSTED: Code = code(
    124,
    Error,
    "Every daemon process turned the request away.",
    "Status 503.",
    "Look for daemon processes that restart again and again.",
);
pub(crate) static BODY_READ_FAILED: Code = code(
    126,
    Error,
    "The request's body could not be read from the client.",
    "Status 408, 413 or 400, or a read error in the application.",
    "Nothing, unless it is frequent: then check RequestReadTimeout and LimitRequestBody.",
);
pub(crate) static BODY_WRITE_FAILED: Code = code(
    129,
    Error,
    "The request's body could not be sent to the daemon process.",
    "The rest of the body is dropped.",
    "Look for a crash of the daemon process.",
);
pub(crate) static EXEC_CGI_OFF: Code = code(
    134,
    Error,
    "A script was reached through a handler where Options ExecCGI is off.",
    "Status 403.",
    "Use WSGIScriptAlias, or Options +ExecCGI for the folder.",
);
pub(crate) static SCRIPT_MISSING: Code = code(
    135,
    Error,
    "The script does not exist or its folder cannot be searched.",
    "Status 404.",
    "Check the path and that the Apache user can search every folder of it.",
);
pub(crate) static SCRIPT_IS_DIRECTORY: Code = code(
    136,
    Error,
    "The target is a directory.",
    "Status 403.",
    "Let the alias name a file, or the URL name a script below it.",
);
pub(crate) static PATH_INFO_REJECTED: Code = code(
    137,
    Error,
    "The URL goes on behind the script while AcceptPathInfo is Off.",
    "Status 404.",
    "AcceptPathInfo On for the script.",
);
pub(crate) static TRANSFER_ENCODING: Code = code(
    138,
    Error,
    "The request has a transfer encoding other than chunked.",
    "Status 501.",
    "Nothing on the server.",
);
pub(crate) static CHUNKED_REQUEST: Code = code(
    139,
    Error,
    "The request's body is chunked.",
    "Status 411.",
    "WSGIChunkedRequest On, when the application reads bodies to their end.",
);
pub(crate) static CONTENT_LENGTH: Code =
    code(141, Error, "The request's Content-Length is no number.", "Status 400.", "Nothing on the server.");
pub(crate) static EMBEDDED_DISABLED: Code = code(
    143,
    Error,
    "A request came to embedded mode while WSGIRestrictEmbedded is On.",
    "Status 500.",
    "Give the application a process group, or remove WSGIRestrictEmbedded.",
);
pub(crate) static HEADER_TOO_LONG: Code = code(
    144,
    Error,
    "A line of a response's head is longer than header-buffer-size.",
    "Status 500.",
    "Look for what makes the header field so long, or raise header-buffer-size.",
);
pub(crate) static HEAD_TIMEOUT: Code = code(
    145,
    Error,
    "A daemon process sent no response for socket-timeout.",
    "Status 504.",
    "Look for what blocks the application; raise socket-timeout.",
);
pub(crate) static CLOSED_BEFORE_HEAD: Code = code(
    146,
    Error,
    "A daemon process closed the connection before it sent a response.",
    "Status 502.",
    "Look for a crash or restart of the daemon process in the lines before.",
);
pub(crate) static HEAD_READ_FAILED: Code = code(
    147,
    Error,
    "A response could not be read from a daemon process.",
    "Status 502.",
    "Look for a crash or restart of the daemon process in the lines before.",
);
pub(crate) static HEAD_MALFORMED: Code = code(
    148,
    Error,
    "A daemon process sent a response that is not well formed.",
    "Status 500.",
    "Check that module and engine are of one build.",
);
pub(crate) static GROUP_RESTRICTED: Code = code(
    149,
    Error,
    "The process group is not one of those that WSGIRestrictProcess allows here.",
    "Status 500.",
    "Add the group to WSGIRestrictProcess, or choose another one.",
);
pub(crate) static GROUP_UNKNOWN: Code =
    code(151, Error, "The process group does not exist.", "Status 500.", "Define it with WSGIDaemonProcess.");
pub(crate) static GROUP_OF_OTHER_HOST: Code = code(
    152,
    Error,
    "The process group belongs to another virtual host.",
    "Status 500.",
    "Define the group outside of virtual hosts, or in this one.",
);
pub(crate) static OWN_GIL_UNAVAILABLE: Code = code(
    198,
    Warning,
    "WSGIPerInterpreterGIL is On for a process whose Python is older than 3.12.",
    "The directive has no effect there; sub-interpreters share the process's GIL.",
    "Run the process on an engine for Python 3.12 or newer (python=, python-home=, WSGIPython).",
);
pub(crate) static FREE_THREADING_UNAVAILABLE: Code = code(
    200,
    Warning,
    "WSGIFreeThreading is On for a process whose Python was built with a GIL.",
    "The directive has no effect there.",
    "Run the process on a free-threaded engine, such as python=3.13t.",
);
pub(crate) static FREE_THREADING_SCOPE: Code = code(
    201,
    Warning,
    "WSGIFreeThreading stands in a block that names an application group.",
    "The directive is ignored: a process is free-threaded as a whole or not at all.",
    "Select by process-group alone.",
);
pub(crate) static PYTHON_ABSENT: Code = code(
    210,
    Error,
    "A request came to embedded mode, but Python is not running in the child.",
    "Status 500.",
    "Read why it could not be started: WSGI0001, earlier in the log.",
);
pub(crate) static PANIC: Code = code(
    900,
    Critical,
    "A fault of the module itself.",
    "The request gets status 500, or the step is skipped.",
    "Report it with this line.",
);
pub(crate) static ENGINE_REFUSED: Code = code(
    901,
    Critical,
    "An engine cannot be used.",
    "The server does not start.",
    "Do what the line says: install the engine, or change owner and rights of the folder that it names.",
);
pub(crate) static DAEMON_DIED: Code = code(
    902,
    Error,
    "A daemon process ended by a signal or with an error.",
    "Its requests get status 502; the process is started again.",
    "Look at the request that the line names.",
);
pub(crate) static GROUP_IS_SERVICE: Code = code(
    930,
    Error,
    "A request was sent to a group with threads=0, whose processes run a script of their own and serve no requests.",
    "Status 500.",
    "Let WSGIProcessGroup or process-group name a group that serves requests.",
);
pub(crate) static AT_CAPACITY: Code = code(
    931,
    Warning,
    "All threads of a daemon group are busy and a request has waited for one for a second; said once until none has for a minute.",
    "Requests wait, up to queue-timeout.",
    "Look for what makes requests slow, or raise processes or threads.",
);
pub(crate) static RESTARTS_DELAYED: Code = code(
    932,
    Warning,
    "Processes of a daemon group end again and again right after their start.",
    "The next one is started after the delay that the line names.",
    "Read the lines before it for what ends them.",
);

pub(crate) static SOCKET_GONE: Code = code(
    933,
    Warning,
    "The file of a daemon group's socket was removed, or replaced, since it was made.",
    "It is made anew by this restart. Requests that came meanwhile got status 503.",
    "Let WSGISocketPrefix lie where nothing else tidies up.",
);

pub(crate) static SOCKET_FOLDER: Code = code(
    964,
    Alert,
    "The folder of a daemon group's socket can be written by somebody other than root, who could replace the socket.",
    "The group does not start; its requests get status 503.",
    "Let WSGISocketPrefix name a folder that only root can write to, such as /run/wsgi. Folders above it count too; a \
     sticky one such as /tmp is accepted.",
);
pub(crate) static LISTENER_FOREIGN: Code = code(
    965,
    Alert,
    "The socket at the path of a daemon group is not the one that this server made.",
    "Status 503. Neither the request nor the group's secret was sent.",
    "Find out who put it there: whoever may write to the folder of WSGISocketPrefix, or owns the socket's file in a \
     folder such as /tmp. A graceful restart makes the socket anew.",
);

pub(crate) static SUCCESSOR_LATE: Code = code(
    935,
    Error,
    "With rolling=On: a new process did not serve within startup-timeout= (without one, 300 seconds).",
    "The new process is ended and the old one goes on serving what it has loaded, until the script changes again.",
    "The stacks before it show where the loading hangs; raise startup-timeout= if it only takes long.",
);

pub(crate) static PREDECESSOR_KILLED: Code = code(
    971,
    Error,
    "With handover=sequential: a process was asked to end and did not, and its successor waits for that.",
    "The process is killed; its requests fail with 502. The successor starts.",
    "Find out what keeps the process from ending; graceful-timeout= and shutdown-timeout= say how long it may take.",
);

pub(crate) static OTHER_VERSION: Code = code(
    972,
    Warning,
    "A restart of Apache has loaded a version of the module that keeps other records than the one before.",
    "The daemon processes of the version before serve the requests of their Apache children, then they end.",
    "Nothing, after an upgrade. If they stay, look for an Apache child of the time before that does not end.",
);

pub(crate) static OTHER_VERSION_UNREADABLE: Code = code(
    973,
    Error,
    "A restart of Apache has loaded a version of the module that cannot read what the one before left.",
    "The daemon processes of the version before stay, without requests, and so do their sockets.",
    "Stop Apache and start it again when that suits you.",
);

pub(crate) static METRICS_REFUSED: Code = code(
    920,
    Error,
    "The metrics were asked for from elsewhere.",
    "Status 403.",
    "Scrape from this machine, or put a Require with the collector's address beside SetHandler wsgi-metrics.",
);

/// All codes, by number.
#[cfg(test)]
pub(crate) static CODES: &[&Code] = &[
    &PYTHON_FAILED,
    &SOCKET_FAILED,
    &BIND_FAILED,
    &LISTEN_FAILED,
    &CHOWN_FAILED,
    &FORK_FAILED,
    &DAEMON_FAILED,
    &BASIC_WITHOUT_SCRIPT,
    &BASIC_INTERPRETER,
    &DIGEST_WITHOUT_SCRIPT,
    &DIGEST_INTERPRETER,
    &GROUPS_INTERPRETER,
    &ACCESS_INTERPRETER,
    &ACCESS_DENIED,
    &GROUPS_WITHOUT_SCRIPT,
    &NO_GROUPS,
    &NOT_A_MEMBER,
    &SOCKET_PATH_TOO_LONG,
    &STALE_SOCKET,
    &OUTSIDE_CHROOT,
    &QUEUE_TIMEOUT,
    &DISPATCH_INTERPRETER,
    &SOCKET_CREATION,
    &CONNECT_EXHAUSTED,
    &CONNECT_FAILED,
    &PROXY_READ_TIMEOUT,
    &PROXY_FAILED,
    &PROXY_WRITE_TIMEOUT,
    &REQUEST_SEND_FAILED,
    &ATTEMPTS_EXHAUSTED,
    &BODY_READ_FAILED,
    &BODY_WRITE_FAILED,
    &EXEC_CGI_OFF,
    &SCRIPT_MISSING,
    &SCRIPT_IS_DIRECTORY,
    &PATH_INFO_REJECTED,
    &TRANSFER_ENCODING,
    &CHUNKED_REQUEST,
    &CONTENT_LENGTH,
    &EMBEDDED_DISABLED,
    &HEADER_TOO_LONG,
    &HEAD_TIMEOUT,
    &CLOSED_BEFORE_HEAD,
    &HEAD_READ_FAILED,
    &HEAD_MALFORMED,
    &GROUP_RESTRICTED,
    &GROUP_UNKNOWN,
    &GROUP_OF_OTHER_HOST,
    &SCRIPT_GROUP_UNKNOWN,
    &SCRIPT_GROUP_NAME,
    &SCRIPT_GROUP_DIFFERS,
    &SCRIPT_GROUP_WORLD,
    &SCRIPT_GROUP_PARENT_UNKNOWN,
    &SCRIPT_GROUP_PARENT_NAME,
    &SCRIPT_GROUP_PARENT_DIFFERS,
    &SCRIPT_GROUP_PARENT_WORLD,
    &SCRIPT_USER_UNKNOWN,
    &SCRIPT_USER_NAME,
    &SCRIPT_USER_DIFFERS,
    &SCRIPT_USER_GROUP_WRITABLE,
    &SCRIPT_USER_WORLD,
    &SCRIPT_USER_PARENT_UNKNOWN,
    &SCRIPT_USER_PARENT_NAME,
    &SCRIPT_USER_PARENT_DIFFERS,
    &SCRIPT_USER_PARENT_WORLD,
    &SCRIPT_USER_PARENT_GROUP_WRITABLE,
    &OWN_GIL_UNAVAILABLE,
    &FREE_THREADING_UNAVAILABLE,
    &FREE_THREADING_SCOPE,
    &PYTHON_ABSENT,
    &PANIC,
    &ENGINE_REFUSED,
    &DAEMON_DIED,
    &METRICS_REFUSED,
    &GROUP_IS_SERVICE,
    &AT_CAPACITY,
    &RESTARTS_DELAYED,
    &SOCKET_GONE,
    &SUCCESSOR_LATE,
    &SOCKET_FOLDER,
    &LISTENER_FOREIGN,
    &PREDECESSOR_KILLED,
    &OTHER_VERSION,
    &OTHER_VERSION_UNREADABLE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_rise_and_every_code_says_what_to_do() {
        for pair in CODES.windows(2) {
            assert!(pair[0].number < pair[1].number, "{} stands before {}", pair[0].name(), pair[1].name());
        }
        for code in CODES {
            for text in [code.cause, code.outcome, code.action] {
                assert!(text.ends_with('.') && text.len() > 8, "{}: {text:?}", code.name());
            }
        }
    }
}
