//! The turns of the one task of a connection: whom it polls, when it gives way, and that it comes back.

use std::future::{pending, poll_fn};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use tokio::sync::mpsc;

use super::*;
use crate::h2::connection::Task;
use crate::limits;

/// A service that has this run for each request.
struct Runs<F>(F);

impl<F: FnMut(&str) -> Task<Reply<Pieces>>> Service for Runs<F> {
    type Body = Pieces;

    const TUNNELS: bool = false;

    fn call(&mut self, head: Head<'_>, _: Given) -> Called<Pieces> {
        Called::Later((self.0)(head.target))
    }

    fn refuse(&mut self, fault: Fault) -> Response<Pieces> {
        panic!("{fault:?}")
    }
}

/// A task's waker that counts.
#[derive(Default)]
struct Counts(AtomicUsize);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Running<F> = Pin<Box<Connection<Io, Runs<F>>>>;

/// A connection that was begun, and these were asked for on it, but that was not polled.
fn asked<F: FnMut(&str) -> Task<Reply<Pieces>> + Unpin>(paths: &[&str], runs: F) -> (Running<F>, Io) {
    let io = Io::default();
    let gets = (1..).step_by(2).zip(paths).flat_map(|(stream, path)| get(stream, path));
    let begun = [frame::PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
    io.0.lock().unwrap().sent.extend(begun.into_iter().chain(gets));
    (Box::pin(Connection::new(io.clone(), Runs(runs), &times())), io)
}

fn count(counter: &Arc<AtomicUsize>) -> usize {
    counter.load(Ordering::SeqCst)
}

#[tokio::test]
async fn who_did_not_ring_is_not_polled_and_what_rings_at_work_wakes_nobody() {
    let (polls, ring) = (Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]), Arc::new(Mutex::new(None)));
    let (counted, rings) = (Arc::clone(&polls), Arc::clone(&ring));
    let (mut connection, _io) = asked(&["/0", "/1"], move |path| {
        let (polls, ring, which) = (Arc::clone(&counted), Arc::clone(&rings), usize::from(path == "/1"));
        Box::pin(poll_fn(move |cx: &mut Context<'_>| {
            // The first one rings once, while it is polled.
            if polls[which].fetch_add(1, Ordering::SeqCst) == 0 && which == 0 {
                cx.waker().wake_by_ref();
            }
            if which == 1 {
                *ring.lock().unwrap() = Some(cx.waker().clone());
            }
            Poll::Pending
        }))
    });
    let woken = Arc::new(Counts::default());
    let waker = Waker::from(Arc::clone(&woken));
    let cx = &mut Context::from_waker(&waker);
    let polled = |which: usize| polls[which].load(Ordering::SeqCst);
    assert!(connection.as_mut().poll(cx).is_pending());
    assert_eq!((polled(0), polled(1), woken.0.load(Ordering::SeqCst)), (2, 1, 0));
    assert!(connection.as_mut().poll(cx).is_pending());
    assert_eq!((polled(0), polled(1)), (2, 1));
    ring.lock().unwrap().take().unwrap().wake();
    assert_eq!(woken.0.load(Ordering::SeqCst), 1, "what rings while nobody is at work wakes the task");
    assert!(connection.as_mut().poll(cx).is_pending());
    assert_eq!((polled(0), polled(1)), (2, 2));
}

#[tokio::test]
async fn a26_a_stream_that_rings_without_end_gives_way_and_comes_back() {
    let polls = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&polls);
    let (mut connection, _io) = asked(&["/"], move |_| {
        let polls = Arc::clone(&counted);
        Box::pin(poll_fn(move |cx: &mut Context<'_>| {
            assert!(polls.fetch_add(1, Ordering::SeqCst) < 1000, "it never ends");
            cx.waker().wake_by_ref();
            Poll::Pending
        }))
    });
    let woken = Arc::new(Counts::default());
    let waker = Waker::from(Arc::clone(&woken));
    for turn in 1..=3 {
        let before = count(&polls);
        assert!(connection.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        let now = count(&polls) - before;
        assert!((1..=limits::H2_ROUNDS_MAX).contains(&now), "{now}");
        assert_eq!(woken.0.load(Ordering::SeqCst), turn, "it comes back after the others");
    }
}

