//! Limits and dry-run of permissions, asked of a whole enforcer (A67).

use portreeve_engine::record::{Outcome, Why};
use portreeve_engine::{Effect, Event, Reason};

use crate::world::{World, decided, ended, eventually};

const SHOP: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
operations:
  - {id: read-item, method: GET, path: "/v1/items/{id}"}
  - {id: status, method: GET, path: "/status"}
---
kind: Service
name: invoices
identities: [spiffe://market.example/ns/shop/sa/invoices]
operations: [{id: read, method: GET, path: "/v1/invoices"}]
---
kind: Service
name: users
identities: [spiffe://market.example/ns/shop/sa/users]
operations: [{id: read, method: GET, path: "/v1/users"}]
---
kind: Permission
name: readers
allow: {from: [invoices, users], to: items, operations: [read-item, status]}
limit: {rate: 2/h, burst: 2}
justification: They show items.
owner: team-billing
"#;

#[tokio::test]
async fn a67_a_used_budget_is_429_for_its_caller_and_operation_alone() {
    let world = World::new(SHOP).await;
    let enforcer = world.start("", "").await;
    let to = enforcer.inbound()[0];
    for (caller, target, status) in [
        ("invoices", "/v1/items/1", 200),
        ("invoices", "/v1/items/2", 200),
        ("invoices", "/v1/items/3", 429),
        ("invoices", "/status", 200),
        ("users", "/v1/items/1", 200),
        ("invoices", "/v1/items/4", 429),
    ] {
        let (found, answer) = world.get(to, caller, target, "").await;
        assert_eq!(found, status, "{caller} {target}: {answer}");
        assert_eq!(answer.contains("retry-after: 1800\r\n") || answer.contains("retry-after: 1799\r\n"), status == 429, "{answer}");
    }
    // A bundle that leaves the limit as it was leaves the budgets as they are; another limit begins anew.
    world.replace_policy(&format!("{SHOP}ticket: T-1\n"));
    enforcer.reload().await.unwrap();
    assert_eq!(world.get(to, "invoices", "/v1/items/5", "").await.0, 429);
    world.replace_policy(&SHOP.replace("2/h, burst: 2", "3/h, burst: 1"));
    enforcer.reload().await.unwrap();
    assert_eq!(world.get(to, "invoices", "/v1/items/6", "").await.0, 200);
    assert_eq!(world.get(to, "invoices", "/v1/items/7", "").await.0, 429);
    assert!(world.page(&enforcer, "/metrics").await.contains("portreeve_requests_limited_total{by=\"rate\"} 4"));
    enforcer.shutdown().await;

    assert_eq!(world.take_seen().len(), 5, "what is limited is not forwarded");
    let records = world.records();
    assert!(decided(&records).iter().all(|d| d.decision.effect == Effect::Allow && d.decision.reason == Reason::Permitted));
    let limited: Vec<_> = ended(&records).into_iter().filter(|e| e.outcome == Outcome::Limited).collect();
    assert_eq!(limited.len(), 4);
    assert!(limited.iter().all(|e| e.status == Some(429) && e.why == Why::Complete && e.detail.as_deref() == Some("rate")));
    // Each is the end of the decision that was taken just before.
    for (n, record) in records.iter().enumerate() {
        if let Event::Ended(ended) = &record.event
            && ended.outcome == Outcome::Limited
        {
            assert!(records[..n].iter().any(|r| r.seq == ended.of && matches!(r.event, Event::Decided(_))));
        }
    }
}

#[tokio::test]
async fn a67_so_many_at_once_and_no_more() {
    let world = World::new(&SHOP.replace("{rate: 2/h, burst: 2}", "{concurrency: 1}")).await;
    let enforcer = world.start("", "").await;
    let to = enforcer.inbound()[0];
    let held = world.get(to, "invoices", "/v1/items/hold", "");
    let rest = async {
        eventually("the first request arrives", async || world.seen.lock().unwrap().len() == 1).await;
        let (status, answer) = world.get(to, "invoices", "/v1/items/1", "").await;
        assert!(status == 429 && answer.contains("retry-after: 1\r\n"), "{answer}");
        assert_eq!(world.get(to, "users", "/v1/items/release", "").await.0, 200, "another caller");
    };
    let ((status, _), ()) = tokio::join!(held, rest);
    assert_eq!(status, 200);
    eventually("the place is given back", async || world.get(to, "invoices", "/v1/items/2", "").await.0 == 200).await;
    enforcer.shutdown().await;
}

#[tokio::test]
async fn in_a_dry_run_limits_are_counted_and_stop_nothing() {
    let world = World::new(SHOP).await;
    let enforcer = world.start("", "mode: dry-run\n").await;
    for _ in 0..4 {
        assert_eq!(world.get(enforcer.inbound()[0], "invoices", "/v1/items/1", "").await.0, 200);
    }
    assert!(world.page(&enforcer, "/metrics").await.contains("portreeve_requests_limited_total{by=\"rate\"} 2"));
    enforcer.shutdown().await;
    assert!(ended(&world.records()).iter().all(|e| e.outcome == Outcome::Forwarded));
}

#[tokio::test]
async fn permissions_in_dry_run_are_recorded_and_counted_and_enforced_nowhere() {
    let trial = "---\nkind: Permission\nname: no-invoices\ndeny: {from: [invoices], to: items, operations: [read-item]}\nmode: dry-run\n---\nkind: Permission\nname: users-other\nallow: {from: [users], to: items, operations: any-path}\nmode: dry-run\n";
    let world = World::new(&format!("{}{trial}", SHOP.replace("limit: {rate: 2/h, burst: 2}\n", ""))).await;
    let enforcer = world.start("", "").await;
    let to = enforcer.inbound()[0];
    assert_eq!(world.get(to, "invoices", "/v1/items/1", "").await.0, 200);
    assert_eq!(world.get(to, "users", "/other", "").await.0, 403);
    assert_eq!(world.get(to, "invoices", "/status", "").await.0, 200);
    let metrics = world.page(&enforcer, "/metrics").await;
    for would in ["deny", "allow"] {
        assert!(metrics.contains(&format!("portreeve_requests_shadow_total{{would=\"{would}\"}} 1")), "{metrics}");
    }
    enforcer.shutdown().await;
    let records = world.records();
    let shadows: Vec<Vec<String>> = decided(&records).iter().map(|d| d.decision.shadow.clone()).collect();
    assert_eq!(shadows, [vec!["no-invoices".to_owned()], vec!["users-other".to_owned()], vec![]]);
}
