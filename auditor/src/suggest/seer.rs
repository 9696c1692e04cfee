//! What was asked in logs, without the values: who asked what of whom, how often, from when to when, and what became of it.
//!
//! INVARIANT: memory is bounded by `SUGGEST_KEYS_MAX` distinct questions; what is beyond is counted, never granted.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::decision::{Effect, Reason};
use portreeve_engine::path::Paths;
use portreeve_engine::record::{Decided, Ended, Event, Outcome};
use portreeve_engine::request::{Method, parse_target};
use portreeve_engine::{Digest, Record, SpiffeId, Timestamp};

use super::convention::Convention;
use super::paths::{Pattern, is_plain, pattern, values};
use super::{Base, Ground};
use crate::foreign::{Caller, Deciding, Did, Format, Grade, Judge, Lack, Lawful, Names, Place, Reporter, Seen, Taken};
use crate::intake::{Line, Sink};
use crate::limits::{HOUR_MS, PENDING_MAX, SUGGEST_KEYS_MAX};

/// A service, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Party {
    /// A service of the bundle.
    Known(String),
    /// As records name it.
    Named(String),
    /// An identity of which no name is known.
    Id(SpiffeId),
}

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ask {
    /// An operation that the bundle declares.
    Declared(String),
    /// A method and a path without its values.
    Http { method: String, path: Pattern },
    /// A port.
    Connect { port: u16 },
}

/// A question without its values.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) to: Party,
    pub(super) from: Party,
    pub(super) ask: Ask,
}

/// What was seen of one question.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    pub(super) allowed: u64,
    pub(super) denied: u64,
    /// The first and last allowed.
    pub(super) span: Option<(Timestamp, Timestamp)>,
    /// Allowed before six or after twenty o'clock (UTC).
    pub(super) after_hours: u64,
    /// The worst grade of those allowed.
    pub(super) worst: Option<Grade>,
    /// Allowed and answered with an error, or not answered.
    pub(super) errors: u64,
    /// Operations that the records of those allowed name; two stand for several.
    pub(super) operations: BTreeSet<String>,
    /// Shapes of values in allowed paths, and digests of some, to count the distinct ones; never a value.
    pub(super) shapes: BTreeSet<&'static str>,
    pub(super) values: BTreeSet<Digest>,
}

impl Sight {
    pub(super) fn join(&mut self, other: &Self) {
        self.allowed += other.allowed;
        self.denied += other.denied;
        self.span = match (self.span, other.span) {
            (Some(a), Some(b)) => Some((a.0.min(b.0), a.1.max(b.1))),
            (a, b) => a.or(b),
        };
        self.after_hours += other.after_hours;
        self.worst = self.worst.max(other.worst);
        self.errors += other.errors;
        self.operations.extend(other.operations.iter().take(2).cloned());
        self.shapes.extend(other.shapes.iter().copied());
        let room = VALUES_KEPT_MAX.saturating_sub(self.values.len());
        self.values.extend(other.values.iter().copied().take(room));
    }
}

/// What was seen in all logs.
#[derive(Debug, Default)]
pub(super) struct Sights {
    pub(super) sights: BTreeMap<Key, Sight>,
    /// Who has which identity; each has one holder.
    pub(super) holders: BTreeMap<SpiffeId, Party>,
    /// Identities that no line has, and that follow from namespace and account.
    pub(super) by_convention: BTreeSet<SpiffeId>,
    pub(super) left_out: BTreeMap<&'static str, u64>,
    pub(super) already: u64,
    /// Whether some denial is not held, so that a grant may cover it.
    pub(super) is_full: bool,
}

/// By what a caller of another mesh is known.
enum By {
    Id(SpiffeId),
    Service(String),
    Convention(SpiffeId),
}

/// Takes records.
pub(super) struct Seer<'b> {
    base: Option<(Base<'b>, Judge<'b>)>,
    convention: Option<Convention>,
    names: &'b Names,
    out: Sights,
    /// Allowed requests of our own logs whose end has not been read yet, by chain and number.
    pending: BTreeMap<(usize, u64), Key>,
}

