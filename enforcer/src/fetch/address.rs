//! Which addresses may be fetched from (A09): a URL in a configuration, or a name server, must not turn the enforcer into a way
//! to what only its host can reach.
//!
//! INVARIANT: the address that was judged here is the one connected to; a name is looked up once per fetch.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What stands against an address, in a word for the message; `None` where nothing does. `private` lets private and loopback
/// addresses pass; link-local, metadata, multicast and reserved ones never do.
pub(crate) fn objection(ip: IpAddr, private: bool) -> Option<&'static str> {
    let found = match ip.to_canonical() {
        IpAddr::V4(v4) => of_v4(v4),
        IpAddr::V6(v6) => of_v6(v6),
    }?;
    match found {
        Kind::Private(_) if private => None,
        Kind::Private(word) | Kind::Never(word) => Some(word),
    }
}

/// Whether an address is this host.
pub(super) fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

enum Kind {
    /// Acceptable where the configuration says so.
    Private(&'static str),
    /// Never acceptable.
    Never(&'static str),
}

fn of_v4(ip: Ipv4Addr) -> Option<Kind> {
    let [a, b, c, _] = ip.octets();
    Some(match (a, b, c) {
        // Inside 100.64/10 and a public range, so they come first.
        _ if METADATA_V4.contains(&ip) => Kind::Never("metadata"),
        (127, ..) => Kind::Private("loopback"),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Kind::Private("private"),
        (100, 64..=127, _) => Kind::Private("shared"),
        (169, 254, _) => Kind::Never("link-local"),
        (224..=239, ..) => Kind::Never("multicast"),
        (0 | 240..=255, ..) | (192, 0, 0 | 2) | (192, 88, 99) | (198, 18 | 19, _) | (198, 51, 100) | (203, 0, 113) => {
            Kind::Never("reserved")
        }
        _ => return None,
    })
}

fn of_v6(ip: Ipv6Addr) -> Option<Kind> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        of_v4(Ipv4Addr::new(a, b, c, d))
    };
    Some(match a {
        _ if METADATA_V6.contains(&ip) => Kind::Never("metadata"),
        _ if ip.is_loopback() => Kind::Private("loopback"),
        // A translator stands behind this prefix: what counts is the address inside.
        0x64 if (b, c, d, e, f) == (0xff9b, 0, 0, 0, 0) => return inner(g, h),
        0x2002 => return inner(b, c),
        0xfc00..=0xfdff => Kind::Private("private"),
        0xfe80..=0xfebf => Kind::Never("link-local"),
        0xff00..=0xffff => Kind::Never("multicast"),
        // Teredo, benchmarks, ORCHID, documentation.
        0x2001 if b < 0x0200 || b == 0x0db8 => Kind::Never("reserved"),
        0x3fff if b < 0x1000 => Kind::Never("reserved"),
        0x2000..=0x3fff => return None,
        _ => Kind::Never("reserved"),
    })
}

/// Where clouds tell a machine its secrets, outside of 169.254/16.
const METADATA_V4: [Ipv4Addr; 3] = [Ipv4Addr::new(169, 254, 169, 254), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];
const METADATA_V6: [Ipv6Addr; 2] = [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a09_addresses_that_only_this_host_reaches_are_refused() {
        for (text, strict, private) in [
            ("93.184.216.34", None, None),
            ("2606:2800:220:1::1", None, None),
            ("2001:4860:4860::8888", None, None),
            ("127.0.0.1", Some("loopback"), None),
            ("127.255.0.3", Some("loopback"), None),
            ("::1", Some("loopback"), None),
            ("::ffff:127.0.0.1", Some("loopback"), None),
            ("10.1.2.3", Some("private"), None),
            ("172.16.0.1", Some("private"), None),
            ("172.31.255.255", Some("private"), None),
            ("172.32.0.1", None, None),
            ("192.168.1.1", Some("private"), None),
            ("::ffff:10.0.0.1", Some("private"), None),
            ("fd12::1", Some("private"), None),
            ("100.64.0.1", Some("shared"), None),
            ("100.128.0.1", None, None),
            ("169.254.169.254", Some("metadata"), Some("metadata")),
            ("169.254.1.1", Some("link-local"), Some("link-local")),
            ("::ffff:169.254.169.254", Some("metadata"), Some("metadata")),
            ("64:ff9b::169.254.169.254", Some("metadata"), Some("metadata")),
            ("64:ff9b::10.0.0.1", Some("private"), None),
            ("64:ff9b::93.184.216.34", None, None),
            ("2002:a9fe:a9fe::1", Some("metadata"), Some("metadata")),
            ("2002:7f00:1::1", Some("loopback"), None),
            ("fd00:ec2::254", Some("metadata"), Some("metadata")),
            ("100.100.100.200", Some("metadata"), Some("metadata")),
            ("168.63.129.16", Some("metadata"), Some("metadata")),
            ("fe80::1", Some("link-local"), Some("link-local")),
            ("fec0::1", Some("reserved"), Some("reserved")),
            ("224.0.0.1", Some("multicast"), Some("multicast")),
            ("ff02::1", Some("multicast"), Some("multicast")),
            ("0.0.0.0", Some("reserved"), Some("reserved")),
            ("::", Some("reserved"), Some("reserved")),
            ("::7f00:1", Some("reserved"), Some("reserved")),
            ("255.255.255.255", Some("reserved"), Some("reserved")),
            ("198.18.0.1", Some("reserved"), Some("reserved")),
            ("2001:0:1::1", Some("reserved"), Some("reserved")),
            ("2001:db8::1", Some("reserved"), Some("reserved")),
        ] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!((objection(ip, false), objection(ip, true)), (strict, private), "{text}");
        }
    }
}
