//! Operation: pages that tell too much, labels without end, and a log that cannot be written.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Command;

use portreeve_engine::Effect;

use crate::client::{Client, answers, one_answer, rest};
use crate::world::{Sidecar, World, page, until};

#[test]
fn a31_random_names_fill_neither_memory_nor_metrics() {
    let world = World::new();
    let sidecar = world.start();
    let client = world.client("invoices");
    let mut conn = client.open(sidecar.inbound);
    let mut ask = |from: u32, to: u32| {
        for n in from..to {
            let head = format!(
                "GET /v1/items/{n} HTTP/1.1\r\nHost: h{n}.{}.example\r\nUser-Agent: a{n}\r\nX-Request-Id: r{n}\r\n\r\n",
                "x".repeat(60)
            );
            conn.write_all(head.as_bytes()).unwrap();
            assert_eq!(one_answer(&mut conn).status, 200);
        }
    };
    ask(0, 300);
    let (lines, rss) = (sidecar.page("/metrics").body.split(|b| *b == b'\n').count(), sidecar.rss());
    ask(300, 3000);
    let metrics = sidecar.page("/metrics").body;
    assert_eq!(metrics.split(|b| *b == b'\n').count(), lines);
    let text = String::from_utf8(metrics).unwrap();
    assert!(!text.contains("example") && !text.contains("h2999"), "a name from outside became a label");
    let grown = sidecar.rss().saturating_sub(rss);
    assert!(grown < 12 << 20, "new names cost {grown} bytes");
    // Strangers of every kind: the words are ours, so their number is fixed.
    for _ in 0..5 {
        assert!(Client::nobody().turned_away(sidecar.inbound).is_some());
    }
    sidecar.stop();
}

#[test]
fn a38_admin_is_for_this_machine_and_pages_change_nothing() {
    let world = World::new();
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:9901"] {
        let (code, said) =
            world.start_fails(&world.config().replace("admin: {listen: \"127.0.0.1:0\"}", &format!("admin: {{listen: \"{listen}\"}}")));
        assert!(code == Some(2) && said.contains("loopback"), "{listen}: {said}");
    }
    let sidecar = world.start();
    let (admin, health) = (sidecar.admin.unwrap(), sidecar.health.unwrap());
    assert!(admin.ip().is_loopback());
    for target in [
        "/config",
        "/revision",
        "/connections",
        "/debug",
        "/debug/pprof",
        "/quitquitquit",
        "/config_dump",
        "/",
        "/..",
        "//config",
        "/%63onfig",
        "/livez/../config",
    ] {
        assert_eq!(page(health, target).status, 404, "{target}");
    }
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let mut stream = std::net::TcpStream::connect(admin).unwrap();
        stream
            .write_all(format!("{method} /config HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").as_bytes())
            .unwrap();
        assert_eq!(answers(&rest(&mut stream))[0].status, 405, "{method}");
    }
    let config = String::from_utf8(page(admin, "/config").body).unwrap();
    assert!(!config.contains("PRIVATE") && !config.contains("BEGIN"), "{config}");
    // What is asked through the front door reaches the service or nobody, never these pages.
    for target in ["/metrics", "/config", "/livez"] {
        assert_eq!(world.client("invoices").get(sidecar.inbound, target, ""), 403, "{target}");
    }
    sidecar.stop();
}

/// The sidecar with files that cannot grow beyond `kib`: writes fail as on a full disk.
fn on_a_small_disk(world: &World, kib: u32) -> Sidecar {
    std::fs::write(world.path("enforcer.yaml"), world.config()).unwrap();
    let mut command = Command::new("bash");
    let script = format!("trap '' XFSZ; ulimit -S -f {kib}; exec \"$0\" --config \"$1\"");
    command.args(["-c", &script, env!("CARGO_BIN_EXE_portreeve-enforcer")]).arg(world.path("enforcer.yaml"));
    Sidecar::spawn(command, &world.path("decisions.ndjson"))
}

#[test]
fn a79_without_room_for_the_record_nothing_passes_and_the_gap_is_told() {
    let world = World::new();
    let sidecar = on_a_small_disk(&world, 24);
    let client = world.client("invoices");
    let (mut served, mut refused) = (0_u64, 0_u64);
    let mut ask = |n: u32| {
        let status = client.get(sidecar.inbound, &format!("/v1/items/{n}"), "");
        match status {
            200 => served += 1,
            503 => refused += 1,
            other => panic!("{other}"),
        }
        status
    };
    assert!((0..400).any(|n| ask(n) == 503), "the disk is never full");
    assert!((400..405).all(|n| ask(n) == 503));
    assert_eq!(page(sidecar.health.unwrap(), "/readyz").status, 503);
    until("the alarm is raised", || sidecar.metric("portreeve_log_alarm", "") == 1.0);
    let raised = Command::new("prlimit").args(["--pid", &sidecar.pid().to_string(), "--fsize=unlimited:unlimited"]).status();
    if !raised.is_ok_and(|s| s.success()) {
        eprintln!("the rest is skipped: there is no `prlimit` here");
        return;
    }
    assert!((500..900).any(|n| ask(n) == 200), "it never serves again");
    assert_eq!(page(sidecar.health.unwrap(), "/readyz").status, 200);
    let log = sidecar.stop();
    // Everything that reached the service is in the log, nothing else is allowed there, and what was refused is counted.
    let mut forwarded = world.upstream.targets();
    let mut allowed: Vec<String> = log.paths(Effect::Allow).into_iter().map(str::to_owned).collect();
    forwarded.sort_unstable();
    allowed.sort_unstable();
    assert!(forwarded.iter().all(|f| allowed.contains(f)), "something was forwarded that is not in the log");
    assert_eq!(u64::try_from(allowed.len()).unwrap(), served);
    assert_eq!(log.unrecorded(), refused);
    assert_eq!(forwarded.iter().collect::<BTreeSet<_>>().len(), forwarded.len());
    log.every_allow_ended();
}

#[test]
fn a79_without_a_log_of_its_own_it_lets_nobody_in() {
    let world = World::new();
    let says = |config: &str, what: &str| {
        std::fs::write(world.path("second.yaml"), config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_portreeve-enforcer"))
            .arg("--config")
            .arg(world.path("second.yaml"))
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        // It waits for what is missing, or gives up; either way it says which file it is about, and that nothing is let in.
        let said: Vec<String> = lines.take_while(|l| !l.contains("is enforced under")).take(2).collect();
        let _ = child.kill();
        child.wait().unwrap();
        assert!(said.iter().any(|l| l.contains(what) && (l.contains("not ready") || l.contains("error"))), "{said:?}");
    };
    says(&world.config().replace("decisions.ndjson", "nowhere/decisions.ndjson"), "nowhere");
    // Two processes never write one log.
    let sidecar = world.start();
    says(&world.config(), "decisions.ndjson");
    assert_eq!(world.client("invoices").get(sidecar.inbound, "/v1/items/1", ""), 200);
    sidecar.stop();
}
