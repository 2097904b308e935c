//! Apache's scoreboard, copied out.

use std::ffi::c_char;

use wsgi_protocol::scoreboard::{Process, Snapshot, Worker};

use crate::sys;

/// The letters of `SERVER_DEAD` to `SERVER_IDLE_KILL`, as mod_status has them.
const STATES: &[u8] = b".S_RWKLDCGI";

/// Whether there is a scoreboard: it is made when the server begins to serve for the first time.
pub(crate) fn exists() -> bool {
    // SAFETY: null, or memory that lives as long as the process.
    unsafe { !sys::ap_scoreboard_image.is_null() && !(*sys::ap_scoreboard_image).global.is_null() }
}

/// The scoreboard now. Its writers do not wait for readers, so an entry may be half old and half new.
pub(crate) fn snapshot() -> Option<Snapshot> {
    if !exists() {
        return None;
    }
    // SAFETY: as `exists` has seen.
    let global = unsafe { sys::ap_get_scoreboard_global().as_ref() }?;
    let processes = (0..global.server_limit.max(0)).map(|child| process(child, global.thread_limit.max(0))).collect();
    Some(Snapshot {
        server_limit: unsigned(global.server_limit),
        thread_limit: unsigned(global.thread_limit),
        generation: unsigned(global.running_generation),
        restart_time: global.restart_time,
        processes,
    })
}

/// The Apache children that the scoreboard lists.
pub(crate) fn children() -> Vec<i32> {
    if !exists() {
        return Vec::new();
    }
    // SAFETY: as `exists` has seen; entries are null, or live as long as the scoreboard, for numbers below its limit.
    unsafe {
        let limit = sys::ap_get_scoreboard_global().as_ref().map_or(0, |global| global.server_limit.max(0));
        let scores = (0..limit).filter_map(|child| sys::ap_get_scoreboard_process(child).as_ref());
        scores.map(|score| score.pid).filter(|pid| *pid > 0).collect()
    }
}

fn unsigned(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

fn process(child: i32, threads: i32) -> Process {
    // SAFETY: null, or an entry of the scoreboard, for a number below its limit.
    let score = unsafe { sys::ap_get_scoreboard_process(child).as_ref() };
    let workers = (0..threads).map(|thread| worker(child, thread)).collect();
    let Some(score) = score else { return Process { number: unsigned(child), workers, ..Process::default() } };
    Process {
        number: unsigned(child),
        pid: unsigned(score.pid),
        generation: unsigned(score.generation),
        quiescing: score.quiescing != 0,
        workers,
    }
}

fn worker(child: i32, thread: i32) -> Worker {
    // SAFETY: null, or an entry of the scoreboard, for numbers below its limits; copied before it is looked at, as
    // other processes write to it.
    let score = unsafe {
        let entry = sys::ap_get_scoreboard_worker_from_indexes(child, thread);
        if entry.is_null() { None } else { Some(std::ptr::read(entry)) }
    };
    let Some(score) = score else { return Worker { status: STATES[0], ..Worker::default() } };
    Worker {
        number: unsigned(score.thread_num),
        generation: unsigned(score.generation),
        status: STATES.get(usize::from(score.status)).copied().unwrap_or(b'?'),
        access_count: score.access_count,
        bytes_served: u64::try_from(score.bytes_served).unwrap_or(0),
        start_time: score.start_time,
        stop_time: score.stop_time,
        last_used: score.last_used,
        client: text(&score.client),
        request: text(&score.request),
        vhost: text(&score.vhost),
    }
}

/// A text that ends with NUL, or with its array while somebody writes it.
fn text(array: &[c_char]) -> Vec<u8> {
    array.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0).collect()
}
