//! The admin and probe listeners, and the self-check.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;

/// Where the admin pages are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAt {
    /// A port of this machine alone.
    Loopback(SocketAddr),
    /// A unix socket that only the user of this process can open.
    Socket(PathBuf),
}

impl fmt::Display for AdminAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(address) => write!(f, "{address}"),
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn admin(&mut self, node: &'a Node) -> Option<AdminAt> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let text = f.require_text("listen", &mut self.out);
        f.finish(&mut self.out);
        let text = text?;
        if let Some(path) = text.text.strip_prefix("unix://") {
            if path.is_empty() {
                self.fault(text.node, "invalid-value", "the socket has no path", "write `unix:///run/portreeve/admin.sock`");
                return None;
            }
            return Some(AdminAt::Socket(self.base.join(path)));
        }
        let Ok(address) = text.text.parse::<SocketAddr>() else {
            let message = format!("`{}` is neither an IP address with a port nor a socket", text.text);
            self.fault(text.node, "invalid-value", &message, "write `127.0.0.1:9901` or `unix:///run/portreeve/admin.sock`");
            return None;
        };
        if !address.ip().is_loopback() {
            let message = format!("`{address}` is not a loopback address; the admin listener tells too much for others (A38)");
            let help = "listen on 127.0.0.1, [::1] or `unix:///…`; use `health` for probes from elsewhere";
            self.fault(text.node, "not-loopback", &message, help);
        }
        self.listens_on(text.node, address);
        Some(AdminAt::Loopback(address))
    }

    pub(super) fn health(&mut self, node: &'a Node) -> Option<SocketAddr> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let listen = self.address(&mut f, "listen");
        f.finish(&mut self.out);
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
