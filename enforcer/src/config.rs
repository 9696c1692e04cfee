//! The enforcer's configuration: the YAML file as written becomes [`Config`], what the program needs.
//!
//! Never touches the network, and reads no file but the one named. Every fault is found in one pass and told with its place;
//! an unknown field is an error (A44). Paths are relative to the configuration file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portreeve_engine::yaml::{self, Fields, Node, Value};
use portreeve_engine::{Diagnostic, Digest, TrustDomain, record::Mode};

use crate::limits;

/// What the enforcer needs to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name, in the inventory, of the service behind this enforcer.
    pub service: Arc<str>,
    /// The bundle: a directory or, with a key, one built and signed file.
    pub bundle: PathBuf,
    /// The public key that must have signed the bundle.
    pub bundle_key: Option<PathBuf>,
    /// Certificate, key, roots and revocation lists.
    pub identity: Identity,
    /// Where mTLS is accepted, and what is behind.
    pub inbound: Vec<Inbound>,
    /// Local ways to other services.
    pub outbound: Vec<Outbound>,
    /// Accepted issuers of user tokens.
    pub jwt: Vec<Issuer>,
    /// The decision log.
    pub log: Log,
    /// The admin listener, loopback only.
    pub admin: Option<SocketAddr>,
    /// The probe listener.
    pub health: Option<SocketAddr>,
    /// Enforce or dry-run.
    pub mode: Mode,
    /// One request in so many is decided again by the reference evaluators.
    pub self_check: Option<NonZeroU32>,
    /// How long running requests may take at shutdown.
    pub drain: Duration,
    /// SHA-256 of the configuration file.
    pub digest: Digest,
}

/// The files of an identity.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Roots per trust domain, PEM.
    pub trust: BTreeMap<TrustDomain, PathBuf>,
    /// Revocation lists.
    pub crl: Vec<PathBuf>,
}

/// One mTLS listener.
#[derive(Clone, Debug)]
pub struct Inbound {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The service.
    pub upstream: SocketAddr,
    /// What the service speaks.
    pub upstream_protocol: UpstreamProtocol,
}

/// What a service speaks, in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

/// One local listener that leads to another service.
#[derive(Clone, Debug)]
pub struct Outbound {
    /// Where to listen; loopback only.
    pub listen: SocketAddr,
    /// The other service's name in the inventory; its identities are what is expected of the peer.
    pub service: Arc<str>,
    /// The other service's enforcer.
    pub connect: SocketAddr,
}

/// An accepted issuer of user tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The `iss` claim.
    pub issuer: String,
    /// Its public keys, a JWKS file.
    pub jwks: PathBuf,
    /// Accepted audiences.
    pub audiences: Vec<String>,
}

/// Where the decision log goes.
#[derive(Clone, Debug)]
pub struct Log {
    /// The file, or standard output.
    pub to: LogTo,
    /// Size at which the file is rotated; `None` never.
    pub rotate_bytes: Option<u64>,
    /// Interval of heartbeats.
    pub heartbeat: Duration,
    /// Signed heads.
    pub heads: Option<Heads>,
}

/// The destination of the decision log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// A file.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

/// Signed heads.
#[derive(Clone, Debug)]
pub struct Heads {
    /// Interval.
    pub every: Duration,
    /// The file they are appended to.
    pub to: PathBuf,
    /// Ed25519 private key, PKCS#8 PEM.
    pub key: PathBuf,
}

/// Why a configuration is not usable.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read `{path}`: {why}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: std::io::Error,
    },
    /// The file is too large to be a configuration.
    #[error("`{0}` is larger than a configuration may be")]
    TooLarge(PathBuf),
    /// The file is not an acceptable configuration.
    #[error("{}", render(.0))]
    Invalid(Vec<Diagnostic>),
}

fn render(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(Diagnostic::render).collect::<Vec<_>>().join("").trim_end().to_owned()
}

impl Config {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The file cannot be read, or everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let io = |why| ConfigError::Read { path: path.to_owned(), why };
        if std::fs::metadata(path).map_err(io)?.len() > limits::CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLarge(path.to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse(&path.display().to_string(), &text, base).map_err(ConfigError::Invalid)
    }

