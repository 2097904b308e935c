use std::fs;

use super::*;

fn with<T>(text: &str, look: impl FnOnce(&Configuration<'_>) -> T) -> T {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("site.conf");
    fs::write(&file, text).unwrap();
    let loaded = load_main(&file).unwrap();
    assert_eq!(loaded.reading.refusal, None);
    look(&Configuration::of(&loaded.reading, loaded.partial))
}

#[test]
fn hosts_and_their_names() {
    let text = "ServerName main.example\n<VirtualHost *:80 [::1]:8080>\nServerName http://www.example:80\nServerAlias a *.b\n</VirtualHost>\n<VirtualHost _default_>\n</VirtualHost>\n";
    with(text, |configuration| {
        assert!(configuration.partial);
        let names: Vec<_> = configuration.hosts.iter().map(Host::title).collect();
        assert_eq!(names, ["main.example", "www.example", "<VirtualHost _default_>"]);
        assert_eq!(configuration.hosts[1].ports(), [Some(80), Some(8080)]);
        assert_eq!(configuration.hosts[1].aliases, ["a", "*.b"]);
        assert_eq!(configuration.named("servername").count(), 2);
    });
}

#[test]
fn ports_of_addresses() {
    let ports: Vec<_> = ["*:80", "80", "[::1]:443", "::1", "*", "_default_:8443", "10.0.0.1"]
        .iter()
        .map(|text| port_of(text))
        .collect();
    assert_eq!(ports, [Some(80), Some(80), Some(443), None, None, Some(8443), None]);
}

#[test]
fn the_last_merged_setting_counts() {
    let text = "WSGIProcessGroup server\n<Location /a>\nWSGIProcessGroup location\n</Location>\n<VirtualHost *:80>\nWSGIProcessGroup host\n<Directory /srv/a>\nWSGIProcessGroup deep\n</Directory>\n<Directory /srv>\nWSGIProcessGroup shallow\n</Directory>\nWSGIScriptAlias /a /srv/a/app.wsgi\nWSGIScriptAlias /b /srv/a/app.wsgi\nWSGIScriptAlias /c /srv/b.wsgi\nWSGIScriptAlias /d /opt/d.wsgi\nWSGIScriptAlias /e /opt/e.wsgi process-group=own application-group=%{GLOBAL}\nWSGIScriptAlias /f /opt/f.wsgi process-group=%{GLOBAL}\n</VirtualHost>\n<VirtualHost *:81>\nWSGIScriptAlias / /srv/a/app.wsgi\n</VirtualHost>\n";
    with(text, |configuration| {
        let groups: Vec<_> =
            configuration.mounts.iter().map(|mount| mount.group.clone().unwrap_or_else(|| "-".to_owned())).collect();
        assert_eq!(groups, ["location", "deep", "shallow", "host", "own", "-", "server"]);
        assert!(configuration.is_in_main_interpreter(&configuration.mounts[4]));
        assert!(!configuration.is_in_main_interpreter(&configuration.mounts[0]));
    });
}

#[test]
fn sections_match_as_httpd_matches_them() {
    let matches = |section: &str, url: &str, file: &str| {
        let text =
            format!("{section}\nWSGIApplicationGroup x\n</{}>\n", section[1..].split_whitespace().next().unwrap());
        with(&text, |configuration| {
            let target = Target { host: 0, url: Some(url), file: Some(file) };
            configuration.effective(&target, "WSGIApplicationGroup").is_some()
        })
    };
    for (section, url, file, expected) in [
        ("<Directory /srv>", "/", "/srv/a/b", true),
        ("<Directory \"/srv/\">", "/", "/srv/a", true),
        ("<Directory /srv/a>", "/", "/srv/ab", false),
        ("<Directory />", "/", "/x", true),
        ("<Directory /home/*/www>", "/", "/home/joe/www/x", true),
        ("<Directory /home/*>", "/", "/home", false),
        ("<Directory ~ \"^/srv/[a-c]\">", "/", "/srv/b/x", true),
        ("<DirectoryMatch \"/x$\">", "/", "/srv/b", false),
        ("<Files app.wsgi>", "/", "/srv/app.wsgi", true),
        ("<Files *.wsgi>", "/", "/srv/app.py", false),
        ("<FilesMatch \\.py$>", "/", "/srv/app.py", true),
        ("<Location /a>", "/a/b", "/x", true),
        ("<Location /a>", "/ab", "/x", false),
        ("<Location /a/>", "/a", "/x", false),
        ("<Location /*/x>", "/a/x/y", "/x", true),
        ("<LocationMatch ^/[0-9]>", "/1", "/x", true),
    ] {
        assert_eq!(matches(section, url, file), expected, "{section} {url} {file}");
    }
}

#[test]
fn places_of_parts() {
    let text = "Listen 80\nWSGIDaemonProcess d \\\n  processes=2 python-path='/a b'\n<Directory /srv>\n</Directory>\n";
    with(text, |configuration| {
        let texts = Texts::new(configuration.reading);
        let daemon = &configuration.statements[configuration.daemons[0].statement];
        assert_eq!(texts.of(daemon, &Part::Option("python-path".to_owned())).text(), "python-path='/a b'");
        assert_eq!(texts.of(daemon, &Part::Word(0)).text(), "d");
        assert_eq!(texts.of(daemon, &Part::Name).text(), "WSGIDaemonProcess");
        let section = configuration.named("Directory").next().unwrap();
        assert_eq!(texts.of(section, &Part::Word(0)).text(), "/srv");
        assert_eq!(texts.of(section, &Part::Whole).text(), "<Directory /srv>");
    });
}

#[test]
fn the_folder_of_a_server_stands_for_its_root() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let file = folder.path().join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    };
    write("conf/httpd.conf", "ServerRoot /etc/httpd\nListen 80\nInclude conf.d/*.conf\nInclude /etc/httpd/more.conf\n");
    write("conf.d/a.conf", "ServerName ${NAME}\n");
    write("more.conf", "WSGIScriptAlias / /x\n");
    let loaded = load(folder.path()).unwrap();
    assert_eq!(loaded.len(), 1);
    assert_eq!(loaded[0].reading.refusal, None);
    let configuration = Configuration::of(&loaded[0].reading, loaded[0].partial);
    assert_eq!(configuration.mounts.len(), 1);
    assert!(configuration.named("ServerName").next().unwrap().is_unresolved());
}

#[test]
fn what_a_part_does_not_say_stays_open() {
    let text = "<IfModule mod_ssl.c>\nSSLEngine on\n</IfModule>\n<IfModule !mod_authz_core.c>\nOrder deny,allow\n</IfModule>\nInclude /no/such/file.conf\nUse Nothing x\n";
    with(text, |configuration| {
        assert!(configuration.named("SSLEngine").next().unwrap().node.open);
        assert!(!configuration.has("Order"));
        assert_eq!(configuration.reading.missing.len(), 1);
    });
}
