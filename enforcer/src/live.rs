//! What runs on a connection, kept so that the policy can be asked about it again.
//!
//! A request takes one slot when it is let through and gives it back when it ends. Whenever another policy comes into force, the
//! connection asks about every slot; what would now be denied is cut.
//!
//! INVARIANT: a slot is taken before the policy in force is compared with the one that decided, so a denial between the two is
//! not missed (A78); it is held until the request's end is recorded.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use portreeve_engine::Request;

/// The running requests of one connection.
#[derive(Debug, Default)]
pub struct Live(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    slots: Vec<Slot>,
    /// The first free slot.
    free: Option<usize>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a slot is used again and again; a box would be asked of the allocator for each request")]
enum Slot {
    Running {
        request: Request,
        waker: Option<Waker>,
    },
    /// Denied while it ran.
    Cut,
    Free {
        /// The next one.
        next: Option<usize>,
    },
}

/// A running request's slot. It belongs to one [`Live`] and is given back to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Place(usize);

/// Where a request stands, for whoever only looks whether it was cut.
#[derive(Clone, Copy, Debug)]
pub struct Spot(usize);

impl Place {
    /// Where it is.
    #[must_use]
    pub const fn spot(&self) -> Spot {
        Spot(self.0)
    }
}

impl Live {
    /// Takes a slot.
    #[must_use]
    pub fn enter(&self, request: Request) -> Place {
        let mut live = self.lock();
        let slot = Slot::Running { request, waker: None };
        match live.free {
            Some(at) => {
                if let Some(place) = live.slots.get_mut(at) {
                    let was = std::mem::replace(place, slot);
                    live.free = if let Slot::Free { next } = was { next } else { None };
                }
                Place(at)
            }
            None => {
                live.slots.push(slot);
                Place(live.slots.len() - 1)
            }
        }
    }

    /// Gives a slot back. Whether the request was cut.
    #[expect(clippy::needless_pass_by_value, reason = "a slot is given back once")]
    pub fn leave(&self, place: Place) -> bool {
        let mut live = self.lock();
        let next = live.free;
        let Some(slot) = live.slots.get_mut(place.0) else { return false };
        let was = std::mem::replace(slot, Slot::Free { next });
        live.free = Some(place.0);
        matches!(was, Slot::Cut)
    }

    /// Asks about everything that runs, and cuts what `stays` does not hold for. How many were cut.
    pub fn review(&self, mut stays: impl FnMut(&mut Request) -> bool) -> usize {
        let mut wakers = Vec::new();
        let mut cut = 0;
        for slot in &mut self.lock().slots {
            if let Slot::Running { request, waker } = slot
                && !stays(request)
            {
                wakers.extend(waker.take());
                *slot = Slot::Cut;
                cut += 1;
            }
        }
        wakers.into_iter().for_each(Waker::wake);
        cut
    }

    /// Whether the request that stands there was cut.
    #[must_use]
    pub fn is_cut(&self, spot: Spot) -> bool {
        matches!(self.lock().slots.get(spot.0), Some(Slot::Cut))
    }

    /// Ready when the request was cut.
    pub fn poll_cut(&self, place: &Place, cx: &Context<'_>) -> Poll<()> {
        match self.lock().slots.get_mut(place.0) {
            Some(Slot::Cut) => Poll::Ready(()),
            Some(Slot::Running { waker, .. }) => {
                match waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waker = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            _ => Poll::Pending,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portreeve_engine::request::Target;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn request(port: u16) -> Request {
        Request {
            principal: "spiffe://m/a".parse().unwrap(),
            service: "items".into(),
            target: Target::Connect { port },
            host: None,
            context: Default::default(),
        }
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_denied_is_cut_and_told_once() {
        let live = Live::default();
        let (one, two) = (live.enter(request(1)), live.enter(request(2)));
        let count = Arc::new(Count::default());
        let waker = Waker::from(Arc::clone(&count));
        let cx = Context::from_waker(&waker);
        assert!(live.poll_cut(&one, &cx).is_pending() && live.poll_cut(&two, &cx).is_pending());
        let stays = |r: &mut Request| r.target != Target::Connect { port: 2 };
        assert_eq!((live.review(stays), live.review(stays)), (1, 0));
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert!(live.poll_cut(&one, &cx).is_pending() && live.poll_cut(&two, &cx).is_ready());
        assert!(live.is_cut(two.spot()) && !live.is_cut(one.spot()));
        assert!(live.leave(two) && !live.leave(one));
        assert_eq!(live.review(|_| false), 0, "what has ended is not asked about");
    }

    #[test]
    fn slots_are_used_again() {
        let live = Live::default();
        for round in 0..3 {
            let places: Vec<_> = (0..5).map(|n| live.enter(request(n))).collect();
            let mut numbers: Vec<_> = places.iter().map(|p| p.0).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, [0, 1, 2, 3, 4], "{round}");
            places.into_iter().for_each(|place| assert!(!live.leave(place)));
        }
    }
}
