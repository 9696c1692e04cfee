//! The proxy of the local service: services of the mesh by name, and places outside the mesh.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use ipnet::IpNet;
use portreeve_engine::outside::Host;
use portreeve_engine::yaml::{Fields, Node, Text, Value};

use super::outbound::Way;
use super::reader::Reader;
use crate::outbound::EgressTimes;

/// One proxy, on one listener or several.
#[derive(Clone, Debug, Default)]
pub struct Proxy {
    /// Where clients that know of the proxy find it; loopback only.
    pub listen: Option<SocketAddr>,
    /// Where the system sends connections that were meant for elsewhere (Linux); loopback only.
    pub transparent: Vec<SocketAddr>,
    /// Services of the mesh.
    pub services: Vec<Served>,
    /// How places outside the mesh are reached; which ones, the law says.
    pub egress: Egress,
}

/// A service of the mesh that the proxy leads to.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its name in the inventory, under which it is asked for.
    pub service: Arc<str>,
    /// Further names under which it is asked for.
    pub hosts: Vec<Host>,
    /// Addresses by which it is meant in the transparent mode, besides those of its enforcers.
    pub addresses: Vec<SocketAddr>,
    /// The way there.
    pub way: Way,
}

/// How places outside the mesh are reached.
#[derive(Clone, Debug, Default)]
pub struct Egress {
    /// Networks of private addresses in which they may be.
    pub private: Vec<IpNet>,
    /// Tunnels that need not be TLS.
    pub without_tls: Vec<Host>,
    /// How long they are waited for.
    pub times: EgressTimes,
}

impl<'a> Reader<'a> {
    pub(super) fn proxy(&mut self, node: &'a Node) -> Option<Proxy> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let listen = f.key("listen").is_some().then(|| self.address(&mut f, "listen"));
        let _ = f.take("listen");
        let transparent = self.addresses(&mut f, "transparent");
        let services = f.take("services").map(|n| self.served(n)).unwrap_or_default();
        let egress = f.take("egress").map_or(Some(Egress::default()), |n| self.egress(n));
        f.finish(&mut self.out);
        for address in &transparent {
            self.only_local(node, "transparent", Some(*address));
            self.listens_on(node, *address);
        }
        self.only_local(node, "listen", listen.flatten());
        if listen.is_none() && transparent.is_empty() {
            self.fault(node, "missing-field", "`proxy` has neither `listen` nor `transparent`", "say where it listens");
        }
        Some(Proxy { listen: listen.map_or(Some(None), |l| l.map(Some))?, transparent, services, egress: egress? })
    }

    fn served(&mut self, node: &'a Node) -> Vec<Served> {
        let Value::Mapping(items) = &node.value else {
            self.fault(
                node,
                "wrong-type",
                &format!("expected a mapping, found {}", node.kind()),
                "write `services: {users: {connect: …}}`",
            );
            return Vec::new();
        };
        let mut names = BTreeMap::new();
        let mut out = Vec::new();
        for (key, value) in items {
            let name = key.as_str().unwrap_or_default();
            let Some(served) = self.one_served(name, value) else { continue };
            for asked in std::iter::once(name).chain(served.hosts.iter().map(Host::name)) {
                if let Some(other) = names.insert(asked.to_ascii_lowercase(), name).filter(|other| *other != name) {
                    self.fault(value, "invalid-value", &format!("`{asked}` already leads to `{other}`"), "a name leads to one service");
                }
            }
            out.push(served);
        }
        out
    }

    fn one_served(&mut self, name: &str, node: &'a Node) -> Option<Served> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let way = self.way(&mut f);
        let hosts = f.texts("hosts", &mut self.out).into_iter().filter_map(|text| self.host(text, false)).collect();
        let addresses = self.addresses(&mut f, "addresses");
        f.finish(&mut self.out);
        Some(Served { service: Arc::from(name), hosts, addresses, way: way? })
    }

    fn egress(&mut self, node: &'a Node) -> Option<Egress> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let mut private = Vec::new();
        for text in f.texts("private", &mut self.out) {
            match text.text.parse::<IpNet>() {
                Ok(net) => private.push(net),
                Err(_) => {
                    let message = format!("`{}` is not a network", text.text);
                    self.fault(text.node, "invalid-value", &message, "write it as `10.20.0.0/16`");
                }
            }
        }
        let without_tls = f.texts("without_tls", &mut self.out).into_iter().filter_map(|text| self.host(text, true)).collect();
        let times = f.take("timeouts");
        let times = self.egress_times(times);
        f.finish(&mut self.out);
        Some(Egress { private, without_tls, times: times? })
    }

