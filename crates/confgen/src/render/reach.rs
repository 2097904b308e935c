//! Whether the users that serve can reach what the spec names: each user, along each path. Otherwise every page is a 403, or
//! a daemon cannot import its application.

use std::path::{Path as FsPath, PathBuf};

use super::builder::Builder;
use crate::diagnostic::{Code, Diagnostic};
use crate::document::Path;
use crate::httpd::Account;
use crate::spec::{Auth, Daemon, Decider, FilePath, Name, Site};

/// What a user needs of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// To get there: every folder on the way can be searched.
    Pass,
    /// To read it as well; of a folder, to search and list it.
    Read,
}

/// A path, who needs it, and the key that names it.
struct Wanted {
    account: Account,
    path: PathBuf,
    need: Need,
    key: Path,
}

/// Reports what is closed to who has to get there. What does not exist is reported elsewhere.
pub(super) fn check(builder: &mut Builder<'_>, serving_user: &str) {
    if !builder.check_files || !builder.facts.here {
        return;
    }
    let Some(server) = server_account(builder, serving_user) else { return };
    let mut reported: Vec<(String, PathBuf)> = Vec::new();
    for wanted in wanted(builder, &server) {
        let obstacle = match wanted.need {
            Need::Pass => wanted.account.obstacle_on_the_way(&wanted.path),
            Need::Read => wanted.account.obstacle(&wanted.path),
        };
        let Some(obstacle) = obstacle.filter(|obstacle| !obstacle.missing) else { continue };
        let name = wanted.account.name.clone();
        let diagnostic = Diagnostic::error(Code::Unreachable, obstacle.explain(&name));
        if !reported.contains(&(name.clone(), obstacle.path.clone())) {
            reported.push((name, obstacle.path));
            builder.report(&wanted.key, "", diagnostic);
        }
    }
}

/// The account of a name, or of `#` and a number. One without an entry cannot be judged.
fn account(name: &str) -> Option<Account> {
    match name.strip_prefix('#') {
        Some(number) => Account::by_id(number.parse().ok()?).ok(),
        None => Account::by_name(name).ok(),
    }
}

fn server_account(builder: &Builder<'_>, serving_user: &str) -> Option<Account> {
    if !builder.facts.starts_as_root() {
        return Some(Account::current());
    }
    let mut account = account(serving_user)?;
    account.groups.extend(builder.spec.server.group.as_ref().and_then(|group| builder.facts.group(group.as_str())));
    Some(account)
}

/// Who runs a daemon; `None` where that cannot be judged.
fn daemon_account(builder: &Builder<'_>, daemon: &Daemon, server: &Account) -> Option<Account> {
    // Paths within another root are none of this one.
    if daemon.chroot.is_some() {
        return None;
    }
    if !builder.facts.starts_as_root() {
        return Some(server.clone());
    }
    let mut account = match &daemon.user {
        Some(user) => account(user.as_str())?,
        None => server.clone(),
    };
    let groups = daemon.group.iter().chain(&daemon.supplementary_groups);
    account.groups.extend(groups.filter_map(|group| builder.facts.group(group.as_str())));
    Some(account)
}

/// Everything that somebody has to reach.
struct Collected<'a> {
    builder: &'a Builder<'a>,
    server: &'a Account,
    found: Vec<Wanted>,
}

impl Collected<'_> {
    fn add(&mut self, account: &Account, path: &FilePath, need: Need, key: Path) {
        self.add_path(account, path.as_path(), need, key);
    }

    fn add_path(&mut self, account: &Account, path: &FsPath, need: Need, key: Path) {
        self.found.push(Wanted { account: account.clone(), path: path.to_owned(), need, key });
    }

    /// A script that a daemon, or Apache's own processes, run. httpd looks at it in either case.
    fn script(&mut self, script: &FilePath, daemon: Option<&Name>, key: &Path) {
        let server = self.server.clone();
        let group = daemon.and_then(|name| self.builder.spec.daemons.get(name));
        match group {
            None => self.add(&server, script, Need::Read, key.clone()),
            Some(group) => {
                self.add(&server, script, Need::Pass, key.clone());
                if let Some(account) = daemon_account(self.builder, group, &server) {
                    self.add(&account, script, Need::Read, key.clone());
                }
            }
        }
    }

    /// A script that httpd's children ask before a request is served.
    fn decider(&mut self, decider: Option<&Decider>, key: &Path) {
        if let Some(decider) = decider {
            let server = self.server.clone();
            self.add(&server, decider.parts().0, Need::Read, key.clone());
        }
    }

    fn doors(&mut self, access: Option<&Decider>, auth: Option<&Auth>, key: &Path) {
        self.decider(access, &key.join("access"));
        if let Some(Auth::Users(users)) = auth {
            let (server, key) = (self.server.clone(), key.join("auth"));
            self.add(&server, &users.script, Need::Read, key.join("script"));
            if let Some(script) = users.groups.as_ref().and_then(|groups| groups.script.as_ref()) {
                self.add(&server, script, Need::Read, key.join("groups").join("script"));
            }
        }
    }
}

