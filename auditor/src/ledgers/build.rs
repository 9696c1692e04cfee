//! Builds a ledger from logs: cuts them into parts, folds the parts on several threads, and merges.
//!
//! What a part gives does not depend on any other, and merging not on any order, so the number of threads does not show in the result.
//! Finished parts lie in a folder beside the ledger until it is whole, so that a build that was broken off goes on where it was. Where
//! the ledger is there already, only what was appended to the logs since is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use portreeve_engine::record::Event;
use portreeve_engine::{Authorizer, Digest, Record, Timestamp};

use super::LedgerError;
use super::file::{LedgerFile, Writer};
use super::joined::{self, PartEnds};
use super::merge::{Alike, merge};
use super::part::{self, Part};
use super::row::Row;
use crate::assessment::{Evidence, Rejected};
use crate::cells::{Cells, Grain};
use crate::foreign::{Deciding, ForeignFold, Format, Grade, Place, Reading, Seen, Sketch, Taken};
use crate::heads::VerifiedHeads;
use crate::intake::{self, InputRead, Line, Sink};
use crate::ledger::{Key, Ledger, Tally};
use crate::limits::REJECTED_EXAMPLES_MAX;
use crate::source::LogSource;

/// A build about to be made.
#[derive(Debug)]
pub struct Build<'a> {
    /// The bundle by which records of other meshes are judged.
    pub law: &'a Authorizer,
    /// How the logs are to be read.
    pub reading: Reading,
    /// Threads; at least one is used.
    pub threads: usize,
}

/// What a build did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// Parts read.
    pub read: usize,
    /// Parts taken from a build that was broken off.
    pub resumed: usize,
    /// Parts that stood in the ledger already.
    pub kept: usize,
    /// Bytes behind the last newline of plain logs: an unfinished line, left for the next build.
    pub left: u64,
    /// Lines that rotation cut in two and that were joined.
    pub joined: usize,
    /// The first lines that could not be read of the parts that were read now, in the order of the logs.
    pub rejected: Vec<Unread>,
    /// Lines that stand in two logs.
    pub alike: Alike,
}

/// A line that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The log.
    pub log: String,
    /// Its line, from 1.
    pub line: u64,
    /// Why.
    pub why: String,
}

/// A part that is to be read.
pub(super) struct Job {
    pub(super) log: PathBuf,
    pub(super) name: String,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) run: PathBuf,
}