    fn host(&mut self, text: Text<'a>, with_port: bool) -> Option<Host> {
        let (found, help) = if with_port {
            (text.text.parse::<Host>().ok().filter(|h| h.port().is_some()), "write a name and a port, such as `db.partner.example:5432`")
        } else {
            (text.text.parse::<Host>().ok().filter(|h| h.port().is_none()), "write a name without a port, such as `users.shop.local`")
        };
        if found.is_none() {
            self.fault(text.node, "invalid-value", &format!("`{}` is not acceptable here", text.text), help);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    const GOOD: &str = r#"service: items
bundle: {path: ./policies}
identity: {cert: items.pem, key: items.key, trust: {market.example: ca.pem}}
log: {path: decisions.ndjson}
outbound:
  - listen: "127.0.0.1:15001"
    service: users
    connect: ["10.0.0.12:8443", "10.0.0.13:8443"]
    timeouts: {connect: 1s, request: 5s}
    retries: 1
    limits: {requests: 100, pending: 0}
proxy:
  listen: "127.0.0.1:15000"
  transparent: ["127.0.0.1:15002", "[::1]:15002"]
  services:
    users: {connect: "10.0.0.12:8443", hosts: [users.shop.local], addresses: ["10.96.0.12:80"]}
  egress: {private: [10.20.0.0/16], without_tls: ["db.partner.example:5432"]}
"#;

    #[test]
    fn the_documented_file_is_read() {
        let config = Config::parse("e.yaml", GOOD, Path::new("")).unwrap();
        let way = &config.outbound[0].way;
        assert_eq!((way.connect.len(), way.settings.retries, way.settings.requests, way.settings.pending), (2, 1, 100, 0));
        assert_eq!((way.settings.connect.as_secs(), way.settings.request.as_secs()), (1, 5));
        let proxy = config.proxy.unwrap();
        assert_eq!((proxy.transparent.len(), proxy.services.len(), proxy.egress.private.len()), (2, 1, 1));
        assert_eq!(proxy.services[0].hosts[0].name(), "users.shop.local");
    }

    #[test]
    fn faults_are_told_with_their_places() {
        for (from, to, code, says) in [
            ("\"127.0.0.1:15000\"", "\"0.0.0.0:15000\"", "not-loopback", "in the name of this service"),
            ("\"[::1]:15002\"", "\"10.0.0.1:15002\"", "not-loopback", "loopback"),
            ("retries: 1", "retries: 9", "invalid-value", "from 0 to 5"),
            ("pending: 0", "pendin: 0", "unknown-field", "did you mean `pending`"),
            ("requests: 100", "requests: 0", "invalid-value", "from 1"),
            ("\"10.0.0.13:8443\"", "\"10.0.0.12:8443\"", "invalid-value", "twice"),
            ("\"10.0.0.13:8443\"", "users:8443", "invalid-value", "names are not looked up"),
            ("[\"10.0.0.12:8443\", \"10.0.0.13:8443\"]", "[]", "empty-list", "connect"),
            ("    connect: [\"10.0.0.12:8443\", \"10.0.0.13:8443\"]\n", "", "missing-field", "`connect` is missing"),
            ("[users.shop.local]", "[\"users.shop.local:80\"]", "invalid-value", "without a port"),
            ("\"db.partner.example:5432\"", "db.partner.example", "invalid-value", "a name and a port"),
            ("10.20.0.0/16", "10.20.0.0", "invalid-value", "10.20.0.0/16"),
            ("  listen: \"127.0.0.1:15000\"\n  transparent: [\"127.0.0.1:15002\", \"[::1]:15002\"]\n", "", "missing-field", "neither"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let found = Config::parse("e.yaml", &text, Path::new("")).unwrap_err();
            let rendered: String = found.iter().map(|d| d.render()).collect();
            assert!(found.iter().any(|d| d.code == code && d.location.is_some()) && rendered.contains(says), "{to}: {rendered}");
        }
    }
}
