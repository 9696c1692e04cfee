//! One pass over one line. `None` means a surprise, and says nothing of the line.

use memchr::{memchr, memchr2};

use super::keys::{KeyId, Keys, START};
use super::nested::nested_end;
use super::value::{Value, decode};

/// A line that the scanner may try: UTF-8, without control bytes.
#[derive(Clone, Copy)]
pub(super) struct Walk<'l> {
    text: &'l str,
    bytes: &'l [u8],
    escapes: bool,
    quotes: usize,
}

/// Where a value ends.
#[derive(Clone, Copy)]
struct End {
    /// The byte after it.
    at: usize,
    /// The quotes it has.
    quotes: usize,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Escaped,
    Number,
    Null,
    True,
    False,
    Nested,
}

/// The place before the value, and what is known of its key.
struct Found {
    id: Option<KeyId>,
    slot: Option<usize>,
    length: usize,
    value_at: usize,
}

impl<'l> Walk<'l> {
    /// The line, looked over once; `None` where it has a control byte (a tab between tokens is JSON, one in a string is not).
    pub(super) fn over(text: &'l str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (odd, quotes) = look_over(bytes);
        (odd & CONTROL == 0).then_some(Self { text, bytes, escapes: odd & ESCAPE != 0, quotes })
    }

    /// The wanted values.
    pub(super) fn run<const N: usize>(self, keys: &mut Keys) -> Option<[Value<'l>; N]> {
        if self.escapes {
            return self.pass::<N, false>(keys).map(|(values, _)| values);
        }
        // With lengths predicted a string may have been taken to end at a later quote than its own. If as many quotes were met as the
        // line has, there is no other quote, and so no string that ended sooner.
        let (values, quotes) = self.pass::<N, true>(keys)?;
        if quotes == self.quotes { Some(values) } else { self.pass::<N, false>(keys).map(|(values, _)| values) }
    }

    fn pass<const N: usize, const PREDICT: bool>(self, keys: &mut Keys) -> Option<([Value<'l>; N], usize)> {
        let mut out = [Value::Absent; N];
        let mut before = START;
        let mut quotes = 0;
        let mut at = self.skip(self.spaces(0), b'{')?;
        loop {
            let key = self.key(keys, before, at)?;
            let end = self.value::<PREDICT>(key.value_at, key.length)?;
            if let Some(place) = key.slot.and_then(|slot| out.get_mut(slot)) {
                if *place != Value::Absent {
                    return None;
                }
                *place = self.borrow(key.value_at, end)?;
            }
            quotes += 2 + end.quotes;
            if PREDICT && end.kind == Kind::Text && let Some(id) = key.id {
                keys.set_length(id, (end.at - key.value_at).saturating_sub(2));
            }
            before = key.id.unwrap_or(START);
            at = self.spaces(end.at);
            match self.bytes.get(at)? {
                b',' => at = self.spaces(at + 1),
                b'}' => break,
                _ => return None,
            }
        }
        (self.spaces(at + 1) == self.bytes.len()).then_some((out, quotes))
    }

    #[inline]
    fn key(self, keys: &mut Keys, before: KeyId, at: usize) -> Option<Found> {
        if let Some((id, key, value_at)) = keys.predicted(before, self.bytes, at) {
            return Some(Found { id: Some(id), slot: key.slot, length: key.length, value_at });
        }
        let name_at = self.skip(at, b'"')?;
        let name_end = name_at + memchr(b'"', self.bytes.get(name_at..)?)?;
        let name = self.text.get(name_at..name_end)?;
        if self.escapes && name.contains('\\') {
            return None;
        }
        let value_at = self.spaces(self.skip(self.spaces(name_end + 1), b':')?);
        Some(match keys.find(before, self.bytes.get(at..value_at)?, name) {
            Some((id, key)) => Found { id: Some(id), slot: key.slot, length: key.length, value_at },
            None => Found { id: None, slot: keys.slot(name), length: 0, value_at },
        })
    }

    #[inline]
    fn value<const PREDICT: bool>(self, at: usize, length: usize) -> Option<End> {
        match self.bytes.get(at)? {
            b'"' => {
                let from = at + 1;
                if PREDICT && self.bytes.get(from + length) == Some(&b'"') {
                    return Some(End { at: from + length + 1, quotes: 2, kind: Kind::Text });
                }
                let (end, has_escape) = self.string_end(from)?;
                Some(End { at: end + 1, quotes: 2, kind: if has_escape { Kind::Escaped } else { Kind::Text } })
            }
            b'-' | b'0'..=b'9' => Some(End { at: number_end(self.bytes, at)?, quotes: 0, kind: Kind::Number }),
            b'n' => self.word(at, b"null", Kind::Null),
            b't' => self.word(at, b"true", Kind::True),
            b'f' => self.word(at, b"false", Kind::False),
            b'{' | b'[' => {
                let (at, quotes) = nested_end(self, at)?;
                Some(End { at, quotes, kind: Kind::Nested })
            }
            _ => None,
        }
    }

    /// The place of the quote that ends a string, and whether there is an escape in it.
    #[inline]
    pub(super) fn string_end(self, from: usize) -> Option<(usize, bool)> {
        if self.escapes { self.escaped_end(from) } else { Some((from + memchr(b'"', self.bytes.get(from..)?)?, false)) }
    }

    fn escaped_end(self, from: usize) -> Option<(usize, bool)> {
        let mut at = from;
        loop {
            at += memchr2(b'"', b'\\', self.bytes.get(at..)?)?;
            if self.bytes.get(at) == Some(&b'"') {
                // A first escape moves `at` past `from` by two; a quote found at once leaves the text before it free of escapes.
                return Some((at, memchr(b'\\', self.bytes.get(from..at)?).is_some()));
            }
            at += match self.bytes.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                b'u' if self.bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => 6,
                _ => return None,
            };
        }
    }

