//! `confgen fmt`: one form, and the same meaning for httpd.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use assert_cmd::Command;

use crate::fixture::this_machine;

fn fmt(folder: &Path, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::cargo_bin("confgen").unwrap();
    let output = command.arg("fmt").args(arguments).current_dir(folder).write_stdin(input).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

const UGLY: &str = "\tservername   \"x\"\n<virtualhost *:80>\ndocumentroot \"/a b\"  \n</VIRTUALHOST>\n";
const PRETTY: &str = "ServerName x\n<VirtualHost *:80>\n    DocumentRoot \"/a b\"\n</VirtualHost>\n";

#[test]
fn files_are_replaced_and_keep_what_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("site.conf");
    fs::write(&file, UGLY).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    symlink("site.conf", folder.path().join("enabled.conf")).unwrap();
    let before = fs::metadata(&file).unwrap();
    let (code, shown, _) = fmt(folder.path(), &["--check", "enabled.conf"], "");
    assert_eq!(code, Some(1), "{shown}");
    assert!(shown.contains("-documentroot \"/a b\"  \n") && shown.contains("+    DocumentRoot \"/a b\"\n"), "{shown}");
    assert_eq!(fs::read_to_string(&file).unwrap(), UGLY, "a check writes nothing");
    let (code, _, said) = fmt(folder.path(), &["enabled.conf"], "");
    assert_eq!((code, said.as_str()), (Some(0), "formatted enabled.conf\n"));
    assert_eq!(fs::read_to_string(&file).unwrap(), PRETTY);
    assert!(folder.path().join("enabled.conf").is_symlink());
    let after = fs::metadata(&file).unwrap();
    assert_eq!((after.mode(), after.uid(), after.gid()), (before.mode(), before.uid(), before.gid()));
    assert_eq!(fmt(folder.path(), &["--check", "enabled.conf"], ""), (Some(0), String::new(), String::new()));
    assert_eq!(fmt(folder.path(), &["-"], UGLY), (Some(0), PRETTY.to_owned(), String::new()));
}

#[test]
fn broken_files_are_refused_with_all_that_is_wrong_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("good.conf"), UGLY).unwrap();
    fs::write(folder.path().join("open.conf"), "ServerName x\n<Directory />\n").unwrap();
    fs::write(folder.path().join("stray.conf"), "</Location>\n<IfModule x>\n</Directory>\n</IfModule>\n").unwrap();
    let (code, _, said) = fmt(folder.path(), &["good.conf", "open.conf", "stray.conf", "missing.conf", "."], "");
    assert_eq!(code, Some(2), "{said}");
    for expected in [
        "error[CG160]: nothing closes <Directory>",
        "--> open.conf:2:1",
        "error[CG160]: </Location> closes nothing",
        "--> stray.conf:1:1",
        "</Directory> closes nothing: <IfModule> is open here",
        "cannot read missing.conf",
        ". is not a file",
    ] {
        assert!(said.contains(expected), "no {expected} in\n{said}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("good.conf")).unwrap(), UGLY);
}

/// What httpd says of a configuration, and how it reads it.
fn judged(file: &Path) -> (bool, String) {
    let mut command = Command::new(&this_machine().httpd.binary);
    let output = command.arg("-f").arg(file).args(["-t", "-DDUMP_CONFIG"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).to_ascii_lowercase();
    // Lines of a section that is not closed on the same line keep their white space.
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    (output.status.success(), lines.collect::<Vec<_>>().join("\n"))
}

#[test]
fn httpd_reads_the_same_before_and_after() {
    let folder = tempfile::tempdir().unwrap();
    let facts = this_machine();
    let modules = facts.httpd.modules_dir.clone().unwrap();
    let load = |name: &str| format!("LoadModule {name}_module {}/mod_{name}.so\n", modules.display());
    let head = ["mpm_event", "authz_core", "alias", "rewrite", "setenvif"].map(load).concat();
    let body = r#"
servername "x.example"
 errorlog  "/dev/null"
keepalive 'On'
<ifmodule rewrite_module>
rewriteengine   on
  REWRITERULE ^/a\ b$   "/c d"   [L,R=302]
</IfModule>
<DIRECTORY "/">
options none
  <if "%{REQUEST_URI} =~ m#^/x  y#">
 require  all denied
 </IF>
</directory>
setenvif User-Agent "a  b" \
      odd=1   even
define  NAME  "a b"
alias "/${NAME}"  /srv
# a comment    that goes on
"#;
    let file = folder.path().join("httpd.conf");
    fs::write(&file, format!("serverroot {}\n{head}{body}", folder.path().display())).unwrap();
    let before = judged(&file);
    assert!(before.0, "{}", before.1);
    let (code, _, said) = fmt(folder.path(), &["httpd.conf"], "");
    assert_eq!(code, Some(0), "{said}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("<Directory \"/\">\n    Options none\n    <If \"%{REQUEST_URI} =~ m#^/x  y#\">\n        Require"),
        "{text}"
    );
    assert!(text.contains("RewriteRule ^/a\\ b$   \"/c d\"   [L,R=302]"), "{text}");
    assert!(text.contains("ServerName x.example\nErrorLog /dev/null\nKeepAlive On\n"), "{text}");
    let after = judged(&file);
    assert!(after.0, "{}", after.1);
    // httpd lists arguments as they are written.
    let without = |text: &str| text.replace(['"', '\''], "");
    assert_eq!(without(&after.1), without(&before.1));
}

#[test]
fn the_table_knows_what_httpd_lists_of_itself() {
    let facts = this_machine();
    let folder = tempfile::tempdir().unwrap();
    let modules = facts.httpd.modules_dir.clone().unwrap();
    let load = |name: &&str| format!("LoadModule {name}_module {}/mod_{name}.so\n", modules.display());
    let installed =
        ["mpm_event", "alias", "rewrite", "ssl", "socache_shmcb", "proxy", "headers", "dav", "ldap", "macro"];
    let installed = installed.iter().filter(|name| modules.join(format!("mod_{name}.so")).exists());
    let file = folder.path().join("httpd.conf");
    let text: String = installed.map(load).collect();
    fs::write(&file, format!("ServerRoot {}\nErrorLog /dev/null\nServerName x\n{text}", folder.path().display()))
        .unwrap();
    let output = Command::new(&facts.httpd.binary).arg("-f").arg(&file).arg("-L").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut known = 0;
    for line in text.lines().filter(|line| !line.starts_with(char::is_whitespace)) {
        let Some((name, _)) = line.split_once(" (") else { continue };
        let name = name.trim_start_matches('<').trim_end_matches('>');
        if let Some(spelled) = confgen::directives::spelled(&name.to_uppercase()) {
            assert_eq!(spelled, name);
            known += 1;
        }
    }
    assert!(known > 150, "{known} of\n{text}");
}
