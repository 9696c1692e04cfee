//! Control catalogues: which checks bear on which control, and which verdicts are honest. Data in YAML, read with places.
//!
//! A catalogue never says how a check works; it only names it. The catalogue of PCI DSS v4.0.1 is built in.

use std::collections::BTreeSet;

use portreeve_engine::yaml::{Fields, Text, parse};
use portreeve_engine::{Diagnostic, Location};

use crate::assessment::{ControlResult, Verdict, Waiver};
use crate::checks::{CHECKS, Found, check};
use crate::examined::{Examined, list, many};
use crate::governance::{Exception, names_control};
use crate::measure::Measure;
use crate::own_checks::{FAILED, failures};
use crate::verdict::{Measured, Otherwise, Share, Speech, Weighed, Witness, speech, verdict};

/// A catalogue of controls.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// Its id, such as `pci-dss-4.0.1`.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its controls, in its order.
    pub controls: Vec<Control>,
}

/// One control, and what bears on it.
#[derive(Clone, Debug)]
pub struct Control {
    /// Its id in the catalogue.
    pub id: String,
    /// The heading it stands under.
    pub family: String,
    /// In our own words.
    pub title: String,
    /// A proved finding of these checks refutes it.
    pub refuted_by: Vec<String>,
    /// A finding of these speaks against it; a person must confirm it.
    pub doubted_by: Vec<String>,
    /// Findings of these are shown beside it.
    pub informed_by: Vec<String>,
    /// Populations that must be known whole.
    pub measured: Vec<Measure>,
    /// How much of each must be known.
    pub coverage_min: Share,
    /// What may be said where nothing was found.
    pub otherwise: Otherwise,
    /// What a person must add.
    pub needs: Vec<String>,
    /// What this evidence cannot show.
    pub cannot_show: String,
    /// Where it is declared.
    pub at: Location,
}

/// The built-in catalogue of PCI DSS v4.0.1.
pub const PCI_DSS: (&str, &str) = ("pci-dss-4.0.1.yaml", include_str!("../../policies/controls/pci-dss-4.0.1.yaml"));

/// Ids of the built-in catalogues.
pub const BUILT_IN: [&str; 3] = ["pci-dss-4.0.1", "nist-800-53-r5", "soc2"];

/// Their files and texts, in the same order.
const TEXTS: [(&str, &str); 3] = [
    PCI_DSS,
    ("nist-800-53-r5.yaml", include_str!("../../policies/controls/nist-800-53-r5.yaml")),
    ("soc2.yaml", include_str!("../../policies/controls/soc2.yaml")),
];

impl Catalog {
    /// The built-in catalogue of this id.
    ///
    /// # Errors
    /// There is none, or (never in a tested build) its text is wrong.
    pub fn built_in(id: &str) -> Result<Self, Vec<Diagnostic>> {
        if let Some((_, (file, text))) = BUILT_IN.iter().zip(TEXTS).find(|(known, _)| **known == id) {
            return Self::parse(file, text);
        }
        let help = format!("give a file, or one of these: `{}`", BUILT_IN.join("`, `"));
        Err(vec![Diagnostic::error("unknown-catalog", format!("there is no built-in catalogue `{id}`")).help(help).suggest(id, BUILT_IN)])
    }

    /// Whether it is called as a built-in catalogue is, and was read from another text.
    #[must_use]
    pub fn poses_as_built_in(&self, text: &str) -> bool {
        BUILT_IN.iter().zip(TEXTS).any(|(known, (_, theirs))| **known == *self.id && theirs != text)
    }

