//! The proxy of the local service: services of the mesh by name, places outside the mesh by law, all of it recorded.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use portreeve_engine::Reason;
use portreeve_engine::record::{Outcome, Side, Why};
use rustls::pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::town::{self, Town, app, code, decided, ended, get, id, nobody, ok, raw, replays};

/// A TLS server outside the mesh: echoes one line under the name `localhost`.
pub(crate) async fn outside_tls() -> (SocketAddr, Arc<rustls::ClientConfig>) {
    tls_server("127.0.0.1:0", "localhost").await
}

pub(crate) async fn tls_server(at: &str, name: &str) -> (SocketAddr, Arc<rustls::ClientConfig>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = rcgen::CertificateParams::new(vec![name.to_owned(), "127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = || Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let private = rustls::pki_types::PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![cert.der().clone()], private).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut buffer = [0; 1024];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..n]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    let mut roots = rustls::RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = rustls::ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().unwrap();
    (address, Arc::new(client.with_root_certificates(roots).with_no_client_auth()))
}

pub(crate) async fn connect(proxy: SocketAddr, to: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(proxy).await.unwrap();
    stream.write_all(format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nX-Request-Id: mine\r\n\r\n").as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    (stream, String::from_utf8(head).unwrap())
}

pub(crate) const PROXY: &str = "proxy: {listen: \"127.0.0.1:0\", services: {users: {connect: \"USERS\", hosts: [users.shop.local]}}, egress: {private: [127.0.0.0/8]}}\n";

#[tokio::test]
async fn tunnels_lead_only_where_the_law_says() {
    let (outside, client) = outside_tls().await;
    let town = Town::new(outside.port());
    let caller = town.start("payments", "payments", &PROXY.replace("USERS", "127.0.0.1:1")).await;
    let proxy = caller.outbound()[0];

    let to = format!("localhost:{}", outside.port());
    let (stream, head) = connect(proxy, &to).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let tls = tokio_rustls::TlsConnector::from(Arc::clone(&client));
    let mut stream = tls.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    stream.write_all(b"hello outside").await.unwrap();
    let mut buffer = [0; 13];
    stream.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"hello outside");
    assert!(caller.gate().metrics.render().contains("portreeve_egress_tunnels 1"));
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    drop(stream);

    // Denied: an unknown name, an undeclared port, the mesh, an odd head.
    let undeclared = format!("localhost:{}", nobody().await.port());
    for (target, expected) in
        [("evil.example:443", 403), (undeclared.as_str(), 403), ("users:443", 403), ("users.shop.local:443", 403), ("other:443", 403)]
    {
        let (_, head) = connect(proxy, target).await;
        assert_eq!(code(&head), expected, "{target}: {head}");
        assert!(!head.contains("permission"), "{head}");
    }
    let odd = raw(proxy, "CONNECT nowhere HTTP/1.1\r\n\r\n").await;
    assert_eq!(code(&odd), 400, "{odd}");
    caller.shutdown().await;

    let records = town.records("payments");
    replays(&town.authorizer(), &records);
    let decided = decided(&records);
    use Reason::{MalformedRequest as Malformed, Permitted, UnknownService};
    let reasons: Vec<_> = decided.iter().map(|(_, d)| d.decision.reason).collect();
    assert_eq!(reasons, [Permitted, UnknownService, UnknownService, Malformed, Malformed, Malformed, Malformed]);
    let (seq, first) = decided[0];
    assert_eq!((first.side, &first.source.id, first.source.service.as_deref()), (Some(Side::Outbound), &id("payments"), Some("payments")));
    assert_eq!((first.destination.service.as_str(), first.request.operation.as_deref()), ("cards", Some("tls")));
    assert_eq!((first.request.host.as_deref(), first.request.port), (Some(to.as_str()), Some(outside.port())));
    assert_eq!((first.request.correlation.as_deref(), &first.tls, first.source.ip), (Some("mine"), &None, None));
    assert!(decided.iter().all(|(_, d)| d.side == Some(Side::Outbound)));
    let ended = ended(&records);
    assert_eq!((ended.len(), ended[0].of, ended[0].outcome), (1, seq, Outcome::Forwarded));
    assert!(ended[0].bytes > 13 && matches!(ended[0].why, Why::Complete | Why::Client), "{:?}", ended[0]);
}

#[tokio::test]
async fn the_first_message_of_a_tunnel_must_be_for_its_host() {
    let (outside, client) = outside_tls().await;
    let town = Town::new(outside.port());
    let caller = town.start("payments", "payments", &PROXY.replace("USERS", "127.0.0.1:1")).await;
    let to = format!("localhost:{}", outside.port());
    // Another name in the clear.
    let (stream, head) = connect(caller.outbound()[0], &to).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let tls = tokio_rustls::TlsConnector::from(Arc::clone(&client));
    assert!(tls.connect("evil.example".try_into().unwrap(), stream).await.is_err());
    // No TLS at all.
    let (mut stream, _) = connect(caller.outbound()[0], &to).await;
    stream.write_all(b"SSH-2.0-exfiltrate\r\n").await.unwrap();
    let mut out = Vec::new();
    let _ = stream.read_to_end(&mut out).await;
    assert!(out.is_empty());
    // To an address without a name in the clear.
    let address = format!("127.0.0.1:{}", outside.port());
    let (stream, _) = connect(caller.outbound()[0], &address).await;
    let ip: std::net::IpAddr = "127.0.0.1".parse().unwrap();
    drop(tls.connect(ip.into(), stream).await.unwrap());
    caller.shutdown().await;
    let records = town.records("payments");
    replays(&town.authorizer(), &records);
    let reasons: Vec<_> = decided(&records).iter().map(|(_, d)| d.decision.reason).collect();
    use Reason::{MalformedRequest as Malformed, Permitted};
    assert_eq!(reasons, [Permitted, Malformed, Permitted, Malformed, Permitted]);
    let raw = decided(&records)[1].1.request.raw.clone().unwrap();
    assert!(raw.contains("evil.example"), "{raw}");
    let details: Vec<_> = ended(&records).iter().map(|e| (e.detail.clone(), e.outcome, e.bytes)).collect();
    assert_eq!(ended(&records)[0].status, None, "the tunnel was greeted, and no status came after");
    assert_eq!(details[0], (Some("server-name".to_owned()), Outcome::Unavailable, 0));
    assert_eq!(details[1], (Some("not-tls".to_owned()), Outcome::Unavailable, 0));
}

#[tokio::test]
async fn a09_a_name_at_a_private_address_is_not_connected_to() {
    let (outside, count) = app(|_, _| ok("secret")).await;
    let town = Town::new(outside.port());
    let caller = town.start("payments", "payments", "proxy: {listen: \"127.0.0.1:0\"}\n").await;
    let to = format!("localhost:{}", outside.port());
    let (_, head) = connect(caller.outbound()[0], &to).await;
    assert_eq!(code(&head), 403, "{head}");
    assert_eq!(get(caller.outbound()[0], &format!("http://{to}/v1/rates/1"), &to).await.0, 403);
    caller.shutdown().await;
    let records = town.records("payments");
    assert_eq!(decided(&records).iter().filter(|(_, d)| d.decision.reason == Reason::Permitted).count(), 2);
    for end in ended(&records) {
        assert_eq!((end.detail.as_deref(), end.outcome), (Some("address-refused"), Outcome::Unavailable));
    }
    assert_eq!(ended(&records).len(), 2);
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 0);
}

#[tokio::test]
async fn plain_requests_are_judged_by_method_and_path() {
    let (outside, count) = app(|_, head| ok(head)).await;
    let town = Town::new(outside.port());
    let caller = town.start("payments", "payments", &PROXY.replace("USERS", "127.0.0.1:1")).await;
    let (proxy, to) = (caller.outbound()[0], format!("localhost:{}", outside.port()));
    let head = format!(
        "GET http://{to}/v1/%72ates/4111111111111111?x=1 HTTP/1.1\r\nHost: {to}\r\nAuthorization: Bearer key-of-the-partner\r\nProxy-Authorization: Basic x\r\nX-Portreeve-Principal: me\r\nConnection: close\r\n\r\n"
    );
    let answer = raw(proxy, &head).await;
    assert_eq!(code(&answer), 200, "{answer}");
    // What was judged is what was sent; what concerns this hop or claims an identity was not.
    let sent = answer.split("\r\n\r\n").nth(1).unwrap().to_ascii_lowercase();
    assert!(sent.starts_with("get /v1/rates/4111111111111111?x=1 http/1.1"), "{sent}");
    assert!(sent.contains(&format!("host: {to}")) && sent.contains("authorization: bearer key-of-the-partner"), "{sent}");
    assert!(!sent.contains("proxy-authorization") && !sent.contains("portreeve"), "{sent}");
    // Origin form with a host.
    assert_eq!(get(proxy, "/v1/rates/1", &to).await.0, 200);
    for (target, host, expected) in [
        (format!("http://{to}/v1/other"), to.as_str(), 403),
        (format!("http://{to}/v1//rates"), to.as_str(), 400),
        (format!("http://{to}/v1/rates/1"), "evil.example", 400),
        ("http://evil.example/v1/rates/1".to_owned(), "evil.example", 403),
        ("http://api.cards.test:81/v1/rates/1".to_owned(), "api.cards.test:81", 403),
        ("http://other/".to_owned(), "other", 502),
        ("http://cards/".to_owned(), "cards", 403),
    ] {
        assert_eq!(get(proxy, &target, host).await.0, expected, "{target}");
    }
    caller.shutdown().await;
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 2);
    let records = town.records("payments");
    replays(&town.authorizer(), &records);
    let decided = decided(&records);
    let shown: Vec<_> = decided.iter().map(|(_, d)| (d.decision.reason, d.destination.service.as_str())).collect();
    use Reason::{MalformedRequest as Malformed, Permitted, UndeclaredOperation, UnknownService};
    assert_eq!(
        shown,
        [
            (Permitted, "cards"),
            (Permitted, "cards"),
            (UndeclaredOperation, "cards"),
            (Malformed, "cards"),
            (Malformed, "outside"),
            (UnknownService, "evil.example"),
            (Malformed, "cards"),
            (UnknownService, "cards"),
        ]
    );
    let first = decided[0].1;
    assert_eq!(first.request.path.as_deref(), Some("/v1/rates/{card}"));
    assert_eq!(first.context.jwt, None, "the token is the partner's");
    let log = std::fs::read_to_string(town.path("payments.ndjson")).unwrap();
    assert!(!log.contains("key-of-the-partner") && !log.contains("4111111111111111"));
    let ended = ended(&records);
    assert_eq!((ended.len(), ended[0].status, ended[0].why), (2, Some(200), Why::Complete));
}