impl Build<'_> {
    /// Builds `out` from these files. `progress` is told the bytes read so far.
    ///
    /// # Errors
    /// See [`LedgerError`]; what was read so far is kept for the next try.
    pub fn run(&self, logs: &[PathBuf], out: &Path, progress: &(dyn Fn(u64) + Sync)) -> Result<Built, LedgerError> {
        let mut built = Built::default();
        let before = if out.exists() { Some(LedgerFile::open(out)?) } else { None };
        let known = before.as_ref().map(|l| l.parts.as_slice()).unwrap_or_default();
        built.kept = known.len();
        let runs = beside(out);
        std::fs::create_dir_all(&runs).map_err(LedgerError::io(&runs))?;
        let jobs = self.jobs(logs, known, &runs, &mut built)?;
        let (todo, done): (Vec<&Job>, Vec<&Job>) = jobs.iter().partition(|job| !is_done(job));
        (built.read, built.resumed) = (todo.len(), done.len());
        let bytes = AtomicU64::new(done.iter().map(|job| job.to - job.from).sum());
        built.rejected = self.read_all(&todo, &|more| progress(bytes.fetch_add(more, Ordering::Relaxed) + more))?;
        let mut ledgers: Vec<LedgerFile> = before.into_iter().collect();
        for job in &jobs {
            ledgers.push(LedgerFile::open(&job.run)?);
        }
        built.joined = joined::join(self, logs, &jobs, &mut ledgers, &runs.join("joined.ledger"))?;
        if let Some(joined) = ledgers.last().filter(|_| built.joined > 0) {
            built.left -= joined.parts.iter().map(|part| part.to - part.from).sum::<u64>();
        }
        if !jobs.is_empty() || ledgers.is_empty() || built.joined > 0 {
            built.alike = merge(&ledgers, out)?;
        }
        std::fs::remove_dir_all(&runs).map_err(LedgerError::io(&runs))?;
        Ok(built)
    }

    /// What is to be read: of each log what does not stand in the ledger.
    fn jobs(&self, logs: &[PathBuf], known: &[Part], runs: &Path, built: &mut Built) -> Result<Vec<Job>, LedgerError> {
        let mut jobs = Vec::new();
        // A build is gone on with on any number of threads.
        let reading = format!("{:?}", self.reading.clone().on_threads(1));
        for log in logs {
            let name = log.display().to_string();
            let size = std::fs::metadata(log).map_err(LedgerError::io(log))?.len();
            let mut from = 0;
            for part in known.iter().filter(|part| part.log == name) {
                let is_there = part.to <= size && part::digest(log, part.from, part.to).map_err(LedgerError::io(log))? == part.sha256;
                if !is_there {
                    return Err(LedgerError::Changed { log: name, from: part.from, to: part.to });
                }
                from = from.max(part.to);
            }
            let cuts = part::cut(log, from).map_err(LedgerError::io(log))?;
            built.left += size - cuts.last().map_or(from, |(_, to)| *to);
            for (from, to) in cuts {
                // Named by what it is of and how it is read, so that another build does not take it for its own.
                let of = format!("{name}\0{from}\0{to}\0{}\0{reading}", self.law.revision());
                let run = runs.join(format!("{}.ledger", Digest::of(of.as_bytes()).hex()));
                jobs.push(Job { log: log.clone(), name: name.clone(), from, to, run });
            }
        }
        Ok(jobs)
    }

    /// Reads every part, and gives the first lines that could not be read.
    fn read_all(&self, jobs: &[&Job], progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<Unread>, LedgerError> {
        let next = AtomicUsize::new(0);
        let stopped = AtomicBool::new(false);
        let failed: Mutex<BTreeMap<usize, LedgerError>> = Mutex::default();
        let unread: Mutex<BTreeMap<usize, Vec<Rejected>>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..self.threads.clamp(1, jobs.len().max(1)) {
                scope.spawn(|| {
                    let mut sink = PartSink::new(self.law, &self.reading);
                    while !stopped.load(Ordering::Relaxed) {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        let Some(job) = jobs.get(n) else { break };
                        match self.read_one(job, &mut sink, progress) {
                            Ok(rejected) if rejected.is_empty() => {}
                            Ok(rejected) => drop(unread.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(n, rejected)),
                            Err(error) => {
                                stopped.store(true, Ordering::Relaxed);
                                failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(n, error);
                            }
                        }
                    }
                });
            }
        });
        // The first in order, whichever thread was faster.
        let failed = failed.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(error) = failed.into_values().next() {
            return Err(error);
        }
        let mut first = Vec::new();
        for (n, rejected) in unread.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            let Some(job) = jobs.get(n).filter(|_| first.len() < REJECTED_EXAMPLES_MAX) else { break };
            // A part counts its lines from its own beginning.
            let before = part::lines_before(&job.log, job.from).map_err(LedgerError::io(&job.log))?;
            first.extend(rejected.into_iter().map(|r| Unread { log: job.name.clone(), line: before + r.line, why: r.why }));
        }
        first.truncate(REJECTED_EXAMPLES_MAX);
        Ok(first)
    }

    /// Reads a part into a ledger of its own, and gives the first lines that could not be read.
    fn read_one(&self, job: &Job, sink: &mut PartSink<'_>, progress: &(dyn Fn(u64) + Sync)) -> Result<Vec<Rejected>, LedgerError> {
        let source = LogSource::Part { path: job.log.clone(), from: job.from, to: job.to };
        let mut told = 0;
        let intake = intake::read(&[source], &VerifiedHeads::default(), &self.reading, sink, &mut |bytes| {
            progress(bytes.saturating_sub(told));
            told = told.max(bytes);
        })?;
        let (decided, ledger) = sink.close();
        let count = decided.values().map(|t| t.count).sum::<u64>();
        let parts: Vec<Part> = intake.inputs.iter().map(|input| part_of(job, input, count, &ledger)).collect();
        for input in &intake.inputs {
            PartEnds::of(input).write(&job.run)?;
        }
        let mut writer = Writer::of_run(&job.run, &parts, ledger.folded)?;
        for row in Row::all_of(decided, ledger) {
            writer.row(&row)?;
        }
        writer.finish()?;
        Ok(intake.inputs.into_iter().flat_map(|input| input.rejected_examples).collect())
    }
}

