//! Reads the wanted keys of a line of JSON, borrowed from the line where it has no escapes.
//!
//! A format is a list of keys, each with the slot its value goes to; several keys may fill one slot (formats call one thing by
//! several names). This is the general reader: any order of keys, any spacing, whatever else the line holds. A faster one must give
//! the same slots or leave the line to this one.
//!
//! INVARIANTS: a line is one object; a wanted key that is given twice, or two keys for one slot with different values, make the line
//! unreadable, since two readers could take it for two things.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::limits::LIST_ITEMS_MAX;

/// The value of a key.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value<'l> {
    /// The key is not there.
    #[default]
    Missing,
    /// `null`.
    Null,
    /// A text.
    Text(Cow<'l, str>),
    /// A whole number.
    Integer(i64),
    /// Another number.
    Float(f64),
    /// `true` or `false`.
    Boolean(bool),
    /// The texts and whole numbers of an array.
    List(Vec<Cow<'l, str>>),
    /// An object, of which other keys may say more.
    Object,
}

impl<'l> Value<'l> {
    /// The text; nothing where it is empty or `-`, as proxies write what they do not have.
    #[must_use]
    pub fn text(&self) -> Option<&Cow<'l, str>> {
        match self {
            Self::Text(text) if !matches!(&**text, "" | "-") => Some(text),
            _ => None,
        }
    }

    /// The text, taken out.
    pub fn take_text(&mut self) -> Option<Cow<'l, str>> {
        self.text()?;
        match std::mem::take(self) {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number, written as one or as a text.
    #[must_use]
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(n) => Some(*n),
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Whether there is nothing: no key, `null`, an empty text or `-`.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Missing | Self::Null => true,
            Self::Text(text) => matches!(&**text, "" | "-"),
            _ => false,
        }
    }

    /// The list; empty where there is none.
    #[must_use]
    pub fn list(&self) -> &[Cow<'l, str>] {
        if let Self::List(list) = self { list } else { &[] }
    }
}

/// The values of a line, by slot.
#[derive(Clone, Debug)]
pub struct Slots<'l>([Value<'l>; SLOTS_MAX]);

impl Default for Slots<'_> {
    fn default() -> Self {
        Self([const { Value::Missing }; SLOTS_MAX])
    }
}

impl<'l> Slots<'l> {
    /// The value in a slot.
    #[must_use]
    pub fn of(&self, slot: usize) -> &Value<'l> {
        self.0.get(slot).unwrap_or(&Value::Missing)
    }

    /// The text in a slot.
    #[must_use]
    pub fn text(&self, slot: usize) -> Option<&str> {
        self.of(slot).text().map(|t| &**t)
    }

    /// The text in a slot, taken out.
    pub fn take(&mut self, slot: usize) -> Option<Cow<'l, str>> {
        self.0.get_mut(slot)?.take_text()
    }

    /// Puts a value into a slot. What says the same, or nothing, changes nothing.
    ///
    /// # Errors
    /// The slot has another value already.
    pub fn put(&mut self, slot: usize, value: Value<'l>) -> Result<(), Twice> {
        let Some(held) = self.0.get_mut(slot) else { return Ok(()) };
        if held.is_absent() {
            *held = value;
        } else if !value.is_absent() && *held != value {
            return Err(Twice);
        }
        Ok(())
    }
}

/// A slot was filled twice with different values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twice;

/// The keys a format wants, as a tree: `flow.source.labels` is a key within a key within a key.
#[derive(Clone, Debug)]
pub struct Keys {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    children: Vec<(Box<str>, usize)>,
    slot: Option<usize>,
}

