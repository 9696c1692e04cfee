//! Coverage in the forms that people and other tools read. Only renders; the counting is the engine's.
//!
//! lcov and Cobertura speak of lines, functions and branches of source code. Here a policy is a function on the line where it stands,
//! called as often as it decided; an operation is one too, called as often as it was asked for, with two branches: allow and deny.

use std::collections::BTreeMap;

use portreeve_engine::coverage::{Coverage, OperationCoverage, PolicyCoverage, Share};
use serde::Serialize;

use crate::escape::xml;

/// The `--coverage json` document.
#[derive(Serialize)]
pub(crate) struct Document<'a> {
    totals: Totals,
    policies: Vec<PolicyLine<'a>>,
    operations: Vec<OperationLine<'a>>,
}

#[derive(Serialize)]
struct Totals {
    policies: usize,
    policies_decided: usize,
    operations: usize,
    operations_asked: usize,
    operations_allowed: usize,
    operations_denied: usize,
}

#[derive(Serialize)]
struct PolicyLine<'a> {
    id: &'a str,
    effect: &'static str,
    at: String,
    decided: usize,
    reached: usize,
}

#[derive(Serialize)]
struct OperationLine<'a> {
    service: &'a str,
    operation: &'a str,
    at: String,
    allowed: usize,
    denied: usize,
}

impl<'a> Document<'a> {
    pub(crate) fn of(coverage: &'a Coverage<'a>) -> Self {
        let policy = |p: &PolicyCoverage<'a>| PolicyLine {
            id: p.id,
            effect: p.effect.as_str(),
            at: p.at.short(),
            decided: p.decided,
            reached: p.reached,
        };
        let operation = |o: &OperationCoverage<'a>| OperationLine {
            service: o.service,
            operation: o.id,
            at: o.at.short(),
            allowed: o.allowed,
            denied: o.denied,
        };
        Self {
            totals: Totals {
                policies: coverage.policies.len(),
                policies_decided: coverage.policies_decided().covered,
                operations: coverage.operations.len(),
                operations_asked: coverage.operations_asked().covered,
                operations_allowed: coverage.operations_allowed().covered,
                operations_denied: coverage.operations_denied().covered,
            },
            policies: coverage.policies.iter().map(policy).collect(),
            operations: coverage.operations.iter().map(operation).collect(),
        }
    }
}

/// Totals, and what is not covered, by file and line.
pub(crate) fn human(coverage: &Coverage<'_>) -> String {
    let share = |what: &str, s: Share| format!("  {what:<26}{:>4} of {:<4} {:>3} %\n", s.covered, s.all, s.percent());
    let mut out = "coverage\n".to_owned();
    out.push_str(&share("policies that decide", coverage.policies_decided()));
    out.push_str(&share("operations asked for", coverage.operations_asked()));
    out.push_str(&share("operations allowed", coverage.operations_allowed()));
    out.push_str(&share("operations denied", coverage.operations_denied()));
    for policy in coverage.policies.iter().filter(|p| p.decided == 0) {
        let how = match policy.reached {
            0 => "is never reached".to_owned(),
            1 => "is reached by 1 case and never decides".to_owned(),
            n => format!("is reached by {n} cases and never decides"),
        };
        out.push_str(&format!("  {}: the {} `{}` {how}\n", policy.at.short(), noun(policy), policy.id));
    }
    for operation in &coverage.operations {
        let how = match (operation.allowed, operation.denied) {
            (0, 0) => "is never asked for",
            (0, _) => "is never allowed",
            (_, 0) => "is never denied",
            _ => continue,
        };
        out.push_str(&format!("  {}: `{}` of `{}` {how}\n", operation.at.short(), operation.id, operation.service));
    }
    out
}

