//! Folds the records of other meshes: resolve, ask once for each distinct question, count.
//!
//! It counts in cells of its own and pours them into the ledger at the end; so a line costs a look-up and an addition. The two sides of one request are found at the end by comparing digests of request ids (see `pairs`).
//!
//! INVARIANT (row conservation): each request taken adds to exactly one cell, or to `undetermined` where the line does not say what
//! the mesh did.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::num::NonZero;

use portreeve_engine::decision::Effect;
use portreeve_engine::{Authorizer, Digest, SpiffeId, Timestamp};

use super::Format;
use super::certificates::Certificates;
use super::deciding::Deciding;
use super::judge::{Judge, Judged, Lawful};
use super::memory::{Asked, Memory};
use super::names::Names;
use super::pairs::{About, Counted, Pairs, Side, Told};
use super::quick::Sketch;
use super::seen::{Caller, Did, Grade, Reporter, Seen, Tie};
use crate::assessment::Evidence;
use crate::cells::{CellId, Cells, Grain, KeyId};
use crate::clocks::Apart;
use crate::history::History;
use crate::ledger::{Facts, Key, Ledger, Tally, User};
use crate::limits::{QUESTIONS_MAX, UNNAMED_CALLERS_MAX};

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
    /// When which of them was in force; where it is empty, the last one judges all.
    history: History,
    /// Of each of its spans the judge, where that bundle was given.
    in_force: Vec<Option<usize>>,
    names: Names,
    /// Keys by what a line says.
    answers: Asked,
    unnamed: BTreeSet<String>,
    /// Answers by the deciding bytes of lines.
    memory: Memory<Answered>,
    books: Books,
    /// Requests that were answered from memory.
    pub(crate) again: u64,
    question: Vec<u8>,
    pub(crate) counts: Counts,
    pub(crate) asked: u64,
    /// Duplicates by input, known at the end.
    pub(crate) surplus: BTreeMap<usize, Surplus>,
    /// How far the clocks of two logs are apart, calling and called, by requests that both recorded; known at the end.
    pub(crate) apart: BTreeMap<(u16, u16), Apart>,
}

/// What is counted.
struct Books {
    cells: Cells,
    pairs: Option<Pairs>,
    certificates: Certificates,
    seen: Option<(Timestamp, Timestamp)>,
    undetermined: u64,
    unpaired: u64,
    /// Formats of which a line tells of a connection, and nothing by which the other end knows it.
    untied: BTreeSet<Format>,
}

impl<'a> ForeignFold<'a> {
    /// A fold under these bundles, the newest last.
    pub(crate) fn new(laws: impl IntoIterator<Item = &'a Authorizer>, names: Names) -> Self {
        Self::with(laws, names, Books::new(Grain::Denials, Some(Pairs::default())))
    }

    /// A fold that compares no two lines: it counts lines, not requests, all of them by the hour.
    pub(crate) fn unpaired(law: &'a Authorizer, names: Names) -> Self {
        Self::with([law], names, Books::new(Grain::Every, None))
    }

    fn with(laws: impl IntoIterator<Item = &'a Authorizer>, names: Names, books: Books) -> Self {
        Self {
            judges: laws.into_iter().map(Judge::new).collect(),
            history: History::default(),
            in_force: Vec::new(),
            names,
            answers: Asked::default(),
            unnamed: BTreeSet::new(),
            memory: Memory::new(),
            books,
            again: 0,
            question: Vec::new(),
            counts: Counts::default(),
            asked: 0,
            surplus: BTreeMap::new(),
            apart: BTreeMap::new(),
        }
    }

    /// Judges each request under the bundle of its time.
    pub(crate) fn with_history(mut self, history: History) -> Self {
        let judge = |revision| self.judges.iter().position(|judge| judge.revision == revision);
        self.in_force = history.spans().map(|(_, revision)| judge(revision)).collect();
        self.history = history;
        self
    }

    /// The times of the first and the last request.
    pub(crate) const fn seen(&self) -> Option<(Timestamp, Timestamp)> {
        self.books.seen
    }

    /// Whether lines of a format tell of connections that nothing ties to the other end's.
    pub(crate) fn has_untied(&self, format: Format) -> bool {
        self.books.untied.contains(&format)
    }

