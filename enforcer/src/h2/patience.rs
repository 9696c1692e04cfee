//! How much a caller may have us do for nothing (A26, A27).
//!
//! Some frames of HTTP/2 cost their sender next to nothing and the receiver some work, without a request coming forward by them: pings,
//! settings, streams that are opened and given up, empty frames. Each has a price; what is bought with goes to zero at some point unless
//! requests are served, and comes back with time. Honest callers never come near: a hundred requests given up at once cost less than half
//! of it.

use tokio::time::Instant;

use crate::limits;

/// What is left of it, for one connection.
#[derive(Debug)]
pub struct Patience {
    left: u32,
    since: Instant,
}

/// The connection has asked too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl Patience {
    /// All of it.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { left: limits::H2_PATIENCE, since: now }
    }

    /// Takes a price.
    ///
    /// # Errors
    /// [`Exhausted`]: it is not there, and time has not brought it either.
    pub fn spend(&mut self, price: u32) -> Result<(), Exhausted> {
        self.spend_at(price, Instant::now)
    }

    fn spend_at(&mut self, price: u32, now: impl FnOnce() -> Instant) -> Result<(), Exhausted> {
        if self.left < price {
            // A clock is read for those alone who come to the end of it.
            let now = now();
            let came = now.saturating_duration_since(self.since).as_millis() * u128::from(limits::H2_PATIENCE_SECOND) / 1000;
            self.gain(u32::try_from(came).unwrap_or(u32::MAX));
            self.since = now;
        }
        self.left = self.left.checked_sub(price).ok_or(Exhausted)?;
        Ok(())
    }

    /// Something came forward.
    pub fn gain(&mut self, price: u32) {
        self.left = self.left.saturating_add(price).min(limits::H2_PATIENCE);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_ends_comes_back_with_time_and_is_never_more_than_all_of_it() {
        let began = Instant::now();
        let mut patience = Patience::new(began);
        let spent = |patience: &mut Patience, seconds| {
            let now = began + Duration::from_secs(seconds);
            (0..).take_while(|_| patience.spend_at(1, || now).is_ok()).count()
        };
        let all = usize::try_from(limits::H2_PATIENCE).unwrap();
        assert_eq!((spent(&mut patience, 0), spent(&mut patience, 0)), (all, 0));
        assert_eq!(spent(&mut patience, 2), usize::try_from(2 * limits::H2_PATIENCE_SECOND).unwrap());
        assert_eq!(spent(&mut patience, 3600), all);
        patience.gain(3);
        assert_eq!(spent(&mut patience, 3600), 3);
        patience.gain(u32::MAX);
        assert_eq!(spent(&mut patience, 3600), all);
    }
}
