//! "serving" means that every application is loaded and has answered; each one that does not is one clear error.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::place::{Place, get, module, port};

/// A spec with one site per application: name, script, keys of its daemon.
fn spec(place: &Place, port: u16, applications: &[(&str, &str, &str)]) -> String {
    let mut daemons = String::new();
    let mut sites = String::new();
    for (name, script, daemon) in applications {
        let path = place.site().join(format!("{name}.wsgi"));
        fs::write(&path, script).unwrap();
        daemons += &format!("  {name}: {{{daemon}}}\n");
        let app = format!("{{script: {}, daemon: {name}}}", path.display());
        sites += &format!("  {name}: {{hosts: [{name}.test], apps: {{/: {app}}}}}\n");
    }
    format!(
        "schema: confgen/1\nserver: {{listen: {{http: '127.0.0.1:{port}'}}}}\nruntime: {{module: {}}}\ndaemons:\n{daemons}sites:\n{sites}",
        module()
    )
}

const GOOD: &str = "import time\ntime.sleep(1)\nopen(__file__ + '.loaded', 'w').close()\ndef application(environ, start_response):\n    start_response('200 OK', [])\n    return [b'good']\n";

#[test]
fn each_application_that_does_not_serve_is_one_error_and_the_others_serve() {
    let place = Place::new();
    fs::set_permissions(place.site(), fs::Permissions::from_mode(0o777)).unwrap();
    let port = port();
    let fast = "timeouts: {shutdown: 1s}";
    let applications = [
        ("good", GOOD, fast),
        ("late", "import time\ntime.sleep(0.5)\nraise ValueError('too late')\n", fast),
        ("nameless", "def app(environ, start_response): pass\n", fast),
        ("number", "application = 5\n", fast),
        ("leaves", "import os\nos._exit(7)\n", fast),
        ("endless", "while True: pass\n", fast),
        ("tiny", GOOD, "memory-limit: 1K"),
    ];
    let started = place.start_spec(&spec(&place, port.port(), &applications), &["--timeout", "6"]);
    assert!(place.site().join("good.wsgi.loaded").exists(), "serving, but not loaded");
    let said = &started.said;
    for (code, about, text) in [
        ("CG430", "late.wsgi` at / of the site `late` does not load", "ValueError: too late"),
        (
            "CG431",
            "nameless.wsgi` at / of the site `nameless` has no callable `application`",
            "there is `app`: write `callable: app`",
        ),
        ("CG431", "`application` of ", "number.wsgi` at / of the site `number` cannot be called"),
        ("CG433", "the processes of the daemon `leaves` do not serve", "exit code 7"),
        ("CG432", "endless.wsgi` at / of the site `endless` did not load and answer within 6 s", "`--timeout SECONDS`"),
        ("CG433", "the processes of the daemon `tiny` do not serve", "tiny.wsgi"),
    ] {
        let lines: Vec<&str> = said.lines().filter(|line| line.contains(about)).collect();
        assert!(lines.iter().any(|line| line.starts_with(&format!("error[{code}]"))), "{about}\n{said}");
        assert!(said.contains(text), "{text}\n{said}");
    }
    assert_eq!(said.matches("error[").count(), 6, "{said}");
    assert!(
        said.contains("waiting for `")
            && said.contains("endless.wsgi` at / of the site `endless` to load (5 s of 6 s)"),
        "{said}"
    );
    let serving = said.lines().last().unwrap();
    assert!(
        serving.contains(&format!("on http://good.test:{}/ as", port.port())),
        "only what answers is announced: {serving}"
    );
    assert!(serving.contains("except for 6 applications"), "{serving}");
    assert!(started.get_from("/", "good.test").ends_with("good"));
    // The endless one would be waited for.
    started.interrupt();
    started.interrupt();
    started.ends_with(0);
}

