//! Why a handshake was refused, in the words of the decision log.

use std::fmt;

/// Why a stranger was turned away before it had an identity. It is also the error that travels through the TLS library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// The peer sent no certificate.
    NoCertificate,
    /// The certificate cannot be read.
    MalformedCertificate,
    /// The certificate's, or an issuer's, validity is over.
    CertificateExpired,
    /// The certificate's, or an issuer's, validity has not begun.
    CertificateNotYetValid,
    /// The chain does not lead to a root of the trust domain that the leaf names.
    UnknownIssuer,
    /// No roots are configured for the trust domain that the leaf names.
    UnknownTrustDomain,
    /// Not exactly one URI name.
    UriSanCount,
    /// The one URI name is not a workload's SPIFFE ID, or a name cannot be read.
    InvalidSpiffeId,
    /// A certificate that may not authenticate, or an issuer that may not sign.
    InvalidUsage,
    /// An issuer limits the names it may sign in a way that excludes the leaf, or that is not supported (URI constraints).
    NameConstraint,
    /// Revoked.
    Revoked,
    /// Revocation lists are configured and none in force covers the certificate.
    RevocationUnknown,
    /// A signature, in the chain or of the handshake, is not valid or not of a supported kind.
    BadSignature,
    /// A chain that is too long or too costly to check.
    ChainTooLong,
    /// The peer is authentic, and not who was expected.
    UnexpectedPeer,
    /// Our own identity is over or was taken away, so there can be no handshake.
    OwnIdentity,
    /// The peer speaks no version of TLS that is accepted, or TLS 1.2 without the extended master secret.
    ProtocolVersion,
    /// The bytes are not TLS.
    NotTls,
    /// The peer broke the handshake off with an alert: it refused us.
    RefusedByPeer,
    /// The connection ended during the handshake.
    ConnectionClosed,
    /// The handshake did not end in time.
    HandshakeTimeout,
    /// It had not ended its handshake when all connections were taken and another one came.
    CrowdedOut,
    /// Any other fault of the handshake.
    HandshakeFailed,
    /// The handshake was good, and the identity holds its whole share of the connections.
    IdentityShare,
}

impl Refusal {
    /// The kebab-case word of the decision log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCertificate => "no-certificate",
            Self::MalformedCertificate => "malformed-certificate",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotYetValid => "certificate-not-yet-valid",
            Self::UnknownIssuer => "unknown-issuer",
            Self::UnknownTrustDomain => "unknown-trust-domain",
            Self::UriSanCount => "uri-san-count",
            Self::InvalidSpiffeId => "invalid-spiffe-id",
            Self::InvalidUsage => "invalid-usage",
            Self::NameConstraint => "name-constraint",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation-unknown",
            Self::BadSignature => "bad-signature",
            Self::ChainTooLong => "chain-too-long",
            Self::UnexpectedPeer => "unexpected-peer",
            Self::OwnIdentity => "own-identity",
            Self::ProtocolVersion => "protocol-version",
            Self::NotTls => "not-tls",
            Self::RefusedByPeer => "refused-by-peer",
            Self::ConnectionClosed => "connection-closed",
            Self::HandshakeTimeout => "handshake-timeout",
            Self::CrowdedOut => "crowded-out",
            Self::HandshakeFailed => "handshake-failed",
            Self::IdentityShare => "identity-share",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoCertificate => "no certificate was sent",
            Self::MalformedCertificate => "the certificate cannot be read",
            Self::CertificateExpired => "the certificate or one of its issuers has expired",
            Self::CertificateNotYetValid => "the certificate or one of its issuers is not valid yet",
            Self::UnknownIssuer => "the chain does not lead to a root of the trust domain that the certificate names",
            Self::UnknownTrustDomain => "no roots are configured for the trust domain that the certificate names",
            Self::UriSanCount => "the certificate does not have exactly one URI name",
            Self::InvalidSpiffeId => "the URI name of the certificate is not a workload's SPIFFE ID",
            Self::InvalidUsage => "the certificate may not be used for this, or an issuer may not sign",
            Self::NameConstraint => "an issuer's name constraints exclude the certificate (URI constraints are not supported)",
            Self::Revoked => "the certificate or one of its issuers is revoked",
            Self::RevocationUnknown => "no revocation list in force covers the certificate",
            Self::BadSignature => "a signature is not valid or not of a supported kind",
            Self::ChainTooLong => "the chain is too long or too costly to check",
            Self::UnexpectedPeer => "the peer is not the one that was expected",
            Self::OwnIdentity => "our own identity is over or was taken away",
            Self::ProtocolVersion => "the peer speaks no version of TLS that is accepted",
            Self::NotTls => "the peer does not speak TLS",
            Self::RefusedByPeer => "the peer broke the handshake off",
            Self::ConnectionClosed => "the connection ended during the handshake",
            Self::HandshakeTimeout => "the handshake did not end in time",
            Self::CrowdedOut => "the handshake had not ended when its place was needed",
            Self::HandshakeFailed => "the handshake failed",
            Self::IdentityShare => "the identity holds all the connections that are its share",
        })
    }
}

impl std::error::Error for Refusal {}

/// Recovers the exact cause from the error of a handshake.
#[must_use]
pub fn refusal_of(error: &std::io::Error) -> Refusal {
    use std::io::ErrorKind as K;
    // The one downcast of the crate: the TLS library hands its error through `std::io::Error`.
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return refusal_of_tls(tls);
    }
    match error.kind() {
        K::TimedOut => Refusal::HandshakeTimeout,
        K::UnexpectedEof | K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe | K::NotConnected => Refusal::ConnectionClosed,
        _ => Refusal::HandshakeFailed,
    }
}

fn refusal_of_tls(error: &rustls::Error) -> Refusal {
    use rustls::{Error as E, PeerIncompatible as P};
    match error {
        E::InvalidCertificate(cause) => refusal_of_certificate(cause),
        E::NoCertificatesPresented => Refusal::NoCertificate,
        E::PeerIncompatible(
            P::SupportedVersionsExtensionRequired
            | P::Tls12NotOffered
            | P::Tls12NotOfferedOrEnabled
            | P::ServerDoesNotSupportTls12Or13
            | P::ServerTlsVersionIsDisabledByOurConfig
            | P::ExtendedMasterSecretExtensionRequired,
        ) => Refusal::ProtocolVersion,
        E::AlertReceived(rustls::AlertDescription::ProtocolVersion) => Refusal::ProtocolVersion,
        E::AlertReceived(_) => Refusal::RefusedByPeer,
        E::InvalidMessage(rustls::InvalidMessage::InvalidContentType | rustls::InvalidMessage::UnknownProtocolVersion) => Refusal::NotTls,
        _ => Refusal::HandshakeFailed,
    }
}

fn refusal_of_certificate(error: &rustls::CertificateError) -> Refusal {
    use rustls::CertificateError as C;
    match error {
        C::Other(other) => other.0.downcast_ref::<Refusal>().copied().unwrap_or(Refusal::HandshakeFailed),
        // Our verifiers judge with words of their own; what is left is the signature of the handshake itself.
        C::BadEncoding => Refusal::MalformedCertificate,
        _ => Refusal::BadSignature,
    }
}
