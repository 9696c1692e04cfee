//! One look over a line: where its quotes are, and what else is in it. This is where vectors pay.

use wide::u8x16;

/// The quotes of a line, a bit for each byte, and the kinds of odd bytes it has.
#[derive(Debug, Default)]
pub(super) struct Quotes {
    masks: Vec<u64>,
    /// How many there are.
    pub(super) count: usize,
    /// There are bytes below a space.
    pub(super) has_control: bool,
    /// There are backslashes.
    pub(super) has_escape: bool,
}

impl Quotes {
    /// Looks a line over. Quotes behind an odd number of backslashes are left out: they end no string.
    pub(super) fn of(&mut self, bytes: &[u8]) {
        self.masks.clear();
        let mut odd = Odd { least: u8x16::splat(b' '), escape: u8x16::ZERO };
        let (words, rest) = bytes.as_chunks::<64>();
        for word in words {
            self.masks.push(odd.word(word));
        }
        if !rest.is_empty() {
            // Spaces are nothing odd.
            let mut word = [b' '; 64];
            for (to, from) in word.iter_mut().zip(rest) {
                *to = *from;
            }
            self.masks.push(odd.word(&word));
        }
        self.has_control = odd.least.simd_ne(u8x16::splat(b' ')).any();
        self.has_escape = odd.escape.any();
        if self.has_escape {
            self.drop_escaped(bytes);
        }
        self.count = self.masks.iter().map(|mask| mask.count_ones() as usize).sum();
    }

    /// The first quote at or behind a place.
    #[inline]
    pub(super) fn from(&self, at: usize) -> Option<usize> {
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
}

impl Odd {
    #[inline]
    fn word(&mut self, bytes: &[u8; 64]) -> u64 {
        let mut mask = 0;
        let (parts, _) = bytes.as_chunks::<16>();
        for (n, part) in parts.iter().enumerate() {
            let part = u8x16::new(*part);
            mask |= u64::from(part.simd_eq(u8x16::splat(b'"')).to_bitmask()) << (16 * n);
            self.least = self.least.min(part);
            self.escape |= part.simd_eq(u8x16::splat(b'\\'));
        }
        mask
    }
}
