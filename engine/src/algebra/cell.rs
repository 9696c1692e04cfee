//! One caller's kind and one target's kind: for which contexts do two bundles answer differently, and which policies make the
//! difference?
//!
//! A bundle allows the contexts that are well formed, in which some grant is satisfied, no prohibition is, and nothing errs
//! (INV-4). That is a set; what is newly allowed and what is newly denied are differences of two sets.
//!
//! Two texts of one opaque condition are compared twice: once as if the new text still said what the old one did, which shows
//! what everything else changes, and once as two conditions, of which nothing is known. What only the second shows is what the
//! new text may change.

use serde::Serialize;

use crate::algebra::diagram::{NONE, Set, TooLarge};
use crate::algebra::law::{Clause, Term};
use crate::algebra::space::{Answer, Space};
use crate::model::{Condition, Visible};
use crate::request::Context;

/// How a bundle answers the requests of one caller for one operation, over all well-formed contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It allows none.
    Never,
    /// It allows some.
    Conditional,
    /// It allows all.
    Always,
}

/// One bundle's side of a cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'c, 'a> {
    /// What policies may read; `None` where the bundle has no such service.
    pub(crate) visible: Option<&'a Visible>,
    /// The policies whose scope covers the cell.
    pub(crate) clauses: &'c [&'c Clause<'a>],
    /// For each of them the number of its opaque question. Equal numbers are the same function of the request.
    pub(crate) questions: &'c [Option<usize>],
}

/// What a comparison of a cell gave.
#[derive(Clone, Debug)]
pub(crate) struct Compared {
    pub(crate) before: Status,
    pub(crate) after: Status,
    /// What is newly allowed and newly denied, changed texts of opaque conditions left aside; what is certain comes first.
    pub(crate) plain: [Vec<Difference>; 2],
    /// What may be newly allowed and newly denied by changed texts of opaque conditions, beyond that.
    pub(crate) changed: [Option<Difference>; 2],
}

impl Compared {
    /// Whether nothing differs, and nothing may.
    pub(crate) fn is_same(&self) -> bool {
        self.plain.iter().all(Vec::is_empty) && self.changed.iter().all(Option::is_none)
    }
}

/// Contexts in which the answers differ in one direction.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    /// Whether they differ whatever opaque conditions answer. Otherwise they may.
    pub(crate) certain: bool,
    /// Some of the contexts; where the difference is certain there is one.
    pub(crate) contexts: Vec<Context>,
    /// The policies that make it, by position on each side.
    pub(crate) responsible: [Vec<usize>; 2],
}

/// Compares the two sides. `assumed` are the questions of the new side as if no text of an opaque condition had changed.
pub(crate) fn compare(sides: [Side<'_, '_>; 2], assumed: &[Option<usize>]) -> Result<Compared, TooLarge> {
    let mut cell = Cell::new(sides)?;
    let old = cell.allowed(0)?;
    let new = cell.allowed(1)?;
    let (before, after) = (cell.status(0, old)?, cell.status(1, new)?);
    let [real_old, real_new] = [cell.space.sets.minus(new, old)?, cell.space.sets.minus(old, new)?];
    let [_, new_side] = sides;
    let texts_changed = new_side.questions != assumed;
    let real = cell.extents.clone();
    cell.assume(assumed)?;
    let new = cell.allowed(1)?;
    let plain = [cell.space.sets.minus(new, old)?, cell.space.sets.minus(old, new)?];
    let differences = [cell.differences(plain, 0)?, cell.differences(plain, 1)?];
    let mut changed = [None, None];
    if texts_changed {
        let [gained, lost] = plain;
        let beyond = [cell.space.sets.minus(real_old, gained)?, cell.space.sets.minus(real_new, lost)?];
        cell.extents = real;
        let [gained, lost] = beyond;
        changed = [cell.retold(gained, assumed), cell.retold(lost, assumed)];
    }
    Ok(Compared { before, after, plain: differences, changed })
}

/// When a policy of a cell is satisfied, and when it errs.
#[derive(Clone, Copy, Debug)]
struct Extent {
    satisfied: Set,
    errs: Set,
}

struct Cell<'c, 'a> {
    sides: [Side<'c, 'a>; 2],
    space: Space,
    extents: [Vec<Extent>; 2],
    /// For each opaque question whether its answer can be an error.
    can_err: Vec<bool>,
}

