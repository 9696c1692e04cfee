//! Which case is tested where. A number that no test of this folder, or of the operation beside it, names must stand in [`ELSEWHERE`] with its reason, and what is
//! said there must be true.

use std::collections::BTreeSet;

/// All cases of the list, sub-cases by their letters.
const SUB_CASES: [(&str, &str); 3] = [("A27", "abcd"), ("A35", "abcde"), ("A66", "abcdefgh")];
const LAST: u8 = 80;

/// Cases that are not the gate's, or not yet: the number, why, and a file of the repository that names it (none for what is to come).
const ELSEWHERE: &[(&str, &str, Option<&str>)] = &[
    ("A45", "a bundle has one author so far; scopes of tenants come with importers", None),
    ("A49", "the language has no regular expression of its own; Rego's means what OPA's means", None),
    (
        "A57",
        "a prohibition of methods on a TCP port matches nothing, and `check` says so",
        Some("engine/src/lint/unmatchable_permission.rs"),
    ),
    ("A58", "the importer of Istio is to come", None),
    ("A76", "the importer of Istio is to come", None),
];

const SOURCES: [(&str, &str); 12] = [
    ("paths", include_str!("paths.rs")),
    ("headers", include_str!("headers.rs")),
    ("framing", include_str!("framing.rs")),
    ("smuggling", include_str!("smuggling.rs")),
    ("certificates", include_str!("certificates.rs")),
    ("tokens", include_str!("tokens.rs")),
    ("jwks", include_str!("jwks.rs")),
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
    let mut missing = Vec::new();
    for number in &all {
        match ELSEWHERE.iter().find(|(n, ..)| n == number) {
            Some((_, why, file)) => {
                assert!(!here.contains(number), "{number} is tested here; strike it from the list");
                assert!(why.len() > 20, "{number}: say why");
                if let Some(file) = file {
                    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
                    assert!(path.exists(), "{number}: `{file}` is not there");
                }
            }
            None if here.contains(number) => {}
            None => missing.push(number.as_str()),
        }
    }
    assert!(missing.is_empty(), "no test names {missing:?}");
    let unknown: Vec<_> = ELSEWHERE.iter().filter(|(n, ..)| !all.contains(*n)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
