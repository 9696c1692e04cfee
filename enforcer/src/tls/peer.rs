//! What is known of a peer after a completed handshake, and the two handshakes.

use std::time::Duration;

use portreeve_engine::Svid;
use portreeve_engine::record::Tls;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{ExpectedPeer, Identity, Refusal};

/// A peer that proved its identity in a full handshake. The only ways to make one are in this file.
#[derive(Clone, Debug)]
pub struct VerifiedPeer {
    svid: Svid,
    tls: Tls,
}

impl VerifiedPeer {
    /// The client of a server connection that was made with [`Identity::server_config`].
    ///
    /// # Errors
    /// The handshake is not complete, was resumed, is not TLS 1.3, or the peer sent no SVID.
    pub fn of(connection: &rustls::ServerConnection) -> Result<Self, Refusal> {
        let _ = connection;
        todo!()
    }

    /// The server of a client connection that was made with [`Identity::client_config`].
    ///
    /// # Errors
    /// As [`VerifiedPeer::of`].
    pub fn of_server(connection: &rustls::ClientConnection) -> Result<Self, Refusal> {
        let _ = connection;
        todo!()
    }

    /// What is kept of its leaf certificate.
    #[must_use]
    pub fn svid(&self) -> &Svid {
        &self.svid
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
    let _ = (identity, stream, limit);
    todo!()
}

/// Takes the client's part in a handshake, within `limit`. No server name is sent: the peer is known by its SPIFFE ID.
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
    let _ = (identity, expected, stream, limit);
    todo!()
}