#[test]
fn all_or_nothing_serves_nothing_when_one_application_fails() {
    let place = Place::new();
    fs::set_permissions(place.site(), fs::Permissions::from_mode(0o777)).unwrap();
    let port = port();
    let applications = [("good", GOOD, ""), ("broken", "raise RuntimeError('no')\n", "")];
    fs::write(place.site().join("spec.yaml"), spec(&place, port.port(), &applications)).unwrap();
    let (code, _, said) = place.run(&["start", "--spec", "spec.yaml", "--all-or-nothing"]);
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("error[CG430]") && !said.contains("serving "), "{said}");
    let log = said.split_whitespace().find(|word| word.contains("logs/error.log")).unwrap();
    let log = log.split(':').next().unwrap();
    assert!(fs::read_to_string(log).unwrap().contains("RuntimeError: no"), "the log is kept");
    let root = std::path::Path::new(log).ancestors().nth(2).unwrap();
    assert!(!root.join("httpd.conf").exists(), "nothing but the log is kept");
    fs::remove_dir_all(root).unwrap();
    assert_eq!(place.run(&["status"]).0, Some(1));
}

#[test]
fn a_script_without_the_callable_is_refused_with_the_one_that_is_there() {
    let place = Place::new();
    for (name, argument, advice) in [
        ("shop.py", "shop.py", "there is `app`: run `confgen start shop:app`"),
        ("plain.wsgi", "plain.wsgi", "there is `app`: rename it to `application`"),
        ("shop.py", "shop:application", "there is `app`: run `confgen start shop:app`"),
    ] {
        fs::write(place.site().join(name), "def app(environ, start_response): pass\n").unwrap();
        let (code, _, said) = place.run(&["start", argument, "--port", "0", "--module", &module()]);
        assert_eq!(code, Some(6), "{said}");
        assert!(said.contains("error[CG431]") && said.contains(advice), "{said}");
        assert!(said.contains(&format!("confgen start {argument}")), "the argument is quoted: {said}");
        assert_eq!(said.matches("error[").count(), 1, "{said}");
    }
}

#[test]
fn a_missing_package_is_said_with_the_python_that_lacks_it() {
    let place = Place::new();
    fs::write(place.site().join("app.wsgi"), "import no_such_package\n").unwrap();
    let arguments = ["start", "app.wsgi", "--port", "0", "--module", &module()];
    let (code, _, said) = place.run(&arguments);
    assert_eq!(code, Some(6), "{said}");
    assert!(
        said.contains("No module named 'no_such_package'") && said.contains("without a virtual environment"),
        "{said}"
    );
    assert!(said.contains("--venv DIR`"), "{said}");
    // One beside the application was probably forgotten.
    let venv = place.site().join(".venv");
    make_venv(&venv);
    let (_, _, said) = place.run(&arguments);
    assert!(said.contains(&format!("--venv {}`", venv.canonicalize().unwrap().display())), "{said}");
    // An activated one is used, and named.
    let mut command = place.confgen(&arguments);
    let output = command.env("VIRTUAL_ENV", &venv).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("in the virtual environment {}", venv.display())), "{said}");
    assert!(said.contains("bin/pip install"), "{said}");
}

/// An environment without packages of its own, made without starting Python.
fn make_venv(folder: &std::path::Path) {
    fs::create_dir_all(folder.join("bin")).unwrap();
    fs::create_dir_all(folder.join("lib/python3.11/site-packages")).unwrap();
    std::os::unix::fs::symlink("/usr/bin/python3", folder.join("bin/python")).unwrap();
    fs::write(folder.join("pyvenv.cfg"), "home = /usr/bin\nversion = 3.11.2\n").unwrap();
}

#[test]
fn an_application_that_answers_with_an_error_serves_with_a_warning() {
    let place = Place::new();
    fs::write(
        place.site().join("app.wsgi"),
        "def application(environ, start_response):\n    raise LookupError('now')\n",
    )
    .unwrap();
    let started = place.start(&[]);
    assert!(
        started.said.contains("warning[CG435]") && started.said.contains("answers its first request with 500"),
        "{}",
        started.said
    );
    started.interrupt();
    started.ends_with(0);
}

