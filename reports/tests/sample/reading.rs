//! How the market's logs were read, how they compare with policy, and what changed since October.

use portreeve_auditor::assessment::fidelity::{Disagreement, NotReplayed, RevisionFidelity};
use portreeve_auditor::assessment::{
    Assessment, Baseline, Coverage, EdgeChange, EdgeChangeKind, Fidelity, FindingChanges, Fitness, GoneFinding, GradeCount, Impossible,
    OtherLines, Premise, Reads, SampleSummary, TrendPoint, Verdict, VerdictChange, VerdictCount, Weight,
};
use portreeve_auditor::foreign::Grade;
use portreeve_auditor::replay::Difference;
use portreeve_engine::Digest;

use super::{at, evidence, id};

/// Adds these parts to the market.
pub(super) fn add(a: &mut Assessment) {
    a.reads = reads();
    a.inputs[0].format = "istio-json".into();
    for input in &mut a.inputs {
        input.grades = vec![GradeCount { grade: Grade::A, count: input.lines - 20 }];
        input.coverage = Coverage {
            decided: input.lines - 20,
            refused: 1,
            lifecycle: 10,
            duplicates: 2,
            rejected: 7,
            cut: 1,
            undetermined: 7,
            other: vec![OtherLines { what: "probes".into(), count: 3 }],
            lost: 5,
            ..Default::default()
        };
    }
    a.fidelity = fidelity();
    a.baseline = Some(baseline());
    a.sample = Some(SampleSummary {
        statement: "25 of 12,482,301 records, seed 7".into(),
        size: 25,
        population: 12_482_301,
        decided: 12_482_299,
        seed: 7,
        root: Digest::of(b"root"),
        file: "sample.json".into(),
    });
    a.generated_at = Some(at("2026-11-15T08:00:00.000Z"));
}

/// Puts an attacker's text into every text of them.
pub(super) fn spoil(a: &mut Assessment, evil: impl Fn(usize) -> String) {
    for (n, f) in a.reads.fitness.iter_mut().enumerate() {
        (f.format, f.lacks, f.snippet, f.advice) = (evil(n + 1), vec![evil(n + 1), evil(7)], Some(evil(n)), evil(n + 3));
        f.impossible.iter_mut().for_each(|i| (i.check, i.why) = (evil(n), evil(n + 1)));
    }
    a.reads.not_asked.iter_mut().enumerate().for_each(|(n, o)| o.what = evil(n));
    a.inputs.iter_mut().flat_map(|i| &mut i.coverage.other).enumerate().for_each(|(n, o)| o.what = evil(n));
    a.fidelity.rests_on = evil(0);
    a.fidelity.reasons.iter_mut().enumerate().for_each(|(n, r)| r.reason = evil(n));
    a.fidelity.revisions.iter_mut().enumerate().for_each(|(n, r)| r.path = Some(evil(n)));
    for (n, d) in a.fidelity.disagreements.iter_mut().enumerate() {
        (d.from, d.to, d.operation) = (evil(n), evil(n + 1), Some(evil(n + 2)));
        d.differences.iter_mut().for_each(|x| (x.recorded, x.replayed) = (evil(n), evil(n + 1)));
    }
    let b = a.baseline.as_mut().unwrap();
    (b.path, b.tool) = (evil(1), evil(2));
    b.differs.iter_mut().for_each(|p| (p.what, p.before, p.now, p.meaning) = (evil(0), evil(1), evil(2), evil(5)));
    b.findings.new = vec![evil(0), evil(5)];
    b.findings.heavier = vec![evil(1)];
    b.findings.gone.iter_mut().for_each(|g| (g.id, g.check, g.subject, g.summary) = (evil(0), evil(1), evil(2), evil(5)));
    b.verdicts.iter_mut().enumerate().for_each(|(n, v)| (v.catalog, v.id) = (evil(1), evil(n + 4)));
    for (n, e) in b.edges.iter_mut().enumerate() {
        (e.from, e.from_name, e.to, e.operation) = (e.from.as_ref().map(|_| evil(n)), Some(evil(n)), evil(n + 1), Some(evil(n + 2)));
    }
    b.trend.iter_mut().for_each(|p| (p.path, p.tool) = (evil(0), evil(1)));
    let sample = a.sample.as_mut().unwrap();
    (sample.statement, sample.file) = (evil(1), evil(5));
}