    /// Reads the text of a configuration. `name` is for messages, `base` is what relative paths are relative to.
    ///
    /// # Errors
    /// Everything that is wrong, with its place.
    pub fn parse(name: &str, text: &str, base: &Path) -> Result<Self, Vec<Diagnostic>> {
        let documents = yaml::parse(name, text).map_err(|d| vec![d])?;
        let [root] = documents.as_slice() else {
            return Err(vec![Diagnostic::error("config-documents", "a configuration is exactly one YAML document")]);
        };
        let mut reader = Reader { file: name, base, out: Vec::new() };
        let config = reader.config(root, Digest::of(text.as_bytes()));
        let out: Vec<_> = reader.out.into_iter().map(|d| d.with_source(text)).collect();
        match config {
            Some(config) if out.is_empty() => Ok(config),
            _ if out.is_empty() => Err(vec![Diagnostic::error("missing-field", "the configuration is not complete")]),
            _ => Err(out),
        }
    }
}

/// Reads the file's shape; collects every fault instead of stopping at the first.
struct Reader<'a> {
    file: &'a str,
    base: &'a Path,
    out: Vec<Diagnostic>,
}

impl<'a> Reader<'a> {
    fn config(&mut self, root: &'a Node, digest: Digest) -> Option<Config> {
        let mut f = Fields::of(self.file, root, &mut self.out)?;
        let service = f.require_text("service", &mut self.out).map(|t| Arc::from(t.text));
        let bundle = f.require("bundle", &mut self.out).and_then(|n| self.bundle(n));
        let identity = f.require("identity", &mut self.out).and_then(|n| self.identity(n));
        let inbound = self.each(f.take("inbound"), Self::inbound);
        let outbound = self.each(f.take("outbound"), Self::outbound);
        let jwt = self.each(f.take("jwt"), Self::issuer);
        let log = f.require("log", &mut self.out).and_then(|n| self.log(n));
        let admin = f.take("admin").and_then(|n| self.listener(n, true));
        let health = f.take("health").and_then(|n| self.listener(n, false));
        let mode = self.word(&mut f, "mode", &[("enforce", Mode::Enforce), ("dry-run", Mode::DryRun)], Mode::Enforce);
        let self_check = f.take("self_check").and_then(|n| self.self_check(n));
        let drain = self.duration(&mut f, "drain", limits::DRAIN, limits::DRAIN_MAX);
        f.finish(&mut self.out);
        if inbound.is_empty() && outbound.is_empty() {
            self.fault(root, "config-listeners", "neither `inbound` nor `outbound` has a listener", "add one, or there is nothing to do");
        }
        let (bundle_path, bundle_key) = bundle?;
        Some(Config {
            service: service?,
            bundle: bundle_path,
            bundle_key,
            identity: identity?,
            inbound,
            outbound,
            jwt,
            log: log?,
            admin,
            health,
            mode: mode?,
            self_check,
            drain: drain?,
            digest,
        })
    }

