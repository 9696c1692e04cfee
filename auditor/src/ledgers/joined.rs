//! Lines that rotation cut in two, in ledgers: joined as `audit` joins them (see `joins`), once all parts have been read.
//!
//! A joined line is a part of its own: of a plain log the bytes behind its last newline, which no part has; of a log that is one part
//! (compressed, an array) an empty range behind it, and the line leaves that part. The part names the log the line ends in with the
//! digest of the rest, so whoever has the logs finds both halves. The rest is among the other lines of the part it stands in.
//!
//! What it needs of each log, the halves at its ends, stands beside the finished parts, so that a build that was broken off joins what it
//! would have joined. Parts that stand in the ledger already are joined by names alone, since nothing is known of their times.
//!
//! INVARIANT: every line is in exactly one part, and each part balances. The number of threads does not show.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use portreeve_engine::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use super::LedgerError;
use super::build::{Build, Job, PartSink};
use super::file::{LedgerFile, Writer};
use super::part::{self, Part, Rest};
use super::row::Row;
use crate::foreign::{Adapter, Format, Read, Reading};
use crate::heads::VerifiedHeads;
use crate::intake::{self, InputRead};
use crate::joins::{self, Half};
use crate::limits::{HALVES_BYTES_MAX, LINE_BYTES_MAX};
use crate::source::LogSource;

/// What is kept of the ends of a part beside its ledger.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct PartEnds {
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    head: Option<KeptHalf>,
    tail: Option<KeptHalf>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptHalf {
    bytes: Vec<u8>,
    cut: bool,
}

impl PartEnds {
    pub(super) fn of(read: &InputRead) -> Self {
        let kept = |half: &Option<Half>| half.as_ref().map(|half| KeptHalf { bytes: half.bytes.clone(), cut: half.cut });
        Self { first: read.ends.first, last: read.ends.last, head: kept(&read.ends.head), tail: kept(&read.ends.tail) }
    }

    /// Written before the part, so that a finished part has it.
    pub(super) fn write(&self, run: &Path) -> Result<(), LedgerError> {
        let path = beside(run);
        let bytes = serde_json::to_vec(self).map_err(|e| LedgerError::Io { path: path.clone(), cause: e.into() })?;
        std::fs::write(&path, bytes).map_err(LedgerError::io(&path))
    }

    pub(super) fn read(run: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(beside(run)).ok()?).ok()
    }
}

fn beside(run: &Path) -> PathBuf {
    run.with_extension("ends")
}

/// Joins what can be joined between these logs. Parts of `ledgers` that have a half lose it, and each joined line is a part of a ledger of
/// its own, at `run`; gives how many there are.
pub(super) fn join(
    build: &Build<'_>,
    logs: &[PathBuf],
    jobs: &[Job],
    ledgers: &mut Vec<LedgerFile>,
    run: &Path,
) -> Result<usize, LedgerError> {
    let known: Vec<&Part> = ledgers.iter().flat_map(|ledger| &ledger.parts).collect();
    let mut inputs = Vec::with_capacity(logs.len());
    let mut held = 0;
    for log in logs {
        let mut input = ends_of(build, log, jobs, &known)?;
        held += input.ends.held();
        if held > HALVES_BYTES_MAX {
            input.ends.drop_halves();
        }
        // Of what was counted in an earlier build nobody knows when it begins.
        if known.len() > jobs.len() {
            input.ends.last = None;
        }
        inputs.push(input);
    }
    let torn: Vec<u64> = inputs.iter().map(|input| input.ends.tail.as_ref().map_or(0, |tail| tail.bytes.len() as u64)).collect();
    let mut sink = PartSink::new(build.law, &build.reading);
    joins::join(&mut inputs, &build.reading, &mut sink);
    let (decided, ledger) = sink.close();
    let mut parts = Vec::new();
    for (number, ((log, input), torn)) in logs.iter().zip(&inputs).zip(torn).enumerate() {
        let Some(joined) = input.ends.joined else { continue };
        let Some(next) = logs.get(joined.rest_input) else { continue };
        parts.push((joined_part((log, torn), input, next, ledgers)?, number));
    }
    if parts.is_empty() {
        return Ok(0);
    }
    parts.sort();
    let mut places = vec![0; logs.len()];
    for (place, (_, number)) in parts.iter().enumerate() {
        if let Some(of) = places.get_mut(*number) {
            *of = place;
        }
    }
    let parts: Vec<Part> = parts.into_iter().map(|(part, _)| part).collect();
    let mut writer = Writer::new(run, &parts, ledger.folded)?;
    for mut row in Row::all_of(decided, ledger) {
        row.place(&places);
        writer.row(&row)?;
    }
    writer.finish()?;
    ledgers.push(LedgerFile::open(run)?);
    Ok(parts.len())
}

/// The part that a joined line is, which begins with so many bytes; both parts that have a half lose it.
fn joined_part((log, torn): (&Path, u64), input: &InputRead, next: &Path, ledgers: &mut [LedgerFile]) -> Result<Part, LedgerError> {
    let io = || LedgerError::io(log);
    let (from, to) = if part::is_whole(log).map_err(io())? {
        if let Some(part) = first_part(ledgers, &input.path) {
            (part.lines, part.rejected) = (part.lines.saturating_sub(1), part.rejected.saturating_sub(1));
        }
        let end = std::fs::metadata(log).map_err(io())?.len();
        (end, end)
    } else {
        let parts = ledgers.iter().flat_map(|ledger| &ledger.parts);
        let end = parts.filter(|part| part.log == input.path).map(|part| part.to).max().unwrap_or(0);
        (end, end + torn)
    };
    let name = next.display().to_string();
    if let Some(part) = first_part(ledgers, &name) {
        (part.rejected, part.other) = (part.rejected.saturating_sub(1), part.other + 1);
    }
    Ok(Part {
        log: input.path.clone(),
        from,
        to,
        sha256: part::digest(log, from, to).map_err(io())?,
        format: input.format.as_str().to_owned(),
        lines: 1,
        decided: input.foreign.decided.values().sum(),
        undetermined: input.foreign.undetermined,
        refused: 0,
        other: 0,
        duplicates: 0,
        rejected: 0,
        joined: Some(rest_of(next, &name)?),
    })
}

