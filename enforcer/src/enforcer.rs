//! One enforcer: started whole or not at all, reloaded, drained.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use prometheus_client::metrics::counter::Counter;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::timeout;

use crate::admin::Pages;
use crate::clock::{Clock, NoRandom, RequestIds, instance_id};
use crate::config::{Config, ConfigError, UpstreamProtocol};
use crate::gate::Gate;
use crate::h1::upstream::Upstream;
use crate::inbound::{Connections, Handshakes, Inbound};
use crate::jwt::{JwtError, JwtIssuer, Verifier};
use crate::limits;
use crate::log::{DecisionLog, LogError, Opening};
use crate::metrics::Metrics;
use crate::outbound::Outbound;
use crate::policy::{self, PolicyError, Standing, Taken};
use crate::pool::{Dial, Pool};
use crate::reload::{ReloadError, Reloader, Stamps, identity_files, issuers, place, remotes};
use crate::report::Report;
use crate::self_check::SelfCheck;
use crate::serve::{Phase, accept_loop};
use crate::tls::{Current, Identity, IdentityError};

/// Why an enforcer cannot run.
#[derive(Debug, thiserror::Error)]
pub enum EnforcerError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The bundle.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The key sets of the token issuers.
    #[error(transparent)]
    Tokens(#[from] JwtError),
    /// A destination of `outbound` is not in the inventory.
    #[error("`outbound` names `{0}`, which is not a service of the bundle")]
    UnknownDestination(String),
    /// An address cannot be listened on.
    #[error("cannot listen on `{address}`: {why}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        why: std::io::Error,
    },
    /// The decision log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// No random numbers.
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// Threads or signals cannot be had.
    #[error("the system does not give what is needed: {0}")]
    System(std::io::Error),
}

/// A running enforcer. Dropping it cuts everything; [`Enforcer::shutdown`] drains.
#[derive(Debug)]
pub struct Enforcer {
    gate: Arc<Gate>,
    reloader: Arc<Reloader>,
    inbound: Side,
    outbound: Side,
    pages: Side,
    key_sets: Side,
    admin: Option<SocketAddr>,
    health: Option<SocketAddr>,
    drain: Duration,
}

/// Listeners that begin and end together.
#[derive(Debug)]
struct Side {
    phase: watch::Sender<Phase>,
    loops: JoinSet<()>,
    addresses: Vec<SocketAddr>,
}

impl Side {
    fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Running), loops: JoinSet::new(), addresses: Vec::new() }
    }

    /// Takes nothing new, gives what runs until `limit`, then cuts it.
    async fn end(&mut self, limit: Duration) {
        self.phase.send_replace(Phase::Draining);
        let all = async { while self.loops.join_next().await.is_some() {} };
        if timeout(limit, all).await.is_err() {
            self.phase.send_replace(Phase::Cut);
            let all = async { while self.loops.join_next().await.is_some() {} };
            // A connection that is cut ends at its next turn; one that does not is dropped with its task.
            let _ = timeout(CUT_LIMIT, all).await;
            self.loops.shutdown().await;
        }
    }
}

/// What was loaded before anything listens.
struct Loaded {
    identity: Identity,
    policy: portreeve_engine::Authorizer,
    standing: Standing,
    issuers: Vec<JwtIssuer>,
    tokens: Verifier,
}

fn load(config: &Config) -> Result<Loaded, EnforcerError> {
    let files = identity_files(config);
    let identity = Identity::new(files.pair()?, Arc::new(files.trust()?), config.tls.min_version)?;
    let Taken { authorizer: policy, standing } = policy::load(&place(config), &None, &config.service, identity.id())?;
    let issuers = issuers(config)?;
    let tokens = Verifier::load(&issuers)?;
    if let Some(unknown) = config.outbound.iter().find(|o| policy.service(&o.service).is_none()) {
        return Err(EnforcerError::UnknownDestination(unknown.service.to_string()));
    }
    Ok(Loaded { identity, policy, standing, issuers, tokens })
}

/// Checks that an enforcer could run with this configuration: bundle, identity and key sets. Opens no port and no log.
///
/// # Errors
/// What stands in the way.
pub fn check(config: &Config) -> Result<(), EnforcerError> {
    load(config).map(|_| ())
}

