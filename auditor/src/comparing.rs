//! Assessments held against earlier ones.

use crate::assessment::{Assessment, EdgeChangeKind, EdgeSummary, Finding, Verdict, Weight};
use crate::audit::Audit;
use crate::baseline::{Earlier, compare};
use crate::limits::FINDINGS_PER_CHECK_MAX;
use crate::testing::{Log, POLICY, authorizer, id, memory};

fn audit(ask: impl Fn(&mut Log), policy: &str) -> Assessment {
    let law = authorizer(policy);
    let mut log = Log::start("items", "items-1", *law.revision());
    ask(&mut log);
    log.stop();
    let bundles = vec![("market".to_owned(), authorizer(policy))];
    Audit::new(bundles).logs([memory("items", &log.out)]).run(&mut |_| {}).unwrap()
}

fn earlier(name: &str, a: &Assessment) -> Earlier {
    Earlier::read(name, serde_json::to_string_pretty(a).unwrap().as_bytes()).unwrap()
}

fn quiet(log: &mut Log) {
    log.ask(&authorizer(POLICY), &id("invoices"), "GET", "/v1/items/1");
}

fn probed(log: &mut Log) {
    quiet(log);
    log.ask(&authorizer(POLICY), &id("stranger"), "GET", "/v1/items/1");
}

#[test]
fn an_assessment_against_itself_has_nothing_new() {
    let a = audit(probed, POLICY);
    let b = compare(&a, &[earlier("base.json", &a)]).unwrap();
    assert!(b.findings.new.is_empty() && b.findings.gone.is_empty() && b.findings.heavier.is_empty());
    assert_eq!(b.findings.unchanged.len(), a.findings.len());
    assert!(b.verdicts.is_empty() && b.edges.is_empty());
    // It is said that the same log was read twice, and that nothing lies between the two.
    assert_eq!(b.differs.iter().map(|d| &*d.what).collect::<Vec<_>>(), ["inputs", "period"]);
    assert_eq!(b.trend.len(), 2);
    assert_eq!((b.trend[0].decided, &b.trend[0].verdicts), (b.trend[1].decided, &b.trend[1].verdicts));
    assert!(compare(&a, &[]).is_none());
}

#[test]
fn what_came_and_what_went_is_told() {
    let (before, now) = (audit(quiet, POLICY), audit(probed, POLICY));
    let b = compare(&now, &[earlier("base.json", &before)]).unwrap();
    let seen: Vec<&str> = now.findings.iter().filter(|f| f.check == "unknown_identity_seen").map(|f| &*f.id).collect();
    assert_eq!(seen.len(), 1);
    assert!(b.findings.new.contains(&seen[0].to_owned()), "{:?}", b.findings.new);
    assert_eq!(b.edges.len(), 1);
    assert_eq!((b.edges[0].kind, b.edges[0].from.as_deref()), (EdgeChangeKind::FirstDenied, None));
    let back = compare(&before, &[earlier("base.json", &now)]).unwrap();
    assert_eq!(back.findings.gone.iter().map(|f| &*f.id).collect::<Vec<_>>(), b.findings.new);
    assert_eq!(back.edges[0].kind, EdgeChangeKind::NoLongerSeen);
    let same: usize = before.findings.iter().filter(|f| b.findings.unchanged.contains(&f.id)).count();
    assert_eq!(same, before.findings.len());
}

/// Findings that are gone because a log was left out are no progress, and whoever reads the comparison is told so.
#[test]
fn a_service_whose_log_is_not_given_any_more_is_told() {
    let (before, now) = (audit(probed, POLICY), {
        let law = vec![("market".to_owned(), authorizer(POLICY))];
        Audit::new(law).logs([memory("items", b"")]).run(&mut |_| {}).unwrap()
    });
    let b = compare(&now, &[earlier("base.json", &before)]).unwrap();
    assert!(b.findings.gone.iter().any(|f| f.check == "unknown_identity_seen"), "{:?}", b.findings.gone);
    let told: Vec<_> = b.differs.iter().map(|d| (&*d.what, &*d.before, &*d.now)).collect();
    assert_eq!(told, [("services", "1 service with records, here alone items", "0 services with records")]);
    let back = compare(&before, &[earlier("base.json", &now)]).unwrap();
    assert_eq!(back.differs[0].now, "1 service with records, here alone items");
}

#[test]
fn another_policy_catalogue_or_tool_is_told() {
    let now = audit(quiet, POLICY);
    let mut before = audit(quiet, &POLICY.replace("2027-05-01", "2027-06-01"));
    before.tool = "portreeve 0.0.9".to_owned();
    before.catalogs = vec!["own-1".to_owned()];
    before.controls.retain(|c| c.id != "7.3.3");
    before.controls[0].catalog = "own-1".to_owned();
    before.edges.iter_mut().for_each(|e| e.declared = !e.declared);
    let b = compare(&now, &[earlier("base.json", &before)]).unwrap();
    let what: Vec<&str> = b.differs.iter().map(|d| &*d.what).collect();
    assert_eq!(what, ["tool", "catalogs", "bundles", "period"]);
    assert!(b.differs.iter().all(|d| !d.meaning.is_empty() && (d.before != d.now || d.what == "period")));
    let first = &now.controls[0];
    for (catalog, id, want) in [
        ("pci-dss-4.0.1", "7.3.3", (None, Some(Verdict::NotAssessed))),
        (&*first.catalog, &*first.id, (None, Some(first.verdict))),
        ("own-1", &first.id, (Some(first.verdict), None)),
    ] {
        let change = b.verdicts.iter().find(|v| v.catalog == catalog && v.id == id).unwrap();
        let now_is = now.controls.iter().find(|c| c.catalog == catalog && c.id == id).map(|c| c.verdict);
        assert_eq!(change.before, want.0);
        assert_eq!(change.now, now_is);
    }
    let kinds: Vec<EdgeChangeKind> = b.edges.iter().map(|e| e.kind).collect();
    assert!(kinds.contains(&EdgeChangeKind::NewlyGranted) || kinds.contains(&EdgeChangeKind::NoLongerGranted), "{kinds:?}");
}

