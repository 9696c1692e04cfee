//! The keys seen so far, and which of them followed which.

use crate::limits::SCAN_KEYS_MAX;

/// The number of a key among the keys seen, in the order of learning behind [`OTHER`].
pub(super) type KeyId = u16;

/// What stands before the first key.
pub(super) const START: KeyId = 0;
/// The bracket behind the last value.
pub(super) const END: KeyId = 1;
/// A key that is not learnt, for want of room.
pub(super) const OTHER: KeyId = 2;

/// A key as it stands in a line.
#[derive(Clone, Debug)]
struct Key {
    /// From the byte behind the value before to the byte before its own: `,"path":`, with whatever space there was.
    literal: Box<[u8]>,
    /// Its first bytes again, with zeros behind them.
    head: [u128; 2],
    /// Which bytes of the head there are.
    mask: [u128; 2],
    /// Its place among the wanted keys.
    slot: Option<u8>,
    /// The key that followed when last seen.
    next: KeyId,
}

impl Key {
    fn new(literal: &[u8], slot: Option<u8>) -> Self {
        let mut head = [0; HEAD];
        let mut mask = [0; HEAD];
        for ((to, there), from) in head.iter_mut().zip(&mut mask).zip(literal) {
            (*to, *there) = (*from, u8::MAX);
        }
        Self { literal: Box::from(literal), head: halves(&head), mask: halves(&mask), slot, next: START }
    }

    /// Whether it stands here, without a call: keys are a few words long.
    #[inline(always)]
    fn begins(&self, rest: &[u8]) -> bool {
        let Some(first) = rest.first_chunk::<HEAD>() else { return rest.starts_with(&self.literal) };
        let ([a, b], [c, d], [m, n]) = (halves(first), self.head, self.mask);
        if ((a ^ c) & m) | ((b ^ d) & n) != 0 {
            return false;
        }
        self.literal.len() <= HEAD || rest.starts_with(&self.literal)
    }
}

#[inline(always)]
fn halves(bytes: &[u8; HEAD]) -> [u128; 2] {
    let (halves, _) = bytes.as_chunks::<16>();
    std::array::from_fn(|n| halves.get(n).map_or(0, |half| u128::from_ne_bytes(*half)))
}

/// Bytes of a key that are compared together.
const HEAD: usize = 32;

/// A key met in a line, or its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Met {
    pub(super) id: KeyId,
    pub(super) slot: Option<u8>,
    /// The key that followed when last seen.
    pub(super) next: KeyId,
    /// Where its value begins; for the end, the byte behind it.
    pub(super) value_at: usize,
}

/// All keys.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    wanted: Vec<&'static str>,
    all: Vec<Key>,
    /// Open addressing over a power of two; 0 is free.
    table: Box<[KeyId]>,
    /// How far predictions are worth their trial: up with every hit, down with every miss.
    trust: usize,
}

