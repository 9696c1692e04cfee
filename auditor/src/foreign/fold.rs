//! Folds the records of other meshes: resolve, ask once for each distinct question, count.
//!
//! It keeps cells of its own, one for each distinct fact and hour, and pours them into the ledger at the end; so a line costs a
//! look-up and an addition. The two sides of one request are found at the end by comparing digests of request ids (see `pairs`).
//!
//! INVARIANT (row conservation): each request taken adds to exactly one cell, or to `undetermined` where the line does not say what
//! the mesh did.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use portreeve_engine::decision::Effect;
use portreeve_engine::{Authorizer, Digest, SpiffeId, Timestamp};

use super::Format;
use super::judge::{Judge, Judged, Lawful};
use super::names::Names;
use super::pairs::{Pairs, Side};
use super::seen::{Caller, Did, Grade, Reporter, Seen};
use crate::assessment::Evidence;
use crate::ledger::{CertificateTally, Key, Ledger, Tally, User};
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
    names: Names,
    /// Keys by what a line says; cleared when there are too many, since it only saves work.
    answers: HashMap<String, u32>,
    keys: Vec<Key>,
    by_key: HashMap<Key, u32>,
    cells: Vec<Cell>,
    by_cell: HashMap<(u32, i64), u32>,
    pairs: Pairs,
    unnamed: BTreeSet<String>,
    certificates: BTreeMap<(SpiffeId, Digest), CertificateTally>,
    question: String,
    pub(crate) counts: Counts,
    pub(crate) seen: Option<(Timestamp, Timestamp)>,
    pub(crate) asked: u64,
    pub(crate) folded: u64,
    /// Duplicates by input, known at the end.
    pub(crate) surplus: BTreeMap<usize, Surplus>,
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
            names,
            answers: HashMap::new(),
            keys: Vec::new(),
            by_key: HashMap::new(),
            cells: Vec::new(),
            by_cell: HashMap::new(),
            pairs: Pairs::default(),
            unnamed: BTreeSet::new(),
            certificates: BTreeMap::new(),
            question: String::new(),
            counts: Counts::default(),
            seen: None,
            asked: 0,
            folded: 0,
            surplus: BTreeMap::new(),
            unpaired: 0,
        }
    }

    /// Takes one request.
    pub(crate) fn take(&mut self, format: Format, place: &Place<'_>, seen: &Seen<'_>) -> Taken {
        let (first, last) = self.seen.unwrap_or((seen.at, seen.at));
        self.seen = Some((first.min(seen.at), last.max(seen.at)));
        let effect = match seen.did {
            Did::Allowed => Effect::Allow,
            Did::Denied(_) => Effect::Deny,
            Did::Unknown => {
                self.counts.undetermined += 1;
                // The other side may know.
                let key = self.key(format, seen, Effect::Deny);
                self.pair(key, UNDETERMINED, place.input, seen);
                return Taken::Undetermined;
            }
        };
        let key = self.key(format, seen, effect);
        let cell = self.count(key, place, seen.at);
        self.pair(key, cell, place.input, seen);
        self.certificate(key, place, seen);
        Taken::Decided(effect)
    }

    /// The key of what a line says, asked for once.
    fn key(&mut self, format: Format, seen: &Seen<'_>, effect: Effect) -> u32 {
        // One bundle has all times until revisions come with theirs.
        let Some(judge) = self.judges.last() else { return self.unjudged(format, seen, effect) };
        let mut question = std::mem::take(&mut self.question);
        write_question(&mut question, format, seen, effect, judge.timed || !self.names.addresses.is_empty());
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
            lawful: Lawful::NotAsked(super::judge::Lack::Callee),
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
        let is_full = self.cells.len() >= LEDGER_KEYS_MAX;
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

    fn count(&mut self, key: u32, place: &Place<'_>, at: Timestamp) -> u32 {
        let mut hour = at.unix_ms().div_euclid(HOUR_MS);
        if self.cells.len() >= LEDGER_KEYS_MAX && !self.by_cell.contains_key(&(key, hour)) {
            hour = 0;
            self.folded += 1;
        }
        let next = u32::try_from(self.cells.len()).unwrap_or(u32::MAX);
        let index = *self.by_cell.entry((key, hour)).or_insert(next);
        match self.cells.get_mut(index as usize) {
            Some(cell) => cell.tally.add_with(at, (place.input, place.line), || place.evidence()),
            None => self.cells.push(Cell { key, hour, tally: Tally::one(at, &place.evidence()) }),
        }
        index
    }

    fn pair(&mut self, key: u32, cell: u32, input: usize, seen: &Seen<'_>) {
        let side = match seen.reporter {
            Reporter::Inbound => Side::Called,
            Reporter::Outbound => Side::Calling,
        };
        let to = self.keys.get(key as usize).map(|k| k.to.as_str());
        let added = seen.request_id.as_deref().zip(to).is_some_and(|(id, to)| {
            let parts = [id, to, seen.method.as_deref().unwrap_or_default(), seen.path.as_deref().unwrap_or_default()];
            self.pairs.add(side, &parts, seen.at, cell, input)
        });
        self.unpaired += u64::from(!added);
    }

    fn certificate(&mut self, key: u32, place: &Place<'_>, seen: &Seen<'_>) {
        let Some(tls) = &seen.tls else { return };
        let sha256 =
            tls.peer_sha256.as_deref().and_then(|hex| format!("sha256:{}", hex.replace(':', "").to_ascii_lowercase()).parse().ok());
        let id = self.keys.get(key as usize).and_then(|k| k.from_id.clone());
        let (Some(sha256), Some(not_after), Some(id)) = (sha256, tls.peer_not_after, id) else { return };
        let evidence = place.evidence();
        let one = CertificateTally {
            id: id.clone(),
            serial: tls.peer_serial.as_deref().unwrap_or("unknown").to_owned(),
            not_after,
            seen: Tally::one(seen.at, &evidence),
            expired: u64::from(seen.at > not_after),
            addresses: seen.caller_ip.into_iter().take(ADDRESSES_MAX).collect(),
        };
        self.certificates.entry((id, sha256)).and_modify(|c| c.absorb(&one)).or_insert(one);
    }

    /// Finds the two sides of each request, counts, and pours everything into the ledger.
    pub(crate) fn finish(&mut self, ledger: &mut Ledger) {
        for (cell, input) in std::mem::take(&mut self.pairs).surplus() {
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
        ledger.folded += self.folded;
        for (key, one) in std::mem::take(&mut self.certificates) {
            ledger.certificates.entry(key).and_modify(|c| c.absorb(&one)).or_insert(one);
        }
    }
}

/// All that tells two questions apart, in one text. Parts are ended by a byte that no part can hold unescaped in a log line.
fn write_question(out: &mut String, format: Format, seen: &Seen<'_>, effect: Effect, timed: bool) {
    out.clear();
    let mut part = |text: Option<&str>| {
        if let Some(text) = text {
            out.push_str(text);
        }
        out.push('\u{1f}');
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
    let numbers = (seen.caller_ip, callee.ip, seen.port, timed.then_some(seen.at));
    // Written through the same buffer: addresses, port and time.
    let _ = std::fmt::Write::write_fmt(out, format_args!("{numbers:?}"));
}

/// Stands in a pair for a line that no cell counts.
const UNDETERMINED: u32 = u32::MAX;
