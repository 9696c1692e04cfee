//! A ledger file: head, parts, rows, and the digest of all that. Read in one pass to check it, in another for its rows; never held whole.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::path::{Path, PathBuf};

use portreeve_engine::Digest;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::LedgerError;
use super::part::Part;
use super::row::{Row, RowKey};
use crate::aside::Aside;
use crate::limits::{LEDGER_PARTS_MAX, LINE_BYTES_MAX};
use crate::reader::reason;

/// A whole ledger on disk, its digest and its books checked.
#[derive(Debug)]
pub struct LedgerFile {
    path: PathBuf,
    /// What it was made from, in order.
    pub parts: Vec<Part>,
    /// Keys of the log that were folded together because there were too many.
    pub folded: u64,
    rows: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    portreeve_ledger: u32,
    parts: u64,
    folded: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tail {
    sha256: Digest,
}

impl LedgerFile {
    /// Opens a ledger and checks it whole.
    ///
    /// # Errors
    /// It cannot be read, is not of this version, was cut or changed, or its books do not balance.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let broken = |why: &str| LedgerError::Broken { path: path.to_owned(), why: why.to_owned() };
        check_digest(path)?;
        let mut lines = Lines::open(path)?;
        let head: Result<Head, _> = serde_json::from_str(lines.next_line()?.ok_or_else(|| broken("it is empty"))?);
        let head = head.map_err(|e| lines.broken("it is no head of a ledger", &e.to_string()))?;
        if head.portreeve_ledger != VERSION {
            return Err(broken(&format!("version {} is not known, only {VERSION}", head.portreeve_ledger)));
        }
        if head.parts > LEDGER_PARTS_MAX as u64 {
            return Err(broken("it has too many parts"));
        }
        let mut parts = Vec::new();
        for _ in 0..head.parts {
            let line = lines.next_line()?.ok_or_else(|| broken("a part is missing"))?;
            let part: Result<Part, _> = serde_json::from_str(line);
            parts.push(part.map_err(|e| lines.broken("it is no part", &e.to_string()))?);
        }
        if !parts.is_sorted() || parts.windows(2).any(|pair| matches!(pair, [a, b] if a.overlaps(b))) {
            return Err(broken("its parts are out of order or overlap"));
        }
        if let Some(part) = parts.iter().find(|part| !part.balances()) {
            return Err(broken(&format!("the lines of `{}` are not each counted once", part.log)));
        }
        let mut file = Self { path: path.to_owned(), parts, folded: head.folded, rows: 0 };
        file.check_rows()?;
        Ok(file)
    }

    fn check_rows(&mut self) -> Result<(), LedgerError> {
        let broken = |why: &str| LedgerError::Broken { path: self.path.clone(), why: why.to_owned() };
        let mut before: Option<RowKey> = None;
        let (mut decided, mut rows) = (0_u64, 0);
        for row in self.rows()? {
            let row = row?;
            if before.as_ref().is_some_and(|before| *before >= row.key) {
                return Err(broken("its rows are out of order"));
            }
            if row.tally.evidence.iter().any(|e| e.input >= self.parts.len()) {
                return Err(broken("a row has evidence in a part that is not there"));
            }
            decided += if matches!(row.key, RowKey::Decided(..)) { row.tally.count } else { 0 };
            rows += 1;
            before = Some(row.key);
        }
        if decided != self.parts.iter().map(|p| p.decided).sum::<u64>() {
            return Err(broken("its rows do not add up to its parts"));
        }
        self.rows = rows;
        Ok(())
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many rows it has.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.rows
    }

    /// Whether it has no row.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Its rows, one after another.
    ///
    /// # Errors
    /// It cannot be opened again.
    pub fn rows(&self) -> Result<Rows, LedgerError> {
        let mut lines = Lines::open(&self.path)?;
        for _ in 0..=self.parts.len() {
            lines.next_line()?;
        }
        Ok(Rows { lines })
    }
}

/// The rows of a ledger file.
#[derive(Debug)]
pub struct Rows {
    lines: Lines,
}

impl Iterator for Rows {
    type Item = Result<Row, LedgerError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = match self.lines.next_line() {
            Ok(line) => line?,
            Err(error) => return Some(Err(error)),
        };
        // The last line is the digest, which was checked.
        if line.starts_with("{\"sha256\"") {
            return None;
        }
        let row = Row::read(line);
        Some(row.map_err(|why| self.lines.broken("it is no row", &why)))
    }
}

