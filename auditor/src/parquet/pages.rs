//! One column of a row group: its pages, one at a time, and the values in them.
//!
//! INVARIANT: no more is held than one page and one dictionary, each within its bound, whatever a head declares; what a page holds
//! unpacked is exactly what its head says, and its check sum, where it has one, is right.

use std::io::{Read, Seek, SeekFrom};

use super::bits::Hybrid;
use super::footer::{Chunk, Codec};
use super::schema::Column;
use super::thrift::{Bad, Kind, Thrift};
use super::values::{Next, Scratch, Values, Why, plain};
use super::witness::Witness;
use crate::limits::{PARQUET_HEAD_BYTES_MAX, PARQUET_HELD_BYTES_MAX, PARQUET_PAGE_BYTES_MAX};

/// What a file is read from.
pub(crate) trait Stored: Read + Seek {}

impl<T: Read + Seek> Stored for T {}

/// Why a column cannot be read on.
#[derive(Debug)]
pub(super) enum Stop {
    /// What is stored is wrong.
    Wrong(Why),
    /// The file cannot be read.
    Io(std::io::Error),
}

impl From<Why> for Stop {
    fn from(why: Why) -> Self {
        Self::Wrong(why)
    }
}

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Self {
        // The place was in the file when it was opened.
        if error.kind() == std::io::ErrorKind::UnexpectedEof { Self::Wrong("the file ends early") } else { Self::Io(error) }
    }
}

/// A column of a row group, before one of its values.
#[derive(Debug)]
pub(super) struct Cursor {
    chunk: Chunk,
    /// Values, nulls among them, that later pages hold.
    later: u64,
    /// Those of this page that are still to come.
    left: u64,
    page: Vec<u8>,
    levels: Option<(u32, u32)>,
    rep: Hybrid,
    def: Hybrid,
    values: Values,
    scratch: Scratch,
    dictionary: Dictionary,
}

/// The values of a dictionary as they are written.
#[derive(Debug, Default)]
struct Dictionary {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl Dictionary {
    fn held(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<usize>()
    }

    #[inline]
    fn of(&self, number: u32) -> Option<&[u8]> {
        let number = number as usize;
        let from = if number == 0 { 0 } else { *self.ends.get(number - 1)? };
        self.text.get(from..*self.ends.get(number)?)
    }
}

impl Cursor {
    pub(super) fn new(chunk: Chunk) -> Self {
        Self {
            chunk,
            later: chunk.values,
            left: 0,
            page: Vec::new(),
            levels: None,
            rep: Hybrid::default(),
            def: Hybrid::default(),
            values: Values::None,
            scratch: Scratch::default(),
            dictionary: Dictionary::default(),
        }
    }

    /// Begins another chunk, in the room of the last one.
    pub(super) fn begin(&mut self, chunk: Chunk) {
        (self.chunk, self.later, self.left, self.levels, self.values) = (chunk, chunk.values, 0, None, Values::None);
        self.dictionary = Dictionary::default();
        // The room of the last page serves for the next one, but one of an odd size is not kept.
        if self.page.capacity() > PAGE_ROOM_KEPT {
            self.page = Vec::new();
        }
    }

    /// Bytes that it holds.
    pub(super) fn held(&self) -> usize {
        self.page.capacity() + self.dictionary.held()
    }

    /// How deep the next value is repeated, and how far it is defined; `None` at the end of the chunk.
    #[inline]
    pub(super) fn levels(&mut self, column: &Column, file: &mut Reading<'_>) -> Result<Option<(u32, u32)>, Stop> {
        if self.levels.is_none() {
            while self.left == 0 {
                if self.later == 0 {
                    return Ok(None);
                }
                self.next_page(column, file)?;
            }
            self.left -= 1;
            let rep = if column.rep == 0 { 0 } else { self.rep.next(&self.page).ok_or(LEVELS)? };
            let def = if column.def == 0 { 0 } else { self.def.next(&self.page).ok_or(LEVELS)? };
            if rep > column.rep || def > column.def {
                return Err(LEVELS.into());
            }
            self.levels = Some((rep, def));
        }
        Ok(self.levels)
    }

    /// Passes over a value that is not there.
    #[inline]
    pub(super) const fn pass(&mut self) {
        self.levels = None;
    }

