//! Counts decisions while logs are read: one cell for each distinct key and hour, 64 bytes each, found by number.
//!
//! What many cells share, the facts, is held once; the words of a key are looked up when it is new and never again. At the end the
//! cells are poured into a [`Ledger`] or into the rows of a ledger file.
//!
//! INVARIANT: each decision taken adds one to exactly one cell. What is poured does not depend on the order of taking, unless there
//! are more than `LEDGER_KEYS_MAX` cells: then undeclared paths and hours are no longer told apart, and that is counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;

use foldhash::fast::RandomState;
use indexmap::{Equivalent, IndexSet};
use portreeve_engine::Timestamp;
use portreeve_engine::decision::Effect;

use crate::assessment::Evidence;
use crate::ledger::{FOLDED_HOUR, Facts, Key, Ledger, Tally, hour};
use crate::limits::{EVIDENCE_MAX, LEDGER_KEYS_MAX, PATHS_WITH_ALL_EVIDENCE_MAX};

/// Which decisions are told apart by their hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grain {
    /// All, as in ledger files.
    Every,
    /// Denials, which is what analyses ask for.
    Denials,
}

/// The number of a key.
pub(crate) type KeyId = u32;

/// The cells.
#[derive(Debug)]
pub(crate) struct Cells {
    grain: Grain,
    facts: IndexSet<Arc<Facts>, RandomState>,
    keys: IndexSet<Named, RandomState>,
    cells: Vec<Cell>,
    by_cell: HashMap<(KeyId, i64), u32, RandomState>,
    hours: BTreeSet<i64>,
    last_hour: i64,
    /// Keys that have a path.
    paths: usize,
    folded: u64,
    bounds: Bounds,
}

/// See `limits`.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    cells: usize,
    paths: usize,
}

/// A key: the number of its facts, and its path.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Named(u32, Option<Box<str>>);

/// The same, borrowed.
#[derive(Hash)]
struct Name<'n>(u32, Option<&'n str>);

impl Equivalent<Named> for Name<'_> {
    fn equivalent(&self, key: &Named) -> bool {
        self.0 == key.0 && self.1 == key.1.as_deref()
    }
}

#[derive(Debug)]
struct Cell {
    key: KeyId,
    hour: i32,
    count: u64,
    first: Timestamp,
    last: Timestamp,
    /// The greatest place of which a line is kept once there are enough: what is beyond need not be looked at.
    beyond: u64,
    evidence: Vec<Evidence>,
}

/// Where one decision was counted: good for later ones of its key in the same hour, until the cells are poured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CellId {
    hour: i64,
    number: u32,
}

impl CellId {
    /// The number of the cell.
    pub(crate) const fn number(self) -> u32 {
        self.number
    }
}

impl Cells {
    pub(crate) fn new(grain: Grain) -> Self {
        Self {
            grain,
            facts: IndexSet::default(),
            keys: IndexSet::default(),
            cells: Vec::new(),
            by_cell: HashMap::default(),
            hours: BTreeSet::new(),
            last_hour: FOLDED_HOUR,
            paths: 0,
            folded: 0,
            bounds: Bounds { cells: LEDGER_KEYS_MAX, paths: PATHS_WITH_ALL_EVIDENCE_MAX },
        }
    }

    /// The key of these facts and this path.
    pub(crate) fn key(&mut self, facts: Facts, path: Option<&str>) -> KeyId {
        let facts = match self.facts.get_index_of(&facts) {
            Some(known) => number(known),
            None => number(self.facts.insert_full(Arc::new(facts)).0),
        };
        self.name(facts, path)
    }

    fn name(&mut self, facts: u32, path: Option<&str>) -> KeyId {
        if let Some(known) = self.keys.get_index_of(&Name(facts, path)) {
            return number(known);
        }
        let path = path.filter(|_| !self.is_full());
        self.paths += usize::from(path.is_some());
        number(self.keys.insert_full(Named(facts, path.map(Box::from))).0)
    }

    /// The facts of a key.
    pub(crate) fn facts(&self, key: KeyId) -> Option<&Facts> {
        let Named(facts, _) = self.keys.get_index(key as usize)?;
        self.facts.get_index(*facts as usize).map(|facts| &**facts)
    }

