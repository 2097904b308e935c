//! The codes. Each stands in a table with its cause and its cure, which `explain` prints.

use std::fmt;

/// What is to be known about a code.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct CodeInfo {
    /// Its name in messages, such as `CG103`.
    pub id: &'static str,
    /// What it is called.
    pub title: &'static str,
    /// When it is reported.
    pub cause: &'static str,
    /// What to do about it.
    pub fix: &'static str,
}

/// A stable code of a finding. Each program that reports findings has a table of its own codes.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Code(&'static CodeInfo);

impl Code {
    /// A code of a table.
    pub const fn new(info: &'static CodeInfo) -> Self {
        Self(info)
    }

    /// The table entry.
    pub const fn info(self) -> &'static CodeInfo {
        self.0
    }

    /// The name in messages.
    pub const fn id(self) -> &'static str {
        self.0.id
    }

    /// The code of a table with a name, in any case of letters.
    pub fn find(codes: &[Self], id: &str) -> Option<Self> {
        codes.iter().copied().find(|code| code.id().eq_ignore_ascii_case(id))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// A table of codes: constants of a type, and a list of all of them.
#[macro_export]
macro_rules! codes {
    ($space:ident, $list:ident: $($(#[doc = $doc:literal])+ $name:ident = $id:literal, $title:literal, $cause:literal, $fix:literal;)+) => {
        #[expect(non_upper_case_globals, reason = "they read like the variants of an enumeration")]
        impl $space {
            $(
                $(#[doc = $doc])+
                pub const $name: $crate::diagnostic::Code = $crate::diagnostic::Code::new(
                    &$crate::diagnostic::CodeInfo { id: $id, title: $title, cause: $cause, fix: $fix },
                );
            )+
        }

        /// Every code of the table, in order.
        pub const $list: &[$crate::diagnostic::Code] = &[$($space::$name),+];
    };
}

codes! {
    Code, CODES:
    /// The text is not well-formed.
    Syntax = "CG101", "not well-formed",
        "The file is not well-formed YAML, TOML or JSON, so nothing in it could be read.",
        "Repair the place that the caret shows. In YAML look at the indentation and at unquoted `:`, `#`, `[` and `{` first.";
    /// A key stands twice.
    DuplicateKey = "CG102", "a key is given twice",
        "A map has the same key twice. One of the two would win silently, so neither is taken.",
        "Remove one of them, or merge the two values.";
    /// A key that is not known.
    UnknownKey = "CG103", "unknown key",
        "The key is not part of the format at this place. It would have no effect.",
        "Correct the spelling; `confgen schema` prints every key with its meaning.";
    /// A value of another type.
    Type = "CG104", "wrong type",
        "The value has another type than the key takes, for example text where a number is needed.",
        "Write a value of the type that the message names. In YAML a quoted number is text.";
    /// A number outside its range.
    Range = "CG105", "out of range",
        "The number is smaller or larger than the key allows.",
        "Use a value within the range that the message names.";
    /// A word that is not among the allowed ones.
    UnknownValue = "CG106", "unknown value",
        "The value is not one of those that the key takes.",
        "Use one of the values that the message lists.";
    /// Something that has to be there is not.
    Missing = "CG107", "a key is missing",
        "A key that this place needs is not there.",
        "Add the key.";
    /// Text that does not have the needed form.
    Form = "CG108", "wrong form",
        "The text does not have the form that the key needs, such as a duration, a size or a host name.",
        "Write it in the form that the message shows.";
    /// A character that can stand in no configuration.
    ControlCharacter = "CG109", "control character",
        "The text contains a line break, a NUL or another control character. In a line of httpd's configuration it would end the line, \
         and what follows would become a directive of its own.",
        "Remove the character. Text in several lines belongs into `raw`.";
    /// A reference to nothing.
    Reference = "CG110", "refers to nothing",
        "A name is used (of a daemon, a site, a profile, a path within the tree) that is defined nowhere.",
        "Define it, or correct the name.";
    /// Known, but not done yet.
    NotSupported = "CG111", "known, not supported yet",
        "The key or value is part of the format, or is a directive of mod_wsgi, but this version does not render it. It is refused rather than ignored.",
        "Leave it out, or write the lines by hand in `raw`.";
    /// An extension with the C module.
    Extension = "CG112", "needs our own module",
        "The spec says `module: mod_wsgi`, the C module, which does not have this option.",
        "Leave the option out, or use `module: auto`.";
    /// A file or directory that is not there.
    MissingFile = "CG113", "no such file",
        "A file or directory that the configuration names does not exist, or is of the wrong kind.",
        "Create it, or correct the path. With `--facts FILE`, which describes another machine, files are not looked at unless `--check-files` is given.";
    /// A Python module that is not found.
    MissingModule = "CG114", "no such Python module",
        "The module was not found on the search path of the application: python-path, home, the virtual environment, the installation's own directories.",
        "Correct the name, or add the directory that holds the package to the daemon's `python-path`.";
    /// A user or group that does not exist.
    UnknownUser = "CG115", "unknown user or group",
        "The account database of the machine does not have the user or group.",
        "Create it, or name another one.";
    /// Something that needs a start as root.
    NeedsRoot = "CG116", "needs a start as root",
        "Changing the user of a process, and listening on a port below 1024, needs a server that is started as root.",
        "Start as root, or leave the key out: everything then runs as the user who starts the server.";
    /// Root would serve requests.
    ServesAsRoot = "CG117", "would serve requests as root",
        "The server or a daemon would run applications as root. Nothing of an application is ever executed as root.",
        "Name an unprivileged user.";
    /// A certificate, key or CA file that does not fit.
    Certificate = "CG118", "certificate or key",
        "The file holds no certificate or key in PEM form, the key is not the one of the certificate or is too short: httpd would not start. \
         Or clients would refuse the certificate: it expired, is for other names, or its chain lacks an intermediate.",
        "Name the PEM files that belong together, and renew the certificate for every host of the site, with its whole chain.";
    /// TLS settings that contradict each other.
    Tls = "CG119", "TLS settings contradict each other",
        "TLS needs an https port, a certificate and a name: one of them is missing, or a site redirects to https without having it.",
        "Add what the message names.";
    /// Two things claim the same place.
    Conflict = "CG120", "conflict",
        "Two parts of the spec claim the same thing, such as a host name or a URL path, or two keys exclude each other.",
        "Keep one of them.";
    /// A path of a socket that is too long.
    SocketPath = "CG121", "the path of a socket is too long",
        "The path of a UNIX socket has at most 107 bytes; the server's run directory makes it longer.",
        "Use a shorter directory, or set `runtime.socket-prefix` to one.";
    /// Something that the installation lacks.
    NotInstalled = "CG122", "not installed",
        "The httpd installation has no such module, MPM or engine.",
        "Install it, or use one of those that the message lists.";
    /// A secret that cannot be taken.
    Secret = "CG123", "secret",
        "A secret cannot be read from where the spec says, or its value cannot stand in an environment file (a line break or a NUL in it, a blank at its beginning or end).",
        "Correct the source of the secret. Its value is never shown.";
    /// A raw text that would break the structure.
    Raw = "CG124", "raw text",
        "A `raw` text does not fit the place where it is to go: a section is opened and not closed, or the place does not exist.",
        "Close every section within the same text; the message lists the places.";
    /// Something that another part of the site takes all requests from.
    Shadowed = "CG125", "never reached",
        "Another part of the site answers every request that this part is for. Of plain paths the longest wins; a regular expression \
         comes after static paths, upstreams and health checks, and before everything at `/` and before the other applications.",
        "Mount it at a plain path that is longer, or change the path that comes first.";
    /// A target of a proxy that is none.
    Upstream = "CG126", "upstream",
        "The target of an upstream is not a URL that httpd can pass requests on to.",
        "Write scheme, host and, if need be, port and path: http://127.0.0.1:9001, http://backend:8080/path, or unix:/run/backend.sock.";
    /// A spec with nothing in it.
    EmptySpec = "CG127", "no spec",
        "The document is empty, does not say which format it has, or has no site. A file that was cut off looks like this.",
        "Begin the spec with `schema: confgen/1`, and give it a site.";
    /// A raw text that needs embedded mode.
    EmbeddedByRaw = "CG128", "Python in Apache's own processes",
        "Every application of the spec has a daemon, so that Apache's own processes would need no Python. A `raw` text mounts something \
         there, or includes lines that confgen does not see, and `WSGIRestrictEmbedded` is not set.",
        "Give what is mounted a daemon, or set `runtime.restrict.embedded` to what is meant.";
    /// An option that does not fit what is asked for.
    Option = "CG140", "the option does not apply",
        "An option of the command line does not apply to the form of the command that it was given with. It is refused rather than ignored.",
        "Leave the option out, or use the form of the command that the message names.";
    /// A daemon without a use.
    UnusedDaemon = "CG150", "nothing is sent to a daemon",
        "The daemon is defined, and no application, handler or import names it: its processes run and serve nothing.",
        "Give an application `daemon: NAME`, or remove the daemon.";
    /// Everybody is trusted as a proxy.
    TrustsEveryone = "CG151", "every client is trusted",
        "The network holds every address, so that any client may say with a header which address it comes from. Rules and logs by address are \
         worth nothing then.",
        "Name the addresses or networks of the proxies themselves.";
    /// An application forks where that is refused.
    ForkRefused = "CG152", "a fork that is refused",
        "The code forks processes (os.fork, multiprocessing), and it runs in an interpreter of its own, or beside one: CPython cannot fork there, and \
         the call raises RuntimeError.",
        "Give the application a daemon of its own with `interpreter: main`, use subprocess, or multiprocessing with the method spawn.";
    /// An application takes what only one process can have.
    TakenAtImport = "CG153", "a port or a lock taken at import",
        "The code takes a port or a lock when it is imported. At a graceful restart the next process imports it while the one before still has it, so \
         that one of the two does without.",
        "Set `handover: sequential` on the daemon: the process before ends first, while requests wait.";
    /// Applications in one interpreter that nobody chose.
    SharedInterpreter = "CG155", "applications share an interpreter",
        "Two applications run in the main interpreter of the same processes, and not both of them name it. They share imported modules, \
         os.environ and whatever frameworks keep once per interpreter.",
        "Give each application its own daemon, or a name as its `interpreter`. Set `interpreter: main` on both when they are meant to share.";
    /// Two Django projects in one interpreter that nobody chose.
    DjangoShared = "CG156", "two Django projects in one interpreter",
        "Two applications with different DJANGO_SETTINGS_MODULE run in the main interpreter of the same processes. Django reads its settings \
         once, so one of them would serve the pages and use the database of the other.",
        "Give each application its own daemon, or a name as its `interpreter`.";
    /// Sections of a configuration file do not fit together.
    ConfSections = "CG160", "sections that do not fit together",
        "A section of a configuration file is not closed, or the end of one stands where none is open. httpd refuses such a file unless it skips \
         the place.",
        "Close every section with the name that it was opened with, the inner ones first.";
    /// httpd would refuse to read a configuration.
    ConfRefused = "CG161", "httpd would not read it",
        "A configuration file is not what httpd's language asks for: a section that nothing closes, an `Include` of files that are not there, \
         a macro that does not exist. httpd does not start with it.",
        "Repair the place that the message names. It is the line that httpd itself would name.";
    /// A comment that allows findings is wrong.
    LintAllow = "CG162", "a comment that allows nothing",
        "A comment that begins with `# confgen:` names no rule, gives no reason, or nothing is reported at the directive below it.",
        "Write `# confgen: allow CG225 reason` directly above the directive or section, or remove the comment.";
    /// A variable that nothing defines.
    UndefinedVariable = "CG163", "undefined variable",
        "A `${NAME}` stands in the configuration, and neither a `Define` nor the server's environment has it. httpd takes the text as it stands.",
        "Define it (`Define NAME value`), or set it where httpd is started (Debian: /etc/apache2/envvars).";
    /// A directive that nothing knows.
    UnknownDirective = "CG164", "unknown directive",
        "Neither httpd nor its modules nor the wsgi module has a directive of this name, and there is one whose name is nearly the same.",
        "Correct the name. If the directive belongs to a module of somebody else, nothing is wrong.";
    /// Something that an import could not take over as it was.
    Imported = "CG165", "not plainly the same",
        "`confgen import` made something of the configuration that is not a key of its own: it is kept as it stands under `raw`, is left out because \
         confgen renders its own, or has another name now.",
        "Compare the place with the spec. Nothing is wrong when the server answers as it is to.";
    /// A command line of mod_wsgi-express that cannot be taken over.
    Express = "CG166", "a command line of mod_wsgi-express",
        "An option of the command line does not exist, has a value that does not fit, or has no counterpart in a spec.",
        "Correct the option, or do what the message says in its place.";
    /// A folder without an application.
    NoApplication = "CG170", "no application found",
        "`confgen init` found no WSGI application in the folder. It reads Python sources as text and executes nothing, so that it sees only \
         applications that are made at the level of a module.",
        "Name the folder of the project, or write a script that defines `application` and serve it with `confgen start SCRIPT`.";
    /// A file that would be lost.
    Exists = "CG171", "the file exists",
        "`confgen init` or `confgen import` would overwrite a file.",
        "Move it away, overwrite it with `--force`, or print the spec with `--stdout`.";
    /// httpd refuses the rendered tree.
    HttpdRefused = "CG401", "httpd refuses the configuration",
        "`httpd -t` found a mistake in the rendered tree. The caret shows the key that the line was made from.",
        "Correct the value. When the line came from no key, it is a mistake of confgen: please report it.";
    /// No httpd, or one that does not answer.
    NoHttpd = "CG402", "no usable httpd",
        "No httpd (or apache2) was found, or it does not run.",
        "Install httpd (Debian: `apache2-bin`, Fedora: `httpd-core`, Alpine: `apache2`), or name it with `--httpd`.";
    /// Our module or an engine was not found.
    NoModule = "CG403", "the module was not found",
        "The wsgi module or the engine beside it was not found. They stand beside the confgen executable, in the same folder.",
        "Run confgen from the folder that `make build` fills, or name the file with `runtime.module`. The C module is found by CONFGEN_MOD_WSGI, \
         in `../peer` or in httpd's module directory.";
    /// Reading or writing failed.
    Io = "CG404", "a file could not be read or written",
        "The operating system refused to read or write a file.",
        "See the message of the system.";
    /// The tree on disk was edited.
    Edited = "CG405", "edited by hand",
        "A file of the tree on disk is not as confgen wrote it.",
        "Move the change into the spec, or overwrite it with `--force`.";
    /// The facts file does not fit.
    Facts = "CG406", "facts",
        "The facts file cannot be used.",
        "Write a new one with `confgen facts`.";
    /// A port cannot be had.
    Port = "CG407", "port",
        "A port is in use, reserved, or not on an address of this machine.",
        "End the process that the message names, or choose another port.";
    /// The serving user cannot reach a file.
    Unreachable = "CG408", "closed to the serving user",
        "The user that serves requests may not enter a folder, or not read a file, that the application needs.",
        "Open the folder that the message names, move the application, or serve as another user.";
    /// httpd did not start.
    Start = "CG409", "httpd did not start",
        "httpd was started and ended before it answered, did not answer in time, or could not be executed.",
        "Read the lines of its log below the message; `confgen check` tests a spec without starting anything.";
    /// No such instance, or its name is taken.
    Instance = "CG410", "instance",
        "There is no running server of that name, or there is one already.",
        "`confgen status` lists the servers that run.";
    /// A directory that confgen did not make.
    ForeignFolder = "CG411", "not written by confgen",
        "The directory, or a file in the way of the tree's own, was not written by confgen: what it holds would be lost.",
        "Name an empty directory. `confgen render SPEC -o DIR --adopt` takes the directory over.";
    /// All applications would go.
    NothingLeft = "CG412", "no application is left",
        "The tree on disk has files of applications or secrets, and the spec has none any more. An empty or wrong spec looks like this.",
        "Check the spec and its profile. `confgen render SPEC -o DIR --prune` removes the files.";
    /// A server uses the tree.
    InUse = "CG413", "in use",
        "A running server has its configuration in the directory; another one there would take over its files.",
        "Stop that server first, or name another directory.";
    /// Somebody else could change what is written.
    UnsafeFolder = "CG414", "unsafe directory",
        "The directory, or a part of it, belongs to another user, can be written by everybody, or is a symbolic link. \
         Somebody else could replace what root reads, or have root write elsewhere.",
        "Use a directory of your own below folders that only root and you can write to.";
    /// A folder of the system.
    SystemFolder = "CG415", "a folder of the system",
        "The directory belongs to the operating system or to a package.",
        "Name a directory for the tree alone, such as /srv/NAME.";
    /// A change that a running server does not take over.
    NeedsStart = "CG416", "needs a new start",
        "The spec of a running server changed in a way that httpd does not take over while it runs: its MPM, the wsgi module, the user, \
         the addresses it listens on, or its environment.",
        "Stop the server and start it again.";
    /// An application raises an exception while it is loaded.
    AppFails = "CG430", "an application does not load",
        "The script or module of an application cannot be read, raised an exception, or called sys.exit() while it was loaded.",
        "Read the traceback. When a package is missing, name the virtual environment that has it: `confgen start --venv DIR`, \
         or `runtime.python.venv` in a spec.";
    /// The callable is missing or cannot be called.
    NoCallable = "CG431", "no application in the script",
        "The script was loaded, but it has no object of the name that is called for each request, or the object cannot be called.",
        "Define `application`, or name the callable: `confgen start module:callable`, or the key `callable` of the application in a spec.";
    /// The application is not loaded in time.
    AppTimeout = "CG432", "an application did not answer in time",
        "The application was not loaded, or did not answer its first request, within `--timeout`.",
        "Allow more time with `--timeout SECONDS`, or look for an import that waits for something: a database, a lock, the network.";
    /// The processes of a daemon do not stay.
    DaemonEnds = "CG433", "the processes of a daemon end while they start",
        "Every process of the daemon ended while it started or loaded the application: by a crash, by os._exit(), or by a limit such as `memory-limit`.",
        "Read the lines of the log below the message; raise or remove the limits of the daemon.";
    /// httpd answers in place of the application.
    NotPassedOn = "CG434", "httpd does not pass requests to an application",
        "httpd answered the first request to an application itself, with an error.",
        "Read httpd's line below the message. Most often the serving user cannot reach the script.";
    /// The application answered with an error.
    AppErrors = "CG435", "an application answers with an error",
        "The application is loaded, but its answer to the first request (`OPTIONS` at the path where it is mounted) is an error of the server (5xx).",
        "Read the traceback in the log. Nothing is refused: the application may answer other requests well.";
    /// httpd ended without being asked to.
    Ended = "CG436", "httpd ended by itself",
        "httpd ended although nobody asked it to.",
        "Read the last lines of its log; the message names the file.";
    /// httpd did not stop in time.
    Stop = "CG437", "httpd did not stop in time",
        "httpd, or a process of it, was still running when the time to stop was up, and was killed.",
        "Look for requests or threads that do not end. `--grace` and `--timeout` allow more time.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_complete() {
        for code in CODES {
            let info = code.info();
            assert_eq!(Code::find(CODES, &info.id.to_lowercase()), Some(*code));
            assert!(info.id.starts_with("CG") && info.id.len() == 5);
            assert!(info.cause.ends_with('.') && info.fix.ends_with(['.', '`']), "{}", info.id);
        }
        assert!(CODES.is_sorted_by(|a, b| a.id() < b.id()));
    }
}
