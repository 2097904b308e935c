//! What `rolling=On` changes in a process.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use wsgi_protocol::launch::{self, LEAVE};
use wsgi_protocol::page::{State, Wish};
use wsgi_protocol::scripts;

use super::conversation::answer;
use super::launched::{Daemon, Folder};

/// What a process gets with `rolling=On`.
fn rolling(launch: &mut launch::Daemon) {
    launch.rolling = true;
    (launch.descriptors.bell, launch.descriptors.scripts) = (Some(8), Some(9));
}

// Covers: rule:daemon/rolling
#[test]
fn a_rolling_process_serves_what_it_has_and_rings() {
    let mut daemon = Daemon::start("rolling", rolling);
    let mut stream = daemon.greeted();
    // One ring says that it serves.
    let mut bell = std::fs::File::from(daemon.bell.try_clone().expect("a descriptor"));
    assert_eq!(bell.read(&mut [0; 8]).expect("it rings"), 1);
    let mut version = daemon.changed_at(1);
    for change in [None, Some(2), None] {
        version = change.map_or(version, |second| daemon.changed_at(second));
        stream.write_all(&daemon.request_of_version(version)).expect("it reads");
        assert_eq!(answer(&mut stream, b"").status, 200);
    }
    assert_eq!(bell.read(&mut [0; 8]).expect("it rings"), 1, "once for one change");
    let wish = &daemon.page.process(0).expect("its place").wish;
    assert_eq!(Wish::from_number(wish.load(Ordering::Acquire)), Wish::Script);
    daemon.wait_for_line("Rolling restart of daemon process 'web' due to modification of script");

    let mut list = vec![0; scripts::SIZE];
    let file = std::fs::File::from(daemon.scripts.try_clone().expect("a descriptor"));
    file.read_exact_at(&mut list, 0).expect("as large as it was made");
    let listed: Vec<_> = scripts::entries(&list).map(|entry| entry.path.to_vec()).collect();
    assert_eq!(listed, [daemon.script.as_os_str().as_encoded_bytes()]);

    let control = daemon.control.take().expect("is open");
    std::fs::File::from(control.try_clone().expect("a descriptor")).write_all(&[LEAVE]).expect("it reads");
    drop(stream);
    daemon.wait_for_line("Requests have completed");
    assert_eq!(daemon.wait().code(), Some(0));
}

/// A list with this one script.
fn list_of(script: &Path) -> Vec<u8> {
    let entry = scripts::Entry { path: script.as_os_str().as_encoded_bytes(), group: b"" };
    let (lengths, bytes) = entry.encode(0).expect("room");
    [&lengths[..], &bytes].concat()
}

/// A script that never ends loading.
fn endless(folder: &Folder) -> PathBuf {
    let script = folder.0.join("endless.wsgi");
    std::fs::write(&script, "import time\nprint('begins', flush=True)\ntime.sleep(3600)\n").expect("own folder");
    script
}

// Covers: rule:daemon/rolling-broken
#[test]
fn a_successor_that_cannot_load_ends_before_it_serves() {
    let folder = Folder::new("broken-script");
    let script = folder.0.join("broken.wsgi");
    std::fs::write(&script, "this is a mistake\n").expect("own folder");
    let mut daemon = Daemon::start_after("broken", &list_of(&script), |launch| {
        rolling(launch);
        launch.descriptors.inherited_scripts = Some(10);
    });
    daemon.wait_for_line("WSGI0934: Rolling restart of daemon process 'web' was given up as script '");
    assert_eq!(daemon.wait().code(), Some(launch::GIVEN_UP));
    let state = daemon.page.process(0).expect("its place").state.load(Ordering::Acquire);
    assert_eq!(State::from_number(state), State::Starting, "it never served");
    assert_ne!(daemon.page.header().given_up.load(Ordering::Acquire), 0);
}

