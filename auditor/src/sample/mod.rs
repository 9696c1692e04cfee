//! A seeded random sample of records with proofs to the raw lines, for an assessor.
//!
//! Each log is a Merkle tree (RFC 6962) whose leaves are the digests of its lines, in order; the roots of all logs make another.
//! A record's rank is a digest of the seed, its line and its number, and the records of lowest rank are the sample: it depends on
//! nothing but seed and logs, not on the order of the logs, and memory on nothing but the size of the sample. A leaf is the
//! digest of a line, so that a line can be left out of the sample and its proof still holds.
//!
//! INVARIANT: whoever has the sample and its root needs neither this program nor the logs to check that a line stood where it
//! says; whoever has the logs too can check that the draw was the one the seed gives.

mod check;
mod tree;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader};

use portreeve_engine::record::Event;
use portreeve_engine::{Digest, Record};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::assessment::{Assessment, SampleSummary};
use crate::container;
use crate::intake::ReadError;
use crate::limits::{LINE_BYTES_MAX, READ_BLOCK_BYTES};
use crate::source::LogSource;
use tree::Tree;

pub use check::{SampleError, SampleReport};

/// A sample and its proofs: the content of `sample.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// `portreeve-sample`.
    pub kind: String,
    /// The form of this file.
    pub v: u32,
    /// What drew it.
    pub tool: String,
    /// In words: `25 of 3,214,551 records, seed 7`.
    pub statement: String,
    /// What the draw follows from.
    pub seed: u64,
    /// Records asked for.
    pub size: u64,
    /// Records drawn from.
    pub population: u64,
    /// The root over the roots of all logs.
    pub root: Digest,
    /// The logs, in the order given.
    pub logs: Vec<SampledLog>,
    /// The records, by log and line.
    pub entries: Vec<SampledLine>,
    /// Both halves of every line that rotation cut in two and the examination joined; drawn or not, for its findings name such a line by the
    /// digest of both together, which is no leaf of any tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined: Vec<SampledJoin>,
}

/// A line of which two logs hold a half each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampledJoin {
    /// SHA-256 of both halves together: what evidence names it by.
    pub sha256: Digest,
    /// The last line of the log it begins in, and the first of the log it ends in.
    pub halves: [SampledLine; 2],
}

/// A log that was drawn from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampledLog {
    /// As given.
    pub path: String,
    /// SHA-256 of the file as stored.
    pub sha256: Digest,
    /// Its lines: the leaves of its tree.
    pub lines: u64,
    /// Records among them: of our own log those of decisions, of another mesh's every line that holds text.
    pub population: u64,
    /// The root of its tree.
    pub root: Digest,
}

/// A record that was drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampledLine {
    /// Index into `logs`.
    pub log: usize,
    /// Line, from 1.
    pub line: u64,
    /// SHA-256 of the line without its newline: the data of the leaf.
    pub sha256: Digest,
    /// The line; absent where it was left out.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// The hashes beside the way from the leaf to the root of its log.
    pub proof: Vec<Digest>,
}

/// What to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// How many records.
    pub size: usize,
    /// What the draw follows from.
    pub seed: u64,
    /// Leave the lines out and keep their digests and proofs.
    pub digests_only: bool,
}

impl Sample {
    /// Draws from these logs.
    ///
    /// # Errors
    /// A log cannot be read.
    pub fn draw(logs: &[LogSource], draw: Draw) -> Result<Self, ReadError> {
        Self::draw_with(logs, draw, &[])
    }

    /// Draws from the logs that were examined, and proves the halves of lines that were joined there.
    ///
    /// # Errors
    /// A log cannot be read.
    pub fn draw_of(assessment: &Assessment, logs: &[LogSource], draw: Draw) -> Result<Self, ReadError> {
        let joined = assessment.inputs.iter().enumerate().filter_map(|(n, input)| Some((n, input.coverage.joined?)));
        let joined: Vec<[Place; 2]> = joined.map(|(n, joined)| [(n, joined.line), (joined.rest_input, joined.rest_line)]).collect();
        Self::draw_with(logs, draw, &joined)
    }

