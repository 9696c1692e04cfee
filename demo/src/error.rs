//! Why the town could not be laid out, started or changed.

use std::path::{Path, PathBuf};

use portreeve_enforcer::EnforcerError;
use portreeve_enforcer::ca::CaError;
use portreeve_enforcer::config::ConfigError;
use portreeve_enforcer::jwt::MintError;
use portreeve_enforcer::reload::ReloadError;

/// Why the town could not be laid out, started or changed.
#[derive(Debug, thiserror::Error)]
pub enum TownError {
    /// A file or folder.
    #[error("cannot use `{}`: {why}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// The cause.
        why: std::io::Error,
    },
    /// The authority.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// The token issuer.
    #[error(transparent)]
    Mint(#[from] MintError),
    /// A certificate or key that was just made cannot be read.
    #[error("cannot read the certificate of `{who}`: {why}")]
    Certificate {
        /// Whose.
        who: String,
        /// The cause.
        why: String,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(rustls::Error),
    /// No free port was found.
    #[error("found no free port on 127.0.0.1")]
    NoPort,
    /// A socket.
    #[error("cannot use a socket of `{who}`: {why}")]
    Socket {
        /// Whose.
        who: &'static str,
        /// The cause.
        why: std::io::Error,
    },
    /// A configuration that was just written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A sidecar did not start.
    #[error("the sidecar of `{service}` did not start: {why}")]
    Start {
        /// Whose.
        service: &'static str,
        /// The cause.
        why: Box<EnforcerError>,
    },
    /// A sidecar did not take something up.
    #[error("the sidecar of `{service}` took nothing up: {why}")]
    Reload {
        /// Whose.
        service: &'static str,
        /// The cause.
        why: Box<ReloadError>,
    },
    /// A change that did not show in time.
    #[error("`{service}` does not show {what} in time")]
    NotShown {
        /// Whose sidecar.
        service: &'static str,
        /// What was waited for.
        what: String,
    },
    /// A connection that should have gone on did not.
    #[error("an open connection to `{service}` did not survive the rotation of certificates: {why}")]
    Broken {
        /// To whom.
        service: &'static str,
        /// The cause.
        why: String,
    },
    /// A log has a line that is no record.
    #[error("`{}`: {why}", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The bundle that was just written cannot be read.
    #[error("cannot read the bundle: {0}")]
    Bundle(String),
}

impl TownError {
    /// The error of a file, made where the cause is at hand.
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |why| Self::File { path: path.to_owned(), why }
    }
}
