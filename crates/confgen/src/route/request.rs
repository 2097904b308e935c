//! A request as it is asked about.

use std::net::IpAddr;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Whether it comes by https.
    pub https: bool,
    /// The host of the URL, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The path, encoded as it was given.
    pub path: String,
    /// What follows the `?`.
    pub query: Option<String>,
    /// The method.
    pub method: String,
    /// The address of the client.
    pub from: Option<IpAddr>,
    /// Further headers.
    pub headers: Vec<(String, String)>,
}

/// Why a text is no URL.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Another scheme, or none.
    #[error("`{0}` is no URL: it does not begin with http:// or https://")]
    Scheme(String),
    /// No host.
    #[error("`{0}` has no host")]
    Host(String),
    /// A port that is none.
    #[error("`{0}` is no port")]
    Port(String),
}

impl Request {
    /// A request for a URL with the method GET.
    ///
    /// # Errors
    /// When it is no URL.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let (https, rest) = match url.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => (false, rest),
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => (true, rest),
            _ => return Err(UrlError::Scheme(url.to_owned())),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']').ok_or_else(|| UrlError::Host(url.to_owned()))?;
                (host, rest.strip_prefix(':'))
            }
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        if host.is_empty() {
            return Err(UrlError::Host(url.to_owned()));
        }
        let port = match port {
            Some(port) => port.parse().map_err(|_| UrlError::Port(port.to_owned()))?,
            None if https => 443,
            None => 80,
        };
        Ok(Self {
            https,
            host: host.to_owned(),
            port,
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
            query,
            method: "GET".to_owned(),
            from: None,
            headers: Vec::new(),
        })
    }

    /// A header, by its name in any case of letters.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The name that the request asks for: that of a `Host` header, else the URL's, without port.
    #[must_use]
    pub fn name(&self) -> String {
        let host = self.header("Host").unwrap_or(&self.host);
        let name = match host.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => match host.rsplit_once(':') {
                Some((name, port)) if !name.contains(':') && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
                _ => host,
            },
        };
        name.trim_end_matches('.').to_ascii_lowercase()
    }

    /// The port of the request as httpd takes it with `UseCanonicalName Off`: that of the `Host` header.
    #[must_use]
    pub fn asked_port(&self) -> u16 {
        match self.header("Host") {
            Some(host) => crate::configuration::port_of(host).unwrap_or(if self.https { 443 } else { 80 }),
            None => self.port,
        }
    }

    /// The path as httpd looks at it: decoded, without `.` and `..`, runs of slashes merged.
    ///
    /// # Errors
    /// The status of the answer that httpd gives otherwise.
    pub(super) fn normalized(&self, encoded_slashes: bool) -> Result<String, u16> {
        let unreserved = decode(self.path.as_bytes(), |byte| {
            byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
        })
        .ok_or(400_u16)?;
        let collapsed = without_dots(&unreserved).ok_or(400_u16)?;
        let lower = collapsed.to_ascii_lowercase();
        let has = |wanted: &[u8]| lower.windows(3).any(|part| part == wanted);
        if has(b"%00") {
            return Err(404);
        }
        if has(b"%2f") && !encoded_slashes {
            return Err(404);
        }
        let decoded = decode(&collapsed, |_| true).ok_or(400_u16)?;
        Ok(String::from_utf8_lossy(&decoded).into_owned())
    }
}

/// Decodes those `%XX` whose byte is wanted; `None` when a `%` has no two digits behind it.
fn decode(text: &[u8], wanted: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'%' {
            let digit = |place: usize| char::from(*text.get(place)?).to_digit(16);
            let byte = u8::try_from(digit(at + 1)? * 16 + digit(at + 2)?).ok()?;
            match wanted(byte) {
                true => decoded.push(byte),
                false => decoded.extend_from_slice(&text[at..at + 3]),
            }
            at += 3;
        } else {
            decoded.push(text[at]);
            at += 1;
        }
    }
    Some(decoded)
}

/// A path without `.` and `..` and with single slashes; `None` when it leads above the root.
fn without_dots(path: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    let mut ends_in_slash = false;
    for (index, part) in path.split(|byte| *byte == b'/').enumerate() {
        ends_in_slash = false;
        match part {
            b"" => ends_in_slash = index > 0,
            b"." => ends_in_slash = true,
            b".." => {
                parts.pop()?;
                ends_in_slash = true;
            }
            part => parts.push(part),
        }
    }
    let mut made = Vec::with_capacity(path.len());
    for part in &parts {
        made.push(b'/');
        made.extend_from_slice(part);
    }
    if ends_in_slash || made.is_empty() {
        made.push(b'/');
    }
    Some(made)
}
