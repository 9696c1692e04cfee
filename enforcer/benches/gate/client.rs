//! One client connection: TLS 1.3 with a client certificate, then HTTP/1.1 by hand or HTTP/2 by hyper.
//!
//! The client offers one cipher suite, so all contestants use the same; which key exchange it offers is an option.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::{aws_lc_rs, aws_lc_rs::kx_group};
use rustls::{CipherSuite, ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::pki::Pki;

/// The configuration of a client named `name`, speaking `alpn`, with one key exchange.
pub(crate) fn config(pki: &Pki, name: &str, alpn: &[u8], group: &str) -> Arc<ClientConfig> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|s| s.suite() == CipherSuite::TLS13_AES_128_GCM_SHA256);
    provider.kx_groups = match group {
        "x25519" => vec![kx_group::X25519],
        "p256" => vec![kx_group::SECP256R1],
        "x25519mlkem768" => vec![kx_group::X25519MLKEM768],
        other => panic!("`{other}` is not a key exchange of this benchmark"),
    };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.ca()).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(pki.cert(name)).unwrap()];
    let key = PrivateKeyDer::from_pem_file(pki.key(name)).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![alpn.to_vec()];
    Arc::new(config)
}

/// A handshake from start to end. Source addresses change, so that no run exhausts the ports of one.
pub(crate) async fn connect(config: &Arc<ClientConfig>, target: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let [_, _, high, low] = (NEXT.fetch_add(1, Ordering::Relaxed) % 2_000 + 2).to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 0, high, low), 0).into())?;
    let stream = socket.connect(target).await?;
    stream.set_nodelay(true)?;
    TlsConnector::from(Arc::clone(config)).connect(ServerName::try_from("items").unwrap(), stream).await
}

/// An HTTP/1.1 connection of which only status and length of answers are looked at.
pub(crate) struct Http1 {
    stream: TlsStream<TcpStream>,
    seen: Vec<u8>,
}

impl Http1 {
    pub(crate) fn new(stream: TlsStream<TcpStream>) -> Self {
        Self { stream, seen: Vec::with_capacity(4096) }
    }

    /// Sends a request and reads its answer whole; gives its status.
    pub(crate) async fn get(&mut self, path: &str) -> std::io::Result<u16> {
        let head = format!("GET {path} HTTP/1.1\r\nhost: items\r\nuser-agent: portreeve-bench\r\naccept: */*\r\n\r\n");
        self.stream.write_all(head.as_bytes()).await?;
        self.stream.flush().await?;
        loop {
            if let Some((status, whole)) = answer(&self.seen)
                && self.seen.len() >= whole
            {
                self.seen.drain(..whole);
                return Ok(status);
            }
            if self.stream.read_buf(&mut self.seen).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

/// Status and length of the answer that begins here, once its head is whole.
fn answer(seen: &[u8]) -> Option<(u16, usize)> {
    let end = seen.windows(4).position(|w| w == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&seen[..end]).unwrap();
    let status = head.get(9..12)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    Some((status, end + length.expect("an answer without `content-length`")))
}

/// An HTTP/2 connection; clones of it share the connection.
#[derive(Clone)]
pub(crate) struct Http2(http2::SendRequest<Empty<Bytes>>);

impl Http2 {
    pub(crate) async fn new(stream: TlsStream<TcpStream>) -> Self {
        let builder = http2::Builder::new(TokioExecutor::new());
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.unwrap();
        // It ends with the senders, or with the process.
        tokio::spawn(connection);
        Self(sender)
    }

    pub(crate) async fn get(&mut self, path: &str) -> std::io::Result<u16> {
        let request = http::Request::get(format!("https://items{path}")).header("user-agent", "portreeve-bench").header("accept", "*/*");
        self.0.ready().await.map_err(std::io::Error::other)?;
        let answer = self.0.send_request(request.body(Empty::new()).unwrap()).await.map_err(std::io::Error::other)?;
        let status = answer.status().as_u16();
        answer.into_body().collect().await.map_err(std::io::Error::other)?;
        Ok(status)
    }
}
