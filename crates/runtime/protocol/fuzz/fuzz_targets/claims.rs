#![no_main]

// The server's side of a status page, as the module has it: it needs nothing of Apache.
#[expect(dead_code, reason = "the module uses the rest")]
#[path = "../../../apache/src/daemon"]
mod daemon {
    mod death;
    mod status_page;

    #[path = "../../../protocol/fuzz/claims.rs"]
    pub(crate) mod claims;
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| daemon::claims::claims(data));
