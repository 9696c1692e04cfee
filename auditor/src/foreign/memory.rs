//! What was answered before: by the deciding bytes of lines (see `quick`), and by questions.
//!
//! It only saves work: it may forget at any time, and does when it has grown to its bound.

use std::collections::HashMap;
use std::hash::BuildHasher as _;
use std::hint::black_box;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::deciding::{self, Deciding};
use crate::limits::{QUESTIONS_MAX, REMEMBERED_BYTES_MAX};

/// Numbers by all that tells a question from others.
#[derive(Debug, Default)]
pub(super) struct Asked {
    numbers: HashMap<Box<[u8]>, u32, RandomState>,
    bytes: usize,
}

impl Asked {
    pub(super) fn get(&self, question: &[u8]) -> Option<u32> {
        self.numbers.get(question).copied()
    }

    pub(super) fn put(&mut self, question: &[u8], number: u32) {
        if self.numbers.len() >= QUESTIONS_MAX || self.bytes >= REMEMBERED_BYTES_MAX {
            *self = Self::default();
        }
        self.bytes += question.len();
        self.numbers.insert(question.into(), number);
    }
}

/// What is known of requests that were asked about.
///
/// An answer is found by all parts of a question at once, and stands beside the places of their texts: a log in which questions come in no
/// order needs few of the processor's lines of memory that way.
#[derive(Debug)]
pub(super) struct Memory<A> {
    texts: Texts,
    numbers: HashTable<u32>,
    known: Vec<Known<A>>,
    bytes: usize,
}

/// A question and its answer, in one line of the processor's memory where the answer is short.
#[derive(Debug)]
#[repr(align(64))]
struct Known<A> {
    answer: A,
    /// Half of its hash.
    hash: u32,
    /// The number of the bundle that answers.
    bundle: u32,
    parts: [Text; 3],
}

/// Where a text stands among all.
#[derive(Clone, Copy, Debug)]
struct Text {
    from: u32,
    length: u32,
}

/// Texts one behind another, each once.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    by_text: HashTable<Text>,
    hasher: RandomState,
}

impl<A> Memory<A> {
    pub(super) fn new() -> Self {
        Self { texts: Texts::default(), numbers: HashTable::new(), known: Vec::new(), bytes: 0 }
    }

    /// The answer to a question that was asked before.
    #[inline]
    pub(super) fn get(&mut self, bundle: u32, deciding: Deciding<'_>) -> Option<&mut A> {
        let Deciding { parts, hash } = deciding;
        let hash = hash_of(bundle, hash);
        let is_it = |number: &u32| {
            let Some(known) = self.known.get(*number as usize) else { return false };
            let may_be = (known.hash, known.bundle) == (half(hash), bundle);
            may_be && known.parts.iter().zip(parts).rev().all(|(part, text)| self.texts.is(*part, text))
        };
        let number = *self.numbers.find(hash, is_it)?;
        self.known.get_mut(number as usize).map(|known| &mut known.answer)
    }

    /// Fetches what [`Memory::get`] will look at, and gives what is probably the answer. Nothing may rest on it.
    ///
    /// The places are far from each other and were seldom touched of late. Whoever fetches those of several questions one right behind the
    /// other waits for all of them as long as for one.
    #[inline]
    pub(super) fn fetch(&self, bundle: u32, parts: u64) -> Option<&A> {
        let hash = hash_of(bundle, parts);
        let number = self.numbers.find(hash, |number| self.known.get(*number as usize).is_some_and(|known| known.hash == half(hash)))?;
        let known = self.known.get(*number as usize)?;
        let [.., ask] = known.parts;
        black_box(self.texts.bytes.get(ask.from as usize));
        Some(&known.answer)
    }

