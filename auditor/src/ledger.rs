//! The ledger: counts by distinct key, which is what every analysis runs on.
//!
//! The hour is told apart where an analysis asks for it: of denials. Its memory grows with distinct keys, never with the length of a log, and ledgers merge: any split of the logs gives the same
//! counts. It knows nothing of bundles and judges nothing.
//!
//! INVARIANT: the sum over keys is the number of records folded in.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::ops::{Deref, Range};
use std::sync::Arc;

use portreeve_engine::decision::{Effect, Reason};
use portreeve_engine::record::{Decided, Mode, Refused, Side};
use portreeve_engine::request::Token;
use portreeve_engine::{Digest, SpiffeId, Timestamp};
use smallvec::{SmallVec, smallvec};

use crate::assessment::Evidence;
use crate::foreign::{Format, Grade, Lawful};
use crate::limits::{ADDRESSES_MAX, EVIDENCE_MAX, HOUR_MS};
use crate::tallies::Tallies;

/// What is counted apart, but for undeclared paths: few, however long a log is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Facts {
    /// The called service.
    pub to: String,
    /// The calling service, as recorded.
    pub from: Option<String>,
    /// The caller's identity, where the record has one.
    pub from_id: Option<SpiffeId>,
    /// What a record of another mesh calls a caller that has neither service nor identity: a label, an address.
    pub from_name: Option<String>,
    /// The declared operation.
    pub operation: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// Whether it was let through: the recorded answer or, of another mesh, what that mesh did.
    pub effect: Effect,
    /// Why: recorded or, of another mesh, as policy answers; `None` where it could not be asked.
    pub reason: Option<Reason>,
    /// The determining policies, likewise.
    pub policies: Vec<String>,
    /// The bundle that answered.
    pub revision: Digest,
    /// Recorded in dry-run.
    pub dry_run: bool,
    /// Recorded by the caller.
    pub outbound: bool,
    /// What was known of a user.
    pub user: User,
    /// TLS version and suite.
    pub tls: Option<(String, String)>,
    /// The format it was read from.
    pub origin: Format,
    /// How well the caller is known.
    pub grade: Grade,
    /// What policy says where the record is another mesh's.
    pub lawful: Lawful,
}

/// What is counted apart: the facts, which many keys share, and the path of an operation that nobody declared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The facts.
    pub facts: Arc<Facts>,
    /// The path, for undeclared operations only.
    pub path: Option<Path>,
}

/// A path, in a text that it shares with others: of a log with a million of them the text is held once and in one piece.
#[derive(Clone)]
pub struct Path {
    text: Arc<String>,
    from: u32,
    length: u32,
}

impl Path {
    /// The part of a text; `None` where it has none there.
    pub(crate) fn within(text: &Arc<String>, from: u32, length: u32) -> Option<Self> {
        let path = Self { text: Arc::clone(text), from, length };
        path.text.get(path.range())?;
        Some(path)
    }

    fn range(&self) -> Range<usize> {
        self.from as usize..self.from as usize + self.length as usize
    }
}

impl From<String> for Path {
    /// A path longer than 4 GiB, which no line is, loses its end.
    fn from(text: String) -> Self {
        let length = u32::try_from(text.len()).unwrap_or_default();
        Self { text: Arc::new(text), from: 0, length }
    }
}

impl Deref for Path {
    type Target = str;

    fn deref(&self) -> &str {
        self.text.get(self.range()).unwrap_or_default()
    }
}

impl std::fmt::Debug for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (**self).fmt(f)
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Path {}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Path {
    fn cmp(&self, other: &Self) -> Ordering {
        (**self).cmp(&**other)
    }
}

impl Hash for Path {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl Deref for Key {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl Facts {
    /// The facts of a record of our own.
    pub(crate) fn of(decided: &Decided) -> Self {
        let request = &decided.request;
        Self {
            to: decided.destination.service.clone(),
            from: decided.source.service.clone(),
            from_id: Some(decided.source.id.clone()),
            from_name: None,
            operation: request.operation.clone(),
            method: request.method.clone(),
            effect: decided.decision.effect,
            reason: Some(decided.decision.reason),
            policies: decided.decision.policies.clone(),
            revision: decided.revision,
            dry_run: decided.mode == Mode::DryRun,
            outbound: decided.side == Some(Side::Outbound),
            user: match &decided.context.jwt {
                None => User::Absent,
                Some(Token::Invalid(_)) => User::Invalid,
                Some(Token::Valid(_)) => User::Named,
            },
            tls: decided.tls.as_ref().map(|t| (t.version.clone(), t.suite.clone())),
            origin: Format::Portreeve,
            grade: Grade::of(decided),
            lawful: Lawful::Recorded,
        }
    }

