//! Our own connections, so that one that leads back to us is found: where the enforcer's user is not excepted from the redirection,
//! each way out comes in again, is judged again, and opens another one.
//!
//! INVARIANT: both ends of such a connection are ours, and are known here by the pair of addresses that the system gave no other
//! connection. Whichever is known second finds the first, so it matters not which thread is quicker: where something was let through
//! without waiting for its first byte, the chain ends as soon as the thread goes on that opened one of its members. What is known
//! here is open, so its number is bounded by that of connections.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::net::TcpStream;

use super::limits::OWN_TOLD;
use crate::report::Report;

/// From where to where, as whoever opened it sees it.
type Pair = (SocketAddr, SocketAddr);

/// The connections of one enforcer that could meet themselves.
#[derive(Debug)]
pub struct Own {
    report: Report,
    known: Mutex<Known>,
    told: Mutex<Option<Instant>>,
}

#[derive(Debug, Default)]
struct Known {
    opened: HashSet<Pair>,
    came: HashSet<Pair>,
}

/// A connection that is known as long as this is held.
#[derive(Debug)]
pub struct Ours {
    own: Arc<Own>,
    pair: Option<Pair>,
    opened: bool,
}

impl Own {
    /// None is known yet. What can be mended by the operator alone is told to `report`.
    #[must_use]
    pub fn new(report: Report) -> Arc<Self> {
        Arc::new(Self { report, known: Mutex::default(), told: Mutex::default() })
    }

    /// A connection that we opened. `None` where it led to ourselves.
    #[must_use]
    pub fn opened(self: &Arc<Self>, stream: &TcpStream) -> Option<Ours> {
        let pair = stream.local_addr().ok().zip(stream.peer_addr().ok());
        self.hold(pair, true)
    }

    /// A connection of the local service that was meant for this address. `None` where we opened it.
    #[must_use]
    pub fn came(self: &Arc<Self>, stream: &TcpStream, meant: SocketAddr) -> Option<Ours> {
        self.hold(stream.peer_addr().ok().map(|from| (from, meant)), false)
    }

    fn hold(self: &Arc<Self>, pair: Option<Pair>, opened: bool) -> Option<Ours> {
        let pair = pair.map(|(from, to)| (canonical(from), canonical(to)));
        if let Some(pair) = pair {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            let Known { opened: ours, came } = &mut *known;
            let (mine, theirs) = if opened { (ours, came) } else { (came, ours) };
            if theirs.contains(&pair) {
                drop(known);
                self.tell(pair.1);
                return None;
            }
            mine.insert(pair);
        }
        Some(Ours { own: Arc::clone(self), pair, opened })
    }

    /// Tells of it, and not of each connection.
    fn tell(&self, meant: SocketAddr) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= OWN_TOLD) {
            *told = Some(Instant::now());
            self.report.tell(&format!(
                "our own connection to `{meant}` is redirected to itself and refused; except the user of the enforcer from the redirection"
            ));
        }
    }
}

impl Drop for Ours {
    fn drop(&mut self) {
        if let Some(pair) = self.pair {
            let mut known = self.own.known.lock().unwrap_or_else(PoisonError::into_inner);
            let of = if self.opened { &mut known.opened } else { &mut known.came };
            of.remove(&pair);
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_end_finds_the_first() {
        let told = Arc::new(Mutex::new(0));
        let sink = Arc::clone(&told);
        let own = Own::new(Report::new(move |_| *sink.lock().unwrap() += 1));
        let pair = |port: u16| Some((SocketAddr::from(([10, 0, 0, 1], port)), SocketAddr::from(([10, 0, 0, 2], 443))));
        for first in [true, false] {
            let held = own.hold(pair(1), first).unwrap();
            assert!(own.hold(pair(1), !first).is_none());
            let other = own.hold(pair(2), !first);
            assert!(other.is_some(), "the same way from another port is another connection");
            drop((held, other));
            drop(own.hold(pair(1), !first).unwrap());
        }
        assert_eq!(*told.lock().unwrap(), 1, "both, and one was told");
        let known = own.known.lock().unwrap();
        assert!(known.opened.is_empty() && known.came.is_empty());
    }
}
