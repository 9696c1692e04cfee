//! An attacker's client: blocking TLS that presents anything and believes any server, raw bytes on top.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::pki::Leaf;

/// Longer than any answer takes on a busy machine; a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Conn = StreamOwned<ClientConnection, TcpStream>;

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) config: ClientConfig,
    sni: Option<String>,
}

impl Client {
    /// A client that presents this chain, whether or not the key is the leaf's.
    pub(crate) fn with(leaf: &Leaf) -> Self {
        Self::chain(leaf.chain.clone(), leaf)
    }

    /// A client that presents `chain` and signs with the key of `leaf`.
    pub(crate) fn chain(chain: Vec<CertificateDer<'static>>, leaf: &Leaf) -> Self {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(leaf.key.clone_key()).unwrap();
        let certified = Arc::new(rustls::sign::CertifiedKey::new(chain, key));
        Self::of(|builder| builder.with_client_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified))))
    }

    /// A client without a certificate.
    pub(crate) fn nobody() -> Self {
        Self::of(|builder| builder.with_no_client_auth())
    }

    fn of(make: impl FnOnce(rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>) -> ClientConfig) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = make(builder.dangerous().with_custom_certificate_verifier(Arc::new(BelieveAll)));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self { config, sni: None }
    }

    pub(crate) fn alpn(mut self, protocols: &[&str]) -> Self {
        self.config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        self
    }

    pub(crate) fn sni(mut self, name: &str) -> Self {
        self.sni = Some(name.to_owned());
        self
    }

    /// The TLS side alone, for those who carry its bytes by hand.
    pub(crate) fn tls(&self) -> ClientConnection {
        let mut config = self.config.clone();
        config.enable_sni = self.sni.is_some();
        let name = ServerName::try_from(self.sni.clone().unwrap_or_else(|| "portreeve.invalid".to_owned())).unwrap();
        ClientConnection::new(Arc::new(config), name).unwrap()
    }

    /// Connects; the handshake is the first thing that reading or writing does.
    pub(crate) fn open(&self, to: SocketAddr) -> Conn {
        let socket = TcpStream::connect(to).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.set_write_timeout(Some(PATIENCE)).unwrap();
        socket.set_nodelay(true).unwrap();
        StreamOwned::new(self.tls(), socket)
    }

    /// Sends these bytes and reads until the gate closes. Empty where it closed without a word, a handshake refused included.
    pub(crate) fn send(&self, to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
        let mut conn = self.open(to);
        // A gate that closes early makes writing fail; what it said before is what counts.
        let _ = conn.write_all(bytes).and_then(|()| conn.flush());
        rest(&mut conn)
    }

    /// Sends these bytes and parses the answers until the gate closes.
    pub(crate) fn ask(&self, to: SocketAddr, bytes: &[u8]) -> Vec<Answer> {
        answers(&self.send(to, bytes))
    }

    /// The status of one `GET` on a connection of its own; 0 without an answer.
    pub(crate) fn get(&self, to: SocketAddr, target: &str, headers: &str) -> u16 {
        let head = format!("GET {target} HTTP/1.1\r\nHost: items\r\nConnection: close\r\n{headers}\r\n");
        self.ask(to, head.as_bytes()).first().map_or(0, |a| a.status)
    }

    /// What the gate says to this client's certificate: `None` for welcome, otherwise the alert or the closing.
    pub(crate) fn turned_away(&self, to: SocketAddr) -> Option<String> {
        let mut conn = self.open(to);
        let head = b"GET /v1/items/knock HTTP/1.1\r\nHost: items\r\nConnection: close\r\n\r\n";
        if let Err(error) = conn.write_all(head).and_then(|()| conn.flush()) {
            return Some(error.to_string());
        }
        let mut byte = [0];
        match conn.read(&mut byte) {
            Ok(1) => None,
            Ok(_) => Some("closed".to_owned()),
            Err(error) => Some(error.to_string()),
        }
    }
}

