//! Connections that have come and have not proved who they are. Anybody can make them, from as many addresses as there are.
//!
//! What says nothing takes no place among the handshakes; when a listener is full, the newcomer is served, and in its place goes
//! the oldest connection that still owes its proof; and addresses from which somebody proved an identity lately have places that
//! no stranger takes. So strangers cost each other their time, and callers as little as can be.
//!
//! INVARIANT: a stranger never makes a known address go. What is remembered is bounded, and worth nothing more than a place: who an
//! address was says nothing of who calls from it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use crate::limits;

/// What one listener knows of those who have not proved who they are.
#[derive(Debug)]
pub struct Threshold {
    common: Semaphore,
    /// For known addresses alone.
    kept: Semaphore,
    by_address: Mutex<HashMap<IpAddr, Weak<Semaphore>>>,
    waiting: Mutex<Owing>,
    known: Mutex<HashMap<IpAddr, Instant>>,
}

#[derive(Debug, Default)]
struct Owing {
    next: u64,
    /// Strangers first, the oldest first.
    connections: BTreeMap<(bool, u64), Arc<Notify>>,
}

/// A connection that owes its proof as long as this is held.
#[derive(Debug)]
pub struct Owes {
    threshold: Arc<Threshold>,
    key: (bool, u64),
    told: Arc<Notify>,
}

impl Default for Threshold {
    fn default() -> Self {
        Self {
            common: Semaphore::new(limits::HANDSHAKES_MAX),
            kept: Semaphore::new(limits::HANDSHAKES_KNOWN_MAX),
            by_address: Mutex::default(),
            waiting: Mutex::default(),
            known: Mutex::default(),
        }
    }
}

impl Threshold {
    /// A connection from `ip` has come.
    #[must_use]
    pub fn came(self: &Arc<Self>, ip: IpAddr) -> Owes {
        let (is_known, told) = (self.knows(ip), Arc::<Notify>::default());
        let mut waiting = lock(&self.waiting);
        let key = (is_known, waiting.next);
        waiting.next += 1;
        waiting.connections.insert(key, Arc::clone(&told));
        drop(waiting);
        Owes { threshold: Arc::clone(self), key, told }
    }

    /// Has the oldest connection that owes its proof go, for one from `ip`, or for whoever comes next. Whether there was one.
    #[must_use]
    pub fn make_room(&self, ip: Option<IpAddr>) -> bool {
        let is_known = ip.is_some_and(|ip| self.knows(ip));
        let mut waiting = lock(&self.waiting);
        let Some(oldest) = waiting.connections.first_entry().filter(|oldest| is_known || !oldest.key().0) else { return false };
        oldest.remove().notify_one();
        true
    }

    /// Somebody proved an identity from `ip`.
    pub fn proved(&self, ip: IpAddr) {
        let mut known = lock(&self.known);
        if known.len() >= limits::KNOWN_ADDRESSES_MAX && !known.contains_key(&ip) {
            known.retain(|_, at| at.elapsed() < limits::KNOWN_ADDRESS_LIFE);
            if known.len() >= limits::KNOWN_ADDRESSES_MAX {
                let oldest = known.iter().min_by_key(|(_, at)| **at).map(|(ip, _)| *ip);
                oldest.map(|ip| known.remove(&ip));
            }
        }
        known.insert(ip, Instant::now());
    }

    fn knows(&self, ip: IpAddr) -> bool {
        lock(&self.known).get(&ip).is_some_and(|at| at.elapsed() < limits::KNOWN_ADDRESS_LIFE)
    }

    /// A place among the handshakes for `ip`, when there is one. An address waits for its own places first, so it never holds up others.
    ///
    /// # Errors
    /// Never: the semaphores are not closed.
    pub async fn place(&self, ip: IpAddr) -> Result<(OwnedSemaphorePermit, SemaphorePermit<'_>), AcquireError> {
        let own = self.of(ip).acquire_owned().await?;
        if !self.knows(ip) {
            return Ok((own, self.common.acquire().await?));
        }
        let place = tokio::select! {
            biased;
            place = self.common.acquire() => place?,
            place = self.kept.acquire() => place?,
        };
        Ok((own, place))
    }

