//! What the footer of a Parquet file says: its columns, and where the pages of each lie.
//!
//! It holds what the footer declares to the length of the file, and refuses what is not read here, so that nothing of it is found out half
//! way through.
//!
//! INVARIANT: a chunk lies whole between the file's first bytes and its footer, and there is one for each column in each row group.

use super::Fault;
use super::scalar::Meaning;
use super::schema::{Column, Element, Shape, shape};
use super::thrift::{Bad, Kind, Thrift};
use crate::limits::{PARQUET_CHUNKS_MAX, PARQUET_COLUMNS_MAX, PARQUET_VALUES_PER_BYTE_MAX};

/// What a footer says.
#[derive(Clone, Debug)]
pub(super) struct Footer {
    pub(super) shape: Shape,
    pub(super) columns: Vec<Column>,
    pub(super) groups: Vec<Group>,
}

/// Some rows: of each column a chunk.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) rows: u64,
    pub(super) chunks: Vec<Chunk>,
}

/// The pages of one column in one row group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chunk {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) values: u64,
    pub(super) codec: Codec,
}

/// How pages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Snappy,
    Gzip,
    Zstd,
}

/// A chunk as declared.
#[derive(Clone, Copy, Debug, Default)]
struct RawChunk {
    codec: i64,
    values: i64,
    bytes: i64,
    data: Option<i64>,
    dictionary: Option<i64>,
    elsewhere: bool,
    encrypted: bool,
    described: bool,
}

#[derive(Debug, Default)]
struct Raw {
    elements: Vec<Element>,
    rows: i64,
    groups: Vec<(i64, Vec<RawChunk>)>,
    encrypted: bool,
    chunks: usize,
}

impl Footer {
    /// Reads the footer of a file of which the data ends at `end`.
    pub(super) fn read(bytes: &[u8], end: u64) -> Result<Self, Fault> {
        let mut raw = Raw::default();
        raw.read(bytes).map_err(|bad| match bad {
            Bad::Short => Fault::Footer("ends early"),
            Bad::Wrong => Fault::Footer("is damaged"),
        })?;
        if raw.encrypted {
            return Err(Fault::Encrypted);
        }
        let (shape, columns) = shape(&raw.elements)?;
        let groups = raw.groups.iter().map(|(rows, chunks)| group(*rows, chunks, &columns, end)).collect::<Result<Vec<_>, _>>()?;
        let rows = groups.iter().try_fold(0_u64, |sum, group| sum.checked_add(group.rows));
        if rows != u64::try_from(raw.rows).ok() {
            return Err(Fault::Footer("gives another number of rows than its row groups"));
        }
        Ok(Self { shape, columns, groups })
    }
}

