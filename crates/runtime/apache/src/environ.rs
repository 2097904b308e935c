//! From the request to environ entries: one list, the same for both modes.
//!
//! The fields of the request are read directly: Apache's own `ap_add_common_vars` and `ap_add_cgi_vars` cost more than
//! the rest of a request together. Later entries of the same key win, so what the server knows comes after the
//! variables that the configuration set.

use std::ffi::CStr;

use wsgi_protocol::abi::{Bytes, Entry};
use wsgi_protocol::keys::{self, KeyId};
use wsgi_protocol::request::{self as facts, Facts};
use wsgi_protocol::script_file::ScriptFile;

use crate::config::Settings;
use crate::directives;
use crate::dispatch::Job;
use crate::host::{Pool, Request};
use crate::proxies::{self, Changes};

/// Entries besides headers and variables.
const FIXED: usize = 40;

/// Environ entries in a request's pool.
pub(crate) struct Entries<'r> {
    pool: Pool<'r>,
    room: &'r mut [Entry<'r>],
    used: usize,
}

impl<'r> Entries<'r> {
    /// Room for this many, to begin with.
    pub(crate) fn new(pool: Pool<'r>, capacity: usize) -> Self {
        let nothing = Entry { key: keys::LITERAL, name: Bytes::NONE, value: Bytes::NONE };
        Self { pool, room: pool.slice(capacity, nothing), used: 0 }
    }

    fn push(&mut self, entry: Entry<'r>) {
        if self.used == self.room.len() {
            let larger = self.pool.slice(self.room.len() * 2 + 8, entry);
            larger[..self.used].copy_from_slice(&self.room[..self.used]);
            self.room = larger;
        }
        self.room[self.used] = entry;
        self.used += 1;
    }

    /// Adds an entry whose key has a number.
    pub(crate) fn put(&mut self, key: KeyId, value: &'r [u8]) {
        self.push(Entry { key, name: Bytes::NONE, value: Bytes::new(value) });
    }

    fn put_text(&mut self, key: KeyId, value: Option<&'r CStr>) {
        if let Some(value) = value {
            self.put(key, value.to_bytes());
        }
    }

    /// Adds an entry whose key is spelled out; an absent value becomes `None`.
    pub(crate) fn put_literal(&mut self, name: &'r [u8], value: Option<&'r [u8]>) {
        self.push(Entry { key: keys::LITERAL, name: Bytes::new(name), value: value.map_or(Bytes::NONE, Bytes::new) });
    }

    /// Adds a number in digits.
    pub(crate) fn number(&mut self, key: KeyId, number: impl Into<u64>) {
        let digits = decimal(self.pool, number.into());
        self.put(key, digits);
    }

    /// The entries.
    pub(crate) fn finish(self) -> &'r [Entry<'r>] {
        let Self { room, used, .. } = self;
        &room[..used]
    }
}

/// The digits of a number, in the pool.
fn decimal<'r>(pool: Pool<'r>, number: u64) -> &'r [u8] {
    let mut digits = [0u8; 20];
    let mut start = digits.len();
    let mut rest = number;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    pool.bytes(&digits[start..])
}

macro_rules! key {
    ($name:literal) => {
        const { keys::id($name) }
    };
}

