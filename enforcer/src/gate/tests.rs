//! What a policy does that comes into force between a decision and its use.

use std::time::Duration;

use http::request::Parts;
use http::{Request as HttpRequest, StatusCode};
use portreeve_engine::id::TrustDomain;
use portreeve_engine::record::{Decided, Ended, Outcome, Why};
use portreeve_engine::{Bundle, Effect, Event, Record, SourceFile};
use tokio::io::duplex;

use super::*;
use crate::Enforcer;
use crate::ca::{Ca, CaOptions};
use crate::config::Config;
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
        std::fs::create_dir(at("policies")).unwrap();
        std::fs::write(at("policies/law.yaml"), LAW).unwrap();
        let root = ca.root_path();
        let text = format!(
            "service: items\nbundle: {{path: policies}}\nidentity: {{cert: items.pem, key: items.key, trust: {{market.example: {}}}}}\n\
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
