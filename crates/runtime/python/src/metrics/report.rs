//! `mod_wsgi.request_metrics()`.

use pyo3::Python;

use super::account::{DAEMON, PHASES, QUEUE};
use super::ledger::{Report, Slot, float};
use super::process::{Memory, count};
use crate::logging::Setting;
use crate::object::{Object, Raise, append, dict, integer, list, none, put};
use crate::slot::c_text;
use crate::wsgi::environ::seconds;

fn number(py: Python<'_>, value: f64) -> Raise<Object<'_>> {
    crate::object::float(py, value)
}

/// Makes the dict, and begins the next window.
pub(crate) fn request_metrics<'py>(py: Python<'py>, setting: &Setting) -> Raise<Object<'py>> {
    let report = setting.ledger.drain(setting.config.threads_per_process);
    let metrics = dict(py)?;
    put(&metrics, c"pid", &count(py, u64::from(std::process::id()))?)?;
    put(&metrics, c"start_time", &number(py, seconds(report.start))?)?;
    put(&metrics, c"stop_time", &number(py, seconds(report.stop))?)?;
    put(&metrics, c"sample_period", &number(py, report.period)?)?;
    resources(py, &metrics, &report)?;
    volume(py, &metrics, &report)?;
    phases(py, &metrics, &report, setting.embedded())?;
    threads(py, &metrics, &report.slots)?;
    Ok(metrics)
}

fn resources(py: Python<'_>, metrics: &Object<'_>, report: &Report) -> Raise<()> {
    let rates = [
        (c"cpu_user_utilization", c"cpu_user_time", report.cpu_user),
        (c"cpu_system_utilization", c"cpu_system_time", report.cpu_system),
        (c"cpu_utilization", c"cpu_time", report.cpu_user + report.cpu_system),
    ];
    for (key, alias, rate) in rates {
        let rate = number(py, rate)?;
        put(metrics, key, &rate)?;
        put(metrics, alias, &rate)?;
    }
    let memory = Memory::now();
    put(metrics, c"memory_max_rss", &count(py, memory.most)?)?;
    put(metrics, c"memory_rss", &count(py, memory.present)?)?;
    put(metrics, c"request_threads_maximum", &count(py, u64::from(report.maximum))?)?;
    put(metrics, c"request_threads_started", &count(py, report.started as u64)?)?;
    put(metrics, c"request_threads_active", &count(py, report.active as u64)?)?;
    put(metrics, c"capacity_utilization", &number(py, report.utilization())?)
}

fn volume(py: Python<'_>, metrics: &Object<'_>, report: &Report) -> Raise<()> {
    let window = &report.window;
    put(metrics, c"request_count", &count(py, window.requests)?)?;
    put(metrics, c"request_throughput", &number(py, report.throughput())?)?;
    let statuses = [c"status_1xx", c"status_2xx", c"status_3xx", c"status_4xx", c"status_5xx"];
    for (key, value) in statuses.iter().zip(window.statuses) {
        put(metrics, key, &count(py, value)?)?;
    }
    put(metrics, c"input_bytes", &count(py, window.input_bytes)?)?;
    put(metrics, c"input_reads", &count(py, window.input_reads)?)?;
    put(metrics, c"output_bytes", &count(py, window.output_bytes)?)?;
    put(metrics, c"output_writes", &count(py, window.output_writes)?)?;
    put(metrics, c"gil_wait_count", &count(py, window.gil_count)?)
}

fn phases(py: Python<'_>, metrics: &Object<'_>, report: &Report, embedded: bool) -> Raise<()> {
    for (index, (phase, times)) in PHASES.iter().zip(&report.window.phases).enumerate() {
        let key = |suffix: &str| c_text(&format!("{phase}{suffix}"));
        let absent = embedded && (index == QUEUE || index == DAEMON);
        let mean = if absent { none(py) } else { number(py, times.mean())? };
        put(metrics, &key(""), &mean)?;
        let (least, most) = match times.extremes() {
            Some((least, most)) => (count(py, least)?, count(py, most)?),
            None => (none(py), none(py)),
        };
        put(metrics, &key("_min_us"), &least)?;
        put(metrics, &key("_max_us"), &most)?;
        let buckets = list(py)?;
        for value in times.buckets {
            append(&buckets, &integer(py, i64::from(value))?)?;
        }
        put(metrics, &key("_buckets"), &buckets)?;
    }
    Ok(())
}

fn threads(py: Python<'_>, metrics: &Object<'_>, slots: &[Slot]) -> Raise<()> {
    let completed = list(py)?;
    let [busy, cpu, elapsed, longest] = [list(py)?, list(py)?, list(py)?, list(py)?];
    for slot in slots {
        append(&completed, &count(py, slot.completed)?)?;
        for (list, time) in [(&busy, slot.busy), (&cpu, slot.cpu), (&elapsed, slot.elapsed), (&longest, slot.longest)] {
            append(list, &number(py, float(time) / 1e6)?)?;
        }
    }
    put(metrics, c"request_threads_completed", &completed)?;
    put(metrics, c"request_threads_buckets", &completed)?;
    put(metrics, c"request_threads_busy_time", &busy)?;
    put(metrics, c"request_threads_cpu_time", &cpu)?;
    put(metrics, c"request_threads_current_elapsed", &elapsed)?;
    put(metrics, c"request_threads_max_duration", &longest)
}
