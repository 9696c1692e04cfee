//! Judges a peer's chain: the SPIFFE rules for each certificate, then the path to a root of the leaf's own trust domain.
//!
//! Path, signatures, validity, extended key usage and revocation are webpki's work. What webpki leaves out is done here: the
//! SPIFFE id, the key usages, the choice of roots (A53). INVARIANT: a chain is only ever compared with the roots of the trust
//! domain that its leaf names.
//!
//! Revocation: as soon as one revocation list is configured, every certificate of every chain below its root must be covered
//! by a list in force; without one, its status is unknown, and unknown is refused (A70). A fleet that federates with a domain
//! without lists therefore gets `revocation-unknown` for it, and not a silent hole.

use std::collections::BTreeMap;
use std::sync::Arc;

use portreeve_engine::Svid;
use portreeve_engine::id::{IdPattern, SpiffeId, TrustDomain};
use portreeve_engine::svid::{SvidError, check_signing_certificate};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use super::limits::CHAIN_LENGTH_MAX;
use super::{ExpectedPeer, Refusal};

/// The roots of each trust domain, the revocation lists, and the signature algorithms that count.
#[derive(Debug)]
pub(super) struct Trust {
    pub(super) roots: BTreeMap<TrustDomain, Vec<TrustAnchor<'static>>>,
    pub(super) crls: Vec<CertRevocationList<'static>>,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// The part a peer plays, which its extended key usage must permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Client,
    Server,
}

impl Trust {
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
        let svid = Svid::from_der(leaf).map_err(|e| refusal_of_svid(&e))?;
        for intermediate in intermediates {
            check_signing_certificate(intermediate).map_err(|_| Refusal::InvalidUsage)?;
        }
        names_differ(intermediates)?;
        let domain: TrustDomain = svid.id.trust_domain().parse().map_err(|_| Refusal::InvalidSpiffeId)?;
        let anchors = self.roots.get(&domain).ok_or(Refusal::UnknownTrustDomain)?;
        let crls: Vec<_> = self.crls.iter().collect();
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
            .and_then(|leaf| leaf.verify_for_usage(self.algorithms.all, anchors, intermediates, now, usage, revocation, None).map(|_| ()))
            .map_err(|e| refusal_of_webpki(&e))?;
        Ok(svid)
    }

    fn verify_signature(
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
pub(super) struct ClientVerifier(pub(super) Arc<Trust>);

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
        self.0.judge(end_entity, intermediates, now, Role::Client).map_err(carry)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.algorithms.supported_schemes()
    }
}

/// What the client asks of a server: not a DNS name but one of the expected ids.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    pub(super) trust: Arc<Trust>,
    pub(super) expected: ExpectedPeer,
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
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(PeerIncompatible::Tls12NotOfferedOrEnabled.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trust.verify_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trust.algorithms.supported_schemes()
    }
}

/// Our cause inside the library's error. Every cause leads to the same alert: what a stranger may know is that it was refused.
fn carry(refusal: Refusal) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(refusal))).into()
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
