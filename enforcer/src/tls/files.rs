//! An identity in files: read whole, within bounds, and never with a key that others can read.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use portreeve_engine::id::TrustDomain;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::limits::{CRL_BYTES_MAX, PEM_BYTES_MAX};
use super::{IdentityError, Pair, Trust};
use crate::files::{read_bounded, read_open};

/// Where an identity is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The leaf and its intermediates, PEM, leaf first.
    pub cert: PathBuf,
    /// The private key of the leaf, PEM.
    pub key: PathBuf,
    /// The roots of each trust domain, PEM.
    pub trust: BTreeMap<TrustDomain, PathBuf>,
    /// Revocation lists, PEM. One list or more means that every certificate must be covered by one.
    pub crl: Vec<PathBuf>,
}

impl IdentityFiles {
    /// Our certificate and key.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn pair(&self) -> Result<Pair, IdentityError> {
        let chain: Vec<CertificateDer<'static>> = sections(&self.cert, &read(&self.cert, PEM_BYTES_MAX)?, "CERTIFICATE")?;
        Pair::new(chain, read_key(&self.key)?, &self.cert, &self.key)
    }

    /// The roots and revocation lists.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn trust(&self) -> Result<Trust, IdentityError> {
        let mut trust = Trust::new();
        for (domain, path) in &self.trust {
            for root in sections::<CertificateDer<'static>>(path, &read(path, PEM_BYTES_MAX)?, "CERTIFICATE")? {
                trust.add_root(domain, &root, path)?;
            }
        }
        for path in &self.crl {
            for list in sections::<CertificateRevocationListDer<'static>>(path, &read(path, CRL_BYTES_MAX)?, "X509 CRL")? {
                trust.add_list(&list, path)?;
            }
        }
        Ok(trust)
    }
}

fn read(path: &Path, max: u64) -> Result<Vec<u8>, IdentityError> {
    read_bounded(path, max).map_err(|source| IdentityError::Read { path: path.to_owned(), source })
}

/// All sections of one kind; at least one. A section that cannot be decoded is an error, never left out.
fn sections<T: PemObject>(path: &Path, bytes: &[u8], section: &'static str) -> Result<Vec<T>, IdentityError> {
    let wrong = |cause: String| IdentityError::Pem { path: path.to_owned(), section, cause };
    let all: Vec<T> = T::pem_slice_iter(bytes).collect::<Result<_, _>>().map_err(|e| wrong(e.to_string()))?;
    if all.is_empty() { Err(wrong("there is none".to_owned())) } else { Ok(all) }
}

/// Permissions and bytes are of the same open file, so a swap in between cannot part them.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let unreadable = |source| IdentityError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    // A group may read: orchestrators mount secrets so. Nobody else may, and no group may replace the key.
    if mode & KEY_MODE_REFUSED != 0 {
        return Err(IdentityError::KeyExposed { path: path.to_owned(), mode });
    }
    let bytes = read_open(&file, PEM_BYTES_MAX).map_err(unreadable)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|e| IdentityError::Pem {
        path: path.to_owned(),
        section: "PRIVATE KEY",
        cause: e.to_string(),
    })
}

/// Permission bits that a key file must not have: any for others, write and execute for the group.
const KEY_MODE_REFUSED: u32 = 0o037;
