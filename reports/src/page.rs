//! The page: what the template needs besides the assessment itself, which is order, anchors and places.
//!
//! INVARIANT: the page names no address outside itself; its one style block and its one script that runs (which filters, orders and
//! unfolds what is there) are named by digest in the content security policy. Without the script everything can be read.

mod access;
mod analyses;
mod changes;
mod findings;
mod governance;
mod reading;
mod tables;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use askama::Template;
use portreeve_auditor::assessment::{
    Assessment, BundleSummary, ChainVerdict, ControlResult, Evidence, Finding, Mark, Verdict, VerdictCount,
};
use portreeve_engine::Digest;
use serde_json::{Value, json};

use crate::json::block;
use crate::limits::{
    EVIDENCE_UNDER_CONTROL_MAX, FINDINGS_ROWS_MAX, FINDINGS_UNDER_CONTROL_MAX, REACH_NAMED_MAX, ROWS_MAX, TEXT_SHOWN_CHARS,
};
use crate::matrix::NO_ZONE;
use crate::{ReportError, filters, text};
use access::Access;
use changes::Changes;
use findings::{FindingView, First, Sieve};
use reading::Reading;
use tables::Table;

/// Renders the page.
pub(crate) fn render(assessment: &Assessment) -> Result<String, ReportError> {
    let data = block(assessment).map_err(ReportError::Json)?;
    let mut page = Page::of(assessment, data);
    page.rows = block(&page.rows_data).map_err(ReportError::Json)?;
    let page = page.render().map_err(ReportError::Render)?;
    Ok(text::tame(&page).into_owned())
}

#[derive(Template)]
#[template(path = "index.html", whitespace = "minimize")]
struct Page<'a> {
    a: &'a Assessment,
    anchors: Anchors<'a>,
    style: &'static str,
    style_digest: String,
    script: &'static str,
    script_digest: String,
    data: String,
    /// What the script needs to make rows of findings, and the same as text.
    rows_data: Value,
    rows: String,
    period: String,
    days: String,
    bar: Vec<Share>,
    first: Vec<First<'a>>,
    findings: Vec<FindingView<'a>>,
    sieve: Sieve<'a>,
    families: Vec<Family<'a>>,
    access: Access<'a>,
    governance: Vec<Table<'a>>,
    analyses: Vec<analyses::Group<'a>>,
    certificates: Vec<Table<'a>>,
    reading: Reading<'a>,
    changes: Option<Changes<'a>>,
    invariants: Vec<InvariantView<'a>>,
    chains: Vec<(ChainVerdict, usize)>,
    open_ended: usize,
    rejected: u64,
}

/// Raw lines of one log, a line each: number and digest. One text and not a list, since ten thousand findings have them.
struct Proof<'a> {
    input: usize,
    path: Option<&'a str>,
    lines: String,
}

/// A control and the findings that bear on it.
struct ControlView<'a> {
    it: &'a ControlResult,
    anchor: String,
    /// The first of its findings, and where they stand.
    findings: Vec<(&'a Finding, Goal)>,
    unknown: Vec<&'a str>,
    /// How many more it has, and what filters the list of findings to all of them.
    more: u64,
    token: Option<String>,
    evidence: Vec<Proof<'a>>,
}

/// A heading and the controls under it.
struct Family<'a> {
    catalog: &'a str,
    catalog_title: &'a str,
    opens_catalog: bool,
    name: &'a str,
    controls: Vec<ControlView<'a>>,
    verdicts: Vec<(Verdict, usize)>,
}

/// A name that leads somewhere where there is somewhere to go.
struct Link<'a> {
    label: &'a str,
    anchor: Option<String>,
}

/// One verdict's part of the bar, in thousandths of its width.
struct Share {
    verdict: Verdict,
    count: u64,
    x: u64,
    width: u64,
}

/// An invariant and the controls it names.
struct InvariantView<'a> {
    it: &'a portreeve_auditor::assessment::InvariantSummary,
    controls: Vec<Link<'a>>,
}

