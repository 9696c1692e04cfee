//! Several ledgers into one, row by row: memory does not grow with their length.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::path::Path;

use portreeve_engine::Digest;

use super::LedgerError;
use super::file::{LedgerFile, Rows, Writer};
use super::part::Part;
use super::row::{Row, RowKey};
use crate::assessment::Evidence;

/// Lines of other meshes that stand in two logs. They are counted each, since such a line need not be the only one of its kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Alike {
    /// How many were met among those that rows point at; there may be more.
    pub lines: u64,
    /// The first two such logs.
    pub logs: Option<(String, String)>,
}

/// Merges ledgers into a new file, and tells which lines stand in two of their logs. The order in which they are given does not show in it.
///
/// # Errors
/// A range of a log, the same bytes under another name, or a record of our own log stands in two of them, or reading or writing fails.
pub fn merge(ledgers: &[LedgerFile], out: &Path) -> Result<Alike, LedgerError> {
    let mut parts: Vec<&Part> = ledgers.iter().flat_map(|l| &l.parts).collect();
    parts.sort();
    for pair in parts.windows(2) {
        if let [a, b] = pair
            && a.overlaps(b)
        {
            return Err(LedgerError::Twice { log: b.log.clone(), from: b.from, to: a.to.min(b.to) });
        }
    }
    refuse_copies(&parts)?;
    let places = |ledger: &LedgerFile| ledger.parts.iter().filter_map(|part| parts.binary_search(&part).ok()).collect::<Vec<_>>();
    let places: Vec<Vec<usize>> = ledgers.iter().map(places).collect();
    let owned: Vec<Part> = parts.iter().map(|part| (*part).clone()).collect();
    let mut alike = Alike::default();
    let mut writer = Writer::new(out, &owned, ledgers.iter().map(|l| l.folded).sum())?;
    let mut rows = ledgers.iter().map(LedgerFile::rows).collect::<Result<Vec<Rows>, _>>()?;
    let mut heads: Vec<Option<Row>> = rows.iter().map(|_| None).collect();
    let mut order: BinaryHeap<Reverse<(RowKey, usize)>> = BinaryHeap::new();
    let mut empty: BTreeSet<usize> = (0..ledgers.len()).collect();
    loop {
        for n in std::mem::take(&mut empty) {
            if let (Some(rows), Some(head)) = (rows.get_mut(n), heads.get_mut(n)) {
                let mut row = rows.next().transpose()?;
                if let (Some(row), Some(places)) = (&mut row, places.get(n)) {
                    row.place(places);
                    order.push(Reverse((row.key.clone(), n)));
                }
                *head = row;
            }
        }
        let Some(Reverse((key, n))) = order.pop() else { break };
        let Some(mut row) = heads.get_mut(n).and_then(Option::take) else { continue };
        empty.insert(n);
        while order.peek().is_some_and(|Reverse((next, _))| *next == key) {
            let Some(Reverse((_, n))) = order.pop() else { break };
            if let Some(other) = heads.get_mut(n).and_then(Option::take) {
                compare(&row, &other, &parts, &mut alike)?;
                row.absorb(&other);
            }
            empty.insert(n);
        }
        writer.row(&row)?;
    }
    writer.finish()?;
    Ok(alike)
}

/// Whatever the names are: bytes in which something is decided are nowhere twice, but for a copy.
fn refuse_copies(parts: &[&Part]) -> Result<(), LedgerError> {
    let mut seen: BTreeMap<Digest, &Part> = BTreeMap::new();
    for part in parts.iter().filter(|part| part.decided > 0 && part.from < part.to) {
        if let Some(other) = seen.insert(part.sha256, part) {
            return Err(LedgerError::Copy { log: other.log.clone(), other: part.log.clone() });
        }
    }
    Ok(())
}

/// Whether two rows of one key point at the same line of two logs.
fn compare(row: &Row, other: &Row, parts: &[&Part], alike: &mut Alike) -> Result<(), LedgerError> {
    let RowKey::Decided(key, _) = &row.key else { return Ok(()) };
    for theirs in &other.tally.evidence {
        let same = |ours: &&Evidence| ours.sha256 == theirs.sha256 && ours.input != theirs.input;
        let Some(ours) = row.tally.evidence.iter().find(same) else { continue };
        let (Some(one), Some(two)) = (parts.get(ours.input.min(theirs.input)), parts.get(ours.input.max(theirs.input))) else { continue };
        if !key.is_foreign() {
            let lines = if ours.input < theirs.input { (ours.line, theirs.line) } else { (theirs.line, ours.line) };
            return Err(LedgerError::Overlap { log: one.log.clone(), other: two.log.clone(), lines });
        }
        if one.log != two.log {
            alike.lines += 1;
            alike.logs.get_or_insert_with(|| (one.log.clone(), two.log.clone()));
        }
    }
    Ok(())
}
