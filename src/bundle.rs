//! Bundles by the name a user gives: a directory, a built `.tar.gz`, or `REV:PATH` of the enclosing git repository.
//!
//! All three become the same list of (path, bytes), so they have the same revision. Nothing is unpacked to disk.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use portreeve_engine::bundle::{ArchiveError, BuiltBundle, is_policy_path};
use portreeve_engine::{Authorizer, Bundle, Diagnostic, SourceFile, Timestamp};

use crate::diagnostics;
use crate::limits::{BUNDLE_BYTES_MAX, BUNDLE_ENTRIES_MAX};
use crate::outcome::Failure;

/// A bundle that was read, and where its files stand for annotations.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The bundle.
    pub(crate) bundle: Bundle,
    /// What stands before a file's path to name it from the working directory; empty or ending with `/`.
    pub(crate) prefix: String,
}

/// Why a bundle could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// Nothing has this name.
    #[error("there is no bundle `{0}`")]
    Missing(String),
    /// A file that is not an archive.
    #[error("`{0}` is a file, and not a gzip archive")]
    NotAnArchive(String),
    /// The engine's own complaint.
    #[error("{}", .0.message)]
    Engine(Box<Diagnostic>),
    /// A file cannot be read.
    #[error("cannot read `{name}`: {error}")]
    File {
        /// As given.
        name: String,
        /// Why.
        error: io::Error,
    },
    /// The archive is not a bundle.
    #[error("cannot read the built bundle `{name}`: {error}")]
    Archive {
        /// As given.
        name: String,
        /// Why.
        error: ArchiveError,
    },
    /// A link in a git tree: a directory's links are followed, a tree's cannot be, and two revisions would come of it.
    #[error("`{entry}` in `{name}` is a link, which cannot be followed in a git tree")]
    Link {
        /// As given.
        name: String,
        /// The entry's path.
        entry: String,
    },
    /// More than the limits allow.
    #[error("`{0}` holds more than {BUNDLE_ENTRIES_MAX} entries or {BUNDLE_BYTES_MAX} bytes")]
    TooLarge(String),
    /// `git` could not be run.
    #[error("cannot run `git`: {0}")]
    NoGit(io::Error),
    /// `git` said no.
    #[error("git has no folder `{name}`: {why}")]
    Git {
        /// As given.
        name: String,
        /// Its own words.
        why: String,
    },
}

/// Reads a bundle.
///
/// # Errors
/// [`LoadError`].
pub(crate) fn load(name: &str) -> Result<Loaded, LoadError> {
    let path = Path::new(name);
    if path.is_dir() {
        let bundle = Bundle::read_dir(path).map_err(|d| LoadError::Engine(Box::new(d)))?;
        return Ok(Loaded { bundle, prefix: folder_of(name) });
    }
    if path.is_file() {
        return Ok(Loaded { bundle: read_archive(name)?, prefix: folder_of(name) });
    }
    match name.split_once(':') {
        Some((rev, folder)) if !rev.is_empty() => {
            let files = read_git(name, None, rev, folder)?;
            Ok(Loaded { bundle: make(name, files)?, prefix: folder_of(name) })
        }
        _ => Err(LoadError::Missing(name.to_owned())),
    }
}

/// A commit that touched a folder: its id and time, in seconds since 1970.
pub(crate) type Commit = (String, i64);

/// The commits of a repository, along the first parents from where it stands, that touched a folder; the newest first.
///
/// # Errors
/// [`LoadError`].
pub(crate) fn commits(name: &str, repo: &Path, folder: &str) -> Result<Vec<Commit>, LoadError> {
    let folder = if folder.is_empty() { "." } else { folder };
    let listing = git(name, Some(repo), &["log", "--first-parent", "--format=%H %ct", "--end-of-options", "HEAD", "--", folder], &[])?;
    let commit = |line: &str| line.split_once(' ').and_then(|(id, time)| Some((id.to_owned(), time.parse().ok()?)));
    Ok(String::from_utf8_lossy(&listing).lines().filter_map(commit).collect())
}

