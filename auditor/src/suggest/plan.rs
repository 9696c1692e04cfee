//! The operations of one service and who may use which, from what was asked of it.
//!
//! INVARIANT: no grant covers a question that was denied to its caller: it is kept out by an operation of its own where its words
//! differ, else the grant is taken back.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::Digest;

use super::paths::{Pattern, Seg, best, joined, settle, written};
use super::seer::{Ask, Key, Party, Sight, VALUES_KEPT_MAX};
use crate::limits::SUGGEST_LITERALS_MAX;

/// One service's operations and who may use which.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) ops: BTreeSet<Ask>,
    pub(super) grants: BTreeMap<(Party, Ask), Sight>,
    /// Grants taken back, for they would cover what was denied.
    pub(super) withdrawn: BTreeSet<(Party, Ask)>,
}

impl Plan {
    /// `without` are operations that are not to be.
    pub(super) fn of(sights: &[(&Key, &Sight)], without: &BTreeSet<Ask>) -> Self {
        let mut out = Self::default();
        for (key, _) in sights.iter().filter(|(_, s)| s.allowed > 0) {
            if !matches!(key.ask, Ask::Http { .. }) {
                out.ops.insert(key.ask.clone());
            }
        }
        out.ops.extend(patterns(sights).into_iter().map(|(method, path)| Ask::Http { method: method.to_owned(), path }));
        out.ops.retain(|op| !without.contains(op));
        let mut added = 0;
        loop {
            out.grant(sights);
            let Some((key, op)) = out.wrong(sights) else { break };
            if key.ask != op && added < SUGGEST_LITERALS_MAX && !without.contains(&key.ask) {
                added += 1;
                out.ops.insert(key.ask.clone());
            } else {
                out.withdrawn.insert((key.from.clone(), op));
            }
        }
        // An operation that nobody may use is declared only where it keeps a wider one from being met.
        let used: BTreeSet<&Ask> = out.grants.keys().map(|(_, op)| op).collect();
        let denied: BTreeSet<&Ask> = sights.iter().filter(|(_, s)| s.denied > 0).map(|(key, _)| &key.ask).collect();
        let keeps = |op: &Ask| used.contains(op) || (denied.contains(op) && used.iter().any(|wide| **wide != *op && covers(wide, op)));
        let kept = out.ops.iter().filter(|op| keeps(op)).cloned().collect();
        out.ops = kept;
        out
    }

    fn grant(&mut self, sights: &[(&Key, &Sight)]) {
        self.grants.clear();
        for (key, sight) in sights.iter().filter(|(_, s)| s.allowed > 0) {
            let Some(op) = meets(&self.ops, &key.ask) else { continue };
            let grant = (key.from.clone(), op.clone());
            if self.withdrawn.contains(&grant) {
                continue;
            }
            let is_guessed = *op != key.ask;
            let held = self.grants.entry(grant).or_default();
            held.join(sight);
            // Words that were taken for values.
            if is_guessed {
                held.shapes.insert("word");
                if held.values.len() < VALUES_KEPT_MAX {
                    held.values.insert(Digest::of(words(&key.ask).as_bytes()));
                }
            }
        }
    }

    /// A denied question that a grant covers.
    fn wrong<'s>(&self, sights: &[(&'s Key, &Sight)]) -> Option<(&'s Key, Ask)> {
        sights.iter().filter(|(_, s)| s.denied > 0).find_map(|(key, _)| {
            let op = meets(&self.ops, &key.ask)?.clone();
            self.grants.contains_key(&(key.from.clone(), op.clone())).then_some((*key, op))
        })
    }
}

/// The patterns of what was allowed, by method. Where records name the operation, its paths of one length are one pattern; elsewhere
/// words that look like values are taken for such.
fn patterns<'s>(sights: &[(&'s Key, &'s Sight)]) -> BTreeSet<(&'s str, Pattern)> {
    let mut named: BTreeMap<(&str, &str, usize, bool), Pattern> = BTreeMap::new();
    let mut unnamed: BTreeMap<&str, BTreeSet<Pattern>> = BTreeMap::new();
    for (key, sight) in sights.iter().filter(|(_, s)| s.allowed > 0) {
        let Ask::Http { method, path } = &key.ask else { continue };
        match (sight.operations.len(), sight.operations.first()) {
            (1, Some(operation)) => {
                let is_open = path.last() == Some(&Seg::Word(String::new()));
                let held = named.entry((method, operation, path.len(), is_open)).or_insert_with(|| path.clone());
                *held = joined(held, path);
            }
            _ => drop(unnamed.entry(method).or_default().insert(path.clone())),
        }
    }
    let settled = unnamed.into_iter().flat_map(|(method, all)| settle(&all).into_iter().map(move |path| (method, path)));
    named.into_iter().map(|((method, ..), path)| (method, path)).chain(settled).collect()
}

/// The operation that a question meets.
pub(super) fn meets<'o>(ops: &'o BTreeSet<Ask>, ask: &Ask) -> Option<&'o Ask> {
    let Ask::Http { method, path } = ask else { return ops.get(ask) };
    let mine = |op: &'o Ask| match op {
        Ask::Http { method: m, path } if m == method => Some(path),
        _ => None,
    };
    let found = best(ops.iter().filter_map(mine), path)?;
    ops.get(&Ask::Http { method: method.clone(), path: found.clone() })
}

fn covers(wide: &Ask, narrow: &Ask) -> bool {
    meets(&BTreeSet::from([wide.clone()]), narrow).is_some()
}

/// An operation in words.
pub(super) fn words(op: &Ask) -> String {
    match op {
        Ask::Declared(id) => id.clone(),
        Ask::Http { method, path } => format!("{method} {}", written(path)),
        Ask::Connect { port } => format!("port {port}"),
    }
}
