//! Our own certificate and its key, checked to belong together before anything is made of them.
//!
//! INVARIANT: the key of a [`Pair`] is its leaf's (A71), and the leaf is an SVID. Whether peers would accept it is for the
//! roots to say, see [`super::Identity`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use portreeve_engine::{Digest, SpiffeId, Svid, Timestamp};
use rustls::crypto::aws_lc_rs;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::IdentityError;
use super::limits::CHAIN_LENGTH_MAX;

/// A certificate chain and the key of its leaf.
#[derive(Clone)]
pub struct Pair {
    pub(super) svid: Svid,
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) certificate: Arc<SingleCertAndKey>,
    /// The earliest end of a certificate of the chain.
    pub(super) until: Timestamp,
    /// Where the certificate came from, for messages.
    pub(super) place: PathBuf,
}

impl Pair {
    /// Puts a chain, leaf first, and a key together. `cert` and `key_at` are where they came from.
    ///
    /// # Errors
    /// They do not belong together, or the leaf is no SVID.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        cert: &Path,
        key_at: &Path,
    ) -> Result<Self, IdentityError> {
        if chain.len() > CHAIN_LENGTH_MAX {
            return Err(IdentityError::ChainLength { path: cert.to_owned(), count: chain.len() });
        }
        let leaf = chain.first().ok_or_else(|| IdentityError::NoCertificate { path: cert.to_owned() })?;
        let svid = Svid::from_der(leaf).map_err(|cause| IdentityError::Svid { path: cert.to_owned(), cause });
        let key = aws_lc_rs::default_provider().key_provider.load_private_key(key);
        let key = key.map_err(|e| IdentityError::Key { path: key_at.to_owned(), cause: e.to_string() })?;
        let certified = CertifiedKey::new(chain.clone(), key);
        // The library lets a pair pass whose match it cannot tell; here that is no match.
        certified.keys_match().map_err(|_| IdentityError::KeyMismatch { key: key_at.to_owned(), cert: cert.to_owned() })?;
        let svid = svid?;
        let until = super::peer::earliest_end(svid.not_after, chain.iter().skip(1).map(AsRef::as_ref));
        Ok(Self { svid, chain, certificate: Arc::new(SingleCertAndKey::from(certified)), until, place: cert.to_owned() })
    }

    /// Whose it is.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.svid.id
    }

    /// A digest of the chain.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(&self.chain.iter().fold(Vec::new(), |bytes, der| super::trust::chained(bytes, "chain", der)))
    }
}

impl std::fmt::Debug for Pair {
    /// Never shows the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair").field("svid", &self.svid).field("place", &self.place).finish_non_exhaustive()
    }
}
