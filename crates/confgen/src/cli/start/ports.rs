//! The ports of a server that is started: held from the choice until httpd has ended, and what is announced of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::PORT;
use super::applications::{self, Route};
use crate::cli::exit::{Exit, Failure};
use crate::diagnostic::{Code, Diagnostic};
use crate::httpd::{HeldPort, PortError};
use crate::spec::{Endpoint, Endpoints, Site, Spec};

/// A port that is held for httpd.
pub(super) struct Held {
    pub(super) port: HeldPort,
    pub(super) tls: bool,
}

/// Holds the port of the short form; 0 is any free one.
pub(super) fn of_short_form(host: Option<IpAddr>, port: u16) -> Result<Held, Failure> {
    let held = match (host, port) {
        (None, 0) => HeldPort::loopback(),
        (None, port) => HeldPort::claim(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], port),
        (Some(host), port) => HeldPort::claim(&[host], port),
    };
    Ok(Held { port: held.map_err(|error| busy(&error, "--port"))?, tls: false })
}

/// Holds every port of a spec.
pub(super) fn of_spec(spec: &Spec) -> Result<Vec<Held>, Failure> {
    let listen = &spec.server.listen;
    let endpoints = |endpoints: &Option<Endpoints>, tls: bool| {
        endpoints.iter().flat_map(Endpoints::all).map(|endpoint| (endpoint.clone(), tls)).collect::<Vec<_>>()
    };
    let mut all = endpoints(&listen.http, false);
    all.extend(endpoints(&listen.https, true));
    if all.is_empty() {
        let port = HeldPort::claim(&[Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()], PORT)
            .map_err(|error| busy(&error, "server.listen.http"))?;
        return Ok(vec![Held { port, tls: false }]);
    }
    let held = all.iter().filter_map(|(endpoint, tls)| {
        let port = HeldPort::claim(&addresses(endpoint)?, endpoint.port()?);
        let key = if *tls { "server.listen.https" } else { "server.listen.http" };
        Some(port.map(|port| Held { port, tls: *tls }).map_err(|error| busy(&error, key)))
    });
    held.collect()
}

/// The addresses of an endpoint; nothing for one that is none, which rendering refuses with its place.
fn addresses(endpoint: &Endpoint) -> Option<Vec<IpAddr>> {
    match endpoint.address() {
        None => Some(vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]),
        Some(address) => {
            address.trim_start_matches('[').trim_end_matches(']').parse().ok().map(|address| vec![address])
        }
    }
}

/// Where a client of this machine reaches an address.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(Ipv6Addr::LOCALHOST.into(), address.port()),
        _ => address,
    }
}

fn busy(error: &PortError, key: &str) -> Failure {
    let help = match error {
        PortError::Busy { .. } => format!("end that process, or choose another port with `{key}`"),
        PortError::NotLocal(_) => "name an address of this machine; `0.0.0.0` stands for all of them".to_owned(),
        _ => format!("choose another port with `{key}`"),
    };
    Failure::new(Exit::Environment, Diagnostic::error(Code::Port, error.to_string()).help(help))
}

/// What is announced: URLs that answer, and how to try one whose name may not lead to this machine.
pub(super) struct Announced {
    pub(super) urls: Vec<String>,
    pub(super) hint: Option<String>,
}

/// The URLs at which the sites of a spec answer; those of the named sites are left out.
pub(super) fn announced(spec: &Spec, ports: &[Held], left_out: &[String]) -> Announced {
    let mut announced = Announced { urls: Vec::new(), hint: None };
    for (_, site) in spec.sites.iter().filter(|(name, _)| !left_out.iter().any(|out| out == name.as_str())) {
        let Some(route) = applications::route(site, ports) else { continue };
        let path = entrance(site);
        for held in ports.iter().filter(|held| held.tls == route.tls) {
            let named = site.hosts.iter().any(|host| host.as_str() == "localhost") || site.hosts.is_empty();
            let host = if named { own_name(held) } else { route.host.clone() };
            let url = url(held, &host, &path);
            if !named && announced.hint.is_none() && !route.host.ends_with(".localhost") {
                announced.hint = Some(attempt(&route, &url));
            }
            if !announced.urls.contains(&url) {
                announced.urls.push(url);
            }
        }
    }
    if announced.urls.is_empty() {
        announced.urls = ports.iter().map(|held| url(held, &own_name(held), "/")).collect();
    }
    announced
}

/// A request that reaches a site whatever its name leads to.
fn attempt(route: &Route, url: &str) -> String {
    let address = match route.address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let insecure = if route.tls { "-k " } else { "" };
    format!("curl {insecure}--resolve {}:{}:{address} {url}", route.host, route.address.port())
}

/// The path of a site that something answers at: the root, if anything is there, else the shortest mount of an application.
fn entrance(site: &Site) -> String {
    let mounts = || site.apps.keys().filter(|path| path.regex().is_none()).map(|path| path.as_str());
    let root = mounts().any(|path| path == "/")
        || site.statics.keys().any(|path| path.as_str() == "/")
        || site.upstreams.keys().any(|path| path.as_str() == "/");
    let shortest = mounts().min_by_key(|path| path.len());
    if root { "/".to_owned() } else { shortest.unwrap_or("/").to_owned() }
}

/// What a client of this machine calls the address of a listener.
fn own_name(held: &Held) -> String {
    let ip = held.port.address().ip();
    if ip == IpAddr::V4(Ipv4Addr::LOCALHOST) || ip == IpAddr::V6(Ipv6Addr::LOCALHOST) || ip.is_unspecified() {
        return "localhost".to_owned();
    }
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

fn url(held: &Held, host: &str, path: &str) -> String {
    let scheme = if held.tls { "https" } else { "http" };
    match (held.tls, held.port.port()) {
        (false, 80) | (true, 443) => format!("{scheme}://{host}{path}"),
        (_, port) => format!("{scheme}://{host}:{port}{path}"),
    }
}
