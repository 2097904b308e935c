//! serde reads a tree: an error knows the node at which it happened.

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::node::{Entry, Node, Value};
use super::path::first_span;
use crate::source::Span;

/// Why a tree does not fit a type.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct DeserializeError {
    /// What is wrong.
    pub message: String,
    /// Where, once it is known.
    pub span: Option<Span>,
}

impl de::Error for DeserializeError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self { message: message.to_string(), span: None }
    }
}

impl DeserializeError {
    fn or_at(mut self, node: &Node) -> Self {
        if self.span.is_none() {
            self.span = Some(match node.value {
                Value::Map(_) | Value::Seq(_) => first_span(node),
                _ => node.span.clone(),
            });
        }
        self
    }
}

/// Reads a tree into a type. Check it against the type's schema before ([`super::schema::read`] does both), because
/// serde stops at the first error.
///
/// # Errors
/// When the tree does not fit.
pub fn from_node<'de, T: Deserialize<'de>>(node: &'de Node) -> Result<T, DeserializeError> {
    T::deserialize(NodeDeserializer { node }).map_err(|error| error.or_at(node))
}

#[derive(Clone, Copy)]
struct NodeDeserializer<'de> {
    node: &'de Node,
}

impl<'de> Deserializer<'de> for NodeDeserializer<'de> {
    type Error = DeserializeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        match &self.node.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => match u64::try_from(*value) {
                Ok(value) => visitor.visit_u64(value),
                Err(_) => visitor.visit_i64(*value),
            },
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(value) => visitor.visit_borrowed_str(value),
            Value::Seq(items) => visitor.visit_seq(Items { items: items.iter() }),
            Value::Map(map) => visitor.visit_map(Entries { entries: map.entries.iter(), current: None }),
        }
        .map_err(|error: DeserializeError| error.or_at(self.node))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DeserializeError> {
        match self.node.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, DeserializeError> {
        visitor.visit_newtype_struct(self).map_err(|error: DeserializeError| error.or_at(self.node))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeserializeError> {
        let result = match &self.node.value {
            Value::String(variant) => visitor.visit_enum(de::value::StrDeserializer::new(variant)),
            Value::Map(map) => match map.entries.as_slice() {
                [entry] => visitor.visit_enum(Variant { entry }),
                _ => Err(de::Error::custom("a map with exactly one key is expected")),
            },
            _ => Err(de::Error::custom(format_args!("{} does not name a variant", self.node.type_name()))),
        };
        result.map_err(|error: DeserializeError| error.or_at(self.node))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items<'de> {
    items: std::slice::Iter<'de, Node>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = DeserializeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DeserializeError> {
        let Some(node) = self.items.next() else { return Ok(None) };
        seed.deserialize(NodeDeserializer { node }).map(Some).map_err(|error| error.or_at(node))
    }
}

struct Entries<'de> {
    entries: std::slice::Iter<'de, Entry>,
    current: Option<&'de Entry>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = DeserializeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DeserializeError> {
        self.current = self.entries.next();
        let Some(entry) = self.current else { return Ok(None) };
        let key: de::value::BorrowedStrDeserializer<'de, DeserializeError> =
            de::value::BorrowedStrDeserializer::new(&entry.key);
        seed.deserialize(key).map(Some).map_err(|mut error| {
            error.span.get_or_insert_with(|| entry.key_span.clone());
            error
        })
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, DeserializeError> {
        let entry = self.current.ok_or_else(|| <DeserializeError as de::Error>::custom("a value without a key"))?;
        seed.deserialize(NodeDeserializer { node: &entry.value }).map_err(|mut error| {
            error.span.get_or_insert_with(|| match entry.value.value {
                Value::Map(_) | Value::Seq(_) => entry.key_span.clone(),
                _ => entry.value.span.clone(),
            });
            error
        })
    }
}

struct Variant<'de> {
    entry: &'de Entry,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = DeserializeError;
    type Variant = Content<'de>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Content<'de>), DeserializeError> {
        let name: de::value::StrDeserializer<'_, DeserializeError> = self.entry.key.as_str().into_deserializer();
        match seed.deserialize(name) {
            Ok(value) => Ok((value, Content { node: &self.entry.value })),
            Err(mut error) => {
                error.span.get_or_insert_with(|| self.entry.key_span.clone());
                Err(error)
            }
        }
    }
}

struct Content<'de> {
    node: &'de Node,
}

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = DeserializeError;

    fn unit_variant(self) -> Result<(), DeserializeError> {
        match self.node.value {
            Value::Null => Ok(()),
            _ => Err(<DeserializeError as de::Error>::custom("nothing is expected here").or_at(self.node)),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DeserializeError> {
        seed.deserialize(NodeDeserializer { node: self.node }).map_err(|error| error.or_at(self.node))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, DeserializeError> {
        NodeDeserializer { node: self.node }.deserialize_any(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DeserializeError> {
        NodeDeserializer { node: self.node }.deserialize_any(visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;
    use crate::document::{Document, Format};

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Unit,
        New(u8),
        Struct { a: Option<i32> },
    }

    #[test]
    fn types_are_read() {
        let document =
            Document::parse("f", "- unit\n- new: 3\n- struct: {a: -1}\n- struct: {a: null}\n", Format::Yaml).unwrap();
        let kinds: Vec<Kind> = from_node(&document.root).unwrap();
        assert_eq!(kinds, [Kind::Unit, Kind::New(3), Kind::Struct { a: Some(-1) }, Kind::Struct { a: None }]);
    }

    #[test]
    fn an_error_knows_its_place() {
        let document = Document::parse("f", "a: 1\nb: {c: x}\n", Format::Yaml).unwrap();
        let error = from_node::<BTreeMap<String, Option<serde_json::Number>>>(&document.root).unwrap_err();
        assert_eq!(error.span.unwrap().line_column().0, 2);
        let document = Document::parse("f", "- new: 300\n", Format::Yaml).unwrap();
        let error = from_node::<Vec<Kind>>(&document.root).unwrap_err();
        assert_eq!(error.span.unwrap().to_string(), "f:1:8");
    }
}
