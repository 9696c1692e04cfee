//! Several ledgers into one, row by row: memory does not grow with their length.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::path::Path;

use super::LedgerError;
use super::file::{LedgerFile, Rows, Writer};
use super::part::Part;
use super::row::{Row, RowKey};

/// Merges ledgers into a new file. The order in which they are given does not show in it.
///
/// # Errors
/// A range of a log stands in two of them, or reading or writing fails.
pub fn merge(ledgers: &[LedgerFile], out: &Path) -> Result<(), LedgerError> {
    let mut parts: Vec<&Part> = ledgers.iter().flat_map(|l| &l.parts).collect();
    parts.sort();
    for pair in parts.windows(2) {
        if let [a, b] = pair
            && a.overlaps(b)
        {
            return Err(LedgerError::Twice { log: b.log.clone(), from: b.from, to: a.to.min(b.to) });
        }
    }
    let places = |ledger: &LedgerFile| ledger.parts.iter().filter_map(|part| parts.binary_search(&part).ok()).collect::<Vec<_>>();
    let places: Vec<Vec<usize>> = ledgers.iter().map(places).collect();
    let owned: Vec<Part> = parts.iter().map(|part| (*part).clone()).collect();
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
                row.absorb(&other);
            }
            empty.insert(n);
        }
        writer.row(&row)?;
    }
    writer.finish()
}