impl<'a> Page<'a> {
    fn of(a: &'a Assessment, data: String) -> Self {
        let anchors = Anchors::of(a);
        let (findings, sieve, mut rows_data) = findings::views(a, &anchors);
        let access = Access::of(a);
        if let Some(rows) = rows_data.as_object_mut() {
            let places: Vec<_> = a.services.iter().take(ROWS_MAX).map(|s| anchors.services.get(&*s.name)).collect();
            rows.extend([("pairs".to_owned(), json!(access.edges)), ("places".to_owned(), json!(places))]);
        }
        Page {
            a,
            style: STYLE,
            style_digest: base64(Digest::of(STYLE.as_bytes()).as_bytes()),
            script: SCRIPT,
            script_digest: base64(Digest::of(SCRIPT.as_bytes()).as_bytes()),
            data,
            rows_data,
            rows: String::new(),
            period: a.period.map(text::period).unwrap_or_default(),
            days: a.period.map(|p| text::about(p.to.unix_ms().saturating_sub(p.from.unix_ms()))).unwrap_or_default(),
            bar: bar(&a.summary.verdicts),
            first: findings::first(a, &anchors, &sieve),
            findings,
            families: families(a, &anchors, &sieve),
            access,
            governance: governance::tables(a, &anchors),
            analyses: analyses::groups(a, &anchors, &sieve),
            certificates: vec![analyses::certificates(a, &anchors, &sieve)],
            reading: Reading::of(a),
            changes: Changes::of(a, &anchors),
            invariants: a
                .invariants
                .iter()
                .map(|it| InvariantView { it, controls: it.controls.iter().map(|c| anchors.link(c)).collect() })
                .collect(),
            sieve,
            chains: chains(a),
            open_ended: a.inputs.iter().filter(|i| i.open_ended).count(),
            rejected: a.totals.rejected,
            anchors,
        }
    }

    /// Rows of a table that the page shows.
    fn rows<T>(&self, all: &'a [T]) -> &'a [T] {
        all.get(..ROWS_MAX).unwrap_or(all)
    }

    /// What it leaves to `assessment.json` beyond `max`.
    fn left(&self, all: usize, max: impl Borrow<usize>) -> u64 {
        all.saturating_sub(*max.borrow()) as u64
    }

    /// The bundle, where there was one: of several the assessment does not say which is the newest.
    fn only_bundle(&self) -> Option<&'a BundleSummary> {
        if let [only] = &*self.a.bundles { Some(only) } else { None }
    }

    /// What filters the list of findings to a check, where it found any.
    fn pick(&self, check: &str) -> Option<&str> {
        self.sieve.picks.get(check).map(|token| &**token)
    }

    fn service(&self, name: &str) -> Option<&str> {
        self.anchors.services.get(name).map(|anchor| &**anchor)
    }

    fn count(&self, verdict: Verdict) -> u64 {
        self.a.summary.verdicts.iter().find(|v| v.verdict == verdict).map_or(0, |v| v.count)
    }

    /// The name of a verdict's count, for [`filters::field`].
    fn verdict_field(&self, verdict: impl Borrow<Verdict>) -> &'static str {
        match verdict.borrow() {
            Verdict::MetTechnical => "summary.verdicts.met-technical",
            Verdict::NotMet => "summary.verdicts.not-met",
            Verdict::Suspect => "summary.verdicts.suspect",
            Verdict::NeedsHuman => "summary.verdicts.needs-human",
            Verdict::NotAssessed => "summary.verdicts.not-assessed",
            Verdict::NotApplicable => "summary.verdicts.not-applicable",
            Verdict::Waived => "summary.verdicts.waived",
        }
    }

    fn reach_named(&self) -> &[String] {
        let all = &self.a.summary.sensitive_reach;
        all.get(..REACH_NAMED_MAX).unwrap_or(all)
    }

    fn len<T>(&self, all: &[T]) -> u64 {
        all.len() as u64
    }

    fn marks(&self) -> Vec<(Mark, u64)> {
        let count = |mark| self.a.matrix.iter().filter(|c| c.mark == mark).count() as u64;
        [Mark::Used, Mark::UsedConditional, Mark::Unused, Mark::Denied, Mark::Shadow].map(|mark| (mark, count(mark))).into()
    }

    /// Some pair has a mark and denials besides.
    fn denied_too(&self) -> bool {
        self.a.matrix.iter().any(|c| c.denied && c.mark != Mark::Denied)
    }

    fn zone_of(&self, service: &str) -> &'a str {
        zone_of(self.a, service)
    }

    /// The length of a bar among others, in thousandths of the longest.
    fn length(&self, count: u64, all: impl Iterator<Item = u64>) -> u64 {
        let longest = all.max().unwrap_or_default().max(1);
        u64::try_from(u128::from(count) * 1000 / u128::from(longest)).unwrap_or(1000)
    }

    fn denial_length(&self, count: impl Borrow<u64>) -> u64 {
        self.length(*count.borrow(), self.a.denials.iter().map(|d| d.count))
    }

    fn refusal_length(&self, count: impl Borrow<u64>) -> u64 {
        self.length(*count.borrow(), self.a.refusals.iter().map(|d| d.count))
    }

    fn tls_length(&self, count: impl Borrow<u64>) -> u64 {
        self.length(*count.borrow(), self.a.tls.iter().map(|d| d.requests))
    }
}

