//! What people declared, as the page shows it: scope, reviews, attestations, exceptions, configuration files, history.

use portreeve_auditor::assessment::{Assessment, ConfigSummary, ReviewSummary, ScopeSummary};

use super::tables::{Cell, Table};
use super::{Anchors, Link};

/// The tables of governance, those that were not given left out.
pub(super) fn tables<'a>(a: &'a Assessment, anchors: &Anchors<'a>) -> Vec<Table<'a>> {
    let mut out = Vec::new();
    if let Some(scope) = &a.governance.scope {
        out.push(classes(scope, anchors));
        out.push(not_applicable(scope, anchors));
    }
    out.push(exceptions(a, anchors));
    out.push(reviews(a));
    out.push(attestations(a, anchors));
    out.push(configs(a, anchors));
    out.push(commits(a));
    out.push(files(a));
    out
}

fn control<'a>(label: &'a str, anchors: &Anchors<'a>) -> Link<'a> {
    anchors.link(label)
}

fn classes<'a>(scope: &'a ScopeSummary, anchors: &Anchors<'a>) -> Table<'a> {
    Table::plain("Services by class", "governance.scope.classes", &scope.classes, |s| {
        let class = s.class.as_deref().map_or(Cell::Loud("no class names it".to_owned()), Cell::name);
        vec![Cell::service(&s.service, anchors), class]
    })
    .headed(&["Service", "Class"])
}

fn not_applicable<'a>(scope: &'a ScopeSummary, anchors: &Anchors<'a>) -> Table<'a> {
    Table::plain("Declared not applicable", "governance.scope.not_applicable", &scope.not_applicable, |n| {
        vec![Cell::links([control(&n.control, anchors)]), Cell::text(&n.reason), Cell::all(&n.approved_by), Cell::name(&n.at)]
    })
    .headed(&["Requirement", "Why", "Agreed by", "Declared at"])
}

fn exceptions<'a>(a: &'a Assessment, anchors: &Anchors<'a>) -> Table<'a> {
    Table::plain("Exceptions", "governance.exceptions", &a.governance.exceptions, |e| {
        let until = if e.expired { Cell::Loud(format!("{}, expired", e.until)) } else { Cell::Words(e.until.clone()) };
        let covered = e.findings.iter().map(|id| Link { label: id, anchor: anchors.on_a_row(id) });
        vec![
            Cell::Lines(vec![Cell::name(&e.name), Cell::name(&e.at)]),
            Cell::Lines(vec![Cell::links([control(&e.of, anchors)]), Cell::text(&e.reason)]),
            Cell::all(&e.approved_by),
            until,
            Cell::links(covered),
        ]
    })
    .headed(&["Exception", "Of what and why", "Agreed by", "Until", "Findings it covers"])
}

fn reviews(a: &Assessment) -> Table<'_> {
    Table::plain("Reviews", "governance.reviews", &a.governance.reviews, |r| {
        let name = Cell::Lines(vec![Cell::name(&r.name), Cell::name(&r.at)]);
        let of = if r.covers.is_empty() { Cell::name(&r.of) } else { Cell::Lines(vec![Cell::name(&r.of), Cell::all(&r.covers)]) };
        vec![name, of, Cell::Day(r.on), Cell::all(&r.by), acknowledged(r), revision(r), Cell::text(&r.result), counts(r)]
    })
    .headed(&["Review", "Of", "On", "By", "Acknowledged by", "Revision looked at", "What came of it", "Counts"])
}

fn revision(review: &ReviewSummary) -> Cell<'_> {
    let Some(revision) = review.revision else { return Cell::None("not named") };
    let standing = match review.of_newest {
        Some(true) => Cell::None("the newest"),
        Some(false) => Cell::Loud("not the newest".to_owned()),
        None => return Cell::Digest(revision),
    };
    Cell::Lines(vec![Cell::Digest(revision), standing])
}

fn acknowledged(review: &ReviewSummary) -> Cell<'_> {
    match (review.acknowledged, review.acknowledged_by.is_empty()) {
        (_, true) => Cell::None("nobody"),
        (true, false) => Cell::all(&review.acknowledged_by),
        (false, false) => Cell::Lines(vec![Cell::all(&review.acknowledged_by), Cell::Loud("nobody but who made it".to_owned())]),
    }
}

/// Whether it counts, and that it was made after the last record.
fn counts(review: &ReviewSummary) -> Cell<'_> {
    let days = review.days_after;
    let after = || format!("{days} {} after the last record", if days == 1 { "day" } else { "days" });
    match (review.too_late, days) {
        (true, _) => Cell::Loud(format!("no: {}", after())),
        (false, 0) => standing(review.overdue),
        (false, _) => Cell::Words(format!("yes, made {}", after())),
    }
}

fn standing(is_overdue: bool) -> Cell<'static> {
    if is_overdue { Cell::Loud("no longer".to_owned()) } else { Cell::Words("yes".to_owned()) }
}

fn attestations<'a>(a: &'a Assessment, anchors: &Anchors<'a>) -> Table<'a> {
    Table::plain("Attestations", "governance.attestations", &a.governance.attestations, |t| {
        vec![
            Cell::Lines(vec![Cell::name(&t.name), Cell::name(&t.at)]),
            Cell::text(&t.statement),
            Cell::all(&t.by),
            Cell::Day(t.on),
            Cell::links(t.controls.iter().map(|c| control(c, anchors))),
            standing(t.overdue),
        ]
    })
    .headed(&["Attestation", "What is stated", "By", "On", "Requirements", "Counts"])
}

fn configs<'a>(a: &'a Assessment, anchors: &Anchors<'a>) -> Table<'a> {
    let row = |c: &'a ConfigSummary| {
        let ran = if c.ran.is_empty() { Cell::Loud("no process ran with this file".to_owned()) } else { Cell::all(&c.ran) };
        let setting = |s: &'a portreeve_auditor::assessment::Setting| {
            let at = s.at.as_deref().unwrap_or("not given");
            Cell::Words(format!("`{}`: `{}` ({at})", s.name.replace('`', "'"), s.value.replace('`', "'")))
        };
        vec![
            Cell::Lines(vec![Cell::name(&c.path), Cell::Digest(c.sha256)]),
            c.service.as_deref().map_or(Cell::None("not in the inventory"), |s| Cell::service(s, anchors)),
            ran,
            Cell::Lines(c.settings.iter().map(setting).collect()),
        ]
    };
    Table::plain("Configuration files of enforcers", "governance.configs", &a.governance.configs, row).headed(&[
        "File",
        "Service",
        "Ran with it",
        "Settings that matter",
    ])
}

fn commits(a: &Assessment) -> Table<'_> {
    Table::plain("Changes of the policies", "governance.history", &a.governance.history, |c| {
        let approved = if c.approved_by.is_empty() { Cell::Loud("nobody named".to_owned()) } else { Cell::all(&c.approved_by) };
        let revision = c.revision.map_or(Cell::None("no bundle there"), Cell::Digest);
        let force = if c.in_force { Cell::Words("yes".to_owned()) } else { Cell::None("not seen") };
        vec![Cell::name(&c.commit), Cell::text(&c.author), Cell::When(c.at), approved, revision, force]
    })
    .headed(&["Commit", "Author", "When", "Agreed by", "Revision", "In force"])
}

fn files(a: &Assessment) -> Table<'_> {
    Table::plain("Files read", "governance.files", &a.governance.files, |f| vec![Cell::name(&f.path), Cell::Digest(f.sha256)])
        .headed(&["File", "SHA-256"])
}
