//! A connection on which the local service speaks HTTP/2, and its streams, served by one task.
//!
//! The HTTP library wakes a connection for what a stream of it has to say, and a stream for what its connection read. All of them are
//! in one task, so most of these wakings would only have it polled once more for nothing: here each side has a bell of its own, is
//! polled only when it rang, streams before their connection, and what rings while the task is at work does not wake it.
//!
//! INVARIANTS: a bell that rang is answered by a poll, now or, when the task gives way, right after; a task gives way after
//! [`limits::H2_ROUNDS_MAX`] rounds and when the runtime's budget is used up, however much there is to do: what a peer sends without end
//! holds up nobody else on this thread. Nothing is spawned: a stream ends with its connection.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use futures_util::task::AtomicWaker;
use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Write};
use hyper::server::conn::http2;
use hyper::service::HttpService;
use hyper_util::rt::TokioTimer;
use tokio::task::coop;

use crate::gather::{Gathered, Sender, gathered};
use crate::limits;
use crate::serve::Connection;
use crate::tether::{Tether, tied};
use crate::times::Times;

/// Serves HTTP/2, with its `streams` polled by the same task.
pub fn http2<I, S, B>(io: I, service: S, streams: Streams) -> impl Connection + use<I, S, B>
where
    I: Read + Write + Unpin,
    S: HttpService<Incoming, ResBody = B>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (io, sender) = gathered(io);
    Http2::new(settings(streams.clone(), &Times::default()).serve_connection(io, service), sender, streams)
}

fn settings(streams: Streams, times: &Times) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits::H2_STREAMS_MAX)
        .max_pending_accept_reset_streams(limits::H2_PENDING_RESETS_MAX)
        .max_local_error_reset_streams(limits::H2_LOCAL_RESETS_MAX)
        .max_header_list_size(u32::try_from(limits::HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .initial_stream_window_size(limits::H2_STREAM_WINDOW)
        .initial_connection_window_size(limits::H2_CONNECTION_WINDOW)
        .keep_alive_interval(times.ping)
        .keep_alive_timeout(times.pong);
    builder
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection's streams on their way to the task that serves the connection. At most [`limits::H2_STREAMS_MAX`] are open.
#[derive(Clone)]
pub struct Streams {
    /// Gone when the connection is: a stream that nobody will poll must not be kept, since it knows its way here.
    new: Arc<Mutex<Option<New>>>,
    bell: Arc<Bell>,
}

/// What the task of a connection has not seen yet.
#[derive(Default)]
struct New {
    tasks: Vec<Task>,
    /// What may end the next stream.
    tether: Option<Arc<Tether>>,
}

impl Default for Streams {
    fn default() -> Self {
        Self { new: Arc::new(Mutex::new(Some(New::default()))), bell: Arc::new(Bell::at(&Arc::default())) }
    }
}

impl std::fmt::Debug for Streams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Streams").field("bell", &self.bell).finish_non_exhaustive()
    }
}

impl Streams {
    /// Has something run as long as the connection lasts.
    pub fn take(&self, task: impl Future<Output = ()> + Send + 'static) {
        // After the end of the connection nobody would want the answer.
        if let Some(new) = self.lock().as_mut() {
            new.tasks.push(Box::pin(task));
        }
        self.bell.ring();
    }

