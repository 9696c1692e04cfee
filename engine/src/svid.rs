//! What is kept of a peer's X.509-SVID, and the SPIFFE rules for one certificate (X509-SVID §4 and §5).
//!
//! [`Svid::from_der`] is a pure function of bytes: it checks a leaf, not a chain and not a time, which is the verifier's
//! work. INVARIANT: an [`Svid`] names exactly one workload; a name that one reader could take for a URI and another could
//! not (NUL, non-ASCII, bytes that are not UTF-8) never becomes one (A12).

use x509_parser::asn1_rs::Any;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{BasicConstraints, GeneralName, KeyUsage, ParsedExtension, SubjectAlternativeName};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_NIST_EC_P521, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_SUBJECT_ALT_NAME, Oid,
};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;

use crate::digest::Digest;
use crate::id::{SpiffeId, SpiffeIdError};
use crate::limits::ISSUER_BYTES_MAX;
use crate::time::Timestamp;

/// A leaf certificate that obeys the SPIFFE rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Svid {
    /// The one URI SAN.
    pub id: SpiffeId,
    /// Serial number, lower-case hexadecimal without leading zeros.
    pub serial: String,
    /// SHA-256 of the DER.
    pub sha256: Digest,
    /// Start of validity.
    pub not_before: Timestamp,
    /// End of validity.
    pub not_after: Timestamp,
    /// The name of its issuer, as it reads; cut where it is too long to be kept.
    pub issuer: String,
    /// The kind of its public key, such as `EC P-256`, `RSA 2048` or `Ed25519`; the object identifier of one that is not known.
    pub key: String,
}

/// Why a certificate is not an X.509-SVID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SvidError {
    /// Not a certificate.
    #[error("not an X.509 certificate: {0}")]
    Der(String),
    /// Bytes after the certificate.
    #[error("the certificate is followed by {0} more bytes")]
    TrailingData(usize),
    /// An extension that the rules read is there twice or cannot be read.
    #[error("the certificate's `{0}` extension is repeated or cannot be read")]
    Extension(&'static str),
    /// A time that cannot be written as four-digit years.
    #[error("the certificate's validity is out of range")]
    Time,
    /// No URI SAN, or more than one (invalid entries count).
    #[error("the certificate has {0} URI names; an X.509-SVID has exactly one")]
    UriCount(usize),
    /// A subject alternative name that cannot be read.
    #[error("the certificate has a subject alternative name that cannot be read")]
    InvalidName,
    /// The URI is not a SPIFFE ID.
    #[error("the URI name is not a SPIFFE ID: {0}")]
    Id(#[from] SpiffeIdError),
    /// A leaf's URI names a trust domain, or an issuer's names a workload.
    #[error("{0}")]
    Path(&'static str),
    /// A signing certificate, or wrong key usage.
    #[error("{0}")]
    Usage(&'static str),
}

impl Svid {
    /// Reads a DER certificate and checks the SPIFFE rules for a leaf.
    ///
    /// # Errors
    /// See [`SvidError`].
    pub fn from_der(der: &[u8]) -> Result<Self, SvidError> {
        let certificate = parse(der)?;
        check_leaf_usage(&certificate)?;
        let id = leaf_id(&certificate)?;
        let validity = certificate.validity();
        Ok(Self {
            id,
            serial: serial_hex(certificate.raw_serial()),
            sha256: Digest::of(der),
            not_before: timestamp(validity.not_before)?,
            not_after: timestamp(validity.not_after)?,
            issuer: cut(certificate.issuer().to_string()),
            key: key_kind(&certificate),
        })
    }
}

/// Checks the SPIFFE rules for a certificate that signs others: it may sign, and if it has an id, the id has no path.
///
/// # Errors
/// See [`SvidError`].
pub fn check_signing_certificate(der: &[u8]) -> Result<(), SvidError> {
    let certificate = parse(der)?;
    if !basic_constraints(&certificate)?.is_some_and(|constraints| constraints.ca) {
        return Err(SvidError::Usage("an issuer in the chain is not a signing certificate"));
    }
    if key_usage(&certificate)?.is_some_and(|usage| !usage.key_cert_sign()) {
        return Err(SvidError::Usage("an issuer in the chain has a key usage without `keyCertSign`"));
    }
    for uri in uris(&certificate)? {
        // An issuer need not have an id, so a URI of another scheme is let be.
        if uri.starts_with("spiffe:") && uri.parse::<SpiffeId>()?.is_workload() {
            return Err(SvidError::Path("an issuer in the chain has the id of a workload"));
        }
    }
    Ok(())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, SvidError> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|e| SvidError::Der(e.to_string()))?;
    if rest.is_empty() { Ok(certificate) } else { Err(SvidError::TrailingData(rest.len())) }
}

fn check_leaf_usage(certificate: &X509Certificate<'_>) -> Result<(), SvidError> {
    if basic_constraints(certificate)?.is_some_and(|constraints| constraints.ca) {
        return Err(SvidError::Usage("a signing certificate cannot authenticate a workload"));
    }
    let Some(usage) = key_usage(certificate)? else {
        return Err(SvidError::Usage("the certificate has no key usage; a leaf needs `digitalSignature`"));
    };
    if usage.key_cert_sign() || usage.crl_sign() {
        return Err(SvidError::Usage("a leaf must not have the key usages `keyCertSign` and `cRLSign`"));
    }
    if !usage.digital_signature() {
        return Err(SvidError::Usage("a leaf needs the key usage `digitalSignature`"));
    }
    Ok(())
}

fn leaf_id(certificate: &X509Certificate<'_>) -> Result<SpiffeId, SvidError> {
    let uris = uris(certificate)?;
    let [uri] = uris.as_slice() else { return Err(SvidError::UriCount(uris.len())) };
    let id: SpiffeId = uri.parse()?;
    if !id.is_workload() {
        return Err(SvidError::Path("the URI name is the id of a trust domain, not of a workload"));
    }
    Ok(id)
}

/// The URI names. An entry that cannot be read refuses the certificate: after counting, so that the count is told first.
fn uris<'a>(certificate: &'a X509Certificate<'_>) -> Result<Vec<&'a str>, SvidError> {
    let names = match extension(certificate, &OID_X509_EXT_SUBJECT_ALT_NAME, "subjectAltName")? {
        None => return Ok(Vec::new()),
        Some(ParsedExtension::SubjectAlternativeName(SubjectAlternativeName { general_names })) => general_names,
        Some(_) => return Err(SvidError::Extension("subjectAltName")),
    };
    let is_uri = |name: &&GeneralName<'_>| match name {
        GeneralName::URI(_) => true,
        GeneralName::Invalid(tag, _) => tag.0 == URI_TAG,
        _ => false,
    };
    let count = names.iter().filter(is_uri).count();
    if count > 1 {
        return Err(SvidError::UriCount(count));
    }
    if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
        return Err(SvidError::InvalidName);
    }
    Ok(names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None }).collect())
}

