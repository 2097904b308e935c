//! Trusted proxies: which headers are believed, and what they change in the environ.

use std::net::IpAddr;

/// An address or subnet of `WSGITrustedProxies`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    address: IpAddr,
    bits: u32,
}

impl Subnet {
    /// Reads `10.0.0.1`, `10.0.0.0/8`, `10.0.0.0/255.0.0.0`, `10.1` (the network `10.1.0.0/16`) or an IPv6 form.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, mask) = match text.split_once('/') {
            Some((address, mask)) => (address, Some(mask)),
            None => (text, None),
        };
        let (address, given) = match address.parse::<IpAddr>() {
            Ok(address) => (address, width(address)),
            Err(_) if mask.is_none() => partial(address)?,
            Err(_) => return None,
        };
        let bits = match mask {
            None => given,
            Some(mask) => match mask.parse::<u32>() {
                Ok(bits) => bits,
                Err(_) => contiguous(address, mask)?,
            },
        };
        (bits <= width(address)).then_some(Self { address, bits })
    }

    /// Whether an address is in it. An IPv4 address in IPv6 form counts as IPv4.
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                net.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(net), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                net.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// `10.1` or `10.1.`: the first bytes of a network.
fn partial(text: &str) -> Option<(IpAddr, u32)> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let mut bytes = [0u8; 4];
    let mut count = 0;
    for part in text.split('.') {
        *bytes.get_mut(count)? = part.parse().ok()?;
        count += 1;
    }
    let bits = u32::try_from(count).ok()? * 8;
    (count < 4).then_some((IpAddr::from(bytes), bits))
}

fn contiguous(address: IpAddr, mask: &str) -> Option<u32> {
    let IpAddr::V4(mask) = mask.parse().ok()? else { return None };
    let bits = mask.to_bits();
    (address.is_ipv4() && bits.leading_ones() + bits.trailing_zeros() == 32).then(|| bits.leading_ones())
}

/// What a trusted header changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Category {
    /// `REMOTE_ADDR`
    Client,
    /// `HTTP_HOST`
    Host,
    /// `SERVER_NAME`
    Server,
    /// `SERVER_PORT`
    Port,
    /// `SCRIPT_NAME` and `mod_wsgi.mount_point`
    Script,
    /// `wsgi.url_scheme`
    Scheme,
}

/// A header that may be trusted, by its environ key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// As it stands in the environ.
    pub(crate) key: &'static str,
    /// As it stands in a request.
    pub(crate) name: &'static str,
    /// What it changes.
    pub(crate) category: Category,
}

const fn header(name: &'static str, key: &'static str, category: Category) -> Header {
    Header { key, name, category }
}

/// All headers that may be trusted.
pub(crate) const HEADERS: &[Header] = &[
    header("X-Forwarded-For", "HTTP_X_FORWARDED_FOR", Category::Client),
    header("X-Client-IP", "HTTP_X_CLIENT_IP", Category::Client),
    header("X-Real-IP", "HTTP_X_REAL_IP", Category::Client),
    header("X-Forwarded-Host", "HTTP_X_FORWARDED_HOST", Category::Host),
    header("X-Host", "HTTP_X_HOST", Category::Host),
    header("X-Forwarded-Server", "HTTP_X_FORWARDED_SERVER", Category::Server),
    header("X-Forwarded-Port", "HTTP_X_FORWARDED_PORT", Category::Port),
    header("X-Script-Name", "HTTP_X_SCRIPT_NAME", Category::Script),
    header("X-Forwarded-Script-Name", "HTTP_X_FORWARDED_SCRIPT_NAME", Category::Script),
    header("X-Forwarded-Proto", "HTTP_X_FORWARDED_PROTO", Category::Scheme),
    header("X-Forwarded-Scheme", "HTTP_X_FORWARDED_SCHEME", Category::Scheme),
    header("X-Scheme", "HTTP_X_SCHEME", Category::Scheme),
    header("X-Forwarded-HTTPS", "HTTP_X_FORWARDED_HTTPS", Category::Scheme),
    header("X-Forwarded-SSL", "HTTP_X_FORWARDED_SSL", Category::Scheme),
    header("X-HTTPS", "HTTP_X_HTTPS", Category::Scheme),
];

/// The header of this name, whatever its case, with `-` or `_`.
pub(crate) fn known(name: &[u8]) -> Option<&'static Header> {
    let same = |known: &str| {
        known.len() == name.len()
            && known.bytes().zip(name).all(|(known, given)| {
                let given = if *given == b'_' { b'-' } else { *given };
                known.eq_ignore_ascii_case(&given)
            })
    };
    HEADERS.iter().find(|header| same(header.name))
}

