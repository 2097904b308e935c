#![no_main]

#[expect(dead_code, reason = "each fuzzer uses one of them")]
#[path = "../checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::scoreboard(data));
