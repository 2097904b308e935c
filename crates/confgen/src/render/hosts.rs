//! Virtual hosts: which names are served where, which are redirected, and what happens to all other names.

use super::builder::Builder;
use super::raw::Place;
use super::view::{Content, HostView, RawView, TlsView};
use super::{certificate, exceptions, files, server, site};
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::spec::{HostName, Name, Redirect, Site, Spec, Tls, TlsProfile};

/// Mozilla's server-side TLS guidelines that the profiles are taken from.
const GUIDELINES: &str = "5.7";

const INTERMEDIATE_CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:\
ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256:\
DHE-RSA-AES256-GCM-SHA384:DHE-RSA-CHACHA20-POLY1305";

/// What stands for the star where a site has wildcards only.
const OF_WILDCARD: &str = "wildcard";

/// The name of the host that answers for names which no site has; reserved, so that nobody asks for it.
const CATCH_ALL: &str = "default.invalid";

pub(super) fn views(builder: &mut Builder<'_>, raws: &[(Place, RawView)]) -> Vec<HostView> {
    check(builder);
    let spec = builder.spec;
    // A wildcard must not come before the name that it covers; the site for all names comes first, where httpd looks for it.
    let mut sites: Vec<(&Name, &Site)> = spec.sites.iter().collect();
    sites.sort_by_key(|(_, site)| (!site.hosts.is_empty(), site.hosts.iter().any(HostName::is_wildcard)));
    let open = sites.iter().any(|(_, site)| site.hosts.is_empty());
    let http = server::ports(spec, false);
    let https = server::ports(spec, true);
    for (name, site) in &sites {
        // Every site is judged, also one that no port is there for.
        site::view(builder, name, site, raws);
        if http.is_empty() && site.tls.is_none() {
            let diagnostic = Diagnostic::error(
                Code::Tls,
                format!("the site `{name}` has no `tls`, and there is no http port to serve it on"),
            );
            builder.report(
                &Path::of(["sites", name.as_str()]),
                "",
                diagnostic.help("set `server.listen.http`, or give the site `tls`"),
            );
        }
    }
    let mut views = Vec::new();
    if !http.is_empty() && !sites.is_empty() {
        if !open {
            views.push(catch_all(builder, &http, None));
        }
        for (name, site) in &sites {
            plain(builder, &mut views, name, site, &http, &https, raws);
        }
    }
    if !https.is_empty() {
        let open_tls = sites.iter().any(|(_, site)| site.hosts.is_empty() && site.tls.is_some());
        if !open_tls && let Some((name, tls)) = sites.iter().find_map(|(name, site)| Some((*name, site.tls.as_ref()?)))
        {
            let tls = tls_view(builder, name, tls, false);
            views.push(catch_all(builder, &https, Some(tls)));
        }
        for (name, site) in &sites {
            if let Some(tls) = &site.tls {
                encrypted(builder, &mut views, name, site, tls, &https, raws);
            }
        }
    }
    views
}

/// The answer for names that no site has.
fn catch_all(builder: &mut Builder<'_>, ports: &[(u16, Path)], tls: Option<TlsView>) -> HostView {
    builder.modules.need("alias");
    let key = Path::of(["sites"]);
    let except = exceptions::of_unknown_names(builder);
    HostView {
        block: builder.arg(&key, "sites (names that no site has)"),
        addresses: addresses(builder, ports),
        name: builder.arg(&key, CATCH_ALL),
        aliases: Vec::new(),
        tls,
        content: Content::Refuse(except),
    }
}

fn addresses(builder: &Builder<'_>, ports: &[(u16, Path)]) -> Vec<super::origin::Arg> {
    ports.iter().map(|(port, key)| builder.arg(key, format!("*:{port}"))).collect()
}

