//! Fetching from real servers on loopback.

use std::path::Path;
use std::sync::atomic::Ordering;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;

use super::testing::{Authority, Reply, Server, aws_lc_rs_provider, reply};
use super::*;

const MAX: usize = 4096;
const WITHIN: Duration = Duration::from_secs(20);
const HERE: Reach = Reach { private_addresses: true, loopback_http: false };

fn url(server: &Server, host: &str) -> Url {
    server.url(host).parse().unwrap()
}

fn fetcher(ca: &Path, reach: Reach) -> Fetcher {
    Fetcher::new(Roots::File(ca.to_owned()), reach, None).unwrap()
}

async fn get(server: &Server, authority: &Authority) -> Result<Fetched, FetchError> {
    let url = url(server, "localhost");
    fetcher(&authority.file(), HERE).fetch(Ask::get(&url, MAX, WITHIN)).await
}

#[tokio::test]
async fn an_answer_is_asked_for_again_by_its_etag() {
    let authority = Authority::new();
    let first = "200 OK\r\netag: \"v1\"\r\ncache-control: public, max-age=300\r\nage: 100\r\ncontent-type: Application/JSON; charset=utf-8";
    let server = Server::tls(&authority, vec![reply(first, "{}"), Reply::Bytes("HTTP/1.1 304 Not Modified\r\n\r\n".into())]).await;
    let fetcher = fetcher(&authority.file(), HERE);
    for host in ["localhost", "127.0.0.1"] {
        server.requests.lock().unwrap().clear();
        let url = url(&server, host);
        let found = fetcher.fetch(Ask::get(&url, MAX, WITHIN)).await.unwrap().ok().unwrap();
        assert_eq!((found.status, &found.body[..]), (StatusCode::OK, &b"{}"[..]));
        assert_eq!((found.etag.as_deref(), found.content_type.as_deref()), (Some("\"v1\""), Some("application/json")));
        assert_eq!(found.max_age, Some(Duration::from_secs(200)));
        let again = fetcher.fetch(Ask::get(&url, MAX, WITHIN).unless(found.etag.as_deref())).await.unwrap().ok().unwrap();
        assert!(again.is_unchanged() && again.body.is_empty());
        let requests = server.requests();
        assert!(requests[0].starts_with("GET /keys?a=b HTTP/1.1\r\n"), "{}", requests[0]);
        assert!(requests[0].contains(&format!("host: {host}:{}\r\n", server.address.port())), "{}", requests[0]);
        assert!(!requests[0].contains("if-none-match") && requests[1].contains("if-none-match: \"v1\"\r\n"));
    }
}

#[tokio::test]
async fn a_body_is_sent_with_its_type_and_a_refusal_can_be_read() {
    let authority = Authority::new();
    let server = Server::tls(&authority, vec![reply("400 Bad Request\r\nretry-after: 7", "{\"error\":\"invalid_grant\"}")]).await;
    let url = url(&server, "localhost");
    let body = Bytes::from("grant_type=x".repeat(10_000));
    let ask = Ask::post(&url, "application/x-www-form-urlencoded", body.clone(), MAX, WITHIN);
    let found = fetcher(&authority.file(), HERE).fetch(ask).await.unwrap();
    assert_eq!((found.status, &found.body[..]), (StatusCode::BAD_REQUEST, &b"{\"error\":\"invalid_grant\"}"[..]));
    assert_eq!(found.retry_after, Some(Duration::from_secs(7)));
    assert!(matches!(found.ok(), Err(FetchError::Status(StatusCode::BAD_REQUEST))));
    let request = server.requests().remove(0);
    assert!(request.starts_with("POST /keys?a=b HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\n"), "{request}");
    assert!(request.as_bytes().ends_with(&body));
}

#[tokio::test]
async fn a39_answers_without_end_redirects_and_packed_ones_are_refused() {
    let authority = Authority::new();
    let endless = |first: &str, again: &str| Reply::Endless(first.to_owned(), again.to_owned());
    for (reply, word) in [
        (reply("302 Found\r\nlocation: https://169.254.169.254/", ""), "redirected"),
        (reply("301 Moved Permanently\r\nlocation: /elsewhere", ""), "redirected"),
        (reply("300 Multiple Choices", ""), "redirected"),
        (reply("200 OK\r\ncontent-encoding: gzip", "x"), "encoded"),
        (reply("200 OK", &"x".repeat(MAX + 1)), "too-large"),
        (endless("HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n", "x"), "too-large"),
        (endless("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "400\r\n"), "http"),
        (endless("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", &format!("400\r\n{}\r\n", "y".repeat(1024))), "too-large"),
        (endless("HTTP/1.1 200 OK\r\n\r\n", "until the end"), "too-large"),
        (endless("HTTP/1.1 200 OK\r\n", "x-a: b\r\n"), "http"),
        (endless("HTTP/1.1 200 OK\r\nx-a: ", "bbbbbbbbbbbbbbbb"), "http"),
        (Reply::Bytes("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort".into()), "http"),
        (Reply::Bytes("SSH-2.0-OpenSSH\r\n".into()), "http"),
        (Reply::Bytes(String::new()), "http"),
    ] {
        let server = Server::tls(&authority, vec![reply]).await;
        let error = get(&server, &authority).await.unwrap_err();
        assert_eq!(error.as_str(), word, "{error}");
        assert_eq!(server.requests().len(), 1, "nothing is followed or tried again");
    }
    let server = Server::tls(&authority, vec![reply("200 OK", &"x".repeat(MAX))]).await;
    assert_eq!(get(&server, &authority).await.unwrap().body.len(), MAX);
}

#[tokio::test]
async fn all_of_a_fetch_has_an_end_in_time() {
    let authority = Authority::new();
    let server = Server::tls(&authority, vec![Reply::Silence]).await;
    let url = url(&server, "localhost");
    let ask = Ask::get(&url, MAX, Duration::from_millis(300));
    assert_eq!(fetcher(&authority.file(), HERE).fetch(ask).await.unwrap_err().as_str(), "timeout");
    // A listener that never takes the connection up, and so never shakes hands.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url: Url = format!("https://{}/", silent.local_addr().unwrap()).parse().unwrap();
    let ask = Ask::get(&url, MAX, Duration::from_millis(300));
    assert_eq!(fetcher(&authority.file(), HERE).fetch(ask).await.unwrap_err().as_str(), "timeout");
}

#[tokio::test]
async fn only_the_named_host_with_a_believed_certificate_is_asked() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::tls(&authority, vec![reply("200 OK", "{}")]).await;
    let error = fetcher(&other.file(), HERE).fetch(Ask::get(&url(&server, "localhost"), MAX, WITHIN)).await.unwrap_err();
    assert_eq!(error.as_str(), "handshake", "{error}");
    let leaf = Arc::new(SingleCertAndKey::from(authority.leaf(&["elsewhere.example"])));
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs_provider())).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_cert_resolver(leaf);
    let elsewhere = Server::start(Some(Arc::new(config)), vec![reply("200 OK", "{}")]).await;
    assert_eq!(get(&elsewhere, &authority).await.unwrap_err().as_str(), "handshake");
    assert!(server.requests().is_empty() && elsewhere.requests().is_empty());
}

