//! Where the bytes of a log come from: a file, standard input, or memory; plain, gzip, zstd or Parquet, recognised by content.
//!
//! It hashes the bytes as stored while they pass, and never holds a file whole. Concatenated gzip members and zstd frames are
//! read through. It knows nothing of lines, but that of a JSON array lines are made (see `array`), of what a container runtime keeps (see `container`), and of the rows of a Parquet file (see
//! `parquet`), which is hashed once it was read.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Cursor, Read, Seek as _, SeekFrom};
use std::path::PathBuf;

use flate2::bufread::MultiGzDecoder;
use portreeve_engine::Digest;
use sha2::{Digest as _, Sha256};

use crate::layout::{Layout, without_mark};
use crate::limits::{LINE_BYTES_MAX, READ_BUFFER_BYTES};
use crate::parquet::{self, Rows};

/// A log as the user named it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// A file.
    File(PathBuf),
    /// A range of the bytes of a file that is not compressed, or the whole of one that is.
    Part {
        /// The file.
        path: PathBuf,
        /// The first byte.
        from: u64,
        /// The byte behind the last.
        to: u64,
    },
    /// Standard input (`-`).
    Stdin,
    /// Bytes already in memory.
    Memory {
        /// What to call them.
        name: String,
        /// The log.
        bytes: Vec<u8>,
    },
}

impl LogSource {
    /// The log of this name: `-` is standard input.
    #[must_use]
    pub fn named(name: &str) -> Self {
        if name == "-" { Self::Stdin } else { Self::File(PathBuf::from(name)) }
    }

    /// Its name in reports.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::File(path) | Self::Part { path, .. } => path.display().to_string(),
            Self::Stdin => "-".to_owned(),
            Self::Memory { name, .. } => name.clone(),
        }
    }

    /// Its stored bytes, where it has an end that is known now: of a file, not of a pipe.
    pub(crate) fn known_length(&self) -> Option<u64> {
        match self {
            Self::File(path) => std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|file| file.len()),
            Self::Part { from, to, .. } => Some(to.saturating_sub(*from)),
            Self::Stdin => None,
            Self::Memory { bytes, .. } => Some(bytes.len() as u64),
        }
    }

    /// The first line of the whole file that it is, or is a part of, without its newline; what is longer than a line can be is left out.
    ///
    /// # Errors
    /// It is no file, or cannot be read.
    pub(crate) fn first_line(&self) -> io::Result<Vec<u8>> {
        let (Self::File(path) | Self::Part { path, .. }) = self else { return Err(io::ErrorKind::Unsupported.into()) };
        let mut line = Vec::new();
        BufReader::new(File::open(path)?.take(LINE_BYTES_MAX as u64)).read_until(b'\n', &mut line)?;
        line.pop_if(|last| *last == b'\n');
        Ok(without_mark(&line).to_vec())
    }

    /// SHA-256 and length of the stored bytes, read in pieces.
    ///
    /// # Errors
    /// It cannot be opened or read.
    pub fn digest(&self) -> io::Result<(Digest, u64)> {
        self.open()?.finish()
    }

    /// Opens it and recognises its compression.
    ///
    /// # Errors
    /// The file cannot be opened or its first bytes cannot be read.
    pub fn open(&self) -> io::Result<Stream<'_>> {
        let inner: Box<dyn Read + '_> = match self {
            Self::File(path) => {
                let mut file = File::open(path)?;
                if parquet::is_one(&mut file)? {
                    return Stream::rows(Box::new(file));
                }
                Box::new(file)
            }
            Self::Part { path, from, to } => {
                let mut file = File::open(path)?;
                if *from == 0 && parquet::is_one(&mut file)? {
                    return Stream::rows(Box::new(file));
                }
                file.seek(SeekFrom::Start(*from))?;
                let part = file.take(to.saturating_sub(*from));
                // What begins in the middle of a text is not compressed.
                return if *from > 0 { Ok(Stream::plain(Box::new(part))) } else { Stream::new(Box::new(part)) };
            }
            Self::Stdin => Box::new(io::stdin().lock()),
            Self::Memory { bytes, .. } if bytes.starts_with(&parquet::MAGIC) => {
                return Stream::rows(Box::new(Cursor::new(bytes.as_slice())));
            }
            Self::Memory { bytes, .. } => Box::new(Cursor::new(bytes.as_slice())),
        };
        Stream::new(inner)
    }
}

/// The decoded bytes of a log; [`Stream::finish`] gives the digest of the stored ones.
pub struct Stream<'a>(Body<'a>, Layout);

enum Body<'a> {
    Parquet(Box<Rows<'a>>),
    Plain(Raw<'a>),
    Gzip(Box<MultiGzDecoder<Raw<'a>>>),
    Zstd(zstd::Decoder<'a, Raw<'a>>),
}

type Raw<'a> = BufReader<Hashing<'a>>;

struct Hashing<'a> {
    inner: Box<dyn Read + 'a>,
    hash: Sha256,
    bytes: u64,
    failed: bool,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf).inspect_err(|e| self.failed |= e.kind() != io::ErrorKind::Interrupted)?;
        self.hash.update(buf.get(..n).unwrap_or_default());
        self.bytes += n as u64;
        Ok(n)
    }
}

impl<'a> Stream<'a> {
    fn plain(inner: Box<dyn Read + 'a>) -> Self {
        let hashing = Hashing { inner, hash: Sha256::new(), bytes: 0, failed: false };
        let mut body = Body::Plain(BufReader::with_capacity(READ_BUFFER_BYTES, hashing));
        let layout = Layout::of(&mut body);
        Self(body, layout)
    }

