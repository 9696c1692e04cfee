//! What a scope says: which zones and services are in which scope class, what counts as sensitive, untrusted, before production,
//! whose tenant a service is, which networks are open, who the third parties are, and which controls do not apply.
//!
//! Without a scope the defaults hold (`limits.rs`), so that every question here has an answer. It judges nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use portreeve_engine::Location;
use portreeve_engine::model::{Operation, Service};

use crate::limits::{PREPRODUCTION_ZONES, SENSITIVE_DATA, UNTRUSTED_ZONES};

/// A scope class of PCI DSS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Stores, processes or transmits account data.
    Cde,
    /// Has a way to what does.
    ConnectedTo,
    /// Can weaken its security without a way of its own.
    SecurityImpacting,
    /// None of these.
    OutOfScope,
}

impl Class {
    /// Every class, with its field in a scope.
    pub const ALL: [(&'static str, Self); 4] = [
        ("cde", Self::Cde),
        ("connected_to", Self::ConnectedTo),
        ("security_impacting", Self::SecurityImpacting),
        ("out_of_scope", Self::OutOfScope),
    ];

    /// Its field in a scope.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, class)| *class == self).map_or("", |(word, _)| word)
    }
}

/// Services by zone or by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    /// Zones.
    pub zones: BTreeSet<String>,
    /// Services.
    pub services: BTreeSet<String>,
}

impl Members {
    /// Whether the service is named, itself or by its zone.
    #[must_use]
    pub fn contains(&self, service: &Service) -> bool {
        self.services.contains(&*service.name) || service.zone.as_deref().is_some_and(|zone| self.zones.contains(zone))
    }
}

/// Somewhere that systems run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its name.
    pub name: String,
    /// Whether it serves the business, and not tests.
    pub production: bool,
    /// What runs there.
    pub members: Members,
}

/// A customer who has systems of their own here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its name.
    pub name: String,
    /// What is theirs.
    pub members: Members,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<Cidr>,
    /// Whether it is open or public.
    pub open_public: bool,
    /// What stands in it.
    pub members: Members,
}

/// A block of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    address: IpAddr,
    bits: u8,
}

impl Cidr {
    /// Whether the address lies in the block. An IPv4 address within IPv6 counts as what it is.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                let shift = 32 - u32::from(self.bits);
                u32::from(net).checked_shr(shift) == u32::from(ip).checked_shr(shift)
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                let shift = 128 - u32::from(self.bits);
                u128::from(net).checked_shr(shift) == u128::from(ip).checked_shr(shift)
            }
            _ => false,
        }
    }
}

/// Why a text is no block of addresses.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("expected an address and a length, such as `10.0.0.0/8`")]
pub struct ParseCidrError;

impl std::str::FromStr for Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, bits) = text.split_once('/').ok_or(ParseCidrError)?;
        let address: IpAddr = address.parse().map_err(|_| ParseCidrError)?;
        let bits: u8 = bits.parse().map_err(|_| ParseCidrError)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        if bits > most { Err(ParseCidrError) } else { Ok(Self { address, bits }) }
    }
}

/// Somebody else's service that takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThirdParty {
    /// Its name.
    pub name: String,
    /// Services of the inventory that are theirs.
    pub services: BTreeSet<String>,
    /// Host names that are theirs.
    pub hosts: BTreeSet<String>,
}

/// A protocol version that is meant to be used, and what for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cryptography {
    /// `TLSv1.3`.
    pub version: String,
    /// Suites; empty: any of this version.
    pub suites: BTreeSet<String>,
    /// What for.
    pub purpose: String,
}

/// A control that somebody approved as not applicable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotApplicable {
    /// The control, `catalog id` or the id alone.
    pub control: String,
    /// Why.
    pub reason: String,
    /// Who agreed.
    pub approved_by: Vec<String>,
    /// Where it is declared.
    pub at: Location,
}

/// What a scope says. Where a list is empty and a default exists, the default holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Its name; `None` where no scope was given.
    pub name: Option<String>,
    /// Members of each class, in the order of [`Class::ALL`].
    pub classes: [Members; 4],
    /// Classes of data that are sensitive.
    pub sensitive_data: BTreeSet<String>,
    /// Zones that are not trusted.
    pub untrusted_zones: BTreeSet<String>,
    /// `service/operation` or `service`: what anyone may reach from an untrusted zone.
    pub public: BTreeSet<String>,
    /// Environments.
    pub environments: Vec<Environment>,
    /// Tenants.
    pub tenants: Vec<Tenant>,
    /// Services of the provider that serves the tenants.
    pub provider: Members,
    /// Networks.
    pub networks: Vec<Network>,
    /// Third parties.
    pub third_parties: Vec<ThirdParty>,
    /// Protocols that are meant to be used.
    pub cryptography: Vec<Cryptography>,
    /// Services that exist for tests.
    pub test_accounts: BTreeSet<String>,
    /// Services through which the systems are administered.
    pub administration: Members,
    /// Services that keep logs, and services that may call those.
    pub log_stores: Members,
    /// See `log_stores`.
    pub log_readers: Members,
    /// Who may approve grants.
    pub approvers: BTreeSet<String>,
    /// Whether the owner is a service provider, for whom some cycles are shorter.
    pub service_provider: bool,
    /// Controls that do not apply.
    pub not_applicable: Vec<NotApplicable>,
}

