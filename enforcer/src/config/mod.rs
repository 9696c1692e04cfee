//! The enforcer's configuration: the YAML file as written becomes [`Config`], what the program needs.
//!
//! Never touches the network, and reads no file but the one named. Every fault is found in one pass and told with its place;
//! an unknown field is an error (A44). Paths are relative to the configuration file.

mod agent;
mod bundle;
mod exchange;
mod health;
mod identity;
mod inbound;
mod introduction;
mod log;
mod outbound;
mod pages;
mod proxy;
mod reader;
mod schema;
mod sts;
mod times;
mod tls;
mod tokens;
mod traces;
mod workers;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portreeve_engine::yaml::{self, Fields, Node};
use portreeve_engine::{Diagnostic, Digest, record::Mode};

pub use agent::{AgentConfig, Entry};
pub use bundle::{Bundle, Freshness, OnStale, Remote, Source};
pub use exchange::{Exchange, ExchangeAt};
pub use identity::{Identity, WorkloadApi};
pub use inbound::{Inbound, Tcp, UpstreamProtocol};
pub use log::{Durability, Heads, HeadsTo, Keep, Log, LogTo, Witness};
pub use outbound::{Outbound, Way};
pub use pages::AdminAt;
pub use proxy::{Egress, Proxy, Served};
use reader::Reader;
pub use reader::{parse_duration, parse_size};
pub use schema::json_schema;
pub use sts::StsConfig;
pub use tls::Tls;
pub use tokens::{Issuer, KeySet};
pub use traces::Traces;

use crate::limits;

/// What the enforcer needs to run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name, in the inventory, of the service behind this enforcer.
    pub service: Arc<str>,
    /// The bundle.
    pub bundle: Bundle,
    /// Certificate, key, roots and revocation lists.
    pub identity: Identity,
    /// How mutual TLS is spoken.
    pub tls: Tls,
    /// Where mTLS is accepted, and what is behind.
    pub inbound: Vec<Inbound>,
    /// Local ways to other services.
    pub outbound: Vec<Outbound>,
    /// The proxy of the local service.
    pub proxy: Option<Proxy>,
    /// The exchange of user tokens for every way out that does not say otherwise.
    pub exchange: Option<Exchange>,
    /// Accepted issuers of user tokens.
    pub jwt: Vec<Issuer>,
    /// The decision log.
    pub log: Log,
    /// The admin pages, for this machine alone.
    pub admin: Option<AdminAt>,
    /// The probe listener.
    pub health: Option<SocketAddr>,
    /// Enforce or dry-run.
    pub mode: Mode,
    /// One request in so many is decided again by the reference evaluators.
    pub self_check: Option<NonZeroU32>,
    /// Where spans go.
    pub traces: Option<Traces>,
    /// The threads that serve inbound connections.
    pub workers: NonZeroUsize,
    /// How long running requests may take at shutdown.
    pub drain: Duration,
    /// Whether another process of the same user may have the same ports, as in a swap of the program.
    pub share_ports: bool,
    /// SHA-256 of the configuration file.
    pub digest: Digest,
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
        let text = read_text(path)?;
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse(&path.display().to_string(), &text, base).map_err(ConfigError::Invalid)
    }

    /// Reads the text of a configuration. `name` is for messages, `base` is what relative paths are relative to.
    ///
    /// # Errors
    /// Everything that is wrong, with its place.
    pub fn parse(name: &str, text: &str, base: &Path) -> Result<Self, Vec<Diagnostic>> {
        parse_with(name, text, base, |reader, root| reader.config(root, Digest::of(text.as_bytes())))
    }
}

/// The text of a file that is no longer than a configuration may be.
fn read_text(path: &Path) -> Result<String, ConfigError> {
    // Counted while it is read: what is no plain file has no size before.
    crate::files::read_text(path, limits::CONFIG_BYTES_MAX).map_err(|why| match why.kind() {
        std::io::ErrorKind::FileTooLarge => ConfigError::TooLarge(path.to_owned()),
        _ => ConfigError::Read { path: path.to_owned(), why },
    })
}

