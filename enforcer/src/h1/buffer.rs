//! Bytes on their way in and out of a connection.
//!
//! An idle connection holds none: what is read first lands in a scratch buffer of the thread, and only what is there is kept, in
//! memory that connections of one thread lend each other, so that a request asks the allocator for none.
//!
//! INVARIANTS: bytes are consumed once and in order; what is lent is empty; an error that came behind bytes is told after them.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::limits;
use crate::socket::Socket;

/// Bytes received and not yet used.
#[derive(Debug, Default)]
pub struct Input {
    bytes: Vec<u8>,
    at: usize,
}

impl Input {
    /// What is there.
    #[must_use]
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Uses bytes up.
    pub fn consume(&mut self, n: usize) {
        self.at = self.bytes.len().min(self.at + n);
        if self.is_empty() {
            self.bytes.clear();
            self.at = 0;
        }
    }

    /// Throws everything away.
    pub fn clear(&mut self) {
        self.at = 0;
        hand_back(std::mem::take(&mut self.bytes));
    }

    /// Gives the memory back. What is there stays.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.clear();
        }
    }

    /// Takes up bytes.
    pub fn extend(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.bytes.drain(..self.at);
            self.at = 0;
        } else if self.bytes.capacity() == 0 && !bytes.is_empty() {
            self.bytes = spare();
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Reads what has come, by way of the thread's scratch buffer; 0 is the end.
    fn poll_fill<S: AsyncRead + Unpin>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            if scratch.is_empty() {
                scratch.resize(limits::H1_READ_BYTES, 0);
            }
            let mut part = ReadBuf::new(scratch);
            ready!(Pin::new(io).poll_read(cx, &mut part))?;
            self.extend(part.filled());
            Poll::Ready(Ok(part.filled().len()))
        })
    }
}

/// Where bytes come from.
pub trait Source: AsyncRead + Unpin {
    /// Whether one read may leave bytes behind that are there already.
    const IN_PIECES: bool = false;

    /// Reads some of what has come; 0 is the end.
    ///
    /// # Errors
    /// The connection's.
    fn poll_some(&mut self, input: &mut Input, cx: &mut Context<'_>) -> Poll<io::Result<usize>>
    where
        Self: Sized,
    {
        input.poll_fill(self, cx)
    }

    /// Pending while a read would be; ready where that is not known. Costs less than a read.
    fn poll_heard(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

impl Source for TcpStream {}

/// A caller's connection. What TLS has decrypted is taken from where it lies.
impl Source for TlsStream<Socket> {
    /// TLS reads little at once.
    const IN_PIECES: bool = true;

    fn poll_some(&mut self, input: &mut Input, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut tls = Pin::new(self);
        let bytes = ready!(tls.as_mut().poll_fill_buf(cx))?;
        let n = bytes.len();
        input.extend(bytes);
        if n > 0 {
            tls.consume(n);
        }
        Poll::Ready(Ok(n))
    }

    fn poll_heard(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (socket, session) = self.get_mut();
        // Without the wish to read, it has bytes or its end.
        if session.wants_read() { socket.poll_heard(cx) } else { Poll::Ready(()) }
    }
}

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    static SPARES: RefCell<Spares> = const { RefCell::new(Spares { buffers: Vec::new(), bytes: 0 }) };
}

/// Buffers that nobody uses, and what they take together.
struct Spares {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

/// An empty buffer, one that was handed back where there is one.
#[must_use]
pub fn spare() -> Vec<u8> {
    SPARES.with_borrow_mut(|spares| {
        let buffer = spares.buffers.pop().unwrap_or_default();
        spares.bytes -= buffer.capacity();
        buffer
    })
}

/// Takes the memory of a buffer for the next one who asks, unless there is enough of it or it is too large.
pub fn hand_back(mut bytes: Vec<u8>) {
    if bytes.capacity() == 0 || bytes.capacity() > limits::SPARE_BYTES_MAX {
        return;
    }
    bytes.clear();
    SPARES.with_borrow_mut(|spares| {
        let together = spares.bytes + bytes.capacity();
        if spares.buffers.len() < limits::SPARES_MAX && together <= limits::SPARES_BYTES_MAX {
            spares.bytes = together;
            spares.buffers.push(bytes);
        }
    });
}

/// Bytes to be sent.
#[derive(Debug, Default)]
pub struct Output {
    /// To be appended to.
    pub bytes: Vec<u8>,
    at: usize,
    unflushed: bool,
}

impl Output {
    /// Bytes that the connection has not taken.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether everything was taken and sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len() && !self.unflushed
    }

    /// Whether so much waits that no more should be added.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len() >= limits::H1_BUFFER_BYTES_MAX
    }

    /// Sends what is there.
    ///
    /// # Errors
    /// The connection's.
    pub fn poll_drain<S: AsyncWrite + Unpin>(&mut self, io: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.bytes.get(self.at..).filter(|rest| !rest.is_empty()) {
            let n = ready!(Pin::new(&mut *io).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.at += n;
            self.unflushed = true;
        }
        if self.unflushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Has room for what will be appended.
    pub fn prepare(&mut self) {
        if self.bytes.capacity() == 0 {
            self.bytes = spare();
        }
    }

    /// Forgets what was sent.
    pub fn reset(&mut self) {
        self.bytes.drain(..self.at);
        self.at = 0;
    }

    /// Gives the memory back, if there is nothing to send.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            self.at = 0;
            hand_back(std::mem::take(&mut self.bytes));
        }
    }

    /// Everything that was put in since it was last reset, sent or not.
    #[must_use]
    pub fn take_all(self) -> Vec<u8> {
        self.bytes
    }
}

/// A connection with its bytes on the way.
#[derive(Debug)]
pub struct Wire<S> {
    /// The connection.
    pub io: S,
    /// Received.
    pub input: Input,
    /// To be sent.
    pub output: Output,
    /// What came behind the bytes that were read last.
    error: Option<io::Error>,
}

impl<S: Source + AsyncWrite> Wire<S> {
    /// A connection without bytes on the way.
    #[must_use]
    pub fn new(io: S) -> Self {
        Self { io, input: Input::default(), output: Output::default(), error: None }
    }