fn wanted(builder: &Builder<'_>, server: &Account) -> Vec<Wanted> {
    let spec = builder.spec;
    let mut all = Collected { builder, server, found: Vec::new() };
    for (name, site) in &spec.sites {
        of_site(&mut all, site, &Path::of(["sites", name.as_str()]));
    }
    let python = &spec.runtime.python;
    let homes = [("venv", &python.venv), ("home", &python.home)];
    for (name, daemon) in &spec.daemons {
        let Some(account) = daemon_account(builder, daemon, server) else { continue };
        let key = Path::of(["daemons", name.as_str()]);
        if let Some(home) = &daemon.home {
            all.add_path(&account, &home.as_path().join("."), Need::Pass, key.join("home"));
        }
        for (index, path) in daemon.python_path.iter().enumerate() {
            all.add(&account, path, Need::Read, key.join("python-path").join(index));
        }
        match &daemon.python_home {
            Some(home) => all.add(&account, home, Need::Read, key.join("python-home")),
            None => {
                for (name, home) in homes {
                    if let Some(home) = home {
                        all.add(&account, home, Need::Read, Path::of(["runtime", "python", name]));
                    }
                }
            }
        }
        for (index, import) in daemon.import.iter().enumerate() {
            all.add(&account, &import.script, Need::Read, key.join("import").join(index).join("script"));
        }
    }
    let embedded = !spec.runtime.import.is_empty()
        || spec.sites.values().any(|site| site.apps.values().any(|app| app.daemon.is_none()));
    if embedded {
        for (name, home) in homes {
            if let Some(home) = home {
                all.add(server, home, Need::Read, Path::of(["runtime", "python", name]));
            }
        }
        for (index, path) in python.path.iter().enumerate() {
            all.add(server, path, Need::Read, Path::of(["runtime", "python", "path"]).join(index));
        }
        for (index, import) in spec.runtime.import.iter().enumerate() {
            let key = Path::of(["runtime", "import"]).join(index).join("script");
            all.add(server, &import.script, Need::Read, key);
        }
    }
    all.found
}

fn of_site(all: &mut Collected<'_>, site: &Site, key: &Path) {
    let server = all.server.clone();
    for (path, files) in &site.statics {
        let own = key.join("static").join(path.as_str());
        if let Some(dir) = &files.dir {
            all.add(&server, dir, Need::Read, own.join("dir"));
        }
        if let Some(file) = &files.file {
            all.add(&server, file, Need::Read, own.join("file"));
        }
        all.doors(files.access.as_ref(), files.auth.as_ref(), &own);
    }
    for (name, handler) in &site.handlers {
        let own = key.join("handlers").join(name.as_str()).join("script");
        all.script(&handler.script, handler.daemon.as_ref(), &own);
    }
    for (path, app) in &site.apps {
        let own = key.join("apps").join(path.as_str());
        // What `$1` stands for is known to requests only.
        if let Some(script) =
            app.script.as_ref().filter(|script| !(path.regex().is_some() && script.as_str().contains('$')))
        {
            all.script(script, app.daemon.as_ref(), &own.join("script"));
        }
        for (index, import) in app.import.iter().enumerate() {
            all.script(import, app.daemon.as_ref(), &own.join("import").join(index));
        }
        all.doors(app.access.as_ref(), app.auth.as_ref(), &own);
        all.decider(app.dispatch.as_ref(), &own.join("dispatch"));
    }
}
