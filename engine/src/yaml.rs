//! YAML with places: every value knows its line and column, and nothing is guessed.
//!
//! The tree is built from the parser's events, not through serde, because diagnostics must name exact spans, all of them at
//! once. Only what a policy needs is accepted: no anchors, aliases or tags (an alias can multiply a small file without
//! bound), no duplicate keys, bounded depth. Scalars keep their text; their type is what the reader of a field asks for.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::diagnostic::{Diagnostic, Location};

/// A value and where it begins.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Length in characters on its first line; 1 for mappings and sequences.
    pub length: u32,
}

/// What a [`Node`] holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// A scalar's text, and whether it was written without quotes.
    Scalar(String, bool),
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping, in the order written.
    Mapping(Vec<(Node, Node)>),
}

impl Node {
    /// The scalar's text.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// Whether this is an empty value or an unquoted `null` or `~`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(text, true) if text.is_empty() || text == "~" || text == "null")
    }

    /// The item of a mapping.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Value::Mapping(items) => items.iter().find(|(k, _)| k.as_str() == Some(key)).map(|(_, v)| v),
            _ => None,
        }
    }

    /// What this is, in words for a message.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.value {
            Value::Scalar(..) if self.is_null() => "nothing",
            Value::Scalar(..) => "a scalar",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }

    /// Where it stands.
    #[must_use]
    pub fn location(&self, file: &str) -> Location {
        Location { file: file.to_owned(), line: self.line, column: self.column, length: self.length }
    }
}

/// Reads all documents of a file. The first thing that is not acceptable ends the reading.
///
/// # Errors
/// A diagnostic with its place: broken syntax, an anchor, alias or tag, a duplicate key, too deep nesting.
pub fn parse(file: &str, text: &str) -> Result<Vec<Node>, Diagnostic> {
    let mut parser = Parser::new_from_str(text);
    let mut open: Vec<Frame> = Vec::new();
    let mut documents = Vec::new();
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|e| broken(file, &e).with_source(text))?;
        let done = match event {
            Event::Alias(_) => {
                return Err(
                    refused(file, &span, "a YAML alias", "write the value out; an alias can make a small file endless").with_source(text)
                );
            }
            Event::Scalar(value, style, anchor, tag) => {
                refuse_decoration(file, &span, anchor, tag.is_some()).map_err(|d| d.with_source(text))?;
                let plain = style == ScalarStyle::Plain;
                let length = if plain { value.chars().count() } else { span.len() };
                Some(node(&span, Value::Scalar(value.into_owned(), plain), length))
            }
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) if anchor != 0 || tag.is_some() => {
                return Err(refuse_decoration(file, &span, anchor, tag.is_some())
                    .err()
                    .unwrap_or_else(|| too_deep(file, &span))
                    .with_source(text));
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= DEPTH_MAX => {
                return Err(too_deep(file, &span).with_source(text));
            }
            Event::SequenceStart(..) => {
                open.push(Frame::open(span, Items::Sequence(Vec::new())));
                None
            }
            Event::MappingStart(..) => {
                open.push(Frame::open(span, Items::Mapping(Vec::new(), None)));
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(Frame::close),
            _ => None,
        };
        if let Some(done) = done {
            match open.last_mut() {
                Some(frame) => frame.push(file, done).map_err(|d| d.with_source(text))?,
                None => documents.push(done),
            }
        }
    }
    Ok(documents)
}

struct Frame {
    start: Span,
    items: Items,
    /// The keys so far with their lines, so that a large mapping is read in linear time.
    keys: BTreeMap<String, u32>,
}

enum Items {
    Sequence(Vec<Node>),
    Mapping(Vec<(Node, Node)>, Option<Node>),
}

impl Frame {
    const fn open(start: Span, items: Items) -> Self {
        Self { start, items, keys: BTreeMap::new() }
    }

    fn push(&mut self, file: &str, done: Node) -> Result<(), Diagnostic> {
        match &mut self.items {
            Items::Sequence(items) => items.push(done),
            Items::Mapping(items, key) => match key.take() {
                Some(key) => items.push((key, done)),
                None => {
                    let Some(name) = done.as_str() else {
                        return Err(Diagnostic::error("yaml-syntax", "a key must be a plain word").at(done.location(file)));
                    };
                    if let Some(first) = self.keys.insert(name.to_owned(), done.line) {
                        return Err(Diagnostic::error("duplicate-key", format!("`{name}` is given twice"))
                            .at(done.location(file))
                            .help(format!("the first one is on line {first}; keep one of them")));
                    }
                    *key = Some(done);
                }
            },
        }
        Ok(())
    }

