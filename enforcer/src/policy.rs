//! Takes up a bundle: reads, compiles, and makes sure it is ours.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use portreeve_engine::bundle::manifest::KeyError;
use portreeve_engine::bundle::{ArchiveError, BuiltBundle, BundleVerifier, Demands, Distrust, Label};
use portreeve_engine::{Authorizer, Bundle, Diagnostic, Revision, SpiffeId};

use crate::config::Source;
use crate::limits::ARCHIVE_FILE_BYTES_MAX;

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
}

/// Reads, verifies and compiles the bundle.
///
/// # Errors
/// See [`PolicyError`].
pub fn load(source: &Source, asked: &Asked<'_>) -> Result<Taken, PolicyError> {
    let (bundle, standing) = match source {
        Source::File { path, key } => {
            let bytes = archive_bytes(path).map_err(|why| PolicyError::File { path: path.clone(), why })?;
            signed(source, &bytes, key, asked.before)?
        }
        Source::Directory(path) if path.is_file() => return Err(PolicyError::NoKey(source.to_string())),
        Source::Directory(path) => {
            let read = Bundle::read_dir(path);
            (read.map_err(|why| PolicyError::Read { bundle: source.to_string(), why: Box::new(why) })?, None)
        }
    };
    if standing.is_none() && asked.only.is_some_and(|only| *only != bundle.revision) {
        return Err(PolicyError::Edited(source.to_string()));
    }
    let compiled = Authorizer::compile(&bundle);
    let Some(authorizer) = compiled.authorizer else {
        return Err(PolicyError::Invalid { bundle: source.to_string(), diagnostics: compiled.diagnostics });
    };
    belongs(&authorizer, source, asked.service, asked.own)?;
    Ok(Taken { authorizer, standing })
}

fn signed(source: &Source, bytes: &[u8], key: &Path, before: &Standing) -> Result<(Bundle, Standing), PolicyError> {
    let bundle = || source.to_string();
    let pem = std::fs::read_to_string(key).map_err(|why| PolicyError::File { path: key.to_owned(), why })?;
    let verifier = BundleVerifier::from_pem(&pem).map_err(|why| PolicyError::Key { path: key.to_owned(), why })?;
    let built = BuiltBundle::read(&bundle(), bytes).map_err(|why| PolicyError::Archive { bundle: bundle(), why })?;
    let demands = Demands { after: before.clone(), ..Demands::default() };
    let label = built.verify(&verifier, &demands).map_err(|why| PolicyError::Distrusted { bundle: bundle(), why })?;
    let revision = built.bundle.revision;
    Ok((built.bundle, Some((label, revision))))
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
        return Err(PolicyError::NoService { bundle: bundle.to_string(), service: service.to_owned() });
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
    }
}
