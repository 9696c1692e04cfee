//! The certificates that all contestants share: P-256, one root, leaves signed by it.
//!
//! Leaves carry the SPIFFE ID, and a common name as well, because nginx and haproxy of Debian can compare no URI.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use std::os::unix::fs::PermissionsExt as _;

/// The trust domain of everything here.
pub(crate) const DOMAIN: &str = "mesh.example";

/// Who may do what: `caller` may read, `sometimes` only under some bundles, `flooder` may nothing; `stranger` is nobody's.
pub(crate) const CLIENTS: [&str; 3] = ["caller", "sometimes", "flooder"];

/// A folder of certificates.
#[derive(Clone, Debug)]
pub(crate) struct Pki(PathBuf);

pub(crate) fn id(name: &str) -> String {
    format!("spiffe://{DOMAIN}/ns/bench/sa/{name}")
}

impl Pki {
    /// Makes all of them.
    pub(crate) fn make(dir: &Path) -> Self {
        fs::create_dir_all(dir).unwrap();
        let pki = Self(dir.to_owned());
        let (root, issuer) = authority("root");
        fs::write(pki.ca(), root).unwrap();
        for (number, name) in ["items"].iter().chain(&CLIENTS).enumerate() {
            pki.leaf(name, &issuer, number);
        }
        // Of the right name, from the wrong authority: the costliest kind of stranger.
        let (_, other) = authority("root");
        pki.leaf("stranger", &other, 99);
        pki
    }

    pub(crate) fn at(dir: &Path) -> Self {
        Self(dir.to_owned())
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.0
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.0.join("ca.pem")
    }

    pub(crate) fn cert(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.pem"))
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.key"))
    }

    /// Certificate and key in one file, as haproxy wants them.
    pub(crate) fn both(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.both.pem"))
    }

    fn leaf(&self, name: &str, issuer: &Issuer<'_, KeyPair>, number: usize) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(1_000 + number as u64));
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::URI(id(name).try_into().unwrap()), SanType::DnsName(name.try_into().unwrap())];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
        let cert = params.signed_by(&key, issuer).unwrap().pem();
        fs::write(self.cert(name), &cert).unwrap();
        for (path, text) in [(self.key(name), key.serialize_pem()), (self.both(name), format!("{cert}{}", key.serialize_pem()))] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
}

fn authority(name: &str) -> (String, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{DOMAIN}").try_into().unwrap())];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let pem = params.self_signed(&key).unwrap().pem();
    (pem, Issuer::new(params, key))
}
