//! One pass over one line. `None` means a surprise, and says nothing of the line.

use super::keys::{END, KeyId, Keys, Met, START};
use super::look::Look;
use super::nested::nested_end;
use super::value::{Kind, Spans, decode};

/// A line that the scanner may try: UTF-8, without control bytes.
#[derive(Clone, Copy)]
pub(super) struct Walk<'q, 'l> {
    bytes: &'l [u8],
    look: &'q Look,
}

/// Where a value ends.
#[derive(Clone, Copy)]
struct Ends {
    /// The byte after it.
    at: usize,
    /// The quotes it has.
    quotes: usize,
    kind: Kind,
    /// It is a string that ends elsewhere than foreseen.
    is_news: bool,
}

impl<'q, 'l> Walk<'q, 'l> {
    /// The line, looked over before; `None` where it has a control byte (a tab between tokens is JSON, one in a string is not).
    pub(super) fn over(bytes: &'l [u8], look: &'q Look) -> Option<Self> {
        (!look.has_control).then_some(Self { bytes, look })
    }

    /// Finds the wanted values.
    pub(super) fn run<const N: usize>(self, keys: &mut Keys, line: u64, out: &mut Spans<N>) -> Option<()> {
        let foresee = keys.begin(line);
        // With lengths predicted a string may have been taken to end at a later quote than its own. If as many quotes were met as the
        // line has, there is no other quote, and so no string that ended sooner.
        match self.pass::<N, true>(keys, foresee, out) {
            Some(quotes) if quotes == self.look.count => Some(()),
            _ => self.pass::<N, false>(keys, foresee, out).map(drop),
        }
    }

    /// The number of quotes met.
    fn pass<const N: usize, const PREDICT: bool>(self, keys: &mut Keys, foresee: bool, out: &mut Spans<N>) -> Option<usize> {
        out.clear();
        let mut before = START;
        let mut quotes = 0;
        let mut at = self.spaces(0);
        let (mut made, mut failed) = (0, 0);
        let end = loop {
            let foreseen = if foresee { keys.predicted(before, self.bytes, at) } else { None };
            made += 1;
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
            let end = self.value::<PREDICT>(met.value_at, met.length)?;
            if let Some(slot) = met.slot {
                self.keep(slot, met.value_at, end, out)?;
            }
            quotes += 2 + end.quotes;
            if PREDICT && end.is_news {
                keys.set_length(met.id, (end.at - met.value_at).saturating_sub(2));
            }
            before = met.id;
            at = end.at;
        };
        if foresee {
            keys.judge(made, failed);
        }
        (self.spaces(end) == self.bytes.len()).then_some(quotes)
    }

    /// What stands behind a value, read anew: another key, or the end.
    fn key(self, keys: &mut Keys, before: KeyId, at: usize) -> Option<Met> {
        let is_first = before == START;
        let mut name_at = self.spaces(at);
        match (self.bytes.get(name_at)?, is_first) {
            (b'{', true) => {
                name_at = self.spaces(name_at + 1);
                if self.bytes.get(name_at) == Some(&b'}') {
                    return Some(Met { id: END, slot: None, length: 0, value_at: name_at + 1 });
                }
            }
            (b',', false) => name_at = self.spaces(name_at + 1),
            (b'}', false) => {
                keys.ended(before);
                return Some(Met { id: END, slot: None, length: 0, value_at: name_at + 1 });
            }
            _ => return None,
        }
        let name_at = self.skip(name_at, b'"')?;
        let name_end = self.look.quote(name_at)?;
        let name = self.bytes.get(name_at..name_end)?;
        if self.has_escape(name) {
            return None;
        }
        let value_at = self.spaces(self.skip(self.spaces(name_end + 1), b':')?);
        keys.find(before, self.bytes.get(at..value_at)?, name, value_at)
    }

    #[inline(always)]
    fn value<const PREDICT: bool>(self, at: usize, length: usize) -> Option<Ends> {
        let first = *self.bytes.get(at)?;
        if first == b'"' {
            let from = at + 1;
            let is_foreseen = PREDICT && !self.look.has_escape && matches!(self.bytes.get(from + length..), Some([b'"', b',' | b'}', ..]));
            let end = if is_foreseen { from + length } else { self.string_end(from)? };
            return Some(Ends { at: end + 1, quotes: 2, kind: Kind::Text, is_news: !is_foreseen });
        }
        let (end, quotes, kind) = match first {
            b'n' => (self.word(at, b"null")?, 0, Kind::Null),
            b'-' | b'0'..=b'9' => (integer_end(self.bytes, at).or_else(|| number_end(self.bytes, at))?, 0, Kind::Number),
            b't' => (self.word(at, b"true")?, 0, Kind::True),
            b'f' => (self.word(at, b"false")?, 0, Kind::False),
            b'{' | b'[' => {
                let (end, quotes) = nested_end(self, at)?;
                (end, quotes, Kind::Nested)
            }
            _ => return None,
        };
        Some(Ends { at: end, quotes, kind, is_news: false })
    }

    /// The place of the quote that ends a string.
    #[inline]
    pub(super) fn string_end(self, from: usize) -> Option<usize> {
        let end = self.look.quote(from)?;
        if self.look.has_escape {
            escapes_are_known(self.bytes.get(from..end)?)?;
        }
        Some(end)
    }

    /// Whether there is an escape in this part of the line.
    #[inline]
    fn has_escape(self, part: &[u8]) -> bool {
        self.look.has_escape && part.contains(&b'\\')
    }

    #[inline]
    fn word<const L: usize>(self, at: usize, word: &[u8; L]) -> Option<usize> {
        (self.bytes.get(at..)?.first_chunk::<L>()? == word).then_some(at + L)
    }

    /// Notes where a wanted value lies; `None` where it was there already.
    #[inline]
    fn keep<const N: usize>(self, slot: usize, at: usize, end: Ends, out: &mut Spans<N>) -> Option<()> {
        let (from, to, kind) = match end.kind {
            Kind::Text => {
                let (from, to) = (at + 1, end.at - 1);
                if self.look.has_escape && self.has_escape(self.bytes.get(from..to)?) {
                    decode(std::str::from_utf8(self.bytes.get(from..to)?).ok()?)?;
                    (from, to, Kind::Escaped)
                } else {
                    (from, to, Kind::Text)
                }
            }
            kind => (at, end.at, kind),
        };
        out.put(slot, from, to, kind)
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
