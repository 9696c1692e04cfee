//! The one place that reads the wall clock, and the source of ids.
//!
//! INVARIANT: the times a [`Clock`] gives never go back, so neither do the `at` of a chain. After a step back of the system's clock
//! they run on from the last value at half the pace, until the system's clock has come up with them: what ends does end, though
//! later. A step forward is followed at once, because what has run out by then must not go on. Both are counted; they are found by
//! holding the clock against one that only runs on.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use portreeve_engine::Timestamp;

use crate::limits::{CLOCK_SETTLES, CLOCK_STEP_MIN, CLOCK_STEP_MS_MIN};

/// A wall clock that never goes back.
pub struct Clock {
    last_ms: AtomicI64,
    steps_back: AtomicU64,
    looked: Mutex<Option<Looked>>,
    /// From where times run on while the system's clock is behind them, and since when.
    pace: Mutex<Option<(i64, Instant)>>,
    /// In the place of the system's clock, where a test lets hours pass.
    source: Option<Box<dyn Fn() -> SystemTime + Send + Sync>>,
}

/// What the last look showed.
#[derive(Clone, Copy, Debug)]
struct Looked {
    system: SystemTime,
    running: Instant,
    /// By how much the clock was set ahead lately, and when it was the last time.
    ahead: Option<(Duration, Instant)>,
}

impl Looked {
    /// By how much the clock was set ahead in the time that counts as lately.
    fn ahead(&self, running: Instant) -> Duration {
        self.ahead.filter(|(_, at)| running.saturating_duration_since(*at) < CLOCK_SETTLES).map_or(Duration::ZERO, |(by, _)| by)
    }

    /// The step between this look and now.
    fn step(&self, system: SystemTime, running: Instant) -> Option<Step> {
        let ran = running.saturating_duration_since(self.running);
        // Clocks that are kept right are slewed, by far less than this between two looks.
        match system.duration_since(self.system) {
            Ok(passed) if passed > ran + CLOCK_STEP_MIN => Some(Step::Forward(passed - ran)),
            Ok(passed) if passed + CLOCK_STEP_MIN < ran => Some(Step::Back(ran - passed)),
            Ok(_) => None,
            Err(back) => Some(Step::Back(back.duration() + ran)).filter(|_| back.duration() + ran > CLOCK_STEP_MIN),
        }
    }
}

/// The system's clock was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// By this much ahead.
    Forward(Duration),
    /// By this much back.
    Back(Duration),
}

