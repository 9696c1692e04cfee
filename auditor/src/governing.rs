//! What people declare, and what it does to findings and verdicts.

use crate::assessment::{Assessment, Verdict};
use crate::audit::Audit;
use crate::controls::Catalog;
use crate::governance::Governance;
use crate::testing::{Log, POLICY, authorizer, id, memory};

/// One day of a market in which the grant of invoices has no approver.
fn audit(policy: &str, governance: &str) -> Assessment {
    let law = authorizer(policy);
    let mut log = Log::start("items", "items-1", *law.revision());
    log.ask(&law, &id("invoices"), "GET", "/v1/items/1");
    log.stop();
    let mut audit = Audit::new(vec![("market".to_owned(), authorizer(policy))])
        .logs([memory("items", &log.out)])
        .catalog(Catalog::built_in("pci-dss-4.0.1").unwrap());
    if !governance.is_empty() {
        let read = Governance::read(&[("g.yaml", governance.as_bytes().to_vec())]);
        audit =
            audit.governance(read.unwrap_or_else(|e| panic!("{}", e.iter().map(portreeve_engine::Diagnostic::render).collect::<String>())));
    }
    audit.run(&mut |_| {}).unwrap()
}

fn unapproved() -> String {
    POLICY.replacen("approved_by: [security]\n", "", 1)
}

fn verdict(a: &Assessment, id: &str) -> Verdict {
    a.controls.iter().find(|c| c.id == id).unwrap().verdict
}

const CHECK: &str = "kind: Exception\nname: e\ncheck: missing_governance\nreason: moving\napproved_by: [ann]\n";

#[test]
fn an_exception_waives_until_its_day_and_hides_nothing() {
    let plain = audit(&unapproved(), "");
    assert_eq!(verdict(&plain, "1.2.2"), Verdict::NotMet);
    let finding = plain.findings.iter().find(|f| f.check == "missing_governance").unwrap();
    // The last record is of 2026-11-22.
    let by_id = format!("kind: Exception\nname: e\nfinding: {}\nreason: r\napproved_by: [ann]\n", finding.id);
    let by_control = "kind: Exception\nname: e\ncontrol: pci-dss-4.0.1 1.2.2\nreason: r\napproved_by: [ann]\n";
    for (exception, until, want, other) in [
        (CHECK, "2026-11-22", Verdict::Waived, Verdict::Waived),
        (CHECK, "2030-01-01", Verdict::Waived, Verdict::Waived),
        (CHECK, "2026-11-21", Verdict::NotMet, Verdict::NotMet),
        (CHECK, "2026-11-31", Verdict::NotMet, Verdict::NotMet),
        (CHECK, "next year", Verdict::NotMet, Verdict::NotMet),
        (&*format!("{CHECK}subject: invoices-read-items\n"), "2027-01-01", Verdict::Waived, Verdict::Waived),
        (&*format!("{CHECK}subject: another\n"), "2027-01-01", Verdict::NotMet, Verdict::NotMet),
        (&*by_id, "2027-01-01", Verdict::Waived, Verdict::Waived),
        (by_control, "2027-01-01", Verdict::Waived, Verdict::NotMet),
    ] {
        let a = audit(&unapproved(), &format!("{exception}until: {until}\n"));
        assert_eq!((verdict(&a, "1.2.2"), verdict(&a, "6.5.1")), (want, other), "{exception}until: {until}");
        let shown = a.findings.iter().find(|f| f.id == finding.id).expect("it is shown");
        assert_eq!(shown.waived.is_some(), other == Verdict::Waived, "{exception}");
        let expired = a.findings.iter().any(|f| f.check == "expired_exception");
        let is_past = matches!(until, "2026-11-21" | "2026-11-31" | "next year");
        assert_eq!((expired, a.governance.exceptions[0].expired), (is_past, is_past), "{until}");
        if want == Verdict::Waived {
            let control = a.controls.iter().find(|c| c.id == "1.2.2").unwrap();
            assert!(control.why.contains(until) && control.why.contains("ann"), "{}", control.why);
        }
    }
}

#[test]
fn an_exception_of_the_bundle_from_a_control_counts_too() {
    let exception = "---\nkind: Exception\nname: e\ncontrol: pci-1.2.2\nreason: r\napproved_by: [ann]\nexpires: 2027-01-01\n";
    let a = audit(&format!("{}{exception}", unapproved()), "");
    assert_eq!((verdict(&a, "1.2.2"), verdict(&a, "6.5.1")), (Verdict::Waived, Verdict::NotMet));
    assert_eq!(a.governance.exceptions[0].of, "control pci-1.2.2");
}