    /// Whether the record is another mesh's.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.lawful != Lawful::Recorded
    }
}

/// What a record knows of the user behind the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum User {
    /// No token.
    Absent,
    /// A token that was not acceptable.
    Invalid,
    /// A verified token with a subject.
    Named,
    /// The log says nothing of users.
    Unknown,
}

/// How often, when, and where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Records.
    pub count: u64,
    /// First.
    pub first: Timestamp,
    /// Last.
    pub last: Timestamp,
    /// The first few raw lines; most tallies of a log with a great many of them have one.
    pub evidence: SmallVec<[Evidence; 1]>,
}

impl Tally {
    /// One record.
    pub(crate) fn one(at: Timestamp, evidence: &Evidence) -> Self {
        Self { count: 1, first: at, last: at, evidence: smallvec![evidence.clone()] }
    }

    /// Counts one more record. The evidence kept is the smallest, so that the order of reading does not matter.
    pub(crate) fn add(&mut self, at: Timestamp, evidence: &Evidence) {
        self.add_made(at, (evidence.input, evidence.line), || evidence.clone());
    }

    /// The same; the evidence is made only where it is kept.
    pub(crate) fn add_made(&mut self, at: Timestamp, place: (usize, u64), evidence: impl FnOnce() -> Evidence) {
        self.count += 1;
        self.first = self.first.min(at);
        self.last = self.last.max(at);
        if self.evidence.len() < EVIDENCE_MAX || self.evidence.last().is_some_and(|last| place < (last.input, last.line)) {
            self.evidence.push(evidence());
            self.evidence.sort();
            self.evidence.truncate(EVIDENCE_MAX);
        }
    }

    /// Takes in another tally.
    pub fn absorb(&mut self, other: &Self) {
        self.count += other.count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.evidence.extend(other.evidence.iter().cloned());
        self.evidence.sort();
        self.evidence.dedup();
        self.evidence.truncate(EVIDENCE_MAX);
    }
}

/// What the first record of each connection says of its certificate, where the log says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Issued {
    /// The name of the issuer.
    pub issuer: Option<String>,
    /// The kind of its key, such as `EC P-256`.
    pub key: Option<String>,
}

impl Issued {
    /// Takes in what another record says. One certificate has one issuer and one key; where lines disagree the order of reading must
    /// not tell.
    pub(crate) fn absorb(&mut self, other: &Self) {
        for (own, other) in [(&mut self.issuer, &other.issuer), (&mut self.key, &other.key)] {
            if let Some(other) = other
                && own.as_ref().is_none_or(|own| other < own)
            {
                *own = Some(other.clone());
            }
        }
    }
}

/// A client certificate as records show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateTally {
    /// The identity it was used for.
    pub id: SpiffeId,
    /// Its serial number.
    pub serial: String,
    /// When it ends.
    pub not_after: Timestamp,
    /// Requests on it.
    pub seen: Tally,
    /// Requests on it after its end.
    pub expired: u64,
    /// The addresses it came from, up to a limit.
    pub addresses: BTreeSet<IpAddr>,
    /// Its issuer and its key.
    pub issued: Issued,
}

/// Counts by distinct key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Decisions.
    pub decided: Tallies<Key>,
    /// The denials among them by the hour (since 1970); hour 0 stands for those counted without their hour.
    pub denied: BTreeMap<(Arc<Facts>, i64), Tally>,
    /// Hours with decisions.
    pub hours: BTreeSet<i64>,
    /// Client certificates by identity and digest.
    pub certificates: BTreeMap<(SpiffeId, Digest), CertificateTally>,
    /// Strangers by reason: attempts, and the lines that tell of them.
    pub refusals: BTreeMap<String, (u64, Tally)>,
    /// Decisions that were counted without their path or hour because there were too many.
    pub folded: u64,
}