impl<'a> Proof<'a> {
    fn of<'e>(evidence: impl Iterator<Item = &'e Evidence>, a: &'a Assessment) -> Vec<Self> {
        let mut out: Vec<Self> = Vec::new();
        for line in evidence {
            let place = out.iter().position(|p| p.input == line.input).unwrap_or_else(|| {
                let path = a.inputs.get(line.input).map(|i| &*i.path);
                out.push(Self { input: line.input, path, lines: String::new() });
                out.len() - 1
            });
            if let Some(proof) = out.get_mut(place) {
                let end = if proof.lines.is_empty() { "" } else { "\n" };
                let _infallible = write!(proof.lines, "{end}{:>8}  {}", line.line, line.sha256);
            }
        }
        out
    }
}

impl<'a> ControlView<'a> {
    /// On paper it takes a line: the evidence speaks neither for it nor against it, so there is nothing to file beside the verdict.
    fn is_terse(&self) -> bool {
        matches!(self.it.verdict, Verdict::NeedsHuman | Verdict::NotAssessed | Verdict::NotApplicable)
    }

    /// What a person must add is all that it wants, and stands on paper too.
    fn wants_a_person(&self) -> bool {
        self.it.verdict == Verdict::NeedsHuman && !self.it.needs.is_empty()
    }

    fn of(it: &'a ControlResult, a: &'a Assessment, anchors: &Anchors<'a>, sieve: &Sieve<'a>) -> Self {
        let found = it.findings.iter().filter_map(|id| anchors.by_id.get(id.as_str()).copied());
        let findings: Vec<_> = found.take(FINDINGS_UNDER_CONTROL_MAX).map(|f| (f, anchors.finding(&f.id))).collect();
        let unknown: Vec<_> = it.findings.iter().map(|id| &**id).filter(|id| !anchors.by_id.contains_key(id)).collect();
        let evidence = Proof::of(findings.iter().flat_map(|(f, _)| &f.evidence).take(EVIDENCE_UNDER_CONTROL_MAX), a);
        Self {
            it,
            anchor: anchors.control(&it.catalog, &it.id),
            more: (it.findings.len() - unknown.len() - findings.len()) as u64,
            token: sieve.bearing.get(&*format!("{} {}", it.catalog, it.id)).cloned(),
            findings,
            unknown,
            evidence,
        }
    }
}

/// Where a finding or a pair of services stands: on a row of the page, or in its data, from where the script brings it to its list.
#[derive(Clone, Default)]
pub(crate) struct Goal {
    pub(crate) anchor: String,
    pub(crate) list: &'static str,
    pub(crate) on_a_row: bool,
}

/// Where findings and controls stand on the page; every anchor is used once.
struct Anchors<'a> {
    findings: BTreeMap<&'a str, Goal>,
    by_id: BTreeMap<&'a str, &'a Finding>,
    controls: BTreeMap<String, String>,
    services: BTreeMap<&'a str, String>,
    only_catalog: Option<&'a str>,
}

