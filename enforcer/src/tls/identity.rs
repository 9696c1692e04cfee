//! Our own identity, read whole from files and checked before it is taken up.
//!
//! INVARIANT: an [`Identity`] is whole: the key is the leaf's (A71), the leaf is an SVID in force, and its chain leads to the
//! roots configured for its own trust domain, for both parts of a handshake. What is not whole is an error that names the
//! file, so that whoever reloads keeps the last good identity.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use portreeve_engine::id::{IdPattern, SpiffeId, TrustDomain};
use portreeve_engine::svid::SvidError;
use portreeve_engine::{Digest, Svid, Timestamp};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{ClientConfig, ConfigBuilder, ServerConfig, WantsVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, TrustAnchor, UnixTime};
use webpki::{CertRevocationList, OwnedCertRevocationList, anchor_from_trusted_cert};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::limits::{CHAIN_LENGTH_MAX, CRL_BYTES_MAX, PEM_BYTES_MAX};
use super::trust::{ClientVerifier, Role, ServerVerifier, Trust};
use super::{Refusal, VerifiedPeer};
use crate::files::{read_bounded, read_open};

/// Where an identity is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The leaf and its intermediates, PEM, leaf first.
    pub cert: PathBuf,
    /// The private key of the leaf, PEM.
    pub key: PathBuf,
    /// The roots of each trust domain, PEM.
    pub trust: BTreeMap<TrustDomain, PathBuf>,
    /// Revocation lists, PEM. One list or more means that every certificate must be covered by one.
    pub crl: Vec<PathBuf>,
}

/// Which servers a client accepts: any of the ids, or any id that a pattern covers. Empty accepts nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectedPeer {
    /// Exact ids.
    pub ids: Vec<SpiffeId>,
    /// Patterns.
    pub patterns: Vec<IdPattern>,
}

/// An identity that is whole.
#[derive(Clone)]
pub struct Identity {
    svid: Svid,
    trust: Arc<Trust>,
    revocation_until: Option<Timestamp>,
    generation: Digest,
    server: Arc<ServerConfig>,
    certificate: Arc<SingleCertAndKey>,
    client: ConfigBuilder<ClientConfig, WantsVerifier>,
}

/// Why an identity cannot be taken up.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Others can read or write the key.
    #[error("the key file `{}` has mode {mode:03o}: others could use the key; run `chmod 600 {}`", path.display(), path.display())]
    KeyExposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not the PEM that is needed.
    #[error("`{}` has no usable PEM `{section}`: {cause}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// The section looked for.
        section: &'static str,
        /// What is wrong.
        cause: String,
    },
    /// More certificates than a chain may have.
    #[error("`{}` has {count} certificates; a chain has at most {CHAIN_LENGTH_MAX}", path.display())]
    ChainLength {
        /// The file.
        path: PathBuf,
        /// How many.
        count: usize,
    },
    /// The key is broken or of an unsupported kind.
    #[error("`{}` has no usable private key: {cause}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What the TLS library says.
        cause: String,
    },
    /// The key is not the leaf's.
    #[error("the key `{}` is not the key of the certificate `{}`", key.display(), cert.display())]
    KeyMismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        cert: PathBuf,
    },
    /// The leaf is not an SVID.
    #[error("the certificate `{}` is not an X.509-SVID: {cause}", path.display())]
    Svid {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: SvidError,
    },
    /// A root cannot be used.
    #[error("`{}` has a root that cannot be used: {cause}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// A revocation list cannot be used.
    #[error("`{}` has a revocation list that cannot be used: {cause}", path.display())]
    Crl {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// Peers would refuse our own certificate.
    #[error("the certificate `{}` of `{id}` would be refused: {refusal}", path.display())]
    Own {
        /// The file.
        path: PathBuf,
        /// Our id.
        id: SpiffeId,
        /// Why.
        refusal: Refusal,
    },
    /// The TLS library cannot do what is needed.
    #[error("cannot set up TLS: {0}")]
    Tls(String),
}