#[tokio::test]
async fn names_of_the_mesh_go_to_the_enforcer_of_the_service() {
    let (service, _) = app(|_, head| ok(head)).await;
    let town = Town::new(443);
    let callee = town.callee("users", service).await;
    let caller = town.start("payments", "payments", &PROXY.replace("USERS", &callee.inbound()[0].to_string())).await;
    let proxy = caller.outbound()[0];
    for (target, host) in [("http://users/v1/users/7", "users"), ("/v1/users/7", "users:80"), ("/v1/users/7", "Users.Shop.Local")] {
        let (status, answer) = get(proxy, target, host).await;
        assert_eq!(status, 200, "{target} {host}: {answer}");
        assert!(answer.to_ascii_lowercase().contains("x-portreeve-principal: spiffe://market.example/ns/shop/sa/payments"), "{answer}");
    }
    // What the callee denies is its answer, and its record.
    assert_eq!(get(proxy, "http://users/other", "users").await.0, 403);
    caller.shutdown().await;
    callee.shutdown().await;
    assert!(decided(&town.records("payments")).is_empty(), "the callee records");
    assert_eq!(decided(&town.records("users")).len(), 4);
}

#[tokio::test]
async fn a65_a_new_law_ends_a_tunnel() {
    let (outside, client) = outside_tls().await;
    let town = Town::new(outside.port());
    let caller = town.start("payments", "payments", &PROXY.replace("USERS", "127.0.0.1:1")).await;
    let (stream, _) = connect(caller.outbound()[0], &format!("localhost:{}", outside.port())).await;
    let mut stream = tokio_rustls::TlsConnector::from(client).connect("localhost".try_into().unwrap(), stream).await.unwrap();
    town.law(
        2,
        &town::LAW
            .replace("PORT", &outside.port().to_string())
            .replace("allow: {from: payments, to: cards", "deny: {from: payments, to: cards"),
    );
    caller.reload().await.unwrap();
    let mut out = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut out)).await;
    assert!(closed.is_ok(), "the tunnel goes on");
    caller.shutdown().await;
    let records = town.records("payments");
    let end = ended(&records)[0];
    assert_eq!((end.why, end.detail.as_deref()), (Why::Policy, Some("new-bundle")));
}

