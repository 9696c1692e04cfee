//! Connections that the system sent to us although they were meant for elsewhere (Linux, `REDIRECT`).
//!
//! INVARIANT: where a connection was meant for is what the kernel says, never what the connection says; a connection that was
//! not redirected has no such place and is refused, or a redirected address would lead back here.

use std::net::{IpAddr, SocketAddr};

use portreeve_engine::outside::Host;
use socket2::SockRef;
use tokio::net::TcpStream;

/// Where a connection was meant for.
#[must_use]
pub fn original(stream: &TcpStream) -> Option<SocketAddr> {
    let here = stream.local_addr().ok()?;
    let socket = SockRef::from(stream);
    let meant = match here {
        SocketAddr::V4(_) => socket.original_dst_v4(),
        SocketAddr::V6(_) => socket.original_dst_v6(),
    };
    let meant = meant.ok()?.as_socket()?;
    let meant = SocketAddr::new(meant.ip().to_canonical(), meant.port());
    (meant != here).then_some(meant)
}

/// An address as a host.
#[must_use]
pub fn host(address: SocketAddr) -> Option<Host> {
    match address.ip() {
        IpAddr::V4(ip) => ip.to_string().parse().ok(),
        IpAddr::V6(ip) => format!("[{ip}]").parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_connection_that_was_not_redirected_was_meant_for_nowhere_else() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        assert_eq!(original(&far.unwrap().0), None);
    }

    #[test]
    fn addresses_are_hosts() {
        for (address, text) in [("203.0.113.7:443", "203.0.113.7"), ("[2001:db8::1]:443", "[2001:db8::1]")] {
            assert_eq!(host(address.parse().unwrap()).unwrap().to_string(), text);
        }
    }
}
