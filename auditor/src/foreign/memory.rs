//! What was answered before: by the deciding bytes of lines (see `quick`), and by questions in words.
//!
//! It only saves work: it may forget at any time, and does when it has grown to its bound.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::quick::Deciding;
use crate::limits::{QUESTIONS_MAX, REMEMBERED_BYTES_MAX};

/// Numbers by what was asked, in words.
#[derive(Debug, Default)]
pub(super) struct Asked {
    numbers: HashMap<String, u32, RandomState>,
    bytes: usize,
}

impl Asked {
    pub(super) fn get(&self, question: &str) -> Option<u32> {
        self.numbers.get(question).copied()
    }

    pub(super) fn put(&mut self, question: &str, number: u32) {
        if self.numbers.len() >= QUESTIONS_MAX || self.bytes >= REMEMBERED_BYTES_MAX {
            *self = Self::default();
        }
        self.bytes += question.len();
        self.numbers.insert(question.to_owned(), number);
    }
}

/// What is known of requests that were asked about.
#[derive(Debug)]
pub(super) struct Memory<A> {
    places: Numbered,
    callers: Numbered,
    asks: Numbered,
    answers: HashMap<Question, A, RandomState>,
    bytes: usize,
}

/// The number of the bundle that answers, and those of place, caller and what was asked for.
type Question = [u32; 4];

/// Texts by number.
#[derive(Debug, Default)]
struct Numbered(HashMap<Box<[u8]>, u32, RandomState>);

impl<A> Memory<A> {
    pub(super) fn new() -> Self {
        Self { places: Numbered::default(), callers: Numbered::default(), asks: Numbered::default(), answers: HashMap::default(), bytes: 0 }
    }

    /// The answer to a question that was asked before.
    #[inline]
    pub(super) fn get(&mut self, bundle: u32, deciding: &Deciding) -> Option<&mut A> {
        let (place, caller) = (self.places.get(&deciding.place)?, self.callers.get(&deciding.caller)?);
        self.answers.get_mut(&[bundle, place, caller, self.asks.get(&deciding.ask)?])
    }

    /// Remembers an answer.
    pub(super) fn put(&mut self, bundle: u32, deciding: &Deciding, answer: A) {
        if self.answers.len() >= QUESTIONS_MAX || self.bytes >= REMEMBERED_BYTES_MAX {
            self.forget();
        }
        let parts = [(&mut self.places, &deciding.place), (&mut self.callers, &deciding.caller), (&mut self.asks, &deciding.ask)];
        let [Some((place, a)), Some((caller, b)), Some((ask, c))] = parts.map(|(numbered, text)| numbered.put(text)) else { return };
        self.bytes += size_of::<(Question, A)>() + a + b + c;
        self.answers.insert([bundle, place, caller, ask], answer);
    }

    /// Every answer.
    pub(super) fn answers(&mut self) -> impl Iterator<Item = &mut A> {
        self.answers.values_mut()
    }

    pub(super) fn forget(&mut self) {
        *self = Self::new();
    }
}

impl Numbered {
    #[inline]
    fn get(&self, text: &[u8]) -> Option<u32> {
        self.0.get(text).copied()
    }

    /// The number of a text, and the bytes that it takes if it is new.
    fn put(&mut self, text: &[u8]) -> Option<(u32, usize)> {
        if let Some(known) = self.get(text) {
            return Some((known, 0));
        }
        let next = u32::try_from(self.0.len()).ok()?;
        self.0.insert(text.into(), next);
        Some((next, text.len() + size_of::<(Box<[u8]>, u32)>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deciding(place: &str, caller: &str, ask: &str) -> Deciding {
        Deciding { place: place.into(), caller: caller.into(), ask: ask.into() }
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
            assert_eq!(memory.get(bundle, &deciding), None);
            memory.put(bundle, &deciding, n);
        }
        for (n, (bundle, deciding)) in all().enumerate() {
            assert_eq!(memory.get(bundle, &deciding), Some(&mut n.clone()));
        }
        assert_eq!(memory.answers().count(), 2 * parts.len().pow(3));
    }

    #[test]
    fn it_forgets_before_it_grows_without_end() {
        let mut memory = Memory::new();
        let long = "x".repeat(1 << 20);
        for n in 0..100 {
            memory.put(0, &deciding("p", "c", &format!("{n}{long}")), n);
            assert!(memory.answers.len() <= REMEMBERED_BYTES_MAX >> 20);
            assert_eq!(memory.get(0, &deciding("p", "c", &format!("{n}{long}"))), Some(&mut n.clone()));
        }
        let mut asked = Asked::default();
        for n in 0..100 {
            asked.put(&format!("{n}{long}"), n);
            assert!(asked.numbers.len() <= REMEMBERED_BYTES_MAX >> 20);
            assert_eq!(asked.get(&format!("{n}{long}")), Some(n));
        }
    }
}
