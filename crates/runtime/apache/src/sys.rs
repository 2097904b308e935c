//! Apache's and APR's declarations, made by bindgen from the installed headers. Only [`crate::host`] and the hook wall
//! use them.
#![expect(
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    dead_code,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes,
    clippy::undocumented_unsafe_blocks,
    reason = "generated code"
)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
