//! The loader of `fork-after-load=On`, and what it forks.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::Ordering;

use wsgi_protocol::launch::Import;
use wsgi_protocol::loader::{self, Fork, MAX_MESSAGE, Order, Report};
use wsgi_protocol::page::State;

use super::conversation::answer;
use super::launched::Daemon;

/// Room for descriptors beside a packet.
#[repr(C, align(8))]
struct Control([u8; 64]);

fn send(daemon: &Daemon, order: Order, descriptors: &[RawFd]) {
    let bytes = loader::encode(&order).expect("small");
    let mut control = Control([0; 64]);
    let mut data = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: the header describes the buffers above, which have room; the descriptors are open.
    let sent = unsafe {
        let mut header: libc::msghdr = std::mem::zeroed();
        (header.msg_iov, header.msg_iovlen) = (&raw mut data, 1);
        if !descriptors.is_empty() {
            let size = u32::try_from(size_of_val(descriptors)).expect("small");
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = libc::CMSG_SPACE(size) as usize;
            let entry = libc::CMSG_FIRSTHDR(&raw const header);
            (*entry).cmsg_level = libc::SOL_SOCKET;
            (*entry).cmsg_type = libc::SCM_RIGHTS;
            (*entry).cmsg_len = libc::CMSG_LEN(size) as usize;
            for (index, descriptor) in descriptors.iter().enumerate() {
                libc::CMSG_DATA(entry).cast::<RawFd>().add(index).write_unaligned(*descriptor);
            }
        }
        let socket = daemon.control.as_ref().expect("is open").as_raw_fd();
        libc::sendmsg(socket, &raw const header, libc::MSG_NOSIGNAL)
    };
    assert!(sent > 0, "{}", std::io::Error::last_os_error());
}

/// Orders a process. Returns the writing end of its control pipe.
pub(super) fn order(daemon: &Daemon, start: u32) -> OwnedFd {
    let (reading, writing) = std::io::pipe().expect("a pipe");
    let fork = Fork { start, ..Fork::default() };
    send(daemon, Order::Fork(fork), &[daemon.listener().as_raw_fd(), reading.as_raw_fd()]);
    writing.into()
}

pub(super) fn report(daemon: &Daemon) -> Report {
    let socket = daemon.control.as_ref().expect("is open").as_raw_fd();
    let mut packet = [0u8; MAX_MESSAGE];
    let mut entry = libc::pollfd { fd: socket, events: libc::POLLIN, revents: 0 };
    // SAFETY: one entry; room for as many bytes as it says.
    let count = unsafe {
        assert!(libc::poll(&raw mut entry, 1, 30_000) > 0, "no report");
        libc::recv(socket, packet.as_mut_ptr().cast(), packet.len(), 0)
    };
    loader::decode(&packet[..usize::try_from(count).expect("a packet")]).expect("a report")
}

pub(super) fn forked(daemon: &Daemon, wanted: u32) -> i32 {
    match report(daemon) {
        Report::Forked { start, pid } if start == wanted => pid,
        other => panic!("{other:?} instead of the start {wanted}"),
    }
}

fn ask(daemon: &Daemon) {
    let mut stream = daemon.greeted();
    stream.write_all(&daemon.request("/", "", b"", 0)).expect("it reads");
    assert_eq!(answer(&mut stream, b"").status, 200);
}

// Covers: rule:daemon/fork-after-load
#[test]
fn a_loader_forks_what_is_ordered_until_the_script_changes() {
    let mut daemon = Daemon::start_loader("loader", "", |_| ());
    daemon.wait_for_line("The loader of group 'web' is ready");
    let _control = order(&daemon, 7);
    let mut bell = std::fs::File::from(daemon.bell.try_clone().expect("a descriptor"));
    assert_eq!(bell.read(&mut [0; 1]).expect("it rings"), 1);
    let pid = forked(&daemon, 7);
    daemon
        .wait_for_line(&format!("Starting daemon process 'web' with threads=2, forked by pid {}.", daemon.child.id()));
    ask(&daemon);
    // SAFETY: the test's own grandchild, whose parent has not waited for it.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    assert_eq!(report(&daemon), Report::Ended { start: 7, status: libc::SIGKILL });

    let _kept = order(&daemon, 8);
    assert_ne!(forked(&daemon, 8), pid);
    ask(&daemon);
    let text = std::fs::read_to_string(&daemon.script).expect("own file");
    std::fs::remove_file(&daemon.script).expect("own file");
    let unheard = order(&daemon, 9);
    assert_eq!(report(&daemon), Report::Stale);
    std::fs::write(&daemon.script, text).expect("own folder");
    // Its processes go on.
    ask(&daemon);
    send(&daemon, Order::Retire, &[]);
    let late = order(&daemon, 10);
    send(&daemon, Order::Signal { start: 8, signal: libc::SIGTERM }, &[]);
    assert_eq!(report(&daemon), Report::Ended { start: 8, status: 0 });
    assert_eq!(daemon.wait().code(), Some(0));
    drop((unheard, late));
    let loaded = daemon.lines.borrow().iter().filter(|line| line.contains("Loading WSGI script")).count();
    assert_eq!(loaded, 1, "{:?}", daemon.lines);
}

