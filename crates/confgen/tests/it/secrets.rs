//! Secrets that are taken when the server starts: the tree never holds them, and can be rendered where they are not.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use confgen::httpd::{Handle, HeldPort};

use crate::place::{Place, module};

const APPLICATION: &str = "import os\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    return [os.environ['A'].encode(), b' ', os.environ['B'].encode()]\n";

/// A place whose application shows two secrets, with the facts of this machine in a file, so that it is any other machine.
struct Elsewhere {
    place: Place,
    port: HeldPort,
}

impl Elsewhere {
    fn new() -> Self {
        let place = Place::new();
        fs::write(place.site().join("app.wsgi"), APPLICATION).unwrap();
        let (code, facts, err) = place.run(&["facts"]);
        assert_eq!(code, Some(0), "{err}");
        let mut facts: serde_json::Value = serde_json::from_str(&facts).unwrap();
        facts["wsgi"]["module"] = module().into();
        fs::write(place.site().join("facts.json"), facts.to_string()).unwrap();
        Self { place, port: HeldPort::loopback().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.site().join(name)
    }

    fn spec(&self, env: &str) {
        let text = format!(
            "schema: confgen/1\nserver: {{listen: {{http: '{}'}}, mpm: prefork}}\ndaemons: {{'d:1': {{env: {{{env}}}}}}}\nsites: {{s: {{apps: {{/: {{script: app.wsgi, daemon: 'd:1'}}}}}}}}\n",
            self.port.address()
        );
        fs::write(self.path("s.yaml"), text).unwrap();
    }

    fn render(&self, more: &[&str]) -> (Option<i32>, String) {
        let (code, out, err) =
            self.place.run(&[&["render", "s.yaml", "--facts", "facts.json", "-o", "tree"], more].concat());
        (code, out + &err)
    }

    #[expect(clippy::disallowed_methods, reason = "the script under test")]
    fn ctl(&self, word: &str) -> (Option<i32>, String) {
        let output = Command::new(self.path("tree/ctl")).arg(word).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }

    /// Everything that the tree holds.
    fn texts(&self) -> BTreeMap<PathBuf, String> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.path("tree")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match fs::symlink_metadata(&path).unwrap().file_type() {
                    kind if kind.is_dir() => folders.push(path),
                    kind if kind.is_file() => {
                        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
                        found.insert(path, text);
                    }
                    _ => {}
                }
            }
        }
        found
    }
}

