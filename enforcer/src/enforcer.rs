//! One enforcer: started whole or not at all, reloaded, drained.
//!
//! What comes before it, while something is still missing, is [`crate::standby`].

use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::future::join_all;
use portreeve_engine::record::Mode;
use portreeve_engine::{Revision, Timestamp};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use crate::clock::{Clock, NoRandom, RequestIds};
use crate::config::{self, Config, ConfigError, HeadsTo, Source};
use crate::fetch::FetchError;
use crate::freshness::{self, Fresh};
use crate::gate::Gate;
use crate::inbound::{Connections, Inbound, Lane};
use crate::jwt::{JwtError, JwtIssuer, Verifier};
use crate::limits;
use crate::log::{DecisionLog, LogError, Opening};
use crate::outbound::{self, Outbound, Own};
use crate::policy::{self, Asked, Begun, PolicyError, Standing, Taken};
use crate::ports::{self, Listener};
use crate::quota::Quotas;
use crate::reload::{ReloadError, Reloader, issuers, remotes};
use crate::renewal::Renewal;
use crate::report::Report;
use crate::self_check::SelfCheck;
use crate::serve::Phase;
use crate::shares::Shares;
use crate::standby::{Ground, Standby, Watched};
use crate::supply::{Offer, Supply};
use crate::tcp::Behind;
use crate::tls::{Current, Identity, IdentityError};
use crate::trace::{Exporter, Traces};
use crate::witness::Witness;
use crate::workers::{self, Bounds, Crew, Workers};
use crate::workload::Following;

