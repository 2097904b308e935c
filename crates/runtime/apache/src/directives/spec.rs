//! What a directive is: the type of the table's rows, and what Apache gets of them.

use std::borrow::Cow;
use std::ffi::{CStr, OsStr, c_char, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::config::{Main, Registry, ServerConfig, Settings};
use crate::directives::words;
use crate::guard::wall;
use crate::host::{Pool, Server, server_relative};
use crate::interpreter_options::Scoped;
use crate::sys;

/// Whether this version does it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "for the table that tests write"))]
pub(crate) enum Support {
    /// It does.
    Supported,
    /// It is known, and refused by name.
    Known,
}

/// How many arguments there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arity {
    /// `On` or `Off`.
    Flag,
    /// One.
    One,
    /// One or more.
    OneOrMore,
    /// Two or more.
    TwoOrMore,
    /// A container's opening line.
    Raw,
}

impl Arity {
    /// As `directives.json` says it.
    #[cfg(test)]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::One => "1",
            Self::OneOrMore => "1+",
            Self::TwoOrMore => "2+",
            Self::Raw => "raw",
        }
    }
}

/// Where a directive may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The main server.
    Main,
    /// The main server and virtual hosts.
    Servers,
    /// Also directories and locations.
    Sections,
    /// Also `.htaccess` (`AllowOverride FileInfo`).
    Everywhere,
    /// Directories, locations and `.htaccess` (`AllowOverride AuthConfig`).
    Directories,
}

impl Place {
    /// As `directives.json` says it.
    #[cfg(test)]
    pub(crate) fn names(self) -> &'static [&'static str] {
        match self {
            Self::Main => &["server"],
            Self::Servers => &["server", "vhost"],
            Self::Sections => &["server", "vhost", "directory"],
            Self::Everywhere => &["server", "vhost", "directory", "htaccess"],
            Self::Directories => &["directory", "htaccess"],
        }
    }

    const fn for_apache(self) -> u32 {
        match self {
            Self::Main | Self::Servers => sys::RSRC_CONF,
            Self::Sections => sys::RSRC_CONF | sys::ACCESS_CONF,
            Self::Everywhere => sys::OR_FILEINFO,
            Self::Directories => sys::OR_AUTHCFG,
        }
    }
}

/// What holds when a directive is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fallback {
    /// Nothing.
    None,
    /// On or Off.
    Flag(bool),
    /// A number.
    Number(u32),
    /// Something in words.
    Text(&'static str),
}

/// What an argument does.
pub(crate) enum Parse {
    /// It is refused by name.
    Refuse,
    /// A flag of a directory.
    Setting(for<'a, 'p> fn(&'a mut Settings<'p>) -> &'a mut Option<bool>),
    /// A flag of the main server.
    MainFlag(for<'a> fn(&'a mut Main) -> &'a mut Option<bool>),
    /// A flag of the main server, or of the interpreters that a block selects.
    ScopedFlag(for<'a> fn(&'a mut Scoped) -> &'a mut Option<bool>),
    /// One argument, or a whole line.
    Words(fn(&mut Command, &[u8]) -> Result<(), Refusal>),
}

/// One row of the table.
pub(crate) struct Directive {
    pub(crate) name: &'static CStr,
    pub(crate) arity: Arity,
    pub(crate) place: Place,
    #[cfg_attr(not(test), expect(dead_code, reason = "for the pages that tests generate"))]
    pub(crate) syntax: &'static str,
    pub(crate) fallback: Fallback,
    pub(crate) options: &'static [&'static str],
    #[cfg_attr(not(test), expect(dead_code, reason = "for the pages that tests generate"))]
    pub(crate) extension: bool,
    pub(crate) help: &'static CStr,
    pub(crate) parse: Parse,
}

impl Directive {
    /// A row with the most usual values.
    pub(crate) const fn new(name: &'static CStr, arity: Arity, place: Place, help: &'static CStr) -> Self {
        Self {
            name,
            arity,
            place,
            syntax: match arity {
                Arity::Flag => "On|Off",
                _ => "value",
            },
            fallback: Fallback::None,
            options: &[],
            extension: false,
            help,
            parse: Parse::Refuse,
        }
    }

    /// Whether this version does it.
    #[cfg(test)]
    pub(crate) fn support(&self) -> Support {
        if matches!(self.parse, Parse::Refuse) { Support::Known } else { Support::Supported }
    }

    /// The fallback of a flag.
    pub(crate) const fn flag(&self) -> bool {
        matches!(self.fallback, Fallback::Flag(true))
    }

    /// The fallback of a number.
    pub(crate) const fn number(&self) -> u32 {
        match self.fallback {
            Fallback::Number(number) => number,
            _ => 0,
        }
    }