/// Everything that the engine has to know of a request. `host` is left null; embedded mode sets it.
pub(crate) fn collect<'r>(job: &Job<'r>) -> Facts<'r> {
    let request = job.request;
    let (headers, variables) = (request.headers_in(), request.variables());
    let mut entries = Entries::new(request.pool(), FIXED + headers.len() + variables.len());
    let changes = trusted_changes(request, job.settings);
    let proxy_knows_scheme = changes.as_ref().is_some_and(|changes| changes.https.is_some());

    for (name, value) in variables.iter() {
        match (name.to_bytes(), value) {
            // A trusted proxy has the last word.
            (b"HTTPS", _) if proxy_knows_scheme => {}
            // mod_ssl's: it decides on the scheme and is not shown.
            (b"HTTPS", value) => entries.put(key!("HTTPS"), value.map_or(b"", CStr::to_bytes)),
            (name, value) if !is_internal(name) => entries.put_literal(name, value.map(CStr::to_bytes)),
            _ => {}
        }
    }
    put_headers(&mut entries, job, changes.as_ref());
    put_server(&mut entries, job, changes.as_ref());
    put_request(&mut entries, job, changes.as_ref());
    put_module(&mut entries, job);

    let mut facts = Facts::new(entries.finish());
    facts.script = Bytes::new(job.script.to_bytes());
    // What Apache knows of is the resource; the engine looks at the handler script itself.
    facts.script_version = if job.handler_script.is_some() { ScriptFile::UNKNOWN } else { request.file_version() };
    facts.application_group = Bytes::new(job.application_group);
    facts.callable = Bytes::new(job.callable);
    facts.handler = Bytes::new(job.handler.to_bytes());
    facts.handler_script = Bytes::new(job.handler_script.map_or(b"", CStr::to_bytes));
    // A filter may unpack the body: it is read to its end then, whatever the client said of its length.
    let filtered = job.content_length > 0 && request.has_body_filter();
    facts.content_length = if filtered { -1 } else { job.content_length };
    facts.request_start = request.started();
    facts.flags = flags(job);
    facts
}

/// Leaves the entries with the request, from where Apache takes them for what it serves in its place: an error document
/// or another location sees them as `REDIRECT_…`.
pub(crate) fn publish(request: Request<'_>, entries: &[Entry<'_>]) {
    let variables = request.variables();
    let pool = request.pool();
    for entry in entries {
        let name = match keys::name(entry.key) {
            Some(name) => pool.text(name.as_bytes()),
            None => pool.text(entry.name.or_empty()),
        };
        variables.set_lasting(name, pool.text(entry.value.or_empty()));
    }
}

fn flags(job: &Job<'_>) -> u32 {
    let settings = job.settings;
    [
        (job.reloads(), facts::RELOAD),
        (settings.enable_sendfile.unwrap_or(directives::ENABLE_SENDFILE.flag()), facts::SENDFILE),
        (settings.ignore_activity.unwrap_or(directives::IGNORE_ACTIVITY.flag()), facts::IGNORE_ACTIVITY),
        (job.generation.folds_case(), facts::FOLD_CASE),
        (job.request.has_safe_method(), facts::SAFE_METHOD),
        (job.content_length == 0, facts::BODY_INCLUDED),
        (job.own_group, facts::OWN_GROUP),
        (job.handler_script.is_some(), facts::HANDLER_SCRIPT),
        (job.json_log, facts::JSON_LOG),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .fold(0, |flags, (_, flag)| flags | flag)
}

/// Keys that are the module's own business.
fn is_internal(name: &[u8]) -> bool {
    const DROPPED: [&[u8]; 8] = [
        b"PATH",
        b"LD_LIBRARY_PATH",
        b"DYLD_LIBRARY_PATH",
        b"LIBPATH",
        b"SHLIB_PATH",
        b"PATH_TRANSLATED",
        b"GATEWAY_INTERFACE",
        b"SERVER_SIGNATURE",
    ];
    name.starts_with(b"mod_wsgi.x-") || DROPPED.contains(&name)
}

fn trusted_changes<'r>(request: Request<'r>, settings: &Settings<'r>) -> Option<Changes<'r>> {
    let configured = settings.trusted_headers?;
    let headers = request.headers_in();
    let pool = request.pool();
    let peer = request.client_ip().map_or(&b""[..], CStr::to_bytes);
    Some(proxies::apply(configured, settings.trusted_proxies, peer, |header| {
        headers.get(pool.text(header.name.as_bytes())).map(CStr::to_bytes)
    }))
}

fn put_headers<'r>(entries: &mut Entries<'r>, job: &Job<'r>, changes: Option<&Changes<'r>>) {
    let request = job.request;
    let pool = request.pool();
    let chunked = job.content_length < 0;
    for (name, value) in request.headers_in().iter() {
        let (name, value) = (name.to_bytes(), value.map(CStr::to_bytes));
        let key = match header_key(pool, name) {
            HeaderKey::Numbered(key) => Entry { key, name: Bytes::NONE, value: Bytes::NONE },
            HeaderKey::Spelled(name) => Entry { key: keys::LITERAL, name: Bytes::new(name), value: Bytes::NONE },
            HeaderKey::ContentLength if chunked => continue,
            HeaderKey::ContentLength => Entry { key: key!("CONTENT_LENGTH"), name: Bytes::NONE, value: Bytes::NONE },
            HeaderKey::Authorization if job.passes_authorization() => {
                Entry { key: key!("HTTP_AUTHORIZATION"), name: Bytes::NONE, value: Bytes::NONE }
            }
            HeaderKey::ProxyAuthorization if request.passes_authorization() => {
                let name = Bytes::new(b"HTTP_PROXY_AUTHORIZATION");
                Entry { key: keys::LITERAL, name, value: Bytes::NONE }
            }
            HeaderKey::Authorization | HeaderKey::ProxyAuthorization | HeaderKey::Dropped => continue,
        };
        if let Some(changes) = changes
            && let Some(header) = proxies::known(name)
            && changes.dropped.iter().any(|dropped| dropped.key == header.key)
        {
            continue;
        }
        entries.push(Entry { value: value.map_or(Bytes::NONE, Bytes::new), ..key });
    }
    if let Some(changes) = changes {
        if let Some(rest) = &changes.forwarded_for {
            entries.put(key!("HTTP_X_FORWARDED_FOR"), pool.bytes(rest));
        }
        if let Some(host) = changes.host {
            entries.put(key!("HTTP_HOST"), host);
        }
    }
}

