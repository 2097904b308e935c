//! `%{…}` in names of process groups, application groups and callables.

use std::ffi::CStr;

use crate::host::Request;

/// A configured name. Tokens are recognised only when they are the whole value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token<'p> {
    /// The text itself.
    Literal(&'p [u8]),
    /// `%{GLOBAL}`: embedded mode, or the main interpreter.
    Global,
    /// `%{RESOURCE}`: server name, port and the script's mount point.
    Resource,
    /// `%{SERVER}`: server name and port.
    Server,
    /// `%{HOST}`: the host that the client named, and the port.
    Host,
    /// `%{ENV:name}`: a note, a variable of the request, or one of the process. The whole text and the name.
    Variable(&'p [u8], &'p [u8]),
}

impl<'p> Token<'p> {
    /// Reads a configured value.
    pub(crate) fn parse(value: &'p [u8]) -> Self {
        match value {
            b"%{GLOBAL}" => Self::Global,
            b"%{RESOURCE}" => Self::Resource,
            b"%{SERVER}" => Self::Server,
            b"%{HOST}" => Self::Host,
            _ => match value.strip_prefix(b"%{ENV:").and_then(|rest| rest.strip_suffix(b"}")) {
                Some(name) => Self::Variable(value, name),
                None => Self::Literal(value),
            },
        }
    }

    /// The name of a group that a script is loaded into at the start. What looks like a token, and is none, may be meant
    /// as one: the group is then looked for with the request.
    pub(crate) fn preloadable(self) -> Option<&'p [u8]> {
        self.fixed().filter(|name| !name.windows(2).any(|pair| pair == b"%{"))
    }

    /// The name, when it does not depend on the request.
    pub(crate) fn fixed(self) -> Option<&'p [u8]> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Global => Some(b""),
            _ => None,
        }
    }
}

/// What an expansion needs of a request; a trait, so that the rules are tested without one.
pub(crate) trait Source<'r> {
    /// `ServerName`.
    fn server_name(&self) -> &'r [u8];
    /// The host that the client named, or `ServerName`.
    fn host(&self) -> &'r [u8];
    /// The effective port.
    fn port(&self) -> u16;
    /// Whether the port is one that the configuration names.
    fn has_own_port(&self) -> bool;
    /// The script's mount point.
    fn mount_point(&self) -> &'r [u8];
    /// A variable.
    fn variable(&self, name: &[u8]) -> Option<&'r [u8]>;
    /// Keeps joined parts for the request's time.
    fn join(&self, parts: &[&[u8]]) -> &'r [u8];
}

/// The value of a token for a request. A variable that is not set leaves the text as it stands: a process group of that
/// name does not exist, which fails instead of running the application as another user.
pub(crate) fn expand<'r>(token: Token<'r>, source: &impl Source<'r>) -> &'r [u8] {
    match token {
        Token::Literal(text) => text,
        Token::Global => b"",
        Token::Resource => with_port(source, source.server_name(), Some(source.mount_point())),
        Token::Server => with_port(source, source.server_name(), None),
        Token::Host => with_port(source, source.host(), None),
        Token::Variable(whole, name) => match source.variable(name).map(Token::parse) {
            None => whole,
            // Not a second time.
            Some(Token::Variable(value, _)) => value,
            Some(token) => expand(token, source),
        },
    }
}

/// Whether a name is one that the configuration names, not one of those that clients can choose at will.
pub(crate) fn is_own<'r>(token: Token<'r>, source: &impl Source<'r>) -> bool {
    match token {
        Token::Literal(_) | Token::Global => true,
        Token::Resource | Token::Server => source.has_own_port(),
        Token::Host => source.has_own_port() && source.host() == source.server_name(),
        // It may be made of anything.
        Token::Variable(..) => false,
    }
}

fn with_port<'r>(source: &impl Source<'r>, host: &[u8], mount_point: Option<&[u8]>) -> &'r [u8] {
    let mut digits = [0; 6];
    let port = match source.port() {
        80 | 443 => &b""[..],
        port => port_suffix(port, &mut digits),
    };
    match mount_point {
        Some(mount_point) => source.join(&[host, port, b"|", mount_point]),
        None => source.join(&[host, port]),
    }
}

/// `:port`.
fn port_suffix(port: u16, digits: &mut [u8; 6]) -> &[u8] {
    let mut start = digits.len();
    let mut rest = port;
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    start -= 1;
    digits[start] = b':';
    &digits[start..]
}

/// A request as the source of expansions.
pub(crate) struct FromRequest<'r> {
    /// The request.
    pub(crate) request: Request<'r>,
    /// The script's mount point.
    pub(crate) mount_point: &'r [u8],
}