impl<'c, 'a> Cell<'c, 'a> {
    fn new(sides: [Side<'c, 'a>; 2]) -> Result<Self, TooLarge> {
        let [old, new] = sides;
        // Where a bundle does not know the service it denies all: what the other makes visible is all there is to see.
        let known = old.visible.or(new.visible).ok_or(TooLarge)?;
        let visible = [old.visible.unwrap_or(new.visible.unwrap_or(known)), new.visible.unwrap_or(known)];
        let conditions: Vec<&Condition> = sides
            .iter()
            .flat_map(|s| s.clauses)
            .filter_map(|c| if let Term::Native(condition) = c.term { Some(condition) } else { None })
            .collect();
        let questions = sides.iter().flat_map(|s| s.questions).flatten().max().map_or(0, |most| most + 1);
        let mut space = Space::new(visible, &conditions, questions)?;
        let asked = || sides.iter().flat_map(|s| s.clauses.iter().zip(s.questions));
        let sure = |n: usize| asked().any(|(c, q)| *q == Some(n) && matches!(&c.term, Term::Opaque(opaque) if !opaque.can_err()));
        let can_err: Vec<bool> = (0..questions).map(|n| !sure(n)).collect();
        let mut extents = [Vec::new(), Vec::new()];
        for ((number, side), out) in sides.iter().enumerate().zip(&mut extents) {
            for (clause, question) in side.clauses.iter().zip(side.questions) {
                out.push(extent(&mut space, number, clause, *question, &can_err)?);
            }
        }
        Ok(Self { sides, space, extents, can_err })
    }

    /// Asks these opaque questions on the new side.
    fn assume(&mut self, questions: &[Option<usize>]) -> Result<(), TooLarge> {
        let [_, side] = self.sides;
        let mut extents = Vec::new();
        for (clause, question) in side.clauses.iter().zip(questions) {
            extents.push(extent(&mut self.space, 1, clause, *question, &self.can_err)?);
        }
        let [_, new] = &mut self.extents;
        *new = extents;
        Ok(())
    }

    fn extents(&self, side: usize) -> impl Iterator<Item = (&'c Clause<'a>, Extent)> {
        let clauses = self.sides.get(side).map(|s| s.clauses).unwrap_or_default();
        let extents = self.extents.get(side).map(Vec::as_slice).unwrap_or_default().to_vec();
        clauses.iter().copied().zip(extents)
    }

    /// The contexts that a bundle allows.
    fn allowed(&mut self, side: usize) -> Result<Set, TooLarge> {
        if self.sides.get(side).is_none_or(|s| s.visible.is_none()) {
            return Ok(NONE);
        }
        let (mut granted, mut refused) = (NONE, self.space.malformed(side)?);
        for (clause, extent) in self.extents(side).collect::<Vec<_>>() {
            refused = self.space.sets.or(refused, extent.errs)?;
            let part = if clause.is_grant() { &mut granted } else { &mut refused };
            *part = self.space.sets.or(*part, extent.satisfied)?;
        }
        self.space.sets.minus(granted, refused)
    }

    fn status(&mut self, side: usize, allowed: Set) -> Result<Status, TooLarge> {
        if allowed == NONE {
            return Ok(Status::Never);
        }
        let malformed = self.space.malformed(side)?;
        let well_formed = self.space.sets.not(malformed)?;
        Ok(if allowed == well_formed { Status::Always } else { Status::Conditional })
    }

    /// One of two sets, gained (0) and lost (1): what of it is certain, and what depends on opaque conditions.
    fn differences(&mut self, sets: [Set; 2], which: usize) -> Result<Vec<Difference>, TooLarge> {
        let set = sets.get(which).copied().unwrap_or(NONE);
        let sure = self.space.certain(set)?;
        let open = self.space.sets.minus(set, sure)?;
        let mut out = Vec::new();
        for (part, certain) in [(sure, true), (open, false)] {
            if part != NONE {
                let contexts = self.space.contexts(part, if certain { 1 } else { CONTEXTS_TRIED });
                let mut responsible = self.responsible(part, which == 0, certain)?;
                if certain && responsible.iter().all(Vec::is_empty) {
                    responsible = self.responsible(part, which == 0, false)?;
                }
                out.push(Difference { certain, contexts, responsible });
            }
        }
        Ok(out)
    }

