//! Takes together what people read as one change: the same kind, made by the same policies, for the same callers.
//!
//! A change holds for *each* of its callers and *each* of its operations, so nothing is claimed that was not found.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::algebra::cell::{Difference, Status};
use crate::algebra::law::Law;
use crate::algebra::principal::Principals;
use crate::algebra::target::TargetKind;
use crate::decision::PolicyRef;
use crate::diff::survey::Found;
use crate::diff::witness::{Judge, Tried};
use crate::diff::{By, CellName, Change, ChangedOperation, ChangedService, Declaration, Direction, Kind, Tally};
use crate::limits::WITNESSES_TRIED;
use crate::model::Service;
use crate::request::{Context, Target};

/// What the cells of one change have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Nature {
    kind: Kind,
    before: Status,
    after: Status,
    direction: Direction,
    /// The responsible policies, by number.
    policies: [Vec<u32>; 2],
    /// Where no policy is responsible: the service whose declaration is.
    declared: Option<Box<str>>,
}

/// A change before its witness is found.
#[derive(Debug)]
pub(crate) struct Draft {
    nature: Nature,
    callers: Vec<u32>,
    cells: Vec<(Box<str>, Rc<TargetKind>)>,
    tries: Vec<Try>,
}

/// A caller, a target and contexts in which the answers differ, or may.
#[derive(Debug)]
pub(crate) struct Try {
    pub(crate) caller: u32,
    pub(crate) service: Box<str>,
    pub(crate) target: Rc<TargetKind>,
    pub(crate) contexts: Vec<Context>,
}

/// Groups what was found.
pub(crate) fn group(judge: &mut Judge<'_, '_>, found: Vec<Found>) -> Vec<Draft> {
    // Per target first: the callers of all blocks with one nature. Targets come one after the other.
    let mut drafts: BTreeMap<(Nature, Vec<u32>), Draft> = BTreeMap::new();
    let mut here: BTreeMap<Nature, (Vec<u32>, Vec<Try>)> = BTreeMap::new();
    let mut at: Option<(Box<str>, Rc<TargetKind>)> = None;
    for cell in found {
        let same = at.as_ref().is_some_and(|(service, target)| *service == cell.service && Rc::ptr_eq(target, &cell.target));
        if !same {
            close(&mut drafts, &mut here, at.take());
            at = Some((cell.service.clone(), Rc::clone(&cell.target)));
        }
        for (nature, shown) in natures(judge, &cell) {
            let (callers, tries) = here.entry(nature).or_default();
            callers.extend(&shown.callers);
            if let (true, Some(caller)) = (tries.len() < WITNESSES_TRIED, shown.callers.first()) {
                let (service, target) = (cell.service.clone(), Rc::clone(&cell.target));
                tries.push(Try { caller: *caller, service, target, contexts: shown.contexts });
            }
        }
    }
    close(&mut drafts, &mut here, at);
    drafts.into_values().collect()
}

/// Callers for which a change was found, and contexts to show it.
struct Shown {
    callers: Vec<u32>,
    contexts: Vec<Context>,
}

fn close(
    drafts: &mut BTreeMap<(Nature, Vec<u32>), Draft>,
    here: &mut BTreeMap<Nature, (Vec<u32>, Vec<Try>)>,
    at: Option<(Box<str>, Rc<TargetKind>)>,
) {
    let Some(at) = at else { return };
    for (nature, (mut callers, tries)) in std::mem::take(here) {
        callers.sort_unstable();
        callers.dedup();
        let draft = drafts.entry((nature.clone(), callers.clone())).or_insert_with(|| Draft {
            nature,
            callers,
            cells: Vec::new(),
            tries: Vec::new(),
        });
        draft.cells.push(at.clone());
        let room = WITNESSES_TRIED.saturating_sub(draft.tries.len());
        draft.tries.extend(tries.into_iter().take(room));
    }
}