#[tokio::test]
async fn a79_what_cannot_be_recorded_does_not_leave() {
    let (outside, count) = app(|_, _| ok("x")).await;
    let town = Town::new(outside.port());
    let caller = town.start("payments", "payments", &PROXY.replace("USERS", "127.0.0.1:1")).await;
    caller.gate().log.stop();
    let to = format!("localhost:{}", outside.port());
    assert_eq!(code(&connect(caller.outbound()[0], &to).await.1), 503);
    assert_eq!(get(caller.outbound()[0], &format!("http://{to}/v1/rates/1"), &to).await.0, 503);
    assert_eq!(code(&connect(caller.outbound()[0], "evil.example:443").await.1), 503);
    assert_eq!(count.load(std::sync::atomic::Ordering::SeqCst), 0);
    caller.shutdown().await;
}

/// Every time of the outbound side, short in the place of a default of a minute and more, brings about what it is for.
#[tokio::test]
async fn the_times_of_the_way_out_are_the_configured_ones() {
    async fn soon<T>(what: impl Future<Output = T>) -> T {
        tokio::time::timeout(Duration::from_secs(20), what).await.expect("the configured time brings it about")
    }
    let begun = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun";
    let (outside, _) = app(move |_, _| begun.to_vec()).await;
    let town = Town::new(outside.port());
    let callee = town.callee("users", outside).await;
    let way = format!("{{connect: \"{}\", timeouts: {{stream: 200ms, tunnel: 200ms}}}}", callee.inbound()[0]);
    let extra = format!(
        "proxy: {{listen: \"127.0.0.1:0\", services: {{users: {way}}}, egress: {{private: [127.0.0.0/8], \
         without_tls: [\"localhost:{}\"], timeouts: {{stream: 200ms, tunnel: 200ms}}}}}}\n",
        outside.port()
    );
    let caller = town.start("payments", "payments", &extra).await;
    let proxy = caller.outbound()[0];
    // Outside, and in the mesh: an answer that stops is broken off.
    for host in [format!("localhost:{}", outside.port()), "users".to_owned()] {
        let path = if host == "users" { "/v1/users/1" } else { "/v1/rates/1" };
        let (status, answer) = soon(get(proxy, path, &host)).await;
        assert!(status == 200 && answer.ends_with("begun"), "{host}: {answer}");
    }
    // A tunnel in which nothing moves is closed.
    let (mut tunnel, head) = connect(proxy, &format!("localhost:{}", outside.port())).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut rest = Vec::new();
    soon(tunnel.read_to_end(&mut rest)).await.unwrap();
    let metrics = caller.gate().metrics.render();
    assert!(metrics.contains("portreeve_outbound_failures_total{service=\"users\",reason=\"broken-off\"} 1"), "{metrics}");
    caller.shutdown().await;
    callee.shutdown().await;
    let records = town.records("payments");
    let ends: Vec<_> = ended(&records).iter().map(|e| (e.why, e.detail.clone().unwrap_or_default())).collect();
    assert_eq!(ends, [(Why::Upstream, "timeout".to_owned()), (Why::Client, "idle".to_owned())]);
}

