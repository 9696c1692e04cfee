//! The last good signed bundle, kept on disk: what a start stands on while its source is away, and what no later bundle may step
//! back behind.
//!
//! INVARIANT: what is kept is the archive as it was signed, replaced whole. It is verified again whenever it is read, so whoever
//! can write here can take it away and cannot change it.

use std::fs::DirBuilder;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use portreeve_engine::Digest;

use crate::config::Source;
use crate::files;
use crate::limits::ARCHIVE_FILE_BYTES_MAX;

/// A place for one bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keep {
    path: PathBuf,
}

impl Keep {
    /// The place in `dir` for the bundle of this source: each source has its own.
    #[must_use]
    pub fn of(dir: &Path, source: &Source) -> Self {
        let name = Digest::of(source.to_string().as_bytes()).hex();
        Self { path: dir.join(format!("bundle-{}.tar.gz", name.get(..16).unwrap_or_default())) }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is kept, if anything is.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn read(&self) -> Result<Option<Vec<u8>>> {
        match files::read_bounded(&self.path, ARCHIVE_FILE_BYTES_MAX) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps this in the place of what was kept.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(&self, bytes: &[u8]) -> Result<()> {
        if let Some(dir) = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        }
        files::replace(&self.path, bytes, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_its_place_and_it_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let under = dir.path().join("a/b");
        let source = |path: &str| Source::File { path: path.into(), key: "k".into() };
        let (one, other) = (Keep::of(&under, &source("one")), Keep::of(&under, &source("other")));
        assert_eq!(one.read().unwrap(), None);
        one.write(b"first").unwrap();
        one.write(b"second").unwrap();
        assert_eq!((one.read().unwrap(), other.read().unwrap()), (Some(b"second".to_vec()), None));
        assert_eq!(std::fs::read_dir(&under).unwrap().count(), 1);
    }
}
