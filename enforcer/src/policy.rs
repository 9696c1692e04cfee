//! Takes up a bundle: reads, compiles, and makes sure it is ours.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use portreeve_engine::bundle::manifest::KeyError;
use portreeve_engine::bundle::{ArchiveError, BuiltBundle, BundleVerifier, Demands, Distrust, Label};
use portreeve_engine::diagnostic::nearest;
use portreeve_engine::{Authorizer, Bundle, Diagnostic, Revision, SpiffeId, Timestamp};

use crate::config::Source;
use crate::fetch::FetchError;
use crate::keep::Keep;
use crate::limits::{ARCHIVE_FILE_BYTES_MAX, ISSUE_AHEAD_MS_MAX, KEY_FILE_BYTES_MAX};

/// Why a bundle cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The bundle cannot be read.
    #[error("cannot read the bundle `{bundle}`:\n{}", why.render().trim_end())]
    Read {
        /// The bundle.
        bundle: String,
        /// The cause.
        why: Box<Diagnostic>,
    },
    /// The bundle is not valid.
    #[error("the bundle `{bundle}` is not valid:\n{}", render(diagnostics))]
    Invalid {
        /// The bundle.
        bundle: String,
        /// What is wrong.
        diagnostics: Vec<Diagnostic>,
    },
    /// The inventory does not have the service.
    #[error("the bundle `{bundle}` has no service `{service}`")]
    NoService {
        /// The bundle.
        bundle: String,
        /// The service.
        service: String,
        /// One of it that is written almost so.
        nearest: Option<String>,
    },
    /// Our identity is not one of the service's.
    #[error("`{id}` is not an identity of the service `{service}` in the bundle `{bundle}`")]
    NotOurs {
        /// The bundle.
        bundle: String,
        /// The service.
        service: String,
        /// Our identity.
        id: SpiffeId,
    },
    /// A built bundle, and nothing to verify it with (A75).
    #[error("the bundle `{0}` is a file, and no `key` says who must have signed it")]
    NoKey(String),
    /// A file cannot be read.
    #[error("cannot read `{}`: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: std::io::Error,
    },
    /// The key is none.
    #[error("`{}`: {why}", path.display())]
    Key {
        /// The key's file.
        path: PathBuf,
        /// The cause.
        why: KeyError,
    },
    /// The file is not a built bundle.
    #[error("the bundle `{bundle}` is refused: {why}")]
    Archive {
        /// The bundle.
        bundle: String,
        /// The cause.
        why: ArchiveError,
    },
    /// The bundle is not signed as it must be, or is a step back.
    #[error("the bundle `{bundle}` is refused: {why}")]
    Distrusted {
        /// The bundle.
        bundle: String,
        /// The cause.
        why: Distrust,
    },
    /// The server does not give it.
    #[error("the bundle `{bundle}` cannot be fetched: {why}")]
    Fetch {
        /// The bundle.
        bundle: String,
        /// The cause.
        why: FetchError,
    },
    /// Compiling did not end.
    #[error("compiling the bundle `{0}` broke off")]
    BrokeOff(String),
    /// An unsigned bundle is not what it was when it was put there.
    #[error("the bundle `{0}` was edited in place; it is not taken up until it is replaced or asked for")]
    Edited(String),
}

fn render(diagnostics: &[Diagnostic]) -> String {
    let errors: Vec<_> = diagnostics.iter().filter(|d| d.is_error()).map(Diagnostic::render).collect();
    errors.join("").trim_end().to_owned()
}

/// The label and revision of a signed bundle; of an unsigned one nothing is known that a later one could be held against.
pub type Standing = Option<(Label, Revision)>;

/// A bundle that may be put in force.
#[derive(Debug)]
pub struct Taken {
    /// The compiled bundle.
    pub authorizer: Authorizer,
    /// What its successor is held against.
    pub standing: Standing,
    /// The archive as it was signed, to be kept.
    pub archive: Option<Vec<u8>>,
}

/// What is asked of a bundle.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The service that it must have.
    pub service: &'a str,
    /// The identity that it must know as the service's.
    pub own: &'a SpiffeId,
    /// What a signed one must not step back behind.
    pub before: &'a Standing,
    /// The one revision of an unsigned one that may be taken up, where that is known.
    pub only: Option<&'a Revision>,
    /// Our time: a signed one may not have been issued after it. Without one nothing is asked.
    pub now: Option<Timestamp>,
}

/// Reads, verifies and compiles the bundle; of one on a server, `offered` is what the server gave.
///
/// # Errors
/// See [`PolicyError`].
pub fn load(source: &Source, offered: Option<&[u8]>, asked: &Asked<'_>) -> Result<Taken, PolicyError> {
    match source {
        Source::Directory(path) if path.is_file() => Err(PolicyError::NoKey(source.to_string())),
        Source::Directory(path) => {
            let read = Bundle::read_dir(path);
            let bundle = read.map_err(|why| PolicyError::Read { bundle: source.to_string(), why: Box::new(why) })?;
            if asked.only.is_some_and(|only| *only != bundle.revision) {
                return Err(PolicyError::Edited(source.to_string()));
            }
            Ok(Taken { authorizer: compile(source, &bundle, asked)?, standing: None, archive: None })
        }
        Source::File { path, key } => {
            let bytes = archive_bytes(path).map_err(|why| PolicyError::File { path: path.clone(), why })?;
            signed(source, bytes, key, asked)
        }
        Source::Remote(remote) => signed(source, offered.unwrap_or_default().to_vec(), &remote.key, asked),
    }
}

/// What a start has to stand on.
#[derive(Debug)]
pub struct Begun {
    /// The bundle.
    pub taken: Taken,
    /// Why it is the one that was kept, where it is.
    pub instead_of: Option<PolicyError>,
}