/// What becomes of a header's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderKey<'r> {
    Numbered(KeyId),
    Spelled(&'r [u8]),
    ContentLength,
    Authorization,
    ProxyAuthorization,
    Dropped,
}

/// Headers that are met most often, by name; their keys have numbers.
const COMMON: &[(&str, KeyId)] = &[
    ("Host", keys::id("HTTP_HOST")),
    ("User-Agent", keys::id("HTTP_USER_AGENT")),
    ("Accept", keys::id("HTTP_ACCEPT")),
    ("Accept-Encoding", keys::id("HTTP_ACCEPT_ENCODING")),
    ("Accept-Language", keys::id("HTTP_ACCEPT_LANGUAGE")),
    ("Accept-Charset", keys::id("HTTP_ACCEPT_CHARSET")),
    ("Cache-Control", keys::id("HTTP_CACHE_CONTROL")),
    ("Connection", keys::id("HTTP_CONNECTION")),
    ("Cookie", keys::id("HTTP_COOKIE")),
    ("If-Modified-Since", keys::id("HTTP_IF_MODIFIED_SINCE")),
    ("If-None-Match", keys::id("HTTP_IF_NONE_MATCH")),
    ("Keep-Alive", keys::id("HTTP_KEEP_ALIVE")),
    ("Origin", keys::id("HTTP_ORIGIN")),
    ("Pragma", keys::id("HTTP_PRAGMA")),
    ("Range", keys::id("HTTP_RANGE")),
    ("Referer", keys::id("HTTP_REFERER")),
    ("Upgrade-Insecure-Requests", keys::id("HTTP_UPGRADE_INSECURE_REQUESTS")),
    ("X-Forwarded-For", keys::id("HTTP_X_FORWARDED_FOR")),
    ("X-Forwarded-Host", keys::id("HTTP_X_FORWARDED_HOST")),
    ("X-Forwarded-Proto", keys::id("HTTP_X_FORWARDED_PROTO")),
    ("X-Requested-With", keys::id("HTTP_X_REQUESTED_WITH")),
    ("Sec-Fetch-Dest", keys::id("HTTP_SEC_FETCH_DEST")),
    ("Sec-Fetch-Mode", keys::id("HTTP_SEC_FETCH_MODE")),
    ("Sec-Fetch-Site", keys::id("HTTP_SEC_FETCH_SITE")),
    ("Sec-Fetch-User", keys::id("HTTP_SEC_FETCH_USER")),
    ("Expect", keys::id("HTTP_EXPECT")),
    ("Transfer-Encoding", keys::id("HTTP_TRANSFER_ENCODING")),
    ("Content-Type", keys::id("CONTENT_TYPE")),
];