/// A site on plain http: served, or redirected.
fn plain(
    builder: &mut Builder<'_>,
    views: &mut Vec<HostView>,
    name: &Name,
    site: &Site,
    http: &[(u16, Path)],
    https: &[(u16, Path)],
    raws: &[(Place, RawView)],
) {
    let public = https_port(builder.spec, https);
    let key = Path::of(["sites", name.as_str()]);
    let redirect_key = key.join("redirect");
    match (site.redirect(), site.hosts.first()) {
        (Redirect::CanonicalHttps, Some(canonical)) if site.tls.is_some() => {
            let target = builder.arg(&redirect_key, https_url(canonical, public));
            let content = redirect(builder, name, site, target);
            let view = host(builder, name, site, 0..site.hosts.len(), http, content);
            views.push(HostView { block: builder.origins.block(&redirect_key), ..view });
        }
        (Redirect::Https, Some(_)) if site.tls.is_some() => {
            for index in 0..site.hosts.len() {
                let target = builder.arg(&redirect_key, https_url(&site.hosts[index], public));
                let content = redirect(builder, name, site, target);
                let view = host(builder, name, site, index..index + 1, http, content);
                views.push(HostView { block: builder.origins.block(&redirect_key), ..view });
            }
        }
        _ => {
            let content = Content::Serve(site::view(builder, name, site, raws));
            views.push(host(builder, name, site, 0..site.hosts.len(), http, content));
        }
    }
    if !matches!(site.redirect(), Redirect::None) {
        builder.modules.need("alias");
    }
}

/// A site on https: served, and its other names redirected when only one is canonical.
fn encrypted(
    builder: &mut Builder<'_>,
    views: &mut Vec<HostView>,
    name: &Name,
    site: &Site,
    tls: &Tls,
    https: &[(u16, Path)],
    raws: &[(Place, RawView)],
) {
    let canonical_only = site.redirect() == Redirect::CanonicalHttps && site.hosts.len() > 1;
    let served = if canonical_only { 0..1 } else { 0..site.hosts.len() };
    let content = Content::Serve(site::view(builder, name, site, raws));
    let mut view = host(builder, name, site, served, https, content);
    view.tls = Some(tls_view(builder, name, tls, true));
    views.push(view);
    if canonical_only {
        let key = Path::of(["sites", name.as_str(), "redirect"]);
        let target = builder.arg(&key, https_url(&site.hosts[0], https_port(builder.spec, https)));
        let content = redirect(builder, name, site, target);
        let mut view = host(builder, name, site, 1..site.hosts.len(), https, content);
        view.block = builder.origins.block(&key);
        view.tls = Some(tls_view(builder, name, tls, true));
        views.push(view);
    }
}

/// The port that clients connect to for https: behind a port mapping it is not the one that httpd listens on.
fn https_port(spec: &Spec, https: &[(u16, Path)]) -> u16 {
    spec.server.public.https.or(https.first().map(|(port, _)| *port)).unwrap_or(443)
}

fn https_url(host: &HostName, port: u16) -> String {
    match port {
        443 => format!("https://{host}/"),
        port => format!("https://{host}:{port}/"),
    }
}

/// A redirect of everything but what the site serves on every port.
fn redirect(builder: &mut Builder<'_>, name: &Name, site: &Site, target: super::origin::Arg) -> Content {
    let except = exceptions::of_redirect(builder, name, site);
    Content::Redirect(target, except)
}