/// The part with which a log begins.
fn first_part<'l>(ledgers: &'l mut [LedgerFile], log: &str) -> Option<&'l mut Part> {
    let parts = ledgers.iter_mut().flat_map(|ledger| &mut ledger.parts);
    parts.into_iter().find(|part| part.log == log && part.from == 0 && part.joined.is_none())
}

/// A log with the halves at its ends, as if it had just been read.
fn ends_of(build: &Build<'_>, log: &Path, jobs: &[Job], known: &[&Part]) -> Result<InputRead, LedgerError> {
    let name = log.display().to_string();
    let parts: Vec<&&Part> = known.iter().filter(|part| part.log == name).collect();
    let format = parts.first().and_then(|part| Format::parse(&part.format)).unwrap_or(Format::Portreeve);
    let mut input = InputRead::new(name.clone(), format);
    let begins = parts.iter().any(|part| part.from == 0);
    if !begins || format == Format::Portreeve {
        return Ok(input);
    }
    let is_whole = part::is_whole(log).map_err(LedgerError::io(log))?;
    let jobs: Vec<&Job> = jobs.iter().filter(|job| job.name == name).collect();
    let is_new = jobs.len() == parts.len();
    let has_rejected = |part: &&&Part| part.from == 0 && part.rejected > 0;
    if is_new {
        for job in jobs {
            let Some(ends) = PartEnds::read(&job.run) else { continue };
            input.ends.first = input.ends.first.or(ends.first);
            input.ends.last = ends.last.or(input.ends.last);
            let half = |kept: KeptHalf| Half { line: 1, bytes: kept.bytes, cut: kept.cut };
            if job.from == 0 {
                input.ends.head = ends.head.map(half);
                input.ends.tail = ends.tail.map(half).filter(|_| is_whole);
            }
        }
    } else if parts.iter().any(has_rejected) && is_whole {
        let reading = Reading { format: Some(format), ..build.reading.clone() };
        let source = [LogSource::File(log.to_owned())];
        let mut sink = PartSink::new(build.law, &reading);
        let read = intake::read(&source, &VerifiedHeads::default(), &reading, &mut sink, &mut |_| {})?;
        let first = |half: Option<Half>| half.map(|half| Half { line: 1, ..half });
        let ends = read.inputs.into_iter().next().map(|read| read.ends).unwrap_or_default();
        (input.ends.head, input.ends.tail) = (first(ends.head), first(ends.tail));
    } else if parts.iter().any(has_rejected) {
        input.ends.head = begun(&build.reading, format, log)?;
    }
    if !is_whole {
        let end = parts.iter().map(|part| part.to).max().unwrap_or(0);
        input.ends.tail = torn(&build.reading, format, log, end).map_err(LedgerError::io(log))?;
    }
    // What was joined before stays so.
    let taken: BTreeSet<&str> = known.iter().filter_map(|part| Some(&*part.joined.as_ref()?.log)).collect();
    if taken.contains(&*name) {
        input.ends.head = None;
    }
    if parts.iter().any(|part| part.joined.is_some()) {
        input.ends.tail = None;
    }
    Ok(input)
}

/// What stands behind the last newline of a plain log, where it cannot be read.
fn torn(reading: &Reading, format: Format, log: &Path, from: u64) -> io::Result<Option<Half>> {
    let mut file = File::open(log)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.take(LINE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    let is_torn = !bytes.is_empty() && bytes.len() <= LINE_BYTES_MAX && !bytes.contains(&b'\n');
    let Some(mut adapter) = Adapter::of(format, reading).filter(|_| is_torn) else { return Ok(None) };
    let is_bad = matches!(adapter.read(&bytes), Read::Bad(_));
    Ok(is_bad.then_some(Half { line: 1, bytes, cut: true }))
}

/// The first line of a plain log, where it cannot be read.
fn begun(reading: &Reading, format: Format, log: &Path) -> Result<Option<Half>, LedgerError> {
    let bytes = first_line(log).map_err(LedgerError::io(log))?;
    let Some(mut adapter) = Adapter::of(format, reading).filter(|_| bytes.len() <= LINE_BYTES_MAX) else { return Ok(None) };
    let cut = !adapter.begins(&bytes);
    let is_bad = matches!(adapter.read(&bytes), Read::Bad(_));
    Ok(is_bad.then_some(Half { line: 1, bytes, cut }))
}

/// The first line of a log, unpacked, without its newline.
fn first_line(log: &Path) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let source = LogSource::File(log.to_owned());
    BufReader::new(source.open()?).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line)?;
    line.pop_if(|byte| *byte == b'\n');
    Ok(line)
}

/// Where a line ends: the first line of the next log.
fn rest_of(log: &Path, name: &str) -> Result<Rest, LedgerError> {
    let line = first_line(log).map_err(LedgerError::io(log))?;
    Ok(Rest { log: name.to_owned(), bytes: line.len() as u64, sha256: Digest::of(&line) })
}