/// What comes without end uses the budget up; then all that is asked for something says that it has to wait, and wakes.
#[tokio::test]
async fn a26_without_a_budget_it_gives_way_at_once() {
    let (most, in_a_row) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (frames, received) = mpsc::unbounded_channel();
    (0..10_000).for_each(|n| frames.send(n).unwrap());
    let mut received = Some(received);
    let (counted, row) = (Arc::clone(&most), Arc::clone(&in_a_row));
    let taken = Arc::<AtomicUsize>::default();
    let takes = Arc::clone(&taken);
    let (mut connection, _io) = asked(&["/"], move |_| {
        let (most, in_a_row, taken) = (Arc::clone(&counted), Arc::clone(&row), Arc::clone(&takes));
        let mut received = received.take().unwrap();
        Box::pin(poll_fn(move |cx: &mut Context<'_>| {
            most.fetch_max(in_a_row.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            while let Poll::Ready(Some(_)) = received.poll_recv(cx) {
                taken.fetch_add(1, Ordering::SeqCst);
            }
            // The runtime tells whoever waits for a budget after this turn; others need not be as kind.
            if count(&taken) < 10_000 {
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        }))
    });
    poll_fn(|cx| {
        in_a_row.store(0, Ordering::SeqCst);
        assert!(connection.as_mut().poll(cx).is_pending());
        if count(&taken) < 10_000 { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    assert_eq!(count(&most), 1);
}

#[tokio::test]
async fn no_ring_from_another_thread_is_missed() {
    let said = Arc::<AtomicUsize>::default();
    let (rings, heard) = std::sync::mpsc::channel::<Waker>();
    let theirs = Arc::clone(&said);
    let thread = std::thread::spawn(move || {
        // Each ring is answered by a poll, whatever that poll was doing.
        for ring in heard {
            theirs.fetch_add(1, Ordering::SeqCst);
            ring.wake();
        }
    });
    let (saw, done) = (Arc::clone(&said), Arc::<AtomicUsize>::default());
    let finished = Arc::clone(&done);
    let (mut connection, _io) = asked(&["/"], move |_| {
        let (said, rings, done, mut seen) = (Arc::clone(&saw), rings.clone(), Arc::clone(&finished), usize::MAX);
        Box::pin(poll_fn(move |cx: &mut Context<'_>| {
            let now = count(&said);
            if now == 20_000 {
                done.store(1, Ordering::SeqCst);
            } else if now != seen {
                seen = now;
                rings.send(cx.waker().clone()).unwrap();
            }
            Poll::Pending
        }))
    });
    let heard = poll_fn(|cx| {
        assert!(connection.as_mut().poll(cx).is_pending());
        if count(&done) == 1 { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::time::timeout(Duration::from_secs(60), heard).await.expect("a ring was missed");
    drop(connection);
    thread.join().unwrap();
}

#[tokio::test]
async fn streams_end_with_their_connection() {
    let held = Arc::new(());
    let kept = Arc::clone(&held);
    let (mut connection, _io) = asked(&["/", "/"], move |_| {
        let kept = Arc::clone(&kept);
        Box::pin(async move {
            pending::<()>().await;
            drop(kept);
            pending().await
        })
    });
    assert!(connection.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(Arc::strong_count(&held), 4);
    drop(connection);
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test]
async fn what_is_ready_together_leaves_together_and_as_soon_as_it_can() {
    let answers = |_: &str| -> Task<Reply<Pieces>> {
        let answer = Shop::default().answer(200, 10);
        Box::pin(async move { Reply::Answer(answer) })
    };
    let (mut connection, io) = asked(&["/"; 20], answers);
    assert!(connection.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(io.0.lock().unwrap().writes, 1);
    // Where the connection takes nothing for now.
    let (mut connection, io) = asked(&["/"; 20], answers);
    io.0.lock().unwrap().takes = Some(0);
    let woken = Arc::new(Counts::default());
    let waker = Waker::from(Arc::clone(&woken));
    let cx = &mut Context::from_waker(&waker);
    assert!(connection.as_mut().poll(cx).is_pending());
    assert_eq!((io.0.lock().unwrap().got.len(), woken.0.load(Ordering::SeqCst)), (0, 0));
    let mut ends = io.0.lock().unwrap();
    (ends.takes, ends.writes) = (None, 0);
    ends.writer.take().expect("it waits").wake();
    drop(ends);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1, "the other side reads, and says nothing that would wake anybody else");
    assert!(connection.as_mut().poll(cx).is_pending());
    let ends = io.0.lock().unwrap();
    assert!(ends.got.len() > 20 * 10);
    assert_eq!(ends.writes, 1);
}
