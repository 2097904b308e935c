//! What an option of `WSGIDaemonProcess` is, and how a definition is read by the table of them.

use std::ffi::{CStr, OsStr};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;

use crate::directives::daemon_group::{DaemonGroup, Handover};
use crate::directives::daemon_options::{NAMES, OPTIONS};
use crate::directives::spec::Refusal;
use crate::directives::words::{leading_integer, next_option};
use crate::host::{Pool, Server, User, group_id, group_name, user};

use Value::{Own, Seconds, Size, Text};

/// What an option's value is.
pub(crate) enum Value {
    /// A path or other text.
    Text(fn(&mut DaemonGroup) -> &mut Option<Vec<u8>>),
    /// Milliseconds, given in seconds.
    Seconds(fn(&mut DaemonGroup) -> &mut u64),
    /// A number of bytes or the like, 0 or more.
    Size(fn(&mut DaemonGroup) -> &mut u64),
    /// Something with rules of its own.
    Own(fn(&mut Reading<'_>, &[u8]) -> Result<(), Refusal>),
}

/// One row of the table.
pub(crate) struct DaemonOption {
    pub(crate) name: &'static str,
    pub(crate) syntax: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the pages that tests generate"))]
    pub(crate) default: &'static str,
    /// What the reference calls it in `Invalid … for WSGI daemon process.`
    pub(crate) noun: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the pages that tests generate"))]
    pub(crate) extension: bool,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the pages that tests generate"))]
    pub(crate) help: &'static str,
    pub(crate) value: Value,
}

impl DaemonOption {
    pub(super) const fn new(
        name: &'static str,
        default: &'static str,
        noun: &'static str,
        help: &'static str,
        value: Value,
    ) -> Self {
        let syntax = match value {
            Value::Text(_) => "TEXT",
            Value::Seconds(_) => "SECONDS",
            Value::Size(_) => "BYTES",
            Value::Own(_) => "VALUE",
        };
        Self { name, syntax, default, noun, extension: false, help, value }
    }

    pub(super) const fn extension(self) -> Self {
        Self { extension: true, ..self }
    }

    pub(super) const fn syntax(self, syntax: &'static str) -> Self {
        Self { syntax, ..self }
    }

    /// The reference's refusal of a value.
    pub(super) fn invalid(&self) -> Refusal {
        Refusal::new(format!("Invalid {} for WSGI daemon process.", self.noun))
    }

    /// The same with what was given and what is wanted: the line may hold twenty options.
    fn about(&self, refusal: &Refusal, value: &[u8]) -> Refusal {
        let (name, syntax, value) = (self.name, self.syntax, String::from_utf8_lossy(value));
        Refusal::new(format!("{refusal} Given is {name}={value}, the option is {name}={syntax}"))
    }
}

/// A definition while it is read.
pub(crate) struct Reading<'g> {
    pub(super) group: &'g mut DaemonGroup,
    pub(super) option: &'static DaemonOption,
    pool: Pool<'static>,
    pub(super) root: bool,
}

impl Reading<'_> {
    /// A number of at least `least`, by C's rules.
    pub(super) fn number(&self, value: &[u8], least: i64) -> Result<i64, Refusal> {
        let number = leading_integer(value);
        if value.is_empty() || number < least || number == i64::MAX { Err(self.option.invalid()) } else { Ok(number) }
    }

    pub(super) fn small(&self, value: &[u8], least: i64) -> Result<u32, Refusal> {
        u32::try_from(self.number(value, least)?).map_err(|_| self.option.invalid())
    }

    /// 0, or a number of at least `least`, with a text of its own for what lies between.
    pub(super) fn buffer(&self, value: &[u8], least: u32, text: &'static str) -> Result<u32, Refusal> {
        let number = self.number(value, i64::MIN)?;
        // C's conversion keeps the lower half of what is too large.
        let size = u32::try_from(number & 0xffff_ffff).map_or(-1, u32::cast_signed);
        match u32::try_from(size) {
            Ok(size) if size == 0 || size >= least => Ok(size),
            _ => Err(Refusal::new(text)),
        }
    }

    pub(super) fn text(&self, value: &[u8]) -> &'static CStr {
        self.pool.text(value)
    }

    pub(super) fn user(&self, value: &[u8]) -> Result<User, Refusal> {
        if value.is_empty() {
            return Err(self.option.invalid());
        }
        user(self.pool, self.text(value))
            .ok_or_else(|| Refusal::new(format!("bad user name {}.", String::from_utf8_lossy(value))))
    }

    pub(super) fn group_id(&self, value: &[u8]) -> Result<u32, Refusal> {
        if value.is_empty() {
            return Err(self.option.invalid());
        }
        group_id(self.pool, self.text(value))
            .ok_or_else(|| Refusal::new(format!("bad group name {}.", String::from_utf8_lossy(value))))
    }

    /// A group by its name, which a number is turned into.
    pub(super) fn group_name(&self, value: &[u8]) -> Result<Vec<u8>, Refusal> {
        let id = self.group_id(value)?;
        if !value.starts_with(b"#") {
            return Ok(value.to_vec());
        }
        let name = group_name(self.pool, id).map(|name| name.to_bytes().to_vec());
        name.ok_or_else(|| Refusal::new("Couldn't determine gid from script group."))
    }
}

