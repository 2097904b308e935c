//! Trees on disk: nothing but confgen's own files is ever changed, and what fails changes nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use confgen::httpd::HeldPort;

use crate::fixture::{this_machine, workspace};

/// Everything below a folder: kind, mode, owner, inode, time of the last change, content.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let metadata = fs::symlink_metadata(&folder).unwrap();
        found.insert(folder.clone(), format!("folder {:o} {} {}", metadata.mode(), metadata.uid(), metadata.ino()));
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() {
                folders.push(path);
                continue;
            }
            let content = match metadata.is_symlink() {
                true => fs::read_link(&path).unwrap().display().to_string(),
                false => String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned(),
            };
            let what = format!(
                "{:o} {} {} {}.{} {content}",
                metadata.mode(),
                metadata.uid(),
                metadata.ino(),
                metadata.mtime(),
                metadata.mtime_nsec()
            );
            found.insert(path, what);
        }
    }
    found
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(folder.path().join("run")).unwrap();
        fs::write(folder.path().join("app.wsgi"), "application = None\n").unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// A spec with the module of this machine.
    fn spec(&self, name: &str, text: &str) -> PathBuf {
        let module = this_machine().wsgi.module.unwrap();
        self.write(name, &format!("schema: confgen/1\nruntime: {{module: {}}}\n{text}\n", module.display()))
    }

    #[expect(clippy::disallowed_methods, reason = "the program under test is read from while it runs")]
    fn confgen(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_confgen"));
        command.args(arguments).current_dir(self.folder.path()).env_clear();
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("XDG_RUNTIME_DIR", self.path("run"));
        command
    }

    fn run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        shown(&self.confgen(arguments).output().unwrap())
    }

    /// Runs a command that has to fail, and to change nothing here.
    fn refused(&self, arguments: &[&str], words: &str) {
        let before = snapshot(self.folder.path());
        let (code, text) = self.run(arguments);
        assert_ne!(code, Some(0), "{arguments:?}\n{text}");
        assert!(text.contains(words), "{arguments:?}: expected {words:?}\n{text}");
        assert_eq!(snapshot(self.folder.path()), before, "{arguments:?} changed something");
    }

    fn done(&self, arguments: &[&str]) -> String {
        let (code, text) = self.run(arguments);
        assert_eq!(code, Some(0), "{arguments:?}\n{text}");
        text
    }
}