fn reads() -> Reads {
    let counts = [2_481_849, 9_000_452, 900_000, 100_000, 0];
    Reads {
        grades: Grade::ALL.into_iter().zip(counts).map(|(grade, count)| GradeCount { grade, count }).collect(),
        fitness: vec![Fitness {
            format: "istio-json".into(),
            lacks: vec!["the version and suite of TLS".into()],
            impossible: vec![Impossible { check: "weak_tls".into(), why: "no line has the version and suite of TLS".into() }],
            snippet: Some("meshConfig:\n  accessLogFormat: SNIPPET".into()),
            advice: "Add this to the mesh's configuration.".into(),
        }],
        not_asked: vec![OtherLines { what: "the called service is none of the inventory".into(), count: 12 }],
        lost: 30,
        uncompared: 4,
    }
}

fn fidelity() -> Fidelity {
    let revision = |path: Option<&str>, decided, agreed| RevisionFidelity {
        revision: Digest::of(path.unwrap_or_default().as_bytes()),
        path: path.map(Into::into),
        since: path.map(|_| at("2026-10-01T00:00:00.000Z")),
        first: at("2026-10-15T00:00:03.120Z"),
        last: at("2026-11-14T23:59:58.004Z"),
        decided,
        agreed,
    };
    Fidelity {
        agreed: 12_000_000,
        of: 12_482_301,
        differing: 3,
        unlawful: 2,
        overdenied: 1,
        not_replayable: 482_295,
        reasons: vec![NotReplayed { reason: "no bundle of its revision".into(), count: 482_295, evidence: vec![evidence(1, 17)] }],
        revisions: vec![revision(Some("policies/marketplace"), 12_000_006, 12_000_000), revision(None, 2_481_849, 0)],
        disagreements: vec![Disagreement {
            from: "gateway".into(),
            to: "users".into(),
            operation: None,
            differences: vec![Difference { what: "effect", recorded: "allowed".into(), replayed: "denied-then".into() }],
            count: 3,
            evidence: vec![evidence(2, 881_202)],
        }],
        omitted: 4,
        rests_on: "Each decision was put to the bundle of the revision that its record names.".into(),
    }
}

fn baseline() -> Baseline {
    let edge = |kind, from: Option<&str>| EdgeChange {
        kind,
        from: from.map(Into::into),
        from_id: if from.is_none() { Some(id("stray")) } else { None },
        from_name: None,
        to: "users".into(),
        operation: Some("read-user".into()),
        allowed: 6,
        denied: 1,
    };
    let point = |path: &str, counts: [u64; 7]| TrendPoint {
        path: path.into(),
        tool: "portreeve 0.1.0".into(),
        period: None,
        verdicts: Verdict::ALL.into_iter().zip(counts).map(|(verdict, count)| VerdictCount { verdict, count }).collect(),
        findings: [2, 2, 1],
        decided: 12_000_000,
        denied: 400,
        mismatches: 0,
        grants_unused: 6,
        grants: 61,
    };
    Baseline {
        path: "reports/october/assessment.json".into(),
        sha256: Digest::of(b"october"),
        tool: "portreeve 0.1.0".into(),
        period: None,
        differs: vec![Premise {
            what: "tool".into(),
            before: "portreeve 0.0.9".into(),
            now: "portreeve 0.1.0".into(),
            meaning: "another tool may find something else in the same logs".into(),
        }],
        findings: FindingChanges {
            new: vec!["wildcard_permission-9c1e".into(), "kind_folded-1".into()],
            gone: vec![GoneFinding {
                id: "stale_service-1111".into(),
                check: "stale_service".into(),
                severity: Some(Weight::Low),
                subject: "x".into(),
                summary: "`x` was found gone".into(),
            }],
            unchanged: ["broken_chain-5f10", "unused_permission-02bd", "old_tls-77aa"].map(Into::into).into(),
            heavier: vec!["broken_chain-5f10".into()],
        },
        verdicts: vec![
            VerdictChange {
                catalog: "pci-dss-4.0.1".into(),
                id: "7.2.5".into(),
                before: Some(Verdict::MetTechnical),
                now: Some(Verdict::NotMet),
            },
            VerdictChange { catalog: "pci-dss-4.0.1".into(), id: "9.9".into(), before: Some(Verdict::Suspect), now: None },
        ],
        edges: vec![edge(EdgeChangeKind::NoLongerGranted, Some("gateway")), edge(EdgeChangeKind::FirstDenied, None)],
        trend: vec![point("reports/october/assessment.json", [7, 2, 1, 2, 2, 1, 1]), point("", [6, 3, 1, 2, 2, 1, 1])],
    }
}
