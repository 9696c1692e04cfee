//! The decision table, with its memo, and the reference (Cedar's authorizer on the lowered policies, Rego asked afresh) agree on
//! random bundles and requests.
//!
//! Seeds are fixed, so a run repeats; `PORTREEVE_CASES` bundles and `PORTREEVE_SEED` change them. A disagreement prints its
//! seed, bundle and request.

#![cfg(test)]

use portreeve_engine::reference::{Disagreement, Reference};
use portreeve_engine::{Authorizer, Bundle, Reason, Request, SourceFile};

#[path = "shared/conditions.rs"]
mod conditions;
#[path = "shared/dice.rs"]
mod dice;
#[path = "shared/policies.rs"]
mod policies;
#[path = "shared/rego.rs"]
mod rego;

use dice::Dice;
use policies::{cedar, inventory, permission, request};

struct Tally {
    requests: usize,
    shadowed: usize,
    allowed: usize,
    prohibited: usize,
    errors: usize,
}

fn check(seed: u64, requests: usize, tally: &mut Tally) {
    let mut dice = Dice(seed);
    let mut yaml = inventory(&mut dice);
    for number in 0..dice.below(12) {
        let text = permission(&mut dice, number);
        yaml.push_str(&maybe_dry(&mut dice, 15, text));
    }
    let mut policies = String::new();
    for number in 0..dice.below(5) {
        policies.push_str(&cedar(&mut dice, number));
    }
    let mut files = vec![("a.yaml".to_owned(), yaml.clone()), ("b.cedar".to_owned(), policies.clone())];
    // Rego is slow, and two modules of three conditions meet everything there is.
    let modules = if dice.chance(30) { 1 + dice.below(2) } else { 0 };
    files.extend((0..modules).map(|n| (format!("{n}.rego"), rego::module(&mut dice, n))));
    let policies = files.iter().skip(1).map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
    let files = files.into_iter().map(|(path, text)| SourceFile { path, bytes: text.into_bytes() }).collect();
    let compiled = Authorizer::compile(&Bundle::from_files("random", files).unwrap());
    let problems: Vec<String> = compiled.diagnostics.iter().filter(|d| d.is_error()).map(|d| d.render()).collect();
    let Some(authorizer) = compiled.authorizer else { panic!("seed {seed}: {}\n{yaml}\n{policies}", problems.join("\n")) };
    let reference = Reference::new(&authorizer);
    for _ in 0..requests {
        let line = request(&mut dice);
        let request = Request::from_json(line.as_bytes()).unwrap();
        let got = authorizer.decide(&request);
        if let Some(Disagreement { decided, reference }) = reference.disagrees(&request, &got).unwrap() {
            panic!("seed {seed}\ntable     {decided:?}\nreference {reference:?}\n{line}\n{yaml}\n{policies}");
        }
        tally.requests += 1;
        tally.shadowed += usize::from(!got.shadow.is_empty());
        tally.allowed += usize::from(got.is_allow());
        tally.prohibited += usize::from(got.reason == Reason::Prohibited);
        tally.errors += usize::from(got.reason == Reason::EvaluationError);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the ban is on the engine, not on its tests: a longer run is asked for by the environment")]
fn the_table_agrees_with_the_reference() {
    let number = |name: &str, default: u64| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (first, bundles, requests) = (number("PORTREEVE_SEED", 1), number("PORTREEVE_CASES", 60), 150);
    let mut tally = Tally { requests: 0, shadowed: 0, allowed: 0, prohibited: 0, errors: 0 };
    for seed in first..first + bundles {
        check(seed, requests, &mut tally);
    }
    println!(
        "seeds {first}..{}: {} requests, {} allowed, {} prohibited, {} evaluation errors, 0 disagreements",
        first + bundles,
        tally.requests,
        tally.allowed,
        tally.prohibited,
        tally.errors
    );
    // A generator that never allows, prohibits or errs would prove nothing.
    assert!(tally.allowed * 20 > tally.requests && tally.prohibited * 50 > tally.requests && tally.errors > 0);
    assert!(tally.shadowed > 20, "{} of {}", tally.shadowed, tally.requests);
}

/// A permission, perhaps in dry-run.
fn maybe_dry(dice: &mut Dice, percent: usize, permission: String) -> String {
    if dice.chance(percent) { permission.replacen("---\n", "mode: dry-run\n---\n", 1) } else { permission }
}

/// Permissions of one bundle, each with its text.
fn permissions(dice: &mut Dice) -> Vec<String> {
    let mut out = Vec::new();
    for number in 0..dice.below(12) {
        let text = permission(dice, number);
        out.push(maybe_dry(dice, 40, text));
    }
    out
}

fn compiled(inventory: &str, permissions: impl Iterator<Item = String>) -> Authorizer {
    let text = format!("{inventory}{}", permissions.collect::<String>());
    let file = SourceFile { path: "a.yaml".to_owned(), bytes: text.into_bytes() };
    let compiled = Authorizer::compile(&Bundle::from_files("random", vec![file]).unwrap());
    compiled.authorizer.unwrap_or_else(|| panic!("{:?}", compiled.diagnostics))
}

/// What is in dry-run alters no answer, and is named exactly where it would be among the satisfied ones if it were in force.
#[test]
fn permissions_in_dry_run_have_no_say_and_are_named_where_they_would_have() {
    let (mut shadowed, mut would_deny, mut would_allow) = (0, 0, 0);
    for seed in 1..=40 {
        let mut dice = Dice(seed);
        let inventory = inventory(&mut dice);
        let texts = permissions(&mut dice);
        let is_dry = |text: &String| text.contains("mode: dry-run");
        let law = compiled(&inventory, texts.iter().cloned());
        let without = compiled(&inventory, texts.iter().filter(|t| !is_dry(t)).cloned());
        // Each alone, so that no other policy decides in its place.
        let name = |text: &str| text.lines().find_map(|l| l.strip_prefix("name: ")).unwrap().to_owned();
        let alone: Vec<(String, Authorizer)> = texts
            .iter()
            .filter(|t| is_dry(t))
            .map(|t| (name(t), compiled(&inventory, std::iter::once(t.replace("mode: dry-run", "mode: enforce")))))
            .collect();
        assert_eq!(law.dry_run().count(), alone.len());
        for _ in 0..150 {
            let line = request(&mut dice);
            let request = Request::from_json(line.as_bytes()).unwrap();
            let (got, want) = (law.decide(&request), without.decide(&request));
            let facts = |d: &portreeve_engine::Decision<'_>| {
                let policies: Vec<String> = d.policies.iter().map(|p| p.id.to_string()).collect();
                (d.effect, d.reason, d.operation.map(str::to_owned), policies, d.errors.clone())
            };
            assert_eq!(facts(&got), facts(&want), "seed {seed}\n{line}\n{}", texts.join(""));
            let mut named: Vec<String> = got.shadow.iter().map(|p| p.id.to_string()).collect();
            assert!(named.is_sorted());
            named.sort();
            let mut satisfied: Vec<String> =
                alone.iter().filter(|(_, law)| !law.decide(&request).policies.is_empty()).map(|(name, _)| name.clone()).collect();
            satisfied.sort();
            assert_eq!(named, satisfied, "seed {seed}\n{line}\n{}", texts.join(""));
            shadowed += usize::from(!named.is_empty());
            let some = |effect| got.shadow.iter().any(|p| p.effect == effect);
            would_deny += usize::from(got.is_allow() && some(portreeve_engine::Effect::Deny));
            would_allow += usize::from(!got.is_allow() && some(portreeve_engine::Effect::Allow));
        }
    }
    println!("seeds 1..=40: {shadowed} requests with a shadow, {would_deny} would be denied, {would_allow} allowed");
    assert!(shadowed > 50 && would_deny > 0 && would_allow > 20, "{shadowed} {would_deny} {would_allow}");
}
