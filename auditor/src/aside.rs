//! Files that are written aside, and come into their place whole: a reader meets the old content or the new, never a part of it.
//!
//! What is not whole yet is hidden beside its place and locked while it is written. It goes whatever ends the attempt: an error takes it
//! away, a signal does by [`stop`], and what a kill or a loss of power left is taken away by whoever writes the same file next, which the
//! lock tells from what somebody else is writing now. An unnamed file would need none of that, but can be linked into a place only where
//! nothing lies yet, so that a report could not take the place of the one before it.
//!
//! INVARIANT: files that were put together come into their places together, as far as a signal is concerned.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::limits::ASIDE_TRIES_MAX;

/// A file that is being written aside. Dropped, it leaves nothing.
#[derive(Debug)]
pub struct Aside {
    hidden: PathBuf,
    place: PathBuf,
    file: File,
}

impl Aside {
    /// Begins a file that is to lie at `place`, and takes away what an attempt at it left that was killed. Its mode is this one, less what the
    /// mask of the process takes.
    ///
    /// # Errors
    /// What the file system says.
    pub fn begin(place: &Path, mode: u32) -> io::Result<Self> {
        clear(place);
        Self::begin_among(place, mode)
    }

    /// The same in a folder of many that goes as a whole, so that nobody need look through it for each of them.
    ///
    /// # Errors
    /// What the file system says.
    pub fn begin_among(place: &Path, mode: u32) -> io::Result<Self> {
        for _ in 0..ASIDE_TRIES_MAX {
            let hidden = hidden(place);
            let mut under_way = under_way();
            let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&hidden)?;
            under_way.insert(hidden.clone());
            drop(under_way);
            let aside = Self { hidden, place: place.to_owned(), file };
            // Some file systems know no locks; there nobody takes away what is not locked, either.
            let _locked_or_not = aside.file.try_lock();
            // Before it was locked, somebody may have taken it for one that was left.
            if is_at(&aside.file, &aside.hidden) {
                return Ok(aside);
            }
        }
        Err(io::Error::other("others take away what is begun"))
    }

    /// Gives it exactly this mode, whatever the mask of the process.
    ///
    /// # Errors
    /// What the file system says.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.file.set_permissions(fs::Permissions::from_mode(mode))
    }

    /// Sends it to the disk and puts it in its place.
    ///
    /// # Errors
    /// What the file system says; what was in its place is still there.
    pub fn put(self) -> io::Result<()> {
        put_all(vec![self]).map_err(|(_, error)| error)
    }
}

impl Write for Aside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let mut under_way = under_way();
        // In its place it is no longer here, and a removal that fails is of no consequence.
        if under_way.remove(&self.hidden) {
            let _gone_or_not = fs::remove_file(&self.hidden);
        }
    }
}

/// Sends files to the disk, and puts all of them in their places once all are there.
///
/// # Errors
/// The place, and what the file system says. Before the first is in its place, none comes there.
pub fn put_all(files: Vec<Aside>) -> Result<(), (PathBuf, io::Error)> {
    for aside in &files {
        aside.file.sync_all().map_err(|error| (aside.place.clone(), error))?;
    }
    let mut under_way = under_way();
    let mut put = Ok(());
    for aside in &files {
        put = fs::rename(&aside.hidden, &aside.place).map_err(|error| (aside.place.clone(), error));
        if put.is_err() {
            break;
        }
        under_way.remove(&aside.hidden);
    }
    // Those that are left take themselves away, for which they need what is held here.
    drop(under_way);
    drop(files);
    put
}

/// Keeps [`stop`] waiting until it is dropped: for work of a moment that must not be left half.
#[must_use]
pub fn undisturbed() -> impl Drop {
    under_way()
}

/// Takes away whatever is being written aside, for a process that is about to end. From here on nothing begins and nothing comes into its
/// place: whoever tries waits for the end.
pub fn stop() {
    let under_way = under_way();
    under_way.iter().for_each(|hidden| _ = fs::remove_file(hidden));
    std::mem::forget(under_way);
}

/// Takes away what was left of attempts at this file. One that is locked is still at work; what cannot be looked at stays.
fn clear(place: &Path) {
    let (Some(name), Ok(entries)) = (place.file_name(), fs::read_dir(folder(place))) else { return };
    for entry in entries.flatten() {
        if is_left_of(&entry.file_name(), name)
            && entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
            && is_at(&file, &entry.path())
        {
            let _gone_or_not = fs::remove_file(entry.path());
        }
    }
}

/// Whether `entry` is a name that [`hidden`] gives for `name`.
fn is_left_of(entry: &OsStr, name: &OsStr) -> bool {
    let inner = |entry: &'_ str| {
        let number = entry.strip_prefix('.')?.strip_prefix(&*name.to_string_lossy())?.strip_prefix('.')?.strip_suffix(".part")?;
        Some(!number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
    };
    entry.to_str().and_then(inner).unwrap_or(false)
}

/// A hidden name in the same folder: the rename stays on one file system, and no bundle takes it for a policy file.
fn hidden(place: &Path) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    place.with_file_name(format!(".{name}.{}-{}.part", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)))
}

fn folder(place: &Path) -> &Path {
    place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn is_at(file: &File, path: &Path) -> bool {
    let of = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().map(of).ok().is_some_and(|one| fs::symlink_metadata(path).map(of).is_ok_and(|other| other == one))
}

/// What this process writes aside. Whoever holds it, holds up the end of the process.
fn under_way() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    static UNDER_WAY: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_left_goes_and_what_is_at_work_stays() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("a.html");
        for name in [".a.html.77.part", ".a.html.78-3.part", ".a.html.old.part", ".b.html.77.part", "a.html.77.part"] {
            fs::write(dir.path().join(name), "half").unwrap();
        }
        let at_work = Aside::begin(&place, 0o644).unwrap();
        let mut other = Aside::begin(&place, 0o644).unwrap();
        assert!(at_work.hidden.exists() && other.hidden.exists());
        other.write_all(b"whole").unwrap();
        other.put().unwrap();
        drop(at_work);
        assert_eq!(names(dir.path()), [".a.html.old.part", ".b.html.77.part", "a.html", "a.html.77.part"]);
        assert_eq!(fs::read(&place).unwrap(), b"whole");
    }

    #[test]
    fn what_cannot_come_into_its_place_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let (taken, free) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir(&taken).unwrap();
        fs::write(taken.join("c"), "").unwrap();
        let files = vec![Aside::begin(&taken, 0o644).unwrap(), Aside::begin(&free, 0o644).unwrap()];
        let (place, _) = put_all(files).unwrap_err();
        assert_eq!(place, taken);
        assert_eq!(names(dir.path()), ["a"]);
    }
}
