//! The file of a decision log: opened, locked, rotated, and never a byte of it deleted here.
//!
//! INVARIANT: what ends in a newline is whole. A write that failed in the middle is cut off before the next one, and a torn tail
//! that another process left is put aside under its own name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use portreeve_engine::record::After;
use portreeve_engine::{Digest, Event, Record};

use super::LogError;
use super::disk::Disk;
use crate::limits;

/// Where lines go.
#[derive(Debug)]
pub(super) enum Out {
    File(LogFile),
    Stdout,
    /// A disk that fails on demand.
    #[cfg(test)]
    Faulty(std::sync::Arc<FaultyDisk>),
}

/// What was written to a disk that fails on demand.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct FaultyDisk {
    pub(super) failing: std::sync::atomic::AtomicBool,
    /// Whoever holds this holds up the disk.
    pub(super) written: std::sync::Mutex<Vec<u8>>,
    pub(super) writes: std::sync::atomic::AtomicUsize,
}

#[cfg(test)]
impl FaultyDisk {
    pub(super) fn append(&self, lines: &[u8]) -> std::io::Result<()> {
        if self.failing.load(std::sync::atomic::Ordering::Acquire) {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.written.lock().unwrap().extend_from_slice(lines);
        self.writes.fetch_add(1, std::sync::atomic::Ordering::AcqRel);
        Ok(())
    }
}

/// A log file held by this process alone.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    /// Bytes known to be whole lines.
    len: u64,
    /// Whether there may be something behind them: a write failed in the middle.
    torn: bool,
    disk: Disk,
    /// Held as long as the process lives; the file itself is renamed at rotation and so cannot carry the lock.
    _lock: File,
}

/// What was found of an earlier process.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) after: Option<After>,
    pub(super) recovered: Option<String>,
}

impl LogFile {
    /// Locks the log, puts what is there aside under its own name, and creates a new file.
    pub(super) fn open(path: &Path, instance: &str) -> Result<(Self, Found), LogError> {
        let fail = |why| LogError::File { path: path.display().to_string(), why };
        let lock = OpenOptions::new().create(true).append(true).mode(0o600).open(beside(path, "lock")).map_err(fail)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(LogError::Locked(path.display().to_string())),
            Err(TryLockError::Error(why)) => return Err(fail(why)),
        }
        let found = if path.exists() { put_aside(path, instance).map_err(fail)? } else { Found::default() };
        let file = create(path).map_err(fail)?;
        Ok((Self { path: path.to_owned(), file, len: 0, torn: false, disk: Disk::default(), _lock: lock }, found))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Appends whole lines in one write, and has them synchronised some time. After a failure the file is as before, or the next call
    /// makes it so; that the disk did not take earlier lines is a failure, too.
    pub(super) fn append(&mut self, lines: &[u8]) -> std::io::Result<()> {
        self.disk.heard()?;
        self.put(lines)?;
        self.disk.wrote(&self.file, lines.len());
        Ok(())
    }