impl Raw {
    fn read(&mut self, bytes: &[u8]) -> Result<(), Bad> {
        Thrift::new(bytes).fields(|r, id, kind| {
            match (id, kind) {
                (2, Kind::List) => r.items(|r, n, kind| {
                    if kind != Kind::Struct || n >= PARQUET_COLUMNS_MAX {
                        return Err(Bad::Wrong);
                    }
                    self.elements.push(Element::read(r)?);
                    Ok(true)
                })?,
                (3, Kind::Int) => self.rows = r.int()?,
                (4, Kind::List) => r.items(|r, _, kind| self.group(r, kind))?,
                (8, _) => {
                    self.encrypted = true;
                    return Ok(false);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })
    }

    fn group(&mut self, r: &mut Thrift<'_>, kind: Kind) -> Result<bool, Bad> {
        if kind != Kind::Struct {
            return Err(Bad::Wrong);
        }
        let mut rows = 0;
        let mut chunks = Vec::new();
        r.fields(|r, id, kind| {
            match (id, kind) {
                (1, Kind::List) => r.items(|r, _, kind| {
                    self.chunks += 1;
                    if kind != Kind::Struct || self.chunks > PARQUET_CHUNKS_MAX || chunks.len() >= PARQUET_COLUMNS_MAX {
                        return Err(Bad::Wrong);
                    }
                    chunks.push(RawChunk::read(r)?);
                    Ok(true)
                })?,
                (3, Kind::Int) => rows = r.int()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        // A group without columns takes room as well.
        self.chunks += 1;
        if self.chunks > PARQUET_CHUNKS_MAX {
            return Err(Bad::Wrong);
        }
        self.groups.push((rows, chunks));
        Ok(true)
    }
}

impl RawChunk {
    fn read(r: &mut Thrift<'_>) -> Result<Self, Bad> {
        let mut out = Self::default();
        r.fields(|r, id, kind| {
            match (id, kind) {
                (1, Kind::Binary) => out.elsewhere |= !r.binary()?.is_empty(),
                (3, Kind::Struct) => {
                    out.described = true;
                    r.fields(|r, id, kind| {
                        match (id, kind) {
                            (4, Kind::Int) => out.codec = r.int()?,
                            (5, Kind::Int) => out.values = r.int()?,
                            (7, Kind::Int) => out.bytes = r.int()?,
                            (9, Kind::Int) => out.data = Some(r.int()?),
                            (11, Kind::Int) => out.dictionary = Some(r.int()?),
                            _ => return Ok(false),
                        }
                        Ok(true)
                    })?;
                }
                (8, _) => {
                    out.encrypted = true;
                    return Ok(false);
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(out)
    }
}

fn group(rows: i64, chunks: &[RawChunk], columns: &[Column], end: u64) -> Result<Group, Fault> {
    let rows = u64::try_from(rows).map_err(|_| Fault::Footer("gives a number of rows below zero"))?;
    if chunks.len() != columns.len() {
        return Err(Fault::Footer("has row groups without all columns"));
    }
    let chunks = chunks.iter().zip(columns).map(|(chunk, column)| checked(*chunk, column, rows, end)).collect::<Result<_, _>>()?;
    Ok(Group { rows, chunks })
}

fn checked(chunk: RawChunk, column: &Column, rows: u64, end: u64) -> Result<Chunk, Fault> {
    let not_read = |what: String, way_out| Fault::NotRead { column: column.name.clone(), what, way_out };
    if chunk.encrypted {
        return Err(Fault::Encrypted);
    }
    if chunk.elsewhere || !chunk.described {
        return Err(not_read("lies in another file".to_owned(), "write it into one file with the others"));
    }
    if matches!(column.meaning, Meaning::Unreadable) {
        return Err(not_read("has a type that is not known".to_owned(), "leave it out"));
    }
    let codec = match chunk.codec {
        0 => Codec::None,
        1 => Codec::Snappy,
        2 => Codec::Gzip,
        6 => Codec::Zstd,
        3 => return Err(not_read("is compressed with LZO".to_owned(), WRITE_AGAIN)),
        4 => return Err(not_read("is compressed with Brotli".to_owned(), WRITE_AGAIN)),
        5 | 7 => return Err(not_read("is compressed with LZ4".to_owned(), WRITE_AGAIN)),
        n => return Err(not_read(format!("is compressed in a way that is not known ({n})"), WRITE_AGAIN)),
    };
    let outside = || Fault::Footer("places pages outside the file");
    let data = chunk.data.and_then(|at| u64::try_from(at).ok()).ok_or_else(outside)?;
    // A dictionary lies before the data; some writers say 0 where there is none.
    let from = chunk.dictionary.and_then(|at| u64::try_from(at).ok()).filter(|at| (4..data).contains(at)).unwrap_or(data);
    let to = u64::try_from(chunk.bytes).ok().and_then(|bytes| from.checked_add(bytes)).ok_or_else(outside)?;
    if from < 4 || to > end {
        return Err(outside());
    }
    let values = u64::try_from(chunk.values).unwrap_or(u64::MAX);
    if values > end.saturating_mul(PARQUET_VALUES_PER_BYTE_MAX) || rows > end.saturating_mul(PARQUET_VALUES_PER_BYTE_MAX) {
        return Err(Fault::Footer("declares more values than any log of this size has"));
    }
    if values < rows || (column.rep == 0 && values != rows) {
        return Err(Fault::Footer("gives columns another number of values than there are rows"));
    }
    Ok(Chunk { from, to, values, codec })
}

const WRITE_AGAIN: &str = "write it with zstd, snappy or gzip";
