//! A reload under load misjudges no request, and refuses none that both bundles allow (P6).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::TokioIo;
use portreeve_enforcer::Enforcer;
use portreeve_enforcer::report::Report;
use portreeve_engine::record::Answer;
use portreeve_engine::{Authorizer, Bundle, Event};

use crate::world::{SHOP, World, until};

/// Three hundred permissions; the two bundles differ in one that is asked about.
fn policies(flips: &str) -> String {
    let mut text =
        SHOP.replace("  - {id: read-item", &format!("{}  - {{id: flip, method: GET, path: /flip}}\n  - {{id: read-item", operations()));
    let _ = write!(
        text,
        "---\nkind: Permission\nname: flip\n{flips}: {{from: [invoices], to: items, operations: [flip]}}\njustification: x\nowner: team-billing\n"
    );
    for n in 0..300 {
        let _ = write!(
            text,
            "---\nkind: Permission\nname: p{n}\nallow: {{from: [invoices], to: items, operations: [o{n}]}}\njustification: x\nowner: team-billing\n"
        );
    }
    text
}

fn operations() -> String {
    (0..300).map(|n| format!("  - {{id: o{n}, method: GET, path: /o/{n}}}\n")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p6_a_reload_under_load_misjudges_nothing() {
    let world = Arc::new(World::new().await);
    let mut laws = BTreeMap::new();
    for (name, flips) in [("one", "allow"), ("two", "deny")] {
        world.put_policies(name, &policies(flips));
        let bundle = Bundle::read_dir(&world.path(name)).unwrap();
        let compiled = Authorizer::compile(&bundle);
        let law = compiled.authorizer.unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics));
        laws.insert(*law.revision(), law);
    }
    std::fs::remove_dir_all(world.path("policies")).unwrap();
    std::os::unix::fs::symlink("one", world.path("policies")).unwrap();
    let enforcer = Enforcer::start(world.config("self_check: {one_in: 50}\n"), Report::silent()).await.unwrap();
    let to = enforcer.inbound()[0];
    let (done, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..4_u32)
        .map(|caller| {
            let (world, done, asked) = (Arc::clone(&world), Arc::clone(&done), Arc::clone(&asked));
            tokio::spawn(async move {
                let connect = || async {
                    let stream = TokioIo::new(world.connect(to).await.unwrap());
                    let (sender, connection) = hyper::client::conn::http1::handshake::<_, Empty<bytes::Bytes>>(stream).await.unwrap();
                    (sender, tokio::spawn(connection))
                };
                let (mut sender, mut driver) = connect().await;
                let mut seen = BTreeSet::new();
                let mut n = caller;
                while !done.load(Ordering::Relaxed) {
                    let target = match n % 3 {
                        0 => format!("/o/{}", n % 300),
                        1 => "/flip".to_owned(),
                        _ => "/nowhere".to_owned(),
                    };
                    let request = http::Request::builder().uri(&target).header("host", "items").body(Empty::new()).unwrap();
                    sender.ready().await.unwrap();
                    let answer = sender.send_request(request).await.unwrap();
                    let kind = target.split('/').nth(1).unwrap().to_owned();
                    seen.insert((kind, answer.status().as_u16()));
                    let closes = answer.headers().get("connection").is_some_and(|v| v == "close");
                    // Only what a new policy denies while it waits ends a connection, and says so.
                    assert!(!closes || (target == "/flip" && answer.status() == 403), "{target}: {answer:?}");
                    answer.into_body().collect().await.unwrap();
                    if closes {
                        driver.abort();
                        (sender, driver) = connect().await;
                    }
                    asked.fetch_add(1, Ordering::Relaxed);
                    n += 1;
                }
                driver.abort();
                seen
            })
        })
        .collect();
    for round in 0..8 {
        let now = asked.load(Ordering::Relaxed);
        until("calls go on", || async { asked.load(Ordering::Relaxed) }, |n| *n > now + 30).await;
        let next = if round % 2 == 0 { "two" } else { "one" };
        std::os::unix::fs::symlink(next, world.path("new")).unwrap();
        std::fs::rename(world.path("new"), world.path("policies")).unwrap();
        enforcer.reload().await.unwrap();
    }
    done.store(true, Ordering::Relaxed);
    let mut seen = BTreeSet::new();
    for caller in callers {
        seen.extend(caller.await.unwrap());
    }
    let metrics = enforcer.gate().metrics.render();
    enforcer.shutdown().await;
    assert!(metrics.contains("portreeve_self_check_disagreements_total 0"), "{metrics}");
    // What both allow is answered by the service; what neither allows is refused. What changes meanwhile is one or the other.
    let statuses = |kind: &str| seen.iter().filter(|(of, _)| of == kind).map(|(_, status)| *status).collect::<Vec<_>>();
    assert_eq!((statuses("o"), statuses("nowhere")), (vec![200], vec![403]));
    assert_eq!(statuses("flip"), [200, 403], "{seen:?}");

    let records = world.records("decisions.ndjson");
    let mut under = BTreeMap::new();
    for record in &records {
        let Event::Decided(decided) = &record.event else { continue };
        let law = laws.get(&decided.revision).expect("a revision that was in force");
        let request = decided.request(record.at, Default::default()).unwrap();
        assert_eq!(Answer::from(&law.decide(&request)), decided.decision, "{decided:?}");
        *under.entry(decided.revision).or_insert(0) += 1;
    }
    assert_eq!(under.len(), 2, "{under:?}");
    assert_eq!(under.values().sum::<u64>(), asked.load(Ordering::Relaxed), "nothing is missing");
    let reloads = records.iter().filter(|r| matches!(r.event, Event::Reloaded(_))).count();
    assert_eq!(reloads, 8);
}
