//! Certificates used from an address that lies in none of the networks of their service. Addresses are translated and assigned anew, so it
//! is a doubt and no proof.

use std::net::IpAddr;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, list};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "address_of_another_network",
    title: "identities that came from elsewhere",
    severity: Weight::Medium,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let networks = &examined.scope().networks;
    let certificates = &examined.fold.ledger.certificates;
    certificates
        .iter()
        .filter_map(|((id, _), seen)| {
            let service = examined.newest.identify(id)?;
            let own: Vec<_> = networks.iter().filter(|n| !n.addresses.is_empty() && n.members.contains(service)).collect();
            let is_own = |ip: &IpAddr| own.iter().flat_map(|n| &n.addresses).any(|block| block.contains(*ip));
            let foreign: Vec<String> = seen.addresses.iter().filter(|ip| !is_own(ip)).map(ToString::to_string).collect();
            if own.is_empty() || foreign.is_empty() {
                return None;
            }
            Some(Draft {
                subject: id.to_string(),
                summary: format!(
                    "`{id}` came from {}, outside of {}",
                    list(foreign.iter().map(String::as_str)),
                    list(own.iter().map(|n| n.name.as_str()))
                ),
                remedy: "find out whether the address is its own; if so, add it to the network".to_owned(),
                evidence: seen.seen.evidence.to_vec(),
                count: seen.seen.count,
                suspect: true,
                ..Draft::default()
            })
        })
        .collect()
}
