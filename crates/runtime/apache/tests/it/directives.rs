//! What httpd says of the directives, against the table.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::httpd::{Folder, module, refusal, run, run_with};
use crate::verdicts::peer;

fn table() -> Vec<Value> {
    let text = include_str!("../../directives.json");
    let rows: Value = serde_json::from_str(text).expect("the generated file is JSON");
    rows.as_array().expect("an array").iter().filter(|row| row["kind"] != "daemon-option").cloned().collect()
}

/// Name → help and "Allowed in …" of `httpd -L`.
fn listed(module: &Path) -> BTreeMap<String, (String, String)> {
    let name = if module == crate::httpd::module() { "list" } else { "list-peer" };
    let folder = Folder::new(name);
    let output = run_with(module, &folder, "WSGIRestrictEmbedded On", &["-L"]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut found = BTreeMap::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(name) = line.strip_suffix(" (mod_wsgi.c)") else { continue };
        let help = lines.next().unwrap_or_default().trim().to_owned();
        let mut places = lines.next().unwrap_or_default().trim().to_owned();
        if let Some(more) = lines.peek().filter(|line| line.trim().starts_with("when AllowOverride")) {
            places.push(' ');
            places.push_str(more.trim());
        }
        found.insert(name.to_owned(), (help, places));
    }
    found
}