/// A place outside that answers with the trailers it got.
async fn trailers_told() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut seen = Vec::new();
                let mut buffer = [0; 1024];
                while !String::from_utf8_lossy(&seen).contains("\r\n0\r\n") || !seen.ends_with(b"\r\n\r\n") {
                    let Ok(n @ 1..) = stream.read(&mut buffer).await else { return };
                    seen.extend_from_slice(&buffer[..n]);
                }
                let text = String::from_utf8_lossy(&seen).into_owned();
                let told = text.split_once("\r\n0\r\n").unwrap().1.trim_end().to_ascii_lowercase();
                let _ = stream.write_all(&ok(&told)).await;
            });
        }
    });
    address
}

/// What policy reads in the head of a request to a place outside does not follow it as a trailer.
#[tokio::test]
async fn trailers_to_places_outside_are_held_against_what_policy_reads() {
    let outside = trailers_told().await;
    let town = Town::new(outside.port());
    let law = town::LAW.replace("PORT", &outside.port().to_string());
    town.law(2, &law.replace("{id: rates, method: GET,", "{id: rates, method: [GET, POST],"));
    let caller = town.start("payments", "payments", &PROXY.replace("USERS", "127.0.0.1:1")).await;
    let trailers = "X-Tenant: eu\r\nx_tenant: eu\r\nX-Portreeve-Principal: me\r\nX-Checksum: 7\r\n";
    let answer = raw(
        caller.outbound()[0],
        &format!(
            "POST http://localhost:{port}/v1/rates/1 HTTP/1.1\r\nHost: localhost:{port}\r\nX-Tenant: us\r\nConnection: close\r\n\
             Trailer: x-checksum, x-tenant, x_tenant, x-portreeve-principal\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n{trailers}\r\n",
            port = outside.port()
        ),
    )
    .await;
    caller.shutdown().await;
    assert_eq!(code(&answer), 200, "{answer}");
    assert!(answer.ends_with("\r\n\r\nx-checksum: 7"), "{answer}");
    replays(&town.authorizer(), &town.records("payments"));
}

