//! Puts an [`Assessment`] together from what was examined and found. It judges nothing that a check or a control has not judged.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use portreeve_engine::decision::{Effect, Reason};
use portreeve_engine::model::{Claim, Selector};
use portreeve_engine::record::Mode;
use portreeve_engine::{Authorizer, SpiffeId};

use crate::assessment::{
    Assessment, BundleSummary, CertificateSummary, DenialSummary, EdgeSummary, EnforcerSummary, Finding, Folded, Input, InvariantSummary,
    Mark, MatrixCell, Period, RefusalSummary, ServiceSummary, Summary, TlsSummary, Totals, Verdict, VerdictCount,
};
use crate::checks::Found;
use crate::controls::Catalog;
use crate::examined::Examined;
use crate::foreign::{Lack, Lawful};
use crate::governance;
use crate::intake::InputRead;
use crate::method::method;
use crate::reading;

/// The assessment of what was examined.
pub(crate) fn assemble(
    examined: &Examined<'_>,
    reads: &[InputRead],
    bundles: &[(String, Authorizer)],
    newest: &str,
    catalogs: &[Catalog],
    found: Vec<Found>,
) -> Assessment {
    let totals = totals(examined, reads);
    let mut controls = Vec::new();
    for catalog in catalogs {
        controls.extend(catalog.controls.iter().map(|control| control.judge(&catalog.id, &found, examined)));
    }
    let edges = edges(examined);
    let folded = folded(&found);
    let findings = findings(found, catalogs);
    let verdicts = Verdict::ALL.map(|verdict| (verdict, controls.iter().filter(|c| c.verdict == verdict).count() as u64));
    let told = |v: &Verdict| matches!(v, Verdict::MetTechnical | Verdict::NotMet | Verdict::Suspect);
    let used = examined.used();
    let summary = Summary {
        verdicts: verdicts.iter().map(|(verdict, count)| VerdictCount { verdict: *verdict, count: *count }).collect(),
        examined: verdicts.iter().filter(|(v, _)| told(v)).map(|(_, n)| n).sum(),
        controls: controls.len() as u64,
        sensitive_reach: examined.granted.reach().into_keys().filter(|name| !holds_sensitive(examined, name)).map(str::to_owned).collect(),
        sensitive_data: sensitive_class(examined),
        grants_unused: examined.grants().filter(|p| !used.contains(&*p.reference.id)).count() as u64,
        grants: examined.grants().count() as u64,
        denied_pairs: edges
            .iter()
            .filter(|e| e.denied > 0)
            .map(|e| (&e.from, &e.from_id, &e.from_name, &e.to))
            .collect::<BTreeSet<_>>()
            .len() as u64,
    };
    Assessment {
        tool: format!("portreeve {}", env!("CARGO_PKG_VERSION")),
        subject: subject(newest),
        catalogs: catalogs.iter().map(|c| c.id.clone()).collect(),
        catalog_titles: catalogs.iter().map(|c| c.title.clone()).collect(),
        period: examined.fold.seen.map(|(from, to)| Period { from, to }),
        inputs: inputs(examined, reads),
        bundles: bundle_summaries(examined, bundles),
        matrix: matrix(examined, &edges),
        services: services(examined),
        enforcers: enforcers(examined),
        certificates: certificates(examined),
        tls: tls(examined),
        refusals: refusals(examined),
        denials: denials(examined),
        invariants: examined.newest.invariants().iter().map(invariant).collect(),
        fidelity: crate::fidelity::fidelity(examined, bundles, &totals),
        analyses: crate::graph::analyses(examined),
        method: method(examined, &totals, newest),
        newest_bundle: bundles.iter().position(|(_, authorizer)| std::ptr::eq(authorizer, examined.newest)),
        folded,
        reads: reading::reads(examined, reads),
        governance: governance::summary(examined, &findings),
        findings,
        totals,
        summary,
        controls,
        edges,
        ..Assessment::default()
    }
}

