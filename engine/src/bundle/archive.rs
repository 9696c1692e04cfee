//! Built bundles: one deterministic `.tar.gz` of policy files, with a manifest and, where signed, a signature beside it.
//!
//! Everything here works on bytes that are at hand; nothing is unpacked to a disk, and nothing is opened. An archive without a
//! manifest (made by plain `tar`) is a bundle too, for those who need no signature. INVARIANT: an archive with a manifest is
//! accepted only in the exact form that [`BuiltBundle::to_bytes`] writes, so that no byte of it is without a meaning.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};

use flate2::Compression;
use flate2::bufread::GzDecoder;
use sha2::{Digest as _, Sha256};

use crate::bundle::manifest::{Manifest, Mismatch, Seal};
use crate::bundle::{Bundle, SourceFile, is_policy_path};
use crate::diagnostic::Diagnostic;
use crate::digest::Digest;
use crate::limits::{ARCHIVE_BYTES_MAX, ARCHIVE_ENTRIES_MAX};

/// A bundle out of one file, or ready to become one.
#[derive(Clone, Debug)]
pub struct BuiltBundle {
    /// The policy files.
    pub bundle: Bundle,
    /// What the bundle is; absent in an archive that plain `tar` made.
    pub manifest: Option<Manifest>,
    /// Who vouches for it.
    pub seal: Option<Seal>,
}

/// Why bytes are not a built bundle.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Not even gzip.
    #[error("it is not a gzip archive")]
    NotGzip,
    /// The compressed stream or the archive in it is broken.
    #[error("the archive is broken: {0}")]
    Broken(io::Error),
    /// More than the limits allow, whatever the headers claim.
    #[error("it holds more than {ARCHIVE_ENTRIES_MAX} entries or {ARCHIVE_BYTES_MAX} bytes")]
    TooLarge,
    /// An entry whose path leads out of the bundle, or is no text.
    #[error("the path of the entry `{0}` does not stay below the bundle")]
    Outside(String),
    /// A link, a device, a sparse file.
    #[error("the entry `{0}` is not a plain file")]
    NotAFile(String),
    /// One path twice: readers would differ about which counts.
    #[error("the entry `{0}` is there twice")]
    Twice(String),
    /// Something after the end of the archive.
    #[error("there are bytes after the end of the archive")]
    Trailing,
    /// A signature, but nothing that says what was signed.
    #[error("it has a signature and no manifest")]
    SealAlone,
    /// The manifest cannot be read.
    #[error("the manifest is broken: {0}")]
    Manifest(String),
    /// The signature file cannot be read.
    #[error("the signature is broken: {0}")]
    Seal(String),
    /// Manifest and files differ.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// Same content, other bytes: order, times, modes or padding are not those that a build writes.
    #[error("the archive is not in the form that `portreeve bundle build` writes")]
    NotCanonical,
    /// The files are not a bundle.
    #[error("{}", .0.message)]
    Bundle(Box<Diagnostic>),
    /// A path that the archive format cannot hold.
    #[error("the path `{0}` is too long for an archive")]
    PathTooLong(String),
}

impl BuiltBundle {
    /// Reads the bytes of a `.tar.gz`. `name` is how the user named it.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn read(name: &str, bytes: &[u8]) -> Result<Self, ArchiveError> {
        let Unpacked { mut entries, stream } = unpack(bytes)?;
        let mut take = |path: &str| entries.iter().position(|e| e.path == path).map(|at| entries.swap_remove(at).bytes);
        let manifest = take(MANIFEST_PATH).map(|b| Manifest::from_json(&b)).transpose().map_err(ArchiveError::Manifest)?;
        let seal = take(SEAL_PATH).map(|b| Seal::from_json(&b)).transpose().map_err(ArchiveError::Seal)?;
        let Some(manifest) = manifest else {
            if seal.is_some() {
                return Err(ArchiveError::SealAlone);
            }
            let bundle = Bundle::from_files(name, entries).map_err(|d| ArchiveError::Bundle(Box::new(d)))?;
            return Ok(Self { bundle, manifest: None, seal: None });
        };
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        manifest.covers(&entries)?;
        let bundle = Bundle::from_files(name, entries).map_err(|d| ArchiveError::Bundle(Box::new(d)))?;
        manifest.is_of(&bundle)?;
        let built = Self { bundle, manifest: Some(manifest), seal };
        let mut hash = HashingWriter(Sha256::new());
        built.write_tar(&mut hash)?;
        let same = Digest::from_bytes(hash.0.finalize().into()) == stream;
        if same && bytes.starts_with(&GZIP_HEADER) { Ok(built) } else { Err(ArchiveError::NotCanonical) }
    }

    /// The bytes of the `.tar.gz`: the same for the same content on every machine (with the same compressor).
    ///
    /// # Errors
    /// A path that is too long, or more than may be read again.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ArchiveError> {
        let bytes: u64 = self.bundle.files.iter().map(|f| f.bytes.len() as u64).sum();
        if bytes > ARCHIVE_BYTES_MAX || self.bundle.files.len() + 2 > ARCHIVE_ENTRIES_MAX {
            return Err(ArchiveError::TooLarge);
        }
        // No name, no time, and the operating system is said to be unknown.
        let mut gzip = flate2::GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::new(6));
        // In one piece: the compressor may cut its blocks by how it is fed.
        let mut tar = Vec::new();
        self.write_tar(&mut tar)?;
        gzip.write_all(&tar).map_err(ArchiveError::Broken)?;
        gzip.finish().map_err(ArchiveError::Broken)
    }

    fn write_tar(&self, out: &mut impl Write) -> Result<(), ArchiveError> {
        let mut tar = tar::Builder::new(out);
        let manifest = self.manifest.as_ref().map(|m| (MANIFEST_PATH, m.to_json()));
        let seal = self.seal.as_ref().map(|s| (SEAL_PATH, s.to_json()));
        for (path, bytes) in manifest.iter().chain(&seal) {
            append(&mut tar, path, bytes)?;
        }
        for file in &self.bundle.files {
            append(&mut tar, &file.path, &file.bytes)?;
        }
        tar.finish().map_err(ArchiveError::Broken)
    }
}