impl Identity {
    /// Reads and checks an identity.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn load(files: &IdentityFiles) -> Result<Self, IdentityError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = read_chain(&files.cert)?;
        let key = read_key(&files.key)?;
        let mut digest = chain.iter().fold(Vec::new(), |digest, der| chained(digest, "chain", der));
        let key = provider.key_provider.load_private_key(key);
        let key = key.map_err(|e| IdentityError::Key { path: files.key.clone(), cause: e.to_string() })?;
        let certified = CertifiedKey::new(chain.clone(), key);
        // The library lets a pair pass whose match it cannot tell; here that is no match.
        certified.keys_match().map_err(|_| IdentityError::KeyMismatch { key: files.key.clone(), cert: files.cert.clone() })?;
        let (leaf, intermediates) = chain.split_first().ok_or_else(|| no_section(&files.cert, "CERTIFICATE"))?;
        let svid = Svid::from_der(leaf).map_err(|cause| IdentityError::Svid { path: files.cert.clone(), cause })?;
        let mut roots = BTreeMap::new();
        for (domain, path) in &files.trust {
            roots.insert(domain.clone(), read_roots(path, domain, &mut digest)?);
        }
        let mut crls = Vec::new();
        let mut revocation_until = None;
        for path in &files.crl {
            read_crls(path, &mut crls, &mut revocation_until, &mut digest)?;
        }
        let trust = Arc::new(Trust { roots, crls, algorithms: provider.signature_verification_algorithms });
        for role in [Role::Client, Role::Server] {
            trust.judge(leaf, intermediates, UnixTime::now(), role).map_err(|refusal| IdentityError::Own {
                path: files.cert.clone(),
                id: svid.id.clone(),
                refusal,
            })?;
        }
        let certificate = Arc::new(SingleCertAndKey::from(certified));
        let server = server_config(&provider, &trust, Arc::clone(&certificate) as Arc<dyn ResolvesServerCert>)?;
        let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).map_err(|e| tls(&e))?;
        Ok(Self { svid, trust, revocation_until, generation: Digest::of(&digest), server, certificate, client })
    }

    /// Who we are.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.svid.id
    }

    /// Our own leaf.
    #[must_use]
    pub fn svid(&self) -> &Svid {
        &self.svid
    }

    /// When our leaf ends.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.svid.not_after
    }

    /// The earliest `nextUpdate` of the revocation lists, if there are any: afterwards peers are refused.
    #[must_use]
    pub fn revocation_until(&self) -> Option<Timestamp> {
        self.revocation_until
    }

    /// A digest over chain, roots and revocation lists: two identities with the same generation judge alike (A68).
    #[must_use]
    pub fn generation(&self) -> Digest {
        self.generation
    }

    /// The server side: TLS 1.3, client certificate required, no resumption, no early data, HTTP/2 before HTTP/1.1.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// The client side: TLS 1.3, our certificate, only the expected peers, no resumption, no early data.
    #[must_use]
    pub fn client_config(&self, expected: ExpectedPeer) -> Arc<ClientConfig> {
        let verifier = ServerVerifier { trust: Arc::clone(&self.trust), expected };
        let certificate = Arc::clone(&self.certificate) as Arc<dyn ResolvesClientCert>;
        // "Dangerous" is any verifier but the library's own, which knows DNS names and not SPIFFE IDs.
        let builder = self.client.clone().dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = builder.with_client_cert_resolver(certificate);
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        config.alpn_protocols = alpn();
        Arc::new(config)
    }

    /// Judges a peer of an open connection again, as roots, revocation lists and time may have changed since (A65, A72).
    ///
    /// # Errors
    /// The cause for which a new handshake would now be refused.
    pub fn judge_again(&self, peer: &VerifiedPeer, now: Timestamp) -> Result<(), Refusal> {
        let (leaf, intermediates) = peer.chain.split_first().ok_or(Refusal::NoCertificate)?;
        let seconds = u64::try_from(now.unix_ms().div_euclid(1000)).unwrap_or(0);
        let now = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        self.trust.judge(leaf, intermediates, now, peer.role).map(|_| ())
    }
}

impl std::fmt::Debug for Identity {
    /// Never shows the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("svid", &self.svid).field("generation", &self.generation).finish_non_exhaustive()
    }
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    trust: &Arc<Trust>,
    certificate: Arc<dyn ResolvesServerCert>,
) -> Result<Arc<ServerConfig>, IdentityError> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])
        .map_err(|e| tls(&e))?
        .with_client_cert_verifier(Arc::new(ClientVerifier(Arc::clone(trust))))
        .with_cert_resolver(certificate);
    // A resumed session keeps the identity of the first one and skips the verifier (A13, A14).
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = alpn();
    Ok(Arc::new(config))
}

