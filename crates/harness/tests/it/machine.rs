//! A machine that is the same everywhere.

use harness::runner::machine::Machine;

/// A machine with everything that the tests of planning ask for.
pub(crate) fn machine() -> Machine {
    Machine {
        root: true,
        user: "www-data".to_owned(),
        python: (3, 11),
        python_release: None,
        engines: ["3.11".to_owned(), "3.13t".to_owned()].into(),
        venv: None,
        packages: [("flask".to_owned(), "3.0.3".to_owned())].into(),
        peer: None,
        modules: ["ssl".to_owned()].into(),
        mpms: ["event", "worker", "prefork"].map(str::to_owned).to_vec(),
        locales: vec!["C.utf8".to_owned()],
        zoneinfo: "/nowhere".into(),
        search_path: Vec::new(),
        cpus: 2,
    }
}
