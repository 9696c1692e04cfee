//! The one place that reads the wall clock, and the source of ids.
//!
//! INVARIANT: the times a [`Clock`] gives never go back, so neither do the `at` of a chain. A step back of the system's clock is
//! held at the last value and counted; a step forward is followed at once, because what has run out by then must not go on, and
//! counted too. Steps are found by holding the clock against one that only runs on.

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use portreeve_engine::Timestamp;

/// A wall clock that never goes back.
pub struct Clock {
    last_ms: AtomicI64,
    steps_back: AtomicU64,
    looked: Mutex<Option<(SystemTime, Instant)>>,
    /// In the place of the system's clock, where a test lets hours pass.
    source: Option<Box<dyn Fn() -> SystemTime + Send + Sync>>,
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
        match self {
            Self::Forward(by) => write!(f, "{} ms ahead", by.as_millis()),
            Self::Back(by) => write!(f, "{} ms back", by.as_millis()),
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
        Self { last_ms: AtomicI64::new(i64::MIN), steps_back: AtomicU64::new(0), looked: Mutex::new(None), source: None }
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
        let (then, since) = looked.replace((system, running))?;
        let ran = running.saturating_duration_since(since);
        // Clocks that are kept right are slewed, by far less than this between two looks.
        match system.duration_since(then) {
            Ok(passed) if passed > ran + crate::limits::CLOCK_STEP_MIN => Some(Step::Forward(passed - ran)),
            Ok(passed) if passed + crate::limits::CLOCK_STEP_MIN < ran => Some(Step::Back(ran - passed)),
            Ok(_) => None,
            Err(back) => Some(Step::Back(back.duration() + ran)).filter(|_| back.duration() + ran > crate::limits::CLOCK_STEP_MIN),
        }
    }

    /// The time now, or the last time given if the system's clock went back.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.at(self.system())
    }

    fn at(&self, system: SystemTime) -> Timestamp {
        let ms = unix_ms(system);
        let last = self.last_ms.fetch_max(ms, Ordering::Relaxed);
        // Two threads that read at once may meet out of order by a moment; that is no step.
        if last > ms.saturating_add(crate::limits::CLOCK_STEP_MS_MIN) {
            self.steps_back.fetch_add(1, Ordering::Relaxed);
        }
        Timestamp::from_unix_ms(last.max(ms))
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
    fn a_step_back_holds_and_is_counted() {
        let clock = Clock::new();
        let first = clock.at(UNIX_EPOCH + Duration::from_secs(100));
        assert_eq!(clock.at(UNIX_EPOCH + Duration::from_secs(90)), first);
        assert_eq!(clock.steps_back(), 1);
        assert_eq!(clock.at(UNIX_EPOCH + Duration::from_secs(101)).unix_ms(), 101_000);
        assert_eq!(clock.steps_back(), 1);
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
