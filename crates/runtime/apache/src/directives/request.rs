//! Which process, interpreter and callable serve a request, and how it is served.

use crate::config::{MapHead, Settings};
use crate::directives::spec::{Arity, Command, Directive, Fallback, Parse, Place, Refusal};
use crate::directives::words::next_word;
use crate::proxies::{self, Header, Subnet};
use crate::tokens::Token;

const fn flag(
    name: &'static std::ffi::CStr,
    fallback: bool,
    help: &'static std::ffi::CStr,
    slot: for<'a, 'p> fn(&'a mut Settings<'p>) -> &'a mut Option<bool>,
) -> Directive {
    Directive {
        fallback: Fallback::Flag(fallback),
        parse: Parse::Setting(slot),
        ..Directive::new(name, Arity::Flag, Place::Everywhere, help)
    }
}

pub(crate) const PROCESS_GROUP: Directive = Directive {
    syntax: "name|%{GLOBAL}|%{RESOURCE}|%{SERVER}|%{HOST}|%{ENV:name}",
    fallback: Fallback::Text("%{GLOBAL}"),
    parse: Parse::Words(|command, value| {
        let value = Token::parse(command.keep(value).to_bytes());
        command.settings().process_group = Some(value);
        Ok(())
    }),
    ..Directive::new(c"WSGIProcessGroup", Arity::One, Place::Sections, c"Name of the WSGI process group.")
};

pub(crate) const APPLICATION_GROUP: Directive = Directive {
    syntax: "name|%{GLOBAL}|%{RESOURCE}|%{SERVER}|%{HOST}|%{ENV:name}",
    fallback: Fallback::Text("%{RESOURCE}"),
    parse: Parse::Words(|command, value| {
        let value = Token::parse(command.keep(value).to_bytes());
        command.settings().application_group = Some(value);
        Ok(())
    }),
    ..Directive::new(c"WSGIApplicationGroup", Arity::One, Place::Sections, c"Application interpreter group.")
};

pub(crate) const CALLABLE_OBJECT: Directive = Directive {
    syntax: "name|%{ENV:name}",
    fallback: Fallback::Text("application"),
    parse: Parse::Words(|command, value| {
        let value = Token::parse(command.keep(value).to_bytes());
        command.settings().callable = Some(value);
        Ok(())
    }),
    ..Directive::new(c"WSGICallableObject", Arity::One, Place::Everywhere, c"Name of entry point in WSGI script file.")
};

pub(crate) const RESTRICT_PROCESS: Directive = Directive {
    syntax: "name …",
    parse: Parse::Words(restrict_process),
    ..Directive::new(
        c"WSGIRestrictProcess",
        Arity::OneOrMore,
        Place::Sections,
        c"Limit selectable WSGI process groups.",
    )
};

pub(crate) const PASS_AUTHORIZATION: Directive =
    flag(c"WSGIPassAuthorization", false, c"Enable/Disable WSGI authorization.", |settings| {
        &mut settings.pass_authorization
    });

pub(crate) const SCRIPT_RELOADING: Directive =
    flag(c"WSGIScriptReloading", true, c"Enable/Disable script reloading mechanism.", |settings| {
        &mut settings.script_reloading
    });

pub(crate) const ERROR_OVERRIDE: Directive =
    flag(c"WSGIErrorOverride", false, c"Enable/Disable overriding of error pages.", |settings| {
        &mut settings.error_override
    });

pub(crate) const CHUNKED_REQUEST: Directive =
    flag(c"WSGIChunkedRequest", false, c"Enable/Disable support for chunked requests.", |settings| {
        &mut settings.chunked_request
    });

pub(crate) const IGNORE_ACTIVITY: Directive =
    flag(c"WSGIIgnoreActivity", false, c"Enable/Disable reset of inactivity timeout.", |settings| {
        &mut settings.ignore_activity
    });

pub(crate) const ENABLE_SENDFILE: Directive =
    flag(c"WSGIEnableSendfile", false, c"Enable/Disable support for kernel sendfile.", |settings| {
        &mut settings.enable_sendfile
    });

