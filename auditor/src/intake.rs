//! Reads logs line by line, follows their chains, and hands each fresh record to a [`Sink`].
//!
//! INVARIANT (row conservation): every line read is handed over once, or counted as duplicate, or as rejected.

use std::collections::BTreeMap;

use portreeve_engine::{Digest, Record};

use crate::assessment::Rejected;
use crate::chains::{Chains, Cursor, Standing};
use crate::heads::VerifiedHeads;
use crate::limits::REJECTED_EXAMPLES_MAX;
use crate::reader::{LineReader, RawLine, parse_line};
use crate::source::{LogSource, Stream};

/// Why a log cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be opened.
    #[error("cannot open `{name}`: {cause}")]
    Open {
        /// The log.
        name: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Reading it failed.
    #[error("cannot read `{name}` after line {line}: {cause}")]
    Read {
        /// The log.
        name: String,
        /// The last line read.
        line: u64,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// Takes fresh records.
pub(crate) trait Sink {
    /// One fresh record. `false` ends the reading.
    fn take(&mut self, line: &Line, record: Record) -> bool;
}

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) input: usize,
    pub(crate) line: u64,
    pub(crate) digest: Digest,
    pub(crate) chain: usize,
}

/// What was read of one log.
#[derive(Clone, Debug)]
pub(crate) struct InputRead {
    pub(crate) path: String,
    pub(crate) sha256: Digest,
    pub(crate) lines: u64,
    pub(crate) rejected: u64,
    pub(crate) rejected_examples: Vec<Rejected>,
    pub(crate) duplicates: u64,
    /// The chains it holds lines of, with the first and last sequence number here.
    pub(crate) chains: BTreeMap<usize, (u64, u64)>,
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) inputs: Vec<InputRead>,
    pub(crate) chains: Chains,
}

/// Reads all logs. `progress` is told the stored bytes read so far.
pub(crate) fn read(
    sources: &[LogSource],
    heads: &VerifiedHeads,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(u64),
) -> Result<Intake, ReadError> {
    let mut intake = Intake { inputs: Vec::new(), chains: Chains::new(heads) };
    let mut before = 0;
    for source in sources {
        let more = read_one(&mut intake, source, sink, &mut |bytes| progress(before + bytes))?;
        before += more.bytes;
        if more.ended {
            break;
        }
    }
    intake.chains.link();
    Ok(intake)
}

struct ReadOne {
    bytes: u64,
    ended: bool,
}

fn read_one(intake: &mut Intake, source: &LogSource, sink: &mut dyn Sink, progress: &mut dyn FnMut(u64)) -> Result<ReadOne, ReadError> {
    let name = source.name();
    let stream = source.open().map_err(|cause| ReadError::Open { name: name.clone(), cause })?;
    let input = intake.inputs.len();
    let mut read = InputRead {
        path: name.clone(),
        sha256: Digest::ZERO,
        lines: 0,
        rejected: 0,
        rejected_examples: Vec::new(),
        duplicates: 0,
        chains: BTreeMap::new(),
    };
    let mut lines = LineReader::new(stream);
    let mut cursor = Cursor::default();
    let mut ended = false;
    while !ended {
        let number = lines.line() + 1;
        let step = match lines.next_line() {
            Ok(None) => break,
            Ok(Some(line)) => Ok(take(&mut intake.chains, &mut read, &mut cursor, sink, (input, number), line)),
            Err(cause) => Err(cause),
        };
        match step {
            Ok(more) => ended = !more,
            Err(cause) if lines.inner().is_compressed() && !lines.inner().has_failed() => {
                read.lines += 1;
                read.reject(number, format!("the compressed data is damaged or ends early: {cause}"));
                break;
            }
            Err(cause) => return Err(ReadError::Read { name, line: number - 1, cause }),
        }
        read.lines += 1;
        if number % PROGRESS_LINES == 0 {
            progress(lines.inner().bytes_read());
        }
    }
    let line = lines.line();
    let stream: Stream<'_> = lines.into_inner();
    let (sha256, bytes) = stream.finish().map_err(|cause| ReadError::Read { name, line, cause })?;
    read.sha256 = sha256;
    progress(bytes);
    intake.inputs.push(read);
    Ok(ReadOne { bytes, ended })
}

fn take(
    chains: &mut Chains,
    read: &mut InputRead,
    cursor: &mut Cursor,
    sink: &mut dyn Sink,
    (input, number): (usize, u64),
    line: RawLine<'_>,
) -> bool {
    let (record, bytes) = match (parse_line(line), line) {
        (Ok(record), RawLine::Whole(bytes) | RawLine::Unended(bytes)) => (record, bytes),
        (Ok(_), RawLine::TooLong { .. }) => return true,
        (Err(why), _) => {
            read.reject(number, why);
            return true;
        }
    };
    let placed = chains.accept(cursor, input, number, bytes, &record);
    let (first, last) = read.chains.entry(placed.chain).or_insert((record.seq, record.seq));
    (*first, *last) = ((*first).min(record.seq), (*last).max(record.seq));
    match placed.standing {
        Standing::Fresh => sink.take(&Line { input, line: number, digest: placed.digest, chain: placed.chain }, record),
        Standing::Duplicate => {
            read.duplicates += 1;
            true
        }
        Standing::Contradicts => {
            read.reject(number, format!("another line with `seq` {} of this process was read before", record.seq));
            true
        }
    }
}

impl InputRead {
    fn reject(&mut self, line: u64, why: String) {
        self.rejected += 1;
        if self.rejected_examples.len() < REJECTED_EXAMPLES_MAX {
            self.rejected_examples.push(Rejected { line, why });
        }
    }
}

/// How often progress is told.
const PROGRESS_LINES: u64 = 4_096;
