//! The key set of an issuer, fetched and kept.
//!
//! No request ever waits for a fetch and none makes one: a token whose key is not known is not believed, and at most wakes the
//! one task that fetches (A66h). Providers publish keys before they sign with them, and the schedule is minutes; who does not
//! loses the tokens of the moment between. INVARIANT: keys come from the last good answer, which is believed for a bounded time
//! after it came (A07); a bad answer never takes its place; there is no other source of keys.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use portreeve_engine::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::jwks::{self, Key};
use super::limits::{
    FETCH_TIMEOUT, FIRST_TIMEOUT, JWKS_BYTES_MAX, KID_BYTES_MAX, REFRESH_MAX, REFRESH_MIN, RETRY_ASKED_MAX, RETRY_MAX, RETRY_MIN,
    UNKNOWN_KEY_LIFE, UNKNOWN_KEY_PAUSE, UNKNOWN_KEYS_MAX,
};
use crate::clock::Clock;
use crate::fetch::{Ask, Backoff, FetchError, Fetched, Fetcher, Reach, Roots, Url, jittered};
use crate::metrics::Metrics;
use crate::report::Report;
use crate::serve::{Phase, leaving};

/// Where a key set is fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// The URL of the JWK set.
    pub url: Url,
    /// Whose certificates are believed there.
    pub roots: Roots,
    /// How far the fetch may go.
    pub reach: Reach,
    /// How often it is fetched, where the provider does not say.
    pub refresh: Duration,
    /// How long the last good set is believed.
    pub max_stale: Duration,
}

/// A fetched key set.
#[derive(Debug)]
pub struct RemoteKeys {
    issuer: String,
    from: Remote,
    fetcher: Fetcher,
    held: ArcSwapOption<Held>,
    unknown: Mutex<Unknown>,
    wanted: Notify,
    /// Whether the first attempt is over.
    tried: watch::Sender<bool>,
}

#[derive(Debug)]
struct Held {
    keys: BTreeMap<String, Arc<Key>>,
    etag: Option<String>,
    at: Timestamp,
    /// The same by the clock that only runs on: the other may be set back, and stands still then.
    since: Instant,
}

/// What is missing to check a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// The set has no key of that id.
    Key,
    /// No set came yet.
    Set,
    /// The set came too long ago.
    Fresh,
}

/// What callers asked for that is not there.
#[derive(Debug, Default)]
struct Unknown {
    /// When the last fetch began.
    began: Option<Instant>,
    asked: HashMap<Box<str>, Instant>,
}

/// What came of a fetch.
enum Came {
    Keys { keys: BTreeMap<String, Arc<Key>>, etag: Option<String>, fresh: Option<Duration> },
    Unchanged { fresh: Option<Duration> },
}

/// Why no keys came, and when to come back, if the provider said so.
struct Failed {
    why: String,
    after: Option<Duration>,
}

impl From<FetchError> for Failed {
    fn from(error: FetchError) -> Self {
        Self { why: error.to_string(), after: None }
    }
}

impl RemoteKeys {
    /// The keys of `issuer`, none so far.
    ///
    /// # Errors
    /// The roots cannot be had.
    pub fn new(issuer: &str, from: Remote) -> Result<Arc<Self>, FetchError> {
        let fetcher = Fetcher::new(from.roots.clone(), from.reach, None)?;
        Ok(Arc::new(Self {
            issuer: issuer.to_owned(),
            from,
            fetcher,
            held: ArcSwapOption::empty(),
            unknown: Mutex::default(),
            wanted: Notify::new(),
            tried: watch::Sender::new(false),
        }))
    }

    /// The key of that id, as far as it is known at `now`.
    pub(super) fn key(&self, kid: &str, now: Timestamp) -> Result<Arc<Key>, Missing> {
        let held = self.held.load();
        // While no set is there the task is at it anyway, at its own pace.
        let held = held.as_ref().ok_or(Missing::Set)?;
        let age = now.unix_ms().saturating_sub(held.at.unix_ms());
        if u128::try_from(age).is_ok_and(|age| age > self.from.max_stale.as_millis()) || held.since.elapsed() > self.from.max_stale {
            self.want(None, Instant::now());
            return Err(Missing::Fresh);
        }
        if let Some(key) = held.keys.get(kid) {
            return Ok(Arc::clone(key));
        }
        self.want(Some(kid), Instant::now());
        Err(Missing::Key)
    }

    /// Wakes the task, unless it was awake a moment ago or the provider is known not to know this key.
    fn want(&self, kid: Option<&str>, now: Instant) {
        if kid.is_some_and(|kid| kid.len() > KID_BYTES_MAX) {
            return;
        }
        let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
        let within = |then: Instant, time| now.saturating_duration_since(then) < time;
        if unknown.began.is_some_and(|began| within(began, UNKNOWN_KEY_PAUSE))
            || kid.is_some_and(|kid| unknown.asked.get(kid).is_some_and(|asked| within(*asked, UNKNOWN_KEY_LIFE)))
        {
            return;
        }
        if let Some(kid) = kid {
            if unknown.asked.len() >= UNKNOWN_KEYS_MAX {
                unknown.asked.retain(|_, asked| within(*asked, UNKNOWN_KEY_LIFE));
            }
            // One that finds no place is asked for again after the pause, which bounds it as well.
            if unknown.asked.len() < UNKNOWN_KEYS_MAX {
                unknown.asked.insert(kid.into(), now);
            }
        }
        unknown.began = Some(now);
        drop(unknown);
        self.wanted.notify_one();
    }

