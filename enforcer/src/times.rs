//! How long the enforcer waits, as far as a configuration may say it. What it does not say is the default in `limits.rs`.
//!
//! INVARIANT: every time here lies between the bounds with which the configuration is read, so none is nothing and none is for ever.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use crate::body::Progress;
use crate::h1::timer::Timer;
use crate::limits;

/// The times of one inbound listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// A place among the handshakes, and then the handshake.
    pub handshake: Duration,
    /// From the handshake to the first byte of the first request.
    pub first_request: Duration,
    /// From the first byte of a head of HTTP/1 to its last.
    pub head: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Connecting to the service.
    pub connect: Duration,
    /// From the last byte of a request to the head of its answer.
    pub response: Duration,
    /// Nothing moves on a request, an answer or a tunnel.
    pub stream: Duration,
    /// From the head of a request to the last byte of its answer.
    pub request: Duration,
    /// How long an idle connection to the service is kept.
    pub upstream_idle: Duration,
    /// How often a caller of HTTP/2 that is silent is asked for a sign of life.
    pub ping: Duration,
    /// How long that sign may take.
    pub pong: Duration,
    /// Within this time, and a tenth of what our old certificate had left, those who were shown it come back.
    pub rotation: Duration,
    /// How long a connection that was asked to end, and on which nothing runs, is waited for.
    pub wind_down: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            handshake: limits::HANDSHAKE_TIMEOUT,
            first_request: limits::FIRST_BYTE_TIMEOUT,
            head: limits::HEAD_TIMEOUT,
            idle: limits::IDLE_TIMEOUT,
            connect: limits::UPSTREAM_CONNECT_TIMEOUT,
            response: limits::UPSTREAM_RESPONSE_TIMEOUT,
            stream: limits::STREAM_IDLE_TIMEOUT,
            request: limits::REQUEST_LIFETIME,
            upstream_idle: limits::POOL_IDLE_TIMEOUT,
            ping: limits::H2_PING_INTERVAL,
            pong: limits::H2_PING_TIMEOUT,
            rotation: limits::ROTATION_DRAIN,
            wind_down: limits::WIND_DOWN_TIMEOUT,
        }
    }
}

/// When an answer that does not move, or the whole of it, is over.
#[derive(Clone, Debug)]
pub struct Due {
    /// Nothing may be still for longer.
    pub silence: Duration,
    /// All of it is over then.
    pub until: Instant,
    /// When something moved last.
    pub moved: Instant,
    /// How the request moves, which may go on beside the answer.
    pub request: Option<std::sync::Arc<Progress>>,
}

impl Due {
    /// The moment.
    #[must_use]
    pub fn at(&self) -> Instant {
        let request = self.request.as_deref().map(|p| Instant::from_std(p.last()));
        let moved = request.map_or(self.moved, |request| request.max(self.moved));
        (moved + self.silence).min(self.until)
    }
}

/// Sees that an answer which the HTTP library reads does not stop in its middle, nor last for ever.
#[derive(Debug)]
pub struct Patience {
    due: Due,
    /// Made when something is first waited for: most answers are here already.
    timer: Option<Timer>,
}

impl Patience {
    /// From now on: nothing may be still for `silence`, and all of it ends within `whole`.
    #[must_use]
    pub fn new(silence: Duration, whole: Duration, request: Option<std::sync::Arc<Progress>>) -> Self {
        let now = Instant::now();
        Self { due: Due { silence, until: now + whole, moved: now, request }, timer: None }
    }

    /// Something moved just now.
    pub fn moved(&mut self) {
        self.due.moved = Instant::now();
    }

    /// Completes when it is over. Asked only while nothing comes.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.timer.get_or_insert_default().poll(cx, self.due.at())
    }

    /// When it is over, for whoever sees to that while nobody asks for the answer.
    #[must_use]
    pub fn due(&self) -> Due {
        self.due.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn silence_ends_it_and_so_does_the_whole_time_however_much_moves() {
        let ms = Duration::from_millis;
        let (silence, long) = (ms(40), ms(3_600_000));
        let mut patience = Patience::new(silence, long, None);
        tokio::time::sleep(ms(30)).await;
        patience.moved();
        let moved = Instant::now();
        poll_fn(|cx| patience.poll(cx)).await;
        assert!(moved.elapsed() >= silence, "it counts from the last movement");
        let mut patience = Patience::new(long, silence, None);
        let began = Instant::now();
        poll_fn(|cx| {
            patience.moved();
            patience.poll(cx)
        })
        .await;
        assert!(began.elapsed() >= silence);
        // A request that moves beside the answer is movement too.
        let request = Progress::start();
        let mut patience = Patience::new(silence, long, Some(std::sync::Arc::clone(&request)));
        tokio::time::sleep(ms(30)).await;
        request.touch();
        let touched = Instant::now();
        poll_fn(|cx| patience.poll(cx)).await;
        assert!(touched.elapsed() >= silence - ms(2), "a millisecond is lost in counting them");
    }
}
