//! Where tokens are exchanged: a token service behind a URL, or one that is a service of the mesh.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, header};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::limits::{EXCHANGE_BYTES_MAX, EXCHANGE_TIMEOUT};
use crate::fetch::{Ask, FetchError, Fetched, Fetcher, Url};
use crate::gate::Gate;
use crate::tls::{self, ExpectedPeer, Refusal};

/// Where tokens are exchanged.
#[derive(Debug)]
pub enum Desk {
    /// Behind a URL.
    Url {
        /// The client.
        fetcher: Fetcher,
        /// The token endpoint.
        url: Url,
    },
    /// A service of the mesh: mutual TLS with the peer that the inventory names, so that the token service knows who asks.
    Service {
        /// The service.
        service: Arc<str>,
        /// Where it listens.
        address: SocketAddr,
        /// The token endpoint; its host is only said.
        url: Url,
    },
}

impl Desk {
    /// Sends a form, and reads the answer whole.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn post(&self, gate: &Gate, form: Bytes, credentials: Option<HeaderValue>) -> Result<Fetched, FetchError> {
        let (Self::Url { url, .. } | Self::Service { url, .. }) = self;
        let ask = Ask::post(url, "application/x-www-form-urlencoded", form, EXCHANGE_BYTES_MAX, EXCHANGE_TIMEOUT)
            .with(header::ACCEPT, HeaderValue::from_static("application/json"));
        let ask = match credentials {
            Some(credentials) => ask.with(header::AUTHORIZATION, credentials),
            None => ask,
        };
        match self {
            Self::Url { fetcher, .. } => fetcher.fetch(ask).await,
            Self::Service { service, address, .. } => ask.over(to_peer(gate, service, *address)).await,
        }
    }
}

/// A connection to a service of the mesh that speaks HTTP/1.1.
async fn to_peer(gate: &Gate, service: &str, address: SocketAddr) -> Result<TlsStream<TcpStream>, FetchError> {
    let odd = |kind: std::io::ErrorKind| FetchError::Handshake(kind.into());
    let expected = {
        let policy = gate.policy.load();
        let service = policy.service(service).filter(|s| !s.is_outside()).ok_or_else(|| odd(std::io::ErrorKind::NotFound))?;
        ExpectedPeer { ids: service.identities.clone(), patterns: service.patterns.clone() }
    };
    let identity = gate.identity.load_full();
    let refused = |why: Refusal| FetchError::Handshake(std::io::Error::other(why.to_string()));
    identity.in_force(gate.clock.now()).map_err(refused)?;
    let stream = TcpStream::connect(address).await.map_err(|why| FetchError::Connect { address, why })?;
    stream.set_nodelay(true).map_err(|why| FetchError::Connect { address, why })?;
    tls::connect_http1(&identity, expected, stream, EXCHANGE_TIMEOUT).await.map(|(stream, _)| stream).map_err(refused)
}
