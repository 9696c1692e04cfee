//! The authority's directory, its two certificates, and the leaves it issues.
//!
//! `ca.pem` is the root and what enforcers trust; `intermediate.pem` signs leaves and is sent along with them, so it can be
//! renewed without touching what enforcers trust. A retired intermediate is kept for its revocation list.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portreeve_engine::Timestamp;
use portreeve_engine::id::{SpiffeId, TrustDomain};
use portreeve_engine::svid::check_signing_certificate;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::limits::{
    FILE_BYTES_MAX, INTERMEDIATE_LIFETIME_DEFAULT, LEAF_LIFETIME_MAX, LEAF_LIFETIME_MIN, ROOT_LIFETIME_DEFAULT, SERIAL_BYTES, SKEW,
};
use super::request::{ia5, organisation, rcgen_time};
use super::succession::{Stage, Turn, settle, standing};
use super::{CaError, IssueRequest};
use crate::files::{read_bounded, read_open, replace, write_new};

/// How long the authority's own certificates live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaOptions {
    /// The root.
    pub root_lifetime: Duration,
    /// The intermediate.
    pub intermediate_lifetime: Duration,
}

impl CaOptions {
    /// A root of ten years and an intermediate of one.
    pub const DEFAULT: Self = Self { root_lifetime: ROOT_LIFETIME_DEFAULT, intermediate_lifetime: INTERMEDIATE_LIFETIME_DEFAULT };
}

impl Default for CaOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// An authority: a root and an intermediate in a directory.
#[derive(Debug)]
pub struct Ca {
    pub(super) dir: PathBuf,
    pub(super) trust_domain: TrustDomain,
    pub(super) root: Signer,
    pub(super) intermediate: Signer,
    pub(super) stage: Stage,
}

/// A certificate that signs, with its key.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) pem: String,
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) serial: String,
    /// Since when it is in use: its `notBefore` without the tolerated skew.
    pub(super) since: Timestamp,
    pub(super) not_after: Timestamp,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Issued {
    /// Leaf and intermediate, PEM.
    pub chain_pem: String,
    /// The private key, PKCS#8 in PEM.
    pub key_pem: String,
    /// The leaf's serial number, lower-case hexadecimal.
    pub serial: String,
    /// When it ends.
    pub not_after: Timestamp,
}

impl std::fmt::Debug for Issued {
    /// Never shows the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Issued").field("serial", &self.serial).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

impl Ca {
    /// Makes an authority in a directory that has none.
    ///
    /// # Errors
    /// See [`CaError`]; it never overwrites.
    pub fn init(dir: &Path, trust_domain: &TrustDomain, options: CaOptions) -> Result<Self, CaError> {
        for name in [ROOT_CERT, ROOT_KEY, INTERMEDIATE_CERT, INTERMEDIATE_KEY] {
            let path = dir.join(name);
            if path.symlink_metadata().is_ok() {
                return Err(CaError::Exists { path });
            }
        }
        DirBuilder::new().recursive(true).mode(DIR_MODE).create(dir).map_err(CaError::file(dir))?;
        let now = now();
        let root_key = KeyPair::generate().map_err(CaError::make("root's key"))?;
        let root_params = signer_params(trust_domain, "root", BasicConstraints::Constrained(1), now, options.root_lifetime)?;
        let root = root_params.self_signed(&root_key).map_err(CaError::make("root"))?;
        write(&dir.join(ROOT_KEY), root_key.serialize_pem().as_bytes(), KEY_MODE)?;
        write(&dir.join(ROOT_CERT), root.pem().as_bytes(), CERT_MODE)?;
        let root = Signer::open(&dir.join(ROOT_CERT), &dir.join(ROOT_KEY))?;
        let (pem, key_pem) = make_intermediate(trust_domain, &root, options.intermediate_lifetime)?;
        write(&dir.join(INTERMEDIATE_KEY), key_pem.as_bytes(), KEY_MODE)?;
        write(&dir.join(INTERMEDIATE_CERT), pem.as_bytes(), CERT_MODE)?;
        Self::mark_leaves(dir)?;
        Self::open(dir)
    }

    /// Opens an authority.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn open(dir: &Path) -> Result<Self, CaError> {
        // A change of signer that broke off is finished first; one that goes on just now is waited for.
        if let Some(stage) = standing(dir)? {
            match Self::read(dir, stage) {
                Err(error) if !dir.join(ROOT_CERT).exists() => return Err(error),
                Err(_) => {}
                opened => return opened,
            }
        }
        Self::open_in_turn(dir, &Turn::take(dir)?)
    }

    /// Opens an authority and writes nothing.
    ///
    /// # Errors
    /// See [`CaError`]; also where a change of signer broke off, which whoever else opens it finishes.
    pub fn look(dir: &Path) -> Result<Self, CaError> {
        let stage = standing(dir)?.ok_or_else(|| CaError::BrokeOff { dir: dir.to_owned() })?;
        Self::read(dir, stage)
    }

    pub(super) fn open_in_turn(dir: &Path, turn: &Turn) -> Result<Self, CaError> {
        Self::read(dir, settle(dir, turn)?)
    }

