//! Takes up a bundle: reads, compiles, and makes sure it is ours.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use portreeve_engine::bundle::manifest::KeyError;
use portreeve_engine::bundle::{ArchiveError, BuiltBundle, BundleVerifier, Demands, Distrust, Label};
use portreeve_engine::{Authorizer, Bundle, Diagnostic, Revision, SpiffeId};

use crate::limits::ARCHIVE_FILE_BYTES_MAX;

/// Why a bundle cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The bundle cannot be read.
    #[error("cannot read the bundle `{}`:\n{}", path.display(), why.render().trim_end())]
    Read {
        /// The bundle.
        path: PathBuf,
        /// The cause.
        why: Box<Diagnostic>,
    },
    /// The bundle is not valid.
    #[error("the bundle `{}` is not valid:\n{}", path.display(), render(diagnostics))]
    Invalid {
        /// The bundle.
        path: PathBuf,
        /// What is wrong.
        diagnostics: Vec<Diagnostic>,
    },
    /// The inventory does not have the service.
    #[error("the bundle `{}` has no service `{service}`", path.display())]
    NoService {
        /// The bundle.
        path: PathBuf,
        /// The service.
        service: String,
    },
    /// Our identity is not one of the service's.
    #[error("`{id}` is not an identity of the service `{service}` in the bundle `{}`", path.display())]
    NotOurs {
        /// The bundle.
        path: PathBuf,
        /// The service.
        service: String,
        /// Our identity.
        id: SpiffeId,
    },
    /// A built bundle, and nothing to verify it with (A75).
    #[error("the bundle `{}` is a file, and no `key` says who must have signed it", .0.display())]
    NoKey(PathBuf),
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
    #[error("the bundle `{}` is refused: {why}", path.display())]
    Archive {
        /// The bundle.
        path: PathBuf,
        /// The cause.
        why: ArchiveError,
    },
    /// The bundle is not signed as it must be, or is a step back.
    #[error("the bundle `{}` is refused: {why}", path.display())]
    Distrusted {
        /// The bundle.
        path: PathBuf,
        /// The cause.
        why: Distrust,
    },
    /// Compiling did not end.
    #[error("compiling the bundle `{}` broke off", .0.display())]
    BrokeOff(PathBuf),
}

fn render(diagnostics: &[Diagnostic]) -> String {
    let errors: Vec<_> = diagnostics.iter().filter(|d| d.is_error()).map(Diagnostic::render).collect();
    errors.join("").trim_end().to_owned()
}

/// Where a bundle lies, and who must have signed it.
#[derive(Clone, Debug)]
pub struct Place {
    /// A directory or, with a key, one built file.
    pub path: PathBuf,
    /// The public key. With it nothing unsigned is taken up, and no step back in serials.
    pub key: Option<PathBuf>,
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

/// Reads, verifies and compiles the bundle for `service`, whose enforcer we are as `own`. `before` is the one in force.
///
/// # Errors
/// See [`PolicyError`].
pub fn load(place: &Place, before: &Standing, service: &str, own: &SpiffeId) -> Result<Taken, PolicyError> {
    let path = &place.path;
    let (bundle, standing) = match &place.key {
        Some(key) => signed(path, key, before)?,
        None if path.is_file() => return Err(PolicyError::NoKey(path.clone())),
        None => (Bundle::read_dir(path).map_err(|why| PolicyError::Read { path: path.clone(), why: Box::new(why) })?, None),
    };
    let compiled = Authorizer::compile(&bundle);
    let Some(authorizer) = compiled.authorizer else {
        return Err(PolicyError::Invalid { path: path.clone(), diagnostics: compiled.diagnostics });
    };
    belongs(&authorizer, path, service, own)?;
    Ok(Taken { authorizer, standing })
}

fn signed(path: &Path, key: &Path, before: &Standing) -> Result<(Bundle, Standing), PolicyError> {
    let file = |path: &Path| {
        let path = path.to_owned();
        move |why| PolicyError::File { path, why }
    };
    let pem = std::fs::read_to_string(key).map_err(file(key))?;
    let verifier = BundleVerifier::from_pem(&pem).map_err(|why| PolicyError::Key { path: key.to_owned(), why })?;
    let bytes = archive_bytes(path).map_err(file(path))?;
    let built =
        BuiltBundle::read(&path.display().to_string(), &bytes).map_err(|why| PolicyError::Archive { path: path.to_owned(), why })?;
    let demands = Demands { after: before.clone(), ..Demands::default() };
    let label = built.verify(&verifier, &demands).map_err(|why| PolicyError::Distrusted { path: path.to_owned(), why })?;
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
pub fn belongs(authorizer: &Authorizer, path: &Path, service: &str, own: &SpiffeId) -> Result<(), PolicyError> {
    if authorizer.service(service).is_none() {
        return Err(PolicyError::NoService { path: path.to_owned(), service: service.to_owned() });
    }
    if authorizer.identify(own).is_none_or(|found| &*found.name != service) {
        return Err(PolicyError::NotOurs { path: path.to_owned(), service: service.to_owned(), id: own.clone() });
    }
    Ok(())
}

/// The revision of what lies on the disk, `None` where it cannot be read. Nothing is verified.
#[must_use]
pub fn revision_on_disk(path: &Path) -> Option<Revision> {
    if path.is_file() {
        return BuiltBundle::read("", &archive_bytes(path).ok()?).ok().map(|built| built.bundle.revision);
    }
    Bundle::read_dir(path).ok().map(|bundle| bundle.revision)
}
