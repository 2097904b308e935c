//! Scenarios: the typed model of their format, their expressions, and how they are loaded.

pub mod expression;
pub mod quantity;
pub mod schema;
pub mod value;

pub use value::Value;
