//! The deciding bytes of a line, in three parts, as values one behind another; see `quick`.
//!
//! INVARIANT: two lines have the same parts only where they have the same values: no value holds what stands between values, for the
//! scanner takes no control bytes.

use std::hash::BuildHasher as _;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;

/// The deciding bytes of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deciding {
    parts: [Values; 3],
    hash: u64,
}

/// Which of the three parts a value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// What was called, over what, and what the mesh says it did.
    Place,
    /// Who called.
    Caller,
    /// The method and the path.
    Ask,
}

impl Deciding {
    /// Begins anew, for a line of so many bytes.
    #[inline]
    pub(super) fn begin(&mut self, bytes: usize) {
        self.parts.iter_mut().for_each(|values| values.begin(bytes));
    }

    /// Everything was written.
    #[inline]
    pub(super) fn end(&mut self) {
        self.hash = hash(self.parts());
    }

    /// The hash of the parts, the same as that of [`hash`].
    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }

    #[inline(always)]
    pub(super) fn part(&mut self, part: Part) -> &mut Values {
        let [place, caller, ask] = &mut self.parts;
        match part {
            Part::Place => place,
            Part::Caller => caller,
            Part::Ask => ask,
        }
    }

    /// The bytes of the parts, in their order.
    #[inline]
    pub(super) fn parts(&self) -> [&[u8]; 3] {
        self.parts.each_ref().map(Values::bytes)
    }

    #[cfg(test)]
    pub(super) fn of(parts: [&str; 3]) -> Self {
        let parts = parts.map(|part| Values { bytes: part.into(), length: part.len() });
        let mut deciding = Self { parts, hash: 0 };
        deciding.end();
        deciding
    }
}

/// Of each part by itself, so that they are hashed beside one another. It differs from process to process, as nobody may foresee it.
#[inline]
pub(super) fn hash(parts: [&[u8]; 3]) -> u64 {
    let hasher = SeedableRandomState::with_seed(0, SharedSeed::global_random());
    let [place, caller, ask] = parts.map(|part| hasher.hash_one(part));
    hasher.hash_one([place, caller, ask])
}

/// Values one behind another. There is room behind them, so that short ones are written as words of one length.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    bytes: Vec<u8>,
    length: usize,
}

impl PartialEq for Values {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Values {}

impl Values {
    #[inline]
    fn begin(&mut self, bytes: usize) {
        self.length = 0;
        let room = bytes + ROOM;
        if self.bytes.len() < room {
            self.bytes.resize(room.next_power_of_two(), 0);
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Writes which keys a line has.
    #[inline(always)]
    pub(super) fn keys(&mut self, present: u64) -> Option<()> {
        *self.bytes.get_mut(self.length..)?.first_chunk_mut()? = present.to_ne_bytes();
        self.length = self.length.wrapping_add(8);
        Some(())
    }

    /// Writes a sign that says all.
    #[inline(always)]
    pub(super) fn sign(&mut self, sign: u8) -> Option<()> {
        *self.bytes.get_mut(self.length)? = sign;
        self.length = self.length.wrapping_add(1);
        Some(())
    }

    /// Writes a sign, the first bytes of a line from a value on, so many as count of it, and the end. `None` where there is no room.
    #[inline(always)]
    pub(super) fn write(&mut self, sign: u8, rest: &[u8], length: usize) -> Option<()> {
        let (first, out) = self.bytes.get_mut(self.length..)?.split_first_mut()?;
        *first = sign;
        match (rest.first_chunk::<WORD>(), out.first_chunk_mut::<WORD>()) {
            // What is beyond the value is written over by the next.
            (Some(from), Some(to)) if length <= WORD => *to = *from,
            _ => out.get_mut(..length)?.copy_from_slice(rest.get(..length)?),
        }
        *out.get_mut(length)? = END;
        self.length = self.length.wrapping_add(length.wrapping_add(2));
        Some(())
    }
}

/// Values up to this length are copied as if they had it.
const WORD: usize = 32;
/// Beside the values: which keys there are, a sign and an end for each of 64 at most, and a word.
const ROOM: usize = 256;
/// Stands behind each value.
const END: u8 = 0x1f;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_any_length_are_whole_wherever_they_stand() {
        let line: Vec<u8> = (0..100).map(|n| b' ' + n % 90).collect();
        let mut values = Values::default();
        for from in 0..=line.len() {
            for length in 0..=line.len() - from {
                values.begin(line.len());
                values.sign(b'a').unwrap();
                values.write(b'b', &line[from..], length).unwrap();
                values.write(b'c', &line[..1], 1).unwrap();
                let want = [b"ab", &line[from..from + length], &[END, b'c', line[0], END]].concat();
                assert_eq!(values.bytes(), want, "{from} {length}");
            }
        }
        assert_eq!(values.write(b'd', b"short", 6), None);
    }

    #[test]
    fn there_is_room_for_every_line() {
        for bytes in [0, 1, 255, 256, 10_000] {
            let mut values = Values::default();
            values.begin(bytes);
            values.keys(u64::MAX).unwrap();
            for _ in 0..63 {
                values.write(b's', b"", 0).unwrap();
            }
            values.write(b's', &vec![b'x'; bytes], bytes).unwrap();
        }
    }
}