    /// Remembers an answer.
    pub(super) fn put(&mut self, bundle: u32, deciding: Deciding<'_>, answer: A) {
        if self.known.len() >= QUESTIONS_MAX || self.bytes >= REMEMBERED_BYTES_MAX {
            self.forget();
        }
        if let Some(known) = self.get(bundle, deciding) {
            *known = answer;
            return;
        }
        let before = self.texts.bytes.len();
        let [Some(place), Some(caller), Some(ask)] = deciding.parts.map(|text| self.texts.put(text)) else { return };
        let Ok(number) = u32::try_from(self.known.len()) else { return };
        self.bytes += size_of::<Known<A>>() + size_of::<Text>() + self.texts.bytes.len() - before;
        let hash = hash_of(bundle, deciding.hash);
        self.known.push(Known { answer, hash: half(hash), bundle, parts: [place, caller, ask] });
        let Self { texts, numbers, known, .. } = self;
        let again = |number: &u32| {
            let known = known.get(*number as usize);
            known.map_or(0, |known| hash_of(known.bundle, deciding::hash(known.parts.map(|part| texts.get(part)))))
        };
        numbers.insert_unique(hash, number, again);
    }

    /// Every answer.
    pub(super) fn answers(&mut self) -> impl Iterator<Item = &mut A> {
        self.known.iter_mut().map(|known| &mut known.answer)
    }

    pub(super) fn forget(&mut self) {
        *self = Self::new();
    }
}

/// The hash of a question.
#[inline]
fn hash_of(bundle: u32, parts: u64) -> u64 {
    parts ^ u64::from(bundle).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[inline]
const fn half(hash: u64) -> u32 {
    (hash >> 16) as u32
}

impl Texts {
    #[inline]
    fn get(&self, text: Text) -> &[u8] {
        let from = text.from as usize;
        self.bytes.get(from..from + text.length as usize).unwrap_or_default()
    }

    #[inline]
    fn is(&self, text: Text, other: &[u8]) -> bool {
        text.length as usize == other.len() && self.get(text) == other
    }

    /// The place of a text, which is kept if it is new.
    fn put(&mut self, text: &[u8]) -> Option<Text> {
        let hash = self.hasher.hash_one(text);
        if let Some(known) = self.by_text.find(hash, |known| self.is(*known, text)) {
            return Some(*known);
        }
        let new = Text { from: u32::try_from(self.bytes.len()).ok()?, length: u32::try_from(text.len()).ok()? };
        self.bytes.extend_from_slice(text);
        let Self { bytes, by_text, hasher } = self;
        let again = |text: &Text| {
            let from = text.from as usize;
            hasher.hash_one(bytes.get(from..from + text.length as usize).unwrap_or_default())
        };
        by_text.insert_unique(hash, new, again);
        Some(new)
    }
}

#[cfg(test)]
mod tests {
    use super::super::deciding::DecidingBytes;
    use super::*;

    fn deciding(place: &str, caller: &str, ask: &str) -> DecidingBytes {
        DecidingBytes::of([place, caller, ask])
    }

    #[test]
    fn every_part_of_the_question_counts() {
        let mut memory = Memory::new();
        let parts = ["", "a", "b", "a long one that does not stand in the place that short ones have"];
        let size = parts.len();
        let one = |n: usize| {
            (u32::try_from(n % 2).unwrap(), deciding(parts[n / 2 % size], parts[n / 2 / size % size], parts[n / 2 / size / size]))
        };
        let all = || (0..2 * size.pow(3)).map(one);
        for (n, (bundle, deciding)) in all().enumerate() {
            assert_eq!(memory.get(bundle, deciding.deciding()), None);
            memory.put(bundle, deciding.deciding(), n);
        }
        for (n, (bundle, deciding)) in all().enumerate() {
            assert_eq!(memory.get(bundle, deciding.deciding()), Some(&mut n.clone()));
        }
        assert_eq!(memory.answers().count(), 2 * parts.len().pow(3));
    }

    #[test]
    fn it_forgets_before_it_grows_without_end() {
        let mut memory = Memory::new();
        let long = "x".repeat(1 << 20);
        for n in 0..100 {
            let question = deciding("p", "c", &format!("{n}{long}"));
            memory.put(0, question.deciding(), n);
            assert!(memory.known.len() <= REMEMBERED_BYTES_MAX >> 20);
            assert_eq!(memory.get(0, question.deciding()), Some(&mut n.clone()));
        }
        let mut asked = Asked::default();
        for n in 0..100 {
            let question = format!("{n}{long}").into_bytes();
            asked.put(&question, n);
            assert!(asked.numbers.len() <= REMEMBERED_BYTES_MAX >> 20);
            assert_eq!(asked.get(&question), Some(n));
        }
    }
}