    fn bundle(&mut self, node: &'a Node) -> Option<(PathBuf, Option<PathBuf>)> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        for name in ["url", "poll", "max_age"] {
            if f.take(name).is_some() {
                self.fault(
                    f.key(name).unwrap_or(node),
                    "unsupported",
                    &format!("`bundle.{name}` is not supported yet"),
                    "give a directory: `bundle: {path: …}`, or a signed file: `bundle: {path: …, key: …}`",
                );
            }
        }
        let path = f.require_text("path", &mut self.out).map(|t| self.base.join(t.text));
        let key = f.text("key", &mut self.out).map(|t| self.base.join(t.text));
        f.finish(&mut self.out);
        Some((path?, key))
    }

    fn self_check(&mut self, node: &'a Node) -> Option<NonZeroU32> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        f.require("one_in", &mut self.out);
        let one_in: Option<NonZeroU32> = f.parse("one_in", &mut self.out);
        f.finish(&mut self.out);
        one_in
    }

    fn identity(&mut self, node: &'a Node) -> Option<Identity> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        if let Some(found) = f.take("workload_api") {
            self.fault(found, "unsupported", "`identity.workload_api` is not supported yet", "give files: `cert`, `key`, `trust`");
        }
        let cert = f.require_text("cert", &mut self.out).map(|t| self.base.join(t.text));
        let key = f.require_text("key", &mut self.out).map(|t| self.base.join(t.text));
        let trust = f.require("trust", &mut self.out).map(|n| self.trust(n));
        let crl = f.texts("crl", &mut self.out).into_iter().map(|t| self.base.join(t.text)).collect();
        f.finish(&mut self.out);
        Some(Identity { cert: cert?, key: key?, trust: trust?, crl })
    }

    fn trust(&mut self, node: &'a Node) -> BTreeMap<TrustDomain, PathBuf> {
        let mut out = BTreeMap::new();
        let Value::Mapping(items) = &node.value else {
            self.fault(node, "wrong-type", "expected a mapping of trust domains to files", "write `trust: {market.example: ca.pem}`");
            return out;
        };
        if items.is_empty() {
            self.fault(node, "missing-field", "no trust domain is named, so nobody could be believed", "name at least your own");
        }
        for (key, value) in items {
            match key.as_str().unwrap_or_default().parse::<TrustDomain>() {
                Err(e) => self.fault(key, "invalid-value", &format!("not a trust domain: {e}"), "write a name such as `market.example`"),
                Ok(domain) => {
                    if let Some(path) = yaml::text(self.file, value, &mut self.out) {
                        out.insert(domain, self.base.join(path.text));
                    }
                }
            }
        }
        out
    }

    fn inbound(&mut self, node: &'a Node) -> Option<Inbound> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let listen = self.address(&mut f, "listen");
        let upstream = self.address(&mut f, "upstream");
        let protocols = [("http1", UpstreamProtocol::Http1), ("http2", UpstreamProtocol::Http2)];
        let upstream_protocol = self.word(&mut f, "upstream_protocol", &protocols, UpstreamProtocol::Http1);
        self.word(&mut f, "protocol", &[("http", Some(())), ("tcp", None)], Some(()))?.or_else(|| {
            self.fault(
                node.get("protocol").unwrap_or(node),
                "unsupported",
                "`protocol: tcp` is not supported yet",
                "only `protocol: http` is served",
            );
            f.take("port");
            None
        })?;
        f.finish(&mut self.out);
        Some(Inbound { listen: listen?, upstream: upstream?, upstream_protocol: upstream_protocol? })
    }

    fn outbound(&mut self, node: &'a Node) -> Option<Outbound> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let listen = self.address(&mut f, "listen");
        let service = f.require_text("service", &mut self.out).map(|t| Arc::from(t.text));
        let connect = self.address(&mut f, "connect");
        f.finish(&mut self.out);
        if let Some(listen) = listen.filter(|a| !a.ip().is_loopback()) {
            // Whoever reaches this listener speaks with our identity.
            self.fault(
                node.get("listen").unwrap_or(node),
                "not-loopback",
                &format!("`{listen}` is not a loopback address, so others could speak in the name of this service"),
                "listen on 127.0.0.1 or [::1]",
            );
        }
        Some(Outbound { listen: listen?, service: service?, connect: connect? })
    }

    fn issuer(&mut self, node: &'a Node) -> Option<Issuer> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let issuer = f.require_text("issuer", &mut self.out).map(|t| t.text.to_owned());
        let jwks = f.require("jwks", &mut self.out).and_then(|n| self.jwks(n));
        let audiences: Vec<_> = f.texts("audiences", &mut self.out).into_iter().map(|t| t.text.to_owned()).collect();
        if audiences.is_empty() {
            self.fault(
                node,
                "missing-field",
                "`audiences` is missing or empty",
                "a token made for anyone is accepted by no one; name yours",
            );
        }
        f.finish(&mut self.out);
        Some(Issuer { issuer: issuer?, jwks: jwks?, audiences })
    }

    fn jwks(&mut self, node: &'a Node) -> Option<PathBuf> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        if let Some(found) = f.take("url") {
            self.fault(found, "unsupported", "`jwks.url` is not supported yet", "give a file: `jwks: {path: …}`");
        }
        let path = f.require_text("path", &mut self.out).map(|t| self.base.join(t.text));
        f.finish(&mut self.out);
        path
    }

    fn log(&mut self, node: &'a Node) -> Option<Log> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let to = f.require_text("path", &mut self.out).map(|t| match t.text {
            "-" => LogTo::Stdout,
            path => LogTo::File(self.base.join(path)),
        });
        let rotate_bytes = f.take("rotate").and_then(|n| self.rotate(n));
        let queued = self.word(&mut f, "durability", &[("queued", true)], true);
        let heartbeat = self.duration(&mut f, "heartbeat", limits::HEARTBEAT, limits::HEARTBEAT);
        let heads = f.take("heads").map(|n| self.heads(n));
        f.finish(&mut self.out);
        if to == Some(LogTo::Stdout) && rotate_bytes.is_some() {
            self.fault(
                node.get("rotate").unwrap_or(node),
                "config",
                "standard output cannot be rotated",
                "remove `rotate`, or log to a file",
            );
        }
        queued?;
        Some(Log { to: to?, rotate_bytes, heartbeat: heartbeat?, heads: heads.map_or(Some(None), |h| h.map(Some))? })
    }

    fn rotate(&mut self, node: &'a Node) -> Option<u64> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let size = f.require_text("size", &mut self.out);
        f.finish(&mut self.out);
        let size = size?;
        match parse_size(size.text) {
            Some(bytes) if bytes >= limits::ROTATE_BYTES_MIN => Some(bytes),
            _ => {
                let message = format!("`{}` is not a size of at least {} bytes", size.text, limits::ROTATE_BYTES_MIN);
                self.fault(size.node, "invalid-value", &message, "write a number and `B`, `KiB`, `MiB` or `GiB`, such as `256MiB`");
                None
            }
        }
    }

    fn heads(&mut self, node: &'a Node) -> Option<Heads> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let every = self.duration(&mut f, "every", limits::HEARTBEAT, Duration::from_secs(86_400));
        let to = f.require_text("to", &mut self.out).map(|t| self.base.join(t.text));
        let key = f.require_text("key", &mut self.out).map(|t| self.base.join(t.text));
        f.finish(&mut self.out);
        Some(Heads { every: every?, to: to?, key: key? })
    }

    fn listener(&mut self, node: &'a Node, loopback: bool) -> Option<SocketAddr> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let listen = self.address(&mut f, "listen");
        f.finish(&mut self.out);
        if let Some(address) = listen.filter(|a| loopback && !a.ip().is_loopback()) {
            let message = format!("`{address}` is not a loopback address; the admin listener tells too much for others (A38)");
            let place = node.get("listen").unwrap_or(node);
            self.fault(place, "not-loopback", &message, "listen on 127.0.0.1 or [::1]; use `health` for probes from elsewhere");
        }
        listen
    }

    fn each<T>(&mut self, node: Option<&'a Node>, read: fn(&mut Self, &'a Node) -> Option<T>) -> Vec<T> {
        match node.map(|n| (n, &n.value)) {
            None => Vec::new(),
            Some((_, Value::Sequence(items))) => items.iter().filter_map(|item| read(self, item)).collect(),
            Some((node, _)) => {
                self.fault(
                    node,
                    "wrong-type",
                    &format!("expected a list, found {}", node.kind()),
                    "put `- ` before it, or write it in `[…]`",
                );
                Vec::new()
            }
        }
    }

    fn address(&mut self, f: &mut Fields<'a>, name: &'static str) -> Option<SocketAddr> {
        let text = f.require_text(name, &mut self.out)?;
        let parsed = text.text.parse();
        if parsed.is_err() {
            let message = format!("`{}` is not an IP address with a port", text.text);
            self.fault(text.node, "invalid-value", &message, "write `127.0.0.1:8080` or `[::1]:8080`; names are not looked up");
        }
        parsed.ok()
    }

    fn word<T: Copy>(&mut self, f: &mut Fields<'a>, name: &'static str, known: &[(&'static str, T)], default: T) -> Option<T> {
        let Some(text) = f.text(name, &mut self.out) else { return Some(default) };
        let found = known.iter().find(|(word, _)| *word == text.text).map(|(_, value)| *value);
        if found.is_none() {
            let words = known.iter().map(|(w, _)| format!("`{w}`")).collect::<Vec<_>>().join(" or ");
            self.fault(text.node, "invalid-value", &format!("`{}` is not acceptable for `{name}`", text.text), &format!("write {words}"));
        }
        found
    }

    fn duration(&mut self, f: &mut Fields<'a>, name: &'static str, default: Duration, max: Duration) -> Option<Duration> {
        let Some(text) = f.text(name, &mut self.out) else { return Some(default) };
        let found = parse_duration(text.text).filter(|d| *d >= limits::INTERVAL_MIN && *d <= max);
        if found.is_none() {
            let message = format!("`{}` is not a time between 10ms and {}s", text.text, max.as_secs());
            self.fault(text.node, "invalid-value", &message, "write a number and `ms`, `s`, `m` or `h`, such as `60s`");
        }
        found
    }

    fn fault(&mut self, node: &Node, code: &'static str, message: &str, help: &str) {
        self.out.push(Diagnostic::error(code, message).at(node.location(self.file)).help(help));
    }
}

/// Reads `250ms`, `60s`, `5m`, `1h`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    number.checked_mul(ms).map(Duration::from_millis)
}