    fn of(&self, ip: IpAddr) -> Arc<Semaphore> {
        let mut by_address = lock(&self.by_address);
        if let Some(found) = by_address.get(&ip).and_then(Weak::upgrade) {
            return found;
        }
        // Only addresses with a connection are alive, so the table stays as small as the number of connections.
        if by_address.len() >= limits::CONNECTIONS_MAX {
            by_address.retain(|_, places| places.strong_count() > 0);
        }
        let new = Arc::new(Semaphore::new(limits::HANDSHAKES_PER_ADDRESS_MAX));
        by_address.insert(ip, Arc::downgrade(&new));
        new
    }
}

impl Owes {
    /// Completes when it has to make room.
    pub async fn must_go(&self) {
        self.told.notified().await;
    }
}

impl Drop for Owes {
    fn drop(&mut self) {
        lock(&self.threshold.waiting).connections.remove(&self.key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::time::timeout;

    use super::*;

    fn ip(n: usize) -> IpAddr {
        IpAddr::from(u32::try_from(n + 0x0a00_0000).unwrap().to_be_bytes())
    }

    #[tokio::test]
    async fn a62_one_address_cannot_hold_every_handshake() {
        let threshold = Threshold::default();
        let (stranger, other) = (ip(9), ip(7));
        let mut held = Vec::new();
        while let Ok(place) = timeout(Duration::from_millis(10), threshold.place(stranger)).await {
            held.push(place.unwrap());
        }
        assert_eq!(held.len(), limits::HANDSHAKES_PER_ADDRESS_MAX);
        assert!(timeout(Duration::from_millis(10), threshold.place(other)).await.is_ok());
        held.clear();
        assert!(timeout(Duration::from_millis(10), threshold.place(stranger)).await.is_ok());
    }

    #[test]
    fn a62_strangers_leave_places_to_addresses_that_are_known() {
        let threshold = Threshold::default();
        threshold.proved(ip(0));
        let mut held = Vec::new();
        for n in 1.. {
            let Some(place) = threshold.place(ip(n)).now_or_never() else { break };
            held.push(place.unwrap());
        }
        assert_eq!(held.len(), limits::HANDSHAKES_MAX);
        let mut kept = Vec::new();
        while let Some(place) = threshold.place(ip(0)).now_or_never() {
            kept.push(place.unwrap());
        }
        assert_eq!(kept.len(), limits::HANDSHAKES_KNOWN_MAX);
        held.pop();
        assert!(threshold.place(ip(0)).now_or_never().is_some(), "it has what everybody has, too");
    }

    #[test]
    fn a64_the_oldest_stranger_makes_room_and_a_known_address_only_for_its_like() {
        let threshold = Arc::<Threshold>::default();
        threshold.proved(ip(0));
        let (known, first, second) = (threshold.came(ip(0)), threshold.came(ip(1)), threshold.came(ip(2)));
        let gone = |of: &Owes| of.must_go().now_or_never().is_some();
        assert!(threshold.make_room(Some(ip(3))));
        assert!(gone(&first) && !gone(&second) && !gone(&known));
        drop(second);
        assert!(!threshold.make_room(Some(ip(3))) && !threshold.make_room(None));
        assert!(threshold.make_room(Some(ip(0))) && gone(&known));
        assert!(!threshold.make_room(Some(ip(0))));
        drop((known, first));
        assert!(lock(&threshold.waiting).connections.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let threshold = Threshold::default();
        for n in 0..=limits::KNOWN_ADDRESSES_MAX {
            threshold.proved(ip(n));
        }
        assert_eq!(lock(&threshold.known).len(), limits::KNOWN_ADDRESSES_MAX);
        assert!(!threshold.knows(ip(0)) && threshold.knows(ip(1)) && threshold.knows(ip(limits::KNOWN_ADDRESSES_MAX)));
    }
}