impl<'a> Anchors<'a> {
    fn of(a: &'a Assessment) -> Self {
        let mut taken = BTreeSet::new();
        let only_catalog = if let [only] = &*a.catalogs { Some(&**only) } else { None };
        let mut out =
            Self { findings: BTreeMap::new(), by_id: BTreeMap::new(), controls: BTreeMap::new(), services: BTreeMap::new(), only_catalog };
        for (at, finding) in a.findings.iter().enumerate() {
            let anchor = fresh(&findings::finding_anchor(&finding.id), &mut taken);
            out.findings.entry(&finding.id).or_insert(Goal { anchor, list: "findings", on_a_row: at < FINDINGS_ROWS_MAX });
            out.by_id.entry(&finding.id).or_insert(finding);
        }
        for control in &a.controls {
            let name = format!("{} {}", control.catalog, control.id);
            let anchor = fresh(&format!("c-{}", text::slug(&name)), &mut taken);
            out.controls.entry(name).or_insert(anchor);
        }
        for service in a.services.iter().take(ROWS_MAX) {
            let anchor = fresh(&format!("s-{}", text::slug(&service.name)), &mut taken);
            out.services.entry(&service.name).or_insert(anchor);
        }
        out
    }

    fn finding(&self, id: &str) -> Goal {
        self.findings.get(id).cloned().unwrap_or_default()
    }

    /// The anchor of a finding that stands on a row.
    fn on_a_row(&self, id: &str) -> Option<String> {
        self.findings.get(id).filter(|goal| goal.on_a_row).map(|goal| goal.anchor.clone())
    }

    fn control(&self, catalog: &str, id: &str) -> String {
        self.controls.get(&format!("{catalog} {id}")).cloned().unwrap_or_default()
    }

    fn link(&self, label: &'a str) -> Link<'a> {
        let anchor = self.controls.get(label).cloned();
        Link { label: if anchor.is_some() { self.without_only_catalog(label) } else { label }, anchor }
    }

    /// Where there is one catalogue its name need not stand before every id.
    fn without_only_catalog(&self, label: &'a str) -> &'a str {
        self.only_catalog.and_then(|catalog| label.strip_prefix(catalog)).and_then(|rest| rest.strip_prefix(' ')).unwrap_or(label)
    }

    fn service(&self, name: &'a str) -> Link<'a> {
        Link { label: name, anchor: self.services.get(name).cloned() }
    }
}

fn fresh(wanted: &str, taken: &mut BTreeSet<String>) -> String {
    let mut anchor = wanted.to_owned();
    let mut again = 2;
    while !taken.insert(anchor.clone()) {
        anchor = format!("{wanted}-{again}");
        again += 1;
    }
    anchor
}

/// The word for a verdict, for the template.
fn word(verdict: impl Borrow<Verdict>) -> &'static str {
    filters::verdict_word(*verdict.borrow())
}

fn families<'a>(a: &'a Assessment, anchors: &Anchors<'a>, sieve: &Sieve<'a>) -> Vec<Family<'a>> {
    let mut out: Vec<Family<'a>> = Vec::new();
    for control in &a.controls {
        let same = out.last().is_some_and(|f| f.catalog == control.catalog && f.name == control.family);
        if !same {
            let opens_catalog = out.last().is_none_or(|f| f.catalog != control.catalog);
            let title = a.catalogs.iter().zip(&a.catalog_titles).find(|(id, _)| **id == control.catalog).map(|(_, title)| &**title);
            out.push(Family {
                catalog: &control.catalog,
                catalog_title: title.unwrap_or(&control.catalog),
                opens_catalog,
                name: &control.family,
                controls: Vec::new(),
                verdicts: Vec::new(),
            });
        }
        if let Some(family) = out.last_mut() {
            family.controls.push(ControlView::of(control, a, anchors, sieve));
        }
    }
    for family in &mut out {
        let count = |verdict| family.controls.iter().filter(|c| c.it.verdict == verdict).count();
        family.verdicts = Verdict::ALL.map(|verdict| (verdict, count(verdict))).into_iter().filter(|(_, n)| *n > 0).collect();
    }
    out
}

/// The verdicts' parts of a bar.
fn bar(verdicts: &[VerdictCount]) -> Vec<Share> {
    let counts: Vec<u64> = verdicts.iter().map(|v| v.count).collect();
    let share = |(part, (x, width)): (&VerdictCount, (u64, u64))| Share { verdict: part.verdict, count: part.count, x, width };
    verdicts.iter().zip(parts(&counts)).map(share).collect()
}

