//! A Parquet file as lines: each row is one, an object of JSON with the columns in the order of the file, `null` where a value is not
//! there, and no white space but within texts. So the N-th row is line N, its digest is that of this text, and whatever reads lines of
//! JSON reads it.
//!
//! It reads the file from its end, row group by row group and page by page, and holds of each column one page and its dictionary. It
//! knows nothing of what the columns are about.
//!
//! INVARIANT: it gives as many rows as the footer declares, or fails and says where; what it holds is bounded, whatever the file says.

mod bits;
mod footer;
mod pages;
mod scalar;
mod schema;
#[cfg(test)]
mod tests;
mod text;
mod thrift;
mod values;
mod witness;

use std::io::{self, Read, Seek as _, SeekFrom};

pub(crate) use pages::Stored;
use portreeve_engine::Digest;
use sha2::{Digest as _, Sha256};

use crate::limits::{LINE_BYTES_MAX, PARQUET_FOOTER_BYTES_MAX, PARQUET_TEXT_BYTES, READ_BLOCK_BYTES};
use footer::Footer;
use pages::{Cursor, Reading, Stop};
use schema::{Column, Field, Node, NodeKind};

/// The first bytes of such a file, and the last.
pub(crate) const MAGIC: [u8; 4] = *b"PAR1";

/// Whether a file begins as one. It is read from its beginning afterwards.
pub(crate) fn is_one(file: &mut std::fs::File) -> io::Result<bool> {
    let mut magic = Vec::with_capacity(MAGIC.len());
    // What cannot be gone back in is a pipe, and read as one.
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    file.take(MAGIC.len() as u64).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(magic == MAGIC)
}

/// Why a file is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    /// It has no end.
    #[error("the Parquet file is cut off, for its footer is missing")]
    Cut,
    /// Its footer cannot be followed.
    #[error("the footer of the Parquet file {0}")]
    Footer(&'static str),
    /// It is encrypted.
    #[error("the Parquet file is encrypted; decrypt it first")]
    Encrypted,
    /// A column is of a kind that is not read.
    #[error("the column `{column}` of the Parquet file {what}; {way_out}")]
    NotRead {
        /// The column.
        column: String,
        /// What is not read.
        what: String,
        /// What to do.
        way_out: &'static str,
    },
    /// A page cannot be read.
    #[error("row group {group}, column `{column}` of the Parquet file: {why}")]
    Page {
        /// The row group, from 1.
        group: usize,
        /// The column.
        column: String,
        /// Why.
        why: &'static str,
    },
    /// Columns disagree about the arrays of a row, or about how many rows there are.
    #[error("row group {group} of the Parquet file: its columns disagree about its rows")]
    Disagree {
        /// The row group, from 1.
        group: usize,
    },
    /// It comes through a pipe.
    #[error("a Parquet file is read from its end, which standard input does not have yet; write it into a file first")]
    Piped,
    /// It is packed as a whole.
    #[error("it is a Parquet file that was compressed as a whole; unpack it first")]
    Packed,
}

impl From<Fault> for io::Error {
    fn from(fault: Fault) -> Self {
        Self::new(io::ErrorKind::InvalidData, fault)
    }
}

/// The rows of a file as lines.
pub(crate) struct Rows<'a> {
    reading: Reading<'a>,
    size: u64,
    fields: Vec<Field>,
    columns: Vec<Column>,
    groups: std::vec::IntoIter<footer::Group>,
    /// The row group under way, from 1, and its rows that are still to come.
    group: usize,
    left: u64,
    cursors: Vec<Cursor>,
    text: Vec<u8>,
    given: usize,
    /// Told once what was read before is given out.
    failed: Option<io::Error>,
}

