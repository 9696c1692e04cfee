//! Which endpoint of a destination gets the next request.
//!
//! Of two endpoints chosen by lot the one with fewer requests under way (the power of two choices): nearly as even as asking
//! all of them, and no endpoint that has just come back is run over by everybody at once. An endpoint that fails several times
//! in a row is left aside for a time that grows.
//!
//! An endpoint that its checks call down ([`super::health`]) is left aside too, however many are, as long as another one is up.
//!
//! INVARIANT: for failed requests never more than half of the endpoints (of two: one) are left aside, so the load of the others never
//! falls on a few; and there is always one to ask: where none is fit, those that are up are asked, and where none is up, all. Nothing here
//! looks at a clock or a socket; who asks says what time it is.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::limits::{EJECT_AFTER, EJECT_FIRST, EJECT_MAX};

/// What is known of the endpoints of one destination.
#[derive(Debug)]
pub struct Board {
    under_way: Vec<AtomicUsize>,
    health: Mutex<Vec<Health>>,
    /// Whether any endpoint has failed since all were well: without it nobody takes the lock.
    troubled: AtomicBool,
    lot: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct Health {
    failures: u32,
    ejections: u32,
    until: Option<Instant>,
    last: Duration,
    /// Checks in a row that found the opposite of what it counts as.
    against: u32,
    /// It is down, as its checks say.
    down: bool,
}

impl Health {
    fn is_out(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }
}

/// An endpoint that was picked; it counts as busy until this is dropped.
#[derive(Debug)]
pub struct Pick {
    board: Arc<Board>,
    /// Its position among the endpoints.
    pub index: usize,
}

impl Pick {
    /// It answered, and not with a fault of its own.
    pub fn succeeded(&self, now: Instant) {
        self.board.succeeded(self.index, now);
    }