/// What the trusted headers of a request change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes<'r> {
    /// The client's address.
    pub(crate) client: Option<&'r [u8]>,
    /// `X-Forwarded-For`, cut to what can be believed: from this byte on.
    pub(crate) forwarded_for: Option<Vec<u8>>,
    /// The host.
    pub(crate) host: Option<&'r [u8]>,
    /// The server's name.
    pub(crate) server: Option<&'r [u8]>,
    /// The server's port.
    pub(crate) port: Option<&'r [u8]>,
    /// The mount point.
    pub(crate) script: Option<&'r [u8]>,
    /// Whether the client used HTTPS.
    pub(crate) https: Option<bool>,
    /// Headers that are not passed on.
    pub(crate) dropped: Vec<&'static Header>,
}

/// Applies the configured headers in their order.
///
/// `value` gives a request header's value; `trusted` is `None` when every peer is trusted.
pub(crate) fn apply<'r>(
    configured: &[&'static Header],
    trusted: Option<&[Subnet]>,
    peer: &[u8],
    value: impl Fn(&'static Header) -> Option<&'r [u8]>,
) -> Changes<'r> {
    let mut changes = Changes::default();
    let believed = trusted.is_none_or(|trusted| address(peer).is_some_and(|peer| within(trusted, peer)));
    let mut applied: Vec<&'static Header> = Vec::new();
    if believed {
        for header in configured.iter().copied() {
            let Some(value) = value(header) else { continue };
            applied.retain(|earlier| earlier.category != header.category);
            applied.push(header);
            match header.category {
                Category::Client if header.name == "X-Forwarded-For" => forwarded_for(value, trusted, &mut changes),
                Category::Client => {
                    changes.client = Some(value);
                    changes.forwarded_for = None;
                }
                Category::Host => changes.host = Some(value),
                Category::Server => changes.server = Some(value),
                Category::Port => changes.port = Some(value),
                Category::Script => changes.script = Some(value),
                Category::Scheme => {
                    if let Some(https) = is_https(header, value) {
                        changes.https = Some(https);
                    }
                }
            }
        }
    }
    let marked = |category| configured.iter().any(|header| header.category == category);
    changes.dropped = HEADERS
        .iter()
        .filter(|header| marked(header.category) && !applied.iter().any(|applied| applied.key == header.key))
        .collect();
    changes
}

fn is_https(header: &Header, value: &[u8]) -> Option<bool> {
    let is = |text: &str| value.eq_ignore_ascii_case(text.as_bytes());
    if matches!(header.name, "X-Forwarded-HTTPS" | "X-Forwarded-SSL" | "X-HTTPS") {
        return match () {
            () if is("On") || is("true") || is("1") => Some(true),
            () if is("Off") || is("false") || is("0") => Some(false),
            () => None,
        };
    }
    match () {
        () if is("https") => Some(true),
        () if is("http") => Some(false),
        () => None,
    }
}

fn address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

fn within(trusted: &[Subnet], address: IpAddr) -> bool {
    trusted.iter().any(|subnet| subnet.contains(address))
}