/// The changes that one cell shows, each with contexts in which the answers differ, or may.
fn natures(judge: &mut Judge<'_, '_>, cell: &Found) -> Vec<(Nature, Shown)> {
    let (before, after) = (cell.compared.before, cell.compared.after);
    let mut out = Vec::new();
    let plain = cell.compared.plain.iter().zip([Direction::Allow, Direction::Deny]);
    for (difference, direction) in plain.flat_map(|(differences, direction)| differences.iter().map(move |d| (d, direction))) {
        let sure = nature(cell, kind(before, after, direction), direction, &[difference]);
        if difference.certain {
            out.push((sure, Shown { callers: cell.callers.clone(), contexts: difference.contexts.clone() }));
            continue;
        }
        // An opaque condition has a say. A request that shows the change proves it, for the caller that was asked about.
        let mut open = Vec::new();
        for caller in &cell.callers {
            let one = Try {
                caller: *caller,
                service: cell.service.clone(),
                target: Rc::clone(&cell.target),
                contexts: difference.contexts.clone(),
            };
            match judge.shows(&one, direction) {
                Some(context) => out.push((sure.clone(), Shown { callers: vec![*caller], contexts: vec![context] })),
                None => open.push(*caller),
            }
        }
        if !open.is_empty() {
            let may = nature(cell, Kind::MayDiffer, direction, &[difference]);
            out.push((may, Shown { callers: open, contexts: difference.contexts.clone() }));
        }
    }
    let parts: Vec<&Difference> = cell.compared.changed.iter().flatten().collect();
    let direction = match &cell.compared.changed {
        [None, None] => return out,
        [Some(_), None] => Direction::Allow,
        [None, Some(_)] => Direction::Deny,
        [Some(_), Some(_)] => Direction::Either,
    };
    let contexts = parts.iter().flat_map(|d| d.contexts.iter().cloned()).collect();
    out.push((nature(cell, Kind::MayDiffer, direction, &parts), Shown { callers: cell.callers.clone(), contexts }));
    out
}

fn nature(cell: &Found, kind: Kind, direction: Direction, parts: &[&Difference]) -> Nature {
    let mut policies: [BTreeSet<u32>; 2] = Default::default();
    for (side, (set, numbers)) in policies.iter_mut().zip(&cell.clauses).enumerate() {
        let positions = parts.iter().filter_map(|d| d.responsible.get(side)).flatten();
        set.extend(positions.filter_map(|p| numbers.get(*p)));
    }
    let policies = policies.map(|set| set.into_iter().collect::<Vec<u32>>());
    let declared = policies.iter().all(Vec::is_empty).then(|| cell.service.clone());
    Nature { kind, before: cell.compared.before, after: cell.compared.after, direction, policies, declared }
}

/// The kind of a change that is certain.
const fn kind(before: Status, after: Status, direction: Direction) -> Kind {
    match (before, after, direction) {
        (Status::Never, Status::Conditional, Direction::Allow) | (Status::Always, Status::Conditional, Direction::Deny) => {
            Kind::NewlyConditional
        }
        (_, _, Direction::Allow) => Kind::NewlyAllowed,
        _ => Kind::NewlyDenied,
    }
}

impl Draft {
    /// The change, with a witness that both bundles were asked.
    pub(super) fn change(self, judge: &Judge<'_, '_>, unexplored: &mut Vec<String>, tally: &mut Tally) -> Change {
        let (laws, principals) = (judge.laws, judge.principals);
        let Self { nature, callers, mut cells, tries } = self;
        let tried = match nature.kind {
            Kind::MayDiffer => {
                tally.may_allow |= nature.direction != Direction::Deny;
                tally.may_deny |= nature.direction != Direction::Allow;
                let numbers = laws.iter().zip(&nature.policies).flat_map(|(law, numbers)| numbers.iter().filter_map(|n| law.clause(*n)));
                let responsible: Vec<&str> = numbers.map(|c| &*c.policy.id).collect();
                judge.try_possible(&tries, nature.direction, &responsible)
            }
            _ => judge.try_certain(&tries, nature.direction),
        };
        let Tried { witness, allows, denies } = tried;
        tally.allows |= allows;
        tally.denies |= denies;
        if witness.is_none() && nature.kind != Kind::MayDiffer {
            // The algebra and the table disagree, which is a fault of ours. Nothing is claimed that cannot be shown.
            unexplored.push(format!("`{}`: a change was found and its witness does not show it", names(&cells)));
        }
        cells.sort_by(|(a, _), (b, _)| a.cmp(b));
        let [old, new] = laws;
        let references = |law: &Law<'_>, numbers: &[u32]| -> Vec<PolicyRef> {
            let mut found: Vec<PolicyRef> = numbers.iter().filter_map(|n| law.clause(*n)).map(|c| c.policy.clone()).collect();
            found.sort_by(|a, b| a.id.cmp(&b.id));
            found
        };
        let [old_policies, new_policies] = &nature.policies;
        let policies = [references(old, old_policies), references(new, new_policies)];
        let mut names: Vec<CellName> = cells.iter().map(|(service, target)| cell_name(service, target)).collect();
        names.sort();
        names.dedup();
        Change {
            kind: nature.kind,
            before: nature.before,
            after: nature.after,
            direction: nature.direction,
            callers: caller_names(laws, principals, &callers),
            targets: changed_services(laws, &cells),
            witness,
            policies,
            declarations: declarations(laws, principals, &callers, &cells),
            kinds: callers.into_iter().collect(),
            cells: names,
        }
    }
}

