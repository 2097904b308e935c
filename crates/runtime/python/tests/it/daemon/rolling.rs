//! What `rolling=On` changes in a process.

use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
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
    for time in [1_000_000, 2_000_000, 2_000_000] {
        stream.write_all(&daemon.request_of_version(time)).expect("it reads");
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

// Covers: rule:daemon/rolling-broken
#[test]
fn a_successor_that_cannot_load_ends_before_it_serves() {
    let folder = Folder::new("broken-script");
    let script = folder.0.join("broken.wsgi");
    std::fs::write(&script, "this is a mistake\n").expect("own folder");
    let entry = scripts::Entry { path: script.as_os_str().as_encoded_bytes(), group: b"" };
    let (lengths, bytes) = entry.encode(0).expect("room");
    let mut daemon = Daemon::start_after("broken", &[&lengths[..], &bytes].concat(), |launch| {
        rolling(launch);
        launch.descriptors.inherited_scripts = Some(10);
    });
    daemon.wait_for_line("WSGI0934: Rolling restart of daemon process 'web' was given up as script '");
    assert_eq!(daemon.wait().code(), Some(launch::GIVEN_UP));
    let state = daemon.page.process(0).expect("its place").state.load(Ordering::Acquire);
    assert_eq!(State::from_number(state), State::Starting, "it never served");
    assert_ne!(daemon.page.header().given_up.load(Ordering::Acquire), 0);
}
