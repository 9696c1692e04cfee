//! Numbers of few bits: the mix of runs and packed groups in which levels and indexes are stored, and the differences of whole numbers.
//!
//! Each gives one number after another and holds none but the last. The bytes are those of a page, lent anew for each number.
//!
//! INVARIANT: whatever the bytes are, a number comes, or the end, in time that does not depend on what they declare.

use std::ops::Range;

/// A mix of runs of one number and of packed numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Hybrid {
    /// What of the page was not read yet.
    rest: Range<usize>,
    width: u32,
    run: Run,
}

#[derive(Clone, Debug, Default)]
enum Run {
    #[default]
    None,
    Same {
        value: u32,
        left: u64,
    },
    Packed {
        /// The bit of the page at which the next number begins.
        bit: usize,
        left: u64,
    },
}

impl Hybrid {
    /// Numbers of so many bits, 32 at most, in this range of a page.
    pub(super) const fn new(bytes: Range<usize>, width: u32) -> Self {
        Self { rest: bytes, width: if width > 32 { 32 } else { width }, run: Run::None }
    }

    /// The next number.
    #[inline]
    pub(super) fn next(&mut self, page: &[u8]) -> Option<u32> {
        loop {
            match &mut self.run {
                Run::Same { value, left } if *left > 0 => {
                    *left -= 1;
                    return Some(*value);
                }
                Run::Packed { bit, left } if *left > 0 => {
                    *left -= 1;
                    let value = unpack(page, *bit, self.width);
                    *bit += self.width as usize;
                    // No more bits than 32 were asked for.
                    return u32::try_from(value).ok();
                }
                _ => self.run = self.read_run(page)?,
            }
        }
    }

    #[cold]
    fn read_run(&mut self, page: &[u8]) -> Option<Run> {
        let head = varint(page, &mut self.rest)?;
        if head & 1 == 0 {
            let bytes = self.width.div_ceil(8) as usize;
            let value = take(page, &mut self.rest, bytes)?.iter().rev().fold(0_u32, |n, b| n << 8 | u32::from(*b));
            return (head > 0).then_some(Run::Same { value, left: head >> 1 });
        }
        let groups = head >> 1;
        let bytes = usize::try_from(groups).ok()?.checked_mul(self.width as usize)?;
        let bit = self.rest.start * 8;
        // The last group may be cut short where the page ends; numbers are read of what is there.
        let held = bytes.min(self.rest.len());
        let left = if self.width == 0 { groups.checked_mul(8)? } else { (held * 8 / self.width as usize) as u64 };
        self.rest.start += held;
        (left > 0).then_some(Run::Packed { bit, left })
    }
}

/// Some bits of a page, from a bit on: 64 at most.
#[inline]
fn unpack(page: &[u8], bit: usize, width: u32) -> u64 {
    if width == 0 {
        return 0;
    }
    let from = page.get(bit / 8..).unwrap_or_default();
    let shift = (bit % 8) as u32;
    let (low, high) = match from.first_chunk::<8>() {
        Some(chunk) => (u64::from_le_bytes(*chunk), from.get(8).copied().unwrap_or(0)),
        None => (from.iter().rev().fold(0_u64, |n, b| n << 8 | u64::from(*b)), 0),
    };
    let word = low >> shift | if shift == 0 { 0 } else { u64::from(high) << (64 - shift) };
    word & (u64::MAX >> (64 - width.min(64)))
}

fn take<'p>(page: &'p [u8], rest: &mut Range<usize>, length: usize) -> Option<&'p [u8]> {
    let end = rest.start.checked_add(length).filter(|end| *end <= rest.end)?;
    let out = page.get(rest.start..end)?;
    rest.start = end;
    Some(out)
}

fn varint(page: &[u8], rest: &mut Range<usize>) -> Option<u64> {
    let mut out = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = *take(page, rest, 1)?.first()?;
        out |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(out);
        }
    }
    None
}