fn alpn() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

fn tls(error: &rustls::Error) -> IdentityError {
    IdentityError::Tls(error.to_string())
}

fn read(path: &Path, max: u64) -> Result<Vec<u8>, IdentityError> {
    read_bounded(path, max).map_err(|source| IdentityError::Read { path: path.to_owned(), source })
}

fn no_section(path: &Path, section: &'static str) -> IdentityError {
    IdentityError::Pem { path: path.to_owned(), section, cause: "there is none".to_owned() }
}

/// All sections of one kind; at least one. A section that cannot be decoded is an error, never left out.
fn sections<T: PemObject>(path: &Path, bytes: &[u8], section: &'static str) -> Result<Vec<T>, IdentityError> {
    let all: Result<Vec<T>, _> = T::pem_slice_iter(bytes).collect();
    let all = all.map_err(|e| IdentityError::Pem { path: path.to_owned(), section, cause: e.to_string() })?;
    if all.is_empty() { Err(no_section(path, section)) } else { Ok(all) }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let chain: Vec<CertificateDer<'static>> = sections(path, &read(path, PEM_BYTES_MAX)?, "CERTIFICATE")?;
    if chain.len() > CHAIN_LENGTH_MAX {
        return Err(IdentityError::ChainLength { path: path.to_owned(), count: chain.len() });
    }
    Ok(chain)
}

/// Permissions and bytes are of the same open file, so a swap in between cannot part them.
fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, IdentityError> {
    let unreadable = |source| IdentityError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode() & 0o777;
    // A group may read: orchestrators mount secrets so. Nobody else may, and no group may replace the key.
    if mode & KEY_MODE_REFUSED != 0 {
        return Err(IdentityError::KeyExposed { path: path.to_owned(), mode });
    }
    let bytes = read_open(&file, PEM_BYTES_MAX).map_err(unreadable)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|e| IdentityError::Pem {
        path: path.to_owned(),
        section: "PRIVATE KEY",
        cause: e.to_string(),
    })
}

fn read_roots(path: &Path, domain: &TrustDomain, digest: &mut Vec<u8>) -> Result<Vec<TrustAnchor<'static>>, IdentityError> {
    let mut anchors = Vec::new();
    for root in sections::<CertificateDer<'static>>(path, &read(path, PEM_BYTES_MAX)?, "CERTIFICATE")? {
        let unusable = |cause: String| IdentityError::Root { path: path.to_owned(), cause };
        portreeve_engine::svid::check_signing_certificate(&root).map_err(|e| unusable(e.to_string()))?;
        let anchor = anchor_from_trusted_cert(&root).map_err(|e| unusable(e.to_string()))?;
        anchors.push(anchor.to_owned());
        *digest = chained(std::mem::take(digest), domain.as_str(), &root);
    }
    Ok(anchors)
}

fn read_crls(
    path: &Path,
    crls: &mut Vec<CertRevocationList<'static>>,
    until: &mut Option<Timestamp>,
    digest: &mut Vec<u8>,
) -> Result<(), IdentityError> {
    for der in sections::<CertificateRevocationListDer<'static>>(path, &read(path, CRL_BYTES_MAX)?, "X509 CRL")? {
        let unusable = |cause: String| IdentityError::Crl { path: path.to_owned(), cause };
        let owned = OwnedCertRevocationList::from_der(&der).map_err(|e| unusable(e.to_string()))?;
        let (_, parsed) = CertificateRevocationList::from_der(&der).map_err(|e| unusable(e.to_string()))?;
        let next = parsed.next_update().ok_or_else(|| unusable("it does not say when the next one is due".to_owned()))?;
        let next = Timestamp::from_unix_ms(next.timestamp().saturating_mul(1000));
        *until = Some(until.map_or(next, |earlier| earlier.min(next)));
        crls.push(owned.into());
        *digest = chained(std::mem::take(digest), "crl", &der);
    }
    Ok(())
}

/// Digests of labelled parts, one after the other: no two sets of files give the same bytes.
fn chained(mut digest: Vec<u8>, label: &str, der: &[u8]) -> Vec<u8> {
    digest.extend(Digest::of(label.as_bytes()).as_bytes());
    digest.extend(Digest::of(der).as_bytes());
    digest
}

/// Permission bits that a key file must not have: any for others, write and execute for the group.
const KEY_MODE_REFUSED: u32 = 0o037;