    /// Reads a catalogue that names built-in checks alone.
    ///
    /// # Errors
    /// Everything that is wrong with it, by line.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        Self::parse_with(file, text, &[])
    }

    /// Reads a catalogue that may name checks of the user's own, too.
    ///
    /// # Errors
    /// Everything that is wrong with it, by line.
    pub fn parse_with(file: &str, text: &str, own: &[String]) -> Result<Self, Vec<Diagnostic>> {
        let documents = parse(file, text).map_err(|e| vec![e])?;
        let mut out = Vec::new();
        let catalog = match documents.as_slice() {
            [document] => Fields::of(file, document, &mut out).and_then(|fields| catalog(fields, own, &mut out)),
            _ => {
                out.push(Diagnostic::error("catalog-shape", format!("`{file}` has {} documents; a catalogue is one", documents.len())));
                None
            }
        };
        match catalog {
            Some(catalog) if out.is_empty() => Ok(catalog),
            _ => Err(out.into_iter().map(|d| d.with_source(text)).collect()),
        }
    }
}

fn catalog(mut fields: Fields<'_>, own: &[String], out: &mut Vec<Diagnostic>) -> Option<Catalog> {
    let file = fields.file();
    let id = said(&mut fields, "catalog", out);
    let title = said(&mut fields, "title", out);
    let list = fields.require("controls", out);
    fields.finish(out);
    let (id, title, list) = (id?, title?, list?);
    let portreeve_engine::yaml::Value::Sequence(items) = &list.value else {
        out.push(Diagnostic::error("wrong-type", format!("expected a list, found {}", list.kind())).at(list.location(file)));
        return None;
    };
    let mut controls: Vec<Control> = Vec::new();
    let mut seen = BTreeSet::new();
    for item in items {
        let Some(control) = Fields::of(file, item, out).and_then(|fields| control(fields, own, out)) else { continue };
        if !seen.insert(control.id.clone()) {
            out.push(Diagnostic::error("duplicate-control", format!("control `{}` is given twice", control.id)).at(control.at.clone()));
        }
        controls.push(control);
    }
    if controls.is_empty() && out.is_empty() {
        out.push(Diagnostic::error("catalog-shape", "a catalogue has at least one control").at(list.location(file)));
    }
    Some(Catalog { id: id.text.to_owned(), title: title.text.to_owned(), controls })
}

fn control(mut fields: Fields<'_>, own: &[String], out: &mut Vec<Diagnostic>) -> Option<Control> {
    let (file, at) = (fields.file(), fields.location());
    let id = said(&mut fields, "id", out);
    let family = said(&mut fields, "family", out);
    let title = said(&mut fields, "title", out);
    let mut checks = |name, out: &mut Vec<Diagnostic>| known_checks(file, fields.texts(name, out), own, out);
    let refuted_by = checks("refuted_by", out);
    let doubted_by = checks("doubted_by", out);
    let informed_by = checks("informed_by", out);
    let measured = fields.texts("measured", out).into_iter().filter_map(|text| measure(file, text, out)).collect::<Vec<_>>();
    let coverage_min = fields.text("coverage", out).and_then(|text| share(file, text, out)).unwrap_or(Share::WHOLE);
    let otherwise = fields.require_text("otherwise", out).and_then(|text| otherwise(file, text, out));
    let needs = fields.texts("needs", out).into_iter().map(|t| t.text.to_owned()).collect();
    let cannot_show = said(&mut fields, "cannot_show", out);
    fields.finish(out);
    let otherwise = otherwise?;
    if otherwise == Otherwise::MetTechnical && (measured.is_empty() || (refuted_by.is_empty() && doubted_by.is_empty())) {
        let message = "`met-technical` needs a measured population and a check that can speak against it";
        out.push(
            Diagnostic::error("unfounded-verdict", message)
                .at(at.clone())
                .help("add `measured`, and `refuted_by` or `doubted_by`, or say `needs-human`"),
        );
    }
    Some(Control {
        id: id?.text.to_owned(),
        family: family?.text.to_owned(),
        title: title?.text.to_owned(),
        refuted_by,
        doubted_by,
        informed_by,
        measured,
        coverage_min,
        otherwise,
        needs,
        cannot_show: cannot_show?.text.to_owned(),
        at,
    })
}

