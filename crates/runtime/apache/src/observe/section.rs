//! The section on mod_status' page: a table for people, `Key: value` lines for programs (`?auto`). mod_status calls it
//! through an optional hook; when it is not loaded, nobody does.

use std::ffi::{CStr, c_int};
use std::fmt::Write;

use super::reading::{Group, Process, Reading};
use crate::config::ServerConfig;
use crate::guard::wall;
use crate::host::Request;
use crate::sys;

/// mod_status' flags.
const SHORT: c_int = 1;
const NO_TABLE: c_int = 2;
const EXTENDED: c_int = 4;

/// Registers it.
pub(crate) fn register() {
    type Section = unsafe extern "C" fn(*mut sys::request_rec, c_int) -> c_int;
    // SAFETY: the name is what mod_status looks for, and the function has the type that it calls; optional hooks are
    // kept as functions of no type in particular.
    unsafe {
        let function = std::mem::transmute::<Section, unsafe extern "C" fn()>(section);
        let middle = sys::APR_HOOK_MIDDLE.cast_signed();
        sys::apr_optional_hook_add(NAME.as_ptr(), Some(function), std::ptr::null(), std::ptr::null(), middle);
    }
}

const NAME: &CStr = c"status_hook";

unsafe extern "C" fn section(request: *mut sys::request_rec, flags: c_int) -> c_int {
    wall("the section on the status page", sys::DECLINED, || {
        // SAFETY: mod_status passes the request that it answers.
        let request = unsafe { Request::from_raw(request) };
        let registry = ServerConfig::of(request.server()).map(ServerConfig::registry);
        let Some((registry, generation)) = registry.and_then(|registry| Some((registry, registry.generation()?)))
        else {
            return sys::DECLINED;
        };
        let reading = Reading::take(registry, generation);
        if reading.groups.is_empty() {
            return sys::DECLINED;
        }
        let text = match flags {
            flags if flags & SHORT != 0 => lines(&reading),
            flags => page(&reading, flags & NO_TABLE != 0, flags & EXTENDED != 0),
        };
        request.write(text.as_bytes());
        sys::OK.cast_signed()
    })
}

/// What is shown of a process: a heading, the key of `?auto`, the value.
struct Column(&'static str, &'static str, fn(&Process) -> String);

const COLUMNS: &[Column] = &[
    Column("Process", "Number", |process| process.number.to_string()),
    Column("PID", "Pid", |process| if process.pid == 0 { "-".to_owned() } else { process.pid.to_string() }),
    Column("State", "State", |process| process.state.to_owned()),
    Column("Busy", "BusyThreads", |process| process.busy.to_string()),
    Column("In flight", "InFlight", |process| process.in_flight.to_string()),
    Column("Requests", "Requests", |process| process.requests.to_string()),
    Column("Restarts", "Restarts", |process| process.restarts.to_string()),
    Column("Interpreters", "Interpreters", |process| process.interpreters.to_string()),
    Column("Memory kB", "MemoryKB", |process| {
        process.usage.map_or("-".to_owned(), |usage| (usage.resident / 1024).to_string())
    }),
    Column("CPU s", "CPUSeconds", |process| process.usage.map_or("-".to_owned(), |usage| format!("{:.2}", usage.cpu))),
    Column("Longest s", "LongestRequestSeconds", |process| {
        process
            .longest
            .as_ref()
            .map_or("-".to_owned(), |(age, _)| format!("{}.{:03}", age / 1_000_000, age / 1000 % 1000))
    }),
];

/// Writing into a string cannot fail.
macro_rules! put {
    ($out:ident, $($text:tt)*) => {{ let _ = write!($out, $($text)*); }};
}

fn title(group: &Group) -> String {
    if group.embedded {
        return "Embedded mode: Apache children that run Python".to_owned();
    }
    format!("Daemon process group '{}'", group.name)
}

