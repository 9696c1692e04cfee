//! Balances the books: what the sidecars wrote against what was seen from outside.
//!
//! Every answered request must be decided once, or counted as one for which there was no room; every allowed one must end once;
//! the apps must have seen exactly what was forwarded. Where a stop cut requests off, what must hold is said precisely at the
//! spot. This reads the logs line by line and asks no policy: whether an answer was lawful is the auditor's question.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};

use portreeve_engine::record::{Decided, Ended, Outcome, Why};
use portreeve_engine::{Effect, Event, Reason, Record};

use crate::error::TownError;
use crate::journal::{Answered, Pages};
use crate::market::SERVICES;
use crate::tally::Tally;

/// How the town was stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Nothing was under way: the books must balance to the last request.
    Idle,
    /// Requests were under way.
    Midway,
}

/// What the books show.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// Requests decided.
    pub decided: u64,
    /// With yes.
    pub allowed: u64,
    /// With no, by reason.
    pub denied: BTreeMap<&'static str, u64>,
    /// Requests forwarded and answered by an app.
    pub forwarded: u64,
    /// Allowed requests that were over a limit.
    pub limited: u64,
    /// Allowed requests that were cut off before an app answered.
    pub unanswered: u64,
    /// Strangers refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Requests for whose record there was no room.
    pub unrecorded: u64,
    /// What does not balance.
    pub faults: Vec<String>,
}

/// The logs of a town, in the order of its services.
#[must_use]
pub fn logs(dir: &Path) -> Vec<PathBuf> {
    SERVICES.iter().map(|service| dir.join("logs").join(format!("{service}.ndjson"))).collect()
}

/// Balances the books of a town that was stopped.
///
/// # Errors
/// A log cannot be read, or has a line that is no record.
pub fn balance(dir: &Path, tally: &Tally, pages: &Pages, ending: Ending) -> Result<Books, TownError> {
    let mut accounts = Accounts { ending, books: Books::default(), decided: BTreeMap::new(), instances: BTreeMap::new() };
    for (service, path) in SERVICES.iter().zip(logs(dir)) {
        accounts.read(service, &path)?;
    }
    accounts.answers(tally.answered.iter().chain(&pages.answered));
    accounts.apps(pages);
    accounts.strangers(tally);
    Ok(accounts.books)
}

/// A request as its sidecar tells of it.
struct Told {
    service: &'static str,
    decided: Box<Decided>,
    ended: Option<Ended>,
    answered: bool,
    seen: bool,
}

struct Accounts {
    ending: Ending,
    books: Books,
    /// By request id.
    decided: BTreeMap<String, Told>,
    /// The name of each service's process, as it stands in ids.
    instances: BTreeMap<&'static str, String>,
}

impl Accounts {
    fn fault(&mut self, what: String) {
        self.books.faults.push(what);
    }

    fn read(&mut self, service: &'static str, path: &Path) -> Result<(), TownError> {
        let bad = TownError::file;
        let mut by_seq: BTreeMap<u64, String> = BTreeMap::new();
        let mut stopped = false;
        for line in BufReader::new(File::open(path).map_err(bad(path))?).split(b'\n') {
            let line = line.map_err(bad(path))?;
            let record = Record::from_line(&line).map_err(|e| TownError::Log { path: path.to_owned(), why: e.to_string() })?;
            if stopped {
                self.fault(format!("`{service}` wrote line {} after `stopped`", record.seq));
            }
            match record.event {
                Event::Started(started) => {
                    self.instances.insert(service, started.instance.to_ascii_lowercase());
                }
                Event::Decided(decided) => {
                    by_seq.insert(record.seq, decided.request.id.clone());
                    self.decided(service, decided);
                }
                Event::Ended(ended) => self.ended(service, by_seq.remove(&ended.of), ended),
                Event::Refused(refused) => *self.books.refused.entry(refused.reason).or_insert(0) += refused.count,
                Event::Heartbeat(beat) => {
                    self.books.unrecorded += beat.unrecorded;
                    if beat.refusals_dropped > 0 {
                        self.fault(format!("`{service}` dropped {} refusals", beat.refusals_dropped));
                    }
                }
                Event::Stopped(end) => {
                    self.books.unrecorded += end.unrecorded;
                    stopped = true;
                }
                Event::Continued(_) | Event::Reloaded(_) => {}
            }
        }
        if !stopped {
            self.fault(format!("the log of `{service}` does not end with `stopped`"));
        }
        Ok(())
    }

