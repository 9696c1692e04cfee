//! Where a log that a container runtime keeps may be cut into parts: not within what the process wrote as one line.
//!
//! A long line of a process comes in parts there (see `container`), each a line of the file. A border between two of them would make two
//! torn lines of it, in two parts of a ledger that know nothing of each other.
//!
//! INVARIANT: where a border lies depends on the bytes of the log and on where the part begins, on nothing else.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use memchr::{memchr, memchr_iter};

use crate::container::{Piece, begins, piece_of};
use crate::limits::{ARRAY_SNIFF_BYTES_MAX, READ_BLOCK_BYTES, WRAPPED_BYTES_MAX};

/// Whether what begins here is kept by a container runtime.
pub(super) fn is_of_container(file: &mut File, from: u64) -> io::Result<bool> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(ARRAY_SNIFF_BYTES_MAX as u64).read_to_end(&mut bytes)?;
    Ok(begins(&bytes) == Some(true))
}

/// Of a border behind a newline, the first at or behind it where no line of the process is open; the border itself where none comes for longer
/// than parts are held together. What is open up to the end of the log may go on, and the border is before it.
pub(super) fn next_free(file: &mut File, from: u64, border: u64) -> io::Result<u64> {
    let mut open = Open::before(file, from, border)?;
    if !open.is_any() {
        return Ok(border);
    }
    file.seek(SeekFrom::Start(border))?;
    let mut held = Vec::new();
    let (mut block, mut at) = (vec![0; READ_BLOCK_BYTES], border);
    let furthest = border.saturating_add(WRAPPED_BYTES_MAX as u64);
    while at < furthest {
        let n = file.read(&mut block)?;
        held.extend_from_slice(block.get(..n).unwrap_or_default());
        let mut passed = 0;
        while let Some(end) = memchr(b'\n', held.get(passed..).unwrap_or_default()) {
            at += end as u64 + 1;
            open.take(held.get(passed..passed + end).unwrap_or_default(), at);
            passed += end + 1;
            if !open.is_any() {
                return Ok(at);
            }
        }
        held.drain(..passed);
        if n == 0 {
            return last_free(file, from, border);
        }
        if held.len() > WRAPPED_BYTES_MAX {
            break;
        }
    }
    Ok(border)
}

/// Of a border behind the last newline of a log, the place before the line of the process that is still open there: it may go on.
pub(super) fn last_free(file: &mut File, from: u64, border: u64) -> io::Result<u64> {
    Ok(Open::before(file, from, border)?.free.unwrap_or(border))
}

/// Whether a line of the process is open, for either output.
#[derive(Debug, Default)]
struct Open {
    stdout: bool,
    stderr: bool,
    /// The last place where none was.
    free: Option<u64>,
}

impl Open {
    /// What is open at a border, by the lines before it, as many as are held together.
    fn before(file: &mut File, from: u64, border: u64) -> io::Result<Self> {
        let start = border.saturating_sub(WRAPPED_BYTES_MAX as u64).max(from);
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        file.take(border - start).read_to_end(&mut bytes)?;
        let mut open = Self { free: (start == from).then_some(from), ..Self::default() };
        let mut line_at = 0;
        for end in memchr_iter(b'\n', &bytes) {
            // The first may be the end of one.
            if line_at > 0 || start == from {
                open.take(bytes.get(line_at..end).unwrap_or_default(), start + end as u64 + 1);
            }
            line_at = end + 1;
        }
        Ok(open)
    }

    /// A line, and the place behind it.
    fn take(&mut self, line: &[u8], behind: u64) {
        match piece_of(line) {
            Some(Piece { is_of_stderr: true, ends }) => self.stderr = !ends,
            Some(Piece { is_of_stderr: false, ends }) => self.stdout = !ends,
            None => {}
        }
        if !self.is_any() {
            self.free = Some(behind);
        }
    }

    const fn is_any(&self) -> bool {
        self.stdout || self.stderr
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn no_border_lies_within_a_line_of_the_process() {
        let at = "2026-11-22T10:00:00.123456789Z";
        // Output, whether it ends, and whether nothing is open behind it.
        let lines = [
            ("stdout", "F", true),
            ("stdout", "P", false),
            ("stderr", "F", false),
            ("stdout", "P", false),
            ("stderr", "P", false),
            ("stdout", "F", false),
            ("stderr", "F", true),
            ("stdout", "F", true),
            ("stderr", "P", false),
            ("stderr", "P", false),
        ];
        let mut file = tempfile::tempfile().unwrap();
        let mut borders = Vec::new();
        let mut behind = 0;
        for (output, tag, is_free) in lines {
            let line = format!("{at} {output} {tag} x\n");
            file.write_all(line.as_bytes()).unwrap();
            behind += line.len() as u64;
            borders.push((behind, is_free));
        }
        assert!(is_of_container(&mut file, 0).unwrap());
        for (border, _) in &borders {
            let last = borders.iter().rev().find(|(at, is_free)| at <= border && *is_free).map(|(at, _)| *at);
            assert_eq!(Some(last_free(&mut file, 0, *border).unwrap()), last, "{border}");
            let next = borders.iter().find(|(at, is_free)| at >= border && *is_free).map(|(at, _)| *at);
            assert_eq!(Some(next_free(&mut file, 0, *border).unwrap()), next.or(last), "{border}");
        }
        // A part that begins behind what is open knows nothing of it.
        let (third, _) = borders[2];
        assert_eq!(last_free(&mut file, third, borders[3].0).unwrap(), third);
    }
}
