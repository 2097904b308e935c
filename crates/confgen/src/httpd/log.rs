//! Lines of Apache's error log, taken apart.

use std::fmt;
use std::str::FromStr;

/// A log level, most severe first, as httpd orders them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are httpd's own")]
pub enum Level {
    Emerg,
    Alert,
    Crit,
    Error,
    Warn,
    Notice,
    Info,
    Debug,
    Trace,
}

const LEVELS: &[(&str, Level)] = &[
    ("emerg", Level::Emerg),
    ("alert", Level::Alert),
    ("crit", Level::Crit),
    ("error", Level::Error),
    ("warn", Level::Warn),
    ("notice", Level::Notice),
    ("info", Level::Info),
    ("debug", Level::Debug),
];

impl Level {
    /// Whether a line of this level tells of a fault (warn or worse).
    pub fn is_fault(self) -> bool {
        self <= Self::Warn
    }

    /// httpd's name of the level.
    pub fn as_str(self) -> &'static str {
        LEVELS.iter().find(|(_, level)| *level == self).map_or("trace", |(name, _)| name)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.starts_with("trace") {
            return Ok(Self::Trace);
        }
        LEVELS.iter().find(|(name, _)| *name == text).map(|(_, level)| *level).ok_or(())
    }
}

/// One line of an error log in httpd's default format. A line that something else wrote to the log has only `raw` and `message`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogLine {
    /// The line as it stands in the file, without its end.
    pub raw: String,
    /// The time as written, for example `Sat Nov 21 02:29:50.123456 2026`.
    pub time: Option<String>,
    /// The module that logged, for example `wsgi`.
    pub module: Option<String>,
    /// The level.
    pub level: Option<Level>,
    /// The process that logged.
    pub pid: Option<u32>,
    /// The thread that logged.
    pub tid: Option<u64>,
    /// The address of the client whose request it was.
    pub client: Option<String>,
    /// The script that was running, where the C module names it.
    pub script: Option<String>,
    /// The stable code of the message: `AH00094` or `WSGI0147`.
    pub code: Option<String>,
    /// The message: all that follows the fields above, the code included.
    pub message: String,
}

impl LogLine {
    /// Takes a line apart.
    pub fn parse(raw: &str) -> Self {
        let mut line = Self { raw: raw.to_owned(), message: raw.to_owned(), ..Self::default() };
        let Some((time, rest)) = bracketed(raw) else {
            line.code = code(raw);
            return line;
        };
        let Some((origin, rest)) = bracketed(rest) else { return line };
        // `[module:level]`; httpd leaves the module out before it knows it.
        let (module, level) = origin.rsplit_once(':').unwrap_or(("", origin));
        let Ok(level) = level.parse() else { return line };
        line.time = Some(time.to_owned());
        line.module = (!module.is_empty() && module != "-").then(|| module.to_owned());
        line.level = Some(level);
        let mut rest = rest;
        if let Some((process, after)) = bracketed(rest).filter(|(field, _)| field.starts_with("pid ")) {
            for part in process.split(':') {
                if let Some(pid) = part.strip_prefix("pid ") {
                    line.pid = pid.parse().ok();
                } else if let Some(tid) = part.strip_prefix("tid ") {
                    line.tid = tid.parse().ok();
                }
            }
            rest = after;
        }
        // The source position and the system error stand before these fields. A daemon process of the C module calls the
        // client `remote` and adds the script.
        let mut message = rest.to_owned();
        for name in ["[client ", "[remote ", "[script "] {
            if let Some(position) = message.find(name).filter(|position| *position < FIELD_LIMIT)
                && let Some((field, after)) = bracketed(&message[position..])
            {
                let value = field.split_once(' ').map(|(_, value)| value.to_owned());
                if name == "[script " {
                    line.script = value;
                } else {
                    line.client = value;
                }
                message = format!("{}{after}", &message[..position]);
            }
        }
        line.message = message;
        line.code = code(&line.message);
        line
    }

    /// Whether the line tells of a fault (warn or worse).
    pub fn is_fault(&self) -> bool {
        self.level.is_some_and(Level::is_fault)
    }
}

/// How far into the rest of a line these fields may stand: before them there are only a file position and a system error.
const FIELD_LIMIT: usize = 160;

