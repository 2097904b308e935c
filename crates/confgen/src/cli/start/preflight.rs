//! What happens between the start of httpd and "serving": every application is loaded and has answered a request, or it is
//! said why not.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::applications::Application;
use super::ask::{Asked, Reply};
use super::callable;
use super::python::Pythons;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Node;
use crate::httpd::{Level, LogLine, LogTail, RelayedLines};

/// How long the rest of a traceback is waited for, and the lines about an answer.
const REST: Duration = Duration::from_millis(150);

/// How often it is said that an application is still waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most lines of the log that a message shows.
const MOST_LINES: usize = 60;

/// After so many ends of its processes a daemon is given up.
const ENDS: usize = 3;

/// What the module says of a script that it cannot load: it cannot be read, compiled or executed, or calls sys.exit().
const FAILED_LOADS: &[&str] = &["WSGI0105", "WSGI0106", "WSGI0107", "WSGI0108", "WSGI0109", "WSGI0110"];

/// Where lines of the error log come from.
pub(super) enum Lines {
    /// A file.
    File(LogTail),
    /// A pipe whose lines are shown on the terminal.
    Relayed(RelayedLines),
}

impl Lines {
    fn read(&mut self) -> Vec<LogLine> {
        match self {
            Self::File(tail) => tail.read().unwrap_or_default(),
            Self::Relayed(lines) => lines.take(),
        }
    }

    fn path(&self) -> Option<&Path> {
        match self {
            Self::File(tail) => Some(tail.path()),
            Self::Relayed(_) => None,
        }
    }
}

/// What is known about an application.
enum State {
    Waiting,
    /// A line says that it does not load; the rest of the traceback is waited for.
    Failing {
        since: Instant,
        line: usize,
    },
    Answered {
        since: Instant,
        reply: Reply,
    },
    Judged(Option<Diagnostic>),
}

/// The watch over the first loads.
pub(super) struct Preflight {
    applications: Vec<(Application, State)>,
    asked: Asked,
    lines: Lines,
    seen: Vec<LogLine>,
    began: Instant,
    limit: Option<Duration>,
    reminded: Duration,
    settings: Settings,
}

/// What messages depend on.
pub(super) struct Settings {
    /// The spec, for places.
    pub(super) root: Node,
    /// Whether lines of the log are on the terminal already.
    pub(super) shown: bool,
    /// The Python of each application.
    pub(super) pythons: Pythons,
    /// Whether it is a spec that is served.
    pub(super) spec: bool,
    /// Whether connections begin with a header of the PROXY protocol.
    pub(super) proxied: bool,
}

/// What became of the applications.
#[derive(Default)]
pub(super) struct Outcome {
    /// Why applications do not serve.
    pub(super) failures: Vec<Diagnostic>,
    /// What is worth knowing of those that do.
    pub(super) warnings: Vec<Diagnostic>,
    /// Sites none of whose applications serves.
    pub(super) silent_sites: Vec<String>,
    /// Whether no application serves.
    pub(super) none_serves: bool,
}

impl Preflight {
    /// Asks every application, and reads what the log has from this start. Without a limit it waits as long as it takes.
    pub(super) fn new(
        applications: Vec<Application>,
        lines: Lines,
        limit: Option<Duration>,
        settings: Settings,
    ) -> Self {
        let routes = applications.iter().enumerate().filter_map(|(index, app)| Some((index, app.route.clone()?)));
        let asked = Asked::new(routes.collect(), settings.proxied);
        Self {
            applications: applications.into_iter().map(|application| (application, State::Waiting)).collect(),
            asked,
            lines,
            seen: Vec::new(),
            began: Instant::now(),
            limit,
            reminded: Duration::ZERO,
            settings,
        }
    }