    /// Keys held.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Counts a decision; its evidence is made only where it is kept. `before` is where one of the same key was counted.
    #[inline]
    pub(crate) fn count(
        &mut self,
        key: KeyId,
        before: Option<CellId>,
        at: Timestamp,
        place: (usize, u64),
        evidence: impl FnOnce() -> Evidence,
    ) -> CellId {
        let hour = hour(at);
        let id = before.filter(|before| before.hour == hour).unwrap_or_else(|| CellId { hour, number: self.find(key, hour, at) });
        let are_few = self.paths <= self.bounds.paths;
        if let Some(cell) = self.cells.get_mut(id.number as usize) {
            cell.count += 1;
            cell.first = cell.first.min(at);
            cell.last = cell.last.max(at);
            if packed(place) < cell.beyond {
                let most = if are_few || self.keys.get_index(cell.key as usize).is_none_or(|k| k.1.is_none()) { EVIDENCE_MAX } else { 1 };
                cell.keep(evidence(), most);
            }
        }
        id
    }

    /// The cell of a key in an hour, made if there is none.
    fn find(&mut self, key: KeyId, hour: i64, at: Timestamp) -> u32 {
        if hour != self.last_hour {
            self.last_hour = hour;
            self.hours.insert(hour);
        }
        let is_told = self.grain == Grain::Every || self.facts(key).is_some_and(|facts| facts.effect == Effect::Deny);
        let hour = if is_told { hour } else { FOLDED_HOUR };
        if let Some(number) = self.by_cell.get(&(key, hour)) {
            return *number;
        }
        let mut place = (key, hour);
        if self.is_full() {
            self.folded += 1;
            let facts = self.keys.get_index(key as usize).map_or(0, |named| named.0);
            place = (self.name(facts, None), FOLDED_HOUR);
        }
        let next = number(self.cells.len());
        let found = *self.by_cell.entry(place).or_insert(next);
        if found == next {
            let hour = i32::try_from(place.1).unwrap_or(i32::MAX);
            self.cells.push(Cell { key: place.0, hour, count: 0, first: at, last: at, beyond: u64::MAX, evidence: Vec::new() });
        }
        found
    }

    /// Takes back a decision that was counted.
    pub(crate) fn take_back(&mut self, cell: u32) -> Option<&Facts> {
        let cell = self.cells.get_mut(cell as usize)?;
        cell.count = cell.count.saturating_sub(1);
        let key = cell.key;
        self.facts(key)
    }