fn part_of(job: &Job, read: &InputRead, decided: u64, ledger: &Ledger) -> Part {
    let refused = ledger.refusals.values().map(|(_, lines)| lines.count).sum::<u64>();
    let undetermined = read.foreign.undetermined;
    Part {
        log: job.name.clone(),
        from: job.from,
        to: job.to,
        sha256: read.sha256,
        format: read.format.as_str().to_owned(),
        lines: read.lines,
        decided,
        undetermined,
        refused,
        other: read.lines - decided - undetermined - refused - read.duplicates - read.rejected,
        duplicates: read.duplicates,
        rejected: read.rejected,
        joined: None,
    }
}

/// Whether a build that was broken off has read it. The bytes must still be those.
fn is_done(job: &Job) -> bool {
    let Ok(file) = LedgerFile::open(&job.run) else { return false };
    let of_job = |part: &Part| (part.log == job.name && part.from == job.from && part.to == job.to).then_some(part.sha256);
    let [part] = file.parts.as_slice() else { return false };
    if PartEnds::read(&job.run).is_none() {
        return false;
    }
    of_job(part).is_some_and(|sha256| part::digest(&job.log, job.from, job.to).is_ok_and(|now| now == sha256))
}

/// The folder of finished parts.
fn beside(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".parts");
    PathBuf::from(name)
}

/// Counts the lines of one part after another, keeping only what saves work.
pub(super) struct PartSink<'a> {
    /// Certificates and strangers.
    ledger: Ledger,
    cells: Cells,
    foreign: ForeignFold<'a>,
}

impl<'a> PartSink<'a> {
    pub(super) fn new(law: &'a Authorizer, reading: &Reading) -> Self {
        Self { ledger: Ledger::default(), cells: Cells::new(Grain::Every), foreign: ForeignFold::unpaired(law, reading.names.clone()) }
    }

    /// The decisions of the part, and the rest.
    pub(super) fn close(&mut self) -> (BTreeMap<(Key, i64), Tally>, Ledger) {
        let mut ledger = std::mem::take(&mut self.ledger);
        let mut decided = self.foreign.rows(&mut ledger);
        // A part is of one format: only one of the two has rows.
        decided.append(&mut self.cells.rows());
        ledger.folded += self.cells.take_folded();
        self.cells.forget();
        (decided, ledger)
    }
}

impl Sink for PartSink<'_> {
    fn take(&mut self, line: &Line, record: Record) -> bool {
        let evidence = Evidence { input: line.input, line: line.line, sha256: line.digest };
        match &record.event {
            Event::Decided(decided) => {
                self.cells.decided(record.at, decided, &evidence);
                self.ledger.certificate(record.at, decided, &evidence);
            }
            Event::Refused(refused) => self.ledger.refused(record.at, refused, &evidence),
            _ => {}
        }
        true
    }

    fn seen(&mut self, format: Format, place: &Place<'_>, seen: &Seen<'_>, deciding: Option<Deciding<'_>>) -> Taken {
        self.foreign.take(format, place, seen, deciding)
    }

    fn caller_address_counts(&self) -> bool {
        self.foreign.caller_address_counts()
    }

    fn remembers(&self) -> bool {
        true
    }

    fn recalls(&self, whole: bool) -> bool {
        self.foreign.recalls(whole)
    }

    fn fetch(&self, sketched: &mut dyn Iterator<Item = (Timestamp, u64)>) {
        self.foreign.fetch(sketched);
    }

    fn seen_again(&mut self, place: &Place<'_>, sketch: &Sketch<'_>, deciding: Deciding<'_>) -> Option<(Taken, Grade)> {
        self.foreign.take_again(place, sketch, deciding)
    }
}

impl Built {
    /// Whether nothing was new.
    #[must_use]
    pub const fn is_unchanged(&self) -> bool {
        self.read == 0 && self.resumed == 0
    }
}