/// A virtual host for some of a site's names.
fn host(
    builder: &Builder<'_>,
    name: &Name,
    site: &Site,
    names: std::ops::Range<usize>,
    ports: &[(u16, Path)],
    content: Content,
) -> HostView {
    let key = Path::of(["sites", name.as_str()]);
    let hosts_key = key.join("hosts");
    let encrypted = ports.iter().any(|(_, key)| key.segments().iter().any(|part| *part == "https".into()));
    let public = &builder.spec.server.public;
    // httpd appends the port of ServerName to its own redirects when the client's Host has none.
    let suffix = match if encrypted { public.https } else { public.http } {
        Some(port) => format!(":{port}"),
        None => String::new(),
    };
    let mut aliases = names.start + 1..names.end.max(names.start + 1);
    let (own, own_key) = match site.hosts.get(names.start) {
        // `ServerName` takes no wildcard: it is one of the names that the site has anyway.
        Some(host) if host.is_wildcard() => {
            aliases = names.start..names.end;
            (host.as_str().replacen('*', OF_WILDCARD, 1), hosts_key.join(names.start))
        }
        Some(host) => (host.to_string(), hosts_key.join(names.start)),
        None => (server::server_name(builder.spec).to_owned(), key.clone()),
    };
    HostView {
        block: builder.origins.block(&key),
        addresses: addresses(builder, ports),
        name: builder.arg(&own_key, format!("{own}{suffix}")),
        aliases: aliases.map(|index| builder.arg(&hosts_key.join(index), &site.hosts[index])).collect(),
        tls: None,
        content,
    }
}

fn tls_view(builder: &mut Builder<'_>, name: &Name, tls: &Tls, own: bool) -> TlsView {
    builder.modules.need("ssl");
    let key = Path::of(["sites", name.as_str(), "tls"]);
    let (profile, protocols, ciphers) = match tls.profile {
        TlsProfile::Modern => ("modern", "-all +TLSv1.3", None),
        TlsProfile::Intermediate => ("intermediate", "-all +TLSv1.2 +TLSv1.3", Some(INTERMEDIATE_CIPHERS)),
    };
    let hsts = tls.hsts.filter(|_| own).map(|time| builder.arg(&key.join("hsts"), time));
    if hsts.is_some() {
        builder.modules.need("headers");
    }
    TlsView {
        block: builder.origins.block(&key),
        profile: builder.arg(&key.join("profile"), profile),
        guidelines: GUIDELINES,
        cert: builder.arg(&key.join("cert"), &tls.cert),
        key: builder.arg(&key.join("key"), tls.key.file()),
        protocols,
        ciphers,
        client_ca: tls.client_ca.as_ref().filter(|_| own).map(|ca| builder.arg(&key.join("client-ca"), ca)),
        verify_depth: tls.verify_depth.map(|depth| builder.arg(&key.join("verify-depth"), depth)),
        hsts,
    }
}

/// What sites say together.
fn check(builder: &mut Builder<'_>) {
    let spec = builder.spec;
    let https = server::ports(spec, true);
    let mut names: Vec<(String, Path)> = Vec::new();
    let mut open: Option<Path> = None;
    let mut any_tls = false;
    for (name, site) in &spec.sites {
        let key = Path::of(["sites", name.as_str()]);
        any_tls |= site.tls.is_some();
        for (index, host) in site.hosts.iter().enumerate() {
            let own = key.join("hosts").join(index);
            let lower = host.as_str().to_ascii_lowercase();
            if let Some((_, first)) = names.iter().find(|(known, _)| *known == lower) {
                let diagnostic = Diagnostic::error(Code::Conflict, format!("the host `{host}` is given twice"));
                let first = first.span(&spec.root);
                builder.report(&own, "again", diagnostic.at(first, "first here"));
            } else {
                names.push((lower, own));
            }
        }
        let first = site.hosts.first().is_some_and(HostName::is_wildcard);
        if first && site.redirect() == Redirect::CanonicalHttps {
            let message = "the first host is the one that all others are redirected to; it cannot be a wildcard";
            let diagnostic = Diagnostic::error(Code::Form, message);
            builder.report(&key.join("hosts").join(0), "", diagnostic.help("put another name first"));
        }
        if site.redirect() == Redirect::Https && site.hosts.iter().any(HostName::is_wildcard) {
            let diagnostic = Diagnostic::error(
                Code::NotSupported,
                "redirecting a wildcard host to https is known, not supported yet",
            );
            let help = if first { "use `none`" } else { "use `canonical-https` or `none`" };
            builder.report(&key.join("redirect"), "", diagnostic.help(help));
        }
        if site.hosts.is_empty() {
            if let Some(first) = &open {
                let first = first.key_span(&spec.root);
                let diagnostic =
                    Diagnostic::error(Code::Conflict, "two sites have no hosts; only one can answer for all names")
                        .at(first, "the other one");
                builder.report(&key, "", diagnostic.help("give all but one of them `hosts`"));
            }
            open = Some(key.clone());
        }
        check_tls(builder, name, site, &https);
    }
    if !any_tls && let Some((_, key)) = https.first() {
        let diagnostic = Diagnostic::error(Code::Tls, "there is an https port, but no site has `tls`");
        builder.report(key, "", diagnostic.help("give a site `tls` with `cert` and `key`, or leave the port out"));
    }
}