    /// Requests that were not compared with the other side's, for want of room or of an id.
    pub(crate) const fn not_paired(&self) -> u64 {
        self.books.unpaired
    }

    /// The bundle in force at a time.
    fn judge_at(&self, at: Timestamp) -> Option<usize> {
        if self.history.is_empty() {
            return self.judges.len().checked_sub(1);
        }
        self.in_force.get(self.history.span_at(at)?).copied().flatten()
    }

    /// The bundle in force at a time, as a number to remember answers by; `None` where an answer may depend on more than these bytes.
    fn remembered_by(&self, at: Timestamp, deciding: Deciding<'_>) -> Option<u32> {
        self.bundle_at(at).filter(|_| !self.names.read_more_than(deciding))
    }

    /// The bundle in force at a time, as a number; `None` where its answers may depend on the time.
    fn bundle_at(&self, at: Timestamp) -> Option<u32> {
        let number = self.judge_at(at);
        let is_timed = number.and_then(|n| self.judges.get(n)).is_some_and(|judge| judge.timed);
        (!is_timed).then(|| number.map_or(UNJUDGED, |n| u32::try_from(n).unwrap_or(UNJUDGED)))
    }

    /// Whether it may know some request again by its deciding bytes, which are whole or not.
    pub(crate) fn recalls(&self, whole: bool) -> bool {
        let reads_more = !self.names.addresses.is_empty() && (!whole || self.names.read_time());
        !reads_more && !self.judges.iter().all(|judge| judge.timed)
    }

    /// The service of the inventory that a request calls, or words for all others.
    pub(crate) fn called(&self, seen: &Seen<'_>) -> String {
        let judge = self.judge_at(seen.at).and_then(|n| self.judges.get(n));
        let named = judge.and_then(|judge| Some(judge.law.service(&judge.judge(seen, &self.names).to)?.name.to_string()));
        named.unwrap_or_else(|| "services outside the inventory".to_owned())
    }

    /// Whether a request that was sketched can be taken without its line.
    pub(crate) fn knows(&mut self, at: Timestamp, deciding: Deciding<'_>) -> bool {
        self.remembered_by(at, deciding).is_some_and(|bundle| self.memory.get(bundle, deciding).is_some())
    }

    /// Fetches what [`ForeignFold::take_again`] will look at of several requests (see [`Memory::fetch`]).
    pub(crate) fn fetch(&self, sketched: impl Iterator<Item = (Timestamp, u64)>) {
        for (at, hash) in sketched {
            let answered = self.bundle_at(at).and_then(|bundle| self.memory.fetch(bundle, hash));
            if let Some(cell) = answered.and_then(|answered| answered.cell) {
                self.books.cells.fetch(cell);
            }
        }
    }

    /// Takes one request that was sketched, if what decides it was seen before.
    pub(crate) fn take_again(&mut self, place: &Place<'_>, sketch: &Sketch<'_>, deciding: Deciding<'_>) -> Option<(Taken, Grade)> {
        let bundle = self.remembered_by(sketch.at, deciding)?;
        let answered = self.memory.get(bundle, deciding)?;
        self.again += 1;
        self.books.settle(answered, place, sketch.at, sketch.known_by);
        self.books.certificates.note_address(answered.certificate(), || sketch.caller.ip());
        Some((answered.taken(), answered.grade))
    }

    /// Takes one request. Where its line was sketched, the answer is remembered under its deciding bytes.
    pub(crate) fn take(&mut self, format: Format, place: &Place<'_>, seen: &Seen<'_>, deciding: Option<Deciding<'_>>) -> Taken {
        let mut answered = self.answered(format, seen);
        self.books.settle(&mut answered, place, seen.at, seen.known_by());
        if let Some((deciding, bundle)) = deciding.and_then(|deciding| Some((deciding, self.remembered_by(seen.at, deciding)?))) {
            self.memory.put(bundle, deciding, answered);
        }
        answered.taken()
    }

