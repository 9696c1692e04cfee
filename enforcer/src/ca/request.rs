//! A certificate to be issued, as low as it goes.

use portreeve_engine::Timestamp;
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use time::OffsetDateTime;

use super::CaError;

/// Anything that can be asked of [`super::Ca::issue_unchecked`], SVID or not. For tests of verifiers and for the demo's attacks;
/// a workload's certificate comes from [`super::Ca::issue`], which checks.
#[derive(Clone, Debug)]
pub struct IssueRequest {
    /// URI names.
    pub uris: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// Whether the certificate says that it may sign others.
    pub ca: bool,
    /// Whether it has the key usage `digitalSignature`.
    pub digital_signature: bool,
    /// What it may be used for.
    pub extended_usage: ExtendedUsage,
}

/// The extended key usages of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtendedUsage {
    /// `clientAuth` and `serverAuth`, as SVIDs have.
    ClientAndServer,
    /// `serverAuth` only: may not be used as a client (A15).
    ServerOnly,
    /// `clientAuth` only.
    ClientOnly,
    /// No extension.
    None,
}

impl IssueRequest {
    /// A good leaf for these URI names, to be made worse field by field.
    #[must_use]
    pub fn leaf(uris: &[&str], not_before: Timestamp, not_after: Timestamp) -> Self {
        Self {
            uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
            dns: Vec::new(),
            not_before,
            not_after,
            ca: false,
            digital_signature: true,
            extended_usage: ExtendedUsage::ClientAndServer,
        }
    }

    pub(super) fn params(&self, serial: rcgen::SerialNumber) -> Result<CertificateParams, CaError> {
        use ExtendedKeyUsagePurpose as E;
        let mut params = CertificateParams::default();
        params.distinguished_name = organisation();
        params.serial_number = Some(serial);
        params.not_before = rcgen_time(self.not_before);
        params.not_after = rcgen_time(self.not_after);
        params.use_authority_key_identifier_extension = true;
        for dns in &self.dns {
            params.subject_alt_names.push(SanType::DnsName(ia5(dns)?));
        }
        for uri in &self.uris {
            params.subject_alt_names.push(SanType::URI(ia5(uri)?));
        }
        params.is_ca = if self.ca { IsCa::Ca(BasicConstraints::Constrained(0)) } else { IsCa::ExplicitNoCa };
        if self.digital_signature {
            params.key_usages.push(KeyUsagePurpose::DigitalSignature);
        }
        if self.ca {
            params.key_usages.extend([KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
        }
        params.extended_key_usages = match self.extended_usage {
            ExtendedUsage::ClientAndServer => vec![E::ClientAuth, E::ServerAuth],
            ExtendedUsage::ServerOnly => vec![E::ServerAuth],
            ExtendedUsage::ClientOnly => vec![E::ClientAuth],
            ExtendedUsage::None => Vec::new(),
        };
        Ok(params)
    }
}

/// The subject of every certificate begins with this; names that matter stand in the subject alternative name.
pub(super) fn organisation() -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Portreeve");
    name
}

pub(super) fn ia5(text: &str) -> Result<Ia5String, CaError> {
    Ia5String::try_from(text).map_err(|_| CaError::Name(text.to_owned()))
}

/// A time as the certificate library wants it, in whole seconds. Times before 1970 become 1970.
pub(super) fn rcgen_time(at: Timestamp) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(at.unix_ms().div_euclid(1000).max(0)).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
