//! Tests of the harness from outside.

mod command_line;
mod documents;
mod duties;
mod failure_text;
mod load_errors;
mod machine;
mod planning;
mod real;
mod reference;
