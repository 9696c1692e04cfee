//! Lays the town out in a folder: authority, bundles, certificates, keys, configurations. These are the files that a real
//! installation has, so each can be looked at and used by hand.
//!
//! INVARIANT: nothing is written into a folder that has other content than an earlier town's.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portreeve_enforcer::ca::{Ca, CaOptions, ExtendedUsage, IssueRequest, Issued, head_key};
use portreeve_engine::{SpiffeId, Timestamp, TrustDomain};

use crate::apps::Slowness;
use crate::calls::{Kind, Who};
use crate::client::{self, Presented};
use crate::error::TownError;
use crate::journal::Journal;
use crate::limits;
use crate::market::{self, PROBER, SERVICES, TOKEN_ISSUER, TRUST_DOMAIN, WAYS, id_of};
use crate::random::Random;
use crate::stage::Stage;
use crate::tokens::Tokens;

/// What can be chosen about a town.
#[derive(Clone, Copy, Debug)]
pub struct TownOptions {
    /// How slow its apps are; `None` is not at all.
    pub slowness: Option<Slowness>,
    /// How long sidecars let running requests end when they stop.
    pub drain: Duration,
}

impl Default for TownOptions {
    fn default() -> Self {
        Self { slowness: None, drain: Duration::from_secs(5) }
    }
}

/// A town that is laid out and not yet running.
pub struct Town {
    pub(crate) dir: PathBuf,
    pub(crate) ca: Ca,
    pub(crate) stage: Arc<Stage>,
    pub(crate) options: TownOptions,
    /// Sockets of the apps, listening already, so that nobody else takes their ports.
    pub(crate) apps: BTreeMap<&'static str, TcpListener>,
    /// Sockets that keep the ports of the sidecars until they start.
    pub(crate) reserved: Vec<TcpListener>,
}

impl Town {
    /// Lays a town out. An earlier one in the same folder is replaced.
    ///
    /// # Errors
    /// See [`TownError`]; among them a folder that has other content.
    pub fn build(dir: &Path, options: TownOptions) -> Result<Self, TownError> {
        clear(dir)?;
        // Configurations name their files relative to themselves, but messages and reports should name them in full.
        let dir = &dir.canonicalize().map_err(TownError::file(dir))?;
        for folder in ["svid", "config", "logs"] {
            folder_at(&dir.join(folder))?;
        }
        let domain = trust_domain(TRUST_DOMAIN)?;
        let ca = Ca::init(&dir.join("ca"), &domain, CaOptions::default())?;
        write_bundle(&dir.join(FIRST), &market::first_bundle())?;
        point(dir, FIRST)?;
        let tokens = Tokens::new()?;
        write(&dir.join("jwks.json"), tokens.jwks_json().as_bytes(), OPEN)?;
        let heads = head_key()?;
        write(&dir.join("heads.key"), heads.private_pem.as_bytes(), SECRET)?;
        write(&dir.join("heads.pub"), heads.public_pem.as_bytes(), OPEN)?;
        let root = fs::read_to_string(ca.root_path()).map_err(TownError::file(&ca.root_path()))?;

        let mut ports = Ports::new()?;
        let mut places = Places::default();
        let mut apps = BTreeMap::new();
        for service in SERVICES {
            places.inbound.insert(service, ports.reserve()?);
            places.admin.insert(service, ports.reserve()?);
            let app = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|why| TownError::Socket { who: service, why })?;
            places.apps.insert(service, app.local_addr().map_err(|why| TownError::Socket { who: service, why })?);
            apps.insert(service, app);
        }
        for way in WAYS {
            places.outbound.insert(way, ports.reserve()?);
        }
        for service in SERVICES {
            let text = config(service, &places, options);
            write(&dir.join("config").join(format!("{service}.yaml")), text.as_bytes(), OPEN)?;
        }
        let mut identities = lawful(&ca, dir)?;
        identities.extend(odd(&ca, dir)?);
        let Ports { block, held, .. } = ports;
        places.block = Some(block);
        let stage = Stage::new(places, identities, client::roots(&root)?, tokens, Arc::new(Journal::default()));
        Ok(Self { dir: dir.clone(), ca, stage: Arc::new(stage), options, apps, reserved: held })
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Lets its ports go without starting it, for those who start its sidecars themselves.
    #[must_use]
    pub fn release(self) -> Arc<Stage> {
        self.stage
    }
}

