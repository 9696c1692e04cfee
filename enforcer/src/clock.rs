//! The one place that reads the wall clock, and the source of ids.
//!
//! INVARIANT: the times a [`Clock`] gives never go back, so neither do the `at` of a chain. A step back of the system's clock is
//! held at the last value and counted.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use portreeve_engine::Timestamp;

/// A wall clock that never goes back.
#[derive(Debug)]
pub struct Clock {
    last_ms: AtomicI64,
    steps_back: AtomicU64,
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
        Self { last_ms: AtomicI64::new(i64::MIN), steps_back: AtomicU64::new(0) }
    }

    /// The time now, or the last time given if the system's clock went back.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.at(SystemTime::now())
    }

    fn at(&self, system: SystemTime) -> Timestamp {
        let ms = match system.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        };
        let last = self.last_ms.fetch_max(ms, Ordering::Relaxed);
        // Two threads that read at once may meet out of order by a moment; that is no step.
        if last > ms.saturating_add(STEP_MS_MIN) {
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

/// The system's time as it is, for judging certificates: a time that was held back would keep what is over.
#[must_use]
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A step back of less than this is the order of two threads, not of the clock.
const STEP_MS_MIN: i64 = 50;

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
        format!("{}-{n:x}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

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