    /// Says what may end the stream whose request was just put to the service: the library hands its task over next.
    pub fn tie(&self, tether: &Arc<Tether>) {
        if let Some(new) = self.lock().as_mut() {
            new.tether = Some(Arc::clone(tether));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<New>> {
        self.new.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, task: F) {
        let tether = self.lock().as_mut().and_then(|new| new.tether.take());
        self.take(tied(task, tether));
    }
}

/// Whether the task of a connection is at work, and how to have it polled when it is not.
#[derive(Debug, Default)]
struct Door {
    task: AtomicWaker,
    at_work: AtomicBool,
}

/// Says that one side of a connection wants to be polled.
#[derive(Debug)]
struct Bell {
    rang: AtomicBool,
    door: Arc<Door>,
}

impl Bell {
    /// A bell that rang already: a side that was never polled wants to be.
    fn at(door: &Arc<Door>) -> Self {
        Self { rang: AtomicBool::new(true), door: Arc::clone(door) }
    }

    fn ring(&self) {
        self.rang.store(true, Ordering::SeqCst);
        // A task at work looks at its bells before it rests.
        if !self.door.at_work.load(Ordering::SeqCst) {
            self.door.task.wake();
        }
    }

    fn rang(&self) -> bool {
        self.rang.load(Ordering::SeqCst)
    }

    /// Whether it rang; what rings from now on is heard anew.
    fn answer(&self) -> bool {
        self.rang() && self.rang.swap(false, Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

/// An HTTP/2 connection with its streams.
struct Http2<C, I> {
    connection: C,
    /// Sends what the connection wrote, once there is nothing else to do.
    sender: Sender<I>,
    bell: Arc<Bell>,
    /// Rings the connection's bell.
    rings: Waker,
    streams: Streams,
    /// Rings the streams' bell.
    streams_ring: Waker,
    running: FuturesUnordered<Task>,
}

impl<C, I> Http2<C, I> {
    fn new(connection: C, sender: Sender<I>, streams: Streams) -> Self {
        let bell = Arc::new(Bell::at(&streams.bell.door));
        let (rings, streams_ring) = (Waker::from(Arc::clone(&bell)), Waker::from(Arc::clone(&streams.bell)));
        Self { connection, sender, bell, rings, streams, streams_ring, running: FuturesUnordered::new() }
    }
}

impl<C, I> Drop for Http2<C, I> {
    fn drop(&mut self) {
        // Outside of the lock: what ends with a stream is recorded.
        let new = self.streams.lock().take();
        drop(new);
    }
}

impl<C: Future<Output = hyper::Result<()>> + Unpin, I: Read + Write + Unpin> Http2<C, I> {
    /// Streams, then their connection, as long as one of them has something to do and others have had their turn.
    fn poll_rounds(&mut self) -> Poll<hyper::Result<()>> {
        for _ in 0..limits::H2_ROUNDS_MAX {
            if self.streams.bell.answer() {
                self.running.extend(self.streams.lock().iter_mut().flat_map(|new| new.tasks.drain(..)));
                // What they write is framed by the connection right after, in one go with whatever else there is.
                while let Poll::Ready(Some(())) = self.running.poll_next_unpin(&mut Context::from_waker(&self.streams_ring)) {}
            }
            if self.bell.answer()
                && let Poll::Ready(done) = Pin::new(&mut self.connection).poll(&mut Context::from_waker(&self.rings))
            {
                return Poll::Ready(done);
            }
            // Without a budget everything says that it has to wait, and may ring at once.
            if !(self.streams.bell.rang() || self.bell.rang()) || !coop::has_budget_remaining() {
                break;
            }
        }
        Poll::Pending
    }
}

impl<C: Future<Output = hyper::Result<()>> + Unpin, I: Read + Write + Unpin> Future for Http2<C, I> {
    type Output = hyper::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let door = Arc::clone(&this.bell.door);
        door.task.register(cx.waker());
        door.at_work.store(true, Ordering::SeqCst);
        let done = this.poll_rounds();
        // A connection that ends in order has sent everything with its shutdown; any other says its last word if it can. Where the
        // connection is broken, its reader or the next write says so. Whoever waits for room waits as the connection.
        let _ = this.sender.poll_send(&mut Context::from_waker(&this.rings));
        door.at_work.store(false, Ordering::SeqCst);
        if done.is_pending() && (this.streams.bell.rang() || this.bell.rang()) {
            cx.waker().wake_by_ref();
        }
        done
    }
}

impl<I, B, S> Connection for Http2<http2::Connection<Gathered<I>, S, Streams>, I>
where
    S: HttpService<Incoming, ResBody = B>,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: Read + Write + Unpin,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    http2::Connection<Gathered<I>, S, Streams>: Future<Output = hyper::Result<()>> + Unpin,
{
    fn wind_down(mut self: Pin<&mut Self>) {
        Pin::new(&mut self.connection).graceful_shutdown();
        self.bell.ring();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io;
    use std::sync::atomic::AtomicUsize;

    use hyper::rt::ReadBufCursor;
    use tokio::sync::mpsc;

    use super::*;

    /// Takes everything and has nothing.
    struct Nowhere;

    impl Read for Nowhere {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl Write for Nowhere {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A connection that does this whenever it is polled.
    struct Does<F>(F);

    impl<F: FnMut(&mut Context<'_>) -> Poll<()> + Unpin> Future for Does<F> {
        type Output = hyper::Result<()>;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
            (self.0)(cx).map(Ok)
        }
    }

    fn serving<F: FnMut(&mut Context<'_>) -> Poll<()> + Unpin>(streams: &Streams, does: F) -> Http2<Does<F>, Nowhere> {
        Http2::new(Does(does), gathered(Nowhere).1, streams.clone())
    }

    /// A task's waker that counts.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn count(counter: &Arc<AtomicUsize>) -> usize {
        counter.load(Ordering::SeqCst)
    }

    #[test]
    fn what_rings_at_work_is_answered_at_work() {
        let (streams, woken) = (Streams::default(), Arc::new(Woken::default()));
        let (polled, ran) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let mut http2 = serving(&streams, |cx| {
            if polled.fetch_add(1, Ordering::SeqCst) == 0 {
                let (connection, ran) = (cx.waker().clone(), Arc::clone(&ran));
                streams.take(async move {
                    ran.fetch_add(1, Ordering::SeqCst);
                    // What a stream has to say.
                    connection.wake();
                });
            }
            Poll::Pending
        });
        let waker = Waker::from(Arc::clone(&woken));
        let cx = &mut Context::from_waker(&waker);
        assert!(Pin::new(&mut http2).poll(cx).is_pending());
        assert_eq!((count(&polled), count(&ran), woken.0.load(Ordering::SeqCst)), (2, 1, 0));
        assert!(Pin::new(&mut http2).poll(cx).is_pending());
        assert_eq!(count(&polled), 2, "whoever did not ring is not polled");
        http2.rings.wake_by_ref();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "what rings while nobody is at work wakes the task");
        assert!(Pin::new(&mut http2).poll(cx).is_pending());
        assert_eq!(count(&polled), 3);
    }

    #[test]
    fn a26_streams_without_end_give_way() {
        let (streams, woken) = (Streams::default(), Arc::new(Woken::default()));
        let (polled, ran) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let mut http2 = serving(&streams, |cx| {
            assert!(polled.fetch_add(1, Ordering::SeqCst) < 100, "it never ends");
            let ran = Arc::clone(&ran);
            streams.take(async move {
                ran.fetch_add(1, Ordering::SeqCst);
            });
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let waker = Waker::from(Arc::clone(&woken));
        assert!(Pin::new(&mut http2).poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!((count(&polled), count(&ran)), (limits::H2_ROUNDS_MAX, limits::H2_ROUNDS_MAX - 1));
        assert_eq!(woken.0.load(Ordering::SeqCst), 1, "it comes back after the others");
    }

    /// Streams alone can ring without end, too: nobody but they has a reason to come back then.
    #[test]
    fn a26_a_stream_that_rings_without_end_gives_way_and_comes_back() {
        let (streams, woken, ran) = (Streams::default(), Arc::new(Woken::default()), Arc::<AtomicUsize>::default());
        let mut http2 = serving(&streams, |_| Poll::Pending);
        let turns = Arc::clone(&ran);
        streams.take(poll_fn(move |cx| {
            assert!(turns.fetch_add(1, Ordering::SeqCst) < 1000, "it never ends");
            cx.waker().wake_by_ref();
            Poll::Pending
        }));
        let waker = Waker::from(Arc::clone(&woken));
        for turn in 1..=3 {
            let before = count(&ran);
            assert!(Pin::new(&mut http2).poll(&mut Context::from_waker(&waker)).is_pending());
            assert!(count(&ran) > before);
            assert_eq!(woken.0.load(Ordering::SeqCst), turn, "it comes back after the others");
        }
    }

    /// A connection that takes nothing for a while, and then does.
    #[derive(Default)]
    struct Slow {
        sent: Arc<AtomicUsize>,
        waits: Arc<Mutex<Option<Waker>>>,
        open: Arc<AtomicBool>,
    }

    impl Read for Slow {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl Write for Slow {
        fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if !self.open.load(Ordering::SeqCst) {
                *self.waits.lock().unwrap() = Some(cx.waker().clone());
                return Poll::Pending;
            }
            self.sent.fetch_add(bytes.len(), Ordering::SeqCst);
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn what_could_not_be_sent_is_sent_as_soon_as_it_can_be() {
        let (streams, woken, slow) = (Streams::default(), Arc::new(Woken::default()), Slow::default());
        let (sent, waits, open) = (Arc::clone(&slow.sent), Arc::clone(&slow.waits), Arc::clone(&slow.open));
        let (mut library, sender) = gathered(slow);
        let mut said = false;
        let connection = Does(|cx: &mut Context<'_>| {
            if !std::mem::replace(&mut said, true) {
                assert!(Pin::new(&mut library).poll_write(cx, b"answer").is_ready());
            }
            Poll::Pending
        });
        let mut http2 = Http2::new(connection, sender, streams);
        let waker = Waker::from(Arc::clone(&woken));
        assert!(Pin::new(&mut http2).poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!((count(&sent), woken.0.load(Ordering::SeqCst)), (0, 0));
        // The peer reads, and says nothing that would wake anybody else.
        open.store(true, Ordering::SeqCst);
        waits.lock().unwrap().take().expect("it waits").wake();
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
        assert!(Pin::new(&mut http2).poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(count(&sent), 6);
    }

    /// A peer that sends without end uses the budget up; then all that is asked for something says that it has to wait, and wakes.
    #[tokio::test]
    async fn a26_without_a_budget_it_gives_way_at_once() {
        let (streams, most) = (Streams::default(), Arc::<AtomicUsize>::default());
        let (frames, mut received) = mpsc::unbounded_channel();
        (0..10_000).for_each(|n| frames.send(n).unwrap());
        let (mut taken, in_a_row) = (0, Arc::<AtomicUsize>::default());
        let mut http2 = serving(&streams, |cx| {
            most.fetch_max(in_a_row.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            while let Poll::Ready(Some(_)) = received.poll_recv(cx) {
                taken += 1;
                streams.take(async {});
            }
            // The runtime tells whoever waits for a budget after this turn; others need not be as kind.
            cx.waker().wake_by_ref();
            if taken == 10_000 { Poll::Ready(()) } else { Poll::Pending }
        });
        poll_fn(|cx| {
            in_a_row.store(0, Ordering::SeqCst);
            Pin::new(&mut http2).poll(cx)
        })
        .await
        .unwrap();
        assert_eq!(count(&most), 1);
    }

    #[tokio::test]
    async fn no_ring_from_another_thread_is_missed() {
        let (streams, said) = (Streams::default(), Arc::<AtomicUsize>::default());
        let (rings, heard) = std::sync::mpsc::channel::<Waker>();
        let theirs = Arc::clone(&said);
        let thread = std::thread::spawn(move || {
            // Each ring is answered by a poll, whatever that poll was doing.
            for ring in heard {
                theirs.fetch_add(1, Ordering::SeqCst);
                ring.wake();
            }
        });
        let (mut seen, mut polls) = (usize::MAX, 0);
        let mut http2 = serving(&streams, |cx| {
            let now = count(&said);
            if now == 20_000 {
                return Poll::Ready(());
            }
            if now != seen {
                seen = now;
                rings.send(cx.waker().clone()).unwrap();
            }
            polls += 1;
            Poll::Pending
        });
        tokio::time::timeout(std::time::Duration::from_secs(60), &mut http2).await.expect("a ring was missed").unwrap();
        drop(http2);
        assert!(polls >= 20_000);
        drop(rings);
        thread.join().unwrap();
    }

    #[test]
    fn streams_end_with_their_connection() {
        let (streams, held) = (Streams::default(), Arc::new(()));
        let http2 = serving(&streams, |_| Poll::Pending);
        let stream = |streams: &Streams| {
            let kept = (streams.clone(), Arc::clone(&held));
            streams.take(async move {
                std::future::pending::<()>().await;
                drop(kept);
            });
        };
        stream(&streams);
        assert_eq!(Arc::strong_count(&held), 2);
        drop(http2);
        assert_eq!(Arc::strong_count(&held), 1, "what was never polled ends too");
        stream(&streams);
        assert_eq!(Arc::strong_count(&held), 1, "what comes afterwards is not kept");
    }
}
