//! How Python runs: directives of the main server.

use std::ffi::CStr;

use crate::codes;
use crate::config::Main;
use crate::directives::spec::{Arity, Command, Directive, Fallback, Parse, Place, Refusal};
use crate::directives::words::{leading_integer, next_word, positive_seconds};
use crate::engines::is_version;
use crate::host::log;
use crate::interpreter_options::{Block, Scoped};
use crate::tokens::Token;

const fn flag(
    name: &'static CStr,
    fallback: bool,
    help: &'static CStr,
    slot: for<'a> fn(&'a mut Main) -> &'a mut Option<bool>,
) -> Directive {
    Directive {
        fallback: Fallback::Flag(fallback),
        parse: Parse::MainFlag(slot),
        ..Directive::new(name, Arity::Flag, Place::Main, help)
    }
}

const fn text(
    name: &'static CStr,
    syntax: &'static str,
    help: &'static CStr,
    parse: fn(&mut Command, &[u8]) -> Result<(), Refusal>,
) -> Directive {
    Directive { syntax, parse: Parse::Words(parse), ..Directive::new(name, Arity::One, Place::Main, help) }
}

const fn scoped_flag(
    name: &'static CStr,
    fallback: bool,
    help: &'static CStr,
    slot: for<'a> fn(&'a mut Scoped) -> &'a mut Option<bool>,
) -> Directive {
    Directive {
        fallback: Fallback::Flag(fallback),
        parse: Parse::ScopedFlag(slot),
        ..Directive::new(name, Arity::Flag, Place::Main, help)
    }
}

fn set(command: &Command, change: impl FnOnce(&mut Main)) {
    change(&mut command.registry().draft().borrow_mut().main);
}

fn set_scoped(command: &Command, change: impl FnOnce(&mut Scoped)) {
    change(command.registry().draft().borrow_mut().scoped());
}

pub(crate) const PYTHON_HOME: Directive =
    text(c"WSGIPythonHome", "directory", c"Python prefix/exec_prefix absolute path names.", |command, value| {
        set(command, |main| main.python_home = Some(value.to_vec()));
        Ok(())
    });

pub(crate) const PYTHON_PATH: Directive =
    text(c"WSGIPythonPath", "directory[:directory …]", c"Python module search path.", |command, value| {
        set_scoped(command, |scoped| scoped.python_path = Some(value.to_vec()));
        Ok(())
    });

pub(crate) const PYTHON_EGGS: Directive =
    text(c"WSGIPythonEggs", "directory", c"Python eggs cache directory.", |command, value| {
        set(command, |main| main.python_eggs = Some(value.to_vec()));
        Ok(())
    });

pub(crate) const PYTHON_WARNINGS: Directive =
    text(c"WSGIPythonWarnings", "filter", c"Control Python warning messages.", |command, value| {
        set(command, |main| main.python_warnings.push(value.to_vec()));
        Ok(())
    });

pub(crate) const PYTHON_OPTIMIZE: Directive = Directive {
    fallback: Fallback::Number(0),
    ..text(c"WSGIPythonOptimize", "0|1|2", c"Set level of Python compiler optimisations.", |command, value| {
        let level = u8::try_from(leading_integer(value).clamp(0, 2)).unwrap_or(0);
        set(command, |main| main.python_optimize = Some(level));
        Ok(())
    })
};

pub(crate) const PYTHON_HASH_SEED: Directive = Directive {
    fallback: Fallback::Text("random"),
    ..text(c"WSGIPythonHashSeed", "random|0..4294967295", c"Python hash seed.", |command, value| {
        let seed = if value == b"random" {
            None
        } else {
            let digits = std::str::from_utf8(value.trim_ascii_start()).ok().filter(|digits| !digits.starts_with('+'));
            Some(digits.and_then(|digits| digits.parse::<u32>().ok()).ok_or_else(|| {
                Refusal::new("WSGIPythonHashSeed must be \"random\" or an integer in range [0; 4294967295]")
            })?)
        };
        set(command, |main| main.hash_seed = seed);
        Ok(())
    })
};

