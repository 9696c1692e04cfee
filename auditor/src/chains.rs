//! The chains of all processes whose lines were read, in whatever order and from whatever files.
//!
//! A file is a run of segments: each `started` or `continued` line opens one and names the process. Segments are linked at the
//! end, by process and sequence number, so the order in which files are given does not matter. It decides which lines are new,
//! doubled or contradictory; it looks at no decision.
//!
//! INVARIANT: a (process, `seq`) pair is fresh once; whatever claims it again is a duplicate or a fault.

use std::collections::BTreeMap;

use portreeve_engine::chain::{ChainReader, Head};
use portreeve_engine::record::{After, Deleted, Event, Record};
use portreeve_engine::{Digest, SpiffeId, Timestamp};

use crate::heads::VerifiedHeads;
use crate::intervals::Intervals;
use crate::limits::{FAULTS_KEPT_MAX, HELD_EVERY, RECENT_LINES};

/// Something wrong with a chain, at a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) input: usize,
    pub(crate) line: u64,
    pub(crate) why: String,
}

/// How a line stands to what was read before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not read before.
    Fresh,
    /// Read before, the same.
    Duplicate,
    /// Another line with its number was read before.
    Contradicts,
}

/// Where a line was put.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Placed {
    pub(crate) chain: usize,
    pub(crate) standing: Standing,
}

/// Where the reading of one input stands.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    at: Option<(usize, usize, ChainReader)>,
    asked: Option<Timestamp>,
}

/// A run of lines of one process in one input.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) input: usize,
    pub(crate) first_line: u64,
    pub(crate) last_line: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    first_prev: Digest,
    last_digest: Digest,
}

/// The chain of one process.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// `None` where the lines that would name the process are missing.
    pub(crate) instance: Option<String>,
    pub(crate) enforcer: Option<SpiffeId>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) fault_count: u64,
    pub(crate) lines: u64,
    pub(crate) duplicates: u64,
    pub(crate) after: Option<After>,
    pub(crate) recovered: Option<String>,
    pub(crate) stopped: Option<u64>,
    /// The highest `seq` for which a signed head gives the digest that was read.
    pub(crate) vouched_through: Option<u64>,
    pub(crate) notes: Vec<String>,
    covered: Intervals,
    held: BTreeMap<u64, Digest>,
    heads: BTreeMap<u64, Vec<Digest>>,
}

impl Chain {
    /// The last sequence number read.
    pub(crate) fn last_seq(&self) -> Option<u64> {
        self.covered.bounds().map(|(_, last)| last)
    }

    /// The first sequence number read.
    pub(crate) fn first_seq(&self) -> Option<u64> {
        self.covered.bounds().map(|(first, _)| first)
    }

    /// The runs of sequence numbers that were not read.
    pub(crate) fn missing(&self) -> Vec<(u64, u64)> {
        self.covered.gaps()
    }

    /// Whether a signed head names a line beyond the last: the end was cut off, which is a fault and no open end.
    pub(crate) fn end_is_cut(&self) -> bool {
        self.heads.last_key_value().is_some_and(|(latest, _)| self.last_seq().is_some_and(|last| *latest > last))
    }

    /// The number after which nothing vouches that the log ends there.
    pub(crate) fn open_ended_after(&self) -> Option<u64> {
        let last = self.last_seq()?;
        let closed = self.stopped == Some(last) || self.vouched_through.is_some_and(|through| through >= last);
        (!closed).then_some(last)
    }

    fn last_segment_end(&self) -> Option<(usize, u64)> {
        self.segments.iter().max_by_key(|s| s.last_seq).map(|s| (s.input, s.last_line))
    }

    fn fault(&mut self, input: usize, line: u64, why: String) {
        self.fault_count += 1;
        if self.faults.len() < FAULTS_KEPT_MAX {
            self.faults.push(Fault { input, line, why });
        }
    }

    fn hold(&mut self, seq: u64, digest: Digest) {
        self.held.insert(seq, digest);
        if let Some(old) = seq.checked_sub(RECENT_LINES).filter(|old| !old.is_multiple_of(HELD_EVERY)) {
            self.held.remove(&old);
        }
    }

    /// The digest read at `seq`, where it is still known.
    fn digest_at(&self, seq: u64) -> Option<Digest> {
        let at_end = || self.segments.iter().find(|s| s.last_seq == seq && s.last_digest != Digest::ZERO).map(|s| s.last_digest);
        self.held.get(&seq).copied().or_else(at_end)
    }
}

