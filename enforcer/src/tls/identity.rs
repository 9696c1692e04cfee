//! Our own identity: a certificate with its key, and whom it believes.
//!
//! INVARIANT: an [`Identity`] is whole: the key is the leaf's (A71), and when it was taken up its chain led to the roots of its
//! own trust domain, for both parts of a handshake. What is not whole is an error that names its place, so that whoever
//! reloads keeps the last good identity. An identity that is over or was withdrawn makes no handshake, on either side.

use std::sync::Arc;

use portreeve_engine::id::{IdPattern, SpiffeId};
use portreeve_engine::{Digest, Svid, Timestamp};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ConfigBuilder, ServerConfig, SupportedProtocolVersion, WantsVerifier};

use super::error::tls;
use super::limits::{EXPIRY_MARGIN, EXPIRY_MARGIN_SHARE, EXPIRY_NEAR_SHARE};
use super::trust::{ClientVerifier, Role, ServerVerifier, unix};
use super::{IdentityError, IdentityFiles, Pair, Refusal, Trust, VerifiedPeer};

/// Which servers a client accepts: any of the ids, or any id that a pattern covers. Empty accepts nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExpectedPeer {
    /// Exact ids.
    pub ids: Vec<SpiffeId>,
    /// Patterns.
    pub patterns: Vec<IdPattern>,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2, with ECDHE, AEAD and the extended master secret only. The certificates of a handshake can be read by whoever
    /// sees its bytes.
    Tls12,
    /// TLS 1.3.
    #[default]
    Tls13,
}

impl MinVersion {
    /// As the configuration has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tls12 => "1.2",
            Self::Tls13 => "1.3",
        }
    }
}

/// An identity that is whole.
#[derive(Clone)]
pub struct Identity {
    pair: Pair,
    trust: Arc<Trust>,
    min: MinVersion,
    withdrawn: bool,
    generation: Digest,
    server: Arc<ServerConfig>,
    client: ConfigBuilder<ClientConfig, WantsVerifier>,
}

/// How an identity stands at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In force.
    Good,
    /// In force, and renewal is overdue: less than a third of its life is left.
    Near,
    /// In force for so short a time that callers should go elsewhere now.
    Ending,
    /// Over.
    Over,
    /// Taken away: revoked, or no longer given to us.
    Withdrawn,
}

