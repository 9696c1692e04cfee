//! Reads the records of our own log on several threads, and gives them back in the order of their lines.
//!
//! What stands on a line depends on that line alone, so it may be read anywhere; what the line means depends on those before it, so it
//! is taken in turn. The number of threads shows in nothing but the time.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;

use portreeve_engine::{Digest, Record};

use crate::container::is_of_stderr;
use crate::limits::{BATCH_BYTES, BATCHES_PER_THREAD};
use crate::reader::{LineReader, RawLine, parse_line};
use crate::workers::Workers;

/// The record on a line and the line's digest, or why there is none.
pub(crate) type Made = Result<(Record, Digest), Unread>;

/// Why there is no record on a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unread {
    pub(crate) why: String,
    /// It is marked as written to stderr.
    pub(crate) is_of_stderr: bool,
}

/// Reads a line.
pub(crate) fn made(line: RawLine<'_>) -> Made {
    let bytes = match line {
        RawLine::Whole(bytes) | RawLine::Unended(bytes) => bytes,
        RawLine::TooLong { .. } => &[],
    };
    match parse_line(line) {
        Ok(record) => Ok((record, Digest::of(bytes))),
        Err(why) => Err(Unread { why, is_of_stderr: is_of_stderr(bytes) }),
    }
}

/// Lines that are read together.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: Vec<Held>,
}

enum Held {
    Whole(Range<usize>),
    Unended(Range<usize>),
    TooLong(u64),
}

impl Batch {
    fn push(&mut self, line: RawLine<'_>) {
        let from = self.bytes.len();
        let mut keep = |bytes: &[u8]| {
            self.bytes.extend_from_slice(bytes);
            from..from + bytes.len()
        };
        let held = match line {
            RawLine::Whole(bytes) => Held::Whole(keep(bytes)),
            RawLine::Unended(bytes) => Held::Unended(keep(bytes)),
            RawLine::TooLong { bytes } => Held::TooLong(bytes),
        };
        self.lines.push(held);
    }

    fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES || self.lines.len() >= BATCH_BYTES
    }

    fn made(&self) -> Vec<Made> {
        let at = |range: &Range<usize>| self.bytes.get(range.clone()).unwrap_or_default();
        let line = |held: &Held| match held {
            Held::Whole(range) => made(RawLine::Whole(at(range))),
            Held::Unended(range) => made(RawLine::Unended(at(range))),
            Held::TooLong(bytes) => made(RawLine::TooLong { bytes: *bytes }),
        };
        self.lines.iter().map(line).collect()
    }
}

/// Reads the lines that are left, and hands each record over in turn, with the number of its line; `take` says whether to go on.
/// `tell` is shown the reader now and then. Gives whether it was told to stop.
///
/// # Errors
/// Reading fails, after all lines before were handed over.
pub(crate) fn follow<R: Read>(
    workers: &mut Workers<'_, '_>,
    lines: &mut LineReader<R>,
    take: &mut dyn FnMut(u64, Made) -> bool,
    tell: &mut dyn FnMut(&R),
) -> io::Result<bool> {
    let mut under_way = VecDeque::new();
    let mut number = lines.line();
    let mut over = None;
    loop {
        while over.is_none() && under_way.len() < workers.threads() * BATCHES_PER_THREAD {
            let mut batch = Batch::default();
            over = fill(&mut batch, lines);
            tell(lines.inner());
            under_way.push_back(workers.give(move || batch.made()));
        }
        let Some(next) = under_way.pop_front() else { break };
        for made in next.recv().map_err(io::Error::other)? {
            number += 1;
            if !take(number, made) {
                return Ok(true);
            }
        }
    }
    over.flatten().map_or(Ok(false), Err)
}

/// Fills a batch; at the end, and where reading fails, says so.
fn fill<R: Read>(batch: &mut Batch, lines: &mut LineReader<R>) -> Option<Option<io::Error>> {
    while !batch.is_full() {
        match lines.next_line() {
            Ok(Some(line)) => batch.push(line),
            Ok(None) => return Some(None),
            Err(cause) => return Some(Some(cause)),
        }
    }
    None
}