fn zigzag(page: &[u8], rest: &mut Range<usize>) -> Option<i64> {
    let n = varint(page, rest)?;
    Some((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
}

/// Whole numbers as differences: blocks of small ones, each with its width.
#[derive(Clone, Debug)]
pub(super) struct Delta {
    rest: Range<usize>,
    /// Numbers still to come.
    left: u64,
    /// The next number.
    value: i64,
    /// How many a part of a block has.
    part: usize,
    parts: usize,
    least: i64,
    widths: Range<usize>,
    /// Where the numbers of the part under way are, and how many of them are left.
    bit: usize,
    width: u32,
    in_part: usize,
}

impl Delta {
    /// The numbers that begin here; `None` where their head is none.
    pub(super) fn new(page: &[u8], bytes: Range<usize>) -> Option<Self> {
        let mut rest = bytes;
        let block = usize::try_from(varint(page, &mut rest)?).ok()?;
        let parts = usize::try_from(varint(page, &mut rest)?).ok()?;
        let left = varint(page, &mut rest)?;
        let value = zigzag(page, &mut rest)?;
        let part = block.checked_div(parts)?;
        let is_sound = part > 0 && part % 8 == 0 && part * parts == block && block <= BLOCK_MAX;
        is_sound.then_some(Self { rest, left, value, part, parts, least: 0, widths: 0..0, bit: 0, width: 0, in_part: 0 })
    }

    /// How many numbers are still to come.
    pub(super) const fn left(&self) -> u64 {
        self.left
    }

    /// The next number; `None` at the end, or where the bytes are too few.
    pub(super) fn next(&mut self, page: &[u8]) -> Option<i64> {
        self.left = self.left.checked_sub(1)?;
        let out = self.value;
        if self.left > 0 {
            if self.in_part == 0 {
                self.next_part(page)?;
            }
            self.in_part -= 1;
            let difference = unpack(page, self.bit, self.width).cast_signed();
            self.bit += self.width as usize;
            self.value = self.value.wrapping_add(self.least).wrapping_add(difference);
        }
        Some(out)
    }

    fn next_part(&mut self, page: &[u8]) -> Option<()> {
        if self.widths.is_empty() {
            self.least = zigzag(page, &mut self.rest)?;
            let from = self.rest.start;
            take(page, &mut self.rest, self.parts)?;
            self.widths = from..self.rest.start;
        }
        self.width = u32::from(*page.get(self.widths.start)?);
        self.widths.start += 1;
        let bytes = self.part / 8 * self.width as usize;
        if self.width > 64 {
            return None;
        }
        self.bit = self.rest.start * 8;
        // Some writers cut the last part short.
        let held = bytes.min(self.rest.len());
        let numbers = if self.width == 0 { self.part } else { held * 8 / self.width as usize };
        self.rest.start += held;
        self.in_part = numbers.min(self.part);
        (self.in_part > 0).then_some(())
    }

    /// Where the bytes behind the numbers begin, once all were read.
    pub(super) const fn behind(&self) -> usize {
        self.rest.start
    }
}

/// Writers make blocks of 128.
const BLOCK_MAX: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_groups_of_every_width() {
        // Eight numbers packed, then five of one kind.
        for width in 0..=32_u32 {
            let mask = (1_u64 << width) - 1;
            let numbers: Vec<u64> = (0..8_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) & mask).collect();
            let mut bits = vec![0_u8; width as usize];
            for (n, number) in numbers.iter().enumerate() {
                for bit in 0..width as usize {
                    let at = n * width as usize + bit;
                    bits[at / 8] |= u8::from(number >> bit & 1 == 1) << (at % 8);
                }
            }
            let same = mask & 0x1234_5678;
            let mut page = vec![0xee, 3];
            page.extend(bits);
            page.push(10);
            page.extend(&same.to_le_bytes()[..width.div_ceil(8) as usize]);
            let mut hybrid = Hybrid::new(1..page.len(), width);
            let want: Vec<u64> = numbers.iter().copied().chain([same; 5]).collect();
            let got: Vec<u64> = std::iter::from_fn(|| hybrid.next(&page).map(u64::from)).collect();
            assert_eq!(got, want, "{width}");
        }
    }

    #[test]
    fn differences_are_added_up() {
        // Block of 128 in 4 parts, 5 numbers from 7 on; differences 1, -2, 100, 0: the least is -2, the others 3, 0, 102, 2 of 7 bits.
        let mut page = vec![0x80, 1, 4, 5, 14, 3, 7, 0, 0, 0];
        let packed: u128 = 3 | 102 << 14 | 2 << 21;
        page.extend(&packed.to_le_bytes()[..4]);
        page.extend([0; 24]);
        page.extend(b"behind");
        let mut delta = Delta::new(&page, 0..page.len()).unwrap();
        let got: Vec<i64> = std::iter::from_fn(|| delta.next(&page)).collect();
        assert_eq!((got.as_slice(), &page[delta.behind()..]), (&[7, 8, 6, 106, 106][..], &b"behind"[..]));
    }

    #[test]
    fn no_bytes_make_them_run_away() {
        let mut state = 7_u64;
        for round in 0..20_000 {
            let page: Vec<u8> = (0..round % 40)
                .map(|_| {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (state >> 56) as u8
                })
                .collect();
            for width in [0, 1, 7, 31, 32, 200] {
                let mut hybrid = Hybrid::new(0..page.len(), width);
                for _ in 0..1000 {
                    let _ = hybrid.next(&page);
                }
            }
            if let Some(mut delta) = Delta::new(&page, 0..page.len()) {
                for _ in 0..1000 {
                    let _ = delta.next(&page);
                }
            }
        }
    }
}
