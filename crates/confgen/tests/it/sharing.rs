//! Applications that share an interpreter by default.

use std::fs;

use confgen::diagnostic::Code;
use confgen::render::RenderOptions;

use crate::fixture::{machine, rendered, shown};

#[test]
fn sharing_the_default_interpreter_is_reported_unless_it_is_chosen() {
    let warnings = |one: &str, two: &str| {
        let text = format!("daemons: {{d: {{}}, e: {{}}}}\nsites: {{s: {{apps: {{/: {{{one}}}, /b: {{{two}}}}}}}}}");
        let tree = rendered(&text, &machine(), &RenderOptions::default()).unwrap_or_else(|errors| panic!("{errors}"));
        // Not every pair uses both daemons.
        let found: Vec<_> = tree.warnings.into_iter().filter(|one| one.code != Code::UnusedDaemon).collect();
        shown(&found)
    };
    for (one, two, place) in [
        ("script: /a, daemon: d", "script: /b, daemon: d", "the daemon `d`"),
        ("script: /a, daemon: d, interpreter: main", "script: /b, daemon: d", "the daemon `d`"),
        ("module: 'a:x', daemon: d", "module: 'b:x', daemon: d", "the daemon `d`"),
        ("script: /a", "script: /b", "Apache's own processes"),
    ] {
        let shown = warnings(one, two);
        assert!(shown.contains("warning[CG155]"), "{one} {two}\n{shown}");
        assert!(shown.contains(&format!("share the main interpreter of {place}")), "{one} {two}\n{shown}");
        assert!(shown.contains("or a name as its `interpreter`"), "{shown}");
    }
    for (one, two) in [
        ("script: /a, daemon: d", "script: /b, daemon: e"),
        ("script: /a, daemon: d", "script: /b"),
        ("script: /a, daemon: d", "script: /b, daemon: d, interpreter: b"),
        ("script: /a, daemon: d, interpreter: main", "script: /b, daemon: d, interpreter: main"),
        ("script: /a, daemon: d", "script: /a, daemon: d"),
        ("module: 'a:x', daemon: d", "module: 'a:y', daemon: d"),
    ] {
        assert_eq!(warnings(one, two), "", "{one} {two}");
    }
}

#[test]
fn two_django_projects_in_the_default_interpreter_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let django = |name: &str| {
        format!("import os\nos.environ.setdefault('DJANGO_SETTINGS_MODULE', '{name}.settings')\napplication = None\n")
    };
    fs::write(folder.path().join("one.wsgi"), django("one")).unwrap();
    fs::write(folder.path().join("again.wsgi"), django("one")).unwrap();
    fs::create_dir(folder.path().join("two")).unwrap();
    fs::write(folder.path().join("two/__init__.py"), "").unwrap();
    fs::write(folder.path().join("two/wsgi.py"), django("two")).unwrap();
    let options = RenderOptions { server_root: None, check_files: Some(true), ..RenderOptions::default() };
    let judged = |one: &str, two: &str| {
        let dir = folder.path().display();
        let text = format!(
            "daemons: {{d: {{python-path: [{dir}]}}}}\nsites: {{s: {{apps: {{/: {{script: {dir}/one.wsgi, daemon: d{one}}}, /b: {{{two}, daemon: d}}}}}}}}"
        )
        .replace("DIR", &dir.to_string());
        rendered(&text, &machine(), &options).map(|tree| shown(&tree.warnings))
    };
    let errors = judged("", "module: 'two.wsgi:application'").unwrap_err();
    assert!(errors.contains("error[CG156]") && errors.contains("`one.settings` and `two.settings`"), "{errors}");
    assert!(errors.contains("with this one") && !errors.contains("CG155"), "{errors}");
    let errors = judged(", interpreter: main", "module: 'two.wsgi:application'").unwrap_err();
    assert!(errors.contains("error[CG156]"), "{errors}");
    for (one, two) in [
        (", interpreter: main", "module: 'two.wsgi:application', interpreter: main"),
        ("", "module: 'two.wsgi:application', interpreter: two"),
    ] {
        assert_eq!(judged(one, two).as_deref(), Ok(""), "{one} {two}");
    }
    let same = judged("", "script: DIR/again.wsgi").unwrap_or_else(|errors| panic!("{errors}"));
    assert!(same.contains("warning[CG155]"), "{same}");
}

#[test]
fn code_that_its_place_does_not_go_with_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let write =
        |name: &str, code: &str| fs::write(folder.path().join(name), format!("{code}\napplication = None\n")).unwrap();
    write("fork.wsgi", "import os\ndef run():\n    os.fork()");
    write("lock.wsgi", "import fcntl\nfcntl.flock(open('/tmp/x', 'w'), fcntl.LOCK_EX)");
    write("plain.wsgi", "import os");
    let dir = folder.path().display().to_string();
    let options = RenderOptions { server_root: None, check_files: Some(true), ..RenderOptions::default() };
    let warnings = |daemon: &str, apps: &str| {
        let text = format!("daemons: {{d: {{{daemon}}}}}\nsites: {{s: {{apps: {{{apps}}}}}}}").replace("DIR", &dir);
        shown(&rendered(&text, &machine(), &options).unwrap_or_else(|errors| panic!("{errors}")).warnings)
    };
    let fork = "/: {script: DIR/fork.wsgi, daemon: d}";
    assert_eq!(warnings("", fork), "");
    let own = warnings("", "/: {script: DIR/fork.wsgi, daemon: d, interpreter: x}");
    assert!(
        own.contains("warning[CG152]") && own.contains("`os.fork(`") && own.contains("in an interpreter of its own"),
        "{own}"
    );
    let beside = warnings("", &format!("{fork}, /b: {{script: DIR/plain.wsgi, daemon: d, interpreter: b}}"));
    assert!(beside.contains("warning[CG152]") && beside.contains("another application has an interpreter"), "{beside}");
    let lock = "/: {script: DIR/lock.wsgi, daemon: d}";
    let overlap = warnings("", lock);
    assert!(overlap.contains("warning[CG153]") && overlap.contains("`daemons.d.handover: sequential`"), "{overlap}");
    assert_eq!(warnings("handover: sequential", lock), "");
    let embedded = warnings("", "/: {script: DIR/lock.wsgi}, /p: {script: DIR/plain.wsgi, daemon: d}");
    assert!(embedded.contains("warning[CG153]") && embedded.contains("give it a daemon"), "{embedded}");
}
