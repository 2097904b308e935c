//! A warning for responses that are produced in very small blocks. Each block is sent on its own, as the specification
//! wants it, so a page that is yielded byte by byte takes a thousand times as long as the same page in one piece; where
//! the time goes is hard to see from the application.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Fewer blocks cost too little to speak of.
const BLOCKS: u64 = 1000;

/// Blocks of more bytes than this, on average, are nobody's mistake.
const SIZE: u64 = 64;

/// Blocks that come slower are a stream that waits for something, such as events.
const PACE: Duration = Duration::from_millis(1);

/// How many kinds of iterables an interpreter is warned of.
const KINDS: usize = 16;

/// The kinds of iterables that were warned of.
#[derive(Default)]
pub(crate) struct Warned(Mutex<HashSet<String>>);

impl Warned {
    /// Whether this kind is to be warned of now: once each, and no more than a few.
    fn first(&self, kind: &str) -> bool {
        let mut kinds = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kinds.len() < KINDS && kinds.insert(kind.to_owned())
    }
}

/// Whether a response of so many blocks and bytes was produced in very small blocks.
pub(crate) fn is_wasteful(blocks: u64, bytes: u64, began: Instant) -> bool {
    blocks >= BLOCKS && bytes / blocks <= SIZE && began.elapsed() / u32::try_from(blocks).unwrap_or(u32::MAX) < PACE
}

/// The warning, unless this kind of iterable was warned of already.
pub(crate) fn warning(
    warned: &Warned,
    method: &[u8],
    url: &[u8],
    kind: &str,
    blocks: u64,
    bytes: u64,
) -> Option<String> {
    /// As much of an address as helps to find its code.
    const URL: usize = 200;
    let url = &url[..url.len().min(URL)];
    warned.first(kind).then(|| {
        format!(
            "WSGI0922: The response to {} {} was produced by a '{kind}' in {blocks} blocks of {} bytes on average. Each \
             block is sent on its own: join them, or use wsgi.file_wrapper for files.",
            String::from_utf8_lossy(method),
            String::from_utf8_lossy(url),
            bytes / blocks.max(1),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_small_blocks_in_a_short_time_are_wasteful() {
        let now = Instant::now();
        assert!(is_wasteful(100_000, 100_000, now));
        assert!(!is_wasteful(999, 999, now), "too few to matter");
        assert!(!is_wasteful(1000, 100_000, now), "large enough");
        assert!(!is_wasteful(1000, 1000, now - Duration::from_secs(2)), "a stream of events");
    }

    #[test]
    fn each_kind_is_warned_of_once_and_only_a_few_are() {
        let warned = Warned::default();
        let text = warning(&warned, b"GET", b"/page?a=b", "generator", 1000, 2000).expect("the first");
        assert!(text.contains("GET /page?a=b") && text.contains("'generator'") && text.contains("2 bytes"), "{text}");
        assert_eq!(warning(&warned, b"GET", b"/other", "generator", 1000, 2000), None);
        let more = (0..100).filter(|kind| warning(&warned, b"GET", b"/", &kind.to_string(), 1, 1).is_some()).count();
        assert_eq!(more, KINDS - 1);
    }
}