    fn close(self) -> Node {
        let value = match self.items {
            Items::Sequence(items) => Value::Sequence(items),
            Items::Mapping(items, _) => Value::Mapping(items),
        };
        node(&self.start, value, 1)
    }
}

fn node(span: &Span, value: Value, length: usize) -> Node {
    let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Node { value, line: clamp(span.start.line()), column: clamp(span.start.col() + 1), length: clamp(length.max(1)) }
}

fn broken(file: &str, error: &saphyr_parser::ScanError) -> Diagnostic {
    let at = error.marker();
    let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Diagnostic::error("yaml-syntax", format!("this is not valid YAML: {}", error.info())).at(Location::new(
        file,
        clamp(at.line()).max(1),
        clamp(at.col() + 1),
    ))
}

fn refuse_decoration(file: &str, span: &Span, anchor: usize, tagged: bool) -> Result<(), Diagnostic> {
    if anchor != 0 {
        return Err(refused(file, span, "a YAML anchor", "write the value out where it is needed"));
    }
    if tagged {
        return Err(refused(file, span, "a YAML tag", "remove it; types come from the field, not from the text"));
    }
    Ok(())
}

fn refused(file: &str, span: &Span, what: &str, help: &str) -> Diagnostic {
    Diagnostic::error("yaml-unsupported", format!("{what} is not accepted here"))
        .at(node(span, Value::Sequence(Vec::new()), 1).location(file))
        .help(help)
}

fn too_deep(file: &str, span: &Span) -> Diagnostic {
    refused(file, span, &format!("nesting deeper than {DEPTH_MAX} levels"), "no resource needs it")
}

