//! The thread that does what needs the GIL on behalf of the monitor, which must never wait for it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::server::Server;
use crate::engine::{Engine, Stacks};

/// Something to do with the GIL held.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    /// Log the stacks of all Python threads.
    DumpStacks,
    /// Log the stack of this worker (from 0), then raise `RequestTimeout` in it.
    Interrupt(u32),
    /// Tell subscribers of a signal.
    Signal(i32, &'static str),
}

/// How often the GIL is tried.
const PERIOD: Duration = Duration::from_secs(1);

/// The running thread.
pub(super) struct Watchdog {
    tasks: Sender<Task>,
    thread: JoinHandle<()>,
    /// Tries the locks of interpreters that have one of their own: not the same thread, as one that is kept must not hold
    /// up what is to be done in others. It ends when the sender is dropped.
    prober: Option<(Sender<()>, JoinHandle<()>)>,
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
        Ok(Self { tasks, thread, prober })
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
    }
}

fn run(server: &Server, engine: &'static Engine, queue: &Receiver<Task>) {
    loop {
        let task = if server.timeouts.deadlock > 0 {
            queue.recv_timeout(PERIOD)
        } else {
            queue.recv().map_err(RecvTimeoutError::from)
        };
        match task {
            Ok(Task::DumpStacks) => engine.dump_stacks(Stacks::All),
            Ok(Task::Interrupt(worker)) => interrupt(server, engine, worker + 1),
            Ok(Task::Signal(number, name)) => engine.signal(name, number),
            Err(RecvTimeoutError::Timeout) => engine.probe_gil(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        server.board.watchdog();
    }
}

fn probe(server: &Server, engine: &'static Engine, ended: &Receiver<()>) {
    while ended.recv_timeout(PERIOD) == Err(RecvTimeoutError::Timeout) {
        engine.probe_own_gils();
        server.board.prober();
    }
}

fn interrupt(server: &Server, engine: &'static Engine, thread: u32) {
    let group = &server.group;
    let seconds = server.timeouts.request / 1000;
    server.say(&format!(
        "Dumping stack trace for thread {thread} of daemon process '{group}' which has exceeded request-timeout of \
         {seconds} seconds, before injecting RequestTimeout to unwind it."
    ));
    engine.dump_stacks(Stacks::Worker(thread));
    if engine.interrupt(thread) {
        server.status.count_interruption();
        server.say(&format!("Injected RequestTimeout into thread {thread} of daemon process '{group}'."));
    }
}
