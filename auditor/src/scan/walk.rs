//! One pass over one line. `None` means a surprise, and says nothing of the line.

use super::keys::{END, KeyId, Keys, Met, START};
use super::look::Look;
use super::nested::nested_end;
use super::value::{Kind, Spans, decode};

/// A line that the scanner may try: UTF-8, without control bytes.
#[derive(Clone, Copy)]
pub(super) struct Walk<'q, 'l> {
    bytes: &'l [u8],
    /// Where its quotes are, but for escaped ones.
    quotes: &'q [u32],
    has_escape: bool,
}

/// The place in a line, and how many quotes were passed: the next one is the first at or behind the place.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) byte: usize,
    pub(super) quote: usize,
}

impl At {
    /// Here or further on, with no quote between.
    pub(super) const fn to(self, byte: usize) -> Self {
        Self { byte, ..self }
    }
}

impl<'q, 'l> Walk<'q, 'l> {
    /// The line, looked over before; `None` where it has a control byte (a tab between tokens is JSON, one in a string is not).
    pub(super) fn over(bytes: &'l [u8], look: &'q Look) -> Option<Self> {
        (!look.has_control).then_some(Self { bytes, quotes: look.quotes(), has_escape: look.has_escape })
    }

    /// Finds the wanted values.
    pub(super) fn run<const N: usize>(self, keys: &mut Keys, line: u64, out: &mut Spans<N>) -> Option<()> {
        let foresee = keys.begin(line);
        out.clear();
        let (mut before, mut next) = (START, keys.after(START));
        let mut at = At { byte: self.spaces(0), quote: 0 };
        let (mut made, mut failed) = (0_usize, 0_usize);
        let end = loop {
            made = made.wrapping_add(1);
            let foreseen = if foresee { keys.predicted(next, self.bytes, at.byte) } else { None };
            let met = match foreseen {
                Some(met) => met,
                None => {
                    failed += 1;
                    self.key(keys, before, at)?
                }
            };
            if met.id == END {
                break met.value_at;
            }
            // A key has no quotes but the two around it.
            let from = At { byte: met.value_at, quote: at.quote.wrapping_add(2) };
            let (to, kind) = self.value(from)?;
            if let Some(slot) = met.slot {
                self.keep(usize::from(slot), (from.byte, to.byte, kind), out)?;
            }
            (before, next, at) = (met.id, met.next, to);
        };
        if foresee {
            keys.judge(made, failed);
        }
        (self.spaces(end) == self.bytes.len()).then_some(())
    }

    /// What stands behind a value, read anew: another key, or the end.
    fn key(self, keys: &mut Keys, before: KeyId, at: At) -> Option<Met> {
        let is_first = before == START;
        let ended = |byte: usize| Some(Met { id: END, slot: None, next: START, value_at: byte + 1 });
        let mut name_at = self.spaces(at.byte);
        match (self.bytes.get(name_at)?, is_first) {
            (b'{', true) => {
                name_at = self.spaces(name_at + 1);
                if self.bytes.get(name_at) == Some(&b'}') {
                    return ended(name_at);
                }
            }
            (b',', false) => name_at = self.spaces(name_at + 1),
            (b'}', false) => {
                keys.ended(before);
                return ended(name_at);
            }
            _ => return None,
        }
        let name_end = self.pair(at.to(name_at))?;
        let name = self.bytes.get(name_at + 1..name_end)?;
        if self.has_escape(name) {
            return None;
        }
        let colon = self.spaces(name_end + 1);
        if self.bytes.get(colon) != Some(&b':') {
            return None;
        }
        let value_at = self.spaces(colon + 1);
        keys.find(before, self.bytes.get(at.byte..value_at)?, name, value_at)
    }

    /// Passes over a value.
    #[inline(always)]
    fn value(self, at: At) -> Option<(At, Kind)> {
        let byte = at.byte;
        Some(match *self.bytes.get(byte)? {
            b'"' => (self.string(at)?, Kind::Text),
            b'n' => (at.to(self.word(byte, b"null")?), Kind::Null),
            b'-' | b'0'..=b'9' => (at.to(integer_end(self.bytes, byte).or_else(|| number_end(self.bytes, byte))?), Kind::Number),
            b't' => (at.to(self.word(byte, b"true")?), Kind::True),
            b'f' => (at.to(self.word(byte, b"false")?), Kind::False),
            b'{' | b'[' => (nested_end(self, at)?, Kind::Nested),
            _ => return None,
        })
    }

    /// The place behind a string.
    #[inline(always)]
    pub(super) fn string(self, at: At) -> Option<At> {
        let end = self.pair(at)?;
        if self.has_escape {
            escapes_are_known(self.bytes.get(at.byte..end)?)?;
        }
        Some(At { byte: end.wrapping_add(1), quote: at.quote.wrapping_add(2) })
    }

    /// The place of the quote that belongs to the one that stands here; `None` where none stands here.
    #[inline(always)]
    fn pair(self, at: At) -> Option<usize> {
        let [opens, ends] = *self.quotes.get(at.quote..)?.first_chunk::<2>()?;
        (opens as usize == at.byte).then_some(ends as usize)
    }

    /// Whether there is an escape in this part of the line.
    #[inline]
    fn has_escape(self, part: &[u8]) -> bool {
        self.has_escape && part.contains(&b'\\')
    }

    #[inline]
    fn word<const L: usize>(self, at: usize, word: &[u8; L]) -> Option<usize> {
        (self.bytes.get(at..)?.first_chunk::<L>()? == word).then_some(at + L)
    }

    /// Notes where a wanted value lies; `None` where it was there already.
    #[inline(always)]
    fn keep<const N: usize>(self, slot: usize, (at, end, kind): (usize, usize, Kind), out: &mut Spans<N>) -> Option<()> {
        if kind != Kind::Text {
            return out.put(slot, at, end, kind);
        }
        let (from, to) = (at.wrapping_add(1), end.wrapping_sub(1));
        if self.has_escape && self.has_escape(self.bytes.get(from..to)?) {
            decode(std::str::from_utf8(self.bytes.get(from..to)?).ok()?)?;
            return out.put(slot, from, to, Kind::Escaped);
        }
        out.put(slot, from, to, Kind::Text)
    }

    /// The first byte from here that is no space.
    #[inline]
    pub(super) fn spaces(self, mut at: usize) -> usize {
        while self.bytes.get(at) == Some(&b' ') {
            at += 1;
        }
        at
    }

    /// The first place from here where no space is.
    pub(super) fn past_spaces(self, at: At) -> At {
        at.to(self.spaces(at.byte))
    }

    pub(super) const fn bytes(self) -> &'l [u8] {
        self.bytes
    }
}

/// The byte after an integer of less than eight digits, which are looked at together; `None` says that it is something else.
#[inline]
fn integer_end(bytes: &[u8], at: usize) -> Option<usize> {
    let eight = u64::from_le_bytes(*bytes.get(at..)?.first_chunk::<8>()?);
    let each = |byte: u8| u64::from_ne_bytes([byte; 8]);
    // A digit is less than ten once its high half is taken off; what is not keeps or gets a bit in its high half.
    let digits = eight ^ each(b'0');
    let others = (digits | (digits & each(0x7f)).wrapping_add(each(0x76))) & each(0x80);
    let length = others.trailing_zeros() as usize / 8;
    let ends = at + length;
    let begins_well = length == 1 || (length > 1 && eight.to_le_bytes().first() != Some(&b'0'));
    (length < 8 && begins_well && matches!(bytes.get(ends), Some(b',' | b'}'))).then_some(ends)
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
