//! Takes up new bundles, identities and key sets while serving.
//!
//! INVARIANT: what is in force is replaced whole or not at all (INV-9). A bundle is taken up when its directory or symlink is
//! replaced, or on demand, never from edits in place; identities and key sets, when their files change.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Instant;

use portreeve_engine::{SpiffeId, Timestamp};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::config::{self, Config, KeySet};
use crate::gate::Gate;
use crate::jwt::{Jwks, JwtError, JwtIssuer, RemoteKeys, Verifier};
use crate::limits;
use crate::lookout::Lookout;
use crate::policy::{self, PolicyError};
use crate::renewal::Renewal;
use crate::report::Report;
use crate::serve::{Phase, leaving};
use crate::standby::told;
use crate::tls::{Identity, IdentityError, Standing as IdentityStanding};
use crate::workload::Following;

/// Why something new was not taken up; the last good one stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The bundle.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The agent that gives us our identity.
    #[error("{0}")]
    Given(String),
    /// The key sets.
    #[error(transparent)]
    Tokens(#[from] JwtError),
}

/// Takes up what is new.
#[derive(Debug)]
pub struct Reloader {
    config: Arc<Config>,
    gate: Arc<Gate>,
    report: Report,
    /// Whose tokens are believed; those with fetched keys keep them through every reload.
    issuers: Vec<JwtIssuer>,
    /// The agent that gives us our identity, if one does.
    following: Option<Following>,
    /// What was last told of an identity that was not taken up: it is tried again often, and told once.
    told: StdMutex<String>,
    /// Takes up bundles; what else is replaced is replaced in the same turns.
    policies: Arc<Renewal>,
}

impl Reloader {
    /// Takes up changes of what `config` names, for `gate`.
    #[must_use]
    pub fn new(
        config: Arc<Config>,
        gate: Arc<Gate>,
        report: Report,
        issuers: Vec<JwtIssuer>,
        following: Option<Following>,
        policies: Arc<Renewal>,
    ) -> Self {
        Self { config, gate, report, issuers, following, told: StdMutex::default(), policies }
    }

    /// Takes up bundle, identity and key sets as they are now.
    ///
    /// # Errors
    /// The first that could not be taken up; the others were, if they could.
    pub async fn all(&self) -> Result<(), ReloadError> {
        // The identity first: a new bundle may know only the new one.
        let identity = self.identity().await;
        let bundle = self.bundle().await.map_err(ReloadError::from);
        let tokens = self.tokens().await.map_err(ReloadError::from);
        remotes(&self.issuers).for_each(|keys| keys.refresh());
        identity.and(bundle).and(tokens)
    }

    /// Takes up the bundle.
    ///
    /// # Errors
    /// See [`PolicyError`]; the one in force stays.
    pub async fn bundle(&self) -> Result<(), PolicyError> {
        self.policies.now().await
    }

    /// Takes up the identity: of files the pair, and roots and lists, each if it is good; of an agent what it told last.
    ///
    /// # Errors
    /// See [`IdentityError`]; what was not good stays as it was.
    pub async fn identity(&self) -> Result<(), ReloadError> {
        let _turn = self.policies.turn().await;
        let present = self.gate.identity.load_full();
        match &self.config.identity {
            config::Identity::Files(files) => {
                let files = files.clone();
                let read = spawn_blocking(move || (files.pair(), files.trust())).await;
                let (pair, trust) = read.map_err(|_| IdentityError::Tls("reading the files broke off".to_owned()))?;
                let (new, error) = present.renewed(pair, trust);
                self.take(new, error.map(ReloadError::from))
            }
            config::Identity::WorkloadApi(_) => {
                let latest = self.following.as_ref().map(Following::latest).unwrap_or_default();
                let failed = latest.failed.map(ReloadError::Given);
                match (latest.identity, latest.withdrawn) {
                    (Some(given), _) if self.belongs(given.id()).is_ok() => self.take((*given).clone(), failed),
                    // Another identity in the place of ours means that ours is no longer given.
                    (Some(given), _) => self.take(present.withdrawn(), self.belongs(given.id()).err().map(ReloadError::from)),
                    (None, Some(why)) => self.take(present.withdrawn(), Some(ReloadError::Given(why))),
                    (None, None) => self.take((*present).clone(), failed),
                }
            }
        }
    }

