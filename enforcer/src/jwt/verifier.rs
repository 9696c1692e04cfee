//! Believes a token, or says in a word why not.
//!
//! INVARIANT: a [`Token::Valid`] has a signature by a key that its issuer published for that algorithm, was in force at the
//! time asked about, and names one of our audiences. Nothing of a token is believed before its signature, except which issuer
//! and key to check it against.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portreeve_engine::Timestamp;
use portreeve_engine::model::Visible;
use portreeve_engine::request::{AttributeValue, Attributes, Claims, Token};
use serde_json::{Map, Value};

use super::json;
use super::jwks::{self, Key};
use super::limits::{JWKS_BYTES_MAX, LEEWAY_MS, TOKEN_BYTES_MAX};
use super::remote::{Missing, RemoteKeys};
use crate::fetch::FetchError;
use crate::files::read_bounded;
use crate::headers::bearer;

/// An issuer whose tokens are believed.
#[derive(Clone, Debug)]
pub struct JwtIssuer {
    /// The exact `iss`.
    pub issuer: String,
    /// Its public keys, a JWK set.
    pub jwks: Jwks,
    /// Audiences that are ours; a token must name one.
    pub audiences: Vec<String>,
}

/// Where a key set comes from.
#[derive(Clone, Debug)]
pub enum Jwks {
    /// A file, read when a verifier is made.
    File(PathBuf),
    /// A URL, fetched while the enforcer runs. Later verifiers share the keys.
    Remote(Arc<RemoteKeys>),
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
    /// Not a usable key set.
    #[error("`{}` is not a usable JWK set: {cause}", path.display())]
    Jwks {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// A key set cannot be fetched, now or ever.
    #[error("the key set of `{issuer}` cannot be fetched: {why}")]
    Fetch {
        /// The issuer.
        issuer: String,
        /// The cause.
        why: FetchError,
    },
    /// An issuer without audiences: every token would be refused.
    #[error("the issuer `{0}` has no audiences")]
    NoAudience(String),
    /// An issuer given twice.
    #[error("the issuer `{0}` is given twice")]
    Repeated(String),
}

/// Checks tokens. Immutable but for keys that are fetched: other files are a new verifier.
#[derive(Clone, Debug)]
pub struct Verifier {
    issuers: BTreeMap<String, Keys>,
}

#[derive(Clone, Debug)]
struct Keys {
    keys: Source,
    audiences: Vec<String>,
}

#[derive(Clone, Debug)]
enum Source {
    Read(BTreeMap<String, Arc<Key>>),
    Remote(Arc<RemoteKeys>),
}

impl Source {
    fn key(&self, kid: &str, now: Timestamp) -> Result<Arc<Key>, Invalid> {
        match self {
            Self::Read(keys) => keys.get(kid).cloned().ok_or(UNKNOWN_KEY),
            Self::Remote(remote) => remote.key(kid, now).map_err(|missing| match missing {
                Missing::Key => UNKNOWN_KEY,
                Missing::Set => KEYS_UNAVAILABLE,
                Missing::Fresh => KEYS_STALE,
            }),
        }
    }
}

/// Why a token is not believed: the word of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Invalid(&'static str);

const MALFORMED: Invalid = Invalid("malformed");
const UNKNOWN_ISSUER: Invalid = Invalid("unknown-issuer");
const UNKNOWN_KEY: Invalid = Invalid("unknown-key");
const KEYS_UNAVAILABLE: Invalid = Invalid("keys-unavailable");
const KEYS_STALE: Invalid = Invalid("keys-stale");
const ALGORITHM: Invalid = Invalid("algorithm");
const SIGNATURE: Invalid = Invalid("signature");
const EXPIRED: Invalid = Invalid("expired");
const NOT_YET_VALID: Invalid = Invalid("not-yet-valid");
const AUDIENCE: Invalid = Invalid("audience");
const CLAIM_TYPE: Invalid = Invalid("claim-type");
const TOO_LARGE: Invalid = Invalid("too-large");
const CRITICAL_HEADER: Invalid = Invalid("critical-header");

impl Verifier {
    /// Reads the key sets of the issuers.
    ///
    /// # Errors
    /// See [`JwtError`].
    pub fn load(issuers: &[JwtIssuer]) -> Result<Self, JwtError> {
        let mut out = BTreeMap::new();
        for issuer in issuers {
            if issuer.audiences.is_empty() {
                return Err(JwtError::NoAudience(issuer.issuer.clone()));
            }
            let keys = match &issuer.jwks {
                Jwks::File(path) => {
                    let bytes = read_bounded(path, JWKS_BYTES_MAX).map_err(|source| JwtError::Read { path: path.clone(), source })?;
                    Source::Read(jwks::read(&bytes).map_err(|cause| JwtError::Jwks { path: path.clone(), cause })?)
                }
                Jwks::Remote(remote) => Source::Remote(Arc::clone(remote)),
            };
            if out.insert(issuer.issuer.clone(), Keys { keys, audiences: issuer.audiences.clone() }).is_some() {
                return Err(JwtError::Repeated(issuer.issuer.clone()));
            }
        }
        Ok(Self { issuers: out })
    }

