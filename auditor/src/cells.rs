//! Counts decisions while logs are read: one cell for each distinct key and hour, some 100 bytes with the first line of it, found by
//! number.
//!
//! What many cells share, the facts, is held once; the words of a key are looked up when it is new and never again. At the end the
//! cells are poured into a [`Ledger`] or into the rows of a ledger file.
//!
//! INVARIANT: each decision taken adds one to exactly one cell. What is poured does not depend on the order of taking, unless there
//! are more than `LEDGER_KEYS_MAX` cells: then undeclared paths and hours are no longer told apart, and that is counted.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::BuildHasher as _;
use std::hint::black_box;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use portreeve_engine::Timestamp;
use portreeve_engine::decision::Effect;
use portreeve_engine::record::Decided;
use smallvec::SmallVec;

use crate::assessment::Evidence;
use crate::ledger::{FOLDED_HOUR, Facts, Key, Ledger, Path, Tally, hour};
use crate::limits::{EVIDENCE_MAX, LEDGER_KEYS_MAX, PATHS_WITH_ALL_EVIDENCE_MAX, ROOM_AT_ONCE};
use crate::room;

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
    facts: Vec<Arc<Facts>>,
    by_facts: HashMap<Arc<Facts>, u32, RandomState>,
    keys: Keys,
    cells: Vec<Cell>,
    /// The cells of keys that have a newer one: few keys of a log with a great many of them do.
    older: HashMap<(KeyId, i32), u32, RandomState>,
    hours: BTreeSet<i64>,
    last_hour: i64,
    folded: u64,
    bounds: Bounds,
}

/// See `limits`.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    cells: usize,
    paths: usize,
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
    evidence: SmallVec<[Evidence; 1]>,
}