    /// Whether the address of a caller that has an identity may change what is counted.
    pub(crate) fn caller_address_counts(&self) -> bool {
        self.judges.iter().any(|judge| judge.reads_address)
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
        let to = self.books.cells.facts(key).map_or("", |facts| facts.to.as_str());
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
            certificate: effect.and_then(|_| {
                let id = self.books.cells.facts(key)?.from_id.as_ref()?;
                NonZero::new(self.books.certificates.shown(id, seen)?.checked_add(1)?)
            }),
            cell: None,
        }
    }

    /// The key of what a line says, asked for once.
    fn key(&mut self, format: Format, seen: &Seen<'_>, effect: Effect) -> KeyId {
        let number = self.judge_at(seen.at);
        let Some((number, judge)) = number.and_then(|n| Some((n, self.judges.get(n)?))) else { return self.unjudged(format, seen, effect) };
        let mut question = std::mem::take(&mut self.question);
        write_question(&mut question, (format, number), seen, effect, judge.timed || self.names.read_time());
        let known = self.answers.get(&question);
        if let Some(key) = known {
            self.question = question;
            return key;
        }
        self.asked += 1;
        let (judged, revision) = (judge.judge(seen, &self.names), judge.revision);
        let key = self.intern(format, seen, effect, judged, revision);
        self.answers.put(&question, key);
        self.question = question;
        key
    }

    fn unjudged(&mut self, format: Format, seen: &Seen<'_>, effect: Effect) -> KeyId {
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

    fn intern(&mut self, format: Format, seen: &Seen<'_>, effect: Effect, mut judged: Judged, revision: Digest) -> KeyId {
        if let Some(name) = &judged.from_name
            && !self.unnamed.contains(name)
        {
            if self.unnamed.len() < UNNAMED_CALLERS_MAX {
                self.unnamed.insert(name.clone());
            } else {
                judged.from_name = Some("others".to_owned());
            }
        }
        let facts = Facts {
            to: judged.to,
            from: judged.from,
            from_id: judged.from_id,
            from_name: judged.from_name,
            operation: judged.operation,
            method: seen.method.as_deref().map(str::to_owned),
            effect,
            reason: judged.reason,
            policies: judged.policies,
            revision,
            dry_run: false,
            outbound: seen.reporter == Reporter::Outbound,
            user: User::Unknown,
            tls: seen.tls.as_ref().map(|t| (t.version.to_string(), t.suite.to_string())),
            origin: format,
            grade: seen.grade,
            lawful: judged.lawful,
        };
        self.books.cells.key(facts, judged.path.as_deref())
    }

    /// Finds the two sides of each request, counts, and pours everything into the ledger.
    pub(crate) fn finish(&mut self, ledger: &mut Ledger) {
        // What only saves work, and the pairs, go before the ledger comes.
        self.memory.forget();
        self.answers = Asked::default();
        let mut pairs = self.books.pairs.take().unwrap_or_default();
        self.apart = pairs.apart();
        let again = pairs.surplus(|cell| {
            let facts = self.books.cells.facts_of(cell)?;
            Some(Told { caller: facts.from_id.as_ref().map(SpiffeId::as_str), did: Some((facts.origin, facts.effect)) })
        });
        for shown in again.uses {
            self.books.certificates.take_back(shown);
        }
        for (cell, input) in again.lines {
            let surplus = self.surplus.entry(usize::from(input)).or_default();
            match self.books.cells.take_back(cell) {
                Some(facts) => *surplus.decided.entry(facts.grade).or_default() += 1,
                None => {
                    self.books.undetermined = self.books.undetermined.saturating_sub(1);
                    surplus.undetermined += 1;
                }
            }
            self.counts.duplicates += 1;
        }
        self.counts.undetermined = self.books.undetermined;
        for (facts, n) in self.books.cells.each() {
            self.counts.add(facts, n);
        }
        self.books.cells.pour(ledger);
        self.books.certificates.pour(ledger);
    }

    /// The rows of a part of a log. What saves work is kept for more lines.
    pub(crate) fn rows(&mut self, ledger: &mut Ledger) -> BTreeMap<(Key, i64), Tally> {
        let rows = self.books.cells.rows();
        ledger.folded += self.books.cells.take_folded();
        self.books.certificates.pour(ledger);
        for answered in self.memory.answers() {
            answered.cell = None;
        }
        if self.books.cells.len() >= QUESTIONS_MAX {
            self.memory.forget();
            self.answers = Asked::default();
            self.books.cells.forget();
        }
        rows
    }
}

