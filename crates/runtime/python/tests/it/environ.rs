//! The environ.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::server::{Client, check, file, request};

fn entry(name: &str, value: &[u8]) -> (String, Option<Vec<u8>>) {
    (name.to_owned(), Some(value.to_vec()))
}

// Covers: rule:adapter/environ-exact-dict, rule:adapter/wsgi-version, rule:adapter/url-scheme,
// rule:adapter/input-terminated, rule:adapter/groups-in-environ, rule:adapter/handler-in-environ,
// rule:adapter/request-id-in-environ, rule:adapter/thread-id-in-environ, rule:adapter/times-in-environ,
// rule:adapter/versions-in-environ, rule:adapter/wsgi-objects, rule:extensions/own-version, environ:wsgi.version,
// environ:wsgi.url_scheme, environ:wsgi.input_terminated, environ:wsgi.multithread, environ:wsgi.multiprocess,
// environ:wsgi.run_once, environ:apache.version, environ:mod_wsgi.version, environ:mod_wsgi.process_group,
// environ:mod_wsgi.application_group, environ:mod_wsgi.callable_object, environ:mod_wsgi.request_handler,
// environ:mod_wsgi.handler_script, environ:mod_wsgi.request_id, environ:mod_wsgi.thread_id,
// environ:mod_wsgi.request_start, environ:mod_wsgi.queue_start, environ:mod_wsgi.daemon_start,
// environ:mod_wsgi.application_start, environ:wsgi.errors, environ:wsgi.input, environ:mod_wsgi_rs.version
#[test]
fn own_keys_have_the_references_types_and_values() {
    check(
        "",
        Client::default(),
        &[
            ("type(environ) is dict", "True"),
            ("environ['wsgi.version']", "(1, 0)"),
            ("environ['wsgi.url_scheme']", "'http'"),
            ("environ['wsgi.input_terminated']", "True"),
            (
                "environ['wsgi.multithread'], environ['wsgi.multiprocess'], environ['wsgi.run_once']",
                "(True, False, False)",
            ),
            ("environ['apache.version'], environ['mod_wsgi.version']", "((2, 4, 71), (6, 1, 1))"),
            ("environ['mod_wsgi.process_group'], environ['mod_wsgi.application_group']", "('', '')"),
            (
                "environ['mod_wsgi.callable_object'], environ['mod_wsgi.request_handler']",
                "('application', 'wsgi-script')",
            ),
            ("environ['mod_wsgi.handler_script']", "''"),
            ("environ['mod_wsgi.request_id']", "'request-id'"),
            ("type(environ['mod_wsgi.thread_id']) is int and environ['mod_wsgi.thread_id'] >= 1", "True"),
            ("environ['mod_wsgi.request_start']", "1700000000.25"),
            ("environ['mod_wsgi.queue_start'], environ['mod_wsgi.daemon_start']", "(0.0, 0.0)"),
            ("abs(environ['mod_wsgi.application_start'] - __import__('time').time()) < 60", "True"),
            ("type(environ['wsgi.errors'])", "<class '_io.TextIOWrapper'>"),
            ("type(environ['wsgi.input'])", "<class 'mod_wsgi.Input'>"),
            ("environ['mod_wsgi_rs.version']", "'0.1.0'"),
            ("'apache.request_rec' in environ", "False"),
        ],
    );
}

