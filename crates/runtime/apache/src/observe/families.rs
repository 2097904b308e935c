//! The metrics: one table. The handler writes them, and the reference page is made from it.

use wsgi_protocol::tally::QUEUE_BOUNDS;

use super::exposition::{Exposition, Kind, Label};
use super::reading::{Group, Process, Reading, STATES};
use crate::host::Mpm;

/// A family of metrics.
pub(crate) struct Family {
    /// Without the suffixes that kinds add.
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What it says.
    pub(crate) help: &'static str,
    /// The samples of one group.
    samples: Samples,
}

enum Samples {
    /// One number per group; `None`: nothing can be said.
    Group(fn(&Group) -> Option<f64>),
    /// One number per process; `None`: nothing can be said.
    Process(fn(&Process) -> Option<f64>),
    /// A count per process.
    Count(fn(&Process) -> u64),
    /// Counts of a group by a further label.
    Named(&'static str, fn(&Group) -> &[(&'static str, u64)]),
    /// A count per group.
    Total(fn(&Group) -> u64),
    /// The states of each process.
    States,
    /// The waiting times of a group.
    Queue,
    /// Facts about the server.
    Build,
}

/// All families, in the order in which they are written.
pub(crate) static FAMILIES: &[Family] = &[
    Family {
        name: "mod_wsgi_build",
        kind: Kind::Info,
        help: "The module: compatibility level, implementation and multi-processing module.",
        samples: Samples::Build,
    },
    Family {
        name: "mod_wsgi_group_processes",
        kind: Kind::Gauge,
        help: "Processes that the group should have (embedded mode: Apache children that run Python).",
        samples: Samples::Group(|group| Some(f64::from(group.configured))),
    },
    Family {
        name: "mod_wsgi_group_threads",
        kind: Kind::Gauge,
        help: "Threads that each process of the group has for requests.",
        samples: Samples::Group(|group| Some(f64::from(group.threads))),
    },
    Family {
        name: "mod_wsgi_group_waiting_requests",
        kind: Kind::Gauge,
        help: "Requests that wait because no process of the group has a free thread.",
        samples: Samples::Group(|group| (!group.embedded).then(|| f64::from(group.waiting))),
    },
    Family {
        name: "mod_wsgi_group_leaving_processes",
        kind: Kind::Gauge,
        help: "Processes that have a successor and finish the requests that they have.",
        samples: Samples::Group(|group| (!group.embedded).then(|| f64::from(group.leaving))),
    },
    Family {
        name: "mod_wsgi_process_up",
        kind: Kind::Gauge,
        help: "1 while the process serves requests, 0 while it is missing, starts, or cannot run Python.",
        samples: Samples::Process(|process| Some(f64::from(u8::from(process.up)))),
    },
    Family {
        name: "mod_wsgi_process_state",
        kind: Kind::Gauge,
        help: "1 for the state that the process is in, 0 for the others.",
        samples: Samples::States,
    },
    Family {
        name: "mod_wsgi_process_pid",
        kind: Kind::Gauge,
        help: "The number of the process in the system.",
        samples: Samples::Process(|process| running(process).map(|()| f64::from(process.pid))),
    },
    Family {
        name: "mod_wsgi_process_start_time_seconds",
        kind: Kind::Gauge,
        help: "When the process started, in seconds since the epoch.",
        samples: Samples::Process(|process| process.started.map(seconds)),
    },
    Family {
        name: "mod_wsgi_process_restarts",
        kind: Kind::Counter,
        help: "How often a process was started in this place after the first one.",
        samples: Samples::Count(|process| u64::from(process.restarts)),
    },
    Family {
        name: "mod_wsgi_process_busy_threads",
        kind: Kind::Gauge,
        help: "Threads that serve a request.",
        samples: Samples::Process(|process| Some(f64::from(process.busy))),
    },
    Family {
        name: "mod_wsgi_process_in_flight_requests",
        kind: Kind::Gauge,
        help: "Requests that were given to the process and have not ended, served or not.",
        samples: Samples::Process(|process| Some(f64::from(process.in_flight))),
    },
    Family {
        name: "mod_wsgi_process_longest_request_seconds",
        kind: Kind::Gauge,
        help: "How long the oldest request of the process has been running; 0 without a request.",
        samples: Samples::Process(|process| {
            running(process).map(|()| process.longest.as_ref().map_or(0.0, |(age, _)| seconds(*age)))
        }),
    },
    Family {
        name: "mod_wsgi_process_interpreters",
        kind: Kind::Gauge,
        help: "Python interpreters of the process, the main one included.",
        samples: Samples::Process(|process| running(process).map(|()| f64::from(process.interpreters))),
    },
    Family {
        name: "mod_wsgi_process_resident_memory_bytes",
        kind: Kind::Gauge,
        help: "Memory of the process that is in RAM.",
        #[expect(clippy::cast_precision_loss, reason = "the format's numbers are floating point")]
        samples: Samples::Process(|process| process.usage.map(|usage| usage.resident as f64)),
    },
    Family {
        name: "mod_wsgi_process_cpu_seconds",
        kind: Kind::Counter,
        help: "Processor time of the process; begins anew with each process.",
        samples: Samples::Process(|process| process.usage.map(|usage| usage.cpu)),
    },
    Family {
        name: "mod_wsgi_requests",
        kind: Kind::Counter,
        help: "Requests that the processes in this place have begun to serve.",
        samples: Samples::Count(|process| process.requests),
    },
    Family {
        name: "mod_wsgi_request_failures",
        kind: Kind::Counter,
        help: "Requests without a complete answer because of the process or the way to it, by kind.",
        samples: Samples::Named("kind", |group| &group.failures),
    },
    Family {
        name: "mod_wsgi_request_interrupts",
        kind: Kind::Counter,
        help: "Requests that request-timeout and interrupt-timeout broke off.",
        samples: Samples::Total(|group| group.interruptions),
    },
    Family {
        name: "mod_wsgi_process_stops",
        kind: Kind::Counter,
        help: "Processes of the group that ended, by reason (the shutdown_reason of the event; crash and exit besides).",
        samples: Samples::Named("reason", |group| &group.stops),
    },
    Family {
        name: "mod_wsgi_queue_time_seconds",
        kind: Kind::Histogram,
        help: "How long requests waited between the Apache child and a thread of the group.",
        samples: Samples::Queue,
    },
];