/// Reads one YAML document into what a program needs; every fault is told with its place and source line.
fn parse_with<T>(
    name: &str,
    text: &str,
    base: &Path,
    read: impl for<'a> FnOnce(&mut Reader<'a>, &'a Node) -> Option<T>,
) -> Result<T, Vec<Diagnostic>> {
    let documents = yaml::parse(name, text).map_err(|d| vec![d])?;
    let [root] = documents.as_slice() else {
        let message = format!("`{name}` has {} YAML documents; a configuration is exactly one", documents.len());
        let help = if documents.is_empty() { "begin with `service:`, `bundle:`, `identity:` and `log:`" } else { "give each its own file" };
        return Err(vec![Diagnostic::error("config-documents", message).help(help)]);
    };
    let mut reader = Reader { file: name, base, out: Vec::new(), listens: Vec::new() };
    let config = read(&mut reader, root);
    let out: Vec<_> = reader.out.into_iter().map(|d| d.with_source(text)).collect();
    match config {
        Some(config) if out.is_empty() => Ok(config),
        _ if out.is_empty() => Err(vec![Diagnostic::error("missing-field", "the configuration is not complete")]),
        _ => Err(out),
    }
}

impl<'a> Reader<'a> {
    fn config(&mut self, root: &'a Node, digest: Digest) -> Option<Config> {
        let mut f = Fields::of(self.file, root, &mut self.out)?;
        let service = f.require_text("service", &mut self.out).map(|t| Arc::from(t.text));
        let bundle = f.require("bundle", &mut self.out).and_then(|n| self.bundle(n));
        let identity = f.require("identity", &mut self.out).and_then(|n| self.identity(n));
        let tls = f.take("tls").map_or(Some(Tls::default()), |n| self.tls(n));
        let before = self.out.len();
        let inbound = self.each(f.take("inbound"), Self::inbound);
        let outbound = self.each(f.take("outbound"), Self::outbound);
        let proxy = f.take("proxy").map(|n| self.proxy(n));
        // A listener with a fault is one all the same.
        let are_whole = self.out.len() == before;
        let exchange = f.take("exchange").map_or(Some(None), |n| self.exchange(n));
        let jwt = self.each(f.take("jwt"), Self::issuer);
        let log = f.require("log", &mut self.out).and_then(|n| self.log(n));
        let admin = f.take("admin").and_then(|n| self.admin(n));
        let health = f.take("health").and_then(|n| self.health(n));
        let mode = self.word(&mut f, "mode", &[("enforce", Mode::Enforce), ("dry-run", Mode::DryRun)], Mode::Enforce);
        let traces = f.take("traces").and_then(|n| self.traces(n));
        let self_check = f.take("self_check").and_then(|n| self.self_check(n));
        let workers = self.workers(&mut f);
        let drain = self.duration(&mut f, "drain", limits::DRAIN, limits::DRAIN_MAX);
        let shared = f.key("share_ports");
        let share_ports = f.boolean("share_ports", &mut self.out).unwrap_or(false);
        f.finish(&mut self.out);
        if are_whole && inbound.is_empty() && outbound.is_empty() && proxy.is_none() {
            self.fault(
                root,
                "config-listeners",
                "none of `inbound`, `outbound` and `proxy` has a listener",
                "add one, or there is nothing to do",
            );
        }
        let mut bundle = bundle;
        if let (Some(Bundle { source: Source::Remote(_), cache: cache @ None, .. }), Some(log)) = (&mut bundle, &log) {
            // A server can be away when we start, so what it gave last is always kept: beside the log, which has a writable place.
            let beside = match &log.to {
                LogTo::File(path) => path.parent().unwrap_or(self.base),
                LogTo::Stdout => self.base,
            };
            *cache = Some(beside.join("bundle-cache"));
        }
        if let Some((place, log)) = shared.zip(log.as_ref()).filter(|(_, log)| share_ports && !log.to.is_for_many()) {
            let message = format!("two processes that share their ports cannot both write `{}`", log.to);
            self.fault(place, "config", &message, "put `{instance}` into the file name of `log.path`, or log to `-`");
        }
        Some(Config {
            service: service?,
            bundle: bundle?,
            identity: identity?,
            tls: tls?,
            inbound,
            outbound,
            proxy: proxy.map_or(Some(None), |p| p.map(Some))?,
            exchange: exchange?,
            jwt,
            log: log?,
            admin,
            health,
            mode: mode?,
            self_check,
            traces,
            workers: workers?,
            drain: drain?,
            share_ports,
            digest,
        })
    }
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