// Covers: rule:adapter/environ-latin1, rule:adapter/environ-fs-encoding, rule:adapter/environ-null-is-none,
// environ:SCRIPT_FILENAME
#[test]
fn values_are_latin_1_paths_are_the_file_systems_and_null_is_none() {
    let client = Client {
        entries: vec![
            entry("HTTP_X_ODD", b"caf\xe9"),
            entry("SCRIPT_FILENAME", b"/srv/caf\xc3\xa9/\xff"),
            entry("SERVER_NAME", b"\xe9"),
            ("EMPTY".to_owned(), None),
        ],
        ..Client::default()
    };
    for _ in 0..4 {
        // Again and again: the environ of a repeated sequence of keys comes from a remembered template.
        check(
            "",
            client.clone(),
            &[
                ("ascii(environ['HTTP_X_ODD'])", "\"'caf\\\\xe9'\""),
                ("ascii(environ['SERVER_NAME'])", "\"'\\\\xe9'\""),
                ("ascii(environ['SCRIPT_FILENAME'])", "\"'/srv/caf\\\\xe9/\\\\udcff'\""),
                ("environ['EMPTY']", "None"),
            ],
        );
    }
}

// Covers: rule:adapter/url-scheme, environ:wsgi.url_scheme
#[test]
fn https_decides_the_scheme_and_is_not_shown() {
    for (value, scheme) in [("on", "https"), ("On", "https"), ("1", "https"), ("off", "http"), ("", "http")] {
        for _ in 0..3 {
            let client = Client { entries: vec![entry("HTTPS", value.as_bytes())], ..Client::default() };
            let shown = format!("'{scheme}'");
            check("", client, &[("environ['wsgi.url_scheme']", &shown), ("'HTTPS' in environ", "False")]);
        }
    }
}

// Covers: rule:adapter/environ-exact-dict, rule:adapter/environ-kept-by-application
#[test]
fn nothing_leaks_from_one_request_into_the_next() {
    let script = file(
        "leak.wsgi",
        b"def application(environ, start_response):\n    seen = [k for k in environ if k.startswith('HTTP_') or k == 'mark']\n    \
          text = ';'.join('%s=%s' % (k, environ[k]) for k in sorted(seen))\n    environ['mark'] = 'x'\n    \
          environ['HTTP_HOST'] = 'changed'\n    environ.pop('PATH_INFO')\n    start_response('200 OK', [])\n    return [text.encode()]\n",
    );
    for round in 0..12 {
        let mut entries = Vec::new();
        if round % 3 != 0 {
            entries.push(entry("HTTP_COOKIE", format!("c{round}").as_bytes()));
        }
        if round % 2 == 0 {
            entries.push(entry("HTTP_ACCEPT", format!("a{}", round / 4).as_bytes()));
        }
        let mut expected = Vec::new();
        if round % 2 == 0 {
            expected.push(format!("HTTP_ACCEPT=a{}", round / 4));
        }
        if round % 3 != 0 {
            expected.push(format!("HTTP_COOKIE=c{round}"));
        }
        expected.push("HTTP_HOST=localhost".to_owned());
        let reply = request(&script, Client { entries, ..Client::default() });
        assert_eq!(reply.text(), expected.join(";"), "round {round}");
    }
}

// Covers: rule:adapter/environ-kept-by-application
#[test]
fn an_application_may_keep_its_environ() {
    let script = file(
        "keep.wsgi",
        b"kept = []\ndef application(environ, start_response):\n    kept.append(environ)\n    start_response('200 OK', [])\n    \
          return [';'.join(e['HTTP_COOKIE'] for e in kept).encode()]\n",
    );
    let mut last = String::new();
    for value in ["a", "b", "c"] {
        let client = Client { entries: vec![entry("HTTP_COOKIE", value.as_bytes())], ..Client::default() };
        last = request(&script, client).text();
    }
    assert_eq!(last, "a;b;c");
}

/// What tables are made of: keys with a number (some of whose values are remembered), keys without, and keys that the engine
/// sets itself.
const NAMES: &[&str] = &[
    "SERVER_NAME",
    "HTTP_HOST",
    "REMOTE_ADDR",
    "PATH_INFO",
    "HTTP_COOKIE",
    "HTTPS",
    "mod_wsgi.script_name",
    "mod_wsgi.mount_point",
    "FREE",
    "HTTP_X_FREE",
    "wsgi.version",
    "wsgi.url_scheme",
    "wsgi.run_once",
    "mod_wsgi.process_group",
    "mod_wsgi.request_id",
    "mod_wsgi_rs.version",
];

