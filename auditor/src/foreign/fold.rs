//! Folds the records of other meshes: resolve, ask once for each distinct question, count.
//!
//! It keeps cells of its own, one for each distinct fact and hour, and pours them into the ledger at the end; so a line costs a
//! look-up and an addition. The two sides of one request are found at the end by comparing digests of request ids (see `pairs`).
//!
//! INVARIANT (row conservation): each request taken adds to exactly one cell, or to `undetermined` where the line does not say what
//! the mesh did.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use foldhash::fast::RandomState;
use portreeve_engine::decision::Effect;
use portreeve_engine::{Authorizer, Digest, SpiffeId, Timestamp};

use super::Format;
use super::envoy::ip;
use super::judge::{Judge, Judged, Lawful};
use super::names::Names;
use super::pairs::{About, Counted, Pairs, Side};
use super::quick::Sketch;
use super::seen::{Caller, Did, Grade, Reporter, Seen};
use crate::assessment::Evidence;
use crate::clocks::Apart;
use crate::history::History;
use crate::ledger::{CertificateTally, Issued, Key, Ledger, Tally, User};
use crate::limits::{ADDRESSES_MAX, HOUR_MS, LEDGER_KEYS_MAX, QUESTIONS_MAX, UNNAMED_CALLERS_MAX};

/// Where a foreign line stands; its digest is made only where it is kept as evidence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'l> {
    pub(crate) input: usize,
    pub(crate) line: u64,
    pub(crate) bytes: &'l [u8],
}

impl Place<'_> {
    pub(crate) fn evidence(&self) -> Evidence {
        Evidence { input: self.input, line: self.line, sha256: Digest::of(self.bytes) }
    }
}

/// What became of a request that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is counted as a decision.
    Decided(Effect),
    /// The line does not say what the mesh did.
    Undetermined,
}

/// Counts that the totals take in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) allowed: u64,
    pub(crate) denied: u64,
    pub(crate) undetermined: u64,
    /// The mesh allowed what policy denies.
    pub(crate) unlawful: u64,
    /// The mesh denied what policy allows.
    pub(crate) overdenied: u64,
    pub(crate) not_replayable: u64,
    /// Lines about a request that another line is about too.
    pub(crate) duplicates: u64,
}

/// Lines of one input that say again what another line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surplus {
    /// Counted as decisions before.
    pub(crate) decided: BTreeMap<Grade, u64>,
    /// Counted as undetermined before.
    pub(crate) undetermined: u64,
}

/// The fold of one format's records after another.
pub(crate) struct ForeignFold<'a> {
    judges: Vec<Judge<'a>>,
    /// When which of the bundles was in force; where it is empty, the last one judges all.
    history: History,
    names: Names,
    /// Keys by what a line says; cleared when there are too many, since it only saves work.
    answers: HashMap<String, u32>,
    keys: Vec<Key>,
    by_key: HashMap<Key, u32>,
    cells: Vec<Cell>,
    by_cell: HashMap<(u32, i64), u32>,
    pairs: Option<Pairs>,
    unnamed: BTreeSet<String>,
    certificates: Vec<Certificate>,
    by_certificate: HashMap<(SpiffeId, Digest), u32>,
    /// Answers by the deciding bytes of lines (see `quick`); they only save work.
    remembered: HashMap<Box<[u8]>, u32, RandomState>,
    answers_given: Vec<Answered>,
    /// Requests that were answered from them.
    pub(crate) again: u64,
    question: String,
    pub(crate) counts: Counts,
    pub(crate) seen: Option<(Timestamp, Timestamp)>,
    pub(crate) asked: u64,
    pub(crate) folded: u64,
    /// Duplicates by input, known at the end.
    pub(crate) surplus: BTreeMap<usize, Surplus>,
    /// How far the clocks of two logs are apart, calling and called, by requests that both recorded; known at the end.
    pub(crate) apart: BTreeMap<(u16, u16), Apart>,
    /// Requests that were not compared with the other side's, for want of room or of an id.
    pub(crate) unpaired: u64,
}

struct Cell {
    key: u32,
    hour: i64,
    tally: Tally,
}

