//! A scanner for lines of JSON objects of which a few top-level keys are wanted.
//!
//! It learns the shape of the lines as it goes: which key follows which. On every line the bytes of the predicted key are compared
//! in place, and only where they differ is the key read and looked up, so that lines of one shape, of several shapes mixed, with keys
//! left out or in random order are all read in one pass. Nothing is believed unseen: every byte is looked at, for control bytes,
//! escapes, UTF-8, the grammar of numbers and words, and the end of every string.
//!
//! Whatever surprises it goes to `general`, which is `serde_json`. The scanner never refuses a line itself and never accepts one
//! that `general` refuses; a test and a fuzz target hold the two against each other.
//!
//! INVARIANT: what a line gives depends on the line alone, never on the lines before it.

mod general;
mod keys;
mod look;
mod nested;
mod value;
mod walk;

#[cfg(test)]
mod tests;

pub use general::general;
pub use value::Value;
pub(crate) use value::{Found, Kind};

use keys::Keys;
use look::Look;
use value::Spans;
use walk::Walk;

/// Reads lines, wanting `N` keys.
#[derive(Clone, Debug)]
pub struct Scanner<const N: usize> {
    wanted: [&'static str; N],
    keys: Keys,
    look: Look,
    spans: Spans<N>,
    lines: u64,
    general: u64,
}

impl<const N: usize> Scanner<N> {
    /// A scanner that has seen no line yet.
    #[must_use]
    pub fn new(wanted: [&'static str; N]) -> Self {
        Self { wanted, keys: Keys::new(&wanted), look: Look::new(), spans: Spans::new(), lines: 0, general: 0 }
    }

    /// The wanted values of a line, in the order of the wanted keys.
    ///
    /// # Errors
    /// The line is not UTF-8, not one JSON object, or has a wanted key twice; the text says which, unbounded and unescaped.
    pub fn scan<'l>(&mut self, line: &'l [u8]) -> Result<[Value<'l>; N], String> {
        let wanted = self.wanted;
        if let Some(found) = self.glance(line) {
            return Ok(std::array::from_fn(|slot| found.value(slot)));
        }
        self.general += 1;
        let text = std::str::from_utf8(line).map_err(|e| format!("not UTF-8 at byte {}", e.valid_up_to() + 1))?;
        general(text, &wanted)
    }

    /// Where the wanted values of a line lie; `None` where there is something that only the general parser can tell.
    #[inline]
    pub(crate) fn glance<'l>(&mut self, line: &'l [u8]) -> Option<Found<'_, 'l, N>> {
        self.lines += 1;
        self.look.over(line);
        if !self.look.is_ascii {
            std::str::from_utf8(line).ok()?;
        }
        Walk::over(line, &self.look)?.run(&mut self.keys, self.lines, &mut self.spans)?;
        Some(self.found(line))
    }

    /// The same of the line that was glanced at last, where something was found.
    pub(crate) const fn found<'l>(&self, line: &'l [u8]) -> Found<'_, 'l, N> {
        Found { line, spans: &self.spans }
    }

    /// Whether the line looked at last may have a run of bytes long enough to be a card number.
    pub(crate) const fn has_run(&self) -> bool {
        self.look.has_run
    }

    /// Lines scanned, and how many of them the general parser had to read.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        (self.lines, self.general)
    }
}
