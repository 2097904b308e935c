//! The examples of the reference pages, read by httpd.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use serde_json::Value;

use crate::httpd::{Folder, module, run_with};

const MODULES: &[&str] =
    &["authn_core", "authz_core", "authz_user", "auth_basic", "alias", "env", "setenvif", "mime", "status"];

/// The parts of a page that are configuration.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut present: Option<Vec<&str>> = None;
    for line in text.lines() {
        match (&mut present, line) {
            (None, "```apache") => present = Some(Vec::new()),
            (Some(lines), "```") => {
                blocks.push(lines.join("\n"));
                present = None;
            }
            (Some(lines), line) => lines.push(line),
            (None, _) => {}
        }
    }
    blocks
}

/// What this version refuses by name: an example that shows it cannot be read yet.
fn refused() -> BTreeSet<String> {
    let rows: Value = serde_json::from_str(include_str!("../../directives.json")).expect("the generated file is JSON");
    let rows = rows.as_array().expect("an array").iter().filter(|row| row["status"] == "known");
    rows.map(|row| {
        let name = row["name"].as_str().expect("a name");
        if row["kind"] == "daemon-option" { format!("{name}=") } else { name.to_owned() }
    })
    .collect()
}

fn uses(example: &str, refused: &BTreeSet<String>) -> bool {
    example.split(|c: char| c.is_whitespace() || c == '<' || c == '>').any(|word| {
        let option = word.split_once('=').map(|(name, _)| format!("{name}="));
        refused.contains(word) || option.is_some_and(|option| refused.contains(&option))
    })
}

/// A folder with what the examples name: the module with an engine beside it, an environment, files.
fn machine() -> Folder {
    let folder = Folder::new("examples");
    let root = folder.path();
    std::fs::copy(module(), root.join("mod_wsgi_rs.so")).expect("own folder");
    for engine in ["wsgi_python-3.11.so", "wsgi-daemon-3.11", "wsgi_python-3.13t.so", "wsgi-daemon-3.13t"] {
        let path = root.join(engine);
        std::fs::write(&path, "").expect("own folder");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("own folder");
    }
    std::fs::create_dir_all(root.join("srv/shop/venv")).expect("own folder");
    std::fs::write(root.join("srv/shop/venv/pyvenv.cfg"), "home = /usr/bin\nversion = 3.11.2\n").expect("own folder");
    std::fs::create_dir_all(root.join("srv/jail")).expect("own folder");
    std::fs::create_dir_all(root.join("etc")).expect("own folder");
    std::fs::write(root.join("etc/shop.env"), "SECRET=1\n").expect("own folder");
    folder
}

#[test]
fn every_example_is_accepted() {
    let folder = machine();
    let root = folder.path().display().to_string();
    let own = folder.path().join("mod_wsgi_rs.so");
    let refused = refused();
    // SAFETY: cannot fail.
    let is_root = unsafe { libc::geteuid() == 0 };
    let modules: String = MODULES
        .iter()
        .map(|name| format!("LoadModule {name}_module {}/mod_{name}.so\n", env!("HTTPD_MODULES")))
        .collect();
    let reference = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("reference");
    let mut read = 0;
    for entry in std::fs::read_dir(reference).expect("the texts").flatten() {
        let text = std::fs::read_to_string(entry.path()).expect("a text");
        for example in blocks(&text) {
            if uses(&example, &refused) || (example.contains("chroot=") && !is_root) {
                continue;
            }
            let mut lines = example.clone();
            for (shown, here) in [("/srv/", "srv/"), ("/etc/", "etc/"), ("/run/", "run/"), ("/var/", "var/")] {
                lines = lines.replace(shown, &format!("{root}/{here}"));
            }
            lines = lines.replace("user=shop", "user=nobody").replace(" group=shop", " group=daemon");
            let output = run_with(&own, &folder, &format!("{modules}{lines}"), &["-t"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{}:\n{lines}\n{said}", entry.path().display());
            read += 1;
        }
    }
    assert!(read > 30, "only {read} examples were read");
}
