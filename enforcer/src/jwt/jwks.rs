//! A JWK set: public keys by their id, each bound to the algorithms it may be used with (A66e).
//!
//! A set with a symmetric or private key, a key id twice, or a signing key that is weak or contradicts itself is refused
//! whole: it was made by mistake, and a part of a mistake is one too. Keys for other uses and of unknown kinds are left out,
//! as RFC 7517 §5 asks.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

use super::json;
use super::limits::{JWKS_KEYS_MAX, RSA_BITS_MAX, RSA_BITS_MIN};

/// A public key and what it may verify.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) key: DecodingKey,
    pub(super) algorithms: &'static [Algorithm],
}

/// Reads a set.
pub(super) fn read(bytes: &[u8]) -> Result<BTreeMap<String, Arc<Key>>, String> {
    let set = json::object(bytes).ok_or("it is not a JSON object without repeated names")?;
    let keys = set.get("keys").and_then(Value::as_array).ok_or("it has no array `keys`")?;
    if keys.len() > JWKS_KEYS_MAX {
        return Err(format!("it has {} keys; at most {JWKS_KEYS_MAX} are read", keys.len()));
    }
    let mut out = BTreeMap::new();
    for (at, key) in keys.iter().enumerate() {
        let key = key.as_object().ok_or_else(|| format!("key {at} is not an object"))?;
        let Some((kid, key)) = read_key(key).map_err(|why| format!("key {at} {why}"))? else { continue };
        if out.insert(kid.clone(), Arc::new(key)).is_some() {
            return Err(format!("the key id `{kid}` is there twice"));
        }
    }
    if out.is_empty() { Err("it has no key that verifies signatures".to_owned()) } else { Ok(out) }
}

fn read_key(jwk: &Map<String, Value>) -> Result<Option<(String, Key)>, &'static str> {
    let kty = text(jwk, "kty")?.ok_or("has no `kty`")?;
    if kty == "oct" {
        return Err("is symmetric: whoever can check tokens with it can make them");
    }
    if PRIVATE.iter().any(|name| jwk.contains_key(*name)) {
        return Err("is a private key; publish the public half only");
    }
    if text(jwk, "use")?.is_some_and(|used| used != "sig") || !may_verify(jwk)? {
        return Ok(None);
    }
    let (key, possible) = match (kty, text(jwk, "crv")?) {
        ("RSA", _) => (rsa(jwk)?, RSA),
        ("EC", Some("P-256")) => (ec(jwk, 32)?, &[Algorithm::ES256][..]),
        ("EC", Some("P-384")) => (ec(jwk, 48)?, &[Algorithm::ES384][..]),
        ("OKP", Some("Ed25519")) => {
            let x = part(jwk, "x")?;
            if x.len() != 32 {
                return Err("has an `x` that is not 32 bytes");
            }
            (DecodingKey::from_ed_der(&x), &[Algorithm::EdDSA][..])
        }
        _ => return Ok(None),
    };
    let algorithms = match text(jwk, "alg")? {
        None => possible,
        Some(name) => {
            let at = possible.iter().position(|known| name_of(*known) == name);
            at.and_then(|at| possible.get(at..=at)).ok_or("has an `alg` that does not fit its kind")?
        }
    };
    let kid = text(jwk, "kid")?.filter(|kid| !kid.is_empty()).ok_or("has no `kid`")?;
    Ok(Some((kid.to_owned(), Key { key, algorithms })))
}

/// The name of RFC 7518, as headers and keys write it.
pub(super) fn name_of(algorithm: Algorithm) -> String {
    format!("{algorithm:?}")
}

fn may_verify(jwk: &Map<String, Value>) -> Result<bool, &'static str> {
    match jwk.get("key_ops") {
        None => Ok(true),
        Some(Value::Array(operations)) => Ok(operations.iter().any(|operation| operation == "verify")),
        Some(_) => Err("has `key_ops` that are not an array"),
    }
}

fn rsa(jwk: &Map<String, Value>) -> Result<DecodingKey, &'static str> {
    let (n, e) = (part(jwk, "n")?, part(jwk, "e")?);
    let n: Vec<u8> = n.into_iter().skip_while(|byte| *byte == 0).collect();
    let bits = n.first().map_or(0, |first| n.len() * 8 - first.leading_zeros() as usize);
    if !(RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Err("has a modulus of an unacceptable length");
    }
    if is_roca(&n) {
        return Err("has a modulus of the ROCA kind, whose factors can be found");
    }
    // An exponent of 1 makes every number its own signature; an even one is no exponent.
    let exponent = e.iter().try_fold(0_u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)));
    if !exponent.is_some_and(|e| e >= 3 && e % 2 == 1 && e <= u64::from(u32::MAX)) {
        return Err("has an unacceptable exponent");
    }
    Ok(DecodingKey::from_rsa_raw_components(&n, &e))
}

/// Whether a modulus has the mark of CVE-2017-15361: modulo every small prime it is a power of 65537. Others have it by
/// chance about once in 2^27.
fn is_roca(n: &[u8]) -> bool {
    ROCA_PRIMES.iter().all(|prime| {
        let rest = n.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime);
        let mut power = 1;
        (0..*prime).any(|_| {
            power = power * 65_537 % prime;
            power == rest
        })
    })
}

fn ec(jwk: &Map<String, Value>, length: usize) -> Result<DecodingKey, &'static str> {
    let (x, y) = (part(jwk, "x")?, part(jwk, "y")?);
    if x.len() != length || y.len() != length {
        return Err("has coordinates that do not fit its curve");
    }
    let point: Vec<u8> = [&[4][..], &x, &y].concat();
    let scheme = if length == 32 { &ECDSA_P256_SHA256_FIXED } else { &ECDSA_P384_SHA384_FIXED };
    ParsedPublicKey::new(scheme, &point).map_err(|_| "is not a point of its curve")?;
    Ok(DecodingKey::from_ec_der(&point))
}

fn text<'a>(jwk: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, &'static str> {
    match jwk.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err("has a member that is not a text"),
    }
}

fn part(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, &'static str> {
    let text = text(jwk, name)?.ok_or("lacks a part of the public key")?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| "has a part that is not base64url")
}

const RSA: &[Algorithm] = &[Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
/// The odd primes to 167; modulo some of them every number is a power of 65537, which tells nothing and does no harm.
const ROCA_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137,
    139, 149, 151, 157, 163, 167,
];
/// Members that only private keys have (RFC 7518 §6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