/// Those of them that no variable can set.
const OWN: &[&str] = &[
    "wsgi.version",
    "wsgi.url_scheme",
    "wsgi.run_once",
    "mod_wsgi.process_group",
    "mod_wsgi.request_id",
    "mod_wsgi_rs.version",
];

type Table = Vec<(String, Option<Vec<u8>>)>;

/// The environ of the keys in [`NAMES`], by the rule alone: the last entry of a key counts.
fn expected(variables: &Table, entries: &Table) -> BTreeMap<String, String> {
    let mut expected = BTreeMap::from(
        [
            ("wsgi.version", "(1, 0)"),
            ("wsgi.url_scheme", "'http'"),
            ("wsgi.run_once", "False"),
            ("mod_wsgi.process_group", "''"),
            ("mod_wsgi.request_id", "'request-id'"),
            ("mod_wsgi_rs.version", "'0.1.0'"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    let settable = variables.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
    // What every request of these tests has.
    let always = [entry("HTTP_HOST", b"localhost"), entry("PATH_INFO", b"/")];
    for (name, value) in settable.chain(&always).chain(entries) {
        let text = value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
        let shown = text.as_ref().map_or_else(|| "None".to_owned(), |text| format!("'{text}'"));
        if name == "HTTPS" {
            let scheme = if text.as_deref() == Some("on") { "'https'" } else { "'http'" };
            expected.insert("wsgi.url_scheme".to_owned(), scheme.to_owned());
        } else {
            expected.insert(name.clone(), shown);
        }
    }
    expected
}

fn tables() -> impl Strategy<Value = Vec<(Table, Table)>> {
    let value = prop_oneof![Just(None), Just(Some("")), Just(Some("on")), Just(Some("a")), Just(Some("b"))];
    let pair = |names: Vec<&'static str>| {
        (proptest::sample::select(names), value.clone())
            .prop_map(|(name, value)| (name.to_owned(), value.map(|value| value.as_bytes().to_vec())))
    };
    // Apache's side gives HTTPS its number, and the engine's own keys never come from there.
    let variables = NAMES.iter().copied().filter(|name| *name != "HTTPS").collect();
    let entries = NAMES.iter().copied().filter(|name| !OWN.contains(name)).collect();
    let table = (proptest::collection::vec(pair(variables), 0..6), proptest::collection::vec(pair(entries), 0..6));
    // Several values for each sequence of keys: a shape is made when a sequence comes again.
    let rounds = (table, proptest::collection::vec(proptest::collection::vec(value, 12), 4..6));
    rounds.prop_map(|((variables, entries), rounds)| {
        let filled = |table: &Table, values: &[Option<&str>]| -> Table {
            let values = values.iter().map(|value| value.map(|value| value.as_bytes().to_vec()));
            table.iter().map(|(name, _)| name.clone()).zip(values).collect()
        };
        rounds.iter().map(|values| (filled(&variables, values), filled(&entries, &values[6..]))).collect()
    })
}

const SHOWING: &str = "def application(environ, start_response):
    lines = ['%s=%r' % (name, environ[name]) for name in NAMES if name in environ]
    start_response('200 OK', [])
    return ['\\n'.join(lines).encode()]
";

// Covers: rule:adapter/variables-cannot-replace, rule:adapter/environ-exact-dict
#[test]
fn of_entries_with_one_key_the_last_counts_however_often_the_keys_come() {
    let script = file("showing.wsgi", format!("NAMES = {NAMES:?}\n{SHOWING}").as_bytes());
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let result = runner.run(&tables(), |rounds| {
        for (variables, entries) in rounds {
            let expected = expected(&variables, &entries);
            let client = Client { variables, entries, ..Client::default() };
            let reply = request(&script, client).text();
            let given: BTreeMap<_, _> = reply
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect();
            prop_assert_eq!(given, expected);
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}
