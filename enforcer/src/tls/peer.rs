//! What is known of a peer after a completed handshake, and the two handshakes.

use std::sync::Arc;
use std::time::Duration;

use portreeve_engine::record::Tls;
use portreeve_engine::{Digest, Svid, Timestamp};
use rustls::{ClientConfig, CommonState, HandshakeKind, ProtocolVersion, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::trust::Role;
use super::{ExpectedPeer, Identity, Refusal, refusal_of};

/// A peer that proved its identity in a full handshake. The only ways to make one are in this file.
#[derive(Clone, Debug)]
pub struct VerifiedPeer {
    svid: Svid,
    tls: Tls,
    /// Kept so that the peer can be judged again.
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) role: Role,
    until: Timestamp,
    judged_under: Option<(Digest, bool)>,
}

impl VerifiedPeer {
    /// The client of a server connection that was made with [`Identity::server_config`].
    ///
    /// # Errors
    /// The handshake is not complete, was resumed, is not TLS 1.2 or 1.3, or the peer sent no SVID.
    pub fn of(connection: &rustls::ServerConnection) -> Result<Self, Refusal> {
        Self::of_state(connection, connection.is_handshaking(), Role::Client)
    }

    /// The server of a client connection that was made with [`Identity::client_config`].
    ///
    /// # Errors
    /// As [`VerifiedPeer::of`].
    pub fn of_server(connection: &rustls::ClientConnection) -> Result<Self, Refusal> {
        Self::of_state(connection, connection.is_handshaking(), Role::Server)
    }

    fn of_state(state: &CommonState, handshaking: bool, role: Role) -> Result<Self, Refusal> {
        if handshaking {
            return Err(Refusal::HandshakeFailed);
        }
        // A resumed session would bring an identity that nobody judged now (A13, A14). Our configurations offer none.
        match state.handshake_kind() {
            Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest) => {}
            _ => return Err(Refusal::HandshakeFailed),
        }
        let version = match state.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
            // Only where it was configured: our handshakes offer nothing else.
            Some(ProtocolVersion::TLSv1_2) => "TLSv1.2",
            _ => return Err(Refusal::ProtocolVersion),
        };
        let suite = state.negotiated_cipher_suite().ok_or(Refusal::HandshakeFailed)?;
        let chain = state.peer_certificates().ok_or(Refusal::NoCertificate)?;
        let leaf = chain.first().ok_or(Refusal::NoCertificate)?;
        let svid = Svid::from_der(leaf).map_err(|e| super::trust::refusal_of_svid(&e))?;
        let tls = Tls {
            version: version.to_owned(),
            suite: format!("{:?}", suite.suite()),
            serial: svid.serial.clone(),
            sha256: svid.sha256,
            not_after: svid.not_after,
            issuer: Some(svid.issuer.clone()).filter(|name| !name.is_empty()),
            key: Some(svid.key.clone()),
        };
        let until = earliest_end(svid.not_after, chain.iter().skip(1).map(AsRef::as_ref));
        let chain = chain.iter().map(|der| der.clone().into_owned()).collect();
        Ok(Self { svid, tls, chain, role, until, judged_under: None })
    }

    /// The roots and lists that it was judged by in its handshake ([`Identity::trust_generation`]).
    pub(crate) fn judged_under(&self) -> Option<(Digest, bool)> {
        self.judged_under
    }

    /// The earliest end of a certificate of its chain, or of ours that it was shown: a connection outlives neither.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.until
    }

    fn with(mut self, identity: &Identity) -> Self {
        self.judged_under = Some(identity.trust_generation());
        self.until = self.until.min(identity.not_after());
        self
    }

    /// What is kept of its leaf certificate.
    #[must_use]
    pub fn svid(&self) -> &Svid {
        &self.svid
    }

    /// Its certificates as it sent them, its own first.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// The TLS facts for the record.
    #[must_use]
    pub fn tls(&self) -> &Tls {
        &self.tls
    }
}