    /// Writes the value that is there.
    #[inline]
    pub(super) fn write(&mut self, column: &Column, out: &mut Vec<u8>) -> Result<(), Stop> {
        self.levels = None;
        match self.values.next(column.physical, &self.page, &mut self.scratch)? {
            Next::Value(value) => value.write(column.physical, column.meaning, out),
            Next::Number(number) => {
                out.extend_from_slice(self.dictionary.of(number).ok_or("it has a value that its dictionary does not have")?);
            }
        }
        Ok(())
    }

    fn next_page(&mut self, column: &Column, file: &mut Reading<'_>) -> Result<(), Stop> {
        let before = self.held();
        self.read_page(column, file)?;
        file.held = (file.held + self.held()).saturating_sub(before);
        if file.held > PARQUET_HELD_BYTES_MAX { Err(LARGE.into()) } else { Ok(()) }
    }

    fn read_page(&mut self, column: &Column, file: &mut Reading<'_>) -> Result<(), Stop> {
        let head = file.head(&mut self.chunk)?;
        match head.kind {
            PageKind::Dictionary => {
                if !self.dictionary.ends.is_empty() || !matches!(head.encoding, 0 | 2) {
                    return Err("it has a dictionary that is not read".into());
                }
                file.unpack(&mut self.chunk, &head, 0, &mut self.page)?;
                self.read_dictionary(column, head.values)
            }
            PageKind::Other => file.skip(&mut self.chunk, &head),
            PageKind::Data => {
                file.unpack(&mut self.chunk, &head, 0, &mut self.page)?;
                self.begin_page(column, &head)
            }
            PageKind::DataV2 => {
                file.unpack(&mut self.chunk, &head, head.rep_bytes + head.def_bytes, &mut self.page)?;
                self.begin_page(column, &head)
            }
        }
    }

    fn read_dictionary(&mut self, column: &Column, count: u64) -> Result<(), Stop> {
        // A value takes a byte at least, but for truth values, which have no dictionary.
        if count > self.page.len() as u64 {
            return Err("its dictionary declares more values than it holds".into());
        }
        let mut rest = 0..self.page.len();
        for _ in 0..count {
            let value = plain(column.physical, &self.page, &mut rest)?;
            value.write(column.physical, column.meaning, &mut self.dictionary.text);
            self.dictionary.ends.push(self.dictionary.text.len());
            if self.dictionary.held() > PARQUET_HELD_BYTES_MAX {
                return Err(LARGE.into());
            }
        }
        Ok(())
    }

    fn begin_page(&mut self, column: &Column, head: &Head) -> Result<(), Stop> {
        if head.values > self.later {
            return Err("its pages declare more values than the footer".into());
        }
        let mut at = 0;
        let v2 = head.kind == PageKind::DataV2;
        self.rep = self.level(column.rep, v2.then_some(head.rep_bytes), head.rep_encoding, &mut at)?;
        self.def = self.level(column.def, v2.then_some(head.def_bytes), head.def_encoding, &mut at)?;
        self.values = Values::new(head.encoding, column.physical, &self.page, at..self.page.len(), head.values)?;
        self.scratch.clear();
        (self.later, self.left) = (self.later - head.values, head.values);
        Ok(())
    }

