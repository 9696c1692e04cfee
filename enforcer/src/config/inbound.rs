//! Listeners for other services.

use std::net::SocketAddr;
use std::time::Duration;

use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;
use crate::limits;

/// One mTLS listener.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The service.
    pub upstream: SocketAddr,
    /// What the service speaks.
    pub upstream_protocol: UpstreamProtocol,
    /// After this time a connection takes no further request.
    pub connection_lifetime: Duration,
}

/// What a service speaks, in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

impl<'a> Reader<'a> {
    pub(super) fn inbound(&mut self, node: &'a Node) -> Option<Inbound> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let listen = self.address(&mut f, "listen");
        let upstream = self.address(&mut f, "upstream");
        let protocols = [("http1", UpstreamProtocol::Http1), ("http2", UpstreamProtocol::Http2)];
        let upstream_protocol = self.word(&mut f, "upstream_protocol", &protocols, UpstreamProtocol::Http1);
        self.word(&mut f, "protocol", &[("http", Some(())), ("tcp", None)], Some(()))?.or_else(|| {
            self.fault(
                node.get("protocol").unwrap_or(node),
                "unsupported",
                "`protocol: tcp` is not supported yet",
                "only `protocol: http` is served",
            );
            f.take("port");
            None
        })?;
        let lifetime = self.duration(&mut f, "connection_lifetime", limits::CONNECTION_LIFETIME, limits::CONNECTION_LIFETIME_MAX);
        f.finish(&mut self.out);
        Some(Inbound { listen: listen?, upstream: upstream?, upstream_protocol: upstream_protocol?, connection_lifetime: lifetime? })
    }
}
