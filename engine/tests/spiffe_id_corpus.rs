//! Runs the cases of `tests/corpus/spiffe-id`: what is a SPIFFE ID, and which ids a matcher covers.

#![cfg(test)]

use portreeve_engine::id::{IdPattern, SpiffeId, SpiffeIdError, TrustDomain};
use serde_json::Value;

fn cases() -> Vec<Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/spiffe-id/cases.json");
    let json: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    json["cases"].as_array().unwrap().clone()
}

#[test]
fn ids_parse_as_the_corpus_says() {
    let mut count = 0;
    for case in cases().iter().filter(|case| case["in"].is_string()) {
        let text = case["in"].as_str().unwrap();
        match text.parse::<SpiffeId>() {
            Ok(id) => {
                assert!(case["valid"].as_bool().unwrap(), "`{text}` must be refused");
                assert_eq!(id.trust_domain(), case["trust_domain"].as_str().unwrap(), "{text}");
                assert_eq!(id.path(), case["path"].as_str().unwrap(), "{text}");
                assert_eq!(id.as_str(), text);
            }
            Err(error) => {
                assert!(!case["valid"].as_bool().unwrap(), "`{text}` must parse: {error}");
                assert!(reasons(case["why"].as_str().unwrap()).contains(&error), "`{text}`: {error:?}");
            }
        }
        count += 1;
    }
    assert_eq!(count, 358);
}

/// The causes that count as the corpus's words.
fn reasons(why: &str) -> &'static [SpiffeIdError] {
    use SpiffeIdError as E;
    match why {
        "cannot be empty" => &[E::Empty],
        "scheme" => &[E::Scheme],
        "trust domain missing" => &[E::TrustDomainMissing],
        "trust domain character" => &[E::TrustDomainCharacter],
        "path segment character" => &[E::SegmentCharacter],
        "percent-encoding" => &[E::SegmentCharacter, E::TrustDomainCharacter],
        "empty segment" => &[E::EmptySegment],
        "dot segment" => &[E::DotSegment],
        "trailing slash" => &[E::TrailingSlash],
        other => panic!("no such cause: {other}"),
    }
}

#[test]
fn matchers_cover_what_the_corpus_says() {
    let mut count = 0;
    for case in cases().iter().filter(|case| case["matcher"].is_string()) {
        let (matcher, text) = (case["matcher"].as_str().unwrap(), case["id"].as_str().unwrap());
        // What is not an id never reaches a matcher: it covers nothing.
        let covered = text.parse::<SpiffeId>().is_ok_and(|id| covers(matcher, &id));
        assert_eq!(covered, case["match"].as_bool().unwrap(), "{matcher} against `{text}`");
        count += 1;
    }
    assert_eq!(count, 28);
}

fn covers(matcher: &str, id: &SpiffeId) -> bool {
    let (kind, rest) = matcher.split_once(' ').unwrap_or((matcher, ""));
    match kind {
        "any" => true,
        "id" => rest.parse::<SpiffeId>().unwrap() == *id,
        "one-of" if rest == "(empty list)" => false,
        "one-of" => rest.split(' ').any(|one| one.parse::<SpiffeId>().unwrap() == *id),
        "member-of" => {
            let domain: TrustDomain = rest.parse().unwrap();
            let pattern: IdPattern = format!("spiffe://{rest}/**").parse().unwrap();
            assert_eq!(pattern.matches(id), id.trust_domain() == domain.as_str() && id.is_workload());
            id.trust_domain() == domain.as_str()
        }
        other => panic!("no such matcher: {other}"),
    }
}

#[test]
fn the_standards_lengths_hold() {
    let domain = "d".repeat(255);
    assert!(format!("spiffe://{domain}/x").parse::<SpiffeId>().is_ok());
    assert_eq!(format!("spiffe://{domain}d/x").parse::<SpiffeId>(), Err(SpiffeIdError::TrustDomainTooLong));
    let longest = format!("spiffe://td/{}", "p".repeat(2048 - "spiffe://td/".len()));
    assert_eq!(longest.parse::<SpiffeId>().unwrap().as_str().len(), 2048);
    assert_eq!(format!("{longest}p").parse::<SpiffeId>(), Err(SpiffeIdError::TooLong));
}