    /// Looks at what has come; says what became of the applications once that is known of all of them. `note` tells the user
    /// that it takes its time.
    pub(super) fn look(&mut self, note: impl FnOnce(&str)) -> Option<Outcome> {
        self.seen.extend(self.lines.read());
        for (index, reply) in self.asked.replies() {
            if let (_, state @ (State::Waiting | State::Failing { .. })) = &mut self.applications[index] {
                *state = State::Answered { since: Instant::now(), reply };
            }
        }
        let expired = self.limit.is_some_and(|limit| self.began.elapsed() > limit);
        for index in 0..self.applications.len() {
            if let Some(state) = self.next(index, expired) {
                self.applications[index].1 = state;
            }
        }
        let asked = |application: &Application| application.route.is_some();
        let open = self.applications.iter().filter(|(application, state)| match state {
            State::Judged(_) => false,
            // Nobody can ask it: it is judged by the log alone, when the others are done.
            State::Waiting => asked(application),
            State::Failing { .. } | State::Answered { .. } => true,
        });
        let open: Vec<&Application> = open.map(|(application, _)| application).collect();
        if open.is_empty() && self.began.elapsed() > REST.min(self.limit.unwrap_or(REST)) {
            return Some(self.outcome());
        }
        if self.began.elapsed() >= self.reminded + PATIENCE {
            self.reminded = self.began.elapsed();
            if let Some(first) = open.first() {
                note(&self.reminder(first, open.len()));
            }
        }
        None
    }

    fn reminder(&self, first: &Application, open: usize) -> String {
        let others = if open > 1 { format!(" and {} more", open - 1) } else { String::new() };
        let limit = self.limit.map(|limit| format!(" of {}", seconds(limit))).unwrap_or_default();
        format!(
            "waiting for {}{others} to load ({}{limit}); Ctrl-C stops the server",
            first.title(),
            seconds(self.began.elapsed())
        )
    }

    /// The state that follows; `None` when it stays.
    fn next(&self, index: usize, expired: bool) -> Option<State> {
        let (application, state) = &self.applications[index];
        match state {
            State::Judged(_) => None,
            State::Waiting => {
                if let Some(line) = self.failed_load(application) {
                    return Some(State::Failing { since: Instant::now(), line });
                }
                let ends = self.ends(application);
                if ends.len() >= ENDS || (expired && !ends.is_empty()) {
                    return Some(State::Judged(Some(self.ends_again(application, &ends))));
                }
                let waited = self.limit.filter(|_| expired && application.route.is_some());
                waited.map(|limit| State::Judged(Some(self.too_slow(application, limit))))
            }
            State::Failing { since, line } if since.elapsed() > REST => {
                let lines = rest_of(&self.seen[*line..]);
                Some(State::Judged(Some(self.does_not_load(application, &lines, Some(*line)))))
            }
            State::Answered { since, reply } => match reply {
                Reply::Refused => Some(State::Judged(None)),
                Reply::Answered { status, .. } if *status < 400 => Some(State::Judged(None)),
                Reply::Answered { status, client } if since.elapsed() > REST => {
                    Some(State::Judged(self.judge(application, *status, &client.to_string())))
                }
                Reply::Answered { .. } => None,
            },
            State::Failing { .. } => None,
        }
    }

    fn outcome(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        let fails = |state: &State| matches!(state, State::Judged(Some(diagnostic)) if diagnostic.is_error());
        for (application, state) in &self.applications {
            let mut others = self.applications.iter().filter(|(other, _)| other.site == application.site);
            if fails(state) && others.all(|(_, state)| fails(state)) {
                outcome.silent_sites.push(application.site.clone());
            }
        }
        for (_, state) in &mut self.applications {
            if let State::Judged(found) = state {
                match found.take() {
                    Some(diagnostic) if diagnostic.is_error() => outcome.failures.push(diagnostic),
                    Some(diagnostic) => outcome.warnings.push(diagnostic),
                    None => {}
                }
            }
        }
        outcome.none_serves = !outcome.failures.is_empty() && outcome.failures.len() == self.applications.len();
        outcome
    }

    /// The line that says that the script does not load, where it is the script of this application alone.
    fn failed_load(&self, application: &Application) -> Option<usize> {
        let script = application.script.as_deref()?;
        if self.applications.iter().filter(|(other, _)| other.script.as_deref() == Some(script)).count() > 1 {
            // It may load in one daemon and fail in another: the answers tell.
            return None;
        }
        let quoted = format!("'{}'", script.display());
        self.seen
            .iter()
            .position(|line| is_failed_load(line) && line.client.is_none() && line.message.contains(&quoted))
    }

