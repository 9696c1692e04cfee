//! A tunnel: bytes both ways, which nobody but the two ends understands.
//!
//! It is begun by the service's word alone (A22), counted, and cut like any answer: by policy, expiry, shutdown, or silence.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use portreeve_engine::record::Why;
use tokio::io::AsyncWrite;
use tokio::time::Instant;

use crate::gate::Running;
use crate::h1::buffer::{Source, Wire};
use crate::h1::timer::Timer;

/// One direction.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    /// The source has ended.
    ended: bool,
    /// The other side was told.
    told: bool,
    bytes: usize,
}

/// Carries bytes between a caller and the service until both have ended or nothing moved for `silence`, and has
/// it recorded why it ended. Whether both had all of it.
pub async fn carry<C, S>(client: &mut Wire<C>, service: &mut Wire<S>, timer: &mut Timer, running: &mut Running, silence: Duration) -> bool
where
    C: Source + AsyncWrite,
    S: Source + AsyncWrite,
{
    let (mut out, mut back) = (Way::default(), Way::default());
    let mut moved = Instant::now();
    let why = poll_fn(|cx| {
        if running.poll_cut(cx).is_ready() {
            return Poll::Ready(None);
        }
        let before = (out.bytes, back.bytes);
        let sent = out.poll(client, service, cx);
        let got = back.poll(service, client, cx);
        running.sent(back.bytes - before.1);
        match (sent, got) {
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(Some(Why::Complete)),
            // Which of the two ends failed is known; whose fault it was is not.
            (Poll::Ready(Err(End::From)), _) | (_, Poll::Ready(Err(End::To))) => return Poll::Ready(Some(Why::Client)),
            (Poll::Ready(Err(End::To)), _) | (_, Poll::Ready(Err(End::From))) => return Poll::Ready(Some(Why::Upstream)),
            _ => {}
        }
        if before != (out.bytes, back.bytes) {
            moved = Instant::now();
        }
        timer.poll(cx, moved + silence).map(|()| Some(Why::Client))
    })
    .await;
    match why {
        Some(why) => running.because(why),
        None => {
            running.denied();
        }
    }
    why == Some(Why::Complete)
}

/// Which end of a way failed.
enum End {
    From,
    To,
}

impl Way {
    fn poll<A, B>(&mut self, from: &mut Wire<A>, to: &mut Wire<B>, cx: &mut Context<'_>) -> Poll<Result<(), End>>
    where
        A: Source + AsyncWrite,
        B: Source + AsyncWrite,
    {
        loop {
            if !from.input.is_empty() && !to.output.is_full() {
                let bytes = from.input.filled();
                to.output.reset();
                to.output.bytes.extend_from_slice(bytes);
                self.bytes += bytes.len();
                from.input.clear();
            }
            if !to.output.is_empty() {
                ready!(to.poll_drain(cx)).map_err(|_: io::Error| End::To)?;
                to.output.reset();
            }
            if self.ended {
                if !self.told {
                    ready!(Pin::new(&mut to.io).poll_shutdown(cx)).map_err(|_| End::To)?;
                    self.told = true;
                }
                return Poll::Ready(Ok(()));
            }
            if ready!(from.poll_fill(cx)).map_err(|_| End::From)? == 0 {
                self.ended = true;
            }
        }
    }
}
