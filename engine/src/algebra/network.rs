//! Classes of source addresses: two addresses of one class lie in the same named networks.
//!
//! Networks nest or lie apart, so a class is a named network without the named ones inside it, or what is left of all IPv4 or
//! IPv6 addresses. Each is kept as one address of it; a network that its parts fill up has no class of its own. Mapped
//! addresses (`::ffff:0:0/96`) never reach a policy, which sees them as IPv4.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::algebra::diagram::TooLarge;
use crate::limits::NETWORK_CLASSES_MAX;

/// One address of each class; `None`, the absence of an address, is the first.
pub(crate) fn classes<'a>(named: impl Iterator<Item = &'a IpNet>) -> Result<Vec<Option<IpAddr>>, TooLarge> {
    let mut nets: BTreeSet<IpNet> = named.map(IpNet::trunc).collect();
    nets.insert(IpNet::V4(Ipv4Net::default()));
    nets.insert(IpNet::V6(Ipv6Net::default()));
    if nets.len() > NETWORK_CLASSES_MAX {
        return Err(TooLarge);
    }
    let mut out = vec![None];
    for net in nets.iter().filter(|net| !is_mapped(net)) {
        // Children of children do no harm: they only repeat what is taken out already.
        let inside = nets.iter().filter(|n| *n != net && net.contains(*n)).copied().chain(mapped().filter(|n| net.contains(n)));
        let mut inside: Vec<(u128, u128)> = inside.map(|n| ends(&n)).collect();
        inside.sort_unstable();
        out.extend(gap(ends(net), &inside).map(|bits| Some(address(net, bits))));
    }
    Ok(out)
}

fn mapped() -> Option<IpNet> {
    Ipv6Net::new(std::net::Ipv4Addr::UNSPECIFIED.to_ipv6_mapped(), 96).ok().map(IpNet::V6)
}

fn is_mapped(net: &IpNet) -> bool {
    mapped().is_some_and(|mapped| mapped.contains(net))
}

/// The first and last address as numbers.
fn ends(net: &IpNet) -> (u128, u128) {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    (bits(net.network()), bits(net.broadcast()))
}

/// The least number within the ends that no stretch takes; the stretches are sorted.
fn gap((first, last): (u128, u128), taken: &[(u128, u128)]) -> Option<u128> {
    let mut next = first;
    for (from, to) in taken {
        if *from > next {
            return Some(next);
        }
        next = next.max(to.checked_add(1)?);
    }
    (next <= last).then_some(next)
}

fn address(like: &IpNet, bits: u128) -> IpAddr {
    match like {
        IpNet::V4(_) => IpAddr::V4(std::net::Ipv4Addr::from_bits(u32::try_from(bits).unwrap_or(u32::MAX))),
        IpNet::V6(_) => IpAddr::V6(std::net::Ipv6Addr::from_bits(bits)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(nets: &[&str]) -> Vec<String> {
        let nets: Vec<IpNet> = nets.iter().map(|n| n.parse().unwrap()).collect();
        classes(nets.iter()).unwrap().iter().map(|ip| ip.map_or("none".to_owned(), |ip| ip.to_string())).collect()
    }

    #[test]
    fn each_class_has_an_address_of_its_own() {
        for (nets, want) in [
            (&[][..], &["none", "0.0.0.0", "::"][..]),
            (&["10.0.0.0/8", "10.0.0.0/16"], &["none", "0.0.0.0", "10.1.0.0", "10.0.0.0", "::"]),
            // Two halves leave nothing of the whole.
            (&["10.0.0.0/8", "10.0.0.0/9", "10.128.0.0/9"], &["none", "0.0.0.0", "10.0.0.0", "10.128.0.0", "::"]),
            (&["0.0.0.0/0"], &["none", "0.0.0.0", "::"]),
            (&["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"], &["none", "0.0.0.0", "128.0.0.0", "::", "8000::"]),
            (&["192.0.2.1/32", "2001:db8::/32"], &["none", "0.0.0.0", "192.0.2.1", "::", "2001:db8::"]),
            // What is mapped is seen as IPv4: a network of mapped addresses has nobody in it.
            (&["::ffff:0:0/96", "::ffff:10.0.0.0/104"], &["none", "0.0.0.0", "::"]),
            (&["::fffe:0:0/95"], &["none", "0.0.0.0", "::", "::fffe:0:0"]),
        ] {
            assert_eq!(shown(nets), want, "{nets:?}");
        }
    }
}
