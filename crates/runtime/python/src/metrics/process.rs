//! `mod_wsgi.process_metrics()`, and what the system says of the process.

use std::sync::atomic::Ordering;

use pyo3::Python;

use super::ledger::{account, float};
use super::meter::{Cpu, usage};
use crate::logging::Setting;
use crate::object::{Object, Raise, append, dict, integer, list, put};
use crate::wsgi::adapter::now;
use crate::wsgi::environ::seconds;

/// Memory of the process in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// What it has now.
    pub(crate) present: u64,
    /// The most that it had.
    pub(crate) most: u64,
}

impl Memory {
    /// As the system says it.
    pub(crate) fn of(usage: Option<&libc::rusage>) -> Self {
        let most = usage.map_or(0, |usage| u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024);
        // SAFETY: no pointers.
        let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096);
        let pages = std::fs::read_to_string("/proc/self/statm").ok();
        let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u64>().ok());
        Self { present: pages.unwrap_or(0) * page, most }
    }

    /// Of this process, now.
    pub(crate) fn now() -> Self {
        Self::of(usage(libc::RUSAGE_SELF).as_ref())
    }
}

/// A count as Python's `int`.
pub(super) fn count(py: Python<'_>, number: u64) -> Raise<Object<'_>> {
    integer(py, i64::try_from(number).unwrap_or(i64::MAX))
}

/// Makes the dict.
pub(crate) fn process_metrics<'py>(py: Python<'py>, setting: &Setting) -> Raise<Object<'py>> {
    let ledger = &setting.ledger;
    let present = now();
    let threads = ledger.serving_threads();
    let begun = |record: &crate::thread::Record| record.requests.load(Ordering::Relaxed);
    let (requests, active) = ledger.lifetime();
    let busy: u64 = threads.iter().map(|record| account(record).busy(present)).sum();
    let usage = usage(libc::RUSAGE_SELF);
    let memory = Memory::of(usage.as_ref());
    let cpu = usage.map_or(Cpu::default(), |usage| Cpu::of(&usage));
    let number = |value: f64| crate::object::float(py, value);
    let metrics = dict(py)?;
    put(&metrics, c"pid", &count(py, u64::from(std::process::id()))?)?;
    put(&metrics, c"request_busy_time", &number(float(busy) / 1e6)?)?;
    put(&metrics, c"request_count", &count(py, requests)?)?;
    put(&metrics, c"memory_max_rss", &count(py, memory.most)?)?;
    put(&metrics, c"memory_rss", &count(py, memory.present)?)?;
    put(&metrics, c"cpu_user_time", &number(float(cpu.user) / 1e6)?)?;
    put(&metrics, c"cpu_system_time", &number(float(cpu.system) / 1e6)?)?;
    put(&metrics, c"cpu_time", &number(float(cpu.total()) / 1e6)?)?;
    put(&metrics, c"restart_time", &number(seconds(ledger.started()))?)?;
    put(&metrics, c"current_time", &number(seconds(present))?)?;
    let running = present.saturating_sub(ledger.started()) / 1_000_000;
    put(&metrics, c"running_time", &integer(py, running)?)?;
    put(&metrics, c"request_threads", &count(py, threads.len() as u64)?)?;
    put(&metrics, c"active_requests", &count(py, active)?)?;
    let entries = list(py)?;
    for record in &threads {
        let entry = dict(py)?;
        put(&entry, c"thread_id", &integer(py, i64::from(record.number()))?)?;
        put(&entry, c"request_count", &count(py, begun(record))?)?;
        append(&entries, &entry)?;
    }
    put(&metrics, c"threads", &entries)?;
    Ok(metrics)
}