    /// What is no plain file has no size before it is read, and perhaps no end.
    #[test]
    fn a_file_without_an_end_is_too_large() {
        let read = Config::read(Path::new("/dev/zero"));
        assert!(matches!(read, Err(ConfigError::TooLarge(_))), "{read:?}");
        let key = crate::files::read_text(Path::new("/dev/zero"), limits::KEY_FILE_BYTES_MAX);
        assert_eq!(key.unwrap_err().kind(), std::io::ErrorKind::FileTooLarge);
    }

    #[test]
    fn the_documented_file_is_read() {
        let config = Config::parse("e.yaml", GOOD, Path::new("/etc/p")).unwrap();
        assert_eq!(&*config.service, "items");
        assert_eq!(config.bundle.source, Source::Directory("/etc/p/./policies".into()));
        let signed = Config::parse("e.yaml", &GOOD.replace("./policies", "market.tar.gz, key: bundle.pub"), Path::new("/etc/p")).unwrap();
        let file = Source::File { path: "/etc/p/market.tar.gz".into(), key: "/etc/p/bundle.pub".into() };
        assert_eq!(signed.bundle.source, file);
        assert_eq!(config.identity.files().unwrap().key, Path::new("/abs/items.key"));
        assert_eq!(config.inbound[0].upstream, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(config.inbound[0].upstream_protocol, UpstreamProtocol::Http1);
        assert_eq!(&*config.outbound[0].service, "users");
        assert_eq!(config.jwt[0].jwks, KeySet::File("/etc/p/jwks.json".into()));
        assert_eq!((config.log.rotate_bytes, config.log.keep), (Some(256 << 20), None));
        let keep = |said: &str| {
            let text = GOOD.replace("256MiB}", &format!("256MiB, keep: {{{said}}}}}"));
            Config::parse("e.yaml", &text, Path::new("")).unwrap().log.keep.unwrap()
        };
        assert_eq!(keep("files: 400"), Keep { files: Some(400), age: None, min_age: limits::KEEP_AGE });
        let hours = |n: u64| Duration::from_secs(n * 3600);
        assert_eq!(keep("age: 720h, min_age: 24h"), Keep { files: None, age: Some(hours(720)), min_age: hours(24) });
        assert_eq!(keep("age: 10d, min_age: 1d"), Keep { files: None, age: Some(hours(240)), min_age: hours(24) });
        let heads = config.log.heads.unwrap();
        assert_eq!((heads.every, heads.to), (Duration::from_secs(60), vec![HeadsTo::File("/etc/p/heads.ndjson".into())]));
        assert_eq!(config.mode, Mode::Enforce);
        assert_eq!(config.digest, Digest::of(GOOD.as_bytes()));
        assert_eq!(config.tls.min_version, crate::tls::MinVersion::Tls13);
        let old = Config::parse("e.yaml", &format!("{GOOD}tls: {{min_version: \"1.2\"}}\n"), Path::new("")).unwrap();
        assert_eq!(old.tls.min_version, crate::tls::MinVersion::Tls12);
    }

    #[test]
    fn faults_are_told_with_their_places() {
        for (from, to, code, line, at, says) in [
            ("mode: enforce", "mod: enforce", "unknown-field", 10, "mod", "did you mean `mode`"),
            (
                "{cert: items.pem, key: /abs/items.key, trust: {market.example: ca.pem}, crl: []}",
                "{workload_api: tcp://10.0.0.1:80}",
                "invalid-value",
                3,
                "tcp:",
                "only a loopback address",
            ),
            ("mode: enforce", "tls: {min_version: '1.1'}", "invalid-value", 10, "'1.1'", "`1.2` or `1.3`"),
            ("mode: enforce", "mode: audit", "invalid-value", 10, "audit", "`dry-run`"),
            ("path: ./policies", "url: https://x", "missing-field", 2, "{url", "no `key` says who must have signed it (A75)"),
            ("path: ./policies", "url: http://x, key: k", "invalid-value", 2, "http:", "`http` is refused"),
            ("path: ./policies", "path: p, max_age: 10m", "config", 2, "max_age", "`bundle.max_age` needs a signed bundle"),
            ("path: ./policies", "path: p, key: k, on_stale: deny", "config", 2, "on_stale", "add `max_age: 10m`"),
            ("path: ./policies", "url: https://x, path: p, key: k", "config", 2, "p, k", "one place"),
            ("mode: enforce", "traces: {otlp: \"http://127.0.0.1:4318\", sample: 2}", "invalid-value", 10, "2}", "from 0 to 1"),
            ("mode: enforce", "traces: {otlp: \"http://10.0.0.1:4318\"}", "invalid-value", 10, "\"http", "only for loopback"),
            ("protocol: http}", "protocol: tcp}", "missing-field", 4, "{listen", "`port` is missing"),
            ("protocol: http}", "protocol: tcp, port: 0}", "invalid-value", 4, "0}", "port"),
            (
                "protocol: http}",
                "protocol: tcp, port: 5432, upstream_protocol: http2}",
                "unknown-field",
                4,
                "upstream_protocol",
                "upstream_protocol",
            ),
            ("protocol: http}", "protocol: http, port: 80}", "unknown-field", 4, "port", "port"),
            ("protocol: http}", "identity_headers: {principal: x-user}}", "invalid-value", 4, "x-user", "x-portreeve-"),
            ("protocol: http}", "identity_headers: {claims: {x-portreeve-principal: sub}}}", "invalid-value", 4, "{claims", "two meanings"),
            ("protocol: http}", "identity_headers: {xfcc: [Host]}}", "invalid-value", 4, "Host", "`URI`"),
            ("protocol: http}", "protocol: tcp, port: 1, forward_token: true}", "unknown-field", 4, "forward_token", "forward_token"),
            ("protocol: http}", "paths: BASE}", "unknown-field", 4, "paths", "in the inventory"),
            ("127.0.0.1:15001", "127.0.0.1:8443", "invalid-value", 5, "\"127.0.0.1:8443", "is listened on already, on line 4"),
            ("0.0.0.0:9902", "127.0.0.1:9901", "invalid-value", 9, "\"127.0.0.1:9901", "is listened on already, on line 8"),
            ("127.0.0.1:8080", "127.0.0.1:8443", "invalid-value", 4, "upstream", "is this listener itself"),
            ("127.0.0.1:9901", "0.0.0.0:9901", "not-loopback", 8, "\"0.0", "loopback"),
            ("127.0.0.1:15001", "10.0.0.1:15001", "not-loopback", 5, "\"10.0.0.1:", "in the name of this service"),
            ("256MiB", "256MB", "invalid-value", 7, "256", "`256MB` is not a size"),
            ("every: 60s", "every: 60", "invalid-value", 7, "60,", "`60` is not a time"),
            ("256MiB}", "256MiB, keep: {}}", "missing-field", 7, "{}}", "neither how many files nor how old"),
            ("256MiB}", "256MiB, keep: {age: 720h}}", "config", 7, "age", "a shorter `min_age`"),
            ("256MiB}", "256MiB, keep: {files: 0}}", "invalid-value", 7, "0}", "from 1 to"),
            ("256MiB}", "256MiB, keep: {age: 100000h}}", "invalid-value", 7, "100000h", "is not a time"),
            // It has no default that its help could name.
            ("256MiB}", "256MiB, keep: {age: 10}}", "invalid-value", 7, "10}", "`h` or `d`, such as `60s`; leave it out for none"),
            ("every: 60s", "every: 2d", "invalid-value", 7, "2d", "is not a time between 10ms and 24h"),
            (
                "256MiB}, durability: queued, heads: {every: 60s, to: heads.ndjson, key: head.key}",
                "256MiB, keep: {files: 9}}",
                "config",
                7,
                "{files",
                "nothing would be left that vouches",
            ),
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
