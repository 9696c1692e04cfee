//! Puts requests of other meshes to two bundles, for whoever wants to know what a change of policy does to them.
//!
//! Each distinct question is asked once. As in the fold, the two sides of one request and lines read twice are counted once where
//! lines have a request id. What the mesh did plays no part: both answers are policy's.
//!
//! INVARIANT: each request taken adds to one group, but for duplicates, which add to none.

use std::collections::{BTreeSet, HashMap};

use portreeve_engine::decision::{Effect, Reason};
use portreeve_engine::{Authorizer, Request, Timestamp};
use smallvec::SmallVec;

use super::Format;
use super::deciding::Deciding;
use super::fold::{Place, Taken, write_question};
use super::judge::{Judge, Judged, Lawful};
use super::memory::{Asked, Memory};
use super::names::Names;
use super::pairs::{About, Counted, Pairs, Side, Told};
use super::quick::Sketch;
use super::seen::{Did, Grade, Reporter, Seen, Tie};
use crate::ledger::Tally;
use crate::limits::UNNAMED_CALLERS_MAX;
use crate::replay_report::Call;

/// What one bundle says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Answer {
    pub(crate) lawful: Lawful,
    pub(crate) reason: Option<Reason>,
    pub(crate) policies: Vec<String>,
}

/// Requests that both bundles treat alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Group {
    pub(crate) call: Call,
    pub(crate) before: Answer,
    pub(crate) after: Answer,
    /// What the caller of [`TwoLaws::take`] knows of them.
    pub(crate) marks: Vec<usize>,
}

/// The requests taken so far, under two bundles.
pub(crate) struct TwoLaws<'a> {
    judges: [Judge<'a>; 2],
    names: Names,
    /// Groups by question.
    known: Asked,
    /// The same by the deciding bytes of lines.
    memory: Memory<Placed>,
    /// Requests that were known by them.
    pub(crate) again: u64,
    groups: Vec<(Group, Tally)>,
    by_group: HashMap<Group, u32>,
    pairs: Pairs,
    unnamed: BTreeSet<String>,
    question: Vec<u8>,
}

/// Where requests of one question are counted, and what they are about.
#[derive(Clone, Copy, Debug)]
struct Placed {
    group: u32,
    side: Side,
    about: About,
    grade: Grade,
    taken: Taken,
}