/// Reads the fields of one mapping: each is taken once, and [`Fields::finish`] reports those nobody took.
#[derive(Debug)]
pub struct Fields<'n> {
    file: &'n str,
    at: &'n Node,
    items: &'n [(Node, Node)],
    known: Vec<&'static str>,
    /// Fields whose absence was reported.
    missed: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// Begins to read `node`, which must be a mapping.
    pub fn of(file: &'n str, node: &'n Node, out: &mut Vec<Diagnostic>) -> Option<Self> {
        match &node.value {
            Value::Mapping(items) => Some(Self { file, at: node, items, known: Vec::new(), missed: Vec::new() }),
            _ => {
                out.push(Diagnostic::error("wrong-type", format!("expected a mapping, found {}", node.kind())).at(node.location(file)));
                None
            }
        }
    }

    /// The file these fields stand in.
    #[must_use]
    pub fn file(&self) -> &'n str {
        self.file
    }

    /// The mapping itself.
    #[must_use]
    pub fn node(&self) -> &'n Node {
        self.at
    }

    /// Where the mapping stands.
    #[must_use]
    pub fn location(&self) -> Location {
        self.at.location(self.file)
    }

    /// The field's node, if present and not null.
    pub fn take(&mut self, name: &'static str) -> Option<&'n Node> {
        if !self.known.contains(&name) {
            self.known.push(name);
        }
        self.items.iter().find(|(k, _)| k.as_str() == Some(name)).map(|(_, v)| v).filter(|v| !v.is_null())
    }

    /// The key node of a field, for messages about the field itself.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'n Node> {
        self.items.iter().find(|(k, _)| k.as_str() == Some(name)).map(|(k, _)| k)
    }

    /// A field that must be there.
    pub fn require(&mut self, name: &'static str, out: &mut Vec<Diagnostic>) -> Option<&'n Node> {
        let found = self.take(name);
        if found.is_none() {
            self.missed.push(name);
            out.push(Diagnostic::error("missing-field", format!("`{name}` is missing")).at(self.location()).help(format!("add `{name}:`")));
        }
        found
    }

    /// An optional text.
    pub fn text(&mut self, name: &'static str, out: &mut Vec<Diagnostic>) -> Option<Text<'n>> {
        let node = self.take(name)?;
        text(self.file, node, out)
    }

    /// A text that must be there.
    pub fn require_text(&mut self, name: &'static str, out: &mut Vec<Diagnostic>) -> Option<Text<'n>> {
        let node = self.require(name, out)?;
        text(self.file, node, out)
    }

    /// A list of texts; a single text counts as a list of one. Absent: empty.
    pub fn texts(&mut self, name: &'static str, out: &mut Vec<Diagnostic>) -> Vec<Text<'n>> {
        self.take(name).map(|node| texts(self.file, node, out)).unwrap_or_default()
    }

    /// A list of at least one text, or none where the field is absent. A list that came out empty must not be taken for an
    /// absent one: in a condition or a scope, absence means *any* (A48).
    pub fn some_texts(&mut self, name: &'static str, out: &mut Vec<Diagnostic>) -> Vec<Text<'n>> {
        let Some(node) = self.take(name) else { return Vec::new() };
        if matches!(&node.value, Value::Sequence(items) if items.is_empty()) {
            out.push(empty_list(name).at(node.location(self.file)));
        }
        texts(self.file, node, out)
    }

    /// An optional `true` or `false`.
    pub fn boolean(&mut self, name: &'static str, out: &mut Vec<Diagnostic>) -> Option<bool> {
        let node = self.take(name)?;
        match node.as_str() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => {
                out.push(Diagnostic::error("wrong-type", "expected `true` or `false`").at(node.location(self.file)));
                None
            }
        }
    }

    /// An optional value read by `T`'s parser.
    pub fn parse<T>(&mut self, name: &'static str, out: &mut Vec<Diagnostic>) -> Option<T>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let text = self.text(name, out)?;
        match text.text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                out.push(
                    Diagnostic::error("invalid-value", format!("`{}` is not acceptable for `{name}`: {error}", text.text))
                        .at(text.location(self.file)),
                );
                None
            }
        }
    }

    /// Reports every field that was not asked for, and every one that is given and has no value.
    pub fn finish(self, out: &mut Vec<Diagnostic>) {
        for (key, value) in self.items {
            let name = key.as_str().unwrap_or_default();
            if value.is_null() && self.known.contains(&name) && !self.missed.contains(&name) {
                out.push(
                    Diagnostic::error("empty-value", format!("`{name}` is given and has no value"))
                        .at(key.location(self.file))
                        .help("give it one, or take the field out"),
                );
            }
            if !self.known.contains(&name) {
                let mut diagnostic = Diagnostic::error("unknown-field", format!("`{name}` is not a field here"))
                    .at(key.location(self.file))
                    .suggest(name, self.known.iter().copied());
                if diagnostic.help.is_none() {
                    diagnostic = diagnostic.help(format!("the fields are: {}", self.known.join(", ")));
                }
                out.push(diagnostic);
            }
        }
    }
}

/// The complaint about a list that may be left out, not empty.
pub(crate) fn empty_list(name: &str) -> Diagnostic {
    Diagnostic::error("empty-list", format!("`{name}` is an empty list"))
        .help("an empty list does not mean `any`: name at least one, or take the field out")
}

/// A scalar's text with its place.
#[derive(Clone, Copy, Debug)]
pub struct Text<'n> {
    /// The text.
    pub text: &'n str,
    /// Its node.
    pub node: &'n Node,
}

impl Text<'_> {
    /// Where it stands.
    #[must_use]
    pub fn location(&self, file: &str) -> Location {
        self.node.location(file)
    }
}

/// A node as a text; anything else is reported.
pub fn text<'n>(file: &str, node: &'n Node, out: &mut Vec<Diagnostic>) -> Option<Text<'n>> {
    match node.as_str() {
        Some(text) if !node.is_null() => Some(Text { text, node }),
        _ => {
            out.push(Diagnostic::error("wrong-type", format!("expected a text, found {}", node.kind())).at(node.location(file)));
            None
        }
    }
}

/// A node as a list of texts; a single text counts as a list of one.
pub fn texts<'n>(file: &str, node: &'n Node, out: &mut Vec<Diagnostic>) -> Vec<Text<'n>> {
    match &node.value {
        Value::Sequence(items) => items.iter().filter_map(|item| text(file, item, out)).collect(),
        _ => text(file, node, out).into_iter().collect(),
    }
}

/// Deeper nesting than this is refused; the deepest resource of ours needs eight levels.
const DEPTH_MAX: usize = 32;