    fn word(self, at: usize, word: &[u8], kind: Kind) -> Option<End> {
        self.bytes.get(at..)?.starts_with(word).then_some(End { at: at + word.len(), quotes: 0, kind })
    }

    fn borrow(self, at: usize, end: End) -> Option<Value<'l>> {
        Some(match end.kind {
            Kind::Text => Value::Text(self.text.get(at + 1..end.at - 1)?),
            Kind::Escaped => {
                let raw = self.text.get(at + 1..end.at - 1)?;
                decode(raw)?;
                Value::Escaped(raw)
            }
            Kind::Number => Value::Number(self.text.get(at..end.at)?),
            Kind::Nested => Value::Nested(self.text.get(at..end.at)?),
            Kind::Null => Value::Null,
            Kind::True => Value::Bool(true),
            Kind::False => Value::Bool(false),
        })
    }

    #[inline]
    fn skip(self, at: usize, byte: u8) -> Option<usize> {
        (self.bytes.get(at) == Some(&byte)).then_some(at + 1)
    }

    /// The first byte from here that is no space.
    #[inline]
    pub(super) fn spaces(self, mut at: usize) -> usize {
        while self.bytes.get(at) == Some(&b' ') {
            at += 1;
        }
        at
    }

    pub(super) const fn bytes(self) -> &'l [u8] {
        self.bytes
    }
}

/// The byte after a number, by the grammar of JSON. A digit after a leading zero is left standing, where nothing takes it.
pub(super) fn number_end(bytes: &[u8], at: usize) -> Option<usize> {
    let digits = |from: usize| {
        let end = bytes.get(from..)?.iter().position(|b| !b.is_ascii_digit()).map_or(bytes.len(), |n| from + n);
        (end > from).then_some(end)
    };
    let whole = at + usize::from(bytes.get(at) == Some(&b'-'));
    let mut end = if bytes.get(whole) == Some(&b'0') { whole + 1 } else { digits(whole)? };
    if bytes.get(end) == Some(&b'.') {
        end = digits(end + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(end) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        end = digits(end + 1 + sign)?;
    }
    Some(end)
}

/// What kinds of odd bytes there are, and how many quotes.
fn look_over(bytes: &[u8]) -> (u8, usize) {
    let mut odd = 0;
    let mut quotes = 0;
    let (chunks, rest) = bytes.as_chunks::<CHUNK>();
    for chunk in chunks {
        // Fewer than 256 bytes, so that a byte counts them; the compiler makes vectors of this.
        let mut count = 0_u8;
        let mut kinds = 0;
        for b in chunk {
            count = count.wrapping_add(u8::from(*b == b'"'));
            kinds |= kind(*b);
        }
        odd |= kinds;
        quotes += usize::from(count);
    }
    for b in rest {
        quotes += usize::from(*b == b'"');
        odd |= kind(*b);
    }
    (odd, quotes)
}

#[inline]
fn kind(byte: u8) -> u8 {
    (u8::from(byte < 0x20) * CONTROL) | (u8::from(byte == b'\\') * ESCAPE)
}

const CONTROL: u8 = 1;
const ESCAPE: u8 = 2;
const CHUNK: usize = 128;