impl<'a> Rows<'a> {
    /// Reads the footer of a file.
    pub(crate) fn open(mut file: Box<dyn Stored + 'a>) -> io::Result<Self> {
        let size = file.seek(SeekFrom::End(0))?;
        let end = size.checked_sub(8).filter(|end| *end >= 4).ok_or(Fault::Cut)?;
        let mut tail = [0; 8];
        file.seek(SeekFrom::Start(end))?;
        file.read_exact(&mut tail)?;
        let [a, b, c, d, magic @ ..] = tail;
        match &magic {
            b"PAR1" => {}
            b"PARE" => return Err(Fault::Encrypted.into()),
            _ => return Err(Fault::Cut.into()),
        }
        let length = u64::from(u32::from_le_bytes([a, b, c, d]));
        let from = end.checked_sub(length).filter(|from| *from >= 4).ok_or(Fault::Footer("is longer than the file"))?;
        if length > PARQUET_FOOTER_BYTES_MAX {
            return Err(Fault::Footer("is larger than what is read; write larger row groups, or fewer columns").into());
        }
        let mut footer = vec![0; usize::try_from(length).unwrap_or(0)];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut footer)?;
        let mut reading = Reading::new(file);
        reading.witness.saw(from, &footer);
        reading.witness.saw(end, &tail);
        let Footer { shape, columns, groups } = Footer::read(&footer, from)?;
        Ok(Self {
            reading,
            size,
            fields: shape.fields,
            columns,
            groups: groups.into_iter(),
            group: 0,
            left: 0,
            cursors: Vec::new(),
            text: Vec::new(),
            given: 0,
            failed: None,
        })
    }

    /// Stored bytes read so far.
    pub(crate) const fn bytes_read(&self) -> u64 {
        self.reading.read
    }

    /// Reads the stored bytes from the first to the last and gives their digest and number.
    ///
    /// # Errors
    /// It cannot be read, or what was used of it is not what it has now.
    pub(crate) fn finish(&mut self) -> io::Result<(Digest, u64)> {
        let mut again = std::mem::take(&mut self.reading.witness).again();
        let file = self.reading.file();
        file.seek(SeekFrom::Start(0))?;
        let mut hash = Sha256::new();
        let mut block = vec![0; READ_BLOCK_BYTES];
        let mut bytes = 0;
        loop {
            let n = match file.read(&mut block) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if n == 0 {
                break;
            }
            let block = block.get(..n).unwrap_or_default();
            hash.update(block);
            again.show(block);
            bytes += n as u64;
        }
        if bytes != self.size || !again.is_the_same() {
            return Err(io::Error::other("the file was changed while it was read"));
        }
        Ok((Digest::from_bytes(hash.finalize().into()), bytes))
    }

    /// Makes some lines; none at the end.
    fn fill(&mut self) -> io::Result<()> {
        self.text.clear();
        self.given = 0;
        while self.text.len() < PARQUET_TEXT_BYTES {
            if self.left == 0 {
                self.end_group()?;
                let Some(group) = self.groups.next() else { return Ok(()) };
                self.group += 1;
                self.left = group.rows;
                for (n, chunk) in group.chunks.into_iter().enumerate() {
                    match self.cursors.get_mut(n) {
                        Some(cursor) => cursor.begin(chunk),
                        None => self.cursors.push(Cursor::new(chunk)),
                    }
                }
                self.reading.held = self.cursors.iter().map(Cursor::held).sum();
                continue;
            }
            let from = self.text.len();
            if let Err(error) = self.row() {
                self.text.truncate(from);
                return Err(error);
            }
            self.left -= 1;
        }
        Ok(())
    }

    /// What follows the last row of a group must be nothing.
    fn end_group(&mut self) -> io::Result<()> {
        let group = self.group;
        for (cursor, column) in self.cursors.iter_mut().zip(&self.columns) {
            let levels = cursor.levels(column, &mut self.reading).map_err(|stop| stopped(stop, group, column))?;
            if levels.is_some() {
                return Err(Fault::Disagree { group }.into());
            }
        }
        Ok(())
    }

    fn row(&mut self) -> io::Result<()> {
        let mut row = Row {
            columns: &self.columns,
            cursors: &mut self.cursors,
            reading: &mut self.reading,
            from: self.text.len(),
            out: &mut self.text,
            group: self.group,
        };
        row.object(&self.fields, 0)?;
        row.out.push(b'\n');
        Ok(())
    }
}

impl Read for Rows<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.given == self.text.len() {
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if let Err(error) = self.fill() {
                if self.text.is_empty() {
                    return Err(error);
                }
                self.failed = Some(error);
            }
        }
        let left = self.text.get(self.given..).unwrap_or_default();
        let n = left.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..n), left.get(..n)) {
            to.copy_from_slice(from);
        }
        self.given += n;
        Ok(n)
    }
}

/// A row under way.
struct Row<'r, 'a> {
    columns: &'r [Column],
    cursors: &'r mut [Cursor],
    reading: &'r mut Reading<'a>,
    /// Where its text begins.
    from: usize,
    out: &'r mut Vec<u8>,
    group: usize,
}

