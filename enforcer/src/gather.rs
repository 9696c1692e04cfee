//! The writes of one HTTP/2 connection, gathered.
//!
//! The HTTP library writes and flushes after each frame with a body of some size, and each write is a record of TLS and a system
//! call. Here a flush is only noted: the task that serves the connection sends once it has nothing else to do, so answers that are
//! ready at the same time leave together.
//!
//! INVARIANTS: bytes leave in the order in which they were written; what waits is bounded by [`limits::GATHERED_BYTES_MAX`], and
//! a writer that would go beyond waits for the connection; a shutdown sends what waits first.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};

use crate::h1::buffer::{hand_back, spare};
use crate::limits;

/// The end of a connection that the HTTP library reads and writes.
#[derive(Debug)]
pub struct Gathered<I>(Arc<Mutex<Gathering<I>>>);

/// The end of a connection that sends what was gathered.
#[derive(Debug)]
pub struct Sender<I>(Arc<Mutex<Gathering<I>>>);

#[derive(Debug)]
struct Gathering<I> {
    io: I,
    waiting: Vec<u8>,
    /// So many of them are gone.
    sent: usize,
    /// Something was written that the connection was not told to flush.
    unflushed: bool,
    /// A writer waits for room.
    crowded: bool,
}

/// Both ends of a connection whose writes are gathered.
pub fn gathered<I>(io: I) -> (Gathered<I>, Sender<I>) {
    let both = Arc::new(Mutex::new(Gathering { io, waiting: Vec::new(), sent: 0, unflushed: false, crowded: false }));
    (Gathered(Arc::clone(&both)), Sender(both))
}

/// Both ends belong to one task, so nobody ever waits here.
fn lock<I>(both: &Mutex<Gathering<I>>) -> MutexGuard<'_, Gathering<I>> {
    both.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<I: Read + Write + Unpin> Sender<I> {
    /// Sends what waits, and wakes again where a writer waited for the room that this made: both belong to one task.
    ///
    /// # Errors
    /// The connection's.
    pub fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut both = lock(&self.0);
        ready!(both.poll_drain(cx))?;
        // Whoever made the room is not who waits for it.
        if std::mem::take(&mut both.crowded) {
            cx.waker().wake_by_ref();
        }
        if both.unflushed {
            ready!(Pin::new(&mut both.io).poll_flush(cx))?;
            both.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Read + Write + Unpin> Gathering<I> {
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.waiting.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let n = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += n;
            self.unflushed = true;
        }
        self.sent = 0;
        // An idle connection holds nothing.
        hand_back(std::mem::take(&mut self.waiting));
        Poll::Ready(Ok(()))
    }

    /// Takes as much as there is room for; what is larger than all the room goes straight through.
    fn poll_take(&mut self, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let total: usize = parts.iter().map(|part| part.len()).sum();
        if self.waiting.len() + total > limits::GATHERED_BYTES_MAX {
            self.crowded = true;
            ready!(self.poll_drain(cx))?;
            self.crowded = false;
            if total > limits::GATHERED_BYTES_MAX {
                let n = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, parts))?;
                self.unflushed = true;
                return Poll::Ready(Ok(n));
            }
        }
        if self.waiting.capacity() == 0 && total > 0 {
            self.waiting = spare();
        }
        for part in parts {
            self.waiting.extend_from_slice(part);
        }
        Poll::Ready(Ok(total))
    }
}

impl<I: Read + Unpin> Read for Gathered<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).io).poll_read(cx, buf)
    }
}

