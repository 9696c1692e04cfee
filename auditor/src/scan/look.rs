//! One look over a line: where its quotes are, and what else is in it. This is where vectors pay.
//!
//! It is compiled for each kind of vectors that processors have, and the widest of this one is taken; what it finds is the same by all.

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x64};

use crate::pan::{Runs, near_digits};

/// The places of the quotes of a line, and the kinds of odd bytes it has.
#[derive(Clone, Debug)]
pub(super) struct Look {
    level: Level,
    /// Beyond `count` lies what was left by lines before.
    quotes: Vec<u32>,
    count: usize,
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
    /// One that has seen no line, with the widest vectors there are.
    pub(super) fn new() -> Self {
        Self::with(Level::new())
    }

    pub(super) const fn with(level: Level) -> Self {
        Self { level, quotes: Vec::new(), count: 0, has_control: false, has_escape: false, is_ascii: false, has_run: false }
    }

    /// The places of the quotes. Quotes behind an odd number of backslashes are left out: they end no string.
    pub(super) fn quotes(&self) -> &[u32] {
        self.quotes.get(..self.count).unwrap_or_default()
    }

    /// Looks a line over.
    pub(super) fn over(&mut self, bytes: &[u8]) {
        // Whole words are written, so there is room for more than a line may have.
        let room = bytes.len() + 2 * WORD;
        if self.quotes.len() < room {
            self.quotes.resize(room.next_multiple_of(ROOM), 0);
        }
        dispatch!(self.level, simd => self.over_with(simd, bytes));
        if self.has_escape {
            self.drop_escaped(bytes);
        }
    }

    #[inline(always)]
    fn over_with<S: Simd>(&mut self, simd: S, bytes: &[u8]) {
        let mut odd = Odd::new(simd);
        let mut runs = Runs::default();
        let mut count = 0;
        let mut base = 0_u32;
        let (words, rest) = bytes.as_chunks::<WORD>();
        for word in words {
            let (mask, near) = odd.word(word);
            runs.add(near);
            count = put(&mut self.quotes, count, base, mask);
            base = base.wrapping_add(WORD as u32);
        }
        if !rest.is_empty() {
            let (mask, near) = match bytes.last_chunk::<WORD>() {
                // What was looked at already is shifted out.
                Some(last) => {
                    let (mask, near) = odd.word(last);
                    (mask >> (WORD - rest.len()), near >> (WORD - rest.len()))
                }
                None => {
                    // Letters are nothing odd.
                    let mut word = [b'x'; WORD];
                    word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                    odd.word(&word)
                }
            };
            runs.add(near);
            count = put(&mut self.quotes, count, base, mask);
        }
        self.count = count;
        self.has_control = odd.least.simd_lt(u8x64::splat(simd, b' ')).any_true();
        self.has_escape = odd.escape.simd_eq(u8x64::splat(simd, 0)).any_true();
        self.is_ascii = odd.greatest.simd_lt(u8x64::splat(simd, 0x80)).all_true();
        self.has_run = runs.found();
    }

    fn drop_escaped(&mut self, bytes: &[u8]) {
        let is_escaped = |quote: &u32| {
            let before = bytes.get(..*quote as usize).unwrap_or_default();
            before.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1
        };
        let mut kept = 0;
        for n in 0..self.count {
            let Some(quote) = self.quotes.get(n).copied().filter(|quote| !is_escaped(quote)) else { continue };
            if let Some(place) = self.quotes.get_mut(kept) {
                *place = quote;
            }
            kept += 1;
        }
        self.count = kept;
    }
}

/// Writes the places of the bits of a word behind those that are there; gives how many there are now.
#[inline(always)]
fn put(quotes: &mut [u32], count: usize, base: u32, mask: u64) -> usize {
    let Some(out) = quotes.get_mut(count..).and_then(|rest| rest.first_chunk_mut::<WORD>()) else { return count };
    let mut left = mask;
    let mut place = |place: &mut u32| {
        *place = base.wrapping_add(left.trailing_zeros());
        left &= left.wrapping_sub(1);
    };
    let length = mask.count_ones() as usize;
    let (usual, more) = out.split_at_mut(MOSTLY);
    // As many for every word, so that nothing depends on their number.
    usual.iter_mut().for_each(&mut place);
    more.iter_mut().take(length.saturating_sub(MOSTLY)).for_each(place);
    count + length
}

