//! The names that an expression can speak of.

use indexmap::IndexMap;

use crate::scenario::value::Value;

/// Names with their values, on top of those of another scope.
#[derive(Debug, Clone, Default)]
pub struct Scope<'p> {
    parent: Option<&'p Scope<'p>>,
    names: IndexMap<String, Value>,
    spellings: IndexMap<String, String>,
}

impl<'p> Scope<'p> {
    /// A scope without names.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A scope on top of this one, as for one client of a concurrent step.
    #[must_use]
    pub fn child(&'p self) -> Scope<'p> {
        Scope { parent: Some(self), ..Scope::default() }
    }

    /// A scope on top of this one in which the members of a result are names, as for `capture` and `check.that`.
    #[must_use]
    pub fn with_members(&'p self, result: &Value) -> Scope<'p> {
        let mut child = self.child();
        for (name, value) in result.members().into_iter().flatten() {
            child.set(name.clone(), value.clone());
        }
        child
    }

    /// Gives a name a value.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.names.insert(name.into(), value.into());
    }

    /// Remembers how a number was written, as in `5.0`; the path names it, as in `vars.version`.
    pub fn spell(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.spellings.insert(path.into(), text.into());
    }

    /// How the number at a path was written.
    #[must_use]
    pub fn spelling(&self, path: &str) -> Option<&str> {
        self.spellings.get(path).map(String::as_str).or_else(|| self.parent?.spelling(path))
    }

    /// The value of a name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.names.get(name).or_else(|| self.parent?.get(name))
    }

    /// All names.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<_> = self.parent.map(Self::names).unwrap_or_default();
        names.extend(
            self.names
                .keys()
                .map(String::as_str)
                .filter(|name| self.parent.is_none_or(|parent| parent.get(name).is_none())),
        );
        names
    }
}
