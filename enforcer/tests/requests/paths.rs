//! Paths as a service reads them: judged, recorded and forwarded are the same bytes (INV-6; A01, A02, A29).

use crate::world::{World, decided};

fn shop(paths: &str) -> String {
    format!(
        r#"
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
paths: {paths}
operations:
  - {{id: app, method: GET, path: "/app/{{rest*}}"}}
  - {{id: admin, method: GET, path: /admin}}
---
kind: Service
name: invoices
identities: [spiffe://market.example/ns/shop/sa/invoices]
operations: [{{id: read, method: GET, path: "/v1/invoices"}}]
---
kind: Permission
name: invoices-app
allow: {{from: [invoices], to: items, operations: [app]}}
justification: Invoices show items.
owner: team-billing
"#
    )
}

#[tokio::test]
async fn a01_a29_what_is_judged_is_recorded_and_forwarded_in_every_way_of_reading() {
    for (paths, answers) in [
        ("strict", [("/app/x/%61", 200, "/app/x/a"), ("/app//x", 400, ""), ("/app/%2E%2E/admin", 400, ""), ("/app/..%2fadmin", 400, "")]),
        (
            "NONE",
            [("/app/x/%61", 200, "/app/x/%61"), ("/app//x", 200, "/app//x"), ("/app/\\..", 200, "/app/\\.."), ("//admin", 403, "//admin")],
        ),
        (
            "BASE",
            [("/app//x", 200, "/app//x"), ("/app/%2E%2E/admin", 403, "/admin"), ("/x/../app/y", 200, "/app/y"), ("/app/%00", 400, "")],
        ),
        ("MERGE_SLASHES", [("//app//x", 200, "/app/x"), ("//admin", 403, "/admin"), ("/app\\x", 200, "/app/x"), ("/app/%zz", 400, "")]),
        (
            "DECODE_AND_MERGE_SLASHES",
            [("/app%2Fx", 200, "/app/x"), ("/app/..%2fadmin", 403, "/admin"), ("/%5cadmin", 403, "/admin"), ("/app/x#y", 400, "")],
        ),
    ] {
        let world = World::new(&shop(paths)).await;
        let enforcer = world.start("", "").await;
        for (raw, status, _) in answers {
            let (found, answer) = world.get(enforcer.inbound()[0], "invoices", &format!("{raw}?a=//b"), "").await;
            assert_eq!(found, status, "{paths} {raw}: {answer}");
        }
        enforcer.shutdown().await;
        let forwarded: Vec<String> = world.take_seen().iter().map(|r| r.split(' ').nth(1).unwrap().to_owned()).collect();
        let allowed: Vec<String> = answers.iter().filter(|a| a.1 == 200).map(|a| format!("{}?a=//b", a.2)).collect();
        assert_eq!(forwarded, allowed, "{paths}");
        let records = world.records();
        let recorded: Vec<&str> = decided(&records).iter().map(|d| d.request.path.as_deref().unwrap_or_default()).collect();
        assert_eq!(recorded, answers.map(|a| a.2), "{paths}");
    }
}
