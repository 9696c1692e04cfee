//! Findings as the page lists them, with what its filters offer. Tokens stand for names, so that no name of a stranger is ever a
//! selector or a key: the script compares tokens alone.
//!
//! The first findings stand on the page as rows, for readers without a script and for paper; the others are data, which the script
//! makes rows of when they are asked for. INVARIANT: a row of the script is the row of the template; a test compares them.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_auditor::assessment::{Assessment, Finding, Weight};
use serde_json::{Value, json};

use super::{Anchors, Goal, Link, Proof};
use crate::filters;
use crate::limits::{
    COMBINING_MARKS_MAX, FINDINGS_ROWS_MAX, FIX_FIRST_MAX, NAME_SHOWN_CHARS, PAIRS_ROWS_MAX, TEXT_SHOWN_CHARS, WORD_WHOLE_BYTES,
};
use crate::matrix::NO_ZONE;
use crate::text;

/// A finding and the controls it bears on.
pub(super) struct FindingView<'a> {
    pub(super) it: &'a Finding,
    pub(super) anchor: String,
    pub(super) controls: Vec<Link<'a>>,
    pub(super) services: Vec<Link<'a>>,
    pub(super) evidence: Vec<Proof<'a>>,
    /// The baseline does not have it.
    pub(super) is_new: bool,
}

/// A finding to begin with, and how many others of its kind there are.
pub(super) struct First<'a> {
    pub(super) it: &'a Finding,
    pub(super) goal: Goal,
    pub(super) controls: Vec<Link<'a>>,
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
    /// The token of each control that some finding bears on.
    pub(super) bearing: BTreeMap<&'a str, String>,
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

    fn picks(&self) -> impl Iterator<Item = (&'a str, String)> {
        self.names.keys().filter_map(|name| Some((*name, self.token(name)?)))
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

/// The findings that are rows, the filters of all, and what the script needs to make the rows of the others.
pub(super) fn views<'a>(a: &'a Assessment, anchors: &Anchors<'a>) -> (Vec<FindingView<'a>>, Sieve<'a>, Value) {
    let all = &a.findings;
    let checks = Tokens::of('c', all.iter().map(|f| &*f.check));
    let services = Tokens::of('s', all.iter().flat_map(|f| f.services.iter().map(|s| &**s)));
    let controls = Tokens::of('r', all.iter().flat_map(|f| f.controls.iter().map(|c| &**c)));
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
        anchor: anchors.finding(&it.id).anchor,
        controls: it.controls.iter().map(|c| anchors.link(c)).collect(),
        services: it.services.iter().map(|s| anchors.service(s)).collect(),
        evidence: Proof::of(it.evidence.iter(), a),
        is_new: is_new(it),
    };
    let severities = [Weight::High, Weight::Medium, Weight::Low].map(|weight| Choice {
        token: severity_token(weight).to_owned(),
        label: filters::weight_word(weight).to_owned(),
        count: all.iter().filter(|f| f.severity == weight).count() as u64,
    });
    let states = STATES.iter().enumerate().map(|(at, (token, label))| Choice {
        token: (*token).to_owned(),
        label: (*label).to_owned(),
        count: all.iter().filter(|f| is_in(f).get(at).is_some_and(|is_in| *is_in)).count() as u64,
    });
    let sieve = Sieve {
        severities: severities.into_iter().filter(|c| c.count > 0).collect(),
        checks: checks.choices(|name| name),
        services: services.choices(|name| name),
        controls: controls.choices(|name| anchors.without_only_catalog(name)),
        states: states.filter(|c| c.count > 0).collect(),
        picks: checks.picks().collect(),
        bearing: controls.picks().collect(),
    };
    let links = |names: &Tokens<'a>, link: &dyn Fn(&'a str) -> Link<'a>| -> Vec<Value> {
        names.names.keys().map(|name| link(name)).map(|l| json!([l.label, l.anchor])).collect()
    };
    let odd = all.iter().enumerate().map(|(at, f)| (at, &f.id, anchors.finding(&f.id).anchor));
    let rows = json!({
        "keys": all.iter().map(keys).collect::<Vec<_>>(),
        "services": links(&services, &|name| anchors.service(name)),
        "controls": links(&controls, &|name| anchors.link(name)),
        "odd": odd.filter(|(_, id, anchor)| *anchor != finding_anchor(id)).map(|(at, _, anchor)| (at.to_string(), anchor)).collect::<BTreeMap<_, _>>(),
        "fresh": NEW,
        "no_zone": NO_ZONE,
        "acts": text::ACTING,
        "marks": text::COMBINING,
        "limits": {"rows": FINDINGS_ROWS_MAX, "text": TEXT_SHOWN_CHARS, "name": NAME_SHOWN_CHARS, "word": WORD_WHOLE_BYTES, "pile": COMBINING_MARKS_MAX, "pairs": PAIRS_ROWS_MAX},
    });
    (all.iter().take(FINDINGS_ROWS_MAX).map(view).collect(), sieve, rows)
}

/// Where a finding stands, unless another took the place.
pub(super) fn finding_anchor(id: &str) -> String {
    format!("f-{}", text::slug(id))
}

/// The first finding of each check, in the order of the assessment, with how many more of its kind there are: five lines about one
/// kind would hide four others. What an exception covers is nothing to begin with.
pub(super) fn first<'a>(a: &'a Assessment, anchors: &Anchors<'a>, sieve: &Sieve<'a>) -> Vec<First<'a>> {
    let mut out: Vec<First<'a>> = Vec::new();
    for it in a.findings.iter().filter(|it| it.waived.is_none()) {
        if let Some(same) = out.iter_mut().find(|f| f.it.check == it.check) {
            same.alike += 1;
        } else if out.len() < FIX_FIRST_MAX {
            let controls = it.controls.iter().map(|c| anchors.link(c)).collect();
            let token = sieve.picks.get(&*it.check).cloned().unwrap_or_default();
            out.push(First { it, goal: anchors.finding(&it.id), controls, alike: 0, token });
        }
    }
    out
}

/// What a finding can be besides, each with its token; a token begins with no letter by which findings are ordered.
const STATES: [(&str, &str); 4] = [("z0", "waived"), ("z1", "not waived"), ("z2", "suspect"), ("z3", "new since the baseline")];

/// The last of them, between spaces.
const NEW: &str = " z3 ";

const fn severity_token(weight: Weight) -> &'static str {
    match weight {
        Weight::High => "w0",
        Weight::Medium => "w1",
        Weight::Low => "w2",
    }
}
