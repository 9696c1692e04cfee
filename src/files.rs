//! Files written whole: a reader sees the old content or the new, never a part of it, whatever breaks in between.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Writes `bytes` to `path` by way of a temporary file beside it. A file that is there keeps its mode; a new one gets `mode`.
/// A symbolic link is replaced, not followed.
///
/// # Errors
/// What the file system says; the old file is then as it was.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mode = fs::symlink_metadata(path).ok().filter(|m| m.is_file()).map_or(mode, |m| m.permissions().mode() & 0o7777);
    let beside = beside(path);
    let written = write_new(&beside, bytes, mode).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The first error is the one to tell; the rest of the attempt may be gone already.
        let _ = fs::remove_file(&beside);
        return written;
    }
    // The new name must outlast a loss of power too; a file system that cannot promise it has still renamed.
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let _ = File::open(folder).and_then(|f| f.sync_all());
    Ok(())
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The mask of the process does not count: the mode is that of the file replaced.
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A hidden name in the same folder, so that the rename stays on one file system and no bundle takes it for a policy file.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.new", std::process::id()))
}
