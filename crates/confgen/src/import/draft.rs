//! The spec while it is made.

use serde_json::{Map, Value, json};

/// A spec in the making: keys stay in the order in which they came.
#[derive(Debug, Default)]
pub(in crate::import) struct Draft {
    root: Map<String, Value>,
    raw: Vec<Value>,
}

impl Draft {
    /// Sets a key, with the maps around it.
    pub(in crate::import) fn set(&mut self, path: &[&str], value: impl Into<Value>) {
        set(&mut self.root, path, value.into());
    }

    /// Adds to a list, with the maps around it.
    pub(in crate::import) fn push(&mut self, path: &[&str], value: impl Into<Value>) {
        let value = value.into();
        let Some((last, around)) = path.split_last() else { return };
        let map = around.iter().fold(&mut self.root, |map, key| inner(map, key));
        match map.get_mut(*last) {
            Some(Value::Array(list)) => list.push(value),
            _ => {
                map.insert((*last).to_owned(), Value::Array(vec![value]));
            }
        }
    }

    /// A part of it.
    pub(in crate::import) fn get(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.root.get(*first)?, |value, key| value.get(*key))
    }

    /// Adds lines of httpd's own language.
    pub(in crate::import) fn raw(&mut self, place: &str, text: &str) {
        self.raw.push(json!({"at": place, "text": text}));
    }

    /// The whole spec.
    pub(in crate::import) fn finish(mut self) -> Value {
        let mut whole = Map::new();
        whole.insert("schema".to_owned(), json!("confgen/1"));
        for key in ["server", "runtime", "daemons", "sites"] {
            if let Some(value) = self.root.remove(key) {
                whole.insert(key.to_owned(), value);
            }
        }
        if !self.raw.is_empty() {
            whole.insert("raw".to_owned(), Value::Array(self.raw));
        }
        Value::Object(whole)
    }
}

fn set(map: &mut Map<String, Value>, path: &[&str], value: Value) {
    match path {
        [] => {}
        [last] => {
            map.insert((*last).to_owned(), value);
        }
        [first, rest @ ..] => set(inner(map, first), rest, value),
    }
}

/// The map at a key; it is made when there is none.
fn inner<'m>(map: &'m mut Map<String, Value>, key: &str) -> &'m mut Map<String, Value> {
    let value = map.entry(key.to_owned()).or_insert_with(|| Value::Object(Map::new()));
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        // A map was put there just now.
        _ => unreachable!("the value is a map"),
    }
}
