//! Mutual TLS with X.509-SVIDs: our own identity, the judgement of a peer's, and what is kept of it.
//!
//! Never: a merged root store (anchors are picked by the trust domain the leaf names), a DNS name check, a resumed session,
//! early data, a process-wide crypto provider, TLS 1.2 unless it was asked for. INVARIANT: a [`VerifiedPeer`] exists only after
//! a full handshake in which the peer proved possession of the key of a certificate that this module judged.

mod current;
mod error;
mod files;
mod identity;
mod limits;
mod pair;
mod peer;
mod refusal;
mod remembered;
mod trust;

pub use current::Current;
pub use error::IdentityError;
pub use files::IdentityFiles;
pub use identity::{ExpectedPeer, Identity, MinVersion, Standing};
pub use pair::Pair;
pub use peer::{VerifiedPeer, accept, accept_raw, connect, connect_http1};
pub use refusal::{Refusal, refusal_of};
pub use trust::Trust;
