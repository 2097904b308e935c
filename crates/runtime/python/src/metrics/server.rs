//! `mod_wsgi.server_metrics()`: Apache's scoreboard.

use pyo3::Python;
use wsgi_protocol::scoreboard::{Process, Snapshot, Worker};

use super::process::count;
use crate::object::{Object, Raise, append, boolean, dict, integer, latin1, list, put};
use crate::wsgi::adapter::now;
use crate::wsgi::environ::seconds;

/// Makes the dict of a snapshot.
pub(crate) fn server_metrics<'py>(py: Python<'py>, snapshot: &Snapshot) -> Raise<Object<'py>> {
    let present = now();
    let time = |micros: i64| crate::object::float(py, seconds(micros));
    let metrics = dict(py)?;
    put(&metrics, c"server_limit", &integer(py, i64::from(snapshot.server_limit))?)?;
    put(&metrics, c"thread_limit", &integer(py, i64::from(snapshot.thread_limit))?)?;
    put(&metrics, c"running_generation", &integer(py, i64::from(snapshot.generation))?)?;
    put(&metrics, c"restart_time", &time(snapshot.restart_time)?)?;
    put(&metrics, c"current_time", &time(present)?)?;
    let running = present.saturating_sub(snapshot.restart_time) / 1_000_000;
    put(&metrics, c"running_time", &integer(py, running)?)?;
    let processes = list(py)?;
    for process in &snapshot.processes {
        append(&processes, &process_entry(py, process)?)?;
    }
    put(&metrics, c"processes", &processes)?;
    Ok(metrics)
}

fn process_entry<'py>(py: Python<'py>, process: &Process) -> Raise<Object<'py>> {
    let entry = dict(py)?;
    put(&entry, c"process_num", &integer(py, i64::from(process.number))?)?;
    put(&entry, c"pid", &integer(py, i64::from(process.pid))?)?;
    put(&entry, c"generation", &integer(py, i64::from(process.generation))?)?;
    put(&entry, c"quiescing", &boolean(py, process.quiescing))?;
    let workers = list(py)?;
    for worker in &process.workers {
        append(&workers, &worker_entry(py, worker)?)?;
    }
    put(&entry, c"workers", &workers)?;
    Ok(entry)
}

fn worker_entry<'py>(py: Python<'py>, worker: &Worker) -> Raise<Object<'py>> {
    let time = |micros: i64| crate::object::float(py, seconds(micros));
    let entry = dict(py)?;
    put(&entry, c"thread_num", &integer(py, i64::from(worker.number))?)?;
    put(&entry, c"generation", &integer(py, i64::from(worker.generation))?)?;
    put(&entry, c"status", &latin1(py, &[worker.status])?)?;
    put(&entry, c"access_count", &count(py, worker.access_count)?)?;
    put(&entry, c"bytes_served", &count(py, worker.bytes_served)?)?;
    put(&entry, c"start_time", &time(worker.start_time)?)?;
    put(&entry, c"stop_time", &time(worker.stop_time)?)?;
    put(&entry, c"last_used", &time(worker.last_used)?)?;
    put(&entry, c"client", &latin1(py, &worker.client)?)?;
    put(&entry, c"request", &latin1(py, &worker.request)?)?;
    put(&entry, c"vhost", &latin1(py, &worker.vhost)?)?;
    Ok(entry)
}
