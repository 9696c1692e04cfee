//! `portreeve ledger review`: what a policy grants, beside what a ledger shows of its use.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use portreeve_auditor::assessment::analyses::Part;
use portreeve_auditor::assessment::usage::{PermissionUse, Usage};
use portreeve_auditor::ledgers::Review;

use super::{failure, open};
use crate::args::DocumentFormat;
use crate::bundle;
use crate::declared;
use crate::outcome::{Outcome, Verdict};
use crate::output::{self, Out};

/// Arguments of `ledger review`.
#[derive(Debug, Args)]
pub(super) struct ReviewArgs {
    /// The bundle to review
    #[arg(long)]
    bundle: String,
    /// The governance folder, whose scope says what is sensitive, untrusted and separate
    #[arg(long, value_name = "DIR")]
    governance: Option<PathBuf>,
    /// A ledger; `ledger merge` makes one of several
    ledger: PathBuf,
    /// What makes the exit code 1, with commas [default: nothing]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT")]
    fail_on: Vec<FailOn>,
    /// How to print it
    #[arg(long, value_enum, default_value_t)]
    format: DocumentFormat,
}

/// What a review fails on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// A grant that was never used, though the logs of all that it leads to were counted
    Unused,
    /// Something was allowed that no policy of the bundle can allow
    Shadow,
}

/// Reviews and prints.
pub(super) fn run(args: &ReviewArgs) -> Outcome {
    let law = bundle::authorizer(&args.bundle)?;
    let governance = args.governance.as_deref().map(declared::governance).transpose()?.unwrap_or_default();
    let review = Review::of(&law, &governance, &open(&args.ledger)?).map_err(|e| failure(&e))?;
    let reasons: Vec<String> = args.fail_on.iter().filter_map(|what| what.reason(&review)).collect();
    match args.format {
        DocumentFormat::Human => output::tell(&human(&args.ledger.display().to_string(), &review)),
        DocumentFormat::Json => {
            let mut out = Out::new();
            out.json_document(&review)?;
            out.flush()?;
        }
    }
    if !reasons.is_empty() {
        output::tell(&format!("FAIL: {}\n", reasons.join("; ")));
    }
    Ok(Verdict::of(reasons.is_empty()))
}

impl FailOn {
    /// What was found of it.
    fn reason(self, review: &Review) -> Option<String> {
        let told = |count: u64, one: &str, many: &str| {
            (count > 0).then(|| if count == 1 { format!("1 {one}") } else { format!("{count} {many}") })
        };
        match self {
            Self::Unused => told(review.permissions.have, "grant that nobody used", "grants that nobody used"),
            Self::Shadow => told(
                review.shadow.have,
                "edge that was allowed and that no policy can allow",
                "edges that were allowed and that no policy can allow",
            ),
        }
    }
}