impl<'a> ForeignFold<'a> {
    /// A fold under these bundles, the newest last.
    pub(crate) fn new(laws: impl IntoIterator<Item = &'a Authorizer>, names: Names) -> Self {
        Self {
            judges: laws.into_iter().map(Judge::new).collect(),
            history: History::default(),
            names,
            answers: HashMap::new(),
            keys: Vec::new(),
            by_key: HashMap::new(),
            cells: Vec::new(),
            by_cell: HashMap::new(),
            pairs: Some(Pairs::default()),
            unnamed: BTreeSet::new(),
            certificates: Vec::new(),
            by_certificate: HashMap::new(),
            remembered: HashMap::default(),
            answers_given: Vec::new(),
            again: 0,
            question: String::new(),
            counts: Counts::default(),
            seen: None,
            asked: 0,
            folded: 0,
            surplus: BTreeMap::new(),
            apart: BTreeMap::new(),
            unpaired: 0,
        }
    }

    /// Judges each request under the bundle of its time.
    pub(crate) fn with_history(mut self, history: History) -> Self {
        self.history = history;
        self
    }

    /// The bundle in force at a time.
    fn judge_at(&self, at: Timestamp) -> Option<usize> {
        if self.history.is_empty() {
            return self.judges.len().checked_sub(1);
        }
        let revision = self.history.at(at)?;
        self.judges.iter().position(|judge| judge.revision == revision)
    }

    /// The service of the inventory that a request calls, or words for all others.
    pub(crate) fn called(&self, seen: &Seen<'_>) -> String {
        let judge = self.judge_at(seen.at).and_then(|n| self.judges.get(n));
        let named = judge.and_then(|judge| Some(judge.law.service(&judge.judge(seen, &self.names).to)?.name.to_string()));
        named.unwrap_or_else(|| "services outside the inventory".to_owned())
    }

    /// A fold that compares no two lines: it counts lines, not requests.
    pub(crate) fn unpaired(law: &'a Authorizer, names: Names) -> Self {
        Self { pairs: None, ..Self::new([law], names) }
    }

    /// Takes one request that was sketched, if what decides it was seen before.
    pub(crate) fn take_again(&mut self, place: &Place<'_>, sketch: &Sketch<'_>, deciding: &[u8]) -> Option<(Taken, Grade)> {
        let index = *self.remembered.get(deciding)?;
        self.again += 1;
        // Taken out while it is counted; a count that fills the ledger forgets all answers.
        let mut given = std::mem::take(&mut self.answers_given);
        let taken = given.get_mut(index as usize).map(|answered| {
            answered.last_cell = self.settle(answered, place, sketch.at, sketch.request_id);
            self.note_address(answered.certificate, sketch.caller.filter(|_| answered.certificate.is_some()).and_then(ip));
            (answered.taken(), answered.grade)
        });
        if !self.remembered.is_empty() {
            self.answers_given = given;
        }
        taken
    }

    /// Takes one request. Where its line was sketched, the answer is remembered under its deciding bytes.
    pub(crate) fn take(&mut self, format: Format, place: &Place<'_>, seen: &Seen<'_>, deciding: Option<&[u8]>) -> Taken {
        let mut answered = self.answered(format, seen);
        answered.last_cell = self.settle(&answered, place, seen.at, seen.request_id.as_deref());
        let taken = answered.taken();
        if let Some(deciding) = deciding.filter(|_| !self.reads_time()) {
            self.remember(deciding, answered);
        }
        taken
    }

    /// Whether the answer to a question may depend on its time.
    fn reads_time(&self) -> bool {
        // With a history the time says which bundle answers.
        !self.history.is_empty() || !self.names.addresses.is_empty() || self.judges.last().is_some_and(|judge| judge.timed)
    }

    /// Whether the address of a caller that has an identity may change what is counted.
    pub(crate) fn caller_address_counts(&self) -> bool {
        self.judges.iter().any(|judge| judge.reads_address)
    }

    fn remember(&mut self, deciding: &[u8], answered: Answered) {
        if self.remembered.len() >= QUESTIONS_MAX {
            self.forget();
        }
        let Ok(index) = u32::try_from(self.answers_given.len()) else { return };
        self.remembered.insert(deciding.into(), index);
        self.answers_given.push(answered);
    }

    fn forget(&mut self) {
        self.remembered.clear();
        self.answers_given.clear();
    }

