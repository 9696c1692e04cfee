//! An enforcer that lacks something starts, refuses, tells, and takes up what becomes good (INV-9, A47, A52).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use portreeve_enforcer::clock::Clock;
use portreeve_enforcer::report::Report;
use portreeve_enforcer::standby::Standby;
use portreeve_engine::Event;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

use crate::listed::listed;
use crate::world::{LIMIT, Running, SHOP, World, at, names, on, status, until};

#[tokio::test]
async fn a47_without_a_bundle_nothing_is_let_in_until_there_is_one() {
    let world = World::new().await;
    std::fs::remove_dir_all(world.path("policies")).unwrap();
    let mut running = world.spawn("e.yaml", "admin: {listen: \"unix://admin.sock\"}\nhealth: {listen: \"127.0.0.1:0\"}\n");
    let health = running.address("health");
    let admin = world.path("admin.sock");
    running.hear("not ready, nothing is let in until this is mended: cannot read the bundle");
    let probe = at(health, "/readyz").await;
    assert_eq!(status(&probe), 503, "{probe}");
    assert!(probe.contains("the bundle cannot be taken up") && !probe.contains("policies"), "{probe}");
    assert!(on(&admin, "/readyz").await.contains(&world.path("policies").display().to_string()));
    assert_eq!(status(&at(health, "/livez").await), 200);
    assert_eq!(status(&on(&admin, "/revision").await), 503);
    assert_eq!(status(&on(&admin, "/config").await), 200);
    let metrics = at(health, "/metrics").await;
    assert!(metrics.contains("portreeve_ready 0") && metrics.contains("portreeve_bundle_alarm 1"), "{metrics}");
    assert!(!metrics.contains("certificate_expiry"), "what is not known is not told");
    assert!(!world.path("decisions.ndjson").exists(), "there is no revision to record anything under");
    assert_eq!(world.check("e.yaml").status.code(), Some(2));

    // An invalid one is no better, and is not read again until it is replaced.
    world.put_policies("policies", "kind: Nonsense\n");
    running.hear("is not valid");
    std::fs::write(world.path("policies/shop.yaml"), SHOP).unwrap();
    assert_eq!(status(&at(health, "/readyz").await), 503);
    world.put_policies("policies", SHOP);
    let inbound = running.address("inbound");
    assert!(!running.heard.iter().any(|line| line.contains("edited in place")), "{:#?}", running.heard);
    assert_eq!(status(&until("it is ready", || at(health, "/readyz"), |page| status(page) == 200).await), 200);
    assert!(at(health, "/metrics").await.contains("portreeve_bundle_alarm 0"));
    assert_eq!(status(&world.get(inbound, "").await.unwrap()), 200);
    assert_eq!(world.served.load(Ordering::Relaxed), 1);
    running.signal("TERM");
    assert_eq!(running.exit(), Some(0));
    assert!(!admin.exists());
    let records = world.records("decisions.ndjson");
    assert_eq!((names(&records)[0], names(&records).last().copied()), ("started", Some("stopped")));
}

/// What `--check` says of the decision log, and that it leaves nothing behind.
#[tokio::test]
async fn a_check_looks_at_the_log_and_writes_nothing() {
    let world = World::new().await;
    let _ = portreeve_enforcer::ca::head_key().unwrap().write(&world.path("head.key"), &world.path("head.pub"));
    let heads = |to: &str, key: &str| format!("log: {{path: decisions.ndjson, heads: {{every: 60s, to: {to}, key: {key}}}}}\n");
    std::fs::create_dir(world.path("folder")).unwrap();
    for (log, expected) in [
        ("log: {path: decisions.ndjson}\n".to_owned(), None),
        ("log: {path: \"decisions-{instance}.ndjson\"}\n".to_owned(), None),
        ("log: {path: \"-\"}\n".to_owned(), None),
        (heads("heads.ndjson", "head.key"), None),
        ("log: {path: nowhere/decisions.ndjson}\n".to_owned(), Some("nowhere/decisions.ndjson")),
        ("log: {path: head.key/decisions.ndjson}\n".to_owned(), Some("head.key/decisions.ndjson")),
        ("log: {path: folder}\n".to_owned(), Some("folder")),
        (heads("nowhere/heads.ndjson", "head.key"), Some("nowhere/heads.ndjson")),
        (heads("heads.ndjson", "none.key"), Some("none.key")),
        (heads("heads.ndjson", "head.pub"), Some("head.pub")),
    ] {
        std::fs::write(world.path("e.yaml"), world.text(&log)).unwrap();
        let before = listed(world.dir.path());
        let output = world.check("e.yaml");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(if expected.is_some() { 2 } else { 0 }), "{log}: {said}");
        assert!(expected.is_none_or(|expected| said.contains(expected)), "{log}: {said}");
        assert_eq!(listed(world.dir.path()), before, "{log}");
    }
}