/// A failed assertion must not leave a server behind.
impl Drop for Elsewhere {
    fn drop(&mut self) {
        if self.path("tree/run/httpd.pid").exists() {
            self.ctl("stop");
        }
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn ask(address: SocketAddr) -> Option<String> {
    let mut connection = TcpStream::connect(address).ok()?;
    connection.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok()?;
    answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned())
}

/// Asks until the answer is there: httpd goes into the background before it serves, and reloads while it serves.
fn until(address: SocketAddr, expected: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = ask(address);
        if answer.as_deref() == Some(expected) {
            return;
        }
        assert!(Instant::now() < end, "{expected} does not come: {answer:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_tree_for_another_machine_takes_its_secrets_when_it_starts() {
    let there = Elsewhere::new();
    there.spec("A: {secret: {file: keys/a}}, B: {secret: {file: \"keys/b's\"}}");
    let (code, text) = there.render(&[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("at start  ") && text.contains("tree/secrets/d%3A1.env\n"), "{text}");
    assert!(!there.path("tree/secrets").exists(), "{text}");
    // Nothing starts without the secrets, and the message names the key and the file.
    let a = there.path("keys/a");
    let missing = format!("ctl: the secret daemons.\"d:1\".env.A cannot be taken: there is no file {}\n", a.display());
    let missing = if there.ctl("configtest").1.contains("\"d:1\"") { missing } else { missing.replace('"', "") };
    for word in ["configtest", "start", "foreground"] {
        assert_eq!(there.ctl(word), (Some(4), missing.clone()), "{word}");
    }
    assert!(!there.path("tree/secrets/d%3A1.env").exists() && !there.path("tree/run/httpd.pid").exists());
    fs::create_dir(there.path("keys")).unwrap();
    fs::write(&a, "planted $HOME `id` 'x' \"y\" \\n \n").unwrap();
    let (_, text) = there.ctl("configtest");
    assert!(text.contains("begins or ends with a blank") && !text.contains("planted"), "{text}");
    let value = "planted $HOME `id` 'x' \"y\" \\n %s";
    fs::write(&a, format!("{value}\r\n")).unwrap();
    fs::write(there.path("keys/b's"), "planted-too").unwrap();
    let (code, text) = there.ctl("configtest");
    assert_eq!(code, Some(0), "{text}");
    assert!(!there.path("tree/secrets").exists(), "a test writes nothing");
    let (code, text) = there.ctl("start");
    assert_eq!(code, Some(0), "{text}");
    let address = there.port.address();
    until(address, &format!("{value} planted-too"));
    let pid = fs::read_to_string(there.path("tree/run/httpd.pid")).unwrap().trim().parse().unwrap();
    let handle = Handle::open(pid).unwrap();
    let made = there.path("tree/secrets/d%3A1.env");
    assert_eq!((mode(&made), mode(made.parent().unwrap())), (0o600, 0o700));
    let holds: Vec<_> = there.texts().into_iter().filter(|(_, text)| text.contains("planted")).collect();
    assert_eq!(holds.iter().map(|(path, _)| path).collect::<Vec<_>>(), [&made], "only the file of the running server");
    // A new value is taken over by a reload.
    fs::write(there.path("keys/b's"), "rotated\n").unwrap();
    assert_eq!(there.ctl("graceful").0, Some(0));
    until(address, &format!("{value} rotated"));
    // Values that no file of variables can hold change nothing.
    let cases =
        [("-----BEGIN\nKEY-----\n", "more than one line"), ("a\0b", "has a NUL in it"), ("x\r", "more than one line")];
    let before = fs::read_to_string(&made).unwrap();
    for (wrong, reason) in cases {
        fs::write(&a, wrong).unwrap();
        let (code, text) = there.ctl("graceful");
        assert_eq!(code, Some(4), "{text}");
        assert!(text.contains(reason) && !text.contains("KEY") && !text.contains("planted"), "{text}");
        assert_eq!(fs::read_to_string(&made).unwrap(), before);
    }
    assert_eq!(ask(address).as_deref(), Some(format!("{value} rotated").as_str()));
    // A server that stops takes the values along.
    assert_eq!(there.ctl("stop").0, Some(0));
    assert!(handle.wait(Duration::from_secs(20)));
    assert!(!made.exists());
    assert!(there.texts().values().all(|text| !text.contains("planted")));
    // What is rendered again does not mind.
    assert_eq!(there.render(&[]).0, Some(0));
}

#[test]
fn secrets_that_were_taken_before_do_not_stay_when_they_are_taken_at_the_start() {
    let there = Elsewhere::new();
    let keys = there.path("keys");
    fs::create_dir(&keys).unwrap();
    fs::write(keys.join("a"), "planted").unwrap();
    there.spec("A: {secret: {file: keys/a, at: render}}");
    let (code, text) = there.render(&["--secrets", "now"]);
    assert_eq!(code, Some(0), "{text}");
    let made = there.path("tree/secrets/d%3A1.env");
    assert_eq!(fs::read_to_string(&made).unwrap(), "A=planted\n");
    there.spec("A: {secret: {file: keys/a, at: start}}");
    let (code, text) = there.render(&["--secrets", "now"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(there.texts().values().all(|text| !text.contains("planted")), "{text}");
    // The script made it meanwhile: that is no edit, and it goes with a rendering that takes the value itself.
    fs::write(&made, "A=other\n").unwrap();
    assert_eq!(there.render(&[]).0, Some(0));
    assert_eq!(fs::read_to_string(&made).unwrap(), "A=other\n");
    let (code, out, err) = there.place.run(&["secrets", "tree"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("at start  "), "{out}");
    there.spec("A: {secret: {file: keys/a, at: render}}");
    assert_eq!(there.render(&["--secrets", "now"]).0, Some(0));
    assert_eq!(fs::read_to_string(&made).unwrap(), "A=planted\n");
}

#[test]
fn a_server_that_confgen_starts_takes_them_itself() {
    let there = Elsewhere::new();
    there.spec("A: {secret: {file: keys/a, at: start}}, B: fixed");
    let wsgi = format!("runtime.module={}", module());
    let arguments = ["start", "s.yaml", "--server-root", "root", "--set", wsgi.as_str()];
    // The spec can be checked where the secrets are not.
    let (code, out, err) = there.place.run(&["check", "s.yaml", "--set", &wsgi]);
    assert_eq!(code, Some(0), "{out}{err}");
    let (code, _, err) = there.place.run(&arguments);
    assert_eq!(code, Some(4), "{err}");
    let reason = format!("the secret `A` cannot be taken: {}", there.path("keys/a").display());
    assert!(err.contains("error[CG123]") && err.contains(&reason) && err.contains("s.yaml:3:"), "{err}");
    fs::create_dir(there.path("keys")).unwrap();
    fs::write(there.path("keys/a"), "first\n").unwrap();
    let started = there.place.launch(&arguments);
    assert!(started.get("/").ends_with("first fixed"));
    fs::write(there.path("keys/a"), "second\n").unwrap();
    let (code, _, err) = there.place.run(&["restart"]);
    assert_eq!(code, Some(0), "{err}");
    until(there.port.address(), "second fixed");
    fs::remove_file(there.path("keys/a")).unwrap();
    let (code, _, err) = there.place.run(&["restart"]);
    assert_eq!(code, Some(4), "{err}");
    assert!(err.contains("error[CG123]: the secret `A` cannot be taken"), "{err}");
    assert!(started.get("/").ends_with("second fixed"));
    let made = there.path("root/secrets/d%3A1.env");
    assert_eq!((fs::read_to_string(&made).unwrap().as_str(), mode(&made)), ("A=second\n", 0o600));
    started.interrupt();
    assert_eq!(started.end().0, Some(0));
    assert!(!made.exists(), "a server that stops takes the values along");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let there = Elsewhere::new();
    for (env, more, expected) in [
        ("A: {secret: {env: X, at: start}}", &[][..], "needs a `file`: the variable X may be missing then"),
        ("A: {secret: {env: X}}", &["--secrets", "start"], "needs a `file`: the variable X may be missing then"),
        ("A: {secret: {}}", &[], "a secret needs a `file` or `env`"),
        ("A: {secret: {at: start}}", &[], "a secret needs a `file` or `env`"),
        ("A: {secret: {file: /x, env: X}}", &[], "from a `file` or from `env`, not from both"),
        (
            "A: {secret: {file: /x, at: start}}, B: {secret: {file: /y, at: render}}",
            &[],
            "the secrets `A` and `B` of a daemon are taken at different times",
        ),
        ("A: {secret: {file: /x, at: strat}}", &[], "did you mean `start`?"),
    ] {
        there.spec(env);
        let (code, text) = there.render(more);
        assert_eq!(code, Some(2), "{env}: {text}");
        assert!(text.contains(expected) && text.contains("s.yaml:3:"), "{env}: {text}");
        assert!(!there.path("tree").exists());
    }
    // Where a variable is among them, all are taken later.
    there.spec("A: {secret: {file: /x}}, B: {secret: {env: X}}");
    let (code, text) = there.render(&[]);
    assert!(code == Some(0) && text.contains("later     "), "{text}");
}

#[test]
fn facts_make_a_rendering_independent_of_the_files_and_accounts_of_this_machine() {
    let there = Elsewhere::new();
    let facts = there.path("facts.json");
    let mut values: serde_json::Value = serde_json::from_str(&fs::read_to_string(&facts).unwrap()).unwrap();
    values["users"]["no-such-user-here"] = serde_json::json!({"uid": 4711, "gid": 4711});
    values["groups"]["no-such-group-here"] = 4711.into();
    values["start"] = serde_json::json!({"user": "root", "uid": 0, "lowest-port": 1, "web-user": "no-such-user-here"});
    fs::write(&facts, values.to_string()).unwrap();
    let spec = "schema: confgen/1\nserver: {listen: {http: 80, https: 443}, log: {to: {at: {error: logs/e, access: logs/a}}}}\nruntime: {python: {venv: venv}}\ndaemons: {d: {user: no-such-user-here, home: home, chroot: home, python-home: venv, python-path: [lib], environment-file: vars, import: [{script: i.py}]}, e: {env: {A: {secret: {file: key}}}}}\nsites: {s: {hosts: [a.example], tls: {cert: c.pem, key: {file: c.key}, client-ha: null, client-ca: ca.pem}, apps: {/: {module: 'shop:app', daemon: d, access: {script: a.py}}, /e: {script: e.wsgi, daemon: e}}, static: {/s: {dir: static}, /f: {file: f}}}}\n";
    fs::write(there.path("s.yaml"), spec.replace("client-ha: null, ", "")).unwrap();
    let print = || {
        let (code, out, err) = there.place.run(&["render", "s.yaml", "--facts", "facts.json"]);
        assert_eq!(code, Some(0), "{err}");
        out + &err
    };
    let without = print();
    assert!(without.contains("A is taken from the file ") && without.contains(" when the server starts"), "{without}");
    // Files of the wrong kind and with the wrong content, which this machine's own rendering would refuse.
    for name in ["logs", "home", "lib", "static"] {
        fs::write(there.path(name), "a file\n").unwrap();
    }
    for name in ["vars", "i.py", "key", "c.pem", "c.key", "ca.pem", "a.py", "e.wsgi", "f"] {
        fs::create_dir(there.path(name)).unwrap();
    }
    fs::create_dir(there.path("venv")).unwrap();
    fs::write(there.path("venv/pyvenv.cfg"), "version = 2.7.1\n").unwrap();
    assert_eq!(print(), without);
}