fn running(process: &Process) -> Option<()> {
    (process.pid != 0).then_some(())
}

/// Of microseconds.
fn seconds(micros: i64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "microseconds since the epoch stay below 2^52")]
    let micros = micros as f64;
    micros / 1e6
}

/// Writes all families.
pub(crate) fn write(reading: &Reading, mpm: &Mpm, out: &mut Exposition) {
    for family in FAMILIES {
        out.family(family.name, family.kind, family.help);
        if let Samples::Build = family.samples {
            let labels = [
                ("version", crate::hooks::COMPATIBLE_VERSION),
                ("implementation", env!("CARGO_PKG_NAME")),
                ("implementation_version", env!("CARGO_PKG_VERSION")),
                ("mpm", mpm.name.as_str()),
            ];
            out.sample(&format!("{}_info", family.name), &labels, 1.0);
            continue;
        }
        for group in &reading.groups {
            family.write(group, out);
        }
    }
}

impl Family {
    fn write(&self, group: &Group, out: &mut Exposition) {
        let mode = if group.embedded { "embedded" } else { "daemon" };
        let own = [("mode", mode), ("group", group.name.as_str())];
        let name = match self.kind {
            Kind::Counter => format!("{}_total", self.name),
            _ => self.name.to_owned(),
        };
        let with = |label: Label<'_>, out: &mut Exposition, write: &dyn Fn(&[Label<'_>], &mut Exposition)| {
            write(&[own[0], own[1], label], out);
        };
        match &self.samples {
            Samples::Build => {}
            Samples::Group(value) => {
                if let Some(value) = value(group) {
                    out.sample(&name, &own, value);
                }
            }
            Samples::Total(value) if group.embedded => {
                let _ = value;
            }
            Samples::Total(value) => out.count(&name, &own, value(group)),
            Samples::Named(label, values) => {
                for (kind, value) in values(group) {
                    with((label, kind), out, &|labels, out| out.count(&name, labels, *value));
                }
            }
            Samples::Process(value) => {
                for process in &group.processes {
                    let Some(value) = value(process) else { continue };
                    let number = process.number.to_string();
                    with(("process", &number), out, &|labels, out| out.sample(&name, labels, value));
                }
            }
            Samples::Count(value) => {
                for process in &group.processes {
                    let number = process.number.to_string();
                    with(("process", &number), out, &|labels, out| out.count(&name, labels, value(process)));
                }
            }
            Samples::States => {
                for process in &group.processes {
                    let number = process.number.to_string();
                    for state in STATES {
                        let labels = [own[0], own[1], ("process", number.as_str()), ("state", state)];
                        out.count(&name, &labels, u64::from(process.state == state));
                    }
                }
            }
            Samples::Queue if group.embedded => {}
            Samples::Queue => self.queue(group, &own, out),
        }
    }

    fn queue(&self, group: &Group, own: &[Label<'_>; 2], out: &mut Exposition) {
        let bucket = format!("{}_bucket", self.name);
        let mut so_far = 0u64;
        for (class, count) in group.queue.classes.iter().enumerate() {
            so_far = so_far.saturating_add(*count);
            #[expect(clippy::cast_precision_loss, reason = "bounds are small")]
            let bound = QUEUE_BOUNDS.get(class).map(|bound| *bound as f64 / 1e6);
            let bound = bound.map_or("+Inf".to_owned(), |bound| format!("{bound:?}"));
            out.count(&bucket, &[own[0], own[1], ("le", &bound)], so_far);
        }
        out.count(&format!("{}_count", self.name), own, so_far);
        #[expect(clippy::cast_precision_loss, reason = "the format's numbers are floating point")]
        let sum = group.queue.micros as f64 / 1e6;
        out.sample(&format!("{}_sum", self.name), own, sum);
    }
}