#[test]
fn what_is_announced_answers_and_paths_begin_at_the_spec() {
    let place = Place::new();
    let held = port();
    let spec = format!(
        "schema: confgen/1\nserver: {{listen: {{http: '127.0.0.1:{}'}}}}\nruntime: {{module: {}}}\ndaemons: {{d: {{home: .}}}}\nsites:\n  s:\n    hosts: [www.example.test]\n    apps: {{/shop: {{script: ./app.wsgi, daemon: d}}}}\n    static: {{/static: {{dir: files}}}}\n",
        held.port(),
        module()
    );
    fs::create_dir(place.site().join("files")).unwrap();
    fs::write(place.site().join("spec.yaml"), spec).unwrap();
    // From another folder: it is the spec's that counts.
    let spec = place.site().join("spec.yaml");
    let mut started = place.launch_in(place.folder(), &["start", "--spec", spec.to_str().unwrap()]);
    assert_eq!(started.url, format!("http://www.example.test:{}/shop", held.port()));
    started.until("curl --resolve ");
    let curl = started.said.lines().last().unwrap().split("machine: ").nth(1).unwrap();
    let output = assert_cmd::Command::new("sh").args(["-c", &format!("{curl} -sS --noproxy '*'")]).output().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(answer.starts_with(&place.site().canonicalize().unwrap().display().to_string()), "{curl}: {answer}");
    started.interrupt();
    started.ends_with(0);
}

#[test]
fn the_short_form_listens_where_it_is_told() {
    let place = Place::new();
    let started = place.start(&["--host", "127.0.0.2"]);
    assert!(started.url.starts_with("http://127.0.0.2:"), "{}", started.url);
    assert!(std::net::TcpStream::connect(("127.0.0.2", started.port())).is_ok());
    assert!(std::net::TcpStream::connect(("127.0.0.1", started.port())).is_err());
    started.interrupt();
    started.ends_with(0);
    let started = place.start(&["--host", "0.0.0.0"]);
    assert!(started.url.starts_with("http://localhost:"), "{}", started.url);
    assert!(get(started.port(), "/x", "localhost").ends_with("/x"));
    started.interrupt();
    started.ends_with(0);
}

#[test]
fn a_file_with_a_callable_is_no_argument_but_its_module_is() {
    let place = Place::new();
    fs::write(place.site().join("shop.py"), "").unwrap();
    let (code, _, said) = place.run(&["start", "./shop.py:app", "--port", "0"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("error[CG113]") && said.contains("`confgen start shop:app`"), "{said}");
    // What is wrong with an argument is shown at the argument.
    let (code, _, said) = place.run(&["start", "shpo:app", "--port", "0", "--module", &module()]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("error[CG114]") && said.contains("did you mean `shop:app`?"), "{said}");
    assert!(
        said.contains(" --> the command line:1:15") && said.contains("| confgen start shpo:app --port 0"),
        "{said}"
    );
}

#[test]
fn sites_with_tls_are_asked_too() {
    let place = Place::new();
    let held = port();
    for (name, from) in [("cert.pem", "rsa.pem"), ("key.pem", "rsa.key")] {
        let from = crate::fixture::workspace().join("crates/confgen/tests/data").join(from);
        fs::copy(from, place.site().join(name)).unwrap();
    }
    fs::set_permissions(place.site().join("key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
    let spec = |script: &str| {
        format!(
            "schema: confgen/1\nserver: {{listen: {{https: '127.0.0.1:{}'}}}}\nruntime: {{module: {}}}\ndaemons: {{d: {{}}}}\nsites: {{s: {{hosts: [rsa.example], tls: {{cert: cert.pem, key: {{file: key.pem}}}}, apps: {{/: {{script: {script}, daemon: d}}}}}}}}\n",
            held.port(),
            module()
        )
    };
    fs::write(place.site().join("nameless.wsgi"), "app = len\n").unwrap();
    fs::write(place.site().join("spec.yaml"), spec("nameless.wsgi")).unwrap();
    let (code, _, said) = place.run(&["start", "--spec", "spec.yaml"]);
    assert_eq!(code, Some(6), "{said}");
    assert!(said.contains("error[CG431]"), "{said}");
    let started = place.start_spec(&spec("app.wsgi"), &[]);
    assert!(started.url.starts_with("https://rsa.example:"), "{}", started.url);
    started.interrupt();
    started.ends_with(0);
}