/// What is decided about places outside is decided again by the reference evaluators too.
#[tokio::test]
async fn the_self_check_looks_at_egress() {
    let (outside, _) = app(|_, _| ok("rates")).await;
    let town = Town::new(outside.port());
    let caller = town.start("payments", "payments", &format!("{}self_check: {{one_in: 1}}\n", PROXY.replace("USERS", "127.0.0.1:1"))).await;
    let proxy = caller.outbound()[0];
    let counted = |name: &str| {
        let text = caller.gate().metrics.render();
        let line = format!("portreeve_{name}_total ");
        text.lines().find_map(|l| l.strip_prefix(&line)?.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {name}: {text}"))
    };
    let place = format!("localhost:{}", outside.port());
    let mut asked = 0;
    // Allowed, not declared, denied, and a tunnel: whatever came of it.
    for target in ["/v1/rates/1", "/v1/other"] {
        let (status, answer) = get(proxy, target, &place).await;
        assert_eq!(status, if target == "/v1/other" { 403 } else { 200 }, "{answer}");
        asked += 1;
    }
    assert_eq!(get(proxy, "/", "evil.example").await.0, 403);
    let (tunnel, head) = connect(proxy, &place).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    drop(tunnel);
    asked += 2;
    let made = async {
        while counted("self_checks") + counted("self_checks_passed_over") < asked {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), made).await.expect("each of them is looked at");
    assert!(counted("self_checks") > 0);
    assert_eq!(counted("self_check_disagreements"), 0);
    caller.shutdown().await;
}
