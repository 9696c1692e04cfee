//! Which service of the inventory a line means, by its identity, its names, or what a mapping file says.
//!
//! INVARIANT: a name that could mean two services means none. A name within a namespace never means a service whose identities are
//! all of other namespaces.

use std::collections::BTreeMap;
use std::net::IpAddr;

use portreeve_engine::model::Service;
use portreeve_engine::outside::Host;
use portreeve_engine::request::Target;
use portreeve_engine::{Authorizer, SpiffeId, Timestamp};

use super::names::Names;
use super::seen::{AddressOf, Callee, Caller, Seen};

/// A caller as the inventory has it.
#[derive(Clone, Debug, Default)]
pub(crate) struct From<'a> {
    /// Its service.
    pub(crate) service: Option<&'a Service>,
    /// Its identity, where the line proves or names one.
    pub(crate) id: Option<SpiffeId>,
    /// What else the line calls it.
    pub(crate) name: Option<String>,
}

/// Resolves under one bundle.
pub(crate) struct Resolver<'a> {
    law: &'a Authorizer,
    /// Services by the end of their identities, `/ns/shop/sa/items`: what platforms know of them.
    by_account: BTreeMap<(&'a str, &'a str), Option<&'a Service>>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(law: &'a Authorizer) -> Self {
        let mut by_account: BTreeMap<(&str, &str), Option<&Service>> = BTreeMap::new();
        for service in law.services() {
            for account in service.identities.iter().filter_map(|id| account(id.path())) {
                by_account
                    .entry(account)
                    .and_modify(|held| *held = held.filter(|other| other.name == service.name))
                    .or_insert(Some(service));
            }
        }
        Self { law, by_account }
    }

    /// The caller.
    pub(crate) fn caller(&self, seen: &Seen<'_>, names: &Names) -> From<'a> {
        match &seen.caller {
            Caller::Id(text) => self.by_id(text, names),
            Caller::Label { namespace, account, names: workload } => {
                let namespace = namespace.as_deref();
                let by_account = namespace.zip(account.as_deref()).and_then(|key| self.account(key));
                let mut labels = workload.iter().flatten().map(|name| &**name);
                let service = by_account.or_else(|| labels.clone().find_map(|name| self.by_name(name, namespace, names)));
                // What the platform calls it, for people: the account first.
                let name = account.as_deref().or_else(|| labels.next());
                let name = name.map(|name| namespace.map_or_else(|| name.to_owned(), |ns| format!("{ns}/{name}")));
                From { service, id: None, name }
            }
            Caller::Name(name) => From { service: self.by_name(name, None, names), id: None, name: Some(name.to_string()) },
            Caller::Unnamed => self.by_address(seen.caller_ip, seen.caller_ip_of, seen.at, names),
        }
    }

    fn by_address(&self, ip: Option<IpAddr>, of: AddressOf, at: Timestamp, names: &Names) -> From<'a> {
        let service = ip.and_then(|ip| names.by_address(ip, at)).and_then(|name| self.law.service(name));
        From { service, id: None, name: ip.map(|ip| of.name(ip)) }
    }

    fn by_id(&self, text: &str, names: &Names) -> From<'a> {
        let Ok(id) = text.parse::<SpiffeId>() else {
            // Linkerd writes identities as names: `sa.ns.serviceaccount.identity.linkerd.cluster.local`.
            let service = names.service(text).and_then(|name| self.law.service(name)).or_else(|| self.by_dns_id(text));
            return From { service, id: None, name: Some(text.to_owned()) };
        };
        let mapped = || names.service(text).and_then(|name| self.law.service(name));
        let service = self.law.identify(&id).or_else(mapped);
        From { service, id: Some(id), name: None }
    }

    fn by_dns_id(&self, text: &str) -> Option<&'a Service> {
        let (account, rest) = text.split_once('.')?;
        let (namespace, rest) = rest.split_once('.')?;
        rest.starts_with("serviceaccount.identity.").then(|| self.account((namespace, account)))?
    }

    fn account(&self, key: (&str, &str)) -> Option<&'a Service> {
        self.by_account.get(&key).copied().flatten()
    }

    /// The called service.
    pub(crate) fn callee(&self, callee: &Callee<'_>, target: Option<&Target>, at: Timestamp, names: &Names) -> Option<&'a Service> {
        let namespace = callee.namespace.as_deref();
        let by_id = || callee.id.as_deref().and_then(|text| self.by_id(text, names).service);
        let by_account = || namespace.zip(callee.account.as_deref()).and_then(|key| self.account(key));
        let by_name = || callee.names.iter().flatten().find_map(|name| self.by_name(name, namespace, names));
        let by_host = || callee.names.iter().flatten().find_map(|name| self.outside(name, target?));
        let by_address = || callee.ip.and_then(|ip| names.by_address(ip, at)).and_then(|name| self.law.service(name));
        by_id().or_else(by_account).or_else(by_name).or_else(by_host).or_else(by_address)
    }

    fn outside(&self, name: &str, target: &Target) -> Option<&'a Service> {
        let host: Host = name.parse().ok()?;
        self.law.outside(&host, target)
    }

    /// The service of a name as it stands, or in the form in which all ways of writing a host are one: in small letters, without a dot at its
    /// end. Callers choose how they write it, and proxies take every way.
    fn by_name(&self, name: &str, namespace: Option<&str>, names: &Names) -> Option<&'a Service> {
        self.by_name_as_it_stands(name, namespace, names).or_else(|| {
            let (host, port) =
                name.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or((name, None), |(host, port)| (host, Some(port)));
            let mut plain = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
            plain.extend(port.iter().flat_map(|port| [":", port]));
            if plain == name { None } else { self.by_name_as_it_stands(&plain, namespace, names) }
        })
    }

    /// What the mapping says, the name itself, or its first label where the platform's own names are written out
    /// (`items.shop.svc.cluster.local`, `items.shop:8080`).
    fn by_name_as_it_stands(&self, name: &str, namespace: Option<&str>, names: &Names) -> Option<&'a Service> {
        if let Some(mapped) = names.service(name) {
            return self.law.service(mapped);
        }
        let host = name.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(name, |(host, _)| host);
        if let Some(mapped) = names.service(host) {
            return self.law.service(mapped);
        }
        let (first, rest) = host.split_once('.').map_or((host, None), |(first, rest)| (first, Some(rest)));
        let namespace = match rest {
            None => namespace,
            Some(rest) => {
                let (ns, zone) = rest.split_once('.').map_or((rest, None), |(ns, zone)| (ns, Some(zone)));
                // Another domain's names are not the platform's.
                if !zone.is_none_or(|zone| zone == "svc" || zone.starts_with("svc.")) {
                    return None;
                }
                Some(ns)
            }
        };
        let service = self.law.service(first).filter(|s| !s.is_outside())?;
        let mut spaces = service.identities.iter().filter_map(|id| account(id.path())).map(|(ns, _)| ns).peekable();
        let fits = namespace.is_none() || spaces.peek().is_none() || spaces.any(|ns| Some(ns) == namespace);
        fits.then_some(service)
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// Namespace and service account of `/ns/shop/sa/items`.
fn account(path: &str) -> Option<(&str, &str)> {
    let (namespace, rest) = path.strip_prefix("/ns/")?.split_once('/')?;
    let account = rest.strip_prefix("sa/")?;
    (!account.contains('/')).then_some((namespace, account))
}
