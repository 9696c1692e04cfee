//! Root, intermediate, leaves and revocation lists.

use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve_engine::Timestamp;
use portreeve_engine::id::{SpiffeId, TrustDomain};

/// How long the authority's own certificates live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaOptions {
    /// The root.
    pub root_lifetime: Duration,
    /// The intermediate.
    pub intermediate_lifetime: Duration,
}

/// An authority: a root and an intermediate in a directory.
#[derive(Debug)]
pub struct Ca {
    dir: PathBuf,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Leaf and intermediate, PEM.
    pub chain_pem: String,
    /// The private key, PKCS#8 in PEM.
    pub key_pem: String,
    /// The leaf's serial number, lower-case hexadecimal.
    pub serial: String,
    /// When it ends.
    pub not_after: Timestamp,
}

/// Anything but an SVID: for tests of verifiers.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// URI names.
    pub uris: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
}

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
}

impl Ca {
    /// Makes an authority in a new or empty directory.
    ///
    /// # Errors
    /// See [`CaError`]; it never overwrites.
    pub fn init(dir: &Path, trust_domain: &TrustDomain, options: CaOptions) -> Result<Self, CaError> {
        let _ = (dir, trust_domain, options);
        todo!()
    }

    /// Opens an authority.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn open(dir: &Path) -> Result<Self, CaError> {
        let _ = dir;
        todo!()
    }

    /// The file with the root certificate: what `identity.trust` names.
    #[must_use]
    pub fn root_path(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// An SVID for a workload.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn issue(&self, id: &SpiffeId, lifetime: Duration, dns: &[String]) -> Result<Issued, CaError> {
        let _ = (id, lifetime, dns);
        todo!()
    }

    /// An SVID for a workload, written as `cert` and `key`, each replaced whole.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn issue_files(&self, id: &SpiffeId, lifetime: Duration, cert: &Path, key: &Path) -> Result<Issued, CaError> {
        let _ = (id, lifetime, cert, key);
        todo!()
    }

    /// Whatever was asked for, however wrong. For tests of verifiers and for the demo's attacks.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn issue_unchecked(&self, request: &IssueRequest) -> Result<Issued, CaError> {
        let _ = request;
        todo!()
    }
}
