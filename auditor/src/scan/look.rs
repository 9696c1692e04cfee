//! One look over a line: where its quotes are, and what else is in it. This is where vectors pay.

use wide::u8x16;

use crate::pan::{Runs, near_digits};

/// The quotes of a line, a bit for each byte, and the kinds of odd bytes it has.
#[derive(Debug, Default)]
pub(super) struct Look {
    masks: Vec<u64>,
    /// Quotes.
    pub(super) count: usize,
    /// There are bytes below a space.
    pub(super) has_control: bool,
    /// There are backslashes.
    pub(super) has_escape: bool,
    /// There is no byte beyond ASCII.
    pub(super) is_ascii: bool,
    /// There may be a run of bytes that is long enough to be a card number.
    pub(super) has_run: bool,
}

impl Look {
    /// Looks a line over. Quotes behind an odd number of backslashes are left out: they end no string.
    pub(super) fn over(&mut self, bytes: &[u8]) {
        let mut odd = Odd::default();
        let mut runs = Runs::default();
        self.masks.clear();
        let (words, rest) = bytes.as_chunks::<64>();
        self.masks.extend(words.iter().map(|word| {
            runs.add(near_digits(word));
            odd.word(word)
        }));
        if !rest.is_empty() {
            let (mask, near) = match bytes.last_chunk::<64>() {
                // What was looked at already is shifted out.
                Some(last) => (odd.word(last) >> (64 - rest.len()), near_digits(last) >> (64 - rest.len())),
                None => {
                    // Spaces are nothing odd.
                    let mut word = [b' '; 64];
                    word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                    (odd.word(&word), near_digits(&word))
                }
            };
            runs.add(near);
            self.masks.push(mask);
        }
        self.has_control = odd.least.simd_ne(u8x16::splat(b' ')).any();
        self.has_escape = odd.escape.any();
        self.is_ascii = odd.union.to_bitmask() == 0;
        self.has_run = runs.found();
        if self.has_escape {
            self.drop_escaped(bytes);
        }
        self.count = self.masks.iter().map(|mask| mask.count_ones() as usize).sum();
    }

    /// The first quote at or behind a place.
    #[inline]
    pub(super) fn quote(&self, at: usize) -> Option<usize> {
        let mut word = at / 64;
        let mut mask = self.masks.get(word)? >> (at % 64) << (at % 64);
        while mask == 0 {
            word += 1;
            mask = *self.masks.get(word)?;
        }
        Some(word * 64 + mask.trailing_zeros() as usize)
    }

    fn drop_escaped(&mut self, bytes: &[u8]) {
        let mut at = 0;
        while let Some(more) = bytes.get(at..).and_then(|rest| memchr::memchr(b'\\', rest)) {
            at += more + 2;
            let escaped = at - 1;
            if let Some(mask) = self.masks.get_mut(escaped / 64) {
                *mask &= !(1 << (escaped % 64));
            }
        }
    }
}

struct Odd {
    /// The least byte seen in each lane, or a space.
    least: u8x16,
    escape: u8x16,
    /// All bits seen in each lane.
    union: u8x16,
}

impl Default for Odd {
    fn default() -> Self {
        Self { least: u8x16::splat(b' '), escape: u8x16::ZERO, union: u8x16::ZERO }
    }
}

impl Odd {
    /// The quotes of some bytes.
    #[inline]
    fn word(&mut self, bytes: &[u8; 64]) -> u64 {
        let mut mask = 0;
        let (parts, _) = bytes.as_chunks::<16>();
        for (n, part) in parts.iter().enumerate() {
            let part = u8x16::new(*part);
            mask |= u64::from(part.simd_eq(u8x16::splat(b'"')).to_bitmask()) << (16 * n);
            self.least = self.least.min(part);
            self.escape |= part.simd_eq(u8x16::splat(b'\\'));
            self.union |= part;
        }
        mask
    }
}