    fn belongs(&self, id: &SpiffeId) -> Result<(), PolicyError> {
        policy::belongs(&self.gate.policy.load(), &self.config.bundle.source, &self.config.service, id)
    }

    /// Takes a new identity into use, if it is that of the service and differs from the one in use.
    fn take(&self, new: Identity, error: Option<ReloadError>) -> Result<(), ReloadError> {
        let metrics = &self.gate.metrics;
        let error = match self.belongs(new.id()) {
            Err(stranger) => Some(stranger.into()),
            Ok(()) => {
                if new.generation() != self.gate.identity.load().generation() {
                    let told = match new.standing(self.gate.clock.now()) {
                        IdentityStanding::Withdrawn => "the identity was taken away: nobody is let in, and nobody is called".to_owned(),
                        _ => format!("a new identity is in use, valid until {}", new.not_after()),
                    };
                    self.gate.identity.replace(new);
                    self.gate.epoch.fetch_add(1, Ordering::AcqRel);
                    self.report.tell(&told);
                }
                error
            }
        };
        metrics.identity_alarm.set(i64::from(error.is_some()));
        metrics.reloaded("identity", if error.is_some() { "failed" } else { "ok" });
        match error {
            None => {
                self.told.lock().unwrap_or_else(PoisonError::into_inner).clear();
                Ok(())
            }
            Some(error) => {
                let text = format!("no new identity, or not all of it, is taken up: {error}");
                let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
                if *told != text {
                    self.report.tell(&text);
                    *told = text;
                }
                Err(error)
            }
        }
    }

    /// Takes up the key sets of the token issuers.
    ///
    /// # Errors
    /// See [`JwtError`]; those in force stay.
    pub async fn tokens(&self) -> Result<(), JwtError> {
        let _turn = self.policies.turn().await;
        let loaded = Verifier::load(&self.issuers);
        self.gate.metrics.reloaded("jwks", if loaded.is_ok() { "ok" } else { "failed" });
        match loaded {
            Ok(tokens) => {
                self.gate.tokens.store(Arc::new(tokens));
                Ok(())
            }
            Err(error) => {
                self.report.tell(&format!("the new key sets are not taken up, the last good ones stay in use: {error}"));
                Err(error)
            }
        }
    }

    /// Looks for changes until the enforcer ends. `seen` is what the files were like before they were read for the first time.
    pub async fn watch(self: Arc<Self>, mut seen: Stamps, mut lookout: Lookout, mut phase: watch::Receiver<Phase>) {
        let mut drift_at = Instant::now();
        let mut due = Due::default();
        // The first look only remembers.
        self.gate.clock.look();
        let mut following = self.following.clone();
        loop {
            tokio::select! {
                () = leaving(&mut phase) => return,
                // What was told before the first turn is taken up by it too: nothing is taken up twice.
                () = told(&mut following) => {
                    let _ = self.identity().await;
                    continue;
                }
                () = sleep(limits::WATCH_INTERVAL) => {}
            }
            let now = Stamps::of(&self.config);
            // What is wrong is told where it is found; here there is nobody to tell.
            if now.identity != seen.identity || due.is_due(&self.gate) {
                let _ = self.identity().await;
            }
            if now.tokens != seen.tokens {
                let _ = self.tokens().await;
            }
            if lookout.look().await {
                let _ = self.bundle().await;
            }
            self.policies.age().await;
            self.policies.again().await;
            self.clock();
            seen = now;
            if drift_at.elapsed() >= limits::DRIFT_INTERVAL {
                drift_at = Instant::now();
                self.drift().await;
            }
        }
    }

