//! The keys seen so far, and which of them followed which.

use crate::limits::SCAN_KEYS_MAX;

/// The number of a key among the keys seen. It counts from 0 in the order of learning; [`START`] stands before the first key of a line.
pub(super) type KeyId = usize;

/// What stands before the first key.
pub(super) const START: KeyId = 0;

/// A key as it stands in a line.
#[derive(Debug)]
pub(super) struct Key {
    /// From its opening quote to the byte before its value: `"path":`, with whatever space there was.
    literal: Box<[u8]>,
    /// Its place among the wanted keys.
    pub(super) slot: Option<usize>,
    /// The key that followed when last seen.
    next: KeyId,
    /// How long its value was when last seen, where it was a string.
    pub(super) length: usize,
}

/// All keys.
#[derive(Debug)]
pub(super) struct Keys {
    wanted: Vec<&'static str>,
    all: Vec<Key>,
    /// Open addressing over a power of two; 0 is free.
    table: Box<[u16]>,
}

impl Keys {
    pub(super) fn new(wanted: &[&'static str]) -> Self {
        let start = Key { literal: Box::from(&b"\0"[..]), slot: None, next: START, length: 0 };
        Self { wanted: wanted.to_vec(), all: vec![start], table: vec![0; (4 * SCAN_KEYS_MAX).next_power_of_two()].into_boxed_slice() }
    }

    /// The key predicted after `before`, if it is what stands here; and where its value begins.
    #[inline]
    pub(super) fn predicted(&self, before: KeyId, bytes: &[u8], at: usize) -> Option<(KeyId, &Key, usize)> {
        let next = self.all.get(before)?.next;
        let key = self.all.get(next)?;
        bytes.get(at..)?.starts_with(&key.literal).then(|| (next, key, at + key.literal.len()))
    }

    /// Remembers how long the value of a key was.
    #[inline]
    pub(super) fn set_length(&mut self, id: KeyId, length: usize) {
        if let Some(key) = self.all.get_mut(id) {
            key.length = length;
        }
    }

    /// The key with this literal, learnt if it is new; `None` where there are too many to learn another.
    pub(super) fn find(&mut self, before: KeyId, literal: &[u8], name: &str) -> Option<(KeyId, &Key)> {
        let mask = self.table.len() - 1;
        let mut at = hash(literal) & mask;
        let id = loop {
            let id = usize::from(*self.table.get(at)?);
            if id == START {
                break self.learn(literal, name, at)?;
            }
            if *self.all.get(id)?.literal == *literal {
                break id;
            }
            at = (at + 1) & mask;
        };
        self.all.get_mut(before)?.next = id;
        Some((id, self.all.get(id)?))
    }

    /// The place of a name among the wanted keys.
    pub(super) fn slot(&self, name: &str) -> Option<usize> {
        self.wanted.iter().position(|wanted| *wanted == name)
    }

    fn learn(&mut self, literal: &[u8], name: &str, at: usize) -> Option<KeyId> {
        if self.all.len() > SCAN_KEYS_MAX {
            return None;
        }
        let id = self.all.len();
        *self.table.get_mut(at)? = u16::try_from(id).ok()?;
        self.all.push(Key { literal: Box::from(literal), slot: self.slot(name), next: START, length: 0 });
        Some(id)
    }
}

/// Of the length and the bytes around both ends. Keys of one log are few, and full literals are compared.
fn hash(literal: &[u8]) -> usize {
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |b| u64::from_le_bytes(*b));
    let head = word(literal.first_chunk());
    let tail = word(literal.last_chunk());
    let mixed = (head ^ tail.rotate_left(23) ^ (literal.len() as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as usize
}