/// Findings that stand for others.
fn folded(found: &[Found]) -> Vec<Folded> {
    let folds = found.iter().filter(|f| !f.folded.is_empty());
    folds.map(|f| Folded { finding: f.finding.id.clone(), ids: f.folded.clone() }).collect()
}

/// The name of the folder (or of the path within a git revision) of the newest bundle.
fn subject(name: &str) -> String {
    let path = name.rsplit(':').next().unwrap_or(name).trim_end_matches('/');
    Path::new(path).file_name().map_or_else(|| name.to_owned(), |n| n.to_string_lossy().into_owned())
}

fn totals(examined: &Examined<'_>, reads: &[InputRead]) -> Totals {
    let mut totals = examined.fold.totals;
    totals.lifecycle += totals.undetermined;
    for read in reads {
        totals.lines += read.lines;
        totals.duplicates += read.duplicates;
        totals.rejected += read.rejected;
        totals.lifecycle += read.foreign.other.values().sum::<u64>();
    }
    totals
}

fn inputs(examined: &Examined<'_>, reads: &[InputRead]) -> Vec<Input> {
    let inputs = examined.verification.inputs.iter().zip(reads).enumerate().map(|(index, (i, read))| Input {
        path: i.path.clone(),
        sha256: i.sha256,
        format: read.format.to_string(),
        parquet: read.is_of_rows,
        lines: i.lines,
        rejected: i.rejected,
        rejected_examples: i.rejected_examples.clone(),
        chain: i.verdict,
        faults: i.faults.clone(),
        open_ended: i.open_ended,
        grades: reading::grades(&reading::of_input(examined, index, read)),
        coverage: reading::coverage(examined, index, read),
    });
    inputs.collect()
}

fn bundle_summaries(examined: &Examined<'_>, bundles: &[(String, Authorizer)]) -> Vec<BundleSummary> {
    let summary = |(path, authorizer): &(String, Authorizer)| BundleSummary {
        path: path.clone(),
        revision: *authorizer.revision(),
        records: examined.fold.revisions.get(authorizer.revision()).map_or(0, |t| t.count),
        policies: authorizer.policies().len() as u64,
    };
    bundles.iter().map(summary).collect()
}

/// The worst first, then as the checks gave them; each with the controls it bears on.
fn findings(found: Vec<Found>, catalogs: &[Catalog]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = found.into_iter().map(|f| f.finding).collect();
    for finding in &mut findings {
        for catalog in catalogs {
            let concerned = catalog.controls.iter().filter(|c| c.concerns(&finding.check));
            finding.controls.extend(concerned.map(|c| format!("{} {}", catalog.id, c.id)));
        }
    }
    findings.sort_by_key(|f| f.severity);
    findings
}

pub(crate) fn services(examined: &Examined<'_>) -> Vec<ServiceSummary> {
    let logged = examined.logged();
    let counts = examined.group(|key| Some((key.to.as_str(), key.effect)));
    let count = |name: &str, effect| counts.get(&(name, effect)).map_or(0, |t| t.count);
    let mut out: Vec<ServiceSummary> = examined
        .newest
        .services()
        .iter()
        .map(|s| ServiceSummary {
            name: s.name.to_string(),
            zone: s.zone.clone(),
            owner: s.owner.clone(),
            data: s.data.iter().chain(s.operations.iter().flat_map(|o| &o.data)).cloned().collect::<BTreeSet<_>>().into_iter().collect(),
            allowed: count(&s.name, Effect::Allow),
            denied: count(&s.name, Effect::Deny),
            observed: logged.contains(&*s.name)
                || (s.is_outside() && [Effect::Allow, Effect::Deny].iter().any(|effect| count(&s.name, *effect) > 0)),
        })
        .collect();
    out.sort_by(|a, b| (&a.zone, &a.name).cmp(&(&b.zone, &b.name)));
    out
}