impl Keys {
    /// The keys with their slots. A dot leads into an object (or into each object of an array); `\.` is a dot of the key itself.
    #[must_use]
    pub fn new<'k>(keys: impl IntoIterator<Item = (&'k str, usize)>) -> Self {
        let mut out = Self { nodes: vec![Node::default()] };
        for (path, slot) in keys {
            let mut at = 0;
            for part in split(path) {
                at = out.child(at, &part);
            }
            if let Some(node) = out.nodes.get_mut(at) {
                node.slot = Some(slot);
            }
        }
        out
    }

    fn child(&mut self, at: usize, name: &str) -> usize {
        if let Some(child) = self.find(at, name) {
            return child;
        }
        let new = self.nodes.len();
        self.nodes.push(Node::default());
        if let Some(node) = self.nodes.get_mut(at) {
            node.children.push((name.into(), new));
        }
        new
    }

    fn find(&self, at: usize, name: &str) -> Option<usize> {
        self.nodes.get(at)?.children.iter().find(|(key, _)| **key == *name).map(|(_, node)| *node)
    }

    /// The keys with their slots, where no key leads into an object: what a scanner of flat lines needs.
    #[must_use]
    pub fn flat(&self) -> Option<Vec<(&str, usize)>> {
        let root = self.nodes.first()?;
        root.children
            .iter()
            .map(|(name, at)| {
                let node = self.nodes.get(*at)?;
                node.children.is_empty().then_some((&**name, node.slot?))
            })
            .collect()
    }

    /// Reads a line.
    ///
    /// # Errors
    /// Why it is not one object of JSON.
    pub fn read<'l>(&self, line: &'l [u8]) -> Result<Slots<'l>, String> {
        if line.trim_ascii_start().first() != Some(&b'{') {
            return Err("it is not an object of JSON".to_owned());
        }
        let mut slots = Slots::default();
        let mut reader = serde_json::Deserializer::from_slice(line);
        let wanted = Wanted { keys: self, at: 0, slots: &mut slots };
        wanted.deserialize(&mut reader).and_then(|()| reader.end()).map_err(|e| e.to_string())?;
        Ok(slots)
    }
}

/// The parts of a path of keys.
fn split(path: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut chars = path.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&'.') => {
                chars.next();
                if let Some(part) = out.last_mut() {
                    part.push('.');
                }
            }
            '.' => out.push(String::new()),
            c => {
                if let Some(part) = out.last_mut() {
                    part.push(c);
                }
            }
        }
    }
    out
}

/// Reads one value into the slots of a node and of what lies below it.
struct Wanted<'k, 's, 'l> {
    keys: &'k Keys,
    at: usize,
    slots: &'s mut Slots<'l>,
}

impl<'l> Wanted<'_, '_, 'l> {
    fn put<E: serde::de::Error>(&mut self, value: Value<'l>) -> Result<(), E> {
        let Some(slot) = self.keys.nodes.get(self.at).and_then(|n| n.slot) else { return Ok(()) };
        self.slots.put(slot, value).map_err(|Twice| E::custom("two keys of the line say different things of the same fact"))
    }

    /// Adds a text to the list in the slot of this node.
    fn add(&mut self, text: Cow<'l, str>) {
        let Some(slot) = self.keys.nodes.get(self.at).and_then(|n| n.slot) else { return };
        let Some(held) = self.slots.0.get_mut(slot) else { return };
        match held {
            Value::List(list) if list.len() < LIST_ITEMS_MAX => list.push(text),
            Value::List(_) => {}
            held => *held = Value::List(vec![text]),
        }
    }
}

