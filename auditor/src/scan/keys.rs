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
    /// How far predictions are worth their trial: up with every hit, down with every miss.
    trust: u8,
}

impl Keys {
    pub(super) fn new(wanted: &[&'static str]) -> Self {
        let start = Key { literal: Box::from(&b"\0"[..]), slot: None, next: START, length: 0 };
        Self {
            wanted: wanted.to_vec(),
            all: vec![start],
            table: vec![0; (4 * SCAN_KEYS_MAX).next_power_of_two()].into_boxed_slice(),
            trust: TRUST_MAX,
        }
    }

    /// A new line begins. Where predictions were of no use they are left out for the line, save once in a while.
    pub(super) fn begin(&mut self, line: u64) -> bool {
        self.trust > 0 || line.is_multiple_of(TRY_EVERY)
    }

    /// Remembers whether a prediction held.
    #[inline]
    pub(super) fn judge(&mut self, held: bool) {
        self.trust = if held { TRUST_MAX.min(self.trust + 2) } else { self.trust.saturating_sub(1) };
    }

    /// The key predicted after `before`, if it is what stands here; and where its value begins.
    #[inline]
    pub(super) fn predicted(&self, before: KeyId, bytes: &[u8], at: usize) -> Option<(KeyId, &Key, usize)> {
        let next = self.all.get(before)?.next;
        let key = self.all.get(next)?;
        let end = at + key.literal.len();
        same(bytes.get(at..end)?, &key.literal).then_some((next, key, end))
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
            if same(literal, &self.all.get(id)?.literal) {
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

/// Whether two keys are the same, without a call: they are a few words long.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let (Some(a_tail), Some(b_tail)) = (a.last_chunk::<8>(), b.last_chunk::<8>()) else { return a == b };
    let (a_words, _) = a.as_chunks::<8>();
    let (b_words, _) = b.as_chunks::<8>();
    a_tail == b_tail && a_words.iter().zip(b_words).all(|(a, b)| u64::from_ne_bytes(*a) == u64::from_ne_bytes(*b))
}

/// Of the length and the bytes around both ends. Keys of one log are few, and full literals are compared.
fn hash(literal: &[u8]) -> usize {
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |b| u64::from_le_bytes(*b));
    let head = word(literal.first_chunk());
    let tail = word(literal.last_chunk());
    let mixed = (head ^ tail.rotate_left(23) ^ (literal.len() as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as usize
}

const TRUST_MAX: u8 = 64;
const TRY_EVERY: u64 = 64;
