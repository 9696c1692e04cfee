//! The bounds of reading identities and of judging peers, each with its reason.

/// Bytes of a certificate, key or trust file. Bundles of a hundred roots stay far below.
pub(super) const PEM_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a file of revocation lists. A list of 400,000 serial numbers fits.
pub(super) const CRL_BYTES_MAX: u64 = 16 << 20;
/// Certificates in a chain, ours or a peer's. Real chains have two to four; path building grows with it.
pub(super) const CHAIN_LENGTH_MAX: usize = 16;
/// An identity that ends within this time makes the enforcer unready: an orchestrator that asks every ten seconds and believes
/// the third answer has then sent callers elsewhere before handshakes begin to fail.
pub(super) const EXPIRY_MARGIN: std::time::Duration = std::time::Duration::from_secs(30);
/// Of a short life the margin is at most this share (one part in …): an identity of a minute must not be unready for half of it.
pub(super) const EXPIRY_MARGIN_SHARE: i64 = 10;
/// When less than one part in so many is left, a renewal that was due at half-life did not happen.
pub(super) const EXPIRY_NEAR_SHARE: i64 = 3;
/// Roots of one trust domain. A domain in the middle of a change has two or three.
pub(super) const ROOTS_MAX: usize = 256;
/// Revocation lists. Each is looked through for every certificate of a chain.
pub(super) const CRLS_MAX: usize = 1024;
/// Chains that were judged good and are remembered. As many as connections of one listener; at about 1 kB each: 4 MB.
pub(super) const PEERS_REMEMBERED_MAX: usize = 4096;
