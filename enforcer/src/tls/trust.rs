//! Judges a peer's chain: the SPIFFE rules for each certificate, then the path to a root of the leaf's own trust domain.
//!
//! Path, signatures, validity, extended key usage and revocation are webpki's work. What webpki leaves out is done here: the
//! SPIFFE id, the key usages, the choice of roots (A53). INVARIANT: a chain is only ever compared with the roots of the trust
//! domain that its leaf names.
//!
//! Revocation: as soon as one revocation list is configured, every certificate of every chain below its root must be covered
//! by a list in force; without one, its status is unknown, and unknown is refused (A70). A fleet that federates with a domain
//! without lists therefore gets `revocation-unknown` for it, and not a silent hole.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use portreeve_engine::id::{IdPattern, SpiffeId, TrustDomain};
use portreeve_engine::svid::{SvidError, check_signing_certificate};
use portreeve_engine::{Digest, Svid, Timestamp};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList, RevocationCheckDepth, RevocationOptionsBuilder,
    UnknownStatusPolicy, anchor_from_trusted_cert,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::identity::MinVersion;
use super::limits::{CHAIN_LENGTH_MAX, CRLS_MAX, ROOTS_MAX};
use super::remembered::{self, Remembered};
use super::{ExpectedPeer, IdentityError, Refusal};

/// The roots of each trust domain, the revocation lists, and the signature algorithms that count.
#[derive(Debug)]
pub struct Trust {
    roots: BTreeMap<TrustDomain, Roots>,
    lists: Vec<CertRevocationList<'static>>,
    /// When a list is due to be replaced, in the order in which they were added.
    lists_until: Vec<Timestamp>,
    algorithms: WebPkiSupportedAlgorithms,
    digest: Digest,
    /// Chains that these roots and lists found good.
    remembered: Remembered,
}

/// The roots of one trust domain.
#[derive(Debug, Default)]
struct Roots {
    anchors: Vec<TrustAnchor<'static>>,
    /// The end of each: a root past its end vouches for nobody. The path library looks at no dates of a root.
    until: Vec<Timestamp>,
}

impl Roots {
    fn in_force(&self, now: Timestamp) -> Cow<'_, [TrustAnchor<'static>]> {
        if self.until.iter().all(|until| *until > now) {
            return Cow::Borrowed(&self.anchors);
        }
        let pairs = self.anchors.iter().zip(&self.until);
        Cow::Owned(pairs.filter(|(_, until)| **until > now).map(|(anchor, _)| anchor.clone()).collect())
    }
}

/// The part a peer plays, which its extended key usage must permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

impl Default for Trust {
    fn default() -> Self {
        Self::new()
    }
}

