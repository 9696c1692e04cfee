//! Names of places outside the mesh, and which service of the inventory a name stands for.
//!
//! A host is compared as text in one form (lower case, no dot at the end); nothing is looked up here.
//!
//! INVARIANT: a name stands for at most one service: the longest look-up that finds something decides (the name with its port,
//! the name, a wildcard with the port, a wildcard), and two services that would tie there are an error of the bundle.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hashbrown::HashMap;

use crate::authorizer::Authorizer;
use crate::diagnostic::Diagnostic;
use crate::limits::HOST_BYTES_MAX;
use crate::model::Service;
use crate::request::{Request, Target};

type FixedState = foldhash::fast::FixedState;

/// A name outside the mesh as the inventory writes it: `api.example`, `*.api.example`, `api.example:8443`, `203.0.113.7`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostPattern {
    name: Box<str>,
    wildcard: bool,
    port: Option<u16>,
}

/// A host that somebody named, in one form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    name: Box<str>,
    port: Option<u16>,
}

/// Why a text is not a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// It is empty or too long.
    #[error("it is empty, or longer than a host may be")]
    Length,
    /// A label is empty or too long, or has a character that may not stand in it.
    #[error("a label is empty, longer than 63 characters, or has another character than letters, digits, `-` and `_`")]
    Label,
    /// The port is none.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// The address is none.
    #[error("it looks like an IP address and is none")]
    Address,
    /// A wildcard stands where it may not.
    #[error("`*` stands for one whole label, the first, and at least two labels follow it")]
    Wildcard,
}

impl Host {
    /// The name or address, in lower case; an IPv6 address in its brackets.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port, if one was named.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// The same host on a port that was not named but is meant. Port 80 is meant where none is named.
    #[must_use]
    pub fn on(self, port: u16) -> Self {
        let port = self.port.or((port != 80).then_some(port));
        Self { port, ..self }
    }

    /// The address, if the name is one.
    #[must_use]
    pub fn address(&self) -> Option<std::net::IpAddr> {
        match self.name.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            Some(v6) => v6.parse::<Ipv6Addr>().ok().map(Into::into),
            None => self.name.parse::<Ipv4Addr>().ok().map(Into::into),
        }
    }
}

impl FromStr for Host {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let (name, port) = split(text)?;
        Ok(Self { name: one_form(name)?, port })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, "", &self.name, self.port)
    }
}

impl HostPattern {
    /// Whether a host on a port is one of those meant. A pattern without a port stands for every port of a tunnel.
    #[must_use]
    pub fn covers(&self, name: &str, port: u16) -> bool {
        let named = match name.split_once('.') {
            // A wildcard covers one label (A11), and never a label of an address.
            Some((first, rest)) if self.wildcard => !first.is_empty() && *rest == *self.name && name.parse::<Ipv4Addr>().is_err(),
            _ => !self.wildcard && *name == *self.name,
        };
        named && self.port.is_none_or(|own| own == port)
    }
}

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        let (name, port) = split(text)?;
        let (wildcard, rest) = name.strip_prefix("*.").map_or((false, name), |rest| (true, rest));
        if rest.contains('*') || (wildcard && !rest.contains('.')) {
            return Err(HostError::Wildcard);
        }
        let name = one_form(rest)?;
        if wildcard && (name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok()) {
            return Err(HostError::Wildcard);
        }
        Ok(Self { name, wildcard, port })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, if self.wildcard { "*." } else { "" }, &self.name, self.port)
    }
}

fn write(f: &mut fmt::Formatter<'_>, before: &str, name: &str, port: Option<u16>) -> fmt::Result {
    match port {
        Some(port) => write!(f, "{before}{name}:{port}"),
        None => write!(f, "{before}{name}"),
    }
}

/// Takes the port off.
fn split(text: &str) -> Result<(&str, Option<u16>), HostError> {
    if text.is_empty() || text.len() > HOST_BYTES_MAX + ":65535".len() {
        return Err(HostError::Length);
    }
    // The colons of an IPv6 address stand within brackets.
    let from = text.rfind(']').unwrap_or(0);
    let at = text.get(from..).and_then(|rest| rest.find(':')).map(|at| at + from);
    let Some((name, port)) = at.and_then(|at| text.split_at_checked(at)) else { return Ok((text, None)) };
    let digits = port.strip_prefix(':').filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|d| d.parse::<u16>().ok()).filter(|port| *port > 0) {
        Some(port) => Ok((name, Some(port))),
        None => Err(HostError::Port),
    }
}

fn one_form(name: &str) -> Result<Box<str>, HostError> {
    let name = name.to_ascii_lowercase();
    if let Some(inner) = name.strip_prefix('[') {
        let address = inner.strip_suffix(']').and_then(|t| t.parse::<Ipv6Addr>().ok()).ok_or(HostError::Address)?;
        return Ok(format!("[{address}]").into());
    }
    let name = name.strip_suffix('.').unwrap_or(&name);
    if name.is_empty() || name.len() > HOST_BYTES_MAX {
        return Err(HostError::Length);
    }
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
    if !name.split('.').all(|label| (1..=63).contains(&label.len()) && label.bytes().all(fits)) {
        return Err(HostError::Label);
    }
    // `127.1` and `0x7f.1` are addresses to some resolvers, so a name that ends in a number must be a whole address.
    let numeric = name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x"));
    if numeric && name.parse::<Ipv4Addr>().is_err() {
        return Err(HostError::Address);
    }
    Ok(name.into())
}

/// Which service stands for which names.
#[derive(Debug, Default)]
pub(crate) struct Outside {
    by_pattern: HashMap<HostPattern, usize, FixedState>,
}

