//! One timer for a connection.
//!
//! It is set again only when it has to ring earlier, or has rung too early: a request costs no timer of its own.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// A timer that is asked about ever new moments.
#[derive(Debug)]
pub struct Timer(Pin<Box<Sleep>>);

impl Default for Timer {
    fn default() -> Self {
        Self(Box::pin(sleep(FAR)))
    }
}

impl Timer {
    /// Whether `at` has come.
    pub fn poll(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        if self.0.deadline() > at {
            self.0.as_mut().reset(at);
        }
        loop {
            ready!(self.0.as_mut().poll(cx));
            if Instant::now() >= at {
                return Poll::Ready(());
            }
            self.0.as_mut().reset(at);
        }
    }
}

const FAR: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn it_never_rings_before_the_moment_asked_for() {
        let mut timer = Timer::default();
        let began = Instant::now();
        let at = |ms| began + Duration::from_millis(ms);
        poll_fn(|cx| {
            assert!(timer.poll(cx, at(20)).is_pending());
            assert!(timer.poll(cx, at(60)).is_pending());
            Poll::Ready(())
        })
        .await;
        for ms in [60, 80] {
            poll_fn(|cx| timer.poll(cx, at(ms))).await;
            assert!(Instant::now() >= at(ms));
        }
        poll_fn(|cx| timer.poll(cx, began)).await;
    }
}
