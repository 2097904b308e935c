//! Scenarios: the typed model of their format, their expressions, and how they are loaded.

pub mod expression;
pub mod problem;
pub mod quantity;
pub mod schema;
pub mod template;
pub mod value;

pub use value::Value;