impl Outside {
    /// Indexes the names, and reports those that two services have or that another name hides.
    pub(crate) fn build(services: &[Service], problems: &mut Vec<Diagnostic>) -> Self {
        let mut out = Self::default();
        for (index, service) in services.iter().enumerate().filter(|(_, s)| s.is_outside()) {
            if !service.identities.is_empty() || !service.patterns.is_empty() {
                problems.push(
                    Diagnostic::error(
                        "outside-identity",
                        format!("`{}` has `hosts`, so it is outside the mesh, and identities too", service.name),
                    )
                    .at(service.at.clone())
                    .help("make it two services: the one that calls with an identity, and the one that is called by a name"),
                );
            }
            for host in &service.hosts {
                let first = out.by_pattern.insert(host.clone(), index).filter(|first| *first != index).and_then(|n| services.get(n));
                if let Some(first) = first {
                    problems.push(shared(host, service, &format!("`{}`", first.name)));
                }
                // A name that is a service's would be sent to that service, and never to the place outside.
                if services.iter().any(|s| !s.is_outside() && !host.wildcard && *s.name == *host.name) {
                    problems.push(shared(host, service, "a service of the mesh"));
                }
            }
        }
        out
    }

    /// The position of the service that a name and a port stand for.
    pub(crate) fn find(&self, name: &str, port: u16, needs_port: bool) -> Option<usize> {
        let look = |name: &str, wildcard: bool| {
            let key = |port| HostPattern { name: name.into(), wildcard, port };
            let without = || self.by_pattern.get(&key(None)).filter(|_| !needs_port);
            self.by_pattern.get(&key(Some(port))).or_else(without).copied()
        };
        let wildcard = || {
            let (first, rest) = name.split_once('.')?;
            let is_name = !first.is_empty() && name.parse::<Ipv4Addr>().is_err() && !name.starts_with('[');
            is_name.then(|| look(rest, true)).flatten()
        };
        if self.by_pattern.is_empty() { None } else { look(name, false).or_else(wildcard) }
    }

    /// The position of the service outside that this host stands for, as the target of a request.
    ///
    /// Without a port in the inventory a name stands for every port of a tunnel, as the operations say which ones are offered,
    /// but for port 80 alone of plain HTTP, which has no operation that names a port.
    pub(crate) fn of(&self, host: &Host, target: &Target) -> Option<usize> {
        match target {
            Target::Connect { port } if host.port.is_some_and(|named| named != *port) => None,
            Target::Connect { port } => self.find(&host.name, *port, false),
            Target::Http { .. } => {
                let port = host.port.unwrap_or(80);
                self.find(&host.name, port, port != 80)
            }
        }
    }

    /// Whether the host that a request names is one of the service's, or none is named.
    pub(crate) fn is_of(&self, service: usize, request: &Request) -> bool {
        request.host.as_deref().is_none_or(|text| text.parse().is_ok_and(|host| self.of(&host, &request.target) == Some(service)))
    }
}

impl Authorizer {
    /// The service outside the mesh that a host stands for, as the target of a request.
    #[must_use]
    pub fn outside(&self, host: &Host, target: &Target) -> Option<&Service> {
        self.inventory.services().get(self.inventory.outside().of(host, target)?)
    }

    /// Whether a request about a place outside the mesh names a host that is none of that place's.
    pub(crate) fn is_elsewhere(&self, request: &Request) -> bool {
        let Some(index) = self.inventory.index(&request.service) else { return false };
        self.inventory.services().get(index).is_some_and(Service::is_outside) && !self.inventory.outside().is_of(index, request)
    }
}

fn shared(host: &HostPattern, service: &Service, whose: &str) -> Diagnostic {
    Diagnostic::error("shared-host", format!("`{host}` is the name of {whose} already; a name stands for one service"))
        .at(service.at.clone())
        .help("take it out of one of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_one_form_or_none() {
        for (text, form) in [
            ("API.Example.", "api.example"),
            ("api.example:443", "api.example:443"),
            ("203.0.113.7:80", "203.0.113.7:80"),
            ("[2001:DB8:0::1]:443", "[2001:db8::1]:443"),
            ("a_b.example", "a_b.example"),
        ] {
            assert_eq!(text.parse::<Host>().map(|h| h.to_string()).as_deref(), Ok(form), "{text}");
        }
        for bad in [
            "",
            ".",
            "a..b",
            "a b",
            "a/b",
            "a@b",
            "a:0",
            "a:65536",
            "a:+1",
            "a:1:2",
            "[::1",
            "[zz]:1",
            "::1",
            "127.1",
            "0x7f.1",
            "1.2.3.4.5",
            "2130706433",
            "*.example",
            "ünicode.example",
            "a:",
        ] {
            assert!(bad.parse::<Host>().is_err(), "{bad}");
        }
        let long = format!("{}.example", "a".repeat(64));
        assert_eq!(long.parse::<Host>(), Err(HostError::Label));
    }

    #[test]
    fn a11_a_wildcard_covers_one_label() {
        let pattern: HostPattern = "*.Api.Example:8443".parse().unwrap();
        assert_eq!(pattern.to_string(), "*.api.example:8443");
        assert!(pattern.covers("x.api.example", 8443));
        for (name, port) in [("x.api.example", 443), ("api.example", 8443), ("a.b.api.example", 8443), ("x.api.example.evil", 8443)] {
            assert!(!pattern.covers(name, port), "{name}:{port}");
        }
        for bad in ["*", "*.example", "x.*.example", "**.a.example", "*a.b.example", "*.10.0.0.1", "*.[::1]"] {
            assert!(bad.parse::<HostPattern>().is_err(), "{bad}");
        }
    }
}