    /// A difference made by opaque policies whose text, or what they are shown, is not what it was: new ones, and old ones of
    /// the same name.
    fn retold(&self, set: Set, assumed: &[Option<usize>]) -> Option<Difference> {
        if set == NONE {
            return None;
        }
        let [old, new] = self.sides;
        let pairs = new.questions.iter().zip(assumed).enumerate();
        let after: Vec<usize> = pairs.filter(|(_, (real, assumed))| real != assumed).map(|(n, _)| n).collect();
        let ids: Vec<&str> = after.iter().filter_map(|n| new.clauses.get(*n)).map(|c| &*c.policy.id).collect();
        let before = old.clauses.iter().enumerate().filter(|(_, c)| ids.contains(&&*c.policy.id)).map(|(n, _)| n);
        let responsible = [before.collect(), after];
        Some(Difference { certain: false, contexts: self.space.contexts(set, CONTEXTS_TRIED), responsible })
    }

    /// The policies that make a difference: those which the other side does not have like that, and whose being satisfied (or
    /// erring) bears on it; and the other side's policies of the same names.
    fn responsible(&mut self, set: Set, gained: bool, certain: bool) -> Result<[Vec<usize>; 2], TooLarge> {
        let mut out = [Vec::new(), Vec::new()];
        for (side, found) in out.iter_mut().enumerate() {
            // What was allowed and is not: grants that went and prohibitions that came. The other way round likewise.
            let grants = (side == 1) == gained;
            for (position, (clause, extent)) in self.extents(side).collect::<Vec<_>>().into_iter().enumerate() {
                let bearing = if clause.is_grant() == grants { extent.satisfied } else { NONE };
                let errs = if grants { NONE } else { extent.errs };
                let bearing = self.space.sets.or(bearing, errs)?;
                let mut part = self.space.sets.and(bearing, set)?;
                if certain {
                    // What is certain is not made by opaque conditions.
                    part = self.space.certain(part)?;
                }
                if part != NONE && !self.has_like(1 - side, clause, extent) {
                    found.push(position);
                }
            }
        }
        let ids = |side: usize, found: &[Vec<usize>; 2]| -> Vec<&str> {
            let clauses = self.sides.get(side).map(|s| s.clauses).unwrap_or_default();
            found.get(side).into_iter().flatten().filter_map(|n| clauses.get(*n)).map(|c| &*c.policy.id).collect()
        };
        let named = [ids(1, &out), ids(0, &out)].map(|ids| ids.into_iter().map(str::to_owned).collect::<Vec<_>>());
        for ((side, found), named) in out.iter_mut().enumerate().zip(named) {
            let clauses = self.sides.get(side).map(|s| s.clauses).unwrap_or_default();
            found.extend(clauses.iter().enumerate().filter(|(_, c)| named.iter().any(|n| **n == *c.policy.id)).map(|(n, _)| n));
            found.sort_unstable();
            found.dedup();
        }
        Ok(out)
    }

    /// Whether a side has a policy of the same effect that is satisfied, and errs, in the same contexts.
    fn has_like(&self, side: usize, clause: &Clause<'_>, extent: Extent) -> bool {
        self.extents(side)
            .any(|(other, e)| other.policy.effect == clause.policy.effect && e.satisfied == extent.satisfied && e.errs == extent.errs)
    }
}

fn extent(space: &mut Space, side: usize, clause: &Clause<'_>, question: Option<usize>, can_err: &[bool]) -> Result<Extent, TooLarge> {
    use crate::algebra::diagram::ALL;
    match (&clause.term, question) {
        (Term::Always, _) => Ok(Extent { satisfied: ALL, errs: NONE }),
        (Term::Native(condition), _) => Ok(Extent { satisfied: space.condition(side, condition)?, errs: NONE }),
        (Term::Opaque(_), Some(question)) => {
            // Where no error can be, its value of the variable is one more no.
            let errs = if can_err.get(question) == Some(&false) { NONE } else { space.opaque(question, Answer::Error)? };
            Ok(Extent { satisfied: space.opaque(question, Answer::Yes)?, errs })
        }
        (Term::Opaque(_), None) => Err(TooLarge),
    }
}

/// Contexts tried for a witness where opaque conditions decide.
const CONTEXTS_TRIED: usize = 12;
