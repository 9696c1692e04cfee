//! One player's end of a connection: mutual TLS with an X.509-SVID, HTTP/1.1 or HTTP/2, bodies streamed.
//!
//! INVARIANT: even a player that means harm checks whom it talks to: the server's chain must lead to the town's root and its one
//! name must be the one expected. It shares no code with the enforcer's own verifier, so each judges the other.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portreeve_enforcer::ca::Issued;
use portreeve_engine::{SpiffeId, Svid};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, TrustAnchor, UnixTime};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::TownError;
use crate::limits;

/// A certificate chain and its key, as a player presents them.
#[derive(Debug)]
pub struct Presented {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Presented {
    /// From what an authority issued.
    ///
    /// # Errors
    /// [`TownError::Certificate`].
    pub fn of(who: &str, issued: &Issued) -> Result<Self, TownError> {
        let wrong = |why: rustls_pki_types::pem::Error| TownError::Certificate { who: who.to_owned(), why: why.to_string() };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes()).collect();
        let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).map_err(wrong)?;
        Ok(Self { chain: chain.map_err(wrong)?, key })
    }
}

/// The roots in a PEM text.
pub(crate) fn roots(pem: &str) -> Result<Arc<Vec<TrustAnchor<'static>>>, TownError> {
    let wrong = |why: String| TownError::Certificate { who: "the root".to_owned(), why };
    let mut anchors = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let der = der.map_err(|e| wrong(e.to_string()))?;
        anchors.push(webpki::anchor_from_trusted_cert(&der).map_err(|e| wrong(e.to_string()))?.to_owned());
    }
    Ok(Arc::new(anchors))
}

/// What is spoken after the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2.
    Http2,
}

/// A client's TLS configuration: these credentials, this one server.
pub(crate) fn tls(
    presented: Option<&Presented>,
    roots: &Arc<Vec<TrustAnchor<'static>>>,
    expected: SpiffeId,
    protocol: Protocol,
) -> Result<Arc<ClientConfig>, TownError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).map_err(TownError::Tls)?;
    let verifier = Arc::new(OneServer { roots: Arc::clone(roots), expected, algorithms });
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut config = match presented {
        Some(p) => builder.with_client_auth_cert(p.chain.clone(), p.key.clone_key()).map_err(TownError::Tls)?,
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    config.alpn_protocols = vec![match protocol {
        Protocol::Http1 => b"http/1.1".to_vec(),
        Protocol::Http2 => b"h2".to_vec(),
    }];
    Ok(Arc::new(config))
}