impl Step {
    /// Which way.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forward(_) => "forward",
            Self::Back(_) => "back",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (by, way) = match self {
            Self::Forward(by) => (by, "ahead"),
            Self::Back(by) => (by, "back"),
        };
        match by.as_secs() {
            0..10 => write!(f, "{} ms {way}", by.as_millis()),
            seconds => write!(f, "{seconds} s {way}"),
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("last_ms", &self.last_ms).field("steps_back", &self.steps_back).finish_non_exhaustive()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// A clock that has given no time yet.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            last_ms: AtomicI64::new(i64::MIN),
            steps_back: AtomicU64::new(0),
            looked: Mutex::new(None),
            pace: Mutex::new(None),
            source: None,
        }
    }

    /// A clock that reads `source` in the place of the system's.
    #[must_use]
    pub fn reading(source: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self { source: Some(Box::new(source)), ..Self::new() }
    }

    /// Whether the system's clock was set since the last look.
    pub fn look(&self) -> Option<Step> {
        self.stepped(self.system(), Instant::now())
    }

    /// How far the times given are ahead of the system's clock, because it went back.
    #[must_use]
    pub fn held(&self) -> Duration {
        let last = self.last_ms.load(Ordering::Relaxed);
        Duration::from_millis(u64::try_from(last.saturating_sub(unix_ms(self.system()))).unwrap_or(0))
    }

    fn system(&self) -> SystemTime {
        self.source.as_ref().map_or_else(SystemTime::now, |source| source())
    }

    fn stepped(&self, system: SystemTime, running: Instant) -> Option<Step> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let before = looked.replace(Looked { system, running, ahead: None })?;
        let (step, lately) = (before.step(system, running), before.ahead(running));
        let ahead = match step {
            Some(Step::Forward(by)) => Some((lately + by, running)),
            Some(Step::Back(by)) => before.ahead.map(|(_, at)| (lately.saturating_sub(by), at)),
            None => before.ahead,
        };
        *looked = Some(Looked { system, running, ahead });
        step
    }

    /// The time for what cannot be undone: one to which the clock was set ahead counts only when it has stood for
    /// [`CLOCK_SETTLES`], so that there is somebody to see that it is wrong.
    #[must_use]
    pub fn settled(&self) -> Timestamp {
        self.settled_at(self.system(), Instant::now())
    }

    fn settled_at(&self, system: SystemTime, running: Instant) -> Timestamp {
        let looked = *self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(looked) = looked else { return Timestamp::from_unix_ms(unix_ms(system)) };
        let since = if let Some(Step::Forward(by)) = looked.step(system, running) { by } else { Duration::ZERO };
        let ahead = looked.ahead(running).saturating_add(since);
        Timestamp::from_unix_ms(unix_ms(system).saturating_sub(i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX)))
    }

    /// The time now; while the system's clock is behind the times given, the one that these have come to.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.at(self.system(), Instant::now)
    }

    fn at(&self, system: SystemTime, running: impl FnOnce() -> Instant) -> Timestamp {
        let ms = unix_ms(system);
        let last = self.last_ms.fetch_max(ms, Ordering::Relaxed);
        // Two threads that read at once may meet out of order by a moment; that is no step.
        if last > ms.saturating_add(CLOCK_STEP_MS_MIN) {
            self.steps_back.fetch_add(1, Ordering::Relaxed);
            return self.ahead_of_the_system(last, running());
        }
        Timestamp::from_unix_ms(last.max(ms))
    }

    /// Runs on from the last time given, at half the pace.
    fn ahead_of_the_system(&self, last: i64, running: Instant) -> Timestamp {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, since) = pace.unwrap_or((last, running));
        let half = running.saturating_duration_since(since).as_millis() / 2;
        // Where this is left of an earlier step, times have long passed it and it begins anew.
        let on = from.saturating_add(i64::try_from(half).unwrap_or(i64::MAX)).max(last);
        // By what was counted alone, so that nothing is lost however often it is asked.
        let counted = Duration::from_millis(u64::try_from(half).unwrap_or(u64::MAX).saturating_mul(2));
        *pace = Some((on, since.checked_add(counted).unwrap_or(running)));
        let last = self.last_ms.fetch_max(on, Ordering::Relaxed);
        Timestamp::from_unix_ms(last.max(on))
    }

    /// How many readings came from a clock that had gone back.
    #[must_use]
    pub fn steps_back(&self) -> u64 {
        self.steps_back.load(Ordering::Relaxed)
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

/// The system's time as it is, for judging certificates: a time that was held back would keep what is over.
#[must_use]
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// No random numbers could be had from the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandom;

/// A fresh name for this process: 26 characters, sortable by time, random in the rest (the form of a ULID).
///
/// # Errors
/// The system gives no random numbers.
pub fn instance_id(now: Timestamp) -> Result<String, NoRandom> {
    let mut random = [0_u8; 10];
    SystemRandom::new().fill(&mut random).map_err(|_| NoRandom)?;
    let mut value = u128::from(now.unix_ms().unsigned_abs() & 0xffff_ffff_ffff) << 80;
    for (i, byte) in random.iter().enumerate() {
        value |= u128::from(*byte) << (72 - 8 * i);
    }
    Ok((0..26).rev().map(|i| base32(value >> (5 * i))).collect())
}

fn base32(value: u128) -> char {
    let digits = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let at = usize::try_from(value & 31).unwrap_or_default();
    char::from(digits.get(at).copied().unwrap_or(b'0'))
}

/// Request ids: the process's random part and a count, so that making one costs no system call and two never meet.
#[derive(Debug)]
pub struct RequestIds {
    prefix: String,
    next: AtomicU64,
}

impl RequestIds {
    /// Ids of the process of this name.
    #[must_use]
    pub fn new(instance: &str) -> Self {
        Self { prefix: instance.to_ascii_lowercase(), next: AtomicU64::new(0) }
    }

    /// The next id.
    #[must_use]
    pub fn next(&self) -> String {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let mut id = String::with_capacity(self.prefix.len() + 17);
        id.push_str(&self.prefix);
        id.push('-');
        let digits = (u64::BITS - n.leading_zeros()).div_ceil(4).max(1);
        id.extend((0..digits).rev().filter_map(|place| char::from_digit(u32::try_from(n >> (4 * place) & 15).ok()?, 16)));
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_step_back_times_run_on_at_half_the_pace_until_they_are_reached() {
        let (clock, begin) = (Clock::new(), Instant::now());
        let at = |system_ms: u64, ran_ms: u64| {
            clock.at(UNIX_EPOCH + Duration::from_millis(system_ms), || begin + Duration::from_millis(ran_ms)).unix_ms()
        };
        assert_eq!(at(100_000, 0), 100_000);
        // Ten seconds back. However often it is asked, what ran is counted by halves.
        assert_eq!(at(90_000, 0), 100_000);
        for ran in 1..=1000 {
            let now = at(90_000 + ran, ran);
            assert_eq!(now, 100_000 + i64::try_from(ran / 2).unwrap(), "{ran}");
        }
        assert_eq!(clock.steps_back(), 1001);
        assert_eq!(at(100_000, 10_000), 105_000);
        // It comes up with them, and is followed again.
        assert_eq!(at(109_990, 19_990), 109_990);
        assert_eq!(at(110_100, 20_100), 110_100);
        assert_eq!(at(3_710_100, 3_620_100), 3_710_100);
        // The next step begins where times are then, whatever has passed since the last one.
        assert_eq!(at(2_000_000, 3_620_200), 3_710_100);
        assert_eq!(at(2_000_100, 3_620_300), 3_710_150);
    }

    #[test]
    fn a_time_to_which_the_clock_was_set_counts_for_what_cannot_be_undone_when_it_has_stood() {
        let (clock, begin) = (Clock::new(), Instant::now());
        let hours = |n: u64| Duration::from_secs(3600 * n);
        let system = |n: u64| UNIX_EPOCH + hours(n);
        let settled = |clock: &Clock, at: u64, ran: u64| clock.settled_at(system(at), begin + hours(ran)).unix_ms() / 3_600_000;
        assert_eq!(settled(&clock, 1000, 0), 1000, "there is nothing to hold it against");
        assert_eq!(clock.stepped(system(1000), begin), None);
        assert_eq!(settled(&clock, 1001, 1), 1001);
        // Seen before it is told, and told; and once more.
        assert_eq!(settled(&clock, 10_001, 1), 1001);
        assert!(clock.stepped(system(10_001), begin + hours(1)).is_some());
        assert_eq!((settled(&clock, 10_001, 1), settled(&clock, 10_011, 11)), (1001, 1011));
        assert!(clock.stepped(system(10_111), begin + hours(11)).is_some());
        assert_eq!(settled(&clock, 10_121, 21), 1021);
        assert_eq!((settled(&clock, 10_134, 34), settled(&clock, 10_135, 35)), (1034, 10_135), "a day after the last");
        // One that was taken back does not count twice.
        let clock = Clock::new();
        clock.stepped(system(1000), begin);
        clock.stepped(system(10_000), begin);
        clock.stepped(system(1001), begin + hours(1));
        assert_eq!(settled(&clock, 1002, 2), 1002);
    }

    #[test]
    fn steps_both_ways_are_found_and_slewing_is_none() {
        let clock = Clock::new();
        let (mut system, mut running) = (UNIX_EPOCH + Duration::from_secs(1_000_000), Instant::now());
        let mut look = |by_ms: i64, ran_ms: u64| {
            let ms = i64::try_from(system.duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap() + by_ms;
            system = UNIX_EPOCH + Duration::from_millis(ms.try_into().unwrap());
            running += Duration::from_millis(ran_ms);
            clock.stepped(system, running)
        };
        for (by_ms, ran_ms, expected) in [
            (0, 0, None),
            (1000, 1000, None),
            (1020, 1000, None),
            (980, 1000, None),
            (3_601_000, 1000, Some(Step::Forward(Duration::from_secs(3600)))),
            (1000, 1000, None),
            (-59_000, 1000, Some(Step::Back(Duration::from_secs(60)))),
            (0, 1000, Some(Step::Back(Duration::from_secs(1)))),
            (-100, 100, None),
            (3_600_000, 3_600_000, None),
        ] {
            assert_eq!(look(by_ms, ran_ms), expected, "{by_ms} in {ran_ms}");
        }
    }

    #[test]
    fn what_is_held_is_told() {
        let ms = std::sync::Arc::new(AtomicU64::new(10_000));
        let source = std::sync::Arc::clone(&ms);
        let clock = Clock::reading(move || UNIX_EPOCH + Duration::from_millis(source.load(Ordering::Relaxed)));
        let first = clock.now();
        ms.store(4_000, Ordering::Relaxed);
        assert_eq!((clock.now(), clock.held()), (first, Duration::from_secs(6)));
        ms.store(11_000, Ordering::Relaxed);
        assert_eq!((clock.now().unix_ms(), clock.held()), (11_000, Duration::ZERO));
    }

    #[test]
    fn ids_are_sortable_and_distinct() {
        let early = instance_id(Timestamp::from_unix_ms(1_000_000_000_000)).unwrap();
        let late = instance_id(Timestamp::from_unix_ms(1_700_000_000_000)).unwrap();
        assert_eq!((early.len(), late.len()), (26, 26));
        assert!(early < late);
        assert_ne!(instance_id(Timestamp::default()).unwrap(), instance_id(Timestamp::default()).unwrap());
        let ids = RequestIds::new("01JD");
        assert_eq!(ids.next(), "01jd-0");
        assert_eq!(ids.next(), "01jd-1");
    }
}
