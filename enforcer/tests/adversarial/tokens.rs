//! User tokens: missing, invalid and valid are three things, and only the third one opens anything.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use portreeve_engine::Reason;
use serde_json::{Value, json};

use crate::pki::replace;
use crate::world::{Sidecar, World};

pub(crate) const IDP: &str = "https://idp.market.example";

/// `read` needs a token, `write` does not; both need the caller.
pub(crate) const TOKENS: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
claims: {tenant: string}
operations:
  - {id: read, method: GET, path: "/v1/items/{id}"}
  - {id: open, method: GET, path: "/open/{id}"}
---
kind: Service
name: gateway
identities: [spiffe://market.example/ns/shop/sa/gateway]
operations: [{id: health, method: GET, path: /healthz}]
---
kind: Service
name: users
identities: [spiffe://market.example/ns/shop/sa/users]
operations: [{id: read, method: GET, path: "/v1/users"}]
---
kind: Permission
name: with-a-token
allow: {from: [gateway], to: items, operations: [read]}
when: {jwt: {issuer: https://idp.market.example, audience: items, scopes: [items:read]}}
justification: For a person.
owner: team-test
---
kind: Permission
name: without
allow: {from: [gateway], to: items, operations: [open]}
justification: For everyone.
owner: team-test
"#;

/// How far the gate lets clocks differ.
const LEEWAY_S: u64 = 30;

/// A key of an identity provider, ours or the attacker's, and tokens signed with it, however wrong.
pub(crate) struct Idp {
    key: EcdsaKeyPair,
    kid: String,
}

impl Idp {
    pub(crate) fn new(kid: &str) -> Self {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        Self { key: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap(), kid: kid.to_owned() }
    }

    pub(crate) fn jwks(&self) -> String {
        json!({"keys": [self.jwk()]}).to_string()
    }

    fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        json!({"kid": self.kid, "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "x": B64.encode(&point[1..33]), "y": B64.encode(&point[33..])})
    }

    fn raw(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", B64.encode(header), B64.encode(claims));
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", B64.encode(signature))
    }

    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.raw(&json!({"alg": "ES256", "kid": self.kid, "typ": "JWT"}).to_string(), &claims.to_string())
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

pub(crate) fn good() -> Value {
    json!({"iss": IDP, "sub": "ann", "aud": ["items"], "scope": "items:read", "exp": now() + 3600, "tenant": "eu"})
}

fn with(changes: &Value) -> Value {
    let mut claims = good();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn without(name: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn world(idp: &Idp) -> (World, Sidecar) {
    let world = World::with(&[("items.yaml", TOKENS)]);
    replace(&world.path("jwks.json"), idp.jwks().as_bytes());
    let config = format!("{}jwt: [{{issuer: \"{IDP}\", jwks: {{path: jwks.json}}, audiences: [items]}}]\n", world.config());
    let sidecar = world.start_with(&config);
    (world, sidecar)
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

#[test]
fn a04_a33_token_and_identity_must_both_hold_on_every_spelling_of_the_path() {
    let idp = Idp::new("one");
    let (world, sidecar) = world(&idp);
    let (gateway, users) = (world.client("gateway"), world.client("users"));
    let token = bearer(&idp.sign(&good()));
    for target in ["/v1/items/1", "/v1/items/1?x=1", "/v1/items/1?access_token=x", "/v1/item%73/1"] {
        assert_eq!(gateway.get(sidecar.inbound, target, ""), 403, "{target}");
        assert_eq!(gateway.get(sidecar.inbound, target, &token), 200, "{target}");
        assert_eq!(users.get(sidecar.inbound, target, &token), 403, "A33, {target}");
        assert_eq!(users.get(sidecar.inbound, target, ""), 403, "{target}");
    }
    let log = sidecar.stop();
    assert_eq!(log.reasons()[..2], [Reason::ConditionUnmet, Reason::Permitted]);
    assert_eq!(world.upstream.seen().len(), 4);
}

#[test]
fn a16_an_invalid_token_denies_where_none_is_asked_for() {
    let idp = Idp::new("one");
    let (world, sidecar) = world(&idp);
    let gateway = world.client("gateway");
    assert_eq!(gateway.get(sidecar.inbound, "/open/1", ""), 200);
    assert_eq!(gateway.get(sidecar.inbound, "/open/1", &bearer(&idp.sign(&good()))), 200);
    // A token of nobody we know, an expired one, and one that is no token at all.
    let stranger = Idp::new("theirs");
    let unknown = stranger.sign(&with(&json!({"iss": "https://elsewhere.example"})));
    for token in [unknown, stranger.sign(&good()), idp.sign(&with(&json!({"exp": now() - 100}))), "garbage".to_owned(), "a.b.c".to_owned()]
    {
        assert_eq!(gateway.get(sidecar.inbound, "/open/1", &bearer(&token)), 403, "{token}");
    }
    // One that a lenient server would still find: it is not the absence of a token.
    let valid = idp.sign(&good());
    for odd in ["Bearer\t", "bearer,", "Bearer=", "BEARER:", "Bearer \"", "Bearer Bearer "] {
        assert_eq!(gateway.get(sidecar.inbound, "/open/1", &format!("Authorization: {odd}{valid}\r\n")), 403, "{odd:?}");
    }
    let log = sidecar.stop();
    assert!(log.reasons()[2..].iter().all(|r| *r == Reason::InvalidToken), "{:?}", log.reasons());
    assert_eq!(world.upstream.seen().len(), 2);
}

#[test]
fn a34_a66_every_claim_has_its_type_and_is_asked_for() {
    let idp = Idp::new("one");
    let (world, sidecar) = world(&idp);
    let gateway = world.client("gateway");
    let bad = [
        ("A34", with(&json!({"exp": "soon"}))),
        ("A34", with(&json!({"exp": null}))),
        ("A34", with(&json!({"exp": []}))),
        ("A34", with(&json!({"exp": true}))),
        ("A34", with(&json!({"nbf": []}))),
        ("A34", with(&json!({"nbf": "now"}))),
        ("A34", with(&json!({"iat": "x"}))),
        ("A34", with(&json!({"exp": -1}))),
        ("expired", with(&json!({"exp": now() - 3600}))),
        ("A66a", with(&json!({"nbf": now() + 3600}))),
        ("A66b", without("exp")),
        ("A66b", without("iss")),
        ("A66b", without("aud")),
        ("A66b", without("sub")),
        ("A66b", with(&json!({"sub": 7}))),
        ("A66b", with(&json!({"aud": 7}))),
        ("A66b", with(&json!({"aud": {"items": true}}))),
        ("A66b", with(&json!({"aud": ["other"]}))),
        ("A66b", with(&json!({"aud": []}))),
        ("A66c", with(&json!({"iss": [IDP]}))),
        ("A66c", with(&json!({"iss": [IDP, "https://elsewhere.example"]}))),
        ("wrong issuer", with(&json!({"iss": format!("{IDP}/")}))),
        ("scope of another type", with(&json!({"scope": 5}))),
        ("declared claim of another type", with(&json!({"tenant": {"eu": 1}}))),
    ];
    for (what, claims) in &bad {
        let token = bearer(&idp.sign(claims));
        assert_eq!(gateway.get(sidecar.inbound, "/v1/items/1", &token), 403, "{what}: {claims}");
        if *what != "declared claim of another type" {
            assert_eq!(gateway.get(sidecar.inbound, "/open/1", &token), 403, "{what}: {claims}");
        }
    }
    let log = sidecar.stop();
    assert!(world.upstream.seen().is_empty());
    assert!(log.reasons().iter().all(|r| matches!(r, Reason::InvalidToken | Reason::MalformedRequest)), "{:?}", log.reasons());
}

#[test]
fn a66_headers_and_forms_that_libraries_let_through() {
    let idp = Idp::new("one");
    let (world, sidecar) = world(&idp);
    let gateway = world.client("gateway");
    let (claims, head) = (good().to_string(), |more: &str| format!("{{\"alg\":\"ES256\",\"kid\":\"one\"{more}}}"));
    let valid = idp.sign(&good());
    let parts: Vec<&str> = valid.split('.').collect();
    let hmac = {
        let message = format!("{}.{}", B64.encode(json!({"alg": "HS256", "kid": "one"}).to_string()), B64.encode(&claims));
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, idp.jwks().as_bytes());
        format!("{message}.{}", B64.encode(aws_lc_rs::hmac::sign(&key, message.as_bytes())))
    };
    let none = format!("{}.{}.", B64.encode("{\"alg\":\"none\"}"), parts[1]);
    let bad = [
        ("A66d", idp.raw(&head(",\"crit\":[\"exp\"],\"exp\":1"), &claims)),
        ("A66d", idp.raw(&head(",\"crit\":[]"), &claims)),
        ("A66d", idp.raw(&head(",\"crit\":[\"b64\"],\"b64\":false"), &claims)),
        ("A66e: HS256", hmac),
        ("A66e: none", none.clone()),
        ("A66e: none, signed", format!("{none}{}", parts[2])),
        ("A66e: None", format!("{}.{}.", B64.encode("{\"alg\":\"None\",\"kid\":\"one\"}"), parts[1])),
        ("A66e: of another curve", idp.raw("{\"alg\":\"ES384\",\"kid\":\"one\"}", &claims)),
        ("A66e: of another kind", idp.raw("{\"alg\":\"RS256\",\"kid\":\"one\"}", &claims)),
        (
            "A66e: a key of its own",
            idp.raw(&format!("{{\"alg\":\"ES256\",\"jwk\":{}}}", Idp::new("x").jwk()), &claims).replace(parts[2], ""),
        ),
        ("A66f: a claim twice", idp.raw(&head(""), &claims.replacen('{', "{\"sub\":\"root\",", 1))),
        ("A66f: alg twice", idp.raw("{\"alg\":\"none\",\"alg\":\"ES256\",\"kid\":\"one\"}", &claims)),
        ("A40, A66f: deep", idp.raw(&head(""), &claims.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(200), "]".repeat(200)), 1))),
        ("A66h: unknown kid", Idp::new("other").sign(&good())),
        ("forged", Idp::new("one").sign(&good())),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{valid}.{}", parts[2])),
        ("padding", format!("{valid}=")),
        ("cut", valid[..valid.len() - 4].to_owned()),
    ];
    for (what, token) in &bad {
        assert_eq!(gateway.get(sidecar.inbound, "/v1/items/1", &bearer(token)), 403, "{what}: {token}");
        assert_eq!(gateway.get(sidecar.inbound, "/open/1", &bearer(token)), 403, "{what}: {token}");
    }
    // A66f: larger than any token is; the head's own bound may come first.
    let large = idp.sign(&with(&json!({"x": "y".repeat(14_000)})));
    let status = gateway.get(sidecar.inbound, "/open/1", &bearer(&large));
    assert!(matches!(status, 403 | 431), "{status}");
    // A66g: a token in the query is none, and two `authorization` lines are no request.
    assert_eq!(gateway.get(sidecar.inbound, &format!("/v1/items/1?access_token={valid}"), ""), 403);
    assert_eq!(gateway.get(sidecar.inbound, "/v1/items/1", &format!("{}{}", bearer(&valid), bearer(&valid))), 400);
    assert_eq!(gateway.get(sidecar.inbound, "/v1/items/1", &format!("Cookie: access_token={valid}\r\n")), 403);
    assert_eq!(gateway.get(sidecar.inbound, "/v1/items/1", &bearer(&valid)), 200);
    let log = sidecar.stop();
    assert_eq!(world.upstream.seen().len(), 1);
    assert!(!std::fs::read_to_string(world.path("decisions.ndjson")).unwrap().contains(parts[1]), "a token reached the log");
    assert_eq!(log.reasons().iter().filter(|r| **r == Reason::Permitted).count(), 1);
}

#[test]
fn a07_without_keys_nothing_is_believed_and_the_last_good_ones_are_kept() {
    let idp = Idp::new("one");
    let (world, sidecar) = world(&idp);
    let gateway = world.client("gateway");
    let token = bearer(&idp.sign(&good()));
    assert_eq!(gateway.get(sidecar.inbound, "/v1/items/1", &token), 200);
    // Half a file, an empty set, no file: none of them brings a default key, and none takes the good ones away.
    for broken in ["{\"keys\": [", "{\"keys\": []}", "not json", ""] {
        replace(&world.path("jwks.json"), broken.as_bytes());
        sidecar.signal("HUP");
        sidecar.says("the new key sets are not taken up");
        assert_eq!(gateway.get(sidecar.inbound, "/v1/items/1", &token), 200, "{broken:?}");
        assert_eq!(gateway.get(sidecar.inbound, "/v1/items/1", &bearer(&Idp::new("one").sign(&good()))), 403, "{broken:?}");
    }
    // A new set takes the old keys away for good.
    let next = Idp::new("two");
    replace(&world.path("jwks.json"), next.jwks().as_bytes());
    sidecar.signal("HUP");
    crate::world::until("the new keys are in use", || gateway.get(sidecar.inbound, "/v1/items/1", &bearer(&next.sign(&good()))) == 200);
    assert_eq!(gateway.get(sidecar.inbound, "/v1/items/1", &token), 403);
    sidecar.stop();
    // At a cold start there is no last good one: it does not come up.
    replace(&world.path("jwks.json"), b"{\"keys\": []}");
    let config = format!("{}jwt: [{{issuer: \"{IDP}\", jwks: {{path: jwks.json}}, audiences: [items]}}]\n", world.config());
    let (code, said) = world.start_fails(&config);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("jwks.json"), "{said}");
}

#[test]
fn a32_a_token_ends_between_two_requests_of_one_connection() {
    let idp = Idp::new("one");
    let (world, sidecar) = world(&idp);
    let mut conn = world.client("gateway").open(sidecar.inbound);
    let token = bearer(&idp.sign(&with(&json!({"exp": now() - LEEWAY_S + 3}))));
    let mut ask = || {
        use std::io::Write as _;
        conn.write_all(format!("GET /v1/items/1 HTTP/1.1\r\nHost: items\r\n{token}\r\n").as_bytes()).unwrap();
        crate::client::one_answer(&mut conn).status
    };
    assert_eq!(ask(), 200);
    crate::world::until("the answer is not kept beyond the token's end", || ask() == 403);
    let log = sidecar.stop();
    assert_eq!(log.reasons().last(), Some(&Reason::InvalidToken));
}