/// A text that says something: a control without a name could not be told from another, and one that shows all has no limits.
fn said<'n>(fields: &mut Fields<'n>, name: &'static str, out: &mut Vec<Diagnostic>) -> Option<Text<'n>> {
    let text = fields.require_text(name, out)?;
    if text.text.trim().is_empty() {
        out.push(Diagnostic::error("invalid-value", format!("`{name}` says nothing")).at(text.location(fields.file())));
        return None;
    }
    Some(text)
}

fn known_checks(file: &str, names: Vec<Text<'_>>, own: &[String], out: &mut Vec<Diagnostic>) -> Vec<String> {
    for name in names.iter().filter(|name| check(name.text).is_none() && own.iter().all(|known| known != name.text)) {
        let message = format!("there is no check `{}`", name.text);
        out.push(
            Diagnostic::error("unknown-check", message)
                .at(name.location(file))
                .suggest(name.text, CHECKS.iter().map(|c| c.id).chain(own.iter().map(String::as_str))),
        );
    }
    names.into_iter().map(|name| name.text.to_owned()).collect()
}

fn measure(file: &str, text: Text<'_>, out: &mut Vec<Diagnostic>) -> Option<Measure> {
    let found = Measure::ALL.iter().find(|(word, _)| *word == text.text).map(|(_, measure)| *measure);
    if found.is_none() {
        let message = format!("there is no population `{}`", text.text);
        let known = Measure::ALL.iter().map(|(word, _)| *word);
        out.push(Diagnostic::error("unknown-population", message).at(text.location(file)).suggest(text.text, known));
    }
    found
}

/// `99.5%`, as ten-thousandths.
fn share(file: &str, text: Text<'_>, out: &mut Vec<Diagnostic>) -> Option<Share> {
    let read = || {
        let (whole, part) = text.text.strip_suffix('%')?.split_once('.').unwrap_or((text.text.strip_suffix('%')?, ""));
        let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit()).then_some(());
        digits(whole).and(digits(part))?;
        let (whole, part): (u32, u32) = (whole.parse().ok()?, format!("{part:0<2}").get(..2)?.parse().ok()?);
        let share = whole.checked_mul(100)?.checked_add(part)?;
        (part_len_fits(text.text) && share > 0 && share <= Share::WHOLE.0).then_some(Share(share))
    };
    let found = read();
    if found.is_none() {
        let message = format!("`{}` is not a share of a population", text.text);
        out.push(
            Diagnostic::error("invalid-value", message)
                .at(text.location(file))
                .help("write per cent, such as `99.5%`; at most two decimals"),
        );
    }
    found
}

/// At most two decimals: a third would be dropped unseen.
fn part_len_fits(text: &str) -> bool {
    text.trim_end_matches('%').split_once('.').is_none_or(|(_, part)| (1..=2).contains(&part.len()))
}

fn otherwise(file: &str, text: Text<'_>, out: &mut Vec<Diagnostic>) -> Option<Otherwise> {
    match text.text {
        "met-technical" => Some(Otherwise::MetTechnical),
        "needs-human" => Some(Otherwise::NeedsHuman),
        "not-assessed" => Some(Otherwise::NotAssessed),
        other => {
            let message = format!("`{other}` is not a verdict that a catalogue may give");
            let help = "one of `met-technical`, `needs-human`, `not-assessed`";
            out.push(Diagnostic::error("invalid-value", message).at(text.location(file)).help(help));
            None
        }
    }
}

impl Control {
    /// Whether findings of this check are shown with the control.
    pub(crate) fn concerns(&self, check: &str) -> bool {
        [&self.refuted_by, &self.doubted_by, &self.informed_by].into_iter().flatten().any(|name| name == check)
    }

