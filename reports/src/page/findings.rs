//! Findings as the page lists them, with what its filters offer. Tokens stand for names, so that no name of a stranger is ever a
//! selector or a key: the script compares tokens alone.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_auditor::assessment::{Assessment, Finding, Weight};

use super::{Anchors, Link, Proof};
use crate::filters;
use crate::limits::{FINDINGS_MAX, FIX_FIRST_MAX, NAME_SHOWN_CHARS};
use crate::text;

/// A finding and the controls it bears on.
pub(super) struct FindingView<'a> {
    pub(super) it: &'a Finding,
    pub(super) anchor: String,
    pub(super) controls: Vec<Link<'a>>,
    pub(super) services: Vec<Link<'a>>,
    pub(super) evidence: Vec<Proof<'a>>,
    /// What the filters know it by.
    pub(super) keys: String,
    /// The baseline does not have it.
    pub(super) is_new: bool,
}

/// A finding to begin with, and how many others of its kind there are.
pub(super) struct First<'v, 'a> {
    pub(super) view: &'v FindingView<'a>,
    pub(super) alike: u64,
    pub(super) token: String,
}

/// One thing a filter can ask for.
pub(super) struct Choice {
    pub(super) token: String,
    pub(super) label: String,
    pub(super) count: u64,
}

/// What the filters offer, each list in the order of its names.
#[derive(Default)]
pub(super) struct Sieve<'a> {
    pub(super) severities: Vec<Choice>,
    pub(super) checks: Vec<Choice>,
    pub(super) services: Vec<Choice>,
    pub(super) controls: Vec<Choice>,
    /// Waived, suspect, new.
    pub(super) states: Vec<Choice>,
    /// The token of each check.
    pub(super) picks: BTreeMap<&'a str, String>,
}

/// Names of one kind, their tokens, and how many findings have each.
struct Tokens<'a> {
    letter: char,
    names: BTreeMap<&'a str, (usize, u64)>,
}

impl<'a> Tokens<'a> {
    fn of(letter: char, all: impl Iterator<Item = &'a str>) -> Self {
        let mut names: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for name in all {
            names.entry(name).or_default().1 += 1;
        }
        for (index, (at, _)) in names.values_mut().enumerate() {
            *at = index;
        }
        Self { letter, names }
    }

    fn token(&self, name: &str) -> Option<String> {
        self.names.get(name).map(|(index, _)| format!("{}{index}", self.letter))
    }

    fn choices(&self, label: impl Fn(&'a str) -> &'a str) -> Vec<Choice> {
        let choice = |(name, (index, count)): (&&'a str, &(usize, u64))| Choice {
            token: format!("{}{index}", self.letter),
            label: text::short(label(name), NAME_SHOWN_CHARS).into_owned(),
            count: *count,
        };
        self.names.iter().map(choice).collect()
    }
}

/// The findings the page lists, and their filters.
pub(super) fn views<'a>(a: &'a Assessment, anchors: &Anchors<'a>) -> (Vec<FindingView<'a>>, Sieve<'a>) {
    let shown = || a.findings.iter().take(FINDINGS_MAX);
    let checks = Tokens::of('c', shown().map(|f| &*f.check));
    let services = Tokens::of('s', shown().flat_map(|f| f.services.iter().map(|s| &**s)));
    let controls = Tokens::of('r', shown().flat_map(|f| f.controls.iter().map(|c| &**c)));
    let new: BTreeSet<&str> = a.baseline.iter().flat_map(|b| b.findings.new.iter().map(String::as_str)).collect();
    let folds: BTreeMap<&str, &[String]> = a.folded.iter().map(|f| (f.finding.as_str(), &*f.ids)).collect();
    let is_new = |f: &Finding| {
        let folded = folds.get(f.id.as_str()).copied().unwrap_or_default();
        new.contains(f.id.as_str()) || folded.iter().any(|id| new.contains(id.as_str()))
    };
    let is_in = |f: &Finding| [f.waived.is_some(), f.waived.is_none(), f.suspect, is_new(f)];
    let keys = |f: &Finding| {
        let mut keys = vec![severity_token(f.severity).to_owned()];
        keys.extend(checks.token(&f.check));
        keys.extend(f.services.iter().filter_map(|s| services.token(s)));
        keys.extend(f.controls.iter().filter_map(|c| controls.token(c)));
        keys.extend(STATES.iter().zip(is_in(f)).filter(|(_, is_in)| *is_in).map(|((token, _), _)| (*token).to_owned()));
        keys.join(" ")
    };
    let view = |it: &'a Finding| FindingView {
        it,
        anchor: anchors.finding(&it.id),
        controls: it.controls.iter().map(|c| anchors.link(c)).collect(),
        services: it.services.iter().map(|s| anchors.service(s)).collect(),
        evidence: Proof::of(it.evidence.iter(), a),
        keys: keys(it),
        is_new: is_new(it),
    };
    let severities = [Weight::High, Weight::Medium, Weight::Low].map(|weight| Choice {
        token: severity_token(weight).to_owned(),
        label: filters::weight_word(weight).to_owned(),
        count: shown().filter(|f| f.severity == weight).count() as u64,
    });
    let states = STATES.iter().enumerate().map(|(at, (token, label))| Choice {
        token: (*token).to_owned(),
        label: (*label).to_owned(),
        count: shown().filter(|f| is_in(f).get(at).is_some_and(|is_in| *is_in)).count() as u64,
    });
    let sieve = Sieve {
        severities: severities.into_iter().filter(|c| c.count > 0).collect(),
        checks: checks.choices(|name| name),
        services: services.choices(|name| name),
        controls: controls.choices(|name| anchors.without_only_catalog(name)),
        states: states.filter(|c| c.count > 0).collect(),
        picks: checks.names.keys().filter_map(|name| Some((*name, checks.token(name)?))).collect(),
    };
    (shown().map(view).collect(), sieve)
}

/// The first finding of each check, in the order of the assessment, with how many more of its kind there are: five lines about one
/// kind would hide four others. What an exception covers is nothing to begin with.
pub(super) fn first<'v, 'a>(views: &'v [FindingView<'a>]) -> Vec<First<'v, 'a>> {
    let mut out: Vec<First<'v, 'a>> = Vec::new();
    for view in views.iter().filter(|view| view.it.waived.is_none()) {
        if let Some(same) = out.iter_mut().find(|f| f.view.it.check == view.it.check) {
            same.alike += 1;
        } else if out.len() < FIX_FIRST_MAX {
            let token = view.keys.split(' ').nth(1).unwrap_or_default().to_owned();
            out.push(First { view, alike: 0, token });
        }
    }
    out
}

/// What a finding can be besides, each with its token; a token begins with no letter by which findings are ordered.
const STATES: [(&str, &str); 4] = [("z0", "waived"), ("z1", "not waived"), ("z2", "suspect"), ("z3", "new since the baseline")];

const fn severity_token(weight: Weight) -> &'static str {
    match weight {
        Weight::High => "w0",
        Weight::Medium => "w1",
        Weight::Low => "w2",
    }
}