pub(crate) const DONT_WRITE_BYTECODE: Directive =
    flag(c"WSGIDontWriteBytecode", false, c"Enable/Disable writing of byte code.", |main| {
        &mut main.dont_write_bytecode
    });

pub(crate) const DESTROY_INTERPRETER: Directive =
    flag(c"WSGIDestroyInterpreter", true, c"Enable/Disable destruction of Python interpreter.", |main| {
        &mut main.destroy_interpreter
    });

pub(crate) const SWITCH_INTERVAL: Directive =
    text(c"WSGISwitchInterval", "seconds", c"Override Python GIL switch interval (seconds).", |command, value| {
        let seconds = positive_seconds(value)
            .ok_or_else(|| Refusal::new("WSGISwitchInterval must be a positive number of seconds."))?;
        set_scoped(command, |scoped| scoped.switch_interval = Some(seconds));
        Ok(())
    });

pub(crate) const PER_INTERPRETER_GIL: Directive = scoped_flag(
    c"WSGIPerInterpreterGIL",
    false,
    c"Enable/Disable per-interpreter GIL for sub-interpreters (Python 3.12+).",
    |scoped| &mut scoped.own_gil,
);

pub(crate) const FREE_THREADING: Directive = Directive {
    fallback: Fallback::Flag(false),
    parse: Parse::Words(|command, value| {
        let value = command.flag(value)?;
        let draft = command.registry().draft();
        let scope = draft.borrow().open.last().and_then(|number| draft.borrow().main.blocks.get(*number).cloned());
        if scope.is_some_and(|block| block.application_group.is_some()) {
            log::server(
                command.server(),
                &codes::FREE_THREADING_SCOPE,
                format_args!(
                    "WSGIFreeThreading inside <WSGIInterpreterOptions> with application-group= set is ignored: \
                     free-threading is a process-wide setting and cannot be scoped per application group."
                ),
            );
            return Ok(());
        }
        set_scoped(command, |scoped| scoped.free_threading = Some(value));
        Ok(())
    }),
    ..Directive::new(
        c"WSGIFreeThreading",
        Arity::Flag,
        Place::Main,
        c"Enable/Disable free-threaded Python (GIL disabled) for the matched process (Python 3.13+ free-threaded build).",
    )
};

pub(crate) const INTERPRETER_OPTIONS: Directive = Directive {
    syntax: "[process-group=name] [application-group=name]>",
    options: SELECTORS,
    parse: Parse::Words(interpreter_options),
    ..Directive::new(
        c"<WSGIInterpreterOptions",
        Arity::Raw,
        Place::Main,
        c"Container for directives of selected interpreters.",
    )
};

const SELECTORS: &[&str] = &["process-group", "application-group"];

fn interpreter_options(command: &mut Command, line: &[u8]) -> Result<(), Refusal> {
    let refusal = |text: String| Err(Refusal::new(text));
    let name = "<WSGIInterpreterOptions>";
    let Some(end) = line.iter().rposition(|byte| *byte == b'>') else {
        return refusal(format!("{name} directive missing closing '>'"));
    };
    let mut rest = line[..end].trim_ascii();
    let mut block = Block::default();
    while !rest.is_empty() {
        let word = next_word(&mut rest);
        let shown = String::from_utf8_lossy(&word);
        let Some(split) = word.iter().position(|byte| *byte == b'=') else {
            return refusal(format!("{name}: argument '{shown}' is not of the form key=value"));
        };
        let (key, value) = (&word[..split], &word[split + 1..]);
        let [process_group, application_group] = SELECTORS else { break };
        let slot = match key {
            key if key.eq_ignore_ascii_case(process_group.as_bytes()) => &mut block.process_group,
            key if key.eq_ignore_ascii_case(application_group.as_bytes()) => &mut block.application_group,
            key => {
                let key = String::from_utf8_lossy(key);
                let expected = format!("expected {process_group} or {application_group}");
                return refusal(format!("{name}: unknown selector '{key}', {expected}"));
            }
        };
        if slot.is_some() {
            let key = String::from_utf8_lossy(key).to_ascii_lowercase();
            return refusal(format!("{name}: {key} given more than once"));
        }
        *slot = Some(if Token::parse(value) == Token::Global { Vec::new() } else { value.to_vec() });
    }
    {
        let mut draft = command.registry().draft().borrow_mut();
        let number = draft.main.blocks.len();
        draft.main.blocks.push(block);
        draft.open.push(number);
    }
    let outcome = command.carry_out_lines();
    command.registry().draft().borrow_mut().open.pop();
    outcome
}