impl Ledger {
    /// Takes in cells, from the greatest key and hour to the least.
    pub(crate) fn decided(&mut self, cells: impl Iterator<Item = (Key, i64, Tally)>, most: usize) {
        let mut run: Vec<(Key, Tally)> = Vec::with_capacity(most);
        for (key, hour, tally) in cells {
            self.by_the_hour(&key, hour, &tally);
            match run.last_mut() {
                Some((last, known)) if *last == key => known.absorb(&tally),
                _ => run.push((key, tally)),
            }
        }
        run.reverse();
        self.decided.take_in(run);
    }

    /// Counts what is told apart by the hour.
    pub(crate) fn by_the_hour(&mut self, key: &Key, hour: i64, tally: &Tally) {
        if hour != FOLDED_HOUR {
            self.hours.insert(hour);
        }
        if key.effect == Effect::Deny {
            put(&mut self.denied, (Arc::clone(&key.facts), hour), tally);
        }
    }

    /// Counts the use of the certificate that a record shows.
    pub(crate) fn certificate(&mut self, at: Timestamp, decided: &Decided, evidence: &Evidence) {
        let Some(tls) = &decided.tls else { return };
        let id = &decided.source.id;
        let one = CertificateTally {
            id: id.clone(),
            serial: tls.serial.clone(),
            not_after: tls.not_after,
            seen: Tally::one(at, evidence),
            expired: u64::from(at > tls.not_after),
            addresses: decided.source.ip.into_iter().collect(),
            issued: Issued { issuer: tls.issuer.clone(), key: tls.key.clone() },
        };
        self.certificates.entry((id.clone(), tls.sha256)).and_modify(|c| c.absorb(&one)).or_insert(one);
    }

    /// Counts strangers.
    pub fn refused(&mut self, at: Timestamp, refused: &Refused, evidence: &Evidence) {
        let entry = self.refusals.entry(refused.reason.clone());
        entry
            .and_modify(|(attempts, lines)| {
                *attempts = attempts.saturating_add(refused.count);
                lines.add(at, evidence);
            })
            .or_insert_with(|| (refused.count, Tally::one(at, evidence)));
    }
}

impl CertificateTally {
    pub(crate) fn absorb(&mut self, other: &Self) {
        self.seen.absorb(&other.seen);
        self.expired += other.expired;
        self.issued.absorb(&other.issued);
        self.addresses.extend(&other.addresses);
        // The smallest are kept, so that the order of reading does not matter.
        while self.addresses.len() > ADDRESSES_MAX {
            self.addresses.pop_last();
        }
    }
}

/// Adds a tally to that of a key.
pub(crate) fn put<K: Ord>(to: &mut BTreeMap<K, Tally>, key: K, tally: &Tally) {
    to.entry(key).and_modify(|t| t.absorb(tally)).or_insert_with(|| tally.clone());
}

/// The hour of a time, since 1970.
pub(crate) const fn hour(at: Timestamp) -> i64 {
    at.unix_ms().div_euclid(HOUR_MS)
}

/// Where decisions are counted that found no room for their hour.
pub(crate) const FOLDED_HOUR: i64 = 0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Log, start};

    #[test]
    fn the_order_of_strangers_and_certificates_does_not_show() {
        let log = Log::start("items", "one", Digest::ZERO);
        let taken = |order: &mut dyn Iterator<Item = u64>| {
            let mut ledger = Ledger::default();
            for n in order {
                let mut decided = log.question(["invoices", "users"][(n % 2) as usize], "/", None, Effect::Allow, Reason::Permitted, &[]);
                // More addresses than are kept, in no order.
                decided.source.ip = Some([10, 0, 0, u8::try_from(n * 37 % 60).unwrap()].into());
                let at = start().plus_ms(i64::try_from(n).unwrap() * 600_000);
                let evidence = Evidence { input: 0, line: n, sha256: Digest::ZERO };
                ledger.certificate(at, &decided, &evidence);
                ledger.refused(at, &Refused { ip: [10, 0, 0, 9].into(), reason: "no-certificate".to_owned(), count: n }, &evidence);
            }
            ledger
        };
        let forth = taken(&mut (0..60));
        assert_eq!(forth, taken(&mut (0..60).rev()));
        assert_eq!(forth, taken(&mut (0..60).map(|n| n * 7 % 60)));
        assert_eq!(forth.certificates.values().map(|c| (c.seen.count, c.addresses.len())).collect::<Vec<_>>(), [(30, ADDRESSES_MAX); 2]);
        assert_eq!(forth.refusals["no-certificate"].0, (0..60).sum::<u64>());
    }
}
