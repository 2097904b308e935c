//! Scenarios: the typed model of their format, their expressions, and how they are loaded.

mod examine;
pub mod expression;
pub mod load;
pub mod prepared;
pub mod problem;
pub mod quantity;
pub mod schema;
pub mod span;
pub mod template;
pub mod value;

pub use value::Value;