/// One request, as it is counted.
struct One<'r> {
    at: Timestamp,
    allowed: bool,
    grade: Grade,
    path: Option<&'r str>,
    operation: Option<&'r str>,
    is_error: bool,
}

impl<'b> Seer<'b> {
    pub(super) fn new(ground: Ground<'b>, names: &'b Names) -> Self {
        let convention = Convention::of(ground.trust_domain, ground.base.map(|base| base.law));
        let base = ground.base.map(|b| (b, Judge::new(b.law)));
        Self { base, convention, names, out: Sights::default(), pending: BTreeMap::new() }
    }

    pub(super) fn finish(self) -> Sights {
        self.out
    }

    fn leave(&mut self, why: &'static str) {
        *self.out.left_out.entry(why).or_default() += 1;
    }

    fn see(&mut self, key: &Key, one: &One<'_>) {
        let sights = &mut self.out.sights;
        if sights.len() >= SUGGEST_KEYS_MAX && !sights.contains_key(key) {
            self.out.is_full |= !one.allowed;
            return self.leave(BEYOND);
        }
        let sight = sights.entry(key.clone()).or_default();
        if !one.allowed {
            sight.denied += 1;
            return;
        }
        let mut more =
            Sight { allowed: 1, span: Some((one.at, one.at)), worst: Some(one.grade), errors: u64::from(one.is_error), ..Sight::default() };
        let hour = one.at.ms_of_day() / HOUR_MS;
        more.after_hours = u64::from(!WORKING_HOURS.contains(&hour));
        if sight.operations.len() < 2 {
            more.operations.extend(one.operation.map(str::to_owned));
        }
        for (shape, digest) in one.path.into_iter().flat_map(values) {
            more.shapes.insert(shape);
            more.values.insert(digest);
        }
        sight.join(&more);
    }

    /// Who has an identity: a service of the bundle, whoever was first seen with it, or the name that the record gives. `None` where
    /// more identities were seen than are held.
    fn party(&mut self, id: &SpiffeId, named: Option<&str>) -> Option<Party> {
        if let Some(service) = self.base.as_ref().and_then(|(base, _)| base.law.identify(id)) {
            return Some(Party::Known(service.name.to_string()));
        }
        let own = || named.map_or_else(|| Party::Id(id.clone()), |name| Party::Named(name.to_owned()));
        if self.out.holders.len() >= SUGGEST_KEYS_MAX && !self.out.holders.contains_key(id) {
            return None;
        }
        Some(self.out.holders.entry(id.clone()).or_insert_with(own).clone())
    }

    fn decided(&mut self, line: &Line, record: &Record, decided: &Decided) {
        if decided.side.is_some() {
            return self.leave("calls to places outside the mesh: their hosts are for you to declare");
        }
        if decided.request.upgrade.is_some() || decided.request.method.as_deref() == Some("CONNECT") {
            return self.leave("requests that switch the protocol: `upgrade` is for you to declare");
        }
        let allowed = decided.decision.effect == Effect::Allow;
        if !allowed && matches!(decided.decision.reason, Reason::MalformedRequest | Reason::InvalidToken | Reason::UnknownService) {
            return self.leave("requests denied before any policy was asked");
        }
        let Some(id) = &decided.destination.id else {
            return self.leave("requests to services whose identity no record says");
        };
        let ask = match (&decided.request.method, &decided.request.path, decided.request.port) {
            (Some(method), Some(path), None) => Ask::Http { method: method.clone(), path: pattern(path) },
            (None, None, Some(port)) => Ask::Connect { port },
            _ => return self.leave("requests without method and path, or port"),
        };
        if matches!(&ask, Ask::Http { path, .. } if !is_plain(path)) {
            return self.leave("paths with empty segments");
        }
        let Some(to) = self.party(id, Some(&decided.destination.service)) else { return self.leave(BEYOND) };
        let Some(ask) = self.under_base(record, decided, &to, ask, allowed) else { return };
        let Some(from) = self.party(&decided.source.id, decided.source.service.as_deref()) else { return self.leave(BEYOND) };
        let key = Key { to, from, ask };
        let (path, operation) = (decided.request.path.as_deref(), decided.request.operation.as_deref());
        self.see(&key, &One { at: record.at, allowed, grade: Grade::of(decided), path, operation, is_error: false });
        if allowed {
            self.pending.insert((line.chain, record.seq), key);
            if self.pending.len() > PENDING_MAX {
                self.pending.pop_first();
            }
        }
    }

