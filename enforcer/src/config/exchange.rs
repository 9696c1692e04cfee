//! Where user tokens are exchanged for the next service (RFC 8693).

use std::net::SocketAddr;
use std::sync::Arc;

use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;
use crate::fetch::{Reach, Roots, Url};
use crate::outbound::Client;

/// An exchange of tokens.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Who exchanges.
    pub at: ExchangeAt,
    /// For whom the new token is; the called service's name where it is not said.
    pub audience: Option<Box<str>>,
    /// The scope that is asked for.
    pub scope: Option<Box<str>>,
    /// Our credentials there.
    pub client: Option<Client>,
}

/// Who exchanges tokens.
#[derive(Clone, Debug)]
pub enum ExchangeAt {
    /// A token service behind a URL.
    Url {
        /// The token endpoint.
        url: Url,
        /// Whose certificates are believed there.
        roots: Roots,
        /// How far it may be.
        reach: Reach,
    },
    /// A service of the mesh.
    Service {
        /// Its name in the inventory.
        service: Arc<str>,
        /// Where it listens.
        connect: SocketAddr,
        /// The token endpoint.
        url: Url,
    },
}

impl<'a> Reader<'a> {
    /// `exchange: off` says that there is none here, although there is one for everything.
    pub(super) fn exchange(&mut self, node: &'a Node) -> Option<Option<Exchange>> {
        if node.as_str() == Some("off") {
            return Some(None);
        }
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let at = if f.key("service").is_some() { self.exchange_service(&mut f) } else { self.exchange_url(&mut f) };
        let audience = f.text("audience", &mut self.out).map(|t| t.text.into());
        let scope = f.text("scope", &mut self.out).map(|t| t.text.into());
        let client = f.take("client").map(|n| self.client(n));
        f.finish(&mut self.out);
        Some(Some(Exchange { at: at?, audience, scope, client: client.map_or(Some(None), |c| c.map(Some))? }))
    }

    fn exchange_url(&mut self, f: &mut Fields<'a>) -> Option<ExchangeAt> {
        let roots = f.text("ca", &mut self.out).map_or(Roots::System, |t| Roots::File(self.base.join(t.text)));
        let private = self.word(f, "private_addresses", &[("true", true), ("false", false)], false)?;
        let reach = Reach { private_addresses: private, loopback_http: private };
        let url = f.require_text("url", &mut self.out)?;
        Some(ExchangeAt::Url { url: self.url(url.node, url.text, reach)?, roots, reach })
    }

    fn exchange_service(&mut self, f: &mut Fields<'a>) -> Option<ExchangeAt> {
        let service = f.require_text("service", &mut self.out)?;
        let connect = self.address(f, "connect")?;
        let path = f.text("path", &mut self.out);
        let (node, text) = path.map_or((service.node, "/token"), |p| (p.node, p.text));
        // The name is only said in `Host`; the peer is known by its identity.
        let url = if text.starts_with('/') { format!("https://{}{text}", service.text) } else { text.to_owned() };
        let reach = Reach { private_addresses: true, loopback_http: false };
        Some(ExchangeAt::Service { service: Arc::from(service.text), connect, url: self.url(node, &url, reach)? })
    }

    fn client(&mut self, node: &'a Node) -> Option<Client> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let id = f.require_text("id", &mut self.out).map(|t| t.text.into());
        let secret = f.require_text("secret", &mut self.out).map(|t| self.base.join(t.text));
        f.finish(&mut self.out);
        Some(Client { id: id?, secret: secret? })
    }
}