    pub(crate) fn judge(&self, catalog: &str, found: &[Found], examined: &Examined<'_>) -> ControlResult {
        let heard = self.hear(catalog, found, examined);
        let measured: Vec<(Measure, Measured)> = self.measured.iter().map(|m| (*m, m.of(examined))).collect();
        let populations: Vec<Measured> = measured.iter().map(|(_, m)| *m).collect();
        let failures = failures(found);
        let named = self.refuted_by.iter().chain(&self.doubted_by).map(String::as_str);
        let failed: Vec<&str> = named.filter(|name| failures.contains(name)).collect();
        let excused = examined.scope().not_applicable(catalog, &self.id);
        let verdict = verdict(&Weighed {
            refuting: heard.refuting.len() as u64,
            doubting: heard.doubting.len() as u64,
            waived: heard.waived.len() as u64,
            failed: failed.len() as u64,
            measured: &populations,
            coverage_min: self.coverage_min,
            otherwise: self.otherwise,
            not_applicable: excused.is_some(),
        });
        let mut why = match excused {
            Some(n) => format!("declared not applicable by {}: {}", list(n.approved_by.iter().map(String::as_str)), n.reason),
            None if verdict == Verdict::NotAssessed && !failed.is_empty() => {
                format!("a check that bears on it could not be made: {}", list(failed.iter().copied()))
            }
            None => self.why(verdict, &heard, &measured),
        };
        why.push_str(&heard.aside(verdict));
        if verdict == Verdict::MetTechnical && self.measured.iter().all(|m| !m.is_of_logs()) {
            why.push_str("; this rests on the policy and on what people put on record, and on no traffic");
        }
        why.push_str(&late_reviews(&self.measured, verdict, examined));
        why.push_str(&proofs(catalog, &self.id, examined));
        let mut checks: Vec<String> = Vec::new();
        for name in self.refuted_by.iter().chain(&self.doubted_by).chain(&self.informed_by) {
            if !checks.contains(name) {
                checks.push(name.clone());
            }
        }
        ControlResult {
            catalog: catalog.to_owned(),
            id: self.id.clone(),
            family: self.family.clone(),
            title: self.title.clone(),
            verdict,
            why,
            checks,
            findings: found
                .iter()
                .filter(|f| self.concerns(&f.finding.check) || (f.finding.check == FAILED && failed.contains(&f.finding.subject.as_str())))
                .map(|f| f.finding.id.clone())
                .collect(),
            needs: self.needs.clone(),
            attested: attested(catalog, &self.id, examined),
            cannot_show: self.cannot_show.clone(),
        }
    }

    /// What each finding that speaks against it says.
    fn hear<'f>(&self, catalog: &str, found: &'f [Found], examined: &'f Examined<'_>) -> Heard<'f> {
        let today = examined.now.map(|now| now.date());
        let excepting = examined.exceptions.iter().find(|e| e.covers_control(catalog, &self.id) && e.holds(today));
        let mut heard = Heard::default();
        for f in found {
            let may_refute = self.refuted_by.contains(&f.finding.check);
            if !may_refute && !self.doubted_by.contains(&f.finding.check) {
                continue;
            }
            let waiver = f.finding.waived.clone().or_else(|| excepting.and_then(Exception::waiver));
            let excepted = waiver.is_some();
            match speech(Witness { may_refute, proved: !f.suspect, excepted }) {
                Speech::Refutes => heard.refuting.push(f),
                Speech::Doubts => heard.doubting.push(f),
                Speech::Waived => heard.waived.extend(waiver.map(|w| (f, w))),
            }
        }
        heard
    }

    fn why(&self, verdict: Verdict, heard: &Heard<'_>, measured: &[(Measure, Measured)]) -> String {
        let first = |found: &[&Found]| found.first().map(|f| f.finding.summary.clone()).unwrap_or_default();
        let words = |(m, n): &(Measure, Measured)| format!("{} of {} {}", n.have, n.of, m.words());
        let numbers = || measured.iter().map(words).collect::<Vec<_>>().join(", ");
        let lacking: Vec<String> = measured.iter().filter(|(_, n)| !n.reaches(self.coverage_min)).map(words).collect();
        match verdict {
            Verdict::NotMet => {
                format!("{} against it; the first: {}", many(heard.refuting.len() as u64, "proved finding"), first(&heard.refuting))
            }
            Verdict::Suspect => {
                format!("{} against it, none proved; the first: {}", many(heard.doubting.len() as u64, "finding"), first(&heard.doubting))
            }
            Verdict::Waived => "nothing speaks against it but what is excepted".to_owned(),
            Verdict::NotAssessed if self.otherwise == Otherwise::NotAssessed => "this evidence says nothing about it".to_owned(),
            Verdict::NotAssessed => format!("no counterexample, but the evidence is not whole: {}", lacking.join(", ")),
            _ if measured.is_empty() => "no counterexample".to_owned(),
            // What the catalogue lets pass for enough is not all.
            _ if measured.iter().any(|(_, n)| !n.is_whole()) => {
                format!("no counterexample among {}, of which the catalogue asks for {} only", numbers(), self.coverage_min)
            }
            _ => format!("no counterexample among {}", numbers()),
        }
    }
}

