//! Codes of mod_wsgi that this module never logs, each with the reason. They stand here for the reference page: who
//! searches for one learns what happens instead.

/// Number, what it is in mod_wsgi, why it cannot be met here.
pub(crate) struct Absent(pub(crate) u16, pub(crate) &'static str, pub(crate) &'static str);

const NO_MUTEX: &str =
    "Each process has a listener of its own, so nothing has to be locked (WSGIAcceptMutex has no effect).";
const ONE_STEP: &str = "Permissions come with the owner and group in one look at the file, so they are never unknown.";
const RETIRED: &str = "mod_wsgi has given it up.";
const NEVER_EMITTED: &str = "mod_wsgi 6.1 does not log it either.";

/// All of them, by number.
pub(crate) static ABSENT: &[Absent] = &[
    Absent(
        6,
        "initgroups() failed",
        "The groups are looked up before the process is forked and set in one step (WSGI0005).",
    ),
    Absent(
        11,
        "the user's home folder is unknown",
        "A user without an account is refused when the configuration is read.",
    ),
    Absent(16, "waiting for work failed", "Workers wait in the poller (WSGI0018)."),
    Absent(17, "the accept mutex was not acquired", NO_MUTEX),
    Absent(19, "the accept mutex was not released", NO_MUTEX),
    Absent(20, "a worker's condition variable could not be made", "Needs no system call that can fail."),
    Absent(21, "a worker's mutex could not be made", "Needs no system call that can fail."),
    Absent(
        22,
        "a worker thread could not be made",
        "The process ends with the reason on its standard error, which is in the log, and WSGI0902.",
    ),
    Absent(26, "the accept mutex could not be taken over", NO_MUTEX),
    Absent(
        27,
        "the signal pipe could not be made",
        "The process ends with the reason on its standard error, which is in the log, and WSGI0902.",
    ),
    Absent(30, "the accept mutex could not be made", NO_MUTEX),
    Absent(31, "rights of the accept mutex (sysvsem)", NO_MUTEX),
    Absent(32, "rights of the accept mutex (flock)", NO_MUTEX),
    Absent(35, "an interpreter object could not be set up", "Logged with its traceback as WSGI0188."),
    Absent(37, "–", RETIRED),
    Absent(
        38,
        "the Python handlers are not available",
        "Logged as WSGI0210 in embedded mode and WSGI0028 in daemon mode.",
    ),
    Absent(39, "–", RETIRED),
    Absent(47, "a group look-up without WSGIAuthGroupScript", "Only Require wsgi-group asks for groups: WSGI0058."),
    Absent(53, "the access hook without a script", "The hook does not run without one."),
    Absent(61, "the process cannot be made dumpable", "A process that was executed anew is dumpable by its own user."),
    Absent(66, "–", RETIRED),
    Absent(68, "the monitor thread could not be made", "The process's first thread is the monitor."),
    Absent(70, "the reaper thread could not be made", "Without it a shutdown has no upper bound but the parent's own."),
    Absent(71, "a worker could not be joined", "Threads of Rust can always be joined."),
    Absent(72, "a group's socket could not be closed", "Not worth a line: the descriptor is gone either way."),
    Absent(73, "a group's socket file could not be removed", "The next start removes it with WSGI0065."),
    Absent(
        74,
        "the processor affinity could not be undone",
        "A process that is executed anew inherits what httpd was given, on purpose.",
    ),
    Absent(
        83,
        "the script is missing in the daemon",
        "Apache's child looks at it first (WSGI0135); a later loss is WSGI0105.",
    ),
    Absent(85, "the dispatch hook without a script", "The hook does not run without one."),
    Absent(88, "a module as handler could not be imported", NEVER_EMITTED),
    Absent(92, "–", RETIRED),
    Absent(93, "–", RETIRED),
    Absent(96, "sys.path is not accessible", "Raised as an exception with its traceback (WSGI0188)."),
    Absent(
        99,
        "compiled for another Python than the one that runs",
        "An engine runs the Python that it was built for, or is refused at start (WSGI0901).",
    ),
    Absent(111, "the main interpreter's handle is missing at the end", "It lives as long as the process."),
    Absent(
        122,
        "an unexpected interim status from a daemon",
        "There are no interim statuses: frames say what they are (WSGI0148).",
    ),
    Absent(123, "an unexpected interim status after reconnecting", "As WSGI0122."),
    Absent(
        125,
        "a request could not be sent again",
        "A request that cannot be sent is given to another process (WSGI0124).",
    ),
    Absent(127, "the end of the body could not be sent to a daemon", "Logged as WSGI0129."),
    Absent(128, "a bucket of the body could not be read", "Logged as WSGI0126."),
    Absent(130, "SystemExit in exit functions", NEVER_EMITTED),
    Absent(131, "an exception in exit functions", NEVER_EMITTED),
    Absent(140, "Content-Length together with chunked", "Apache's core refuses such requests itself."),
    Absent(142, "embedded mode is compiled out", "It never is; WSGIRestrictEmbedded turns it off (WSGI0143)."),
    Absent(150, "no daemon group is configured at all", "Logged as WSGI0151, which names the group."),
    Absent(156, "world's rights of a file are unknown", ONE_STEP),
    Absent(165, "the group's rights of a file are unknown", ONE_STEP),
    Absent(167, "world's rights of a file are unknown", ONE_STEP),
    Absent(180, "–", RETIRED),
    Absent(181, "the threading shutdown wrapper was not installed", NEVER_EMITTED),
    Absent(182, "the threading shutdown wrapper was not made", NEVER_EMITTED),
    Absent(184, "the intercept of signal.signal could not be made", "Logged as WSGI0183."),
    Absent(
        192,
        "no thread state to destroy an interpreter with",
        "The state that made an interpreter is kept to end it.",
    ),
    Absent(193, "–", RETIRED),
    Absent(
        195,
        "a script file could not be closed after reading (request)",
        "Nothing is lost when closing after reading fails.",
    ),
    Absent(196, "a script file could not be closed after reading (start)", "As WSGI0195."),
    Absent(197, "–", RETIRED),
    Absent(206, "the pipe of signal events could not be made", "Signals to subscribers need no pipe."),
    Absent(207, "the dispatcher of signals could not be made", "The watchdog thread tells subscribers (WSGI0069)."),
    Absent(208, "the pipe of signal events could not be read", "Signals to subscribers need no pipe."),
];
