//! Answers of conditions, kept under what they could read.
//!
//! A condition in Cedar or Rego is a pure function of its footprint (see [`crate::footprint`]): the caller's service, the
//! operation, and the parts of the request that static analysis found. The memo keeps its answers under exactly that
//! projection, written out in full and compared in full. Nothing it holds can become wrong: a snapshot is immutable and its
//! number is part of the key, certificates and tokens are verified before anything is asked, and the time enters the key as
//! the side of every boundary on which it lies. So an entry has no life that would have to end. Errors are never kept, nor
//! answers to questions whose projection is too long to be written out.
//!
//! Each thread has a memo of its own: a hit writes no memory that another thread reads. It is bounded, and sets of four with
//! one place for newcomers make it hold against scans: what is asked once never drives out what is asked again.

use std::borrow::Cow;
use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;

use crate::authorizer::Answered;
use crate::footprint::{Names, Reads};
use crate::limits::{MEMO_KEY_BYTES_MAX, MEMO_SETS};
use crate::request::{AttributeValue, Attributes, Claims, Context, TargetRef, Token};
use crate::time::Timestamp;

/// How the footprint of one policy is written out.
#[derive(Debug)]
pub(crate) struct Projection {
    policy: u32,
    principal: bool,
    method: bool,
    path: bool,
    source_ip: bool,
    token: bool,
    instants: Vec<Timestamp>,
    of_day_ms: Vec<i64>,
    headers: Listed,
    query: Listed,
    claims: Listed,
}

#[derive(Debug)]
enum Listed {
    Only(Vec<Box<str>>),
    All,
}

/// A question as the memo looks at it.
pub(crate) struct Question<'q> {
    pub(crate) snapshot: u64,
    pub(crate) principal: &'q str,
    pub(crate) caller: Option<usize>,
    pub(crate) service: usize,
    pub(crate) operation: Option<usize>,
    pub(crate) target: TargetRef<'q>,
    /// The path as policies see it: sensitive segments hidden.
    pub(crate) path: &'q dyn Fn() -> Cow<'q, str>,
    pub(crate) context: &'q Context,
}

/// A projection written out. Short ones need no allocation.
pub(crate) struct Key {
    bytes: SmallVec<[u8; 256]>,
    hash: u64,
}

impl Projection {
    /// `None` where answers of the policy may not be kept.
    pub(crate) fn of(policy: u32, answered: &Answered) -> Option<Self> {
        let Answered::Kept(reads) = answered else { return None };
        let Reads { principal, method, path, source_ip, time, headers, query, claims, token } = reads;
        let listed = |names: &Names| match names {
            Names::Only(names) => Listed::Only(names.iter().cloned().collect()),
            Names::All => Listed::All,
        };
        Some(Self {
            policy,
            principal: *principal,
            method: *method,
            path: *path,
            source_ip: *source_ip,
            token: *token || !claims.is_empty(),
            instants: time.instants.iter().copied().collect(),
            of_day_ms: time.of_day_ms.iter().copied().collect(),
            headers: listed(headers),
            query: listed(query),
            claims: listed(claims),
        })
    }

    /// The key of a question; `None` where it would be too long to keep.
    pub(crate) fn key(&self, question: &Question<'_>) -> Option<Key> {
        let mut out = Writer::default();
        out.number(question.snapshot);
        out.number(u64::from(self.policy));
        out.place(question.caller);
        out.place(Some(question.service));
        out.place(question.operation);
        if self.principal {
            out.text(question.principal);
        }
        if let (true, TargetRef::Http { method, .. }) = (self.method, question.target) {
            out.text(method.as_str());
        }
        if self.path {
            match question.target {
                TargetRef::Http { .. } => out.text(&(question.path)()),
                TargetRef::Connect { port } => out.number(u64::from(port)),
            }
        }
        if self.source_ip {
            out.address(question.context);
        }
        let time = question.context.time;
        out.side(self.instants.binary_search(&time), self.instants.is_empty());
        out.side(self.of_day_ms.binary_search(&time.ms_of_day()), self.of_day_ms.is_empty());
        out.listed(&self.headers, &question.context.headers);
        out.listed(&self.query, &question.context.query);
        if self.token {
            out.token(&self.claims, question.context.jwt.as_ref());
        }
        out.finish()
    }
}

/// Writes a projection so that no two different ones look alike: every part has a fixed place, and a length or a tag.
#[derive(Default)]
struct Writer {
    bytes: SmallVec<[u8; 256]>,
}

