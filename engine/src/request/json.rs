//! Attributes and tokens from JSON, read in one pass: `decide` and `replay` read millions of them.

use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{AttributeValue, Attributes, Claims, Token};

impl<'de> Deserialize<'de> for AttributeValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Readable::deserialize(deserializer)?.0.ok_or_else(|| D::Error::custom(WANTED))
    }
}

/// A value if it is one that an attribute can have; anything else is passed over.
struct Readable(Option<AttributeValue>);

const WANTED: &str = "expected a text, a whole number, true, false or a list of texts";

impl<'de> Deserialize<'de> for Readable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ReadableVisitor)
    }
}

struct ReadableVisitor;

impl<'de> Visitor<'de> for ReadableVisitor {
    type Value = Readable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WANTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Readable, E> {
        Ok(Readable(Some(AttributeValue::Text(text.into()))))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Readable, E> {
        Ok(Readable(Some(AttributeValue::Text(text.into()))))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Readable, E> {
        Ok(Readable(Some(AttributeValue::Boolean(value))))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Readable, E> {
        Ok(Readable(Some(AttributeValue::Integer(number))))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Readable, E> {
        Ok(Readable(i64::try_from(number).ok().map(AttributeValue::Integer)))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Readable, E> {
        Ok(Readable(None))
    }

    fn visit_unit<E: Error>(self) -> Result<Readable, E> {
        Ok(Readable(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Readable, A::Error> {
        let (mut texts, mut readable) = (Vec::new(), true);
        while let Some(item) = items.next_element::<Readable>()? {
            match item.0 {
                Some(AttributeValue::Text(text)) => texts.push(text),
                _ => readable = false,
            }
        }
        Ok(Readable(readable.then_some(AttributeValue::List(texts))))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Readable, A::Error> {
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Readable(None))
    }
}

/// `aud`: one text or several (RFC 7519 §4.1.3).
struct Audience(Vec<Box<str>>);

impl<'de> Deserialize<'de> for Audience {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Readable::deserialize(deserializer)?.0 {
            Some(AttributeValue::Text(one)) => Ok(Self(vec![one])),
            Some(AttributeValue::List(many)) => Ok(Self(many)),
            _ => Err(D::Error::custom("expected a text or a list of texts as `aud`")),
        }
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TokenVisitor)
    }
}

struct TokenVisitor;

impl<'de> Visitor<'de> for TokenVisitor {
    type Value = Token;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the claims of a token, or `invalid`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Token, A::Error> {
        let (mut invalid, mut iss, mut sub, mut scope) = (None, None, None, None);
        let (mut aud, mut other) = (None, Attributes::new());
        while let Some(name) = entries.next_key::<Box<str>>()? {
            match &*name {
                "invalid" => once("invalid", &mut invalid, entries.next_value::<Option<Box<str>>>()?)?,
                "iss" => once("iss", &mut iss, entries.next_value::<Option<Box<str>>>()?)?,
                "sub" => once("sub", &mut sub, entries.next_value::<Option<Box<str>>>()?)?,
                "scope" => once("scope", &mut scope, entries.next_value::<Option<Box<str>>>()?)?,
                "aud" => once("aud", &mut aud, entries.next_value::<Option<Audience>>()?)?,
                // Claims of another shape (objects, fractions, null) cannot be allow-listed, so no policy could read them.
                _ => match entries.next_value::<Readable>()?.0 {
                    Some(value) => drop(other.insert(name, value)),
                    None => drop(other.remove(&name)),
                },
            }
        }
        if let Some(why) = invalid.flatten() {
            return Ok(Token::Invalid(why));
        }
        let (Some(iss), Some(sub), Some(Audience(aud))) = (iss.flatten(), sub.flatten(), aud.flatten()) else {
            return Err(A::Error::custom("`jwt` needs `iss`, `sub` and `aud`, or `invalid`"));
        };
        Ok(Token::Valid(Claims { iss, sub, aud, scope: scope.flatten(), other }))
    }
}

/// Takes a claim that may stand in a token once.
fn once<T, E: Error>(name: &'static str, place: &mut Option<T>, value: T) -> Result<(), E> {
    if place.replace(value).is_some() { Err(E::duplicate_field(name)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(json: &str) -> Result<Token, String> {
        serde_json::from_str(json).map_err(|e| e.to_string())
    }

    #[test]
    fn claims_are_read_in_their_types() {
        let json = r#"{"iss":"i","sub":"s","aud":["a","b"],"scope":"x y","t":"\u0041","n":-3,"b":true,"l":["p","q"],"e":[],
            "big":18446744073709551615,"half":0.5,"null":null,"object":{"a":[1]},"mixed":["p",1,{"x":[]}]}"#;
        let Ok(Token::Valid(claims)) = token(json) else { panic!("{:?}", token(json)) };
        assert_eq!((&*claims.iss, &*claims.sub, claims.scope.as_deref()), ("i", "s", Some("x y")));
        assert_eq!(claims.aud, ["a".into(), "b".into()]);
        let other: Vec<(String, AttributeValue)> = claims.other.into_iter().map(|(n, v)| (n.to_string(), v)).collect();
        let list = |items: &[&str]| AttributeValue::List(items.iter().map(|i| (*i).into()).collect());
        let want = [
            ("b", AttributeValue::Boolean(true)),
            ("e", list(&[])),
            ("l", list(&["p", "q"])),
            ("n", AttributeValue::Integer(-3)),
            ("t", AttributeValue::Text("A".into())),
        ];
        assert_eq!(other, want.map(|(n, v)| (n.to_owned(), v)));
    }

    #[test]
    fn broken_tokens_are_refused() {
        assert_eq!(token(r#"{"invalid":"expired"}"#), Ok(Token::Invalid("expired".into())));
        for (json, why) in [
            (r#"{"iss":"i","sub":"s"}"#, "needs `iss`, `sub` and `aud`"),
            (r#"{"iss":"i","sub":"s","aud":3}"#, "expected a text or a list of texts as `aud`"),
            (r#"{"iss":"i","sub":"s","aud":["a",3]}"#, "expected a text or a list of texts as `aud`"),
            (r#"{"iss":"i","iss":"j","sub":"s","aud":"a"}"#, "duplicate field `iss`"),
            (r#"{"iss":7,"sub":"s","aud":"a"}"#, "invalid type"),
            (r#""token""#, "invalid type"),
        ] {
            let told = token(json).unwrap_err();
            assert!(told.contains(why), "{json}: {told}");
        }
    }

    #[test]
    fn attributes_of_other_shapes_are_refused() {
        for json in ["null", "0.5", "{}", "[1]", "18446744073709551615"] {
            let told = serde_json::from_str::<AttributeValue>(json).unwrap_err().to_string();
            assert!(told.contains(WANTED), "{json}: {told}");
        }
    }
}