/// An absolute path.
pub(super) fn directory(value: &[u8], what: &str) -> Result<Vec<u8>, Refusal> {
    if value.starts_with(b"/") {
        Ok(value.to_vec())
    } else {
        Err(Refusal::new(format!("Invalid {what} directory for WSGI daemon process.")))
    }
}

/// Reads the options of a group's definition.
pub(crate) fn read(
    pool: Pool<'static>,
    server: Server<'static>,
    name: Vec<u8>,
    line: &[u8],
) -> Result<DaemonGroup, Refusal> {
    const INVALID: &str = "Invalid option to WSGI daemon process definition.";
    let mut group = DaemonGroup::new(name, server);
    // SAFETY: a plain call.
    let root = unsafe { libc::geteuid() } == 0;
    let mut rest = line.trim_ascii();
    while !rest.is_empty() {
        let (name, value) =
            next_option(&mut rest).map_err(|word| Refusal::option(INVALID, &word, NAMES.iter().copied()))?;
        let Some(option) = OPTIONS.iter().find(|option| option.name == name) else {
            return Err(Refusal::option(INVALID, &name, NAMES.iter().copied()));
        };
        match option.value {
            // An empty text is as good as none.
            Text(slot) => *slot(&mut group) = Some(value).filter(|value| !value.is_empty()),
            Seconds(slot) | Size(slot) => {
                let number = leading_integer(&value);
                if value.is_empty() || number < 0 || number == i64::MAX {
                    return Err(option.about(&option.invalid(), &value));
                }
                let scale = if matches!(option.value, Seconds(_)) { 1000 } else { 1 };
                *slot(&mut group) = number.unsigned_abs().saturating_mul(scale);
            }
            Own(parse) => parse(&mut Reading { group: &mut group, option, pool, root }, &value)
                .map_err(|refusal| option.about(&refusal, &value))?,
        }
    }
    if group.fork_after_load && group.threads == 0 {
        return Err(Refusal::new(
            "fork-after-load=On needs threads: a group with threads=0 loads nothing that its processes could share.",
        ));
    }
    if group.fork_after_load && group.handover() == Handover::Sequential {
        return Err(Refusal::new(
            "handover=sequential cannot be combined with fork-after-load=On: what the loader has opened or locked while it \
             loaded the application stays open in every process that it forks. Use one of them.",
        ));
    }
    if let Some(home) = &group.home {
        exists(home, group.chroot.as_deref())?;
    }
    Ok(group)
}