/// Accepts one SPIFFE ID under the town's root.
#[derive(Debug)]
struct OneServer {
    roots: Arc<Vec<TrustAnchor<'static>>>,
    expected: SpiffeId,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for OneServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let bad = |e: CertificateError| rustls::Error::InvalidCertificate(e);
        let leaf = webpki::EndEntityCert::try_from(end_entity).map_err(|_| bad(CertificateError::BadEncoding))?;
        let usage = webpki::KeyUsage::server_auth();
        leaf.verify_for_usage(self.algorithms.all, &self.roots, intermediates, now, usage, None, None)
            .map_err(|_| bad(CertificateError::UnknownIssuer))?;
        match Svid::from_der(end_entity) {
            Ok(svid) if svid.id == self.expected => Ok(ServerCertVerified::assertion()),
            _ => Err(bad(CertificateError::NotValidForName)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Why a player got no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// No connection.
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    /// HTTP failed.
    #[error("no answer: {0}")]
    Http(#[from] hyper::Error),
    /// The answer's body failed or was too long.
    #[error("the answer broke off: {0}")]
    Body(String),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
}

/// A request whose body is made while it is sent.
pub(crate) type Asking = Request<Upload>;

/// A whole answer.
pub(crate) type Whole = Response<Bytes>;

/// An open connection that carries one request after another.
pub(crate) struct Line {
    sender: Sender,
    /// The serial number of the server's certificate.
    pub(crate) serial: Option<String>,
    driver: JoinHandle<()>,
}

enum Sender {
    H1(http1::SendRequest<Upload>),
    H2(http2::SendRequest<Upload>),
}

impl Drop for Line {
    /// The task of a connection ends with its owner.
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Line {
    /// Connects with TLS.
    pub(crate) async fn secure(at: SocketAddr, config: Arc<ClientConfig>, protocol: Protocol) -> Result<Self, NoAnswer> {
        let stream = handshake(at, config).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let serial = certificate.and_then(|der| Svid::from_der(der).ok()).map(|svid| svid.serial);
        match protocol {
            Protocol::Http1 => Self::http1(stream, serial).await,
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
                let driver = tokio::spawn(async move {
                    // Its end is seen by whoever sends on it.
                    let _ = connection.await;
                });
                Ok(Self { sender: Sender::H2(sender), serial, driver })
            }
        }
    }

    /// Connects in the clear, as a service does to its own sidecar.
    pub(crate) async fn plain(at: SocketAddr) -> Result<Self, NoAnswer> {
        Self::http1(dial(at).await?, None).await
    }

    async fn http1<S>(stream: S, serial: Option<String>) -> Result<Self, NoAnswer>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok(Self { sender: Sender::H1(sender), serial, driver })
    }

    /// Sends a request and reads the whole answer. `Err(Some(request))` gives back what was not begun to be sent: the other end
    /// had closed the idle connection.
    pub(crate) async fn ask(&mut self, request: Asking) -> Result<Whole, (NoAnswer, Option<Box<Asking>>)> {
        let all = async {
            let sent = match &mut self.sender {
                Sender::H1(sender) => {
                    // Not ready means closed: the last answer was read to its end.
                    if let Err(e) = sender.ready().await {
                        return Err((e.into(), Some(Box::new(request))));
                    }
                    sender.try_send_request(request).await
                }
                Sender::H2(sender) => {
                    if let Err(e) = sender.ready().await {
                        return Err((e.into(), Some(Box::new(request))));
                    }
                    sender.try_send_request(request).await
                }
            };
            let answer = sent.map_err(|mut e| {
                let unsent = e.take_message().map(Box::new);
                (e.into_error().into(), unsent)
            })?;
            whole(answer).await.map_err(|e| (e, None))
        };
        timeout(limits::ANSWER_TIMEOUT, all).await.unwrap_or(Err((NoAnswer::Timeout, None)))
    }
}

async fn whole(answer: Response<Incoming>) -> Result<Whole, NoAnswer> {
    let (parts, body) = answer.into_parts();
    let body = Limited::new(body, limits::ANSWER_BYTES_MAX).collect().await.map_err(|e| NoAnswer::Body(e.to_string()))?;
    Ok(Response::from_parts(parts, body.to_bytes()))
}

/// Makes the TLS handshake, as far as the client sees it: in TLS 1.3 a refusal of its certificate shows only at the first read.
pub(crate) async fn handshake(at: SocketAddr, config: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, NoAnswer> {
    let stream = dial(at).await?;
    let name = ServerName::IpAddress(at.ip().into());
    let made = timeout(limits::CONNECT_TIMEOUT, TlsConnector::from(config).connect(name, stream)).await;
    made.map_err(|_| NoAnswer::Timeout)?.map_err(NoAnswer::Connect)
}

pub(crate) async fn dial(at: SocketAddr) -> Result<TcpStream, NoAnswer> {
    let stream = timeout(limits::CONNECT_TIMEOUT, TcpStream::connect(at)).await;
    let stream = stream.map_err(|_| NoAnswer::Timeout)?.map_err(NoAnswer::Connect)?;
    stream.set_nodelay(true).map_err(NoAnswer::Connect)?;
    Ok(stream)
}

/// A request body made piece by piece.
#[derive(Debug)]
pub(crate) struct Upload {
    left: u64,
    /// Whether the length is told beforehand; otherwise HTTP/1.1 sends chunks.
    told: bool,
}

impl Upload {
    /// A body of this many bytes.
    pub(crate) const fn new(bytes: u64, told: bool) -> Self {
        Self { left: bytes, told: told || bytes == 0 }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = PIECE.get(..usize::try_from(self.left).unwrap_or(usize::MAX)).unwrap_or(&PIECE);
        self.left = self.left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(Bytes::from_static(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.told { SizeHint::with_exact(self.left) } else { SizeHint::default() }
    }
}

static PIECE: [u8; limits::UPLOAD_PIECE_BYTES] = [b'm'; limits::UPLOAD_PIECE_BYTES];