impl Writer {
    fn number(&mut self, number: u64) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }

    fn tag(&mut self, tag: u8) {
        self.bytes.push(tag);
    }

    fn place(&mut self, place: Option<usize>) {
        let place = place.and_then(|p| u32::try_from(p).ok()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&place.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        // What is longer than a key may be is refused in the end; there is no need to copy it first.
        self.bytes.extend_from_slice(text.as_bytes().get(..MEMO_KEY_BYTES_MAX + 1).unwrap_or(text.as_bytes()));
    }

    fn texts<'t>(&mut self, texts: impl ExactSizeIterator<Item = &'t str>) {
        self.number(texts.len() as u64);
        texts.for_each(|text| self.text(text));
    }

    fn address(&mut self, context: &Context) {
        match context.source_ip {
            None => self.tag(0),
            Some(std::net::IpAddr::V4(ip)) => {
                self.tag(4);
                self.bytes.extend_from_slice(&ip.octets());
            }
            Some(std::net::IpAddr::V6(ip)) => {
                self.tag(6);
                self.bytes.extend_from_slice(&ip.octets());
            }
        }
    }

    /// On which side of each boundary: before, at, or after.
    fn side(&mut self, found: Result<usize, usize>, none: bool) {
        if !none {
            self.number(match found {
                Ok(at) => 2 * at as u64 + 1,
                Err(before) => 2 * before as u64,
            });
        }
    }

    fn value(&mut self, value: Option<&AttributeValue>) {
        match value {
            None => self.tag(0),
            Some(AttributeValue::Text(text)) => {
                self.tag(1);
                self.text(text);
            }
            Some(AttributeValue::Integer(n)) => {
                self.tag(2);
                self.bytes.extend_from_slice(&n.to_le_bytes());
            }
            Some(AttributeValue::Boolean(b)) => self.tag(3 + u8::from(*b)),
            Some(AttributeValue::List(list)) => {
                self.tag(5);
                self.texts(list.iter().map(|t| &**t));
            }
        }
    }

    fn listed(&mut self, names: &Listed, attributes: &Attributes) {
        match names {
            Listed::Only(names) => names.iter().for_each(|name| self.value(attributes.get(name))),
            Listed::All => {
                self.number(attributes.len() as u64);
                for (name, value) in attributes {
                    self.text(name);
                    self.value(Some(value));
                }
            }
        }
    }

    fn token(&mut self, names: &Listed, token: Option<&Token>) {
        let Some(Token::Valid(claims)) = token else { return self.tag(0) };
        self.tag(1);
        match names {
            Listed::Only(names) => names.iter().for_each(|name| self.claim(name, claims)),
            Listed::All => {
                CLAIMS.iter().for_each(|name| self.claim(name, claims));
                self.listed(names, &claims.other);
            }
        }
    }

    fn claim(&mut self, name: &str, claims: &Claims) {
        match name {
            "iss" => self.text(&claims.iss),
            "sub" => self.text(&claims.sub),
            "aud" => self.texts(claims.aud.iter().map(|t| &**t)),
            "scope" => match &claims.scope {
                None => self.tag(0),
                Some(scope) => {
                    self.tag(1);
                    self.text(scope);
                }
            },
            other => self.value(claims.other.get(other)),
        }
    }

    fn finish(self) -> Option<Key> {
        if self.bytes.len() > MEMO_KEY_BYTES_MAX {
            return None;
        }
        let mut hasher = foldhash::fast::FixedState::default().build_hasher();
        hasher.write(&self.bytes);
        Some(Key { hash: hasher.finish(), bytes: self.bytes })
    }
}

/// The claims that every token can have; the others are allow-listed.
const CLAIMS: [&str; 4] = ["iss", "sub", "aud", "scope"];

/// A number that no other snapshot of this process has.
pub(crate) fn snapshot() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The answer kept under a key by this thread.
pub(crate) fn kept(key: &Key) -> Option<bool> {
    MEMO.with_borrow_mut(|memo| memo.find(key))
}

/// Keeps an answer.
pub(crate) fn keep(key: &Key, answer: bool) {
    MEMO.with_borrow_mut(|memo| memo.insert(key, answer));
}

thread_local! {
    static MEMO: RefCell<Memo> = const { RefCell::new(Memo { sets: Vec::new() }) };
}

struct Memo {
    /// Empty until something is kept.
    sets: Vec<Set>,
}