    /// What the bundle has to say of a question of our own log: the words in which it is asked there; `None` where there is nothing
    /// to draft.
    fn under_base(&mut self, record: &Record, decided: &Decided, to: &Party, ask: Ask, allowed: bool) -> Option<Ask> {
        let (Some((base, _)), Party::Known(name)) = (&self.base, to) else { return Some(ask) };
        let Ok(mut request) = decided.request(record.at, base.law.paths(name)) else {
            self.leave("requests that the bundle takes for malformed");
            return None;
        };
        request.service = name.as_str().into();
        let decision = base.law.decide(&request);
        let (effect, reason, operation) = (decision.effect, decision.reason, decision.operation.map(str::to_owned));
        self.in_base(effect, Some(reason), operation, allowed, ask)
    }

    fn in_base(&mut self, effect: Effect, reason: Option<Reason>, operation: Option<String>, allowed: bool, ask: Ask) -> Option<Ask> {
        if effect == Effect::Allow {
            self.out.already += u64::from(allowed);
            return None;
        }
        let why = match reason {
            Some(Reason::Prohibited) => "requests that a prohibition of the bundle denies",
            Some(Reason::ConditionUnmet) => "requests that miss a condition of the bundle",
            Some(Reason::EvaluationError) => "requests at which a policy of the bundle fails",
            Some(Reason::MalformedRequest | Reason::InvalidToken) => "requests that the bundle denies before any policy is asked",
            _ => return Some(operation.map_or(ask, Ask::Declared)),
        };
        if allowed {
            self.leave(why);
            return None;
        }
        Some(operation.map_or(ask, Ask::Declared))
    }

    fn ended(&mut self, line: &Line, ended: &Ended) {
        let Some(key) = self.pending.remove(&(line.chain, ended.of)) else { return };
        let failed = ended.outcome != Outcome::Forwarded || ended.status.is_some_and(|s| s >= ERROR_STATUS_MIN);
        if failed && let Some(sight) = self.out.sights.get_mut(&key) {
            sight.errors += 1;
        }
    }