    /// The token of an `Authorization` header. `None` where no bearer token was sent, and where no issuer is configured: a
    /// service that has its own tokens keeps them to itself, and a policy that asks for claims finds none.
    #[must_use]
    pub fn verify(&self, authorization: Option<&[u8]>, now: Timestamp, visible: &Visible) -> Option<Token> {
        if self.issuers.is_empty() {
            return None;
        }
        let token = bearer(authorization?)?;
        Some(match self.judge(token, now, visible) {
            Ok(claims) => Token::Valid(claims),
            Err(Invalid(why)) => Token::Invalid(why.into()),
        })
    }

    /// The claims of a token that is believed, whole. For the token service alone: policies see what is allow-listed.
    ///
    /// # Errors
    /// Why it is not believed, in a word.
    pub(crate) fn claims(&self, token: &str, now: Timestamp) -> Result<Map<String, Value>, &'static str> {
        let believed = self.believed(token.as_bytes(), now).and_then(|(parts, _)| {
            required_text(&parts.claims, "sub")?;
            Ok(parts.claims)
        });
        believed.map_err(|Invalid(why)| why)
    }

    /// Signature, times and audience are in order.
    fn believed<'a>(&self, token: &'a [u8], now: Timestamp) -> Result<(Parts<'a>, Vec<Box<str>>), Invalid> {
        let parts = Parts::read(token)?;
        let issuer = required_text(&parts.claims, "iss")?;
        let keys = self.issuers.get(issuer).ok_or(UNKNOWN_ISSUER)?;
        parts.check_signature(&keys.keys, now)?;
        check_times(&parts.claims, now)?;
        let aud = audiences(&parts.claims)?;
        if !aud.iter().any(|one| keys.audiences.iter().any(|ours| **ours == **one)) {
            return Err(AUDIENCE);
        }
        Ok((parts, aud))
    }

    fn judge(&self, token: &[u8], now: Timestamp, visible: &Visible) -> Result<Claims, Invalid> {
        let (parts, aud) = self.believed(token, now)?;
        let issuer = required_text(&parts.claims, "iss")?;
        let scope = match parts.claims.get("scope") {
            None => None,
            Some(Value::String(scope)) => Some(scope.as_str().into()),
            Some(_) => return Err(CLAIM_TYPE),
        };
        let sub = required_text(&parts.claims, "sub")?.into();
        Ok(Claims { iss: issuer.into(), sub, aud, scope, other: visible_claims(&parts.claims, visible)? })
    }
}

/// A token taken apart; nothing of it is believed yet.
struct Parts<'a> {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signed: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn read(token: &'a [u8]) -> Result<Self, Invalid> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TOO_LARGE);
        }
        let token = std::str::from_utf8(token).map_err(|_| MALFORMED)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(MALFORMED)?;
        let (header, claims) = signed.split_once('.').ok_or(MALFORMED)?;
        if claims.contains('.') || signature.is_empty() || URL_SAFE_NO_PAD.decode(signature).is_err() {
            return Err(MALFORMED);
        }
        Ok(Self { header: part(header)?, claims: part(claims)?, signed, signature })
    }

    /// The key is the one that the issuer published under the token's `kid`; what else a header may say of keys (`jwk`,
    /// `jku`, `x5c`, …) is never looked at.
    fn check_signature(&self, keys: &Source, now: Timestamp) -> Result<(), Invalid> {
        if self.header.contains_key("crit") {
            return Err(CRITICAL_HEADER);
        }
        let Some(Value::String(algorithm)) = self.header.get("alg") else { return Err(MALFORMED) };
        let kid = match self.header.get("kid") {
            None => return Err(UNKNOWN_KEY),
            Some(Value::String(kid)) => kid,
            Some(_) => return Err(MALFORMED),
        };
        let key = keys.key(kid, now)?;
        let algorithm = key.algorithms.iter().find(|known| jwks::name_of(**known) == *algorithm).ok_or(ALGORITHM)?;
        match jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), &key.key, *algorithm) {
            Ok(true) => Ok(()),
            _ => Err(SIGNATURE),
        }
    }
}

