//! The decision log in operation: heads that leave the machine, rotation, another process's leavings, a log for many processes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use portreeve_enforcer::Enforcer;
use portreeve_enforcer::report::Report;
use portreeve_engine::chain::{Head, HeadVerifier};
use portreeve_engine::{Digest, Event};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::world::{World, posted, status, until};

/// A witness: the lines it took. While it is `away` it answers 503.
async fn witness() -> (SocketAddr, Arc<Mutex<Vec<String>>>, Arc<Mutex<bool>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (lines, away) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(false)));
    let (sink, gone) = (Arc::clone(&lines), Arc::clone(&away));
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let Some(body) = posted(&mut stream, "/heads", "application/x-ndjson").await else { continue };
            let status = if *gone.lock().unwrap() { 503 } else { 204 };
            if status == 204 {
                sink.lock().unwrap().extend(body.lines().map(str::to_owned));
            }
            let _ = stream.write_all(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
        }
    });
    (at, lines, away)
}

#[tokio::test]
async fn heads_leave_the_machine_and_a_witness_that_is_away_holds_nothing_up() {
    let world = World::new().await;
    portreeve_enforcer::ca::head_key().unwrap().write(&world.path("head.key"), &world.path("head.pub")).unwrap();
    let (at, lines, away) = witness().await;
    let heads = format!("heads: {{every: 20ms, to: [heads.ndjson, \"http://{at}/heads\"], key: head.key, private_addresses: true}}");
    let config = world.config(&format!("log: {{path: decisions.ndjson, heartbeat: 50ms, {heads}}}\nhealth: {{listen: \"127.0.0.1:0\"}}\n"));
    let enforcer = Enforcer::start(config, Report::silent()).await.unwrap();
    let (to, health) = (enforcer.inbound()[0], enforcer.health().unwrap());
    until("heads come", || async { lines.lock().unwrap().len() }, |n| *n >= 2).await;
    *away.lock().unwrap() = true;
    until("the alarm is raised", || crate::world::at(health, "/metrics"), |page| page.contains("\nportreeve_heads_alarm 1")).await;
    assert_eq!(status(&world.get(to, "").await.unwrap()), 200);
    until("the lag is told", || crate::world::at(health, "/metrics"), |page| page.contains("\nportreeve_heads_lag_seconds ")).await;
    let before = lines.lock().unwrap().len();
    *away.lock().unwrap() = false;
    until("what waited is sent", || async { lines.lock().unwrap().len() }, |n| *n > before + 2).await;
    until("the alarm ends", || crate::world::at(health, "/metrics"), |page| page.contains("\nportreeve_heads_alarm 0")).await;
    enforcer.shutdown().await;

    let verifier = HeadVerifier::from_pem(&std::fs::read_to_string(world.path("head.pub")).unwrap()).unwrap();
    let log = std::fs::read_to_string(world.path("decisions.ndjson")).unwrap();
    let log: Vec<&str> = log.lines().collect();
    // A head whose receipt was not heard, as at a stop, is told again: a witness may have it twice.
    let mut sent = lines.lock().unwrap().clone();
    sent.dedup();
    let kept = std::fs::read_to_string(world.path("heads.ndjson")).unwrap();
    assert_eq!(sent, kept.lines().collect::<Vec<_>>(), "the witness has what the file has, in its order");
    for line in &sent {
        let head = Head::from_line(line.as_bytes()).unwrap();
        verifier.verify(&head).unwrap();
        assert_eq!(head.head, Digest::of(log[usize::try_from(head.seq).unwrap()].as_bytes()));
    }
    let last = Head::from_line(sent.last().unwrap().as_bytes()).unwrap();
    assert_eq!(usize::try_from(last.seq).unwrap() + 1, log.len(), "the last head vouches for `stopped`");
}