/// Where one decision was counted: good for later ones of its key in the same hour, until the cells are poured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CellId {
    hour: i32,
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
            facts: Vec::new(),
            by_facts: HashMap::default(),
            keys: Keys::default(),
            cells: Vec::new(),
            older: HashMap::default(),
            hours: BTreeSet::new(),
            last_hour: FOLDED_HOUR,
            folded: 0,
            bounds: Bounds { cells: LEDGER_KEYS_MAX, paths: PATHS_WITH_ALL_EVIDENCE_MAX },
        }
    }

    /// The key of these facts and this path.
    pub(crate) fn key(&mut self, facts: Facts, path: Option<&str>) -> KeyId {
        let facts = match self.by_facts.get(&facts) {
            Some(known) => *known,
            None => {
                let next = number(self.facts.len());
                let facts = Arc::new(facts);
                self.facts.push(Arc::clone(&facts));
                self.by_facts.insert(facts, next);
                next
            }
        };
        self.name(facts, path)
    }

    fn name(&mut self, facts: u32, path: Option<&str>) -> KeyId {
        if let Some(known) = self.keys.find(facts, path) {
            return known;
        }
        let path = path.filter(|_| !self.is_full());
        self.keys.find(facts, path).unwrap_or_else(|| self.keys.add(facts, path))
    }

    /// The facts of a key.
    pub(crate) fn facts(&self, key: KeyId) -> Option<&Facts> {
        self.facts.get(self.keys.get(key)?.facts as usize).map(|facts| &**facts)
    }

    /// Keys held.
    pub(crate) fn len(&self) -> usize {
        self.keys.named.len()
    }

    /// Counts a decision of our own.
    pub(crate) fn decided(&mut self, at: Timestamp, decided: &Decided, evidence: &Evidence) {
        let path = decided.request.path.as_deref().filter(|_| decided.request.operation.is_none());
        let key = self.key(Facts::of(decided), path);
        self.count(key, None, at, (evidence.input, evidence.line), || evidence.clone());
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
        // Hours that do not fit are looked for each time.
        let id = before.filter(|before| i64::from(before.hour) == hour);
        let id = id.unwrap_or_else(|| CellId { hour: i32::try_from(hour).unwrap_or(i32::MAX), number: self.find(key, hour, at) });
        if let Some(cell) = self.cells.get_mut(id.number as usize) {
            cell.count += 1;
            cell.first = cell.first.min(at);
            cell.last = cell.last.max(at);
            if packed(place) < cell.beyond {
                cell.keep(evidence(), self.keys.evidence_max(cell.key, self.bounds.paths));
            }
        }
        id
    }

    /// Fetches a cell, so that counting in it need not wait.
    #[inline]
    pub(crate) fn fetch(&self, id: CellId) {
        black_box(self.cells.get(id.number as usize).map(|cell| cell.count));
    }

    /// The cell of a key in an hour, made if there is none.
    fn find(&mut self, key: KeyId, hour: i64, at: Timestamp) -> u32 {
        if hour != self.last_hour {
            self.last_hour = hour;
            self.hours.insert(hour);
        }
        let is_told = self.grain == Grain::Every || self.facts(key).is_some_and(|facts| facts.effect == Effect::Deny);
        let hour = if is_told { hour } else { FOLDED_HOUR };
        let hour = i32::try_from(hour).unwrap_or(i32::MAX);
        if let Some(found) = self.cell_of(key, hour) {
            return found;
        }
        if self.is_full() {
            self.folded += 1;
            let facts = self.keys.get(key).map_or(0, |named| named.facts);
            let rest = self.name(facts, None);
            return self.cell_of(rest, FOLDED).unwrap_or_else(|| self.add(rest, FOLDED, at));
        }
        self.add(key, hour, at)
    }

    /// The cell of a key in an hour. The one made last is looked at first: logs are mostly in order.
    fn cell_of(&self, key: KeyId, hour: i32) -> Option<u32> {
        let newest = self.keys.get(key)?.newest;
        let is_it = self.cells.get(newest as usize)?.hour == hour;
        if is_it { Some(newest) } else { self.older.get(&(key, hour)).copied() }
    }

    fn add(&mut self, key: KeyId, hour: i32, at: Timestamp) -> u32 {
        let next = number(self.cells.len());
        let before = self.keys.named.get_mut(key as usize).map_or(NONE, |named| std::mem::replace(&mut named.newest, next));
        if let Some(cell) = self.cells.get(before as usize) {
            self.older.insert((key, cell.hour), before);
        }
        let cell = Cell { key, hour, count: 0, first: at, last: at, beyond: u64::MAX, evidence: SmallVec::new() };
        room::push(&mut self.cells, cell, self.bounds.cells);
        next
    }

    /// The facts of a cell.
    pub(crate) fn facts_of(&self, cell: u32) -> Option<&Facts> {
        self.facts(self.cells.get(cell as usize)?.key)
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

    /// Pours everything into a ledger. Its memory goes over piece by piece: at no time are there two of everything.
    pub(crate) fn pour(&mut self, ledger: &mut Ledger) {
        ledger.folded += std::mem::take(&mut self.folded);
        ledger.hours.append(&mut self.hours);
        self.older = HashMap::default();
        self.keys.by_name = HashTable::new();
        self.put_keys_in_order();
        // Taken from the end, where memory can be given back.
        self.cells.sort_unstable_by_key(|cell| (cell.key, cell.hour));
        let most = self.keys.named.len();
        ledger.decided(std::iter::from_fn(|| self.pop()), most);
        *self = Self::new(self.grain);
    }

    /// The greatest cell, of those in which something is counted.
    fn pop(&mut self) -> Option<(Key, i64, Tally)> {
        loop {
            let mut cell = self.cells.pop()?;
            cell.evidence.truncate(self.keys.evidence_max(cell.key, self.bounds.paths));
            let (number, hour) = (cell.key, i64::from(cell.hour));
            let found = self.owned(number).zip(cell.tally());
            if self.cells.len().is_multiple_of(POURED_AT_ONCE) {
                self.cells.shrink_to_fit();
                self.keys.named.truncate(number as usize + 1);
                self.keys.named.shrink_to_fit();
            }
            if let Some((key, tally)) = found {
                return Some((key, hour, tally));
            }
        }
    }

    /// Everything as rows of a ledger file, in order. Keys stay, for more decisions.
    pub(crate) fn rows(&mut self) -> BTreeMap<(Key, i64), Tally> {
        self.last_hour = FOLDED_HOUR;
        self.older.clear();
        for named in &mut self.keys.named {
            named.newest = NONE;
        }
        let cells = std::mem::take(&mut self.cells);
        let rows = cells.into_iter().filter_map(|mut cell| {
            cell.evidence.truncate(self.keys.evidence_max(cell.key, self.bounds.paths));
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
        self.keys = Keys::default();
        self.facts.clear();
        self.by_facts.clear();
    }

    fn owned(&self, key: KeyId) -> Option<Key> {
        let named = self.keys.get(key)?;
        let path = named.has_path().then(|| Path::within(&self.keys.text, named.from, named.length)).flatten();
        Some(Key { facts: Arc::clone(self.facts.get(named.facts as usize)?), path })
    }

    /// Gives keys other numbers: their places in the order of [`Key`]. They change places where they lie.
    fn put_keys_in_order(&mut self) {
        let mut order = self.order();
        for cell in &mut self.cells {
            cell.key = order.get(cell.key as usize).copied().unwrap_or(NONE);
        }
        for at in 0..order.len() {
            while let Some(place) = order.get(at).map(|place| *place as usize).filter(|place| *place != at) {
                self.keys.named.swap(at, place);
                order.swap(at, place);
            }
        }
    }

    /// The place of each key among all, in the order of [`Key`].
    fn order(&self) -> Vec<u32> {
        let ranks = ranks(self.facts.len(), |a, b| self.facts.get(a).cmp(&self.facts.get(b)));
        let place = |key: usize| {
            let named = self.keys.named.get(key)?;
            Some((ranks.get(named.facts as usize), self.keys.path(named)))
        };
        self::ranks(self.keys.named.len(), |a, b| place(a).cmp(&place(b)))
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

    /// What was counted. Of requests that two lines tell of, no more lines are shown than there are requests.
    fn tally(mut self) -> Option<Tally> {
        self.evidence.truncate(usize::try_from(self.count).unwrap_or(usize::MAX));
        (self.count > 0).then_some(Tally { count: self.count, first: self.first, last: self.last, evidence: self.evidence })
    }
}

/// Keys by number: the number of their facts, and their path. Paths stand one behind another in one text.
#[derive(Debug, Default)]
struct Keys {
    named: Vec<Named>,
    text: Arc<String>,
    by_name: HashTable<KeyId>,
    hasher: RandomState,
    /// Keys that have a path.
    paths: usize,
}

#[derive(Clone, Copy, Debug)]
struct Named {
    facts: u32,
    /// Where the path begins; [`NONE`] where there is none.
    from: u32,
    length: u32,
    /// The cell made last.
    newest: u32,
}

impl Named {
    const fn has_path(&self) -> bool {
        self.from != NONE
    }
}

impl Keys {
    fn get(&self, key: KeyId) -> Option<&Named> {
        self.named.get(key as usize)
    }

    /// Lines of a key that are kept as evidence: one, where it is one of more paths than this.
    fn evidence_max(&self, key: KeyId, paths: usize) -> usize {
        let is_one_of_many = self.paths > paths && self.get(key).is_some_and(Named::has_path);
        if is_one_of_many { 1 } else { EVIDENCE_MAX }
    }

    fn path(&self, named: &Named) -> Option<&str> {
        let from = named.from as usize;
        named.has_path().then(|| self.text.get(from..from + named.length as usize)).flatten()
    }

    fn find(&self, facts: u32, path: Option<&str>) -> Option<KeyId> {
        let is_it = |key: &KeyId| self.get(*key).is_some_and(|named| named.facts == facts && self.path(named) == path);
        self.by_name.find(self.hasher.hash_one((facts, path)), is_it).copied()
    }

    /// Adds a key that is not there. Where the text of all paths is full, it has none.
    fn add(&mut self, facts: u32, path: Option<&str>) -> KeyId {
        let end = self.text.len() + path.map_or(0, str::len);
        let path = path.filter(|_| u32::try_from(end).is_ok_and(|end| end != NONE));
        if let Some(known) = self.find(facts, path) {
            return known;
        }
        let key = number(self.named.len());
        let (from, length) = path.map_or((NONE, 0), |path| (number(self.text.len()), number(path.len())));
        room::push_str(Arc::make_mut(&mut self.text), path.unwrap_or_default());
        self.paths += usize::from(path.is_some());
        room::push(&mut self.named, Named { facts, from, length, newest: NONE }, LEDGER_KEYS_MAX);
        let Self { named, text, hasher, by_name, .. } = self;
        let hash = |key: &KeyId| {
            let named = named.get(*key as usize);
            let path = named.filter(|n| n.has_path()).and_then(|n| text.get(n.from as usize..(n.from + n.length) as usize));
            hasher.hash_one((named.map_or(0, |n| n.facts), path))
        };
        if by_name.len() == ROOM_AT_ONCE {
            by_name.reserve(LEDGER_KEYS_MAX - ROOM_AT_ONCE, hash);
        }
        by_name.insert_unique(hash(&key), key, hash);
        key
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

/// The number of nothing.
const NONE: u32 = u32::MAX;
/// [`FOLDED_HOUR`], in a cell.
const FOLDED: i32 = 0;
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
    use crate::limits::HOUR_MS;
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
    fn no_more_lines_are_shown_than_there_are_decisions() {
        for (taken, back, shown) in [(3, 0, 3), (4, 1, 3), (9, 2, EVIDENCE_MAX), (9, 7, 2)] {
            let mut cells = Cells::new(Grain::Denials);
            let key = cells.key(facts(1), None);
            for n in 0..taken {
                cells.count(key, None, start(), (0, n), || Evidence { input: 0, line: n, sha256: Digest::ZERO });
            }
            for _ in 0..back {
                assert!(cells.take_back(0).is_some());
            }
            let mut ledger = Ledger::default();
            cells.pour(&mut ledger);
            let tally = ledger.decided.values().next().unwrap();
            assert_eq!((tally.count, tally.evidence.len()), (taken - back, shown));
        }
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
        // Hours of what was allowed stand in ledger files alone, and may come in any order.
        let rows = counted(0..300, Grain::Every).rows();
        assert_eq!(rows, counted((0..300).map(|n| n * 77 % 300), Grain::Every).rows());
        assert!(rows.len() > 200 && rows.keys().all(|(_, hour)| forth.hours.contains(hour)));
        let mut summed: BTreeMap<Key, u64> = BTreeMap::new();
        for ((key, _), tally) in rows {
            *summed.entry(key).or_default() += tally.count;
        }
        assert!(summed.iter().eq(forth.decided.iter().map(|(key, tally)| (key, &tally.count)).collect::<BTreeMap<_, _>>()));
    }

    #[test]
    fn keys_go_from_hour_to_hour_and_back() {
        let mut cells = Cells::new(Grain::Every);
        let key = cells.key(facts(0), None);
        let evidence = || Evidence { input: 0, line: 1, sha256: Digest::ZERO };
        let cell = |cells: &mut Cells, hours: i64| cells.count(key, None, start().plus_ms(hours * HOUR_MS), (0, 1), evidence).number();
        let hours = [0, 1, 2, 0, 1, 2, 1];
        assert_eq!(hours.map(|h| cell(&mut cells, h)), [0, 1, 2, 0, 1, 2, 1]);
        // A row for each hour, with its count; and none of them is known any more.
        assert_eq!(cells.rows().values().map(|t| t.count).collect::<Vec<_>>(), [2, 3, 2]);
        assert_eq!([1, 0].map(|h| cell(&mut cells, h)), [0, 1]);
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
