//! From the name of a place outside the mesh to an address that may be connected to.
//!
//! INVARIANT: a name is looked up once for a connection, after the decision about it was recorded, and what was judged here is
//! what is connected to: no second look-up can put another address in between (A09).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use portreeve_engine::outside::Host;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::egress::{Egress, EgressTimes};
use super::limits::ADDRESSES_MAX;
use super::own::Ours;
use crate::fetch::objection;

/// Why no connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// The name has no address.
    Resolve,
    /// All addresses of the name are ones that nothing outside the mesh may have.
    AddressRefused,
    /// No address took the connection.
    Connect,
    /// None took it in time.
    ConnectTimeout,
    /// The connection led back to us.
    Own,
}

impl Unreachable {
    /// The word for record and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::AddressRefused => "address-refused",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect-timeout",
            Self::Own => "own-connection",
        }
    }
}

/// Connects to a place outside the mesh. Says how many addresses were tried.
pub async fn connect(host: &Host, port: u16, egress: &Egress) -> (Result<(TcpStream, Ours), Unreachable>, u32) {
    let Egress { private, times, gate, .. } = egress;
    match reach(host, port, private, times).await {
        (Ok(stream), attempts) => {
            let held = gate.own.opened(&stream).ok_or(Unreachable::Own);
            (held.map(|held| (stream, held)), attempts)
        }
        (Err(why), attempts) => (Err(why), attempts),
    }
}

async fn reach(host: &Host, port: u16, private: &[IpNet], times: &EgressTimes) -> (Result<TcpStream, Unreachable>, u32) {
    let addresses = match addresses(host, port, private, times.resolve).await {
        Ok(addresses) => addresses,
        Err(why) => return (Err(why), 1),
    };
    let (mut last, mut attempts) = (Unreachable::Connect, 0);
    for address in addresses {
        attempts += 1;
        last = match timeout(times.connect, TcpStream::connect(address)).await {
            Ok(Ok(stream)) if stream.set_nodelay(true).is_ok() => return (Ok(stream), attempts),
            Ok(_) => Unreachable::Connect,
            Err(_) => Unreachable::ConnectTimeout,
        };
    }
    (Err(last), attempts)
}

async fn addresses(host: &Host, port: u16, private: &[IpNet], within: Duration) -> Result<Vec<SocketAddr>, Unreachable> {
    let found: Vec<SocketAddr> = match host.address() {
        Some(ip) => vec![(ip, port).into()],
        None => {
            let found = timeout(within, lookup_host((host.name(), port))).await;
            found.map_err(|_| Unreachable::Resolve)?.map_err(|_| Unreachable::Resolve)?.collect()
        }
    };
    if found.is_empty() {
        return Err(Unreachable::Resolve);
    }
    let good: Vec<SocketAddr> = found.into_iter().filter(|a| is_acceptable(a.ip(), private)).take(ADDRESSES_MAX).collect();
    if good.is_empty() { Err(Unreachable::AddressRefused) } else { Ok(good) }
}

/// Public addresses are; private ones only in a network that the configuration names; link-local and metadata ones never.
fn is_acceptable(ip: IpAddr, private: &[IpNet]) -> bool {
    let ip = ip.to_canonical();
    let is_listed = || private.iter().any(|net| net.contains(&ip));
    objection(ip, false).is_none() || (is_listed() && objection(ip, true).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a09_private_addresses_are_refused_unless_they_are_listed() {
        let nets: Vec<IpNet> = ["10.1.0.0/16", "169.254.0.0/16", "fd00::/8"].iter().map(|n| n.parse().unwrap()).collect();
        for (ip, bare, listed) in [
            ("93.184.216.34", true, true),
            ("10.1.2.3", false, true),
            ("::ffff:10.1.2.3", false, true),
            ("10.2.0.1", false, false),
            ("127.0.0.1", false, false),
            ("169.254.169.254", false, false),
            ("fd00::1", false, true),
            ("fd00:ec2::254", false, false),
            ("0.0.0.0", false, false),
        ] {
            let ip = ip.parse().unwrap();
            assert_eq!((is_acceptable(ip, &[]), is_acceptable(ip, &nets)), (bare, listed), "{ip}");
        }
    }

    #[tokio::test]
    async fn a09_the_address_that_was_judged_is_the_one_connected_to() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (refused, _) = reach(&"localhost".parse().unwrap(), port, &[], &EgressTimes::default()).await;
        assert_eq!(refused.unwrap_err(), Unreachable::AddressRefused);
        let nets = ["127.0.0.0/8".parse().unwrap()];
        let (stream, _) = reach(&"localhost".parse().unwrap(), port, &nets, &EgressTimes::default()).await;
        assert!(stream.unwrap().peer_addr().unwrap().ip().is_loopback());
        let (none, _) = reach(&"no-such-host.invalid".parse().unwrap(), port, &nets, &EgressTimes::default()).await;
        assert_eq!(none.unwrap_err(), Unreachable::Resolve);
    }
}