/// The bundle to begin with: the one that is there or, failing that, the last good one that was kept.
///
/// # Errors
/// Why the one that is there is not acceptable, where none was kept that is.
pub fn begin(
    source: &Source,
    keep: Option<&Keep>,
    offered: Result<Option<Bytes>, PolicyError>,
    asked: &Asked<'_>,
) -> Result<Begun, PolicyError> {
    let before = keep.and_then(|keep| kept_standing(source, keep));
    let now = offered.and_then(|bytes| load(source, bytes.as_deref(), &Asked { before: &before, ..*asked }));
    let why = match (now, keep) {
        (Ok(taken), _) => return Ok(Begun { taken, instead_of: None }),
        (Err(why), None) => return Err(why),
        (Err(why), Some(keep)) => (why, keep),
    };
    match kept(source, why.1, asked) {
        Ok(Some(taken)) => Ok(Begun { taken, instead_of: Some(why.0) }),
        Ok(None) | Err(_) => Err(why.0),
    }
}

/// What is kept of a signed bundle, as it stands now: verified, and compiled for us.
///
/// # Errors
/// There is none, or it is not acceptable.
pub fn kept(source: &Source, keep: &Keep, asked: &Asked<'_>) -> Result<Option<Taken>, PolicyError> {
    let read = keep.read().map_err(|why| PolicyError::File { path: keep.path().to_owned(), why })?;
    let Some((bytes, key)) = read.zip(source.key()) else { return Ok(None) };
    signed(source, bytes, key, asked).map(Some)
}

/// The label of what is kept, if it is signed with the key: that it may no longer compile makes no step back acceptable.
#[must_use]
pub fn kept_standing(source: &Source, keep: &Keep) -> Standing {
    let (bytes, key) = keep.read().ok().flatten().zip(source.key())?;
    let (built, label) = verified(source, &bytes, key, &Demands::default()).ok()?;
    Some((label, built.bundle.revision))
}

fn signed(source: &Source, bytes: Vec<u8>, key: &Path, asked: &Asked<'_>) -> Result<Taken, PolicyError> {
    // Before its issue nothing is said about: it is only ever too old later. What is issued after now never would be.
    let issued = asked.now.map(|now| (Timestamp::from_unix_ms(i64::MIN), now.plus_ms(ISSUE_AHEAD_MS_MAX)));
    let demands = Demands { after: asked.before.clone(), issued, ..Demands::default() };
    let (built, mut label) = verified(source, &bytes, key, &demands)?;
    let revision = built.bundle.revision;
    let mut archive = Some(bytes);
    if let Some((before, _)) = asked.before.as_ref().filter(|(b, _)| b.serial == label.serial && b.issued_at > label.issued_at) {
        // The same as it was issued earlier: that makes what is in force no older.
        label.issued_at = before.issued_at;
        archive = None;
    }
    let authorizer = compile(source, &built.bundle, asked)?;
    Ok(Taken { authorizer, standing: Some((label, revision)), archive })
}

fn verified(source: &Source, bytes: &[u8], key: &Path, demands: &Demands) -> Result<(BuiltBundle, Label), PolicyError> {
    let bundle = || source.to_string();
    let pem = crate::files::read_text(key, KEY_FILE_BYTES_MAX).map_err(|why| PolicyError::File { path: key.to_owned(), why })?;
    let verifier = BundleVerifier::from_pem(&pem).map_err(|why| PolicyError::Key { path: key.to_owned(), why })?;
    let built = BuiltBundle::read(&bundle(), bytes).map_err(|why| PolicyError::Archive { bundle: bundle(), why })?;
    let label = built.verify(&verifier, demands).map_err(|why| PolicyError::Distrusted { bundle: bundle(), why })?;
    Ok((built, label))
}

fn compile(source: &Source, bundle: &Bundle, asked: &Asked<'_>) -> Result<Authorizer, PolicyError> {
    let compiled = Authorizer::compile(bundle);
    let Some(authorizer) = compiled.authorizer else {
        return Err(PolicyError::Invalid { bundle: source.to_string(), diagnostics: compiled.diagnostics });
    };
    belongs(&authorizer, source, asked.service, asked.own)?;
    Ok(authorizer)
}

/// A file that is no archive of any acceptable size is not taken into memory whole.
fn archive_bytes(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(ARCHIVE_FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Makes sure that the inventory has the service and that `own` is one of its identities.
///
/// # Errors
/// [`PolicyError::NoService`], [`PolicyError::NotOurs`].
pub fn belongs(authorizer: &Authorizer, bundle: &dyn fmt::Display, service: &str, own: &SpiffeId) -> Result<(), PolicyError> {
    if authorizer.service(service).is_none() {
        let known = authorizer.services().iter().filter(|s| !s.is_outside()).map(|s| &*s.name);
        let nearest = nearest(service, known).map(str::to_owned);
        return Err(PolicyError::NoService { bundle: bundle.to_string(), service: service.to_owned(), nearest });
    }
    if authorizer.identify(own).is_none_or(|found| &*found.name != service) {
        return Err(PolicyError::NotOurs { bundle: bundle.to_string(), service: service.to_owned(), id: own.clone() });
    }
    Ok(())
}

/// The revision of what lies on the disk, `None` where it cannot be read. Nothing is verified.
#[must_use]
pub fn revision_on_disk(source: &Source) -> Option<Revision> {
    match source {
        Source::Directory(path) => Bundle::read_dir(path).ok().map(|bundle| bundle.revision),
        Source::File { path, .. } => BuiltBundle::read("", &archive_bytes(path).ok()?).ok().map(|built| built.bundle.revision),
        Source::Remote(_) => None,
    }
}