impl Scope {
    /// Whether a scope was given.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        self.name.is_some()
    }

    /// The class of a service, the gravest that names it; `None` where none does.
    #[must_use]
    pub fn class(&self, service: &Service) -> Option<Class> {
        Class::ALL.iter().zip(&self.classes).find(|(_, members)| members.contains(service)).map(|((_, class), _)| *class)
    }

    /// Whether this class of data is sensitive.
    #[must_use]
    pub fn is_sensitive_class(&self, class: &str) -> bool {
        if self.sensitive_data.is_empty() { SENSITIVE_DATA.contains(&class) } else { self.sensitive_data.contains(class) }
    }

    /// The sensitive classes.
    #[must_use]
    pub fn sensitive_classes(&self) -> Vec<&str> {
        if self.sensitive_data.is_empty() { SENSITIVE_DATA.to_vec() } else { self.sensitive_data.iter().map(String::as_str).collect() }
    }

    /// The untrusted zones.
    #[must_use]
    pub fn untrusted_zones(&self) -> Vec<&str> {
        if self.untrusted_zones.is_empty() { UNTRUSTED_ZONES.to_vec() } else { self.untrusted_zones.iter().map(String::as_str).collect() }
    }

    /// Whether the service touches sensitive data, whole or in one of its operations.
    #[must_use]
    pub fn is_sensitive(&self, service: &Service) -> bool {
        service.data.iter().any(|d| self.is_sensitive_class(d)) || service.operations.iter().any(|o| self.is_sensitive_operation(o))
    }

    /// Whether the service lives in an untrusted zone.
    #[must_use]
    pub fn is_untrusted(&self, service: &Service) -> bool {
        let zone = service.zone.as_deref();
        zone.is_some_and(|zone| self.untrusted_zones().contains(&zone))
    }

    /// Whether an operation of a service (or its undeclared paths) touches sensitive data.
    #[must_use]
    pub fn touches(&self, service: &Service, operation: Option<&Operation>) -> bool {
        service.data.iter().any(|d| self.is_sensitive_class(d))
            || operation.map_or_else(|| self.is_sensitive(service), |o| self.is_sensitive_operation(o))
    }

    fn is_sensitive_operation(&self, operation: &Operation) -> bool {
        operation.data.iter().any(|d| self.is_sensitive_class(d))
    }

    /// The environment of a service.
    #[must_use]
    pub fn environment(&self, service: &Service) -> Option<&Environment> {
        self.environments.iter().find(|e| e.members.contains(service))
    }

    /// Whether the service runs before production.
    #[must_use]
    pub fn is_preproduction(&self, service: &Service) -> bool {
        match (self.environments.is_empty(), self.environment(service)) {
            (true, _) => service.zone.as_deref().is_some_and(|zone| PREPRODUCTION_ZONES.contains(&zone)),
            (false, environment) => environment.is_some_and(|e| !e.production),
        }
    }

    /// The tenant of a service.
    #[must_use]
    pub fn tenant(&self, service: &Service) -> Option<&Tenant> {
        self.tenants.iter().find(|t| t.members.contains(service))
    }

    /// Whether what the service sends or gets crosses an open or public network.
    #[must_use]
    pub fn is_public(&self, service: &Service) -> bool {
        self.networks.iter().any(|n| n.open_public && n.members.contains(service))
    }

    /// The third party whose the service is.
    #[must_use]
    pub fn third_party(&self, service: &Service) -> Option<&ThirdParty> {
        let is_theirs = |p: &&ThirdParty| p.services.contains(&*service.name);
        self.third_parties.iter().find(is_theirs)
    }

    /// What is said of a control that does not apply.
    #[must_use]
    pub fn not_applicable(&self, catalog: &str, id: &str) -> Option<&NotApplicable> {
        self.not_applicable.iter().find(|n| names_control(&n.control, catalog, id))
    }
}

/// Whether `name` (`pci-dss-4.0.1 1.3.3`, `pci-1.3.3` as policies write it, or the id alone) is this control.
pub(crate) fn names_control(name: &str, catalog: &str, id: &str) -> bool {
    if name == id {
        return true;
    }
    if let Some((of, rest)) = name.split_once(' ') {
        return of == catalog && rest == id;
    }
    name.split_once('-').is_some_and(|(family, rest)| rest == id && catalog.starts_with(family))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_addresses() {
        for (block, ip, want) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("192.168.1.7/32", "192.168.1.7", true),
            ("192.168.1.7/32", "192.168.1.6", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("::/0", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "10.0.0.1", false),
        ] {
            assert_eq!(block.parse::<Cidr>().unwrap().contains(ip.parse().unwrap()), want, "{block} {ip}");
        }
        for wrong in ["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/x", "::/129"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_of_controls() {
        for (name, want) in [
            ("1.3.3", true),
            ("pci-dss-4.0.1 1.3.3", true),
            ("pci-1.3.3", true),
            ("soc2 1.3.3", false),
            ("soc-1.3.3", false),
            ("1.3", false),
            ("pci-dss-4.0.1 1.3", false),
        ] {
            assert_eq!(names_control(name, "pci-dss-4.0.1", "1.3.3"), want, "{name}");
        }
    }
}
