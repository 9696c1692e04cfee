//! What the agent serves at a moment, and the loop that keeps it up to date: succession of signers, lists, entries.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use portreeve_engine::id::TrustDomain;
use portreeve_engine::{Digest, Timestamp};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use tokio::sync::watch;
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use super::AgentError;
use crate::ca::authority::{millis, now, read_text};
use crate::ca::limits::{CRL_LIFETIME, KEEPER_TICK};
use crate::ca::{Ca, CaError};
use crate::clock::Clock;
use crate::config::{AgentConfig, Entry};
use crate::report::Report;
use crate::workload::{X509Bundles, X509Svid, X509SvidResponse};

/// What is served at a moment.
#[derive(Debug)]
pub(super) struct Served {
    ca: Ca,
    entries: Vec<Entry>,
    lifetime: Duration,
    roots: Vec<u8>,
    lists: Vec<Vec<u8>>,
    federated: BTreeMap<TrustDomain, Vec<u8>>,
    digest: Digest,
}

impl Served {
    /// What there is to serve, after so many steps of the clock: everybody is answered anew after each.
    pub(super) fn read(config: &AgentConfig, ca: Ca, steps: u64) -> Result<Self, AgentError> {
        if let Some(entry) = config.entries.iter().find(|entry| entry.id.trust_domain() != ca.trust_domain().as_str()) {
            return Err(AgentError::Entry { uid: entry.uid, id: entry.id.clone() });
        }
        let roots = concatenated(&ca.roots()?);
        let mut lists = Vec::new();
        if ca.crl_path().exists() {
            let path = ca.crl_path();
            for list in CertificateRevocationListDer::pem_slice_iter(read_text(&path)?.as_bytes()) {
                lists.push(list.map_err(|e| CaError::Content { path: path.clone(), cause: e.to_string() })?.to_vec());
            }
        }
        let mut federated = BTreeMap::new();
        for (domain, path) in &config.federation {
            let wrong = |cause: String| AgentError::Federation { path: path.clone(), cause };
            let text = read_text(path).map_err(|e| wrong(e.to_string()))?;
            let all = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(|e| wrong(e.to_string()))?;
            if all.is_empty() {
                return Err(wrong("it has no certificate".to_owned()));
            }
            federated.insert(domain.clone(), concatenated(&all));
        }
        let mut parts = ca.issuer_serial().as_bytes().to_vec();
        for part in std::iter::once(&roots).chain(&lists).chain(federated.values()) {
            parts.extend(Digest::of(part).as_bytes());
        }
        parts.extend(config.federation.keys().flat_map(|domain| domain.as_str().bytes()));
        parts.extend(config.lifetime.as_millis().to_be_bytes());
        parts.extend(steps.to_be_bytes());
        Ok(Self { ca, entries: config.entries.clone(), lifetime: config.lifetime, roots, lists, federated, digest: Digest::of(&parts) })
    }

    fn of(&self, uid: u32) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.uid == uid)
    }

    /// Whether there is anything for this user.
    pub(super) fn knows(&self, uid: u32) -> bool {
        self.of(uid).next().is_some()
    }

    /// How many identities it has.
    pub(super) fn count(&self, uid: u32) -> usize {
        self.of(uid).count()
    }

    /// What would have to change for this user to be answered anew.
    pub(super) fn digest_for(&self, uid: u32) -> Digest {
        let mut parts = self.digest.as_bytes().to_vec();
        parts.extend(format!("{:?}", self.of(uid).collect::<Vec<_>>()).bytes());
        Digest::of(&parts)
    }

    /// New identities for this user, and for how long the shortest of them lives.
    pub(super) fn identities(&self, uid: u32) -> Result<(X509SvidResponse, Duration), CaError> {
        let mut svids = Vec::new();
        let mut shortest = self.lifetime;
        for entry in self.of(uid) {
            let lifetime = entry.lifetime.unwrap_or(self.lifetime);
            shortest = shortest.min(lifetime);
            let issued = self.ca.issue_for(&entry.id, lifetime, &entry.dns)?;
            let wrong = |e: rustls_pki_types::pem::Error| CaError::Make { what: "identity", cause: e.to_string() };
            let chain = CertificateDer::pem_slice_iter(issued.chain_pem.as_bytes()).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
            let key = PrivateKeyDer::from_pem_slice(issued.key_pem.as_bytes()).map_err(wrong)?;
            svids.push(X509Svid {
                id: entry.id.to_string(),
                chain: concatenated(&chain),
                key: key.secret_der().to_vec(),
                bundle: self.roots.clone(),
                hint: entry.hint.clone(),
            });
        }
        Ok((X509SvidResponse { svids, lists: self.lists.clone(), federated: self.federated.clone() }, shortest))
    }

    /// Whom one may believe.
    pub(super) fn bundles(&self) -> X509Bundles {
        let mut bundles = self.federated.clone();
        bundles.insert(self.ca.trust_domain().clone(), self.roots.clone());
        X509Bundles { lists: self.lists.clone(), bundles }
    }
}