    /// The levels that begin here: where there are none, none are stored, but the second form of pages may say so.
    fn level(&self, most: u32, length: Option<usize>, encoding: i64, at: &mut usize) -> Result<Hybrid, Why> {
        let width = u32::BITS - most.leading_zeros();
        let length = match length {
            Some(length) => length,
            None if most == 0 => return Ok(Hybrid::default()),
            None if encoding != 3 => return Err("its levels are encoded in an old way that is not read"),
            None => {
                let length = self.page.get(*at..).and_then(|b| b.first_chunk()).ok_or(LEVELS)?;
                *at += 4;
                u32::from_le_bytes(*length) as usize
            }
        };
        let to = at.checked_add(length).filter(|to| *to <= self.page.len()).ok_or(LEVELS)?;
        let from = std::mem::replace(at, to);
        Ok(Hybrid::new(from..to, width))
    }
}

/// What the head of a page says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    kind: PageKind,
    packed: usize,
    unpacked: usize,
    crc: Option<u32>,
    values: u64,
    encoding: i64,
    rep_encoding: i64,
    def_encoding: i64,
    rep_bytes: usize,
    def_bytes: usize,
    is_packed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PageKind {
    Data,
    DataV2,
    Dictionary,
    Other,
}

impl Head {
    /// Reads a head, and how many bytes it takes.
    fn read(bytes: &[u8]) -> Result<(Self, usize), Bad> {
        let mut raw = [0_i64; 12];
        let mut crc = None;
        let mut is_packed = true;
        let mut reader = Thrift::new(bytes);
        reader.fields(|r, id, kind| {
            match (id, kind) {
                (1, Kind::Int) => raw[0] = r.int()?,
                (2, Kind::Int) => raw[1] = r.int()?,
                (3, Kind::Int) => raw[2] = r.int()?,
                (4, Kind::Int) => crc = Some(r.int()?),
                (5, Kind::Struct) => r.fields(|r, id, kind| {
                    match (id, kind) {
                        (1, Kind::Int) => raw[3] = r.int()?,
                        (2, Kind::Int) => raw[4] = r.int()?,
                        (3, Kind::Int) => raw[5] = r.int()?,
                        (4, Kind::Int) => raw[6] = r.int()?,
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?,
                (7, Kind::Struct) => r.fields(|r, id, kind| {
                    match (id, kind) {
                        (1, Kind::Int) => raw[3] = r.int()?,
                        (2, Kind::Int) => raw[4] = r.int()?,
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?,
                (8, Kind::Struct) => r.fields(|r, id, kind| {
                    match (id, kind) {
                        (1, Kind::Int) => raw[3] = r.int()?,
                        (4, Kind::Int) => raw[4] = r.int()?,
                        (5, Kind::Int) => raw[8] = r.int()?,
                        (6, Kind::Int) => raw[7] = r.int()?,
                        (7, Kind::Bool(said)) => is_packed = said,
                        _ => return Ok(false),
                    }
                    Ok(true)
                })?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let [kind, unpacked, packed, values, encoding, def_encoding, rep_encoding, rep_bytes, def_bytes, ..] = raw;
        let size = |n: i64| usize::try_from(n).map_err(|_| Bad::Wrong);
        let kind = match kind {
            0 => PageKind::Data,
            2 => PageKind::Dictionary,
            3 => PageKind::DataV2,
            _ => PageKind::Other,
        };
        let head = Self {
            kind,
            packed: size(packed)?,
            unpacked: size(unpacked)?,
            // A check sum is a number of 32 bits, and its sign says nothing.
            crc: crc.and_then(|n| u32::try_from(n & 0xffff_ffff).ok()),
            values: u64::try_from(values).map_err(|_| Bad::Wrong)?,
            encoding,
            rep_encoding,
            def_encoding,
            rep_bytes: size(rep_bytes)?,
            def_bytes: size(def_bytes)?,
            is_packed,
        };
        Ok((head, reader.read()))
    }
}

/// The file, and room for what is packed.
pub(super) struct Reading<'a> {
    file: Box<dyn Stored + 'a>,
    at: u64,
    packed: Vec<u8>,
    /// Bytes of pages read so far.
    pub(super) read: u64,
    /// Bytes that all columns hold.
    pub(super) held: usize,
    zstd: Option<zstd::bulk::Decompressor<'static>>,
    pub(super) witness: Witness,
}

impl<'a> Reading<'a> {
    pub(super) fn new(file: Box<dyn Stored + 'a>) -> Self {
        Self { file, at: u64::MAX, packed: Vec::new(), read: 0, held: 0, zstd: None, witness: Witness::default() }
    }

    pub(super) fn file(&mut self) -> &mut (dyn Stored + 'a) {
        self.at = u64::MAX;
        &mut *self.file
    }

    /// Reads so many bytes of a place into the room for packed bytes.
    fn fetch(&mut self, at: u64, length: usize) -> Result<(), Stop> {
        if self.at != at {
            self.file.seek(SeekFrom::Start(at))?;
        }
        self.packed.resize(length, 0);
        self.file.read_exact(&mut self.packed).inspect_err(|_| self.at = u64::MAX)?;
        self.at = at + length as u64;
        Ok(())
    }

    /// Reads the head of the next page, and goes behind it.
    fn head(&mut self, chunk: &mut Chunk) -> Result<Head, Stop> {
        let left = usize::try_from(chunk.to - chunk.from).unwrap_or(usize::MAX);
        let mut length = HEAD_BYTES;
        loop {
            let most = length.min(left);
            self.fetch(chunk.from, most)?;
            match Head::read(&self.packed) {
                Ok((head, read)) => {
                    self.witness.saw(chunk.from, self.packed.get(..read).unwrap_or_default());
                    chunk.from += read as u64;
                    self.read += read as u64;
                    if head.packed as u64 > chunk.to - chunk.from {
                        return Err("a page reaches beyond the others of its column".into());
                    }
                    if head.packed > PARQUET_PAGE_BYTES_MAX || head.unpacked > PARQUET_PAGE_BYTES_MAX {
                        return Err("a page is larger than what is read at once; write smaller pages or row groups".into());
                    }
                    return Ok(head);
                }
                Err(Bad::Short) if most < left && length < PARQUET_HEAD_BYTES_MAX => length *= 8,
                Err(_) => return Err("the head of a page is damaged".into()),
            }
        }
    }

    fn skip(&mut self, chunk: &mut Chunk, head: &Head) -> Result<(), Stop> {
        chunk.from += head.packed as u64;
        self.read += head.packed as u64;
        Ok(())
    }

    /// Reads a page and unpacks it, but for so many bytes at its beginning, which are stored as they are.
    fn unpack(&mut self, chunk: &mut Chunk, head: &Head, plain: usize, page: &mut Vec<u8>) -> Result<(), Stop> {
        self.fetch(chunk.from, head.packed)?;
        self.witness.saw(chunk.from, &self.packed);
        self.skip(chunk, head)?;
        if let Some(want) = head.crc {
            let mut sum = flate2::Crc::new();
            sum.update(&self.packed);
            if sum.sum() != want {
                return Err("the check sum of a page is wrong: its bytes were altered".into());
            }
        }
        let (before, packed) = self.packed.split_at_checked(plain).ok_or(UNPACKED)?;
        page.clear();
        page.extend_from_slice(before);
        let room = head.unpacked.checked_sub(plain).ok_or(UNPACKED)?;
        let codec = if head.is_packed { chunk.codec } else { Codec::None };
        match codec {
            Codec::None => page.extend_from_slice(packed),
            // Nothing at all is packed as nothing by some writers.
            _ if room == 0 && packed.is_empty() => {}
            Codec::Snappy => {
                if snap::raw::decompress_len(packed).ok() != Some(room) {
                    return Err(UNPACKED.into());
                }
                page.resize(plain + room, 0);
                let out = page.get_mut(plain..).unwrap_or_default();
                snap::raw::Decoder::new().decompress(packed, out).map_err(|_| UNPACKED)?;
            }
            Codec::Gzip => {
                // One byte more than there may be, so that more is seen.
                page.reserve_exact(room + 1);
                let reader = flate2::bufread::MultiGzDecoder::new(packed);
                reader.take(room as u64 + 1).read_to_end(page).map_err(|_| UNPACKED)?;
            }
            Codec::Zstd => {
                let decoder = match &mut self.zstd {
                    Some(decoder) => decoder,
                    none => none.insert(zstd::bulk::Decompressor::new()?),
                };
                page.resize(plain + room, 0);
                let out = page.get_mut(plain..).unwrap_or_default();
                let n = decoder.decompress_to_buffer(packed, out).map_err(|_| UNPACKED)?;
                page.truncate(plain + n);
            }
        }
        if page.len() == head.unpacked { Ok(()) } else { Err(UNPACKED.into()) }
    }
}

const LEVELS: Why = "its levels are damaged";
const UNPACKED: Why = "a page is damaged: it does not unpack to what its head says";
const LARGE: Why = "more has to be held at once than is; write smaller row groups";
/// What a column keeps of its room from one row group to the next.
const PAGE_ROOM_KEPT: usize = 1 << 20;
/// What most heads fit in; those with long statistics take more.
const HEAD_BYTES: usize = 1 << 10;
