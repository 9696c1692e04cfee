//! Keys for signed heads of the decision log.

use std::path::Path;

use rcgen::{KeyPair, PKCS_ED25519};

use super::CaError;
use super::authority::{CERT_MODE, KEY_MODE};
use crate::files::write_new;

/// An Ed25519 key pair: the enforcer keeps the private half, the auditor gets the public one.
#[derive(Clone)]
pub struct HeadKey {
    /// PKCS#8 in PEM.
    pub private_pem: String,
    /// `SubjectPublicKeyInfo` in PEM.
    pub public_pem: String,
}

/// Makes a key pair for signed heads.
///
/// # Errors
/// [`CaError::Make`].
pub fn head_key() -> Result<HeadKey, CaError> {
    let pair = KeyPair::generate_for(&PKCS_ED25519).map_err(CaError::make("key"))?;
    Ok(HeadKey { private_pem: pair.serialize_pem(), public_pem: pair.public_key_pem() })
}

impl HeadKey {
    /// Writes both halves into new files, the private one readable by its owner alone.
    ///
    /// # Errors
    /// [`CaError::Exists`], [`CaError::File`]; nothing is overwritten: a lost key makes earlier heads unverifiable.
    pub fn write(&self, private: &Path, public: &Path) -> Result<(), CaError> {
        if let Some(path) = [private, public].into_iter().find(|path| path.symlink_metadata().is_ok()) {
            return Err(CaError::Exists { path: path.to_owned() });
        }
        write_new(private, self.private_pem.as_bytes(), KEY_MODE).map_err(CaError::file(private))?;
        write_new(public, self.public_pem.as_bytes(), CERT_MODE).map_err(CaError::file(public))
    }
}

impl std::fmt::Debug for HeadKey {
    /// Never shows the private half.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeadKey").field("public_pem", &self.public_pem).finish_non_exhaustive()
    }
}