pub(crate) const MAP_HEAD_TO_GET: Directive = Directive {
    syntax: "On|Off|Auto",
    fallback: Fallback::Text("Auto"),
    parse: Parse::Words(|command, value| {
        let value = match value.to_ascii_lowercase().as_slice() {
            b"off" => MapHead::Off,
            b"on" => MapHead::On,
            b"auto" => MapHead::Auto,
            _ => return Err(Refusal::new("WSGIMapHEADToGET must be one of: Off | On | Auto")),
        };
        command.settings().map_head = Some(value);
        Ok(())
    }),
    ..Directive::new(c"WSGIMapHEADToGET", Arity::One, Place::Everywhere, c"Enable/Disable mapping of HEAD to GET.")
};

pub(crate) const TRUSTED_PROXY_HEADERS: Directive = Directive {
    syntax: "name …",
    parse: Parse::Words(trusted_headers),
    ..Directive::new(
        c"WSGITrustedProxyHeaders",
        Arity::OneOrMore,
        Place::Everywhere,
        c"Specify a list of trusted proxy headers.",
    )
};

pub(crate) const TRUSTED_PROXIES: Directive = Directive {
    syntax: "address[/mask] …",
    parse: Parse::Words(trusted_proxies),
    ..Directive::new(c"WSGITrustedProxies", Arity::OneOrMore, Place::Everywhere, c"Specify a list of trusted proxies.")
};

pub(crate) const PASS_APACHE_REQUEST: Directive = Directive {
    fallback: Fallback::Flag(false),
    parse: Parse::Setting(|settings| &mut settings.pass_apache_request),
    ..Directive::new(c"WSGIPassApacheRequest", Arity::Flag, Place::Sections, c"Enable/Disable Apache request object.")
};

/// Splits a line into its words. None at all is an empty list, as in mod_wsgi: no process group is allowed, no header
/// and no proxy trusted.
fn words(line: &[u8]) -> Vec<Vec<u8>> {
    let mut rest = line.trim_ascii();
    let mut words = Vec::new();
    while !rest.is_empty() {
        words.push(next_word(&mut rest));
    }
    words
}

fn restrict_process(command: &mut Command, line: &[u8]) -> Result<(), Refusal> {
    let mut names: Vec<&'static [u8]> = Vec::new();
    for name in words(line) {
        // The name of embedded mode is the empty one.
        names.push(Token::parse(command.keep(&name).to_bytes()).fixed().unwrap_or_default());
    }
    let kept = command.pool().slice::<&'static [u8]>(names.len(), b"");
    kept.copy_from_slice(&names);
    command.settings().restrict_process = Some(kept);
    Ok(())
}

/// What the scope has so far, and more behind it.
fn extended<T: Copy>(command: &Command, present: Option<&'static [T]>, more: &[T]) -> Option<&'static [T]> {
    let present = present.unwrap_or_default();
    let Some(first) = present.first().or(more.first()) else { return Some(&[]) };
    let kept = command.pool().slice(present.len() + more.len(), *first);
    kept[..present.len()].copy_from_slice(present);
    kept[present.len()..].copy_from_slice(more);
    Some(kept)
}

fn trusted_headers(command: &mut Command, line: &[u8]) -> Result<(), Refusal> {
    let mut headers: Vec<&'static Header> = Vec::new();
    for name in words(line) {
        // Unknown names have no effect, as in mod_wsgi.
        headers.extend(proxies::known(&name));
    }
    let present = command.settings().trusted_headers;
    command.settings().trusted_headers = extended(command, present, &headers);
    Ok(())
}

fn trusted_proxies(command: &mut Command, line: &[u8]) -> Result<(), Refusal> {
    let mut subnets = Vec::new();
    for word in words(line) {
        let word = String::from_utf8_lossy(&word);
        let subnet = Subnet::parse(&word).ok_or_else(|| {
            let mut text = format!("Unable to parse trusted proxy IP address/subnet of \"{word}\".");
            if word.split('/').next().is_some_and(|address| address.parse::<std::net::IpAddr>().is_ok()) {
                text.push_str(" The specified network mask is invalid.");
            } else {
                text.push_str(" The specified IP address is invalid.");
            }
            Refusal::new(text)
        })?;
        subnets.push(subnet);
    }
    let present = command.settings().trusted_proxies;
    command.settings().trusted_proxies = extended(command, present, &subnets);
    Ok(())
}