/// Why an enforcer cannot run.
#[derive(Debug, thiserror::Error)]
pub enum EnforcerError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No identity was given to us.
    #[error("there is no identity: {0}")]
    NoIdentity(String),
    /// The bundle.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The key sets of the token issuers.
    #[error(transparent)]
    Tokens(#[from] JwtError),
    /// A destination of `outbound` is not in the inventory.
    #[error("`outbound` or `proxy` names `{0}`, which is not a service of the mesh in the bundle")]
    UnknownDestination(String),
    /// The token service of an exchange cannot be believed.
    #[error("tokens cannot be exchanged: {0}")]
    Exchange(#[from] FetchError),
    /// An address cannot be listened on.
    #[error("cannot listen on `{address}`: {why}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The cause.
        why: std::io::Error,
    },
    /// The socket of the admin pages.
    #[error("cannot listen on the socket `{}`: {why}", path.display())]
    AdminSocket {
        /// Its path.
        path: PathBuf,
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

impl EnforcerError {
    /// Whether waiting can help: something outside of the configuration file can still become good.
    pub(crate) fn can_pass(&self) -> bool {
        match self {
            Self::Config(_) | Self::Bind { .. } | Self::AdminSocket { .. } | Self::Random(_) | Self::System(_) => false,
            Self::Identity(_)
            | Self::NoIdentity(_)
            | Self::Policy(_)
            | Self::Tokens(_)
            | Self::UnknownDestination(_)
            | Self::Exchange(_)
            | Self::Log(_) => true,
        }
    }
}

/// A running enforcer. Dropping it cuts everything; [`Enforcer::shutdown`] drains.
#[derive(Debug)]
pub struct Enforcer {
    gate: Arc<Gate>,
    reloader: Arc<Reloader>,
    inbound: Side,
    outbound: Side,
    workers: Workers,
    pages: Side,
    key_sets: Side,
    /// What tells others: spans and signed heads.
    telling: Side,
    admin: Option<SocketAddr>,
    health: Option<SocketAddr>,
    drain: Duration,
}

/// Listeners that begin and end together.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) phase: watch::Sender<Phase>,
    pub(crate) loops: JoinSet<()>,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Side {
    pub(crate) fn new() -> Self {
        Self { phase: watch::Sender::new(Phase::Running), loops: JoinSet::new(), addresses: Vec::new() }
    }

    /// Takes nothing new, gives what runs until `limit`, then cuts it.
    async fn end(&mut self, limit: impl Future<Output = ()>) {
        self.phase.send_replace(Phase::Draining);
        let all = async { while self.loops.join_next().await.is_some() {} };
        tokio::select! {
            () = all => return,
            () = limit => {}
        }
        self.phase.send_replace(Phase::Cut);
        let all = async { while self.loops.join_next().await.is_some() {} };
        // A connection that is cut ends at its next turn; one that does not is dropped with its task.
        let _ = tokio::time::timeout(limits::CUT_LIMIT, all).await;
        self.loops.shutdown().await;
    }
}

/// An open log, and who is handed its heads.
pub(crate) struct Log {
    log: DecisionLog,
    witnesses: Vec<Arc<Witness>>,
}

/// What was loaded before anything listens.
pub(crate) struct Loaded {
    identity: Identity,
    policy: portreeve_engine::Authorizer,
    standing: Standing,
    /// Why the policy is the last good one that was kept, where it is.
    instead_of: Option<PolicyError>,
    /// The archive to be kept.
    archive: Option<Vec<u8>>,
    issuers: Vec<JwtIssuer>,
    tokens: Verifier,
}

impl Loaded {
    /// Reads everything. `only` is the one revision of an unsigned bundle that may be taken up, where that is known; `offered` is
    /// what its server gave, if it has one.
    pub(crate) fn load(
        config: &Config,
        only: Option<&Revision>,
        offered: Result<Option<Bytes>, PolicyError>,
        now: Timestamp,
        following: Option<&Following>,
    ) -> Result<Self, EnforcerError> {
        let identity = match (&config.identity, following) {
            (config::Identity::Files(files), _) => Identity::new(files.pair()?, Arc::new(files.trust()?), config.tls.min_version)?,
            (config::Identity::WorkloadApi(api), following) => given(following, api)?,
        };
        let now = config.bundle.freshness.map(|_| now);
        let asked = Asked { service: &config.service, own: identity.id(), before: &None, only, now };
        let Begun { taken, instead_of } = policy::begin(&config.bundle.source, config.bundle.keep().as_ref(), offered, &asked)?;
        let Taken { authorizer: policy, standing, archive } = taken;
        let issuers = issuers(config)?;
        let tokens = Verifier::load(&issuers)?;
        outbound::token_services(config)?;
        if let Some(unknown) = outbound::unknown(config, &policy) {
            return Err(EnforcerError::UnknownDestination(unknown.to_string()));
        }
        Ok(Self { identity, policy, standing, instead_of, archive, issuers, tokens })
    }
}

/// The identity that an agent gave.
fn given(following: Option<&Following>, api: &config::WorkloadApi) -> Result<Identity, EnforcerError> {
    let latest = following.map(Following::latest).unwrap_or_default();
    match latest.identity {
        Some(identity) => Ok((*identity).clone()),
        None => {
            let why = latest.withdrawn.or(latest.failed);
            let why = why.unwrap_or_else(|| format!("the Workload API at `{}` has not answered yet", api.endpoint));
            Err(EnforcerError::NoIdentity(why))
        }
    }
}

/// Checks that an enforcer could run with this configuration: bundle, identity, key sets and log. Opens no port, and writes nothing.
///
/// # Errors
/// What stands in the way.
pub fn check(config: &Config) -> Result<(), EnforcerError> {
    let following = match &config.identity {
        config::Identity::Files(_) => None,
        config::Identity::WorkloadApi(api) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(EnforcerError::System)?;
            let (mut following, follow) = Following::begin(api.source(config.tls.min_version));
            runtime.block_on(async {
                tokio::select! {
                    () = follow => {}
                    () = following.first(limits::IDENTITY_WAIT) => {}
                }
            });
            Some(following)
        }
    };
    let offered = match &config.bundle.source {
        Source::Remote(remote) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(EnforcerError::System)?;
            runtime.block_on(Supply::new(remote).ask()).map(Offer::bundle)
        }
        _ => Ok(None),
    };
    crate::log::check(&config.log)?;
    match Loaded::load(config, None, offered, Clock::new().now(), following.as_ref())?.instead_of {
        // An enforcer could run; but what is there is not what it would run with.
        Some(why) => Err(why.into()),
        None => Ok(()),
    }
}

