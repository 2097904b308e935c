//! The applications of a spec: how a first request reaches each of them.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::ports::{Held, reachable};
use crate::document::Path;
use crate::render::{Content, Tree};
use crate::spec::{App, HostName, Redirect, Site, Spec};

/// One application.
#[derive(Clone, Debug)]
pub(super) struct Application {
    /// Its key in the spec.
    pub(super) key: Path,
    /// The name of its site.
    pub(super) site: String,
    /// Where it is mounted.
    pub(super) mount: String,
    /// What the spec names: the script or the module.
    pub(super) named: String,
    /// What it was called on the command line, where it is the only one.
    pub(super) given: Option<String>,
    /// The script that the wsgi module loads, as it stands in the log; `None` for a folder of scripts.
    pub(super) script: Option<PathBuf>,
    /// The name that is called.
    pub(super) callable: String,
    /// Its daemon; `None` for Apache's own processes.
    pub(super) daemon: Option<String>,
    /// How to ask it; `None` where no request is known that reaches it.
    pub(super) route: Option<Route>,
}

/// Where a request to an application goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// The address of the listener, as a client of this machine reaches it.
    pub(super) address: SocketAddr,
    /// Whether it speaks TLS.
    pub(super) tls: bool,
    /// The name of the site.
    pub(super) host: String,
    /// The path.
    pub(super) path: String,
}

impl Application {
    /// A few words that tell it from the others.
    pub(super) fn title(&self) -> String {
        match &self.given {
            Some(given) => format!("`{given}`"),
            None => format!("`{}` at {} of the site `{}`", self.named, self.mount, self.site),
        }
    }
}

/// All applications that are loaded when the server starts; `given` is what the only one was called on the command line.
pub(super) fn of(spec: &Spec, tree: &Tree, ports: &[Held], given: Option<&str>) -> Vec<Application> {
    let mut found = Vec::new();
    for (name, site) in &spec.sites {
        for (path, app) in site.apps.iter().filter(|(_, app)| app.preload) {
            let key = Path::of(["sites", name.as_str(), "apps", path.as_str()]);
            let script = script(tree, app, &key);
            let route = match (path.regex(), &script) {
                (None, Some(_)) => route(site, ports).map(|route| Route { path: path.as_str().to_owned(), ..route }),
                // Which URLs a regular expression means, and which scripts a folder has, only a client knows.
                _ => None,
            };
            let module = app.module.as_ref();
            let named = app.script.as_ref().map(ToString::to_string).or_else(|| module.map(ToString::to_string));
            let callable = app.callable.as_ref().map(|callable| callable.as_str());
            found.push(Application {
                key,
                site: name.to_string(),
                mount: path.to_string(),
                named: named.unwrap_or_default(),
                given: given.map(str::to_owned),
                script,
                callable: callable.or(module.map(|module| module.callable())).unwrap_or("application").to_owned(),
                daemon: app.daemon.as_ref().map(ToString::to_string),
                route,
            });
        }
    }
    found
}

/// The script that is loaded: the one that the spec names, or the one that was made for a module or for a debugger.
fn script(tree: &Tree, app: &App, key: &Path) -> Option<PathBuf> {
    let own = key.join(if app.module.is_some() { "module" } else { "script" });
    let made = tree.files.iter().find(|file| {
        file.path.ends_with(".wsgi")
            && matches!(&file.content, Content::Text { lines, .. } if lines.iter().flatten().any(|from| *from == own))
    });
    if let Some(made) = made {
        return Some(tree.server_root.join(&made.path));
    }
    app.script.as_ref().filter(|script| !script.as_str().ends_with('/')).map(|script| script.as_path().to_owned())
}

/// A listener and a name by which a site is served, not redirected.
pub(super) fn route(site: &Site, ports: &[Held]) -> Option<Route> {
    let redirected = site.tls.is_some() && !site.hosts.is_empty() && site.redirect() != Redirect::None;
    let plain = || ports.iter().find(|held| !held.tls).filter(|_| !redirected);
    let encrypted = || ports.iter().find(|held| held.tls && site.tls.is_some());
    let held = plain().or_else(encrypted)?;
    Some(Route {
        address: reachable(held.port.address()),
        tls: held.tls,
        host: host(&site.hosts),
        path: "/".to_owned(),
    })
}

/// A name that a site answers for; with several, the canonical one.
pub(super) fn host(hosts: &[HostName]) -> String {
    match hosts.iter().find(|host| !host.as_str().starts_with('*')).or_else(|| hosts.first()) {
        None => "localhost".to_owned(),
        Some(host) => host.as_str().replace('*', "any"),
    }
}
