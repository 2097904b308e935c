//! The program of the cleaner, which the harness starts itself.

use std::io;

use crate::exit::Exit;
use crate::runner::cleaner;

pub(crate) fn clean_up() -> io::Result<Exit> {
    // Ctrl-C and the end of a terminal reach every process of a job; this one has to outlive the others.
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, std::sync::Arc::default())?;
    }
    cleaner::serve(io::stdin().lock())?;
    Ok(Exit::Expected)
}