#[test]
fn what_does_not_apply_is_declared_and_tells_what_speaks_against_it() {
    let scope = "kind: Scope\nname: s\nnot_applicable:\n  - {control: pci-dss-4.0.1 1.2.2, reason: no gates, approved_by: [ann]}\n";
    let a = audit(&unapproved(), scope);
    let control = a.controls.iter().find(|c| c.id == "1.2.2").unwrap();
    assert_eq!(control.verdict, Verdict::NotApplicable);
    assert!(control.why.contains("no gates") && control.why.contains("ann") && control.why.contains("1 finding"), "{}", control.why);
    assert_eq!(verdict(&a, "6.5.1"), Verdict::NotMet);
}

#[test]
fn a_scope_takes_the_place_of_the_defaults() {
    let scope = |text: &str| audit(POLICY, &format!("kind: Scope\nname: s\n{text}"));
    let exposed = |a: &Assessment| a.findings.iter().filter(|f| f.check == "sensitive_data_exposed").count();
    assert_eq!(exposed(&audit(POLICY, "")), 0);
    assert_eq!(exposed(&scope("untrusted_zones: [inner]\n")), 1);
    assert_eq!(exposed(&scope("untrusted_zones: [inner]\nsensitive_data: [personal]\n")), 0);
    let crossing = |a: &Assessment| a.findings.iter().filter(|f| f.check == "preproduction_edge").count();
    let stage = "environments:\n  - {name: stage, zones: [inner]}\n  - {name: live, production: true, zones: [cde]}\n";
    assert_eq!((crossing(&audit(POLICY, "")), crossing(&scope(stage))), (0, 1));
    let a = scope("cde: {zones: [cde]}\nconnected_to: {services: [invoices]}\n");
    let classes: Vec<_> = a.governance.scope.unwrap().classes.into_iter().map(|c| (c.service, c.class)).collect();
    let of = |name: &str| classes.iter().find(|c| c.0 == name).unwrap().1.as_deref();
    assert_eq!((of("items"), of("invoices"), of("users")), (Some("cde"), Some("connected_to"), None));
}

#[test]
fn attestations_stand_beside_their_controls_and_decide_nothing() {
    let a = audit(
        POLICY,
        "kind: Attestation\nname: a\nstatement: only ops can read\nby: [ann]\non: 2026-11-01\ncontrols: [pci-dss-4.0.1 10.3.1]\n---\n\
         kind: Attestation\nname: b\nstatement: old\nby: [ann]\non: 2024-11-01\ncontrols: [pci-dss-4.0.1 10.3.1]\n",
    );
    let control = a.controls.iter().find(|c| c.id == "10.3.1").unwrap();
    assert_eq!((control.verdict, control.attested.len()), (Verdict::NotAssessed, 2));
    assert!(control.attested[0].contains("only ops can read (ann on 2026-11-01)"), "{:?}", control.attested);
    assert!(control.attested[1].contains("too long ago"), "{:?}", control.attested);
}