    /// The name as users write it, without a container's `<`.
    pub(crate) fn plain_name(&self) -> &'static str {
        let name = self.name.to_str().unwrap_or_default();
        name.strip_prefix('<').unwrap_or(name)
    }

    const fn record(&'static self) -> sys::command_rec {
        let (function, how) = match self.arity {
            Arity::Flag | Arity::One => (sys::cmd_func { take1: Some(take_one) }, sys::TAKE1),
            Arity::OneOrMore | Arity::TwoOrMore | Arity::Raw => {
                (sys::cmd_func { raw_args: Some(take_line) }, sys::RAW_ARGS)
            }
        };
        sys::command_rec {
            name: self.name.as_ptr(),
            func: function,
            cmd_data: std::ptr::from_ref(self).cast_mut().cast(),
            req_override: self.place.for_apache().cast_signed(),
            args_how: how,
            errmsg: self.help.as_ptr(),
        }
    }
}

/// Why a directive is refused; Apache adds the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refusal(Cow<'static, str>);

impl Refusal {
    /// A refusal with this text.
    pub(crate) fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(text.into())
    }

    /// An option that is unknown or has no `=`: the reference's text, then ours.
    pub(crate) fn option(text: &str, given: &str, known: impl IntoIterator<Item = &'static str>) -> Self {
        Self::new(match words::nearest(given, known) {
            Some(near) if near == given => format!("{text} Option '{given}' needs a value, as in {given}=VALUE"),
            Some(near) => format!("{text} Unknown option '{given}'; did you mean '{near}'?"),
            None => format!("{text} Unknown option '{given}'"),
        })
    }
}

/// A directive while it is carried out.
pub(crate) struct Command {
    directive: &'static Directive,
    pool: Pool<'static>,
    server: Server<'static>,
    settings: *mut Settings<'static>,
    raw: *mut sys::cmd_parms,
}

impl Command {
    /// The row.
    pub(crate) fn directive(&self) -> &'static Directive {
        self.directive
    }

    /// The pool of the configuration, or of the request that reads an `.htaccess`; what is stored lives in it.
    pub(crate) fn pool(&self) -> Pool<'static> {
        self.pool
    }

    /// The server that the directive stands in.
    pub(crate) fn server(&self) -> Server<'static> {
        self.server
    }

    /// The configuration. Not for directives that may stand in `.htaccess`.
    pub(crate) fn registry(&self) -> &'static Registry {
        Registry::of(self.pool)
    }

    /// The server's part of it.
    pub(crate) fn server_config(&self) -> Option<&'static ServerConfig> {
        ServerConfig::of(self.server)
    }

    /// The directory's settings.
    pub(crate) fn settings(&mut self) -> &mut Settings<'static> {
        // SAFETY: Apache passes what `module::create_settings` made, to one setter at a time.
        unsafe { &mut *self.settings }
    }

    /// Keeps text as long as the settings.
    pub(crate) fn keep(&self, text: &[u8]) -> &'static CStr {
        self.pool.text(text)
    }

    /// Whether it stands in an `.htaccess`, which is read for a request.
    pub(crate) fn in_htaccess(&self) -> bool {
        // SAFETY: the parameters are those of the present call.
        unsafe { !sys::ap_check_cmd_context(self.raw, sys::NOT_IN_HTACCESS).is_null() }
    }

    /// The path of a script, below `ServerRoot` unless it is absolute.
    ///
    /// # Errors
    /// When one of the directive's options stands inside the quotes of the path.
    pub(crate) fn script_path(&self, given: &[u8]) -> Result<&'static CStr, Refusal> {
        let path = self.keep(given);
        let path = server_relative(self.pool, path).unwrap_or(path);
        self.check_for_options(given, || Path::new(OsStr::from_bytes(path.to_bytes())).exists())?;
        Ok(path)
    }

    /// Refuses a word that holds one of the directive's options: quotes that should end before it. `is_meant` says
    /// whether the whole word is a thing that exists.
    ///
    /// # Errors
    /// What the word holds, and how the line is to be written.
    pub(crate) fn check_for_options(&self, word: &[u8], is_meant: impl FnOnce() -> bool) -> Result<(), Refusal> {
        let Some((own, option)) = words::inner_option(word, self.directive.options) else { return Ok(()) };
        if is_meant() {
            return Ok(());
        }
        let text = String::from_utf8_lossy;
        Err(Refusal::new(format!(
            "{}: the option '{}' stands inside the quotes of '{}'. End the quotes before the options, as in \"{}\" {}",
            self.directive.plain_name(),
            text(option),
            text(word),
            text(own),
            text(option),
        )))
    }

    /// The reference's text for too few arguments.
    pub(crate) fn too_few(&self, count: &str) -> Refusal {
        Refusal::new(format!(
            "{} requires at least {count} argument{}, {}",
            self.directive.plain_name(),
            if count == "one" { "" } else { "s" },
            self.directive.help.to_string_lossy()
        ))
    }

    /// Carries out the lines of a container.
    pub(crate) fn carry_out_lines(&mut self) -> Result<(), Refusal> {
        // SAFETY: the parameters are those of the present call, for a container whose lines Apache has read; what they
        // say of the present directive is put back. The result is null or a text in a pool.
        unsafe {
            let container = (*self.raw).directive;
            let refused = sys::ap_walk_config((*container).first_child, self.raw, (*self.raw).context);
            (*self.raw).directive = container;
            if refused.is_null() {
                Ok(())
            } else {
                Err(Refusal::new(CStr::from_ptr(refused).to_string_lossy().into_owned()))
            }
        }
    }

    fn check_place(&self) -> Result<(), Refusal> {
        if self.directive.place != Place::Main {
            return Ok(());
        }
        // SAFETY: the parameters are those of the present call; the result is null or a text in a pool.
        unsafe {
            let refused = sys::ap_check_cmd_context(self.raw, sys::GLOBAL_ONLY);
            if refused.is_null() {
                return Ok(());
            }
            Err(Refusal::new(CStr::from_ptr(refused).to_string_lossy().into_owned()))
        }
    }

    fn run(&mut self, argument: &[u8]) -> Result<(), Refusal> {
        self.check_place()?;
        match self.directive.parse {
            Parse::Refuse => Err(Refusal::new(format!(
                "{} is a directive of mod_wsgi that is known, not supported yet.",
                self.directive.plain_name()
            ))),
            Parse::Setting(slot) => {
                let value = self.flag(argument)?;
                *slot(self.settings()) = Some(value);
                Ok(())
            }
            Parse::MainFlag(slot) => {
                let value = self.flag(argument)?;
                *slot(&mut self.registry().draft().borrow_mut().main) = Some(value);
                Ok(())
            }
            Parse::ScopedFlag(slot) => {
                let value = self.flag(argument)?;
                *slot(self.registry().draft().borrow_mut().scoped()) = Some(value);
                Ok(())
            }
            Parse::Words(parse) => parse(self, argument),
        }
    }

    /// `On` or `Off`.
    pub(crate) fn flag(&self, argument: &[u8]) -> Result<bool, Refusal> {
        flag(argument).ok_or_else(|| Refusal::new(format!("{} must be one of: Off | On", self.directive.plain_name())))
    }
}