#[test]
fn a_process_that_nobody_wants_any_more_ends_before_it_serves() {
    let daemon = Daemon::start_loader("unwanted", "", |_| ());
    drop(order(&daemon, 3));
    forked(&daemon, 3);
    assert_eq!(report(&daemon), Report::Ended { start: 3, status: 0 });
    let state = daemon.page.process(0).expect("its place").state.load(Ordering::Acquire);
    assert_eq!(State::from_number(state), State::Empty);
}

#[test]
fn a_loader_that_is_ended_takes_its_processes_along() {
    for server_gone in [false, true] {
        let mut daemon = Daemon::start_loader(if server_gone { "deserted" } else { "ended" }, "", |_| ());
        let controls = [order(&daemon, 1), order(&daemon, 2)];
        let pids = [forked(&daemon, 1), forked(&daemon, 2)];
        ask(&daemon);
        if server_gone {
            daemon.control = None;
        } else {
            daemon.signal(libc::SIGTERM);
        }
        assert_eq!(daemon.wait().code(), Some(0));
        for pid in pids {
            // SAFETY: no signal is sent.
            assert_eq!(unsafe { libc::kill(pid, 0) }, -1, "{pid} is left");
        }
        drop(controls);
    }
}

// Covers: code:WSGI0943
#[test]
fn startup_timeout_bounds_the_loading() {
    let mut daemon = Daemon::start_loader("slow", "import time; time.sleep(60)", |launch| {
        launch.timeouts.startup = 1000;
    });
    daemon.wait_for_line("WSGI0943: The scripts of group 'web' were not loaded within startup-timeout of 1 seconds");
    assert_eq!(daemon.wait().code(), Some(1));
}

// Covers: code:WSGI0945
#[test]
fn a_hook_that_hangs_does_not_keep_the_loader_for_ever() {
    for (hook, ended) in [("before", None), ("after_in_parent", None), ("after_in_child", Some(1))] {
        let lines = format!(
            "import os, threading\n\
             def hangs():\n    \
                 threading.Event().wait()\n\
             os.register_at_fork({hook}=hangs)\n"
        );
        let mut daemon = Daemon::start_loader(&format!("hangs-{hook}"), &lines, |launch| {
            launch.timeouts.startup = 2000;
        });
        let _control = order(&daemon, 1);
        let line = daemon.wait_for_line("WSGI0945: A fork of group 'web' has taken longer than 2 seconds");
        assert!(daemon.lines.borrow().iter().any(|line| line.contains("in hangs")), "{:?}", daemon.lines);
        match ended {
            None => {
                assert!(line.contains("the loader ends"), "{line}");
                assert_eq!(daemon.wait().code(), Some(1));
            }
            Some(code) => {
                assert!(line.contains("the new process ends"), "{line}");
                forked(&daemon, 1);
                assert_eq!(report(&daemon), Report::Ended { start: 1, status: code << 8 });
            }
        }
    }
}

// Covers: code:WSGI0940
#[test]
fn threads_that_a_fork_leaves_behind_are_named() {
    let lines = "import threading\nthreading.Thread(target=threading.Event().wait, name='poller', daemon=True).start()";
    let daemon = Daemon::start_loader("threads", lines, |launch| launch.timeouts.startup = 60_000);
    let _control = order(&daemon, 1);
    let line = daemon.wait_for_line("WSGI0940: ");
    assert!(line.contains("has started threads while it was loaded: 'poller'. The processes"), "{line}");
    forked(&daemon, 1);
    ask(&daemon);
}

// Covers: code:WSGI0941, code:WSGI0942
#[test]
fn what_is_not_shared_is_said() {
    let daemon = Daemon::start_loader("own", "", |launch| {
        let (script, application_group) = (b"/nowhere.wsgi".to_vec(), b"other".to_vec());
        launch.python.imports.push(Import { script, application_group });
    });
    let line = daemon.wait_for_line("WSGI0942: ");
    assert!(line.contains("Script '/nowhere.wsgi' is loaded by each process of group 'web' for itself"), "{line}");
    daemon.wait_for_line("WSGI0941: There is nothing to load before the processes of group 'web' are forked");
}

// Covers: rule:api/process-metrics-values
#[test]
fn a_process_counts_from_its_own_start() {
    let lines = "import atexit, mod_wsgi, os, sys\n\
                 mod_wsgi.start_recording_metrics()\n\
                 loaded = mod_wsgi.process_metrics()['restart_time']\n\
                 def check():\n    \
                     metrics = mod_wsgi.process_metrics()\n    \
                     print(metrics['restart_time'] > loaded, metrics['pid'] == os.getpid(), file=sys.stderr)\n\
                 atexit.register(check)\n";
    let daemon = Daemon::start_loader("counts", lines, |launch| launch.python.destroy_interpreter = true);
    let _control = order(&daemon, 1);
    forked(&daemon, 1);
    ask(&daemon);
    send(&daemon, Order::Signal { start: 1, signal: libc::SIGTERM }, &[]);
    daemon.wait_for_line("True True");
}
