//! Takes up new bundles while serving, from wherever they come.
//!
//! INVARIANT: what is in force is replaced whole or not at all, and never by a step back (INV-9, A75). A source that is away or
//! gives what is not acceptable changes nothing but the alarm; only the age of what is in force goes on (A80).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use portreeve_engine::bundle::Distrust;
use portreeve_engine::{Digest, SpiffeId, Timestamp};
use tokio::sync::{Mutex, MutexGuard, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::config::{Config, OnStale, Source};
use crate::files::read_bounded;
use crate::gate::Gate;
use crate::keep::Keep;
use crate::limits;
use crate::policy::{self, Asked, PolicyError, Standing, Taken};
use crate::report::Report;
use crate::serve::{Phase, leaving};
use crate::supply::{Offer, Supply};

/// Takes up bundles, one at a time.
#[derive(Debug)]
pub struct Renewal {
    config: Arc<Config>,
    gate: Arc<Gate>,
    report: Report,
    keep: Option<Keep>,
    turn: Mutex<Turn>,
    supply: Mutex<Option<Supply>>,
}

/// Whose turn it is to replace something. The holder may replace what the next bundle is held against.
#[derive(Debug)]
pub struct Turn {
    standing: Standing,
    /// What a server gave last, and whether it was taken up: the same again need not be looked at.
    looked_at: Option<(Digest, bool)>,
    /// What was refused for something that is none of its own.
    refused: Option<Refused>,
    /// What was told last of a failure, so that it is told once.
    told: Option<String>,
    stale: bool,
}

/// A bundle that was refused and may be taken up though it stays as it is. Its server was told that it was looked at and will not give it
/// again, so it is kept.
#[derive(Debug)]
struct Refused {
    bytes: Option<Bytes>,
    until: Until,
}

/// What has to be otherwise.
#[derive(Debug, PartialEq, Eq)]
enum Until {
    /// The file with the key that it must be signed with, of which this was read.
    Key(PathBuf, Option<Digest>),
    /// The time: ours is behind that of its issue.
    Time(Timestamp),
    /// Our identity, which is none of the service's.
    Identity(SpiffeId),
}

impl Until {
    /// What stands in the way of a bundle besides what it is itself.
    fn of(source: &Source, why: &PolicyError) -> Option<Self> {
        let key = source.key()?;
        match why {
            PolicyError::Distrusted { why: Distrust::OtherKey { .. } | Distrust::Signature, .. } | PolicyError::Key { .. } => {
                Some(Self::Key(key.to_owned(), digest(key)))
            }
            PolicyError::File { path, .. } if path == key => Some(Self::Key(key.to_owned(), digest(key))),
            PolicyError::Distrusted { why: Distrust::FromTheFuture { issued_at }, .. } => Some(Self::Time(*issued_at)),
            PolicyError::NotOurs { id, .. } => Some(Self::Identity(id.clone())),
            _ => None,
        }
    }

    fn is_otherwise(&self, gate: &Gate) -> bool {
        match self {
            Self::Key(path, read) => digest(path) != *read,
            Self::Time(issued_at) => gate.clock.now().plus_ms(limits::ISSUE_AHEAD_MS_MAX) >= *issued_at,
            Self::Identity(id) => gate.identity.load().id() != id,
        }
    }
}

fn digest(key: &Path) -> Option<Digest> {
    read_bounded(key, limits::KEY_FILE_BYTES_MAX).ok().map(|bytes| Digest::of(&bytes))
}

impl Renewal {
    /// Takes up what follows on what is in force with `standing`.
    #[must_use]
    pub fn new(config: Arc<Config>, gate: Arc<Gate>, report: Report, standing: Standing, supply: Option<Supply>) -> Self {
        let keep = config.bundle.keep();
        let turn = Turn { standing, looked_at: None, refused: None, told: None, stale: false };
        let mut supply = supply;
        if let Some(supply) = &mut supply {
            supply.looked_at();
        }
        Self { config, gate, report, keep, turn: Mutex::new(turn), supply: Mutex::new(supply) }
    }

    /// Nothing is taken up while the turn is held.
    pub async fn turn(&self) -> MutexGuard<'_, Turn> {
        self.turn.lock().await
    }

    /// The enforcer begins: with the last good bundle that was kept in the place of one that is not acceptable, or with one that is
    /// to be kept.
    pub async fn begun(&self, instead_of: Option<PolicyError>, archive: Option<Vec<u8>>) {
        let mut turn = self.turn.lock().await;
        if let Some(why) = instead_of {
            self.gate.metrics.bundle_alarm.set(1);
            let text = why.to_string();
            self.report.tell(&format!("the last good bundle that was kept is in force: {text}"));
            turn.told = Some(text);
            if !matches!(why, PolicyError::Fetch { .. }) {
                turn.looked_at = Some((Digest::ZERO, false));
            }
        }
        self.store(archive).await;
        self.look_at_age(&mut turn);
    }

    /// Takes up what is there now; of a server the whole bundle is asked for.
    ///
    /// # Errors
    /// See [`PolicyError`]; the one in force stays.
    pub async fn now(&self) -> Result<(), PolicyError> {
        if let Some(supply) = self.supply.lock().await.as_mut() {
            supply.forget();
        }
        self.turn.lock().await.looked_at = None;
        self.take_up().await
    }

    /// Asks the server, if there is one, again and again until the enforcer ends.
    pub async fn poll(&self, mut phase: watch::Receiver<Phase>) {
        loop {
            let Some(pause) = self.supply.lock().await.as_ref().map(Supply::pause) else { return };
            tokio::select! {
                () = leaving(&mut phase) => return,
                () = sleep(pause) => {}
            }
            tokio::select! {
                () = leaving(&mut phase) => return,
                // What is wrong was told.
                _ = self.take_up() => {}
            }
        }
    }

    /// Takes up the bundle.
    ///
    /// # Errors
    /// See [`PolicyError`]; the one in force stays.
    pub async fn take_up(&self) -> Result<(), PolicyError> {
        // A slow server holds up nothing but the next question to it.
        let mut supply = self.supply.lock().await;
        let offered = match supply.as_mut() {
            Some(supply) => supply.ask().await.map(Some),
            None => Ok(None),
        };
        let mut turn = self.turn.lock().await;
        let outcome = match offered {
            Ok(None) => self.take(&mut turn, None).await.map(|()| "ok"),
            Ok(Some(Offer::Bundle(bytes))) => self.offered(&mut turn, bytes).await,
            Ok(Some(Offer::Unchanged)) => Ok("unchanged"),
            Err(error) => Err(error),
        };
        if let Some(supply) = supply.as_mut().filter(|_| !matches!(outcome, Err(PolicyError::Fetch { .. }))) {
            supply.looked_at();
        }
        self.tell(&mut turn, &outcome);
        outcome.map(drop)
    }

    /// Takes up what was refused for something that is otherwise now: the key that it must be signed with, the time, our identity.
    pub async fn again(&self) {
        let mut turn = self.turn.lock().await;
        let Some(Refused { bytes, .. }) = turn.refused.take_if(|refused| refused.until.is_otherwise(&self.gate)) else { return };
        let digest = bytes.as_deref().map(Digest::of);
        let outcome = self.take(&mut turn, bytes).await.map(|()| "ok");
        turn.looked_at = digest.map(|digest| (digest, outcome.is_ok()));
        self.tell(&mut turn, &outcome);
    }

    /// Looks at what a server gave, unless it was looked at before.
    async fn offered(&self, turn: &mut Turn, bytes: Bytes) -> Result<&'static str, PolicyError> {
        let digest = Digest::of(&bytes);
        if turn.looked_at.is_some_and(|(before, _)| before == digest) {
            return Ok("unchanged");
        }
        turn.looked_at = Some((digest, false));
        self.take(turn, Some(bytes)).await?;
        turn.looked_at = Some((digest, true));
        Ok("ok")
    }

    /// Reads, verifies, compiles, and puts in force.
    async fn take(&self, turn: &mut Turn, offered: Option<Bytes>) -> Result<(), PolicyError> {
        let bytes = offered.clone();
        let taken = self.replace(turn, offered).await;
        let until = taken.as_ref().err().and_then(|why| Until::of(&self.config.bundle.source, why));
        turn.refused = until.map(|until| Refused { bytes, until });
        taken
    }

    async fn replace(&self, turn: &mut Turn, offered: Option<Bytes>) -> Result<(), PolicyError> {
        let (config, own, before) = (Arc::clone(&self.config), self.gate.identity.load().id().clone(), turn.standing.clone());
        let now = config.bundle.freshness.map(|_| self.gate.clock.now());
        let loaded = spawn_blocking(move || {
            let asked = Asked { service: &config.service, own: &own, before: &before, only: None, now };
            policy::load(&config.bundle.source, offered.as_deref(), &asked)
        });
        let loaded = loaded.await.unwrap_or_else(|_| Err(PolicyError::BrokeOff(self.config.bundle.source.to_string())));
        let Taken { authorizer, standing, archive } = loaded?;
        turn.standing = standing;
        self.store(archive).await;
        let revision = *authorizer.revision();
        let issue = turn.standing.as_ref().map(|(label, _)| self.gate.fresh.issue_of(label));
        let other = revision != *self.gate.policy.load().revision();
        if other || issue != self.gate.fresh.issue() {
            self.gate.log.reloaded(revision, issue.clone());
        }
        if other {
            self.gate.put_in_force(authorizer);
            self.gate.metrics.policies.renew();
            self.report.tell(&format!("the bundle {revision} is in force"));
        }
        self.gate.fresh.set(issue);
        self.look_at_age(turn);
        Ok(())
    }

    /// Keeps the archive. To be without it is a loss only at the next start, so what is good is in force all the same.
    async fn store(&self, archive: Option<Vec<u8>>) {
        let Some((keep, archive)) = self.keep.clone().zip(archive) else { return };
        let at = keep.path().display().to_string();
        let kept = spawn_blocking(move || keep.write(&archive)).await;
        let kept = kept.unwrap_or_else(|_| Err(std::io::ErrorKind::Interrupted.into()));
        self.gate.metrics.bundle_keep_alarm.set(i64::from(kept.is_err()));
        if let Err(why) = kept {
            self.report.tell(&format!("the bundle cannot be kept in `{at}`, so a start without its source will fail: {why}"));
        }
    }

    fn tell(&self, turn: &mut Turn, outcome: &Result<&'static str, PolicyError>) {
        let metrics = &self.gate.metrics;
        metrics.reloaded("bundle", outcome.as_ref().copied().unwrap_or("failed"));
        // What was refused and is still what the server gives is still refused.
        let refused = matches!(outcome, Ok("unchanged")) && turn.looked_at.is_some_and(|(_, taken)| !taken);
        match outcome {
            Ok(_) if refused => {}
            Ok(what) => {
                metrics.bundle_alarm.set(0);
                if *what == "ok" {
                    metrics.bundle_drift.set(0);
                }
                if turn.told.take().is_some() && *what == "unchanged" {
                    self.report.tell("the server of the bundle answers again");
                }
            }
            Err(error) => {
                metrics.bundle_alarm.set(1);
                let text = error.to_string();
                // A server that is down for hours is told of once.
                if turn.told.as_ref() != Some(&text) || !matches!(error, PolicyError::Fetch { .. }) {
                    self.report.tell(&format!("the new bundle is not taken up, the last good one stays in force: {text}"));
                }
                turn.told = Some(text);
            }
        }
    }

    /// Tells when the bundle in force becomes older than it may be, and has what runs asked about again if that denies.
    pub async fn age(&self) {
        let mut turn = self.turn.lock().await;
        self.look_at_age(&mut turn);
    }

    fn look_at_age(&self, turn: &mut Turn) {
        let stale = self.gate.fresh.is_stale(self.gate.clock.now());
        self.gate.metrics.bundle_stale.set(i64::from(stale));
        if std::mem::replace(&mut turn.stale, stale) == stale {
            return;
        }
        let Some(freshness) = self.config.bundle.freshness else { return };
        if stale {
            let comes = match freshness.on_stale {
                OnStale::Alarm => "it goes on deciding",
                OnStale::Deny => "nothing is let through",
            };
            let issued = self.gate.fresh.issue().map(|issue| issue.issued_at.to_string()).unwrap_or_default();
            self.report.tell(&format!("the bundle in force was issued at {issued} and is older than it may be: {comes}"));
            self.gate.ask_again();
        } else {
            self.report.tell("the bundle in force is fresh again");
        }
    }
}
