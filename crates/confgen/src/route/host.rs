//! The listener and the virtual host of a request.

use std::net::IpAddr;

use super::{Outcome, Walk};
use crate::conf::glob::fnmatch;
use crate::configuration::port_of;

impl Walk<'_> {
    /// The listener; an outcome when nothing listens there.
    pub(super) fn choose_listener(&mut self) -> Option<Outcome> {
        let configuration = self.configuration;
        let listens: Vec<_> = configuration.named("Listen").filter(|statement| statement.word(0).is_some()).collect();
        if listens.is_empty() {
            // A part of a configuration: another part listens.
            return None;
        }
        let port = self.request.port;
        let found =
            listens.iter().find(|statement| statement.word(0).is_some_and(|address| port_of(&address) == Some(port)));
        match found {
            Some(statement) => {
                self.step("listener", statement.text().into_owned(), Some(statement));
                None
            }
            None => {
                let all: Vec<String> = listens.iter().map(|statement| statement.text().into_owned()).collect();
                Some(Outcome::Open(format!("nothing listens on port {port}; the server listens on {}", all.join(", "))))
            }
        }
    }

    /// The virtual host: of those with the address the first that has the name, else the first of them.
    pub(super) fn choose_host(&mut self) {
        let configuration = self.configuration;
        let port = self.request.port;
        let ip = self.request.host.parse::<IpAddr>().ok();
        let candidates: Vec<(usize, bool)> = configuration
            .hosts
            .iter()
            .enumerate()
            .skip(1)
            .filter_map(|(index, host)| {
                let exact = host.addresses.iter().filter_map(|address| exactness(address, port, ip)).max()?;
                Some((index, exact))
            })
            .collect();
        // Those that name the very address come before those that take any.
        let exact = candidates.iter().any(|(_, exact)| *exact);
        let set: Vec<usize> = candidates.into_iter().filter(|(_, of)| *of == exact).map(|(index, _)| index).collect();
        let name = self.request.name();
        let named = set.iter().copied().find(|index| {
            let host = &configuration.hosts[*index];
            host.name.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(&name))
                || host.aliases.iter().any(|alias| {
                    let alias = alias.to_ascii_lowercase();
                    alias == name || fnmatch(alias.as_bytes(), name.as_bytes())
                })
        });
        let why = if named.is_some() { "by its name" } else { "as the first of its address" };
        match named.or_else(|| set.first().copied()) {
            Some(index) => {
                self.host = index;
                let host = &configuration.hosts[index];
                let section = host.statement.map(|statement| &configuration.statements[statement]);
                self.step("host", format!("{} ({why})", host.title()), section);
            }
            None => self.step("host", configuration.hosts[0].title(), None),
        }
    }
}

/// Whether an address of a section takes a request: `Some(true)` when it names the very address.
fn exactness(address: &str, port: u16, ip: Option<IpAddr>) -> Option<bool> {
    let (name, own_port) = match address.rsplit_once(':') {
        Some((name, "*")) => (name, None),
        _ => {
            let own = port_of(address);
            match (own, address.rsplit_once(':')) {
                (Some(_), Some((name, _))) => (name, own),
                _ => (address, None),
            }
        }
    };
    if own_port.is_some_and(|own| own != port) {
        return None;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']');
    match name {
        "*" | "_default_" | "" => Some(false),
        name => match (name.parse::<IpAddr>(), ip) {
            (Ok(own), Some(ip)) => (own == ip).then_some(true),
            // The address of a name is not looked up.
            (_, None) => Some(true),
            (Err(_), Some(_)) => None,
        },
    }
}