impl<I: Read + Write + Unpin> Write for Gathered<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_take(cx, &[IoSlice::new(bytes)])
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut both = lock(&self.0);
        ready!(both.poll_drain(cx))?;
        Pin::new(&mut both.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        lock(&self.0).poll_take(cx, parts)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes so many bytes with each write, as long as it may.
    #[derive(Debug, Default)]
    struct Slow {
        taken: Vec<Vec<u8>>,
        step: usize,
        open: usize,
        flushed: usize,
        shut: bool,
    }

    impl Read for Slow {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl Write for Slow {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            if self.open == 0 {
                return Poll::Pending;
            }
            self.open -= 1;
            let n = bytes.len().min(self.step);
            self.taken.push(bytes[..n].to_vec());
            Poll::Ready(Ok(n))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.flushed += 1;
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.shut = true;
            Poll::Ready(Ok(()))
        }
    }

    fn pair(step: usize, open: usize) -> (Gathered<Slow>, Sender<Slow>) {
        gathered(Slow { step, open, ..Slow::default() })
    }

    fn all(sender: &Sender<Slow>) -> Vec<u8> {
        lock(&sender.0).io.taken.concat()
    }

    #[test]
    fn writes_and_flushes_leave_together() {
        let cx = &mut Context::from_waker(Waker::noop());
        let (mut library, sender) = pair(usize::MAX, usize::MAX);
        for word in ["one ", "two ", "three"] {
            assert!(matches!(Pin::new(&mut library).poll_write(cx, word.as_bytes()), Poll::Ready(Ok(n)) if n == word.len()));
            assert!(Pin::new(&mut library).poll_flush(cx).is_ready());
        }
        assert!(all(&sender).is_empty(), "nothing leaves before the task has nothing else to do");
        assert!(matches!(sender.poll_send(cx), Poll::Ready(Ok(()))));
        let sent = &lock(&sender.0).io;
        assert_eq!((sent.taken.len(), sent.taken.concat(), sent.flushed), (1, b"one two three".to_vec(), 1));
    }

    #[test]
    fn a_slow_connection_holds_the_writer_up_and_keeps_the_order() {
        let cx = &mut Context::from_waker(Waker::noop());
        let (mut library, sender) = pair(1000, 0);
        let piece = |n: u8| vec![n; limits::GATHERED_BYTES_MAX / 4];
        for n in 0..4 {
            assert!(Pin::new(&mut library).poll_write(cx, &piece(n)).is_ready());
        }
        assert!(Pin::new(&mut library).poll_write(cx, &piece(4)).is_pending(), "no more than the bound waits");
        assert!(sender.poll_send(cx).is_pending());
        lock(&sender.0).io.open = 5;
        assert!(Pin::new(&mut library).poll_write(cx, &piece(4)).is_pending(), "not before everything is gone");
        lock(&sender.0).io.open = usize::MAX;
        assert!(Pin::new(&mut library).poll_write(cx, &piece(4)).is_ready());
        assert!(matches!(sender.poll_send(cx), Poll::Ready(Ok(()))));
        assert_eq!(all(&sender), (0..5).flat_map(piece).collect::<Vec<_>>());
        assert_eq!(lock(&sender.0).waiting.capacity(), 0);
    }

    #[test]
    fn what_is_larger_than_the_room_follows_what_waited() {
        let cx = &mut Context::from_waker(Waker::noop());
        let (mut library, sender) = pair(usize::MAX, usize::MAX);
        let large = vec![7; limits::GATHERED_BYTES_MAX + 1];
        assert!(Pin::new(&mut library).poll_write(cx, b"before").is_ready());
        assert!(Pin::new(&mut library).poll_write_vectored(cx, &[IoSlice::new(&large)]).is_ready());
        assert_eq!(all(&sender), [&b"before"[..], &large].concat());
    }

    #[test]
    fn a_shutdown_sends_what_waits() {
        let cx = &mut Context::from_waker(Waker::noop());
        let (mut library, sender) = pair(2, 1);
        assert!(Pin::new(&mut library).poll_write(cx, b"last").is_ready());
        assert!(Pin::new(&mut library).poll_shutdown(cx).is_pending());
        assert!(!lock(&sender.0).io.shut);
        lock(&sender.0).io.open = 1;
        assert!(Pin::new(&mut library).poll_shutdown(cx).is_ready());
        assert!(lock(&sender.0).io.shut);
        assert_eq!(all(&sender), b"last");
    }
}
