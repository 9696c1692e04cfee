//! A review of a ledger says what an audit of the same logs says, where both say something.

use std::path::{Path, PathBuf};

use portreeve_engine::decision::{Effect, Reason};
use serde_json::Value;

use super::{Build, LedgerFile, Review};
use crate::assessment::analyses::Window;
use crate::assessment::usage::Usage;
use crate::foreign::Reading;
use crate::governance::Governance;
use crate::testing::{Log, POLICY, authorizer, id, start};
use crate::{Assessment, Audit, LogSource};

fn reviewed(logs: &[PathBuf], built_under: &str, reviewed_under: &str) -> Review {
    let (before, now) = (authorizer(built_under), authorizer(reviewed_under));
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("x.ledger");
    Build { law: &before, reading: Reading::default(), threads: 1 }.run(logs, &out, &|_| {}).unwrap();
    Review::of(&now, &Governance::default(), &LedgerFile::open(&out).unwrap()).unwrap()
}

fn audited(logs: &[PathBuf]) -> Assessment {
    let logs = logs.iter().cloned().map(LogSource::File);
    Audit::new(vec![("market".to_owned(), authorizer(POLICY))]).logs(logs).run(&mut |_| {}).unwrap()
}

/// Whatever both say is the same, but for the window: a ledger counts decisions, and other records begin earlier or end later.
fn agree(review: &Review, assessment: &Assessment) {
    let words = |window: &Option<Window>| window.as_ref().unwrap().words.clone();
    let theirs = serde_json::to_string(&assessment.analyses).unwrap();
    let theirs = serde_json::from_str(&theirs.replace(&words(&assessment.analyses.window), &words(&review.window))).unwrap();
    let (Value::Object(ours), Value::Object(theirs)) = (serde_json::to_value(review).unwrap(), theirs) else { panic!("two objects") };
    let shared: Vec<_> = ours.iter().filter_map(|(name, part)| Some((name, part, theirs.get(name)?))).collect();
    assert_eq!(shared.len(), 12, "{:?}", ours.keys());
    for (name, ours, theirs) in shared.iter().filter(|(name, ..)| *name != "window") {
        assert_eq!(ours, theirs, "{name}");
    }
}

