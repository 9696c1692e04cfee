//! Asks a server for the bundle: when, how, and what its answers mean. Decides nothing about the bundle itself.
//!
//! INVARIANT: a server is asked no more often than configured, whatever it answers; many enforcers that were started at once, or
//! whose server came back, do not ask at once.

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::rand;
use bytes::Bytes;
use http::{HeaderValue, header};

use crate::config::Remote;
use crate::fetch::{Ask, FetchError, Fetcher};
use crate::files::read_bounded;
use crate::limits;
use crate::policy::PolicyError;

/// The server of a bundle.
#[derive(Debug)]
pub struct Supply {
    remote: Remote,
    fetcher: Option<Fetcher>,
    etag: Option<String>,
    offered: Option<String>,
    schedule: Schedule,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    /// A bundle, not looked at.
    Bundle(Bytes),
    /// Still the one that it gave last.
    Unchanged,
}

impl Offer {
    /// The bundle, if there is one.
    #[must_use]
    pub fn bundle(self) -> Option<Bytes> {
        match self {
            Self::Bundle(bytes) => Some(bytes),
            Self::Unchanged => None,
        }
    }
}

impl Supply {
    /// Asks this server.
    #[must_use]
    pub fn new(remote: &Remote) -> Self {
        Self { remote: remote.clone(), fetcher: None, etag: None, offered: None, schedule: Schedule::new(remote.poll) }
    }

    /// Asks now.
    ///
    /// # Errors
    /// No bundle could be had.
    pub async fn ask(&mut self) -> Result<Offer, PolicyError> {
        let (asked, after) = match self.exchange().await {
            Ok(answer) => (Ok(answer), None),
            Err((why, after)) => (Err(why), after),
        };
        self.schedule.asked(asked.is_ok(), after);
        asked
    }

    async fn exchange(&mut self) -> Result<Offer, (PolicyError, Option<Duration>)> {
        let url = self.remote.url.to_string();
        let failed = |why, after| (PolicyError::Fetch { bundle: url.clone(), why }, after);
        let plain = |why| failed(why, None);
        let fetcher = match self.fetcher.take() {
            Some(fetcher) => fetcher,
            None => Fetcher::new(self.remote.roots.clone(), self.remote.reach, None).map_err(plain)?,
        };
        let fetcher = self.fetcher.insert(fetcher);
        let max = usize::try_from(limits::ARCHIVE_FILE_BYTES_MAX).unwrap_or(usize::MAX);
        let mut ask = Ask::get(&self.remote.url, max, limits::BUNDLE_FETCH).unless(self.etag.as_deref());
        if let Some(token) = &self.remote.token {
            ask = ask.with(header::AUTHORIZATION, bearer(token).map_err(|why| (why, None))?);
        }
        let answer = fetcher.fetch(ask).await.map_err(plain)?;
        let after = answer.retry_after;
        let answer = answer.ok().map_err(|why| failed(why, after))?;
        if answer.is_unchanged() {
            // Whoever asked for all of it was not told what there is: that is no word that the bundle is still the same.
            let asked = self.etag.is_some();
            return if asked { Ok(Offer::Unchanged) } else { Err(failed(FetchError::Status(answer.status), after)) };
        }
        (self.etag, self.offered) = (None, answer.etag);
        Ok(Offer::Bundle(answer.body))
    }

    /// What was offered last was looked at: it need not be sent again.
    pub fn looked_at(&mut self) {
        self.etag = self.offered.take().or(self.etag.take());
    }

    /// Asks for the whole bundle next time, whatever was looked at.
    pub fn forget(&mut self) {
        self.etag = None;
    }

    /// How long to wait before asking again.
    #[must_use]
    pub fn pause(&self) -> Duration {
        self.schedule.pause(word())
    }

    /// The same for an enforcer that has nothing to stand on: sooner at first, as ever more seldom.
    #[must_use]
    pub fn pause_without(&self) -> Duration {
        Schedule { poll: self.remote.poll.min(limits::BUNDLE_FIRST_POLL), ..self.schedule.clone() }.pause(word())
    }
}