    /// It failed. Says whether it is left aside from now on.
    pub fn failed(&self, now: Instant) -> bool {
        self.board.failed(self.index, now)
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        if let Some(count) = self.board.under_way.get(self.index) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Board {
    /// A board of so many endpoints, all well.
    #[must_use]
    pub fn new(endpoints: usize) -> Arc<Self> {
        Arc::new(Self {
            under_way: std::iter::repeat_with(AtomicUsize::default).take(endpoints).collect(),
            health: Mutex::new(vec![Health::default(); endpoints]),
            troubled: AtomicBool::new(false),
            lot: AtomicU64::new(0),
        })
    }

    /// The endpoint for the next request, none of `tried`. `None` where there is no further one that may be asked.
    #[must_use]
    pub fn pick(self: &Arc<Self>, now: Instant, tried: &[usize]) -> Option<Pick> {
        let mut open: Vec<usize> = (0..self.under_way.len()).filter(|n| !tried.contains(n)).collect();
        if self.troubled.load(Ordering::Acquire) {
            let health = self.lock();
            let fit = |n: &usize| health.get(*n).is_some_and(|h| !h.is_out(now) && !h.down);
            // Whoever asks a second time has somebody else to blame than an endpoint that is known not to answer.
            if !tried.is_empty() || open.iter().any(fit) {
                open.retain(fit);
            } else if open.iter().any(|n| health.get(*n).is_some_and(|h| !h.down)) {
                open.retain(|n| health.get(*n).is_some_and(|h| !h.down));
            }
        }
        let index = match open.as_slice() {
            [] => return None,
            [only] => *only,
            all => {
                let (first, second) = self.two_of(all)?;
                if self.busy(second) < self.busy(first) { second } else { first }
            }
        };
        self.under_way.get(index)?.fetch_add(1, Ordering::Relaxed);
        Some(Pick { board: Arc::clone(self), index })
    }

    /// Requests under way to all endpoints.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.under_way.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }

    /// Whether the endpoint is left aside.
    #[must_use]
    pub fn is_out(&self, index: usize, now: Instant) -> bool {
        self.lock().get(index).is_some_and(|h| h.is_out(now))
    }

    /// Takes what a check found; `after` so many in a row an endpoint goes down, or up. Whether it has just changed.
    pub fn checked(&self, index: usize, good: bool, after: u32) -> bool {
        let mut health = self.lock();
        let Some(own) = health.get_mut(index) else { return false };
        if good != own.down {
            own.against = 0;
            return false;
        }
        own.against = own.against.saturating_add(1);
        if own.against < after {
            return false;
        }
        // What was held against it before it was gone says nothing of what came back.
        *own = Health { down: !good, ..Health::default() };
        self.settle(&health);
        true
    }

    /// Endpoints that are down as their checks say.
    #[must_use]
    pub fn down(&self) -> usize {
        self.lock().iter().filter(|h| h.down).count()
    }

    /// Whether anybody has to look at the health of endpoints.
    fn settle(&self, health: &[Health]) {
        let well = health.iter().all(|h| h.failures == 0 && h.until.is_none() && !h.down);
        self.troubled.store(!well, Ordering::Release);
    }

    fn busy(&self, index: usize) -> usize {
        self.under_way.get(index).map_or(usize::MAX, |n| n.load(Ordering::Relaxed))
    }

    fn two_of(&self, all: &[usize]) -> Option<(usize, usize)> {
        // SplitMix64 over a counter: even enough, and no thread waits for another.
        let mut z = self.lot.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let (low, high) = (usize::try_from(z & 0xffff_ffff).ok()?, usize::try_from(z >> 32).ok()?);
        let first = low.checked_rem(all.len())?;
        let second = (first + 1 + high.checked_rem(all.len().checked_sub(1)?)?).checked_rem(all.len())?;
        Some((*all.get(first)?, *all.get(second)?))
    }

    fn succeeded(&self, index: usize, now: Instant) {
        if !self.troubled.load(Ordering::Acquire) {
            return;
        }
        let mut health = self.lock();
        let Some(own) = health.get_mut(index) else { return };
        own.failures = 0;
        // One good answer does not make a flapping endpoint well: it must stay well as long as it was left aside.
        if own.until.is_none_or(|until| now.saturating_duration_since(until) >= own.last) {
            *own = Health { against: own.against, down: own.down, ..Health::default() };
        }
        self.settle(&health);
    }

    fn failed(&self, index: usize, now: Instant) -> bool {
        let mut health = self.lock();
        self.troubled.store(true, Ordering::Release);
        let (all, out) = (health.len(), health.iter().filter(|h| h.is_out(now)).count());
        let Some(own) = health.get_mut(index) else { return false };
        own.failures = own.failures.saturating_add(1);
        let room = if all < 2 { 0 } else { (all / 2).max(1) };
        if own.failures < EJECT_AFTER || own.is_out(now) || out >= room {
            return false;
        }
        own.last = EJECT_FIRST.saturating_mul(1 << own.ejections.min(16)).min(EJECT_MAX);
        own.until = Some(now + own.last);
        own.ejections = own.ejections.saturating_add(1);
        // When it comes back it is on trial: one failure more and it is left aside again.
        own.failures = EJECT_AFTER - 1;
        true
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Health>> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(board: &Arc<Board>, index: usize, times: u32, now: Instant) -> u32 {
        (0..times).map(|_| u32::from(board.failed(index, now))).sum()
    }

    #[test]
    fn requests_go_where_fewer_are_under_way() {
        let (board, now) = (Board::new(3), Instant::now());
        let held: Vec<Pick> = (0..300).filter_map(|_| board.pick(now, &[])).collect();
        let each: Vec<usize> = (0..3).map(|n| held.iter().filter(|p| p.index == n).count()).collect();
        assert_eq!(each.iter().sum::<usize>(), 300);
        // Two choices keep the fullest and the emptiest within a few of each other; blind lots would not.
        assert!(each.iter().max().unwrap() - each.iter().min().unwrap() <= 6, "{each:?}");
        drop(held);
        assert_eq!(board.under_way(), 0);
    }

    #[test]
    fn a_retry_asks_another_endpoint() {
        let (board, now) = (Board::new(2), Instant::now());
        for _ in 0..50 {
            assert_eq!(board.pick(now, &[0]).unwrap().index, 1);
        }
        assert!(board.pick(now, &[0, 1]).is_none());
    }

    #[test]
    fn failures_in_a_row_leave_an_endpoint_aside_for_a_growing_time() {
        let (board, mut now) = (Board::new(2), Instant::now());
        assert_eq!(fail(&board, 0, EJECT_AFTER - 1, now), 0);
        board.succeeded(0, now);
        assert_eq!(fail(&board, 0, EJECT_AFTER - 1, now), 0, "they were not in a row");
        let mut expected = EJECT_FIRST;
        for round in 0..8 {
            assert_eq!(fail(&board, 0, 1, now), 1, "{round}");
            assert!((0..50).all(|_| board.pick(now, &[]).unwrap().index == 1));
            now += expected - Duration::from_millis(1);
            assert!(board.is_out(0, now), "{round}");
            now += Duration::from_millis(1);
            assert!(!board.is_out(0, now), "{round}");
            assert!((0..50).any(|_| board.pick(now, &[]).unwrap().index == 0));
            expected = (expected * 2).min(EJECT_MAX);
        }
        // Well for as long as it was left aside: it starts anew.
        now += EJECT_MAX;
        board.succeeded(0, now);
        assert_eq!(fail(&board, 0, EJECT_AFTER, now), 1);
        assert!(!board.is_out(0, now + EJECT_FIRST));
    }

    #[test]
    fn a_success_on_trial_does_not_forget_what_was() {
        let (board, mut now) = (Board::new(2), Instant::now());
        fail(&board, 0, EJECT_AFTER, now);
        now += EJECT_FIRST;
        board.succeeded(0, now);
        assert_eq!(fail(&board, 0, EJECT_AFTER, now), 1);
        assert!(board.is_out(0, now + EJECT_FIRST), "the second time is longer");
    }

    #[test]
    fn checks_in_a_row_make_an_endpoint_down_and_up_again() {
        let (board, now) = (Board::new(3), Instant::now());
        let asked =
            |board: &Arc<Board>| -> std::collections::BTreeSet<usize> { (0..100).map(|_| board.pick(now, &[]).unwrap().index).collect() };
        for (good, changes) in
            [(false, false), (false, false), (true, false), (false, false), (false, false), (false, true), (false, false)]
        {
            assert_eq!(board.checked(1, good, if good { 2 } else { 3 }), changes);
        }
        assert_eq!((board.down(), asked(&board)), (1, [0, 2].into()));
        // A request that succeeds elsewhere does not make it well, nor does one good check.
        board.succeeded(0, now);
        assert!(!board.checked(1, true, 2));
        assert_eq!(asked(&board), [0, 2].into());
        assert!(board.checked(1, true, 2));
        assert_eq!((board.down(), asked(&board)), (0, [0, 1, 2].into()));
        assert!(!board.troubled.load(Ordering::Acquire));
    }

    #[test]
    fn as_long_as_one_is_up_those_that_are_down_are_left_aside_and_then_all_are_asked() {
        let (board, now) = (Board::new(4), Instant::now());
        for index in 0..3 {
            assert!(board.checked(index, false, 1));
        }
        assert!((0..50).all(|_| board.pick(now, &[]).unwrap().index == 3));
        // Left aside for failed requests, but up: it is asked before those that are down.
        assert_eq!(fail(&board, 3, EJECT_AFTER, now), 1);
        assert!((0..50).all(|_| board.pick(now, &[]).unwrap().index == 3));
        assert!(board.pick(now, &[3]).is_none(), "a retry is not spent on one that is down");
        assert!(board.checked(3, false, 1));
        let asked: std::collections::BTreeSet<usize> = (0..200).map(|_| board.pick(now, &[]).unwrap().index).collect();
        assert_eq!(asked.len(), 4);
        // One comes back, and what was held against it is forgotten.
        assert!(board.checked(3, true, 1));
        assert!((0..50).all(|_| board.pick(now, &[]).unwrap().index == 3) && !board.is_out(3, now));
    }

    #[test]
    fn never_more_than_half_are_left_aside() {
        let now = Instant::now();
        for (endpoints, out_max) in [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (64, 32)] {
            let board = Board::new(endpoints);
            for index in 0..endpoints {
                fail(&board, index, 3 * EJECT_AFTER, now);
            }
            assert_eq!((0..endpoints).filter(|n| board.is_out(*n, now)).count(), out_max, "{endpoints}");
            assert!(board.pick(now, &[]).is_some());
        }
    }
}
