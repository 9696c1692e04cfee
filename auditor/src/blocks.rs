//! Cuts the blocks of a log that is read ahead at the ends of lines, and leaves the lines where they were read.
//!
//! INVARIANT: it gives the lines that [`LineReader`](crate::reader::LineReader) gives, in their order: of what stands in several blocks a copy,
//! and of everything else the block.

use std::ops::Range;

use memchr::{memchr, memrchr};

use crate::ahead::Block;
use crate::limits::{LINE_BYTES_MAX, READ_BLOCK_BYTES};
use crate::reader::{HeldLine, RawLine};

/// Lines that are looked at together: one that began in a block before or has no end, and those that lie whole in this block.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    first: Option<HeldLine>,
    block: Vec<u8>,
    whole: Range<usize>,
    /// How many stored bytes were read up to here.
    pub(crate) stored: u64,
}

impl Batch {
    /// The line before those that lie in the block.
    pub(crate) fn first(&self) -> Option<RawLine<'_>> {
        self.first.as_ref().map(HeldLine::as_raw)
    }

    /// The lines that lie in the block, each with its newline.
    pub(crate) fn whole(&self) -> &[u8] {
        self.block.get(self.whole.clone()).unwrap_or_default()
    }

    /// The block, to be filled again.
    pub(crate) fn into_block(self) -> Vec<u8> {
        self.block
    }
}

// A line that lies in one block is none that is too long.
const _: () = assert!(READ_BLOCK_BYTES <= LINE_BYTES_MAX);

/// What was cut off of the last line, whose end is still to come.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    begun: Vec<u8>,
    /// Bytes of a line that is too long; they were passed over.
    passed: u64,
}

impl Cutter {
    /// Cuts the next block.
    pub(crate) fn cut(&mut self, block: Block) -> Batch {
        let Block { bytes: block, length, stored } = block;
        let bytes = block.get(..length).unwrap_or_default();
        let Some(end) = memchr(b'\n', bytes) else {
            self.add(bytes);
            return Batch { first: None, block, whole: 0..0, stored };
        };
        let last = memrchr(b'\n', bytes).unwrap_or(end);
        self.add(bytes.get(..end).unwrap_or_default());
        let first = Some(self.take(HeldLine::Whole));
        self.add(bytes.get(last + 1..).unwrap_or_default());
        Batch { first, block, whole: end + 1..last + 1, stored }
    }

    /// The last line, which has no newline, where there is one.
    pub(crate) fn end(mut self, stored: u64) -> Option<Batch> {
        let is_there = self.passed > 0 || !self.begun.is_empty();
        is_there.then(|| Batch { first: Some(self.take(HeldLine::Unended)), stored, ..Batch::default() })
    }

    fn take(&mut self, whole: fn(Vec<u8>) -> HeldLine) -> HeldLine {
        let (begun, passed) = (std::mem::take(&mut self.begun), std::mem::take(&mut self.passed));
        if passed > 0 { HeldLine::TooLong(passed) } else { whole(begun) }
    }

    fn add(&mut self, bytes: &[u8]) {
        let length = self.begun.len() + bytes.len();
        if self.passed > 0 || length > LINE_BYTES_MAX {
            self.passed += length as u64;
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::LineReader;

    fn lines_of(batch: &Batch, out: &mut Vec<HeldLine>) {
        out.extend(batch.first.clone());
        out.extend(batch.whole().split_inclusive(|b| *b == b'\n').map(|line| HeldLine::Whole(line[..line.len() - 1].to_vec())));
    }

    #[test]
    fn blocks_of_any_length_give_the_lines_that_are_read_one_by_one() {
        let long = [vec![b'x'; LINE_BYTES_MAX], b"\n".to_vec()].concat();
        let too_long = [vec![b'y'; LINE_BYTES_MAX + 1], b"\n".to_vec()].concat();
        let mixed = [&b"one\n\n\nfour"[..], &long, b"a\r\n", &too_long, &long, b"\n", &too_long[..too_long.len() - 1]].concat();
        let logs = [b"".to_vec(), b"\n".to_vec(), b"a".to_vec(), b"a\nbc\n\nd\n".to_vec(), b"\n\n\nx".to_vec(), mixed];
        for log in logs {
            let mut want = Vec::new();
            let mut reader = LineReader::new(&*log);
            while let Some(line) = reader.next_line().unwrap() {
                want.push(HeldLine::of(line));
            }
            for length in [1, 2, 3, 5, READ_BLOCK_BYTES].into_iter().filter(|length| *length > 3 || log.len() < 100) {
                let mut got = Vec::new();
                let mut cutter = Cutter::default();
                for part in log.chunks(length) {
                    // Behind what was read there is what was read before.
                    let bytes = [part, b"old\n"].concat();
                    lines_of(&cutter.cut(Block { bytes, length: part.len(), stored: 0 }), &mut got);
                }
                if let Some(last) = cutter.end(0) {
                    lines_of(&last, &mut got);
                }
                assert!(got == want, "{} bytes in blocks of {length}", log.len());
            }
        }
    }
}