    fn read(dir: &Path, stage: Stage) -> Result<Self, CaError> {
        let root = Signer::open(&dir.join(ROOT_CERT), &dir.join(ROOT_KEY))?;
        let intermediate = Signer::open(&dir.join(INTERMEDIATE_CERT), &dir.join(INTERMEDIATE_KEY))?;
        let trust_domain = trust_domain_of(&root.pem)
            .ok_or_else(|| CaError::Content { path: dir.join(ROOT_CERT), cause: "it does not name a trust domain".to_owned() })?;
        Ok(Self { dir: dir.to_owned(), trust_domain, root, intermediate, stage })
    }

    /// The trust domain it issues for.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The serial number of what signs leaves now.
    pub(super) fn issuer_serial(&self) -> &str {
        &self.intermediate.serial
    }

    /// The files that change with what the authority is.
    pub(super) fn watched() -> &'static [&'static str] {
        &[ROOT_CERT, ROOT_KEY, INTERMEDIATE_CERT, INTERMEDIATE_KEY, "crl.pem", "succession.json"]
    }

    /// The file with the root certificate, or both while it is changed: what `identity.trust` names.
    #[must_use]
    pub fn root_path(&self) -> PathBuf {
        self.dir.join(ROOT_CERT)
    }

    /// When the intermediate ends; no leaf outlives it.
    #[must_use]
    pub fn intermediate_not_after(&self) -> Timestamp {
        self.intermediate.not_after
    }

    /// An SVID for a workload.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn issue(&self, id: &SpiffeId, lifetime: Duration, dns: &[String]) -> Result<Issued, CaError> {
        if lifetime < LEAF_LIFETIME_MIN || lifetime > LEAF_LIFETIME_MAX {
            return Err(CaError::Lifetime(lifetime));
        }
        self.issue_for(id, lifetime, dns)
    }

    /// As [`Ca::issue`], for a lifetime that was judged before.
    pub(super) fn issue_for(&self, id: &SpiffeId, lifetime: Duration, dns: &[String]) -> Result<Issued, CaError> {
        if !id.is_workload() {
            return Err(CaError::NotWorkload { id: id.clone() });
        }
        if id.trust_domain() != self.trust_domain.as_str() {
            return Err(CaError::ForeignTrustDomain { id: id.clone(), domain: self.trust_domain.clone() });
        }
        let now = now();
        let mut request = IssueRequest::leaf(&[id.as_str()], now.plus_ms(-millis(SKEW)), now.plus_ms(millis(lifetime)));
        request.dns = dns.to_vec();
        if request.not_after > self.intermediate.not_after {
            return Err(CaError::IssuerEnds { not_after: self.intermediate.not_after });
        }
        self.note_leaf(request.not_after, lifetime)?;
        self.issue_unchecked(&request)
    }

    /// An SVID for a workload, written as `cert` and `key`. Each file is replaced whole, the key first: who reads between the
    /// two finds a key that is not the certificate's, keeps what it has, and finds the pair the next time (A71).
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn issue_files(&self, id: &SpiffeId, lifetime: Duration, cert: &Path, key: &Path) -> Result<Issued, CaError> {
        let issued = self.issue(id, lifetime, &[])?;
        issued.write(cert, key)?;
        Ok(issued)
    }

    /// Whatever was asked for, however wrong. For tests of verifiers and for the demo's attacks.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn issue_unchecked(&self, request: &IssueRequest) -> Result<Issued, CaError> {
        let (serial, hex) = random_serial()?;
        let key = KeyPair::generate().map_err(CaError::make("key"))?;
        let leaf = request.params(serial)?.signed_by(&key, &self.intermediate.issuer).map_err(CaError::make("certificate"))?;
        Ok(Issued {
            chain_pem: leaf.pem() + &self.intermediate.pem,
            key_pem: key.serialize_pem(),
            serial: hex,
            not_after: request.not_after,
        })
    }

    /// Takes a new intermediate into use, by the steps of a succession, so that it may break off anywhere. Leaves issued before carry the
    /// old one and stay valid; the old pair is kept under `retired` so that its revocation list can still be written.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn renew_intermediate(&mut self, lifetime: Duration) -> Result<(), CaError> {
        self.announce(false, CaOptions { intermediate_lifetime: lifetime, ..CaOptions::DEFAULT })?;
        self.switch()
    }
}

impl Issued {
    /// Writes certificate and key, each replaced whole, the key first and readable by its owner alone.
    ///
    /// # Errors
    /// [`CaError::File`].
    pub fn write(&self, cert: &Path, key: &Path) -> Result<(), CaError> {
        replace(key, self.key_pem.as_bytes(), KEY_MODE).map_err(CaError::file(key))?;
        replace(cert, self.chain_pem.as_bytes(), CERT_MODE).map_err(CaError::file(cert))
    }
}

