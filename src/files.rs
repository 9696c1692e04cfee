//! Files written whole: a reader sees the old content or the new, never a part of it, whatever breaks in between.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use portreeve_auditor::aside::{self, Aside};

/// Writes `bytes` to `path` by way of a temporary file beside it. A file that is there keeps its mode; a new one gets `mode`.
/// A symbolic link is replaced, not followed.
///
/// # Errors
/// What the file system says; the old file is then as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mode = fs::symlink_metadata(path).ok().filter(|m| m.is_file()).map_or(mode, |m| m.permissions().mode() & 0o7777);
    let mut aside = Aside::begin(path, mode)?;
    // The mask of the process does not count: the mode is that of the file replaced.
    aside.set_mode(mode)?;
    aside.write_all(bytes)?;
    aside.put()?;
    // The new name must outlast a loss of power too; a file system that cannot promise it has still renamed.
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _ = File::open(folder).and_then(|f| f.sync_all());
    Ok(())
}

/// Writes files that are not there yet, and the folders they need: all of them, or none. `written` is told each in the end.
///
/// # Errors
/// The file and what the file system says; what was made is gone again.
pub(crate) fn create_all<'f>(
    dir: &Path,
    files: impl IntoIterator<Item = (&'f str, &'f str)>,
    written: &mut dyn FnMut(&Path),
) -> Result<(), (PathBuf, io::Error)> {
    // Files of a moment, and an interruption that comes now can wait for it.
    let _whole = aside::undisturbed();
    let mut made = Made::default();
    for (name, text) in files {
        let path = dir.join(name);
        made.create(&path, text).map_err(|error| (path, error))?;
    }
    made.files.iter().for_each(|path| written(path));
    made.keep();
    Ok(())
}

/// What was made so far, in that order.
#[derive(Default)]
struct Made {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Made {
    fn create(&mut self, path: &Path, text: &str) -> io::Result<()> {
        let folders: Vec<&Path> =
            path.ancestors().skip(1).take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
        for folder in folders.into_iter().rev() {
            fs::create_dir(folder)?;
            self.folders.push(folder.to_owned());
        }
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        self.files.push(path.to_owned());
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    fn keep(mut self) {
        self.folders.clear();
        self.files.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // The first error is the one to tell; a folder into which somebody else wrote meanwhile stays.
        self.files.iter().for_each(|file| _ = fs::remove_file(file));
        self.folders.iter().rev().for_each(|folder| _ = fs::remove_dir(folder));
    }
}