/// The bundle in a folder of a repository at a commit; `None` where the folder was not there.
///
/// # Errors
/// [`LoadError`].
pub(crate) fn load_commit(name: &str, repo: &Path, commit: &str, folder: &str) -> Result<Option<Bundle>, LoadError> {
    let files = match read_git(name, Some(repo), commit, &format!("./{folder}")) {
        // Git says no to a folder that is not there, and the commit was listed a moment ago.
        Err(LoadError::Git { .. }) => return Ok(None),
        files => files?,
    };
    Ok(Some(make(name, files)?))
}

/// When a built bundle was issued, where it says so.
pub(crate) fn issued_at(path: &Path) -> Option<Timestamp> {
    let bytes = read_archive_file(path).ok()?;
    BuiltBundle::read(&path.to_string_lossy(), &bytes).ok()?.manifest.map(|manifest| manifest.issued_at)
}

/// Reads and compiles a bundle for a verb that needs a valid one. Warnings are left to `check`.
///
/// # Errors
/// The bundle cannot be read or is invalid; its errors are in the failure.
pub(crate) fn authorizer(name: &str) -> Result<Authorizer, Failure> {
    compiled(name, &load(name)?.bundle)
}

/// Compiles a bundle that must be valid.
///
/// # Errors
/// The bundle is invalid; its errors are in the failure.
pub(crate) fn compiled(name: &str, bundle: &Bundle) -> Result<Authorizer, Failure> {
    let compiled = Authorizer::compile(bundle);
    compiled.authorizer.ok_or_else(|| {
        let errors: Vec<_> = compiled.diagnostics.iter().filter(|d| d.is_error()).cloned().collect();
        let mut text = diagnostics::human(&errors);
        text.push_str(&format!("error: the bundle `{name}` is invalid: {}\n", diagnostics::count(&errors)));
        Failure::Told(text)
    })
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match &error {
            LoadError::Engine(diagnostic) => Self::Told(diagnostic.render()),
            LoadError::Missing(_) | LoadError::NotAnArchive(_) => Self::with_help(
                error,
                "give a directory, a built bundle (.tar.gz), or REV:PATH of the enclosing git repository, such as `HEAD~1:policies`",
            ),
            _ => Self::new(error),
        }
    }
}

/// What stands before the paths of a bundle's files, as seen from the root of the repository or from here: the folder that was named, with a
/// slash; nothing before those of an archive.
pub(crate) fn folder_of(name: &str) -> String {
    let path = Path::new(name);
    let folder = match name.split_once(':') {
        _ if path.is_dir() => name,
        _ if path.is_file() => "",
        Some((_, folder)) => folder,
        None => "",
    };
    let folder = folder.trim_start_matches("./").trim_end_matches('/');
    if folder.is_empty() || folder == "." { String::new() } else { format!("{folder}/") }
}

fn make(name: &str, files: Vec<SourceFile>) -> Result<Bundle, LoadError> {
    Bundle::from_files(name, files).map_err(|d| LoadError::Engine(Box::new(d)))
}

/// Bytes and entries taken so far from one bundle.
struct Budget<'n> {
    name: &'n str,
    bytes: u64,
    entries: usize,
}

impl Budget<'_> {
    fn take(&mut self, bytes: u64) -> Result<(), LoadError> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.entries += 1;
        if self.bytes > BUNDLE_BYTES_MAX || self.entries > BUNDLE_ENTRIES_MAX {
            return Err(LoadError::TooLarge(self.name.to_owned()));
        }
        Ok(())
    }
}

