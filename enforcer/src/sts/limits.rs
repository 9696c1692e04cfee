//! The bounds of the token service, each with its reason.

use std::time::Duration;

/// A token lives this long unless told otherwise: long enough for one chain of calls, too short to be worth stealing.
pub(crate) const LIFETIME: Duration = Duration::from_secs(300);
/// A token lives at most this long.
pub(crate) const LIFETIME_MAX: Duration = Duration::from_secs(3600);
/// Bytes of a request: a token of the longest kind that is believed, twice over when it is escaped.
pub(super) const FORM_BYTES_MAX: usize = 64 << 10;
/// Parameters of a request. The standard knows a dozen.
pub(super) const PARAMETERS_MAX: usize = 32;
/// How deep callers may stand behind callers in `act`: verifiers bound the nesting of claims too.
pub(super) const ACTORS_MAX: usize = 4;
/// A request must be whole within this time.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A handshake that takes longer is cut.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections at once.
pub(super) const CONNECTIONS_MAX: usize = 256;
/// The longest wait for running requests at the end.
pub(super) const DRAIN: Duration = Duration::from_secs(2);
/// The files are read again when a connection comes and so much time has passed: key sets and certificates are renewed by
/// replacing them.
pub(super) const READ_AGAIN: Duration = Duration::from_secs(1);
