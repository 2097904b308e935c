//! `confgen start` and the commands about running servers.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use confgen::httpd::Handle;

use crate::fixture::this_machine;
use crate::place::{Place, Started, module, port};

#[test]
fn a_script_is_served_from_its_folder_by_its_owner_and_stopped_by_name() {
    let place = Place::new();
    let script = place.site().join("app.wsgi");
    let root = nix::unistd::Uid::effective().is_root();
    if root {
        std::os::unix::fs::chown(&script, Some(65_534), None).unwrap();
    }
    let started = place.start(&[]);
    let user = if root { 65_534 } else { nix::unistd::Uid::effective().as_raw() };
    let site = place.site().canonicalize().unwrap();
    let answer = started.get("/x");
    assert!(answer.ends_with(&format!("{} {user} /x", site.display())), "{answer}");

    let (code, out, _) = place.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(0));
    let server = &status["servers"][0];
    assert_eq!((&server["name"], &server["running"]), (&"app".into(), &true.into()), "{out}");
    assert_eq!(server["daemons"]["app"].as_array().map(Vec::len), Some(1), "{out}");

    let pid = u32::try_from(server["pid"].as_u64().unwrap()).unwrap();
    let handle = Handle::open(pid).unwrap();
    for command in ["graceful", "restart"] {
        let (code, out, err) = place.run(&[command]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        assert!(started.get("/y").ends_with("/y"));
    }
    let (code, out, err) = place.run(&["stop", "app"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "stopped app (app.wsgi)\n", ""));
    assert!(handle.wait(Duration::ZERO));
    started.ends_with(0);
    assert_eq!(place.run(&["status"]).0, Some(1));
}

#[test]
fn an_application_that_does_not_load_ends_the_start() {
    let place = Place::new();
    fs::write(place.site().join("app.wsgi"), "import no_such_module\n").unwrap();
    let module = this_machine().wsgi.module.expect("asserted there").display().to_string();
    let arguments = ["start", "app.wsgi", "--port", "0", "--user", "nobody", "--module", &module];
    let arguments = if nix::unistd::Uid::effective().is_root() {
        arguments.to_vec()
    } else {
        [&arguments[..4], &arguments[6..]].concat()
    };
    let (code, _, said) = place.run(&arguments);
    assert_eq!(code, Some(6), "{said}");
    let error = "`app.wsgi` does not load: ModuleNotFoundError: No module named 'no_such_module'";
    assert_eq!(said.matches("Traceback").count(), 1, "{said}");
    assert!(said.contains(error) && said.contains("logs/error.log"), "{said}");
    assert_eq!(place.run(&["status"]).0, Some(1), "nothing is left");
}