fn forwarded_for<'r>(value: &'r [u8], trusted: Option<&[Subnet]>, changes: &mut Changes<'r>) {
    let elements: Vec<&'r [u8]> =
        value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()).collect();
    let Some(last) = elements.len().checked_sub(1) else { return };
    let Some(trusted) = trusted else {
        changes.client = Some(elements[0]);
        return;
    };
    let run = elements
        .iter()
        .rev()
        .take_while(|element| address(element).is_some_and(|address| within(trusted, address)))
        .count();
    let start = if run == 0 { last } else { (elements.len() - run).saturating_sub(1) };
    changes.client = Some(elements[start]);
    changes.forwarded_for = Some(elements[start..].join(&b", "[..]));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnets(texts: &[&str]) -> Vec<Subnet> {
        texts.iter().map(|text| Subnet::parse(text).expect("a subnet")).collect()
    }

    fn configured(names: &[&str]) -> Vec<&'static Header> {
        names.iter().map(|name| known(name.as_bytes()).expect("a known header")).collect()
    }

    fn applied(
        names: &[&str],
        trusted: Option<&[&str]>,
        peer: &str,
        request: &[(&str, &'static str)],
    ) -> Changes<'static> {
        let trusted = trusted.map(subnets);
        apply(&configured(names), trusted.as_deref(), peer.as_bytes(), |header| {
            request.iter().find(|(name, _)| *name == header.name).map(|(_, value)| value.as_bytes())
        })
    }

    fn text(bytes: Option<&[u8]>) -> Option<&str> {
        bytes.map(|bytes| std::str::from_utf8(bytes).expect("ascii"))
    }

    // Covers: rule:proxies/address-checked, rule:proxies/peer-in-list
    #[test]
    fn subnets_are_read_and_matched() {
        for (subnet, inside, outside) in [
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("10.0.0.0/8", "10.255.1.1", "11.0.0.1"),
            ("10.0.0.0/255.255.0.0", "10.0.9.9", "10.1.0.0"),
            ("192.168", "192.168.7.7", "192.169.0.1"),
            ("::1", "::1", "::2"),
            ("fe80::/10", "febf::1", "fec0::1"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::ffff:11.1.1.1"),
        ] {
            let parsed = Subnet::parse(subnet).expect(subnet);
            assert!(parsed.contains(inside.parse().expect("an address")), "{inside} in {subnet}");
            assert!(!parsed.contains(outside.parse().expect("an address")), "{outside} in {subnet}");
        }
        for wrong in
            ["", "proxy.example.com", "10.0.0.0/33", "10.0.0.0/255.0.255.0", "1.2.3.4.5", "::1/129", "300.1.1.1"]
        {
            assert_eq!(Subnet::parse(wrong), None, "{wrong}");
        }
    }

    // Covers: rule:proxies/forwarded-for-first
    #[test]
    fn without_a_list_the_first_element_is_the_client() {
        let changes = applied(&["X-Forwarded-For"], None, "9.9.9.9", &[("X-Forwarded-For", " 1.1.1.1, 2.2.2.2")]);
        assert_eq!(text(changes.client), Some("1.1.1.1"));
        assert_eq!(changes.forwarded_for, None);
    }

    // Covers: rule:proxies/forwarded-for-walk, rule:proxies/forwarded-for-untrusted-last,
    // rule:proxies/forwarded-for-rewritten, rule:proxies/forged-client
    #[test]
    fn with_a_list_the_last_untrusted_element_is_the_client() {
        let list: Option<&[&str]> = Some(&["10.0.0.0/8"]);
        for (header, client, left) in [
            ("1.1.1.1, 2.2.2.2, 10.0.0.1", "2.2.2.2", "2.2.2.2, 10.0.0.1"),
            ("1.1.1.1, bogus, 10.0.0.2, 10.0.0.1", "bogus", "bogus, 10.0.0.2, 10.0.0.1"),
            ("10.0.0.2, 10.0.0.1", "10.0.0.2", "10.0.0.2, 10.0.0.1"),
            ("1.1.1.1, 2.2.2.2", "2.2.2.2", "2.2.2.2"),
        ] {
            let changes = applied(&["X-Forwarded-For"], list, "10.9.9.9", &[("X-Forwarded-For", header)]);
            assert_eq!(text(changes.client), Some(client), "{header}");
            assert_eq!(text(changes.forwarded_for.as_deref()), Some(left), "{header}");
        }
    }

    // Covers: rule:proxies/untrusted-removes
    #[test]
    fn an_untrusted_peer_loses_every_header_of_the_category() {
        let request = [("X-Forwarded-For", "1.1.1.1"), ("X-Forwarded-Proto", "https")];
        let changes = applied(&["X-Forwarded-For"], Some(&["10.0.0.0/8"]), "9.9.9.9", &request);
        assert_eq!(changes.client, None);
        let dropped: Vec<&str> = changes.dropped.iter().map(|header| header.name).collect();
        assert_eq!(dropped, ["X-Forwarded-For", "X-Client-IP", "X-Real-IP"]);
    }

    // Covers: rule:proxies/other-headers-of-category-removed, rule:proxies/order-later-wins,
    // rule:proxies/unconfigured-categories-stay, rule:proxies/scheme-flag
    #[test]
    fn other_headers_of_the_category_go_and_later_ones_win() {
        let request = [("X-Forwarded-Proto", "http"), ("X-Forwarded-SSL", "On"), ("X-Forwarded-Host", "h")];
        let changes = applied(&["X-Forwarded-Proto", "X-Forwarded-SSL"], None, "9.9.9.9", &request);
        assert_eq!(changes.https, Some(true));
        assert_eq!(changes.host, None, "a category that is not configured stays untouched");
        let dropped: Vec<&str> = changes.dropped.iter().map(|header| header.name).collect();
        assert!(dropped.contains(&"X-Forwarded-Proto") && !dropped.contains(&"X-Forwarded-SSL"));
        assert!(!dropped.contains(&"X-Forwarded-Host"));
    }

    #[test]
    fn names_are_known_in_any_spelling() {
        assert_eq!(known(b"x-forwarded-for").map(|header| header.key), Some("HTTP_X_FORWARDED_FOR"));
        assert_eq!(known(b"X_REAL_IP").map(|header| header.key), Some("HTTP_X_REAL_IP"));
        assert_eq!(known(b"X-Unknown"), None);
    }

    #[test]
    fn keys_are_the_environ_form_of_names() {
        for header in HEADERS {
            let key = format!("HTTP_{}", header.name.to_ascii_uppercase().replace('-', "_"));
            assert_eq!(header.key, key);
        }
    }
}
