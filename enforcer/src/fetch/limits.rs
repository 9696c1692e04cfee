//! The bounds of fetching from the control plane, each with its reason. How many bytes an answer may have and how long all of
//! it may take is said by whoever asks ([`super::Ask`]).

use std::time::Duration;

/// One address of a host gets this long to take the connection; then the next one is tried.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Addresses of a host that are tried. More would only use up the time that the whole fetch has.
pub(super) const ADDRESSES_MAX: usize = 4;
/// Header lines of an answer.
pub(super) const HEADERS_MAX: usize = 64;
/// The head of an answer, and the piece of a body read at once.
pub(super) const BUFFER_BYTES_MAX: usize = 16 * 1024;
/// A file of root certificates; the largest public collections have a quarter of this.
pub(super) const ROOTS_BYTES_MAX: u64 = 1 << 20;
/// A URL.
pub(super) const URL_BYTES_MAX: usize = 2048;
/// An `etag` that is kept and sent back.
pub(super) const ETAG_BYTES_MAX: usize = 256;
/// How long an answer may call itself fresh, as far as it is believed; longer is as good as never looking again.
pub(super) const MAX_AGE_MAX: Duration = Duration::from_secs(24 * 3600);
