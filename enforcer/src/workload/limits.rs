//! The bounds of the Workload API, each with its reason.

use std::time::Duration;

/// Bytes of one message: what gRPC takes by default.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// SVIDs in an answer: a workload has one, seldom a few.
pub(super) const SVIDS_MAX: usize = 64;
/// Trust domains in an answer.
pub(super) const BUNDLES_MAX: usize = 1024;
/// Revocation lists in an answer.
pub(super) const LISTS_MAX: usize = 1024;
/// Certificates in one concatenated sequence; a bundle may have as many roots as a trust domain.
pub(super) const CERTIFICATES_MAX: usize = 256;
/// Connecting and the first answer together: the first message is to be sent without delay.
pub(super) const FIRST_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The first wait after a stream that ended; it doubles up to the longest.
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(200);
/// The longest wait between attempts: within it a returned agent is found again.
pub(super) const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// HTTP/2 asks a silent agent for a sign of life this often: a stream may rightly be silent for hours.
pub(super) const PING_INTERVAL: Duration = Duration::from_secs(30);
/// An agent that does not answer within this time is gone.
pub(super) const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Window of the stream: a whole answer of the common size at once.
pub(super) const WINDOW: u32 = 256 * 1024;
/// Bytes of the text that an agent gives with an error, as far as it is told on.
pub(super) const ERROR_TEXT_MAX: usize = 256;