/// Files that enforcers say they deleted after their time, by the process that wrote them. Such a word stands in a chain like any other
/// line, so it is worth what that chain is worth: who can put it there can rewrite the whole log (INV-10).
#[derive(Debug, Default)]
struct Gone(BTreeMap<String, BTreeMap<u64, (u64, Digest)>>);

impl Gone {
    fn take(&mut self, deleted: &[Deleted]) {
        for one in deleted {
            self.0.entry(one.instance.clone()).or_default().insert(one.first, (one.last, one.head));
        }
    }

    /// Whether all lines from the one number to the other are in such files.
    fn has(&self, instance: &str, (first, last): (u64, u64)) -> bool {
        let Some(files) = self.0.get(instance) else { return false };
        let mut next = first;
        for (from, (to, _)) in files {
            if *from > next || next > last {
                break;
            }
            next = next.max(to.saturating_add(1));
        }
        next > last
    }

    /// The digest of the last line of such a file.
    fn head_of(&self, instance: &str, last: u64) -> Option<Digest> {
        self.0.get(instance)?.values().find(|(to, _)| *to == last).map(|(_, head)| *head)
    }
}

/// All chains.
#[derive(Debug)]
pub(crate) struct Chains {
    pub(crate) all: Vec<Chain>,
    by_instance: BTreeMap<String, usize>,
    heads: BTreeMap<String, Vec<Head>>,
    gone: Gone,
}

impl Chains {
    pub(crate) fn new(heads: &VerifiedHeads) -> Self {
        let mut by_name: BTreeMap<String, Vec<Head>> = BTreeMap::new();
        for head in heads.iter() {
            by_name.entry(head.instance.clone()).or_default().push(head.clone());
        }
        Self { all: Vec::new(), by_instance: BTreeMap::new(), heads: by_name, gone: Gone::default() }
    }

    /// Processes that signed heads name and of which no line was read, although no enforcer says that it deleted all of them.
    pub(crate) fn absent(&self) -> impl Iterator<Item = (&str, u64)> {
        self.heads
            .iter()
            .filter(|(name, _)| !self.by_instance.contains_key(*name))
            .filter_map(|(name, heads)| Some((name.as_str(), heads.iter().map(|h| h.seq).max()?)))
            .filter(|(name, seq)| !self.gone.has(name, (0, *seq)))
    }

    /// Takes the next record of an input.
    pub(crate) fn accept(&mut self, cursor: &mut Cursor, input: usize, line: u64, digest: Digest, record: &Record) -> Placed {
        self.open_segment(cursor, input, line, record);
        let nowhere = Placed { chain: 0, standing: Standing::Contradicts };
        let Some((index, segment, reader)) = cursor.at.as_mut() else { return nowhere };
        let Some(chain) = self.all.get_mut(*index) else { return nowhere };
        let standing = place(chain, *segment, reader, (input, line), digest, record);
        if standing == Standing::Fresh {
            chain.lines += 1;
            check_time(chain, &mut cursor.asked, input, line, record);
            check_end(chain, input, line, record);
            check_heads(chain, input, line, record.seq, digest);
            if let Event::Heartbeat(heartbeat) = &record.event {
                self.gone.take(&heartbeat.deleted);
            }
        }
        chain.duplicates += u64::from(standing == Standing::Duplicate);
        Placed { chain: *index, standing }
    }

    fn open_segment(&mut self, cursor: &mut Cursor, input: usize, line: u64, record: &Record) {
        let (instance, enforcer) = match &record.event {
            Event::Started(started) => (Some(&started.instance), Some(&started.enforcer)),
            Event::Continued(continued) => (Some(&continued.instance), Some(&continued.enforcer)),
            _ if cursor.at.is_some() => return,
            _ => (None, None),
        };
        // The same opening line again is a doubled line, not a new segment.
        if cursor.at.as_ref().is_some_and(|(chain, _, reader)| {
            reader.last().is_some_and(|(seq, _)| seq == record.seq) && self.all.get(*chain).is_some_and(|c| c.instance.as_ref() == instance)
        }) {
            return;
        }
        let index = self.chain_of(instance);
        let Some(chain) = self.all.get_mut(index) else { return };
        let is_started = matches!(record.event, Event::Started(_));
        if instance.is_none() {
            chain.fault(input, line, format!("the log does not begin with `started` or `continued`, but at `seq` {}", record.seq));
        } else if is_started != (record.seq == 0) {
            let word = if is_started { "started" } else { "continued" };
            chain.fault(input, line, format!("`{word}` has `seq` {}; only `started` opens a chain, at `seq` 0", record.seq));
        }
        if chain.enforcer.is_none() {
            chain.enforcer = enforcer.cloned();
        } else if enforcer.is_some() && chain.enforcer.as_ref() != enforcer {
            chain.fault(input, line, "the process has another identity than in its earlier lines".to_owned());
        }
        let reader = record.seq.checked_sub(1).map_or_else(ChainReader::new, |before| ChainReader::after(before, record.prev));
        chain.segments.push(Segment {
            input,
            first_line: line,
            last_line: line,
            first_seq: record.seq,
            last_seq: record.seq,
            first_prev: record.prev,
            last_digest: Digest::ZERO,
        });
        cursor.at = Some((index, chain.segments.len() - 1, reader));
        cursor.asked = None;
    }