/// `On` or `Off` in any case.
pub(crate) fn flag(text: &[u8]) -> Option<bool> {
    match () {
        () if text.eq_ignore_ascii_case(b"On") => Some(true),
        () if text.eq_ignore_ascii_case(b"Off") => Some(false),
        () => None,
    }
}

unsafe extern "C" fn take_one(
    parameters: *mut sys::cmd_parms,
    settings: *mut c_void,
    argument: *const c_char,
) -> *const c_char {
    // SAFETY: Apache calls it by the contract of TAKE1.
    unsafe { carry_out(parameters, settings, argument) }
}

unsafe extern "C" fn take_line(
    parameters: *mut sys::cmd_parms,
    settings: *mut c_void,
    line: *const c_char,
) -> *const c_char {
    // SAFETY: Apache calls it by the contract of RAW_ARGS.
    unsafe { carry_out(parameters, settings, line) }
}

/// # Safety
/// Called by Apache for a row of the table, with the text of its arguments.
unsafe fn carry_out(parameters: *mut sys::cmd_parms, settings: *mut c_void, text: *const c_char) -> *const c_char {
    wall("a directive", c"Internal error in mod_wsgi_rs.".as_ptr(), || {
        // SAFETY: the parameters are Apache's; the record's data is a row of the table (`Directive::record`).
        unsafe {
            let record = (*parameters).cmd;
            let mut command = Command {
                directive: &*(*record).cmd_data.cast::<Directive>(),
                pool: Pool::from_raw((*parameters).pool),
                server: Server::from_raw((*parameters).server),
                settings: settings.cast(),
                raw: parameters,
            };
            let argument = if text.is_null() { c"" } else { CStr::from_ptr(text) };
            match command.run(argument.to_bytes()) {
                Ok(()) => std::ptr::null(),
                Err(refusal) => command.pool.text(refusal.0.as_bytes()).as_ptr(),
            }
        }
    })
}

/// Apache's records of a table, with the empty one at the end.
#[repr(transparent)]
pub(crate) struct Records<const N: usize>([sys::command_rec; N]);

// SAFETY: constants.
unsafe impl<const N: usize> Sync for Records<N> {}

impl<const N: usize> Records<N> {
    /// The records of a table of `N - 1` rows.
    pub(crate) const fn of(table: &'static [&'static Directive]) -> Self {
        assert!(table.len() + 1 == N);
        let end = sys::command_rec {
            name: std::ptr::null(),
            func: sys::cmd_func { no_args: None },
            cmd_data: std::ptr::null_mut(),
            req_override: 0,
            args_how: sys::RAW_ARGS,
            errmsg: std::ptr::null(),
        };
        let mut records = [end; N];
        let mut index = 0;
        while index < table.len() {
            records[index] = table[index].record();
            index += 1;
        }
        Self(records)
    }

    /// What the module record points to.
    pub(crate) const fn first(&'static self) -> *const sys::command_rec {
        self.0.as_ptr()
    }
}
