//! A binary swap: two processes share the port, the old one leaves, and no caller is refused or cut off.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::world::{World, status, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_under_load_refuses_and_resets_no_connection() {
    let world = Arc::new(World::new().await);
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap();
    drop(free);
    let more = format!(
        "log: {{path: \"d-{{instance}}.ndjson\"}}\nshare_ports: true\ninbound: [{{listen: \"{port}\", upstream: \"{}\"}}]\n",
        world.upstream
    );
    let mut old = world.spawn("old.yaml", &more);
    assert_eq!(old.address("inbound"), port);
    let (done, good, failures) =
        (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(std::sync::Mutex::new(Vec::new())));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (world, done, good, failures) = (Arc::clone(&world), Arc::clone(&done), Arc::clone(&good), Arc::clone(&failures));
            tokio::spawn(async move {
                while !done.load(Ordering::Relaxed) {
                    match world.get(port, "").await {
                        Ok(answer) if status(&answer) == 200 => {
                            good.fetch_add(1, Ordering::Relaxed);
                        }
                        other => failures.lock().unwrap().push(format!("{other:?}")),
                    }
                }
            })
        })
        .collect();
    let more_than = |n: u64| {
        let good = Arc::clone(&good);
        async move { until("calls go on", || async { good.load(Ordering::Relaxed) }, |now| *now >= n).await }
    };
    more_than(20).await;
    for round in ["first", "second"] {
        let mut new = world.spawn(&format!("{round}.yaml"), &more);
        assert_eq!(new.address("inbound"), port);
        more_than(good.load(Ordering::Relaxed) + 40).await;
        old.signal("TERM");
        let left = tokio::task::spawn_blocking(move || (old.exit(), old)).await.unwrap();
        assert_eq!(left.0, Some(0));
        more_than(good.load(Ordering::Relaxed) + 40).await;
        old = new;
    }
    done.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.unwrap();
    }
    let failures = failures.lock().unwrap();
    assert!(failures.is_empty(), "{} of {}: {:?}", failures.len(), good.load(Ordering::Relaxed), failures.first());
    // Both took part, and each has its own whole log.
    let logs: Vec<_> = std::fs::read_dir(world.dir.path())
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("d-") && name.ends_with(".ndjson"))
        .collect();
    assert_eq!(logs.len(), 3);
    old.signal("TERM");
    assert_eq!(old.exit(), Some(0));
    let decided = |name: &String| crate::world::names(&world.records(name)).iter().filter(|n| **n == "decided").count() as u64;
    let each: Vec<u64> = logs.iter().map(decided).collect();
    assert!(each.iter().all(|n| *n > 0), "{each:?}");
    assert_eq!(each.iter().sum::<u64>(), good.load(Ordering::Relaxed), "every request is in one log");
}

#[tokio::test]
async fn a_second_signal_ends_a_drain() {
    let world = World::new().await;
    let mut running = world.spawn("slow.yaml", "mode: enforce\n");
    let to = running.address("inbound");
    let mut stream = world.connect(to).await.unwrap();
    // Half a request keeps the connection from ending by itself.
    tokio::io::AsyncWriteExt::write_all(&mut stream, b"GET /v1/items/1 HTTP/1.1\r\nHost: it").await.unwrap();
    running.signal("TERM");
    running.hear("draining");
    running.signal("TERM");
    let began = std::time::Instant::now();
    assert_eq!(running.exit(), Some(0));
    assert!(began.elapsed() < crate::world::DRAIN, "it waited for the whole drain");
    let records = world.records("decisions.ndjson");
    assert_eq!(crate::world::names(&records).last(), Some(&"stopped"));
}
