//! Keys for signed heads of the decision log.

use rcgen::{KeyPair, PKCS_ED25519};

use super::CaError;

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

impl std::fmt::Debug for HeadKey {
    /// Never shows the private half.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HeadKey").field("public_pem", &self.public_pem).finish_non_exhaustive()
    }
}