/// Reads `4096B`, `64KiB`, `256MiB`, `1GiB` into bytes.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(at)?;
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"service: items
bundle: {path: ./policies}
identity: {cert: items.pem, key: /abs/items.key, trust: {market.example: ca.pem}, crl: []}
inbound: [{listen: "0.0.0.0:8443", upstream: "127.0.0.1:8080", protocol: http}]
outbound: [{listen: "127.0.0.1:15001", service: users, connect: "10.0.0.12:8443"}]
jwt: [{issuer: https://idp.market.example, jwks: {path: jwks.json}, audiences: [items]}]
log: {path: decisions.ndjson, rotate: {size: 256MiB}, durability: queued, heads: {every: 60s, to: heads.ndjson, key: head.key}}
admin: {listen: "127.0.0.1:9901"}
health: {listen: "0.0.0.0:9902"}
mode: enforce
"#;

    #[test]
    fn the_documented_file_is_read() {
        let config = Config::parse("e.yaml", GOOD, Path::new("/etc/p")).unwrap();
        assert_eq!(&*config.service, "items");
        assert_eq!(config.bundle, Path::new("/etc/p/./policies"));
        assert_eq!(config.bundle_key, None);
        let signed = Config::parse("e.yaml", &GOOD.replace("./policies", "market.tar.gz, key: bundle.pub"), Path::new("/etc/p")).unwrap();
        assert_eq!((signed.bundle, signed.bundle_key), ("/etc/p/market.tar.gz".into(), Some("/etc/p/bundle.pub".into())));
        assert_eq!(config.identity.key, Path::new("/abs/items.key"));
        assert_eq!(config.inbound[0].upstream, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(config.inbound[0].upstream_protocol, UpstreamProtocol::Http1);
        assert_eq!(&*config.outbound[0].service, "users");
        assert_eq!(config.jwt[0].jwks, Path::new("/etc/p/jwks.json"));
        assert_eq!(config.log.rotate_bytes, Some(256 << 20));
        assert_eq!(config.log.heads.unwrap().every, Duration::from_secs(60));
        assert_eq!(config.mode, Mode::Enforce);
        assert_eq!(config.digest, Digest::of(GOOD.as_bytes()));
    }

    #[test]
    fn faults_are_told_with_their_places() {
        for (from, to, code, line, at, says) in [
            ("mode: enforce", "mod: enforce", "unknown-field", 10, "mod", "did you mean `mode`"),
            ("mode: enforce", "mode: audit", "invalid-value", 10, "audit", "`dry-run`"),
            ("path: ./policies", "url: https://x", "unsupported", 2, "url", "`bundle.url` is not supported yet"),
            ("protocol: http}", "protocol: tcp}", "unsupported", 4, "tcp", "`protocol: tcp` is not supported yet"),
            ("127.0.0.1:9901", "0.0.0.0:9901", "not-loopback", 8, "\"0.0", "loopback"),
            ("127.0.0.1:15001", "10.0.0.1:15001", "not-loopback", 5, "\"10.0.0.1:", "in the name of this service"),
            ("256MiB", "256MB", "invalid-value", 7, "256", "`256MB` is not a size"),
            ("every: 60s", "every: 60", "invalid-value", 7, "60,", "`60` is not a time"),
            ("127.0.0.1:8080", "localhost:8080", "invalid-value", 4, "\"localhost", "names are not looked up"),
            ("audiences: [items]", "audiences: []", "missing-field", 6, "{issuer", "audiences"),
            ("market.example: ca.pem", "Market_: ca.pem", "invalid-value", 3, "Market_", "not a trust domain"),
            ("service: items\n", "", "missing-field", 1, "bundle", "`service` is missing"),
            ("cert: items.pem, ", "", "missing-field", 3, "{key", "`cert` is missing"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_ne!(text, GOOD, "{from}");
            let found = Config::parse("e.yaml", &text, Path::new("")).unwrap_err();
            let found = found.iter().find(|d| d.code == code).unwrap_or_else(|| panic!("{to}: {found:?}"));
            let place = found.location.as_ref().unwrap();
            let column = text.lines().nth(line - 1).unwrap().find(at).unwrap() + 1;
            assert_eq!((place.line as usize, place.column as usize), (line, column), "{to}");
            assert!(found.render().contains(says), "{}", found.render());
        }
    }

    #[test]
    fn times_and_sizes() {
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(parse_duration("2h"), Some(Duration::from_secs(7200)));
        assert_eq!(parse_size("64KiB"), Some(65_536));
        for bad in ["", "s", "-1s", "1", "1 s", "1.5s", "99999999999999999999s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
        assert_eq!(parse_size("18446744073709551615GiB"), None);
    }
}