    fn put(&mut self, lines: &[u8]) -> std::io::Result<()> {
        if self.torn {
            self.file.set_len(self.len)?;
        }
        self.torn = true;
        self.file.write_all(lines)?;
        self.torn = false;
        self.len += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// As [`LogFile::append`], and synchronises. After a failure the lines do not count as written: what a disk did not take when
    /// it was told to may be gone from memory too, so they are written once more, and only then is the disk asked again.
    pub(super) fn append_synced(&mut self, lines: &[u8]) -> std::io::Result<()> {
        let before = self.len;
        self.put(lines)?;
        let synced = self.sync();
        if synced.is_err() {
            (self.len, self.torn) = (before, true);
        }
        synced
    }

    /// Waits until everything is on the disk.
    pub(super) fn sync(&mut self) -> std::io::Result<()> {
        self.disk.settle()?;
        self.file.sync_data()
    }

    /// Says for the disk that it did not take what it was asked to.
    #[cfg(test)]
    pub(super) fn refuse_beside(&self) {
        self.disk.refuse();
    }

    /// Has everything go to the disk, without waiting for more than was asked for by the last call.
    pub(super) fn beat(&mut self) -> std::io::Result<()> {
        // Without a thread the disk is waited for here.
        self.disk.beat(&self.file).or_else(|_| self.file.sync_data())
    }

    /// Gives the file the name of the lines in it, and begins a new one. The old one goes to the disk meanwhile.
    pub(super) fn rotate(&mut self, instance: &str, first: u64, last: u64) -> std::io::Result<()> {
        let old = archive_name(&self.path, &format!("{instance}.{first:012}-{last:012}"));
        std::fs::rename(&self.path, &old)?;
        match create(&self.path) {
            Ok(file) => {
                let closed = std::mem::replace(&mut self.file, file);
                (self.len, self.torn) = (0, false);
                self.disk.close(closed, folder_of(&self.path));
                Ok(())
            }
            Err(why) => {
                // Go on in the old file under its old name.
                std::fs::rename(&old, &self.path)?;
                Err(why)
            }
        }
    }
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn create(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create_new(true).append(true).mode(0o600).open(path)
}

/// Reads how the log of an earlier process ends, puts a torn tail aside, and renames the file so that nothing is overwritten.
fn put_aside(path: &Path, instance: &str) -> std::io::Result<Found> {
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    let len = file.metadata()?.len();
    if len == 0 {
        std::fs::remove_file(path)?;
        return Ok(Found::default());
    }
    let mut found = Found::default();
    let (torn, last_line) = tail(&mut file, len)?;
    if !torn.is_empty() {
        // It is no log, so a pattern that takes in all logs (`decisions*.ndjson`) must leave it out.
        let name = path.with_extension(format!("torn-{instance}"));
        let mut aside = create(&name)?;
        aside.write_all(&torn)?;
        aside.sync_all()?;
        file.set_len(len - u64::try_from(torn.len()).unwrap_or(0))?;
        found.recovered = Some(name.file_name().unwrap_or_default().to_string_lossy().into_owned());
    }
    file.seek(SeekFrom::Start(0))?;
    let mut first_line = Vec::new();
    BufReader::new((&file).take(limits::LOG_LINE_BYTES_MAX)).read_until(b'\n', &mut first_line)?;
    let first = Record::from_line(first_line.trim_ascii_end()).ok();
    let last = last_line.as_deref().and_then(|line| Some((Record::from_line(line).ok()?, Digest::of(line))));
    let name = match (first, last) {
        (Some(first), Some((last, head))) => {
            let their = match &first.event {
                Event::Started(started) => started.instance.clone(),
                Event::Continued(continued) => continued.instance.clone(),
                _ => "unknown".to_owned(),
            };
            found.after = Some(After { instance: their.clone(), seq: last.seq, head });
            format!("{}.{:012}-{:012}", safe(&their), first.seq, last.seq)
        }
        _ => format!("unreadable-before-{instance}"),
    };
    let mut target = archive_name(path, &name);
    if target.exists() {
        target = archive_name(path, &format!("{name}-before-{instance}"));
    }
    std::fs::rename(path, target)?;
    Ok(found)
}

/// What follows the last newline, and the last whole line.
pub(super) fn tail(file: &mut File, len: u64) -> std::io::Result<(Vec<u8>, Option<Vec<u8>>)> {
    let from = len.saturating_sub(2 * limits::LOG_LINE_BYTES_MAX);
    file.seek(SeekFrom::Start(from))?;
    let mut end = Vec::new();
    file.take(2 * limits::LOG_LINE_BYTES_MAX).read_to_end(&mut end)?;
    let Some(newline) = end.iter().rposition(|b| *b == b'\n') else { return Ok((end, None)) };
    let torn = end.split_off(newline + 1);
    end.truncate(newline);
    let begin = end.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    Ok((torn, Some(end.split_off(begin))))
}

/// `decisions.ndjson` and `x` become `decisions.x.ndjson`.
fn archive_name(path: &Path, part: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}.{part}{extension}"))
}

fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(extension);
    path.with_file_name(name)
}

/// An instance name read from a file must not lead out of the folder.
fn safe(name: &str) -> String {
    name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect()
}