fn shown(output: &Output) -> (Option<i32>, String) {
    let text = [output.stdout.clone(), output.stderr.clone()].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

const APPS: &str = "daemons: {d: {}}\nsites: {s: {apps: {/: {module: 'json:loads', daemon: d}}}}";

#[test]
fn a_directory_of_others_is_never_written_to() {
    let place = Place::new();
    place.spec("s.yaml", APPS);
    place.write("web/httpd.conf", "mine\n");
    place.refused(&["render", "s.yaml", "-o", "web"], "holds httpd.conf");
    place.refused(&["start", "--spec", "s.yaml", "--server-root", "web"], "holds httpd.conf");
    place.refused(&["start", "app.wsgi", "--port", "0", "--server-root", "web"], "holds httpd.conf");
    for manifest in [
        "{}",
        "{\"schema\": \"somebody/1\", \"files\": {\"httpd.conf\": {}}}",
        "[",
        "not even JSON",
        "{\"version\": 3}",
    ] {
        place.write("list/MANIFEST.json", manifest);
        place.write("list/web.css", "mine");
        place.refused(&["render", "s.yaml", "-o", "list"], "MANIFEST.json was not written by confgen");
    }
    fs::create_dir(place.path("folder-named-so")).unwrap();
    fs::create_dir(place.path("folder-named-so/MANIFEST.json")).unwrap();
    place.refused(&["render", "s.yaml", "-o", "folder-named-so"], "was not written by confgen");
    // A list that looks like ours removes nothing that confgen would not have written.
    place.done(&["render", "s.yaml", "-o", "tree"]);
    let list = place.path("tree/MANIFEST.json");
    let mut manifest: serde_json::Value = serde_json::from_str(&fs::read_to_string(&list).unwrap()).unwrap();
    for name in ["notes.txt", "logs/error.log", "apps/mine.py", "../run/x.json"] {
        manifest["files"][name] = serde_json::json!({"mode": "0644"});
        place.write(&format!("tree/{name}"), "mine");
    }
    fs::write(&list, manifest.to_string()).unwrap();
    place.done(&["render", "s.yaml", "-o", "tree"]);
    for name in ["notes.txt", "logs/error.log", "apps/mine.py", "../run/x.json"] {
        assert_eq!(fs::read_to_string(place.path("tree").join(name)).unwrap(), "mine", "{name}");
    }
    // Files in the way of the tree's own, in a tree that is ours.
    place.write("tree/health/ok", "mine");
    place.spec("health.yaml", &APPS.replace("{s: {", "{s: {health: {path: /ok}, "));
    place.refused(&["render", "health.yaml", "-o", "tree"], "health/ok exists, and confgen did not write it");
    // Handed over by name.
    place.done(&["render", "health.yaml", "-o", "tree", "--adopt"]);
    place.write("web/other", "kept");
    place.done(&["render", "s.yaml", "-o", "web", "--adopt"]);
    assert!(fs::read_to_string(place.path("web/httpd.conf")).unwrap().contains("WSGIDaemonProcess"));
    assert_eq!(fs::read_to_string(place.path("web/other")).unwrap(), "kept");
    // Without its list the protection of edits is not switched off.
    place.write("web/httpd.conf", "edited\n");
    fs::remove_file(place.path("web/MANIFEST.json")).unwrap();
    place.refused(&["render", "s.yaml", "-o", "web"], "is not a tree of confgen");
}

#[test]
fn folders_of_the_system_need_more() {
    let place = Place::new();
    place.spec("s.yaml", APPS);
    let system: Vec<&str> =
        ["/", "/etc", "/etc/apache2", "/etc/apache2/sites-enabled", "/usr/bin", "/var/www", "/bin", "/bin/new", "/tmp"]
            .into();
    for folder in system {
        let before = fs::metadata(folder).map(|metadata| (metadata.mtime(), metadata.mtime_nsec())).ok();
        for more in [&[][..], &["--adopt"]] {
            place.refused(
                &[&["render", "s.yaml", "-o", folder, "--no-test"], more].concat(),
                "is a folder of the system",
            );
        }
        place.refused(&["start", "--spec", "s.yaml", "--server-root", folder], "is a folder of the system");
        let after = fs::metadata(folder).map(|metadata| (metadata.mtime(), metadata.mtime_nsec())).ok();
        // Others use the folder for temporary files at the same time.
        assert!(before == after || folder == "/tmp", "{folder}");
    }
    place.refused(&["render", "s.yaml", "-o", "x", "--system-folder"], "--adopt");
}

#[test]
fn what_fails_changes_nothing() {
    let place = Place::new();
    place.write("value", "first\n");
    let secret = "daemons: {d: {env: {A: {secret: {file: SECRET}}, B: {secret: {env: B}}}}}\nsites: {s: {apps: {/: {module: 'json:loads', daemon: d}}}}"
        .replace("SECRET", place.path("value").to_str().unwrap());
    place.spec("s.yaml", APPS);
    place.done(&["render", "s.yaml", "-o", "tree"]);
    for (name, text, words) in [
        ("a spec with a mistake", "sites: {s: {appps: {}}}", "CG103"),
        ("a raw text that httpd refuses", "sites: {s: {}}\nraw: [{at: server.end, text: Nonsense}]", "CG401"),
        (
            "a regular expression that does not compile",
            "sites: {s: {apps: {'~ ^/a(': {script: /etc/hostname}}}}",
            "CG401",
        ),
        ("a secret that is missing", secret.as_str(), "the variable B is not set"),
        ("no application any more", "sites: {s: {}}", "CG412"),
        ("no site", "sites: {}", "CG127"),
    ] {
        place.spec("bad.yaml", text);
        place.refused(&["render", "bad.yaml", "-o", "tree"], words);
        assert!(!place.path("new").exists(), "{name}");
        if !words.contains("CG412") {
            place.refused(&["render", "bad.yaml", "-o", "new/deep"], words);
            place.refused(&["check", "bad.yaml"], words);
        }
    }
    // Documents that were cut off, or are something else.
    for text in [
        "",
        "null\n",
        "{}\n",
        "# a comment\n",
        "sites: {s: {apps: {/: {script: /etc/hostname}}}}\n",
        "schema: confgen/1\n",
    ] {
        place.write("bad.yaml", text);
        place.refused(&["render", "bad.yaml", "-o", "tree"], "CG127");
        place.refused(&["start", "--spec", "bad.yaml", "--server-root", "new"], "CG127");
    }
    // A change that cannot be completed, at any file: nothing of it stays.
    place.spec("more.yaml", &APPS.replace("apps: {", "apps: {/b: {module: 'json:dumps', daemon: d}, "));
    fs::create_dir(place.path("tree/apps/s-b.wsgi")).unwrap();
    place.refused(&["render", "more.yaml", "-o", "tree"], "CG404");
    fs::remove_dir(place.path("tree/apps/s-b.wsgi")).unwrap();
    // Edits by hand.
    place.write("tree/apps/s-root.wsgi", "edited\n");
    place.refused(&["render", "more.yaml", "-o", "tree"], "apps/s-root.wsgi was edited by hand");
    place.done(&["render", "more.yaml", "-o", "tree", "--force"]);
    place.spec("none.yaml", "sites: {s: {}}");
    let text = place.done(&["render", "none.yaml", "-o", "tree", "--prune"]);
    assert!(text.contains("removed") && text.contains("apps/s-b.wsgi"), "{text}");
    let left: Vec<_> = fs::read_dir(place.path("tree/apps")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn secrets_are_protected_like_other_files() {
    let place = Place::new();
    place.write("value", "first\n");
    place.write("empty", "");
    let spec = "daemons: {d: {env: {A: {secret: {file: DIR/value}}, E: {secret: {file: DIR/empty}}}}}\nsites: {s: {apps: {/: {module: 'json:loads', daemon: d}}}}"
        .replace("DIR", place.folder.path().to_str().unwrap());
    place.spec("s.yaml", &spec);
    place.done(&["render", "s.yaml", "-o", "tree"]);
    let file = place.path("tree/secrets/d.env");
    assert_eq!(fs::read_to_string(&file).unwrap(), "A=first\nE=\n");
    // A value that changed at its source is taken over; one that was changed here is not lost.
    place.write("value", "second\n");
    place.done(&["render", "s.yaml", "-o", "tree"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "A=second\nE=\n");
    fs::write(&file, "A=by hand\nE=\n").unwrap();
    place.refused(&["render", "s.yaml", "-o", "tree"], "secrets/d.env was edited by hand");
    place.refused(&["secrets", "tree"], "secrets/d.env was edited by hand");
    place.done(&["secrets", "tree", "--force"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "A=second\nE=\n");
    // Rights that somebody widened.
    fs::set_permissions(place.path("tree/secrets"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    place.done(&["render", "s.yaml", "-o", "tree"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&place.path("tree/secrets")), mode(&file)), (0o700, 0o600));
    assert_eq!(mode(&place.path("tree/secrets/.fingerprints")), 0o600);
    // Values that a file of variables cannot hold.
    place.write("value", "-----BEGIN\nKEY-----\n");
    place.refused(&["render", "s.yaml", "-o", "tree"], "the secret `A` cannot be taken: it has more than one line");
    place.refused(&["check", "s.yaml"], "the secret `A` cannot be taken");
    fs::remove_file(place.path("value")).unwrap();
    place.refused(&["check", "s.yaml"], "CG123");
}

#[test]
fn secrets_are_filled_in_on_the_machine_that_the_tree_is_for() {
    let place = Place::new();
    place.spec(
        "s.yaml",
        "daemons: {d: {env: {A: {secret: {file: /nowhere/value}}, B: {secret: {env: B}}}}}\nsites: {s: {apps: {/: {module: 'json:loads', daemon: d}}}}",
    );
    let facts = workspace().join("examples/two-sites.facts.json");
    let facts = facts.to_str().unwrap();
    let text = place.done(&["render", "s.yaml", "--facts", facts, "-o", "tree"]);
    assert!(text.contains("later") && text.contains("secrets/d.env"), "{text}");
    assert!(!place.path("tree/secrets").exists());
    place.refused(&["secrets", "tree"], "the secret `A` cannot be taken: /nowhere/value");
    place.refused(&["secrets", "run"], "is not a tree of confgen");
    // The same on a machine that has the value.
    place.write("value", "x\n");
    let list = place.path("tree/MANIFEST.json");
    let text = fs::read_to_string(&list).unwrap();
    fs::write(&list, text.replace("/nowhere/value", place.path("value").to_str().unwrap())).unwrap();
    let output = place.confgen(&["secrets", "tree"]).env("B", "planted").output().unwrap();
    let (code, shown) = shown(&output);
    assert_eq!(code, Some(0), "{shown}");
    assert!(!shown.contains("planted"), "{shown}");
    assert_eq!(fs::read_to_string(place.path("tree/secrets/d.env")).unwrap(), "A=x\nB=planted\n");
    // What is rendered again leaves them as they are.
    place.done(&["render", "s.yaml", "--facts", facts, "-o", "tree"]);
    assert_eq!(fs::read_to_string(place.path("tree/secrets/d.env")).unwrap(), "A=x\nB=planted\n");
}

#[test]
fn nothing_is_written_through_links_or_for_others() {
    let place = Place::new();
    place.write("elsewhere/keep", "mine");
    place.write("secret", "x\n");
    let spec = "daemons: {d: {env: {A: {secret: {file: DIR/secret}}}}, e: {reload: on-change}}\nsites: {s: {health: {path: /ok}, apps: {/: {module: 'json:loads', daemon: d}, /e: {script: DIR/app.wsgi, daemon: e}}}}"
        .replace("DIR", place.folder.path().to_str().unwrap());
    place.spec("s.yaml", &spec);
    for name in ["secrets", "apps", "health", "reload"] {
        place.done(&["render", "s.yaml", "-o", "tree"]);
        let folder = place.path("tree").join(name);
        fs::remove_dir_all(&folder).unwrap();
        symlink(place.path("elsewhere"), &folder).unwrap();
        place.refused(&["render", "s.yaml", "-o", "tree"], "is a symbolic link");
        place.refused(&["render", "s.yaml", "-o", "tree", "--force", "--adopt"], "is a symbolic link");
        fs::remove_file(&folder).unwrap();
    }
    place.done(&["render", "s.yaml", "-o", "tree"]);
    for name in ["httpd.conf", "apps/s-root.wsgi", "secrets/d.env", "MANIFEST.json"] {
        let file = place.path("tree").join(name);
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(&file).unwrap();
        symlink(place.write("elsewhere/keep", &text), &file).unwrap();
        place.refused(&["render", "s.yaml", "-o", "tree", "--force"], "");
        fs::remove_file(&file).unwrap();
        fs::write(&file, text).unwrap();
    }
    fs::set_permissions(place.path("tree"), fs::Permissions::from_mode(0o777)).unwrap();
    place.refused(&["render", "s.yaml", "-o", "tree"], "everybody may replace files");
    fs::set_permissions(place.path("tree"), fs::Permissions::from_mode(0o755)).unwrap();
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let give = |path: PathBuf| std::os::unix::fs::lchown(path, Some(12_345), Some(12_345)).unwrap();
    for name in ["tree/apps", "tree/logs", "tree"] {
        give(place.path(name));
        place.refused(&["render", "s.yaml", "-o", "tree", "--force", "--adopt"], "belongs to another user");
        std::os::unix::fs::lchown(place.path(name), Some(0), Some(0)).unwrap();
    }
    symlink(place.path("tree"), place.path("link")).unwrap();
    place.done(&["render", "s.yaml", "-o", "link"]);
    give(place.path("link"));
    place.refused(&["render", "s.yaml", "-o", "link"], "is a symbolic link of another user");
    let logs = place.path("tree/logs");
    fs::remove_dir(&logs).unwrap();
    symlink(place.path("elsewhere"), &logs).unwrap();
    place.done(&["render", "s.yaml", "-o", "tree"]);
    give(logs);
    place.refused(&["render", "s.yaml", "-o", "tree"], "belongs to another user");
}

/// `confgen start` in the background; it is ended with what is below it.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_tree_in_use_is_not_touched() {
    let place = Place::new();
    place.write(
        "app.wsgi",
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'x']\n",
    );
    let module = this_machine().wsgi.module.unwrap().display().to_string();
    let arguments = ["start", "app.wsgi", "--module", &module, "--port", "0", "--server-root", "tree", "--name"];
    let mut command = place.confgen(&[&arguments[..], &["first"]].concat());
    let mut started = Started(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut said = String::new();
    let mut errors = BufReader::new(started.0.stderr.take().unwrap());
    while !said.contains("serving ") {
        assert!(errors.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let before = fs::read_to_string(place.path("tree/httpd.conf")).unwrap();
    let (code, text) = place.run(&[&arguments[..], &["second"]].concat());
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("error[CG413]") && text.contains("is in use by a running server (pid "), "{text}");
    assert_eq!(fs::read_to_string(place.path("tree/httpd.conf")).unwrap(), before);
    place.spec("bad.yaml", "sites: {s: {apps: {/: {module: 'json:loads'}}}}\nraw: [{at: server.end, text: Nonsense}]");
    let (code, text) = place.run(&["render", "bad.yaml", "-o", "tree", "--force"]);
    assert_eq!(code, Some(3), "{text}");
    assert_eq!(fs::read_to_string(place.path("tree/httpd.conf")).unwrap(), before);
    place.done(&["stop", "first"]);
    place.done(&["render", "bad.yaml", "-o", "tree", "--force", "--no-test"]);
}

#[test]
fn the_script_of_a_tree_passes_nothing_of_the_callers_environment() {
    let place = Place::new();
    let port = HeldPort::loopback().unwrap();
    let address = port.address();
    place.write(
        "app.wsgi",
        "import os\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    return [repr(sorted(os.environ.items())).encode()]\n",
    );
    place.spec(
        "s.yaml",
        &format!(
            "server: {{listen: {{http: '{address}'}}, environment: {{NAMED: \"it's $HOME \\\"x\\\"\"}}}}\nsites: {{s: {{apps: {{/: {{script: {}}}}}}}}}",
            place.path("app.wsgi").display()
        ),
    );
    place.done(&["render", "s.yaml", "-o", "tree-0"]);
    let ctl = |word: &str| {
        #[expect(clippy::disallowed_methods, reason = "the script under test")]
        let output = Command::new(place.path("tree-0/ctl")).arg(word).env("PLANTED", "planted").output().unwrap();
        shown(&output)
    };
    assert_eq!(ctl("configtest").0, Some(0));
    assert_eq!(ctl("nonsense").0, Some(2));
    // A number that another process has by now is no server.
    let stale = format!("{}\n", std::process::id());
    fs::write(place.path("tree-0/run/httpd.pid"), &stale).unwrap();
    // The port stays held: httpd may bind it, and nobody else gets it.
    let (code, text) = ctl("start");
    let _ended = Ended(&place);
    assert_eq!(code, Some(0), "{text}");
    let pid = wait_for(|| {
        let text = fs::read_to_string(place.path("tree-0/run/httpd.pid")).ok()?;
        (text != stale).then(|| text.trim().parse::<u32>().ok())?
    });
    let body = wait_for(|| {
        use std::io::{Read, Write};
        let mut connection = std::net::TcpStream::connect(address).ok()?;
        connection.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).ok()?;
        Some(answer)
    });
    assert!(!body.contains("planted"), "{body}");
    assert!(body.contains(r#"('NAMED', 'it\'s $HOME "x"')"#), "{body}");
    let (code, text) = ctl("start");
    assert!(text.contains("already running"), "{code:?} {text}");
    let handle = confgen::httpd::Handle::open(pid).unwrap();
    assert_eq!(ctl("stop").0, Some(0));
    assert!(handle.wait(std::time::Duration::from_secs(20)));
}

/// A test that fails leaves no server behind.
struct Ended<'p>(&'p Place);

impl Drop for Ended<'_> {
    #[expect(clippy::disallowed_methods, reason = "the script under test")]
    fn drop(&mut self) {
        // One that was stopped already says so.
        let _ = Command::new(self.0.path("tree-0/ctl")).arg("stop").output();
    }
}

/// Looks again until something is there: httpd goes into the background before it serves.
fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(std::time::Instant::now() < end, "nothing within 20 seconds");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