/// Every observed edge, and every granted one.
pub(crate) fn edges(examined: &Examined<'_>) -> Vec<EdgeSummary> {
    type Ends<'k> = (Option<&'k str>, Option<&'k SpiffeId>, Option<&'k str>, &'k str, Option<&'k str>);
    let observed = examined.group(|key| {
        let id = key.from_id.as_ref().filter(|_| key.from.is_none());
        Some(((key.from.as_deref(), id, key.from_name.as_deref(), key.to.as_str(), key.operation.as_deref()), key.effect))
    });
    let mut counts: BTreeMap<Ends<'_>, (u64, u64)> = BTreeMap::new();
    for ((ends, effect), tally) in &observed {
        let (allowed, denied) = counts.entry(*ends).or_default();
        *(if *effect == Effect::Allow { allowed } else { denied }) += tally.count;
    }
    for edge in examined.granted.edges.iter().filter(|e| e.from.is_some()) {
        counts.entry((edge.from.map(|s| &*s.name), None, None, &edge.to.name, edge.operation.map(|o| &*o.id))).or_default();
    }
    let summary = |((from, from_id, from_name, to, operation), (allowed, denied)): (Ends<'_>, (u64, u64))| {
        let grant = examined.granted.edge(from, to, operation);
        EdgeSummary {
            from: from.map(str::to_owned),
            from_id: from_id.cloned(),
            from_name: from_name.map(str::to_owned),
            to: to.to_owned(),
            operation: operation.map(str::to_owned),
            allowed,
            denied,
            declared: grant.is_some(),
            conditional: grant.is_some_and(|g| g.conditional),
            policies: grant.map(|g| g.policies.iter().map(|p| p.id.to_string()).collect()).unwrap_or_default(),
        }
    };
    counts.into_iter().map(summary).collect()
}

/// One mark for each pair of services that has any. Unknown callers have no row: they are edges.
fn matrix(examined: &Examined<'_>, edges: &[EdgeSummary]) -> Vec<MatrixCell> {
    // A connection whose method and path no line tells is none that nothing grants.
    let connections = examined.group(|key| (key.lawful == Lawful::NotAsked(Lack::Layer)).then_some((key.from.as_deref(), key.to.as_str())));
    let mut pairs: BTreeMap<(&str, &str), Vec<&EdgeSummary>> = BTreeMap::new();
    for edge in edges {
        if let Some(from) = &edge.from {
            pairs.entry((from, &edge.to)).or_default().push(edge);
        }
    }
    let cell = |((from, to), edges): (&(&str, &str), &Vec<&EdgeSummary>)| {
        let allowed: u64 = edges.iter().map(|e| e.allowed).sum();
        let denied: u64 = edges.iter().map(|e| e.denied).sum();
        let is_declared = edges.iter().any(|e| e.declared);
        let used: Vec<_> = edges.iter().filter(|e| e.allowed > 0).collect();
        let is_shadow = |e: &EdgeSummary| !e.declared && (e.operation.is_some() || !connections.contains_key(&(Some(*from), *to)));
        let mark = if used.iter().any(|e| is_shadow(e)) {
            Mark::Shadow
        } else if !used.is_empty() && used.iter().all(|e| e.conditional) {
            Mark::UsedConditional
        } else if !used.is_empty() {
            Mark::Used
        } else if is_declared {
            Mark::Unused
        } else {
            Mark::Denied
        };
        MatrixCell {
            from: (*from).to_owned(),
            to: (*to).to_owned(),
            mark,
            denied: denied > 0,
            allowed_count: allowed,
            denied_count: denied,
        }
    };
    pairs.iter().map(cell).collect()
}

pub(crate) fn enforcers(examined: &Examined<'_>) -> Vec<EnforcerSummary> {
    let mut out: Vec<EnforcerSummary> = examined
        .fold
        .processes
        .iter()
        .filter_map(|(index, process)| {
            let chain = examined.chains.all.get(*index)?;
            let (from, to) = process.seen?;
            let enforcer = chain.enforcer.clone()?;
            Some(EnforcerSummary {
                service: examined.newest.identify(&enforcer).map(|s| s.name.to_string()),
                enforcer,
                instance: chain.instance.clone()?,
                from,
                to,
                decided: process.decided,
                unrecorded: process.unrecorded,
                revisions: process.revisions.clone(),
                modes: process.modes.iter().map(|m| if *m == Mode::Enforce { "enforce" } else { "dry-run" }.to_owned()).collect(),
                stopped: chain.stopped.is_some(),
                silence_ms_max: process.silence_ms_max,
            })
        })
        .collect();
    out.sort();
    out
}

