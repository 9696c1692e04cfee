//! What is kept of a peer's X.509-SVID. `Svid::from_der` is a pure function of bytes: it checks the SPIFFE rules for a leaf
//! (X509-SVID §4), not the chain, which is the verifier's work.

use crate::digest::Digest;
use crate::id::SpiffeId;
use crate::time::Timestamp;

/// A leaf certificate that obeys the SPIFFE rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Svid {
    /// The one URI SAN.
    pub id: SpiffeId,
    /// Serial number, lower-case hexadecimal without leading zeros.
    pub serial: String,
    /// SHA-256 of the DER.
    pub sha256: Digest,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
}

/// Why a certificate is not an X.509-SVID leaf.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SvidError {
    /// Not a certificate.
    #[error("not an X.509 certificate: {0}")]
    Der(String),
    /// No URI SAN, or more than one (invalid entries count).
    #[error("the certificate has {0} URI names; an X.509-SVID has exactly one")]
    UriCount(usize),
    /// A subject alternative name that cannot be read.
    #[error("the certificate has a subject alternative name that cannot be read")]
    InvalidName,
    /// The URI is not a SPIFFE ID with a path.
    #[error("the URI name is not a workload's SPIFFE ID: {0}")]
    Id(String),
    /// A signing certificate, or wrong key usage.
    #[error("{0}")]
    Usage(&'static str),
}

impl Svid {
    /// Reads a DER certificate and checks the SPIFFE rules for a leaf.
    ///
    /// # Errors
    /// See [`SvidError`].
    pub fn from_der(der: &[u8]) -> Result<Self, SvidError> {
        let _ = der;
        todo!()
    }
}