#[tokio::test]
async fn a52_without_an_identity_the_port_stays_closed() {
    let world = World::new().await;
    std::fs::rename(world.path("items.key"), world.path("away.key")).unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&told);
    let report = Report::new(move |message| sink.lock().unwrap().push(message.to_owned()));
    let standby = Standby::begin(world.config(""), report, Arc::new(Clock::new())).unwrap();
    let at = standby.inbound()[0];
    assert_eq!(TcpStream::connect(at).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    let waiting = tokio::spawn(async move {
        let mut hangup = signal(SignalKind::hangup()).unwrap();
        standby.ready(&mut hangup).await
    });
    until("it tells", || async { told.lock().unwrap().len() }, |n| *n == 1).await;
    assert!(told.lock().unwrap()[0].contains("items.key"), "{told:?}");
    assert_eq!(TcpStream::connect(at).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    std::fs::rename(world.path("away.key"), world.path("items.key")).unwrap();
    let enforcer = tokio::time::timeout(LIMIT, waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(enforcer.inbound(), [at]);
    assert_eq!(status(&world.get(at, "").await.unwrap()), 200);
    enforcer.shutdown().await;
    assert_eq!(told.lock().unwrap().len(), 1, "told once");
}

#[tokio::test]
async fn a_log_that_another_process_holds_is_waited_for() {
    let world = World::new().await;
    let mut first = world.spawn("first.yaml", "");
    first.address("inbound");
    let mut second = world.spawn("second.yaml", "");
    second.hear("not ready, nothing is let in until this is mended: another process writes the decision log");
    first.signal("TERM");
    assert_eq!(first.exit(), Some(0));
    let inbound = second.address("inbound");
    assert_eq!(status(&world.get(inbound, "").await.unwrap()), 200);
    second.signal("TERM");
    assert_eq!(second.exit(), Some(0));
    let records = world.records("decisions.ndjson");
    assert!(matches!(&records[0].event, Event::Started(started) if started.after.is_some()));
}

#[tokio::test]
async fn what_can_only_be_the_configuration_ends_the_process_and_a_signal_ends_the_wait() {
    let world = World::new().await;
    let mut wrong = world.spawn("wrong.yaml", "nonsense: 1\n");
    wrong.hear("`nonsense` is not a field here");
    assert_eq!(wrong.exit(), Some(2));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let free = taken.local_addr().unwrap();
    let mut refused = world.spawn("taken.yaml", &format!("health: {{listen: \"{free}\"}}\n"));
    refused.hear("cannot listen on");
    assert_eq!(refused.exit(), Some(2));
    drop(taken);
    let mut first = world.spawn("first.yaml", &format!("health: {{listen: \"{free}\"}}\n"));
    first.address("inbound");
    let other = "log: {path: other.ndjson}\n";
    let mut second = world.spawn("second.yaml", &format!("{other}health: {{listen: \"{free}\"}}\n"));
    second.hear("cannot listen on");
    assert_eq!(second.exit(), Some(2), "a port is not shared unless that is said");
    drop(first);
    let mut alone = world.spawn("alone.yaml", "share_ports: true\n");
    alone.hear("two processes that share their ports cannot both write");
    assert_eq!(alone.exit(), Some(2));
    std::fs::remove_dir_all(world.path("policies")).unwrap();
    let mut waiting = world.spawn("waiting.yaml", "log: {path: waiting.ndjson}\n");
    waiting.hear("not ready");
    waiting.signal("TERM");
    waiting.hear("stopped before it was ready");
    assert_eq!(waiting.exit(), Some(0));
    assert!(!world.path("waiting.ndjson").exists());
}

/// What a shell gives at first is less than the connections of one listener need.
#[tokio::test]
async fn a63_as_many_descriptors_are_taken_as_there_may_be() {
    let world = World::new().await;
    std::fs::write(world.path("e.yaml"), world.text("health: {listen: \"127.0.0.1:0\"}\n")).unwrap();
    let mut command = std::process::Command::new("bash");
    let script = "ulimit -S -n 100 && ulimit -H -n 900 && exec \"$0\" --config \"$1\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_portreeve-enforcer")]).arg(world.path("e.yaml"));
    let mut running = Running::spawn(&mut command);
    let health = running.address("health");
    let page = at(health, "/metrics").await;
    assert!(page.lines().any(|line| line == "process_max_fds 900.0"), "{page}");
    running.signal("TERM");
    assert_eq!(running.exit(), Some(0));
}
