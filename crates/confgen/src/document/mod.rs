//! Documents with positions: YAML, TOML and JSON load into one tree in which every key and every value remembers
//! where it was written, so that an error found much later still points at a line.
//!
//! ```
//! use confgen::document::{Document, Format, schema};
//!
//! #[derive(serde::Deserialize, schemars::JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Pet { name: String, #[serde(default)] legs: u8 }
//!
//! let document = Document::parse("pet.yaml", "nme: Rex\nlegs: 4\n", Format::Yaml).unwrap();
//! let errors = schema::read::<Pet>(&document.root).err().unwrap();
//! assert_eq!(errors.len(), 2);                                    // unknown `nme`, missing `name`: both at once
//! assert!(errors[0].help[0].contains("`name`"));
//! ```

mod de;
mod json;
mod load;
mod merge;
mod node;
mod path;
pub mod schema;
mod toml;
mod vocabulary;
mod yaml;

pub use de::{DeserializeError, from_node};
pub use load::{Document, Format, LoadError};
pub use merge::merge_patch;
pub use node::{Entry, Map, Node, Value};

pub use crate::source::{Source, Span};
pub use path::{ParsePathError, Path, Segment};
