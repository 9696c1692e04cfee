//! Configuration files of enforcers as evidence: which file it is, for which service, and the settings that matter, with places.
//!
//! It reads the fields it needs by itself, because an examiner must not lean on the program it examines (INV-2); that a file is valid is
//! for the enforcer to say. What a file does not say, the enforcer's documented default says.

use std::net::IpAddr;

use portreeve_engine::yaml::{self, Node, Value};
use portreeve_engine::{Diagnostic, Digest};

use crate::assessment::Setting;

/// A configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnforcerConfig {
    /// As given.
    pub path: String,
    /// SHA-256 of its bytes, as `started` records it.
    pub sha256: Digest,
    /// The service it is for.
    pub service: Option<String>,
    /// The settings that matter.
    pub settings: Vec<Setting>,
    /// What is unsafe about it: the setting, and why.
    pub unsafe_settings: Vec<(String, String, Option<String>)>,
    /// What could be stricter: the setting, and why.
    pub soft_settings: Vec<(String, String, Option<String>)>,
}

impl EnforcerConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// It is not YAML of one mapping.
    pub fn read(path: &str, bytes: &[u8]) -> Result<Self, Diagnostic> {
        let wrong = |why: &str| Diagnostic::error("unreadable-settings", format!("`{path}` is no configuration of an enforcer: {why}"));
        let text = std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?;
        let documents = yaml::parse(path, text)?;
        let [document] = documents.as_slice() else { return Err(wrong("it is not one document")) };
        if !matches!(document.value, Value::Mapping(_)) || document.get("service").is_none() {
            return Err(wrong("it has no `service`"));
        }
        let service = document.get("service").and_then(Node::as_str).map(str::to_owned);
        let mut reading = Reading { path, document, settings: Vec::new(), unsafe_settings: Vec::new(), soft_settings: Vec::new() };
        reading.all();
        let Reading { settings, unsafe_settings, soft_settings, .. } = reading;
        Ok(Self { path: path.to_owned(), sha256: Digest::of(bytes), service, settings, unsafe_settings, soft_settings })
    }
}

struct Reading<'n> {
    path: &'n str,
    document: &'n Node,
    settings: Vec<Setting>,
    unsafe_settings: Vec<(String, String, Option<String>)>,
    soft_settings: Vec<(String, String, Option<String>)>,
}

impl<'n> Reading<'n> {
    fn all(&mut self) {
        let mode = self.word("mode", "enforce");
        self.hold(mode == "enforce", "mode", "denials by policy are forwarded");
        let version = self.word("tls.min_version", "1.3");
        self.hold(matches!(version.as_str(), "1.2" | "1.3"), "tls.min_version", "versions before 1.2 are accepted");
        self.advise(version == "1.3", "tls.min_version", "in TLS 1.2 certificates can be read on the way");
        // There is no switch for these: the enforcer has no setting in which they do not hold.
        self.told("tls.client_certificate", "always required", None);
        self.told("on_failure", "closed", None);
        let admin = self.word("admin.listen", "none");
        self.hold(is_private(&admin), "admin.listen", "the administration port can be reached from elsewhere");
        for (index, item) in self.items("inbound") {
            let upstream = item.get("upstream").and_then(Node::as_str).unwrap_or("none");
            let name = format!("inbound[{index}].upstream");
            let at = item.get("upstream").map(|n| self.at(n));
            self.told(&name, upstream, at.clone());
            if !is_private(upstream) {
                self.soft_settings.push((name, format!("`{upstream}` is not on loopback: others may reach the service past the gate"), at));
            }
        }
        for (index, item) in self.items("outbound") {
            let listen = item.get("listen").and_then(Node::as_str).unwrap_or("none");
            let name = format!("outbound[{index}].listen");
            let at = item.get("listen").map(|n| self.at(n));
            self.told(&name, listen, at.clone());
            if !is_private(listen) {
                self.unsafe_settings.push((name, format!("`{listen}`: whoever reaches it speaks in the name of this service"), at));
            }
        }
        let durability = self.word("log.durability", "queued");
        self.advise(durability != "queued", "log.durability", "a request may be forwarded before its record is in the file");
        let log = self.word("log.path", "none");
        self.hold(log != "none", "log.path", "there is no decision log");
        let heads = self.find("log.heads").is_some();
        self.told("log.heads", if heads { "signed" } else { "none" }, self.find("log.heads").map(|n| self.at(n)));
        self.advise(heads, "log.heads", "nothing outside the log vouches for it");
        if let Some(keep) = self.find("log.rotate.keep") {
            let least = keep.get("min_age").and_then(Node::as_str).unwrap_or(KEEP_AGE);
            self.told("log.rotate.keep.min_age", least, Some(self.at(keep.get("min_age").unwrap_or(keep))));
            let why = "records may be deleted before twelve months have passed";
            self.advise(hours(least).is_some_and(|hours| hours >= YEAR_HOURS), "log.rotate.keep.min_age", why);
        }
        let key = self.find("bundle.key").is_some();
        self.told("bundle.key", if key { "required" } else { "none" }, self.find("bundle.key").map(|n| self.at(n)));
        self.advise(key, "bundle.key", "policies are taken up unsigned");
        let stale = self.word("bundle.on_stale", "alarm");
        let has_age = self.find("bundle.max_age").is_some();
        self.advise(!has_age || stale == "deny", "bundle.on_stale", "decisions go on under policies older than they may be");
    }

