//! Bytes into lines, in bounded memory: a line longer than the limit is passed over and reported, never stored.
//!
//! INVARIANT: every byte of the stream belongs to exactly one line; lines count from 1.

use std::io::{self, BufRead};

use portreeve_engine::diagnostic::escape_control;
use portreeve_engine::record::Record;

use crate::limits::{LINE_BYTES_MAX, REASON_CHARS_MAX};

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

/// Reads lines one after another into one buffer.
#[derive(Debug)]
pub struct LineReader<R> {
    inner: R,
    buffer: Vec<u8>,
    /// The number of the last line read.
    line: u64,
}

impl<R: BufRead> LineReader<R> {
    /// A reader before the first line.
    #[must_use]
    pub const fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new(), line: 0 }
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
    /// Reading fails; the line under way counts as read.
    pub fn next_line(&mut self) -> io::Result<Option<RawLine<'_>>> {
        self.buffer.clear();
        let mut length: u64 = 0;
        let mut ended = false;
        let mut counted = false;
        while !ended {
            let chunk = match self.inner.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.line += u64::from(!counted);
                    return Err(error);
                }
            };
            if chunk.is_empty() {
                break;
            }
            if !counted {
                self.line += 1;
                counted = true;
            }
            let end = chunk.iter().position(|b| *b == b'\n');
            let part = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
            let taken = part.len() + usize::from(end.is_some());
            length += part.len() as u64;
            if length <= LINE_BYTES_MAX as u64 {
                self.buffer.extend_from_slice(part);
            }
            ended = end.is_some();
            self.inner.consume(taken);
        }
        Ok(match (counted, ended) {
            (false, _) => None,
            _ if length > LINE_BYTES_MAX as u64 => Some(RawLine::TooLong { bytes: length }),
            (true, true) => Some(RawLine::Whole(&self.buffer)),
            (true, false) => Some(RawLine::Unended(&self.buffer)),
        })
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

/// A reason that quotes input: bounded, control characters escaped.
pub(crate) fn reason(text: &str) -> String {
    escape_control(&text.chars().take(REASON_CHARS_MAX).collect::<String>()).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use std::io::BufReader;

    use super::*;

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
        assert!(reader.buffer.capacity() <= 2 * LINE_BYTES_MAX);
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
