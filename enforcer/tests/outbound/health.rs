//! Health checks of endpoints: one that dies is left aside before a request meets it, and asked again when it is back.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use portreeve_enforcer::Enforcer;
use portreeve_engine::record::Why;

use crate::town::{Town, app, decided, ended, get, ok, status};

const CHECK: &str = "health: {interval: 100ms, timeout: 2s, down_after: 2, up_after: 2";

/// Waits until a line of the metrics says so.
async fn says(enforcer: &Enforcer, line: &str) {
    says_of(enforcer, |l| l == line, line).await;
}

async fn says_of(enforcer: &Enforcer, fits: impl Fn(&str) -> bool, what: &str) {
    let looking = async {
        while !enforcer.gate().metrics.render().lines().any(&fits) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), looking).await.is_err() {
        panic!("never `{what}`: {}", enforcer.gate().metrics.render());
    }
}

fn way(connect: &[SocketAddr], health: &str) -> String {
    let connect: Vec<_> = connect.iter().map(|a| format!("\"{a}\"")).collect();
    let connect = connect.join(", ");
    format!("outbound: [{{listen: \"127.0.0.1:0\", service: users, connect: [{connect}], retries: 0, {health}}}]\n")
}

async fn callee_at(town: &Town, log: &str, at: &str, app: SocketAddr) -> Enforcer {
    town.start("users", log, &format!("inbound: [{{listen: \"{at}\", upstream: \"{app}\"}}]\n")).await
}

const DOWN: &str = "portreeve_outbound_down_endpoints{service=\"users\"} 1";
const NONE_DOWN: &str = "portreeve_outbound_down_endpoints{service=\"users\"} 0";

#[tokio::test]
async fn an_endpoint_that_dies_is_left_aside_and_asked_again_when_it_is_back() {
    let (town, (one, first), (two, second)) = (Town::new(443), app(|_, _| ok("one")).await, app(|_, _| ok("two")).await);
    let (lasting, mortal) = (town.callee("users-1", one).await, town.callee("users-2", two).await);
    let at = mortal.inbound()[0];
    let caller = town.start("payments", "payments", &way(&[lasting.inbound()[0], at], &format!("{CHECK}}}"))).await;
    let ask = async |times: usize| {
        for n in 0..times {
            assert_eq!(get(caller.outbound()[0], "/v1/users/7", "users").await.0, 200, "{n}");
        }
    };
    // Both were checked, whoever looks late.
    let checked = "portreeve_outbound_health_checks_total{service=\"users\",result=\"ok\"} ";
    says_of(&caller, |line| line.strip_prefix(checked).is_some_and(|n| n.parse::<u32>().is_ok_and(|n| n >= 6)), checked).await;
    ask(40).await;
    assert!(first.load(Ordering::SeqCst) > 0 && second.load(Ordering::SeqCst) > 0);

    mortal.shutdown().await;
    says(&caller, DOWN).await;
    // No retry is allowed here, so a request that met the dead one would be answered 502.
    let before = first.load(Ordering::SeqCst);
    ask(40).await;
    assert_eq!(first.load(Ordering::SeqCst), before + 40);
    let metrics = caller.gate().metrics.render();
    assert!(metrics.contains("portreeve_outbound_health_checks_total{service=\"users\",result=\"connect\"}"), "{metrics}");

    let back = callee_at(&town, "users-3", &at.to_string(), two).await;
    says(&caller, NONE_DOWN).await;
    let before = second.load(Ordering::SeqCst);
    ask(40).await;
    assert!(second.load(Ordering::SeqCst) > before);
    caller.shutdown().await;
    back.shutdown().await;
    lasting.shutdown().await;
    // The handshake alone is no request: nothing of the checks is in the callee's log.
    assert_eq!(decided(&town.records("users-1")).len(), first.load(Ordering::SeqCst));
}

/// Another service at the address is not the one that is meant, however well it answers.
#[tokio::test]
async fn a68_a_check_is_made_with_the_identity_that_requests_expect() {
    let (town, (one, _), (two, asked)) = (Town::new(443), app(|_, _| ok("one")).await, app(|_, _| ok("two")).await);
    let right = town.callee("users", one).await;
    let wrong = town.start("other", "other", &format!("inbound: [{{listen: \"127.0.0.1:0\", upstream: \"{two}\"}}]\n")).await;
    let caller = town.start("payments", "payments", &way(&[right.inbound()[0], wrong.inbound()[0]], &format!("{CHECK}}}"))).await;
    says(&caller, DOWN).await;
    for _ in 0..20 {
        assert_eq!(get(caller.outbound()[0], "/v1/users/7", "users").await.0, 200);
    }
    let metrics = caller.gate().metrics.render();
    assert!(metrics.contains("portreeve_outbound_health_checks_total{service=\"users\",result=\"unexpected-peer\"}"), "{metrics}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    caller.shutdown().await;
}

#[tokio::test]
async fn with_a_path_the_answer_counts_and_the_callee_records_it() {
    let answers = |name: &'static str| move |_, head: &str| if head.starts_with("GET /v1/users/health ") { status(503) } else { ok(name) };
    let (town, (sick, _)) = (Town::new(443), app(answers("sick")).await);
    let (well, _) = app(|_, _| ok("well")).await;
    let callees = [town.callee("users-1", sick).await, town.callee("users-2", well).await];
    let check = format!("{CHECK}, path: /v1/users/health}}");
    let caller = town.start("payments", "payments", &way(&callees.each_ref().map(|c| c.inbound()[0]), &check)).await;
    says(&caller, DOWN).await;
    for _ in 0..20 {
        let (_, answer) = get(caller.outbound()[0], "/v1/users/7", "users").await;
        assert!(answer.ends_with("well"), "{answer}\n{}", caller.gate().metrics.render());
    }
    // What the law of the callee does not let us ask says nothing good either.
    let denied = town.start("payments", "denied", &way(&[callees[1].inbound()[0]], &format!("{CHECK}, path: /healthz}}"))).await;
    says(&denied, DOWN).await;
    assert!(denied.gate().metrics.render().contains("portreeve_outbound_health_checks_total{service=\"users\",result=\"denied\"}"));
    // One endpoint alone is asked all the same.
    assert_eq!(get(denied.outbound()[0], "/v1/users/7", "users").await.0, 200);
    for enforcer in [caller, denied].into_iter().chain(callees) {
        enforcer.shutdown().await;
    }
    let records = town.records("users-1");
    let health = decided(&records).iter().filter(|(_, d)| d.request.path.as_deref() == Some("/v1/users/health")).count();
    assert!(health >= 2 && ended(&records).iter().any(|e| e.status == Some(503) && e.why == Why::Complete));
}
