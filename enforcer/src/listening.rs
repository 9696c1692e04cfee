//! What the small servers and clients beside the gate share: accepting connections on TCP and unix sockets, bounded, each connection
//! in a task that its loop owns and awaits; and bodies that are there at once.

use std::convert::Infallible;
use std::future::Future;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::limits::ACCEPT_PAUSE;
use crate::places::Places;

/// A listening socket.
pub(crate) trait Listening {
    /// One connection.
    type Stream: Send + 'static;
    /// Who a connection belongs to, as far as that is known before anything is said.
    type Who: Copy + Eq + Hash + Send;
    /// Who this one belongs to.
    fn who(stream: &Self::Stream) -> Self::Who;
    /// The next connection.
    fn next(&self) -> impl Future<Output = std::io::Result<Self::Stream>> + Send;
}

impl Listening for TcpListener {
    type Stream = (TcpStream, SocketAddr);
    type Who = IpAddr;

    fn who((_, address): &Self::Stream) -> IpAddr {
        address.ip().to_canonical()
    }

    async fn next(&self) -> std::io::Result<Self::Stream> {
        self.accept().await
    }
}

impl Listening for UnixListener {
    type Stream = UnixStream;
    type Who = Option<u32>;

    fn who(stream: &UnixStream) -> Option<u32> {
        stream.peer_cred().ok().map(|peer| peer.uid())
    }

    async fn next(&self) -> std::io::Result<Self::Stream> {
        self.accept().await.map(|(stream, _)| stream)
    }
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender is gone only with whoever would wait for us.
    let _ = stop.wait_for(|stop| *stop).await;
}

/// Serves connections until `stop` is true, gives what runs until `drain` and ends the rest. One too many ends another one ([`Places`]).
pub(crate) async fn accept<L, F, C>(listener: L, max: usize, drain: Duration, mut stop: watch::Receiver<bool>, serve: F)
where
    L: Listening,
    F: Fn(L::Stream) -> C,
    C: Future<Output = ()> + Send + 'static,
{
    let mut places = Places::new(max);
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            () = places.ended() => {}
            accepted = listener.next() => match accepted {
                Ok(stream) => places.take(L::who(&stream), serve(stream)),
                // Out of descriptors, most likely: to try again at once would only spin (A63).
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    // What does not end in time ends with the set.
    let _ = timeout(drain, places.all_ended()).await;
    places.end().await;
}

/// A body that is there at once.
#[derive(Debug)]
pub(crate) struct Whole(Option<Bytes>);

impl Whole {
    pub(crate) fn of(bytes: Bytes) -> Self {
        Self(Some(bytes))
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
