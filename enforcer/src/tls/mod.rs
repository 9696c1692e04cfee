//! Mutual TLS with X.509-SVIDs: our own identity, the judgement of a peer's, and what is kept of it.
//!
//! Never: a merged root store (anchors are picked by the trust domain the leaf names), a DNS name check, a resumed session,
//! early data, a process-wide crypto provider. INVARIANT: a [`VerifiedPeer`] exists only after a full TLS 1.3 handshake in
//! which the peer proved possession of the key of a certificate that this module judged.

mod identity;
mod limits;
mod peer;
mod refusal;
mod trust;

pub use identity::{ExpectedPeer, Identity, IdentityError, IdentityFiles};
pub use peer::{VerifiedPeer, accept, connect};
pub use refusal::{Refusal, refusal_of};