    fn chain_of(&mut self, instance: Option<&String>) -> usize {
        if let Some(index) = instance.and_then(|name| self.by_instance.get(name)) {
            return *index;
        }
        let index = self.all.len();
        let mut chain = Chain { instance: instance.cloned(), ..Chain::default() };
        if let Some(name) = instance {
            self.by_instance.insert(name.clone(), index);
            for head in self.heads.get(name).into_iter().flatten() {
                chain.heads.entry(head.seq).or_default().push(head.head);
            }
        }
        self.all.push(chain);
        index
    }

    /// Links segments and processes once everything was read.
    pub(crate) fn link(&mut self) {
        for chain in &mut self.all {
            link_segments(chain, &self.gone);
            check_cut(chain);
        }
        let ends: BTreeMap<String, (Option<u64>, BTreeMap<u64, Digest>)> =
            self.all.iter().filter_map(|c| Some((c.instance.clone()?, (c.last_seq(), self.wanted(c))))).collect();
        for chain in &mut self.all {
            link_before(chain, &ends, &self.gone);
        }
    }

    /// The digests of a chain's lines that later processes name.
    fn wanted(&self, chain: &Chain) -> BTreeMap<u64, Digest> {
        let named = self.all.iter().filter_map(|c| c.after.as_ref()).filter(|a| Some(&a.instance) == chain.instance.as_ref());
        named.filter_map(|a| Some((a.seq, chain.digest_at(a.seq)?))).collect()
    }
}

/// Follows the chain with one line, and says how the line stands.
fn place(
    chain: &mut Chain,
    segment: usize,
    reader: &mut ChainReader,
    (input, line): (usize, u64),
    digest: Digest,
    record: &Record,
) -> Standing {
    let seq = record.seq;
    let seen = chain.covered.contains(seq);
    let is_first = chain.segments.get(segment).is_some_and(|s| s.last_digest == Digest::ZERO);
    let within = !is_first && reader.last().is_some_and(|(last, _)| seq <= last);
    let follows = if seen && within { None } else { Some(reader.accept_hashed(seq, record.prev, digest)) };
    let same = !seen || chain.digest_at(seq).is_none_or(|known| known == digest);
    if follows.is_none() {
        let what = if same { "the line with" } else { "another line with" };
        chain.fault(input, line, format!("{what} `seq` {seq} was read before in this log: lines are doubled or out of order"));
    } else if let Some(Err(fault)) = follows {
        chain.fault(input, line, fault.to_string());
    }
    if seen && !within && !same {
        chain.fault(
            input,
            line,
            format!("another line with `seq` {seq} of this process was read elsewhere: there are two versions of this log"),
        );
    }
    if let Some(segment) = chain.segments.get_mut(segment).filter(|_| !(seen && within)) {
        segment.last_line = line;
        segment.last_seq = seq;
        segment.last_digest = digest;
    }
    match (seen, same) {
        (false, _) => {
            chain.covered.insert(seq);
            chain.hold(seq, digest);
            Standing::Fresh
        }
        (true, true) => Standing::Duplicate,
        (true, false) => Standing::Contradicts,
    }
}

/// Questions of one process are asked in time (`at` of `decided` never goes back).
fn check_time(chain: &mut Chain, asked: &mut Option<Timestamp>, input: usize, line: u64, record: &Record) {
    if !matches!(record.event, Event::Decided(_)) {
        return;
    }
    if let Some(before) = asked.filter(|before| record.at < *before) {
        chain.fault(input, line, format!("the time goes back from {before} to {}", record.at));
    }
    *asked = Some(record.at);
}

fn check_end(chain: &mut Chain, input: usize, line: u64, record: &Record) {
    if let Some(stopped) = chain.stopped.filter(|stopped| record.seq > *stopped) {
        chain.fault(input, line, format!("a line follows `stopped` at `seq` {stopped}"));
    }
    match &record.event {
        Event::Stopped(_) => chain.stopped = Some(record.seq),
        Event::Started(started) => {
            chain.after.clone_from(&started.after);
            chain.recovered.clone_from(&started.recovered);
        }
        _ => {}
    }
}