fn concatenated(all: &[CertificateDer<'_>]) -> Vec<u8> {
    all.iter().flat_map(|der| der.iter().copied()).collect()
}

/// Keeps what is served up to date.
pub(super) struct Keeper {
    pub(super) config: AgentConfig,
    /// The configuration's file, read again when it changes.
    pub(super) file: Option<PathBuf>,
    pub(super) served: watch::Sender<Arc<Served>>,
    pub(super) report: Report,
    /// Tells whether the system's clock was set, or stood still while the machine slept.
    pub(super) clock: Clock,
    pub(super) steps: u64,
}

impl Keeper {
    /// Looks again and again, until it is dropped.
    pub(super) async fn keep(mut self) {
        let mut seen = self.stamps();
        let mut config_seen = self.file.as_deref().map(stamp);
        let mut told = String::new();
        self.clock.look();
        loop {
            tokio::time::sleep(KEEPER_TICK.min(self.config.schedule.overlap / 4)).await;
            let config_now = self.file.as_deref().map(stamp);
            if config_now != config_seen {
                config_seen = config_now;
                self.reread();
                seen.clear();
            }
            if let Some(step) = self.clock.look() {
                // What was given may be over already, or not have begun, and streams wait by a clock that saw nothing of it.
                self.report.tell(&format!("the system's clock was set {step}: everybody is given new identities"));
                self.steps += 1;
                seen.clear();
            }
            let done = self.turn(&mut seen);
            match done {
                Ok(()) => told.clear(),
                Err(error) => {
                    let text = error.to_string();
                    if text != told {
                        self.report.tell(&format!("what is new is not taken up, the last good stays in use: {text}"));
                        told = text;
                    }
                }
            }
        }
    }

    fn reread(&mut self) {
        let Some(file) = &self.file else { return };
        match AgentConfig::read(file) {
            // The socket and the authority's directory are those of the process; the rest can be changed.
            Ok(new) => self.config = AgentConfig { dir: self.config.dir.clone(), socket: self.config.socket.clone(), ..new },
            Err(error) => self.report.tell(&format!("the new configuration is not taken up, the last good stays in use: {error}")),
        }
    }

    fn turn(&mut self, seen: &mut Vec<Stamp>) -> Result<(), AgentError> {
        let now = now();
        let due = self.served.borrow().ca.due(&self.config.schedule, now);
        if due.is_some() {
            let mut ca = Ca::open(&self.config.dir)?;
            if let Some(step) = ca.advance(&self.config.schedule, now)? {
                self.report.tell(&format!("{step}"));
            }
        }
        if lists_are_due(&self.config.dir, now)? {
            Ca::open(&self.config.dir)?.write_crl()?;
        }
        let stamps = self.stamps();
        if stamps != *seen {
            let new = Served::read(&self.config, Ca::open(&self.config.dir)?, self.steps)?;
            *seen = stamps;
            self.served.send_replace(Arc::new(new));
        }
        Ok(())
    }

    fn stamps(&self) -> Vec<Stamp> {
        let dir = &self.config.dir;
        let own = Ca::watched().iter().map(|name| stamp(&dir.join(name)));
        own.chain(self.config.federation.values().map(|path| stamp(path))).collect()
    }
}

/// Lists that exist are written anew when half of their life is over.
fn lists_are_due(dir: &Path, now: Timestamp) -> Result<bool, CaError> {
    let path = dir.join("crl.pem");
    if !path.exists() {
        return Ok(false);
    }
    let text = read_text(&path)?;
    let half = now.plus_ms(millis(CRL_LIFETIME / 2));
    let due = |der: &CertificateRevocationListDer<'_>| {
        let until = CertificateRevocationList::from_der(der).ok().and_then(|(_, list)| list.next_update());
        until.is_none_or(|until| Timestamp::from_unix_ms(until.timestamp().saturating_mul(1000)) <= half)
    };
    Ok(CertificateRevocationListDer::pem_slice_iter(text.as_bytes()).any(|list| list.is_ok_and(|list| due(&list))))
}

type Stamp = Option<(u64, u64, i64, i64, u64)>;

fn stamp(path: &Path) -> Stamp {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
}