    /// All that a request adds to but for its time and id.
    fn answered(&mut self, format: Format, seen: &Seen<'_>) -> Answered {
        let effect = match seen.did {
            Did::Allowed => Some(Effect::Allow),
            Did::Denied(_) => Some(Effect::Deny),
            // The other side may know.
            Did::Unknown => None,
        };
        let key = self.key(format, seen, effect.unwrap_or(Effect::Deny));
        let to = self.keys.get(key as usize).map_or("", |k| k.to.as_str());
        let parts = [to, seen.method.as_deref().unwrap_or_default(), seen.path.as_deref().unwrap_or_default()];
        Answered {
            key,
            effect,
            grade: seen.grade,
            side: match seen.reporter {
                Reporter::Inbound => Side::Called,
                Reporter::Outbound => Side::Calling,
            },
            about: About::of(&parts),
            certificate: effect.and_then(|_| self.certificate(key, seen)),
            last_cell: None,
        }
    }

    /// Counts a request; gives the cell it was counted in, with its hour.
    fn settle(&mut self, answered: &Answered, place: &Place<'_>, at: Timestamp, request_id: Option<&str>) -> Option<(i64, u32)> {
        let (first, last) = self.seen.unwrap_or((at, at));
        self.seen = Some((first.min(at), last.max(at)));
        let counted = match answered.effect {
            Some(_) => Some(self.count(answered, place, at)),
            None => {
                self.counts.undetermined += 1;
                None
            }
        };
        let cell = counted.map_or(UNDETERMINED, |(_, cell)| cell);
        let line = Counted { at, grade: answered.grade, input: place.input, cell };
        let added = self.pairs.as_mut().zip(request_id).is_some_and(|(pairs, id)| pairs.add(answered.side, &answered.about, id, line));
        self.unpaired += u64::from(!added);
        if let Some(certificate) = answered.certificate.and_then(|n| self.certificates.get_mut(n as usize)) {
            certificate.use_at(at, place);
        }
        counted
    }

    /// The key of what a line says, asked for once.
    fn key(&mut self, format: Format, seen: &Seen<'_>, effect: Effect) -> u32 {
        let number = self.judge_at(seen.at);
        let Some((number, judge)) = number.and_then(|n| Some((n, self.judges.get(n)?))) else { return self.unjudged(format, seen, effect) };
        let mut question = std::mem::take(&mut self.question);
        write_question(&mut question, (format, number), seen, effect, judge.timed || !self.names.addresses.is_empty());
        let known = self.answers.get(question.as_str()).copied();
        if let Some(key) = known {
            self.question = question;
            return key;
        }
        self.asked += 1;
        let (judged, revision) = (judge.judge(seen, &self.names), judge.revision);
        let key = self.intern(format, seen, effect, judged, revision);
        if self.answers.len() >= QUESTIONS_MAX {
            self.answers.clear();
        }
        self.answers.insert(question.clone(), key);
        self.question = question;
        key
    }

    fn unjudged(&mut self, format: Format, seen: &Seen<'_>, effect: Effect) -> u32 {
        let judged = Judged {
            from: None,
            from_id: None,
            from_name: None,
            to: "unknown".to_owned(),
            operation: None,
            path: None,
            reason: None,
            policies: Vec::new(),
            lawful: Lawful::NotAsked(super::judge::Lack::Bundle),
        };
        self.intern(format, seen, effect, judged, Digest::ZERO)
    }

    fn intern(&mut self, format: Format, seen: &Seen<'_>, effect: Effect, mut judged: Judged, revision: Digest) -> u32 {
        if let Some(name) = &judged.from_name
            && !self.unnamed.contains(name)
        {
            if self.unnamed.len() < UNNAMED_CALLERS_MAX {
                self.unnamed.insert(name.clone());
            } else {
                judged.from_name = Some("others".to_owned());
            }
        }
        let is_full = self.is_full();
        let key = Key {
            to: judged.to,
            from: judged.from,
            from_id: judged.from_id,
            from_name: judged.from_name,
            operation: judged.operation,
            method: seen.method.as_deref().map(str::to_owned),
            path: judged.path.filter(|_| !is_full),
            effect,
            reason: judged.reason,
            policies: judged.policies,
            revision,
            dry_run: false,
            outbound: seen.reporter == Reporter::Outbound,
            user: User::Unknown,
            tls: seen.tls.as_ref().map(|t| (t.version.to_string(), t.suite.to_string())),
            hour: 0,
            origin: format,
            grade: seen.grade,
            lawful: judged.lawful,
        };
        if let Some(index) = self.by_key.get(&key) {
            return *index;
        }
        let index = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        self.by_key.insert(key.clone(), index);
        self.keys.push(key);
        index
    }