fn check_heads(chain: &mut Chain, input: usize, line: u64, seq: u64, digest: Digest) {
    let Some(heads) = chain.heads.get(&seq) else { return };
    if heads.iter().all(|head| *head == digest) {
        chain.vouched_through = chain.vouched_through.max(Some(seq));
    } else {
        chain.fault(input, line, format!("the signed head at `seq` {seq} has another digest: the log was rewritten after it was signed"));
    }
}

/// The first line of each segment must follow from the line before it, wherever that was read.
fn link_segments(chain: &mut Chain, gone: &Gone) {
    let (mut faults, mut notes) = (Vec::new(), Vec::new());
    for segment in &chain.segments {
        let Some(before) = segment.first_seq.checked_sub(1) else { continue };
        if chain.covered.contains(before) {
            if chain.digest_at(before).is_some_and(|known| known != segment.first_prev) {
                let why = format!("`prev` of `seq` {} is not the digest of the line before, which is in another file", segment.first_seq);
                faults.push(Fault { input: segment.input, line: segment.first_line, why });
            }
        } else if chain.instance.is_some() {
            let first = chain.missing().into_iter().find(|(_, to)| *to == before).map_or(before, |(from, _)| from);
            let deleted = chain.instance.as_deref().filter(|name| gone.has(name, (first, before)));
            let why = match deleted.and_then(|name| gone.head_of(name, before)) {
                Some(head) if head == segment.first_prev => {
                    notes.push(format!("the lines with `seq` {first} to {before} were deleted after their time, as the log itself says"));
                    continue;
                }
                Some(_) => format!(
                    "`prev` of `seq` {} is not the digest with which the file ended that the log says to be deleted",
                    segment.first_seq
                ),
                None => format!("the lines with `seq` {first} to {before} of this process are missing: a file was removed or not given"),
            };
            faults.push(Fault { input: segment.input, line: segment.first_line, why });
        }
    }
    chain.notes.extend(notes);
    for fault in faults {
        chain.fault(fault.input, fault.line, fault.why);
    }
}

/// A head beyond the last line says that lines were cut off.
fn check_cut(chain: &mut Chain) {
    let (Some(last), Some((latest, _))) = (chain.last_seq(), chain.heads.last_key_value()) else { return };
    let latest = *latest;
    if let Some((input, line)) = chain.last_segment_end().filter(|_| latest > last) {
        chain.fault(input, line, format!("a signed head names `seq` {latest}, but the log ends at `seq` {last}: its end was cut off"));
    }
}

/// `started.after` links a process to the one before it.
fn link_before(chain: &mut Chain, ends: &BTreeMap<String, (Option<u64>, BTreeMap<u64, Digest>)>, gone: &Gone) {
    let Some(after) = chain.after.clone() else { return };
    let place = chain.segments.iter().find(|s| s.first_seq == 0).map(|s| (s.input, s.first_line));
    let Some((input, line)) = place else { return };
    match ends.get(&after.instance) {
        None if gone.has(&after.instance, (0, after.seq)) => match gone.head_of(&after.instance, after.seq) {
            Some(head) if head != after.head => chain.fault(
                input,
                line,
                format!("`started` names another digest for `seq` {} of `{}` than the log that deleted it", after.seq, after.instance),
            ),
            _ => chain
                .notes
                .push(format!("the log of the process before it (`{}`) was deleted after its time, as the log says", after.instance)),
        },
        None => {
            chain.notes.push(format!("the log of the process before it (`{}`, up to `seq` {}) was not given", after.instance, after.seq))
        }
        Some((last, digests)) => match (last.cmp(&Some(after.seq)), digests.get(&after.seq)) {
            (std::cmp::Ordering::Less, _) => chain.fault(
                input,
                line,
                format!("`started` names `seq` {} of `{}`, whose log ends before: its end was cut off", after.seq, after.instance),
            ),
            (_, Some(digest)) if *digest != after.head => {
                chain.fault(
                    input,
                    line,
                    format!("`started` names another digest for `seq` {} of `{}`: one of the two was rewritten", after.seq, after.instance),
                );
            }
            (std::cmp::Ordering::Greater, _) => {
                chain.notes.push(format!("`{}` wrote more lines after `seq` {}, at which this process began", after.instance, after.seq))
            }
            _ => {}
        },
    }
}