    fn draw_with(logs: &[LogSource], draw: Draw, joined: &[[Place; 2]]) -> Result<Self, ReadError> {
        let wanted = joined.iter().flatten().map(|place| (*place, None)).collect();
        let mut reservoir = Reservoir { draw, kept: BTreeMap::new(), wanted };
        let mut out = Vec::new();
        for (index, source) in logs.iter().enumerate() {
            out.push(reservoir.log(index, source)?);
        }
        let mut above = Tree::default();
        for log in &out {
            above.push(&log_leaf(log), false);
        }
        let population = out.iter().map(|l| l.population).sum();
        let mut entries: Vec<SampledLine> = reservoir.kept.into_values().map(|held| held.entry).collect();
        entries.sort_by_key(|e| (e.log, e.line));
        let wanted = reservoir.wanted;
        let of = |place: &Place| wanted.get(place)?.clone();
        let joined = joined.iter().filter_map(|[begins, ends]| Some(of(begins)?.joined(of(ends)?))).collect();
        let statement = format!("{} of {} records, seed {}", grouped(entries.len() as u64), grouped(population), draw.seed);
        Ok(Self {
            kind: KIND.to_owned(),
            v: VERSION,
            tool: format!("portreeve {}", env!("CARGO_PKG_VERSION")),
            statement,
            seed: draw.seed,
            size: draw.size as u64,
            population,
            root: above.finish().0,
            logs: out,
            entries,
            joined,
        })
    }

    /// What a report says of it, which counts so many decisions.
    #[must_use]
    pub fn summary(&self, decided: u64) -> SampleSummary {
        SampleSummary {
            statement: self.statement.clone(),
            size: self.entries.len() as u64,
            population: self.population,
            decided,
            seed: self.seed,
            root: self.root,
            file: FILE.to_owned(),
        }
    }

    /// The first log that is not the one examined: it was changed between the two readings.
    #[must_use]
    pub fn stranger(&self, assessment: &Assessment) -> Option<&str> {
        let examined = |log: &&SampledLog| assessment.inputs.iter().any(|input| input.sha256 == log.sha256);
        self.logs.iter().find(|log| !examined(log)).map(|log| &*log.path)
    }
}

/// A log and a line of it.
type Place = (usize, u64);

/// Half of a line, with its bytes.
#[derive(Clone)]
struct WantedHalf {
    entry: SampledLine,
    bytes: Vec<u8>,
    leaf: u64,
}

impl WantedHalf {
    fn joined(self, rest: Self) -> SampledJoin {
        SampledJoin { sha256: Digest::of(&[self.bytes, rest.bytes].concat()), halves: [self.entry, rest.entry] }
    }
}

/// A record's place in the draw; the lowest are drawn.
type Rank = (Digest, usize, u64);

struct Held {
    entry: SampledLine,
    leaf: u64,
}

struct Reservoir {
    draw: Draw,
    kept: BTreeMap<Rank, Held>,
    /// Halves of lines, which are proved whether they are drawn or not.
    wanted: BTreeMap<Place, Option<WantedHalf>>,
}

impl Reservoir {
    fn log(&mut self, index: usize, source: &LogSource) -> Result<SampledLog, ReadError> {
        let name = source.name();
        let stream = source.open().map_err(|cause| ReadError::Open { name: name.clone(), cause })?;
        let is_of_container = stream.is_of_container();
        let mut stream = BufReader::with_capacity(READ_BLOCK_BYTES, stream);
        let mut tree = Tree::default();
        let mut population = 0;
        let mut buffer = Vec::new();
        let mut ours = None;
        loop {
            match next_line(&mut stream, &mut buffer) {
                Ok(None) => break,
                Ok(Some(digest)) => {
                    let number = tree.size() + 1;
                    let is_beside = is_of_container && container::is_of_stderr(&buffer);
                    let is_whole = !is_beside
                        && buffer.len() <= LINE_BYTES_MAX
                        && std::str::from_utf8(&buffer).is_ok()
                        && !buffer.trim_ascii().is_empty();
                    // The first line that holds anything says whose log it is.
                    let is_ours = is_whole && *ours.get_or_insert_with(|| Record::from_line(&buffer).is_ok());
                    let is_record = is_whole && (!is_ours || is_decided(&buffer));
                    population += u64::from(is_record);
                    let rank = (rank(self.draw.seed, &digest, number), index, number);
                    let hold = is_record && self.has_room(&rank);
                    let wanted = self.wanted.get_mut(&(index, number));
                    let leaf = tree.push(digest.as_bytes(), hold || wanted.is_some());
                    if let Some(half) = wanted {
                        let text = String::from_utf8(buffer.clone()).ok().filter(|_| !self.draw.digests_only);
                        let entry = SampledLine { log: index, line: number, sha256: digest, text, proof: Vec::new() };
                        *half = Some(WantedHalf { entry, bytes: buffer.clone(), leaf });
                    }
                    if hold {
                        self.keep(rank, index, leaf, digest, &buffer, &mut tree);
                    }
                }
                // Damaged compressed data ends a log; the examination says so, and the lines before it are lines.
                Err(_) if stream.get_ref().is_compressed() && !stream.get_ref().has_failed() => break,
                Err(cause) => return Err(ReadError::Read { name, line: tree.size(), cause }),
            }
        }
        let lines = tree.size();
        let (sha256, _) = stream.into_inner().finish().map_err(|cause| ReadError::Read { name: name.clone(), line: lines, cause })?;
        let (root, mut proofs) = tree.finish();
        for half in self.wanted.values_mut().flatten().filter(|half| half.entry.log == index) {
            half.entry.proof = proofs.get(&half.leaf).cloned().unwrap_or_default();
        }
        for held in self.kept.values_mut().filter(|held| held.entry.log == index) {
            held.entry.proof = proofs.remove(&held.leaf).unwrap_or_default();
        }
        Ok(SampledLog { path: name, sha256, lines, population, root })
    }