impl Row<'_, '_> {
    fn object(&mut self, fields: &[Field], rep: u32) -> io::Result<()> {
        self.put(b'{');
        for (n, field) in fields.iter().enumerate() {
            if n > 0 {
                self.put(b',');
            }
            self.out.extend_from_slice(&field.key);
            self.node(&field.node, rep)?;
        }
        self.put(b'}');
        Ok(())
    }

    /// A value, of which the first is repeated so deep.
    fn node(&mut self, node: &Node, rep: u32) -> io::Result<()> {
        let first = node.columns.start;
        let def = self.levels(first, rep)?;
        if def < node.def {
            self.out.extend_from_slice(b"null");
            return self.pass(node, rep);
        }
        match &node.kind {
            NodeKind::Leaf => {
                let (Some(cursor), Some(column)) = (self.cursors.get_mut(first), self.columns.get(first)) else { return Ok(()) };
                cursor.write(column, self.out).map_err(|stop| stopped(stop, self.group, column))?;
                self.bound();
                Ok(())
            }
            NodeKind::Object(fields) => self.object(fields, rep),
            NodeKind::List { def: there, rep: again, item } => {
                self.put(b'[');
                self.items(node, (def >= *there, rep, *again), |row, rep| row.node(item, rep))?;
                self.put(b']');
                Ok(())
            }
            NodeKind::Map { def: there, rep: again, key, value } => {
                self.put(b'{');
                self.items(node, (def >= *there, rep, *again), |row, rep| {
                    row.key(key, rep)?;
                    row.put(b':');
                    match value {
                        Some(value) => row.node(value, rep),
                        None => {
                            row.out.extend_from_slice(b"true");
                            Ok(())
                        }
                    }
                })?;
                self.put(b'}');
                Ok(())
            }
        }
    }

    /// The items of a list: whether there are any, how deep the first is repeated, and how deep the others are.
    fn items(
        &mut self,
        node: &Node,
        (is_there, first, again): (bool, u32, u32),
        mut item: impl FnMut(&mut Self, u32) -> io::Result<()>,
    ) -> io::Result<()> {
        if !is_there {
            return self.pass(node, first);
        }
        let mut rep = first;
        loop {
            item(self, rep)?;
            if !self.goes_on(node.columns.start, again)? {
                return Ok(());
            }
            self.put(b',');
            rep = again;
        }
    }

    /// The key of a map, which JSON has as a text.
    fn key(&mut self, node: &Node, rep: u32) -> io::Result<()> {
        let from = self.out.len();
        self.node(node, rep)?;
        if self.out.get(from).is_some_and(|b| *b != b'"') {
            let written = self.out.split_off(from);
            text::string(&written, self.out);
        }
        Ok(())
    }

    /// How far the next value of a column is defined; it must be repeated so deep.
    fn levels(&mut self, column: usize, rep: u32) -> io::Result<u32> {
        let disagree = || io::Error::from(Fault::Disagree { group: self.group });
        let (Some(cursor), Some(of)) = (self.cursors.get_mut(column), self.columns.get(column)) else { return Err(disagree()) };
        let levels = cursor.levels(of, self.reading).map_err(|stop| stopped(stop, self.group, of))?;
        levels.filter(|(said, _)| *said == rep).map(|(_, def)| def).ok_or_else(disagree)
    }

    /// Whether the next value of a column is another item.
    fn goes_on(&mut self, column: usize, rep: u32) -> io::Result<bool> {
        let (Some(cursor), Some(of)) = (self.cursors.get_mut(column), self.columns.get(column)) else { return Ok(false) };
        let levels = cursor.levels(of, self.reading).map_err(|stop| stopped(stop, self.group, of))?;
        Ok(levels.is_some_and(|(said, _)| said >= rep))
    }

    /// Passes over one value of each column below a node.
    fn pass(&mut self, node: &Node, rep: u32) -> io::Result<()> {
        for column in node.columns.clone() {
            self.levels(column, rep)?;
            if let Some(cursor) = self.cursors.get_mut(column) {
                cursor.pass();
            }
        }
        Ok(())
    }

    fn put(&mut self, byte: u8) {
        self.out.push(byte);
        self.bound();
    }

    /// A row of which the text is too long for a line stays one, and is not held beyond it.
    fn bound(&mut self) {
        self.out.truncate(self.from + LINE_BYTES_MAX + 1);
    }
}

fn stopped(stop: Stop, group: usize, column: &Column) -> io::Error {
    match stop {
        Stop::Wrong(why) => Fault::Page { group, column: column.name.clone(), why }.into(),
        Stop::Io(error) => error,
    }
}
