//! `crypto.*`: digests, and message codes under a key. Keys and certificates are not for policies.

use hmac::{Hmac, KeyInit, Mac};
use regorus::Value;
use sha2::Digest;

use super::{Fault, Outcome, Supplied, made, new, text_of};

pub(super) const FUNCTIONS: &[Supplied] = &[
    new("crypto.md5", 1, digest::<md5::Md5>),
    new("crypto.sha1", 1, digest::<sha1::Sha1>),
    new("crypto.sha256", 1, digest::<sha2::Sha256>),
    new("crypto.hmac.md5", 2, code::<Hmac<md5::Md5>>),
    new("crypto.hmac.sha1", 2, code::<Hmac<sha1::Sha1>>),
    new("crypto.hmac.sha256", 2, code::<Hmac<sha2::Sha256>>),
    new("crypto.hmac.sha512", 2, code::<Hmac<sha2::Sha512>>),
    new("crypto.hmac.equal", 2, equal),
];

fn digest<D: Digest>(arguments: &[Value]) -> Outcome {
    made(super::text::hex(D::digest(text_of(arguments, 0)?).as_slice()))
}

fn code<M: Mac + KeyInit>(arguments: &[Value]) -> Outcome {
    let (message, key) = (text_of(arguments, 0)?, text_of(arguments, 1)?);
    let mut mac = <M as KeyInit>::new_from_slice(key.as_bytes()).map_err(|_| Fault("the key has a wrong length".to_owned()))?;
    mac.update(message.as_bytes());
    made(super::text::hex(mac.finalize().into_bytes().as_slice()))
}

/// Looks at every byte, whatever it finds, so that the time does not tell where two codes differ.
fn equal(arguments: &[Value]) -> Outcome {
    let (one, other) = (text_of(arguments, 0)?.as_bytes(), text_of(arguments, 1)?.as_bytes());
    let differing = one.iter().zip(other).fold(0_u8, |sum, (a, b)| sum | (a ^ b));
    Ok(Value::from(one.len() == other.len() && differing == 0))
}