#[test]
fn a_debugger_on_the_terminal_sees_where_an_exception_was_raised() {
    let place = Place::new();
    let raising =
        "def application(environ, start_response):\n    secret = 6 * 7\n    raise LookupError(environ['PATH_INFO'])\n";
    fs::write(place.site().join("app.wsgi"), raising).unwrap();
    let module = this_machine().wsgi.module.expect("asserted there").display().to_string();
    let mut arguments = vec!["start", "app.wsgi", "--port", "0", "--debug", "--module", &module];
    if nix::unistd::Uid::effective().is_root() {
        arguments.extend(["--user", "nobody"]);
    }
    let mut command = place.confgen(&arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut console = BufReader::new(child.stdout.take().unwrap());
    let mut input = child.stdin.take().unwrap();
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("serving ") {
        assert!(errors.read_line(&mut said).unwrap() > 0, "{said}");
    }
    let url = said.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    let started = Started { child, errors, said: said.clone(), url };
    input.write_all(b"p secret\nc\n").unwrap();
    assert!(started.get("/there").starts_with("HTTP/1.1 500"));
    started.interrupt();
    let (code, rest) = started.end();
    assert_eq!(code, Some(0), "{said}{rest}");
    let mut shown = String::new();
    console.read_to_string(&mut shown).unwrap();
    for line in ["changed code is loaded by a restart only", "LookupError: /there", "(Pdb) 42"] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
}

#[test]
fn an_interrupt_stops_the_server_in_order() {
    let place = Place::new();
    let started = place.start(&["--name", "second"]);
    let (_, out, _) = place.run(&["status", "second", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&out).unwrap();
    let root = status["servers"][0]["server-root"].as_str().unwrap().to_owned();
    assert!(Path::new(&root).join("httpd.conf").is_file());
    started.interrupt();
    let (code, said) = started.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(!Path::new(&root).exists(), "the temporary root is removed");
    assert_eq!(place.run(&["stop", "second"]).0, Some(1));
}

#[test]
fn a_killed_start_takes_its_server_along_and_leaves_a_record_that_is_seen_to_be_stale() {
    let place = Place::new();
    let mut started = place.start(&[]);
    let (_, out, _) = place.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&out).unwrap();
    let handle = Handle::open(u32::try_from(status["servers"][0]["pid"].as_u64().unwrap()).unwrap()).unwrap();
    started.child.kill().unwrap();
    assert!(handle.wait(Duration::from_secs(20)));
    let (code, out, _) = place.run(&["status"]);
    assert_eq!(code, Some(1));
    assert!(out.starts_with("app  stale: it has ended"), "{out}");
    let (code, _, err) = place.run(&["stop"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("the server app does not run: it has ended"), "{err}");
    assert_eq!(place.run(&["status"]).1, "no server is running\n");
}

#[test]
fn a_busy_port_a_taken_name_and_a_missing_script_are_named() {
    let place = Place::new();
    let started = place.start(&[]);
    let (code, _, err) = place.run(&["start", "app.wsgi", "--port", "0"]);
    assert_eq!(code, Some(4), "{err}");
    assert!(err.contains("an instance named app is running already (pid "), "{err}");
    let port = started.url.trim_end_matches('/').rsplit(':').next().unwrap().to_owned();
    let (code, _, err) = place.run(&["start", "app.wsgi", "--port", &port, "--name", "other"]);
    assert_eq!(code, Some(4), "{err}");
    assert!(err.contains(&format!("127.0.0.1:{port} is in use by pid ")), "{err}");
    let (code, _, err) = place.run(&["start", "ap.wsgi", "--port", "0"]);
    assert_eq!(code, Some(2));
    assert!(err.contains("error[CG113]: there is no file ") && err.contains("app.wsgi`?"), "{err}");
    started.interrupt();
    started.ends_with(0);
}

#[test]
fn a_folder_that_the_serving_user_cannot_enter_is_named() {
    if !nix::unistd::Uid::effective().is_root() {
        // Only a start as root serves as somebody else.
        return;
    }
    let place = Place::new();
    fs::set_permissions(place.site(), fs::Permissions::from_mode(0o700)).unwrap();
    let (code, _, err) = place.run(&["start", "app.wsgi", "--port", "0", "--user", "nobody"]);
    assert_eq!(code, Some(4));
    let expected =
        format!("the user nobody may not enter the folder {}", place.site().canonicalize().unwrap().display());
    assert!(err.contains("error[CG408]") && err.contains(&expected), "{err}");
    let port = confgen::httpd::HeldPort::loopback().unwrap().port();
    let spec = format!(
        "schema: confgen/1\nserver: {{listen: {{http: '127.0.0.1:{port}'}}}}\ndaemons: {{d: {{}}}}\nsites: {{s: {{apps: {{/: {{script: /etc/hostname, daemon: d}}}}}}}}\n"
    );
    fs::write(place.site().join("spec.yaml"), spec).unwrap();
    let (code, _, err) = place.run(&["start", "--spec", "spec.yaml", "--server-root", "tree"]);
    assert_eq!(code, Some(4));
    assert!(
        err.contains("error[CG408]") && err.contains(&place.site().canonicalize().unwrap().display().to_string()),
        "{err}"
    );
    // Each user along each path: httpd has to get to the script too, and a daemon's user has to read it.
    let spec = format!(
        "schema: confgen/1\nserver: {{listen: {{http: '127.0.0.1:{port}'}}, user: nobody}}\ndaemons: {{d: {{user: daemon, python-path: [/etc/ssl/private]}}}}\nsites: {{s: {{apps: {{/: {{script: app.wsgi, daemon: d}}}}, static: {{/f: {{dir: .}}}}}}}}\n"
    );
    fs::create_dir(place.folder().join("private")).unwrap();
    fs::set_permissions(place.folder().join("private"), fs::Permissions::from_mode(0o700)).unwrap();
    let spec = spec.replace("/etc/ssl/private", "../private");
    fs::write(place.site().join("spec.yaml"), spec).unwrap();
    for command in [&["check", "spec.yaml"][..], &["start", "--spec", "spec.yaml"]] {
        let (code, _, err) = place.run(command);
        assert_eq!(code, Some(4), "{err}");
        let folder = place.site().display().to_string();
        for line in [
            format!("error[CG408]: the user nobody may not enter the folder {folder};"),
            format!("error[CG408]: the user daemon may not enter the folder {folder};"),
            format!(
                "error[CG408]: the user daemon may not enter the folder {};",
                place.folder().join("private").display()
            ),
        ] {
            assert!(err.contains(&line), "{line} is not in {err}");
        }
        assert_eq!(err.matches("error[").count(), 3, "{err}");
        assert!(err.contains("spec.yaml:4:"), "{err}");
    }
    fs::set_permissions(place.site(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(place.folder().join("private"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(place.site().join("app.wsgi"), fs::Permissions::from_mode(0o600)).unwrap();
    let (_, _, err) = place.run(&["check", "spec.yaml"]);
    assert!(err.contains("the user daemon may not read ") && err.matches("error[").count() == 1, "{err}");
    fs::set_permissions(place.site().join("app.wsgi"), fs::Permissions::from_mode(0o644)).unwrap();
    let (code, _, err) = place.run(&["check", "spec.yaml"]);
    assert_eq!(code, Some(0), "{err}");
    let (code, _, err) = place.run(&["start", "app.wsgi", "--port", "0", "--user", "root"]);
    assert_eq!(code, Some(4));
    assert!(err.contains("error[CG117]"), "{err}");
}

#[test]
fn a_restart_with_a_broken_configuration_is_refused_and_the_server_goes_on() {
    let place = Place::new();
    let started = place.start(&[]);
    let (_, out, _) = place.run(&["status", "--json"]);
    let status: serde_json::Value = serde_json::from_str(&out).unwrap();
    let config = Path::new(status["servers"][0]["server-root"].as_str().unwrap()).join("httpd.conf");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "Frobnicate on\n").unwrap();
    for command in ["graceful", "restart"] {
        let (code, _, err) = place.run(&[command]);
        assert_eq!(code, Some(3), "{err}");
        assert!(err.contains("Invalid command 'Frobnicate'") && err.contains("goes on as it was"), "{err}");
    }
    assert!(started.get("/still").ends_with("/still"));
    started.interrupt();
    started.ends_with(0);
}

#[test]
fn a_graceful_restart_takes_over_what_changed_in_the_spec() {
    let place = Place::new();
    let held = port();
    let spec = |threads: u32, more: &str| {
        format!(
            "schema: confgen/1\nserver: {{listen: {{http: '127.0.0.1:{}'}}{more}}}\nruntime: {{module: {}}}\ndaemons: {{d: {{threads: {threads}}}}}\nsites: {{s: {{env: {{X: v{threads}}}, apps: {{/: {{script: {}, daemon: d}}}}}}}}\n",
            held.port(),
            module(),
            place.site().join("app.wsgi").display()
        )
    };
    fs::write(
        place.site().join("app.wsgi"),
        "def application(environ, start_response):\n    start_response('200 OK', [])\n    return [environ['X'].encode()]\n",
    )
    .unwrap();
    let started = place.start_spec(&spec(2, ""), &["--server-root", "tree"]);
    let conf = || fs::read_to_string(place.site().join("tree/httpd.conf")).unwrap();
    let change = |text: &str| fs::write(place.site().join("spec.yaml"), text).unwrap();
    assert!(started.get("/").ends_with("v2"));
    let (code, out, err) = place.run(&["graceful"]);
    assert_eq!((code, out.contains("with the changes")), (Some(0), false), "{out}{err}");
    change(&spec(3, ""));
    let (code, out, err) = place.run(&["graceful"]);
    assert_eq!((code, out.contains("with the changes of ")), (Some(0), true), "{out}{err}");
    assert!(conf().contains("threads=\"3\"") && started.get("/").ends_with("v3"));
    let before = conf();
    for (text, exit, words) in [
        (spec(4, "").replace("threads", "thraeds"), 2, "unknown key `thraeds`"),
        (spec(4, "") + "raw: [{at: server.end, text: Nonsense}]\n", 3, "Invalid command 'Nonsense'"),
        (spec(4, ", environment: {A: b}"), 2, "needs a new start of the server: server.environment"),
        (spec(4, ", mpm: prefork"), 2, "needs a new start of the server: LoadModule"),
        (String::new(), 2, "is empty"),
    ] {
        change(&text);
        for command in ["graceful", "restart"] {
            let (code, _, err) = place.run(&[command]);
            assert_eq!(code, Some(exit), "{err}");
            assert!(err.contains(words) && err.contains("goes on as it was"), "{err}");
            assert_eq!(conf(), before);
        }
    }
    change(&spec(5, ""));
    let (code, out, err) = place.run(&["restart"]);
    assert_eq!((code, out.contains("with the changes of ")), (Some(0), true), "{out}{err}");
    assert!(started.get("/").ends_with("v5"));
    started.interrupt();
    started.ends_with(0);
}
