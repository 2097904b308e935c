//! Other servers behind a site.

use super::builder::Builder;
use super::mounts::{Kind, Mounts, trimmed};
use super::site::{location, reset};
use super::view::{KeptView, LocationView, ProxyView, UpstreamView};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::spec::{Site, Upstream};

/// What is passed on, and what lies below it and is not, in the order in which httpd has to look; with what holds below each path.
pub(super) fn views(
    builder: &mut Builder<'_>,
    site: &Site,
    mounts: &Mounts<'_>,
    key: &Path,
) -> (Vec<ProxyView>, Vec<LocationView>) {
    let base = key.join("upstreams");
    let (mut views, mut locations) = (Vec::new(), Vec::new());
    for mount in mounts.plain() {
        if mount.kind != Kind::Upstream {
            if mounts.around(mount.path).any(|outer| outer.kind == Kind::Upstream) {
                views.push(ProxyView::Keep(KeptView { regex: false, path: builder.arg(&mount.key, mount.path) }));
            }
            continue;
        }
        if mount.path == "/" {
            // What a regular expression fits nobody can tell; it comes before what is mounted at the shortest path.
            for (regex, own) in &mounts.regexes {
                views.push(ProxyView::Keep(KeptView { regex: true, path: builder.arg(own, *regex) }));
            }
        }
        let Some((path, upstream)) = site.upstreams.iter().find(|(path, _)| trimmed(path.as_str()) == mount.path)
        else {
            continue;
        };
        let own = base.join(path.as_str());
        if let Some(view) = view(builder, mount.path, upstream, &own) {
            views.push(ProxyView::Pass(view));
            let lines = reset(builder, site, mounts, mount.path, Kind::Upstream, &own);
            locations.push(location(builder, mount.path, &own, lines));
        }
    }
    (views, locations)
}

fn view(builder: &mut Builder<'_>, mount: &str, upstream: &Upstream, key: &Path) -> Option<UpstreamView> {
    builder.modules.need("proxy_http");
    if upstream.websocket {
        builder.modules.need("proxy_wstunnel");
    }
    let url = upstream.to.as_str();
    if url.starts_with("h2") {
        builder.modules.need("proxy_http2");
    }
    let base = match base(url) {
        Ok(base) => base,
        Err(reason) => {
            let diagnostic = Diagnostic::error(Code::Upstream, format!("cannot proxy to `{url}`: {reason}"));
            builder.report(
                &key.join("to"),
                "",
                diagnostic.help("write a URL such as http://127.0.0.1:9001 or http://backend:8080/path"),
            );
            return None;
        }
    };
    // httpd puts what follows the mount right behind the target: both end in a slash, or neither does. Otherwise `/@other/x`
    // would become a part of the host's name.
    let slash = if mount == "/" { "/" } else { "" };
    Some(UpstreamView {
        block: builder.origins.block(key),
        path: builder.arg(key, mount),
        to: builder.arg(&key.join("to"), format!("{base}{slash}")),
        websocket: upstream.websocket,
        timeout: upstream.timeout.map(|time| builder.arg(&key.join("timeout"), time)),
    })
}

/// A target without a slash at its end, as `ProxyPass` takes it.
fn base(url: &str) -> Result<String, &'static str> {
    if let Some(socket) = url.strip_prefix("unix:") {
        return Ok(format!("unix:{socket}|http://localhost"));
    }
    let (scheme, rest) = url.split_once("://").ok_or("it has no scheme")?;
    if rest.contains(['?', '#']) {
        return Err("a target has no query and no fragment");
    }
    let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    if authority.contains('@') {
        return Err("mod_proxy does not send a user name or a password from the URL");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(inner) => {
            let (host, after) = inner.split_once(']').ok_or("the IPv6 address is not closed with `]`")?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| "the host is not an IPv6 address")?;
            (host, after)
        }
        None => authority.find(':').map_or((authority, ""), |colon| authority.split_at(colon)),
    };
    let plain = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_' | ':');
    if host.is_empty() || !host.chars().all(plain) {
        return Err("it has no host, or one with characters that a host name cannot have");
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => {}
        Some(number) if number.parse::<u16>().is_ok_and(|port| port > 0) => {}
        _ => return Err("the port is not a number from 1 to 65535"),
    }
    let path = path.trim_end_matches('/');
    if path.contains("//") || path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err("its path is not normalized");
    }
    Ok(format!("{scheme}://{authority}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_end_without_a_slash() {
        for (url, expected) in [
            ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
            ("http://127.0.0.1:9001/", "http://127.0.0.1:9001"),
            ("https://b.example/a/b//", "https://b.example/a/b"),
            ("http://[::1]:80/", "http://[::1]:80"),
            ("unix:/run/x.sock", "unix:/run/x.sock|http://localhost"),
        ] {
            assert_eq!(base(url).as_deref(), Ok(expected));
        }
        for url in [
            "http://",
            "http:///x",
            "http://h:0",
            "http://h:x",
            "http://h:70000",
            "http://u@h",
            "http://[x",
            "http://[x]/",
            "http://h?x",
            "http://h/../x",
            "http://h/a//b",
        ] {
            assert!(base(url).is_err(), "{url}");
        }
    }
}