#[tokio::test]
async fn a09_addresses_of_this_host_and_plain_http_are_refused_unless_asked_for() {
    let authority = Authority::new();
    let server = Server::tls(&authority, vec![reply("200 OK", "{}")]).await;
    let strict = fetcher(&authority.file(), Reach::default());
    for host in ["localhost", "127.0.0.1"] {
        let error = strict.fetch(Ask::get(&url(&server, host), MAX, WITHIN)).await.unwrap_err();
        assert!(matches!(&error, FetchError::Forbidden { kind: "loopback", .. }), "{error}");
        assert!(error.to_string().contains("private_addresses: true"), "{error}");
    }
    let metadata: Url = "https://169.254.169.254/latest".parse().unwrap();
    let error = fetcher(&authority.file(), HERE).fetch(Ask::get(&metadata, MAX, WITHIN)).await.unwrap_err();
    assert!(matches!(&error, FetchError::Forbidden { kind: "metadata", .. }), "{error}");
    assert_eq!(server.connections.load(Ordering::SeqCst), 0, "an address was connected to before it was judged");

    let plain = Server::start(None, vec![reply("200 OK", "{}")]).await;
    for host in ["localhost", "127.0.0.1"] {
        let url: Url = format!("http://{host}:{}/", plain.address.port()).parse().unwrap();
        for reach in [Reach::default(), HERE, Reach { private_addresses: false, loopback_http: true }] {
            let error = fetcher(&authority.file(), reach).fetch(Ask::get(&url, MAX, WITHIN)).await.unwrap_err();
            assert_eq!(error.as_str(), "forbidden", "{error}");
        }
        assert_eq!(plain.requests().len(), 0);
        let reach = Reach { private_addresses: true, loopback_http: true };
        assert!(fetcher(&authority.file(), reach).fetch(Ask::get(&url, MAX, WITHIN)).await.is_ok());
        plain.requests.lock().unwrap().clear();
    }
}

#[tokio::test]
async fn a_replaced_file_of_roots_is_taken_up() {
    let (old, new) = (Authority::new(), Authority::new());
    let (before, after) = (Server::tls(&old, vec![reply("200 OK", "")]).await, Server::tls(&new, vec![reply("200 OK", "")]).await);
    let (before, after) = (url(&before, "localhost"), url(&after, "localhost"));
    let fetcher = fetcher(&old.file(), HERE);
    let fetch = async |url| fetcher.fetch(Ask::get(url, MAX, WITHIN)).await.map_err(|e| e.as_str()).map(|_| ());
    assert_eq!((fetch(&before).await, fetch(&after).await), (Ok(()), Err("handshake")));
    crate::files::replace(&old.file(), b"-----BEGIN", 0o644).unwrap();
    assert_eq!(fetch(&before).await, Err("roots"));
    crate::files::replace(&old.file(), new.issuer.pem().as_bytes(), 0o644).unwrap();
    assert_eq!((fetch(&before).await, fetch(&after).await), (Err("handshake"), Ok(())));
    std::fs::remove_file(old.file()).unwrap();
    assert_eq!(fetch(&after).await, Ok(()));
    for broken in ["", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        std::fs::write(old.file(), broken).unwrap();
        assert!(matches!(Fetcher::new(Roots::File(old.file()), HERE, None), Err(FetchError::Roots { .. })));
    }
}

#[tokio::test]
async fn our_own_certificate_is_shown_to_whoever_asks_for_it() {
    let authority = Authority::new();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.issuer.der().clone()).unwrap();
    let provider = Arc::new(aws_lc_rs_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().unwrap();
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let leaf = Arc::new(SingleCertAndKey::from(authority.leaf(&["localhost"])));
    let config = Arc::new(config.with_client_cert_verifier(verifier).with_cert_resolver(leaf));
    let server = Server::start(Some(config), vec![reply("200 OK", "{}")]).await;
    let url = url(&server, "localhost");
    assert!(fetcher(&authority.file(), HERE).fetch(Ask::get(&url, MAX, WITHIN)).await.is_err());
    let own: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(authority.leaf(&["items"])));
    let known = Fetcher::new(Roots::File(authority.file()), HERE, Some(own)).unwrap();
    assert!(known.fetch(Ask::get(&url, MAX, WITHIN)).await.is_ok());
}