#[derive(Debug)]
struct Lines {
    path: PathBuf,
    inner: BufReader<File>,
    line: String,
    /// The number of the line, from 1.
    number: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self, LedgerError> {
        let inner = BufReader::with_capacity(ROW_BUFFER_BYTES, File::open(path).map_err(LedgerError::io(path))?);
        Ok(Self { path: path.to_owned(), inner, line: String::new(), number: 0 })
    }

    fn next_line(&mut self) -> Result<Option<&str>, LedgerError> {
        self.line.clear();
        self.number += 1;
        // One byte more than a line may have tells that it has too many.
        let n = self.inner.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_line(&mut self.line).map_err(LedgerError::io(&self.path))?;
        if n > LINE_BYTES_MAX {
            return Err(LedgerError::Broken { path: self.path.clone(), why: format!("line {} is too long", self.number) });
        }
        Ok((n > 0).then(|| self.line.trim_end_matches('\n')))
    }

    /// What is wrong with the line read last, which its reader counts as the first.
    fn broken(&self, what: &str, why: &str) -> LedgerError {
        LedgerError::Broken { path: self.path.clone(), why: format!("line {}: {what}: {}", self.number, reason(why)) }
    }
}

/// The last line must be the digest of all before it.
fn check_digest(path: &Path) -> Result<(), LedgerError> {
    let mut inner = BufReader::with_capacity(ROW_BUFFER_BYTES, File::open(path).map_err(LedgerError::io(path))?);
    let mut hash = Sha256::new();
    let mut held: Vec<u8> = Vec::new();
    loop {
        let mut line = Vec::new();
        let n = inner.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut line).map_err(LedgerError::io(path))?;
        if n == 0 {
            break;
        }
        hash.update(&held);
        held = line;
    }
    let digest = Digest::from_bytes(hash.finalize().into());
    let is_whole = serde_json::from_slice::<Tail>(&held).is_ok_and(|tail| tail.sha256 == digest) && held.ends_with(b"\n");
    let why = "its last line is not the digest of what stands before it; it was cut or changed".to_owned();
    is_whole.then_some(()).ok_or_else(|| LedgerError::Broken { path: path.to_owned(), why })
}

/// Writes a ledger file: beside its place first, and there only once it is whole.
pub(super) struct Writer {
    path: PathBuf,
    out: BufWriter<Aside>,
    hash: Sha256,
}

impl Writer {
    /// A ledger that is kept.
    pub(super) fn new(path: &Path, parts: &[Part], folded: u64) -> Result<Self, LedgerError> {
        Self::to(Aside::begin(path, 0o666), path, parts, folded)
    }

    /// One of the many of a build, which are kept only while it is under way.
    pub(super) fn of_run(path: &Path, parts: &[Part], folded: u64) -> Result<Self, LedgerError> {
        Self::to(Aside::begin_among(path, 0o666), path, parts, folded)
    }

    fn to(aside: io::Result<Aside>, path: &Path, parts: &[Part], folded: u64) -> Result<Self, LedgerError> {
        let out = BufWriter::with_capacity(ROW_BUFFER_BYTES, aside.map_err(LedgerError::io(path))?);
        let mut writer = Self { path: path.to_owned(), out, hash: Sha256::new() };
        writer.json(&Head { portreeve_ledger: VERSION, parts: parts.len() as u64, folded })?;
        for part in parts {
            writer.json(part)?;
        }
        Ok(writer)
    }

    pub(super) fn row(&mut self, row: &Row) -> Result<(), LedgerError> {
        let line = row.write().map_err(|e| LedgerError::Io { path: self.path.clone(), cause: e.into() })?;
        self.line(line)
    }

    pub(super) fn finish(mut self) -> Result<(), LedgerError> {
        let sha256 = Digest::from_bytes(std::mem::take(&mut self.hash).finalize().into());
        self.json(&Tail { sha256 })?;
        let whole = self.out.into_inner().map_err(io::IntoInnerError::into_error);
        whole.and_then(Aside::put).map_err(LedgerError::io(&self.path))
    }

    fn json(&mut self, value: &impl Serialize) -> Result<(), LedgerError> {
        let line = serde_json::to_string(value).map_err(|e| LedgerError::Io { path: self.path.clone(), cause: e.into() })?;
        self.line(line)
    }

    fn line(&mut self, mut line: String) -> Result<(), LedgerError> {
        line.push('\n');
        self.hash.update(line.as_bytes());
        self.out.write_all(line.as_bytes()).map_err(LedgerError::io(&self.path))
    }
}

const VERSION: u32 = 1;
const ROW_BUFFER_BYTES: usize = 1 << 16;