#[tokio::test]
async fn each_process_has_its_own_file_where_many_share_a_configuration() {
    let world = World::new().await;
    let more = "log: {path: \"d-{instance}.ndjson\", rotate: {size: 4KiB}}\nshare_ports: true\n";
    let first = Enforcer::start(world.config(more), Report::silent()).await.unwrap();
    let second = Enforcer::start(world.config(more), Report::silent()).await.unwrap();
    for _ in 0..8 {
        assert_eq!(status(&world.get(first.inbound()[0], "").await.unwrap()), 200);
    }
    assert_eq!(status(&world.get(second.inbound()[0], "").await.unwrap()), 200);
    first.shutdown().await;
    second.shutdown().await;
    let mut files: Vec<_> = std::fs::read_dir(world.dir.path())
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("d-") && name.ends_with(".ndjson"))
        .collect();
    files.sort();
    assert!(files.len() > 2 && files.iter().all(|name| !name.contains('{')), "{files:?}");
    let mut begun = 0;
    for name in &files {
        let text = std::fs::read_to_string(world.path(name)).unwrap();
        let first = portreeve_engine::Record::from_line(text.lines().next().unwrap().as_bytes()).unwrap();
        match first.event {
            Event::Started(_) => begun += 1,
            Event::Continued(_) => {}
            other => panic!("{name} begins with {other:?}"),
        }
    }
    assert_eq!(begun, 2);
}

#[tokio::test]
async fn the_log_on_standard_output_is_the_log_and_nothing_else() {
    let world = World::new().await;
    let config = world.path("e.yaml");
    std::fs::write(&config, world.text("log: {path: \"-\", heartbeat: 50ms}\n")).unwrap();
    let out = std::fs::File::create(world.path("out.ndjson")).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_portreeve-enforcer"));
    let mut running = crate::world::Running::with_output(command.arg("--config").arg(&config), out.into());
    let to = running.address("inbound");
    assert_eq!(status(&world.get(to, "").await.unwrap()), 200);
    running.signal("TERM");
    assert_eq!(running.exit(), Some(0));
    let records = world.records("out.ndjson");
    let seen: Vec<_> = crate::world::names(&records).into_iter().filter(|n| *n != "heartbeat").collect();
    assert_eq!(seen, ["started", "decided", "ended", "stopped"]);
}

/// Whoever is overtaken again and again is answered all the same, and its record says for when it was.
#[tokio::test]
async fn a_decision_that_others_overtake_is_recorded_with_its_own_time() {
    let world = World::new().await;
    let enforcer = Enforcer::start(world.config(""), Report::silent()).await.unwrap();
    let to = enforcer.inbound()[0];
    assert_eq!(status(&world.get(to, "").await.unwrap()), 200);
    until("the first is written", || async { decided(&world).len() }, |n| *n == 1).await;
    // Another record, an hour ahead: everything that is decided now comes behind it.
    let (at, event) = decided(&world).remove(0);
    let ahead = at.plus_ms(3_600_000);
    enforcer.gate().log.denied(ahead, event).unwrap();
    assert_eq!(status(&world.get(to, "").await.unwrap()), 200);
    let mut broken = world.connect(to).await.unwrap();
    broken.write_all(b"GET /v1//items HTTP/1.1\r\nHost: items\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut broken, &mut answer).await;
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(enforcer.gate().metrics.unrecorded.get(), 0);
    enforcer.shutdown().await;
    let decided = decided(&world);
    let [_, _, (late, allowed), (_, refused)] = &decided[..] else { panic!("{decided:#?}") };
    let taken = allowed.context.time.expect("the time of the decision");
    assert!(*late == ahead && at <= taken && taken < ahead, "{taken}");
    assert_eq!(allowed.request(*late, portreeve_engine::path::Paths::Strict).unwrap().context.time, taken);
    assert_eq!(refused.context.time, None, "what is no question is none at any time");
}

fn decided(world: &World) -> Vec<(portreeve_engine::Timestamp, Box<portreeve_engine::record::Decided>)> {
    let of = |r: portreeve_engine::Record| if let Event::Decided(d) = r.event { Some((r.at, d)) } else { None };
    world.records("decisions.ndjson").into_iter().filter_map(of).collect()
}
