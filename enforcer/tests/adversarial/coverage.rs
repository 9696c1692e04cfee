//! Every case of the list is named by a test of this folder, or of the operation beside it.

use std::collections::BTreeSet;

/// All cases of the list, sub-cases by their letters.
const SUB_CASES: [(&str, &str); 3] = [("A27", "abcd"), ("A35", "abcde"), ("A66", "abcdefgh")];
const LAST: u8 = 80;

const SOURCES: [(&str, &str); 13] = [
    ("paths", include_str!("paths.rs")),
    ("headers", include_str!("headers.rs")),
    ("framing", include_str!("framing.rs")),
    ("smuggling", include_str!("smuggling.rs")),
    ("certificates", include_str!("certificates.rs")),
    ("tokens", include_str!("tokens.rs")),
    ("jwks", include_str!("jwks.rs")),
    ("foreign", include_str!("foreign.rs")),
    ("traffic", include_str!("traffic.rs")),
    ("policy", include_str!("policy.rs")),
    ("connections", include_str!("connections.rs")),
    ("operation", include_str!("operation.rs")),
    ("bundles from a server", include_str!("../operation/bundles.rs")),
];

fn all() -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for n in 1..=LAST {
        let number = format!("A{n:02}");
        match SUB_CASES.iter().find(|(name, _)| *name == number) {
            Some((_, letters)) => out.extend(letters.chars().map(|letter| format!("{number}{letter}"))),
            None => {
                out.insert(number);
            }
        }
    }
    out
}

/// The numbers that the tests of a file name: `fn a01_a66d_…`, or `A66d` in the text of a case. Tests that are ignored do not count.
fn named(source: &str) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let words = source.split(|c: char| !c.is_ascii_alphanumeric());
    for word in words {
        let mut chars = word.chars();
        let letter = chars.next().is_some_and(|c| c.eq_ignore_ascii_case(&'a'));
        let digits: String = chars.by_ref().take(2).collect();
        let rest: String = chars.collect();
        if letter && digits.len() == 2 && digits.chars().all(|c| c.is_ascii_digit()) && rest.len() <= 1 {
            out.insert(format!("A{digits}{rest}"));
        }
    }
    out
}

#[test]
fn every_case_has_its_test() {
    let all = all();
    let here: BTreeSet<String> = SOURCES.iter().flat_map(|(_, source)| named(source)).collect();
    let missing: Vec<_> = all.difference(&here).collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
}
