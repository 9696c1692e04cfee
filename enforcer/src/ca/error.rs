//! Why the authority cannot do what it was asked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve_engine::Timestamp;
use portreeve_engine::id::{SpiffeId, TrustDomain};

use super::limits::{LEAF_LIFETIME_MAX, LEAF_LIFETIME_MIN};

/// Why the authority cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A file cannot be read or written.
    #[error("cannot use `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// There is something already.
    #[error("`{}` exists, and nothing is overwritten", path.display())]
    Exists {
        /// What is there.
        path: PathBuf,
    },
    /// Others can read or write a key.
    #[error("the key file `{}` has mode {mode:03o}: others could use the key; run `chmod 600 {}`", path.display(), path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not what the authority wrote.
    #[error("`{}` is not usable: {cause}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// An id of another trust domain.
    #[error("`{id}` is not of the trust domain `{domain}`")]
    ForeignTrustDomain {
        /// The id.
        id: SpiffeId,
        /// Ours.
        domain: TrustDomain,
    },
    /// An id without a path.
    #[error("`{id}` names a trust domain, not a workload")]
    NotWorkload {
        /// The id.
        id: SpiffeId,
    },
    /// A lifetime out of bounds.
    #[error("a lifetime of {} s is not between {} s and {} s", .0.as_secs(), LEAF_LIFETIME_MIN.as_secs(), LEAF_LIFETIME_MAX.as_secs())]
    Lifetime(Duration),
    /// The issuer does not live long enough.
    #[error("the issuer ends at {not_after}, before the certificate would: renew it, or ask for a shorter lifetime")]
    IssuerEnds {
        /// When the issuer ends.
        not_after: Timestamp,
    },
    /// A name that cannot stand in a certificate.
    #[error("`{0}` cannot stand in a certificate")]
    Name(String),
    /// A change of signer has not ended.
    #[error("a change of signer is under way: end it first with `portreeve ca rotate`")]
    UnderWay,
    /// A change of signer broke off in the middle of a step.
    #[error("a change of signer in `{0}` broke off; the agent finishes it when it starts, and so does `portreeve ca rotate --dir {0}`", dir.display())]
    BrokeOff {
        /// Where the authority is kept.
        dir: PathBuf,
    },
    /// There is no change of signer to go on with.
    #[error("there is no change of signer to go on with")]
    NothingAnnounced,
    /// Not a serial number.
    #[error("`{0}` is not a serial number in hexadecimal")]
    Serial(String),
    /// The crypto library refused.
    #[error("cannot make the {what}: {cause}")]
    Make {
        /// What was being made.
        what: &'static str,
        /// What the library says.
        cause: String,
    },
}

impl CaError {
    pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::File { path: path.to_owned(), source }
    }

    pub(super) fn make<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Make { what, cause: error.to_string() }
    }
}
