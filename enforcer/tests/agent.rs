//! The agent under a clock that is set, and under callers that ask nothing.

#![cfg(test)]

#[expect(dead_code, reason = "it uses a part of what the tests share")]
mod common;
#[path = "common/listed.rs"]
mod listed;

use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{ITEMS, MARKET, authority};
use listed::listed;
use portreeve_enforcer::ca::{AGENT_SIGNATURES_BURST, AGENT_SIGNATURES_EVERY, Agent, Ca, CaOptions};
use portreeve_enforcer::clock::Clock;
use portreeve_enforcer::config::AgentConfig;
use portreeve_enforcer::report::Report;
use portreeve_enforcer::workload::fetch;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

/// An authority, and one identity for the user that runs the tests.
struct World(tempfile::TempDir);

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        authority(&dir.path().join("ca"), MARKET);
        let me = std::fs::metadata("/proc/self").unwrap().uid();
        let text = format!("dir: ca\nsocket: agent.sock\nlifetime: 1h\nentries: [{{uid: {me}, id: {ITEMS}}}]\n");
        std::fs::write(dir.path().join("agent.yaml"), text).unwrap();
        Self(dir)
    }

    fn config(&self) -> AgentConfig {
        AgentConfig::read(&self.0.path().join("agent.yaml")).unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.0.path().join("agent.sock")
    }
}

/// A machine that slept, or whose clock was set: what was given is over by then, though no time has passed for whoever waits.
#[tokio::test]
async fn everybody_is_given_new_identities_when_the_clock_was_set() {
    let world = World::new();
    let ahead = Arc::new(AtomicU64::new(0));
    let source = Arc::clone(&ahead);
    let clock = Clock::reading(move || std::time::SystemTime::now() + Duration::from_secs(source.load(Ordering::Relaxed)));
    let agent = Agent::start_by(world.config(), None, Report::silent(), clock).await.unwrap();
    let endpoint = format!("unix://{}", world.socket().display()).parse().unwrap();
    let mut stream = fetch(&endpoint).await.unwrap();
    let first = stream.first().await.unwrap();
    let silent = tokio::time::timeout(Duration::from_millis(2500), stream.next()).await;
    assert!(silent.is_err(), "nothing changed");
    ahead.store(3 * 3600, Ordering::Relaxed);
    let second = tokio::time::timeout(Duration::from_secs(10), stream.next()).await.expect("it is given anew").unwrap();
    assert_ne!(first.svids[0].chain, second.svids[0].chain);
    drop(stream);
    agent.shutdown().await;
}

/// A user that opens streams without end has the agent sign no faster than its budget says; what it asks for beyond that waits.
#[tokio::test]
async fn a_user_that_opens_streams_without_end_is_signed_within_its_budget() {
    const MORE: usize = 50;
    let world = World::new();
    let told = Arc::<std::sync::Mutex<Vec<String>>>::default();
    let tell = Arc::clone(&told);
    let report = Report::new(move |text| tell.lock().unwrap().push(text.to_owned()));
    let agent = Agent::start(world.config(), None, report).await.unwrap();
    let endpoint = format!("unix://{}", world.socket().display()).parse().unwrap();
    let began = std::time::Instant::now();
    let mut got = 0;
    while got < AGENT_SIGNATURES_BURST + MORE {
        let all = futures_util::future::join_all((0..16).map(|_| async { fetch(&endpoint).await.unwrap().first().await.unwrap() }));
        got += all.await.iter().filter(|answer| answer.svids.len() == 1).count();
    }
    let least = AGENT_SIGNATURES_EVERY * u32::try_from(MORE).unwrap();
    assert!(began.elapsed() >= least, "{got} in {:?}", began.elapsed());
    let told = std::mem::take(&mut *told.lock().unwrap());
    assert!(told.len() == 1 && told[0].contains("asks for more identities than it is signed"), "{told:?}");
    agent.shutdown().await;
}

/// Whoever connects and asks nothing, or does not even begin to speak HTTP/2, holds no place.
#[tokio::test]
async fn a_connection_to_the_agent_that_asks_nothing_is_closed() {
    let world = World::new();
    let agent = Agent::start(world.config(), None, Report::silent()).await.unwrap();
    for says in [&b""[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"] {
        let mut stream = UnixStream::connect(world.socket()).await.unwrap();
        stream.write_all(says).await.unwrap();
        let closed = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_ok(), "a place is held by {}", says.escape_ascii());
    }
    agent.shutdown().await;
}

/// A change of signer that broke off is finished by whoever opens the authority, which a check is not.
#[test]
fn a_check_writes_nothing() {
    let world = World::new();
    let check = || {
        let before = listed(world.0.path());
        let said = portreeve_enforcer::ca::serve(&world.0.path().join("agent.yaml"), true, &Report::silent());
        assert_eq!(listed(world.0.path()), before);
        said
    };
    check().unwrap();
    let mut ca = Ca::open(&world.0.path().join("ca")).unwrap();
    ca.announce(true, CaOptions::default()).unwrap();
    check().unwrap();
    let until = "2026-11-22T00:00:00.000Z";
    let stage = format!("{{\"stage\":\"switching\",\"at\":\"{until}\",\"root\":true,\"old\":\"00\",\"until\":\"{until}\"}}");
    std::fs::write(world.0.path().join("ca/succession.json"), stage).unwrap();
    let said = check().unwrap_err().to_string();
    assert!(said.contains("broke off") && said.contains("portreeve ca rotate"), "{said}");
    std::fs::remove_file(world.0.path().join("ca/succession.json")).unwrap();
    std::fs::remove_file(world.0.path().join("ca/intermediate.key")).unwrap();
    assert!(check().unwrap_err().to_string().contains("intermediate.key"));
}
