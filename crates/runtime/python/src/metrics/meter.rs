//! The measurements of one request.

use std::time::{Duration, Instant};

/// Processor time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cpu {
    pub(crate) user: u64,
    pub(crate) system: u64,
}

impl Cpu {
    /// What this thread has used so far.
    pub(crate) fn of_thread() -> Option<Self> {
        Some(Self::of(&usage(libc::RUSAGE_THREAD)?))
    }

    /// What a usage says.
    pub(crate) fn of(usage: &libc::rusage) -> Self {
        let micros = |time: libc::timeval| {
            u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
        };
        Self { user: micros(usage.ru_utime), system: micros(usage.ru_stime) }
    }

    /// What was used since.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self { user: self.user.saturating_sub(earlier.user), system: self.system.saturating_sub(earlier.system) }
    }

    /// Both.
    pub(crate) fn total(self) -> u64 {
        self.user + self.system
    }
}

/// The resources that a thread or the process has used.
pub(crate) fn usage(who: libc::c_int) -> Option<libc::rusage> {
    // SAFETY: plain numbers, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the structure is writable.
    (unsafe { libc::getrusage(who, &raw mut usage) } == 0).then_some(usage)
}

/// What a thread does at the gateway.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Io {
    /// It reads the request's body.
    Input,
    /// It sends the response.
    Output,
    /// Something that is not measured.
    Other,
}

/// Measures one request, when it is on.
#[derive(Clone, Copy, Default)]
pub(crate) struct Meter {
    pub(crate) on: bool,
    /// How long the thread waited for the GIL, and how often it took it.
    pub(crate) gil_wait: Duration,
    pub(crate) gil_count: u64,
    pub(crate) input: Duration,
    pub(crate) output: Duration,
    cpu: Option<Cpu>,
    /// What the thread had used when the request was over, once somebody asked.
    used: Option<Cpu>,
}

impl Meter {
    /// A meter that measures from now on.
    pub(crate) fn running() -> Self {
        Self { on: true, cpu: Cpu::of_thread(), ..Self::default() }
    }

    /// The GIL was wanted at `from` and is held now.
    pub(crate) fn took_gil(&mut self, from: Instant) {
        self.gil_wait += from.elapsed();
        self.gil_count += 1;
    }

    /// The time of a use of the gateway.
    pub(crate) fn used(&mut self, io: Io, time: Duration) {
        match io {
            Io::Input => self.input += time,
            Io::Output => self.output += time,
            Io::Other => {}
        }
    }

    /// The processor time of this thread since the meter runs, as it is when this is asked for the first time: the
    /// kernel's answer is the dearest part of measuring.
    pub(crate) fn cpu(&mut self) -> Option<Cpu> {
        if self.used.is_none() {
            self.used = Some(Cpu::of_thread()?.since(self.cpu?));
        }
        self.used
    }
}

/// What is known of a request at its end, as far as it was measured.
#[derive(Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) meter: Meter,
    /// When the application was called, microseconds since the epoch; 0 when it was not.
    pub(crate) application_start: i64,
    /// The status that was sent or is about to be; 0 when there was none.
    pub(crate) status: u16,
    pub(crate) input_reads: u64,
    pub(crate) input_bytes: u64,
    pub(crate) output_writes: u64,
    pub(crate) output_bytes: u64,
}

/// A duration in whole microseconds.
pub(crate) fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