pub(crate) fn certificates(examined: &Examined<'_>) -> Vec<CertificateSummary> {
    let certificates = examined.fold.ledger.certificates.iter();
    certificates
        .map(|((id, sha256), c)| CertificateSummary {
            id: id.clone(),
            serial: c.serial.clone(),
            sha256: *sha256,
            not_after: c.not_after,
            from: c.seen.first,
            to: c.seen.last,
            requests: c.seen.count,
        })
        .collect()
}

pub(crate) fn tls(examined: &Examined<'_>) -> Vec<TlsSummary> {
    let seen = examined.group(|key| key.tls.as_ref());
    seen.into_iter().map(|((version, suite), t)| TlsSummary { version: version.clone(), suite: suite.clone(), requests: t.count }).collect()
}

pub(crate) fn refusals(examined: &Examined<'_>) -> Vec<RefusalSummary> {
    let refusals = examined.fold.ledger.refusals.iter();
    let mut out: Vec<_> =
        refusals.map(|(reason, (count, lines))| RefusalSummary { reason: reason.clone(), count: *count, lines: lines.count }).collect();
    out.sort_by_key(|r| Reverse(r.count));
    out
}

pub(crate) fn denials(examined: &Examined<'_>) -> Vec<DenialSummary> {
    let denied = examined.group(|key| {
        let reason = || if key.is_foreign() { BY_THE_MESH } else { key.reason.map_or(BY_THE_MESH, Reason::as_str) };
        (key.effect == Effect::Deny).then(reason)
    });
    let mut out: Vec<_> = denied.into_iter().map(|(reason, t)| DenialSummary { reason: reason.to_owned(), count: t.count }).collect();
    out.sort_by_key(|d| Reverse(d.count));
    out
}

fn invariant(invariant: &portreeve_engine::model::Invariant) -> InvariantSummary {
    let statement = match &invariant.claim {
        Claim::NeverCalls { from, to } => format!("{} never call {}", selector(from), selector(to)),
        Claim::NeverReaches { from, to, except_through } if except_through.is_empty() => {
            format!("no chain of grants leads from {} to {}", selector(from), selector(to))
        }
        Claim::NeverReaches { from, to, except_through } => {
            format!("no chain of grants leads from {} to {} except through {}", selector(from), selector(to), except_through.join(", "))
        }
        Claim::AlwaysCalls { from, to } => format!("{} may always call {}", selector(from), selector(to)),
    };
    InvariantSummary { name: invariant.name.to_string(), statement, at: invariant.at.short(), controls: invariant.controls.clone() }
}

fn selector(selector: &Selector) -> String {
    let parts = [
        ("services", &selector.services),
        ("services in zone", &selector.zones),
        ("services with data", &selector.data),
        ("operations", &selector.operations),
    ];
    let given: Vec<String> =
        parts.iter().filter(|(_, names)| !names.is_empty()).map(|(what, names)| format!("{what} {}", names.join(" or "))).collect();
    if given.is_empty() { "all services".to_owned() } else { given.join(", being ") }
}

/// The first of the sensitive classes that the inventory has.
fn sensitive_class(examined: &Examined<'_>) -> String {
    let has = |class: &&str| {
        let services = examined.newest.services().iter();
        services.clone().any(|s| s.data.contains(*class) || s.operations.iter().any(|o| o.data.contains(*class)))
    };
    let known = examined.scope().sensitive_classes();
    let here: Vec<&str> = known.iter().copied().filter(has).collect();
    if here.is_empty() { known.join(", ") } else { here.join(", ") }
}

fn holds_sensitive(examined: &Examined<'_>, name: &str) -> bool {
    examined.newest.service(name).is_some_and(|s| examined.scope().is_sensitive(s))
}

/// The reason of denials that another mesh made: why, its log tells in its own words if at all.
const BY_THE_MESH: &str = "by-the-mesh";
