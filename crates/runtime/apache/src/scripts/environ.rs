//! What scripts that decide on access see of a request: less than an application, as there is none yet.

use std::ffi::CStr;

use wsgi_protocol::abi::Entry;
use wsgi_protocol::keys;

use crate::dispatch;
use crate::environ::{Entries, HeaderKey, header_key, requested_uri};
use crate::host::Request;

/// Entries besides headers.
const FIXED: usize = 20;

/// The entries of a request. `Authorization` is never among them: the password is the function's argument.
pub(super) fn collect(request: Request<'_>) -> &[Entry<'_>] {
    let headers = request.headers_in();
    let pool = request.pool();
    let mut entries = Entries::new(pool, FIXED + headers.len());
    for (name, value) in headers.iter() {
        let value = value.map_or(&b""[..], CStr::to_bytes);
        match header_key(pool, name.to_bytes()) {
            HeaderKey::Numbered(key) => entries.put(key, value),
            HeaderKey::Spelled(name) => entries.put_literal(name, Some(value)),
            HeaderKey::ContentLength => entries.put(keys::id("CONTENT_LENGTH"), value),
            HeaderKey::Authorization | HeaderKey::ProxyAuthorization | HeaderKey::Dropped => {}
        }
    }
    let connection = request.connection();
    entries.put_literal(b"SERVER_SIGNATURE", Some(text(request.server_signature())));
    entries.put(const { keys::id("SERVER_SOFTWARE") }, text(request.server_banner()));
    entries.put(const { keys::id("SERVER_NAME") }, text(request.server_name().map(|name| request.escape_html(name))));
    entries.put(const { keys::id("SERVER_ADDR") }, text(connection.local_ip()));
    entries.number(const { keys::id("SERVER_PORT") }, request.server_port());
    if let Some(host) = request.remote_host() {
        entries.put_literal(b"REMOTE_HOST", Some(host.to_bytes()));
    }
    entries.put(const { keys::id("REMOTE_ADDR") }, text(request.client_ip()));
    entries.number(const { keys::id("REMOTE_PORT") }, request.client_port());
    entries.put(const { keys::id("DOCUMENT_ROOT") }, text(request.document_root()));
    entries.put(const { keys::id("SERVER_ADMIN") }, text(request.server().admin()));
    entries.put(const { keys::id("SERVER_PROTOCOL") }, text(request.protocol()));
    entries.put(const { keys::id("REQUEST_METHOD") }, request.method().to_bytes());
    entries.put(const { keys::id("QUERY_STRING") }, text(request.query()));
    entries.put(const { keys::id("REQUEST_URI") }, requested_uri(request));
    let (script_name, path_info) = dispatch::split(request, request.path_info().unwrap_or_default());
    entries.put(const { keys::id("SCRIPT_NAME") }, script_name);
    entries.put(const { keys::id("PATH_INFO") }, path_info);
    entries.finish()
}

fn text(value: Option<&CStr>) -> &[u8] {
    value.map_or(b"", CStr::to_bytes)
}