/// Where everything listens.
#[derive(Debug, Default)]
pub(crate) struct Places {
    /// The socket that keeps other towns out of this one's block of ports.
    pub(crate) block: Option<TcpListener>,
    pub(crate) inbound: BTreeMap<&'static str, SocketAddr>,
    pub(crate) admin: BTreeMap<&'static str, SocketAddr>,
    pub(crate) apps: BTreeMap<&'static str, SocketAddr>,
    pub(crate) outbound: BTreeMap<(&'static str, &'static str), SocketAddr>,
}

/// The configuration of a sidecar, as anyone would write it.
fn config(service: &str, places: &Places, options: TownOptions) -> String {
    use std::fmt::Write as _;
    let at = |map: &BTreeMap<&'static str, SocketAddr>, name: &str| map.get(name).map(ToString::to_string).unwrap_or_default();
    let mut text = format!(
        "# The sidecar of `{service}`.\n\
         service: {service}\n\
         bundle: {{path: ../policy}}\n\
         identity: {{cert: ../svid/{service}.pem, key: ../svid/{service}.key, trust: {{{TRUST_DOMAIN}: ../ca/ca.pem}}, crl: []}}\n\
         inbound: [{{listen: \"{}\", upstream: \"{}\", protocol: http}}]\n",
        at(&places.inbound, service),
        at(&places.apps, service),
    );
    let ways: Vec<_> = places.outbound.iter().filter(|((from, _), _)| *from == service).collect();
    if !ways.is_empty() {
        text.push_str("outbound:\n");
        for ((_, to), listen) in ways {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  - {{listen: \"{listen}\", service: {to}, connect: \"{}\"}}", at(&places.inbound, to));
        }
    }
    let _ = write!(
        text,
        "jwt: [{{issuer: {TOKEN_ISSUER}, jwks: {{path: ../jwks.json}}, audiences: [{service}]}}]\n\
         log: {{path: ../logs/{service}.ndjson, heartbeat: 1s, heads: {{every: 2s, to: ../logs/{service}.heads.ndjson, key: ../heads.key}}}}\n\
         admin: {{listen: \"{}\"}}\n\
         drain: {}ms\n\
         mode: enforce\n",
        at(&places.admin, service),
        options.drain.as_millis(),
    );
    text
}

pub(crate) type Identities = BTreeMap<Who, Arc<Presented>>;

/// Certificates of the services, written to files, and the prober's.
pub(crate) fn lawful(ca: &Ca, dir: &Path) -> Result<Identities, TownError> {
    let mut out = BTreeMap::new();
    for service in SERVICES {
        let (cert, key) = svid_files(dir, service);
        let issued = ca.issue_files(&spiffe_id(&id_of(service))?, limits::CERTIFICATE_LIFETIME, &cert, &key)?;
        out.insert(Who::Service(service), Arc::new(Presented::of(service, &issued)?));
    }
    let (cert, key) = svid_files(dir, "prober");
    let prober = ca.issue_files(&spiffe_id(PROBER)?, limits::CERTIFICATE_LIFETIME, &cert, &key)?;
    out.insert(Who::Prober, Arc::new(Presented::of("prober", &prober)?));
    Ok(out)
}

/// The certificates that must not be accepted, and one that is and means nothing.
fn odd(ca: &Ca, dir: &Path) -> Result<Identities, TownError> {
    let now = now();
    let gateway = id_of("gateway");
    let leaf = |uris: &[&str]| IssueRequest::leaf(uris, now.plus_ms(-7_200_000), now.plus_ms(3_600_000));
    let same_name = Ca::init(&dir.join("ca/foreign"), &trust_domain(TRUST_DOMAIN)?, CaOptions::default())?;
    let elsewhere = Ca::init(&dir.join("ca/elsewhere"), &trust_domain("elsewhere.example")?, CaOptions::default())?;
    let made: [(Kind, Issued); 6] = [
        (Kind::ExpiredCertificate, {
            let request = IssueRequest { not_after: now.plus_ms(-3_600_000), ..leaf(&[&gateway]) };
            ca.issue_unchecked(&request)?
        }),
        (Kind::TwoNames, ca.issue_unchecked(&leaf(&[&gateway, &id_of("invoices")]))?),
        (Kind::ServerCertificate, {
            ca.issue_unchecked(&IssueRequest { extended_usage: ExtendedUsage::ServerOnly, ..leaf(&[&gateway]) })?
        }),
        (Kind::ForeignAuthority, same_name.issue_unchecked(&leaf(&[&gateway]))?),
        (Kind::ForeignDomain, elsewhere.issue_unchecked(&leaf(&["spiffe://elsewhere.example/ns/shop/sa/gateway"]))?),
        (Kind::UnknownIdentity, ca.issue(&spiffe_id(&id_of("stranger"))?, limits::CERTIFICATE_LIFETIME, &[])?),
    ];
    let mut out = BTreeMap::new();
    for (kind, issued) in made {
        out.insert(Who::Odd(kind), Arc::new(Presented::of(kind.as_str(), &issued)?));
    }
    Ok(out)
}

fn svid_files(dir: &Path, name: &str) -> (PathBuf, PathBuf) {
    let at = dir.join("svid").join(name);
    (at.with_extension("pem"), at.with_extension("key"))
}

/// Ports of one block. A socket on the block's first port keeps other towns away from it as long as this town lives: a sidecar
/// binds its port a moment after the socket that kept it has let go, and nothing else may come between.
struct Ports {
    block: TcpListener,
    next: u64,
    end: u64,
    held: Vec<TcpListener>,
}

impl Ports {
    fn new() -> Result<Self, TownError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
        let mut random = Random::new(u64::from(std::process::id()) << 32 | u64::from(since));
        for _ in 0..limits::PORT_TRIES_MAX {
            let first = limits::PORT_FIRST + random.below(limits::PORT_BLOCKS) * limits::PORT_BLOCK;
            if let Some((block, _)) = bind(first) {
                return Ok(Self { block, next: first + 1, end: first + limits::PORT_BLOCK, held: Vec::new() });
            }
        }
        Err(TownError::NoPort)
    }

    fn reserve(&mut self) -> Result<SocketAddr, TownError> {
        while self.next < self.end {
            let bound = bind(self.next);
            self.next += 1;
            if let Some((listener, address)) = bound {
                self.held.push(listener);
                return Ok(address);
            }
        }
        Err(TownError::NoPort)
    }
}