impl Counts {
    fn add(&mut self, facts: &Facts, n: u64) {
        let is_allow = facts.effect == Effect::Allow;
        *(if is_allow { &mut self.allowed } else { &mut self.denied }) += n;
        match &facts.lawful {
            Lawful::NotAsked(_) => self.not_replayable += n,
            Lawful::Says(Effect::Deny) if is_allow => self.unlawful += n,
            Lawful::Says(Effect::Allow) if !is_allow => self.overdenied += n,
            Lawful::Says(_) | Lawful::Recorded => {}
        }
    }
}

impl Books {
    fn new(grain: Grain, pairs: Option<Pairs>) -> Self {
        Self {
            cells: Cells::new(grain),
            pairs,
            certificates: Certificates::default(),
            seen: None,
            undetermined: 0,
            unpaired: 0,
            untied: BTreeSet::new(),
        }
    }

    /// Counts a request, and notes in which cell.
    #[inline]
    fn settle(&mut self, answered: &mut Answered, place: &Place<'_>, at: Timestamp, known_by: Option<(Tie, &[u8])>) {
        let (first, last) = self.seen.unwrap_or((at, at));
        self.seen = Some((first.min(at), last.max(at)));
        if answered.effect.is_some() {
            let at_line = (place.input, place.line);
            answered.cell = Some(self.cells.count(answered.key, answered.cell, at, at_line, || place.evidence()));
        } else {
            self.undetermined += 1;
        }
        let certificate = answered.certificate().and_then(|n| self.certificates.use_at(n, at, place));
        let cell = answered.cell.map_or(UNDETERMINED, CellId::number);
        let line = Counted { at, grade: answered.grade, input: place.input, cell, certificate };
        let added = self.pairs.as_mut().zip(known_by).is_some_and(|(pairs, by)| pairs.add(answered.side, answered.about, by, line));
        self.unpaired += u64::from(!added);
        if known_by.is_none() {
            let connection = self.cells.facts(answered.key).filter(|facts| facts.method.is_none());
            self.untied.extend(connection.map(|facts| facts.origin));
        }
    }
}

/// What is known of a request once it was asked about.
#[derive(Clone, Copy, Debug)]
struct Answered {
    key: KeyId,
    /// What the mesh did, where the line says it.
    effect: Option<Effect>,
    grade: Grade,
    side: Side,
    about: About,
    /// The number of the certificate it shows, from one: so an answer is short enough for one line of the processor's memory (see `memory`).
    certificate: Option<NonZero<u32>>,
    /// Where the last such request was counted.
    cell: Option<CellId>,
}

impl Answered {
    fn taken(&self) -> Taken {
        self.effect.map_or(Taken::Undetermined, Taken::Decided)
    }

    fn certificate(&self) -> Option<u32> {
        self.certificate.map(|number| number.get() - 1)
    }
}

/// All that tells two questions apart. Each text stands behind its length, so that no text of a caller's can pass for two.
pub(super) fn write_question(out: &mut Vec<u8>, (format, bundle): (Format, usize), seen: &Seen<'_>, effect: Effect, timed: bool) {
    out.clear();
    let mut part = |text: Option<&str>| {
        out.extend_from_slice(&text.map_or(u64::MAX, |t| t.len() as u64).to_ne_bytes());
        out.extend_from_slice(text.unwrap_or_default().as_bytes());
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
    // Of a caller with a name nobody asks what its address is.
    let of = (seen.caller == Caller::Unnamed).then_some(seen.caller_ip_of);
    part(of.map(|of| format!("{of:?}")).as_deref());
    let mut number = |there: Option<u128>| {
        out.push(u8::from(there.is_some()));
        out.extend_from_slice(&there.unwrap_or_default().to_ne_bytes());
    };
    for ip in [seen.caller_ip, callee.ip] {
        number(ip.map(|ip| u128::from(ip.is_ipv4())));
        number(ip.map(|ip| match ip {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        }));
    }
    number(seen.port.map(u128::from));
    number(timed.then_some(u128::from(seen.at.unix_ms().cast_unsigned())));
    number(u128::try_from(bundle).ok());
}

/// Stands in a pair for a line that no cell counts.
const UNDETERMINED: u32 = u32::MAX;
/// Stands for the bundle where none was in force.
const UNJUDGED: u32 = u32::MAX;