    /// Every cell's facts and count.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&Facts, u64)> {
        self.cells.iter().filter_map(|cell| Some((self.facts(cell.key)?, cell.count)))
    }

    fn is_full(&self) -> bool {
        self.cells.len() >= self.bounds.cells
    }

    fn evidence_max(&self, key: KeyId) -> usize {
        let is_one_of_many = self.paths > self.bounds.paths && self.keys.get_index(key as usize).is_some_and(|k| k.1.is_some());
        if is_one_of_many { 1 } else { EVIDENCE_MAX }
    }

    /// Pours everything into a ledger. Its memory goes over piece by piece: at no time are there two of everything.
    pub(crate) fn pour(&mut self, ledger: &mut Ledger) {
        self.by_cell = HashMap::default();
        ledger.folded += std::mem::take(&mut self.folded);
        ledger.hours.append(&mut self.hours);
        self.last_hour = FOLDED_HOUR;
        let order = self.order();
        // From the greatest to the least, which a tree takes in without leaving nodes half empty.
        self.cells.sort_unstable_by_key(|cell| (order.get(cell.key as usize).copied(), cell.hour));
        drop(order);
        while let Some(mut cell) = self.cells.pop() {
            cell.evidence.truncate(self.evidence_max(cell.key));
            let hour = cell.hour;
            if let Some(key) = self.owned(cell.key)
                && let Some(tally) = cell.tally()
            {
                ledger.decided(key, i64::from(hour), tally);
            }
            if self.cells.len().is_multiple_of(POURED_AT_ONCE) {
                self.cells.shrink_to_fit();
            }
        }
        *self = Self::new(self.grain);
    }

    /// Everything as rows of a ledger file, in order. Keys stay, for more decisions.
    pub(crate) fn rows(&mut self) -> BTreeMap<(Key, i64), Tally> {
        self.by_cell.clear();
        self.last_hour = FOLDED_HOUR;
        let cells = std::mem::take(&mut self.cells);
        let rows = cells.into_iter().filter_map(|mut cell| {
            cell.evidence.truncate(self.evidence_max(cell.key));
            Some(((self.owned(cell.key)?, i64::from(cell.hour)), cell.tally()?))
        });
        rows.collect()
    }

    /// How many decisions were counted without their path or hour, once.
    pub(crate) fn take_folded(&mut self) -> u64 {
        std::mem::take(&mut self.folded)
    }

    /// Forgets the keys, of which no cell may be left.
    pub(crate) fn forget(&mut self) {
        self.keys.clear();
        self.facts.clear();
        self.paths = 0;
    }

    fn owned(&self, key: KeyId) -> Option<Key> {
        let Named(facts, path) = self.keys.get_index(key as usize)?;
        Some(Key { facts: Arc::clone(self.facts.get_index(*facts as usize)?), path: path.clone() })
    }

    /// The place of each key among all, in the order of [`Key`].
    fn order(&self) -> Vec<u32> {
        let ranks = ranks(self.facts.len(), |a, b| self.facts.get_index(a).cmp(&self.facts.get_index(b)));
        let rank = |named: &Named| ranks.get(named.0 as usize).copied();
        let compare = |a: usize, b: usize| match (self.keys.get_index(a), self.keys.get_index(b)) {
            (Some(a), Some(b)) => (rank(a), &a.1).cmp(&(rank(b), &b.1)),
            (a, b) => a.is_some().cmp(&b.is_some()),
        };
        self::ranks(self.keys.len(), compare)
    }
}

/// The place of each of so many things in their order.
fn ranks(length: usize, compare: impl Fn(usize, usize) -> std::cmp::Ordering) -> Vec<u32> {
    let mut sorted: Vec<u32> = (0..number(length)).collect();
    sorted.sort_unstable_by(|a, b| compare(*a as usize, *b as usize));
    let mut out = vec![0; length];
    for (rank, of) in (0..).zip(sorted) {
        if let Some(place) = out.get_mut(of as usize) {
            *place = rank;
        }
    }
    out
}

impl Cell {
    /// Keeps a line as evidence. The least places are kept, so that the order of reading does not matter.
    fn keep(&mut self, evidence: Evidence, most: usize) {
        self.evidence.push(evidence);
        self.evidence.sort();
        self.evidence.truncate(most);
        if self.evidence.len() == most
            && let Some(last) = self.evidence.last()
        {
            self.beyond = packed((last.input, last.line));
        }
    }

    fn tally(self) -> Option<Tally> {
        (self.count > 0).then_some(Tally { count: self.count, first: self.first, last: self.last, evidence: self.evidence })
    }
}

/// An input and a line of it in one number of the same order: 16 million inputs of a million million lines.
fn packed((input, line): (usize, u64)) -> u64 {
    (input as u64).min(PACKED_INPUTS_MAX) << PACKED_LINE_BITS | line.min(PACKED_LINES_MAX)
}

/// Far more than fit in memory would be needed to reach the end of the numbers.
fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

const PACKED_LINE_BITS: u32 = 40;
const PACKED_LINES_MAX: u64 = (1 << PACKED_LINE_BITS) - 1;
const PACKED_INPUTS_MAX: u64 = (1 << (u64::BITS - PACKED_LINE_BITS)) - 1;
/// Cells that are poured before their memory is given back.
const POURED_AT_ONCE: usize = 1 << 15;

#[cfg(test)]
mod tests {
    use portreeve_engine::Digest;
    use portreeve_engine::decision::Reason;

    use super::*;
    use crate::testing::{Log, start};

    fn facts(n: u64) -> Facts {
        let log = Log::start("items", "one", Digest::ZERO);
        let effect = if n.is_multiple_of(3) { Effect::Deny } else { Effect::Allow };
        let from = ["invoices", "users"][(n % 2) as usize];
        Facts::of(&log.question(from, "/", None, effect, Reason::NoPermission, &[]))
    }

