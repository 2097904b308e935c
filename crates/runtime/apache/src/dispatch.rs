//! The checks before a script runs, in the reference's order, and the choice of process, interpreter and callable.

use std::borrow::Cow;
use std::ffi::CStr;

use wsgi_protocol::request::Facts;

use crate::config::{Alias, Generation, MapHead, Registry, ServerConfig, Settings};
use crate::directives::{self, Access};
use crate::host::{Failure, FileKind, Request, Status, Verdict, log};
use crate::mapping::{HANDLER, LEGACY_HANDLER, alias_of};
use crate::response::Rules;
use crate::scripts::HandlerScript;
use crate::tokens::{FromRequest, Token, expand, is_own};
use crate::{codes, daemon, embedded, environ, observe, ownership, scripts, sys};

/// A request that passed the checks, and what is to serve it.
pub(crate) struct Job<'r> {
    pub(crate) request: Request<'r>,
    pub(crate) settings: &'r Settings<'r>,
    /// What the alias or the handler script says of `WSGIPassAuthorization`.
    pub(crate) pass_authorization: Option<bool>,
    pub(crate) registry: &'r Registry,
    pub(crate) generation: &'r Generation,
    /// The handler's name.
    pub(crate) handler: &'r CStr,
    /// The file that the request is for: the script, unless a handler script serves it.
    pub(crate) resource: &'r CStr,
    /// The script's path.
    pub(crate) script: &'r CStr,
    /// The script's path again when it is a handler script.
    pub(crate) handler_script: Option<&'r CStr>,
    /// The script's mount point: the path up to the script.
    pub(crate) script_name: &'r [u8],
    /// What follows in the path.
    pub(crate) path_info: &'r [u8],
    /// Empty is embedded mode.
    pub(crate) process_group: &'r [u8],
    /// `WSGILogFormat json`.
    pub(crate) json_log: bool,
    /// Empty is the main interpreter.
    pub(crate) application_group: &'r [u8],
    /// Whether the configuration names it, whatever the client sends.
    pub(crate) own_group: bool,
    pub(crate) callable: &'r [u8],
    /// -1 when it is not known beforehand.
    pub(crate) content_length: i64,
    /// HEAD is shown as GET.
    pub(crate) head_as_get: bool,
}

impl Job<'_> {
    /// `WSGIPassAuthorization`, an alias' option first.
    pub(crate) fn passes_authorization(&self) -> bool {
        self.pass_authorization.or(self.settings.pass_authorization).unwrap_or(directives::PASS_AUTHORIZATION.flag())
            || self.request.passes_authorization()
    }

    /// `WSGIErrorOverride`.
    pub(crate) fn overrides_errors(&self) -> bool {
        self.settings.error_override.unwrap_or(directives::ERROR_OVERRIDE.flag())
    }

    /// `WSGIScriptReloading`.
    pub(crate) fn reloads(&self) -> bool {
        self.settings.script_reloading.unwrap_or(directives::SCRIPT_RELOADING.flag())
    }
}

/// The handler hook.
pub(crate) fn handle(request: Request<'_>) -> Result<Verdict, Failure> {
    let Some(handler) = request.handler() else { return Ok(Verdict::Declined) };
    let settings = Settings::of(request);
    let target = if handler == HANDLER || handler == LEGACY_HANDLER {
        Target::Resource(alias_of_forced(request))
    } else if let Some(script) = settings.scripts.and_then(|scripts| scripts.handler(handler)) {
        Target::Handler(script)
    } else if handler == observe::HANDLER {
        return observe::handle(request);
    } else {
        return Ok(Verdict::Declined);
    };
    let mut job = match check(request, settings, handler, target)? {
        Ok(job) => job,
        Err(status) => return Ok(Verdict::Http(status)),
    };
    let mut facts = environ::collect(&job);
    let result = dispatch(&mut job, &mut facts).and_then(|chosen| match chosen {
        Ok(()) => serve(&job, facts),
        Err(status) => Ok(Verdict::Http(status)),
    });
    if !matches!(result, Ok(Verdict::Done)) {
        environ::publish(request, facts.entries());
    }
    result
}

/// What serves a request.
#[derive(Clone, Copy)]
enum Target<'r> {
    /// The file itself, which is a script; perhaps by an alias.
    Resource(Option<&'r Alias<'r>>),
    /// A handler script.
    Handler(&'r HandlerScript<'r>),
}

impl<'r> Target<'r> {
    fn process_group(self) -> Option<Token<'r>> {
        match self {
            Self::Resource(alias) => alias.and_then(|alias| alias.process_group),
            Self::Handler(script) => script.process_group,
        }
    }

    fn application_group(self) -> Option<Token<'r>> {
        match self {
            Self::Resource(alias) => alias.and_then(|alias| alias.application_group),
            Self::Handler(script) => script.application_group,
        }
    }

    /// Whether a group is one that the configuration names. A handler's resources are whatever clients ask for.
    fn is_own(self, token: Token<'r>, source: &FromRequest<'r>) -> bool {
        match (self, token) {
            (Self::Handler(_), Token::Resource) => false,
            _ => is_own(token, source),
        }
    }

    fn pass_authorization(self) -> Option<bool> {
        match self {
            Self::Resource(alias) => alias.and_then(|alias| alias.pass_authorization),
            Self::Handler(script) => script.pass_authorization,
        }
    }
}

