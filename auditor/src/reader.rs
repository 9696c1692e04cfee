//! Bytes into lines, in bounded memory: a line longer than the limit is passed over and reported, never stored.
//!
//! INVARIANT: every byte of the stream belongs to exactly one line, but for a line that breaks off where reading fails; lines count
//! from 1.

use std::io::{self, Read};
use std::ops::Range;

use memchr::memchr;
use portreeve_engine::diagnostic::escape_control;
use portreeve_engine::record::Record;

use crate::limits::{LINE_BYTES_MAX, READ_BLOCK_BYTES, REASON_CHARS_MAX, SKETCHED_AT_ONCE};

/// What stands on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawLine<'a> {
    /// The line without its newline.
    Whole(&'a [u8]),
    /// The last line, which has no newline.
    Unended(&'a [u8]),
    /// More than [`LINE_BYTES_MAX`] bytes; they were passed over.
    TooLong {
        /// How many bytes.
        bytes: u64,
    },
}

/// A line that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeldLine {
    Whole(Vec<u8>),
    Unended(Vec<u8>),
    TooLong(u64),
}

impl HeldLine {
    pub(crate) fn of(line: RawLine<'_>) -> Self {
        match line {
            RawLine::Whole(bytes) => Self::Whole(bytes.to_vec()),
            RawLine::Unended(bytes) => Self::Unended(bytes.to_vec()),
            RawLine::TooLong { bytes } => Self::TooLong(bytes),
        }
    }

    pub(crate) fn as_raw(&self) -> RawLine<'_> {
        match self {
            Self::Whole(bytes) => RawLine::Whole(bytes),
            Self::Unended(bytes) => RawLine::Unended(bytes),
            Self::TooLong(bytes) => RawLine::TooLong { bytes: *bytes },
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) | Self::Unended(bytes) => bytes,
            Self::TooLong(_) => &[],
        }
    }
}

/// Reads lines one after another out of one buffer, in which they stay where they were read.
#[derive(Debug)]
pub struct LineReader<R> {
    inner: R,
    buffer: Box<[u8]>,
    /// What was read and not given out yet.
    held: Range<usize>,
    /// The inner reader has come to its end.
    ended: bool,
    /// The number of the last line read.
    line: u64,
}

/// Where a line lies in the buffer.
enum Lies {
    Whole(Range<usize>),
    Unended(Range<usize>),
    TooLong(u64),
}

impl<R: Read> LineReader<R> {
    /// A reader before the first line.
    #[must_use]
    pub fn new(inner: R) -> Self {
        // Room for a block behind the longest line of which the end is still to come.
        let buffer = vec![0; LINE_BYTES_MAX + READ_BLOCK_BYTES].into_boxed_slice();
        Self { inner, buffer, held: 0..0, ended: false, line: 0 }
    }

    /// The number of the last line read, from 1.
    #[must_use]
    pub const fn line(&self) -> u64 {
        self.line
    }

    /// What it reads from.
    pub const fn inner(&self) -> &R {
        &self.inner
    }

    /// Gives back what it reads from.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The next line, `None` at the end.
    ///
    /// # Errors
    /// Reading fails; the line under way counts as read, and is gone.
    pub fn next_line(&mut self) -> io::Result<Option<RawLine<'_>>> {
        let lies = self.find();
        self.line += u64::from(!matches!(lies, Ok(None)));
        let at = |range: Range<usize>| self.buffer.get(range).unwrap_or_default();
        Ok(match lies? {
            None => None,
            Some(Lies::Whole(range)) => Some(RawLine::Whole(at(range))),
            Some(Lies::Unended(range)) => Some(RawLine::Unended(at(range))),
            Some(Lies::TooLong(bytes)) => Some(RawLine::TooLong { bytes }),
        })
    }

    /// Takes the next whole lines that need not be read any more, as many as there are and `out` has room for; gives how many they are.
    pub(crate) fn held<'b>(&'b mut self, out: &mut [&'b [u8]; SKETCHED_AT_ONCE]) -> usize {
        let Self { buffer, held, line, .. } = self;
        let mut rest = buffer.get(held.clone()).unwrap_or_default();
        let mut taken = 0;
        for place in out {
            let Some(length) = memchr(b'\n', rest).filter(|length| *length <= LINE_BYTES_MAX) else { break };
            let (Some(whole), Some(after)) = (rest.get(..length), rest.get(length + 1..)) else { break };
            *place = whole;
            rest = after;
            taken += 1;
        }
        held.start = held.end - rest.len();
        *line += taken as u64;
        taken
    }

    /// Gives what was read of the next lines and what they are read from, to whoever goes on from here. It says how many lines those were
    /// ([`LineReader::pass`]).
    pub(crate) fn hand_over(&mut self) -> (&[u8], &mut R) {
        let held = self.buffer.get(std::mem::take(&mut self.held)).unwrap_or_default();
        (held, &mut self.inner)
    }

    /// Counts lines that were read elsewhere.
    pub(crate) const fn pass(&mut self, lines: u64) {
        self.line += lines;
    }

    fn find(&mut self) -> io::Result<Option<Lies>> {
        let mut looked = 0;
        let mut passed: u64 = 0;
        loop {
            let found = self.buffer.get(self.held.start + looked..self.held.end).and_then(|bytes| memchr(b'\n', bytes));
            let length = found.map_or(self.held.len(), |n| looked + n);
            let line = self.held.start..self.held.start + length;
            let is_over = found.is_some() || (self.ended && (length > 0 || passed > 0));
            if is_over {
                self.held.start = line.end + usize::from(found.is_some());
                let bytes = passed + length as u64;
                return Ok(Some(match (found, bytes > LINE_BYTES_MAX as u64) {
                    (_, true) => Lies::TooLong(bytes),
                    (Some(_), false) => Lies::Whole(line),
                    (None, false) => Lies::Unended(line),
                }));
            }
            if self.ended {
                return Ok(None);
            }
            looked = length;
            if passed > 0 || length > LINE_BYTES_MAX {
                passed += length as u64;
                looked = 0;
                self.held = 0..0;
            }
            self.fill().inspect_err(|_| self.held = 0..0)?;
        }
    }

    /// Reads a block behind what is held, which is moved to the front.
    fn fill(&mut self) -> io::Result<()> {
        if self.held.start > 0 {
            self.buffer.copy_within(self.held.clone(), 0);
            self.held = 0..self.held.len();
        }
        let room = self.buffer.get_mut(self.held.end..).unwrap_or_default();
        let length = room.len().min(READ_BLOCK_BYTES);
        let block = room.get_mut(..length).unwrap_or_default();
        let n = loop {
            match self.inner.read(block) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.held.end += n;
        self.ended = n == 0;
        Ok(())
    }
}