#[test]
fn wrong_governance_is_refused_with_its_place() {
    for (text, want) in [
        ("kind: Scop\nname: s\n", "did you mean `Scope`"),
        ("kind: Scope\nname: s\nuntrusted: [x]\n", "the fields are"),
        ("kind: Scope\nname: s\nuntrusted_zone: [x]\n", "did you mean `untrusted_zones`"),
        ("kind: Scope\nname: s\n---\nkind: Scope\nname: t\n", "there is a scope already"),
        ("kind: Review\nname: r\nof: polciy\non: 2026-01-01\nby: [a]\n", "did you mean `policy`"),
        ("kind: Review\nname: r\nof: policy\non: 2026-02-30\nby: [a]\n", "g.yaml:4:5"),
        ("kind: Review\nname: r\nof: policy\non: 2026-01-01\n", "`by` is missing"),
        ("kind: Review\nname: r\nof: policy\non: 2026-01-01\nby: []\n", "empty list"),
        ("kind: Review\nname: r\nof: policy\non: 2026-01-01\nby: [a]\nevery: 3 weeks\n", "such as `90d`"),
        ("kind: Exception\nname: e\nreason: r\napproved_by: [a]\nuntil: 2027-01-01\n", "does not say what it excepts"),
        ("kind: Exception\nname: e\ncheck: weak_tsl\nreason: r\napproved_by: [a]\nuntil: 2027-01-01\n", "did you mean `weak_tls`"),
        ("kind: Exception\nname: e\ncheck: weak_tls\nuntil: 2027-01-01\nreason: r\n", "`approved_by` is missing"),
        ("kind: Exception\nname: e\ncheck: weak_tls\nreason: r\napproved_by: [a]\n", "`until` is missing"),
        (
            "kind: Alert\nname: a\nservice: s\nfrom: 2026-01-02T00:00:00Z\nto: 2026-01-01T00:00:00Z\nraised: 2026-01-01T00:00:00Z\n",
            "before `from`",
        ),
        ("kind: Certificate\nname: c\nowner: o\nissuer: i\nalgorithm: a\npurpose: p\n", "neither `identities` nor `sha256`"),
        ("kind: Certificate\nname: c\nidentities: [spiffe://x/a*]\nowner: o\nissuer: i\nalgorithm: a\npurpose: p\n", "whole segment"),
        ("a: [", "yaml-syntax"),
        ("", ""),
    ] {
        match Governance::read(&[("g.yaml", text.as_bytes().to_vec())]) {
            Ok(_) => assert_eq!(want, "", "{text}"),
            Err(found) => {
                let rendered: String = found.iter().map(portreeve_engine::Diagnostic::render).collect();
                assert!(!want.is_empty() && rendered.contains(want), "{text}\n{rendered}");
            }
        }
    }
    assert!(Governance::read::<&str>(&[]).is_err());
}

/// The last record is of 2026-11-22, and a review of access lasts 366 days. One made after that record counts for a month, and it is said.
#[test]
fn a_review_of_a_day_too_far_off_counts_for_nothing() {
    for (on, found) in [("2026-11-01", false), ("2026-12-02", false), ("2026-12-23", false), ("2026-12-24", true), ("2099-10-05", true)] {
        let review = format!("kind: Review\nname: r\nof: system-accounts\non: {on}\nby: [ann]\nacknowledged_by: [board]\n");
        let a = audit(POLICY, &review);
        let due = a.findings.iter().find(|f| f.check == "account_review_due");
        assert_eq!(due.is_some(), found, "{on}");
        assert!(due.is_none_or(|f| f.summary.contains(on)), "{on}: {due:?}");
        assert_eq!(verdict(&a, "7.2.5.1") == Verdict::MetTechnical, !found, "{on}: {:?}", verdict(&a, "7.2.5.1"));
        let why = &a.controls.iter().find(|c| c.id == "7.2.5.1").unwrap().why;
        let (after, shown) = (on > "2026-11-22", &a.governance.reviews[0]);
        assert_eq!(why.contains("after the last record"), after, "{on}: {why}");
        assert_eq!((shown.too_late, shown.days_after > 0), (found, after), "{on}");
        assert!(found || why.contains("on no traffic"), "{on}: {why}");
        // An earlier one that still counts is not hidden by it.
        let both = audit(POLICY, &format!("{review}---\nkind: Review\nname: s\nof: system-accounts\non: 2026-10-01\nby: [ann]\n"));
        assert!(both.findings.iter().all(|f| f.check != "account_review_due"), "{on}");
    }
}

/// Who looked cannot be who agrees.
#[test]
fn a_review_of_access_is_acknowledged_by_somebody_else() {
    for (acknowledged_by, want) in [
        ("[board]", Verdict::MetTechnical),
        ("[ann, board]", Verdict::MetTechnical),
        ("[ann]", Verdict::Suspect),
        ("['Ann']", Verdict::Suspect),
        ("", Verdict::Suspect),
    ] {
        let line = if acknowledged_by.is_empty() { String::new() } else { format!("acknowledged_by: {acknowledged_by}\n") };
        let review = |of: &str| format!("kind: Review\nname: {of}\nof: {of}\non: 2026-11-01\nby: [ann]\n{line}");
        let a = audit(POLICY, &format!("{}---\n{}", review("system-accounts"), review("user-accounts")));
        assert_eq!(verdict(&a, "7.2.5.1"), want, "{acknowledged_by}");
        let of_people = if want == Verdict::Suspect { want } else { Verdict::NeedsHuman };
        assert_eq!(verdict(&a, "7.2.4"), of_people, "{acknowledged_by}");
        assert_eq!(a.governance.reviews.iter().all(|r| r.acknowledged), want == Verdict::MetTechnical, "{acknowledged_by}");
    }
}