/// Lets the dispatch script choose, and holds what came of it against `WSGIRestrictProcess`.
fn dispatch<'r>(job: &mut Job<'r>, facts: &mut Facts<'r>) -> Result<Result<(), Status>, Failure> {
    let settings = job.settings;
    if let Some(script) = settings.scripts.and_then(|scripts| scripts.dispatch)
        && let Err(status) = scripts::choose(job, facts, script)?
    {
        return Ok(Err(status));
    }
    if let Some(allowed) = settings.restrict_process
        && !allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(job.process_group))
    {
        return Err(Failure::new(
            sys::HTTP_INTERNAL_SERVER_ERROR,
            &codes::GROUP_RESTRICTED,
            format!(
                "Daemon process called '{}' cannot be accessed by this WSGI application as not a member of allowed \
                 groups.",
                name(job.process_group)
            ),
        ));
    }
    Ok(Ok(()))
}

fn serve<'r>(job: &Job<'r>, facts: Facts<'r>) -> Result<Verdict, Failure> {
    let request = job.request;
    if job.process_group.is_empty() {
        return embedded::handle(job, facts);
    }
    let Some((index, group)) = job.generation.group(job.process_group) else {
        return Err(Failure::new(
            sys::HTTP_INTERNAL_SERVER_ERROR,
            &codes::GROUP_UNKNOWN,
            format!("No WSGI daemon process called '{}' has been configured.", name(job.process_group)),
        ));
    };
    if directives::access(group, request.server()) != Access::Allowed {
        return Err(Failure::new(
            sys::HTTP_INTERNAL_SERVER_ERROR,
            &codes::GROUP_OF_OTHER_HOST,
            format!("Daemon process called '{}' cannot be accessed by this WSGI application.", name(job.process_group)),
        ));
    }
    if !ownership::is_unchecked(group) {
        ownership::check(request.pool(), group, facts.script.or_empty())?;
        let handler = facts.handler_script.or_empty();
        if !handler.is_empty() {
            ownership::check(request.pool(), group, handler)?;
        }
    }
    let rules = Rules::daemon(job.overrides_errors());
    daemon::serve(request, job.registry, index, facts, rules)
}

fn name(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// The checks; a plain status is one that Apache logged itself.
fn check<'r>(
    request: Request<'r>,
    settings: &'r Settings<'r>,
    handler: &'r CStr,
    target: Target<'r>,
) -> Result<Result<Job<'r>, Status>, Failure> {
    if let Target::Resource(alias) = target {
        check_script(request, alias)?;
    }
    let path_info = request.path_info().unwrap_or_default();
    if request.rejects_path_info() && !path_info.is_empty() {
        return Err(Failure::new(
            sys::HTTP_NOT_FOUND,
            &codes::PATH_INFO_REJECTED,
            "AcceptPathInfo off disallows user's path.",
        ));
    }
    let content_length = body_length(request, settings)?;
    let limit = request.body_limit();
    if limit > 0 && u64::try_from(content_length).is_ok_and(|length| length > limit) {
        // httpd's own words and number, which it logs itself where it looks at the length.
        log::info(
            log::Target::Request(request),
            format_args!(
                "AH01588: Requested content-length of {content_length} is larger than the configured limit of {limit}"
            ),
        );
        return Ok(Err(Status(413)));
    }

    let config = ServerConfig::of(request.server());
    let Some((registry, generation)) =
        config.map(ServerConfig::registry).and_then(|registry| Some((registry, registry.generation()?)))
    else {
        return Err(Failure::new(
            sys::HTTP_INTERNAL_SERVER_ERROR,
            &codes::PANIC,
            "The configuration was never settled.",
        ));
    };
    let (script_name, path_info) = split(request, path_info);
    // %{RESOURCE} names one interpreter, however the path is written; the application sees the path as it is.
    let mount_point = if generation.folds_case() { lower_case(request, script_name) } else { script_name };
    let source = FromRequest { request, mount_point };
    let resolve = |own: Option<Token<'r>>, fallback: Token<'r>| expand(own.unwrap_or(fallback), &source);
    let process_group = resolve(target.process_group().or(settings.process_group), Token::Global);
    let application_token = target.application_group().or(settings.application_group).unwrap_or(Token::Resource);
    let application_group = expand(application_token, &source);
    let resource = request.filename().unwrap_or_default();
    let (handler_script, callable) = match target {
        Target::Resource(alias) => (None, callable(alias, settings, &source)),
        Target::Handler(script) => (Some(script.script), &b"handle_request"[..]),
    };
    Ok(Ok(Job {
        request,
        settings,
        pass_authorization: target.pass_authorization(),
        registry,
        generation,
        handler,
        resource,
        script: handler_script.unwrap_or(resource),
        handler_script,
        script_name,
        path_info,
        process_group,
        application_group,
        json_log: config.is_some_and(ServerConfig::json_log),
        own_group: target.is_own(application_token, &source),
        callable,
        content_length,
        head_as_get: request.is_head() && head_as_get(request, settings),
    }))
}