/// The bytes of a built bundle; a file that is larger than any archive that may be read is not taken into memory.
///
/// # Errors
/// It cannot be read.
pub(crate) fn read_archive_file(path: &Path) -> Result<Vec<u8>, LoadError> {
    let name = || path.display().to_string();
    let unreadable = |error| LoadError::File { name: name(), error };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(BUNDLE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > BUNDLE_BYTES_MAX {
        return Err(LoadError::TooLarge(name()));
    }
    Ok(bytes)
}

fn read_archive(name: &str) -> Result<Bundle, LoadError> {
    let bytes = read_archive_file(Path::new(name))?;
    match BuiltBundle::read(name, &bytes) {
        Ok(built) => Ok(built.bundle),
        Err(ArchiveError::NotGzip) => Err(LoadError::NotAnArchive(name.to_owned())),
        Err(ArchiveError::Bundle(diagnostic)) => Err(LoadError::Engine(diagnostic)),
        Err(error) => Err(LoadError::Archive { name: name.to_owned(), error }),
    }
}

fn read_git(name: &str, repo: Option<&Path>, rev: &str, folder: &str) -> Result<Vec<SourceFile>, LoadError> {
    // `REV:` followed by nothing is the root of the tree, as git itself has it.
    let folder = match folder.trim_end_matches('/') {
        // To git a single dot is a name; with its slash it is the folder we are in.
        "." => "./",
        folder => folder,
    };
    let tree = git(name, repo, &["rev-parse", "--verify", "--end-of-options", &format!("{rev}:{folder}")], &[])?;
    let tree = String::from_utf8_lossy(&tree).trim().to_owned();
    let listing = git(name, repo, &["ls-tree", "-r", "--full-tree", "-z", "--long", &tree], &[])?;
    let mut budget = Budget { name, bytes: 0, entries: 0 };
    let mut paths = Vec::new();
    let mut wanted = String::new();
    for line in listing.split(|b| *b == 0).filter(|line| !line.is_empty()) {
        let line = String::from_utf8_lossy(line);
        let Some((facts, path)) = line.split_once('\t') else { continue };
        let mut facts = facts.split_ascii_whitespace();
        let (mode, _kind, object, size) = (facts.next(), facts.next(), facts.next(), facts.next());
        let (Some(mode), Some(object), true) = (mode, object, is_policy_path(path)) else { continue };
        if !mode.starts_with("100") {
            return Err(LoadError::Link { name: name.to_owned(), entry: path.to_owned() });
        }
        budget.take(size.and_then(|s| s.parse().ok()).unwrap_or(u64::MAX))?;
        wanted.push_str(object);
        wanted.push('\n');
        paths.push(path.to_owned());
    }
    let batch = git(name, repo, &["cat-file", "--batch"], wanted.as_bytes())?;
    split_batch(name, paths, &batch)
}

/// Cuts the output of `git cat-file --batch` (`<id> <type> <size>\n<bytes>\n`) into files.
fn split_batch(name: &str, paths: Vec<String>, mut batch: &[u8]) -> Result<Vec<SourceFile>, LoadError> {
    let odd = || LoadError::Git { name: name.to_owned(), why: "`git cat-file` gave an answer of an unknown form".to_owned() };
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let end = batch.iter().position(|b| *b == b'\n').ok_or_else(odd)?;
        let (head, rest) = batch.split_at_checked(end).ok_or_else(odd)?;
        let size = std::str::from_utf8(head).ok().and_then(|head| head.rsplit(' ').next()?.parse().ok()).ok_or_else(odd)?;
        let (bytes, rest) = rest.get(1..).and_then(|rest| rest.split_at_checked(size)).ok_or_else(odd)?;
        files.push(SourceFile { path, bytes: bytes.to_vec() });
        batch = rest.get(1..).ok_or_else(odd)?;
    }
    Ok(files)
}

/// Runs `git` without a shell; its messages are kept for ours.
pub(crate) fn git(name: &str, repo: Option<&Path>, args: &[&str], input: &[u8]) -> Result<Vec<u8>, LoadError> {
    let mut child = Command::new("git")
        .args(repo.into_iter().flat_map(|repo| [OsStr::new("-C"), repo.as_os_str()]))
        .args(args)
        .env("GIT_LITERAL_PATHSPECS", "1")
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(LoadError::NoGit)?;
    let output = std::thread::scope(|scope| {
        if let Some(mut stdin) = child.stdin.take() {
            // Written beside the reading, or two full pipes would wait for each other. A git that stops reading says why itself.
            scope.spawn(move || stdin.write_all(input));
        }
        child.wait_with_output()
    });
    let output = output.map_err(LoadError::NoGit)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let words = String::from_utf8_lossy(&output.stderr);
    let why = words.lines().next().unwrap_or_default().trim_start_matches("fatal: ").to_owned();
    Err(LoadError::Git { name: name.to_owned(), why })
}