const fn noun(policy: &PolicyCoverage<'_>) -> &'static str {
    match policy.effect {
        portreeve_engine::Effect::Allow => "grant",
        portreeve_engine::Effect::Deny => "prohibition",
    }
}

/// What is covered in one file: name, line, hits, and the two branches of an operation.
struct Unit {
    name: String,
    line: u32,
    hits: usize,
    branches: Option<(usize, usize)>,
}

fn by_file<'a>(coverage: &'a Coverage<'a>) -> BTreeMap<&'a str, Vec<Unit>> {
    let mut out: BTreeMap<&str, Vec<Unit>> = BTreeMap::new();
    for p in &coverage.policies {
        let unit = Unit { name: p.id.to_owned(), line: p.at.line, hits: p.decided, branches: None };
        out.entry(&p.at.file).or_default().push(unit);
    }
    for o in &coverage.operations {
        let hits = o.allowed + o.denied;
        let unit = Unit { name: format!("{}/{}", o.service, o.id), line: o.at.line, hits, branches: Some((o.allowed, o.denied)) };
        out.entry(&o.at.file).or_default().push(unit);
    }
    for units in out.values_mut() {
        units.sort_by(|a, b| (a.line, &a.name).cmp(&(b.line, &b.name)));
    }
    out
}

/// Hits by line: several operations may stand on one.
fn lines(units: &[Unit]) -> BTreeMap<u32, usize> {
    units.iter().fold(BTreeMap::new(), |mut out, unit| {
        *out.entry(unit.line).or_default() += unit.hits;
        out
    })
}

fn branches(units: &[Unit]) -> Vec<(u32, usize, usize)> {
    let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
    let mut out = Vec::new();
    for unit in units {
        let Some((allowed, denied)) = unit.branches else { continue };
        let next = seen.entry(unit.line).or_default();
        out.push((unit.line, *next, allowed));
        out.push((unit.line, *next + 1, denied));
        *next += 2;
    }
    out
}

/// The tracefile of lcov. `prefix` is what stands before a file's path from the working directory.
pub(crate) fn lcov(coverage: &Coverage<'_>, prefix: &str) -> String {
    // Names and paths end with the line; a name of ours has no comma, a path's line break is no path's any more.
    let plain = |text: &str| text.replace(['\n', '\r'], " ");
    by_file(coverage).iter().fold(String::new(), |mut out, (file, units)| {
        out.push_str(&format!("TN:\nSF:{prefix}{}\n", plain(file)));
        units.iter().for_each(|u| out.push_str(&format!("FN:{},{}\n", u.line, plain(&u.name))));
        units.iter().for_each(|u| out.push_str(&format!("FNDA:{},{}\n", u.hits, plain(&u.name))));
        out.push_str(&format!("FNF:{}\nFNH:{}\n", units.len(), units.iter().filter(|u| u.hits > 0).count()));
        let (branches, lines) = (branches(units), lines(units));
        for (line, number, taken) in &branches {
            let reached = lines.get(line).is_some_and(|hits| *hits > 0);
            let taken = if reached { taken.to_string() } else { "-".to_owned() };
            out.push_str(&format!("BRDA:{line},0,{number},{taken}\n"));
        }
        out.push_str(&format!("BRF:{}\nBRH:{}\n", branches.len(), branches.iter().filter(|b| b.2 > 0).count()));
        lines.iter().for_each(|(line, hits)| out.push_str(&format!("DA:{line},{hits}\n")));
        out.push_str(&format!("LF:{}\nLH:{}\nend_of_record\n", lines.len(), lines.values().filter(|h| **h > 0).count()));
        out
    })
}

/// Cobertura's document. The time stamp is fixed, because the same bundle must give the same bytes.
pub(crate) fn cobertura(coverage: &Coverage<'_>, prefix: &str) -> String {
    let files = by_file(coverage);
    let all: Vec<&[Unit]> = files.values().map(Vec::as_slice).collect();
    let line_share = |units: &[&[Unit]]| {
        let lines: Vec<usize> = units.iter().flat_map(|u| lines(u).into_values()).collect();
        Share { covered: lines.iter().filter(|h| **h > 0).count(), all: lines.len() }
    };
    let branch_share = |units: &[&[Unit]]| {
        let branches: Vec<usize> = units.iter().flat_map(|u| branches(u)).map(|b| b.2).collect();
        Share { covered: branches.iter().filter(|h| **h > 0).count(), all: branches.len() }
    };
    let (l, b) = (line_share(&all), branch_share(&all));
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE coverage SYSTEM \"http://cobertura.sourceforge.net/xml/coverage-04.dtd\">\n\
         <coverage line-rate=\"{}\" branch-rate=\"{}\" lines-covered=\"{}\" lines-valid=\"{}\" branches-covered=\"{}\" branches-valid=\"{}\" \
         complexity=\"0\" version=\"portreeve {}\" timestamp=\"0\">\n  <sources><source>.</source></sources>\n  <packages>\n    \
         <package name=\"policies\" line-rate=\"{}\" branch-rate=\"{}\" complexity=\"0\">\n      <classes>\n",
        rate(l),
        rate(b),
        l.covered,
        l.all,
        b.covered,
        b.all,
        env!("CARGO_PKG_VERSION"),
        rate(l),
        rate(b),
    );
    for (file, units) in &files {
        let (l, b) = (line_share(&[units]), branch_share(&[units]));
        let path = xml(&format!("{prefix}{file}"));
        out.push_str(&format!(
            "        <class name=\"{}\" filename=\"{path}\" line-rate=\"{}\" branch-rate=\"{}\" complexity=\"0\">\n          <methods>\n",
            xml(file),
            rate(l),
            rate(b)
        ));
        for unit in units {
            let one = std::slice::from_ref(unit);
            out.push_str(&format!(
                "            <method name=\"{}\" signature=\"\" line-rate=\"{}\" branch-rate=\"{}\" complexity=\"0\">\n              \
                 <lines>{}</lines>\n            </method>\n",
                xml(&unit.name),
                rate(line_share(&[one])),
                rate(branch_share(&[one])),
                line_element(unit.line, unit.hits, one),
            ));
        }
        out.push_str("          </methods>\n          <lines>\n");
        for (line, hits) in lines(units) {
            out.push_str(&format!("            {}\n", line_element(line, hits, units)));
        }
        out.push_str("          </lines>\n        </class>\n");
    }
    out.push_str("      </classes>\n    </package>\n  </packages>\n</coverage>\n");
    out
}

fn line_element(line: u32, hits: usize, units: &[Unit]) -> String {
    let own: Vec<usize> = branches(units).into_iter().filter(|b| b.0 == line).map(|b| b.2).collect();
    if own.is_empty() {
        return format!("<line number=\"{line}\" hits=\"{hits}\" branch=\"false\"/>");
    }
    let share = Share { covered: own.iter().filter(|taken| **taken > 0).count(), all: own.len() };
    let condition = format!("{}% ({}/{})", share.percent(), share.covered, share.all);
    format!("<line number=\"{line}\" hits=\"{hits}\" branch=\"true\" condition-coverage=\"{condition}\"/>")
}

/// A share as a number from 0 to 1.
fn rate(share: Share) -> String {
    let thousandths = share.covered.saturating_mul(10_000).checked_div(share.all).unwrap_or(10_000);
    format!("{}.{:04}", thousandths / 10_000, thousandths % 10_000)
}
