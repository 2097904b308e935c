//! Who may: `Require` and its sections, as far as a request without a password shows.

use std::net::IpAddr;

use super::{Outcome, Walk, answer};
use crate::conf::reader::Node;
use crate::configuration::Target;

/// What a rule says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Granted,
    Denied,
    /// A user has to say who it is.
    Login,
    /// That is not known here.
    Open(String),
}

impl Walk<'_> {
    /// An outcome when the request is not let through.
    pub(super) fn access(&mut self, path: &str, file: &str) -> Option<Outcome> {
        let configuration = self.configuration;
        let target = Target { host: self.host, url: Some(path), file: Some(file) };
        if configuration.effective(&target, "Require").is_none()
            && let Some(old) = configuration.effective(&target, "Order")
        {
            self.step("access", "access control of Apache 2.2, which is not followed here".to_owned(), Some(old));
            return None;
        }
        let last = configuration.effective(&target, "Require")?;
        // All rules of the section that counts.
        let section = last.sections.iter().rev().find(|section| !is_group(section));
        let nodes: &[Node] = match (section, configuration.hosts[last.host].section) {
            (Some(section), _) => section.children.as_deref().unwrap_or_default(),
            (None, Some(host)) => host.children.as_deref().unwrap_or_default(),
            (None, None) => &configuration.reading.nodes,
        };
        let verdict = any(&rules(nodes, self));
        let shown = format!("Require {}", last.text());
        match verdict {
            Verdict::Granted => {
                self.step("access", format!("granted ({shown})"), Some(last));
                None
            }
            Verdict::Denied => {
                self.step("access", format!("denied ({shown})"), Some(last));
                Some(answer(403))
            }
            Verdict::Login => {
                self.step("access", format!("a user has to log in ({shown})"), Some(last));
                Some(answer(401))
            }
            Verdict::Open(what) => {
                self.step("access", format!("depends on {what}"), Some(last));
                None
            }
        }
    }
}

fn is_group(node: &Node) -> bool {
    ["RequireAll", "RequireAny", "RequireNone", "Limit", "LimitExcept"].iter().any(|name| node.is(name))
}

/// The verdicts of the rules among nodes.
fn rules(nodes: &[Node], walk: &Walk<'_>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for node in nodes {
        let children = || rules(node.children.as_deref().unwrap_or_default(), walk);
        if node.is("Require") {
            verdicts.push(rule(node, walk));
        } else if node.is("RequireAny") {
            verdicts.push(any(&children()));
        } else if node.is("RequireAll") {
            verdicts.push(all(&children()));
        } else if node.is("RequireNone") {
            verdicts.push(negated(any(&children())));
        } else if node.is("Limit") || node.is("LimitExcept") {
            let named = node.words.iter().any(|word| word.eq_ignore_ascii_case(walk.request.method.as_bytes()));
            if named == node.is("Limit") {
                verdicts.extend(children());
            }
        }
    }
    verdicts
}

fn any(verdicts: &[Verdict]) -> Verdict {
    let has = |wanted: &Verdict| verdicts.iter().any(|verdict| verdict == wanted);
    match verdicts.iter().find(|verdict| matches!(verdict, Verdict::Open(_))) {
        _ if has(&Verdict::Granted) => Verdict::Granted,
        Some(open) => open.clone(),
        None if has(&Verdict::Login) => Verdict::Login,
        None if verdicts.is_empty() => Verdict::Granted,
        None => Verdict::Denied,
    }
}

fn all(verdicts: &[Verdict]) -> Verdict {
    let has = |wanted: &Verdict| verdicts.iter().any(|verdict| verdict == wanted);
    match verdicts.iter().find(|verdict| matches!(verdict, Verdict::Open(_))) {
        _ if has(&Verdict::Denied) => Verdict::Denied,
        Some(open) => open.clone(),
        None if has(&Verdict::Login) => Verdict::Login,
        None => Verdict::Granted,
    }
}

fn negated(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Granted => Verdict::Denied,
        Verdict::Denied => Verdict::Granted,
        other => other,
    }
}

fn rule(node: &Node, walk: &Walk<'_>) -> Verdict {
    let words: Vec<String> = node.words.iter().map(|word| String::from_utf8_lossy(word).to_lowercase()).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["not", rest @ ..] => negated(predicate(rest, walk)),
        rest => predicate(rest, walk),
    }
}

fn predicate(words: &[&str], walk: &Walk<'_>) -> Verdict {
    let decided = |holds: bool| if holds { Verdict::Granted } else { Verdict::Denied };
    match words {
        ["all", "granted"] => Verdict::Granted,
        ["all", "denied"] => Verdict::Denied,
        ["method", methods @ ..] => {
            decided(methods.iter().any(|method| method.eq_ignore_ascii_case(&walk.request.method)))
        }
        ["valid-user" | "user" | "group" | "ldap-user" | "ldap-group" | "wsgi-group" | "file-group", ..] => {
            Verdict::Login
        }
        ["ip", networks @ ..] => match walk.request.from {
            Some(from) => decided(networks.iter().any(|network| contains(network, from))),
            None => Verdict::Open(format!("the client's address (Require ip {})", networks.join(" "))),
        },
        ["local"] => match walk.request.from {
            Some(from) => decided(from.is_loopback()),
            None => Verdict::Open("the client's address (Require local)".to_owned()),
        },
        other => Verdict::Open(format!("`Require {}`", other.join(" "))),
    }
}

/// Whether an address is in a network as httpd writes it: an address, the beginning of one, or one with a mask.
fn contains(network: &str, address: IpAddr) -> bool {
    let (base, mask) = match network.split_once('/') {
        Some((base, mask)) => (base, Some(mask)),
        None => (network, None),
    };
    match address {
        IpAddr::V4(address) => {
            let parts: Vec<&str> = base.split('.').filter(|part| !part.is_empty()).collect();
            let mut octets = [0_u8; 4];
            for (octet, part) in octets.iter_mut().zip(&parts) {
                let Ok(number) = part.parse() else { return false };
                *octet = number;
            }
            let bits = match mask {
                Some(mask) => match (mask.parse::<u32>(), mask.parse::<std::net::Ipv4Addr>()) {
                    (Ok(bits), _) => bits,
                    (_, Ok(mask)) => u32::from(mask).leading_ones(),
                    _ => return false,
                },
                None => u32::try_from(parts.len().min(4) * 8).unwrap_or(32),
            };
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0);
            u32::from(address) & mask == u32::from_be_bytes(octets) & mask
        }
        IpAddr::V6(address) => {
            let Ok(base) = base.parse::<std::net::Ipv6Addr>() else { return false };
            let bits = mask.and_then(|mask| mask.parse::<u32>().ok()).unwrap_or(128);
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0);
            u128::from(address) & mask == u128::from(base) & mask
        }
    }
}
