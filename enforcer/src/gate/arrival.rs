//! What is known of a request before it is read further, and how it is answered when it goes no further.

use std::time::Instant;

use http::{StatusCode, Version};
use portreeve_engine::Reason;

use super::Verdict;
use crate::trace::Trace;

/// What is known of a request before it is read further.
pub(super) struct Arrival {
    pub(super) came: Instant,
    pub(super) id: String,
    pub(super) trace: Trace,
    pub(super) protocol: &'static str,
}

pub(super) fn denial(reason: Reason) -> StatusCode {
    match reason {
        Reason::MalformedRequest => StatusCode::BAD_REQUEST,
        _ => StatusCode::FORBIDDEN,
    }
}

pub(super) fn unrecorded(request_id: String) -> Verdict {
    Verdict::Answer { status: StatusCode::SERVICE_UNAVAILABLE, request_id, close: false }
}

pub(super) fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}
