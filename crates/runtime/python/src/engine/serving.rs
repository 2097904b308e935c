//! A request on the thread that serves it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use pyo3::ffi;
use wsgi_protocol::abi::Level;
use wsgi_protocol::consult::{Advice, Consultation};
use wsgi_protocol::request::{self, Facts};

use super::interpreters::Refused;
use super::watched::Watched;
use super::watching::ident;
use super::{Engine, Worker};
use crate::consult;
use crate::gateway::{Gateway, Outcome};
use crate::metrics::{Finished, Io, Meter};
use crate::script::{self, Found, Standing, Wanted};
use crate::thread::{Record, enter};
use crate::traceback::Destination;
use crate::wsgi::adapter::{self, Ended, Outgoing, now};
use crate::wsgi::environ::{self, Moment};

/// Marks a worker as busy while it lives.
struct Busy<'a>(&'a Record);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::SeqCst);
    }
}

impl Engine {
    /// Serves one request on the worker's thread. Never panics.
    pub fn serve(&'static self, worker: &mut Worker, facts: &Facts<'_>, gateway: &mut dyn Gateway) -> Outcome {
        let record = Arc::clone(&worker.record);
        record.busy.store(true, Ordering::SeqCst);
        let _busy = Busy(&record);
        if self.stopping.load(Ordering::SeqCst) {
            // No application has seen it: another process may take it.
            return if self.setting.embedded() { Outcome::Status(503) } else { Outcome::Rejected };
        }
        let mut sent = false;
        let served = {
            let mut watched = Watched { gateway: &mut *gateway, sent: &mut sent };
            catch_unwind(AssertUnwindSafe(|| self.serve_unguarded(worker, facts, &mut watched)))
        };
        match served {
            Ok(outcome) => outcome,
            Err(panic) => {
                let text = format!("Internal error of mod_wsgi: {}", crate::slot::panic_text(&*panic));
                gateway.log(&crate::logging::record(Level::Error, text.as_bytes(), None));
                if sent { Outcome::Truncated } else { Outcome::Status(500) }
            }
        }
    }

    fn serve_unguarded(&'static self, worker: &mut Worker, facts: &Facts<'_>, gateway: &mut dyn Gateway) -> Outcome {
        let daemon_start = if self.setting.embedded() { 0 } else { now() };
        let group = facts.application_group.or_empty();
        let interpreter = match self.interpreter(worker, group, facts.has(request::OWN_GROUP)) {
            Ok(interpreter) => interpreter,
            Err(Refused::Full) => {
                self.say_full(group, gateway);
                return Outcome::Status(503);
            }
            Err(Refused::Failed) => {
                let name = String::from_utf8_lossy(group);
                let text = format!("WSGI0087: The interpreter '{name}' is not available for the request.");
                gateway.log(&crate::logging::record(Level::Error, text.as_bytes(), None));
                return Outcome::Status(500);
            }
        };
        let Some(state) = worker.state(interpreter) else {
            let text = b"WSGI0191: No Python thread state could be created for the request.";
            gateway.log(&crate::logging::record(Level::Error, text, None));
            return Outcome::Status(500);
        };
        let wanted = Wanted::of(facts);
        let moment = Moment { thread: worker.record.number(), daemon_start, application_start: 0 };
        let mut outgoing = std::mem::take(&mut worker.outgoing);
        let record = &worker.record;
        let ledger = &self.setting.ledger;
        let waits = (interpreter.observed() || ledger.recording()).then(Instant::now);
        let begun = if daemon_start == 0 && waits.is_some() { now() } else { daemon_start };
        let open = waits.and_then(|_| {
            ledger.begin(record, begun, |slow| {
                let id = environ::request_id(facts).map_or_else(|| gateway.request_id(), <[u8]>::to_vec);
                slow.describe(facts, record.number(), daemon_start, &id)
            })
        });
        // SAFETY: this thread's own state; the thread is not attached.
        let ended = unsafe {
            enter(state, |py| {
                outgoing.tally.meter.on = false;
                // In embedded mode there is nobody else to serve the request: the script is asked as part of it.
                let decided = !self.setting.embedded();
                let standing = decided.then(|| script::standing(py, Destination::Process(interpreter), &wanted));
                // Not before the GIL is held: as long as it cannot be had, the request may go to another process.
                if matches!(standing, Some(Standing::Leave)) || !gateway.accept() {
                    return Ended::Done(Outcome::Rejected);
                }
                record.requests.fetch_add(1, Ordering::Relaxed);
                record.serving.store(interpreter.index + 1, Ordering::Relaxed);
                if let Some(waits) = waits {
                    outgoing.tally.meter = Meter::running();
                    outgoing.tally.meter.took_gil(waits);
                }
                let ended = adapter::serve(
                    py,
                    interpreter,
                    facts,
                    Found { wanted: &wanted, standing },
                    gateway,
                    moment,
                    &mut outgoing,
                );
                let _steady = record.steady();
                record.serving.store(0, Ordering::Relaxed);
                if record.interrupted.swap(false, Ordering::Relaxed) {
                    // An exception that came too late must not hit the next request.
                    ffi::PyThreadState_SetAsyncExc(ident(record.ident()), std::ptr::null_mut());
                }
                ended
            })
        };
        let outcome = match ended {
            Ended::Done(outcome) => outcome,
            Ended::Send(head, outcome) => {
                outgoing.head = head;
                let begun = outgoing.tally.meter.on.then(Instant::now);
                let outcome = adapter::send(gateway, &outgoing, outcome);
                if let Some(begun) = begun {
                    outgoing.tally.meter.used(Io::Output, begun.elapsed());
                }
                outcome
            }
        };
        if outgoing.tally.meter.on {
            self.enter_account(record, &outgoing, facts, (begun, daemon_start), outcome);
        }
        drop(open);
        worker.outgoing = outgoing;
        outcome
    }