#[test]
fn the_latest_is_compared_with_and_all_make_a_line() {
    let mut old = audit(quiet, POLICY);
    let mut middle = old.clone();
    let now = old.clone();
    let shift = |a: &mut Assessment, days: i64| {
        let period = a.period.as_mut().unwrap();
        (period.from, period.to) = (period.from.plus_ms(-days * 86_400_000), period.to.plus_ms(-days * 86_400_000));
    };
    shift(&mut old, 60);
    shift(&mut middle, 30);
    old.findings.clear();
    for order in [[("old", &old), ("middle", &middle)], [("middle", &middle), ("old", &old)]] {
        let given: Vec<Earlier> = order.iter().map(|(name, a)| earlier(name, a)).collect();
        let b = compare(&now, &given).unwrap();
        assert_eq!(b.path, "middle");
        assert!(b.findings.new.is_empty());
        assert_eq!(b.trend.iter().map(|p| &*p.path).collect::<Vec<_>>(), ["old", "middle", ""]);
        assert_eq!(b.trend[0].findings, [0, 0, 0]);
        assert_eq!(b.trend[2].findings.iter().sum::<u64>(), now.findings.len() as u64);
    }
}

#[test]
fn heavier_findings_and_new_edges() {
    let mut now = audit(quiet, POLICY);
    let mut before = now.clone();
    let at = now.findings.iter().position(|f| f.severity < Weight::Low).unwrap();
    before.findings[at].severity = Weight::Low;
    let mut edge: EdgeSummary = now.edges.iter().find(|e| e.to == "items").unwrap().clone();
    (edge.from, edge.allowed, edge.denied, edge.declared) = (Some("gateway".to_owned()), 3, 0, true);
    now.edges.push(edge);
    let b = compare(&now, &[earlier("base.json", &before)]).unwrap();
    assert_eq!(b.findings.heavier, [now.findings[at].id.clone()]);
    assert_eq!(b.edges.iter().map(|e| e.kind).collect::<Vec<_>>(), [EdgeChangeKind::FirstAllowed, EdgeChangeKind::NewlyGranted]);
}

/// Folding must not make old findings look new, nor new ones old.
#[test]
fn folded_findings_keep_their_ids() {
    let strangers = |n: usize| {
        move |log: &mut Log| {
            for k in 0..n {
                log.ask(&authorizer(POLICY), &id(&format!("stranger-{k:03}")), "GET", "/v1/items/1");
            }
        }
    };
    let many = FINDINGS_PER_CHECK_MAX + 5;
    let (before, now) = (audit(strangers(many), POLICY), audit(strangers(many + 2), POLICY));
    assert_eq!(now.folded.len(), 1);
    let named = |a: &Assessment| a.findings.iter().filter(|f| f.check == "unknown_identity_seen").count();
    assert_eq!((named(&now), now.folded[0].ids.len()), (FINDINGS_PER_CHECK_MAX, many + 2 - FINDINGS_PER_CHECK_MAX + 1));
    let b = compare(&now, &[earlier("base.json", &before)]).unwrap();
    let new: Vec<&String> = b.findings.new.iter().filter(|id| id.starts_with("unknown_identity_seen")).collect();
    assert_eq!(new.len(), 2, "{new:?}");
    assert!(b.findings.gone.iter().all(|f| f.check != "unknown_identity_seen"), "{:?}", b.findings.gone);
    let back = compare(&before, &[earlier("base.json", &now)]).unwrap();
    assert_eq!(back.findings.gone.iter().filter(|f| f.check == "unknown_identity_seen").count(), 2);
    let fold = now.findings.iter().find(|f| f.id == now.folded[0].finding).map(|f: &Finding| &*f.subject);
    assert_eq!(fold, Some("8 more"));
}

#[test]
fn what_is_no_assessment_is_refused_with_its_place() {
    let a = audit(quiet, POLICY);
    let whole = serde_json::to_string_pretty(&a).unwrap();
    let cut: String = whole.lines().take(5).map(|l| format!("{l}\n")).collect();
    let odd = whole.replacen("\"severity\": \"", "\"severity\": \"un\u{1b}known-", 1);
    let at = odd.lines().position(|l| l.contains("un\u{1b}known-")).unwrap() + 1;
    for (text, line, why) in [
        ("", 1, "EOF"),
        ("[]\n", 1, "expected"),
        ("{\n \"tool\": 1}", 2, "expected a string"),
        (&*cut, 6, "EOF"),
        (&*odd, at, "control character"),
        (&*whole.replacen("\"controls\": [", "\"kontrols\": [", 1), whole.lines().count(), "missing field `controls`"),
    ] {
        let e = Earlier::read("base.json", text.as_bytes()).unwrap_err();
        assert_eq!(e.line, line, "{e}");
        assert!(e.to_string().starts_with(&format!("base.json:{line}:")) && e.to_string().contains(why), "{e}");
        assert!(e.to_string().chars().all(|c| !c.is_control()), "{e:?}");
    }
    // What a later version adds is no fault.
    assert!(Earlier::read("b", whole.replacen('{', "{\"added_later\": {\"x\": [1]},", 1).as_bytes()).is_ok());
}
