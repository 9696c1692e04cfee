//! The admin and probe listeners, and the self-check.

use std::net::SocketAddr;
use std::num::NonZeroU32;

use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;

impl<'a> Reader<'a> {
    pub(super) fn listener(&mut self, node: &'a Node, loopback: bool) -> Option<SocketAddr> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let listen = self.address(&mut f, "listen");
        f.finish(&mut self.out);
        if let Some(address) = listen.filter(|a| loopback && !a.ip().is_loopback()) {
            let message = format!("`{address}` is not a loopback address; the admin listener tells too much for others (A38)");
            let place = node.get("listen").unwrap_or(node);
            self.fault(place, "not-loopback", &message, "listen on 127.0.0.1 or [::1]; use `health` for probes from elsewhere");
        }
        listen
    }

    pub(super) fn self_check(&mut self, node: &'a Node) -> Option<NonZeroU32> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        f.require("one_in", &mut self.out);
        let one_in: Option<NonZeroU32> = f.parse("one_in", &mut self.out);
        f.finish(&mut self.out);
        one_in
    }
}
