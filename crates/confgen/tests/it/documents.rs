//! The examples of the documents.

use std::fmt::Write;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use confgen::document::{Document, Format};
use confgen::render::{RenderOptions, render_draft};
use confgen::spec::{Draft, relative};

use crate::fixture::{assert_clean, machine, shown, this_machine, workspace};

/// The fenced blocks of a page that are whole specs.
fn specs(page: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace().join(page)).unwrap();
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.filter(|block| block.contains("schema: confgen/1")).map(str::to_owned).collect()
}

#[test]
fn examples_are_rendered() {
    for (page, count) in [("README.md", 1), ("docs/confgen.md", 3)] {
        let specs = specs(page);
        assert_eq!(specs.len(), count, "{page}");
        for spec in specs {
            let root = Document::parse("spec.yaml", spec.as_str(), Format::Yaml).unwrap().root;
            let root = relative::resolved(root, |_| Some("/srv/shop".into()));
            let tree = render_draft(&Draft::new(root), &machine(), &RenderOptions::default())
                .unwrap_or_else(|errors| panic!("{page}\n{spec}\n{}", shown(&errors)));
            assert_clean(&tree, &spec);
        }
    }
}

/// The commands of a page: lines of fenced blocks without a language that begin with one of our programs, or with httpd's.
fn commands(page: &str) -> Vec<String> {
    let text = fs::read_to_string(workspace().join(page)).unwrap();
    let mut found = Vec::new();
    let mut language = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), &language) {
            (Some(name), None) => language = Some(name.to_owned()),
            (Some(_), Some(_)) => language = None,
            (None, Some(name)) if name.is_empty() => {
                let command = line.split('#').next().unwrap_or_default().trim();
                let program = command.split(' ').next().unwrap_or_default();
                if program.ends_with("confgen") || program == "apachectl" {
                    found.push(command.to_owned());
                }
            }
            _ => {}
        }
    }
    found
}

/// The first fenced block of a language that has a text in it.
fn block(page: &str, language: &str, text: &str) -> String {
    let page = fs::read_to_string(workspace().join(page)).unwrap();
    let fence = format!("```{language}\n");
    let mut blocks = page.split(&fence).skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.find(|block| block.contains(text)).unwrap_or_else(|| panic!("no block with {text}")).to_owned()
}

const APPLICATION: &str =
    "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'shop']\n";