impl Enforcer {
    /// Starts an enforcer on the current tokio runtime. Ports may be 0; see [`Enforcer::inbound`].
    ///
    /// # Errors
    /// What stands in the way; nothing listens then.
    pub async fn start(config: Config, report: Report) -> Result<Self, EnforcerError> {
        let config = Arc::new(config);
        let seen = Stamps::of(&config);
        let theirs = Arc::clone(&config);
        let loaded = spawn_blocking(move || load(&theirs)).await;
        let Loaded { identity, policy, standing, issuers, tokens } =
            loaded.unwrap_or_else(|_| Err(PolicyError::BrokeOff(config.bundle.clone()).into()))?;
        let inbound = bind_all(config.inbound.iter().map(|i| i.listen)).await?;
        let outbound = bind_all(config.outbound.iter().map(|o| o.listen)).await?;
        let admin = bind_all(config.admin).await?;
        let health = bind_all(config.health).await?;

        let (clock, metrics) = (Arc::new(Clock::new()), Arc::new(Metrics::new()));
        let instance = instance_id(clock.now())?;
        let opening = Opening {
            config: config.log.clone(),
            enforcer: identity.id().clone(),
            instance: instance.clone(),
            revision: *policy.revision(),
            mode: config.mode,
            digest: config.digest,
        };
        let log = DecisionLog::open(opening, Arc::clone(&clock), Arc::clone(&metrics), report.clone())?;
        let self_check = config.self_check.map(|one_in| SelfCheck::new(one_in, Arc::clone(&metrics), report.clone()));
        let gate = Arc::new(Gate {
            service: Arc::clone(&config.service),
            mode: config.mode,
            policy: ArcSwap::from_pointee(policy),
            identity: Current::new(identity),
            tokens: ArcSwap::from_pointee(tokens),
            log,
            clock,
            metrics,
            ids: RequestIds::new(&instance),
            in_force: watch::Sender::new(()),
            epoch: AtomicU64::new(0),
            self_check,
        });
        // Before anything is accepted, so that the first requests do not meet an enforcer without keys.
        let key_sets = key_sets(&issuers, &gate, &report).await;
        let listeners = Listeners { config: &config, gate: &gate, report: &report };
        let (mut inbound, connections) = listeners.inbound(inbound);
        let outbound = listeners.outbound(outbound);
        let address = |bound: &[TcpListener]| bound.first().and_then(|l| l.local_addr().ok());
        let (admin_at, health_at) = (address(&admin), address(&health));
        let pages = listeners.pages(admin, health, connections, &inbound);
        let reloader = Arc::new(Reloader::new(Arc::clone(&config), Arc::clone(&gate), report, issuers, standing));
        inbound.loops.spawn(Arc::clone(&reloader).watch(seen, inbound.phase.subscribe()));
        Ok(Self { gate, reloader, inbound, outbound, pages, key_sets, admin: admin_at, health: health_at, drain: config.drain })
    }

    /// The inbound addresses, in the order of the configuration.
    #[must_use]
    pub fn inbound(&self) -> &[SocketAddr] {
        &self.inbound.addresses
    }

    /// The outbound addresses, in the order of the configuration.
    #[must_use]
    pub fn outbound(&self) -> &[SocketAddr] {
        &self.outbound.addresses
    }

    /// The admin address.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The probe address.
    #[must_use]
    pub fn health(&self) -> Option<SocketAddr> {
        self.health
    }

    /// The gate, with its metrics and what is in force.
    #[must_use]
    pub fn gate(&self) -> &Arc<Gate> {
        &self.gate
    }

    /// Takes up bundle, identity and key sets as they are on the disk now.
    ///
    /// # Errors
    /// What was not taken up; the last good one stays in force.
    pub async fn reload(&self) -> Result<(), ReloadError> {
        self.reloader.all().await
    }

    /// Takes nothing new, lets running requests end until the drain limit, cuts the rest, and closes the log.
    pub async fn shutdown(mut self) {
        self.inbound.end(self.drain).await;
        // The service may have needed its ways out until its last answer.
        self.outbound.end(OUTBOUND_DRAIN.min(self.drain)).await;
        self.pages.end(Duration::ZERO).await;
        self.key_sets.end(Duration::ZERO).await;
        let gate = Arc::clone(&self.gate);
        // Joining the writer blocks; a failure to do so leaves the log to its own end.
        let _ = spawn_blocking(move || gate.log.stop()).await;
    }
}

/// Begins to fetch key sets, and gives each a moment to come.
async fn key_sets(issuers: &[JwtIssuer], gate: &Gate, report: &Report) -> Side {
    let mut side = Side::new();
    for keys in remotes(issuers) {
        let (clock, metrics) = (Arc::clone(&gate.clock), Arc::clone(&gate.metrics));
        side.loops.spawn(Arc::clone(keys).run(clock, metrics, report.clone(), side.phase.subscribe()));
    }
    join_all(remotes(issuers).map(|keys| keys.tried())).await;
    side
}

/// What the listeners share.
struct Listeners<'a> {
    config: &'a Arc<Config>,
    gate: &'a Arc<Gate>,
    report: &'a Report,
}

