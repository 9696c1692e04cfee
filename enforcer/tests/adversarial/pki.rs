//! Certificates made by the attacker's own hand: any name, any usage, any chain, any revocation list.
//!
//! It shares nothing with the authority that is built into the product, so a mistake of that one does not hide here.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate that signs others, with its key and the chain above it (its own certificate first, the root left out).
pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
    above: Vec<(CertificateDer<'static>, String)>,
}

/// A leaf with its key and chain.
pub(crate) struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) chain_pem: String,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) key_pem: String,
    pub(crate) serial: Vec<u8>,
}

impl Authority {
    /// A root for a trust domain, good as long as any test runs.
    pub(crate) fn root(domain: &str) -> Self {
        let mut params = signer(&format!("root of {domain}"));
        params.subject_alt_names.push(uri(&format!("spiffe://{domain}")));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { params, key, der: certificate.der().clone(), pem: certificate.pem(), above: Vec::new() }
    }

    /// An authority below this one, changed as the case needs it.
    pub(crate) fn intermediate(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = signer(name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer()).unwrap();
        let own = (certificate.der().clone(), certificate.pem());
        let above = std::iter::once(own).chain(self.above.iter().cloned()).collect();
        Self { params, key, der: certificate.der().clone(), pem: certificate.pem(), above }
    }

    pub(crate) fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    /// A leaf with these URI names that is good in every other way.
    pub(crate) fn leaf(&self, uris: &[&str]) -> Leaf {
        self.odd_leaf(uris, |_| ())
    }

    /// A leaf, changed as the case needs it.
    pub(crate) fn odd_leaf(&self, uris: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name = name("a workload");
        params.not_before = ago(Duration::from_secs(300));
        params.not_after = hence(Duration::from_secs(3600));
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        params.subject_alt_names = uris.iter().map(|text| uri(text)).collect();
        params.serial_number = Some(serial());
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer()).unwrap();
        let mut chain = vec![certificate.der().clone()];
        let mut chain_pem = certificate.pem();
        for (der, pem) in &self.above {
            chain.push(der.clone());
            chain_pem.push_str(pem);
        }
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let serial = params.serial_number.as_ref().unwrap().to_bytes();
        Leaf { chain, chain_pem, key: der, key_pem: key.serialize_pem(), serial }
    }

    /// A revocation list over these numbers, in force from an hour ago until `until`, changed as the case needs it.
    pub(crate) fn crl(
        &self,
        revoked: &[&[u8]],
        until: time::OffsetDateTime,
        change: impl FnOnce(&mut rcgen::CertificateRevocationListParams),
    ) -> String {
        let one = |serial: &&[u8]| rcgen::RevokedCertParams {
            serial_number: SerialNumber::from_slice(serial),
            revocation_time: ago(Duration::from_secs(60)),
            reason_code: None,
            invalidity_date: None,
        };
        let mut params = rcgen::CertificateRevocationListParams {
            this_update: ago(Duration::from_secs(7200)),
            next_update: until,
            crl_number: serial(),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(one).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        change(&mut params);
        params.signed_by(&self.issuer()).unwrap().pem().unwrap()
    }
}

impl Leaf {
    /// Writes certificate and key as `name.pem` and `name.key`, each replaced whole, the key first and readable by its owner alone.
    pub(crate) fn write(&self, dir: &Path, file: &str) {
        replace(&dir.join(format!("{file}.key")), self.key_pem.as_bytes());
        replace(&dir.join(format!("{file}.pem")), self.chain_pem.as_bytes());
    }
}

/// Puts a file in the place of another in one step.
pub(crate) fn replace(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let new = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&new).unwrap();
    file.write_all(bytes).unwrap();
    std::fs::rename(new, path).unwrap();
}

fn signer(common: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(common);
    params.not_before = ago(Duration::from_secs(7200));
    params.not_after = hence(Duration::from_secs(86_400));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial());
    params
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn serial() -> SerialNumber {
    static NEXT: AtomicU64 = AtomicU64::new(0x1000_0000);
    SerialNumber::from(NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

pub(crate) fn ago(time: Duration) -> time::OffsetDateTime {
    (SystemTime::now() - time).into()
}

pub(crate) fn hence(time: Duration) -> time::OffsetDateTime {
    (SystemTime::now() + time).into()
}

/// One DER element. Lengths below 65,536.
pub(crate) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = content.len();
    let mut out = vec![tag];
    match len {
        0..=127 => out.push(u8::try_from(len).unwrap()),
        128..=255 => out.extend([0x81, u8::try_from(len).unwrap()]),
        _ => {
            out.push(0x82);
            out.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    out.extend_from_slice(content);
    out
}

/// A subject alternative name out of raw entries `(tag, bytes)`, whatever the bytes are.
pub(crate) fn raw_names(entries: &[(u8, &[u8])]) -> CustomExtension {
    let inner: Vec<u8> = entries.iter().flat_map(|(tag, bytes)| der(*tag, bytes)).collect();
    CustomExtension::from_oid_content(&[2, 5, 29, 17], der(0x30, &inner))
}

/// A name constraint that permits one URI host.
pub(crate) fn uri_constraint(host: &str) -> CustomExtension {
    let subtree = der(0x30, &der(0x86, host.as_bytes()));
    let mut extension = CustomExtension::from_oid_content(&[2, 5, 29, 30], der(0x30, &der(0xa0, &subtree)));
    extension.set_criticality(true);
    extension
}