    fn new(mut inner: Box<dyn Read + 'a>) -> io::Result<Self> {
        // The first bytes are read on their own and put back, because one read may give fewer than the magic has.
        let mut magic = Vec::with_capacity(4);
        inner.by_ref().take(4).read_to_end(&mut magic)?;
        let is_gzip = magic.starts_with(&[0x1f, 0x8b]);
        let is_zstd = magic.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]);
        if magic == parquet::MAGIC {
            return Err(parquet::Fault::Piped.into());
        }
        let inner = Box::new(Cursor::new(magic).chain(inner));
        let raw = BufReader::with_capacity(READ_BUFFER_BYTES, Hashing { inner, hash: Sha256::new(), bytes: 0, failed: false });
        let mut body = if is_gzip {
            Body::Gzip(Box::new(MultiGzDecoder::new(raw)))
        } else if is_zstd {
            Body::Zstd(zstd::Decoder::with_buffer(raw)?)
        } else {
            Body::Plain(raw)
        };
        let layout = Layout::of(&mut body);
        if layout.begins_with(&parquet::MAGIC) {
            return Err(parquet::Fault::Packed.into());
        }
        Ok(Self(body, layout))
    }

    fn rows(file: Box<dyn parquet::Stored + 'a>) -> io::Result<Self> {
        Ok(Self(Body::Parquet(Box::new(Rows::open(file)?)), Layout::lines()))
    }

    /// Whether the lines are made of rows with columns, and no line stands in the file as it is.
    #[must_use]
    pub const fn is_of_rows(&self) -> bool {
        matches!(self.0, Body::Parquet(_))
    }

    /// Whether the lines are what a process wrote to its output, taken out of what a container runtime keeps of it.
    #[must_use]
    pub const fn is_of_container(&self) -> bool {
        self.1.is_of_container()
    }

    /// Whether the bytes are compressed, so that a read error may be damage and not a fault of the machine. A damaged Parquet file is not
    /// read as far as it goes: where its pages lie, nothing tells which of its rows are missing.
    #[must_use]
    pub const fn is_compressed(&self) -> bool {
        matches!(self.0, Body::Gzip(_) | Body::Zstd(_))
    }

    /// Whether reading the stored bytes themselves failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.hashing().is_some_and(|hashing| hashing.failed)
    }

    /// Stored bytes read so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        match &self.0 {
            Body::Parquet(rows) => rows.bytes_read(),
            _ => self.hashing().map_or(0, |hashing| hashing.bytes),
        }
    }

    /// Reads what is left of the stored bytes and gives the digest and number of all of them.
    ///
    /// # Errors
    /// The rest cannot be read.
    pub fn finish(mut self) -> io::Result<(Digest, u64)> {
        let raw: &mut Raw<'a> = match &mut self.0 {
            Body::Parquet(rows) => return rows.finish(),
            Body::Plain(raw) => raw,
            Body::Gzip(gzip) => gzip.get_mut(),
            Body::Zstd(zstd) => zstd.get_mut(),
        };
        io::copy(raw.get_mut(), &mut io::sink())?;
        let hash = std::mem::take(&mut raw.get_mut().hash);
        Ok((Digest::from_bytes(hash.finalize().into()), raw.get_ref().bytes))
    }

    fn hashing(&self) -> Option<&Hashing<'a>> {
        match &self.0 {
            Body::Parquet(_) => None,
            Body::Plain(raw) => Some(raw.get_ref()),
            Body::Gzip(gzip) => Some(gzip.get_ref().get_ref()),
            Body::Zstd(zstd) => Some(zstd.get_ref().get_ref()),
        }
    }
}

impl Read for Stream<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.1.read(&mut self.0, buf)
    }
}

impl Read for Body<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Body::Parquet(rows) => rows.read(buf),
            // A block larger than its buffer goes past it.
            Body::Plain(raw) => raw.read(buf),
            Body::Gzip(gzip) => gzip.read(buf),
            Body::Zstd(zstd) => zstd.read(buf),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn compression_is_recognised_by_content_and_the_stored_bytes_are_hashed() {
        let text = b"one\ntwo\n".repeat(20_000);
        let (a, b) = text.split_at(text.len() / 2);
        let forms = [
            ("plain", text.clone()),
            ("gzip", gzip(&text)),
            ("two gzip members", [gzip(a), gzip(b)].concat()),
            ("zstd", zstd::encode_all(&*text, 1).unwrap()),
            ("two zstd frames", [zstd::encode_all(a, 1).unwrap(), zstd::encode_all(b, 1).unwrap()].concat()),
        ];
        for (name, bytes) in forms {
            let source = LogSource::Memory { name: name.to_owned(), bytes: bytes.clone() };
            let mut stream = source.open().unwrap();
            let mut read = Vec::new();
            stream.read_to_end(&mut read).unwrap();
            assert_eq!(read, text, "{name}");
            assert_eq!(stream.bytes_read(), bytes.len() as u64, "{name}");
            assert_eq!(stream.finish().unwrap(), (Digest::of(&bytes), bytes.len() as u64), "{name}");
        }
    }

    #[test]
    fn short_inputs_are_plain() {
        for bytes in [&b""[..], b"\x1f", b"{}\n"] {
            let source = LogSource::Memory { name: String::new(), bytes: bytes.to_vec() };
            let mut read = Vec::new();
            source.open().unwrap().read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes);
            assert_eq!(source.open().unwrap().finish().unwrap().0, Digest::of(bytes));
        }
    }
}
