//! Where the policy comes from.

use std::fmt;
use std::path::{Path, PathBuf};

use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;

/// The bundle: where it lies and who must have signed it.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Where.
    pub source: Source,
}

/// Where a bundle comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory, unsigned: whoever can write it decides.
    Directory(PathBuf),
    /// One built file, signed.
    File {
        /// The file.
        path: PathBuf,
        /// The public key. Nothing unsigned is taken up, and no step back in serials.
        key: PathBuf,
    },
}

impl Source {
    /// Where it lies on this machine, if it does.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) | Self::File { path, .. } => Some(path),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) | Self::File { path, .. } => write!(f, "{}", path.display()),
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn bundle(&mut self, node: &'a Node) -> Option<Bundle> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        for name in ["url", "poll", "max_age"] {
            if f.take(name).is_some() {
                self.fault(
                    f.key(name).unwrap_or(node),
                    "unsupported",
                    &format!("`bundle.{name}` is not supported yet"),
                    "give a directory: `bundle: {path: …}`, or a signed file: `bundle: {path: …, key: …}`",
                );
            }
        }
        let path = f.require_text("path", &mut self.out).map(|t| self.base.join(t.text));
        let key = f.text("key", &mut self.out).map(|t| self.base.join(t.text));
        f.finish(&mut self.out);
        let source = match (path?, key) {
            (path, Some(key)) => Source::File { path, key },
            (path, None) => Source::Directory(path),
        };
        Some(Bundle { source })
    }
}
