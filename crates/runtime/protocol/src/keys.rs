//! Numbers for the environ keys that nearly every request has, so that neither a frame nor the engine spells them out:
//! the engine keeps one interned string per number and interpreter.

/// The number of an environ key: 0 means "spelled out", `n` is `KEYS[n - 1]`.
pub type KeyId = u8;

/// "The key is spelled out."
pub const LITERAL: KeyId = 0;

/// The numbered keys. Append only: the position is the number, and an old Apache child may speak to a newer daemon.
pub const KEYS: &[&str] = &[
    "REQUEST_METHOD",
    "SCRIPT_NAME",
    "PATH_INFO",
    "QUERY_STRING",
    "REQUEST_URI",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_ADDR",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
    "SERVER_ADMIN",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REMOTE_USER",
    "AUTH_TYPE",
    "DOCUMENT_ROOT",
    "CONTEXT_PREFIX",
    "CONTEXT_DOCUMENT_ROOT",
    "SCRIPT_FILENAME",
    "REQUEST_SCHEME",
    "CONTENT_TYPE",
    "CONTENT_LENGTH",
    "HTTP_HOST",
    "HTTP_USER_AGENT",
    "HTTP_ACCEPT",
    "HTTP_ACCEPT_ENCODING",
    "HTTP_ACCEPT_LANGUAGE",
    "HTTP_ACCEPT_CHARSET",
    "HTTP_AUTHORIZATION",
    "HTTP_CACHE_CONTROL",
    "HTTP_CONNECTION",
    "HTTP_COOKIE",
    "HTTP_IF_MODIFIED_SINCE",
    "HTTP_IF_NONE_MATCH",
    "HTTP_KEEP_ALIVE",
    "HTTP_ORIGIN",
    "HTTP_PRAGMA",
    "HTTP_RANGE",
    "HTTP_REFERER",
    "HTTP_UPGRADE_INSECURE_REQUESTS",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REQUESTED_WITH",
    "HTTP_SEC_FETCH_DEST",
    "HTTP_SEC_FETCH_MODE",
    "HTTP_SEC_FETCH_SITE",
    "HTTP_SEC_FETCH_USER",
    "HTTP_EXPECT",
    "HTTP_TRANSFER_ENCODING",
    "HTTPS",
    "UNIQUE_ID",
    "mod_wsgi.script_name",
    "mod_wsgi.path_info",
    "mod_wsgi.mount_point",
    "mod_wsgi.listener_host",
    "mod_wsgi.listener_port",
    "mod_wsgi.server_pid",
    "mod_wsgi.request_id",
    "mod_wsgi.connection_id",
];

/// The number of a key that is known when the program is compiled: `const HOST: KeyId = keys::id("HTTP_HOST");`.
///
/// # Panics
/// While compiling, when the key is not in [`KEYS`].
#[must_use]
pub const fn id(key: &str) -> KeyId {
    let mut index = 0;
    while index < KEYS.len() {
        if same(KEYS[index].as_bytes(), key.as_bytes()) {
            #[expect(clippy::cast_possible_truncation, reason = "a test holds the table below 255 entries")]
            return (index + 1) as KeyId;
        }
        index += 1;
    }
    panic!("not a numbered environ key")
}

/// The name behind a number, `None` for [`LITERAL`] and numbers of a later version.
#[must_use]
pub fn name(id: KeyId) -> Option<&'static str> {
    usize::from(id).checked_sub(1).and_then(|index| KEYS.get(index)).copied()
}

const fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_unique_and_fit() {
        assert!(KEYS.len() < usize::from(KeyId::MAX));
        for (index, key) in KEYS.iter().enumerate() {
            assert_eq!(usize::from(id(key)), index + 1, "{key} stands twice");
            assert_eq!(name(id(key)), Some(*key));
        }
        assert_eq!(name(LITERAL), None);
        assert_eq!(name(KeyId::MAX), None);
    }
}