    /// The lines that tell of ends of the daemon's processes.
    fn ends(&self, application: &Application) -> Vec<&LogLine> {
        let Some(daemon) = &application.daemon else { return Vec::new() };
        let ours = format!("of group '{daemon}'");
        let theirs = format!("Process '{daemon}' (pid=");
        let ended = |line: &&LogLine| match line.code.as_deref() {
            Some("WSGI0902") => line.message.contains(&ours),
            // The C module has a line without a code, which ours writes too.
            None => line.message.starts_with(&theirs) && line.message.contains(") terminated"),
            _ => false,
        };
        let coded: Vec<&LogLine> = self.seen.iter().filter(|line| line.code.is_some()).filter(ended).collect();
        if coded.is_empty() { self.seen.iter().filter(ended).collect() } else { coded }
    }

    /// What an answer with an error means.
    fn judge(&self, application: &Application, status: u16, client: &str) -> Option<Diagnostic> {
        let about = |line: &&LogLine| {
            line.client.as_deref() == Some(client) && line.level.is_some_and(|level| level <= Level::Error)
        };
        let lines: Vec<&LogLine> = self.seen.iter().filter(about).collect();
        let has = |code: &str| lines.iter().any(|line| line.code.as_deref() == Some(code));
        let traceback = lines.iter().any(|line| line.message.starts_with("Traceback "));
        let uncallable = lines
            .iter()
            .any(|line| line.message.starts_with("TypeError: ") && line.message.contains("is not callable"));
        if lines.iter().any(|line| is_failed_load(line)) {
            return Some(self.does_not_load(application, &lines, None));
        }
        if has("WSGI0089") || (has("WSGI0174") && uncallable && !traceback) {
            return Some(self.no_callable(application, has("WSGI0089")));
        }
        let daemon = ["WSGI0115", "WSGI0116", "WSGI0117", "WSGI0121", "WSGI0124"];
        if daemon.iter().any(|code| has(code)) || (status >= 502 && !self.ends(application).is_empty()) {
            return Some(self.ends_again(application, &self.ends(application)));
        }
        // httpd's own complaints begin with AH; what the application answers has none.
        let own = lines.iter().find(|line| line.code.as_deref().is_some_and(|code| code.starts_with("AH")));
        if let Some(line) = own {
            let message = format!("httpd answers {status} in place of {}", application.title());
            return Some(self.placed(application, Diagnostic::error(Code::NotPassedOn, message)).note(&line.message));
        }
        if status < 500 {
            return None;
        }
        let message = format!("{} answers its first request with {status}", application.title());
        let warning = self.placed(application, Diagnostic::warning(Code::AppErrors, message));
        Some(match lines.last() {
            Some(last) => self.with_log(warning.note(&last.message), None),
            None => warning,
        })
    }

    fn does_not_load(&self, application: &Application, lines: &[&LogLine], line: Option<usize>) -> Diagnostic {
        let errors = lines.iter().filter(|line| {
            line.module.as_deref() == Some("wsgi") && line.level.is_some_and(|level| level <= Level::Error)
        });
        let errors: Vec<&str> = errors.map(|line| line.message.as_str()).collect();
        // The last line of a traceback says what it is about.
        let text = errors.last().copied().unwrap_or_default();
        if let Some(diagnostic) = self.cannot_import(application, text) {
            return diagnostic;
        }
        let message = format!("{} does not load: {text}", application.title());
        let mut diagnostic = self.placed(application, Diagnostic::error(Code::AppFails, message));
        if !self.settings.shown {
            let left_out = errors.len().saturating_sub(MOST_LINES);
            diagnostic = errors.iter().skip(left_out).fold(diagnostic, |diagnostic, line| diagnostic.note(*line));
        }
        let diagnostic = self.with_log(diagnostic, line);
        if text.starts_with("ModuleNotFoundError: ") {
            return self.settings.pythons.explain(application, diagnostic, self.settings.spec);
        }
        diagnostic.help(self.help())
    }

    /// A module that lacks the callable fails in the script that was made for it.
    fn cannot_import(&self, application: &Application, text: &str) -> Option<Diagnostic> {
        let (module, callable) = application.named.split_once(':')?;
        let first = callable.split('.').next().unwrap_or_default();
        let missing = text.contains(&format!("cannot import name '{first}' from '{module}'"))
            || text.contains(&format!("module '{module}' has no attribute '{first}'"));
        missing.then(|| self.no_callable(application, true))
    }