fn basic_constraints<'a>(certificate: &'a X509Certificate<'_>) -> Result<Option<&'a BasicConstraints>, SvidError> {
    match extension(certificate, &OID_X509_EXT_BASIC_CONSTRAINTS, "basicConstraints")? {
        None => Ok(None),
        Some(ParsedExtension::BasicConstraints(constraints)) => Ok(Some(constraints)),
        Some(_) => Err(SvidError::Extension("basicConstraints")),
    }
}

fn key_usage<'a>(certificate: &'a X509Certificate<'_>) -> Result<Option<&'a KeyUsage>, SvidError> {
    match extension(certificate, &OID_X509_EXT_KEY_USAGE, "keyUsage")? {
        None => Ok(None),
        Some(ParsedExtension::KeyUsage(usage)) => Ok(Some(usage)),
        Some(_) => Err(SvidError::Extension("keyUsage")),
    }
}

fn extension<'a>(
    certificate: &'a X509Certificate<'_>,
    oid: &Oid<'_>,
    name: &'static str,
) -> Result<Option<&'a ParsedExtension<'a>>, SvidError> {
    let found = certificate.get_extension_unique(oid).map_err(|_| SvidError::Extension(name))?;
    let Some(found) = found else { return Ok(None) };
    // The parser ignores bytes after an extension's value; another reader might not.
    match Any::from_der(found.value) {
        Ok(([], _)) => Ok(Some(found.parsed_extension())),
        _ => Err(SvidError::Extension(name)),
    }
}

/// A name that a stranger chose, no longer than a record should carry.
fn cut(mut name: String) -> String {
    let end = name.floor_char_boundary(ISSUER_BYTES_MAX);
    name.truncate(end);
    name
}

/// What kind of key, and how strong: the curve is named by the parameters of its algorithm, the length of an RSA key is that of its modulus.
fn key_kind(certificate: &X509Certificate<'_>) -> String {
    let key = certificate.public_key();
    let oid = &key.algorithm.algorithm;
    let curve = key.algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok());
    if *oid == OID_PKCS1_RSAENCRYPTION
        && let Ok(PublicKey::RSA(rsa)) = key.parsed()
    {
        return format!("RSA {}", rsa.key_size());
    }
    let known = [(OID_EC_P256, "EC P-256"), (OID_NIST_EC_P384, "EC P-384"), (OID_NIST_EC_P521, "EC P-521")];
    match curve.filter(|_| *oid == OID_KEY_TYPE_EC_PUBLIC_KEY) {
        Some(curve) => known.iter().find(|(oid, _)| *oid == curve).map_or_else(|| format!("EC {curve}"), |(_, name)| (*name).to_owned()),
        None if *oid == OID_SIG_ED25519 => "Ed25519".to_owned(),
        None => oid.to_string(),
    }
}

fn serial_hex(raw: &[u8]) -> String {
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    let trimmed = hex.trim_start_matches('0');
    if trimmed.is_empty() { "0".to_owned() } else { trimmed.to_owned() }
}

fn timestamp(time: ASN1Time) -> Result<Timestamp, SvidError> {
    let ms = time.timestamp().checked_mul(1000).ok_or(SvidError::Time)?;
    // `from_unix_ms` holds a time within its range: a time that changes was outside.
    let held = Timestamp::from_unix_ms(ms);
    if held.unix_ms() == ms { Ok(held) } else { Err(SvidError::Time) }
}

/// The context tag of `uniformResourceIdentifier` in a `GeneralName`.
const URI_TAG: u32 = 6;
