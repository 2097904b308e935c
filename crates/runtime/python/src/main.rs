//! The daemon process.

fn main() {}
