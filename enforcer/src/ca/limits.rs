//! The lifetimes and sizes of the built-in authority, each with its reason.

use std::time::Duration;

/// A leaf lives this long unless told otherwise: short enough that a stolen key is soon worthless.
pub const LEAF_LIFETIME_DEFAULT: Duration = days(1);
/// A leaf lives at most this long.
pub const LEAF_LIFETIME_MAX: Duration = days(30);
/// A leaf lives at least this long: less than the tolerated skew of clocks cannot be used.
pub const LEAF_LIFETIME_MIN: Duration = Duration::from_secs(60);
/// The intermediate is renewed once a year.
pub const INTERMEDIATE_LIFETIME_DEFAULT: Duration = days(365);
/// The root outlives a development environment; changing it means touching every machine.
pub const ROOT_LIFETIME_DEFAULT: Duration = days(3650);
/// A revocation list must be written again within this time, or peers that use it refuse everyone.
pub const CRL_LIFETIME: Duration = days(7);
/// `notBefore` lies this far back, for machines whose clock is behind.
pub(super) const SKEW: Duration = Duration::from_secs(60);
/// Bytes of one of the authority's own files.
pub(super) const FILE_BYTES_MAX: u64 = 4 << 20;
/// Bytes of a serial number: 128 bits, of which two are fixed to keep it positive and its length constant.
pub(super) const SERIAL_BYTES: usize = 16;

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 3600)
}
