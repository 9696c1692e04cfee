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

/// An identity from the agent lives this long unless told otherwise: renewed twice before it ends, it needs no list.
pub const AGENT_LIFETIME_DEFAULT: Duration = Duration::from_secs(3600);
/// A new signer is known this long before it signs, unless told otherwise: enforcers on the agent know it at once, those that are
/// given files within this time.
pub const OVERLAP_DEFAULT: Duration = Duration::from_secs(2 * 3600);
/// How often the agent looks for what is due and for changed files.
pub(super) const KEEPER_TICK: Duration = Duration::from_secs(1);
/// Connections that the agent serves at once.
pub(super) const AGENT_CONNECTIONS_MAX: usize = 1024;
/// Connections of one user, so that no user keeps the others out.
pub(super) const AGENT_CONNECTIONS_USER_MAX: usize = 64;
/// Streams of one connection: a client needs one or two.
pub(super) const AGENT_STREAMS_MAX: u32 = 8;
/// Identities that one user is signed at once: as many as it can have streams, for a clock that was set or a signer that was changed.
pub const AGENT_SIGNATURES_BURST: usize = AGENT_CONNECTIONS_USER_MAX * AGENT_STREAMS_MAX as usize;
/// After that one in this time; what else the user asks for waits. Some hundredths of one processor.
pub const AGENT_SIGNATURES_EVERY: Duration = Duration::from_millis(20);
/// How often it is told that a user waits for identities.
pub(super) const AGENT_TOLD_AGAIN: Duration = Duration::from_secs(600);
/// A connection to the agent asks its first question within this time: a client connects when it has one.
pub(super) const AGENT_FIRST_REQUEST: Duration = Duration::from_secs(5);
/// The agent asks a silent client for a sign of life this often, and waits as long for it.
pub(super) const AGENT_PING: Duration = Duration::from_secs(30);
/// The agent sends bundles again after this time although nothing changed.
pub(crate) const AGENT_BUNDLES_AGAIN: Duration = Duration::from_secs(24 * 3600);
/// The longest wait of the agent for streams at its end.
pub(crate) const AGENT_DRAIN: Duration = Duration::from_secs(2);

const fn days(count: u64) -> Duration {
    Duration::from_secs(count * 24 * 3600)
}