/// Refuses a `home=` that does not exist: no process of the group could ever start. What cannot be looked at is left to
/// the processes.
fn exists(home: &[u8], chroot: Option<&[u8]>) -> Result<(), Refusal> {
    let inside = [chroot.unwrap_or_default(), home].concat();
    let why = match std::fs::metadata(OsStr::from_bytes(&inside)) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => "is not a directory",
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => "does not exist",
        Err(_) => return Ok(()),
    };
    let (home, inside) = (String::from_utf8_lossy(home), String::from_utf8_lossy(&inside));
    Err(Refusal::new(format!(
        "Invalid home directory for WSGI daemon process. Given is home={home}, but '{inside}' {why}. Create the directory \
         or name another one."
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only for options that look up neither users nor groups.
    fn read_line(line: &str) -> Result<DaemonGroup, String> {
        read(Pool::nowhere(), Server::nowhere(), b"web".to_vec(), line.as_bytes()).map_err(|error| error.to_string())
    }

    // Covers: rule:daemon/processes-multiprocess, rule:config/integers-checked
    #[test]
    fn values_are_read_by_the_reference() {
        let group = read_line("processes=3 threads=7junk request-timeout=60 python-path=/a:/b display-name=%{GROUP}");
        let group = group.expect("a good definition");
        assert_eq!((group.processes, group.threads, group.multiprocess), (3, 7, true));
        assert_eq!(group.timeouts.request, 60_000);
        assert_eq!(group.python_path.as_deref(), Some(&b"/a:/b"[..]));
        let line = "eviction-timeout=3 restart-interval=60 cpu-time-limit=9 cpu-priority=-5 virtual-memory-limit=100 \
                    server-metrics=on response-flush-delay=0 response-socket-timeout=7 send-buffer-size=0 \
                    receive-buffer-size=512 header-buffer-size=8192 response-buffer-size=65536";
        let group = read_line(line).expect("a good definition");
        assert_eq!((group.timeouts.eviction, group.timeouts.restart_interval), (3_000, 60_000));
        assert_eq!((group.cpu_time_limit, group.cpu_priority, group.virtual_memory_limit), (9, -5, 100));
        assert_eq!((group.server_metrics, group.response_flush_delay, group.response_socket_timeout), (true, 0, 7_000));
        assert_eq!((group.send_buffer_size, group.receive_buffer_size), (0, 512));
        assert_eq!((group.header_buffer_size, group.response_buffer_size), (8192, 65536));
        let group = read_line("threads=abc umask=0027 setenv=A=b=c setenv=B=").expect("a good definition");
        assert_eq!((group.threads, group.umask, group.multiprocess), (0, Some(0o027), false));
        let environment: Vec<_> = group.environment.iter().map(|(name, value)| (&name[..], &value[..])).collect();
        assert_eq!(environment, [(&b"A"[..], &b"b=c"[..]), (b"B", b"")]);
    }

    // Covers: rule:daemon/options-checked, rule:config/integers-checked, rule:daemon/home-invalid
    #[test]
    fn wrong_values_have_the_texts_of_the_reference() {
        for (line, text) in [
            ("processes=0", "Invalid process count for WSGI daemon process."),
            ("threads=-1", "Invalid thread count for WSGI daemon process."),
            ("threads=65534", "Invalid thread count for WSGI daemon process."),
            ("request-timeout=-1", "Invalid request timeout for WSGI daemon process."),
            ("stack-size=0", "Invalid stack size for WSGI daemon process."),
            ("home=relative", "Invalid home directory for WSGI daemon process."),
            ("listen-backlog=-1", "Invalid listen backlog for WSGI daemon process."),
            ("python=three", "Invalid python version for WSGI daemon process."),
            ("setenv=NAME", "Invalid environment variable for WSGI daemon process."),
            ("user=", "Invalid user for WSGI daemon process."),
            ("send-buffer-size=511", "Send buffer size must be >= 512 bytes, or 0 for system default."),
            ("receive-buffer-size=1", "Receive buffer size must be >= 512 bytes, or 0 for system default."),
            ("header-buffer-size=8191", "Header buffer size must be >= 8192 bytes, or 0 for default."),
            ("response-buffer-size=65535", "Response buffer size must be >= 65536 bytes, or 0 for default."),
            ("response-flush-delay=-1", "Invalid response flush delay for WSGI daemon process."),
            ("response-socket-timeout=-1", "Invalid response socket timeout for WSGI daemon process."),
            ("eviction-timeout=-5", "Invalid eviction timeout for WSGI daemon process."),
            ("restart-interval=-5", "Invalid restart interval for WSGI daemon process."),
            ("cpu-time-limit=-1", "Invalid CPU time limit for WSGI daemon process."),
            ("cpu-priority=", "Invalid CPU priority for WSGI daemon process."),
            ("virtual-memory-limit=-1", "Invalid virtual memory limit for WSGI daemon process."),
            ("server-metrics=maybe", "Invalid server metrics flag for WSGI daemon process."),
        ] {
            let refused = read_line(line).expect_err(line);
            let name = line.split('=').next().unwrap_or_default();
            assert!(
                refused.starts_with(&format!("{text} Given is {line}, the option is {name}=")),
                "{line}: {refused}"
            );
        }
    }

    // Covers: rule:config/option-unknown, rule:config/option-lists
    #[test]
    fn an_unknown_option_names_the_nearest() {
        let refused = read_line("thread=5").expect_err("unknown");
        assert_eq!(
            refused,
            "Invalid option to WSGI daemon process definition. Unknown option 'thread'; did you mean 'threads'?"
        );
        let refused = read_line("threads").expect_err("no value");
        assert!(refused.ends_with("definition. Option 'threads' needs a value, as in threads=VALUE"), "{refused}");
    }

    // Covers: option:WSGIDaemonProcess/handover
    #[test]
    fn services_run_in_turn_and_others_overlap_unless_the_option_says_otherwise() {
        let handover = |line: &str| read_line(line).expect("a good definition").handover();
        assert_eq!((handover("threads=5"), handover("threads=0")), (Handover::Overlap, Handover::Sequential));
        assert_eq!(handover("handover=Sequential"), Handover::Sequential);
        assert_eq!(handover("handover=overlap threads=0"), Handover::Overlap);
        let refused = read_line("handover=sequentially").map(|_| ()).expect_err("no such value");
        assert!(refused.ends_with("the option is handover=overlap|sequential"), "{refused}");
        let refused = read_line("fork-after-load=On handover=sequential").map(|_| ()).expect_err("refused together");
        assert!(refused.starts_with("handover=sequential cannot be combined with fork-after-load=On: "), "{refused}");
    }

    // Covers: option:WSGIDaemonProcess/fork-after-load
    #[test]
    fn a_service_has_nothing_to_fork_after() {
        assert!(read_line("fork-after-load=On").expect("a good definition").fork_after_load);
        assert!(read_line("threads=0 fork-after-load=Off").is_ok());
        for line in ["fork-after-load=On threads=0", "threads=0 fork-after-load=On"] {
            let refused = read_line(line).map(|_| ()).expect_err("no threads");
            assert!(refused.starts_with("fork-after-load=On needs threads: "), "{refused}");
        }
        let refused = read_line("fork-after-load=maybe").map(|_| ()).expect_err("no flag");
        assert!(refused.starts_with("Invalid fork-after-load flag for WSGI daemon process. "), "{refused}");
    }
}
