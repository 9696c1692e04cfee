//! From the configuration to what listens.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use http::HeaderValue;
use portreeve_engine::Authorizer;
use tokio::sync::watch;
use tokio::time::sleep;

use super::egress::Egress;
use super::limits::SWEEP;
use super::local::{Local, Proxy, To};
use super::send::Destination;
use crate::config::{self, Config};
use crate::gate::Gate;
use crate::report::Report;
use crate::serve::{Phase, leaving};

/// The addresses of the outbound side: those of `outbound`, the proxy's, its transparent ones.
#[must_use]
pub fn addresses(config: &Config) -> Vec<SocketAddr> {
    let own = config.outbound.iter().map(|o| o.listen);
    let proxy = config.proxy.iter().flat_map(|p| p.listen.into_iter().chain(p.transparent.iter().copied()));
    own.chain(proxy).collect()
}

/// A destination that is not a service of the mesh in the inventory.
#[must_use]
pub fn unknown(config: &Config, policy: &Authorizer) -> Option<Arc<str>> {
    let proxy = config.proxy.iter().flat_map(|p| p.services.iter().map(|s| &s.service));
    let mut named = config.outbound.iter().map(|o| &o.service).chain(proxy);
    named.find(|name| policy.service(name).is_none_or(|s| s.is_outside())).cloned()
}

/// The outbound side, ready to be served.
#[derive(Debug)]
pub struct Outbound {
    /// One for each of [`addresses`], in their order.
    pub locals: Vec<Arc<Local>>,
    /// All destinations, to be looked after.
    pub destinations: Vec<Arc<Destination>>,
}

impl Outbound {
    /// Builds the outbound side of a configuration.
    #[must_use]
    pub fn new(config: &Config, gate: &Arc<Gate>, report: &Report, phase: &watch::Sender<Phase>) -> Self {
        let mut out = Self { locals: Vec::new(), destinations: Vec::new() };
        let local = |to| Arc::new(Local { gate: Arc::clone(gate), to, phase: phase.subscribe(), report: report.clone() });
        for way in &config.outbound {
            let destination = out.destination(&way.service, &way.way, gate);
            out.locals.push(local(To::One(destination)));
        }
        if let Some(proxy) = &config.proxy {
            let built = Arc::new(out.proxy(proxy, gate));
            out.locals.extend(proxy.listen.map(|_| local(To::Named(Arc::clone(&built)))));
        }
        out
    }

    fn proxy(&mut self, proxy: &config::Proxy, gate: &Arc<Gate>) -> Proxy {
        let mut by_name = BTreeMap::new();
        for served in &proxy.services {
            let destination = self.destination(&served.service, &served.way, gate);
            by_name.insert(served.service.to_ascii_lowercase().into(), Arc::clone(&destination));
            by_name.extend(served.hosts.iter().map(|h| (h.name().into(), Arc::clone(&destination))));
        }
        let config::Egress { private, without_tls } = proxy.egress.clone();
        Proxy { by_name, egress: Arc::new(Egress::new(Arc::clone(gate), private, without_tls)) }
    }

    fn destination(&mut self, service: &Arc<str>, way: &config::Way, gate: &Arc<Gate>) -> Arc<Destination> {
        // Names of services have letters, digits, dots, dashes and underscores, which all may stand in a header.
        let host = HeaderValue::from_str(service).unwrap_or_else(|_| HeaderValue::from_static("localhost"));
        let built = Destination::new((Arc::clone(service), host), &way.connect, way.settings.clone(), gate);
        self.destinations.push(Arc::clone(&built));
        built
    }
}

/// Looks after destinations until the enforcer ends.
pub async fn sweep(destinations: Vec<Arc<Destination>>, mut phase: watch::Receiver<Phase>) {
    loop {
        tokio::select! {
            () = leaving(&mut phase) => return,
            () = sleep(SWEEP) => destinations.iter().for_each(|d| d.sweep()),
        }
    }
}
