//! An enforcer before it can judge: its ports are taken and not opened, its pages are served, and nothing passes (INV-9).
//!
//! What can only be a fault of the configuration file ends the process, so that it is found at once. Everything else (bundle,
//! identity, key sets, log) can become good while it waits: it tells what is missing, raises the alarm of that part, and tries
//! again when something changed. No line is written to the decision log before there is a revision to write into it; in that
//! time there is no decision either, because the system refuses every connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use portreeve_engine::Revision;
use tokio::signal::unix::Signal;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::admin::{self, Pages};
use crate::clock::{Clock, instance_id};
use crate::config::{self, Config, Source};
use crate::enforcer::{Enforcer, EnforcerError, Loaded, Side};
use crate::inbound::Connections;
use crate::limits;
use crate::lookout::Lookout;
use crate::metrics::Metrics;
use crate::policy::{self, PolicyError};
use crate::ports::{Listener, Port};
use crate::readiness::{Lack, Readiness};
use crate::reload::Stamps;
use crate::report::Report;
use crate::serve::leaving;
use crate::supply::{Offer, Supply};
use crate::workload::Following;

/// What an enforcer stands on from its first moment.
pub(crate) struct Ground {
    pub(crate) config: Arc<Config>,
    pub(crate) report: Report,
    pub(crate) clock: Arc<Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) instance: String,
    pub(crate) readiness: Arc<Readiness>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) ports: Ports,
    pub(crate) inbound: Side,
    pub(crate) pages: Side,
    pub(crate) admin: Option<SocketAddr>,
    pub(crate) health: Option<SocketAddr>,
    /// The agent that gives us our identity, if one does.
    pub(crate) following: Option<Following>,
}

/// The ports for other services and for our own.
pub(crate) struct Ports {
    pub(crate) inbound: Taken,
    pub(crate) outbound: Taken,
}

/// Ports of one side, in the order of the configuration.
pub(crate) struct Taken(Vec<Port>);

impl Taken {
    fn take(addresses: impl IntoIterator<Item = SocketAddr>, shared: bool) -> Result<Self, EnforcerError> {
        let take = |address| Port::take(address, shared).map_err(|why| EnforcerError::Bind { address, why });
        addresses.into_iter().map(take).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn open(self) -> Result<Vec<Listener>, EnforcerError> {
        let open = |port: Port| {
            let address = port.address();
            port.open().map_err(|why| EnforcerError::Bind { address, why })
        };
        self.0.into_iter().map(open).collect()
    }
}

/// What is looked at for something new, before there is a gate and after.
pub(crate) struct Watched {
    pub(crate) lookout: Lookout,
    pub(crate) seen: Stamps,
    pub(crate) supply: Option<Supply>,
}

/// An enforcer that waits for what it needs.
pub struct Standby {
    ground: Ground,
    watched: Watched,
    /// What an unsigned bundle was when it was last looked at on purpose; nothing else is taken up (it would be an edit in place).
    looked_at: Option<Revision>,
}

impl Standby {
    /// Takes the ports and serves the pages.
    ///
    /// # Errors
    /// A port or the admin socket cannot be had.
    pub fn begin(config: Config, report: Report, clock: Arc<Clock>) -> Result<Self, EnforcerError> {
        let config = Arc::new(config);
        let shared = config.share_ports;
        let ports = Ports {
            inbound: Taken::take(config.inbound.iter().map(|i| i.listen), shared)?,
            outbound: Taken::take(crate::outbound::addresses(&config), shared)?,
        };
        let supply = match &config.bundle.source {
            Source::Remote(remote) => Some(Supply::new(remote)),
            _ => None,
        };
        let watched = Watched { lookout: Lookout::new(&config.bundle.source), seen: Stamps::of(&config), supply };
        let (readiness, connections) = (Arc::new(Readiness::default()), Arc::new(Connections::default()));
        let (inbound, metrics) = (Side::new(), Arc::new(Metrics::new()));
        let mut pages = Side::new();
        let content = Arc::new(Pages {
            config: Arc::clone(&config),
            clock: Arc::clone(&clock),
            metrics: Arc::clone(&metrics),
            readiness: Arc::clone(&readiness),
            connections: Arc::clone(&connections),
            phase: inbound.phase.subscribe(),
            end: pages.phase.subscribe(),
        });
        let following = follow(&config, &mut pages);
        let (admin, health) = admin::listen(&content, &mut pages)?;
        let instance = instance_id(clock.now())?;
        readiness.waits_for(Lack { short: "it is starting", full: "it is starting".to_owned() });
        let ground =
            Ground { config, report, clock, metrics, instance, readiness, connections, ports, inbound, pages, admin, health, following };
        Ok(Self { ground, watched, looked_at: None })
    }

    /// The inbound ports, taken and not open, in the order of the configuration.
    #[must_use]
    pub fn inbound(&self) -> Vec<SocketAddr> {
        self.ground.ports.inbound.0.iter().map(Port::address).collect()
    }

    /// Where the admin pages are, if they are on a port.
    #[must_use]
    pub fn admin(&self) -> Option<SocketAddr> {
        self.ground.admin
    }

    /// Where the probes are.
    #[must_use]
    pub fn health(&self) -> Option<SocketAddr> {
        self.ground.health
    }

