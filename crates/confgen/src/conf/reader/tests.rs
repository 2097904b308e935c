//! The reader against httpd itself: the same texts, the same verdicts, at the same lines.

use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::httpd::Httpd;

fn facts(root: &Path) -> Facts {
    Facts {
        server_root: root.to_owned(),
        built_in: ["core.c", "mod_so.c", "http_core.c"].map(str::to_owned).to_vec(),
        version: Some((2, 4, 62)),
        ..Facts::default()
    }
}

/// A server of its own folder, and what httpd says of a text that it includes.
struct Server {
    folder: tempfile::TempDir,
    httpd: Httpd,
}

impl Server {
    fn new() -> Self {
        let server = Self { folder: tempfile::tempdir().unwrap(), httpd: Httpd::locate(None, None).unwrap() };
        let load = |name: &str| {
            let file = server.httpd.module_file(name).unwrap();
            format!("LoadModule {name}_module \"{}\"\n", file.display())
        };
        let root = server.path("").display().to_string();
        let text = format!(
            "{}{}{}ServerRoot \"{root}\"\nServerName localhost\nListen 127.0.0.1:9\nErrorLog \"{root}/log\"\nInclude x.conf\n",
            load("mpm_event"),
            load("authz_core"),
            load("macro")
        );
        fs::write(server.path("httpd.conf"), text).unwrap();
        server
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The file and line that httpd refuses; `None` when it accepts the text.
    fn verdict_of_httpd(&self, text: &[u8]) -> Option<(PathBuf, usize)> {
        fs::write(self.path("x.conf"), text).unwrap();
        let output = assert_cmd::Command::new(&self.httpd.binary)
            .args(["-t", "-f"])
            .arg(self.path("httpd.conf"))
            .output()
            .unwrap();
        if output.status.success() {
            return None;
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let (_, last) = said.rsplit_once("Syntax error on line ").unwrap_or_else(|| panic!("httpd said {said}"));
        let (line, rest) = last.split_once(" of ").unwrap();
        let file = rest.split([':', '\n']).next().unwrap();
        Some((PathBuf::from(file), line.parse().unwrap()))
    }

    fn reading(&self, text: &[u8]) -> Reading {
        fs::write(self.path("x.conf"), text).unwrap();
        read(&self.path("httpd.conf"), &facts(self.folder.path())).unwrap()
    }

    /// How both verdicts differ, if they do; unknown directives are not the reader's to judge.
    fn difference(&self, text: &str) -> Option<String> {
        let ours = self.reading(text.as_bytes());
        let mine = ours.refusal.as_ref().and_then(|refusal| refusal.places.last().cloned());
        let httpd = self.verdict_of_httpd(text.as_bytes());
        (mine != httpd).then(|| format!("{text:?}\n  httpd: {httpd:?}\n  here: {:?}", ours.refusal))
    }
}

fn sketch(nodes: &[Node]) -> String {
    let parts: Vec<String> = nodes
        .iter()
        .map(|node| {
            let arguments = String::from_utf8_lossy(&node.arguments).into_owned();
            let open = if node.open { "?" } else { "" };
            match &node.children {
                Some(children) => format!("{open}<{} {arguments}|{}>", node.name, sketch(children)),
                None => format!("{open}{} {arguments}", node.name),
            }
        })
        .collect();
    parts.join("; ")
}

/// What is in effect in a text, without a server.
fn effect(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("h.conf"), text).unwrap();
    let reading = read(&folder.path().join("h.conf"), &facts(folder.path())).unwrap();
    assert_eq!(reading.refusal, None);
    sketch(&reading.nodes)
}

#[test]
fn conditions_are_evaluated() {
    assert_eq!(effect("<IfModule nope.c>\nA\n<X>\n</X>\n</IfModule>\n<IfModule core.c>\nB\n</IfModule>\nC"), "B ; C ");
    assert_eq!(
        effect("LoadModule a_module mod_a.so\n<IfModule mod_a.c>\nB\n</IfModule>"),
        "LoadModule a_module mod_a.so; B "
    );
    assert_eq!(effect("<IfVersion >= 2.4>\nA\n</IfVersion>\n<IfVersion < 2.4>\nB\n</IfVersion>"), "A ");
    assert_eq!(effect("<IfVersion !< 2.4>\nA\n</IfVersion>\n<IfVersion ~ ^2>\nB\n</IfVersion>"), "A ; ?B ");
    assert_eq!(effect("<IfDefine !X>\nA\n</IfDefine>\nDefine X\n<IfDefine X>\nB\n</IfDefine>"), "A ; Define X; B ");
    assert_eq!(
        effect("<VirtualHost *:80>\n<IfModule core.c>\nA\n</IfModule>\n</VirtualHost>"),
        "<VirtualHost *:80|A >"
    );
}

#[test]
fn variables_and_macros_are_replaced() {
    assert_eq!(effect("Define P /srv\nAlias \"${P}/a b\" ${Q}"), "Define P /srv; Alias \"/srv/a b\" ${Q}");
    assert_eq!(
        effect("<Macro S $n>\n<Directory /srv/$n>\nA $n\n</Directory>\n</Macro>\nUse S x"),
        "<Directory /srv/x|A x>"
    );
}

#[test]
fn includes_come_in_the_order_of_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("h.conf", "Include d/*.conf\nIncludeOptional nothing/*.conf\nInclude e\n");
    write("d/10.conf", "A");
    write("d/2.conf", "B");
    write("d/.1.conf", "Hidden");
    write("e/x~", "C");
    write("e/sub/y", "D");
    let reading = read(&folder.path().join("h.conf"), &facts(folder.path())).unwrap();
    assert_eq!((sketch(&reading.nodes), reading.refusal), ("A ; B ; D ; C ".to_owned(), None));
}