    fn counted(order: impl Iterator<Item = u64>, grain: Grain) -> Cells {
        let mut cells = Cells::new(grain);
        for n in order {
            let path = format!("/x/{}", n % 7);
            let key = cells.key(facts(n), (n % 5 > 0).then_some(&*path));
            let at = start().plus_ms(i64::try_from(n).unwrap() * 600_000);
            cells.count(key, None, at, (0, n), || Evidence { input: 0, line: n, sha256: Digest::ZERO });
        }
        cells
    }

    #[test]
    fn the_order_of_taking_does_not_show() {
        let pour = |mut cells: Cells| {
            let mut ledger = Ledger::default();
            cells.pour(&mut ledger);
            assert_eq!(cells.len(), 0);
            ledger
        };
        let forth = pour(counted(0..300, Grain::Denials));
        assert_eq!(forth, pour(counted((0..300).rev(), Grain::Denials)));
        assert_eq!(forth.decided.values().map(|t| t.count).sum::<u64>(), 300);
        assert_eq!(forth.denied.values().map(|t| t.count).sum::<u64>(), 100);
        assert_eq!(forth.hours.len(), 50);
        assert!(forth.denied.keys().all(|(facts, hour)| facts.effect == Effect::Deny && forth.hours.contains(hour)));
        // Hours of what was allowed stand in ledger files alone.
        let rows = counted(0..300, Grain::Every).rows();
        assert!(rows.len() > 200 && rows.keys().all(|(_, hour)| forth.hours.contains(hour)));
        let mut summed: BTreeMap<Key, u64> = BTreeMap::new();
        for ((key, _), tally) in rows {
            *summed.entry(key).or_default() += tally.count;
        }
        assert!(summed.iter().eq(forth.decided.iter().map(|(key, tally)| (key, &tally.count)).collect::<BTreeMap<_, _>>()));
    }

    #[test]
    fn a_decision_taken_back_is_not_counted() {
        let mut cells = Cells::new(Grain::Denials);
        let key = cells.key(facts(0), None);
        let evidence = || Evidence { input: 0, line: 1, sha256: Digest::ZERO };
        let cell = cells.count(key, None, start(), (0, 1), evidence);
        assert_eq!(cells.count(key, Some(cell), start(), (0, 2), evidence), cell);
        assert_eq!(cells.take_back(cell.number()).unwrap().effect, Effect::Deny);
        assert_eq!(cells.each().map(|(_, n)| n).collect::<Vec<_>>(), [1]);
        cells.take_back(cell.number());
        let mut ledger = Ledger::default();
        cells.pour(&mut ledger);
        assert!(ledger.decided.is_empty() && ledger.denied.is_empty());
    }

    #[test]
    fn beyond_the_bound_paths_and_hours_fold_and_every_decision_is_counted() {
        let (most, more) = (1_000, 200);
        let mut cells = Cells { bounds: Bounds { cells: most, paths: 100 }, ..Cells::new(Grain::Denials) };
        let facts = facts(0);
        for n in 0..most + more {
            let key = cells.key(facts.clone(), Some(&n.to_string()));
            let at = start().plus_ms(i64::try_from(n).unwrap());
            cells.count(key, None, at, (0, n as u64), || Evidence { input: 0, line: n as u64, sha256: Digest::ZERO });
        }
        let mut ledger = Ledger::default();
        cells.pour(&mut ledger);
        assert_eq!(ledger.decided.len(), most + 1);
        assert_eq!((ledger.folded, ledger.decided.values().map(|t| t.count).sum::<u64>()), (more as u64, (most + more) as u64));
        let rest = ledger.decided.iter().find(|(key, _)| key.path.is_none()).unwrap().1;
        assert_eq!((rest.count, rest.evidence.len()), (more as u64, EVIDENCE_MAX));
        assert!(ledger.decided.iter().filter(|(key, _)| key.path.is_some()).all(|(_, tally)| tally.evidence.len() == 1));
        assert!(ledger.denied.contains_key(&(Arc::new(facts), FOLDED_HOUR)));
    }
}
