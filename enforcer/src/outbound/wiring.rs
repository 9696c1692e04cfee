//! From the configuration to what listens.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use portreeve_engine::Authorizer;
use portreeve_engine::outside::Host;
use serde_json::{Map, Value, json};
use tokio::sync::watch;
use tokio::time::sleep;

use super::desk::Desk;
use super::egress::Egress;
use super::exchange::{Exchange, Terms};
use super::limits::SWEEP;
use super::local::{Local, Proxy, To};
use super::send::Destination;
use crate::config::{self, Config, ExchangeAt};
use crate::fetch::{FetchError, Fetcher};
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
    let proxy = || config.proxy.iter().flat_map(|p| &p.services);
    let desks = exchanges(config).filter_map(|e| if let ExchangeAt::Service { service, .. } = &e.at { Some(service) } else { None });
    let mut named = config.outbound.iter().map(|o| &o.service).chain(proxy().map(|s| &s.service)).chain(desks);
    named.find(|name| policy.service(name).is_none_or(|s| s.is_outside())).cloned()
}

/// Whether every token service that is configured could be spoken to, as far as that can be told without asking it.
///
/// # Errors
/// The roots by which one is believed cannot be had.
pub fn token_services(config: &Config) -> Result<(), FetchError> {
    exchanges(config).try_for_each(|e| match &e.at {
        ExchangeAt::Url { roots, reach, .. } => Fetcher::new(roots.clone(), *reach, None).map(drop),
        ExchangeAt::Service { .. } => Ok(()),
    })
}

fn exchanges(config: &Config) -> impl Iterator<Item = &config::Exchange> {
    let proxy = config.proxy.iter().flat_map(|p| p.services.iter().map(|s| &s.way));
    let ways = config.outbound.iter().map(|o| &o.way).chain(proxy);
    config.exchange.iter().chain(ways.filter_map(|way| way.exchange.as_ref()?.as_ref()))
}

/// The gate, and the exchange of tokens for every way that does not say otherwise.
type Means<'a> = (&'a Arc<Gate>, Option<&'a config::Exchange>);

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
    ///
    /// # Errors
    /// The roots that a token service is believed by cannot be had.
    pub fn new(config: &Config, gate: &Arc<Gate>, report: &Report, phase: &watch::Sender<Phase>) -> Result<Self, FetchError> {
        let mut out = Self { locals: Vec::new(), destinations: Vec::new() };
        let local = |to| Arc::new(Local { gate: Arc::clone(gate), to, phase: phase.subscribe(), report: report.clone() });
        let means = (gate, config.exchange.as_ref());
        for way in &config.outbound {
            let destination = out.destination(&way.service, &way.way, means)?;
            out.locals.push(local(To::One(destination)));
        }
        if let Some(proxy) = &config.proxy {
            let built = Arc::new(out.proxy(proxy, means, phase)?);
            out.locals.extend(proxy.listen.map(|_| local(To::Named(Arc::clone(&built)))));
            out.locals.extend(proxy.transparent.iter().map(|_| local(To::Redirected(Arc::clone(&built)))));
        }
        Ok(out)
    }

    fn proxy(&mut self, proxy: &config::Proxy, means: Means<'_>, phase: &watch::Sender<Phase>) -> Result<Proxy, FetchError> {
        let (mut by_name, mut by_address) = (BTreeMap::new(), BTreeMap::new());
        for served in &proxy.services {
            let destination = self.destination(&served.service, &served.way, means)?;
            by_name.insert(served.service.to_ascii_lowercase().into(), Arc::clone(&destination));
            by_name.extend(served.hosts.iter().map(|h| (h.name().into(), Arc::clone(&destination))));
            let meant = served.addresses.iter().chain(&served.way.connect);
            by_address.extend(meant.map(|address| (*address, Arc::clone(&destination))));
        }
        let config::Egress { private, without_tls, times } = proxy.egress.clone();
        let egress = Egress::new(Arc::clone(means.0), private, without_tls, times, phase.subscribe());
        Ok(Proxy { by_name, by_address, egress: Arc::new(egress) })
    }

    fn destination(&mut self, service: &Arc<str>, way: &config::Way, (gate, all): Means<'_>) -> Result<Arc<Destination>, FetchError> {
        // Names of services have letters, digits, dots, dashes and underscores, which all may stand in a header.
        let host = HeaderValue::from_str(service).unwrap_or_else(|_| HeaderValue::from_static("localhost"));
        let exchange = way.exchange.as_ref().map_or(all, Option::as_ref).map(|e| exchange(e, service, gate)).transpose()?;
        let built = Destination::new((Arc::clone(service), host), (&way.connect, way.settings.clone()), exchange, gate);
        self.destinations.push(Arc::clone(&built));
        Ok(built)
    }
}