fn part(text: &str) -> Result<Map<String, Value>, Invalid> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| MALFORMED)?;
    json::object(&bytes).ok_or(MALFORMED)
}

/// `exp` must be there; `nbf` and `iat` may be. Of the wrong type they are failed claims, not absent ones (A34).
fn check_times(claims: &Map<String, Value>, now: Timestamp) -> Result<(), Invalid> {
    let exp = numeric_date(claims.get("exp").ok_or(CLAIM_TYPE)?)?;
    let nbf = claims.get("nbf").map(numeric_date).transpose()?;
    claims.get("iat").map(numeric_date).transpose()?;
    if now >= exp.plus_ms(LEEWAY_MS) {
        return Err(EXPIRED);
    }
    if nbf.is_some_and(|nbf| now.plus_ms(LEEWAY_MS) < nbf) {
        return Err(NOT_YET_VALID);
    }
    Ok(())
}

/// Seconds since 1970, whole or not, within the years that can be written.
fn numeric_date(value: &Value) -> Result<Timestamp, Invalid> {
    let Value::Number(number) = value else { return Err(CLAIM_TYPE) };
    let ms = match number.as_i64() {
        Some(seconds) => seconds.checked_mul(1000),
        None => number.as_f64().map(|seconds| seconds * 1000.0).filter(|ms| ms.abs() < DATE_MS_MAX).map(truncated),
    };
    let ms = ms.ok_or(CLAIM_TYPE)?;
    let time = Timestamp::from_unix_ms(ms);
    if time.unix_ms() == ms { Ok(time) } else { Err(CLAIM_TYPE) }
}

#[expect(clippy::cast_possible_truncation, reason = "the caller holds it below 2^53, and the fraction is meant to go")]
fn truncated(ms: f64) -> i64 {
    ms as i64
}

fn required_text<'a>(claims: &'a Map<String, Value>, name: &str) -> Result<&'a str, Invalid> {
    match claims.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        _ => Err(CLAIM_TYPE),
    }
}

fn audiences(claims: &Map<String, Value>) -> Result<Vec<Box<str>>, Invalid> {
    match claims.get("aud") {
        Some(Value::String(one)) => Ok(vec![one.as_str().into()]),
        Some(Value::Array(many)) => texts(many).ok_or(CLAIM_TYPE),
        _ => Err(CLAIM_TYPE),
    }
}

fn texts(values: &[Value]) -> Option<Vec<Box<str>>> {
    values.iter().map(|value| value.as_str().map(Into::into)).collect()
}

/// The allow-listed claims, each of the type that the inventory gives it. The rest is neither judged nor kept (INV-7).
fn visible_claims(claims: &Map<String, Value>, visible: &Visible) -> Result<Attributes, Invalid> {
    let mut out = Attributes::new();
    for (name, expected) in &visible.claims {
        let Some(value) = claims.get(&**name) else { continue };
        let value = match value {
            Value::String(text) => AttributeValue::Text(text.as_str().into()),
            Value::Bool(flag) => AttributeValue::Boolean(*flag),
            Value::Number(number) => AttributeValue::Integer(number.as_i64().ok_or(CLAIM_TYPE)?),
            Value::Array(many) => AttributeValue::List(texts(many).ok_or(CLAIM_TYPE)?),
            Value::Null | Value::Object(_) => return Err(CLAIM_TYPE),
        };
        let value = expected.coerce_claim(&value).map_err(|_| CLAIM_TYPE)?;
        out.insert(name.clone(), value);
    }
    Ok(out)
}

const DATE_MS_MAX: f64 = 9_007_199_254_740_992.0;

#[cfg(test)]
mod wycheproof;
