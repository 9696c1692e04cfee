//! The general parser: `serde_json`, and what the scanner is held against.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::value::{Value, decode};

/// The wanted values of a line, in the order of the wanted keys. A wanted key that stands twice spoils the line: it would say two
/// things at once. Of the others anything that is JSON is passed over.
///
/// # Errors
/// The line is not one JSON object, or has a wanted key twice.
pub fn general<'l, const N: usize>(line: &'l str, wanted: &[&str; N]) -> Result<[Value<'l>; N], String> {
    let mut read = serde_json::Deserializer::from_str(line);
    let values = read.deserialize_map(Line(wanted)).map_err(|e| e.to_string())?;
    read.end().map_err(|e| e.to_string())?;
    Ok(values)
}

struct Line<'w, const N: usize>(&'w [&'w str; N]);

impl<'de, const N: usize> Visitor<'de> for Line<'_, N> {
    type Value = [Value<'de>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut out = [Value::Absent; N];
        while let Some(slot) = map.next_key_seed(Key(self.0))? {
            let Some((name, place)) = slot.and_then(|slot| Some((self.0.get(slot)?, out.get_mut(slot)?))) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if *place != Value::Absent {
                return Err(A::Error::custom(format_args!("the key `{name}` stands twice")));
            }
            let raw: &'de RawValue = map.next_value()?;
            *place =
                value(raw.get()).ok_or_else(|| A::Error::custom(format_args!("the value of `{name}` has an escape of no character")))?;
        }
        Ok(out)
    }
}

struct Key<'w, const N: usize>(&'w [&'w str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Key<'_, N> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<const N: usize> Visitor<'_> for Key<'_, N> {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|wanted| *wanted == key))
    }
}

/// The value that this JSON text stands for; `None` for a string that does not decode.
fn value(raw: &str) -> Option<Value<'_>> {
    Some(match raw {
        "null" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => match raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
            Some(inner) if inner.contains('\\') => {
                decode(inner)?;
                Value::Escaped(inner)
            }
            Some(inner) => Value::Text(inner),
            None if raw.starts_with(['{', '[']) => Value::Nested(raw),
            None => Value::Number(raw),
        },
    })
}