fn names(cells: &[(Box<str>, Rc<TargetKind>)]) -> String {
    cells.first().map(|(service, _)| service.to_string()).unwrap_or_default()
}

fn cell_name(service: &str, target: &TargetKind) -> CellName {
    let by = match &target.target {
        Target::Connect { .. } => By::Connect,
        Target::Http { method, .. } if target.named => By::Method(method.clone()),
        Target::Http { .. } => By::OtherMethod,
    };
    CellName { service: service.into(), operations: target.operations, by }
}

fn changed_services(laws: [&Law<'_>; 2], cells: &[(Box<str>, Rc<TargetKind>)]) -> Vec<ChangedService> {
    let mut services: BTreeMap<&str, BTreeMap<[Option<usize>; 2], BTreeSet<String>>> = BTreeMap::new();
    for (service, target) in cells {
        let by = match (&target.target, target.named) {
            (Target::Http { method, .. }, true) => method.to_string(),
            (Target::Http { .. }, false) => "other methods".to_owned(),
            (Target::Connect { port }, true) => format!("port {port}"),
            (Target::Connect { .. }, false) => "other ports".to_owned(),
        };
        services.entry(service).or_default().entry(target.operations).or_default().insert(by);
    }
    let one = |(service, operations): (&str, BTreeMap<[Option<usize>; 2], BTreeSet<String>>)| {
        let id = |law: &Law<'_>, position: Option<usize>| {
            law.authorizer.service(service).and_then(|s| s.operations.get(position?)).map(|o| o.id.to_string())
        };
        let [old, new] = laws;
        let operations = operations.into_iter().map(|([before, after], by)| ChangedOperation {
            before: id(old, before),
            after: id(new, after),
            by: by.into_iter().collect(),
        });
        ChangedService { service: service.to_owned(), operations: operations.collect() }
    };
    services.into_iter().map(one).collect()
}

/// Callers in words: a service where all its identities are meant, else the identities.
fn caller_names(laws: [&Law<'_>; 2], principals: &Principals, callers: &[u32]) -> Vec<String> {
    let [old, new] = laws;
    let name = |number: u32| -> Option<&str> {
        let [a, b] = principals.kind(number)?.services;
        new.service(b).or_else(|| old.service(a)).map(|s| &*s.name)
    };
    let mut meant: BTreeMap<Option<&str>, Vec<u32>> = BTreeMap::new();
    for caller in callers {
        meant.entry(name(*caller)).or_default().push(*caller);
    }
    let mut sizes: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    for (number, _) in (0_u32..).zip(&principals.kinds) {
        *sizes.entry(name(number)).or_default() += 1;
    }
    let mut out = Vec::new();
    for (service, kinds) in meant {
        match service {
            Some(service) if sizes.get(&Some(service)) == Some(&kinds.len()) => out.push(service.to_owned()),
            _ => out.extend(kinds.iter().filter_map(|k| principals.kind(*k)).map(|kind| match (kind.named, kind.covered, service) {
                (true, _, _) => kind.id.to_string(),
                (false, false, None) => "strangers".to_owned(),
                (false, _, _) => format!("identities like {}", kind.id),
            })),
        }
    }
    out
}

/// What is declared otherwise of the callers and of the called services, or of the groups they are in.
fn declarations(
    laws: [&Law<'_>; 2],
    principals: &Principals,
    callers: &[u32],
    cells: &[(Box<str>, Rc<TargetKind>)],
) -> [Vec<Declaration>; 2] {
    let [old, new] = laws;
    let mut out: [BTreeSet<Declaration>; 2] = Default::default();
    let mut differ = |a: Option<&Service>, b: Option<&Service>| {
        for (set, service) in out.iter_mut().zip([a, b]) {
            set.extend(service.map(|s| Declaration { name: s.name.clone(), at: s.at.clone() }));
        }
        let groups = |s: Option<&Service>| s.map(|s| s.groups.clone()).unwrap_or_default();
        for name in groups(a).symmetric_difference(&groups(b)) {
            for (set, law) in out.iter_mut().zip(laws) {
                set.extend(law.authorizer.inventory.group(name).map(|g| Declaration { name: g.name.clone(), at: g.at.clone() }));
            }
        }
    };
    for kind in callers.iter().filter_map(|c| principals.kind(*c)) {
        let [a, b] = kind.services;
        let (a, b) = (old.service(a), new.service(b));
        if a.map(|s| (&s.name, &s.groups)) != b.map(|s| (&s.name, &s.groups)) {
            differ(a, b);
        }
    }
    for (service, _) in cells {
        let (a, b) = (old.authorizer.service(service), new.authorizer.service(service));
        if !super::survey::same_declaration(a, b) {
            differ(a, b);
        }
    }
    out.map(|set| set.into_iter().collect())
}