    /// The node at a dotted path.
    fn find(&self, path: &str) -> Option<&'n Node> {
        path.split('.').try_fold(self.document, |node, name| node.get(name)).filter(|n| !n.is_null())
    }

    fn at(&self, node: &Node) -> String {
        node.location(self.path).short()
    }

    /// A word, told with its place; where it is not given, what then holds.
    fn word(&mut self, path: &str, default: &str) -> String {
        let node = self.find(path);
        let value = node.and_then(Node::as_str).unwrap_or(default).to_owned();
        self.told(path, &value, node.map(|n| self.at(n)));
        value
    }

    fn told(&mut self, name: &str, value: &str, at: Option<String>) {
        self.settings.push(Setting { name: name.to_owned(), value: value.to_owned(), at });
    }

    fn hold(&mut self, holds: bool, name: &str, why: &str) {
        if !holds {
            let at = self.find(name).map(|n| self.at(n));
            self.unsafe_settings.push((name.to_owned(), why.to_owned(), at));
        }
    }

    fn advise(&mut self, holds: bool, name: &str, why: &str) {
        if !holds {
            let at = self.find(name).map(|n| self.at(n));
            self.soft_settings.push((name.to_owned(), why.to_owned(), at));
        }
    }

    fn items(&self, name: &str) -> Vec<(usize, &'n Node)> {
        match self.find(name).map(|n| &n.value) {
            Some(Value::Sequence(items)) => items.iter().enumerate().collect(),
            _ => Vec::new(),
        }
    }
}

/// A time of the configuration in whole hours.
fn hours(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.find(|c: char| !c.is_ascii_digit())?)?;
    let per_hour = match unit {
        "ms" => 3_600_000,
        "s" => 3600,
        "m" => 60,
        "h" => 1,
        _ => return None,
    };
    number.parse::<u64>().ok().map(|n| n / per_hour)
}

/// The least age of a deleted file where the configuration does not say it.
const KEEP_AGE: &str = "8784h";
const YEAR_HOURS: u64 = 365 * 24;

/// Whether nothing outside the machine (or the pod) can reach it: loopback, a Unix socket, or nothing at all.
fn is_private(address: &str) -> bool {
    if address == "none" || address.starts_with("unix:") {
        return true;
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host).trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "service: items\nbundle: {path: p.tar.gz, key: bundle.pub}\ninbound: [{listen: '0.0.0.0:8443', upstream: '127.0.0.1:8080'}]\n\
        log: {path: d.ndjson, durability: written, heads: {every: 60s, to: h.ndjson, key: k}}\nadmin: {listen: '127.0.0.1:9901'}\n";

    #[test]
    fn settings_are_read_with_their_places() {
        let good = EnforcerConfig::read("e.yaml", GOOD.as_bytes()).unwrap();
        assert_eq!((good.service.as_deref(), good.sha256), (Some("items"), Digest::of(GOOD.as_bytes())));
        assert_eq!((&good.unsafe_settings, &good.soft_settings), (&vec![], &vec![]));
        let of = |name: &str| good.settings.iter().find(|s| s.name == name).unwrap();
        assert_eq!((of("log.durability").value.as_str(), of("log.durability").at.as_deref()), ("written", Some("e.yaml:4")));
        assert_eq!((of("mode").value.as_str(), &of("mode").at), ("enforce", &None));
        for (from, to, name, is_unsafe) in [
            ("admin: {", "mode: dry-run\nadmin: {", "mode", true),
            ("127.0.0.1:9901", "0.0.0.0:9901", "admin.listen", true),
            ("127.0.0.1:9901", "[::]:9901", "admin.listen", true),
            ("admin: {", "outbound: [{listen: '10.0.0.1:1', service: x}]\nadmin: {", "outbound[0].listen", true),
            ("admin: {", "tls: {min_version: '1.1'}\nadmin: {", "tls.min_version", true),
            ("admin: {", "tls: {min_version: '1.2'}\nadmin: {", "tls.min_version", false),
            ("durability: written", "durability: queued", "log.durability", false),
            (", heads: {every: 60s, to: h.ndjson, key: k}", "", "log.heads", false),
            (", durability", ", rotate: {size: 1GiB, keep: {files: 9, min_age: 8759h}}, durability", "log.rotate.keep.min_age", false),
            (", key: bundle.pub", "", "bundle.key", false),
            ("key: bundle.pub", "key: bundle.pub, max_age: 1h", "bundle.on_stale", false),
            ("127.0.0.1:8080", "10.0.0.9:8080", "inbound[0].upstream", false),
        ] {
            let changed = GOOD.replace(from, to);
            assert_ne!(changed, GOOD, "{from}");
            let config = EnforcerConfig::read("e.yaml", changed.as_bytes()).unwrap();
            let named = |list: &[(String, String, Option<String>)]| list.iter().any(|(n, ..)| n == name);
            assert_eq!(
                (named(&config.unsafe_settings), named(&config.soft_settings)),
                (is_unsafe, !is_unsafe || (name == "tls.min_version" && to.contains("1.1"))),
                "{to}"
            );
        }
        for wrong in ["", "a: [", "[x]", "mode: enforce\n", "service: a\n---\nservice: b\n"] {
            assert!(EnforcerConfig::read("e.yaml", wrong.as_bytes()).is_err(), "{wrong}");
        }
        for (address, want) in
            [("unix:///run/a.sock", true), ("localhost:1", true), ("[::1]:1", true), ("10.0.0.1:1", false), ("0.0.0.0:1", false)]
        {
            assert_eq!(is_private(address), want, "{address}");
        }
    }
}
