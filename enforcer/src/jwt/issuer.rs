//! A token issuer for development, the demo and tests. Not for production: it has no accounts, no rotation, no audit, and its
//! key lies in a file.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use portreeve_engine::Digest;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

use super::limits::JWKS_BYTES_MAX;
use crate::files::{could_write, read_bounded, replace, write_new};

/// Makes tokens with one ES256 key.
pub struct Issuer {
    issuer: String,
    key: KeyPair,
}

/// Why a token cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The key cannot be made, read or used.
    #[error("cannot use the key: {0}")]
    Key(String),
    /// A file cannot be read or written.
    #[error("cannot use `{}`: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The claims are not a JSON object.
    #[error("the claims are not a JSON object")]
    Claims,
    /// The token cannot be signed.
    #[error("cannot sign the token: {0}")]
    Sign(String),
}

impl Issuer {
    /// With a new key.
    ///
    /// # Errors
    /// [`MintError::Key`].
    pub fn create(issuer: &str) -> Result<Self, MintError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| MintError::Key(e.to_string()))?;
        Ok(Self { issuer: issuer.to_owned(), key })
    }

    /// With a key made earlier ([`Issuer::key_pem`]).
    ///
    /// # Errors
    /// [`MintError::Key`].
    pub fn from_pem(issuer: &str, pem: &str) -> Result<Self, MintError> {
        let key = KeyPair::from_pem_and_sign_algo(pem, &PKCS_ECDSA_P256_SHA256).map_err(|e| MintError::Key(e.to_string()))?;
        Ok(Self { issuer: issuer.to_owned(), key })
    }

    /// With the key in a file.
    ///
    /// # Errors
    /// [`MintError::File`], [`MintError::Key`].
    pub fn open(issuer: &str, key: &Path) -> Result<Self, MintError> {
        let bytes = read_bounded(key, JWKS_BYTES_MAX).map_err(MintError::file(key))?;
        let pem = String::from_utf8(bytes).map_err(|_| MintError::Key(format!("`{}` is not text", key.display())))?;
        Self::from_pem(issuer, &pem)
    }

    /// With the key in a file, which is made if there is none.
    ///
    /// # Errors
    /// [`MintError::File`], [`MintError::Key`].
    pub fn open_or_create(issuer: &str, key: &Path) -> Result<Self, MintError> {
        match Self::open(issuer, key) {
            Err(MintError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                let made = Self::create(issuer)?;
                write_new(key, made.key_pem().as_bytes(), KEY_MODE).map_err(MintError::file(key))?;
                Ok(made)
            }
            opened => opened,
        }
    }

    /// As [`Issuer::open_or_create`] would have it, though a key that is not there is made for this one use and not written.
    ///
    /// # Errors
    /// [`MintError::File`], also where the key could not be written; [`MintError::Key`].
    pub fn open_or_would_create(issuer: &str, key: &Path) -> Result<Self, MintError> {
        match Self::open(issuer, key) {
            Err(MintError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                could_write(key).map_err(MintError::file(key))?;
                Self::create(issuer)
            }
            opened => opened,
        }
    }

    /// Writes the public key as a JWK set; the file is replaced whole.
    ///
    /// # Errors
    /// [`MintError::File`].
    pub fn write_jwks(&self, path: &Path) -> Result<(), MintError> {
        replace(path, format!("{}\n", self.jwks_json()).as_bytes(), JWKS_MODE).map_err(MintError::file(path))
    }

    /// The private key, PKCS#8 in PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The public key as a JWK set.
    #[must_use]
    pub fn jwks_json(&self) -> String {
        // An uncompressed point: 4, then both coordinates of 32 bytes.
        let (_, point) = self.key.public_key_raw().split_at_checked(1).unwrap_or_default();
        let (x, y) = point.split_at_checked(32).unwrap_or_default();
        let key = json!({
            "kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid(),
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        });
        json!({ "keys": [key] }).to_string()
    }

    /// A token with these claims; `iss` is set where it is missing. Nothing else is added and nothing is checked: bad tokens
    /// are made with it too.
    ///
    /// # Errors
    /// [`MintError`].
    pub fn mint(&self, claims: &Value) -> Result<String, MintError> {
        let mut claims = claims.as_object().ok_or(MintError::Claims)?.clone();
        claims.entry("iss").or_insert_with(|| self.issuer.clone().into());
        let header = Header { kid: Some(self.kid()), ..Header::new(Algorithm::ES256) };
        let key = EncodingKey::from_ec_der(self.key.serialized_der());
        jsonwebtoken::encode(&header, &claims, &key).map_err(|e| MintError::Sign(e.to_string()))
    }

    /// Named after the key, so that another key has another name.
    fn kid(&self) -> String {
        Digest::of(self.key.public_key_raw()).hex().chars().take(16).collect()
    }
}

impl MintError {
    fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::File { path: path.to_owned(), source }
    }
}

impl std::fmt::Debug for Issuer {
    /// Never shows the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issuer").field("issuer", &self.issuer).field("kid", &self.kid()).finish_non_exhaustive()
    }
}

const KEY_MODE: u32 = 0o600;
const JWKS_MODE: u32 = 0o644;
