//! httpd's own configuration language, read without losing a byte.
//!
//! [`line`] joins physical lines into logical ones as httpd does, [`word`] splits their arguments, and [`tree`] nests
//! sections. Every node has a span in the source, the spans of a file's lines cover all of its bytes, and [`edit`]
//! changes a source by spans, so that nothing else moves.
//!
//! httpd reads bytes, not characters: a file may hold UTF-8, Latin-1 or both, and everything here works on bytes.

pub mod edit;
pub mod format;
pub(crate) mod glob;
pub mod line;
pub mod reader;
pub mod tree;
pub mod word;

pub use edit::{Edit, apply};
pub use format::{Names, format};
pub use line::{Line, lines};
pub use tree::{Directive, File, Item, Problem, ProblemKind, Section, parse};
pub use word::{Quote, Word, words};

/// A range of bytes in a source.
pub type Span = std::ops::Range<usize>;

/// The bytes that httpd takes for white space (`isspace` in the C locale).
#[must_use]
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}
