//! Local ways to other services.

use std::net::SocketAddr;
use std::sync::Arc;

use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;

/// One local listener that leads to another service.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Where to listen; loopback only.
    pub listen: SocketAddr,
    /// The other service's name in the inventory; its identities are what is expected of the peer.
    pub service: Arc<str>,
    /// The other service's enforcer.
    pub connect: SocketAddr,
}

impl<'a> Reader<'a> {
    pub(super) fn outbound(&mut self, node: &'a Node) -> Option<Outbound> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let listen = self.address(&mut f, "listen");
        let service = f.require_text("service", &mut self.out).map(|t| Arc::from(t.text));
        let connect = self.address(&mut f, "connect");
        f.finish(&mut self.out);
        if let Some(listen) = listen.filter(|a| !a.ip().is_loopback()) {
            // Whoever reaches this listener speaks with our identity.
            self.fault(
                node.get("listen").unwrap_or(node),
                "not-loopback",
                &format!("`{listen}` is not a loopback address, so others could speak in the name of this service"),
                "listen on 127.0.0.1 or [::1]",
            );
        }
        Some(Outbound { listen: listen?, service: service?, connect: connect? })
    }
}
