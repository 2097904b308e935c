//! Command line of confgen.

fn main() {}
