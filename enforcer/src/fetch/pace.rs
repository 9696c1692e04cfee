//! When to ask again: waits that grow while nothing works, and never all at the same moment.

use std::time::Duration;

/// Waits between attempts that fail: twice as long each time, up to a limit, each with some chance in it, so that many
/// enforcers that lost the same server do not come back as one.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Backoff {
    /// Waits from `least` to `most`.
    #[must_use]
    pub const fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, next: least }
    }

    /// The wait after another failure.
    pub fn failed(&mut self) -> Duration {
        let wait = self.next.min(self.most);
        self.next = wait.saturating_mul(2);
        jittered(wait)
    }

    /// It worked: the next failure begins anew.
    pub fn worked(&mut self) {
        self.next = self.least;
    }
}

/// Between four fifths of a time and all of it.
#[must_use]
pub fn jittered(time: Duration) -> Duration {
    let mut byte = [0_u8; 2];
    // Without random numbers the wait is whole: later than it might be, and never too early.
    let chance = aws_lc_rs::rand::fill(&mut byte).map_or(0, |()| u32::from(u16::from_le_bytes(byte)));
    time.saturating_sub(time / 5 / u32::from(u16::MAX) * chance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_limit_and_differ() {
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(60));
        let mut backoff = Backoff::new(least, most);
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            let (wait, whole) = (backoff.failed(), Duration::from_secs(seconds));
            assert!(wait <= whole && wait >= whole * 4 / 5, "{wait:?} of {whole:?}");
        }
        backoff.worked();
        assert!(backoff.failed() <= least);
        let some: std::collections::BTreeSet<_> = (0..64).map(|_| jittered(most)).collect();
        assert!(some.len() > 32, "no chance in it");
        assert_eq!(jittered(Duration::ZERO), Duration::ZERO);
        assert!(jittered(Duration::MAX) > Duration::MAX / 2);
    }
}
