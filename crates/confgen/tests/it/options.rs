//! No option of any command is ignored: with every form of every command it is applied, or refused by name.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;

use confgen::httpd::Signal;

use crate::fixture::workspace;
use crate::place::{Place, module, port};

/// What an option has to lead to.
enum Expect {
    /// Refused, with these words and the option's name; exit status 2.
    Refused(&'static str),
    /// The output has this text.
    Shows(&'static str),
    /// A server is started, which is announced with this text.
    Serves(&'static str),
    /// A server is started, whose configuration has this text.
    Configures(&'static str),
    /// A test of its own shows it.
    Elsewhere,
}
use Expect::{Configures, Elsewhere, Refused, Serves, Shows};

/// Form, option, arguments after those of the form, what they lead to.
type Case = (&'static str, &'static str, &'static [&'static str], Expect);

/// The forms, with their first arguments.
const FORMS: &[(&str, &[&str])] = &[
    ("init", &["init"]),
    ("render", &["render", "spec.yaml"]),
    ("check", &["check", "spec.yaml"]),
    ("start", &["start", "app.wsgi"]),
    ("start --spec", &["start", "--spec", "spec.yaml"]),
    ("stop", &["stop"]),
    ("restart", &["restart"]),
    ("graceful", &["graceful"]),
    ("status", &["status"]),
    ("secrets", &["secrets", "tree"]),
    ("schema", &["schema"]),
    ("explain", &["explain"]),
    ("facts", &["facts"]),
    ("fmt", &["fmt", "apache.conf"]),
    ("lint", &["lint", "apache.conf"]),
    ("import", &["import"]),
    ("express", &["express"]),
    ("route", &["route", "apache.conf", "http://x/"]),
    ("show", &["show", "vhosts", "apache.conf"]),
    ("completions", &["completions"]),
    ("man", &["man"]),
];

const CASES: &[Case] = &[
    ("init", "directory", &["."], Shows("wrote     ")),
    ("init", "force", &["--force"], Shows("wrote     ")),
    ("init", "stdout", &["--stdout"], Shows("schema: confgen/1\n")),
    ("init", "json", &["--json"], Shows("\"framework\": \"WSGI\"")),
    ("render", "profile", &["--profile", "dev"], Shows("threads=\"7\"")),
    ("render", "set", &["--set", "daemons.d.threads=8"], Shows("threads=\"8\"")),
    ("render", "facts", &["--facts", "none.json"], Shows("none.json")),
    ("render", "httpd", &["--httpd", "/nonexistent/httpd"], Shows("/nonexistent/httpd")),
    ("render", "output", &["--output", "tree"], Shows("wrote ")),
    ("render", "server_root", &["--server-root", "/srv/else"], Shows("ServerRoot \"/srv/else\"")),
    (
        "render",
        "check_files",
        &["--facts", "FACTS", "--check-files", "--set", "sites.s.apps={/: {script: /none.wsgi}}"],
        Shows("there is no file /none.wsgi"),
    ),
    ("render", "force", &["--force"], Refused("--output")),
    ("render", "adopt", &["--output", ".", "--adopt"], Shows("wrote ")),
    ("render", "system_folder", &["--output", "tree", "--system-folder"], Refused("--adopt")),
    ("render", "prune", &["--prune"], Refused("--output")),
    (
        "render",
        "no_test",
        &["--output", "tree", "--no-test", "--set", "raw=[{at: server.end, text: Nonsense}]"],
        Shows("wrote "),
    ),
    (
        "render",
        "secrets",
        &["--output", "tree", "--secrets", "later", "--set", "daemons.d.env={A: {secret: {env: NONE}}}"],
        Shows("later "),
    ),
    ("render", "spec", &[], Shows("WSGIDaemonProcess \"d\"")),
    ("render", "json", &["--json"], Shows("\"files\": [")),
    ("check", "profile", &["--profile", "none"], Shows("there is no profile `none`")),
    ("check", "set", &["--set", "daemons.d.thraeds=8"], Shows("`thraeds`")),
    ("check", "facts", &["--facts", "none.json"], Shows("none.json")),
    ("check", "httpd", &["--httpd", "/nonexistent/httpd"], Shows("/nonexistent/httpd")),
    ("check", "server_root", &["--server-root", "relative"], Shows("absolute path: relative")),
    ("check", "no_httpd", &["--no-httpd"], Shows("httpd was not asked")),
    ("check", "spec", &[], Shows("spec.yaml: 1 site")),
    ("check", "json", &["--json"], Shows("\"httpd-tested\": true")),
    ("start", "application", &[], Serves("serving app.wsgi on ")),
    ("start", "spec", &["--spec", "spec.yaml"], Refused("cannot be used with")),
    ("start", "profile", &["--profile", "dev"], Refused("applies to a spec")),
    ("start", "set", &["--set", "zzz"], Refused("applies to a spec")),
    ("start", "all_or_nothing", &["--all-or-nothing"], Refused("applies to a spec")),
    ("start", "port", &["--port", "BUSY"], Shows("is in use by pid ")),
    ("start", "host", &["--host", "192.0.2.1"], Shows("192.0.2.1 is not an address of this machine")),
    ("start", "user", &["--user", "nosuchuser"], Shows("nosuchuser")),
    ("start", "processes", &["--processes", "2"], Configures("processes=\"2\"")),
    ("start", "threads", &["--threads", "3"], Configures("threads=\"3\"")),
    ("start", "venv", &["--venv", "/nonexistent/venv"], Shows("/nonexistent/venv")),
    ("start", "module", &["--module", "/nonexistent.so"], Shows("there is no file /nonexistent.so")),
    ("start", "name", &["--name", "other"], Serves("(other, httpd ")),
    ("start", "server_root", &["--server-root", "tree"], Configures("/site/tree\"")),
    ("start", "httpd", &["--httpd", "/nonexistent/httpd"], Shows("/nonexistent/httpd")),
    ("start", "debug", &["--debug"], Configures("debug/main-root.wsgi")),
    ("start", "no_preflight", &["--no-preflight"], Serves("serving app.wsgi")),
    ("start", "timeout", &["--timeout", "0"], Shows("was not ready within 0")),
    ("start", "grace", &[], Elsewhere),
    ("start", "json", &["--json", "--port", "BUSY"], Shows("\"exit\": 4")),
    ("start --spec", "spec", &[], Serves("serving spec.yaml on ")),
    ("start --spec", "application", &["app.wsgi"], Refused("cannot be used with")),
    ("start --spec", "profile", &["--profile", "dev"], Configures("threads=\"7\"")),
    ("start --spec", "set", &["--set", "daemons.d.threads=8"], Configures("threads=\"8\"")),
    ("start --spec", "all_or_nothing", &[], Elsewhere),
    ("start --spec", "port", &["--port", "1"], Refused("cannot be used with")),
    ("start --spec", "host", &["--host", "localhost"], Refused("cannot be used with")),
    ("start --spec", "user", &["--user", "nobody"], Refused("cannot be used with")),
    ("start --spec", "processes", &["--processes", "2"], Refused("cannot be used with")),
    ("start --spec", "threads", &["--threads", "2"], Refused("cannot be used with")),
    ("start --spec", "venv", &["--venv", "/x"], Refused("cannot be used with")),
    ("start --spec", "module", &["--module", "auto"], Refused("cannot be used with")),
    ("start --spec", "debug", &["--debug"], Refused("cannot be used with")),
    ("start --spec", "name", &["--name", "other"], Serves("(other, httpd ")),
    ("start --spec", "server_root", &["--server-root", "tree"], Configures("/site/tree\"")),
    ("start --spec", "httpd", &["--httpd", "/nonexistent/httpd"], Shows("/nonexistent/httpd")),
    ("start --spec", "no_preflight", &["--no-preflight"], Serves("serving spec.yaml")),
    ("start --spec", "timeout", &["--timeout", "0"], Shows("was not ready within 0")),
    ("start --spec", "grace", &[], Elsewhere),
    ("start --spec", "json", &["--json", "--httpd", "/nonexistent/httpd"], Shows("\"exit\": 4")),
    ("stop", "name", &["nobody"], Shows("there is no instance named nobody")),
    ("stop", "graceful", &[], Elsewhere),
    ("stop", "timeout", &[], Elsewhere),
    ("stop", "json", &["--json"], Shows("\"exit\": 1")),
    ("restart", "name", &["nobody"], Shows("there is no instance named nobody")),
    ("restart", "timeout", &[], Elsewhere),
    ("restart", "json", &["--json"], Shows("\"exit\": 1")),
    ("graceful", "name", &["nobody"], Shows("there is no instance named nobody")),
    ("graceful", "timeout", &[], Elsewhere),
    ("graceful", "json", &["--json"], Shows("\"exit\": 1")),
    ("status", "name", &["nobody"], Shows("there is no instance named nobody")),
    ("status", "json", &["--json"], Shows("\"servers\": []")),
    ("secrets", "directory", &[], Shows("site/tree")),
    ("secrets", "force", &[], Elsewhere),
    ("secrets", "json", &["--json"], Shows("\"exit\": 4")),
    ("schema", "json", &["--json"], Shows("\"$schema\"")),
    ("explain", "code", &["CG409"], Shows("CG409: httpd did not start")),
    ("explain", "json", &["--json"], Shows("\"code\": \"CG101\"")),
    ("facts", "facts", &["--facts", "none.json"], Shows("none.json")),
    ("facts", "httpd", &["--httpd", "/nonexistent/httpd"], Shows("/nonexistent/httpd")),
    ("facts", "json", &["--json"], Shows("\"schema\": \"confgen-facts/1\"")),
    ("fmt", "files", &[], Shows("formatted apache.conf")),
    ("fmt", "check", &["--check"], Shows("+    ServerName x")),
    ("fmt", "json", &["--json"], Shows("\"changed\": true")),
    ("lint", "paths", &[], Shows("note[CG221]")),
    ("lint", "fix", &["-", "--fix"], Refused("cannot change standard input")),
    ("lint", "format", &["--format", "github"], Shows("::notice file=apache.conf")),
    ("lint", "level", &["--level", "loud"], Refused("invalid value 'loud'")),
    ("lint", "profile", &["spec.yaml", "--profile", "none"], Shows("there is no profile `none`")),
    ("lint", "facts", &["spec.yaml", "--facts", "none.json"], Shows("none.json")),
    ("lint", "httpd", &["spec.yaml", "--httpd", "/nonexistent/httpd"], Shows("/nonexistent/httpd")),
    ("lint", "json", &["--json"], Shows("\"counts\"")),
    ("import", "json", &["httpd", "apache.conf", "--json"], Shows("\"spec\": {")),
    ("express", "line", &["setup-server"], Shows("is not named")),
    ("express", "json", &["--json", "setup-server", "app.wsgi", "--server-root", "tree"], Shows("\"changed\"")),
    ("route", "path", &[], Shows("no `DocumentRoot`")),
    ("route", "url", &[], Shows("result")),
    ("route", "profile", &["--profile", "none"], Refused("a profile belongs to a spec")),
    ("route", "facts", &["--facts", "none.json"], Refused("facts are for specs")),
    ("route", "httpd", &["--httpd", "/nonexistent/httpd"], Refused("is for specs")),
    ("route", "from", &["--from", "nowhere"], Refused("invalid value 'nowhere'")),
    ("route", "header", &["--header", "Host"], Shows("`Host` is no header")),
    ("route", "method", &["--method", "PUT"], Shows("result")),
    ("route", "json", &["--json"], Shows("\"outcome\"")),
    ("show", "what", &[], Shows("the main server")),
    ("show", "path", &[], Shows("the main server")),
    ("show", "profile", &["--profile", "none"], Refused("a profile belongs to a spec")),
    ("show", "facts", &["--facts", "none.json"], Refused("facts are for specs")),
    ("show", "httpd", &["--httpd", "/nonexistent/httpd"], Refused("is for specs")),
    ("show", "json", &["--json"], Shows("\"place\"")),
    ("completions", "shell", &["bash"], Shows("_confgen()")),
    ("completions", "json", &["fish", "--json"], Shows("\"shell\": \"fish\"")),
    ("man", "output", &["--output", "pages", "--json"], Shows("\"directory\": \"pages\"")),
    ("man", "json", &["--json"], Shows("\"page\": ")),
];

fn spec(place: &Place, port: u16) -> String {
    format!(
        "schema: confgen/1\nserver: {{listen: {{http: '127.0.0.1:{port}'}}}}\nruntime: {{module: {}}}\ndaemons: {{d: {{threads: 5}}}}\nsites: {{s: {{apps: {{/: {{script: {}, daemon: d}}}}}}}}\nprofiles: {{dev: {{daemons: {{d: {{threads: 7}}}}}}}}\n",
        module(),
        place.site().join("app.wsgi").display()
    )
}

fn check(case: &Case) {
    let (form, option, more, expect) = case;
    if matches!(expect, Elsewhere) {
        return;
    }
    let place = Place::new();
    let held = port();
    fs::write(place.site().join("spec.yaml"), spec(&place, held.port())).unwrap();
    fs::write(place.site().join("apache.conf"), "<ifmodule x>\nservername x\nWSGIDaemonProcess d\n</ifmodule>\n")
        .unwrap();
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let busy = (busy.local_addr().unwrap().port().to_string(), busy);
    let facts = workspace().join("examples/two-sites.facts.json").display().to_string();
    let first = FORMS.iter().find(|(name, _)| name == form).unwrap().1;
    let mut arguments: Vec<&str> = first.iter().chain(more.iter()).copied().collect();
    for argument in &mut arguments {
        match *argument {
            "BUSY" => *argument = &busy.0,
            "FACTS" => *argument = &facts,
            _ => {}
        }
    }
    let name = option.replace('_', "-");
    let module = module();
    if *form == "start" {
        let own = [("port", ["--port", "0"]), ("module", ["--module", &module])];
        for (own, words) in &own {
            if own != option && !arguments.contains(&words[0]) {
                arguments.extend(words);
            }
        }
    }
    let root = place.site().join("tree");
    if matches!(expect, Configures(_)) && *option != "server_root" {
        arguments.extend(["--server-root", "tree"]);
    }
    match expect {
        Serves(_) | Configures(_) => {
            let started = place.launch(&arguments);
            let configuration = fs::read_to_string(root.join("httpd.conf")).unwrap_or_default();
            match expect {
                Serves(text) => assert!(started.said.contains(text), "{form} --{name}: {}", started.said),
                Configures(text) => assert!(configuration.contains(text), "{form} --{name}: {configuration}"),
                _ => {}
            }
            started.interrupt();
            started.ends_with(0);
        }
        Refused(_) | Shows(_) => {
            let (code, out, err) = place.run(&arguments);
            let text = out + &err;
            match expect {
                Refused(words) => {
                    assert_eq!(code, Some(2), "{form} --{name}: {text}");
                    assert!(text.contains(words), "{form} --{name}: {text}");
                    let named = text.contains(&format!("--{name}")) || text.contains("[APPLICATION]");
                    assert!(named, "{form} --{name} is not refused by name: {text}");
                }
                Shows(words) => assert!(text.contains(words), "{form} --{name}: {text}"),
                _ => {}
            }
        }
        Elsewhere => {}
    }
}

#[test]
fn every_option_of_every_form_has_a_case() {
    for command in confgen::cli::command().get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_name();
        let forms: Vec<&str> =
            FORMS.iter().map(|(form, _)| *form).filter(|form| form.split(' ').next() == Some(name)).collect();
        assert!(!forms.is_empty(), "{name} has no form");
        let own = command.get_arguments().map(|argument| argument.get_id().as_str());
        let wanted: BTreeSet<&str> = own.filter(|id| !matches!(*id, "help" | "version")).chain(["json"]).collect();
        for form in forms {
            let covered = CASES.iter().filter(|(of, ..)| *of == form).map(|(_, option, ..)| *option).collect();
            assert_eq!(wanted, covered, "{form}");
        }
    }
}

#[test]
fn options_of_commands_about_files_are_applied_or_refused() {
    CASES.iter().filter(|(form, ..)| !form.starts_with("start")).for_each(check);
}

#[test]
fn options_of_start_are_applied_or_refused() {
    CASES.iter().filter(|(form, ..)| *form == "start").for_each(check);
}

#[test]
fn options_of_start_with_a_spec_are_applied_or_refused() {
    CASES.iter().filter(|(form, ..)| *form == "start --spec").for_each(check);
}

#[test]
fn colours_are_asked_for_with_every_command() {
    let place = Place::new();
    for (form, first) in FORMS {
        for (colour, expected) in [("always", true), ("never", false)] {
            let arguments = [first, &["--nonsense", "--color", colour][..]].concat();
            let (code, _, err) = place.run(&arguments);
            assert_eq!(code, Some(2), "{form}: {err}");
            assert_eq!(err.contains('\u{1b}'), expected, "{form} {colour}: {err}");
        }
    }
}

#[test]
fn a_time_limit_of_a_running_server_is_kept() {
    for command in ["graceful", "restart"] {
        let place = Place::new();
        let started = place.start(&[]);
        // A parent process that is stopped neither restarts nor ends.
        place.httpd().signal(Signal::SIGSTOP).unwrap();
        let (code, _, err) = place.run(&[command, "--timeout", "0"]);
        assert_eq!(code, Some(4), "{command}: {err}");
        assert!(err.contains("has not resumed within 0"), "{err}");
        let (code, _, err) = place.run(&["stop", "--timeout", "0"]);
        assert_eq!(code, Some(4), "{err}");
        assert!(err.contains("error[CG437]") && err.contains("had not ended within 0"), "{err}");
        drop(started);
    }
}