/// What to say to a server that wants a token. It is read each time, so that it can be renewed; nobody else sees it.
pub(crate) fn bearer(path: &Path) -> Result<HeaderValue, PolicyError> {
    let fail = |why| PolicyError::File { path: path.to_owned(), why };
    let bytes = read_bounded(path, limits::TOKEN_FILE_BYTES_MAX).map_err(fail)?;
    let text = [b"Bearer ", bytes.trim_ascii()].concat();
    let mut value = HeaderValue::from_bytes(&text).map_err(|_| fail(std::io::ErrorKind::InvalidData.into()))?;
    value.set_sensitive(true);
    Ok(value)
}

pub(crate) fn word() -> u64 {
    let mut bytes = [0; 8];
    // Without random numbers every pause is the longest one; TLS would not work then either.
    if rand::fill(&mut bytes).is_err() {
        return u64::MAX;
    }
    u64::from_le_bytes(bytes)
}

/// When to ask again: by the clock while it goes well, ever more seldom while it does not.
#[derive(Clone, Debug)]
pub struct Schedule {
    poll: Duration,
    most: Duration,
    failures: u32,
    after: Option<Duration>,
}

impl Schedule {
    /// Every `poll`.
    #[must_use]
    pub const fn new(poll: Duration) -> Self {
        Self::within(poll, limits::BUNDLE_BACK_OFF_MAX)
    }

    /// Every `poll`; after failures seldom, and at most `most` later.
    #[must_use]
    pub const fn within(poll: Duration, most: Duration) -> Self {
        Self { poll, most, failures: 0, after: None }
    }

    /// It was asked; `after` is when the server wants to be asked again.
    pub fn asked(&mut self, well: bool, after: Option<Duration>) {
        self.failures = if well { 0 } else { self.failures.saturating_add(1) };
        self.after = after;
    }

    /// How long to wait; `word` is random.
    #[must_use]
    pub fn pause(&self, word: u64) -> Duration {
        // A quarter of the way is chance: 3/4 to 5/4 of the interval.
        let doubled = self.poll.saturating_mul(1 << self.failures.saturating_sub(1).min(16));
        let base = doubled.min(self.most.max(self.poll));
        let part = u32::try_from(word % 1001).unwrap_or_default();
        let pause = base * 3 / 4 + base / 2 * part / 1000;
        let least = self.after.unwrap_or_default().min(self.most);
        pause.max(least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_down_for_hours_is_asked_ever_more_seldom_and_never_at_once() {
        let mut schedule = Schedule::new(Duration::from_secs(30));
        let mut word = 7_u64;
        let (mut time, mut asked, mut pauses) = (Duration::ZERO, 0, Vec::new());
        while time < Duration::from_secs(6 * 3600) {
            schedule.asked(false, None);
            word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let pause = schedule.pause(word >> 8);
            pauses.push(pause);
            time += pause;
            asked += 1;
        }
        assert!((60..110).contains(&asked), "{asked} times in six hours");
        assert!(pauses.iter().all(|p| *p >= Duration::from_secs(22) && *p <= limits::BUNDLE_BACK_OFF_MAX * 5 / 4));
        let late: std::collections::HashSet<_> = pauses.iter().skip(10).collect();
        assert!(late.len() > 20, "the pauses differ");
        schedule.asked(true, None);
        let (short, long) = (schedule.pause(0), schedule.pause(1000));
        assert_eq!((short, long), (Duration::from_millis(22_500), Duration::from_millis(37_500)));
    }

    #[test]
    fn a_server_may_ask_for_patience_within_bounds() {
        let mut schedule = Schedule::new(Duration::from_secs(30));
        schedule.asked(false, Some(Duration::from_secs(120)));
        assert_eq!(schedule.pause(0), Duration::from_secs(120));
        schedule.asked(false, Some(Duration::from_secs(86_400)));
        assert_eq!(schedule.pause(0), limits::BUNDLE_BACK_OFF_MAX);
        schedule.asked(true, None);
        assert!(schedule.pause(0) < Duration::from_secs(30));
    }
}