/// See [`HeaderKey`].
pub(crate) fn header_key<'r>(pool: Pool<'r>, name: &[u8]) -> HeaderKey<'r> {
    if let Some((_, key)) =
        COMMON.iter().find(|(known, _)| known.len() == name.len() && known.as_bytes().eq_ignore_ascii_case(name))
    {
        return HeaderKey::Numbered(*key);
    }
    // A name with `_` or anything else odd could pretend to be another header.
    if !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-') {
        return HeaderKey::Dropped;
    }
    match () {
        () if name.eq_ignore_ascii_case(b"Content-Length") => HeaderKey::ContentLength,
        () if name.eq_ignore_ascii_case(b"Authorization") => HeaderKey::Authorization,
        () if name.eq_ignore_ascii_case(b"Proxy-Authorization") => HeaderKey::ProxyAuthorization,
        // `HTTP_PROXY` is taken by HTTP clients in the application for their proxy ("httpoxy").
        () if name.eq_ignore_ascii_case(b"Proxy") => HeaderKey::Dropped,
        () => {
            const PREFIX: &[u8] = b"HTTP_";
            let key = pool.slice(PREFIX.len() + name.len(), 0u8);
            key[..PREFIX.len()].copy_from_slice(PREFIX);
            for (place, byte) in key[PREFIX.len()..].iter_mut().zip(name) {
                *place = if *byte == b'-' { b'_' } else { byte.to_ascii_uppercase() };
            }
            HeaderKey::Spelled(key)
        }
    }
}

fn put_server<'r>(entries: &mut Entries<'r>, job: &Job<'r>, changes: Option<&Changes<'r>>) {
    let request = job.request;
    let connection = request.connection();
    entries.put_text(key!("SERVER_SOFTWARE"), request.server_banner());
    entries.put_text(key!("SERVER_ADDR"), connection.local_ip());
    entries.put_text(key!("SERVER_ADMIN"), request.server().admin());
    entries.put_text(key!("SERVER_PROTOCOL"), request.protocol());
    match changes.and_then(|changes| changes.server) {
        Some(name) => entries.put(key!("SERVER_NAME"), name),
        None => {
            let name = request.server_name().map(|name| {
                let special = name.to_bytes().iter().any(|byte| matches!(byte, b'<' | b'>' | b'&' | b'"'));
                if special { request.escape_html(name) } else { name }
            });
            entries.put_text(key!("SERVER_NAME"), name);
        }
    }
    match changes.and_then(|changes| changes.port) {
        Some(port) => entries.put(key!("SERVER_PORT"), port),
        None => entries.number(key!("SERVER_PORT"), request.server_port()),
    }
    match changes.and_then(|changes| changes.client) {
        Some(client) => entries.put(key!("REMOTE_ADDR"), client),
        None => entries.put_text(key!("REMOTE_ADDR"), request.client_ip()),
    }
    entries.number(key!("REMOTE_PORT"), request.client_port());
    entries.put_text(key!("DOCUMENT_ROOT"), request.document_root());
    entries.put_text(key!("CONTEXT_PREFIX"), request.context_prefix());
    entries.put_text(key!("CONTEXT_DOCUMENT_ROOT"), request.context_document_root());
    entries.put_text(key!("REQUEST_SCHEME"), request.scheme());
    match changes.and_then(|changes| changes.https) {
        Some(true) => entries.put(key!("HTTPS"), b"1"),
        Some(false) => entries.put(key!("HTTPS"), b"0"),
        None if connection.is_encrypted() => entries.put(key!("HTTPS"), b"1"),
        None => {}
    }
}