impl Keys {
    pub(super) fn new(wanted: &[&'static str]) -> Self {
        // No line that is walked over has such a byte.
        let never = || Key::new(b"\0", None);
        Self {
            wanted: wanted.to_vec(),
            all: vec![never(), Key::new(b"}", None), never()],
            table: vec![0; (4 * SCAN_KEYS_MAX).next_power_of_two()].into_boxed_slice(),
            trust: TRUST_MAX,
        }
    }

    /// A new line begins. Where predictions were of no use they are left out for the line, save once in a while.
    pub(super) const fn begin(&self, line: u64) -> bool {
        self.trust > 0 || line.is_multiple_of(TRY_EVERY)
    }

    /// Remembers of how many predictions how many failed.
    pub(super) fn judge(&mut self, made: usize, failed: usize) {
        self.trust = (self.trust + 2 * made.saturating_sub(failed)).saturating_sub(failed).min(TRUST_MAX);
    }

    /// The key that followed a key when last seen.
    pub(super) fn after(&self, before: KeyId) -> KeyId {
        self.all.get(usize::from(before)).map_or(START, |key| key.next)
    }

    /// A key, or the end, if it is what stands here.
    #[inline(always)]
    pub(super) fn predicted(&self, id: KeyId, bytes: &[u8], at: usize) -> Option<Met> {
        let key = self.all.get(usize::from(id))?;
        key.begins(bytes.get(at..)?).then(|| Met { id, slot: key.slot, next: key.next, value_at: at.wrapping_add(key.literal.len()) })
    }

    /// Remembers that a line ended behind a key.
    pub(super) fn ended(&mut self, before: KeyId) {
        if before != START
            && let Some(key) = self.all.get_mut(usize::from(before))
        {
            key.next = END;
        }
    }

    /// The key with this literal and name, learnt if it is new.
    pub(super) fn find(&mut self, before: KeyId, literal: &[u8], name: &[u8], value_at: usize) -> Option<Met> {
        let mask = self.table.len() - 1;
        let mut at = hash(literal) & mask;
        let id = loop {
            let id = *self.table.get(at)?;
            if id == START {
                break self.learn(literal, name, at);
            }
            if same(literal, &self.all.get(usize::from(id))?.literal) {
                break id;
            }
            at = (at + 1) & mask;
        };
        self.all.get_mut(usize::from(before))?.next = id;
        let key = self.all.get(usize::from(id))?;
        let slot = if id == OTHER { self.slot(name) } else { key.slot };
        Some(Met { id, slot, next: key.next, value_at })
    }

    /// The place of a name among the wanted keys.
    fn slot(&self, name: &[u8]) -> Option<u8> {
        self.wanted.iter().position(|wanted| wanted.as_bytes() == name).and_then(|place| u8::try_from(place).ok())
    }

    fn learn(&mut self, literal: &[u8], name: &[u8], at: usize) -> KeyId {
        let (Some(place), Ok(id)) = (self.table.get_mut(at), KeyId::try_from(self.all.len())) else { return OTHER };
        if usize::from(id) > usize::from(OTHER) + SCAN_KEYS_MAX {
            return OTHER;
        }
        *place = id;
        let key = Key::new(literal, self.slot(name));
        self.all.push(key);
        id
    }
}

/// Whether two keys are the same, without a call: they are a few words long.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    match (a.first_chunk::<16>(), b.first_chunk::<16>(), a.last_chunk::<16>(), b.last_chunk::<16>()) {
        (Some(a_head), Some(b_head), Some(a_tail), Some(b_tail)) => {
            if !alike(a_head, b_head) || !alike(a_tail, b_tail) {
                return false;
            }
            // What lies between the two; most keys have nothing there.
            let (a_words, _) = a.as_chunks::<16>();
            let (b_words, _) = b.as_chunks::<16>();
            a.len() <= 32 || a_words.iter().zip(b_words).skip(1).all(|(a, b)| alike(a, b))
        }
        _ => match (a.first_chunk::<8>(), b.first_chunk::<8>(), a.last_chunk::<8>(), b.last_chunk::<8>()) {
            (Some(a_head), Some(b_head), Some(a_tail), Some(b_tail)) => a_head == b_head && a_tail == b_tail,
            _ => a == b,
        },
    }
}

#[inline]
fn alike(a: &[u8; 16], b: &[u8; 16]) -> bool {
    u128::from_ne_bytes(*a) == u128::from_ne_bytes(*b)
}

/// Of the length and the bytes around both ends. Keys of one log are few, and full literals are compared.
fn hash(literal: &[u8]) -> usize {
    let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |b| u64::from_le_bytes(*b));
    let head = word(literal.first_chunk());
    let tail = word(literal.last_chunk());
    let mixed = (head ^ tail.rotate_left(23) ^ (literal.len() as u64)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as usize
}

const TRUST_MAX: usize = 64;
const TRY_EVERY: u64 = 64;
