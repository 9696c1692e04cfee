//! Local ways to other services.

use std::net::SocketAddr;
use std::sync::Arc;

use portreeve_engine::yaml::{Fields, Node};

use super::exchange::Exchange;
use super::reader::Reader;
use crate::outbound::{Settings, limits};

/// One local listener that leads to another service.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Where to listen; loopback only.
    pub listen: SocketAddr,
    /// The other service's name in the inventory; its identities are what is expected of the peer.
    pub service: Arc<str>,
    /// The way there.
    pub way: Way,
}

/// The way to a service: its enforcers, and how they are called.
#[derive(Clone, Debug)]
pub struct Way {
    /// The other service's enforcers.
    pub connect: Vec<SocketAddr>,
    /// Times, retries and bounds.
    pub settings: Settings,
    /// The exchange of user tokens, where this way says so itself: one, or none.
    pub exchange: Option<Option<Exchange>>,
}

impl<'a> Reader<'a> {
    pub(super) fn outbound(&mut self, node: &'a Node) -> Option<Outbound> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let listen = self.address(&mut f, "listen");
        let service = f.require_text("service", &mut self.out).map(|t| Arc::from(t.text));
        let way = self.way(&mut f);
        f.finish(&mut self.out);
        self.only_local(node, "listen", listen);
        Some(Outbound { listen: listen?, service: service?, way: way? })
    }

    /// Whoever reaches a listener of the outbound side speaks with our identity.
    pub(super) fn only_local(&mut self, node: &'a Node, field: &str, listen: Option<SocketAddr>) {
        if let Some(listen) = listen.filter(|a| !a.ip().is_loopback()) {
            self.fault(
                node.get(field).unwrap_or(node),
                "not-loopback",
                &format!("`{listen}` is not a loopback address, so others could speak in the name of this service"),
                "listen on 127.0.0.1 or [::1]",
            );
        }
    }

    /// The fields of a way: `connect`, `timeouts`, `retries`, `limits`, `health`, `exchange`.
    pub(super) fn way(&mut self, f: &mut Fields<'a>) -> Option<Way> {
        let connect = self.addresses(f, "connect");
        if f.key("connect").is_none() {
            f.require("connect", &mut self.out);
        }
        if connect.len() > limits::ENDPOINTS_MAX {
            let message = format!("{} endpoints are more than the {} that are balanced", connect.len(), limits::ENDPOINTS_MAX);
            self.fault(f.node(), "invalid-value", &message, "put a balancer of connections between");
        }
        let mut settings = Settings::default();
        let times = f.take("timeouts").map_or(Some(()), |n| self.timeouts(n, &mut settings));
        let bounds = f.take("limits").map_or(Some(()), |n| self.bounds(n, &mut settings));
        let retries = self.count(f, "retries", 0, limits::RETRIES_MAX as usize).map_or(Some(()), |found| {
            settings.retries = u32::try_from(found?).ok()?;
            Some(())
        });
        let health = f.take("health").map(|n| self.health_check(n));
        let exchange = f.take("exchange").map(|n| self.exchange(n));
        settings.health = health.map_or(Some(None), |h| h.map(Some))?;
        times.and(bounds).and(retries)?;
        let exchange = exchange.map_or(Some(None), |e| e.map(Some))?;
        (!connect.is_empty()).then_some(Way { connect, settings, exchange })
    }

    fn bounds(&mut self, node: &'a Node, settings: &mut Settings) -> Option<()> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let mut bound = |name, least, default: usize| self.count(&mut f, name, least, limits::PLACES_MAX).unwrap_or(Some(default));
        let requests = bound("requests", 1, settings.requests);
        let pending = bound("pending", 0, settings.pending);
        let connections = bound("connections", 1, settings.connections);
        f.finish(&mut self.out);
        (settings.requests, settings.pending, settings.connections) = (requests?, pending?, connections?);
        Some(())
    }

    /// One address or a list of them, none twice.
    pub(super) fn addresses(&mut self, f: &mut Fields<'a>, name: &'static str) -> Vec<SocketAddr> {
        let mut out = Vec::new();
        for text in f.some_texts(name, &mut self.out) {
            match text.text.parse::<SocketAddr>() {
                Ok(address) if out.contains(&address) => {
                    self.fault(text.node, "invalid-value", &format!("`{address}` stands here twice"), "take one out");
                }
                Ok(address) => out.push(address),
                Err(_) => {
                    let message = format!("`{}` is not an IP address with a port", text.text);
                    self.fault(text.node, "invalid-value", &message, "write `127.0.0.1:8080` or `[::1]:8080`; names are not looked up");
                }
            }
        }
        out
    }
}