    /// Reads what has come, up to what one read of a socket may bring; 0 is the end.
    ///
    /// # Errors
    /// The connection's.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut n = ready!(self.poll_fill_some(cx))?;
        while S::IN_PIECES && (1..limits::H1_READ_BYTES).contains(&n) {
            match self.io.poll_some(&mut self.input, cx) {
                // The end is told again when it is asked for.
                Poll::Ready(Ok(0)) | Poll::Pending => break,
                Poll::Ready(Ok(more)) => n += more,
                Poll::Ready(Err(error)) => {
                    self.error = Some(error);
                    break;
                }
            }
        }
        Poll::Ready(Ok(n))
    }

    /// Reads some of what has come, as is enough for a head; 0 is the end.
    ///
    /// # Errors
    /// The connection's.
    pub fn poll_fill_some(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Err(error));
        }
        ready!(self.io.poll_heard(cx));
        self.io.poll_some(&mut self.input, cx)
    }

    /// Sends what waits.
    ///
    /// # Errors
    /// The connection's.
    pub fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.output.poll_drain(&mut self.io, cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_back_is_lent_empty_and_only_so_much_is_kept() {
        let mut input = Input::default();
        input.extend(b"of one connection");
        let place = input.bytes.as_ptr();
        input.consume(17);
        input.shrink();
        assert_eq!(input.bytes.capacity(), 0, "an idle connection holds none");
        let again = spare();
        assert!(again.is_empty() && again.as_ptr() == place);
        hand_back(Vec::with_capacity(limits::SPARE_BYTES_MAX + 1));
        assert_eq!(spare().capacity(), 0, "what is too large is given back");
        for _ in 0..2 * limits::SPARES_MAX {
            hand_back(Vec::with_capacity(8));
        }
        assert_eq!(SPARES.with_borrow(|spares| spares.buffers.len()), limits::SPARES_MAX);
        while spare().capacity() > 0 {}
        assert_eq!(SPARES.with_borrow(|spares| spares.bytes), 0);
        for _ in 0..2 * limits::SPARES_BYTES_MAX / limits::SPARE_BYTES_MAX {
            hand_back(Vec::with_capacity(limits::SPARE_BYTES_MAX));
        }
        let kept = SPARES.with_borrow(|spares| (spares.bytes, spares.buffers.len()));
        assert_eq!(kept, (limits::SPARES_BYTES_MAX, limits::SPARES_BYTES_MAX / limits::SPARE_BYTES_MAX));
    }

    /// Says these things in turn, then nothing.
    struct Says(std::collections::VecDeque<Poll<io::Result<&'static [u8]>>>);

    impl AsyncRead for Says {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl AsyncWrite for Says {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    impl Source for Says {
        const IN_PIECES: bool = true;

        fn poll_some(&mut self, input: &mut Input, _: &mut Context<'_>) -> Poll<io::Result<usize>> {
            let bytes = ready!(self.0.pop_front().unwrap_or(Poll::Pending))?;
            input.extend(bytes);
            Poll::Ready(Ok(bytes.len()))
        }
    }

    #[test]
    fn pieces_are_gathered_and_what_came_before_an_error_is_told_first() {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let piece = |bytes: &'static [u8]| Poll::Ready(Ok(bytes));
        let error = || Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        let mut wire = Wire::new(Says([piece(b"one "), piece(b"two"), Poll::Pending, piece(b" three"), error()].into()));
        assert!(matches!(wire.poll_fill(cx), Poll::Ready(Ok(7))));
        assert!(matches!(wire.poll_fill(cx), Poll::Ready(Ok(6))));
        assert_eq!(wire.input.filled(), b"one two three");
        assert!(matches!(wire.poll_fill(cx), Poll::Ready(Err(why)) if why.kind() == io::ErrorKind::InvalidData));
        // A head is told of piece by piece, and an end behind a piece after it.
        let mut wire = Wire::new(Says([piece(b"one"), piece(b"two"), piece(b""), error()].into()));
        assert!(matches!(wire.poll_fill_some(cx), Poll::Ready(Ok(3))));
        assert!(matches!(wire.poll_fill(cx), Poll::Ready(Ok(3))));
        assert!(matches!(wire.poll_fill_some(cx), Poll::Ready(Err(_))));
    }

    #[test]
    fn what_was_not_sent_stays() {
        let mut output = Output::default();
        output.prepare();
        output.bytes.extend_from_slice(b"rest");
        output.shrink();
        assert_eq!(output.bytes, b"rest");
    }
}
