//! The http step.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value as Json;

use super::matrix::OneOrMany;
use crate::scenario::quantity::{Size, Time};

/// An HTTP request: one of the methods with the path. No status fails the step by itself; an answer that does not come does.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Http {
    /// GET of this path.
    #[serde(default)]
    pub get: Option<String>,
    /// HEAD of this path.
    #[serde(default)]
    pub head: Option<String>,
    /// POST to this path.
    #[serde(default)]
    pub post: Option<String>,
    /// PUT to this path.
    #[serde(default)]
    pub put: Option<String>,
    /// PATCH of this path.
    #[serde(default)]
    pub patch: Option<String>,
    /// DELETE of this path.
    #[serde(default)]
    pub delete: Option<String>,
    /// OPTIONS of this path.
    #[serde(default)]
    pub options: Option<String>,
    /// Any other method with its path: `request: "PROPFIND /x"`.
    #[serde(default)]
    pub request: Option<String>,
    /// The value of the Host header. Default: localhost with the port.
    #[serde(default)]
    pub host: Option<String>,
    /// Which of the server's ports. Default: http.
    #[serde(default)]
    pub to: Listener,
    /// Another port in place of the one of `to`: `${{ ports.NAME }}`.
    #[serde(default)]
    pub port: Option<u16>,
    /// Header fields; a list sends a field several times.
    #[serde(default)]
    pub headers: IndexMap<String, OneOrMany<String>>,
    /// Parameters of the query, encoded and added to the path.
    #[serde(default)]
    pub query: IndexMap<String, Json>,
    /// A body of text.
    #[serde(default)]
    pub body: Option<String>,
    /// A body of so many bytes.
    #[serde(default)]
    pub bytes: Option<Size>,
    /// A JSON body, with its Content-Type.
    #[serde(default)]
    pub json: Option<Json>,
    /// A body from a file below `${dir}`.
    #[serde(default)]
    pub file: Option<String>,
    /// A form's fields (application/x-www-form-urlencoded).
    #[serde(default)]
    pub form: Option<IndexMap<String, Json>>,
    /// A form's fields and files (multipart/form-data): `{title: text, upload: {file: a.txt, content: text}}`.
    #[serde(default)]
    pub multipart: Option<Multipart>,
    /// True: sends the body in chunks, without Content-Length.
    #[serde(default)]
    pub chunked: bool,
    /// False: cookies are neither sent nor kept. Default: a cell keeps one jar for all its steps.
    #[serde(default)]
    pub cookies: Option<bool>,
    /// True: follows redirects, at most 10. Default: false.
    #[serde(default)]
    pub follow: bool,
    /// A fresh connection for the request (default), or a named one that is kept for the steps of the same name.
    #[serde(default)]
    pub connection: Connection,
    /// The longest time to the end of the answer. Default: the step's timeout.
    #[serde(default)]
    pub timeout: Option<Time>,
}

/// A form with files: its fields by name.
pub type Multipart = IndexMap<String, Part>;

/// A field of a form with files.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Part {
    /// A field's text.
    Text(String),
    /// A file.
    File(Upload),
}

/// An uploaded file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Upload {
    /// The file's name, as the server is told. Without `content` and `bytes`, also the file below `${dir}` to send.
    pub file: String,
    /// Its text.
    #[serde(default)]
    pub content: Option<String>,
    /// So many bytes in place of a text.
    #[serde(default)]
    pub bytes: Option<Size>,
    /// Its media type. Default: application/octet-stream.
    #[serde(default, rename = "type")]
    pub media_type: Option<String>,
}

/// Which of the server's ports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Listener {
    /// The plain one.
    #[default]
    Http,
    /// The encrypted one; certificates are not verified.
    Https,
}

/// Which connection carries a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(from = "String")]
#[schemars(with = "String")]
pub enum Connection {
    /// One of its own.
    #[default]
    Fresh,
    /// The kept one of this name; opened at its first use.
    Kept(String),
}

impl From<String> for Connection {
    fn from(name: String) -> Self {
        if name == "fresh" { Self::Fresh } else { Self::Kept(name) }
    }
}

/// A method with the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, as it was written.
    pub path: &'a str,
}

/// The body of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Payload<'a> {
    /// None at all.
    None,
    /// A text.
    Text(&'a str),
    /// So many bytes.
    Bytes(Size),
    /// A JSON value.
    Json(&'a Json),
    /// A file below `${dir}`.
    File(&'a str),
    /// A form's fields.
    Form(&'a IndexMap<String, Json>),
    /// A form with files.
    Multipart(&'a Multipart),
}

impl Http {
    /// Every method that is given, with its path; a valid step has exactly one.
    pub fn methods(&self) -> impl Iterator<Item = Method<'_>> {
        let named = [
            ("GET", &self.get),
            ("HEAD", &self.head),
            ("POST", &self.post),
            ("PUT", &self.put),
            ("PATCH", &self.patch),
            ("DELETE", &self.delete),
            ("OPTIONS", &self.options),
        ];
        let named = named.into_iter().filter_map(|(method, path)| path.as_deref().map(|path| Method { method, path }));
        named.chain(self.request.as_deref().map(|request| {
            let (method, path) = request.split_once(' ').unwrap_or((request, "/"));
            Method { method, path: path.trim() }
        }))
    }

    /// The method and the path.
    #[must_use]
    pub fn target(&self) -> Method<'_> {
        self.methods().next().unwrap_or(Method { method: "GET", path: "/" })
    }

    /// Every body that is given; a valid step has at most one.
    pub fn payloads(&self) -> impl Iterator<Item = Payload<'_>> {
        None.into_iter()
            .chain(self.body.as_deref().map(Payload::Text))
            .chain(self.bytes.map(Payload::Bytes))
            .chain(self.json.as_ref().map(Payload::Json))
            .chain(self.file.as_deref().map(Payload::File))
            .chain(self.form.as_ref().map(Payload::Form))
            .chain(self.multipart.as_ref().map(Payload::Multipart))
    }

    /// The body.
    #[must_use]
    pub fn payload(&self) -> Payload<'_> {
        self.payloads().next().unwrap_or(Payload::None)
    }
}