    /// Starts with what is there now, or not at all.
    ///
    /// # Errors
    /// What is missing.
    pub async fn at_once(mut self) -> Result<Enforcer, EnforcerError> {
        if let Some(following) = &mut self.ground.following {
            following.first(limits::IDENTITY_WAIT).await;
        }
        let loaded = self.load(Trigger::Asked).await?;
        let log = Enforcer::log(&self.ground, &loaded)?;
        Enforcer::open(self.ground, loaded, log, self.watched).await
    }

    /// Waits until everything is there; `hangup` asks to look again at once.
    ///
    /// # Errors
    /// What waiting does not help against.
    pub async fn ready(mut self, hangup: &mut Signal) -> Result<Enforcer, EnforcerError> {
        let mut trigger = Trigger::Asked;
        loop {
            let opened = self.load(trigger).await.and_then(|loaded| Ok((Enforcer::log(&self.ground, &loaded)?, loaded)));
            let error = match opened {
                Ok((log, loaded)) => {
                    self.all_clear();
                    return Enforcer::open(self.ground, loaded, log, self.watched).await;
                }
                Err(error) if error.can_pass() => error,
                Err(error) => return Err(error),
            };
            self.alarm(&error);
            trigger = self.something_new(&error, hangup).await;
        }
    }

    async fn load(&mut self, trigger: Trigger) -> Result<Loaded, EnforcerError> {
        let offered = match &mut self.watched.supply {
            Some(supply) => supply.ask().await.map(Offer::bundle),
            None => Ok(None),
        };
        let (config, mut looked_at, now) = (Arc::clone(&self.ground.config), self.looked_at, self.ground.clock.now());
        let following = self.ground.following.clone();
        let loaded = spawn_blocking(move || {
            if trigger == Trigger::Asked {
                looked_at = policy::revision_on_disk(&config.bundle.source);
            }
            (Loaded::load(&config, looked_at.as_ref(), offered, now, following.as_ref()), looked_at)
        });
        let broke_off = || EnforcerError::Policy(PolicyError::BrokeOff(self.ground.config.bundle.source.to_string()));
        let (loaded, looked_at) = loaded.await.map_err(|_| broke_off())?;
        self.looked_at = looked_at;
        loaded
    }

    /// Tells the operator once for each cause, and the pages and metrics as long as it lasts.
    fn alarm(&self, error: &EnforcerError) {
        let metrics = &self.ground.metrics;
        self.all_clear();
        let short = match error {
            EnforcerError::Identity(_) | EnforcerError::NoIdentity(_) => {
                metrics.identity_alarm.set(1);
                "the identity cannot be taken up"
            }
            EnforcerError::Tokens(_) => "the key sets of the token issuers cannot be taken up",
            EnforcerError::Log(_) => {
                metrics.log_alarm.set(1);
                "the decision log cannot be opened"
            }
            _ => {
                metrics.bundle_alarm.set(1);
                "the bundle cannot be taken up"
            }
        };
        let lack = Lack { short, full: error.to_string() };
        let known = self.ground.readiness.lack().as_ref() == Some(&lack);
        self.ground.readiness.waits_for(lack);
        if !known {
            self.ground.report.tell(&format!("not ready, nothing is let in until this is mended: {error}"));
        }
    }

    fn all_clear(&self) {
        let metrics = &self.ground.metrics;
        for alarm in [&metrics.identity_alarm, &metrics.log_alarm, &metrics.bundle_alarm] {
            alarm.set(0);
        }
    }

    /// Waits until another attempt can have another result.
    async fn something_new(&mut self, error: &EnforcerError, hangup: &mut Signal) -> Trigger {
        // A bundle in a directory that was not acceptable stays so until it is replaced: to read it again would be to take up an
        // edit in place, perhaps half of one.
        let fixed = match error {
            EnforcerError::Policy(PolicyError::NoService { .. } | PolicyError::NotOurs { .. }) => false,
            EnforcerError::Policy(_) | EnforcerError::UnknownDestination(_) => {
                matches!(self.ground.config.bundle.source, Source::Directory(_))
            }
            _ => false,
        };
        let pause = self.watched.supply.as_ref().map_or(limits::STANDBY_RETRY, Supply::pause_without);
        let since = Instant::now();
        loop {
            tokio::select! {
                _ = hangup.recv() => return Trigger::Asked,
                () = told(&mut self.ground.following) => if !fixed {
                    return Trigger::Time;
                },
                () = sleep(limits::WATCH_INTERVAL) => {}
            }
            if self.watched.lookout.look().await {
                return Trigger::Asked;
            }
            let now = Stamps::of(&self.ground.config);
            if !fixed && (now != self.watched.seen || since.elapsed() >= pause) {
                self.watched.seen = now;
                return Trigger::Time;
            }
        }
    }
}

/// Follows the agent that gives us our identity, if one does, until the pages end: they end last.
fn follow(config: &Config, pages: &mut Side) -> Option<Following> {
    let config::Identity::WorkloadApi(api) = &config.identity else { return None };
    let (following, follow) = Following::begin(api.source(config.tls.min_version));
    let mut phase = pages.phase.subscribe();
    pages.loops.spawn(async move {
        tokio::select! {
            () = follow => {}
            () = leaving(&mut phase) => {}
        }
    });
    Some(following)
}

/// Completes when the agent told something new; never without one.
pub(crate) async fn told(following: &mut Option<Following>) {
    match following {
        Some(following) => following.changed().await,
        None => std::future::pending().await,
    }
}

/// Why an attempt is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trigger {
    /// Somebody wants it: the process starts, a signal came, the bundle was replaced.
    Asked,
    /// Other files changed, or time has passed.
    Time,
}