fn put_request<'r>(entries: &mut Entries<'r>, job: &Job<'r>, changes: Option<&Changes<'r>>) {
    let request = job.request;
    let method = if job.head_as_get { b"GET" } else { request.method().to_bytes() };
    entries.put(key!("REQUEST_METHOD"), method);
    entries.put(key!("QUERY_STRING"), request.query().map_or(b"", CStr::to_bytes));
    let uri = if request.wants_current_uri() { request.uri().to_bytes() } else { requested_uri(request) };
    entries.put(key!("REQUEST_URI"), uri);
    match changes.and_then(|changes| changes.script) {
        Some(script) => {
            entries.put(key!("SCRIPT_NAME"), script);
            entries.put(key!("mod_wsgi.mount_point"), script);
        }
        None => entries.put(key!("SCRIPT_NAME"), job.script_name),
    }
    entries.put(key!("PATH_INFO"), job.path_info);
    entries.put(key!("SCRIPT_FILENAME"), job.resource.to_bytes());
    if let Some(user) = request.user() {
        entries.put(key!("REMOTE_USER"), user.to_bytes());
        entries.put_text(key!("AUTH_TYPE"), request.auth_type());
    }
    if let Some(previous) = request.previous() {
        if let Some(user) = previous.user() {
            entries.put_literal(b"REDIRECT_REMOTE_USER", Some(user.to_bytes()));
        }
        if let Some(query) = previous.query() {
            entries.put_literal(b"REDIRECT_QUERY_STRING", Some(query.to_bytes()));
        }
        entries.put_literal(b"REDIRECT_URL", Some(previous.uri().to_bytes()));
    }
}

/// The second word of the request line.
pub(crate) fn requested_uri(request: Request<'_>) -> &[u8] {
    let Some(line) = request.request_line() else { return b"" };
    let words = line.to_bytes().trim_ascii_start();
    let Some(method) = words.iter().position(u8::is_ascii_whitespace) else { return b"" };
    let rest = words[method..].trim_ascii_start();
    let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
    &rest[..end]
}

fn put_module<'r>(entries: &mut Entries<'r>, job: &Job<'r>) {
    let request = job.request;
    let connection = request.connection();
    entries.put(key!("mod_wsgi.script_name"), job.script_name);
    entries.put(key!("mod_wsgi.path_info"), job.path_info);
    entries.put_text(key!("mod_wsgi.listener_host"), connection.local_ip());
    entries.number(key!("mod_wsgi.listener_port"), connection.local_port());
    entries.put(key!("mod_wsgi.server_pid"), job.registry.process());
    entries.put_text(key!("mod_wsgi.request_id"), request.log_id());
    entries.put_text(key!("mod_wsgi.connection_id"), connection.log_id());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_headers_have_the_key_of_their_name() {
        for (name, key) in COMMON {
            let spelled = name.to_ascii_uppercase().replace('-', "_");
            let expected = if *name == "Content-Type" { spelled } else { format!("HTTP_{spelled}") };
            assert_eq!(keys::name(*key), Some(expected.as_str()), "{name}");
        }
    }

    // Covers: rule:adapter/internal-keys-hidden, rule:adapter/not-set
    #[test]
    fn paths_of_libraries_are_never_shown() {
        assert!(is_internal(b"PATH") && is_internal(b"LD_LIBRARY_PATH") && is_internal(b"mod_wsgi.x-anything"));
        assert!(!is_internal(b"UNIQUE_ID") && !is_internal(b"PATH_INFO"));
    }
}
