//! What a policy does that comes into force between a decision and its use.

use std::time::Duration;

use http::request::Parts;
use http::{Request as HttpRequest, StatusCode};
use hyper_util::rt::TokioIo;
use portreeve_engine::bundle::{BuiltBundle, BundleSigner, Label};
use portreeve_engine::id::TrustDomain;
use portreeve_engine::record::{Decided, Ended, Outcome, Why};
use portreeve_engine::{Bundle, Effect, Event, Record, SourceFile};
use tokio::io::duplex;

use super::*;
use crate::Enforcer;
use crate::ca::{Ca, CaOptions};
use crate::config::Config;
use crate::outbound::body::Coming;
use crate::outbound::linger::Rest;
use crate::outbound::local::plain;
use crate::outbound::tunnel::Tunnel;
use crate::outbound::{Egress, EgressTimes};
use crate::report::Report;
use crate::serve::Phase;
use crate::tls::{ExpectedPeer, Identity, IdentityFiles, accept, connect};

const LAW: &str = r#"
kind: Service
name: items
identities: [spiffe://market.example/items]
operations: [{id: read-item, method: GET, path: "/v1/items/{id}"}, {id: raw, port: 5432}]
---
kind: Service
name: users
identities: [spiffe://market.example/users]
---
kind: Service
name: cards
hosts: ["127.0.0.1:9"]
operations: [{id: tls, port: 9}]
---
kind: Permission
name: users-items
allow: {from: users, to: items, operations: '*'}
---
kind: Permission
name: items-cards
allow: {from: items, to: cards, operations: '*'}
"#;

fn law(text: &str) -> Authorizer {
    let file = SourceFile { path: "law.yaml".to_owned(), bytes: text.as_bytes().to_vec() };
    Authorizer::compile(&Bundle::from_files("law", vec![file]).unwrap()).authorizer.unwrap()
}

/// The same, and it denies everything.
fn denying() -> Authorizer {
    law(&LAW.replace("allow:", "deny:"))
}

struct World {
    dir: tempfile::TempDir,
    enforcer: Enforcer,
    caller: Arc<Caller>,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let domain: TrustDomain = "market.example".parse().unwrap();
        let ca = Ca::init(&at("ca"), &domain, CaOptions::default()).unwrap();
        let identity = |name: &str| {
            let (cert, key) = (at(&format!("{name}.pem")), at(&format!("{name}.key")));
            let id = format!("spiffe://market.example/{name}").parse().unwrap();
            ca.issue_files(&id, Duration::from_secs(3600), &cert, &key).unwrap();
            let trust = [(domain.clone(), ca.root_path())].into();
            Identity::load(&IdentityFiles { cert, key, trust, crl: Vec::new() }).unwrap()
        };
        let (items, users) = (identity("items"), identity("users"));
        let pair = crate::ca::head_key().unwrap();
        pair.write(&at("bundle.key"), &at("bundle.pub")).unwrap();
        let signer = BundleSigner::from_pem(&std::fs::read_to_string(at("bundle.key")).unwrap()).unwrap();
        let file = SourceFile { path: "law.yaml".to_owned(), bytes: LAW.as_bytes().to_vec() };
        let label = Label { name: "law".to_owned(), serial: 1, issued_at: Clock::new().now() };
        let built = BuiltBundle::build(Bundle::from_files("law", vec![file]).unwrap(), label).unwrap();
        std::fs::write(at("law.tar.gz"), built.sign(&signer).unwrap().to_bytes().unwrap()).unwrap();
        let root = ca.root_path();
        let text = format!(
            "service: items\nbundle: {{path: law.tar.gz, key: bundle.pub, max_age: 1h, on_stale: deny}}\nidentity: {{cert: items.pem, key: items.key, trust: {{market.example: {}}}}}\n\
             inbound: [{{listen: \"127.0.0.1:0\", upstream: \"127.0.0.1:1\"}}]\nlog: {{path: decisions.ndjson}}\ndrain: 100ms\n",
            root.display()
        );
        let enforcer = Enforcer::start(Config::parse("test.yaml", &text, dir.path()).unwrap(), Report::silent()).await.unwrap();
        let (near, far) = duplex(64 * 1024);
        let within = Duration::from_secs(20);
        let expected = ExpectedPeer { ids: vec![items.id().clone()], patterns: Vec::new() };
        let (accepted, connected) = tokio::join!(accept(&items, far, within), connect(&users, expected, near, within));
        connected.unwrap();
        let (_, peer) = accepted.unwrap();
        let caller = Arc::new(Caller::new(peer, IpAddr::from([127, 0, 0, 1]), None, "HTTP/1.1", &Arc::default()));
        Self { dir, enforcer, caller }
    }

    /// What is in the log of what was decided and how it ended.
    async fn end(self) -> (Vec<Decided>, Vec<Ended>) {
        drop(self.caller);
        self.enforcer.shutdown().await;
        let (mut decided, mut ended) = (Vec::new(), Vec::new());
        for line in std::fs::read_to_string(self.dir.path().join("decisions.ndjson")).unwrap().lines() {
            match Record::from_line(line.as_bytes()).unwrap().event {
                Event::Decided(one) => decided.push(*one),
                Event::Ended(one) => ended.push(one),
                _ => {}
            }
        }
        (decided, ended)
    }
}

fn parts() -> Parts {
    HttpRequest::get("/v1/items/7").header("host", "items").body(()).unwrap().into_parts().0
}

fn arrival(gate: &Gate) -> Arrival {
    let trace = gate.traces.take(&mut Fields::default());
    Arrival { came: Instant::now(), id: gate.ids.next(), trace, protocol: "HTTP/1.1" }
}

/// The allow stands under the policy that gave it; nothing was forwarded; the new policy's denial is why.
fn is_overtaken(first: &Revision, (decided, ended): (Vec<Decided>, Vec<Ended>), status: Option<u16>) {
    assert_eq!(decided.len(), 1);
    assert_eq!((decided[0].decision.effect, &decided[0].revision), (Effect::Allow, first));
    let found: Vec<_> = ended.iter().map(|e| (e.outcome, e.status, e.why, e.detail.as_deref(), e.bytes)).collect();
    assert_eq!(found, [(Outcome::Unavailable, status, Why::Policy, Some("new-bundle"), 0)]);
}

#[tokio::test]
async fn a78_a_policy_that_comes_between_a_decision_and_its_use_denies_as_ever() {
    let world = World::new().await;
    let gate = Arc::clone(world.enforcer.gate());
    let (parts, first) = (parts(), gate.policy.load_full());
    let mut head = Head::of(&parts);
    let question = gate.ask(&world.caller, &mut head, &first).unwrap();
    gate.put_in_force(denying());
    let verdict = gate.answer(&world.caller, &first, question, &head.fields, arrival(&gate));
    assert!(matches!(verdict, Verdict::Answer { status: StatusCode::FORBIDDEN, close: false, .. }), "{verdict:?}");
    drop(verdict);
    is_overtaken(first.revision(), world.end().await, Some(403));
}

#[tokio::test]
async fn a_policy_that_comes_between_and_allows_stops_nothing() {
    let world = World::new().await;
    let gate = Arc::clone(world.enforcer.gate());
    let (parts, first) = (parts(), gate.policy.load_full());
    let mut head = Head::of(&parts);
    let question = gate.ask(&world.caller, &mut head, &first).unwrap();
    gate.put_in_force(law(&format!("{LAW}---\nkind: Group\nname: all\nmembers: [users]\n")));
    let verdict = gate.answer(&world.caller, &first, question, &head.fields, arrival(&gate));
    let Verdict::Forward(permit) = verdict else { panic!("{verdict:?}") };
    drop(permit.redeem().await.unwrap());
    assert_eq!(world.end().await.1[0].outcome, Outcome::Forwarded);
}

/// While a permit waits for its record to be kept, a policy may come, too.
#[tokio::test]
async fn a78_a_permit_is_worth_nothing_once_a_new_policy_denies() {
    let world = World::new().await;
    let gate = Arc::clone(world.enforcer.gate());
    let (parts, first) = (parts(), gate.policy.load_full());
    let verdict = gate.judge(&world.caller, Head::of(&parts));
    let Verdict::Forward(permit) = verdict else { panic!("{verdict:?}") };
    gate.put_in_force(denying());
    assert!(gate.review(&world.caller));
    assert_eq!(permit.redeem().await.unwrap_err().status, StatusCode::FORBIDDEN);
    is_overtaken(first.revision(), world.end().await, Some(403));
}

/// What a law ends that has grown too old says so, before anything was forwarded and after.
#[tokio::test]
async fn a64_one_identity_runs_so_much_at_once_and_no_more_over_all_its_connections() {
    let world = World::new().await;
    let gate = world.enforcer.gate();
    let parts = parts();
    // A second connection of the same identity.
    let other = Arc::new(Caller::new(world.caller.peer.clone(), world.caller.ip, None, "HTTP/1.1", &Arc::default()));
    let judge = |n: usize| loop {
        match gate.judge(if n.is_multiple_of(2) { &world.caller } else { &other }, Head::of(&parts)) {
            // The log's writer is behind.
            Verdict::Answer { status: StatusCode::SERVICE_UNAVAILABLE, .. } => std::thread::yield_now(),
            verdict => return verdict,
        }
    };
    let mut running: Vec<_> = (0..limits::REQUESTS_PER_IDENTITY_MAX).map(judge).collect();
    assert!(running.iter().all(|verdict| matches!(verdict, Verdict::Forward(_))));
    for n in 0..2 {
        assert!(matches!(judge(n), Verdict::Limited { retry_after: 1, .. }));
    }
    running.pop();
    assert!(matches!(judge(0), Verdict::Forward(_)), "what has ended makes room");
    drop((running, other));
    assert_eq!(gate.log.share(&world.caller.peer.svid().id).running(), 0);
    let (_, ended) = world.end().await;
    let limited = ended.iter().filter(|e| (e.outcome, e.status, e.detail.as_deref()) == (Outcome::Limited, Some(429), Some("identity")));
    assert_eq!(limited.count(), 2);
}

#[tokio::test]
async fn a80_what_an_old_law_ends_says_that_it_was_too_old() {
    let world = World::new().await;
    let gate = Arc::clone(world.enforcer.gate());
    let parts = parts();
    let permit = || {
        let verdict = gate.judge(&world.caller, Head::of(&parts));
        let Verdict::Forward(permit) = verdict else { panic!("{verdict:?}") };
        permit
    };
    let (waits, mut runs, mut answered) = (permit(), permit().redeem().await.unwrap().running, permit().redeem().await.unwrap().running);
    runs.begin();
    answered.begin();
    answered.answered(StatusCode::OK);
    let mut issue = gate.fresh.issue().unwrap();
    issue.fresh_until = Some(Timestamp::from_unix_ms(1));
    gate.fresh.set(Some(issue));
    assert!(gate.review(&world.caller));
    assert_eq!(waits.redeem().await.unwrap_err().status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(runs.denied(), StatusCode::SERVICE_UNAVAILABLE);
    // Nobody asks for the rest of the answer.
    drop((runs, answered));
    let (_, ended) = world.end().await;
    let found: Vec<_> = ended.iter().map(|e| (e.outcome, e.status, e.why, e.detail.as_deref())).collect();
    let end = |outcome, status| (outcome, Some(status), Why::Stale, Some("stale-bundle"));
    assert_eq!(found, [end(Outcome::Unavailable, 503), end(Outcome::Forwarded, 503), end(Outcome::Forwarded, 200)]);
}

#[tokio::test]
async fn a78_a_passage_is_worth_nothing_once_a_new_policy_denies() {
    let world = World::new().await;
    let gate = Arc::clone(world.enforcer.gate());
    let first = gate.policy.load_full();
    let passage = gate.judge_connection(&world.caller, 5432).unwrap();
    gate.put_in_force(denying());
    assert!(gate.review(&world.caller));
    assert!(passage.redeem().await.is_none());
    is_overtaken(first.revision(), world.end().await, None);
}

/// The same on the way to a place outside, to which no connection is opened then.
#[tokio::test]
async fn a78_a_tunnel_is_not_opened_once_a_new_policy_denies() {
    let world = World::new().await;
    let gate = Arc::clone(world.enforcer.gate());
    let first = gate.policy.load_full();
    let (private, times) = (vec!["127.0.0.0/8".parse().unwrap()], EgressTimes::default());
    let (_running, phase) = watch::channel(Phase::Running);
    let egress = Arc::new(Egress::new(Arc::clone(&gate), private, Vec::new(), times, phase));
    let permit = egress.tunnel("127.0.0.1:9".parse().unwrap(), 9, None).unwrap();
    gate.put_in_force(denying());
    assert_eq!(Tunnel::open(permit, &egress).await.unwrap_err().status, StatusCode::FORBIDDEN);
    drop(egress);
    is_overtaken(first.revision(), world.end().await, Some(403));
}

/// And of a request in the clear: no connection is opened, and its record says that nothing left.
#[tokio::test]
async fn a78_a_plain_request_is_not_sent_outside_once_a_new_policy_denies() {
    let place = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = place.local_addr().unwrap().port();
    let plain_law = LAW
        .replace("127.0.0.1:9", &format!("127.0.0.1:{port}"))
        .replace("[{id: tls, port: 9}]", "[{id: rates, method: GET, path: /rates}]");
    let world = World::new().await;
    let gate = Arc::clone(world.enforcer.gate());
    gate.put_in_force(law(&plain_law));
    let first = gate.policy.load_full();
    let (private, times) = (vec!["127.0.0.0/8".parse().unwrap()], EgressTimes::default());
    let (_running, phase) = watch::channel(Phase::Running);
    let egress = Arc::new(Egress::new(Arc::clone(&gate), private, Vec::new(), times, phase));
    let (near, far) = duplex(64 * 1024);
    let asking = Arc::clone(&egress);
    let service = hyper::service::service_fn(move |request: HttpRequest<hyper::body::Incoming>| {
        let egress = Arc::clone(&asking);
        async move {
            let (parts, body) = Coming::of(request, &Rest::default()).into_parts();
            let permit = egress.request(&parts, port).unwrap();
            // While its record is waited for, say.
            egress.gate.put_in_force(denying());
            Ok::<_, std::convert::Infallible>(plain(&egress, permit, body).await)
        }
    });
    let served = tokio::spawn(crate::serve::http1(limits::IDLE_TIMEOUT).serve_connection(TokioIo::new(far), service));
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(near)).await.unwrap();
    let sends = tokio::spawn(connection);
    let host = format!("127.0.0.1:{port}");
    let request = HttpRequest::get("/rates").header("host", host).body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    assert_eq!(sender.send_request(request).await.unwrap().status(), StatusCode::FORBIDDEN);
    drop(sender);
    sends.await.unwrap().unwrap();
    served.await.unwrap().unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(100), place.accept()).await.is_err(), "somebody came to the place");
    drop(egress);
    is_overtaken(first.revision(), world.end().await, Some(403));
}
