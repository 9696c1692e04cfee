//! Key sets from real servers on loopback.

use futures_util::FutureExt as _;

use super::*;
use crate::fetch::testing::{Authority, Reply, Server, reply};
use crate::jwt::Issuer;

const IDP: &str = "https://idp.market.example";

struct Fixture {
    remote: Arc<RemoteKeys>,
    metrics: Arc<Metrics>,
    phase: watch::Sender<Phase>,
    task: tokio::task::JoinHandle<()>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Fixture {
    fn start(server: &Server, authority: &Authority) -> Self {
        let reach = Reach { private_addresses: true, loopback_http: false };
        let from = Remote {
            url: server.url("localhost").parse().unwrap(),
            roots: Roots::File(authority.file()),
            reach,
            refresh: Duration::from_secs(3600),
            max_stale: Duration::from_secs(7200),
        };
        let remote = RemoteKeys::new(IDP, from).unwrap();
        let (metrics, told) = (Arc::new(Metrics::new()), Arc::new(Mutex::new(Vec::new())));
        let report = {
            let told = Arc::clone(&told);
            Report::new(move |line| told.lock().unwrap().push(line.to_owned()))
        };
        let phase = watch::Sender::new(Phase::Running);
        let task = tokio::spawn(Arc::clone(&remote).run(Arc::new(Clock::new()), Arc::clone(&metrics), report, phase.subscribe()));
        Self { remote, metrics, phase, task, told }
    }

    /// Lets an unknown key bring a fetch at once, as after the pause.
    fn rest(&self) {
        self.remote.unknown.lock().unwrap().began = None;
    }

    async fn key(&self, kid: &str) -> Result<(), Missing> {
        self.remote.key(kid, Clock::new().now()).map(|_| ())
    }

    async fn stop(self) {
        self.phase.send_replace(Phase::Draining);
        self.task.await.unwrap();
    }
}

/// Waits until it holds, and fails if it never does.
async fn eventually(holds: impl Fn() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came");
}

fn kid(set: &str) -> String {
    let set: serde_json::Value = serde_json::from_str(set).unwrap();
    set["keys"][0]["kid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn keys_come_at_the_start_and_new_ones_when_a_token_names_them() {
    let authority = Authority::new();
    let [old, new] = [(); 2].map(|()| Issuer::create(IDP).unwrap().jwks_json());
    let server = Server::tls(&authority, vec![reply("200 OK\r\netag: \"1\"", &old), reply("200 OK", &new)]).await;
    let fixture = Fixture::start(&server, &authority);
    fixture.remote.tried().await;
    assert_eq!(fixture.key(&kid(&old)).await, Ok(()));
    // A moment ago it was asked: nothing is fetched yet (A66h).
    assert_eq!(fixture.key(&kid(&new)).await, Err(Missing::Key));
    fixture.rest();
    assert_eq!(fixture.key(&kid(&new)).await, Err(Missing::Key), "no request waits for a fetch");
    eventually(|| fixture.remote.key(&kid(&new), Clock::new().now()).is_ok()).await;
    assert_eq!(fixture.key(&kid(&old)).await, Err(Missing::Key), "a withdrawn key is gone");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(requests[1].contains("if-none-match: \"1\""), "{}", requests[1]);
    fixture.stop().await;
}

#[tokio::test]
async fn a66h_unknown_keys_never_bring_a_fetch_each() {
    let authority = Authority::new();
    let set = Issuer::create(IDP).unwrap().jwks_json();
    let server = Server::tls(&authority, vec![reply("200 OK", &set)]).await;
    let remote = {
        let fixture = Fixture::start(&server, &authority);
        fixture.remote.tried().await;
        let remote = Arc::clone(&fixture.remote);
        fixture.stop().await;
        remote
    };
    let woken = |remote: &RemoteKeys| remote.wanted.notified().now_or_never().is_some();
    let start = Instant::now() + UNKNOWN_KEY_PAUSE;
    remote.want(Some("a"), start);
    assert!(woken(&remote));
    for n in 0..10_000_u32 {
        remote.want(Some(&format!("k{n}")), start + UNKNOWN_KEY_PAUSE - Duration::from_millis(1));
    }
    assert!(!woken(&remote), "within the pause");
    let next = start + UNKNOWN_KEY_PAUSE;
    remote.want(Some("a"), next);
    assert!(!woken(&remote), "the provider is known not to know it");
    remote.want(Some(&"x".repeat(KID_BYTES_MAX + 1)), next);
    assert!(!woken(&remote), "no provider has such ids");
    remote.want(Some("b"), next);
    assert!(woken(&remote));
    remote.want(Some("a"), start + UNKNOWN_KEY_LIFE);
    assert!(woken(&remote), "it may have come since");
    for n in 0..10_000_u32 {
        remote.want(Some(&format!("k{n}")), start + UNKNOWN_KEY_LIFE + UNKNOWN_KEY_PAUSE * (n + 1));
    }
    assert!(remote.unknown.lock().unwrap().asked.len() <= UNKNOWN_KEYS_MAX);
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a07_a39_bad_answers_leave_the_last_good_keys_for_a_bounded_time() {
    let authority = Authority::new();
    let good = Issuer::create(IDP).unwrap().jwks_json();
    let symmetric = r#"{"keys":[{"kty":"oct","kid":"x","k":"AAAA"}]}"#;
    let endless = Reply::Endless("HTTP/1.1 200 OK\r\n\r\n".to_owned(), "{\"keys\":[".repeat(1000));
    let replies = vec![
        reply("200 OK", &good),
        reply("500 Internal Server Error", ""),
        reply("302 Found\r\nlocation: https://elsewhere.example/", &good),
        reply("200 OK", "{\"keys\":[]}"),
        reply("200 OK", symmetric),
        endless,
        reply("200 OK", &good),
    ];
    let bad = replies.len() - 2;
    let server = Server::tls(&authority, replies).await;
    let fixture = Fixture::start(&server, &authority);
    fixture.remote.tried().await;
    let kid = kid(&good);
    for n in 0..bad {
        fixture.remote.refresh();
        eventually(|| fixture.metrics.render().contains(&format!("what=\"jwks\",result=\"failed\"}} {}\n", n + 1))).await;
        assert_eq!(fixture.key(&kid).await, Ok(()), "after bad answer {n}");
        assert_eq!(fixture.metrics.key_sets_failing.get(), 1);
    }
    // Told once, not with every failure.
    assert_eq!(fixture.told.lock().unwrap().len(), 1, "{:?}", fixture.told.lock().unwrap());
    assert!(fixture.told.lock().unwrap()[0].contains("the last good one is believed for at most 7200 s"));
    let later = |ms| Clock::new().now().plus_ms(ms);
    assert!(fixture.remote.key(&kid, later(7_190_000)).is_ok());
    assert_eq!(fixture.remote.key(&kid, later(7_201_000)).map(|_| ()), Err(Missing::Fresh));
    fixture.remote.refresh();
    eventually(|| fixture.metrics.key_sets_failing.get() == 0).await;
    assert!(fixture.told.lock().unwrap()[1].contains("is fetched again"));
    fixture.stop().await;
}

#[tokio::test]
async fn a07_without_a_first_answer_nothing_is_believed() {
    let authority = Authority::new();
    let good = Issuer::create(IDP).unwrap().jwks_json();
    let server = Server::tls(&authority, vec![reply("503 Service Unavailable", ""), reply("200 OK", &good)]).await;
    let fixture = Fixture::start(&server, &authority);
    fixture.remote.tried().await;
    assert_eq!(fixture.key(&kid(&good)).await, Err(Missing::Set));
    // It is tried again by itself.
    eventually(|| fixture.remote.key(&kid(&good), Clock::new().now()).is_ok()).await;
    fixture.stop().await;
}

#[test]
fn the_provider_says_how_often_within_bounds() {
    let authority = Authority::new();
    let remote = |refresh: u64, stale: u64| {
        let from = Remote {
            url: "https://idp.market.example/keys".parse().unwrap(),
            roots: Roots::File(authority.file()),
            reach: Reach::default(),
            refresh: Duration::from_secs(refresh),
            max_stale: Duration::from_secs(stale),
        };
        RemoteKeys::new(IDP, from).unwrap()
    };
    for (refresh, stale, fresh, wait) in [
        (300, 43_200, None, 300),
        (300, 43_200, Some(900), 900),
        (300, 43_200, Some(0), 60),
        (300, 43_200, Some(86_400), 3600),
        (5, 43_200, Some(0), 5),
        (300, 60, Some(900), 30),
    ] {
        let remote = remote(refresh, stale);
        let found = remote.take_up(Came::Unchanged { fresh: fresh.map(Duration::from_secs) }, Timestamp::default());
        let whole = Duration::from_secs(wait);
        assert!(found <= whole && found >= whole * 4 / 5, "{found:?} of {whole:?}");
    }
}

/// A clock that was set back stands still until it has caught up; the keys of a provider that is out of reach end all the same (A07).
#[tokio::test]
async fn a07_keys_are_not_believed_for_ever_when_the_clock_was_set_back() {
    let authority = Authority::new();
    let set = Issuer::create(IDP).unwrap().jwks_json();
    let server = Server::tls(&authority, vec![reply("200 OK", &set)]).await;
    let fixture = Fixture::start(&server, &authority);
    fixture.remote.tried().await;
    let now = fixture.remote.held.load().as_ref().unwrap().at;
    assert!(fixture.remote.key(&kid(&set), now).is_ok());
    let held = fixture.remote.held.load_full().unwrap();
    let since = held.since.checked_sub(Duration::from_secs(7201)).unwrap();
    let aged = Held { keys: held.keys.clone(), etag: None, at: held.at, since };
    fixture.remote.held.store(Some(Arc::new(aged)));
    assert_eq!(fixture.remote.key(&kid(&set), now).map(|_| ()), Err(Missing::Fresh));
    fixture.stop().await;
}