/// Findings by what they say of one control.
#[derive(Default)]
struct Heard<'f> {
    refuting: Vec<&'f Found>,
    doubting: Vec<&'f Found>,
    waived: Vec<(&'f Found, Waiver)>,
}

impl Heard<'_> {
    /// What stands beside the verdict and must not be lost under it.
    fn aside(&self, verdict: Verdict) -> String {
        let mut out = String::new();
        if verdict == Verdict::NotApplicable && !(self.refuting.is_empty() && self.doubting.is_empty()) {
            out.push_str(&format!("; all the same {} against it", many((self.refuting.len() + self.doubting.len()) as u64, "finding")));
        }
        if let Some((_, waiver)) = self.waived.iter().min_by_key(|(_, w)| w.until) {
            let by = list(waiver.approved_by.iter().map(String::as_str));
            let n = many(self.waived.len() as u64, "finding");
            out.push_str(&format!("; {n} excepted until {} by {by}: {}", waiver.until, waiver.reason));
        }
        out
    }
}

/// What people attest about a control, each with who and when.
fn attested(catalog: &str, id: &str, examined: &Examined<'_>) -> Vec<String> {
    let today = examined.now.map(|now| now.date());
    let about = examined.governance.attestations.iter().filter(|a| a.controls.iter().any(|name| names_control(name, catalog, id)));
    about
        .map(|a| {
            let late = if a.is_overdue(today) { ", which is too long ago to count" } else { "" };
            format!("{} ({} on {}{late})", a.statement, list(a.by.iter().map(String::as_str)), a.on)
        })
        .collect()
}

/// That what is said rests on a review that was made after the last record, where it does.
fn late_reviews(measured: &[Measure], verdict: Verdict, examined: &Examined<'_>) -> String {
    let Some(today) = examined.today().filter(|_| matches!(verdict, Verdict::MetTechnical | Verdict::NeedsHuman)) else {
        return String::new();
    };
    let reviews = measured.iter().filter_map(|m| examined.counted_review(m.subject()?));
    let late = reviews.filter(|r| r.days_after(today) > 0);
    late.map(|r| format!("; the review `{}` was made {} after the last record", r.name, many(r.days_after(today).unsigned_abs(), "day")))
        .collect()
}