    #[inline]
    fn count(&mut self, answered: &Answered, place: &Place<'_>, at: Timestamp) -> (i64, u32) {
        let hour = at.unix_ms().div_euclid(HOUR_MS);
        let index = match answered.last_cell.filter(|(last, _)| *last == hour) {
            Some((_, cell)) => cell,
            None => self.cell(answered.key, hour),
        };
        match self.cells.get_mut(index as usize) {
            Some(cell) => cell.tally.add_with(at, (place.input, place.line), || place.evidence()),
            None => {
                let hour = if self.is_full() { FOLDED_HOUR } else { hour };
                self.cells.push(Cell { key: answered.key, hour, tally: Tally::one(at, &place.evidence()) });
                if self.is_full() {
                    // From here on paths are folded: what was answered before may have one.
                    self.forget();
                }
            }
        }
        (hour, index)
    }

    fn is_full(&self) -> bool {
        self.cells.len() >= LEDGER_KEYS_MAX
    }

    fn cell(&mut self, key: u32, hour: i64) -> u32 {
        let mut hour = hour;
        if self.is_full() && !self.by_cell.contains_key(&(key, hour)) {
            hour = FOLDED_HOUR;
            self.folded += 1;
        }
        let next = u32::try_from(self.cells.len()).unwrap_or(u32::MAX);
        *self.by_cell.entry((key, hour)).or_insert(next)
    }

    /// The certificate that the line shows, by its place among all.
    fn certificate(&mut self, key: u32, seen: &Seen<'_>) -> Option<u32> {
        let tls = seen.tls.as_ref()?;
        let hex = tls.peer_sha256.as_deref()?;
        let sha256: Digest = format!("sha256:{}", hex.replace(':', "").to_ascii_lowercase()).parse().ok()?;
        let not_after = tls.peer_not_after?;
        let id = self.keys.get(key as usize)?.from_id.clone()?;
        let next = u32::try_from(self.certificates.len()).ok()?;
        let index = *self.by_certificate.entry((id.clone(), sha256)).or_insert(next);
        if index == next {
            let serial = tls.peer_serial.as_deref().unwrap_or("unknown").to_owned();
            self.certificates.push(Certificate { id, sha256, serial, not_after, expired: 0, addresses: BTreeSet::new(), seen: None });
        }
        self.note_address(Some(index), seen.caller_ip);
        Some(index)
    }

    /// A certificate came from this address.
    fn note_address(&mut self, certificate: Option<u32>, address: Option<IpAddr>) {
        let Some(certificate) = certificate.and_then(|n| self.certificates.get_mut(n as usize)) else { return };
        certificate.addresses.extend(address);
        if certificate.addresses.len() > ADDRESSES_MAX {
            certificate.addresses.pop_last();
        }
    }

    /// Finds the two sides of each request, counts, and pours everything into the ledger.
    pub(crate) fn finish(&mut self, ledger: &mut Ledger) {
        self.apart = self.pairs.as_mut().map(Pairs::apart).unwrap_or_default();
        for (cell, input) in self.pairs.take().unwrap_or_default().surplus() {
            let surplus = self.surplus.entry(usize::from(input)).or_default();
            match self.cells.get_mut(cell as usize) {
                Some(cell) => {
                    cell.tally.count = cell.tally.count.saturating_sub(1);
                    let grade = self.keys.get(cell.key as usize).map_or(Grade::E, |k| k.grade);
                    *surplus.decided.entry(grade).or_default() += 1;
                }
                None => {
                    self.counts.undetermined = self.counts.undetermined.saturating_sub(1);
                    surplus.undetermined += 1;
                }
            }
            self.counts.duplicates += 1;
        }
        self.pour(ledger);
    }

