//! The parts of logs that a ledger was made from.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use portreeve_engine::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::border;
use crate::layout::is_of_one_array;
use crate::limits::{LEDGER_PART_BYTES, READ_BLOCK_BYTES};
use crate::parquet::MAGIC;

/// A range of the bytes of a log, and what its lines were.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// The log, by the name it was given by.
    pub log: String,
    /// The first byte.
    pub from: u64,
    /// The byte behind the last.
    pub to: u64,
    /// SHA-256 of these bytes, as stored.
    pub sha256: Digest,
    /// The format.
    pub format: String,
    /// Lines.
    pub lines: u64,
    /// Lines that are decisions: the sum of the counts of their rows.
    pub decided: u64,
    /// Lines of another mesh that do not say what it did.
    pub undetermined: u64,
    /// Lines about strangers.
    pub refused: u64,
    /// Lines that are neither.
    pub other: u64,
    /// Lines that were there before, and lines that contradict one.
    pub duplicates: u64,
    /// Lines that could not be read.
    pub rejected: u64,
    /// Of a part that is the one line which rotation cut in two: where it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joined: Option<Rest>,
}

/// Where a line ends that begins in another log: the first line there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rest {
    /// The log.
    pub log: String,
    /// Bytes of its first line, unpacked and without the newline.
    pub bytes: u64,
    /// SHA-256 of these bytes.
    pub sha256: Digest,
}

impl Part {
    /// Whether every line is counted once.
    #[must_use]
    pub fn balances(&self) -> bool {
        self.lines == self.decided + self.undetermined + self.refused + self.other + self.duplicates + self.rejected
    }

    /// Whether both have bytes of one file in common.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.log == other.log && self.from < other.to && other.from < self.to
    }
}

/// Where the parts of a file end that begin at `from`: behind a newline, a part's size on and no further than it takes, and not behind the last newline;
/// not within what a process wrote as one line. A
/// compressed file is one part, and so is a JSON array or a Parquet file.
pub(super) fn cut(path: &Path, from: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    if is_whole(path)? {
        return Ok(if from < size { vec![(from, size)] } else { Vec::new() });
    }
    cut_lines(&mut file, (from, size), LEDGER_PART_BYTES)
}

/// The same of lines, in parts of so many bytes.
fn cut_lines(file: &mut File, (from, size): (u64, u64), bytes: u64) -> io::Result<Vec<(u64, u64)>> {
    let is_of_container = border::is_of_container(file, from)?;
    let mut out = Vec::new();
    let mut at = from;
    while at < size {
        let wanted = at.saturating_add(bytes);
        let is_last = wanted >= size;
        let end = if is_last { last_newline(file, at, size)? } else { newline_from(file, wanted - 1, size)? };
        let Some(end) = end else { break };
        let end = match is_of_container {
            false => end,
            true if is_last => border::last_free(file, at, end)?,
            true => border::next_free(file, at, end)?,
        };
        if end <= at {
            break;
        }
        out.push((at, end));
        at = end;
    }
    Ok(out)
}

/// Whether a log is one part: compressed, a JSON array, or a Parquet file.
pub(super) fn is_whole(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    Ok(is_compressed(&mut file)? || is_of_one_array(&File::open(path)?)?)
}

/// Whether it begins as gzip, zstd or Parquet do.
fn is_compressed(file: &mut File) -> io::Result<bool> {
    let mut magic = Vec::with_capacity(4);
    file.seek(SeekFrom::Start(0))?;
    file.take(4).read_to_end(&mut magic)?;
    Ok(magic.starts_with(&[0x1f, 0x8b]) || magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || magic == MAGIC)
}

/// The byte behind the first newline at or after a place; the last newline's where none follows.
fn newline_from(file: &mut File, at: u64, size: u64) -> io::Result<Option<u64>> {
    file.seek(SeekFrom::Start(at))?;
    let mut block = vec![0; READ_BLOCK_BYTES];
    let mut passed = at;
    loop {
        let n = file.read(&mut block)?;
        let read = block.get(..n).unwrap_or_default();
        if let Some(found) = memchr::memchr(b'\n', read) {
            return Ok(Some(passed + found as u64 + 1));
        }
        passed += n as u64;
        if n == 0 {
            return last_newline(file, 0, size);
        }
    }
}

/// The byte behind the last newline between two places.
fn last_newline(file: &mut File, from: u64, to: u64) -> io::Result<Option<u64>> {
    let mut block = vec![0; READ_BLOCK_BYTES];
    let mut end = to;
    while end > from {
        let start = end.saturating_sub(block.len() as u64).max(from);
        let length = usize::try_from(end - start).unwrap_or(block.len());
        let Some(room) = block.get_mut(..length) else { break };
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(room)?;
        if let Some(found) = memchr::memrchr(b'\n', room) {
            return Ok(Some(start + found as u64 + 1));
        }
        end = start;
    }
    Ok(None)
}

/// How many lines of a file end before a place.
pub(super) fn lines_before(path: &Path, to: u64) -> io::Result<u64> {
    let mut range = File::open(path)?.take(to);
    let mut block = vec![0; READ_BLOCK_BYTES];
    let mut lines = 0;
    loop {
        let n = range.read(&mut block)?;
        if n == 0 {
            return Ok(lines);
        }
        lines += memchr::memchr_iter(b'\n', block.get(..n).unwrap_or_default()).count() as u64;
    }
}

/// The digest of a range of a file.
pub(super) fn digest(path: &Path, from: u64, to: u64) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut hash = Sha256::new();
    let mut block = vec![0; READ_BLOCK_BYTES];
    let mut range = file.take(to - from);
    loop {
        let n = range.read(&mut block)?;
        if n == 0 {
            return Ok(Digest::from_bytes(hash.finalize().into()));
        }
        hash.update(block.get(..n).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Cut anywhere, the parts hold every line that the process wrote once and whole, and what is still open is left for later.
    #[test]
    fn parts_of_what_a_runtime_keeps_hold_whole_lines_of_the_process() {
        let at = "2026-11-22T10:00:00.123456789Z";
        let mut text = String::new();
        for n in 0..40 {
            for part in 0..n % 4 {
                text.push_str(&format!("{at} stdout P <{n}.{part}>\n"));
                text.push_str(if n % 3 == 0 { "2026-11-22T10:00:00Z stderr F beside\n" } else { "" });
            }
            text.push_str(&format!("{at} stdout F end {n}\n"));
        }
        let closed = text.len() as u64;
        text.push_str(&format!("{at} stdout P open\n{at} stdout P still"));
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let size = text.len() as u64;
        for bytes in 50..700 {
            let parts = cut_lines(file.as_file_mut(), (0, size), bytes).unwrap();
            let mut from = 0;
            for (begins, ends) in &parts {
                assert!(*begins == from && ends > begins, "{bytes}: {parts:?}");
                let part = text.get(usize::try_from(*begins).unwrap()..usize::try_from(*ends).unwrap()).unwrap();
                let own = part.lines().rfind(|line| line.contains(" stdout "));
                assert!(own.is_none_or(|line| line.contains(" F ")), "{bytes}: {part}");
                from = *ends;
            }
            assert_eq!(from, closed, "{bytes}");
        }
    }
}