// Covers: rule:config/directives-all
#[test]
fn httpd_lists_the_table() {
    let mut listed = listed(&module());
    for row in table().iter().filter(|row| row["kind"] != "alias-option") {
        let name = row["name"].as_str().expect("a name");
        let key = if row["kind"] == "container" { format!("<{name}") } else { name.to_owned() };
        let (help, places) = listed.remove(&key).unwrap_or_else(|| panic!("httpd -L does not list {key}"));
        assert_eq!(row["help"], help.as_str(), "{name}");
        let contexts: Vec<&str> =
            row["contexts"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        let expected = match contexts.as_slice() {
            ["server"] | ["server", "vhost"] => {
                "Allowed in *.conf only outside <Directory>, <Files>, <Location>, or <If>"
            }
            ["server", "vhost", "directory"] => "Allowed in *.conf anywhere",
            ["server", "vhost", "directory", "htaccess"] => {
                "Allowed in *.conf anywhere and in .htaccess when AllowOverride includes FileInfo"
            }
            ["directory", "htaccess"] => {
                "Allowed in *.conf only inside <Directory>, <Files>, <Location>, or <If> and in .htaccess when \
                 AllowOverride includes AuthConfig"
            }
            other => panic!("{name} has contexts {other:?}"),
        };
        assert_eq!(places, expected, "{name}");
    }
    assert!(listed.is_empty(), "not in the table: {listed:?}");
}

// Covers: rule:config/directives-all, rule:config/directives-ours-marked
#[test]
fn httpd_lists_what_it_lists_of_the_c_module() {
    let Some(peer) = peer() else {
        return;
    };
    let places = |module: &Path| -> BTreeMap<String, String> {
        listed(module).into_iter().map(|(name, (_, places))| (name, places)).collect()
    };
    let (mut ours, theirs) = (places(&module()), places(&peer));
    for row in table().iter().filter(|row| row["extension"] == true) {
        ours.remove(row["name"].as_str().expect("a name"));
    }
    assert_eq!(theirs.len(), 49);
    assert_eq!(ours, theirs);
}

#[test]
fn what_is_known_and_not_supported_is_refused_by_name() {
    for row in table().iter().filter(|row| row["status"] == "known" && row["kind"] == "directive") {
        let name = row["name"].as_str().expect("a name");
        let line = match row["arity"].as_str() {
            Some("flag") => format!("{name} On"),
            Some("1") => format!("{name} 1"),
            _ => format!("{name} /a /b"),
        };
        let in_directory = row["contexts"][0] == "directory";
        let line = if in_directory { format!("<Directory />\n{line}\n</Directory>") } else { line };
        let refused = refusal(&line).unwrap_or_else(|| panic!("{name} is accepted"));
        assert!(refused.contains(name) && refused.contains("known, not supported yet"), "{refused}");
    }
}

// Covers: rule:mapping/alias-errors, rule:mapping/alias-match-bad-regex, rule:mapping/alias-preload-order,
// rule:mapping/import-errors, rule:config/flags, rule:proxies/address-checked, rule:config/context-server-only,
// rule:daemon/name-needed, rule:daemon/user-root-refused, rule:daemon/user-unknown, rule:auth/errors,
// rule:mapping/handler-script-errors, directive:WSGIGroupAuthoritative, rule:config/context-directory-only
#[test]
fn refusals_have_the_texts_of_the_reference() {
    for (line, text) in [
        (
            "WSGIScriptAlias /x",
            "WSGIScriptAlias requires at least two arguments, Map location to target WSGI script file.",
        ),
        ("WSGIScriptAlias /x /y process-group=", "Invalid name for WSGI process group."),
        ("WSGIScriptAlias /x /y pass-authorization=x", "Invalid value for authorization flag."),
        (
            "WSGIScriptAlias /x /y process-group=web application-group=%{GLOBAL}",
            "WSGI process group not yet configured.",
        ),
        ("WSGIScriptAliasMatch ( /y", "Regular expression could not be compiled."),
        ("WSGIPassAuthorization maybe", "WSGIPassAuthorization must be one of: Off | On"),
        ("WSGIMapHEADToGET x", "WSGIMapHEADToGET must be one of: Off | On | Auto"),
        (
            "WSGITrustedProxies foo",
            "Unable to parse trusted proxy IP address/subnet of \"foo\". The specified IP address is invalid.",
        ),
        ("WSGIImportScript", "Location of import script not supplied."),
        ("WSGIImportScript /x process-group=%{GLOBAL}", "Name of WSGI application group required."),
        ("WSGIImportScript /x application-group=%{GLOBAL}", "Name of WSGI process group required."),
        ("WSGIDaemonProcess", "Name of WSGI daemon process not supplied."),
        ("WSGIDaemonProcess web user=root", "WSGI process blocked from running as root."),
        ("WSGIDaemonProcess web user=no-such-user", "bad user name no-such-user"),
        ("WSGIDaemonProcess web group=no-such-group", "bad group name no-such-group"),
        ("WSGIHandlerScript", "Name for handler script not supplied."),
        ("WSGIHandlerScript name", "Location of handler script not supplied."),
        ("WSGIHandlerScript name /x process-group=", "Invalid name for WSGI process group."),
        ("WSGIHandlerScript name /x application-group=", "Invalid name for WSGI application group."),
        ("WSGIHandlerScript name /x pass-authorization=x", "Invalid value for authorization flag."),
        (
            "WSGIHandlerScript name /x process-grup=x",
            "Invalid option to WSGI handler script definition. Unknown option 'process-grup'; did you mean \
             'process-group'?",
        ),
        ("WSGIDispatchScript", "Location of dispatch script not supplied."),
        ("WSGIDispatchScript /x application-group=", "Invalid name for WSGI application group."),
        (
            "WSGIDispatchScript /x application-grou=x",
            "Invalid option to WSGI dispatch script definition. Unknown option 'application-grou'; did you mean \
             'application-group'?",
        ),
        ("WSGIPassApacheRequest x", "WSGIPassApacheRequest must be one of: Off | On"),
        ("WSGIAccessScript /x", "WSGIAccessScript not allowed here"),
        ("<Location />\nWSGIAccessScript\n</Location>", "Location of access script not supplied."),
        ("<Location />\nWSGIAuthUserScript \"\"\n</Location>", "Location of auth user script not supplied."),
        ("<Location />\nWSGIAuthGroupScript\n</Location>", "Location of auth group script not supplied."),
        (
            "<Location />\nWSGIAccessScript /x application-group\n</Location>",
            "Invalid option to WSGI access script definition. Option 'application-group' \
             needs a value, as in application-group=VALUE",
        ),
        (
            "<Location />\nWSGIAuthUserScript /x y=1\n</Location>",
            "Invalid option to WSGI auth user script definition. Unknown option 'y'",
        ),
        (
            "<Location />\nWSGIAuthGroupScript /x application-group=\n</Location>",
            "Invalid name for WSGI application group.",
        ),
        ("<Location />\nWSGIGroupAuthoritative x\n</Location>", "WSGIGroupAuthoritative must be one of: Off | On"),
        ("WSGISwitchInterval 0", "WSGISwitchInterval must be a positive number of seconds."),
        ("WSGIPythonHashSeed x", "WSGIPythonHashSeed must be \"random\" or an integer in range [0; 4294967295]"),
        (
            "WSGIAcceptMutex foo",
            "Accept mutex lock mechanism 'foo' is invalid. Valid accept mutex mechanisms for this platform are: \
             default, flock, fcntl, sysvsem, posixsem, pthread.",
        ),
        (
            "<VirtualHost *:80>\nWSGIPythonHome /x\n</VirtualHost>",
            "WSGIPythonHome cannot occur within <VirtualHost> section",
        ),
        ("<Location /x>\nWSGIPythonHome /x\n</Location>", "WSGIPythonHome not allowed in <Location> context"),
    ] {
        let refused = refusal(line).unwrap_or_else(|| panic!("{line} is accepted"));
        assert!(refused.starts_with(text), "{line}: {refused}");
    }
}

#[test]
fn refusals_name_what_they_are_about() {
    for (line, text) in [
        ("WSGIDaemonProcess web home=here", "Given is home=here, the option is home=DIRECTORY"),
        ("WSGIDaemonProcess web user=no-such-user", "bad user name no-such-user. Given is user=no-such-user"),
        ("WSGIDaemonProcess web rolling=maybe", "Given is rolling=maybe, the option is rolling=On|Off"),
        ("WSGIDaemonProcess web\nWSGIDaemonProcess web", "'web' is defined above."),
        (
            "WSGIDaemonProcess web\nWSGIImportScript /x process-group=wbe application-group=%{GLOBAL}",
            "No WSGIDaemonProcess above this line defines 'wbe'; did you mean 'web'?",
        ),
        (
            "WSGIImportScript /x process-group=web application-group=%{GLOBAL}",
            "No WSGIDaemonProcess above this line defines 'web'",
        ),
    ] {
        let refused = refusal(line).unwrap_or_else(|| panic!("{line} is accepted"));
        assert!(refused.contains(text), "{line}: {refused}");
    }
}

// Covers: rule:config/directives-removed, rule:config/directives-misspelt
#[test]
fn what_is_no_directive_is_refused_with_advice() {
    for (line, text) in [
        (
            "WSGILazyInitialization On",
            "Invalid command 'WSGILazyInitialization': mod_wsgi has removed WSGILazyInitialization. Delete",
        ),
        (
            "<Directory />\nwsgireloadmechanism Process\n</Directory>",
            "Invalid command 'wsgireloadmechanism': mod_wsgi has removed",
        ),
        (
            "<VirtualHost *:80>\nWSGIPassAuth On\n</VirtualHost>",
            "Invalid command 'WSGIPassAuth'. Did you mean 'WSGIPassAuthorization'?",
        ),
        ("WSGIDaemonProces web", "Invalid command 'WSGIDaemonProces'. Did you mean 'WSGIDaemonProcess'?"),
        ("WGSIScriptAlias / /x", "Invalid command 'WGSIScriptAlias'. Did you mean 'WSGIScriptAlias'?"),
        (
            "WSGIEntirelyDifferent On",
            "Invalid command 'WSGIEntirelyDifferent', perhaps misspelled or defined by a module",
        ),
        ("ScriptAliasses / /x", "Invalid command 'ScriptAliasses', perhaps misspelled or defined by a module"),
        (
            "<WSGIInterpreterOptions application-group=a>\nWSGIDestroyInterpeter On\n</WSGIInterpreterOptions>",
            "Invalid command 'WSGIDestroyInterpeter'. Did you mean 'WSGIDestroyInterpreter'?",
        ),
    ] {
        let refused = refusal(line).unwrap_or_else(|| panic!("{line} is accepted"));
        assert!(refused.starts_with(text), "{line}: {refused}");
    }
    assert_eq!(refusal("<IfDefine NoSuchName>\nWSGIPassAuth On\n</IfDefine>"), None, "it is not carried out");
    let folder = Folder::new("unknown-line");
    let output = run(&folder, "WSGIRestrictEmbedded On\n\nWSGIOutputBuffering On\n", &["-t"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let written = std::fs::read_to_string(folder.path().join("httpd.conf")).expect("own folder");
    let line = written.lines().position(|line| line.starts_with("WSGIOutputBuffering")).expect("it is there") + 1;
    assert!(text.starts_with(&format!("AH00526: Syntax error on line {line} of ")), "{text}");
}

// Covers: rule:config/options-outside-quotes
#[test]
fn an_option_inside_the_quotes_of_a_path_is_refused() {
    let advice = "End the quotes before the options, as in \"/no/app.wsgi\" process-group=g";
    for line in [
        "WSGIScriptAlias / \"/no/app.wsgi process-group=g\"",
        "WSGIScriptAliasMatch ^/ '/no/app.wsgi process-group=g'",
        "WSGIHandlerScript name \"/no/app.wsgi process-group=g\"",
        "WSGIImportScript \"/no/app.wsgi process-group=g\" process-group=%{GLOBAL} application-group=%{GLOBAL}",
    ] {
        let refused = refusal(line).unwrap_or_else(|| panic!("{line} is accepted"));
        assert!(refused.ends_with(advice), "{line}: {refused}");
    }
    let refused = refusal("WSGIDispatchScript \"/no/app.wsgi application-group=g\"").expect("no such file");
    assert!(
        refused.starts_with("WSGIDispatchScript: the option 'application-group=g' stands inside the quotes"),
        "{refused}"
    );
    let refused = refusal("WSGIDaemonProcess \"web threads=5\"").expect("no name");
    assert!(refused.ends_with("as in \"web\" threads=5"), "{refused}");
    // A file may be called so.
    let folder = Folder::new("option-in-a-name");
    let file = folder.path().join("app.wsgi process-group=g");
    std::fs::write(&file, "").expect("own folder");
    for line in [format!("WSGIScriptAlias / \"{}\"", file.display()), "WSGIScriptAlias / \"/no/a b.wsgi\"".to_owned()] {
        assert_eq!(refusal(&line), None, "{line}");
    }
}

// Covers: rule:daemon/socket-rotation-accepted, rule:config/directives-deprecated, directive:WSGIAcceptMutex,
// directive:WSGISocketRotation, directive:WSGIVerboseDebugging
#[test]
fn without_meaning_or_harm_is_accepted() {
    for line in [
        "WSGIAcceptMutex flock",
        "WSGISocketRotation Off",
        "WSGIVerboseDebugging On",
        "<Location />\nWSGIGroupAuthoritative Off\n</Location>",
        "WSGIHandlerScript name /x process-group=none application-group=\"a b\"",
        "WSGITrustedProxies ::1 10.0.0.0/8",
    ] {
        assert_eq!(refusal(line), None, "{line}");
    }
}

// Covers: rule:extensions/engine-missing, rule:daemon/python-option, code:WSGI0901, rule:config/option-unknown
#[test]
fn an_engine_that_is_not_there_is_refused_with_those_that_are() {
    let refused = refusal("WSGIDaemonProcess web python=3.4").expect("no such engine");
    assert!(refused.contains("WSGI0901: WSGIDaemonProcess web:"), "{refused}");
    let home = std::env::temp_dir().join("mod_wsgi_rs has no such home");
    let refused = refusal(&format!("WSGIDaemonProcess web \"python-home={}\"", home.display()));
    assert!(refused.is_some_and(|refused| refused.contains("Unknown option")), "quotes go around the value only");
    let refused = refusal(&format!("WSGIDaemonProcess web python-home=\"{}\"", home.display())).expect("no such home");
    assert!(refused.contains(&format!("Unable to stat Python home '{}'", home.display())), "{refused}");
    assert!(refused.contains("No engine is installed."), "there is none beside this module: {refused}");
}
