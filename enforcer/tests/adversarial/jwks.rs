//! Key sets from a server: one that redirects, one that never ends, one that dies, one that is asked for keys that do not exist.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portreeve_engine::Reason;

use crate::tokens::{IDP, Idp, TOKENS, bearer, good};
use crate::world::{Sidecar, World, until};

/// How a server of key sets behaves.
#[derive(Clone)]
enum Mood {
    Good(String),
    Redirects(SocketAddr),
    NeverEnds,
    Deep,
    Fails,
    Silent,
}

/// A server of key sets that counts how often it is asked.
struct KeyServer {
    address: SocketAddr,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self { address: listener.local_addr().unwrap(), mood: Arc::new(Mutex::new(mood)), asked: Arc::default() };
        let (mood, asked) = (Arc::clone(&server.mood), Arc::clone(&server.asked));
        std::thread::spawn(move || {
            for mut socket in listener.incoming().map_while(Result::ok) {
                asked.fetch_add(1, Ordering::SeqCst);
                let mood = mood.lock().unwrap().clone();
                std::thread::spawn(move || {
                    let _ = socket.read(&mut [0; 4096]);
                    let answer = |body: &str| {
                        format!(
                            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                            body.len()
                        )
                    };
                    let text = match mood {
                        Mood::Good(keys) => answer(&keys),
                        Mood::Redirects(to) => {
                            format!("HTTP/1.1 302 Found\r\nLocation: http://{to}/keys\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                        }
                        Mood::Fails => "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
                        Mood::Deep => answer(&format!("{{\"keys\": {}1{}}}", "[".repeat(50_000), "]".repeat(50_000))),
                        Mood::Silent => {
                            let _ = socket.read(&mut [0; 1]);
                            return;
                        }
                        Mood::NeverEnds => {
                            let _ = socket.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                            while socket
                                .write_all(b"400\r\n")
                                .and_then(|()| socket.write_all(&[b' '; 1024]))
                                .and_then(|()| socket.write_all(b"\r\n"))
                                .is_ok()
                            {}
                            return;
                        }
                    };
                    let _ = socket.write_all(text.as_bytes());
                });
            }
        });
        server
    }

    fn becomes(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn config(world: &World, server: &KeyServer, more: &str) -> String {
    let url = format!("http://{}/keys", server.address);
    format!("{}jwt: [{{issuer: \"{IDP}\", jwks: {{url: \"{url}\", private_addresses: true{more}}}, audiences: [items]}}]\n", world.config())
}

fn reads(world: &World, sidecar: &Sidecar, token: &str) -> u16 {
    world.client("gateway").get(sidecar.inbound, "/v1/items/1", &bearer(token))
}

#[test]
fn a09_key_sets_are_fetched_from_nowhere_else() {
    let world = World::with(&[("items.yaml", TOKENS)]);
    for url in [
        "http://idp.example/keys",
        "https://169.254.169.254/latest",
        "https://127.0.0.1/keys",
        "https://10.0.0.1/keys",
        "https://[::1]/keys",
        "https://[fe80::1]/keys",
        "https://192.168.1.1/keys",
        "https://[::ffff:169.254.169.254]/x",
        "https://0x7f000001/keys",
        "https://2130706433/keys",
        "https://127.1/keys",
        "https://user:pass@idp.example/keys",
        "ftp://idp.example/keys",
        "file:///etc/passwd",
        "https://",
        "https://idp.example:99999/",
    ] {
        let config = format!("{}jwt: [{{issuer: \"{IDP}\", jwks: {{url: \"{url}\"}}, audiences: [items]}}]\n", world.config());
        let (code, said) = world.start_fails(&config);
        assert!(code == Some(2) && said.contains("enforcer.yaml:"), "{url}: {said}");
    }
    // Metadata is out of reach even where private addresses are not, and a redirect is not followed.
    let metadata = format!(
        "{}jwt: [{{issuer: \"{IDP}\", jwks: {{url: \"http://169.254.169.254/keys\", private_addresses: true}}, audiences: [items]}}]\n",
        world.config()
    );
    assert_eq!(world.start_fails(&metadata).0, Some(2));
    let idp = Idp::new("one");
    let elsewhere = KeyServer::start(Mood::Good(idp.jwks()));
    let server = KeyServer::start(Mood::Good(idp.jwks()));
    let sidecar = world.start_with(&config(&world, &server, ""));
    until("the keys are there", || reads(&world, &sidecar, &idp.sign(&good())) == 200);
    server.becomes(Mood::Redirects(elsewhere.address));
    let before = server.asked();
    let other = Idp::new("two");
    until("it asks again for a key it does not know", || {
        assert_eq!(reads(&world, &sidecar, &other.sign(&good())), 403);
        server.asked() > before
    });
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(elsewhere.asked(), 0, "a redirect was followed");
    assert_eq!(reads(&world, &sidecar, &idp.sign(&good())), 200, "the last good keys are kept");
    sidecar.stop();
}

#[test]
fn a39_a40_a07_a_server_that_misbehaves_takes_nothing_away_and_gives_nothing() {
    let world = World::with(&[("items.yaml", TOKENS)]);
    let idp = Idp::new("one");
    let server = KeyServer::start(Mood::Good(idp.jwks()));
    let sidecar = world.start_with(&config(&world, &server, ", refresh: 1s"));
    until("the keys are there", || reads(&world, &sidecar, &idp.sign(&good())) == 200);
    let rss = sidecar.rss();
    for mood in
        [Mood::NeverEnds, Mood::Deep, Mood::Fails, Mood::Silent, Mood::Good("{\"keys\": []}".to_owned()), Mood::Good("garbage".to_owned())]
    {
        server.becomes(mood);
        let before = server.asked();
        until("it asks again", || server.asked() > before);
        assert_eq!(reads(&world, &sidecar, &idp.sign(&good())), 200, "the last good keys are kept");
        assert_eq!(reads(&world, &sidecar, &Idp::new("one").sign(&good())), 403, "no other key is believed");
    }
    let grown = sidecar.rss().saturating_sub(rss);
    assert!(grown < 24 << 20, "a server of key sets cost {grown} bytes");
    let log = sidecar.stop();
    assert!(log.reasons().iter().all(|r| matches!(r, Reason::Permitted | Reason::InvalidToken)));
}

#[test]
fn a66h_an_unknown_key_is_not_a_fetch_for_each_request() {
    let world = World::with(&[("items.yaml", TOKENS)]);
    let idp = Idp::new("one");
    let server = KeyServer::start(Mood::Good(idp.jwks()));
    let sidecar = world.start_with(&config(&world, &server, ""));
    until("the keys are there", || reads(&world, &sidecar, &idp.sign(&good())) == 200);
    let before = server.asked();
    for n in 0..60 {
        assert_eq!(reads(&world, &sidecar, &Idp::new(&format!("unknown-{n}")).sign(&good())), 403);
    }
    let fetches = server.asked() - before;
    assert!(fetches <= 6, "sixty unknown keys caused {fetches} fetches");
    sidecar.stop();
}
