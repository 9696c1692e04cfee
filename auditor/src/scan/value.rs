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

/// What a string with escapes says; `None` where an escape stands for no character.
pub(super) fn decode(raw: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{raw}\"")).ok()
}