impl Trust {
    /// Believes nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            roots: BTreeMap::new(),
            lists: Vec::new(),
            lists_until: Vec::new(),
            algorithms: aws_lc_rs::default_provider().signature_verification_algorithms,
            digest: Digest::of(b""),
            remembered: Remembered::default(),
        }
    }

    /// Adds a root of a trust domain; `place` is where it came from.
    ///
    /// # Errors
    /// [`IdentityError::Root`].
    pub fn add_root(&mut self, domain: &TrustDomain, root: &CertificateDer<'_>, place: &Path) -> Result<(), IdentityError> {
        let unusable = |cause: String| IdentityError::Root { path: place.to_owned(), cause };
        check_signing_certificate(root).map_err(|e| unusable(e.to_string()))?;
        let anchor = anchor_from_trusted_cert(root).map_err(|e| unusable(e.to_string()))?;
        let until = super::peer::end_of(root).ok_or_else(|| unusable("it does not say until when it is valid".to_owned()))?;
        let roots = self.roots.entry(domain.clone()).or_default();
        if roots.anchors.len() >= ROOTS_MAX {
            return Err(unusable(format!("a trust domain has at most {ROOTS_MAX} roots")));
        }
        roots.anchors.push(anchor.to_owned());
        roots.until.push(until);
        self.remembered = Remembered::default();
        self.digest = Digest::of(&chained(self.digest.as_bytes().to_vec(), domain.as_str(), root));
        Ok(())
    }

    /// Adds a revocation list; `place` is where it came from.
    ///
    /// # Errors
    /// [`IdentityError::Crl`].
    pub fn add_list(&mut self, list: &CertificateRevocationListDer<'_>, place: &Path) -> Result<(), IdentityError> {
        let unusable = |cause: String| IdentityError::Crl { path: place.to_owned(), cause };
        if self.lists.len() >= CRLS_MAX {
            return Err(unusable(format!("there are more than {CRLS_MAX} lists")));
        }
        let owned = OwnedCertRevocationList::from_der(list).map_err(|e| unusable(e.to_string()))?;
        let (_, parsed) = CertificateRevocationList::from_der(list).map_err(|e| unusable(e.to_string()))?;
        let next = parsed.next_update().ok_or_else(|| unusable("it does not say when the next one is due".to_owned()))?;
        self.remembered = Remembered::default();
        self.lists.push(owned.into());
        self.lists_until.push(Timestamp::from_unix_ms(next.timestamp().saturating_mul(1000)));
        self.digest = Digest::of(&chained(self.digest.as_bytes().to_vec(), "crl", list));
        Ok(())
    }

    /// A digest over roots and lists: the same digest judges alike.
    pub(super) fn digest(&self) -> Digest {
        self.digest
    }

    /// The earliest `nextUpdate` of the lists.
    pub(super) fn revocation_until(&self) -> Option<Timestamp> {
        self.lists_until.iter().min().copied()
    }

    /// The first end of a root or list after `now`.
    pub(super) fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        let roots = self.roots.values().flat_map(|roots| &roots.until);
        roots.chain(&self.lists_until).filter(|end| **end > now).min().copied()
    }

    /// The SVID of a chain that is good at `now` for this role.
    pub(super) fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        role: Role,
    ) -> Result<Svid, Refusal> {
        if intermediates.len() >= CHAIN_LENGTH_MAX {
            return Err(Refusal::ChainTooLong);
        }
        let (key, at) = (remembered::key(leaf, intermediates, role), timestamp(now));
        if let Some(svid) = self.remembered.get(&key, at) {
            return Ok(svid);
        }
        let svid = self.judge_anew(leaf, intermediates, now, role)?;
        let until = super::peer::earliest_end(svid.not_after, intermediates.iter().map(AsRef::as_ref));
        let until = self.next_end(at).map_or(until, |end| until.min(end));
        self.remembered.put(key, &svid, at, until);
        Ok(svid)
    }

    fn judge_anew(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        role: Role,
    ) -> Result<Svid, Refusal> {
        let svid = Svid::from_der(leaf).map_err(|e| refusal_of_svid(&e))?;
        for intermediate in intermediates {
            check_signing_certificate(intermediate).map_err(|_| Refusal::InvalidUsage)?;
        }
        names_differ(intermediates)?;
        let domain: TrustDomain = svid.id.trust_domain().parse().map_err(|_| Refusal::InvalidSpiffeId)?;
        let roots = self.roots.get(&domain).ok_or(Refusal::UnknownTrustDomain)?;
        let anchors = roots.in_force(timestamp(now));
        let crls: Vec<_> = self.lists.iter().collect();
        // `new` fails only for an empty slice: then there is nothing to check against.
        let revocation = RevocationOptionsBuilder::new(&crls).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Deny)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let usage = match role {
            Role::Client => KeyUsage::client_auth(),
            Role::Server => KeyUsage::server_auth(),
        };
        EndEntityCert::try_from(leaf)
            .and_then(|leaf| leaf.verify_for_usage(self.algorithms.all, &anchors, intermediates, now, usage, revocation, None).map(|_| ()))
            .map_err(|e| refusal_of_webpki(&e))?;
        Ok(svid)
    }

    fn verify_tls12(
        &self,
        min: MinVersion,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        match min {
            MinVersion::Tls12 => verify_tls12_signature(message, cert, dss, &self.algorithms),
            // The configuration offers no TLS 1.2; were it to, nothing would come of it.
            MinVersion::Tls13 => Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into()),
        }
    }

    fn verify_tls13(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }
}

/// Each issuer of a chain has a name of its own. Among issuers of one name path building tries each in the place of every other,
/// so that a stranger could have a hundred signatures checked for one handshake (A35a).
fn names_differ(intermediates: &[CertificateDer<'_>]) -> Result<(), Refusal> {
    let mut names = Vec::with_capacity(intermediates.len());
    for intermediate in intermediates {
        let (_, parsed) = X509Certificate::from_der(intermediate).map_err(|_| Refusal::MalformedCertificate)?;
        let name = parsed.subject().as_raw().to_vec();
        if names.contains(&name) {
            return Err(Refusal::ChainTooLong);
        }
        names.push(name);
    }
    Ok(())
}

/// What the server asks of clients.
#[derive(Debug)]
pub(super) struct ClientVerifier {
    pub(super) trust: Arc<Trust>,
    pub(super) min: MinVersion,
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        true
    }

    /// Empty, which means "any": a workload has one identity and needs no hint, and the list would tell every stranger
    /// whom we trust.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.trust.judge(end_entity, intermediates, now, Role::Client).map_err(carry)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trust.verify_tls12(self.min, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trust.verify_tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms.supported_schemes()
    }
}