/// What is on record is of the time that it names: nobody looks at a day before it begins, is told of what has not happened, or has
/// dealt with what came later.
#[test]
fn records_count_for_their_own_time() {
    let mut world = crate::world::World::good();
    world.runs = false;
    let run = |of: &str, on: &str| format!("---\nkind: AuditRun\nname: {of}\nof: {of}\non: {on}\nby: [ann]\n");
    // Logs are of three days, of which the last is not over.
    for (on, want) in [
        ("2026-11-20", Verdict::MetTechnical),
        ("2026-11-21", Verdict::MetTechnical),
        ("2026-11-22", Verdict::NotMet),
        ("2026-11-19", Verdict::NotMet),
    ] {
        let governance = world.governance.clone() + &run("2026-11-20", on) + &run("2026-11-21", "2026-11-22");
        let a = crate::world::World { governance, ..crate::world::World { runs: false, ..crate::world::World::good() } }.audit();
        assert_eq!(verdict(&a, "10.4.1"), want, "{on}");
    }
    let outage = |more: &str| {
        let mut world = crate::world::World::good();
        world.before_stop.push(("items", |log| log.at = log.at.plus_ms(400_000)));
        world.governance.push_str(more);
        world.audit()
    };
    let found = |a: &Assessment, check: &str| a.findings.iter().any(|f| f.check == check);
    let alert = |raised: &str| {
        format!("---\nkind: Alert\nname: a\nservice: items\nfrom: 2020-01-01T00:00:00Z\nto: 2030-01-01T00:00:00Z\nraised: {raised}\n")
    };
    for (raised, is_told) in [("2020-01-01T00:00:00Z", false), ("2026-11-22T09:00:00Z", false), ("2026-11-22T10:12:00Z", true)] {
        assert_eq!(found(&outage(&alert(raised)), "unalerted_outage"), !is_told, "{raised}");
    }
    let incident = |closed: &str| {
        format!(
            "---\nkind: Incident\nname: i\nservice: items\nfrom: 2020-01-01T00:00:00Z\nto: 2030-01-01T00:00:00Z\ncause: c\naction: a\n\
             closed: {closed}\nby: [ann]\n"
        )
    };
    for (closed, is_dealt_with) in [("2026-11-21", false), ("2026-11-22", true)] {
        assert_eq!(found(&outage(&incident(closed)), "unanswered_outage"), !is_dealt_with, "{closed}");
    }
    let unapproved = unapproved();
    let plain = audit(&unapproved, "kind: Scope\nname: s\n");
    let closing = |closed: &str| {
        let due = plain.findings.iter().filter(|f| f.check != "open_finding");
        let all: String = due
            .enumerate()
            .map(|(n, f)| format!("---\nkind: Disposition\nname: d{n}\nfinding: {}\nticket: T\nby: [ann]\nclosed: {closed}\n", f.id))
            .collect();
        audit(&unapproved, &format!("kind: Scope\nname: s\n{all}"))
    };
    assert!(found(&plain, "open_finding"));
    for (closed, is_closed) in [("2026-11-21", false), ("2026-11-22", true), ("2026-12-01", true)] {
        assert_eq!(found(&closing(closed), "open_finding"), !is_closed, "{closed}");
    }
}

/// A catalogue may take a part for enough; then it is said that it is a part.
#[test]
fn less_than_all_is_told_where_a_catalogue_takes_it_for_enough() {
    let law = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *law.revision());
    log.ask(&law, &id("invoices"), "GET", "/v1/items/1");
    log.stop();
    for (coverage, want) in [("0.01%", Verdict::MetTechnical), ("100%", Verdict::NotAssessed)] {
        let text = format!(
            "catalog: own\ntitle: Own\ncontrols:\n  - {{id: a, family: F, title: T, cannot_show: all, otherwise: met-technical, measured: [services], \
             refuted_by: [weak_tls], coverage: {coverage}}}\n"
        );
        let audit = Audit::new(vec![("market".to_owned(), authorizer(POLICY))]).logs([memory("items", &log.out)]);
        let a = audit.catalog(Catalog::parse("own.yaml", &text).unwrap()).run(&mut |_| {}).unwrap();
        let control = &a.controls[0];
        assert_eq!(control.verdict, want, "{}", control.why);
        assert_eq!(control.why.contains("of which the catalogue asks for 0.01 % only"), want == Verdict::MetTechnical, "{}", control.why);
    }
}