/// Splits `[field] rest`.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let (field, rest) = text.strip_prefix('[')?.split_once(']')?;
    Some((field, rest.strip_prefix(' ').unwrap_or(rest)))
}

/// The code of a message: the first word of the form `AH00000` or `WSGI0000` that a colon follows.
fn code(message: &str) -> Option<String> {
    message.split_ascii_whitespace().take(CODE_WORDS).find_map(|word| {
        let word = word.strip_suffix(':')?;
        let digits = word
            .strip_prefix("AH")
            .filter(|digits| digits.len() == 5)
            .or_else(|| word.strip_prefix("WSGI").filter(|digits| digits.len() == 4))?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.to_owned())
    })
}

/// Among how many words at the start of a message its code is looked for: a system error may stand before it.
const CODE_WORDS: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_httpd() {
        let line = LogLine::parse(
            "[Sat Nov 21 02:29:50.123456 2026] [mpm_event:notice] [pid 12:tid 34] AH00489: Apache/2.4.71 (Debian) configured -- resuming normal operations",
        );
        assert_eq!(line.time.as_deref(), Some("Sat Nov 21 02:29:50.123456 2026"));
        assert_eq!((line.module.as_deref(), line.level), (Some("mpm_event"), Some(Level::Notice)));
        assert_eq!((line.pid, line.tid, line.code.as_deref()), (Some(12), Some(34), Some("AH00489")));
        assert!(!line.is_fault());
        assert!(line.message.starts_with("AH00489: Apache"));
    }

    #[test]
    fn a_request_line_with_a_system_error() {
        let line = LogLine::parse(
            "[Sat Nov 21 02:29:50.123456 2026] [core:error] [pid 12:tid 34] (13)Permission denied: [client 127.0.0.1:5000] AH00035: access to /x denied, referer: http://a/",
        );
        assert_eq!(line.client.as_deref(), Some("127.0.0.1:5000"));
        assert_eq!(line.code.as_deref(), Some("AH00035"));
        assert_eq!(line.message, "(13)Permission denied: AH00035: access to /x denied, referer: http://a/");
        assert!(line.is_fault());
    }

    #[test]
    fn a_line_of_the_module_and_one_at_debug_level() {
        let line = LogLine::parse(
            "[Sat Nov 21 02:29:50.1 2026] [wsgi:error] [pid 12:tid 34] [client 127.0.0.1:1] WSGI0147: Error reading response headers from daemon process 'd' (x).",
        );
        assert_eq!((line.module.as_deref(), line.code.as_deref()), (Some("wsgi"), Some("WSGI0147")));
        let line =
            LogLine::parse("[Sat Nov 21 02:29:50.1 2026] [ssl:debug] [pid 12:tid 34] ssl_engine.c(12): AH01887: Init");
        assert_eq!((line.level, line.code.as_deref()), (Some(Level::Debug), Some("AH01887")));
        let line = LogLine::parse("[Sat Nov 21 02:29:50.1 2026] [core:trace3] [pid 12] x");
        assert_eq!((line.level, line.pid, line.tid), (Some(Level::Trace), Some(12), None));
    }

    #[test]
    fn a_line_of_a_daemon_process_of_the_c_module() {
        let line = LogLine::parse(
            "[Sat Nov 21 02:29:50.1 2026] [wsgi:error] [pid 12:tid 34] [remote 127.0.0.1:7] [script /x/app.wsgi] Traceback (most recent call last):",
        );
        assert_eq!((line.client.as_deref(), line.script.as_deref()), (Some("127.0.0.1:7"), Some("/x/app.wsgi")));
        assert_eq!(line.message, "Traceback (most recent call last):");
        let line = LogLine::parse(
            "[Sat Nov 21 02:29:50.1 2026] [wsgi:error] [pid 12:tid 34] [remote 127.0.0.1:7]   File \"x\", line 1",
        );
        assert_eq!(line.message, "  File \"x\", line 1");
    }

    #[test]
    fn lines_of_others_stay_whole() {
        for raw in ["Fatal Python error: init", "[not a time", "[a] [b] c", "", "[x] [core:shout] y", "[]"] {
            let line = LogLine::parse(raw);
            assert_eq!((line.raw.as_str(), line.message.as_str(), line.level), (raw, raw, None));
        }
        assert_eq!(LogLine::parse("AH00526: Syntax error on line 3 of /x:").code.as_deref(), Some("AH00526"));
    }
}
