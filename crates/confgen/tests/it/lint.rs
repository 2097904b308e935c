//! `confgen lint`.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::Value;

use crate::fixture::{machine, workspace};
use crate::place::Place;

/// A configuration with one finding of each severity, two of them mended by `--fix`.
const SITE: &str = "<VirtualHost *:80>\n    ServerName shop.example\n    WSGIDaemonProcess shop request-timeout=20 socket-timeout=90 lang=C.UTF-8 display-name=%{GLOBAL}\n    WSGIScriptAlias / /srv/shop/app.wsgi process-group=shopp application-group=%{GLOBAL}\n    <Directory /srv/shop>\n        Order allow,deny\n        Allow from all\n    </Directory>\n    WSGIProcessGroup shop\n    WSGIAcceptMutex sysvsem\n</VirtualHost>\n";

fn place(text: &str) -> Place {
    let place = Place::new();
    fs::write(place.site().join("site.conf"), text).unwrap();
    place
}

fn codes(json: &str) -> Vec<String> {
    let answer: Value = serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"));
    let found = answer["diagnostics"].as_array().unwrap();
    found.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn findings_decide_how_it_ends() {
    let place = place(SITE);
    let (code, out, errors) = place.run(&["lint", "site.conf"]);
    assert_eq!(code, Some(1), "{out}{errors}");
    assert!(out.contains("error[CG206]: no `WSGIDaemonProcess` defines the group `shopp`"), "{out}");
    assert!(out.contains("site.conf:4:42") && out.contains("did you mean `shop`?"), "{out}");
    assert!(errors.contains("errors") && errors.contains("warnings"), "{errors}");
    fs::write(place.site().join("site.conf"), "WSGIDaemonProcess a lang=C display-name=a\n").unwrap();
    for (level, expected) in [("note", 1), ("warning", 0), ("error", 0)] {
        let (code, out, _) = place.run(&["lint", "site.conf", "--level", level]);
        assert_eq!(code, Some(expected), "{level} {out}");
        assert!(out.contains("note[CG221]"), "{out}");
    }
    fs::write(place.site().join("site.conf"), "Timeout 60\n").unwrap();
    let (code, out, errors) = place.run(&["lint", "site.conf", "--level", "note"]);
    assert_eq!((code, out.as_str(), errors.trim()), (Some(0), "", "no findings"));
}

#[test]
fn every_form_says_the_same() {
    let place = place(SITE);
    let (_, json, _) = place.run(&["lint", "site.conf", "--format", "json"]);
    let expected = codes(&json);
    assert!(expected.len() >= 5, "{expected:?}");
    let (code, short, _) = place.run(&["lint", "site.conf", "--json"]);
    assert_eq!((code, codes(&short)), (Some(1), expected.clone()));
    let (code, sarif, _) = place.run(&["lint", "site.conf", "--format", "sarif"]);
    assert_eq!(code, Some(1));
    let log: Value = serde_json::from_str(&sarif).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let ids: Vec<&str> = results.iter().map(|result| result["ruleId"].as_str().unwrap()).collect();
    assert_eq!(ids, expected);
    let (_, github, _) = place.run(&["lint", "site.conf", "--format", "github"]);
    assert_eq!(github.lines().count(), expected.len());
    for (line, code) in github.lines().zip(&expected) {
        assert!(
            line.starts_with("::") && line.contains("file=site.conf,line=") && line.contains(code.as_str()),
            "{line}"
        );
    }
}

#[test]
fn what_needs_no_decision_is_mended() {
    let place = place(SITE);
    let file = place.site().join("site.conf");
    let (_, out, errors) = place.run(&["lint", "site.conf", "--fix"]);
    assert!(errors.contains("fixed 3 in site.conf"), "{errors}");
    let mended = SITE
        .replace("%{GLOBAL}\n    WSGIScript", "%{GROUP}\n    WSGIScript")
        .replace("        Order allow,deny\n        Allow from all\n", "        Require all granted\n")
        .replace("    WSGIAcceptMutex sysvsem\n", "");
    assert_eq!(fs::read_to_string(&file).unwrap(), mended);
    assert!(!out.contains("CG242") && out.contains("CG206"), "{out}");
    // Nothing is left to mend, so nothing is written.
    let before = fs::metadata(&file).unwrap().modified().unwrap();
    let (_, _, errors) = place.run(&["lint", "site.conf", "--fix"]);
    assert!(!errors.contains("fixed"), "{errors}");
    assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
}

#[test]
fn comments_allow_with_a_reason() {
    let allowed = |comment: &str| {
        let text = format!("{comment}\n<VirtualHost *:80>\nWSGIAcceptMutex sysvsem\n</VirtualHost>\n");
        let place = place(&text);
        let (_, json, _) = place.run(&["lint", "site.conf", "--json"]);
        (codes(&json), json)
    };
    let wrong = "CG249";
    assert_eq!(allowed("# a comment").0, ["CG249", "CG251"]);
    assert_eq!(allowed("# confgen: allow CG251 the machine is old").0, [wrong]);
    assert_eq!(allowed("# confgen: allow CG251 old\n# confgen: allow CG249 as well").0, Vec::<String>::new());
    for (comment, message) in [
        ("# confgen: allow CG251", "gives no reason"),
        ("# confgen: allow CG299 reason", "unknown code `CG299`"),
        ("# confgen: allow", "names no code"),
        ("# confgen: alow CG251 reason", "unknown word `alow`"),
    ] {
        let (found, json) = allowed(comment);
        assert_eq!(found, ["CG162", "CG249", "CG251"], "{comment}");
        assert!(json.contains(message), "{comment}: {json}");
    }
    // One that allows nothing is said to be superfluous.
    let (found, json) = allowed("# confgen: allow CG219 threads");
    assert_eq!(found, ["CG162", "CG249", "CG251"]);
    assert!(json.contains("nothing here is reported as CG219"), "{json}");
}

#[test]
fn a_spec_is_judged_at_its_keys() {
    let place = Place::new();
    fs::write(place.site().join("facts.json"), machine().to_text()).unwrap();
    let spec = |lint: &str| {
        let text = format!(
            "schema: confgen/1\nserver: {{name: shop}}\nruntime: {{restrict: {{signal: false}}}}\ndaemons: {{d: {{threads: 60, timeouts: {{request: 5s}}}}}}\nsites: {{main: {{apps: {{/: {{script: /srv/app.wsgi, daemon: d, interpreter: main}}}}}}}}\n{lint}\n"
        );
        fs::write(place.site().join("spec.yaml"), text).unwrap();
        place.run(&["lint", "spec.yaml", "--facts", "facts.json", "--json"])
    };
    let (code, json, errors) = spec("");
    assert_eq!(code, Some(1), "{json}{errors}");
    assert_eq!(codes(&json), ["CG234", "CG219"], "{json}");
    let answer: Value = serde_json::from_str(&json).unwrap();
    let label = &answer["diagnostics"][1]["labels"][0];
    assert_eq!((&label["file"], &label["start"]["line"]), (&Value::from("spec.yaml"), &Value::from(4)), "{json}");
    let (code, json, _) = spec("lint: {allow: {CG234: \"an old application\", CG219: \"measured\"}}");
    assert_eq!((code, codes(&json)), (Some(0), Vec::new()), "{json}");
    let (code, json, errors) = spec("lint: {allow: {CG999: reason}}");
    assert_eq!(code, Some(2), "{json}{errors}");
    assert!(json.contains("CG999"), "{json}");
    let (code, json, _) = spec("lint: {deny: error}");
    assert_eq!((code, codes(&json).len()), (Some(0), 2), "{json}");
    let (code, _, errors) = place.run(&["lint", "spec.yaml", "--facts", "facts.json", "--fix"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("is a spec"), "{errors}");
}

#[test]
fn the_example_is_clean_or_says_why_not() {
    let example = workspace().join("examples");
    let place = Place::new();
    let spec = example.join("two-sites.yaml").display().to_string();
    let facts = example.join("two-sites.facts.json").display().to_string();
    let (code, out, errors) = place.run(&["lint", &spec, "--facts", &facts, "--level", "note"]);
    assert_eq!(code, Some(0), "{out}{errors}");
}

#[test]
fn text_that_httpd_would_not_read_is_a_finding() {
    let place = place("ServerRoot /etc/httpd\nListen 80\nInclude more.conf\n");
    fs::write(place.site().join("more.conf"), "Timeout 60\n<Directory /srv>\nRequire all granted\n").unwrap();
    let (code, out, _) = place.run(&["lint", "site.conf"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("error[CG161]: the section `<Directory>` is not closed"), "{out}");
    assert!(out.contains("more.conf:2:1") && out.contains("included from here"), "{out}");
    fs::write(place.site().join("more.conf"), "DocumentRot /srv/${WWW}\nPassengerRoot /x\n").unwrap();
    let (code, out, _) = place.run(&["lint", "site.conf"]);
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("warning[CG164]") && out.contains("did you mean `DocumentRoot`?"), "{out}");
    assert!(out.contains("note[CG163]: nothing defines `${WWW}`"), "{out}");
    assert!(!out.contains("Passenger"), "{out}");
}

#[test]
fn what_is_no_configuration_is_refused_by_name() {
    let place = place("Timeout 60\n");
    let site = place.site();
    nix::unistd::mkfifo(&site.join("pipe.conf"), nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    symlink("loop.conf", site.join("loop.conf")).unwrap();
    fs::create_dir(site.join("empty")).unwrap();
    fs::File::create(site.join("large.conf")).unwrap().set_len(50_000_000).unwrap();
    fs::write(site.join("binary.conf"), [0_u8, 159, 146, 150, b'\n', 255, 254, 0]).unwrap();
    for (path, expected, words) in [
        ("pipe.conf", 4, "named pipe"),
        ("loop.conf", 4, "loop.conf"),
        ("none.conf", 4, "none.conf"),
        ("large.conf", 4, "larger than 16 MiB"),
        ("empty", 2, "no main configuration file"),
        ("/dev/zero", 4, "device"),
    ] {
        let (code, out, errors) = place.run(&["lint", path]);
        assert_eq!((code, out.as_str()), (Some(expected), ""), "{path} {errors}");
        assert!(errors.contains(words), "{path} {errors}");
    }
    // All of the wrong ones are named at once.
    let (code, _, errors) = place.run(&["lint", "none.conf", "empty", "site.conf"]);
    assert_eq!(code, Some(4));
    assert!(errors.contains("none.conf") && errors.contains("no main configuration file"), "{errors}");
    assert_eq!(place.run(&["lint", "binary.conf"]).0, Some(0));
    let (code, _, errors) = place.run(&["lint", "-", "--fix"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("standard input"), "{errors}");
}

#[test]
fn every_rule_is_explained() {
    let place = Place::new();
    for number in 1..=58 {
        let code = format!("cg2{number:02}");
        let (exit, out, errors) = place.run(&["explain", &code]);
        assert_eq!(exit, Some(0), "{code} {errors}");
        assert!(out.contains("Cause: ") && out.contains("Fix: "), "{out}");
    }
}