/// Where the parts of a bar 1000 wide begin and how wide they are; the last part ends at its end, whatever was rounded before.
fn parts(counts: &[u64]) -> Vec<(u64, u64)> {
    let all: u64 = counts.iter().sum();
    let at = |sum: u64| u64::try_from(u128::from(sum) * 1000 / u128::from(all.max(1))).unwrap_or(1000);
    let mut before = 0;
    let mut out = Vec::new();
    for count in counts {
        let (x, end) = (at(before), at(before + count));
        before += count;
        out.push((x, end - x));
    }
    out
}

fn zone_of<'a>(a: &'a Assessment, service: &str) -> &'a str {
    a.services.iter().find(|s| s.name == service).and_then(|s| s.zone.as_deref()).unwrap_or(NO_ZONE)
}

/// Logs by what their chains show, the worst first.
fn chains(a: &Assessment) -> Vec<(ChainVerdict, usize)> {
    [ChainVerdict::Broken, ChainVerdict::Empty, ChainVerdict::Unchained, ChainVerdict::SelfConsistent, ChainVerdict::Vouched]
        .map(|chain| (chain, a.inputs.iter().filter(|i| i.chain == chain).count()))
        .into_iter()
        .filter(|(_, n)| *n > 0)
        .collect()
}

/// The line above an item had to cut this text.
fn is_long(text: &str) -> bool {
    text.chars().nth(TEXT_SHOWN_CHARS).is_some()
}

/// What a reason of a denial means, for readers who never saw one.
fn reason_gloss(reason: &str) -> &'static str {
    match reason {
        "malformed-request" => "the request itself was ambiguous or broken",
        "unknown-service" => "the inventory does not have the called service",
        "invalid-token" => "a user token was sent that is not acceptable",
        "prohibited" => "a policy prohibits it",
        "evaluation-error" => "a policy could not be evaluated, so the answer is no",
        "unknown-principal" => "no service of the inventory has the caller’s identity",
        "undeclared-operation" => "the inventory does not declare the operation",
        "condition-unmet" => "a grant covers it, its conditions did not hold",
        "by-the-mesh" => "another mesh denied it, and names no policy of ours",
        "no-permission" => "no grant covers it",
        _ => "",
    }
}

fn mark_word(mark: impl Borrow<Mark>) -> &'static str {
    filters::mark_word(*mark.borrow())
}

fn mark_class(mark: impl Borrow<Mark>) -> &'static str {
    filters::mark_class(*mark.borrow())
}

/// What a verdict means.
fn verdict_gloss(verdict: impl Borrow<Verdict>) -> &'static str {
    match verdict.borrow() {
        Verdict::MetTechnical => "The technical part holds for all of a measured population over the whole period.",
        Verdict::NotMet => "At least one verified counterexample, with the raw lines that show it.",
        Verdict::Suspect => "A counterexample whose evidence is too weak to refute; a person must look.",
        Verdict::NeedsHuman => "The technical part may support it; what a person must add is listed. Not a pass.",
        Verdict::NotAssessed => "No input, or not enough of it. Says nothing either way, and stays in the count.",
        Verdict::NotApplicable => "Declared so in the scope, with a reason and an approver. Never inferred.",
        Verdict::Waived => "Not met, and covered by an approved exception that has not expired.",
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().chain(&[0; 2]).take(3).fold(0_usize, |word, byte| word << 8 | usize::from(*byte));
        for place in 0..4 {
            let letter = ALPHABET.get(word >> (18 - 6 * place) & 63).copied().unwrap_or(b'A');
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

const STYLE: &str = include_str!("../templates/style.css");

const SCRIPT: &str = include_str!("../templates/script.js");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_the_standard_one() {
        for (given, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy"), ("\u{ff}?>", "w78/Pg==")]
        {
            assert_eq!(base64(given.as_bytes()), expected);
        }
    }

    #[test]
    fn anchors_never_meet() {
        let mut taken = BTreeSet::new();
        let made: Vec<_> = ["a", "a", "a-2", "a"].map(|a| fresh(a, &mut taken)).into();
        assert_eq!(made, ["a", "a-2", "a-2-2", "a-3"]);
    }
}