fn human(name: &str, review: &Review) -> String {
    let mut out = String::new();
    match &review.window {
        None => {
            let _ = writeln!(out, "{name}: no decision is counted there, so nothing can be told of any grant");
            return out;
        }
        Some(window) => {
            let times = window.from.zip(window.to).map(|(from, to)| format!("{from} to {to}, ")).unwrap_or_default();
            let _ = writeln!(out, "{name}: {times}{}", window.words);
            let _ = writeln!(
                out,
                "  {} decisions; the logs of {} of {} services were counted",
                review.decisions, window.services_logged, window.services
            );
        }
    }
    let notes = [
        (review.under_other_revisions, "of them under other policies than these: grants of that time that are gone are not told"),
        (review.recorded_twice, "more were recorded by the caller's side, too, and are not counted again"),
        (review.folded, "counted without their path or hour, because there were too many"),
    ];
    for (count, what) in notes.iter().filter(|(count, _)| *count > 0) {
        let _ = writeln!(out, "  {count} {what}");
    }
    grants(&mut out, review);
    section(&mut out, "wildcards", &review.wildcards, |wildcard| {
        let less = wildcard.edges.have < wildcard.edges.of;
        less.then(|| {
            let head = format!("{} ({}): {} of {} edges used", wildcard.policy, wildcard.at, wildcard.edges.have, wildcard.edges.of);
            wildcard.proposal.iter().fold(head, |text, line| format!("{text}\n      {line}"))
        })
    });
    section(&mut out, "shadow", &review.shadow, |edge| {
        let operation = edge.operation.as_deref().unwrap_or("undeclared paths");
        Some(format!("{} \u{2192} {} {operation}: {} allowed, last {}", edge.from, edge.to, edge.requests, edge.last))
    });
    section(&mut out, "callers", &review.privilege, |caller| {
        let less = caller.edges.have < caller.edges.of;
        let sensitive = if caller.sensitive.of > 0 {
            format!(", {} of {} into what is sensitive", caller.sensitive.have, caller.sensitive.of)
        } else {
            String::new()
        };
        less.then(|| format!("{}: {} of {} edges used{sensitive}", caller.service, caller.edges.have, caller.edges.of))
    });
    section(&mut out, "services", &review.stale, |service| {
        service.logged.then(|| format!("{} ({}): {} denied", service.service, service.at, service.denied))
    });
    section(&mut out, "identities", &review.identities, |concern| Some(format!("{}: {}", concern.subject, concern.what)));
    section(&mut out, "certificates", &review.certificates, |one| one.expired.then(|| format!("{}: ended {}", one.id, one.not_after)));
    section(&mut out, "spikes", &review.spikes, |spike| {
        Some(format!(
            "{}: {} denied in the hour of {}, {} in the mean of others",
            spike.from, spike.denied, spike.hour, spike.mean_of_others
        ))
    });
    section(&mut out, "scanners", &review.scanners, |one| {
        Some(format!("{}: {} denied at {} services", one.from, one.denied, one.services))
    });
    section(&mut out, "connections", &review.weak_connections, |one| {
        let kind = one.version.as_deref().unwrap_or("without TLS");
        Some(format!("{} \u{2192} {}: {} of {} requests {kind}", one.from, one.to, one.requests.have, one.requests.of))
    });
    section(&mut out, "separation", &review.separation, |one| {
        Some(format!(
            "{} {} \u{2192} {}: {} granted, {} allowed, {} denied",
            one.kind, one.from, one.to, one.granted, one.allowed, one.denied
        ))
    });
    out
}

/// How the grants stand, and those that nobody used.
fn grants(out: &mut String, review: &Review) {
    let of = |usage: Usage| review.permissions.entries.iter().filter(move |p| p.usage == usage);
    let used = of(Usage::Used).count();
    let _ = writeln!(
        out,
        "grants: {used} of {} used, {} unused, {} not to be told",
        review.permissions.of,
        review.permissions.have,
        of(Usage::NotObserved).count()
    );
    let line = |p: &PermissionUse| format!("{} ({}){}", p.policy, p.at, if p.sensitive { ", into what is sensitive" } else { "" });
    listed(out, of(Usage::Unused).map(|p| format!("unused: {}", line(p))), review.permissions.omitted);
    let hidden = of(Usage::NotObserved).map(|p| {
        let logged = p.services_logged;
        let why = if logged.have < logged.of {
            format!("the logs of {} of {} services that it leads to were counted", logged.have, logged.of)
        } else {
            format!("of {} allowed requests to what it grants nobody can say by which grant", p.untold)
        };
        format!("not to be told: {}: {why}", line(p))
    });
    listed(out, hidden, 0);
}

/// One analysis: how many of how many, and the cases that are worth a line.
fn section<T>(out: &mut String, name: &str, part: &Part<T>, mut line: impl FnMut(&T) -> Option<String>) {
    if part.have == 0 {
        return;
    }
    let _ = writeln!(out, "{name}: {} of {} {}", part.have, part.of, part.what);
    listed(out, part.entries.iter().filter_map(&mut line), part.omitted);
}

fn listed(out: &mut String, mut lines: impl Iterator<Item = String>, omitted: u64) {
    for line in lines.by_ref().take(LINES_MAX) {
        let _ = writeln!(out, "    {line}");
    }
    let more = lines.count() as u64 + omitted;
    if more > 0 {
        let _ = writeln!(out, "    and {more} more: `--format json` has them");
    }
}

/// Cases of one kind that a person is shown.
const LINES_MAX: usize = 20;