/// One plain file with nothing in its header that could differ between machines.
fn append(tar: &mut tar::Builder<&mut impl Write>, path: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_path(path).map_err(|_| ArchiveError::PathTooLong(path.to_owned()))?;
    header.set_cksum();
    tar.append(&header, bytes).map_err(ArchiveError::Broken)
}

struct Unpacked {
    /// The manifest, the signature, and every other file of an archive that has a manifest; of one that has none, all files.
    entries: Vec<SourceFile>,
    /// Of the uncompressed stream, to its last byte.
    stream: Digest,
}

fn unpack(bytes: &[u8]) -> Result<Unpacked, ArchiveError> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Err(ArchiveError::NotGzip);
    }
    // The reader counts what really comes out, so that no header can claim less.
    let plain = HashingReader { inner: GzDecoder::new(bytes), hasher: Sha256::new() }.take(STREAM_BYTES_MAX);
    let mut archive = tar::Archive::new(plain);
    let read = entries(&mut archive);
    let mut plain = archive.into_inner();
    let entries = match read {
        Err(ArchiveError::Broken(_)) if plain.limit() == 0 => return Err(ArchiveError::TooLarge),
        other => other?,
    };
    let mut chunk = [0; 4096];
    loop {
        let n = plain.read(&mut chunk).map_err(ArchiveError::Broken)?;
        if chunk.iter().take(n).any(|b| *b != 0) {
            return Err(ArchiveError::Trailing);
        }
        if n == 0 {
            break;
        }
    }
    if plain.limit() == 0 {
        return Err(ArchiveError::TooLarge);
    }
    let HashingReader { inner, hasher } = plain.into_inner();
    if !inner.into_inner().is_empty() {
        return Err(ArchiveError::Trailing);
    }
    Ok(Unpacked { entries, stream: Digest::from_bytes(hasher.finalize().into()) })
}

fn entries<R: Read>(archive: &mut tar::Archive<R>) -> Result<Vec<SourceFile>, ArchiveError> {
    let (mut files, mut seen) = (Vec::new(), BTreeSet::new());
    let (mut count, mut total) = (0_usize, 0_u64);
    for entry in archive.entries().map_err(ArchiveError::Broken)? {
        let mut entry = entry.map_err(ArchiveError::Broken)?;
        count += 1;
        total = total.saturating_add(entry.size());
        if count > ARCHIVE_ENTRIES_MAX || total > ARCHIVE_BYTES_MAX {
            return Err(ArchiveError::TooLarge);
        }
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            // `git archive` tells the commit in one.
            continue;
        }
        let raw = entry.path_bytes().into_owned();
        let shown = || String::from_utf8_lossy(&raw).into_owned();
        let path = std::str::from_utf8(&raw).map_err(|_| ArchiveError::Outside(shown()))?;
        let path = path.strip_prefix("./").unwrap_or(path);
        let path = if kind.is_dir() { path.trim_end_matches('/') } else { path };
        let inside = path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains(['\\', '\0']);
        // The folder that was packed may be an entry of its own, `./`.
        let packed = kind.is_dir() && matches!(path, "" | ".");
        if !inside && !packed {
            return Err(ArchiveError::Outside(shown()));
        }
        if kind.is_dir() {
            continue;
        }
        if !kind.is_file() {
            return Err(ArchiveError::NotAFile(shown()));
        }
        if !seen.insert(path.to_owned()) {
            return Err(ArchiveError::Twice(path.to_owned()));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).map_err(ArchiveError::Broken)?;
        files.push(SourceFile { path: path.to_owned(), bytes });
    }
    let has_manifest = files.iter().any(|f| f.path == MANIFEST_PATH);
    // Without a manifest nobody says what belongs: a README beside the policies is only passed over.
    files.retain(|f| has_manifest || f.path == SEAL_PATH || is_policy_path(&f.path));
    Ok(files)
}

struct HashingReader<R> {
    inner: R,
    hasher: Sha256,
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..n).unwrap_or_default());
        Ok(n)
    }
}

struct HashingWriter(Sha256);

impl Write for HashingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hidden, so that it is no policy file: a bundle has the same revision in its folder and in its archive.
const MANIFEST_PATH: &str = ".portreeve/manifest.json";
const SEAL_PATH: &str = ".portreeve/signature.json";

/// Deflate, no flags, no time, default compression, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// What may come out of the compressed stream: the files, a header and padding for each, and the blocks at the end.
const STREAM_BYTES_MAX: u64 = ARCHIVE_BYTES_MAX + 1024 * ARCHIVE_ENTRIES_MAX as u64 + (1 << 20);