#[test]
fn what_is_no_file_is_refused_and_nobody_waits() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::write(folder.path().join("h.conf"), "A\nInclude pipe\n").unwrap();
    let reading = read(&folder.path().join("h.conf"), &facts(folder.path())).unwrap();
    let refusal = reading.refusal.unwrap();
    assert_eq!(refusal.places, [(folder.path().join("h.conf"), 2)]);
    assert!(refusal.kind.to_string().ends_with("is a named pipe, not a file"), "{refusal:?}");
    assert!(read(&pipe, &facts(folder.path())).is_err());
    assert!(read(Path::new("/dev/zero"), &facts(folder.path())).is_err());
    fs::write(folder.path().join("h.conf"), "Include h.conf\n").unwrap();
    let refusal = read(&folder.path().join("h.conf"), &facts(folder.path())).unwrap().refusal.unwrap();
    assert_eq!(refusal.kind, RefusalKind::Depth(128));
}

#[test]
fn verdicts_are_those_of_httpd() {
    let server = Server::new();
    let texts = [
        "",
        "<IfModule core.c>\n",
        "<IfModule nope.c>\n",
        "<IfModule \"core.c\">\n</IfModule>\n",
        "<IfModule core.c>\n<Directory /x>\n</IfModule>\n",
        "<IfModule core.c>\n<Directory /x>\n",
        "<IfModule core.c>\n<Directory /x>\n</Directory>\n",
        "<Directory /x>\n<IfModule core.c>\n</Directory>\n</IfModule>\n",
        "<IfModule nope.c>\n<Directory /x\n</IfModule>\n",
        "\n\n<IfModule nope.c>\n</Directory>\n</IfModule>\n",
        "<IfModule core.c>\n<IfModule nope.c>\n\n</Directory>\n</IfModule>\n</IfModule>\n",
        "<IfModule nope.c>\n</IfModule\n",
        "<IfModule core.c>\n</IfModule\n",
        "<IfModule core.c>\n</IfModule>xx\n",
        "<IfModule core.c>\n </IfModule >\n",
        "<IfModule core.c>\n</IfModule> junk\n",
        "<IfModule core.c>\n  </ifmodule>  \n",
        "<IfModule core.c>\n\"</IfModule>\"\n",
        "<IfModule nope.c>\n\"</IfModule>\"\n",
        "<IfModule nope.c>\n</IfModule> junk\n",
        "<Directory /x>\n</Directory >\n",
        "<Directory /x>\n</Directory> junk\n",
        "<Directory /x>\n\n<Files y>\n",
        "<>\n",
        "<IfModule>\n</IfModule>\n",
        "<IfModule core.c> junk\n</IfModule>\n",
        "<IfModule core.c\n</IfModule>\n",
        "<Directory /x\n</Directory>\n",
        "ServerName a\n<If true\n</If>\n",
        "Define A:b c\n",
        "Define\n",
        "Define a b c\n",
        "UnDefine\n",
        "Include nothere.conf\n",
        "Include nothere*.conf\n",
        "Include a b\n",
        "IncludeOptional nothere.conf\nIncludeOptional no/*/x\n",
        "LoadModule x\n",
        "ServerAdmin a \\\n  \\\n\n</X>\n",
        "\"</Directory>\"\n",
        "<IfModule core.c>\n# </IfModule> \\\nServerAdmin\n</IfModule>\n</X>\n",
        "<Macro>\n</Macro>\n",
        "Use Nope\n",
        "<Macro A $x>\nServerAdmin $x\n</Macro>\nUse A 1\nUse a 1\n",
        "<Macro A $x>\nServerAdmin $x\n</Macro>\nUse A\n",
        "<Macro A $x>\nServerAdmin $x\n",
        "ServerAdmin x\0</Y>\n</X>\n",
    ];
    let differences: Vec<String> = texts.iter().filter_map(|text| server.difference(text)).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Lines whose arguments httpd accepts anywhere, so that only the structure decides. Macros are not among them: httpd blames
/// some mistakes in a macro on the macro and others on the line that uses it.
const FRAGMENTS: [&str; 19] = [
    "<IfModule core.c>\n",
    "<IfModule nope.c>\n",
    "<IfDefine !X>\n",
    "<IfDefine X>\n",
    "<IfVersion >= 2.4>\n",
    "</IfModule>\n",
    "</IfDefine>\n",
    "</IfVersion>\n",
    "</ifmodule> \n",
    "</IfModule>x\n",
    "<If true>\n",
    "</If>\n",
    "</If >\n",
    "SetEnvNothing \\\n",
    "# comment \\\n",
    "\n",
    "Define X\n",
    "UnDefine X\n",
    "\\\n",
];

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 120, ..Default::default() })]
    #[test]
    fn verdicts_on_anything_are_those_of_httpd(parts in proptest::collection::vec(proptest::sample::select(&FRAGMENTS), 1..12)) {
        thread_local! {
            static SERVER: Server = Server::new();
        }
        // Whatever is wrong with arguments and contexts would be found after the structure.
        let text = parts.concat().replace("SetEnvNothing", "Define");
        let difference = SERVER.with(|server| server.difference(&text));
        proptest::prop_assert!(difference.is_none(), "{}", difference.unwrap_or_default());
    }
}