    /// Fetches now, as the operator asks.
    pub fn refresh(&self) {
        self.wanted.notify_one();
    }

    /// Completes when the first attempt is over, or would take too long for a start.
    pub async fn tried(&self) {
        let mut tried = self.tried.subscribe();
        // The sender lives as long as this does.
        let _ = timeout(FIRST_TIMEOUT, tried.wait_for(|tried| *tried)).await;
    }

    /// Fetches on schedule and when woken, until the enforcer ends.
    pub async fn run(self: Arc<Self>, clock: Arc<Clock>, metrics: Arc<Metrics>, report: Report, mut phase: watch::Receiver<Phase>) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        let mut failing = false;
        loop {
            self.unknown.lock().unwrap_or_else(PoisonError::into_inner).began = Some(Instant::now());
            let came = tokio::select! {
                () = leaving(&mut phase) => return,
                came = self.fetch() => came,
            };
            let wait = match came {
                Ok(came) => {
                    backoff.worked();
                    metrics.reloaded("jwks", "ok");
                    if std::mem::take(&mut failing) {
                        metrics.key_sets_failing.dec();
                        report.tell(&format!("the key set of `{}` is fetched again", self.issuer));
                    }
                    self.take_up(came, clock.now())
                }
                Err(Failed { why, after }) => {
                    metrics.reloaded("jwks", "failed");
                    // What was looked for in vain was not looked for.
                    self.unknown.lock().unwrap_or_else(PoisonError::into_inner).asked.clear();
                    if !std::mem::replace(&mut failing, true) {
                        metrics.key_sets_failing.inc();
                        report.tell(&self.complaint(&why));
                    }
                    backoff.failed().max(after.unwrap_or_default().min(RETRY_ASKED_MAX))
                }
            };
            self.tried.send_replace(true);
            tokio::select! {
                () = leaving(&mut phase) => return,
                () = sleep(wait) => {}
                () = self.wanted.notified() => {}
            }
        }
    }

    fn complaint(&self, why: &str) -> String {
        let (issuer, url) = (&self.issuer, &self.from.url);
        if self.held.load().is_none() {
            return format!("the key set of `{issuer}` cannot be fetched from `{url}`, so none of its tokens is believed: {why}");
        }
        let most = self.from.max_stale.as_secs();
        format!("the key set of `{issuer}` cannot be fetched from `{url}`; the last good one is believed for at most {most} s: {why}")
    }

    async fn fetch(&self) -> Result<Came, Failed> {
        let etag = self.held.load().as_ref().and_then(|held| held.etag.clone());
        let max = usize::try_from(JWKS_BYTES_MAX).unwrap_or(usize::MAX);
        let ask = Ask::get(&self.from.url, max, FETCH_TIMEOUT).unless(etag.as_deref());
        let fetched = self.fetcher.fetch(ask).await?;
        let after = fetched.retry_after;
        let Fetched { max_age: fresh, body, status, etag: new, .. } = match fetched.ok() {
            Ok(fetched) if fetched.is_unchanged() && etag.is_some() => return Ok(Came::Unchanged { fresh: fetched.max_age }),
            Ok(fetched) => fetched,
            Err(error) => return Err(Failed { after, ..error.into() }),
        };
        let keys = jwks::read(&body)
            .map_err(|why| Failed { why: format!("the answer ({status}) is not a usable JWK set: {why}"), after: None })?;
        Ok(Came::Keys { keys, etag: new, fresh })
    }

    /// Puts what came in force and says how long to wait.
    fn take_up(&self, came: Came, at: Timestamp) -> Duration {
        let since = Instant::now();
        let (held, fresh) = match (came, self.held.load_full()) {
            (Came::Keys { keys, etag, fresh }, _) => (Some(Held { keys, etag, at, since }), fresh),
            (Came::Unchanged { fresh }, Some(held)) => (Some(Held { keys: held.keys.clone(), etag: held.etag.clone(), at, since }), fresh),
            (Came::Unchanged { fresh }, None) => (None, fresh),
        };
        if let Some(held) = held {
            self.held.store(Some(Arc::new(held)));
        }
        let own = self.from.refresh;
        let wait = fresh.map_or(own, |fresh| fresh.clamp(REFRESH_MIN.min(own), REFRESH_MAX));
        // With half of the time left there is room for some failures.
        jittered(wait.min(self.from.max_stale / 2))
    }
}

#[cfg(test)]
mod tests;
