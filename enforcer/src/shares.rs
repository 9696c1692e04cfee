//! How many connections each identity holds of a listener.
//!
//! An address has a share of a listener's connections before anybody knows who calls. That bounds no caller that comes from many
//! addresses, as a service of many instances does, or whoever has its key: so an identity has a share, too, asked for once it is proved.
//! A fixed half would be taken whole by two identities together. This share is measured by what is free.
//!
//! INVARIANT: an identity takes at most half of what the others have left, so that whoever comes next has the same; of those that
//! come together none has more than the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use portreeve_engine::SpiffeId;

use crate::limits;
use crate::tls::{Refusal, VerifiedPeer};

/// The connections of one listener whose handshake is complete, by identity. Only identities that have one are remembered.
#[derive(Clone, Debug, Default)]
pub struct Shares(Arc<Mutex<Held>>);

#[derive(Debug, Default)]
struct Held {
    all: usize,
    by_identity: HashMap<SpiffeId, usize>,
}

/// A connection's place in the share of its identity, given back when this is dropped.
#[derive(Debug)]
pub struct Share {
    shares: Shares,
    id: SpiffeId,
}

impl Shares {
    /// A completed handshake with a place in its peer's share.
    ///
    /// # Errors
    /// [`Refusal::IdentityShare`]: the share is full.
    pub fn admit<S>(&self, (stream, peer): (S, VerifiedPeer)) -> Result<(S, VerifiedPeer, Share), Refusal> {
        let share = self.enter(&peer.svid().id, limits::CONNECTIONS_MAX).ok_or(Refusal::IdentityShare)?;
        Ok((stream, peer, share))
    }

    fn enter(&self, id: &SpiffeId, max: usize) -> Option<Share> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = held.by_identity.get(id).copied().unwrap_or(0);
        if own >= limits::CONNECTIONS_PER_IDENTITY_PER_FREE * max.saturating_sub(held.all) {
            return None;
        }
        held.all += 1;
        match held.by_identity.get_mut(id) {
            Some(count) => *count += 1,
            None => drop(held.by_identity.insert(id.clone(), 1)),
        }
        Some(Share { shares: self.clone(), id: id.clone() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.all -= 1;
        if let Some(count) = held.by_identity.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                held.by_identity.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: usize) -> SpiffeId {
        format!("spiffe://market.example/sa/{n}").parse().unwrap()
    }

    #[test]
    fn a64_whoever_comes_next_finds_half_of_what_is_left() {
        let (shares, mut held) = (Shares::default(), Vec::new());
        for n in 0..6 {
            let free = 64 - held.len();
            while let Some(share) = shares.enter(&id(n), 64) {
                held.push(share);
            }
            assert_eq!(64 - held.len(), free / 2, "{n}");
        }
        held.clear();
        let left = shares.0.lock().unwrap();
        assert!(left.all == 0 && left.by_identity.is_empty());
    }

    #[test]
    fn identities_that_come_together_have_the_same() {
        let (shares, mut held) = (Shares::default(), Vec::new());
        let mut took = [0; 4];
        for round in 0..4000 {
            if let Some(share) = shares.enter(&id(round % 4), 1000) {
                held.push(share);
                took[round % 4] += 1;
            }
        }
        assert_eq!(took, [200; 4], "a fifth stays free for a fifth one");
        assert!(shares.enter(&id(9), 1000).is_some());
    }
}