fn check_tls(builder: &mut Builder<'_>, name: &Name, site: &Site, https: &[(u16, Path)]) {
    let key = Path::of(["sites", name.as_str()]);
    let Some(tls) = &site.tls else {
        if site.redirect() != Redirect::None {
            builder.error(Code::Tls, &key.join("redirect"), "a site without `tls` cannot redirect to https");
        }
        return;
    };
    let tls_key = key.join("tls");
    if site.hosts.is_empty() {
        let diagnostic = Diagnostic::error(Code::Tls, "a site with `tls` needs `hosts`: certificates are for names");
        builder.report(&tls_key, "", diagnostic);
    }
    if https.is_empty() {
        let diagnostic = Diagnostic::error(Code::Tls, "a site has `tls`, but there is no https port");
        builder.report(&tls_key, "", diagnostic.help("set `server.listen.https`"));
    }
    let cert = files::check(builder, &tls.cert, files::Wanted::File, &tls_key.join("cert"));
    let private = files::check(builder, tls.key.file(), files::Wanted::File, &tls_key.join("key"));
    let now = now();
    if cert && private {
        let hosts: Vec<&str> = site.hosts.iter().map(HostName::as_str).collect();
        for finding in certificate::judge(tls.cert.as_path(), tls.key.file().as_path(), &hosts, now) {
            report(builder, finding, &tls_key.join("cert"), &tls_key.join("key"));
        }
    }
    let depth_key = tls_key.join("verify-depth");
    let Some(ca) = &tls.client_ca else {
        if tls.verify_depth.is_some() {
            builder.error(Code::Conflict, &depth_key, "`verify-depth` needs `client-ca`");
        }
        return;
    };
    let ca_key = tls_key.join("client-ca");
    if !files::check(builder, ca, files::Wanted::File, &ca_key) {
        return;
    }
    let (findings, intermediate) = certificate::judge_authorities(ca.as_path(), now);
    for finding in findings {
        report(builder, finding, &ca_key, &ca_key);
    }
    if intermediate && tls.verify_depth.is_none() {
        let message =
            format!("{ca} holds an intermediate authority; clients with its certificates are refused at depth 1");
        let diagnostic = Diagnostic::warning(Code::Certificate, message);
        builder.report(
            &ca_key,
            "",
            diagnostic.help("set `verify-depth: 2`, or as many authorities as there are in a row"),
        );
    }
}

/// Certificates expire whatever the facts are.
fn now() -> i64 {
    let elapsed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    elapsed.ok().and_then(|elapsed| i64::try_from(elapsed.as_secs()).ok()).unwrap_or_default()
}

fn report(builder: &mut Builder<'_>, finding: certificate::Finding, cert: &Path, key: &Path) {
    let diagnostic = match finding.error {
        true => Diagnostic::error(Code::Certificate, finding.message),
        false => Diagnostic::warning(Code::Certificate, finding.message),
    };
    let diagnostic = match finding.help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    };
    match finding.about {
        certificate::About::Certificate => builder.report(cert, "", diagnostic),
        certificate::About::Key => builder.report(key, "", diagnostic),
        certificate::About::Pair => {
            let span = cert.span(&builder.spec.root);
            builder.report(key, "this key", diagnostic.at(span, "this certificate"));
        }
    }
}
