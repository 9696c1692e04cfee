//! Our own identity, read whole from files.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use portreeve_engine::id::{IdPattern, SpiffeId, TrustDomain};
use portreeve_engine::{Digest, Svid, Timestamp};
use rustls::{ClientConfig, ServerConfig};

use super::{Refusal, VerifiedPeer};

/// Where an identity is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The leaf and its intermediates, PEM, leaf first.
    pub cert: PathBuf,
    /// The private key of the leaf, PEM.
    pub key: PathBuf,
    /// The roots of each trust domain, PEM.
    pub trust: BTreeMap<TrustDomain, PathBuf>,
    /// Revocation lists, PEM.
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

/// An identity that is whole: key and leaf match, the leaf is an SVID in force, and it leads to the roots of its domain.
#[derive(Clone, Debug)]
pub struct Identity {
    svid: Svid,
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
}

impl Identity {
    /// Reads and checks an identity.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub fn load(files: &IdentityFiles) -> Result<Self, IdentityError> {
        let _ = files;
        todo!()
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

    /// The earliest `nextUpdate` of the revocation lists, if there are any: afterwards every peer is refused.
    #[must_use]
    pub fn revocation_until(&self) -> Option<Timestamp> {
        todo!()
    }

    /// A digest over chain, roots and revocation lists: two identities with the same generation judge alike (A68).
    #[must_use]
    pub fn generation(&self) -> Digest {
        todo!()
    }

    /// The server side: TLS 1.3, client certificate required, no resumption.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        todo!()
    }

    /// The client side: TLS 1.3, our certificate, and only the expected peers.
    #[must_use]
    pub fn client_config(&self, expected: ExpectedPeer) -> Arc<ClientConfig> {
        let _ = expected;
        todo!()
    }

    /// Judges a peer of an open connection again, as roots, revocation lists and time may have changed since (A65, A72).
    ///
    /// # Errors
    /// The cause for which a new handshake would now be refused.
    pub fn judge_again(&self, peer: &VerifiedPeer, now: Timestamp) -> Result<(), Refusal> {
        let _ = (peer, now);
        todo!()
    }
}