impl<'r> Source<'r> for FromRequest<'r> {
    fn server_name(&self) -> &'r [u8] {
        self.request.server().name().map_or(b"", CStr::to_bytes)
    }

    fn host(&self) -> &'r [u8] {
        self.request.hostname().map_or_else(|| self.server_name(), CStr::to_bytes)
    }

    fn port(&self) -> u16 {
        self.request.server_port()
    }

    fn has_own_port(&self) -> bool {
        self.request.has_own_port()
    }

    fn mount_point(&self) -> &'r [u8] {
        self.mount_point
    }

    fn variable(&self, name: &[u8]) -> Option<&'r [u8]> {
        let name = self.request.pool().text(name);
        let own = self.request.notes().get(name).or_else(|| self.request.variables().get(name));
        own.map(CStr::to_bytes).or_else(|| process_variable(self.request, name))
    }

    fn join(&self, parts: &[&[u8]]) -> &'r [u8] {
        self.request.pool().join(parts).to_bytes()
    }
}

#[expect(clippy::disallowed_methods, reason = "%{ENV:…} names a variable of the process as its last resort")]
fn process_variable<'r>(request: Request<'r>, name: &CStr) -> Option<&'r [u8]> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let value = std::env::var_os(std::ffi::OsStr::from_bytes(name.to_bytes()))?;
    Some(request.pool().bytes(&value.into_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed {
        port: u16,
        variable: Option<&'static [u8]>,
    }

    impl Source<'static> for Fixed {
        fn server_name(&self) -> &'static [u8] {
            b"www.example.com"
        }
        fn host(&self) -> &'static [u8] {
            b"alias.example.com"
        }
        fn port(&self) -> u16 {
            self.port
        }
        fn has_own_port(&self) -> bool {
            self.port == 80
        }
        fn mount_point(&self) -> &'static [u8] {
            b"/app"
        }
        fn variable(&self, name: &[u8]) -> Option<&'static [u8]> {
            (name == b"group").then_some(self.variable).flatten()
        }
        fn join(&self, parts: &[&[u8]]) -> &'static [u8] {
            Box::leak(parts.concat().into_boxed_slice())
        }
    }

    fn expanded(value: &'static str, port: u16, variable: Option<&'static [u8]>) -> String {
        let found = expand(Token::parse(value.as_bytes()), &Fixed { port, variable });
        String::from_utf8_lossy(found).into_owned()
    }

    // Covers: rule:mapping/token-global, rule:mapping/token-resource, rule:mapping/token-server,
    // rule:mapping/token-host, rule:mapping/token-literal, rule:mapping/token-port-omitted
    #[test]
    fn tokens_expand_by_the_reference() {
        for (value, port, expected) in [
            ("%{GLOBAL}", 80, ""),
            ("%{RESOURCE}", 80, "www.example.com|/app"),
            ("%{RESOURCE}", 8080, "www.example.com:8080|/app"),
            ("%{SERVER}", 443, "www.example.com"),
            ("%{SERVER}", 8443, "www.example.com:8443"),
            ("%{HOST}", 65535, "alias.example.com:65535"),
            ("name", 80, "name"),
            ("a%{GLOBAL}", 80, "a%{GLOBAL}"),
            ("%{OTHER}", 80, "%{OTHER}"),
        ] {
            assert_eq!(expanded(value, port, None), expected, "{value}");
        }
    }

    // Covers: rule:mapping/token-env, rule:mapping/token-env-nested, rule:mapping/token-env-unset
    #[test]
    fn a_variable_is_expanded_once() {
        assert_eq!(expanded("%{ENV:group}", 80, Some(b"web")), "web");
        assert_eq!(expanded("%{ENV:group}", 8080, Some(b"%{SERVER}")), "www.example.com:8080");
        assert_eq!(expanded("%{ENV:group}", 80, Some(b"%{ENV:group}")), "%{ENV:group}");
        assert_eq!(expanded("%{ENV:group}", 80, None), "%{ENV:group}");
        assert_eq!(expanded("%{ENV:other}", 80, Some(b"web")), "%{ENV:other}");
    }

    // Covers: rule:extensions/interpreter-cap-vhosts
    #[test]
    fn a_name_that_clients_choose_is_not_our_own() {
        let own =
            |value: &'static str, port| is_own(Token::parse(value.as_bytes()), &Fixed { port, variable: Some(b"web") });
        for (value, port, expected) in [
            ("web", 8080, true),
            ("%{GLOBAL}", 8080, true),
            ("%{RESOURCE}", 80, true),
            ("%{RESOURCE}", 8080, false),
            ("%{SERVER}", 80, true),
            // The host is another one than ServerName.
            ("%{HOST}", 80, false),
            ("%{ENV:group}", 80, false),
        ] {
            assert_eq!(own(value, port), expected, "{value} {port}");
        }
    }

    #[test]
    fn only_some_names_are_fixed() {
        assert_eq!(Token::parse(b"%{GLOBAL}").fixed(), Some(&b""[..]));
        assert_eq!(Token::parse(b"web").fixed(), Some(&b"web"[..]));
        assert_eq!(Token::parse(b"web%").preloadable(), Some(&b"web%"[..]));
        assert_eq!(Token::parse(b"web%{GLOBAL}").preloadable(), None);
        assert_eq!(Token::parse(b"%{SERVER}").fixed(), None);
    }
}