/// What is said of a group before its processes.
fn facts(group: &Group) -> Vec<(&'static str, &'static str, String)> {
    let mut facts = vec![
        ("processes", "Processes", group.configured.to_string()),
        ("threads each", "Threads", group.threads.to_string()),
        ("busy threads", "BusyThreads", group.sum(|process| u64::from(process.busy)).to_string()),
        ("requests", "Requests", group.sum(|process| process.requests).to_string()),
    ];
    if !group.embedded {
        let failed = group.failures.iter().map(|(_, count)| *count).fold(0, u64::saturating_add);
        facts.push(("waiting requests", "WaitingRequests", group.waiting.to_string()));
        facts.push(("failed requests", "FailedRequests", failed.to_string()));
        facts.push(("leaving processes", "LeavingProcesses", group.leaving.to_string()));
    }
    facts
}

/// The form for people.
fn page(reading: &Reading, no_table: bool, extended: bool) -> String {
    let mut out = String::from("<hr />\n<h2>WSGI</h2>\n");
    for group in &reading.groups {
        let facts: Vec<String> = facts(group).iter().map(|(name, _, value)| format!("{name}: {value}")).collect();
        put!(out, "<h3>{}</h3>\n<p>{}</p>\n", html(&title(group)), facts.join(", "));
        if no_table {
            out.push_str("<pre>\n");
        } else {
            out.push_str("<table border=\"0\"><tr>");
            for Column(heading, _, _) in COLUMNS {
                put!(out, "<th>{heading}</th>");
            }
            out.push_str(if extended { "<th>Longest request</th></tr>\n" } else { "</tr>\n" });
        }
        for process in &group.processes {
            let longest = process.longest.as_ref().filter(|_| extended).map_or("", |(_, text)| text.as_str());
            if no_table {
                let cells: Vec<String> =
                    COLUMNS.iter().map(|Column(heading, _, value)| format!("{heading} {}", value(process))).collect();
                put!(out, "{} {}\n", cells.join(", "), html(longest));
                continue;
            }
            out.push_str("<tr>");
            for Column(_, _, value) in COLUMNS {
                put!(out, "<td>{}</td>", value(process));
            }
            if extended {
                put!(out, "<td>{}</td>", html(longest));
            }
            out.push_str("</tr>\n");
        }
        out.push_str(if no_table { "</pre>\n" } else { "</table>\n" });
    }
    out
}

/// The form for programs, in the manner of mod_proxy's lines.
fn lines(reading: &Reading) -> String {
    let mut out = String::new();
    for (number, group) in reading.groups.iter().enumerate() {
        let (mode, name) = if group.embedded { ("embedded", String::new()) } else { ("daemon", one_line(&group.name)) };
        put!(out, "WSGIGroup[{number}]Mode: {mode}\nWSGIGroup[{number}]Name: {name}\n");
        for (_, key, value) in facts(group) {
            put!(out, "WSGIGroup[{number}]{key}: {value}\n");
        }
        for (position, process) in group.processes.iter().enumerate() {
            for Column(_, key, value) in COLUMNS {
                put!(out, "WSGIGroup[{number}]Process[{position}]{key}: {}\n", value(process));
            }
        }
    }
    out
}

fn one_line(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '?' } else { character }).collect()
}

fn html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading() -> Reading {
        let process =
            Process { pid: 7, state: "ready", longest: Some((1_250_000, "GET /<b>".to_owned())), ..Process::default() };
        let group = Group { name: "a<b\n".to_owned(), processes: vec![process], ..Group::default() };
        Reading { groups: vec![Group { embedded: true, ..Group::default() }, group] }
    }

    #[test]
    fn programs_get_a_line_per_value() {
        let text = lines(&reading());
        for line in [
            "WSGIGroup[0]Mode: embedded",
            "WSGIGroup[1]Name: a<b?",
            "WSGIGroup[1]Process[0]Pid: 7",
            "WSGIGroup[1]Process[0]LongestRequestSeconds: 1.250",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(text.lines().all(|line| line.contains(": ")), "{text}");
    }

    #[test]
    fn people_see_requests_only_on_the_extended_page() {
        let text = page(&reading(), false, true);
        assert!(text.contains("Daemon process group 'a&lt;b\n'") && text.contains("GET /&lt;b&gt;"), "{text}");
        assert!(!page(&reading(), false, false).contains("GET /"));
        let plain = page(&reading(), true, true);
        assert!(!plain.contains("<table") && plain.contains("PID 7") && plain.contains("GET /&lt;b&gt;"), "{plain}");
    }
}