fn written(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Calls over three days, as one side's proxy tells them.
fn istio(cluster: &str, numbers: std::ops::Range<usize>) -> Vec<u8> {
    let line = |n: usize| {
        let (host, caller) = (["items", "invoices"][n % 2], ["invoices", "users", "gateway"][n % 3]);
        let code = if n.is_multiple_of(7) { 403 } else { 200 };
        let details = if code == 403 { "rbac_access_denied_matched_policy[none]" } else { "via_upstream" };
        let at = start().plus_ms(i64::try_from(n).unwrap() * 1_300_000);
        format!(
            concat!(
                r#"{{"start_time":"{}","method":"GET","path":"/v1/{}/{}","response_code":{},"response_code_details":"{}","#,
                r#""authority":"{}.shop.svc.cluster.local","upstream_cluster":"{}","request_id":"r{}","#,
                r#""downstream_peer_uri_san":"spiffe://market.example/ns/shop/sa/{}","downstream_local_uri_san":"spiffe://market.example/ns/shop/sa/{}"}}"#,
                "\n"
            ),
            at,
            host,
            n % 5,
            code,
            details,
            host,
            cluster.replace("HOST", host),
            n,
            caller,
            host
        )
    };
    numbers.map(line).collect::<String>().into_bytes()
}

#[test]
fn a_review_says_what_an_audit_of_another_meshs_logs_says() {
    let folder = tempfile::tempdir().unwrap();
    let logs = [written(folder.path(), "a.ndjson", &istio("inbound|8080||", 0..200))];
    let (review, assessment) = (reviewed(&logs, POLICY, POLICY), audited(&logs));
    agree(&review, &assessment);
    assert_eq!((review.decisions, review.under_other_revisions, review.recorded_twice), (200, 0, 0));
    assert!(review.shadow.have > 0 && review.spikes.of > 0 && review.window.is_some_and(|w| w.days_with_traffic == 4));
}

#[test]
fn a_review_says_what_an_audit_of_our_own_logs_says() {
    let (folder, law) = (tempfile::tempdir().unwrap(), authorizer(POLICY));
    let mut logs = Vec::new();
    for (service, paths) in [("invoices", "/v1/invoices"), ("items", "/v1/items/1")] {
        let mut log = Log::start(service, &format!("{service}-1"), *law.revision());
        for n in 0..60 {
            log.ask(&law, &id(["gateway", "users", "stranger"][n % 3]), "GET", if n % 5 == 0 { "/nowhere" } else { paths });
        }
        log.stop();
        logs.push(written(folder.path(), &format!("{service}.ndjson"), &log.out));
    }
    let (review, assessment) = (reviewed(&logs, POLICY, POLICY), audited(&logs));
    // Which process shows whose log it is, chains tell, and a ledger has none; both logs have decisions here.
    agree(&review, &assessment);
    let usage = |policy: &str| review.permissions.entries.iter().find(|p| p.policy == policy).unwrap().usage;
    assert_eq!((usage("gateway-lists-invoices"), usage("invoices-read-items")), (Usage::Used, Usage::Unused));
    assert!(review.identities.have > 0 && review.certificates.of > 0);
}

/// An audit finds the two lines of a request by its id; a ledger has no ids, and leaves the caller's side out.
#[test]
fn a_request_that_both_sides_recorded_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let called = written(folder.path(), "called.ndjson", &istio("inbound|8080||", 0..120));
    let calling = written(folder.path(), "calling.ndjson", &istio("outbound|8080||HOST.shop.svc.cluster.local", 0..120));
    let both = reviewed(&[called.clone(), calling.clone()], POLICY, POLICY);
    let one = reviewed(&[called], POLICY, POLICY);
    assert_eq!((both.decisions, both.recorded_twice), (120, 120));
    assert_eq!((&both.permissions, &both.shadow.have, &both.privilege), (&one.permissions, &one.shadow.have, &one.privilege));
    // Where only the caller's side was counted it is what there is, and shows nobody's own log.
    let alone = reviewed(&[calling], POLICY, POLICY);
    assert_eq!((alone.decisions, alone.recorded_twice), (120, 0));
    assert!(alone.permissions.entries.iter().all(|p| p.services_logged.have == 0 && p.usage != Usage::Unused));
}

#[test]
fn what_another_policy_decided_is_told_apart() {
    let (folder, law) = (tempfile::tempdir().unwrap(), authorizer(POLICY));
    let mut log = Log::start("items", "items-1", *law.revision());
    for _ in 0..3 {
        log.allow("invoices", "/v1/items/1", "read-item", "invoices-read-items");
    }
    let denied = log.question("users", "/v1/items/1", Some("read-item"), Effect::Deny, Reason::NoPermission, &[]);
    log.decide(denied);
    log.stop();
    let logs = [written(folder.path(), "items.ndjson", &log.out)];
    let narrower = POLICY.replace("name: invoices-read-items", "name: another-name");
    let review = reviewed(&logs, POLICY, &narrower);
    assert_eq!((review.decisions, review.under_other_revisions), (4, 4));
    let renamed = review.permissions.entries.iter().find(|p| p.policy == "another-name").unwrap();
    assert_eq!((renamed.usage, renamed.requests), (Usage::Unused, 0));
    assert_eq!(review.shadow.have, 0, "the edge is granted still");
}

#[test]
fn a_ledger_without_a_decision_tells_of_no_grant() {
    let folder = tempfile::tempdir().unwrap();
    let law = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *law.revision());
    log.stop();
    let review = reviewed(&[written(folder.path(), "items.ndjson", &log.out)], POLICY, POLICY);
    assert!(review.window.is_none() && review.permissions.have == 0);
    assert!(review.permissions.entries.iter().all(|p| p.usage == Usage::NotObserved));
}