/// What the client asks of a server: not a DNS name but one of the expected ids.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub(super) trust: Arc<Trust>,
    pub(super) expected: ExpectedPeer,
    pub(super) min: MinVersion,
}

impl ExpectedPeer {
    /// One exact id.
    #[must_use]
    pub fn id(id: SpiffeId) -> Self {
        Self { ids: vec![id], patterns: Vec::new() }
    }

    /// Whether `id` is among the expected.
    #[must_use]
    pub fn covers(&self, id: &SpiffeId) -> bool {
        self.ids.contains(id) || self.patterns.iter().any(|pattern: &IdPattern| pattern.matches(id))
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let svid = self.trust.judge(end_entity, intermediates, now, Role::Server).map_err(carry)?;
        if !self.expected.covers(&svid.id) {
            return Err(carry(Refusal::UnexpectedPeer));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trust.verify_tls12(self.min, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trust.verify_tls13(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms.supported_schemes()
    }
}

/// Our cause inside the library's error. Every cause leads to the same alert: what a stranger may know is that it was refused.
fn carry(refusal: Refusal) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(refusal))).into()
}

/// Digests of labelled parts, one after the other: no two sets of parts give the same bytes.
pub(super) fn chained(mut digest: Vec<u8>, label: &str, der: &[u8]) -> Vec<u8> {
    digest.extend(Digest::of(label.as_bytes()).as_bytes());
    digest.extend(Digest::of(der).as_bytes());
    digest
}

/// A time as the path library wants it, in whole seconds.
pub(super) fn unix(at: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at.unix_ms().div_euclid(1000)).unwrap_or(0)))
}

fn timestamp(at: UnixTime) -> Timestamp {
    Timestamp::from_unix_ms(i64::try_from(at.as_secs()).unwrap_or(i64::MAX).saturating_mul(1000))
}

pub(super) fn refusal_of_svid(error: &SvidError) -> Refusal {
    match error {
        SvidError::Der(_) | SvidError::TrailingData(_) | SvidError::Extension(_) | SvidError::Time => Refusal::MalformedCertificate,
        SvidError::UriCount(_) => Refusal::UriSanCount,
        SvidError::InvalidName | SvidError::Id(_) | SvidError::Path(_) => Refusal::InvalidSpiffeId,
        SvidError::Usage(_) => Refusal::InvalidUsage,
    }
}

fn refusal_of_webpki(error: &webpki::Error) -> Refusal {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } | E::InvalidCertValidity => Refusal::CertificateExpired,
        E::CertNotValidYet { .. } => Refusal::CertificateNotYetValid,
        E::UnknownIssuer => Refusal::UnknownIssuer,
        E::CertRevoked | E::CertDistrusted => Refusal::Revoked,
        E::UnknownRevocationStatus
        | E::CrlExpired { .. }
        | E::IssuerNotCrlSigner
        | E::InvalidCrlSignatureForPublicKey
        | E::UnsupportedCrlSignatureAlgorithmContext(_)
        | E::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_)
        | E::UnsupportedCrlIssuingDistributionPoint
        | E::UnsupportedIndirectCrl
        | E::UnsupportedDeltaCrl => Refusal::RevocationUnknown,
        E::InvalidSignatureForPublicKey
        | E::SignatureAlgorithmMismatch
        | E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => Refusal::BadSignature,
        E::RequiredEkuNotFoundContext(_)
        | E::EmptyEkuExtension
        | E::CaUsedAsEndEntity
        | E::EndEntityUsedAsCa
        | E::PathLenConstraintViolated => Refusal::InvalidUsage,
        E::NameConstraintViolation
        | E::MalformedNameConstraint
        | E::InvalidNetworkMaskConstraint
        | E::UnsupportedNameType
        | E::MaximumNameConstraintComparisonsExceeded => Refusal::NameConstraint,
        E::MaximumPathBuildCallsExceeded | E::MaximumPathDepthExceeded | E::MaximumSignatureChecksExceeded => Refusal::ChainTooLong,
        _ => Refusal::MalformedCertificate,
    }
}
