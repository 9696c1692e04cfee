//! One pass over one line. `None` means a surprise, and says nothing of the line.

use super::keys::{KeyId, Keys, START};
use super::nested::nested_end;
use super::quotes::Quotes;
use super::value::{Value, decode};

/// A line that the scanner may try: UTF-8, without control bytes.
#[derive(Clone, Copy)]
pub(super) struct Walk<'q, 'l> {
    text: &'l str,
    bytes: &'l [u8],
    quotes: &'q Quotes,
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

impl<'q, 'l> Walk<'q, 'l> {
    /// The line, looked over before; `None` where it has a control byte (a tab between tokens is JSON, one in a string is not).
    pub(super) fn over(text: &'l str, quotes: &'q Quotes) -> Option<Self> {
        (!quotes.has_control).then_some(Self { text, bytes: text.as_bytes(), quotes })
    }

    /// The wanted values.
    pub(super) fn run<const N: usize>(self, keys: &mut Keys, line: u64) -> Option<[Value<'l>; N]> {
        let foresee = keys.begin(line);
        // With lengths predicted a string may have been taken to end at a later quote than its own. If as many quotes were met as the
        // line has, there is no other quote, and so no string that ended sooner.
        match self.pass::<N, true>(keys, foresee) {
            Some((values, quotes)) if quotes == self.quotes.count => Some(values),
            _ => self.pass::<N, false>(keys, foresee).map(|(values, _)| values),
        }
    }

    fn pass<const N: usize, const PREDICT: bool>(self, keys: &mut Keys, foresee: bool) -> Option<([Value<'l>; N], usize)> {
        let mut out = [Value::Absent; N];
        let mut before = START;
        let mut quotes = 0;
        let mut at = self.skip(self.spaces(0), b'{')?;
        loop {
            let key = self.key(keys, foresee, before, at)?;
            let end = self.value::<PREDICT>(key.value_at, key.length)?;
            if let Some(place) = key.slot.and_then(|slot| out.get_mut(slot)) {
                if *place != Value::Absent {
                    return None;
                }
                *place = self.borrow(key.value_at, end)?;
            }
            quotes += 2 + end.quotes;
            if PREDICT
                && end.kind == Kind::Text
                && let Some(id) = key.id
            {
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
    fn key(self, keys: &mut Keys, foresee: bool, before: KeyId, at: usize) -> Option<Found> {
        if foresee {
            if let Some((id, key, value_at)) = keys.predicted(before, self.bytes, at) {
                let found = Found { id: Some(id), slot: key.slot, length: key.length, value_at };
                keys.judge(true);
                return Some(found);
            }
            keys.judge(false);
        }
        let name_at = self.skip(at, b'"')?;
        let name_end = self.quotes.from(name_at)?;
        let name = self.text.get(name_at..name_end)?;
        if self.has_escape(name) {
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
                let is_predicted =
                    PREDICT && !self.quotes.has_escape && matches!(self.bytes.get(from + length..), Some([b'"', b',' | b'}', ..]));
                let end = if is_predicted { from + length } else { self.string_end(from)? };
                Some(End { at: end + 1, quotes: 2, kind: Kind::Text })
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

    /// The place of the quote that ends a string.
    #[inline]
    pub(super) fn string_end(self, from: usize) -> Option<usize> {
        let end = self.quotes.from(from)?;
        if self.quotes.has_escape {
            escapes_are_known(self.bytes.get(from..end)?)?;
        }
        Some(end)
    }

    /// Whether there is an escape in this part of the line.
    #[inline]
    pub(super) fn has_escape(self, part: &str) -> bool {
        self.quotes.has_escape && part.contains('\\')
    }

    #[inline]
    fn word(self, at: usize, word: &[u8], kind: Kind) -> Option<End> {
        self.bytes.get(at..)?.starts_with(word).then_some(End { at: at + word.len(), quotes: 0, kind })
    }

    #[inline]
    fn borrow(self, at: usize, end: End) -> Option<Value<'l>> {
        Some(match end.kind {
            Kind::Text => {
                let raw = self.text.get(at + 1..end.at - 1)?;
                if self.has_escape(raw) {
                    decode(raw)?;
                    Value::Escaped(raw)
                } else {
                    Value::Text(raw)
                }
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
        let mut end = from;
        while bytes.get(end).is_some_and(u8::is_ascii_digit) {
            end += 1;
        }
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

/// Whether every escape of a string is one that JSON has. That two halves of a character meet is for [`decode`] to say.
fn escapes_are_known(string: &[u8]) -> Option<()> {
    let mut rest = string;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        rest = match rest.get(at + 1..)? {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', rest @ ..] => rest,
            [b'u', a, b, c, d, rest @ ..] if [a, b, c, d].iter().all(|hex| hex.is_ascii_hexdigit()) => rest,
            _ => return None,
        };
    }
    Some(())
}
