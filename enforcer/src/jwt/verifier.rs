//! Believes a token, or says in a word why not.

use std::path::PathBuf;

use portreeve_engine::Timestamp;
use portreeve_engine::model::Visible;
use portreeve_engine::request::Token;

/// An issuer whose tokens are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtIssuer {
    /// The exact `iss`.
    pub issuer: String,
    /// Its public keys, a JWK set.
    pub jwks: PathBuf,
    /// Audiences that are ours; a token must name one.
    pub audiences: Vec<String>,
}

/// Why the issuers cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum JwtError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// Checks tokens. Immutable: new keys are a new verifier.
#[derive(Clone, Debug)]
pub struct Verifier {}

impl Verifier {
    /// Reads the key sets of the issuers.
    ///
    /// # Errors
    /// See [`JwtError`].
    pub fn load(issuers: &[JwtIssuer]) -> Result<Self, JwtError> {
        let _ = issuers;
        todo!()
    }

    /// The token of an `Authorization` header: `None` where there is no bearer token, or where no issuer is configured.
    #[must_use]
    pub fn verify(&self, authorization: Option<&[u8]>, now: Timestamp, visible: &Visible) -> Option<Token> {
        let _ = (authorization, now, visible);
        todo!()
    }
}