    /// A request of another mesh; an error says why it is left out.
    fn foreign(&mut self, seen: &Seen<'_>) -> Result<(), &'static str> {
        let allowed = match seen.did {
            Did::Allowed => true,
            Did::Denied(_) => false,
            Did::Unknown => return Err("requests of which the line does not say what became of them"),
        };
        if allowed && seen.reporter == Reporter::Outbound && seen.status.is_some_and(|s| matches!(s, 401 | 403)) {
            return Err("requests that the other side may have denied");
        }
        let caller = self.caller(seen)?;
        let named;
        let seen = match &caller {
            By::Convention(id) => {
                named = Seen { caller: Caller::Id(Cow::Owned(id.to_string())), ..seen.clone() };
                &named
            }
            By::Id(_) | By::Service(_) => seen,
        };
        let ask = match (&seen.method, &seen.path, seen.port) {
            (Some(method), Some(path), _) => {
                let method = Method::parse(method).map_err(|_| "requests whose method cannot be read")?;
                if method.as_str() == "CONNECT" {
                    return Err("requests that switch the protocol: `upgrade` is for you to declare");
                }
                let _: (_, _) = parse_target(path, Paths::default()).map_err(|_| "paths that cannot be read in one way")?;
                Ask::Http { method: method.as_str().to_owned(), path: pattern(path) }
            }
            (None, None, Some(port)) => Ask::Connect { port },
            _ => return Err("requests without method and path, or port"),
        };
        let Some((to, ask)) = self.foreign_callee(seen, allowed, ask)? else { return Ok(()) };
        let from = match caller {
            By::Service(name) => Party::Known(name),
            By::Id(id) => self.party(&id, None).ok_or(BEYOND)?,
            By::Convention(id) => self.party_by_convention(id).ok_or(BEYOND)?,
        };
        let is_error = seen.status.is_some_and(|s| s >= ERROR_STATUS_MIN);
        self.see(
            &Key { to, from, ask },
            &One { at: seen.at, allowed, grade: seen.grade, path: seen.path.as_deref(), operation: None, is_error },
        );
        Ok(())
    }

    /// Who called: by the identity in the line, as the service of the bundle that the line names, or by the convention. Who is known by an address
    /// or by its own word alone is nobody.
    fn caller(&self, seen: &Seen<'_>) -> Result<By, &'static str> {
        if let Caller::Id(text) = &seen.caller
            && let Ok(id) = text.parse()
        {
            return Ok(By::Id(id));
        }
        if !seen.grade.is_at_least(Grade::C) {
            return Err("requests whose caller is known by its address, or by nothing but its own word");
        }
        if let Some((_, judge)) = &self.base
            && let Some(service) = judge.caller(seen, self.names)
        {
            return Ok(By::Service(service));
        }
        let by_convention = self.convention.as_ref().and_then(|convention| convention.caller(&seen.caller));
        by_convention.map(By::Convention).ok_or("requests whose caller has no SPIFFE ID in the line, nor one by a convention")
    }

    fn party_by_convention(&mut self, id: SpiffeId) -> Option<Party> {
        let party = self.party(&id, None)?;
        if !matches!(party, Party::Known(_)) {
            self.out.by_convention.insert(id);
        }
        Some(party)
    }

    fn foreign_callee(&mut self, seen: &Seen<'_>, allowed: bool, ask: Ask) -> Result<Option<(Party, Ask)>, &'static str> {
        if let Some((base, judge)) = &self.base {
            let judged = judge.judge(seen, self.names);
            let is_known = base.law.service(&judged.to).is_some();
            match judged.lawful {
                Lawful::Says(effect) if is_known => {
                    let ask = self.in_base(effect, judged.reason, judged.operation, allowed, ask);
                    return Ok(ask.map(|ask| (Party::Known(judged.to), ask)));
                }
                Lawful::NotAsked(lack) if lack != Lack::Callee => return Err(lack.as_str()),
                _ => {}
            }
        }
        if let Some(id) = seen.callee.id.as_deref().and_then(|id| id.parse::<SpiffeId>().ok()) {
            return Ok(Some((self.party(&id, None).ok_or(BEYOND)?, ask)));
        }
        let id = self.convention.as_ref().and_then(|convention| convention.callee(&seen.callee));
        let id = id.ok_or("requests whose callee has no SPIFFE ID in the line, nor one by a convention")?;
        Ok(Some((self.party_by_convention(id).ok_or(BEYOND)?, ask)))
    }
}

impl Sink for Seer<'_> {
    fn take(&mut self, line: &Line, record: Record) -> bool {
        match &record.event {
            Event::Decided(decided) => self.decided(line, &record, decided),
            Event::Ended(ended) => self.ended(line, ended),
            _ => {}
        }
        true
    }

    fn seen(&mut self, _: Format, _: &Place<'_>, seen: &Seen<'_>, _: Option<Deciding<'_>>) -> Taken {
        if let Err(why) = self.foreign(seen) {
            self.leave(why);
        }
        Taken::Undetermined
    }
}

/// Why what is not held is left out.
const BEYOND: &str = "requests of more distinct kinds or identities than are held";
/// Hours of the day, UTC, in which people work.
const WORKING_HOURS: std::ops::Range<i64> = 6..20;
/// From this status on an answer is an error.
const ERROR_STATUS_MIN: u16 = 400;
/// Distinct values counted for one question.
pub(super) const VALUES_KEPT_MAX: usize = 64;