    /// Tells when the system's clock was set: everything that has an end depends on it.
    fn clock(&self) {
        let Some(step) = self.gate.clock.look() else { return };
        self.gate.metrics.clock_stepped(step.as_str());
        let held = self.gate.clock.held();
        let until = if held >= limits::CLOCK_HELD_LONG {
            format!(
                "; ours stays ahead of it for {} s: if it was wrong before and not now, start the enforcer again, or what ends by it is over",
                held.as_secs()
            )
        } else {
            String::new()
        };
        self.report.tell(&format!("the system's clock was set {step}{until}"));
        // Timers do not see it.
        self.gate.identity.look_again();
    }

    /// Compares what lies on the disk with what is in force.
    async fn drift(&self) {
        let source = self.config.bundle.source.clone();
        if source.path().is_none() {
            return;
        }
        let on_disk = spawn_blocking(move || policy::revision_on_disk(&source)).await.ok().flatten();
        let drift = i64::from(on_disk != Some(*self.gate.policy.load().revision()));
        if self.gate.metrics.bundle_drift.set(drift) == 0 && drift == 1 {
            self.report.tell(&PolicyError::Edited(self.config.bundle.source.to_string()).to_string());
        }
    }
}

/// When the identity's files are read although they look the same: once half of the identity's life is over, as a file system
/// may hide a change, and from time to time while the last attempt failed, as what stood in the way need not be in the files.
#[derive(Debug, Default)]
struct Due {
    half_life: Option<Timestamp>,
    tried: Option<Instant>,
}

impl Due {
    fn is_due(&mut self, gate: &Gate) -> bool {
        let half_life = gate.identity.load().half_life();
        let over = half_life <= gate.clock.now() && self.half_life != Some(half_life);
        let again = gate.metrics.identity_alarm.get() == 1 && self.tried.is_none_or(|at| at.elapsed() >= limits::IDENTITY_RETRY);
        if over {
            self.half_life = Some(half_life);
        }
        if over || again {
            self.tried = Some(Instant::now());
        }
        over || again
    }
}

/// The issuers as the token part wants them; nothing is fetched yet.
///
/// # Errors
/// The roots for a fetched key set cannot be had.
pub fn issuers(config: &Config) -> Result<Vec<JwtIssuer>, JwtError> {
    let issuer = |i: &config::Issuer| {
        let jwks = match &i.jwks {
            KeySet::File(path) => Jwks::File(path.clone()),
            KeySet::Remote(from) => {
                let keys = RemoteKeys::new(&i.issuer, from.clone());
                Jwks::Remote(keys.map_err(|why| JwtError::Fetch { issuer: i.issuer.clone(), why })?)
            }
        };
        Ok(JwtIssuer { issuer: i.issuer.clone(), jwks, audiences: i.audiences.clone() })
    };
    config.jwt.iter().map(issuer).collect()
}

/// The key sets that are fetched.
pub fn remotes(issuers: &[JwtIssuer]) -> impl Iterator<Item = &Arc<RemoteKeys>> {
    issuers.iter().filter_map(|issuer| match &issuer.jwks {
        Jwks::Remote(keys) => Some(keys),
        Jwks::File(_) => None,
    })
}

/// What the files looked like, to see that they changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamps {
    identity: Vec<Option<FileStamp>>,
    tokens: Vec<Option<FileStamp>>,
}

type FileStamp = (u64, u64, i64, i64, u64);

impl Stamps {
    /// The files of `config` now.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let files = config.identity.files();
        let files = files.map(|f| [&f.cert, &f.key].into_iter().chain(f.trust.values()).chain(&f.crl));
        Self {
            identity: files.into_iter().flatten().map(|path| file(path)).collect(),
            tokens: config.jwt.iter().filter_map(|issuer| issuer.jwks.file()).map(|path| file(path)).collect(),
        }
    }
}

fn file(path: &Path) -> Option<FileStamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
}