fn bind(port: u64) -> Option<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, u16::try_from(port).ok()?)).ok()?;
    let address = listener.local_addr().ok()?;
    Some((listener, address))
}

/// Makes room: an earlier town's files are removed by name, anything else is left and refused.
fn clear(dir: &Path) -> Result<(), TownError> {
    let marker = dir.join(MARKER);
    let empty = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
        entries => entries.map_err(TownError::file(dir))?.next().is_none(),
    };
    if !empty {
        if !marker.is_file() {
            let why = std::io::Error::new(std::io::ErrorKind::AlreadyExists, "it has files in it that are not an earlier demo's");
            return Err(TownError::File { path: dir.to_owned(), why });
        }
        for name in OURS {
            let path = dir.join(name);
            let Ok(found) = path.symlink_metadata() else { continue };
            let removed = if found.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            removed.map_err(TownError::file(&path))?;
        }
    }
    folder_at(dir)?;
    write(&marker, b"This folder was written by `portreeve demo`, which replaces it when it runs again.\n", OPEN)
}

pub(crate) fn write_bundle(dir: &Path, files: &[(&'static str, String)]) -> Result<(), TownError> {
    folder_at(&dir.join("tests"))?;
    for (name, text) in files {
        write(&dir.join(name), text.as_bytes(), OPEN)?;
    }
    Ok(())
}

/// Lets `policy` point to a bundle, in one step.
pub(crate) fn point(dir: &Path, bundle: &str) -> Result<(), TownError> {
    let (beside, link) = (dir.join(".policy.new"), dir.join("policy"));
    std::os::unix::fs::symlink(bundle, &beside).map_err(TownError::file(&beside))?;
    fs::rename(&beside, &link).map_err(TownError::file(&link))
}

fn folder_at(path: &Path) -> Result<(), TownError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(TownError::file(path))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TownError> {
    use std::io::Write as _;
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path);
    file.and_then(|mut f| f.write_all(bytes)).map_err(TownError::file(path))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

pub(crate) fn spiffe_id(text: &str) -> Result<SpiffeId, TownError> {
    text.parse().map_err(|e| TownError::Certificate { who: text.to_owned(), why: format!("{e}") })
}

fn trust_domain(text: &str) -> Result<TrustDomain, TownError> {
    text.parse().map_err(|e| TownError::Certificate { who: text.to_owned(), why: format!("{e}") })
}

/// The bundle in force at first.
pub const FIRST: &str = "policies/marketplace-1";
/// The bundle taken up later.
pub const SECOND: &str = "policies/marketplace-2";
const MARKER: &str = ".portreeve-demo";
const OURS: [&str; 11] =
    ["ca", "policies", "policy", ".policy.new", "svid", "jwks.json", "heads.key", "heads.pub", "config", "logs", "report"];
const SECRET: u32 = 0o600;
const OPEN: u32 = 0o644;
