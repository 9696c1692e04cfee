//! An enforcer with a key takes up nothing unsigned, nothing of another name, and no step back; what it has stays in force (A75).

#![cfg(test)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve_enforcer::ca::{Ca, CaOptions};
use portreeve_enforcer::config::Config;
use portreeve_enforcer::report::Report;
use portreeve_enforcer::{Enforcer, EnforcerError};
use portreeve_engine::bundle::{BuiltBundle, BundleSigner, Label};
use portreeve_engine::record::{Event, Record};
use portreeve_engine::{Bundle, SourceFile};

const SHOP: &str = "kind: Service\nname: items\nidentities: [spiffe://market.example/ns/shop/sa/items]\noperations:\n  - {id: read, method: GET, path: /v1}\n";

struct World {
    dir: tempfile::TempDir,
    ca: Ca,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ca = Ca::init(&dir.path().join("ca"), &"market.example".parse().unwrap(), CaOptions::default()).unwrap();
        let id = "spiffe://market.example/ns/shop/sa/items".parse().unwrap();
        ca.issue_files(&id, Duration::from_secs(3600), &dir.path().join("items.pem"), &dir.path().join("items.key")).unwrap();
        let pair = portreeve_enforcer::ca::head_key().unwrap();
        pair.write(&dir.path().join("bundle.key"), &dir.path().join("bundle.pub")).unwrap();
        Self { dir, ca }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn signer(&self) -> BundleSigner {
        BundleSigner::from_pem(&std::fs::read_to_string(self.path("bundle.key")).unwrap()).unwrap()
    }

    fn built(&self, name: &str, serial: u64, zone: &str) -> BuiltBundle {
        let files = vec![SourceFile { path: "shop.yaml".to_owned(), bytes: format!("{SHOP}zone: {zone}\n").into_bytes() }];
        let label = Label { name: name.to_owned(), serial, issued_at: "2026-11-22T10:00:00Z".parse().unwrap() };
        BuiltBundle::build(Bundle::from_files("shop", files).unwrap(), label).unwrap()
    }

    fn signed(&self, name: &str, serial: u64, zone: &str) -> Vec<u8> {
        self.built(name, serial, zone).sign(&self.signer()).unwrap().to_bytes().unwrap()
    }

    /// Puts a file in the place of the bundle, as a deployment does.
    fn put(&self, bytes: &[u8]) {
        std::fs::write(self.path("new"), bytes).unwrap();
        std::fs::rename(self.path("new"), self.path("shop.tar.gz")).unwrap();
    }

    fn config(&self, bundle: &str) -> Config {
        let text = format!(
            "service: items\nbundle: {bundle}\nidentity: {{cert: items.pem, key: items.key, trust: {{market.example: {}}}}}\n\
             inbound: [{{listen: \"127.0.0.1:0\", upstream: \"127.0.0.1:1\"}}]\nlog: {{path: decisions.ndjson}}\ndrain: 100ms\n",
            self.ca.root_path().display()
        );
        Config::parse("test.yaml", &text, self.dir.path()).unwrap()
    }

    async fn start(&self, bundle: &str) -> Result<Enforcer, EnforcerError> {
        Enforcer::start(self.config(bundle), Report::silent()).await
    }
}

fn reloads(path: &Path) -> usize {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().filter(|l| matches!(Record::from_line(l.as_bytes()).unwrap().event, Event::Reloaded(_))).count()
}

const WITH_KEY: &str = "{path: shop.tar.gz, key: bundle.pub}";

#[tokio::test]
async fn a_start_needs_what_the_configuration_asks_for() {
    let world = World::new();
    let refused = async |bundle: &str, words: &str| {
        let error = world.start(bundle).await.err().unwrap_or_else(|| panic!("{words}: it starts")).to_string();
        assert!(error.contains(words), "expected `{words}`, got `{error}`");
    };
    refused(WITH_KEY, "cannot read").await;
    world.put(&world.built("shop", 7, "core").to_bytes().unwrap());
    refused(WITH_KEY, "it is not signed").await;
    let other = BundleSigner::from_seed(&[1; 32]);
    world.put(&world.built("shop", 7, "core").sign(&other).unwrap().to_bytes().unwrap());
    refused(WITH_KEY, "signed with another key").await;
    world.put(&world.signed("shop", 7, "core"));
    refused("{path: shop.tar.gz}", "no `key` says who must have signed it").await;
    refused("{path: shop.tar.gz, key: items.pem}", "not an Ed25519 key").await;
    // A directory is never signed, so a key refuses it.
    std::fs::create_dir(world.path("shop")).unwrap();
    std::fs::write(world.path("shop/shop.yaml"), SHOP).unwrap();
    refused("{path: shop, key: bundle.pub}", "cannot read").await;
    world.start(WITH_KEY).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_running_enforcer_takes_no_step_back() {
    let world = World::new();
    world.put(&world.signed("shop", 7, "core"));
    let enforcer = world.start(WITH_KEY).await.unwrap();
    let in_force = |enforcer: &Enforcer| *enforcer.gate().policy.load().revision();
    let first = in_force(&enforcer);
    let mut torn = world.signed("shop", 9, "edge");
    torn.truncate(torn.len() - 20);
    let refusals = [
        (world.signed("shop", 6, "edge"), "its serial is 6, and at least 7"),
        (world.signed("shop", 7, "edge"), "serial 7 was given to another revision"),
        (world.signed("town", 8, "edge"), "it is the bundle `town`, expected `shop`"),
        (world.built("shop", 8, "edge").to_bytes().unwrap(), "it is not signed"),
        (torn, "broken"),
    ];
    for (bytes, words) in refusals {
        world.put(&bytes);
        let error = enforcer.reload().await.expect_err(words).to_string();
        assert!(error.contains(words), "expected `{words}`, got `{error}`");
        assert_eq!(in_force(&enforcer), first);
        assert!(enforcer.gate().metrics.render().contains("portreeve_bundle_alarm 1"));
    }
    world.put(&world.signed("shop", 8, "edge"));
    enforcer.reload().await.unwrap();
    let second = in_force(&enforcer);
    assert_ne!(second, first);
    assert!(enforcer.gate().metrics.render().contains("portreeve_bundle_alarm 0"));
    // What was in force before is now a step back itself; the same again is none.
    world.put(&world.signed("shop", 7, "core"));
    assert!(enforcer.reload().await.is_err());
    world.put(&world.signed("shop", 8, "edge"));
    enforcer.reload().await.unwrap();
    assert_eq!(in_force(&enforcer), second);
    // A refusal is not remembered as if it had been taken up: 10 after a refused 12 is fine.
    world.put(&world.signed("town", 12, "core"));
    assert!(enforcer.reload().await.is_err());
    world.put(&world.signed("shop", 10, "core"));
    enforcer.reload().await.unwrap();
    assert_eq!(in_force(&enforcer), first);
    enforcer.shutdown().await;
    assert_eq!(reloads(&world.path("decisions.ndjson")), 2);
}