    /// Records a measured request. `times`: when the thread took it and, in a daemon, when that was.
    fn enter_account(
        &self,
        record: &Record,
        outgoing: &Outgoing,
        facts: &Facts<'_>,
        times: (i64, i64),
        outcome: Outcome,
    ) {
        let mut tally = outgoing.tally;
        let cpu = tally.meter.cpu();
        let status = match outcome {
            Outcome::Complete | Outcome::Truncated => tally.status,
            Outcome::Status(status) => status,
            Outcome::Rejected => return,
        };
        let (begun, daemon_start) = times;
        let request = Finished {
            tally: &tally,
            request_start: facts.request_start,
            queue_start: facts.queue_start,
            daemon_start,
            finish: now(),
            status,
            cpu,
        };
        // A request that began before anybody wanted to know.
        let begun = if begun == 0 { tally.application_start } else { begun };
        self.setting.ledger.finish(record, &request, begun);
    }

    /// Asks a script that decides on a request, on the worker's thread. Never panics. The texts are what the script
    /// gave along with its answer.
    pub fn consult(
        &'static self,
        worker: &mut Worker,
        asked: &Consultation<'_>,
        gateway: &mut dyn Gateway,
    ) -> (Advice, Vec<Option<Vec<u8>>>) {
        let record = Arc::clone(&worker.record);
        record.busy.store(true, Ordering::SeqCst);
        let _busy = Busy(&record);
        if self.stopping.load(Ordering::SeqCst) {
            return (Advice::Unavailable, Vec::new());
        }
        let group = asked.facts.application_group.or_empty();
        let interpreter = match self.interpreter(worker, group, asked.facts.has(request::OWN_GROUP)) {
            Ok(interpreter) => interpreter,
            Err(refused) => {
                if refused == Refused::Full {
                    self.say_full(group, gateway);
                }
                return (Advice::Unavailable, Vec::new());
            }
        };
        let Some(state) = worker.state(interpreter) else { return (Advice::Unavailable, Vec::new()) };
        let wanted = Wanted::deciding(&asked.facts);
        let consulted = catch_unwind(AssertUnwindSafe(|| {
            // SAFETY: this thread's own state; the thread is not attached.
            unsafe { enter(state, |py| consult::run(py, interpreter, asked, &wanted, &mut *gateway)) }
        }));
        consulted.unwrap_or_else(|panic| {
            let text = format!("Internal error of mod_wsgi: {}", crate::slot::panic_text(&*panic));
            gateway.log(&crate::logging::record(Level::Error, text.as_bytes(), None));
            (Advice::Failed, Vec::new())
        })
    }
}
