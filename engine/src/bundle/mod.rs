//! Everything of a policy repo, and its revision.
//!
//! Reading a directory is the one place where the engine touches the file system (INV-1). What the files say is read by
//! [`declare`], what their names refer to by [`resolve`].

pub mod archive;
pub(crate) mod condition;
pub(crate) mod declare;
pub(crate) mod govern;
pub(crate) mod invariant;
pub mod manifest;
mod matrix;
pub(crate) mod policy;
pub(crate) mod resolve;
mod select;
pub(crate) mod suite;

use std::fs;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::diagnostic::{Diagnostic, Location};
use crate::digest::Digest;
use crate::limits::{BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX, DIAGNOSTICS_MAX, FILE_BYTES_MAX, FOLDER_DEPTH_MAX};

pub use archive::{ArchiveError, BuiltBundle};
pub use manifest::{BundleSigner, BundleVerifier, Demands, Distrust, Label, Manifest, Seal};

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
    /// Makes a bundle of files that were read elsewhere. Files that are not policy are left out.
    ///
    /// # Errors
    /// No policy file among them, a path twice, or more than the limits allow.
    pub fn from_files(name: impl Into<String>, mut files: Vec<SourceFile>) -> Result<Self, Diagnostic> {
        let name = name.into();
        files.retain(|file| is_policy_path(&file.path));
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let twice = files.iter().zip(files.iter().skip(1)).find(|(a, b)| a.path == b.path);
        if let Some((file, _)) = twice {
            return Err(Diagnostic::error("unreadable-bundle", format!("`{}` is in `{name}` twice", file.path)));
        }
        if files.is_empty() {
            return Err(Diagnostic::error("empty-bundle", format!("there is no policy file in `{name}`"))
                .help("a bundle has `*.yaml`, `*.cedar` or `*.rego` files; `portreeve init` makes one"));
        }
        let bytes: usize = files.iter().map(|f| f.bytes.len()).sum();
        if files.len() > BUNDLE_FILES_MAX || bytes > BUNDLE_BYTES_MAX {
            return Err(Diagnostic::error(
                "bundle-too-large",
                format!(
                    "`{name}` has {} files and {bytes} bytes; at most {BUNDLE_FILES_MAX} files and {BUNDLE_BYTES_MAX} bytes are read",
                    files.len()
                ),
            ));
        }
        if let Some(file) = files.iter().find(|f| f.bytes.len() > FILE_BYTES_MAX) {
            return Err(Diagnostic::error(
                "bundle-too-large",
                format!("`{}` has {} bytes; at most {FILE_BYTES_MAX} are read", file.path, file.bytes.len()),
            ));
        }
        let revision = revision(&files);
        Ok(Self { name, files, revision })
    }

    /// Puts diagnostics of this bundle into the form in which they are shown: each with its source line, by file and line, none
    /// twice, no more than are worth reading.
    pub fn arrange(&self, diagnostics: &mut Vec<Diagnostic>) {
        diagnostics.sort_by(|a, b| (&a.location, a.code, &a.message).cmp(&(&b.location, b.code, &b.message)));
        diagnostics.dedup();
        diagnostics.truncate(DIAGNOSTICS_MAX);
        // Only then: to find a line costs as much as the file is long.
        for problem in diagnostics.iter_mut().filter(|d| d.source.is_none()) {
            let file = problem.location.as_ref().and_then(|at| self.files.iter().find(|f| f.path == at.file));
            if let Some(Ok(text)) = file.map(SourceFile::text) {
                *problem = problem.clone().with_source(text);
            }
        }
    }

    /// Reads a directory with all its folders. Hidden files and folders (`.git`, `.github`) are left out.
    ///
    /// # Errors
    /// Something cannot be read; the diagnostic names it.
    pub fn read_dir(dir: &Path) -> Result<Self, Diagnostic> {
        let name = dir.display().to_string();
        if !dir.is_dir() {
            let what = if dir.exists() { "is not a directory" } else { "does not exist" };
            return Err(Diagnostic::error("unreadable-bundle", format!("the bundle `{name}` {what}")));
        }
        let mut files = Vec::new();
        walk(dir, "", 0, &mut files)?;
        Self::from_files(name, files)
    }
}

fn walk(dir: &Path, prefix: &str, depth: usize, out: &mut Vec<SourceFile>) -> Result<(), Diagnostic> {
    let unreadable =
        |path: &Path, error: &std::io::Error| Diagnostic::error("unreadable-bundle", format!("cannot read `{}`: {error}", path.display()));
    if depth > FOLDER_DEPTH_MAX {
        return Err(Diagnostic::error("bundle-too-large", format!("`{}` lies more than {FOLDER_DEPTH_MAX} folders deep", dir.display())));
    }
    for entry in fs::read_dir(dir).map_err(|e| unreadable(dir, &e))? {
        let entry = entry.map_err(|e| unreadable(dir, &e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        let path = entry.path();
        let relative = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        // Links to files are followed (mounted volumes use them); links to folders are not, as they can run in circles.
        let kind = entry.file_type().map_err(|e| unreadable(&path, &e))?;
        if kind.is_dir() {
            walk(&path, &relative, depth + 1, out)?;
        } else if is_policy_path(&relative) {
            let size = fs::metadata(&path).map_err(|e| unreadable(&path, &e))?;
            if size.is_dir() {
                continue;
            }
            if !size.is_file() {
                // A pipe or a device may never end.
                return Err(Diagnostic::error("unreadable-bundle", format!("cannot read `{}`: it is not a plain file", path.display())));
            }
            if size.len() > FILE_BYTES_MAX as u64 || out.len() >= BUNDLE_FILES_MAX {
                return Err(Diagnostic::error(
                    "bundle-too-large",
                    format!("`{relative}` is one file too many or too large ({} bytes)", size.len()),
                ));
            }
            out.push(SourceFile { path: relative, bytes: fs::read(&path).map_err(|e| unreadable(&path, &e))? });
        }
    }
    Ok(())
}

/// The kinds of file that make up a bundle; others, and hidden ones, may lie beside them.
#[must_use]
pub fn is_policy_path(path: &str) -> bool {
    let hidden = path.split('/').any(|part| part.starts_with('.'));
    let known = Path::new(path).extension().and_then(|e| e.to_str()).is_some_and(|e| matches!(e, "yaml" | "yml" | "cedar" | "rego"));
    known && !hidden
}

fn revision(files: &[SourceFile]) -> Revision {
    let mut hasher = Sha256::new();
    for file in files {
        hasher.update(file.path.as_bytes());
        hasher.update([0]);
        hasher.update(Sha256::digest(&file.bytes));
    }
    Digest::from_bytes(hasher.finalize().into())
}

impl SourceFile {
    /// The text of the file.
    ///
    /// # Errors
    /// A diagnostic at the first byte that is not UTF-8.
    pub fn text(&self) -> Result<&str, Diagnostic> {
        std::str::from_utf8(&self.bytes).map_err(|error| {
            let before = self.bytes.get(..error.valid_up_to()).unwrap_or_default();
            let text = std::str::from_utf8(before).unwrap_or_default();
            let line = text.matches('\n').count() + 1;
            let column = text.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            let clamp = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            Diagnostic::error("not-utf8", "the file is not UTF-8 here")
                .at(Location::new(&*self.path, clamp(line), clamp(column)))
                .help("save the file as UTF-8")
        })
    }
}