impl Identity {
    /// Reads and checks an identity that speaks TLS 1.3.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn load(files: &IdentityFiles) -> Result<Self, IdentityError> {
        Self::new(files.pair()?, Arc::new(files.trust()?), MinVersion::default())
    }

    /// An identity of a pair that the roots vouch for.
    ///
    /// # Errors
    /// [`IdentityError::Own`] where peers would refuse our certificate.
    pub fn new(pair: Pair, trust: Arc<Trust>, min: MinVersion) -> Result<Self, IdentityError> {
        let now = crate::clock::wall();
        let (leaf, intermediates) = pair.chain.split_first().ok_or_else(|| IdentityError::NoCertificate { path: pair.place.clone() })?;
        for role in [Role::Client, Role::Server] {
            trust.judge(leaf, intermediates, unix(now), role).map_err(|refusal| IdentityError::Own {
                path: pair.place.clone(),
                id: pair.svid.id.clone(),
                refusal,
            })?;
        }
        Self::unjudged(pair, trust, min)
    }

    /// An identity whose own certificate the roots may no longer vouch for: what new roots and lists say of others counts all
    /// the same, and peers judge ours themselves.
    fn unjudged(pair: Pair, trust: Arc<Trust>, min: MinVersion) -> Result<Self, IdentityError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let server = server_config(&provider, &trust, Arc::clone(&pair.certificate) as Arc<dyn ResolvesServerCert>, min)?;
        let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions(min)).map_err(|e| tls(&e))?;
        let mut digest = pair.digest().as_bytes().to_vec();
        digest.extend(trust.digest().as_bytes());
        Ok(Self { pair, trust, min, withdrawn: false, generation: Digest::of(&digest), server, client })
    }

    /// What becomes of this identity when its files, or some of them, are read again: the new pair and the new trust are each
    /// taken up if they are good, and otherwise the present one stays (A71). The error, if there is one, is for the alarm.
    ///
    /// New roots and lists always count for others, even where they no longer vouch for our own certificate: to keep a
    /// withdrawn root until we are renewed would keep its other certificates too. A list that names our own certificate ends
    /// this identity.
    #[must_use]
    pub fn renewed(&self, pair: Result<Pair, IdentityError>, trust: Result<Trust, IdentityError>) -> (Self, Option<IdentityError>) {
        let (trust, mut error) = match trust {
            Ok(trust) => (Arc::new(trust), None),
            Err(error) => (Arc::clone(&self.trust), Some(error)),
        };
        match pair.and_then(|pair| Self::new(pair, Arc::clone(&trust), self.min)) {
            Ok(new) => return (new, error),
            // Why the pair is not good says more than why the trust is not.
            Err(cause) => error = Some(cause),
        }
        match Self::new(self.pair.clone(), Arc::clone(&trust), self.min) {
            Ok(old) => (Self { withdrawn: self.withdrawn, ..old }, error),
            Err(IdentityError::Own { refusal: Refusal::Revoked, .. }) => (self.withdrawn(), error),
            Err(_) => match Self::unjudged(self.pair.clone(), trust, self.min) {
                Ok(old) => (Self { withdrawn: self.withdrawn, ..old }, error),
                Err(cause) => (self.clone(), Some(cause)),
            },
        }
    }

    /// This identity, taken away: it makes no handshake any more, and no peer stays connected.
    #[must_use]
    pub fn withdrawn(&self) -> Self {
        let mut generation = self.generation.as_bytes().to_vec();
        generation.push(1);
        Self { withdrawn: true, generation: Digest::of(&generation), ..self.clone() }
    }

    /// This identity for a server that speaks HTTP/1.1 alone.
    #[must_use]
    pub fn http1_only(mut self) -> Self {
        let mut server = (*self.server).clone();
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        self.server = Arc::new(server);
        self
    }

    /// Who we are.
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.pair.svid.id
    }

    /// Our own leaf.
    #[must_use]
    pub fn svid(&self) -> &Svid {
        &self.pair.svid
    }

    /// When our chain ends: the earliest end of its certificates.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.pair.until
    }

    /// When half of our leaf's life is over and a new one is due.
    #[must_use]
    pub fn half_life(&self) -> Timestamp {
        let svid = &self.pair.svid;
        svid.not_before.plus_ms((self.pair.until.unix_ms() - svid.not_before.unix_ms()) / 2)
    }

    /// How this identity stands.
    #[must_use]
    pub fn standing(&self, now: Timestamp) -> Standing {
        let life = self.pair.until.unix_ms() - self.pair.svid.not_before.unix_ms();
        let left = self.pair.until.unix_ms() - now.unix_ms();
        let margin = i64::try_from(EXPIRY_MARGIN.as_millis()).unwrap_or(i64::MAX).min(life / EXPIRY_MARGIN_SHARE);
        match () {
            () if self.withdrawn => Standing::Withdrawn,
            () if left <= 0 => Standing::Over,
            () if left <= margin => Standing::Ending,
            () if left <= life / EXPIRY_NEAR_SHARE => Standing::Near,
            () => Standing::Good,
        }
    }

    /// The earliest `nextUpdate` of the revocation lists, if there are any: afterwards peers are refused.
    #[must_use]
    pub fn revocation_until(&self) -> Option<Timestamp> {
        self.trust.revocation_until()
    }

    /// A digest over chain, roots and revocation lists: two identities with the same generation judge alike (A68).
    #[must_use]
    pub fn generation(&self) -> Digest {
        self.generation
    }

    /// A digest over roots and revocation lists, and whether the identity was withdrawn: as long as it stays the same, a
    /// peer once accepted is accepted until a certificate or list ends.
    #[must_use]
    pub fn trust_generation(&self) -> (Digest, bool) {
        (self.trust.digest(), self.withdrawn)
    }

    /// The server side: a client certificate is required; no resumption, no early data, HTTP/2 before HTTP/1.1.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// The client side: our certificate, only the expected peers, no resumption, no early data.
    #[must_use]
    pub fn client_config(&self, expected: ExpectedPeer) -> Arc<ClientConfig> {
        let verifier = ServerVerifier { trust: Arc::clone(&self.trust), expected, min: self.min };
        let certificate = Arc::clone(&self.pair.certificate) as Arc<dyn ResolvesClientCert>;
        // "Dangerous" is any verifier but the library's own, which knows DNS names and not SPIFFE IDs.
        let builder = self.client.clone().dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = builder.with_client_cert_resolver(certificate);
        config.resumption = Resumption::disabled();
        config.enable_early_data = false;
        config.enable_sni = false;
        config.require_ems = true;
        config.alpn_protocols = alpn();
        Arc::new(config)
    }

    /// Whether this identity may make a handshake.
    ///
    /// # Errors
    /// [`Refusal::OwnIdentity`] if it was withdrawn or is over.
    pub fn in_force(&self, now: Timestamp) -> Result<(), Refusal> {
        match self.standing(now) {
            Standing::Good | Standing::Near | Standing::Ending => Ok(()),
            Standing::Over | Standing::Withdrawn => Err(Refusal::OwnIdentity),
        }
    }

    /// Judges a peer of an open connection again, as roots, revocation lists and time may have changed since (A65, A72).
    ///
    /// # Errors
    /// The cause for which a new handshake would now be refused.
    pub fn judge_again(&self, peer: &VerifiedPeer, now: Timestamp) -> Result<(), Refusal> {
        let (leaf, intermediates) = peer.chain.split_first().ok_or(Refusal::NoCertificate)?;
        self.trust.judge(leaf, intermediates, unix(now), peer.role).map(|_| ())
    }

    /// The next moment after `now` at which the judgement of this peer can change by time alone.
    #[must_use]
    pub fn next_end(&self, peer: &VerifiedPeer, now: Timestamp) -> Timestamp {
        let ends = [Some(peer.until()), Some(self.pair.until), self.trust.next_end(now)];
        ends.into_iter().flatten().filter(|end| *end > now).min().unwrap_or(Timestamp::from_unix_ms(i64::MAX))
    }
}