impl Listeners<'_> {
    fn inbound(&self, bound: Vec<TcpListener>) -> (Side, Arc<Connections>) {
        let mut side = Side::new();
        let connections = Arc::new(Connections::default());
        for (listener, config) in bound.into_iter().zip(&self.config.inbound) {
            let http2 = config.upstream_protocol == UpstreamProtocol::Http2;
            let inbound = Arc::new(Inbound {
                gate: Arc::clone(self.gate),
                upstream: Pool::new(Dial::Service { address: config.upstream, http2 }, Arc::clone(self.gate)),
                direct: (!http2).then(|| Arc::new(Upstream::new(config.upstream))),
                connections: Arc::clone(&connections),
                handshakes: Handshakes::default(),
                phase: side.phase.subscribe(),
            });
            side.addresses.push(listener.local_addr().unwrap_or(config.listen));
            let (phase, refused) = (side.phase.subscribe(), self.gate.metrics.connections_refused.clone());
            let serve = move |stream, peer| Arc::clone(&inbound).serve(stream, peer);
            side.loops.spawn(accept_loop(listener, limits::CONNECTIONS_MAX, phase, refused, serve));
        }
        (side, connections)
    }

    fn outbound(&self, bound: Vec<TcpListener>) -> Side {
        let mut side = Side::new();
        for (listener, config) in bound.into_iter().zip(&self.config.outbound) {
            let dial = Dial::Peer { address: config.connect, service: Arc::clone(&config.service) };
            let outbound = Arc::new(Outbound {
                gate: Arc::clone(self.gate),
                service: Arc::clone(&config.service),
                pool: Pool::new(dial, Arc::clone(self.gate)),
                phase: side.phase.subscribe(),
                report: self.report.clone(),
            });
            side.addresses.push(listener.local_addr().unwrap_or(config.listen));
            let (phase, refused) = (side.phase.subscribe(), self.gate.metrics.connections_refused.clone());
            let serve = move |stream, peer| Arc::clone(&outbound).serve(stream, peer);
            side.loops.spawn(accept_loop(listener, limits::CONNECTIONS_MAX, phase, refused, serve));
        }
        side
    }

    fn pages(&self, admin: Vec<TcpListener>, health: Vec<TcpListener>, connections: Arc<Connections>, inbound: &Side) -> Side {
        let mut side = Side::new();
        let pages = Arc::new(Pages {
            gate: Arc::clone(self.gate),
            config: Arc::clone(self.config),
            connections,
            phase: inbound.phase.subscribe(),
            end: side.phase.subscribe(),
        });
        for (listener, all) in admin.into_iter().map(|l| (l, true)).chain(health.into_iter().map(|l| (l, false))) {
            let pages = Arc::clone(&pages);
            let serve = move |stream, peer| Arc::clone(&pages).serve(stream, peer, all);
            let phase = side.phase.subscribe();
            side.loops.spawn(accept_loop(listener, limits::ADMIN_CONNECTIONS_MAX, phase, Counter::default(), serve));
        }
        side
    }
}

async fn bind_all(addresses: impl IntoIterator<Item = SocketAddr>) -> Result<Vec<TcpListener>, EnforcerError> {
    let mut out = Vec::new();
    for address in addresses {
        out.push(TcpListener::bind(address).await.map_err(|why| EnforcerError::Bind { address, why })?);
    }
    Ok(out)
}

/// Runs an enforcer until `shutdown` completes, then drains. SIGHUP reloads.
///
/// # Errors
/// What stands in the way of starting.
pub async fn run(config: Config, report: Report, shutdown: impl Future<Output = ()>) -> Result<(), EnforcerError> {
    let mut hangup = signal(SignalKind::hangup()).map_err(EnforcerError::System)?;
    let enforcer = Enforcer::start(config, report.clone()).await?;
    let list = |addresses: &[SocketAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    report.tell(&format!(
        "`{}` is enforced under {}; inbound [{}], outbound [{}], admin [{}], health [{}]",
        enforcer.gate.service,
        enforcer.gate.policy.load().revision(),
        list(enforcer.inbound()),
        list(enforcer.outbound()),
        list(enforcer.admin().as_slice()),
        list(enforcer.health().as_slice()),
    ));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            () = shutdown.as_mut() => break,
            Some(()) = hangup.recv() => {
                // What could not be taken up was told already.
                let _ = enforcer.reload().await;
            }
        }
    }
    report.tell("draining");
    enforcer.shutdown().await;
    Ok(())
}

/// Runs the enforcer of a configuration file until SIGTERM or SIGINT; with `check_only`, only checks that it could.
///
/// # Errors
/// What stands in the way.
pub fn enforce(path: &Path, check_only: bool, report: &Report) -> Result<(), EnforcerError> {
    let config = Config::read(path)?;
    if check_only {
        return check(&config);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(EnforcerError::System)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(EnforcerError::System)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(EnforcerError::System)?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        run(config, report.clone(), shutdown).await
    })
}

/// How long the ways out of a service that has ended its work may take to end theirs.
const OUTBOUND_DRAIN: Duration = Duration::from_secs(2);
/// How long connections that are cut may take to notice.
const CUT_LIMIT: Duration = Duration::from_secs(2);
