//! The ports of an enforcer: taken when the process starts, opened when there is something to serve, and given up without losing
//! a connection that the system has accepted already.
//!
//! INVARIANT: a port that is taken and not opened gets no connection: callers are refused by the system, and another process
//! that shares the port gets them all. A port is shared only where the configuration says so, because a second service on it
//! would take a part of the first one's connections.

use std::io;
use std::net::SocketAddr;

use futures_util::FutureExt as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout_at};

use crate::limits;

/// A port that is taken.
#[derive(Debug)]
pub struct Port {
    socket: TcpSocket,
    address: SocketAddr,
    shared: bool,
}

/// A port that is open.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    shared: bool,
}

/// Takes as many descriptors as this process may have: what a shell or a service manager gives at first, 1,024 commonly, is a sixth of what
/// the connections of one listener need. A refusal leaves what there is.
pub fn take_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(limits::DESCRIPTORS_MAX, |most| most.min(limits::DESCRIPTORS_MAX));
    if limit.current.is_some_and(|current| current < most) {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: limit.maximum });
    }
}

impl Port {
    /// Takes a port. Port 0 takes any. With `shared` another process of the same user may have taken it the same way.
    ///
    /// # Errors
    /// The system does not give it.
    pub fn take(address: SocketAddr, shared: bool) -> io::Result<Self> {
        if !shared {
            is_free(address)?;
        }
        let socket = socket(address, true)?;
        let address = socket.local_addr()?;
        Ok(Self { socket, address, shared })
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Opens it.
    ///
    /// # Errors
    /// Somebody opened it in the meantime.
    pub fn open(self) -> io::Result<Listener> {
        if !self.shared {
            is_free(self.address)?;
        }
        Ok(Listener { socket: self.socket.listen(limits::BACKLOG)?, shared: self.shared })
    }
}

impl Listener {
    /// Where it is.
    ///
    /// # Errors
    /// The system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The next connection.
    ///
    /// # Errors
    /// The system's.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.socket.accept().await
    }

    /// Gives the port up. What the system has accepted already is given to `take`.
    ///
    /// A listener that is simply closed resets what waits in its queue. So where another process may have the port, the first
    /// packet of every new connection is dropped for a moment first: the caller sends it again after a second, and by then the
    /// system gives it to the other process. Packets of connections under way pass, so that they come out of the queue.
    pub async fn retire(self, mut take: impl FnMut(TcpStream, SocketAddr)) {
        // Without filters in the system what is in the queue now is all that can be saved.
        if self.shared && SockRef::from(&self.socket).attach_filter(&NO_NEW_CONNECTION).is_ok() {
            let until = Instant::now() + limits::RETIRE;
            while let Ok(Ok((stream, peer))) = timeout_at(until, self.socket.accept()).await {
                take(stream, peer);
            }
        }
        while let Some(Ok((stream, peer))) = self.socket.accept().now_or_never() {
            take(stream, peer);
        }
    }
}

/// Without the option to share on our side, the system says whether somebody listens there.
fn is_free(address: SocketAddr) -> io::Result<()> {
    socket(address, false).map(drop)
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(shared)?;
    socket.bind(address)?;
    Ok(socket)
}

/// On the TCP header: `SYN` without `ACK` is dropped, everything else passes whole.
const NO_NEW_CONNECTION: [SockFilter; 5] = [
    // Load the byte of flags.
    SockFilter::new(0x30, 0, 0, 13),
    // Keep SYN and ACK.
    SockFilter::new(0x54, 0, 0, 0x12),
    // Only SYN?
    SockFilter::new(0x15, 0, 1, 0x02),
    // Drop.
    SockFilter::new(0x06, 0, 0, 0),
    // Pass.
    SockFilter::new(0x06, 0, 0, u32::MAX),
];
