//! Why an identity cannot be taken up: each cause names the file, or the socket, that it came from.

use std::path::PathBuf;

use portreeve_engine::id::SpiffeId;
use portreeve_engine::svid::SvidError;

use super::Refusal;
use super::limits::CHAIN_LENGTH_MAX;

/// Why an identity cannot be taken up. `path` is a file or, for an identity from a Workload API, its socket.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Others can read or write the key.
    #[error("the key file `{}` has mode {mode:03o}: others could use the key; run `chmod 600 {}`", path.display(), path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not the PEM that is needed.
    #[error("`{}` has no usable PEM `{section}`: {cause}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The section looked for.
        section: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// No certificate at all.
    #[error("`{}` has no certificate", path.display())]
    NoCertificate {
        /// Where one was looked for.
        path: PathBuf,
    },
    /// More certificates than a chain may have.
    #[error("`{}` has {count} certificates; a chain has at most {CHAIN_LENGTH_MAX}", path.display())]
    ChainLength {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The key is broken or of an unsupported kind.
    #[error("`{}` has no usable private key: {cause}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What the TLS library says.
        cause: String,
    },
    /// The key is not the leaf's.
    #[error("the key `{}` is not the key of the certificate `{}`", key.display(), cert.display())]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        cert: PathBuf,
    },
    /// The leaf is not an SVID.
    #[error("the certificate `{}` is not an X.509-SVID: {cause}", path.display())]
    Svid {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: SvidError,
    },
    /// A root cannot be used.
    #[error("`{}` has a root that cannot be used: {cause}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// A revocation list cannot be used.
    #[error("`{}` has a revocation list that cannot be used: {cause}", path.display())]
    Crl {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// Peers would refuse our own certificate.
    #[error("the certificate `{}` of `{id}` would be refused: {refusal}", path.display())]
    Own {
        /// The file.
        path: PathBuf,
        /// Our id.
        id: SpiffeId,
        /// Why.
        refusal: Refusal,
    },
    /// The TLS library cannot do what is needed.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

pub(super) fn tls(error: &rustls::Error) -> IdentityError {
    IdentityError::Tls(error.to_string())
}
