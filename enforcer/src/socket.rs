//! A socket as requests use it: of a caller, to which TLS writes, or of the service behind us.
//!
//! A TLS library hands its records over as a list, which for one record costs the longer system call of the two that there are:
//! here a list of one is sent as what it is. And bytes are received and sent by the system calls themselves. Those of the C library
//! are places where another thread could end this one, which nobody does, and preparing for that costs a hundredth of a request.
//!
//! INVARIANT: what was received or sent in part leaves the socket as one that must be waited for, as its edge (epoll(7)) has passed.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use rustix::net::{RecvFlags, SendFlags, recv, send};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A TCP socket.
#[derive(Debug)]
pub struct Socket(TcpStream);

impl Socket {
    /// The socket of a connection. Small messages do not wait for acknowledgements.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Pending while nothing was heard of it that a read could find.
    pub fn poll_heard(&self, cx: &mut Context<'_>) -> Poll<()> {
        // What is wrong with it is for the read to say.
        self.0.poll_read_ready(cx).map(drop)
    }

    /// Whether nothing was heard of it: neither bytes nor its end. Costs no system call where that is so.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.0.try_read(&mut [0]).is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock)
    }

    /// Has the connection reset when it is let go, instead of ended in order.
    pub fn will_reset(&self) {
        // Where it cannot be had it is the system's usual end.
        let _ = self.0.set_zero_linger();
    }

    /// Receives or sends some of `length` bytes, once: the number of them, or `None` where the socket is to be waited for.
    fn some(&self, interest: Interest, length: usize, call: impl FnOnce() -> rustix::io::Result<usize>) -> io::Result<Option<usize>> {
        let mut done = None;
        let tried = self.0.try_io(interest, || {
            let n = call()?;
            done = Some(n);
            // Not all there was room for: there is no more of it now, and the system will say when there is. So tokio has it, too.
            if (1..length).contains(&n) { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (done, tried) {
            (Some(n), _) => Ok(Some(n)),
            (None, Err(why)) if matches!(why.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            (None, tried) => tried.map(|()| None),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.initialize_unfilled();
        if room.is_empty() {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            let length = room.len();
            if let Some(n) = self.some(Interest::READABLE, length, || recv(&self.0, &mut *room, RecvFlags::empty()).map(|(_, n)| n))? {
                buf.advance(n);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            if let Some(n) = self.some(Interest::WRITABLE, bytes.len(), || send(&self.0, bytes, SendFlags::NOSIGNAL))? {
                return Poll::Ready(Ok(n));
            }
        }
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, parts: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match parts {
            [one] => self.poll_write(cx, one),
            several => Pin::new(&mut self.0).poll_write_vectored(cx, several),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (other, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        (Socket::new(accepted.unwrap().0).unwrap(), other.unwrap())
    }

    #[tokio::test]
    async fn pieces_come_in_order_and_then_the_end() {
        let (mut socket, mut other) = pair().await;
        assert!(socket.is_silent());
        let mut room = [0; 4];
        for said in ["one", "four", "some more"] {
            other.write_all(said.as_bytes()).await.unwrap();
            let mut heard = Vec::new();
            while heard.len() < said.len() {
                // The first read has room left over, the second has none, the third must come back for the rest.
                let n = socket.read(&mut room).await.unwrap();
                heard.extend_from_slice(&room[..n]);
            }
            assert_eq!(heard, said.as_bytes());
            assert!(socket.is_silent(), "after `{said}`");
        }
        // The end that comes together with bytes is told after them, and again.
        other.write_all(b"end").await.unwrap();
        other.shutdown().await.unwrap();
        let n = socket.read(&mut room).await.unwrap();
        assert_eq!(&room[..n], b"end");
        assert_eq!((socket.read(&mut room).await.unwrap(), socket.read(&mut room).await.unwrap()), (0, 0));
        assert!(!socket.is_silent());
    }

    #[tokio::test]
    async fn without_room_nothing_is_read_and_it_is_no_end() {
        let (mut socket, mut other) = pair().await;
        other.write_all(b"here").await.unwrap();
        let mut all = [0; 8];
        assert_eq!(socket.read(&mut []).await.unwrap(), 0);
        assert_eq!(socket.read(&mut all).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn what_the_other_side_does_not_take_waits_and_goes_on() {
        let (mut socket, mut other) = pair().await;
        let bytes: Vec<u8> = (0_u32..8 << 20).map(|n| n.to_le_bytes()[n as usize % 3]).collect();
        let sends = async {
            socket.write_all(&bytes).await.unwrap();
            socket.shutdown().await.unwrap();
        };
        let mut got = Vec::new();
        let takes = async {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            other.read_to_end(&mut got).await.unwrap();
        };
        tokio::join!(sends, takes);
        assert!(got == bytes, "{} of {}", got.len(), bytes.len());
    }

    #[tokio::test]
    async fn a_connection_that_broke_says_so_both_ways() {
        let (mut socket, other) = pair().await;
        other.set_zero_linger().unwrap();
        drop(other);
        let heard = socket.read(&mut [0; 4]).await.unwrap_err();
        assert_eq!(heard.kind(), io::ErrorKind::ConnectionReset);
        // Neither ends the process (SIGPIPE).
        assert_eq!(socket.write(b"more").await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(!socket.is_silent());
    }
}
