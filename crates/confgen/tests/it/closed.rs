//! What is closed unless a key opens it, asked of a real httpd.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::mapping::Site;

const APPLICATION: &str = "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [environ['PATH_INFO'].encode()]\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // A name that has to be escaped, and that is hidden itself: what was asked for is served.
    let files = folder.path().join(".a+b #1/files");
    for path in
        ["plain.txt", ".env", ".git/config", "in/.htpasswd", ".well-known/acme-challenge/token", ".well-known-not/x"]
    {
        let file = files.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, path).unwrap();
    }
    fs::write(folder.path().join("app.wsgi"), APPLICATION).unwrap();
    fs::write(folder.path().join("outside"), "outside").unwrap();
    symlink("../../outside", files.join("link-out")).unwrap();
    symlink("plain.txt", files.join("link-in")).unwrap();
    folder
}

fn statuses(site: &Site, host: &str, paths: &[&str]) -> Vec<(String, String)> {
    paths.iter().map(|path| ((*path).to_owned(), site.get(host, path).0)).collect()
}

fn expected(entries: &[(&str, &str)]) -> Vec<(String, String)> {
    entries.iter().map(|(path, status)| ((*path).to_owned(), (*status).to_owned())).collect()
}

const HIDDEN: &[&str] =
    &["/.env", "/.git/config", "/.git/", "/in/.htpasswd", "/%2eenv", "//.env", "/.well-known-not/x"];

#[test]
fn hidden_files_and_links_to_others_are_closed_unless_a_key_opens_them() {
    let folder = folder();
    let files = json!({"dir": "DIR/.a+b #1/files"});
    let with = |more: Value| {
        let mut files = files.clone();
        files.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        files
    };
    let sites = json!({
        "closed": {"hosts": ["closed"], "static": {"/": files}, "apps": {"/app": {"script": "DIR/app.wsgi"}}},
        // A location that says who may come in opens nothing.
        "open": {"hosts": ["open"], "static": {"/": with(json!({"auth": "none"}))}},
        "hidden": {"hosts": ["hidden"], "static": {"/": with(json!({"hidden": true, "links": "all"}))}},
        "none": {"hosts": ["none"], "static": {"/f": with(json!({"links": "none"}))}},
    });
    let site = Site::start(folder.path(), &sites, &json!({}));
    for host in ["closed", "open"] {
        assert!(
            statuses(&site, host, HIDDEN).iter().all(|(_, status)| status == "403"),
            "{host}: {:?}",
            statuses(&site, host, HIDDEN)
        );
        let open = ["/plain.txt", "/link-in", "/.well-known/acme-challenge/token"];
        assert!(statuses(&site, host, &open).iter().all(|(_, status)| status == "200"), "{host}");
    }
    // Applications have hidden names of their own.
    assert_eq!(site.get("closed", "/app/.env").1, "/.env");
    let opened = ["/.env", "/.git/config", "/in/.htpasswd", "/.well-known-not/x", "/link-out"];
    assert!(statuses(&site, "hidden", &opened).iter().all(|(_, status)| status == "200"));
    assert_eq!(
        statuses(&site, "none", &["/f/plain.txt", "/f/link-in", "/f/.env"]),
        expected(&[("/f/plain.txt", "200"), ("/f/link-in", "403"), ("/f/.env", "403")])
    );
    if nix::unistd::Uid::effective().is_root() {
        // A link of the site's owner to a file of somebody else.
        assert_eq!(site.get("closed", "/link-out").0, "200", "both are root's");
        let other = Some(nix::unistd::Uid::from_raw(65534).as_raw());
        std::os::unix::fs::lchown(folder.path().join(".a+b #1/files/link-out"), other, None).unwrap();
        assert_eq!(site.get("closed", "/link-out").0, "403");
        assert_eq!(site.get("hidden", "/link-out").0, "200");
    }
    site.end();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_server_says_little_and_its_logs_are_not_for_everybody() {
    let folder = folder();
    let sites = json!({"main": {"static": {"/": {"dir": "DIR/.a+b #1/files"}}}});
    let site = Site::start(folder.path(), &sites, &json!({}));
    let (status, head, _) = site.ask("TRACE", "x", "/");
    assert_eq!(status, "405", "{head}");
    assert!(head.contains("\r\nServer: Apache\r\n"), "{head}");
    assert_eq!(mode(&site.root.logs()), 0o750);
    let config = fs::read_to_string(site.root.path().join("httpd.conf")).unwrap();
    assert!(config.contains("RequestReadTimeout header=20-40,MinRate=500 body=20,MinRate=500"), "{config}");
    site.end();

    let open = json!({"server": {
        "trace": true, "server-tokens": "full", "log": {"world-readable": true}, "request-read-timeout": false,
        "listen": {"http": "LISTEN"},
    }});
    let site = Site::start(folder.path(), &sites, &open);
    let (status, head, body) = site.ask("TRACE", "x", "/");
    assert!(status == "200" && body.starts_with("TRACE / HTTP/1.0"), "{head}");
    assert!(head.contains("\r\nServer: Apache/2.4."), "{head}");
    assert_eq!(mode(&site.root.logs()), 0o755);
    let config = fs::read_to_string(site.root.path().join("httpd.conf")).unwrap();
    assert!(!config.contains("RequestReadTimeout"), "{config}");
    site.end();
}
