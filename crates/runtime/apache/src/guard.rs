//! The panic wall: the only `catch_unwind`. Everything that Apache calls runs behind it, because a panic that crosses
//! into C ends the process.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::codes;
use crate::host::log;

/// Runs `work`; a panic is logged with the name of the place and `fallback` is returned.
pub(crate) fn wall<T>(place: &'static str, fallback: T, work: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(value) => value,
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no text");
            log::process(&codes::PANIC, format_args!("Internal error in {place}: {text}."));
            // Dropping the payload may panic again, behind no wall.
            std::mem::forget(panic);
            fallback
        }
    }
}
