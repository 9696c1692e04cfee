//! What schemas of our YAML resources are made of: shapes, their fields, and the document that holds them. The tables of policy files stand
//! in [`super`], those of governance files in the auditor. It knows of no kind of resource.

use serde_json::{Map, Value, json};

/// A mapping with a fixed set of fields.
#[derive(Debug)]
pub struct Shape {
    /// Its name among the definitions; of a resource, its kind.
    pub name: &'static str,
    /// What it means.
    pub doc: &'static str,
    /// Its fields.
    pub fields: &'static [Field],
    /// Exactly one of these must be there.
    pub one_of: &'static [&'static str],
}

/// Name, what it holds, whether it must be there, and what it means.
#[derive(Debug)]
pub struct Field(pub &'static str, pub Holds, pub bool, pub &'static str);

/// What a field holds.
#[derive(Debug)]
pub enum Holds {
    /// One text.
    Text,
    /// One text or a list of them.
    Texts,
    /// The same, and the list is not empty.
    SomeTexts,
    /// Yes or no.
    Boolean,
    /// A whole number from 1.
    Count,
    /// A whole number from 0.
    Number,
    /// `2026-11-26`.
    Date,
    /// A time in UTC.
    Time,
    /// `90d`.
    Days,
    /// `sha256:…`.
    Digest,
    /// One digest or a list of them.
    Digests,
    /// One of these words.
    Words(&'static [&'static str]),
    /// One of these words, or a list of them.
    ManyWords(&'static [&'static str]),
    /// This shape.
    Of(&'static str),
    /// A list of this shape.
    ListOf(&'static str),
    /// This shape, or a list of it.
    OneOrListOf(&'static str),
    /// Names, or a mapping of this shape.
    NamesOr(&'static str),
    /// A mapping of free names to texts.
    MapToText,
    /// A mapping of free names to attribute types.
    MapToType,
    /// A mapping of free names to one text or several.
    MapToTexts,
    /// A token, or the name of a fixture.
    Token,
    /// A mapping of free names to tokens.
    MapToToken,
}

/// The schema of a file of resources of these kinds; `more` are definitions beside the shapes.
pub fn document<'a>(title: &str, kinds: &[Shape], shapes: &[Shape], more: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let of = |shape: &Shape, is_kind| (shape.name.to_owned(), shape.schema(is_kind));
    let mut definitions: Map<String, Value> = shapes.iter().map(|s| of(s, false)).chain(kinds.iter().map(|k| of(k, true))).collect();
    let text = json!({"type": ["string", "number", "boolean"]});
    definitions.insert("texts".to_owned(), json!({"anyOf": [text, {"type": "array", "items": text}]}));
    definitions.insert("some-texts".to_owned(), json!({"anyOf": [text, {"type": "array", "items": text, "minItems": 1}]}));
    definitions.extend(more.into_iter().map(|(name, schema)| (name.to_owned(), schema)));
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name).collect();
    let branch = |kind: &Shape| {
        let is_it = json!({"properties": {"kind": {"const": kind.name}}, "required": ["kind"]});
        json!({"if": is_it, "then": {"$ref": format!("#/$defs/{}", kind.name)}})
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": "One resource. A file holds several, separated by `---`.",
        "type": "object",
        "required": ["kind", "name"],
        "properties": {"kind": {"enum": names, "description": "What the resource is"}},
        "allOf": kinds.iter().map(branch).collect::<Vec<_>>(),
        "$defs": definitions,
    })
}

impl Shape {
    fn schema(&self, is_kind: bool) -> Value {
        let mut properties: Map<String, Value> = self.fields.iter().map(|f| (f.0.to_owned(), f.schema())).collect();
        if is_kind {
            properties.insert("kind".to_owned(), json!({"const": self.name}));
            properties.insert("name".to_owned(), json!({"type": ["string", "number", "boolean"], "description": "Its name"}));
        }
        let required: Vec<&str> = self.fields.iter().filter(|f| f.2).map(|f| f.0).collect();
        let mut out = json!({
            "description": self.doc, "type": "object", "properties": properties, "required": required, "additionalProperties": false,
        });
        if let (false, Some(fields)) = (self.one_of.is_empty(), out.as_object_mut()) {
            fields.insert("oneOf".to_owned(), self.one_of.iter().map(|name| json!({"required": [name]})).collect());
        }
        out
    }
}

impl Field {
    fn schema(&self) -> Value {
        let reference = |name: &str| json!({"$ref": format!("#/$defs/{name}")});
        let digest = || json!({"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"});
        let mut out = match self.1 {
            Holds::Text => json!({"type": ["string", "number", "boolean"]}),
            Holds::Texts => reference("texts"),
            Holds::SomeTexts => reference("some-texts"),
            Holds::Boolean => json!({"type": "boolean"}),
            Holds::Count => json!({"type": "integer", "minimum": 1}),
            Holds::Number => json!({"type": "integer", "minimum": 0}),
            Holds::Date => json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}),
            Holds::Time => json!({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T.*Z$"}),
            Holds::Days => json!({"type": "string", "pattern": "^[0-9]+d$"}),
            Holds::Digest => digest(),
            Holds::Digests => json!({"anyOf": [digest(), {"type": "array", "items": digest(), "minItems": 1}]}),
            Holds::Words(words) => json!({"enum": words}),
            Holds::ManyWords(words) => json!({"anyOf": [{"enum": words}, {"type": "array", "items": {"enum": words}, "minItems": 1}]}),
            Holds::Of(shape) => reference(shape),
            Holds::ListOf(shape) => json!({"type": "array", "items": reference(shape)}),
            Holds::OneOrListOf(shape) => json!({"anyOf": [reference(shape), {"type": "array", "items": reference(shape), "minItems": 1}]}),
            Holds::NamesOr(shape) => json!({"anyOf": [reference("some-texts"), reference(shape)]}),
            Holds::MapToText => json!({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}),
            Holds::MapToType => json!({"type": "object", "additionalProperties": {"enum": ["string", "integer", "boolean", "list"]}}),
            Holds::MapToTexts => json!({"type": "object", "additionalProperties": reference("some-texts"), "minProperties": 1}),
            Holds::Token => json!({"anyOf": [{"type": "string", "pattern": "^\\$"}, reference("token")]}),
            Holds::MapToToken => json!({"type": "object", "additionalProperties": reference("token")}),
        };
        if let Some(fields) = out.as_object_mut() {
            fields.insert("description".to_owned(), json!(self.3));
        }
        out
    }
}
