//! Runs `tests/corpus/jwt-wycheproof` against our reading of keys, headers and signatures.
//!
//! Its payloads are words, not claims, so the cases enter where the claims have been set aside. What the corpus calls invalid
//! must be refused without exception. What it calls valid must be accepted, except what we refuse on purpose: each such case
//! is named with its reason.

use std::collections::BTreeMap;

use super::*;

fn accepts(set: &Value, token: &str) -> Result<(), String> {
    let keys = jwks::read(set.to_string().as_bytes())?;
    let (signed, signature) = token.rsplit_once('.').ok_or("no signature")?;
    let (header, payload) = signed.split_once('.').ok_or("no payload")?;
    URL_SAFE_NO_PAD.decode(payload).map_err(|_| "malformed payload")?;
    let header = part(header).map_err(|Invalid(why)| why)?;
    let parts = Parts { header, claims: Map::new(), signed, signature };
    parts.check_signature(&Source::Read(keys), Timestamp::default()).map_err(|Invalid(why)| why.to_owned())
}

/// The key set of a group: its public keys, or the secret one where there is no other.
fn key_set(group: &Value) -> Value {
    let key = ["public", "private", "jwk"].iter().map(|name| &group[*name]).find(|key| key.is_object()).unwrap();
    if key["keys"].is_array() { key.clone() } else { serde_json::json!({ "keys": [key] }) }
}

/// File and group to (accepted, refused though valid, with our words).
fn run(file: &str) -> (usize, BTreeMap<String, usize>) {
    let path = format!("{}/../tests/corpus/jwt-wycheproof/{file}", env!("CARGO_MANIFEST_DIR"));
    let corpus: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let (mut accepted, mut refused, mut count) = (0, BTreeMap::new(), 0);
    for group in corpus["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            count += 1;
            let Some(token) = test["jws"].as_str() else { continue };
            let name = format!("{file} {} {} {}", test["tcId"], group["comment"], test["comment"]);
            let ours = accepts(&key_set(group), token);
            match (test["result"].as_str().unwrap(), ours) {
                ("valid", Ok(())) => accepted += 1,
                ("invalid", Err(_)) => {}
                ("valid", Err(why)) => *refused.entry(format!("{}: {why}", group["comment"])).or_default() += 1,
                (result, ours) => panic!("{name}: {result}, ours: {ours:?}"),
            }
        }
    }
    assert_eq!(count, corpus["numberOfTests"].as_u64().unwrap());
    (accepted, refused)
}

fn check(file: &str, accepted: usize, refused_on_purpose: &[(&str, usize)]) {
    let refused: BTreeMap<String, usize> = refused_on_purpose.iter().map(|(why, count)| ((*why).to_owned(), *count)).collect();
    assert_eq!(run(file), (accepted, refused), "{file}");
}

#[test]
fn signatures() {
    check(
        "json_web_signature_test.json",
        22,
        &[
            ("\"base64\": key 0 is symmetric: whoever can check tokens with it can make them", 6),
            // P-521 keys whose `alg` is the misspelt `ES521`.
            ("\"rfc7520\": it has no key that verifies signatures", 1),
            ("\"rfc7520WithKeyOps\": it has no key that verifies signatures", 1),
            ("\"rfc7520\": key 0 is symmetric: whoever can check tokens with it can make them", 2),
        ],
    );
}

/// Mixed and ambiguous sets, weak keys (exponent one, ROCA), keys for other uses, algorithms that do not fit.
#[test]
fn keys() {
    check(
        "json_web_key_test.json",
        1,
        &[
            ("\"HS256\": key 0 is symmetric: whoever can check tokens with it can make them", 1),
            ("\"HS384\": key 0 is symmetric: whoever can check tokens with it can make them", 1),
            ("\"HS512\": key 0 is symmetric: whoever can check tokens with it can make them", 1),
            ("\"jws_keyset\": key 0 is symmetric: whoever can check tokens with it can make them", 1),
        ],
    );
}

/// Changed signatures, keys of another kind, `none`.
#[test]
fn crypto() {
    check("json_web_crypto_test.json", 0, &[("\"jws_keyset\": key 0 is symmetric: whoever can check tokens with it can make them", 1)]);
}