impl<'l> DeserializeSeed<'l> for Wanted<'_, '_, 'l> {
    type Value = ();

    fn deserialize<D: Deserializer<'l>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'l> Visitor<'l> for Wanted<'_, '_, 'l> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_borrowed_str<E: serde::de::Error>(mut self, text: &'l str) -> Result<(), E> {
        self.put(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<(), E> {
        self.put(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: serde::de::Error>(mut self, value: bool) -> Result<(), E> {
        self.put(Value::Boolean(value))
    }

    fn visit_i64<E: serde::de::Error>(mut self, value: i64) -> Result<(), E> {
        self.put(Value::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(mut self, value: u64) -> Result<(), E> {
        self.put(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    fn visit_f64<E: serde::de::Error>(mut self, value: f64) -> Result<(), E> {
        self.put(Value::Float(value))
    }

    fn visit_unit<E: serde::de::Error>(mut self) -> Result<(), E> {
        self.put(Value::Null)
    }

    fn visit_map<A: MapAccess<'l>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.put::<A::Error>(Value::Object)?;
        let mut given: u64 = 0;
        while let Some(key) = map.next_key_seed(Key)? {
            let children = self.keys.nodes.get(self.at).map(|n| n.children.as_slice()).unwrap_or_default();
            let Some((index, at)) = children.iter().enumerate().find(|(_, (name, _))| **name == *key).map(|(i, (_, at))| (i, *at)) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let bit = 1_u64.checked_shl(u32::try_from(index).unwrap_or(u32::MAX)).unwrap_or(0);
            if given & bit != 0 {
                return Err(A::Error::custom(format_args!("the key `{key}` is given twice")));
            }
            given |= bit;
            map.next_value_seed(Wanted { keys: self.keys, at, slots: &mut *self.slots })?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'l>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let slot = self.keys.nodes.get(self.at).and_then(|n| n.slot);
        if slot.is_some() {
            self.put::<A::Error>(Value::List(Vec::new()))?;
        }
        while seq.next_element_seed(Item { keys: self.keys, at: self.at, slots: &mut *self.slots })?.is_some() {}
        Ok(())
    }
}

/// An item of an array: texts and numbers are added to the list of its node, of objects the wanted keys are.
struct Item<'k, 's, 'l> {
    keys: &'k Keys,
    at: usize,
    slots: &'s mut Slots<'l>,
}

impl<'l> Item<'_, '_, 'l> {
    fn wanted(&mut self, at: usize) -> Wanted<'_, '_, 'l> {
        Wanted { keys: self.keys, at, slots: &mut *self.slots }
    }
}

impl<'l> DeserializeSeed<'l> for Item<'_, '_, 'l> {
    type Value = ();

    fn deserialize<D: Deserializer<'l>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'l> Visitor<'l> for Item<'_, '_, 'l> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item of an array")
    }

    fn visit_borrowed_str<E: serde::de::Error>(mut self, text: &'l str) -> Result<(), E> {
        let at = self.at;
        self.wanted(at).add(Cow::Borrowed(text));
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(mut self, text: &str) -> Result<(), E> {
        let at = self.at;
        self.wanted(at).add(Cow::Owned(text.to_owned()));
        Ok(())
    }

    fn visit_i64<E: serde::de::Error>(mut self, value: i64) -> Result<(), E> {
        let at = self.at;
        self.wanted(at).add(Cow::Owned(value.to_string()));
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(mut self, value: u64) -> Result<(), E> {
        let at = self.at;
        self.wanted(at).add(Cow::Owned(value.to_string()));
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'l>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key_seed(Key)? {
            match self.keys.find(self.at, &key) {
                Some(at) => map.next_value_seed(Item { keys: self.keys, at, slots: &mut *self.slots })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'l>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// A key, borrowed where it has no escapes.
struct Key;

impl<'l> DeserializeSeed<'l> for Key {
    type Value = Cow<'l, str>;

    fn deserialize<D: Deserializer<'l>>(self, deserializer: D) -> Result<Cow<'l, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'l> Visitor<'l> for Key {
    type Value = Cow<'l, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: serde::de::Error>(self, text: &'l str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// The most facts a format can want of a line.
pub const SLOTS_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_keys_in_any_order_borrowed_where_they_can_be() {
        let keys = Keys::new([("a", 0), ("b.c", 1), ("b.list", 2), ("b.items.name", 3), (r"x\.y", 4), ("also_a", 0)]);
        let line =
            br#" {"z":[1,{"a":7}],"b":{"items":[{"name":"p","q":1},{"name":"r"},5],"c":-3,"list":["s",4,null]},"x.y":true,"a":"t"} "#;
        let slots = keys.read(line).unwrap();
        assert!(matches!(slots.of(0), Value::Text(Cow::Borrowed("t"))));
        assert_eq!(slots.of(1), &Value::Integer(-3));
        assert_eq!(slots.of(2).list(), ["s", "4"]);
        assert_eq!(slots.of(3).list(), ["p", "r"]);
        assert_eq!(slots.of(4), &Value::Boolean(true));
        assert_eq!(keys.read(br#"{"a":"t\u0041"}"#).unwrap().text(0), Some("tA"));
        assert_eq!(keys.read(br#"{"also_a":"t","a":"t"}"#).unwrap().text(0), Some("t"));
        assert_eq!(keys.read(br#"{"also_a":"-","a":"t"}"#).unwrap().text(0), Some("t"));
        assert!(keys.flat().is_none());
        assert_eq!(Keys::new([("a", 0), ("b", 1)]).flat().unwrap(), [("a", 0), ("b", 1)]);
    }

    #[test]
    fn what_two_readers_could_read_in_two_ways_is_not_read() {
        let keys = Keys::new([("a", 0), ("also_a", 0), ("b.c", 1)]);
        for (line, want) in [
            (&br#"{"a":1,"a":1}"#[..], "`a` is given twice"),
            (br#"{"\u0061":1,"a":1}"#, "`a` is given twice"),
            (br#"{"a":1,"also_a":2}"#, "two keys"),
            (br#"{"b":{"c":1,"c":2}}"#, "`c` is given twice"),
            (br#"{"a":1} {"a":2}"#, "trailing"),
            (br#"["a"]"#, "not an object"),
            (b"", "not an object"),
            (b"{\"a\":\"\xff\"}", "invalid unicode"),
            (br#"{"a":"#, "EOF"),
        ] {
            let why = keys.read(line).unwrap_err();
            assert!(why.contains(want), "{why}");
        }
    }
}