/// The proved invariants that name this control: `pci-1.4.4` names 1.4.4 of every catalogue whose id begins with `pci-`.
fn proofs(catalog: &str, id: &str, examined: &Examined<'_>) -> String {
    let names_it = |name: &String| names_control(name, catalog, id);
    let proved: Vec<&str> = examined.newest.invariants().iter().filter(|i| i.controls.iter().any(names_it)).map(|i| &*i.name).collect();
    if proved.is_empty() { String::new() } else { format!("; proved for every request: {}", proved.join(", ")) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Rows of the table whose `not-met` no input of ours can show, and why.
    const BLIND: [(&str, &str); 4] = [
        ("1.4.5", "headers of answers are in no record"),
        ("6.3.3", "advisories are no input"),
        ("6.4.1", "what protects a public route is no input"),
        ("6.4.2", "what protects a public route is no input"),
    ];

    #[test]
    fn the_catalogue_of_pci_has_every_row_of_the_table_and_its_honest_verdicts() {
        let rows = include_str!("../../tests/corpus/controls/pci-dss-4.0.1.txt");
        let rows: Vec<(Vec<&str>, &str)> = rows
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_once(": ").map(|(ids, marks)| (ids.split(' ').collect(), marks)).unwrap())
            .collect();
        assert_eq!(rows.len(), 104, "103 rows, one of which is parted here because it refers to two others");
        let catalog = Catalog::built_in("pci-dss-4.0.1").unwrap();
        let ours: Vec<&str> = catalog.controls.iter().map(|c| c.id.as_str()).collect();
        let all: BTreeSet<&str> = rows.iter().flat_map(|(ids, _)| ids.iter().copied()).collect();
        assert_eq!(ours.iter().copied().collect::<BTreeSet<_>>(), all);
        for (ids, marks) in &rows {
            for id in ids {
                let control = catalog.controls.iter().find(|c| c.id == *id).unwrap();
                let has = |mark| marks.contains(mark);
                let blind = BLIND.iter().any(|(known, why)| known == id && why.len() > 10);
                assert_eq!(control.otherwise == Otherwise::MetTechnical, has('m'), "{id}: met-technical");
                assert_eq!(!control.refuted_by.is_empty(), has('n') && !blind, "{id}: not-met");
                assert!(control.otherwise != Otherwise::NeedsHuman || has('h'), "{id}: needs-human");
                assert!(control.otherwise != Otherwise::NotAssessed || !(has('m') || has('h')), "{id}: not-assessed");
                assert!(!(has('s') && control.doubted_by.is_empty() && control.refuted_by.is_empty()), "{id}: suspect");
            }
        }
    }

    /// Ids exist and stand in the family that is theirs; the words of titles are ours.
    #[test]
    fn the_catalogues_of_nist_and_soc_2_name_what_there_is() {
        let list = include_str!("../../tests/corpus/controls/nist-800-53-r5.tsv");
        let rows = list.lines().filter(|line| !line.starts_with('#')).map(|line| line.split_once('\t').unwrap());
        let known: BTreeMap<&str, &str> = rows.collect();
        let catalog = Catalog::built_in("nist-800-53-r5").unwrap();
        let plain = |text: &str| text.to_lowercase().replace(", and ", " and ");
        let mut tenets = Vec::new();
        for control in &catalog.controls {
            let (letters, number) = control.id.split_once('-').unwrap();
            if letters == "ZT" {
                tenets.push(number);
                assert!(control.family.contains("SP 800-207") && control.title.contains(&format!("tenet {number}")), "{}", control.id);
                continue;
            }
            let title = known.get(control.id.as_str()).unwrap_or_else(|| panic!("there is no {}", control.id));
            assert_ne!(plain(title), plain(&control.title), "{}: the words are to be ours", control.id);
            assert_eq!(plain(&control.family), plain(&format!("{letters} {}", known[letters])), "{}", control.id);
        }
        assert_eq!(tenets, ["1", "2", "3", "4", "5", "6", "7"]);
        let of = |id: &str| Catalog::built_in(id).unwrap().controls.into_iter().map(|c| c.id).collect::<Vec<_>>();
        assert_eq!(of("nist-800-53-r5").len() - 7, known.len() - known.keys().filter(|k| !k.contains('-')).count());
        let listed = include_str!("../../tests/corpus/controls/soc2-tsc-2017.txt");
        let criteria = listed.lines().filter(|id| id.starts_with("CC6.") || id.starts_with("CC7."));
        assert_eq!(of("soc2"), criteria.collect::<Vec<_>>());
        assert_eq!(of("soc2").len(), 13);
    }

    #[test]
    fn built_in_catalogues_are_sound() {
        for id in BUILT_IN {
            let catalog = Catalog::built_in(id).unwrap();
            assert_eq!(catalog.id, id);
            for control in &catalog.controls {
                let text = format!("{} {} {:?}", control.title, control.cannot_show, control.needs).to_lowercase();
                assert!(!text.contains("compliant") && !text.contains("in place"), "{}", control.id);
                assert!(!control.needs.is_empty() && control.needs.iter().all(|n| n.len() > 5), "{}", control.id);
                let twice = control.refuted_by.iter().filter(|c| control.doubted_by.contains(c) || control.informed_by.contains(c)).count();
                assert_eq!(twice, 0, "{}: a check bears on it in two ways", control.id);
            }
            // Two requirements of one name would look like one that is listed twice.
            let titles: BTreeMap<_, _> = catalog.controls.iter().map(|c| (c.title.as_str(), c.id.as_str())).collect();
            let hidden = catalog.controls.iter().find(|c| titles.get(c.title.as_str()).is_none_or(|last| *last != c.id));
            assert!(hidden.is_none(), "{id}: {hidden:?} has the title of another one");
        }
        assert!(Catalog::built_in("pci").unwrap_err()[0].render().contains("no built-in catalogue"));
        assert!(Catalog::built_in("pci-dss-4.0").unwrap_err()[0].render().contains("did you mean `pci-dss-4.0.1`"));
    }

    #[test]
    fn a_share_is_per_cent_with_two_decimals() {
        let read = |share: &str| {
            let text = format!(
                "catalog: x\ntitle: X\ncontrols:\n  - {{id: a, family: F, title: T, cannot_show: all, otherwise: needs-human, coverage: {share}}}\n"
            );
            Catalog::parse("c.yaml", &text).map(|c| c.controls[0].coverage_min.0).ok()
        };
        for (share, want) in [
            ("100%", Some(10_000)),
            ("99.5%", Some(9_950)),
            ("99.05%", Some(9_905)),
            ("0.01%", Some(1)),
            ("0%", None),
            ("100.01%", None),
            ("99.999%", None),
            ("99", None),
            ("-1%", None),
            ("99.%", None),
        ] {
            assert_eq!(read(share), want, "{share}");
        }
    }

    #[test]
    fn wrong_catalogues_are_refused_with_their_place() {
        let control =
            |more: &str| format!("catalog: x\ntitle: X\ncontrols:\n  - id: a\n    family: F\n    title: T\n    cannot_show: all\n{more}");
        let cases = [
            (control("    otherwise: met-technical\n"), "unfounded-verdict"),
            (control("    otherwise: compliant\n"), "invalid-value"),
            (control("    otherwise: needs-human\n    refuted_by: [broken_chian]\n"), "did you mean `broken_chain`"),
            (control("    otherwise: needs-human\n    measured: [grant]\n"), "did you mean `grants`"),
            (control("    otherwise: needs-human\n    need: [x]\n"), "did you mean `needs`"),
            (control("    title2: x\n"), "`otherwise` is missing"),
            (control("    otherwise: needs-human\n").replace("id: a", "id: ' '"), "`id` says nothing"),
            (control("    otherwise: needs-human\n").replace("cannot_show: all", "cannot_show: ''"), "`cannot_show` says nothing"),
            (control("    otherwise: needs-human\n").replace("catalog: x", "catalog: ''"), "`catalog` says nothing"),
            ("catalog: x\ntitle: X\ncontrols: []\n".to_owned(), "at least one control"),
            ("catalog: x\n".to_owned(), "`title` is missing"),
            ("a: [".to_owned(), "yaml-syntax"),
            (String::new(), "0 documents"),
        ];
        for (text, want) in cases {
            let rendered: String = Catalog::parse("c.yaml", &text).unwrap_err().iter().map(Diagnostic::render).collect();
            assert!(rendered.contains(want), "{text}\n{rendered}");
        }
    }
}
