//! From the URL to a script: `WSGIScriptAlias` and `WSGIScriptAliasMatch`.

use crate::config::{Alias, ImportScript, Pattern};
use crate::directives::auth;
use crate::directives::daemon::check_access;
use crate::directives::spec::{Arity, Command, Directive, Fallback, Parse, Place, Refusal, flag};
use crate::directives::words::{next_option, next_word};
use crate::host::Regex;
use crate::scripts::HandlerScript;
use crate::tokens::Token;

/// Options of an alias: name, syntax, help.
#[cfg(test)]
pub(crate) const ALIAS_OPTIONS: &[(&str, &str, &str)] = &[
    ("process-group", "name|%{…}", "Daemon process group that runs the script."),
    ("application-group", "name|%{…}", "Interpreter that runs the script."),
    ("callable-object", "name", "Name of the WSGI application in the script."),
    ("pass-authorization", "On|Off", "Pass the Authorization header to the application."),
];

const NAMES: &[&str] = &["process-group", "application-group", "callable-object", "pass-authorization"];

const HANDLER_NAMES: &[&str] = &["process-group", "application-group", "pass-authorization"];

pub(crate) const SCRIPT_ALIAS: Directive = Directive {
    syntax: "URL-path target [option=value …]",
    options: NAMES,
    parse: Parse::Words(|command, line| script_alias(command, line, false)),
    ..Directive::new(c"WSGIScriptAlias", Arity::TwoOrMore, Place::Servers, c"Map location to target WSGI script file.")
};

pub(crate) const SCRIPT_ALIAS_MATCH: Directive = Directive {
    syntax: "regex target [option=value …]",
    options: NAMES,
    parse: Parse::Words(|command, line| script_alias(command, line, true)),
    ..Directive::new(
        c"WSGIScriptAliasMatch",
        Arity::TwoOrMore,
        Place::Servers,
        c"Map location pattern to target WSGI script file.",
    )
};

pub(crate) const HANDLER_SCRIPT: Directive = Directive {
    syntax: "name script [option=value …]",
    options: HANDLER_NAMES,
    parse: Parse::Words(handler_script),
    ..Directive::new(c"WSGIHandlerScript", Arity::TwoOrMore, Place::Sections, c"Location of WSGI handler script file.")
};

pub(crate) const CASE_SENSITIVITY: Directive = Directive {
    fallback: Fallback::Flag(true),
    parse: Parse::MainFlag(|main| &mut main.case_sensitivity),
    ..Directive::new(c"WSGICaseSensitivity", Arity::Flag, Place::Main, c"Define whether file system is case sensitive.")
};

fn handler_script(command: &mut Command, line: &[u8]) -> Result<(), Refusal> {
    const INVALID: &str = "Invalid option to WSGI handler script definition.";
    let mut rest = line;
    let name = next_word(&mut rest);
    if name.is_empty() {
        return Err(Refusal::new("Name for handler script not supplied."));
    }
    let script = next_word(&mut rest);
    if script.is_empty() {
        return Err(Refusal::new("Location of handler script not supplied."));
    }
    let mut handler = HandlerScript {
        name: command.keep(&name),
        script: command.script_path(&script)?,
        process_group: None,
        application_group: None,
        pass_authorization: None,
    };
    while !rest.is_empty() {
        let known = || HANDLER_NAMES.iter().copied();
        let (name, value) = next_option(&mut rest).map_err(|word| Refusal::option(INVALID, &word, known()))?;
        match name.as_str() {
            "process-group" => handler.process_group = Some(group(command, &value, "process group")?),
            "application-group" => handler.application_group = Some(group(command, &value, "application group")?),
            "pass-authorization" => handler.pass_authorization = Some(authorization(&value)?),
            other => return Err(Refusal::option(INVALID, other, known())),
        }
    }
    let pool = command.pool();
    auth::set(command, |scripts| *scripts = scripts.with_handler(pool, handler));
    Ok(())
}

fn group(command: &Command, value: &[u8], what: &str) -> Result<Token<'static>, Refusal> {
    if value.is_empty() {
        return Err(Refusal::new(format!("Invalid name for WSGI {what}.")));
    }
    Ok(Token::parse(command.keep(value).to_bytes()))
}

fn authorization(value: &[u8]) -> Result<bool, Refusal> {
    flag(value).ok_or_else(|| Refusal::new("Invalid value for authorization flag."))
}

fn script_alias(command: &mut Command, line: &[u8], expression: bool) -> Result<(), Refusal> {
    let mut rest = line;
    let (pattern_text, target_text) = (next_word(&mut rest), next_word(&mut rest));
    if pattern_text.is_empty() || target_text.is_empty() {
        return Err(command.too_few("two"));
    }
    let pattern = if expression {
        let compiled = Regex::compile(command.pool(), command.keep(&pattern_text));
        Pattern::Expression(compiled.ok_or_else(|| Refusal::new("Regular expression could not be compiled."))?)
    } else {
        Pattern::Prefix(command.keep(&pattern_text))
    };
    let path = command.script_path(&target_text)?;
    // The target of an expression is complete only with the request's groups.
    let target = match pattern {
        Pattern::Prefix(_) => path,
        Pattern::Expression(_) => command.keep(&target_text),
    };

    let mut alias = Alias {
        pattern,
        target,
        process_group: None,
        application_group: None,
        callable: None,
        pass_authorization: None,
    };
    const INVALID: &str = "Invalid option to WSGI script alias definition.";
    while !rest.is_empty() {
        let (name, value) =
            next_option(&mut rest).map_err(|word| Refusal::option(INVALID, &word, NAMES.iter().copied()))?;
        let named = |what: &str| {
            if value.is_empty() {
                return Err(Refusal::new(format!("Invalid name for WSGI {what}.")));
            }
            Ok(command.keep(&value).to_bytes())
        };
        match name.as_str() {
            "process-group" => alias.process_group = Some(Token::parse(named("process group")?)),
            "application-group" => alias.application_group = Some(Token::parse(named("application group")?)),
            "callable-object" => alias.callable = Some(named("callable object")?),
            "pass-authorization" => {
                alias.pass_authorization = Some(authorization(&value)?);
            }
            other => return Err(Refusal::option(INVALID, other, NAMES.iter().copied())),
        }
    }

    let fixed = |token: Option<Token<'static>>| token.and_then(Token::preloadable);
    let whole = !(expression && target.to_bytes().contains(&b'$'));
    if let (Some(process_group), Some(application_group), true) =
        (fixed(alias.process_group), fixed(alias.application_group), whole)
    {
        check_access(command, process_group)?;
        let import = ImportScript {
            script: target.to_bytes().to_vec(),
            process_group: process_group.to_vec(),
            application_group: application_group.to_vec(),
        };
        command.registry().draft().borrow_mut().imports.push(import);
    }
    if let Some(config) = command.server_config() {
        config.add_alias(alias);
    }
    Ok(())
}
