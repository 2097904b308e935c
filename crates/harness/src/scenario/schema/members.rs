//! The members of steps' results and the names of the scope: what expressions can speak of. A step's code fills every
//! member of its kind; the loader checks expressions against these tables.

/// A member of a result, or a name of the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// One line.
    pub help: &'static str,
}

const fn member(name: &'static str, help: &'static str) -> Member {
    Member { name, help }
}

/// What every result has.
pub const COMMON_MEMBERS: &[Member] = &[
    member("ok", "whether the step and its checks succeeded"),
    member("duration", "how long it took"),
    member("error", "the first failure's text, or null"),
    member("skipped", "whether its `if` did not hold"),
];

/// The http step.
pub(super) const HTTP_MEMBERS: &[Member] = &[
    member("status", "the status, or null without an answer"),
    member("reason", "the status line's text"),
    member("header", "header fields by lower-case name; several of a name are joined by `, `"),
    member("headers", "header fields as a list of {name, value}, in order"),
    member("body", "the body as text"),
    member("bytes", "the body's length"),
    member("json", "the body as JSON, or null"),
    member("first-byte", "the time to the answer's first byte"),
    member("complete", "whether the body arrived whole"),
    member("retried", "how often a kept connection had been closed before the answer began"),
];

/// The raw step.
pub(super) const RAW_MEMBERS: &[Member] = &[
    member("received", "all bytes received, as text"),
    member("bytes", "their number"),
    member("closed", "whether the server closed the connection"),
    member("reset", "whether the server reset the connection"),
    member("status", "the first response's status, or null"),
    member("statuses", "the statuses of all responses, 1xx included"),
    member("header", "the first final response's header fields by lower-case name"),
    member("body", "the first final response's body, chunks joined"),
    member("json", "that body as JSON, or null"),
    member("complete", "whether that body arrived whole"),
];

/// The concurrent step; also what a repeated step gives. Every other name gives the list of the results' members.
pub(super) const CONCURRENT_MEMBERS: &[Member] =
    &[member("results", "the results in order"), member("elapsed", "the time from the first start to the last end")];

/// The load step.
pub(super) const LOAD_MEMBERS: &[Member] = &[
    member("requests", "how many requests were sent"),
    member("served", "how many got an accepted answer, whole"),
    member("failed", "how many did not"),
    member(
        "retried",
        "how often a kept connection had been closed before the answer began; such a request is sent once more",
    ),
    member("statuses", "how many answers had each status, as in statuses[\"200\"]"),
    member("errors", "the kinds of failures, most frequent first: {error, count, first}"),
    member("latency", "of served requests: latency.mean, .p50, .p90, .p99, .max"),
    member("rate", "served requests per second"),
    member("elapsed", "the time from the first request to the last answer"),
];

/// The signal step.
pub(super) const SIGNAL_MEMBERS: &[Member] = &[member("pids", "the processes that got it")];

/// The wait step. Every other name is a member of the last attempt's result.
pub(super) const WAIT_MEMBERS: &[Member] =
    &[member("attempts", "how many attempts were made"), member("last", "the last attempt's result")];

/// The log step.
pub(super) const LOG_MEMBERS: &[Member] = &[
    member("lines", "the lines that fit"),
    member("count", "their number"),
    member("text", "everything that was looked at"),
];

/// The process step; lists have one value for each process.
pub(super) const PROCESS_MEMBERS: &[Member] = &[
    member("pids", "the process ids"),
    member("count", "how many processes there are"),
    member("zombies", "how many have ended without being waited for"),
    member("threads", "numbers of threads"),
    member("fds", "numbers of open descriptors"),
    member("memory", "proportional shares of memory (PSS) in bytes"),
    member("virtual", "sizes of the address spaces in bytes"),
    member("names", "names, as ps shows them"),
    member("users", "user ids"),
];

/// The file step.
pub(super) const FILE_MEMBERS: &[Member] = &[
    member("text", "the text, of read"),
    member("exists", "whether the file is there afterwards"),
    member("size", "its size in bytes"),
    member("replaced", "how many matches were replaced"),
];

/// The exec step.
pub(super) const EXEC_MEMBERS: &[Member] = &[
    member("exit", "the exit status, or null"),
    member("signal", "the signal that ended it, or null"),
    member("stdout", "standard output"),
    member("stderr", "standard error"),
    member("json", "standard output as JSON, or null"),
];

/// The stop step.
pub(super) const STOP_MEMBERS: &[Member] = &[
    member("exit", "the parent's exit status, or null"),
    member("signal", "the signal that ended it, or null"),
    member("killed", "the processes that had to be killed"),
];

/// The names that every expression knows, beside the ids of steps and captured names.
pub const SCOPE: &[Member] = &[
    member("vars", "the scenario's values, with the variant's"),
    member("matrix", "the cell's position: matrix.mpm, matrix.mode, matrix.module, matrix.python"),
    member("mpm", "the processing module"),
    member("mode", "embedded or daemon, or null where the matrix has no such axis"),
    member("module", "ours or mod_wsgi"),
    member("variant", "the variant's name"),
    member("dir", "the cell's private folder"),
    member("port", "the server's port"),
    member("https-port", "the server's port for https, or null"),
    member("ports", "the further ports, by name"),
    member("start", "how the start went: start.ok, start.error, start.code, start.file, start.line, start.log"),
    member("parent", "the server's process id"),
    member("root", "whether the harness runs as root"),
    member("user", "the name of the user that serves requests"),
    member("python", "the version of Python, such as 3.11"),
    member("log", "the logs so far: log.error, log.access, log.console"),
    member("index", "the number of the repetition, from 0"),
    member("client", "the number of the concurrent client, from 0"),
];