impl Enforcer {
    /// Starts an enforcer on the current tokio runtime, or not at all. Ports may be 0; see [`Enforcer::inbound`].
    ///
    /// # Errors
    /// What stands in the way; nothing listens then.
    pub async fn start(config: Config, report: Report) -> Result<Self, EnforcerError> {
        Standby::begin(config, report, Arc::new(Clock::new()))?.at_once().await
    }

    /// Opens the log, whose first line names what is in force. Nothing listens yet.
    pub(crate) fn log(ground: &Ground, loaded: &Loaded) -> Result<Log, EnforcerError> {
        let places = ground.config.log.heads.iter().flat_map(|heads| &heads.to);
        let witnesses: Vec<_> = places
            .filter_map(|to| match to {
                HeadsTo::Witness(to) => Some(Witness::new(to, &ground.metrics)),
                HeadsTo::File(_) => None,
            })
            .collect();
        let opening = Opening {
            config: config::Log { to: ground.config.log.to.of(&ground.instance), ..ground.config.log.clone() },
            enforcer: loaded.identity.id().clone(),
            instance: ground.instance.clone(),
            revision: *loaded.policy.revision(),
            bundle: loaded.standing.as_ref().map(|(label, _)| freshness::issue(label, ground.config.bundle.freshness.as_ref())),
            witnesses: witnesses.clone(),
            mode: ground.config.mode,
            digest: ground.config.digest,
        };
        let log = DecisionLog::open(opening, Arc::clone(&ground.clock), Arc::clone(&ground.metrics), ground.report.clone())?;
        Ok(Log { log, witnesses })
    }

    /// Puts everything together and opens the ports.
    pub(crate) async fn open(ground: Ground, loaded: Loaded, log: Log, watched: Watched) -> Result<Self, EnforcerError> {
        let Ground { config, report, clock, metrics, instance, readiness, connections, ports, inbound, pages, admin, health, following } =
            ground;
        let Loaded { identity, policy, standing, instead_of, archive, issuers, tokens } = loaded;
        let Log { log, witnesses } = log;
        let fresh = Fresh::new(config.bundle.freshness);
        fresh.set(standing.as_ref().map(|(label, _)| fresh.issue_of(label)));
        let (spans, exporter) = config.traces.as_ref().map(|traces| Exporter::new(traces, &config.service, &instance, &metrics)).unzip();
        let self_check = config.self_check.map(|one_in| SelfCheck::new(one_in, Arc::clone(&metrics), report.clone()));
        metrics.dry_run.set(i64::from(config.mode == Mode::DryRun));
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
            quotas: Quotas::default(),
            self_check,
            traces: Traces::new(spans)?,
            fresh,
            own: Own::new(report.clone()),
        });
        // Before anything is accepted, so that the first requests do not meet an enforcer without keys.
        let key_sets = key_sets(&issuers, &gate, &report).await;
        let listeners = Listeners { config: &config, gate: &gate, report: &report };
        let (bound_inbound, bound_outbound) = (ports.inbound.open()?, ports.outbound.open()?);
        let workers = Workers::start(config.workers).map_err(EnforcerError::System)?;
        let mut inbound = listeners.inbound(inbound, bound_inbound, &connections, &workers.crew());
        let outbound = listeners.outbound(bound_outbound, &workers.crew())?;
        readiness.opened(&gate);
        let told = report.clone();
        let policies = Arc::new(Renewal::new(Arc::clone(&config), Arc::clone(&gate), report.clone(), standing, watched.supply));
        policies.begun(instead_of, archive).await;
        let reloader = Arc::new(Reloader::new(Arc::clone(&config), Arc::clone(&gate), report, issuers, following, Arc::clone(&policies)));
        inbound.loops.spawn(Arc::clone(&reloader).watch(watched.seen, watched.lookout, inbound.phase.subscribe()));
        let phase = inbound.phase.subscribe();
        inbound.loops.spawn(async move { policies.poll(phase).await });
        let mut telling = Side::new();
        readiness.witnessed(&witnesses);
        for witness in witnesses {
            telling.loops.spawn(witness.run(told.clone(), telling.phase.subscribe()));
        }
        if let Some(exporter) = exporter {
            telling.loops.spawn(exporter.run(telling.phase.subscribe()));
        }
        Ok(Self { gate, reloader, inbound, outbound, workers, pages, key_sets, telling, admin, health, drain: config.drain })
    }

    /// The inbound addresses, in the order of the configuration.
    #[must_use]
    pub fn inbound(&self) -> &[SocketAddr] {
        &self.inbound.addresses
    }

    /// The outbound addresses, in the order of the configuration; those of the proxy come last.
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
    pub async fn shutdown(self) {
        self.shutdown_or(std::future::pending()).await;
    }

    /// As [`Enforcer::shutdown`]; when `at_once` completes, what still runs is cut without waiting further.
    pub async fn shutdown_or(mut self, at_once: impl Future<Output = ()>) {
        let mut at_once = std::pin::pin!(at_once);
        let mut hurry = false;
        self.inbound.end(limit(self.drain, at_once.as_mut(), &mut hurry)).await;
        // The service may have needed its ways out until its last answer.
        self.outbound.end(limit(limits::OUTBOUND_DRAIN.min(self.drain), at_once.as_mut(), &mut hurry)).await;
        self.pages.end(std::future::ready(())).await;
        self.key_sets.end(std::future::ready(())).await;
        self.workers.end().await;
        let gate = Arc::clone(&self.gate);
        // Joining the writer blocks; a failure to do so leaves the log to its own end.
        let _ = spawn_blocking(move || gate.log.stop()).await;
        self.telling.end(sleep(limits::LAST_WORDS)).await;
    }
}