// Covers: rule:daemon/rolling-late, code:WSGI0935
#[test]
fn a_successor_that_is_late_gives_up_and_says_where_it_hangs() {
    let folder = Folder::new("late-script");
    let script = endless(&folder);
    let mut daemon = Daemon::start_after("late", &list_of(&script), |launch| {
        rolling(launch);
        launch.descriptors.inherited_scripts = Some(10);
        launch.timeouts.startup = 300;
    });
    daemon.wait_for_line("line 3, in <module>");
    daemon.wait_for_line("WSGI0935: Rolling restart of daemon process 'web' was given up as loading script '");
    assert_eq!(daemon.wait().code(), Some(launch::GIVEN_UP));
    let state = daemon.page.process(0).expect("its place").state.load(Ordering::Acquire);
    assert_eq!(State::from_number(state), State::Starting, "it never served");
    let header = daemon.page.header();
    assert_ne!(header.given_up.load(Ordering::Acquire), 0, "the others of the group shall not try it");
    assert_eq!(header.loading.load(Ordering::Acquire), 0);
}

/// A process that never ends loading what it imports, and may take a moment to end.
fn hanging(name: &str, folder: &Folder) -> Daemon {
    let script = endless(folder).as_os_str().as_encoded_bytes().to_vec();
    let daemon = Daemon::start(name, |launch| {
        launch.python.imports = vec![launch::Import { script, application_group: Vec::new() }];
        launch.timeouts.shutdown = 100;
        launch.descriptors.predecessor = Some(11);
    });
    daemon.wait_for_line("begins");
    daemon
}

// Covers: rule:daemon/parent-gone
#[test]
fn a_process_that_hangs_while_it_loads_ends_with_the_server() {
    let folder = Folder::new("orphan-script");
    let mut daemon = hanging("hangs-orphan", &folder);
    drop(daemon.control.take());
    daemon.wait_for_line("Shutdown timeout expired; aborting daemon process 'web'.");
    assert_eq!(daemon.wait().code(), Some(255));
}

// Covers: rule:daemon/sigterm
#[test]
fn a_process_that_hangs_while_it_loads_ends_when_it_is_told_to() {
    let folder = Folder::new("term-script");
    let mut daemon = hanging("hangs-term", &folder);
    daemon.signal(libc::SIGTERM);
    assert_eq!(daemon.wait().code(), Some(255));
}

#[test]
fn a_process_that_is_replaced_before_it_serves_takes_its_predecessor_with_it() {
    let folder = Folder::new("replaced-script");
    let mut daemon = hanging("hangs-replaced", &folder);
    let control = daemon.control.take().expect("is open");
    std::fs::File::from(control.try_clone().expect("a descriptor")).write_all(&[LEAVE]).expect("it reads");
    let mut told = [0; 2];
    let mut predecessor = std::fs::File::from(daemon.predecessor.try_clone().expect("a descriptor"));
    assert_eq!(predecessor.read(&mut told).expect("a pipe"), 1);
    assert_eq!(told[0], LEAVE);
    assert_eq!(daemon.wait().code(), Some(255));
}

// Covers: rule:daemon/sigterm
#[test]
fn a_successor_that_is_to_end_takes_nobodys_place() {
    for server_gone in [false, true] {
        let folder = Folder::new(if server_gone { "ends-orphan-script" } else { "ends-script" });
        let (script, gate) = (folder.0.join("slow.wsgi"), folder.0.join("gate"));
        let path = std::ffi::CString::new(gate.as_os_str().as_encoded_bytes()).expect("no NUL byte");
        // SAFETY: a C string.
        assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
        let text = format!("print('begins', flush=True)\nopen({:?}).read()\n", gate.display().to_string());
        std::fs::write(&script, text).expect("own folder");
        let script = script.as_os_str().as_encoded_bytes().to_vec();
        let mut daemon = Daemon::start(if server_gone { "ends-orphan" } else { "ends" }, |launch| {
            launch.python.imports = vec![launch::Import { script, application_group: Vec::new() }];
            launch.descriptors.predecessor = Some(11);
        });
        daemon.wait_for_line("begins");
        if server_gone {
            drop(daemon.control.take());
        } else {
            daemon.signal(libc::SIGTERM);
        }
        // Now it has loaded everything.
        std::fs::write(&gate, "").expect("the script reads");
        assert_eq!(daemon.wait().code(), Some(0));
        let mut predecessor = std::fs::File::from(daemon.predecessor.try_clone().expect("a descriptor"));
        assert_eq!(predecessor.read(&mut [0; 1]).expect("a pipe"), 0, "the predecessor was told nothing");
        let state = daemon.page.process(0).expect("its place").state.load(Ordering::Acquire);
        assert_eq!(State::from_number(state), State::Starting, "it never served");
    }
}
