//! JSON into the tree. serde_json knows the line of an error only, so values are read here, with their extent.

use std::sync::Arc;

use super::load::LoadError;
use super::node::{Entry, Map, Node, Value};
use crate::source::{Source, Span};

/// Deeper nesting than this is a mistake, and recursion has to end somewhere.
const MAX_DEPTH: usize = 128;

pub(super) fn parse(source: &Arc<Source>) -> Result<Node, LoadError> {
    let mut parser = Parser { source, position: 0 };
    let node = parser.value(0)?;
    parser.blanks();
    match parser.position == source.text.len() {
        true => Ok(node),
        false => Err(parser.error("there is more text after the value")),
    }
}

struct Parser<'a> {
    source: &'a Arc<Source>,
    position: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.source.text[self.position..]
    }

    fn peek(&self) -> Option<u8> {
        self.source.text.as_bytes().get(self.position).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.position += 1;
        }
    }

    fn error(&self, message: &str) -> LoadError {
        let length = self.rest().chars().next().map_or(0, char::len_utf8);
        LoadError::syntax(message, Span::new(self.source, self.position..self.position + length))
    }

    fn expect(&mut self, byte: u8, message: &str) -> Result<(), LoadError> {
        self.blanks();
        if self.peek() != Some(byte) {
            return Err(self.error(message));
        }
        self.position += 1;
        Ok(())
    }

    fn value(&mut self, depth: usize) -> Result<Node, LoadError> {
        self.blanks();
        if depth > MAX_DEPTH {
            return Err(self.error("the nesting is too deep"));
        }
        let start = self.position;
        let value = match self.peek() {
            Some(b'{') => self.map(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Value::String(self.string()?),
            Some(_) => self.scalar()?,
            None => return Err(self.error("a value is missing")),
        };
        Ok(Node::new(value, Span::new(self.source, start..self.position)))
    }

    fn map(&mut self, depth: usize) -> Result<Value, LoadError> {
        self.position += 1;
        let mut map = Map::default();
        self.blanks();
        if self.peek() == Some(b'}') {
            self.position += 1;
            return Ok(Value::Map(map));
        }
        loop {
            self.blanks();
            let start = self.position;
            if self.peek() != Some(b'"') {
                return Err(self.error("a key in double quotes is expected"));
            }
            let key = self.string()?;
            let key_span = Span::new(self.source, start..self.position);
            if map.entry(&key).is_some() {
                return Err(LoadError::duplicate(&key, key_span));
            }
            self.expect(b':', "`:` is expected after the key")?;
            let value = self.value(depth + 1)?;
            map.entries.push(Entry { key, key_span, value });
            self.blanks();
            match self.peek() {
                Some(b',') => self.position += 1,
                Some(b'}') => {
                    self.position += 1;
                    return Ok(Value::Map(map));
                }
                _ => return Err(self.error("`,` or `}` is expected")),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, LoadError> {
        self.position += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.peek() == Some(b']') {
            self.position += 1;
            return Ok(Value::Seq(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blanks();
            match self.peek() {
                Some(b',') => self.position += 1,
                Some(b']') => {
                    self.position += 1;
                    return Ok(Value::Seq(items));
                }
                _ => return Err(self.error("`,` or `]` is expected")),
            }
        }
    }

    /// Finds the end of a string here; serde_json undoes its escapes.
    fn string(&mut self) -> Result<String, LoadError> {
        let bytes = self.source.text.as_bytes();
        let mut end = self.position + 1;
        loop {
            match bytes.get(end) {
                Some(b'\\') => end += 2,
                Some(b'"') => break,
                Some(_) => end += 1,
                None => return Err(self.error("the string does not end")),
            }
        }
        let text = self.source.text.get(self.position..=end).unwrap_or_default();
        let string = serde_json::from_str(text).map_err(|error| {
            let offset = error.column().saturating_sub(1);
            let at = self.position + offset;
            LoadError::syntax(
                "this string cannot be read: ".to_owned() + &cause(&error),
                Span::new(self.source, at..at + 1),
            )
        })?;
        self.position = end + 1;
        Ok(string)
    }

    fn scalar(&mut self) -> Result<Value, LoadError> {
        let end = self.rest().find([',', ']', '}', ' ', '\t', '\n', '\r', ':', '"']).unwrap_or(self.rest().len());
        let word = &self.rest()[..end];
        let value = match word {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => match serde_json::from_str::<serde_json::Number>(word) {
                Ok(number) => match (number.as_i64(), number.as_f64()) {
                    (Some(integer), _) => Value::Int(integer),
                    (None, Some(float)) if !number.is_u64() => Value::Float(float),
                    _ => return Err(self.error("the integer is too large")),
                },
                Err(_) => return Err(self.error("a value is expected")),
            },
        };
        self.position += end;
        Ok(value)
    }
}

/// serde_json's message without its own position.
fn cause(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use crate::document::{Document, Format, Path};

    #[test]
    fn reads_what_serde_json_reads() {
        for text in [
            r#"{"a": [1, -2, 3.5, 1e3, true, false, null, "x\u00e9\"y"], "b": {"c": {}}, "d": []}"#,
            " \n[ ]\t",
            "\"ü\"",
            "-0",
        ] {
            let expected: serde_json::Value = serde_json::from_str(text).unwrap();
            let read = Document::parse("f.json", text, Format::Json).unwrap().root.to_json();
            assert_eq!(
                read.to_string().replace("-0.0", "0").replace("-0", "0"),
                expected.to_string().replace("-0.0", "0").replace("-0", "0")
            );
        }
    }

    #[test]
    fn refuses_what_serde_json_refuses() {
        for text in [
            "",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "nul",
            "\"a",
            "\"\\x\"",
            "1 2",
            "{\"a\":1,\"a\":2}",
            "'a'",
            "\"\\",
        ] {
            assert!(Document::parse("f.json", text, Format::Json).is_err(), "{text}");
        }
    }

    #[test]
    fn positions() {
        let document = Document::parse("f.json", "{\n \"a\": [1, \"é\"]}", Format::Json).unwrap();
        let span = "a[1]".parse::<Path>().unwrap().span(&document.root);
        assert_eq!((span.to_string().as_str(), span.text()), ("f.json:2:11", "\"é\""));
    }
}