pub(crate) const RESTRICT_EMBEDDED: Directive =
    flag(c"WSGIRestrictEmbedded", false, c"Enable/Disable use of embedded mode.", |main| &mut main.restrict_embedded);

pub(crate) const RESTRICT_STDIN: Directive =
    scoped_flag(c"WSGIRestrictStdin", false, c"Enable/Disable restrictions on use of STDIN.", |scoped| {
        &mut scoped.restrict_stdin
    });

pub(crate) const RESTRICT_STDOUT: Directive =
    scoped_flag(c"WSGIRestrictStdout", false, c"Enable/Disable restrictions on use of STDOUT.", |scoped| {
        &mut scoped.restrict_stdout
    });

pub(crate) const RESTRICT_SIGNAL: Directive =
    scoped_flag(c"WSGIRestrictSignal", true, c"Enable/Disable restrictions on use of signal().", |scoped| {
        &mut scoped.restrict_signal
    });

/// Accepted without an effect, as in mod_wsgi.
pub(crate) const VERBOSE_DEBUGGING: Directive = Directive {
    fallback: Fallback::Flag(false),
    parse: Parse::Words(|command, value| {
        command.flag(value)?;
        crate::host::log::info(
            crate::host::Target::Process,
            format_args!(
                "WSGIVerboseDebugging is deprecated and has no effect. Use 'LogLevel info wsgi_module:debug' instead."
            ),
        );
        Ok(())
    }),
    ..Directive::new(c"WSGIVerboseDebugging", Arity::Flag, Place::Main, c"Enable/Disable verbose debugging messages.")
};

pub(crate) const PYTHON: Directive = Directive {
    extension: true,
    fallback: Fallback::Text("the version of WSGIPythonHome, else the newest engine"),
    ..text(
        c"WSGIPython",
        "X.Y",
        c"Python version of embedded mode, and of daemon groups without python= and python-home=.",
        |command, value| {
            let version = String::from_utf8_lossy(value).into_owned();
            if !is_version(&version) {
                return Err(Refusal::new("WSGIPython must be a version such as 3.11."));
            }
            set(command, |main| main.python = Some(version));
            Ok(())
        },
    )
};

pub(crate) const MAXIMUM_INTERPRETERS: Directive = Directive {
    extension: true,
    fallback: Fallback::Number(64),
    ..text(
        c"WSGIMaximumInterpreters",
        "number",
        c"Sub interpreters that a process may create; 0 is without limit.",
        |command, value| {
            let number = std::str::from_utf8(value).ok().and_then(|value| value.parse::<u32>().ok());
            let number = number.ok_or(Refusal::new("WSGIMaximumInterpreters must be a number."))?;
            set(command, |main| main.maximum_interpreters = Some(number));
            Ok(())
        },
    )
};

pub(crate) const LOG_FORMAT: Directive = Directive {
    extension: true,
    syntax: "text|json",
    fallback: Fallback::Text("text"),
    parse: Parse::Words(|command, value| {
        let json = match value.to_ascii_lowercase().as_slice() {
            b"text" => false,
            b"json" => true,
            _ => return Err(Refusal::new("WSGILogFormat must be text or json.")),
        };
        if let Some(config) = command.server_config() {
            config.set_json_log(json);
        }
        Ok(())
    }),
    ..Directive::new(c"WSGILogFormat", Arity::One, Place::Servers, c"Format of application log records.")
};
