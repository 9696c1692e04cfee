//! `limit` of a permission, where it leads outside the mesh: kept by the caller's enforcer.

use std::sync::atomic::Ordering;
use std::time::Duration;

use portreeve_engine::record::{Outcome, Why};

use crate::egress::{PROXY, connect, outside_tls};
use crate::town::{self, Town, app, code, ended, get, ok, replays};

fn law(port: u16, limit: &str) -> String {
    let granted = "allow: {from: payments, to: cards, operations: '*'}";
    town::LAW.replace("PORT", &port.to_string()).replace(granted, &format!("{granted}\nlimit: {limit}"))
}

#[tokio::test]
async fn a67_what_is_over_its_rate_does_not_leave() {
    let (outside, served) = app(|_, _| ok("rates")).await;
    let town = Town::new(outside.port());
    town.law(2, &law(outside.port(), "{rate: 1/h, burst: 2}"));
    let caller = town.start("payments", "payments", &PROXY.replace("USERS", "127.0.0.1:1")).await;
    let (proxy, place) = (caller.outbound()[0], format!("localhost:{}", outside.port()));
    for expected in [200, 200, 429, 429] {
        let (status, answer) = get(proxy, "/v1/rates/1", &place).await;
        assert_eq!(status, expected, "{answer}");
        let after = answer.to_ascii_lowercase().split("retry-after: ").nth(1).and_then(|t| t.split('\r').next()?.parse::<u64>().ok());
        assert_eq!(after.is_some_and(|seconds| (1..=3600).contains(&seconds)), expected == 429, "{answer}");
    }
    // Another operation has a budget of its own.
    let (_tunnel, head) = connect(proxy, &place).await;
    assert_eq!(code(&head), 200, "{head}");
    assert_eq!(served.load(Ordering::SeqCst), 2);
    assert!(caller.gate().metrics.render().contains("portreeve_requests_limited_total{by=\"rate\"} 2"));
    caller.shutdown().await;
    let records = town.records("payments");
    replays(&town.authorizer(), &records);
    let ends: Vec<_> = ended(&records).iter().map(|e| (e.outcome, e.status, e.why, e.detail.clone())).collect();
    let limited = (Outcome::Limited, Some(429), Why::Complete, Some("rate".to_owned()));
    assert_eq!(ends[2..4], [limited.clone(), limited], "{ends:?}");
}

#[tokio::test]
async fn a67_a_tunnel_holds_its_place_until_it_ends() {
    let (outside, client) = outside_tls().await;
    let town = Town::new(outside.port());
    town.law(2, &law(outside.port(), "{concurrency: 1}"));
    let caller = town.start("payments", "payments", &PROXY.replace("USERS", "127.0.0.1:1")).await;
    let (proxy, place) = (caller.outbound()[0], format!("localhost:{}", outside.port()));
    let (stream, head) = connect(proxy, &place).await;
    assert_eq!(code(&head), 200, "{head}");
    let tunnel = tokio_rustls::TlsConnector::from(client).connect("localhost".try_into().unwrap(), stream).await.unwrap();
    let (_, head) = connect(proxy, &place).await;
    assert!(code(&head) == 429 && head.contains("\r\nretry-after: "), "{head}");
    drop(tunnel);
    let again = async {
        while code(&connect(proxy, &place).await.1) != 200 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("its place is free again");
    caller.shutdown().await;
}
