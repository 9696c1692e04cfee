//! What the user says of names and addresses that the inventory does not know.

use std::collections::BTreeMap;
use std::net::IpAddr;

use portreeve_engine::Timestamp;

use super::deciding::Deciding;

/// Names and addresses with the services they stand for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Services by the name a log has for them: a host, a cluster, an identity, a workload.
    pub services: BTreeMap<String, String>,
    /// Whose address was what, and when.
    pub addresses: Vec<Address>,
}

/// An address or a network, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// The network's address.
    pub network: IpAddr,
    /// How many of its bits count.
    pub prefix: u8,
    /// The service.
    pub service: String,
    /// From when; ever since where nothing is said.
    pub from: Option<Timestamp>,
    /// Until when (not included).
    pub until: Option<Timestamp>,
}

impl Names {
    /// The service that a name stands for.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&str> {
        self.services.get(name).map(String::as_str)
    }

    /// Whether it may depend on the time whose an address was.
    pub(super) fn read_time(&self) -> bool {
        self.addresses.iter().any(|address| address.from.is_some() || address.until.is_some())
    }

    /// Whether the address of a request with these deciding bytes may stand for more than they have of it.
    pub(super) fn read_more_than(&self, deciding: Deciding<'_>) -> bool {
        !self.addresses.is_empty() && (!deciding.is_whole() || self.read_time())
    }

    /// The service that had an address at a time: of several networks the narrowest. Where two of one size name two, none had it.
    #[must_use]
    pub fn by_address(&self, ip: IpAddr, at: Timestamp) -> Option<&str> {
        let mut found: Option<(&Address, bool)> = None;
        for address in self.addresses.iter().filter(|a| a.holds(ip) && a.from.is_none_or(|f| at >= f) && a.until.is_none_or(|u| at < u)) {
            found = match found {
                Some((held, _)) if held.prefix > address.prefix => found,
                Some((held, sure)) if held.prefix == address.prefix => Some((held, sure && held.service == address.service)),
                _ => Some((address, true)),
            };
        }
        found.filter(|(_, sure)| *sure).map(|(address, _)| address.service.as_str())
    }
}

impl Address {
    /// Whether the address lies in the network.
    fn holds(&self, ip: IpAddr) -> bool {
        let prefix = u32::from(self.prefix);
        match (self.network, ip.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => prefix == 0 || (u32::from(network) ^ u32::from(ip)) >> (32 - prefix.min(32)) == 0,
            (IpAddr::V6(network), IpAddr::V6(ip)) => prefix == 0 || (u128::from(network) ^ u128::from(ip)) >> (128 - prefix.min(128)) == 0,
            _ => false,
        }
    }
}

/// Reads `10.0.0.7` or `10.0.0.0/24`.
#[must_use]
pub fn parse_network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(most), |p| p.parse().ok().filter(|p| *p <= most))?;
    Some((address, prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_network_of_the_time_names_the_service() {
        let address = |text: &str, service: &str, from: Option<&str>, until: Option<&str>| {
            let (network, prefix) = parse_network(text).unwrap();
            let time = |t: Option<&str>| t.map(|t| t.parse().unwrap());
            Address { network, prefix, service: service.to_owned(), from: time(from), until: time(until) }
        };
        let names = Names {
            services: BTreeMap::new(),
            addresses: vec![
                address("10.0.0.0/8", "mesh", None, None),
                address("10.0.0.7", "items", None, Some("2026-11-22T10:00:00Z")),
                address("10.0.0.7", "users", Some("2026-11-22T10:00:00Z"), None),
                address("10.1.0.0/16", "one", None, None),
                address("10.1.0.0/16", "other", None, None),
                address("fd00::/8", "six", None, None),
            ],
        };
        let at = |ip: &str, time: &str| names.by_address(ip.parse().unwrap(), time.parse().unwrap());
        for (ip, time, want) in [
            ("10.0.0.7", "2026-11-22T09:59:59Z", Some("items")),
            ("10.0.0.7", "2026-11-22T10:00:00Z", Some("users")),
            ("::ffff:10.0.0.7", "2026-11-22T10:00:00Z", Some("users")),
            ("10.0.0.8", "2026-11-22T10:00:00Z", Some("mesh")),
            ("10.1.2.3", "2026-11-22T10:00:00Z", None),
            ("fd00::1", "2026-11-22T10:00:00Z", Some("six")),
            ("11.0.0.1", "2026-11-22T10:00:00Z", None),
        ] {
            assert_eq!(at(ip, time), want, "{ip} at {time}");
        }
        for wrong in ["10.0.0.0/33", "10.0.0", "x/8", "::/129", "10.0.0.0/"] {
            assert_eq!(parse_network(wrong), None, "{wrong}");
        }
    }
}