    fn decided(&mut self, service: &'static str, decided: Box<Decided>) {
        self.books.decided += 1;
        match decided.decision.effect {
            Effect::Allow => self.books.allowed += 1,
            Effect::Deny => *self.books.denied.entry(decided.decision.reason.as_str()).or_insert(0) += 1,
        }
        let id = decided.request.id.clone();
        let told = Told { service, decided, ended: None, answered: false, seen: false };
        if self.decided.insert(id.clone(), told).is_some() {
            self.fault(format!("`{id}` was decided twice"));
        }
    }

    /// `of` is the request with that number, if it did not end before.
    fn ended(&mut self, service: &str, of: Option<String>, ended: Ended) {
        let told = of.and_then(|id| self.decided.get_mut(&id));
        match told.filter(|told| told.decided.decision.effect == Effect::Allow) {
            Some(told) => told.ended = Some(ended),
            None => self.fault(format!("`{service}` tells of the end of line {}, which is no allowed request or ended before", ended.of)),
        }
    }

    fn answers<'a>(&mut self, answered: impl Iterator<Item = &'a Answered>) {
        let (mut ids, mut unrecorded) = (BTreeSet::new(), 0);
        for answer in answered {
            if !ids.insert(answer.id.clone()) {
                self.fault(format!("two answers have the id `{}`", answer.id));
            }
            let own = self.instances.get(answer.to).is_some_and(|instance| answer.id.starts_with(&format!("{instance}-")));
            let fault = match self.decided.get_mut(&answer.id) {
                Some(told) => {
                    told.answered = true;
                    told.disagrees(answer)
                }
                None if own && answer.status == 503 => {
                    unrecorded += 1;
                    None
                }
                // The caller's own sidecar answers so where it does not reach the other one.
                None if !own && self.ending == Ending::Midway && matches!(answer.status, 502 | 504) => None,
                None => Some(format!("`{}` was answered {} by `{}` and never decided", answer.id, answer.status, answer.to)),
            };
            self.books.faults.extend(fault);
        }
        // A caller whose connection was cut does not hear its 503.
        let told = self.books.unrecorded;
        if if self.ending == Ending::Idle { told != unrecorded } else { told < unrecorded } {
            self.fault(format!("{unrecorded} requests were answered 503 without a record, and {told} are counted"));
        }
        if self.ending == Ending::Idle {
            let unheard = self.decided.iter().filter(|(_, told)| !told.answered);
            let unheard: Vec<_> =
                unheard.map(|(id, told)| format!("`{id}` was decided by `{}` and nobody got an answer", told.service)).collect();
            self.books.faults.extend(unheard);
        }
    }

    fn apps(&mut self, pages: &Pages) {
        for seen in &pages.seen {
            let fault = match self.decided.get_mut(&seen.id) {
                Some(told) if told.seen => Some(format!("`{}` reached the app of `{}` twice", seen.id, seen.service)),
                Some(told) if told.service == seen.service && told.decided.decision.effect == Effect::Allow => {
                    told.seen = true;
                    let facts = &told.decided.request;
                    let line = format!("{} {}", facts.method.as_deref().unwrap_or_default(), facts.path.as_deref().unwrap_or_default());
                    // A sensitive segment is recorded as its name.
                    let same = line.contains('{') || seen.line.split('?').next() == Some(&line);
                    let caller = seen.principal == told.decided.source.id.to_string();
                    (!same || !caller)
                        .then(|| format!("`{}` was judged as `{line}` and forwarded as `{}` of `{}`", seen.id, seen.line, seen.principal))
                }
                _ => Some(format!("`{}` reached the app of `{}` without an allow of its sidecar", seen.id, seen.service)),
            };
            self.books.faults.extend(fault);
        }
        self.books.faults.extend(pages.faults.iter().cloned());
        let mut faults = Vec::new();
        for (id, told) in &self.decided {
            if told.decided.decision.effect != Effect::Allow {
                continue;
            }
            let Some(ended) = &told.ended else {
                faults.push(format!("`{id}` was allowed by `{}` and its end was never told", told.service));
                continue;
            };
            match reached(ended) {
                Reached::Yes => self.books.forwarded += 1,
                Reached::No => self.books.limited += 1,
                Reached::Unknown => self.books.unanswered += 1,
            }
            let wrong = match reached(ended) {
                Reached::Yes => !told.seen,
                Reached::No => told.seen,
                Reached::Unknown => self.ending == Ending::Idle,
            };
            if wrong || (self.ending == Ending::Idle && ended.why != Why::Complete) {
                faults.push(format!(
                    "`{id}` of `{}` ended as {ended:?}, and its app {} it",
                    told.service,
                    if told.seen { "saw" } else { "did not see" }
                ));
            }
        }
        self.books.faults.extend(faults);
    }

    fn strangers(&mut self, tally: &Tally) {
        let mut faults = Vec::new();
        for (reason, count) in &tally.turned_away {
            let told = self.books.refused.get(*reason).copied().unwrap_or(0);
            // A sidecar that stops may have turned away one whose player did not wait to see it.
            if if self.ending == Ending::Idle { told != *count } else { told < *count } {
                faults.push(format!("{count} strangers were turned away with `{reason}`, and {told} are counted"));
            }
        }
        if self.ending == Ending::Idle {
            let others = self.books.refused.iter().filter(|(reason, _)| !tally.turned_away.contains_key(reason.as_str()));
            faults.extend(others.map(|(reason, count)| format!("{count} refusals with `{reason}`, and nobody was turned away so")));
        }
        self.books.faults.extend(faults);
    }
}

