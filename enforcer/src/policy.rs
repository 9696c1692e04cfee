//! Takes up a bundle: reads, compiles, and makes sure it is ours.

use std::path::{Path, PathBuf};

use portreeve_engine::{Authorizer, Bundle, Diagnostic, Revision, SpiffeId};

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
    /// Compiling did not end.
    #[error("compiling the bundle `{}` broke off", .0.display())]
    BrokeOff(PathBuf),
}

fn render(diagnostics: &[Diagnostic]) -> String {
    let errors: Vec<_> = diagnostics.iter().filter(|d| d.is_error()).map(Diagnostic::render).collect();
    errors.join("").trim_end().to_owned()
}

/// Reads and compiles the bundle directory `path` for `service`, whose enforcer we are as `own`.
///
/// # Errors
/// See [`PolicyError`].
pub fn load(path: &Path, service: &str, own: &SpiffeId) -> Result<Authorizer, PolicyError> {
    let bundle = Bundle::read_dir(path).map_err(|why| PolicyError::Read { path: path.to_owned(), why: Box::new(why) })?;
    let compiled = Authorizer::compile(&bundle);
    let Some(authorizer) = compiled.authorizer else {
        return Err(PolicyError::Invalid { path: path.to_owned(), diagnostics: compiled.diagnostics });
    };
    belongs(&authorizer, path, service, own)?;
    Ok(authorizer)
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

/// The revision of what lies on the disk, `None` where it cannot be read.
#[must_use]
pub fn revision_on_disk(path: &Path) -> Option<Revision> {
    Bundle::read_dir(path).ok().map(|bundle| bundle.revision)
}