/// The reference page.
#[cfg(test)]
pub(crate) fn page() -> String {
    use std::fmt::Write as _;
    let mut page = include_str!("page.md").to_owned();
    page.push_str("## All metrics\n\n| Name | Kind | What it says |\n|---|---|---|\n");
    for family in FAMILIES {
        let (suffix, kind) = match family.kind {
            Kind::Counter => ("_total", "counter"),
            Kind::Gauge => ("", "gauge"),
            Kind::Histogram => ("", "histogram"),
            Kind::Info => ("_info", "info"),
        };
        let further = match family.samples {
            Samples::Group(_) | Samples::Total(_) | Samples::Queue | Samples::Build => String::new(),
            Samples::Process(_) | Samples::Count(_) => " Per `process`.".to_owned(),
            Samples::States => format!(" Per `process` and `state`: {}.", STATES.join(", ")),
            Samples::Named("kind", _) => {
                let names: Vec<&str> = wsgi_protocol::tally::Failed::ALL.iter().map(|(_, name)| *name).collect();
                format!(" By `kind`: {}.", names.join(", "))
            }
            Samples::Named(label, _) => format!(" By `{label}`: {}.", wsgi_protocol::tally::STOPS.join(", ")),
        };
        let _ = writeln!(page, "| `{}{suffix}` | {kind} | {}{further} |", family.name, family.help);
    }
    page
}

#[cfg(test)]
mod tests {
    use super::super::exposition::Format;
    use super::*;

    fn mpm() -> Mpm {
        Mpm { name: "event".to_owned(), maximum_processes: 1, threads_per_process: 1 }
    }

    #[test]
    fn names_follow_the_conventions() {
        let mut names: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
        for family in FAMILIES {
            let name = family.name;
            assert!(name.starts_with("mod_wsgi_") && !name.ends_with("_total") && !name.ends_with("_info"), "{name}");
            assert!(name.chars().all(|character| character.is_ascii_lowercase() || character == '_'), "{name}");
            assert!(family.help.ends_with('.'), "{name}");
        }
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FAMILIES.len());
    }

    #[test]
    fn classes_are_cumulative_and_end_with_all() {
        let mut group = Group { name: "web".to_owned(), ..Group::default() };
        group.queue.classes[0] = 2;
        group.queue.classes[QUEUE_BOUNDS.len()] = 1;
        group.queue.micros = 1_500_000;
        let mut out = Exposition::new(Format::OpenMetrics);
        write(&Reading { groups: vec![group] }, &mpm(), &mut out);
        let text = out.finish();
        let labels = "{mode=\"daemon\",group=\"web\"";
        for line in [
            format!("mod_wsgi_queue_time_seconds_bucket{labels},le=\"0.001\"}} 2\n"),
            format!("mod_wsgi_queue_time_seconds_bucket{labels},le=\"30.0\"}} 2\n"),
            format!("mod_wsgi_queue_time_seconds_bucket{labels},le=\"+Inf\"}} 3\n"),
            format!("mod_wsgi_queue_time_seconds_count{labels}}} 3\n"),
            format!("mod_wsgi_queue_time_seconds_sum{labels}}} 1.5\n"),
        ] {
            assert!(text.contains(&line), "{line}{text}");
        }
    }
}
