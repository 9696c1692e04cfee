//! Paths of requests as patterns: which segments are words of an interface and which are values that somebody put there.
//!
//! INVARIANT: a segment that looks like a value (a number, an identifier, a date, an address, a token) is never kept; only its
//! place is.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::Digest;

/// A segment of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Seg {
    /// A word of the interface.
    Word(String),
    /// Something in its place.
    Value,
}

/// A path without its values.
pub(crate) type Pattern = Vec<Seg>;

/// The pattern of a path; the query is no part of it.
pub(crate) fn pattern(path: &str) -> Pattern {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = path.strip_prefix('/').unwrap_or(path);
    if path.is_empty() {
        return Vec::new();
    }
    let is_method = is_grpc(path);
    path.split('/').map(|s| if is_method || is_word(s) { Seg::Word(s.to_owned()) } else { Seg::Value }).collect()
}

/// `shop.v1.Items/GetItem`: a service and a method as gRPC writes them, letters and a version.
fn is_grpc(path: &str) -> bool {
    let Some((service, method)) = path.split_once('/') else { return false };
    let is_part = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && digits <= 1
            && part.len() <= GRPC_CHARS_MAX
    };
    let last = service.rsplit('.').next().unwrap_or_default();
    let is_title = |part: &str| part.starts_with(|c: char| c.is_ascii_uppercase()) && part.bytes().any(|b| b.is_ascii_lowercase());
    service.contains('.') && service.split('.').all(is_part) && is_title(last) && is_part(method) && is_title(method)
}

/// Whether policy can be written for it: no empty segment but at its end.
pub(crate) fn is_plain(pattern: &Pattern) -> bool {
    pattern.iter().rev().skip(1).all(|s| *s != Seg::Word(String::new()))
}

/// One pattern of several of the same length: a word stays where all have it.
pub(crate) fn joined(a: &Pattern, b: &Pattern) -> Pattern {
    a.iter().zip(b).map(|(a, b)| if a == b { a.clone() } else { Seg::Value }).collect()
}

/// The values of a path by their shape, each with its digest.
pub(crate) fn values(path: &str) -> Vec<(&'static str, Digest)> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let path = path.strip_prefix('/').unwrap_or(path);
    let is_method = is_grpc(path);
    let found = path.split('/').filter(|s| !is_method && !is_word(s));
    found.map(|s| (shape(s), Digest::of(s.as_bytes()))).collect()
}

fn shape(segment: &str) -> &'static str {
    let of = |allowed: fn(u8) -> bool| !segment.is_empty() && segment.bytes().all(allowed);
    let parts: Vec<usize> = segment.split('-').map(str::len).collect();
    if of(|b| b.is_ascii_digit()) {
        "number"
    } else if parts == [8, 4, 4, 4, 12] && of(|b| b.is_ascii_hexdigit() || b == b'-') {
        "uuid"
    } else if parts == [4, 2, 2] && of(|b| b.is_ascii_digit() || b == b'-') {
        "date"
    } else if segment.starts_with('{') {
        "hidden"
    } else if of(|b| b.is_ascii_hexdigit()) {
        "hexadecimal"
    } else {
        "text"
    }
}

/// Short, of lower-case letters with hardly a digit: `items`, `v1`, `.well-known`, `index.html`; nothing at a path's end.
fn is_word(segment: &str) -> bool {
    let digits = segment.bytes().filter(u8::is_ascii_digit).count();
    let letters = segment.bytes().filter(u8::is_ascii_lowercase).count();
    let longest = segment.split(['-', '_', '.']).map(str::len).max().unwrap_or_default();
    let plain = segment.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'));
    let names = segment.is_empty() || segment.starts_with('.') || segment.starts_with(|c: char| c.is_ascii_lowercase());
    let is_hex = segment.len() >= HEX_CHARS_MIN && segment.bytes().all(|b| b.is_ascii_hexdigit());
    let runs = segment.split(|c: char| !c.is_ascii_lowercase() || "aeiouy".contains(c));
    let is_speakable = runs.map(str::len).max().unwrap_or_default() <= CONSONANTS_MAX;
    plain
        && names
        && !is_hex
        && is_speakable
        && digits <= DIGITS_MAX
        && (segment.is_empty() || letters > digits || is_version(segment))
        && longest <= WORD_CHARS_MAX
}

fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// The patterns with words taken for values where too many stand in one place, or some stand beside values.
pub(crate) fn settle(patterns: &BTreeSet<Pattern>) -> BTreeSet<Pattern> {
    let mut settled: Vec<Pattern> = patterns.iter().cloned().collect();
    let depth = settled.iter().map(Vec::len).max().unwrap_or_default();
    for at in 0..depth {
        let mut places: BTreeMap<Pattern, (BTreeSet<String>, bool)> = BTreeMap::new();
        for pattern in &settled {
            let (Some(before), Some(here)) = (pattern.get(..at), pattern.get(at)) else { continue };
            let place = places.entry(before.to_vec()).or_default();
            match here {
                Seg::Word(word) => drop(place.0.insert(word.clone())),
                Seg::Value => place.1 = true,
            }
        }
        for pattern in &mut settled {
            let Some((words, has_value)) = pattern.get(..at).and_then(|before| places.get(before)) else { continue };
            let most = if *has_value { WORDS_BESIDE_VALUES_MAX } else { WORDS_MAX };
            if words.len() > most
                && let Some(segment) = pattern.get_mut(at)
            {
                *segment = Seg::Value;
            }
        }
    }
    settled.into_iter().collect()
}

/// The pattern of these that a request with that pattern meets: a word goes before a place, segment by segment.
pub(crate) fn best<'p>(all: impl Iterator<Item = &'p Pattern>, asked: &Pattern) -> Option<&'p Pattern> {
    let meets = |p: &&Pattern| {
        p.len() == asked.len()
            && p.iter().zip(asked).all(|(mine, theirs)| *mine == Seg::Value && *theirs != Seg::Word(String::new()) || mine == theirs)
    };
    all.filter(meets).max_by_key(|p| p.iter().map(|s| *s != Seg::Value).collect::<Vec<_>>())
}

/// A path of this pattern, with a value that nobody sent.
pub(crate) fn example(pattern: &Pattern) -> String {
    let all = pattern.iter().map(|s| if let Seg::Word(word) = s { word } else { "0" });
    format!("/{}", all.collect::<Vec<_>>().join("/"))
}

/// The path as policy writes it.
pub(crate) fn written(pattern: &Pattern) -> String {
    let mut values = 0;
    let mut out = String::new();
    for segment in pattern {
        out.push('/');
        match segment {
            Seg::Word(word) => out.push_str(word),
            Seg::Value => {
                values += 1;
                out.push_str(&if values == 1 { "{id}".to_owned() } else { format!("{{id{values}}}") });
            }
        }
    }
    if out.is_empty() { "/".to_owned() } else { out }
}

/// More digits than this make an identifier; `v1`, `oauth2` and `sha256` have fewer.
const DIGITS_MAX: usize = 3;
/// A longer run of letters is no word that people choose for an interface.
const WORD_CHARS_MAX: usize = 20;
/// Longer names of services and methods of gRPC are rare.
const GRPC_CHARS_MAX: usize = 40;
/// More consonants in a row than this make no word.
const CONSONANTS_MAX: usize = 5;
/// Hexadecimal digits of this number are an identifier even without a decimal digit.
const HEX_CHARS_MIN: usize = 8;
/// More words than this in one place are values: names of people, tenants, things.
const WORDS_MAX: usize = 12;
/// Words beside values are values too, unless they are as few as this (`search`, `me`).
const WORDS_BESIDE_VALUES_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_never_kept() {
        for (path, expected) in [
            ("/", "/"),
            ("/v1/items/42?card=4111", "/v1/items/{id}"),
            ("/v1/items", "/v1/items"),
            ("/items/", "/items/"),
            ("/u/ann@example.org/x", "/u/{id}/x"),
            ("/o/9f1c2a7e-4b0d-4c55-9d1a-2f6c0b7a8e11", "/o/{id}"),
            ("/d/2026-11-22", "/d/{id}"),
            ("/c/4111111111111111/tok_9aZ", "/c/{id}/{id2}"),
            ("/h/deadbeefcafe", "/h/{id}"),
            ("/.well-known/jwks.json", "/.well-known/jwks.json"),
            ("/a%20b/Ann", "/{id}/{id2}"),
            ("/k/abcdefghijklmnopqrstuvwxyz", "/k/{id}"),
            ("/t/{item}", "/t/{id}"),
            ("/t/xkqzwvbt", "/t/{id}"),
            ("/shop.v1.Items/GetItem", "/shop.v1.Items/GetItem"),
            ("/Ann.Smith/9", "/{id}/{id2}"),
            ("/a/Ann", "/a/{id}"),
        ] {
            assert_eq!(written(&pattern(path)), expected, "{path}");
        }
    }

    #[test]
    fn many_words_in_one_place_are_values() {
        let names = |n: usize| -> BTreeSet<Pattern> {
            (0..n).map(|k| pattern(&format!("/users/{}", char::from(b'a' + k as u8).to_string().repeat(4)))).collect()
        };
        assert_eq!(settle(&names(WORDS_MAX)).len(), WORDS_MAX);
        assert_eq!(settle(&names(WORDS_MAX + 1)), BTreeSet::from([pattern("/users/1")]));
        let mut mixed = names(3);
        mixed.insert(pattern("/users/17"));
        assert_eq!(settle(&mixed), BTreeSet::from([pattern("/users/1")]));
    }
}