/// Waits for `time`, or for `at_once`, which is not asked again after it completed.
async fn limit(time: Duration, at_once: Pin<&mut impl Future<Output = ()>>, hurry: &mut bool) {
    if !*hurry {
        tokio::select! {
            () = sleep(time) => {}
            () = at_once => *hurry = true,
        }
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
    fn inbound(&self, mut side: Side, bound: Vec<Listener>, connections: &Arc<Connections>, crew: &Crew) -> Side {
        for (listener, config) in bound.into_iter().zip(&self.config.inbound) {
            let inbound = Arc::new(Inbound {
                gate: Arc::clone(self.gate),
                lanes: (0..crew.len()).map(|_| Lane::new(self.gate, config)).collect(),
                lifetime: config.connection_lifetime,
                times: config.times,
                introduction: Arc::new(config.introduction.clone()),
                tcp: config.tcp.map(|tcp| Behind {
                    upstream: config.upstream,
                    port: tcp.port,
                    connect: config.times.connect,
                    idle: tcp.idle,
                }),
                connections: Arc::clone(connections),
                threshold: Arc::default(),
                shares: Shares::default(),
                phase: side.phase.subscribe(),
            });
            side.addresses.push(listener.local_addr().unwrap_or(config.listen));
            let (phase, refused) = (side.phase.subscribe(), self.gate.metrics.connections_refused.clone());
            side.loops.spawn(Arc::clone(&inbound).sweep());
            let threshold = Arc::clone(&inbound.threshold);
            let make_room = move |ip| threshold.make_room(ip);
            let serve = move |stream, peer, worker| Arc::clone(&inbound).serve(stream, peer, worker);
            let bounds = Bounds { all: limits::CONNECTIONS_MAX, address: limits::CONNECTIONS_PER_ADDRESS_MAX };
            side.loops.spawn(workers::accept_loop(listener, bounds, phase, refused, crew.clone(), make_room, serve));
        }
        side
    }

    fn outbound(&self, bound: Vec<Listener>, crew: &Crew) -> Result<Side, EnforcerError> {
        let mut side = Side::new();
        let Outbound { locals, destinations } = Outbound::new(self.config, self.gate, self.report, &side.phase)?;
        for (listener, local) in bound.into_iter().zip(locals) {
            side.addresses.extend(listener.local_addr());
            let (phase, refused) = (side.phase.subscribe(), self.gate.metrics.connections_refused.clone());
            let serve = move |stream, peer, _| Arc::clone(&local).serve(stream, peer);
            // All of them come from one address, the service's.
            let bounds = Bounds { all: limits::CONNECTIONS_MAX, address: limits::CONNECTIONS_MAX };
            // Nobody proves anything here, so nobody owes it.
            side.loops.spawn(workers::accept_loop(listener, bounds, phase, refused, crew.clone(), |_| false, serve));
        }
        for destination in destinations.iter().filter(|d| d.settings().health.is_some()) {
            side.loops.spawn(outbound::watch_over(Arc::clone(destination), side.phase.subscribe()));
        }
        side.loops.spawn(outbound::sweep(destinations, side.phase.subscribe()));
        Ok(side)
    }
}

/// Runs an enforcer until `shutdown` completes, then drains; what still runs when `at_once` completes is cut. SIGHUP reloads.
///
/// Where something outside of the configuration is missing or not acceptable, it waits for it: ports are taken and not opened, the
/// probes say `not ready`, and the operator is told.
///
/// # Errors
/// What stands in the way of starting and cannot pass.
pub async fn run(
    config: Config,
    report: Report,
    shutdown: impl Future<Output = ()>,
    at_once: impl Future<Output = ()>,
) -> Result<(), EnforcerError> {
    let mut hangup = signal(SignalKind::hangup()).map_err(EnforcerError::System)?;
    let mut shutdown = std::pin::pin!(shutdown);
    let admin = config.admin.clone();
    let standby = Standby::begin(config, report.clone(), Arc::new(Clock::new()))?;
    // A port of a page may have been 0.
    let admin = standby.admin().map(|at| at.to_string()).or(admin.map(|at| at.to_string()));
    let pages = [("admin", admin), ("health", standby.health().map(|at| at.to_string()))];
    let pages: Vec<_> = pages.iter().filter_map(|(name, at)| at.as_ref().map(|at| format!("{name} [{at}]"))).collect();
    if !pages.is_empty() {
        report.tell(&format!("pages are served: {}", pages.join(", ")));
    }
    let enforcer = tokio::select! {
        () = shutdown.as_mut() => {
            report.tell("stopped before it was ready");
            return Ok(());
        }
        started = standby.ready(&mut hangup) => started?,
    };
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
    serve(&enforcer, shutdown, &mut hangup).await;
    report.tell("draining");
    enforcer.shutdown_or(at_once).await;
    Ok(())
}

/// Reloads when asked to, until `shutdown` completes.
async fn serve(enforcer: &Enforcer, mut shutdown: Pin<&mut impl Future<Output = ()>>, hangup: &mut Signal) {
    loop {
        tokio::select! {
            () = shutdown.as_mut() => return,
            // A bundle server may take its time, the end does not wait for it.
            Some(()) = hangup.recv() => tokio::select! {
                () = shutdown.as_mut() => return,
                // What could not be taken up was told already.
                _ = enforcer.reload() => {}
            },
        }
    }
}

/// Runs the enforcer of a configuration file until SIGTERM or SIGINT; with `check_only`, only checks that it could.
///
/// The first of these signals drains, the second cuts what still runs.
///
/// # Errors
/// What stands in the way.
pub fn enforce(path: &Path, check_only: bool, report: &Report) -> Result<(), EnforcerError> {
    let config = Config::read(path)?;
    if check_only {
        return check(&config);
    }
    ports::take_descriptors();
    // What accepts, watches and tells is little work: traffic has threads of its own, and so has what blocks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(EnforcerError::System)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(EnforcerError::System)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(EnforcerError::System)?;
        let (asked, mut first) = watch::channel(0_u32);
        let mut second = first.clone();
        let count = async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                asked.send_modify(|n| *n += 1);
            }
        };
        // The sender lives as long as the two futures do.
        let shutdown = async move { drop(first.wait_for(|n| *n >= 1).await) };
        let at_once = async move { drop(second.wait_for(|n| *n >= 2).await) };
        tokio::select! {
            ended = run(config, report.clone(), shutdown, at_once) => ended,
            never = count => never,
        }
    })
}