/// Four answers. What has been asked again has credit; a newcomer has none and gives way to a later one, so that a scan of
/// questions that are asked once passes by. Credit fades with newcomers, so that nothing stays for ever.
#[derive(Clone, Default)]
struct Set {
    slots: [Slot; 4],
    newcomers: u8,
    /// The place to try first for the next newcomer.
    next: u8,
}

#[derive(Clone, Default)]
struct Slot {
    hash: u64,
    /// Empty: nothing is kept here.
    key: Vec<u8>,
    answer: bool,
    credit: u8,
}

impl Memo {
    fn set(&mut self, hash: u64) -> Option<&mut Set> {
        let sets = self.sets.len() as u64;
        let at = if sets == 0 { 0 } else { hash % sets };
        self.sets.get_mut(usize::try_from(at).unwrap_or_default())
    }

    fn find(&mut self, key: &Key) -> Option<bool> {
        let slot = self.set(key.hash)?.slots.iter_mut().find(|slot| slot.hash == key.hash && *slot.key == *key.bytes)?;
        slot.credit = CREDIT_MAX.min(slot.credit + 1);
        Some(slot.answer)
    }

    fn insert(&mut self, key: &Key, answer: bool) {
        if self.sets.is_empty() {
            self.sets.resize_with(MEMO_SETS, Set::default);
        }
        let Some(set) = self.set(key.hash) else { return };
        set.newcomers += 1;
        if set.newcomers == NEWCOMERS_PER_CREDIT {
            set.newcomers = 0;
            set.slots.iter_mut().for_each(|slot| slot.credit = slot.credit.saturating_sub(1));
        }
        // Where all four have credit the newcomer is not taken in; their credit fades with those who try.
        let free = (0..4).map(|n| (set.next + n) % 4).find(|n| set.slots.get(usize::from(*n)).is_some_and(|slot| slot.credit == 0));
        if let Some((free, slot)) = free.and_then(|free| Some((free, set.slots.get_mut(usize::from(free))?))) {
            slot.hash = key.hash;
            slot.answer = answer;
            slot.key.clear();
            slot.key.extend_from_slice(&key.bytes);
            set.next = (free + 1) % 4;
        }
    }
}

/// How much credit an answer can have.
const CREDIT_MAX: u8 = 3;

/// After so many newcomers to a set each of its answers loses one credit.
const NEWCOMERS_PER_CREDIT: u8 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u64) -> Key {
        let mut out = Writer::default();
        out.number(n);
        out.finish().unwrap()
    }

    #[test]
    fn a_scan_does_not_drive_out_what_is_asked_again() {
        let mut memo = Memo { sets: Vec::new() };
        for hot in 0..1_000 {
            memo.insert(&key(hot), hot % 2 == 0);
        }
        // Asked again a few times, as hot questions are; then ten thousand that come once.
        let kept: Vec<u64> = (0..1_000).filter(|hot| (0..3).filter(|_| memo.find(&key(*hot)).is_some()).count() == 3).collect();
        assert!(kept.len() > 950, "{}", kept.len());
        for once in 1_000_000..1_010_000 {
            memo.insert(&key(once), true);
        }
        let still = kept.iter().filter(|hot| memo.find(&key(**hot)) == Some(**hot % 2 == 0)).count();
        assert!(still * 100 > kept.len() * 95, "{still} of {}", kept.len());
    }

    #[test]
    fn what_is_asked_no_more_makes_room() {
        let mut memo = Memo { sets: vec![Set::default()] };
        for old in 0..4 {
            memo.insert(&key(old), true);
            (0..8).for_each(|_| assert_eq!(memo.find(&key(old)), Some(true)));
        }
        let (mut misses, mut n) = (0, 0);
        while misses < 1_000 && n < 1_000 {
            n += 1;
            for new in [10, 11, 12] {
                if memo.find(&key(new)).is_none() {
                    misses += 1;
                    memo.insert(&key(new), false);
                }
            }
        }
        assert!(misses < 200, "three questions that are asked all the time missed {misses} times");
    }

    #[test]
    fn nothing_grows_with_what_is_asked() {
        let mut memo = Memo { sets: Vec::new() };
        for n in 0..100_000 {
            memo.insert(&key(n), true);
        }
        assert_eq!(memo.sets.len(), MEMO_SETS);
        let long = "x".repeat(MEMO_KEY_BYTES_MAX);
        let mut out = Writer::default();
        out.text(&long);
        assert!(out.finish().is_none());
    }
}
