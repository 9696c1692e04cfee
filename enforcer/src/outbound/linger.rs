//! What is left of a request of HTTP/1 that was answered before all of it was read: thrown away within bounds, so that the answer arrives.
//!
//! Closing a connection on which bytes lie unread resets it, and the answer would be lost (RFC 9112, 9.6); and the HTTP library reads a body
//! only as far as somebody takes it. HTTP/1 has one request at a time, so a connection has one such rest at the most.
//!
//! INVARIANT: nothing is spawned. The task of the connection takes the rest, and it ends with the connection at the latest.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::limits::{LINGER_BYTES_MAX, LINGER_TIMEOUT};
use crate::serve::Connection;

/// Where bodies of a connection are left that nobody reads on.
#[derive(Clone, Debug, Default)]
pub struct Rest(Arc<Mutex<Slot>>);

#[derive(Debug, Default)]
struct Slot {
    left: Option<Left>,
    /// The task of the connection.
    task: Option<Waker>,
    /// The connection has ended.
    over: bool,
}

#[derive(Debug)]
struct Left {
    body: Incoming,
    since: Instant,
    thrown: usize,
    /// Made where it is awaited: a body may be left where there is no timer.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Rest {
    /// Leaves a body to the task of its connection.
    pub fn leave(&self, body: Incoming) {
        let mut slot = self.lock();
        if slot.over {
            return;
        }
        let before = slot.left.replace(Left { body, since: Instant::now(), thrown: 0, timer: None });
        let task = slot.task.take();
        drop(slot);
        drop(before);
        task.into_iter().for_each(Waker::wake);
    }

    /// Throws away what has come.
    fn poll(&self, cx: &mut Context<'_>) {
        let mut slot = self.lock();
        slot.task = Some(cx.waker().clone());
        let over = slot.left.as_mut().is_some_and(|left| left.poll(cx).is_ready());
        let left = if over { slot.left.take() } else { None };
        drop(slot);
        // Outside of the lock: the library is told that nobody wants the rest.
        drop(left);
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Left {
    /// Ready when nothing more is to be thrown away.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(self.since + LINGER_TIMEOUT)));
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while self.thrown < LINGER_BYTES_MAX {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => self.thrown += frame.data_ref().map_or(0, Bytes::len),
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}

/// A connection of HTTP/1 whose task takes what its requests leave.
#[derive(Debug)]
pub struct Lingering<C> {
    connection: C,
    rest: Rest,
}

impl<C> Lingering<C> {
    /// A connection, and where its requests leave what nobody reads.
    pub const fn new(connection: C, rest: Rest) -> Self {
        Self { connection, rest }
    }
}

impl<C: Connection + Unpin> Future for Lingering<C> {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.rest.poll(cx);
        Pin::new(&mut self.connection).poll(cx)
    }
}

impl<C: Connection + Unpin> Connection for Lingering<C> {
    fn wind_down(mut self: Pin<&mut Self>) {
        Pin::new(&mut self.connection).wind_down();
    }
}

impl<C> Drop for Lingering<C> {
    fn drop(&mut self) {
        let mut slot = self.rest.lock();
        slot.over = true;
        let left = slot.left.take();
        drop(slot);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;
    use std::time::Duration;

    use http::{Request, Response, StatusCode};
    use http_body_util::Empty;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
    use tokio::runtime::Handle;
    use tokio::time::timeout;

    use super::*;
    use crate::limits;
    use crate::outbound::body::Coming;
    use crate::serve::{self, Phase};

    /// A connection on which every request is denied before its body is read, by a task that is not its own as by its own.
    fn denying(io: DuplexStream, phase: tokio::sync::watch::Receiver<Phase>) -> tokio::task::JoinHandle<()> {
        tokio::spawn(async move {
            let rest = Rest::default();
            let at = rest.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let request = Coming::of(request, &at);
                async move {
                    if request.uri().path() == "/elsewhere" {
                        tokio::spawn(async move { drop(request) }).await.unwrap();
                    }
                    let mut denied = Response::new(Empty::<Bytes>::new());
                    *denied.status_mut() = StatusCode::FORBIDDEN;
                    Ok::<_, Infallible>(denied)
                }
            });
            let connection = serve::http1(limits::IDLE_TIMEOUT).serve_connection(TokioIo::new(io), service);
            let _ = serve::drive(Lingering::new(connection, rest), phase, pending(), || ()).await;
        })
    }

    async fn answer(near: &mut DuplexStream) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(Duration::from_secs(20), near.read_u8()).await.expect("it is answered").unwrap());
        }
        String::from_utf8(head).unwrap()
    }

    #[tokio::test]
    async fn the_rest_of_a_request_is_thrown_away_by_the_task_of_its_connection() {
        for target in ["/", "/elsewhere"] {
            let (_running, phase) = tokio::sync::watch::channel(Phase::Running);
            let (mut near, far) = duplex(1024);
            let serving = denying(far, phase);
            let head = format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n");
            near.write_all(head.as_bytes()).await.unwrap();
            assert!(answer(&mut near).await.starts_with("HTTP/1.1 403"));
            // As much as no buffer holds: somebody takes it, and it is nobody but the one task that was there before.
            timeout(Duration::from_secs(20), near.write_all(&[b'.'; 400_000])).await.expect("it is taken").unwrap();
            assert_eq!(Handle::current().metrics().num_alive_tasks(), 1, "{target}");
            timeout(Duration::from_secs(20), near.write_all(&[b'.'; 100_000])).await.expect("it is taken").unwrap();
            // It was whole, so the connection goes on.
            near.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await.unwrap();
            assert!(answer(&mut near).await.starts_with("HTTP/1.1 403"));
            timeout(Duration::from_secs(20), serving).await.expect("it ends").unwrap();
        }
    }

    #[tokio::test]
    async fn it_is_bounded_in_bytes_and_in_time_and_by_the_end_of_the_drain() {
        let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999999999\r\n\r\n";
        // It sends for ever.
        let (_running, phase) = tokio::sync::watch::channel(Phase::Running);
        let (mut near, far) = duplex(1024);
        let serving = denying(far, phase);
        near.write_all(head).await.unwrap();
        answer(&mut near).await;
        let mut taken = 0;
        while near.write_all(&[b'.'; 1024]).await.is_ok() {
            taken += 1024;
        }
        assert!((LINGER_BYTES_MAX..LINGER_BYTES_MAX + 256 * 1024).contains(&taken), "{taken}");
        serving.await.unwrap();
        // It sends nothing more.
        let (running, phase) = tokio::sync::watch::channel(Phase::Running);
        let (mut near, far) = duplex(1024);
        let serving = denying(far, phase.clone());
        near.write_all(head).await.unwrap();
        answer(&mut near).await;
        let began = Instant::now();
        serving.await.unwrap();
        assert!(began.elapsed() >= LINGER_TIMEOUT.mul_f64(0.9), "{:?}", began.elapsed());
        // The process ends meanwhile.
        let (mut near, far) = duplex(1024);
        let serving = denying(far, phase);
        near.write_all(head).await.unwrap();
        answer(&mut near).await;
        running.send_replace(Phase::Draining);
        tokio::task::yield_now().await;
        assert!(!serving.is_finished());
        running.send_replace(Phase::Cut);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(serving.is_finished(), "the rest is waited for beyond the end of the drain");
        serving.await.unwrap();
    }
}
