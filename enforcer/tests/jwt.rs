//! Tokens with real keys: what is believed, and the word for what is not (A16, A34, A66).

#![cfg(test)]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use portreeve_enforcer::jwt::{Issuer, Jwks, JwtError, JwtIssuer, Verifier};
use portreeve_engine::Timestamp;
use portreeve_engine::model::{AttributeType, Visible};
use portreeve_engine::request::{AttributeValue, Token};
use serde_json::{Value, json};

const IDP: &str = "https://idp.market.example";
const NOW: i64 = 1_795_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_unix_ms(seconds * 1000)
}

fn load(jwks: &str) -> Result<Verifier, JwtError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    std::fs::write(&path, jwks).unwrap();
    Verifier::load(&[JwtIssuer { issuer: IDP.to_owned(), jwks: Jwks::File(path), audiences: vec!["items".to_owned(), "shop".to_owned()] }])
}

fn claims() -> Value {
    json!({"iss": IDP, "sub": "ann", "aud": "items", "exp": NOW + 60, "scope": "items:read items:write"})
}

fn with(mut changes: Value) -> Value {
    let mut out = claims();
    out.as_object_mut().unwrap().append(changes.as_object_mut().unwrap());
    out
}

fn without(name: &str) -> Value {
    let mut out = claims();
    out.as_object_mut().unwrap().remove(name);
    out
}

fn visible(claims: &[(&str, AttributeType)]) -> Visible {
    Visible { claims: claims.iter().map(|(name, kind)| ((*name).into(), *kind)).collect(), ..Visible::default() }
}

fn ask(verifier: &Verifier, token: &str, visible: &Visible) -> Token {
    verifier.verify(Some(format!("Bearer {token}").as_bytes()), at(NOW), visible).unwrap()
}

fn invalid(token: Token) -> String {
    match token {
        Token::Invalid(why) => why.into(),
        Token::Valid(claims) => panic!("believed: {claims:?}"),
    }
}

fn encode(value: &Value) -> String {
    B64.encode(value.to_string())
}