/// Takes the server's part in a handshake, within `limit`.
///
/// # Errors
/// Why the peer is refused.
pub async fn accept<S>(
    identity: &Identity,
    stream: S,
    limit: Duration,
) -> Result<(tokio_rustls::server::TlsStream<S>, VerifiedPeer), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    accept_as(identity, identity.server_config(), stream, limit).await
}

/// As [`accept`], for what is no HTTP: whatever protocol the client names, none is agreed on.
///
/// # Errors
/// As [`accept`].
pub async fn accept_raw<S>(
    identity: &Identity,
    stream: S,
    limit: Duration,
) -> Result<(tokio_rustls::server::TlsStream<S>, VerifiedPeer), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut config = (*identity.server_config()).clone();
    config.alpn_protocols.clear();
    accept_as(identity, Arc::new(config), stream, limit).await
}

async fn accept_as<S>(
    identity: &Identity,
    config: Arc<ServerConfig>,
    stream: S,
    limit: Duration,
) -> Result<(tokio_rustls::server::TlsStream<S>, VerifiedPeer), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    identity.in_force(crate::clock::wall())?;
    let handshake = TlsAcceptor::from(config).accept(stream);
    let stream = tokio::time::timeout(limit, handshake).await.map_err(|_| Refusal::HandshakeTimeout)?.map_err(|e| refusal_of(&e))?;
    let peer = VerifiedPeer::of(stream.get_ref().1)?.with(identity);
    Ok((stream, peer))
}

/// Takes the client's part in a handshake, within `limit`. No server name is sent: the peer is known by its SPIFFE ID.
///
/// In TLS 1.3 a client has finished before the server has judged its certificate: if the server refuses us, that shows at
/// the first read.
///
/// # Errors
/// Why the peer is refused, or why it refused us.
pub async fn connect<S>(
    identity: &Identity,
    expected: ExpectedPeer,
    stream: S,
    limit: Duration,
) -> Result<(tokio_rustls::client::TlsStream<S>, VerifiedPeer), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    connect_as(identity, identity.client_config(expected), stream, limit).await
}

/// As [`connect`], for a connection that speaks HTTP/1.1.
///
/// # Errors
/// As [`connect`].
pub async fn connect_http1<S>(
    identity: &Identity,
    expected: ExpectedPeer,
    stream: S,
    limit: Duration,
) -> Result<(tokio_rustls::client::TlsStream<S>, VerifiedPeer), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut config = (*identity.client_config(expected)).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    connect_as(identity, Arc::new(config), stream, limit).await
}

async fn connect_as<S>(
    identity: &Identity,
    config: Arc<ClientConfig>,
    stream: S,
    limit: Duration,
) -> Result<(tokio_rustls::client::TlsStream<S>, VerifiedPeer), Refusal>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    identity.in_force(crate::clock::wall())?;
    // An address is never sent as a server name; this one is nobody's (RFC 5737) and is not looked at.
    let name = ServerName::IpAddress(std::net::Ipv4Addr::new(192, 0, 2, 1).into());
    let handshake = TlsConnector::from(config).connect(name, stream);
    let stream = tokio::time::timeout(limit, handshake).await.map_err(|_| Refusal::HandshakeTimeout)?.map_err(|e| refusal_of(&e))?;
    let peer = VerifiedPeer::of_server(stream.get_ref().1)?.with(identity);
    Ok((stream, peer))
}

/// The earliest of `leaf` and the ends of the other certificates. One that cannot be read was refused before, or is ours.
pub(super) fn earliest_end<'a>(leaf: Timestamp, others: impl Iterator<Item = &'a [u8]>) -> Timestamp {
    others.filter_map(end_of).fold(leaf, Timestamp::min)
}

/// When a certificate ends.
pub(super) fn end_of(der: &[u8]) -> Option<Timestamp> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    Some(Timestamp::from_unix_ms(certificate.validity().not_after.timestamp().saturating_mul(1000)))
}
