//! The cookies of a cell.

use std::sync::Mutex;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Cookie {
    name: String,
    value: String,
    path: String,
    secure: bool,
}

/// Cookies as a browser would keep them for one host. All names of a test server are one host.
#[derive(Debug, Default)]
pub struct CookieJar(Mutex<Vec<Cookie>>);

impl CookieJar {
    /// Keeps, replaces or drops the cookie of a `Set-Cookie` field that came with a response to a path.
    pub fn store(&self, field: &str, request_path: &str) {
        let mut parts = field.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { return };
        let mut cookie = Cookie {
            name: name.trim().to_owned(),
            value: value.trim().to_owned(),
            path: default_path(request_path),
            secure: false,
        };
        let mut expired = false;
        for attribute in parts {
            let (key, value) =
                attribute.split_once('=').map_or((attribute, ""), |(key, value)| (key.trim(), value.trim()));
            match key.to_ascii_lowercase().as_str() {
                "path" if value.starts_with('/') => cookie.path = value.to_owned(),
                "secure" => cookie.secure = true,
                "max-age" => expired = value.parse::<i64>().is_ok_and(|seconds| seconds <= 0),
                // Servers delete with a date at the epoch; a date that is past at any later time does not occur in a cell's life.
                "expires" => expired |= value.contains("1970"),
                _ => {}
            }
        }
        let Ok(mut cookies) = self.0.lock() else { return };
        cookies.retain(|kept| kept.name != cookie.name || kept.path != cookie.path);
        if !expired {
            cookies.push(cookie);
        }
    }

    /// The `Cookie` field for a request, if there is anything to send.
    pub fn field(&self, request_path: &str, secure: bool) -> Option<String> {
        let cookies = self.0.lock().ok()?;
        let mut fitting: Vec<&Cookie> =
            cookies.iter().filter(|cookie| (secure || !cookie.secure) && covers(&cookie.path, request_path)).collect();
        // The longest path first, as RFC 6265 asks for; the sort is stable, so older ones stay before newer ones.
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        (!fitting.is_empty()).then(|| {
            fitting.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect::<Vec<_>>().join("; ")
        })
    }
}

/// The folder of a request's path.
fn default_path(request_path: &str) -> String {
    let path = request_path.split('?').next().unwrap_or_default();
    match path.rfind('/') {
        None | Some(0) => "/".to_owned(),
        Some(end) => path[..end].to_owned(),
    }
}

fn covers(cookie_path: &str, request_path: &str) -> bool {
    let path = request_path.split('?').next().unwrap_or_default();
    path.strip_prefix(cookie_path)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || cookie_path.ends_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_are_kept_replaced_and_dropped() {
        let jar = CookieJar::default();
        jar.store("session=abc; HttpOnly; Path=/; SameSite=Lax", "/login");
        jar.store("csrf=1; Path=/admin", "/");
        assert_eq!(jar.field("/", false).as_deref(), Some("session=abc"));
        assert_eq!(jar.field("/admin/?x=1", false).as_deref(), Some("csrf=1; session=abc"));
        assert_eq!(jar.field("/administration", false).as_deref(), Some("session=abc"));
        jar.store("session=def; Path=/", "/");
        assert_eq!(jar.field("/", false).as_deref(), Some("session=def"));
        jar.store("session=; Path=/; Max-Age=0", "/");
        jar.store("csrf=; Path=/admin; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "/");
        assert_eq!(jar.field("/admin", false), None);
    }

    #[test]
    fn secure_cookies_and_default_paths() {
        let jar = CookieJar::default();
        jar.store("s=1; Secure", "/a/b");
        assert_eq!(jar.field("/a/c", true).as_deref(), Some("s=1"));
        assert_eq!(jar.field("/a/c", false), None);
        assert_eq!(jar.field("/b", true), None);
        jar.store("nonsense", "/");
        assert_eq!(jar.field("/", true), None);
    }
}
