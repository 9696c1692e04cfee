//! The value of a wanted key, borrowed from its line.

use std::borrow::Cow;

/// What stands behind a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Value<'l> {
    /// The line does not have the key.
    #[default]
    Absent,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(&'l str),
    /// A string without escapes.
    Text(&'l str),
    /// A string with escapes, as written between its quotes; it is known to decode.
    Escaped(&'l str),
    /// An object or an array, as written.
    Nested(&'l str),
}

impl<'l> Value<'l> {
    /// The text of a string; `None` for whatever is no string.
    #[must_use]
    pub fn text(self) -> Option<Cow<'l, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Escaped(raw) => decode(raw).map(Cow::Owned),
            _ => None,
        }
    }

    /// The text of a string or the digits of a number: some formats quote their numbers.
    #[must_use]
    pub fn scalar(self) -> Option<Cow<'l, str>> {
        match self {
            Self::Number(digits) => Some(Cow::Borrowed(digits)),
            other => other.text(),
        }
    }

    /// The bytes that tell this value from another of its kind; nothing where there is none.
    #[must_use]
    pub fn raw(self) -> &'l str {
        match self {
            Self::Absent | Self::Null => "",
            Self::Bool(true) => "true",
            Self::Bool(false) => "false",
            Self::Number(text) | Self::Text(text) | Self::Escaped(text) | Self::Nested(text) => text,
        }
    }

    /// Whether it is absent or `null`.
    #[must_use]
    pub const fn is_none(self) -> bool {
        matches!(self, Self::Absent | Self::Null)
    }
}

/// What kind of value it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Null,
    True,
    False,
    Number,
    Text,
    Escaped,
    Nested,
}

/// Where the wanted values of a line lie.
#[derive(Clone, Debug)]
pub(crate) struct Spans<const N: usize> {
    spans: [Span; N],
    /// A bit for each that is there. What was found in lines before is left standing where it was.
    present: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Span {
    from: u32,
    to: u32,
    kind: Kind,
}

impl<const N: usize> Spans<N> {
    pub(super) fn new() -> Self {
        const { assert!(N <= u64::BITS as usize) }
        Self { spans: [Span::default(); N], present: 0 }
    }

    #[inline]
    pub(super) const fn clear(&mut self) {
        self.present = 0;
    }

    /// Notes a value; `None` where it was there already.
    #[inline]
    pub(super) fn put(&mut self, slot: usize, from: usize, to: usize, kind: Kind) -> Option<()> {
        let place = self.spans.get_mut(slot)?;
        *place = Span { from: u32::try_from(from).ok()?, to: u32::try_from(to).ok()?, kind };
        let bit = 1_u64.wrapping_shl(slot as u32);
        let is_new = self.present & bit == 0;
        self.present |= bit;
        is_new.then_some(())
    }

    #[inline]
    fn get(&self, slot: usize) -> Option<&Span> {
        let is_present = slot < N && self.present >> slot & 1 == 1;
        self.spans.get(slot).filter(|_| is_present)
    }
}

/// The wanted values of a line, found in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'s, 'l, const N: usize> {
    pub(super) line: &'l [u8],
    pub(super) spans: &'s Spans<N>,
}

impl<'l, const N: usize> Found<'_, 'l, N> {
    /// A bit for each value that is there.
    pub(crate) const fn present(self) -> u64 {
        self.spans.present
    }

    /// What kind of value stands there, and its bytes: as written, of strings what is between the quotes.
    #[inline]
    pub(crate) fn raw(self, slot: usize) -> Option<(Kind, &'l [u8])> {
        let span = self.spans.get(slot)?;
        Some((span.kind, self.line.get(span.from as usize..span.to as usize)?))
    }

    /// The same, with the line from the value on and how many bytes of it are the value's.
    #[inline(always)]
    pub(crate) fn rest(self, slot: usize) -> Option<(Kind, &'l [u8], usize)> {
        let span = self.spans.get(slot)?;
        Some((span.kind, self.line.get(span.from as usize..)?, span.to.wrapping_sub(span.from) as usize))
    }

    /// The bytes of a string without escapes.
    #[inline]
    pub(crate) fn text(self, slot: usize) -> Option<&'l [u8]> {
        self.raw(slot).filter(|(kind, _)| *kind == Kind::Text).map(|(_, bytes)| bytes)
    }

    /// The value.
    pub(super) fn value(self, slot: usize) -> Value<'l> {
        let Some((kind, bytes)) = self.raw(slot) else { return Value::Absent };
        // The line is UTF-8, and a value ends where a character does.
        let text = std::str::from_utf8(bytes).unwrap_or_default();
        match kind {
            Kind::Null => Value::Null,
            Kind::True => Value::Bool(true),
            Kind::False => Value::Bool(false),
            Kind::Number => Value::Number(text),
            Kind::Text => Value::Text(text),
            Kind::Escaped => Value::Escaped(text),
            Kind::Nested => Value::Nested(text),
        }
    }
}

/// What a string with escapes says; `None` where an escape stands for no character.
pub(super) fn decode(raw: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{raw}\"")).ok()
}
