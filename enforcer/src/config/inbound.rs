//! Listeners for other services.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use portreeve_engine::yaml::{Fields, Node};

use super::reader::{Reader, is_reached_by};
use crate::introduction::Introduction;
use crate::limits;
use crate::times::Times;

/// One mTLS listener.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The service.
    pub upstream: SocketAddr,
    /// What the service speaks.
    pub upstream_protocol: UpstreamProtocol,
    /// How callers are introduced to the service.
    pub introduction: Introduction,
    /// After this time a connection takes no further request.
    pub connection_lifetime: Duration,
    /// How long callers and service are waited for.
    pub times: Times,
    /// Where no HTTP is spoken: how connections are known and how long they may be idle.
    pub tcp: Option<Tcp>,
}

/// A listener that passes bytes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// The port by which the inventory knows the service.
    pub port: u16,
    /// How long nothing may move.
    pub idle: Duration,
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
        let at = f.key("upstream").unwrap_or(node);
        let upstream = self.address(&mut f, "upstream");
        // An address of the machine would do so, too; those that are written the same are the slip that is made.
        if let (Some(listen), Some(upstream)) = (listen, upstream)
            && is_reached_by(upstream, listen)
        {
            let message = format!("`{upstream}` is this listener itself: nothing would reach the service");
            self.fault(at, "invalid-value", &message, "name the address of the service");
        }
        let protocols = [("http1", UpstreamProtocol::Http1), ("http2", UpstreamProtocol::Http2)];
        let is_tcp = self.word(&mut f, "protocol", &[("http", false), ("tcp", true)], false)?;
        let tcp = if is_tcp { Some(self.tcp(&mut f)?) } else { None };
        let upstream_protocol = if is_tcp {
            Some(UpstreamProtocol::Http1)
        } else {
            self.word(&mut f, "upstream_protocol", &protocols, UpstreamProtocol::Http1)
        };
        let lifetime = if is_tcp {
            Some(limits::CONNECTION_LIFETIME)
        } else {
            self.duration(&mut f, "connection_lifetime", limits::CONNECTION_LIFETIME, limits::CONNECTION_LIFETIME_MAX)
        };
        let times = f.take("timeouts");
        let times = self.times(times, is_tcp);
        let introduction = if is_tcp { Introduction::default() } else { self.introduction(&mut f) };
        if node.get("paths").is_some() {
            let node = f.key("paths").unwrap_or(node);
            self.fault(node, "unknown-field", "how paths are read is not said here", "write `paths: …` on the service, in the inventory");
            f.take("paths");
        }
        f.finish(&mut self.out);
        Some(Inbound {
            listen: listen?,
            upstream: upstream?,
            upstream_protocol: upstream_protocol?,
            introduction,
            connection_lifetime: lifetime?,
            times: times?,
            tcp,
        })
    }

    fn tcp(&mut self, f: &mut Fields<'a>) -> Option<Tcp> {
        f.require("port", &mut self.out);
        let port: Option<NonZeroU16> = f.parse("port", &mut self.out);
        let idle = self.duration(f, "idle", limits::TCP_IDLE, limits::TCP_IDLE_MAX);
        Some(Tcp { port: port?.get(), idle: idle? })
    }
}