fn exchange(exchange: &config::Exchange, service: &str, gate: &Arc<Gate>) -> Result<Arc<Exchange>, FetchError> {
    let desk = match exchange.at.clone() {
        ExchangeAt::Url { url, roots, reach } => Desk::Url { fetcher: Fetcher::new(roots, reach, None)?, url },
        ExchangeAt::Service { service, connect, url } => Desk::Service { service, address: connect, url },
    };
    let audience = exchange.audience.clone().unwrap_or_else(|| service.into());
    Ok(Exchange::new(Terms { audience, scope: exchange.scope.clone(), client: exchange.client.clone() }, desk, Arc::clone(gate)))
}

/// What is configured, for the admin page.
#[must_use]
pub fn listed(config: &Config) -> Value {
    let one = |o: &config::Outbound| with(json!({"listen": o.listen, "service": *o.service}), way_listed(&o.way));
    config.outbound.iter().map(one).collect()
}

/// The proxy as it is configured; `null` where there is none.
#[must_use]
pub fn proxy_listed(config: &Config) -> Value {
    let Some(proxy) = &config.proxy else { return Value::Null };
    let texts = |list: &[Host]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    let one = |s: &config::Served| {
        let own = json!({"hosts": texts(&s.hosts), "addresses": s.addresses});
        (s.service.to_string(), with(own, way_listed(&s.way)))
    };
    json!({
        "listen": proxy.listen,
        "transparent": proxy.transparent,
        "services": proxy.services.iter().map(one).collect::<Map<_, _>>(),
        "egress": {
            "private": proxy.egress.private.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "without_tls": texts(&proxy.egress.without_tls),
            "timeouts_ms": {
                "resolve": ms(proxy.egress.times.resolve),
                "connect": ms(proxy.egress.times.connect),
                "request": ms(proxy.egress.times.request),
                "stream": ms(proxy.egress.times.stream),
                "whole": ms(proxy.egress.times.whole),
                "tunnel": ms(proxy.egress.times.tunnel),
            },
        },
    })
}

fn way_listed(way: &config::Way) -> Value {
    let s = &way.settings;
    json!({
        "connect": way.connect,
        "timeouts_ms": {
            "connect": ms(s.connect),
            "handshake": ms(s.handshake),
            "request": ms(s.request),
            "idle": ms(s.idle),
            "pending": ms(s.pending_wait),
            "stream": ms(s.stream),
            "whole": ms(s.whole),
            "tunnel": ms(s.tunnel),
            "ping": ms(s.ping),
            "pong": ms(s.pong),
        },
        "retries": s.retries,
        "health": s.health.as_ref().map(|h| json!({
            "path": h.path.as_ref().map(ToString::to_string),
            "interval_ms": ms(h.interval),
            "timeout_ms": ms(h.timeout),
            "down_after": h.down_after,
            "up_after": h.up_after,
        })),
        "limits": {"requests": s.requests, "pending": s.pending, "connections": s.connections},
        "exchange": way.exchange.as_ref().map(|e| exchange_listed(e.as_ref())),
    })
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// An exchange of tokens as it is configured; `"off"` where there is none. No secret is in it, only its file.
#[must_use]
pub fn exchange_listed(exchange: Option<&config::Exchange>) -> Value {
    let Some(exchange) = exchange else { return json!("off") };
    let at = match &exchange.at {
        ExchangeAt::Url { url, .. } => json!({"url": url.to_string()}),
        ExchangeAt::Service { service, connect, .. } => json!({"service": **service, "connect": connect}),
    };
    let client = exchange.client.as_ref().map(|c| json!({"id": *c.id, "secret": c.secret.display().to_string()}));
    with(at, json!({"audience": exchange.audience, "scope": exchange.scope, "client": client}))
}

fn with(mut one: Value, more: Value) -> Value {
    if let (Some(one), Value::Object(more)) = (one.as_object_mut(), more) {
        one.extend(more);
    }
    one
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