/// Reads the record on a line: a pure function of the line.
///
/// # Errors
/// Why the line is no record; the text is bounded and safe to print.
pub fn parse_line(line: RawLine<'_>) -> Result<Record, String> {
    match line {
        RawLine::TooLong { bytes } => Err(format!("the line has {bytes} bytes; a record has at most {LINE_BYTES_MAX}")),
        RawLine::Whole([]) | RawLine::Unended([]) => Err("the line is empty".to_owned()),
        RawLine::Whole(bytes) => Record::from_line(bytes).map_err(|e| reason(&e.to_string())),
        RawLine::Unended(bytes) => {
            Record::from_line(bytes).map_err(|e| reason(&format!("the last line is torn: it has no newline and is {e}")))
        }
    }
}

/// What is wrong with JSON that nobody sees as it was read: without the place in it.
pub(crate) fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").filter(|_| error.line() > 0).map_or(text.as_str(), |(what, _)| what).to_owned()
}

/// A reason that quotes input: bounded, control characters escaped. What reads one line counts it as the first; its number in the log stands
/// before the reason, and only the column is left.
pub(crate) fn reason(text: &str) -> String {
    let text = text.replace(" at line 1 column ", " at column ");
    escape_control(&text.chars().take(REASON_CHARS_MAX).collect::<String>()).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

    #[test]
    fn a_reason_names_one_line_only() {
        let why = parse_line(RawLine::Whole(b"{\"v\":")).unwrap_err();
        assert!(why.contains(" at column ") && !why.contains("line 1"), "{why}");
    }

    #[test]
    fn lines_are_split_and_counted() {
        let mut reader = LineReader::new(BufReader::with_capacity(3, &b"one\n\nthree\nlast"[..]));
        assert_eq!(reader.next_line().unwrap(), Some(RawLine::Whole(b"one")));
        assert_eq!(reader.next_line().unwrap(), Some(RawLine::Whole(b"")));
        assert_eq!(reader.next_line().unwrap(), Some(RawLine::Whole(b"three")));
        assert_eq!(reader.next_line().unwrap(), Some(RawLine::Unended(b"last")));
        assert_eq!(reader.line(), 4);
        assert_eq!(reader.next_line().unwrap(), None);
        assert_eq!(reader.line(), 4);
    }

    #[test]
    fn a_line_of_ten_megabytes_is_passed_over_in_bounded_memory() {
        let mut bytes = vec![b'x'; 10_000_000];
        bytes.extend_from_slice(b"\nnext\n");
        let mut reader = LineReader::new(&*bytes);
        assert_eq!(reader.next_line().unwrap(), Some(RawLine::TooLong { bytes: 10_000_000 }));
        let mut reader = LineReader::new(BufReader::new(&*bytes));
        let long = reader.next_line().unwrap().unwrap();
        assert!(parse_line(long).unwrap_err().contains("10000000 bytes"));
        assert!(reader.buffer.len() <= 2 * LINE_BYTES_MAX);
        assert_eq!(reader.next_line().unwrap(), Some(RawLine::Whole(b"next")));
        assert_eq!(reader.line(), 2);
    }

    #[test]
    fn hostile_lines_are_refused_with_a_printable_reason() {
        for bytes in [&b"{}"[..], b"nonsense\x1b[31m", b"[[[[", b"\xff\xfe", b"{\"v\":2}", b"null"] {
            for line in [RawLine::Whole(bytes), RawLine::Unended(bytes)] {
                let why = parse_line(line).unwrap_err();
                assert!(why.chars().all(|c| !c.is_control()) && why.chars().count() <= 2 * REASON_CHARS_MAX, "{why}");
            }
        }
    }
}