/// Bytes that are looked at together.
const WORD: usize = 64;
/// So many quotes a word has at most, mostly.
const MOSTLY: usize = 8;
/// The room for quotes grows by so many.
const ROOM: usize = 1 << 12;

struct Odd<S: Simd> {
    simd: S,
    /// The least byte seen in each lane.
    least: u8x64<S>,
    /// Zero where there was a backslash in a lane.
    escape: u8x64<S>,
    /// The greatest byte seen in each lane.
    greatest: u8x64<S>,
}

impl<S: Simd> Odd<S> {
    #[inline(always)]
    fn new(simd: S) -> Self {
        Self { simd, least: u8x64::splat(simd, 0xff), escape: u8x64::splat(simd, 0xff), greatest: u8x64::splat(simd, 0) }
    }

    /// A bit for each quote, and one for each byte between the space and the digits.
    #[inline(always)]
    fn word(&mut self, bytes: &[u8; WORD]) -> (u64, u64) {
        let splat = |byte| u8x64::splat(self.simd, byte);
        let word = u8x64::from_slice(self.simd, bytes);
        self.least = self.least.min(word);
        self.greatest = self.greatest.max(word);
        self.escape = self.escape.min(word ^ splat(b'\\'));
        let quotes = word.simd_eq(splat(b'"'));
        (quotes.to_bitmask(), near_digits(self.simd, word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that this processor has.
    fn levels() -> Vec<Level> {
        let widest = Level::new();
        let more = [widest.as_sse4_2().map(|simd| simd.level()), widest.as_avx2().map(|simd| simd.level())];
        [Level::baseline(), widest].into_iter().chain(more.into_iter().flatten()).collect()
    }

    /// Byte by byte.
    fn plainly(bytes: &[u8]) -> (Vec<u32>, [bool; 4]) {
        let is_escaped = |at: usize| bytes[..at].iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 1;
        let quotes = (0..bytes.len()).filter(|at| bytes[*at] == b'"' && !is_escaped(*at)).map(|at| u32::try_from(at).unwrap());
        let near = bytes.iter().map(|byte| (b' '..=b'9').contains(byte)).collect::<Vec<_>>();
        let has = |what: fn(&u8) -> bool| bytes.iter().any(what);
        let run = near.windows(13).any(|window| window.iter().all(|near| *near));
        (quotes.collect(), [has(|b| *b < b' '), has(|b| *b == b'\\'), !has(|b| *b >= 0x80), run])
    }

    #[test]
    fn vectors_of_every_width_find_what_is_there() {
        let mut state = 0x5eed_0021_u64;
        let mut below = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap() % n
        };
        let mut looks: Vec<Look> = levels().into_iter().map(Look::with).collect();
        let plain = b"aZ:{}\x7f";
        let odd = b"\"\"\"\\\\09 /-\x1f\x00\t\x80\xff";
        for round in 0..6_000 {
            // One kind of odd byte alone, or several; few of them, or many.
            let kinds = below(odd.len());
            let often = 1 + below(40);
            let bytes: Vec<u8> = (0..below(300))
                .map(|_| match below(often) {
                    0 => odd[(kinds + below(1 + round % 3)) % odd.len()],
                    _ => plain[below(plain.len())],
                })
                .collect();
            let want = plainly(&bytes);
            for look in &mut looks {
                look.over(&bytes);
                let found = (look.quotes().to_vec(), [look.has_control, look.has_escape, look.is_ascii, look.has_run]);
                assert_eq!(found, want, "{:?}: {}", look.level, bytes.escape_ascii());
            }
        }
    }
}