/// Whether a request reached the service behind the sidecar.
enum Reached {
    Yes,
    No,
    /// It may have: it was on its way when it was cut.
    Unknown,
}

fn reached(ended: &Ended) -> Reached {
    match (ended.outcome, ended.status) {
        // The app answered. If the caller's body broke off, 400 is the sidecar's own answer, and the head may have arrived.
        (Outcome::Forwarded, Some(400)) if ended.why == Why::Client => Reached::Unknown,
        // Denied by a new policy while it waited for its answer, or by one that grew too old: the status is the sidecar's own.
        (Outcome::Forwarded, Some(403)) if ended.why == Why::Policy => Reached::Unknown,
        (Outcome::Forwarded, Some(503)) if ended.why == Why::Stale => Reached::Unknown,
        (Outcome::Forwarded, Some(_)) => Reached::Yes,
        // Denied by a new policy before anything of it was forwarded.
        (Outcome::Unavailable, Some(403)) => Reached::No,
        // Cut before an answer; or 502 and 504, where the connection to the app may have broken after the head arrived.
        (Outcome::Forwarded, None) | (Outcome::Unavailable, _) => Reached::Unknown,
        (Outcome::Limited, _) => Reached::No,
    }
}

impl Told {
    /// What the answer and the record say differently.
    fn disagrees(&self, answer: &Answered) -> Option<String> {
        let (effect, reason) = (self.decided.decision.effect, self.decided.decision.reason);
        let status = match effect {
            Effect::Allow => self.ended.as_ref().and_then(|e| e.status).is_some_and(|status| status == answer.status),
            Effect::Deny if reason == Reason::MalformedRequest => answer.status == 400,
            Effect::Deny => answer.status == 403,
        };
        let agrees = status && self.service == answer.to && answer.reason.is_none_or(|due| due == reason);
        let ended = self.ended.as_ref().map(|e| (e.outcome, e.status, e.why));
        (!agrees).then(|| format!("{answer:?}, and the log of `{}` says {effect}, {reason}, {ended:?}", self.service))
    }
}
