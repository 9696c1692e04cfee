//! The bounds of reading tokens and key sets, each with its reason.

use std::time::Duration;

/// Bytes of a token. Identity providers stay below 8 KiB, as common servers refuse larger headers.
pub(super) const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Nesting of a token's JSON (A66f). Deeper claims could not be allow-listed anyway.
pub(super) const JSON_DEPTH_MAX: usize = 8;
/// Bytes of a key set file.
pub(super) const JWKS_BYTES_MAX: u64 = 1 << 20;
/// Keys in a set. Providers publish two or three.
pub(super) const JWKS_KEYS_MAX: usize = 64;
/// How far clocks may differ, for `exp` and `nbf`.
pub(super) const LEEWAY_MS: i64 = 30_000;
/// Bits of an RSA modulus, at least.
pub(super) const RSA_BITS_MIN: usize = 2048;
/// Bits of an RSA modulus, at most: the crypto library takes no more, and checking grows with it.
pub(super) const RSA_BITS_MAX: usize = 8192;
/// All of fetching a key set.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The start waits this long for key sets, so that the first requests do not meet an enforcer without keys; then it goes on
/// without, and believes no token of those issuers until their keys came.
pub(super) const FIRST_TIMEOUT: Duration = Duration::from_secs(3);
/// A key set is not fetched more often than this on its provider's word (`max-age=0`).
pub(super) const REFRESH_MIN: Duration = Duration::from_secs(60);
/// A key set is fetched at least this often, whatever its provider says of its freshness: withdrawn keys must go.
pub(super) const REFRESH_MAX: Duration = Duration::from_secs(3600);
/// The wait after a first failed fetch; it doubles.
pub(super) const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest wait after a failed fetch.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(60);
/// The longest wait that a provider in trouble may ask for (`retry-after`).
pub(super) const RETRY_ASKED_MAX: Duration = Duration::from_secs(300);
/// A key id that is not known brings at most one fetch in this time (A66h).
pub(super) const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(10);
/// A key id that the provider did not know is not asked for again before this time has passed (A66h).
pub(super) const UNKNOWN_KEY_LIFE: Duration = Duration::from_secs(60);
/// Key ids that the provider did not know, as far as they are remembered.
pub(super) const UNKNOWN_KEYS_MAX: usize = 256;
/// The longest key id that is looked for at its provider; real ones have up to 64 characters.
pub(super) const KID_BYTES_MAX: usize = 256;