    /// Pours everything into the ledger. What saves work is kept for more lines.
    pub(crate) fn pour(&mut self, ledger: &mut Ledger) {
        for cell in std::mem::take(&mut self.cells) {
            let Some(key) = self.keys.get(cell.key as usize) else { continue };
            let n = cell.tally.count;
            if n == 0 {
                continue;
            }
            let is_allow = key.effect == Effect::Allow;
            *(if is_allow { &mut self.counts.allowed } else { &mut self.counts.denied }) += n;
            match &key.lawful {
                Lawful::NotAsked(_) => self.counts.not_replayable += n,
                Lawful::Says(Effect::Deny) if is_allow => self.counts.unlawful += n,
                Lawful::Says(Effect::Allow) if !is_allow => self.counts.overdenied += n,
                Lawful::Says(_) | Lawful::Recorded => {}
            }
            let key = Key { hour: cell.hour, ..key.clone() };
            ledger.decided.entry(key).and_modify(|t| t.absorb(&cell.tally)).or_insert(cell.tally);
        }
        ledger.folded += std::mem::take(&mut self.folded);
        self.by_cell.clear();
        for answered in &mut self.answers_given {
            answered.last_cell = None;
        }
        for certificate in &mut self.certificates {
            let Some((key, one)) = certificate.take() else { continue };
            ledger.certificates.entry(key).and_modify(|c| c.absorb(&one)).or_insert(one);
        }
        if self.keys.len() >= QUESTIONS_MAX {
            self.forget();
            self.answers.clear();
            self.by_key.clear();
            self.keys.clear();
        }
    }
}

/// What is known of a request once it was asked about.
#[derive(Clone, Debug)]
struct Answered {
    key: u32,
    /// What the mesh did, where the line says it.
    effect: Option<Effect>,
    grade: Grade,
    side: Side,
    about: About,
    certificate: Option<u32>,
    /// The hour and the cell of the last such request.
    last_cell: Option<(i64, u32)>,
}

impl Answered {
    fn taken(&self) -> Taken {
        self.effect.map_or(Taken::Undetermined, Taken::Decided)
    }
}

/// A client certificate and its use.
#[derive(Debug)]
struct Certificate {
    id: SpiffeId,
    sha256: Digest,
    serial: String,
    not_after: Timestamp,
    expired: u64,
    addresses: BTreeSet<IpAddr>,
    seen: Option<Tally>,
}

impl Certificate {
    fn use_at(&mut self, at: Timestamp, place: &Place<'_>) {
        self.expired += u64::from(at > self.not_after);
        match &mut self.seen {
            Some(tally) => tally.add_with(at, (place.input, place.line), || place.evidence()),
            None => self.seen = Some(Tally::one(at, &place.evidence())),
        }
    }

    /// Its use so far, taken out.
    fn take(&mut self) -> Option<((SpiffeId, Digest), CertificateTally)> {
        let seen = self.seen.take()?;
        let (expired, addresses) = (std::mem::take(&mut self.expired), std::mem::take(&mut self.addresses));
        let (serial, not_after) = (self.serial.clone(), self.not_after);
        Some((
            (self.id.clone(), self.sha256),
            CertificateTally { id: self.id.clone(), serial, not_after, seen, expired, addresses, issued: Issued::default() },
        ))
    }
}

/// All that tells two questions apart, in one text. Each part stands after its length, so that no text of a caller's can pass for two.
pub(super) fn write_question(out: &mut String, (format, bundle): (Format, usize), seen: &Seen<'_>, effect: Effect, timed: bool) {
    out.clear();
    let mut part = |text: Option<&str>| {
        let _ =
            std::fmt::Write::write_fmt(out, format_args!("{}:{}", text.map_or(-1, |t| t.len().cast_signed()), text.unwrap_or_default()));
    };
    part(Some(format.as_str()));
    part(Some(effect.as_str()));
    part(Some(seen.grade.as_str()));
    part((seen.reporter == Reporter::Outbound).then_some("out"));
    match &seen.caller {
        Caller::Id(id) => part(Some(id)),
        Caller::Name(name) => {
            part(Some("name"));
            part(Some(name));
        }
        Caller::Label { namespace, account, names } => {
            part(Some("label"));
            for text in [namespace, account].into_iter().chain(names) {
                part(text.as_deref());
            }
        }
        Caller::Unnamed => part(None),
    }
    let callee = &seen.callee;
    for text in [&callee.id, &callee.namespace, &callee.account].into_iter().chain(&callee.names).chain([&seen.method, &seen.path]) {
        part(text.as_deref());
    }
    if let Some(tls) = &seen.tls {
        part(Some(&tls.version));
        part(Some(&tls.suite));
    }
    let numbers = (bundle, seen.caller_ip, callee.ip, seen.port, timed.then_some(seen.at));
    // Written through the same buffer: addresses, port and time.
    let _ = std::fmt::Write::write_fmt(out, format_args!("{numbers:?}"));
}

/// Stands in a pair for a line that no cell counts.
const UNDETERMINED: u32 = u32::MAX;
/// Where cells are counted that found no room for their hour.
const FOLDED_HOUR: i64 = 0;
