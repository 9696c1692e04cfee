//! The bounds of reading identities and of judging peers, each with its reason.

/// Bytes of a certificate, key or trust file. Bundles of a hundred roots stay far below.
pub(super) const PEM_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a file of revocation lists. A list of 400,000 serial numbers fits.
pub(super) const CRL_BYTES_MAX: u64 = 16 << 20;
/// Certificates in a chain, ours or a peer's. Real chains have two to four; path building grows with it.
pub(super) const CHAIN_LENGTH_MAX: usize = 16;
