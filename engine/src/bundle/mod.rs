//! Everything of a policy repo, and its revision.

use std::path::Path;

use crate::diagnostic::Diagnostic;
use crate::digest::Digest;

/// The revision of a bundle: SHA-256 over the sorted list of (path, SHA-256 of the raw bytes) of its policy files.
pub type Revision = Digest;

/// One policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Relative to the bundle, with `/` between parts.
    pub path: String,
    /// Its raw bytes.
    pub bytes: Vec<u8>,
}

/// The policy files of a repo: `*.yaml`, `*.yml`, `*.cedar`, `*.rego`, sorted by path.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// How the user named it.
    pub name: String,
    /// Its files.
    pub files: Vec<SourceFile>,
    /// Its revision.
    pub revision: Revision,
}

impl Bundle {
    /// Makes a bundle of files that were read elsewhere.
    ///
    /// # Errors
    /// No policy file among them, a path twice, or more than the limits allow.
    pub fn from_files(name: impl Into<String>, files: Vec<SourceFile>) -> Result<Self, Diagnostic> {
        let _ = (name.into(), files);
        todo!()
    }

    /// Reads a directory. This is the one place where the engine touches the file system (INV-1).
    ///
    /// # Errors
    /// Something cannot be read; the diagnostic names it.
    pub fn read_dir(dir: &Path) -> Result<Self, Diagnostic> {
        let _ = dir;
        todo!()
    }
}
