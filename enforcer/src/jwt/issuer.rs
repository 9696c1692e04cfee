//! A token issuer for development, the demo and tests. Not for production: it has no accounts, no rotation, no audit.

/// Makes tokens with one ES256 key.
#[derive(Debug)]
pub struct Issuer {}

/// Why a token cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The key cannot be made, read or used.
    #[error("cannot use the key: {0}")]
    Key(String),
}

impl Issuer {
    /// With a new key.
    ///
    /// # Errors
    /// [`MintError::Key`].
    pub fn create(issuer: &str) -> Result<Self, MintError> {
        let _ = issuer;
        todo!()
    }

    /// With a key made earlier ([`Issuer::key_pem`]).
    ///
    /// # Errors
    /// [`MintError::Key`].
    pub fn from_pem(issuer: &str, pem: &str) -> Result<Self, MintError> {
        let _ = (issuer, pem);
        todo!()
    }

    /// The private key, PKCS#8 in PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        todo!()
    }

    /// The public key as a JWK set.
    #[must_use]
    pub fn jwks_json(&self) -> String {
        todo!()
    }

    /// A token with these claims; `iss` is set where it is missing.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn mint(&self, claims: &serde_json::Value) -> Result<String, MintError> {
        let _ = claims;
        todo!()
    }
}