impl std::fmt::Debug for Identity {
    /// Never shows the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("svid", &self.pair.svid).field("generation", &self.generation).finish_non_exhaustive()
    }
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    trust: &Arc<Trust>,
    certificate: Arc<dyn ResolvesServerCert>,
    min: MinVersion,
) -> Result<Arc<ServerConfig>, IdentityError> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions(min))
        .map_err(|e| tls(&e))?
        .with_client_cert_verifier(Arc::new(ClientVerifier { trust: Arc::clone(trust), min }))
        .with_cert_resolver(certificate);
    // A resumed session keeps the identity of the first one and skips the verifier (A13, A14).
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    // Without it a TLS 1.2 handshake can be spliced onto another (RFC 7627). Renegotiation the library does not know.
    config.require_ems = true;
    config.alpn_protocols = alpn();
    Ok(Arc::new(config))
}

/// The suites are the provider's: for TLS 1.2 it has ECDHE with AES-GCM or ChaCha20-Poly1305 alone, which a test holds.
fn versions(min: MinVersion) -> &'static [&'static SupportedProtocolVersion] {
    static NEW: [&SupportedProtocolVersion; 1] = [&TLS13];
    static BOTH: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];
    match min {
        MinVersion::Tls13 => &NEW,
        MinVersion::Tls12 => &BOTH,
    }
}

fn alpn() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}
