//! User tokens: what of them is believed, and why not.
//!
//! The signature is checked by a library; everything around it is checked here, because the library's defaults let too much
//! through (A66). Never: a symmetric key, a default key, a key named by the token itself, a token from anywhere but the
//! `Authorization` header.

mod issuer;
mod json;
mod jwks;
mod limits;
mod remote;
mod verifier;

pub use issuer::{Issuer, MintError};
pub use remote::{Remote, RemoteKeys};
pub use verifier::{Jwks, JwtError, JwtIssuer, Verifier};