impl<'a> TwoLaws<'a> {
    pub(crate) fn new(laws: [&'a Authorizer; 2], names: Names) -> Self {
        Self {
            judges: laws.map(Judge::new),
            names,
            known: Asked::default(),
            memory: Memory::new(),
            again: 0,
            groups: Vec::new(),
            by_group: HashMap::new(),
            pairs: Pairs::default(),
            unnamed: BTreeSet::new(),
            question: Vec::new(),
        }
    }

    /// Whether an answer may depend on the time.
    fn is_timed(&self) -> bool {
        self.names.read_time() || self.judges.iter().any(|judge| judge.timed)
    }

    /// Whether it may know some request again by its deciding bytes, which are whole or not.
    pub(crate) fn recalls(&self, whole: bool) -> bool {
        !self.is_timed() && (whole || self.names.addresses.is_empty())
    }

    /// Whether the address of a caller that has an identity may change an answer.
    pub(crate) fn caller_address_counts(&self) -> bool {
        self.judges.iter().any(|judge| judge.reads_address)
    }

    /// Fetches what [`TwoLaws::take_again`] will look at of several requests.
    pub(crate) fn fetch(&self, sketched: &mut dyn Iterator<Item = (Timestamp, u64)>) {
        for (_, hash) in sketched {
            let _ = self.memory.fetch(BOTH, hash);
        }
    }

    /// Takes one request that was sketched, if what decides it was seen before.
    pub(crate) fn take_again(&mut self, place: &Place<'_>, sketch: &Sketch<'_>, deciding: Deciding<'_>) -> Option<(Taken, Grade)> {
        if self.is_timed() || self.names.read_more_than(deciding) {
            return None;
        }
        let placed = *self.memory.get(BOTH, deciding)?;
        self.again += 1;
        self.add(placed, place, sketch.at, sketch.known_by);
        Some((placed.taken, placed.grade))
    }

    /// Takes one request. `marks` is asked of a question that both bundles can answer. Where its line was sketched, its place is
    /// remembered under its deciding bytes.
    pub(crate) fn take(
        &mut self,
        format: Format,
        place: &Place<'_>,
        seen: &Seen<'_>,
        deciding: Option<Deciding<'_>>,
        marks: impl FnOnce(&Request) -> Vec<usize>,
    ) -> Taken {
        let mut question = std::mem::take(&mut self.question);
        write_question(&mut question, (format, 0), seen, Effect::Allow, self.is_timed());
        let index = self.known.get(&question).unwrap_or_else(|| {
            let index = self.group(seen, marks);
            self.known.put(&question, index);
            index
        });
        self.question = question;
        let to = self.groups.get(index as usize).map_or("", |(group, _)| group.call.to.as_str());
        let placed = Placed {
            group: index,
            side: match seen.reporter {
                Reporter::Inbound => Side::Called,
                Reporter::Outbound => Side::Calling,
            },
            about: About::of(&[to, seen.method.as_deref().unwrap_or_default(), seen.path.as_deref().unwrap_or_default()]),
            grade: seen.grade,
            taken: match seen.did {
                Did::Allowed => Taken::Decided(Effect::Allow),
                Did::Denied(_) => Taken::Decided(Effect::Deny),
                Did::Unknown => Taken::Undetermined,
            },
        };
        self.add(placed, place, seen.at, seen.known_by());
        if let Some(deciding) = deciding.filter(|deciding| !self.is_timed() && !self.names.read_more_than(*deciding)) {
            self.memory.put(BOTH, deciding, placed);
        }
        placed.taken
    }

    fn add(&mut self, placed: Placed, place: &Place<'_>, at: Timestamp, known_by: Option<(Tie, &[u8])>) {
        let Placed { group, side, about, grade, .. } = placed;
        let Some((_, tally)) = self.groups.get_mut(group as usize) else { return };
        tally.add_made(at, (place.input, place.line), || place.evidence());
        if let Some(known_by) = known_by {
            self.pairs.add(side, about, known_by, Counted { at, grade, input: place.input, cell: group, certificate: None });
        }
    }

    /// The groups with their counts, and how many lines said again what another line says.
    pub(crate) fn finish(mut self) -> (Vec<(Group, Tally)>, u64) {
        let groups = &self.groups;
        let told = |cell: u32| groups.get(cell as usize).map(|(group, _)| Told { caller: Some(&*group.call.from), did: None });
        let surplus = self.pairs.surplus(told).lines;
        for (cell, _) in &surplus {
            if let Some((_, tally)) = self.groups.get_mut(*cell as usize) {
                tally.count = tally.count.saturating_sub(1);
            }
        }
        for (_, tally) in &mut self.groups {
            // Of requests that two lines tell of, no more lines are shown than there are requests.
            tally.evidence.truncate(usize::try_from(tally.count).unwrap_or(usize::MAX));
        }
        self.groups.retain(|(_, tally)| tally.count > 0);
        (self.groups, surplus.len() as u64)
    }

    /// The group of a question that was not asked before, with no request in it yet.
    fn group(&mut self, seen: &Seen<'_>, marks: impl FnOnce(&Request) -> Vec<usize>) -> u32 {
        let [(before, request), (after, _)] = self.judges.each_ref().map(|judge| judge.judge_with(seen, &self.names));
        let both_answer = matches!((before.lawful, after.lawful), (Lawful::Says(_), Lawful::Says(_)));
        let marks = request.filter(|_| both_answer).map(|request| marks(&request)).unwrap_or_default();
        let call = self.call(&before, &after);
        let group = Group { call, before: Answer::of(before), after: Answer::of(after), marks };
        if let Some(index) = self.by_group.get(&group) {
            return *index;
        }
        let index = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        self.by_group.insert(group.clone(), index);
        let none = Tally { count: 0, first: seen.at, last: seen.at, evidence: SmallVec::new() };
        self.groups.push((group, none));
        index
    }

    /// Who called what, in the words of the new bundle where it knows them.
    fn call(&mut self, before: &Judged, after: &Judged) -> Call {
        let named = |j: &Judged| j.from.clone().or_else(|| j.from_id.as_ref().map(ToString::to_string));
        let from = named(after).or_else(|| named(before)).unwrap_or_else(|| {
            let name = after.from_name.clone().unwrap_or_else(|| "unknown".to_owned());
            if self.unnamed.contains(&name) || self.unnamed.len() < UNNAMED_CALLERS_MAX {
                self.unnamed.insert(name.clone());
                name
            } else {
                "others".to_owned()
            }
        });
        let operation = after.operation.as_ref().or(before.operation.as_ref());
        Call { from, to: after.to.clone(), operation: operation.cloned().unwrap_or_else(|| "undeclared paths".to_owned()) }
    }
}

impl Answer {
    fn of(judged: Judged) -> Self {
        Self { lawful: judged.lawful, reason: judged.reason, policies: judged.policies }
    }
}

/// Stands for the bundle in questions that are put to both.
const BOTH: u32 = 0;
