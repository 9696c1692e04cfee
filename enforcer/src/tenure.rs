//! How long a connection may last: until the peer's certificate, our own identity or the roots and lists between them say no.
//!
//! INVARIANT: what a new handshake would be refused for ends an open connection too (A65, A72), at the moment at which it comes
//! about: time alone is awaited, changes are told.

use std::time::Duration;

use portreeve_engine::Timestamp;
use portreeve_engine::record::Why;
use tokio::time::sleep;

use crate::gate::Gate;
use crate::limits;
use crate::tls::{Refusal, Standing, VerifiedPeer};

/// Completes with the reason when a connection with this peer may not go on. It may be dropped at any time.
pub async fn over(gate: &Gate, peer: &VerifiedPeer) -> Why {
    // Asked for first, judged then: a change in between is not missed (A78).
    let mut changes = gate.identity.changes();
    let mut judged_under = peer.judged_under();
    let mut next_end: Option<Timestamp> = None;
    loop {
        let now = gate.clock.now();
        let identity = gate.identity.load_full();
        if let Err(refusal) = identity.in_force(now) {
            return why(refusal, identity.standing(now));
        }
        if peer.until() <= now {
            return Why::Expired;
        }
        // While roots and lists stay the same and none of them ended, the peer stays as good as it was.
        if (judged_under != Some(identity.trust_generation()) || next_end.is_some_and(|end| end <= now))
            && let Err(refusal) = identity.judge_again(peer, now)
        {
            return why(refusal, identity.standing(now));
        }
        judged_under = Some(identity.trust_generation());
        let end = identity.next_end(peer, now);
        next_end = Some(end);
        // A timer does not see the clock being set, so it never sleeps for long.
        let left = u64::try_from(end.unix_ms().saturating_sub(now.unix_ms())).unwrap_or(0);
        tokio::select! {
            () = sleep(Duration::from_millis(left).min(limits::LOOK_AGAIN)) => {}
            changed = changes.changed() => if changed.is_err() {
                // The gate is gone, and with it whoever could end this connection.
                return Why::Shutdown;
            },
        }
    }
}

/// Completes with the reason when our own identity may not be used: nobody is called without one. It may be dropped at any time.
pub async fn own_over(gate: &Gate) -> Why {
    let mut changes = gate.identity.changes();
    loop {
        let (now, identity) = (gate.clock.now(), gate.identity.load_full());
        if let Err(refusal) = identity.in_force(now) {
            return why(refusal, identity.standing(now));
        }
        let left = u64::try_from(identity.not_after().unix_ms().saturating_sub(now.unix_ms())).unwrap_or(0);
        tokio::select! {
            () = sleep(Duration::from_millis(left).min(limits::LOOK_AGAIN)) => {}
            changed = changes.changed() => if changed.is_err() {
                return Why::Shutdown;
            },
        }
    }
}

fn why(refusal: Refusal, own: Standing) -> Why {
    match (refusal, own) {
        (Refusal::CertificateExpired, _) | (Refusal::OwnIdentity, Standing::Over) => Why::Expired,
        _ => Why::Revoked,
    }
}