impl Signer {
    /// Reads a signing certificate and its key; they must belong together.
    pub(super) fn open(cert: &Path, key: &Path) -> Result<Self, CaError> {
        let unusable = |path: &Path, cause: String| CaError::Content { path: path.to_owned(), cause };
        let pem = Self::first(cert)?;
        let key_pair = KeyPair::from_pem(&read_key(key)?).map_err(|e| unusable(key, e.to_string()))?;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|e| unusable(cert, e.to_string()))?;
        check_signing_certificate(&der).map_err(|e| unusable(cert, e.to_string()))?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|e| unusable(cert, e.to_string()))?;
        if *parsed.public_key().subject_public_key.data != *key_pair.public_key_raw() {
            return Err(unusable(key, format!("it is not the key of `{}`", cert.display())));
        }
        let not_after = Timestamp::from_unix_ms(parsed.validity().not_after.timestamp().saturating_mul(1000));
        let since = Timestamp::from_unix_ms(parsed.validity().not_before.timestamp().saturating_mul(1000)).plus_ms(millis(SKEW));
        let serial = hex(parsed.raw_serial());
        let issuer = Issuer::from_ca_cert_der(&der, key_pair).map_err(|e| unusable(cert, e.to_string()))?;
        Ok(Self { pem, issuer, serial, since, not_after })
    }

    /// The first certificate of a file, PEM: the one that signs; those after it are only believed.
    pub(super) fn first(cert: &Path) -> Result<String, CaError> {
        let text = read_text(cert)?;
        let end = text.find(PEM_END).map(|at| at + PEM_END.len());
        let first = end.and_then(|end| text.get(..end));
        let none = || CaError::Content { path: cert.to_owned(), cause: "it has no certificate".to_owned() };
        Ok(format!("{}\n", first.ok_or_else(none)?.trim()))
    }
}

pub(super) fn make_intermediate(trust_domain: &TrustDomain, root: &Signer, lifetime: Duration) -> Result<(String, String), CaError> {
    let now = now();
    if now.plus_ms(millis(lifetime)) > root.not_after {
        return Err(CaError::IssuerEnds { not_after: root.not_after });
    }
    let key = KeyPair::generate().map_err(CaError::make("intermediate's key"))?;
    let params = signer_params(trust_domain, "intermediate", BasicConstraints::Constrained(0), now, lifetime)?;
    let certificate = params.signed_by(&key, &root.issuer).map_err(CaError::make("intermediate"))?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Each signer has a name of its own: verifiers look for revocation lists by the issuer's name.
pub(super) fn signer_params(
    trust_domain: &TrustDomain,
    what: &str,
    constraints: BasicConstraints,
    now: Timestamp,
    lifetime: Duration,
) -> Result<CertificateParams, CaError> {
    let (serial, hex) = random_serial()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = organisation();
    params.distinguished_name.push(DnType::CommonName, format!("Portreeve {what} {hex}"));
    params.serial_number = Some(serial);
    params.not_before = rcgen_time(now.plus_ms(-millis(SKEW)));
    params.not_after = rcgen_time(now.plus_ms(millis(lifetime)));
    params.is_ca = IsCa::Ca(constraints);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.subject_alt_names = vec![SanType::URI(ia5(&format!("spiffe://{trust_domain}"))?)];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn trust_domain_of(pem: &str) -> Option<TrustDomain> {
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let (_, parsed) = X509Certificate::from_der(&der).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => uri.strip_prefix("spiffe://")?.parse().ok(),
        _ => None,
    })
}

/// A positive serial number of constant length: its first two bits are fixed, 126 are random.
fn random_serial() -> Result<(SerialNumber, String), CaError> {
    let mut bytes = [0; SERIAL_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(CaError::make("serial number"))?;
    if let Some(first) = bytes.first_mut() {
        *first = *first & 0x3f | 0x40;
    }
    Ok((SerialNumber::from_slice(&bytes), hex(&bytes)))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_unix_ms(millis(since))
}

pub(super) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn read_text(path: &Path) -> Result<String, CaError> {
    let bytes = read_bounded(path, FILE_BYTES_MAX).map_err(CaError::file(path))?;
    String::from_utf8(bytes).map_err(|_| CaError::Content { path: path.to_owned(), cause: "it is not text".to_owned() })
}

fn read_key(path: &Path) -> Result<String, CaError> {
    let file = File::open(path).map_err(CaError::file(path))?;
    let mode = file.metadata().map_err(CaError::file(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(CaError::KeyExposed { path: path.to_owned(), mode });
    }
    let bytes = read_open(&file, FILE_BYTES_MAX).map_err(CaError::file(path))?;
    String::from_utf8(bytes).map_err(|_| CaError::Content { path: path.to_owned(), cause: "it is not text".to_owned() })
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), CaError> {
    write_new(path, bytes, mode).map_err(CaError::file(path))
}

const PEM_END: &str = "-----END CERTIFICATE-----";
pub(super) const ROOT_CERT: &str = "ca.pem";
pub(super) const ROOT_KEY: &str = "ca.key";
pub(super) const INTERMEDIATE_CERT: &str = "intermediate.pem";
pub(super) const INTERMEDIATE_KEY: &str = "intermediate.key";
pub(super) const RETIRED: &str = "retired";
pub(super) const DIR_MODE: u32 = 0o700;
pub(super) const KEY_MODE: u32 = 0o600;
pub(super) const CERT_MODE: u32 = 0o644;