/// What holds of a file that is a script. Handler scripts serve what they like.
fn check_script<'r>(request: Request<'r>, alias: Option<&'r Alias<'r>>) -> Result<(), Failure> {
    if alias.is_none() && !is_forced(request) && !request.allows(sys::OPT_EXECCGI) {
        return Err(Failure::new(
            sys::HTTP_FORBIDDEN,
            &codes::EXEC_CGI_OFF,
            "Options ExecCGI is off in this directory.",
        ));
    }
    match request.file_kind() {
        FileKind::Missing => {
            return Err(Failure::new(
                sys::HTTP_NOT_FOUND,
                &codes::SCRIPT_MISSING,
                "Target WSGI script not found or unable to stat.",
            ));
        }
        FileKind::Directory => {
            return Err(Failure::new(
                sys::HTTP_FORBIDDEN,
                &codes::SCRIPT_IS_DIRECTORY,
                "Attempt to invoke directory as WSGI application.",
            ));
        }
        FileKind::Other => {}
    }
    Ok(())
}

fn lower_case<'r>(request: Request<'r>, text: &[u8]) -> &'r [u8] {
    request.pool().bytes(&text.to_ascii_lowercase())
}

fn is_forced(request: Request<'_>) -> bool {
    request.notes().get(c"alias-forced-type").is_some_and(|kind| kind == HANDLER)
}

/// The alias, unless another module took the request from it since.
fn alias_of_forced(request: Request<'_>) -> Option<&Alias<'_>> {
    alias_of(request).filter(|_| is_forced(request))
}

/// The callable's name when nothing says otherwise.
const DEFAULT: &[u8] = b"application";

fn callable<'r>(alias: Option<&Alias<'r>>, settings: &Settings<'r>, source: &FromRequest<'r>) -> &'r [u8] {
    if let Some(callable) = alias.and_then(|alias| alias.callable) {
        return callable;
    }
    settings.callable.map_or(DEFAULT, |token| callable_of(token, source))
}

/// The callable that a token names.
pub(crate) fn callable_of<'r>(token: Token<'r>, source: &FromRequest<'r>) -> &'r [u8] {
    match token {
        Token::Literal(name) => name,
        Token::Variable(whole, _) => Some(expand(token, source)).filter(|name| *name != whole).unwrap_or(DEFAULT),
        _ => DEFAULT,
    }
}

fn head_as_get(request: Request<'_>, settings: &Settings<'_>) -> bool {
    match settings.map_head.unwrap_or(MapHead::Auto) {
        MapHead::Off => false,
        MapHead::On => true,
        MapHead::Auto => request.has_content_filter(),
    }
}

/// The body's length by the headers: 0 without a body, -1 when it is chunked.
fn body_length(request: Request<'_>, settings: &Settings<'_>) -> Result<i64, Failure> {
    let headers = request.headers_in();
    if let Some(encoding) = headers.get(c"Transfer-Encoding") {
        if !encoding.to_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Failure::new(
                sys::HTTP_NOT_IMPLEMENTED,
                &codes::TRANSFER_ENCODING,
                format!(
                    "Unexpected value for Transfer-Encoding of '{}' supplied. Only 'chunked' supported.",
                    encoding.to_string_lossy()
                ),
            ));
        }
        if !settings.chunked_request.unwrap_or(directives::CHUNKED_REQUEST.flag()) {
            return Err(Failure::new(
                sys::HTTP_LENGTH_REQUIRED,
                &codes::CHUNKED_REQUEST,
                "Request requires chunked transfer encoding, but support for chunked transfer encoding has not been \
                 enabled.",
            ));
        }
        return Ok(-1);
    }
    let Some(length) = headers.get(c"Content-Length") else { return Ok(0) };
    let digits = length.to_bytes();
    let number = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
    number.and_then(|number| number.parse().ok()).ok_or_else(|| {
        Failure::new(
            sys::HTTP_BAD_REQUEST,
            &codes::CONTENT_LENGTH,
            format!("Invalid Content-Length header value of '{}' was supplied.", length.to_string_lossy()),
        )
    })
}

/// The path up to the script and what follows, each with single slashes.
pub(crate) fn split<'r>(request: Request<'r>, path_info: &'r CStr) -> (&'r [u8], &'r [u8]) {
    let uri = request.uri();
    let script_name = if path_info.is_empty() {
        uri.to_bytes()
    } else {
        let start = request.path_info_start(path_info);
        uri.to_bytes().get(..start).unwrap_or_default()
    };
    (single_slashes(request, script_name), single_slashes(request, path_info.to_bytes()))
}

fn single_slashes<'r>(request: Request<'r>, path: &'r [u8]) -> &'r [u8] {
    if !path.windows(2).any(|pair| pair == b"//") {
        return path;
    }
    let mut single = path.to_vec();
    single.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
    request.pool().bytes(&single)
}