/// Three real keys, and their set.
struct Keys {
    ec: EcdsaKeyPair,
    rsa: RsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Keys {
    fn new() -> Self {
        let rng = SystemRandom::new();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &rng).unwrap();
        let ed = Ed25519KeyPair::generate_pkcs8(&rng).unwrap();
        Self {
            ec: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref()).unwrap(),
            rsa: RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap(),
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
        }
    }

    fn jwk(&self, kid: &str) -> Value {
        match kid {
            "ec" => {
                let point = self.ec.public_key().as_ref();
                json!({"kid": "ec", "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
                       "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..])})
            }
            "rsa" => json!({"kid": "rsa", "kty": "RSA", "alg": "RS256", "key_ops": ["verify"],
                            "n": B64.encode(self.rsa.public_key().modulus().big_endian_without_leading_zero()),
                            "e": B64.encode(self.rsa.public_key().exponent().big_endian_without_leading_zero())}),
            _ => json!({"kid": "ed", "kty": "OKP", "crv": "Ed25519", "x": B64.encode(self.ed.public_key().as_ref())}),
        }
    }

    fn jwks(&self) -> String {
        json!({"keys": [self.jwk("ec"), self.jwk("rsa"), self.jwk("ed")]}).to_string()
    }

    /// A token over these raw header and claim texts, signed by the algorithm.
    fn sign_raw(&self, algorithm: &str, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", B64.encode(header), B64.encode(claims));
        let bytes = message.as_bytes();
        let rng = SystemRandom::new();
        let signature = match algorithm {
            "ES256" => self.ec.sign(&rng, bytes).unwrap().as_ref().to_vec(),
            "EdDSA" => self.ed.sign(bytes).as_ref().to_vec(),
            rsa => {
                let mut out = vec![0; self.rsa.public_modulus_len()];
                let padding: &dyn aws_lc_rs::signature::RsaEncoding =
                    if rsa == "RS256" { &aws_lc_rs::signature::RSA_PKCS1_SHA256 } else { &aws_lc_rs::signature::RSA_PSS_SHA256 };
                self.rsa.sign(padding, &rng, bytes, &mut out).unwrap();
                out
            }
        };
        format!("{message}.{}", B64.encode(signature))
    }

    fn sign(&self, algorithm: &str, kid: &str, claims: &Value) -> String {
        self.sign_raw(algorithm, &json!({"alg": algorithm, "kid": kid, "typ": "JWT"}).to_string(), &claims.to_string())
    }
}

#[test]
fn good_tokens_of_three_kinds_of_keys() {
    let keys = Keys::new();
    let verifier = load(&keys.jwks()).unwrap();
    for (algorithm, kid) in [("ES256", "ec"), ("RS256", "rsa"), ("EdDSA", "ed")] {
        match ask(&verifier, &keys.sign(algorithm, kid, &claims()), &Visible::default()) {
            Token::Valid(claims) => {
                assert_eq!((&*claims.iss, &*claims.sub, claims.aud.len()), (IDP, "ann", 1), "{algorithm}");
                assert_eq!(claims.scopes().collect::<Vec<_>>(), ["items:read", "items:write"]);
                assert!(claims.other.is_empty());
            }
            Token::Invalid(why) => panic!("{algorithm}: {why}"),
        }
    }
    // Without an `alg` of its own an RSA key may be used with PSS too; with one it may not.
    let mut jwk = keys.jwk("rsa");
    jwk.as_object_mut().unwrap().remove("alg");
    let open = load(&json!({"keys": [jwk]}).to_string()).unwrap();
    let pss = keys.sign("PS256", "rsa", &claims());
    assert!(matches!(ask(&open, &pss, &Visible::default()), Token::Valid(_)));
    assert_eq!(invalid(ask(&verifier, &pss, &Visible::default())), "algorithm", "A66e");
}

#[test]
fn claims_that_fail_have_their_word() {
    let keys = Keys::new();
    let verifier = load(&keys.jwks()).unwrap();
    for (claims, word) in [
        (with(json!({"exp": NOW - 31})), "expired"),
        (with(json!({"exp": NOW - 30})), "expired"),
        (with(json!({"nbf": NOW + 31})), "not-yet-valid"),
        (with(json!({"aud": "users"})), "audience"),
        (with(json!({"aud": ["users", "Items"]})), "audience"),
        (with(json!({"aud": []})), "audience"),
        (with(json!({"iss": "https://evil.example"})), "unknown-issuer"),
        (with(json!({"iss": format!("{IDP}/")})), "unknown-issuer"),
        // A34: a wrong type is a failed claim, not an absent one.
        (with(json!({"exp": "soon"})), "claim-type"),
        (with(json!({"exp": null})), "claim-type"),
        (with(json!({"exp": i64::MAX})), "claim-type"),
        (with(json!({"exp": 1e300})), "claim-type"),
        (with(json!({"nbf": []})), "claim-type"),
        (with(json!({"nbf": (NOW - 10).to_string()})), "claim-type"),
        (with(json!({"iat": "now"})), "claim-type"),
        // A66b, A66c.
        (without("exp"), "claim-type"),
        (without("iss"), "claim-type"),
        (without("aud"), "claim-type"),
        (without("sub"), "claim-type"),
        (with(json!({"iss": [IDP]})), "claim-type"),
        (with(json!({"iss": [IDP, "x"]})), "claim-type"),
        (with(json!({"sub": 7})), "claim-type"),
        (with(json!({"sub": ""})), "claim-type"),
        (with(json!({"aud": 7})), "claim-type"),
        (with(json!({"aud": ["items", 7]})), "claim-type"),
        (with(json!({"aud": {"items": true}})), "claim-type"),
        (with(json!({"scope": ["items:read"]})), "claim-type"),
    ] {
        let token = keys.sign("ES256", "ec", &claims);
        assert_eq!(invalid(ask(&verifier, &token, &Visible::default())), word, "{claims}");
    }
    for good in [
        with(json!({"exp": NOW - 29})),
        with(json!({"exp": NOW as f64 + 0.5})),
        with(json!({"nbf": NOW + 30})),
        with(json!({"aud": ["users", "shop"]})),
        without("scope"),
    ] {
        assert!(matches!(ask(&verifier, &keys.sign("ES256", "ec", &good), &Visible::default()), Token::Valid(_)), "{good}");
    }
}

#[test]
fn headers_and_signatures_that_fail_have_their_word() {
    let keys = Keys::new();
    let verifier = load(&keys.jwks()).unwrap();
    let body = claims().to_string();
    let good = keys.sign("ES256", "ec", &claims());
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (_, payload) = signed.split_once('.').unwrap();
    let ask = |token: &str| invalid(ask(&verifier, token, &Visible::default()));
    // A66d: `crit`, whatever it names.
    for crit in [json!(["exp"]), json!([]), json!("b64")] {
        let header = json!({"alg": "ES256", "kid": "ec", "crit": crit}).to_string();
        assert_eq!(ask(&keys.sign_raw("ES256", &header, &body)), "critical-header");
    }
    // A66e: none, symmetric with the public key as secret, another algorithm than the key's.
    let none = format!("{}.{payload}.", encode(&json!({"alg": "none", "kid": "ec"})));
    assert_eq!(ask(&none), "malformed");
    assert_eq!(ask(&format!("{none}AAAA")), "algorithm");
    let message = format!("{}.{payload}", encode(&json!({"alg": "HS256", "kid": "ec"})));
    let secret = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, keys.ec.public_key().as_ref());
    let tag = aws_lc_rs::hmac::sign(&secret, message.as_bytes());
    assert_eq!(ask(&format!("{message}.{}", B64.encode(tag.as_ref()))), "algorithm");
    for (algorithm, kid) in [("RS256", "ec"), ("ES256", "rsa"), ("ES256", "ed")] {
        assert_eq!(ask(&keys.sign(algorithm, kid, &claims())), "algorithm");
    }
    // Keys that nobody published, and a key that the token brings along.
    assert_eq!(ask(&keys.sign("ES256", "other", &claims())), "unknown-key", "A07");
    let own = json!({"alg": "ES256", "jwk": keys.jwk("ec")}).to_string();
    assert_eq!(ask(&keys.sign_raw("ES256", &own, &body)), "unknown-key");
    // Signatures: another key's, another payload's, changed, cut.
    assert_eq!(ask(&Keys::new().sign("ES256", "ec", &claims())), "signature");
    assert_eq!(ask(&Keys::new().sign("RS256", "rsa", &claims())), "signature");
    let other = encode(&with(json!({"sub": "bob"})));
    assert_eq!(ask(&format!("{}.{other}.{signature}", signed.split_once('.').unwrap().0)), "signature");
    let bytes = B64.decode(signature).unwrap();
    assert_eq!(ask(&format!("{signed}.{}", B64.encode(&bytes[..bytes.len() - 1]))), "signature");
    // Not a token at all.
    for text in
        ["", "x", "a.b", "a.b.c", "..", "a.b.c.d", &format!("{good}.x"), &format!("{good}="), &good.replace('.', ".."), "\u{fc}.b.c"]
    {
        assert_eq!(ask(text), "malformed", "{text}");
    }
    assert_eq!(ask(&keys.sign_raw("ES256", r#"{"alg":7,"kid":"ec"}"#, &body)), "malformed");
    assert_eq!(ask(&keys.sign_raw("ES256", r#"{"alg":"ES256","kid":7}"#, &body)), "malformed");
}

#[test]
fn repeated_deep_and_large_tokens() {
    let keys = Keys::new();
    let verifier = load(&keys.jwks()).unwrap();
    let ask = |header: &str, body: &str| invalid(ask(&verifier, &keys.sign_raw("ES256", header, body), &Visible::default()));
    let header = r#"{"alg":"ES256","kid":"ec"}"#;
    let body = claims().to_string();
    let twice = body.replacen('{', r#"{"sub":"root","#, 1);
    assert_eq!(ask(header, &twice), "malformed", "A66f: `sub` twice");
    assert_eq!(ask(r#"{"alg":"none","alg":"ES256","kid":"ec"}"#, &body), "malformed", "A66f: `alg` twice");
    let deep = body.replacen('{', &format!(r#"{{"x":{}{},"#, "[".repeat(20), "]".repeat(20)), 1);
    assert_eq!(ask(header, &deep), "malformed", "A66f, A40");
    let large = body.replacen('{', &format!(r#"{{"x":"{}","#, "x".repeat(16 << 10)), 1);
    assert_eq!(ask(header, &large), "too-large", "A66f");
}

#[test]
fn only_bearer_tokens_are_looked_at() {
    let keys = Keys::new();
    let verifier = load(&keys.jwks()).unwrap();
    let good = keys.sign("EdDSA", "ed", &claims());
    let ask = |value: Option<&str>| verifier.verify(value.map(str::as_bytes), at(NOW), &Visible::default());
    assert_eq!(ask(None), None);
    assert_eq!(ask(Some("Basic YTpi")), None);
    assert_eq!(ask(Some("Bearertoken")), None);
    for scheme in ["Bearer ", "bearer ", "BEARER  "] {
        assert!(matches!(ask(Some(&format!("{scheme}{good}"))), Some(Token::Valid(_))), "{scheme}");
    }
    // A16: present and unusable is not absent.
    for value in ["Bearer", "Bearer ", "Bearer opaque", &format!("Bearer {good}, Bearer {good}")] {
        assert_eq!(ask(Some(value)), Some(Token::Invalid("malformed".into())), "{value}");
    }
    let nobody = Verifier::load(&[]).unwrap();
    assert_eq!(nobody.verify(Some(format!("Bearer {good}").as_bytes()), at(NOW), &Visible::default()), None);
}

#[test]
fn visible_claims_are_typed_and_the_rest_is_dropped() {
    let keys = Keys::new();
    let verifier = load(&keys.jwks()).unwrap();
    let sent =
        with(json!({"tenant": "eu", "level": 3, "staff": true, "groups": ["a", "b,c"], "one": "a, b", "secret": "x", "odd": {"a": 1}}));
    let seen = visible(&[
        ("tenant", AttributeType::Text),
        ("level", AttributeType::Integer),
        ("staff", AttributeType::Boolean),
        ("groups", AttributeType::List),
        ("one", AttributeType::List),
        ("absent", AttributeType::Text),
    ]);
    let Token::Valid(claims) = ask(&verifier, &keys.sign("ES256", "ec", &sent), &seen) else { panic!("not believed") };
    assert_eq!(claims.other.len(), 5);
    assert_eq!(claims.other["tenant"], AttributeValue::Text("eu".into()));
    assert_eq!(claims.other["level"], AttributeValue::Integer(3));
    assert_eq!(claims.other["staff"], AttributeValue::Boolean(true));
    assert_eq!(claims.other["groups"], AttributeValue::List(vec!["a".into(), "b,c".into()]), "an array is not split at commas");
    assert_eq!(claims.other["one"], AttributeValue::List(vec!["a, b".into()]), "nor is a text");
    for (name, kind) in [
        ("tenant", AttributeType::Integer),
        ("level", AttributeType::Text),
        ("staff", AttributeType::List),
        ("groups", AttributeType::Text),
        ("odd", AttributeType::Text),
    ] {
        let token = keys.sign("ES256", "ec", &sent);
        assert_eq!(invalid(ask(&verifier, &token, &visible(&[(name, kind)]))), "claim-type", "{name}");
    }
    for value in [json!(1.5), json!(u64::MAX), json!(null), json!([1])] {
        let token = keys.sign("ES256", "ec", &with(json!({"level": value})));
        assert_eq!(invalid(ask(&verifier, &token, &visible(&[("level", AttributeType::Integer)]))), "claim-type");
    }
}

#[test]
fn bad_key_sets_are_refused_whole() {
    let keys = Keys::new();
    let good = keys.jwk("ec");
    let set = |key: Value| json!({"keys": [key, keys.jwk("ed")]}).to_string();
    let changed = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        set(key)
    };
    let mut nameless = good.clone();
    nameless.as_object_mut().unwrap().remove("kid");
    for (jwks, cause) in [
        (String::new(), "not a JSON object"),
        ("[]".to_owned(), "not a JSON object"),
        ("{}".to_owned(), "no array"),
        (r#"{"keys":[]}"#.to_owned(), "no key"),
        (r#"{"keys":[],"keys":[]}"#.to_owned(), "not a JSON object"),
        (set(json!({"kty": "oct", "k": "AAAA", "kid": "s"})), "symmetric"),
        (changed("d", json!("AAAA")), "private key"),
        (changed("alg", json!("ES384")), "does not fit"),
        (changed("alg", json!("HS256")), "does not fit"),
        (changed("alg", json!("none")), "does not fit"),
        (changed("crv", json!("P-384")), "coordinates"),
        (changed("x", good["y"].clone()), "not a point"),
        (changed("x", json!("!")), "base64url"),
        (changed("kid", json!("ed")), "twice"),
        (changed("kid", json!(7)), "not a text"),
        (set(nameless), "no `kid`"),
        (set(json!({"kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB"})), "modulus"),
    ] {
        let error = load(&jwks).expect_err(cause).to_string();
        assert!(error.contains(cause) && error.contains("jwks.json"), "{cause}: {error}");
    }
    // For another use, or of a kind we do not know: left out, and so unknown.
    for other in [changed("use", json!("enc")), changed("key_ops", json!(["sign"])), changed("crv", json!("P-521"))] {
        let verifier = load(&other).unwrap();
        assert_eq!(invalid(ask(&verifier, &keys.sign("ES256", "ec", &claims()), &Visible::default())), "unknown-key");
    }
    let issuer = |audiences: &[&str]| JwtIssuer {
        issuer: IDP.to_owned(),
        jwks: Jwks::File("/nonexistent/jwks.json".into()),
        audiences: audiences.iter().map(|a| (*a).to_owned()).collect(),
    };
    assert!(matches!(Verifier::load(&[issuer(&[])]), Err(JwtError::NoAudience(_))));
    assert!(matches!(Verifier::load(&[issuer(&["items"])]), Err(JwtError::Read { .. })));
}

#[test]
fn the_development_issuer_mints_what_the_verifier_believes() {
    let issuer = Issuer::create(IDP).unwrap();
    let verifier = load(&issuer.jwks_json()).unwrap();
    let minted = issuer.mint(&without("iss")).unwrap();
    assert!(matches!(ask(&verifier, &minted, &Visible::default()), Token::Valid(_)));
    let again = Issuer::from_pem(IDP, &issuer.key_pem()).unwrap();
    assert_eq!(again.jwks_json(), issuer.jwks_json());
    let stranger = Issuer::create(IDP).unwrap().mint(&claims()).unwrap();
    assert_eq!(invalid(ask(&verifier, &stranger, &Visible::default())), "unknown-key");
    assert_eq!(invalid(ask(&verifier, &issuer.mint(&with(json!({"exp": NOW - 60}))).unwrap(), &Visible::default())), "expired");
    assert!(issuer.mint(&json!([])).is_err());
    assert!(!format!("{issuer:?}").contains("PRIVATE"));
}
