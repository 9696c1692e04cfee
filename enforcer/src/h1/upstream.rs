//! HTTP/1 connections to the service behind the enforcer, kept and used again.
//!
//! A connection goes back only after an answer that was whole and left nothing behind, so an answer can never be read as another
//! request's. Each worker has a pool of its own for each listener: nothing is shared on the way of a request.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::h1::buffer::Wire;
use crate::h1::link::Link;
use crate::h1::timer::Timer;
use crate::limits;
use crate::pool::SendError;
use crate::socket::Socket;
use crate::times::Times;

/// Connections to one service.
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    times: Times,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    wire: Wire<Link>,
    since: Instant,
    timer: Option<Timer>,
}

/// A connection lent to one request.
#[derive(Debug)]
pub struct Lent {
    /// The connection.
    pub wire: Wire<Link>,
    /// Whether it has served a request before, so that its end may only mean that it was idle for too long.
    pub used: bool,
    /// A timer that another request used, for whoever needs one.
    pub timer: Option<Timer>,
}

impl Upstream {
    /// No connections yet.
    #[must_use]
    pub const fn new(address: SocketAddr, times: Times) -> Self {
        Self { address, times, idle: Mutex::new(Vec::new()) }
    }

    /// How long callers and service are waited for.
    #[must_use]
    pub const fn times(&self) -> &Times {
        &self.times
    }

    /// An idle connection that is still open and silent at this time.
    pub fn take(&self, now: Instant) -> Option<Lent> {
        loop {
            let Idle { wire, since, timer } = self.lock().pop()?;
            if now.saturating_duration_since(since) > self.times.upstream_idle {
                // The ones below have been idle for longer.
                self.lock().clear();
                return None;
            }
            // Else it has an end, or bytes that nobody asked for.
            if wire.io.is_silent() {
                return Some(Lent { wire, used: true, timer });
            }
        }
    }

    /// A new connection.
    ///
    /// # Errors
    /// There is none, or not in time.
    pub async fn connect(&self) -> Result<Lent, SendError> {
        let stream = timeout(self.times.connect, TcpStream::connect(self.address)).await;
        let stream = stream.map_err(|_| SendError::ConnectTimeout)?.map_err(SendError::Connect)?;
        let socket = Socket::new(stream).map_err(SendError::Connect)?;
        Ok(Lent { wire: Wire::new(Link::new(socket)), used: false, timer: None })
    }

    /// Takes a connection back, whose answer was read to its end at this time.
    pub fn give_back(&self, mut wire: Wire<Link>, timer: Option<Timer>, now: Instant) {
        if !wire.input.is_empty() || !wire.output.is_empty() {
            return;
        }
        wire.output.shrink();
        wire.input.shrink();
        let mut idle = self.lock();
        if idle.len() < limits::POOL_IDLE_MAX {
            idle.push(Idle { wire, since: now, timer });
        }
    }

    /// Closes what has been idle for too long.
    pub fn sweep(&self) {
        self.lock().retain(|idle| idle.since.elapsed() <= self.times.upstream_idle);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