/// What the commands of the pages are about, in a folder; `srv` stands for the machine's `/srv`.
fn scratch(folder: &Path) {
    let write = |path: &str, text: &str| {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("hello.wsgi", &block("README.md", "python", "Hello World!"));
    write("site.yaml", &block("README.md", "yaml", "# site.yaml"));
    for place in ["", "src/", "srv/shop/src/"] {
        write(&format!("{place}shop/__init__.py"), "");
        write(&format!("{place}shop/wsgi.py"), APPLICATION);
    }
    write("static/logo.txt", "logo");
    write("shop.wsgi", APPLICATION);
    write("srv/shop/app.wsgi", APPLICATION);
    write("srv/shop/static/logo.txt", "logo");
    write("shop.conf", &block("docs/lint.md", "apache", "# shop.conf"));
    write("srv/apache2/apache2.conf", &block("docs/move-from-mod_wsgi.md", "apache", "# apache2.conf"));
    for (link, program) in [
        ("target/dist/confgen", Path::new(env!("CARGO_BIN_EXE_confgen"))),
        ("bin/confgen", Path::new(env!("CARGO_BIN_EXE_confgen"))),
        // Where there is no apachectl, the pages say to use httpd itself.
        ("bin/apachectl", &this_machine().httpd.binary),
    ] {
        let link = folder.join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(program, link).unwrap();
    }
}

/// The commands as a shell script that ends at the first one that fails. A server in the foreground has to say that it serves,
/// and is interrupted then; one in the background is stopped. What the server before it said is removed first: the shell that
/// is to become the server does not take an interrupt yet.
fn script(commands: &[String]) -> String {
    let mut text = String::from("set -eu\n");
    for command in commands {
        // The machine's own configuration stays out of sight; /srv is the test's.
        let command = command.replace("/etc/apache2", "/srv/apache2");
        let _ = writeln!(text, "echo '$ {command}'");
        if command.contains("confgen start") || command.contains("confgen express start-server") {
            let _ = write!(
                text,
                "rm -f said; {command} 2>said & pid=$!\nuntil grep -qs '^serving ' said; do kill -0 $pid || {{ cat said; exit 1; }}; sleep 0.05; done\ncat said\nkill -INT $pid; wait $pid\n"
            );
        } else if command.starts_with("apachectl") && command.ends_with("start") {
            let stop = command.replace("-k start", "-k stop");
            let pid = "run/httpd.pid";
            let root = command.split(' ').find_map(|word| word.strip_suffix("httpd.conf")).unwrap_or("./");
            let _ = write!(
                text,
                "{command}\nuntil test -s {root}{pid}; do sleep 0.05; done\n{stop}\nwhile test -s {root}{pid}; do sleep 0.05; done\n"
            );
        } else if command.contains("confgen lint") {
            // Findings end it with 1, which is what it is shown for.
            let _ = writeln!(text, "{command} || test $? = 1");
        } else {
            let _ = writeln!(text, "{command}");
        }
    }
    text
}

#[test]
fn the_commands_of_the_pages_work_as_printed() {
    if !nix::unistd::Uid::effective().is_root() {
        // Only root gets ports and a /srv that are the test's own.
        return;
    }
    for page in [
        "README.md",
        "docs/confgen.md",
        "docs/lint.md",
        "docs/move-from-mod_wsgi.md",
        "docs/move-from-mod_wsgi-express.md",
    ] {
        let commands = commands(page);
        assert!(commands.len() >= 3, "{page}: {commands:?}");
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        scratch(folder.path());
        fs::write(folder.path().join("commands.sh"), script(&commands)).unwrap();
        // SIOCSIFFLAGS with IFF_UP: a network of one's own begins without a loopback interface that is up.
        let up = "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 1))";
        let within =
            format!("mount --make-rprivate / && mount --bind srv /srv && python3 -c \"{up}\" && exec sh commands.sh");
        let mut command = assert_cmd::Command::new("unshare");
        command.args(["--mount", "--net", "--", "sh", "-c", &within]).current_dir(folder.path()).env_clear();
        command.env("PATH", format!("{}/bin:/usr/sbin:/usr/bin:/sbin:/bin", folder.path().display()));
        command.env("XDG_RUNTIME_DIR", folder.path()).env("TMPDIR", folder.path());
        command.timeout(std::time::Duration::from_secs(120));
        let output = command.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{page}\n{}", String::from_utf8_lossy(&text));
    }
}

/// What a command prints in the scratch folder, whose `etc/apache2` and `srv` are called by the machine's names.
fn printed(arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().unwrap();
    scratch(folder.path());
    let mut command = assert_cmd::Command::cargo_bin("confgen").unwrap();
    let arguments: Vec<String> = arguments
        .iter()
        .map(|argument| argument.replace("/etc/apache2", &folder.path().join("srv/apache2").display().to_string()))
        .collect();
    let output = command.args(&arguments).current_dir(folder.path()).output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .replace(&folder.path().join("srv/apache2").display().to_string(), "/etc/apache2")
}

#[test]
fn what_the_pages_show_is_what_is_printed() {
    let finding = block("docs/lint.md", "text", "error[CG206]");
    let all = printed(&["lint", "shop.conf"]);
    assert!(all.contains(&finding), "{all}");
    let spec = block("docs/move-from-mod_wsgi.md", "yaml", "schema: confgen/1");
    let whole = printed(&["import", "httpd", "/etc/apache2"]);
    let made = whole.split_once('\n').unwrap().1;
    assert_eq!(made.trim_end(), spec.trim_end());
    let refused = block("docs/move-from-mod_wsgi-express.md", "text", "`--http2`");
    let folder = tempfile::tempdir().unwrap();
    let mut command = assert_cmd::Command::cargo_bin("confgen").unwrap();
    command.args(["import", "express", "--", "start-server", "shop.wsgi", "--http2", "--thread", "3"]);
    let output = command.current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&refused), "{said}");
    let way = block("docs/move-from-mod_wsgi.md", "text", "listener");
    let steps = printed(&["route", "/etc/apache2", "http://shop.example/cart"]);
    // The script of the example is not on this machine; until there every step is the same.
    let same: Vec<(String, String)> =
        way.lines().zip(steps.lines()).map(|(shown, step)| (words(shown), words(step))).take(4).collect();
    assert!(same.len() == 4 && same.iter().all(|(shown, step)| shown == step), "{same:#?}");
}

fn words(line: &str) -> String {
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