    fn no_callable(&self, application: &Application, missing: bool) -> Diagnostic {
        let callable = &application.callable;
        let message = match missing {
            true => format!("{} has no callable `{callable}`", application.title()),
            false => format!("`{callable}` of {} cannot be called", application.title()),
        };
        let diagnostic = self.placed(application, Diagnostic::error(Code::NoCallable, message));
        let diagnostic = self.with_log(diagnostic, None);
        let file = self.source(application);
        let Some(name) = file.and_then(|file| callable::meant(&file, callable)) else {
            let help =
                format!("define `{callable}` as a function `(environ, start_response)`, or name another callable");
            return diagnostic.help(help);
        };
        let module = application.named.split_once(':').map(|(module, _)| module.to_owned());
        let stem = Path::new(&application.named).file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let python = application.named.ends_with(".py");
        let use_it = match (module, self.settings.spec) {
            (Some(module), true) => format!("write `module: \"{module}:{name}\"`"),
            (None, true) => format!("write `callable: {name}` beside `script`"),
            (Some(module), false) => format!("run `confgen start {module}:{name}`"),
            (None, false) if python => format!("run `confgen start {}:{name}`", stem.unwrap_or_default()),
            (None, false) => format!("rename it to `{callable}`"),
        };
        diagnostic.help(format!("there is `{name}`: {use_it}"))
    }

    /// The file that the callable was looked for in.
    fn source(&self, application: &Application) -> Option<PathBuf> {
        match application.named.split_once(':') {
            None => Some(PathBuf::from(&application.named)),
            Some((module, _)) => self.settings.pythons.file_of(application, module),
        }
    }

    fn ends_again(&self, application: &Application, ends: &[&LogLine]) -> Diagnostic {
        let daemon = application.daemon.as_deref().unwrap_or_default();
        let last = ends.last().map(|line| line.message.as_str());
        let how = last.map(|line| line.rsplit_once("' ").map_or(line, |(_, how)| how)).map(|how| format!(": {how}"));
        let message = format!(
            "the processes of the daemon `{daemon}` do not serve {}{}",
            application.title(),
            how.unwrap_or_default()
        );
        let diagnostic = self.placed(application, Diagnostic::error(Code::DaemonEnds, message));
        self.with_log(diagnostic, None).help("look at the lines of the log before it, and at the limits of the daemon")
    }

    fn too_slow(&self, application: &Application, limit: Duration) -> Diagnostic {
        let message = format!("{} did not load and answer within {}", application.title(), seconds(limit));
        let diagnostic = self.placed(application, Diagnostic::error(Code::AppTimeout, message));
        self.with_log(diagnostic, None)
            .help("allow more with `--timeout SECONDS`, or look for an import that waits for something or does not end")
    }

    fn help(&self) -> &'static str {
        "correct it and start again, or serve all the same with `--no-preflight`"
    }

    fn placed(&self, application: &Application, diagnostic: Diagnostic) -> Diagnostic {
        let key = ["script", "module"].iter().map(|key| application.key.join(*key));
        let own = key.into_iter().find(|key| key.find(&self.settings.root).is_some());
        diagnostic.at(own.unwrap_or_else(|| application.key.clone()).span(&self.settings.root), "")
    }

    fn with_log(&self, diagnostic: Diagnostic, line: Option<usize>) -> Diagnostic {
        let Some(path) = self.lines.path() else { return diagnostic };
        match line {
            // Lines that are no lines of the log format are counted too, so that the number is that of the file.
            Some(line) => diagnostic.note(format!("{}:{}", path.display(), line + 1)),
            None => diagnostic.note(format!("the log: {}", path.display())),
        }
    }
}

/// The lines of one load: those of the same thread that follow the first.
fn rest_of(lines: &[LogLine]) -> Vec<&LogLine> {
    let Some(first) = lines.first() else { return Vec::new() };
    lines.iter().filter(|line| line.pid == first.pid && line.tid == first.tid && line.client == first.client).collect()
}

/// Whether a line says that a script does not load.
pub(super) fn is_failed_load(line: &LogLine) -> bool {
    line.code.as_deref().is_some_and(|code| FAILED_LOADS.contains(&code))
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs())
}
