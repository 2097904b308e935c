//! The thread that does what needs the GIL on behalf of the monitor, which must never wait for it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use wsgi_protocol::abi::Level;

use super::server::Server;
use crate::engine::{Engine, Stacks};

/// A signal's number and name.
type Signal = (i32, &'static str);

/// Something to do with the GIL held.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    /// Log the stacks of all Python threads.
    DumpStacks,
    /// The same for somebody who asked for it: with what the threads serve, and where the operator sees it.
    ShowStacks,
    /// Log the stack of this worker's request, then raise `RequestTimeout` in it.
    Interrupt {
        /// The worker, from 0.
        worker: u32,
        /// When the request began, in the board's time.
        start: u64,
    },
}

/// How often the GIL is tried at least, and the descriptors are looked at.
const PERIOD: Duration = Duration::from_secs(1);

/// Signals that wait for their subscribers; more are forgotten, as those that come while one of their kind is pending are.
const SIGNALS: usize = 16;

/// The running thread.
pub(super) struct Watchdog {
    tasks: Sender<Task>,
    thread: JoinHandle<()>,
    /// Tries the locks of interpreters that have one of their own: not the same thread, as one that is kept must not hold
    /// up what is to be done in others. It ends when the sender is dropped.
    prober: Option<(Sender<()>, JoinHandle<()>)>,
    /// Tells subscribers of signals, once there was one: they may take their time, which is not the watchdog's.
    herald: Option<(SyncSender<Signal>, JoinHandle<()>)>,
    engine: &'static Engine,
}

/// Often enough that a short timeout does not take the pause between two tries for a deadlock.
fn period(server: &Server) -> Duration {
    PERIOD.min(Duration::from_millis(server.timeouts.deadlock / 3))
}

impl Watchdog {
    /// Starts it.
    ///
    /// # Errors
    /// When the thread cannot be made.
    pub(super) fn start(server: &'static Server, engine: &'static Engine) -> std::io::Result<Self> {
        let (tasks, queue) = channel();
        let thread = std::thread::Builder::new().spawn(move || run(server, engine, &queue))?;
        let prober = if server.timeouts.deadlock > 0 && engine.expects_own_gils() {
            let (alive, ended) = channel();
            server.board.prober();
            Some((alive, std::thread::Builder::new().spawn(move || probe(server, engine, &ended))?))
        } else {
            None
        };
        Ok(Self { tasks, thread, prober, herald: None, engine })
    }

    /// Has subscribers told of a signal.
    pub(super) fn signal(&mut self, signal: i32, name: &'static str) {
        if self.herald.is_none() {
            let engine = self.engine;
            let (signals, queue) = sync_channel(SIGNALS);
            let tell = move || queue.iter().for_each(|(signal, name)| engine.signal(name, signal));
            self.herald = std::thread::Builder::new().spawn(tell).ok().map(|thread| (signals, thread));
        }
        if let Some((signals, _)) = &self.herald {
            // A full queue: see SIGNALS.
            let _ = signals.try_send((signal, name));
        }
    }

    /// Has a task done, when its turn comes.
    pub(super) fn task(&self, task: Task) {
        // The thread only ends with `stop`.
        let _ = self.tasks.send(task);
    }

    /// Ends it. Waits for the GIL when the thread does.
    pub(super) fn stop(self) {
        drop(self.tasks);
        let _ = self.thread.join();
        if let Some((alive, thread)) = self.prober {
            drop(alive);
            let _ = thread.join();
        }
        if let Some((signals, thread)) = self.herald {
            drop(signals);
            let _ = thread.join();
        }
    }
}

fn run(server: &Server, engine: &'static Engine, queue: &Receiver<Task>) {
    loop {
        let task = queue.recv_timeout(if server.timeouts.deadlock > 0 { period(server) } else { PERIOD });
        server.check_lifelines();
        match task {
            Ok(Task::DumpStacks) => engine.dump_stacks(Stacks::All, Level::Info),
            Ok(Task::ShowStacks) => show_stacks(server, engine),
            Ok(Task::Interrupt { worker, start }) => interrupt(server, engine, worker, start),
            Err(RecvTimeoutError::Timeout) if server.timeouts.deadlock == 0 => {}
            Err(RecvTimeoutError::Timeout) => engine.probe_gil(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        server.board.watchdog();
    }
}

fn probe(server: &Server, engine: &'static Engine, ended: &Receiver<()>) {
    while ended.recv_timeout(period(server)) == Err(RecvTimeoutError::Timeout) {
        engine.probe_own_gils();
        server.board.prober();
    }
}

fn show_stacks(server: &Server, engine: &'static Engine) {
    let group = &server.group;
    // What the threads serve is known without the GIL, which somebody may keep.
    for (worker, request, age) in server.status.requests() {
        let text = format!(
            "Thread {} of daemon process '{group}' has been serving {request} for {:.1} s.",
            worker + 1,
            age.as_secs_f64()
        );
        server.log.say(Level::Notice, &text);
    }
    engine.dump_stacks(Stacks::All, Level::Notice);
    server.log.say(Level::Notice, &format!("These are all Python threads of daemon process '{group}'."));
}

fn interrupt(server: &Server, engine: &'static Engine, worker: u32, start: u64) {
    let is_meant = || server.board.still_serves(worker, start);
    if !is_meant() {
        return;
    }
    let (group, thread) = (&server.group, worker + 1);
    let seconds = server.timeouts.request / 1000;
    server.say(&format!(
        "Dumping stack trace for thread {thread} of daemon process '{group}' which has exceeded request-timeout of \
         {seconds} seconds, before injecting RequestTimeout to unwind it."
    ));
    engine.dump_stacks(Stacks::Worker(thread), Level::Info);
    if engine.interrupt(thread, is_meant) {
        server.status.count_interruption();
        server.say(&format!("Injected RequestTimeout into thread {thread} of daemon process '{group}'."));
    }
}