/// Reads until the peer closes, in whatever way.
pub(crate) fn rest(conn: &mut impl Read) -> Vec<u8> {
    let mut out = Vec::new();
    let mut part = [0; 4096];
    loop {
        match conn.read(&mut part) {
            Ok(0) => return out,
            Ok(n) => out.extend_from_slice(&part[..n]),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                panic!("the gate does not close; so far {:?}", String::from_utf8_lossy(&out))
            }
            Err(_) => return out,
        }
    }
}

/// One answer as it was written on the wire.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header_of(&self.head, name)
    }

    /// A refusal holds the id of the request and nothing else.
    pub(crate) fn is_bare_refusal(&self) -> bool {
        let value: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_default();
        value.as_object().is_some_and(|o| o.len() == 1 && o.get("request_id").and_then(|v| v.as_str()) == self.header("x-request-id"))
    }
}

pub(crate) fn header_of<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    let lines = head.split("\r\n").skip(1);
    lines.filter_map(|l| l.split_once(':')).find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim())
}

/// All answers in these bytes. What is cut short keeps the body that came.
pub(crate) fn answers(bytes: &[u8]) -> Vec<Answer> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(end) = find(&bytes[at..], b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&bytes[at..at + end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        at += end + 4;
        let body = match (header_of(&head, "content-length"), header_of(&head, "transfer-encoding")) {
            _ if status < 200 || status == 204 || status == 304 => Vec::new(),
            (Some(length), _) => {
                let upto = (at + length.parse::<usize>().unwrap()).min(bytes.len());
                bytes[at..upto].to_vec()
            }
            (None, Some(_)) => {
                let (body, taken) = unchunk(&bytes[at..]);
                at += taken;
                out.push(Answer { status, head, body });
                continue;
            }
            (None, None) => bytes[at..].to_vec(),
        };
        at += body.len();
        out.push(Answer { status, head, body });
    }
    out
}

/// The content of a chunked body, as far as it came, and how many bytes it took.
pub(crate) fn unchunk(bytes: &[u8]) -> (Vec<u8>, usize) {
    let (mut body, mut at) = (Vec::new(), 0);
    while let Some(end) = find(&bytes[at..], b"\r\n") {
        let line = std::str::from_utf8(&bytes[at..at + end]).unwrap();
        let size = usize::from_str_radix(line.split(';').next().unwrap().trim(), 16).unwrap_or_else(|e| panic!("{e}: `{line}`"));
        at += end + 2;
        if size == 0 {
            // Trailers, up to the empty line.
            let end = if bytes[at..].starts_with(b"\r\n") { Some(0) } else { find(&bytes[at..], b"\r\n\r\n").map(|e| e + 2) };
            return (body, end.map_or(bytes.len(), |e| at + e + 2));
        }
        let upto = (at + size).min(bytes.len());
        body.extend_from_slice(&bytes[at..upto]);
        at = (upto + 2).min(bytes.len());
    }
    (body, bytes.len())
}

pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|w| w == what)
}

/// One answer of a connection that stays open.
pub(crate) fn one_answer(conn: &mut impl Read) -> Answer {
    let mut bytes = Vec::new();
    let mut byte = [0; 1];
    while find(&bytes, b"\r\n\r\n").is_none() {
        assert_eq!(conn.read(&mut byte).unwrap(), 1, "closed after {:?}", String::from_utf8_lossy(&bytes));
        bytes.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&bytes).into_owned();
    if let Some(length) = header_of(&head, "content-length") {
        let mut body = vec![0; length.parse().unwrap()];
        conn.read_exact(&mut body).unwrap();
        bytes.extend(body);
    } else if header_of(&head, "transfer-encoding").is_some() {
        while !bytes.ends_with(b"\r\n0\r\n\r\n") {
            assert_eq!(conn.read(&mut byte).unwrap(), 1);
            bytes.push(byte[0]);
        }
    }
    answers(&bytes).remove(0)
}

#[derive(Debug)]
struct BelieveAll;

impl ServerCertVerifier for BelieveAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