    fn has_room(&self, rank: &Rank) -> bool {
        self.kept.len() < self.draw.size || self.kept.last_key_value().is_some_and(|(last, _)| rank < last)
    }

    fn keep(&mut self, rank: Rank, log: usize, leaf: u64, sha256: Digest, line: &[u8], tree: &mut Tree) {
        let text = (!self.draw.digests_only).then(|| String::from_utf8_lossy(line).into_owned());
        self.kept.insert(rank, Held { entry: SampledLine { log, line: rank.2, sha256, text, proof: Vec::new() }, leaf });
        if self.kept.len() > self.draw.size
            && let Some((_, out)) = self.kept.pop_last()
            && out.entry.log == log
            && !self.wanted.contains_key(&(log, out.entry.line))
        {
            tree.release(out.leaf);
        }
    }
}

/// A record of a decision: what an assessor samples. Its text is UTF-8, since it is JSON.
fn is_decided(line: &[u8]) -> bool {
    // Most lines that are none are told by their bytes; the reader decides about the others.
    names_decided(line) && Record::from_line(line).is_ok_and(|record| matches!(record.event, Event::Decided(_)))
}

fn names_decided(line: &[u8]) -> bool {
    line.windows(DECIDED.len()).any(|window| window == DECIDED)
}

/// The next line's digest, its bytes in `buffer`; of a line that is too long no more than tells so.
fn next_line(stream: &mut impl BufRead, buffer: &mut Vec<u8>) -> io::Result<Option<Digest>> {
    buffer.clear();
    let mut hash = Sha256::new();
    let mut begun = false;
    loop {
        let chunk = match stream.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if chunk.is_empty() {
            break;
        }
        begun = true;
        let end = chunk.iter().position(|b| *b == b'\n');
        let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
        hash.update(part);
        if buffer.len() <= LINE_BYTES_MAX {
            buffer.extend_from_slice(part);
        }
        let taken = part.len() + usize::from(end.is_some());
        stream.consume(taken);
        if end.is_some() {
            break;
        }
    }
    Ok(begun.then(|| Digest::from_bytes(hash.finalize().into())))
}

/// A digest of seed, line and number: two records have the same chance, whoever wrote the line cannot know it before the seed.
fn rank(seed: u64, digest: &Digest, line: u64) -> Digest {
    let mut hash = Sha256::new();
    hash.update(b"portreeve-sample-v1\n");
    hash.update(seed.to_be_bytes());
    hash.update(digest.as_bytes());
    hash.update(line.to_be_bytes());
    Digest::from_bytes(hash.finalize().into())
}

/// What of a log is a leaf of the tree above: its root, and how many lines it has.
fn log_leaf(log: &SampledLog) -> [u8; 40] {
    let mut out = [0; 40];
    let bytes = log.root.as_bytes().iter().copied().chain(log.lines.to_be_bytes());
    for (place, byte) in out.iter_mut().zip(bytes) {
        *place = byte;
    }
    out
}

/// `3214551` as `3,214,551`.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The mark of the file.
pub const KIND: &str = "portreeve-sample";
/// Its name beside a report.
pub const FILE: &str = "sample.json";
const VERSION: u32 = 1;
const DECIDED: &[u8] = b"\"decided\"";
