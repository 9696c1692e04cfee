//! Forwards a permitted request to the service, and its answer to the caller.
//!
//! INV-8: [`forward`] takes the [`Permit`] by value; there is no other way to the service.

use std::sync::Arc;

use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use portreeve_engine::record::Why;

use crate::body::{Arriving, RequestBody, ResponseBody, Returning};
use crate::gate::{Barred, Permit, Permitted};
use crate::h1::write::opened;
use crate::headers;
use crate::pool::{Pool, SendError};
use crate::times::Patience;

/// Sends the request as judged and gives back the answer, or 502 or 504.
pub async fn forward(permit: Box<Permit>, pool: &Arc<Pool>, body: Arriving) -> Response<ResponseBody> {
    let Permitted { mut running, method, lines, switch, request_id } = match permit.redeem().await {
        Ok(permitted) => permitted,
        Err(Barred { status, request_id, .. }) => return answer(status, &request_id, false),
    };
    if switch.is_some() {
        // Tunnels are carried over HTTP/1 alone.
        running.unavailable(StatusCode::BAD_GATEWAY);
        return answer(StatusCode::BAD_GATEWAY, &request_id, false);
    }
    let leash = running.leash(pool.times().request);
    let (body, progress) = RequestBody::new(body, running.guard(), leash);
    let mut headers = lines.to_map();
    let opened = opened(lines.opening());
    let (Some((Ok(uri), host)), Ok(method)) =
        (opened.map(|(target, host)| (Uri::try_from(target), host)), Method::from_bytes(method.as_str().as_bytes()))
    else {
        running.unavailable(StatusCode::BAD_GATEWAY);
        return answer(StatusCode::BAD_GATEWAY, &request_id, false);
    };
    match HeaderValue::try_from(host) {
        Ok(host) => headers.insert(header::HOST, host),
        Err(_) => None,
    };
    headers.remove(header::EXPECT);
    let head_only = method == Method::HEAD;
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    let patience = Patience::new(pool.times().stream, pool.times().request, progress.clone());
    let sent = running.unless_cut(pool.send(request, progress, &running)).await;
    let Some(sent) = sent else {
        return answer(running.denied(), &request_id, false);
    };
    match sent {
        Ok((response, _)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            running.unavailable(StatusCode::BAD_GATEWAY);
            answer(StatusCode::BAD_GATEWAY, &request_id, false)
        }
        Ok((response, lease)) => {
            running.answered(response.status());
            let (mut parts, body) = response.into_parts();
            headers::strip_hop_by_hop(&mut parts.headers);
            headers::strip_identity(&mut parts.headers);
            let body = Returning::of(std::mem::take(&mut parts.version), body);
            set_request_id(&mut parts.headers, &request_id);
            // Whatever the service sends behind such a head, its caller gets nothing more.
            let bodiless = head_only || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
            Response::from_parts(parts, ResponseBody::stream(body, Some(running), lease, patience, bodiless))
        }
        // The body that the caller sent broke off or was broken: that is not the service's failure.
        Err(SendError::Http(error)) if error.is_user() => {
            running.answered(StatusCode::BAD_REQUEST);
            running.because(Why::Client);
            answer(StatusCode::BAD_REQUEST, &request_id, false)
        }
        Err(error) => {
            let status = status_of(&error);
            running.unavailable(status);
            answer(status, &request_id, false)
        }
    }
}

/// The status that tells of a failure to reach someone.
#[must_use]
pub fn status_of(error: &SendError) -> StatusCode {
    if error.is_timeout() { StatusCode::GATEWAY_TIMEOUT } else { StatusCode::BAD_GATEWAY }
}

/// An answer of the gate's own: a status and the request id, nothing else (two faces for a refusal).
#[must_use]
pub fn answer(status: StatusCode, request_id: &str, close: bool) -> Response<ResponseBody> {
    // Ids are made by us of letters, digits and dashes, so they need no escaping.
    let mut response = Response::new(ResponseBody::own(format!("{{\"request_id\":\"{request_id}\"}}\n")));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    set_request_id(headers, request_id);
    if close {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer to what is allowed and has to wait.
#[must_use]
pub fn limited(request_id: &str, retry_after: u64) -> Response<ResponseBody> {
    let mut response = answer(StatusCode::TOO_MANY_REQUESTS, request_id, false);
    response.headers_mut().insert(header::RETRY_AFTER, retry_after.into());
    response
}

/// Says the id of the request in its answer.
pub fn set_request_id(headers: &mut http::HeaderMap, request_id: &str) {
    if let Ok(mut value) = HeaderValue::from_str(request_id) {
        // No two are the same: HTTP/2 would remember each in its table of headers, look through all of them for the next one,
        // and drive out what does come again.
        value.set_sensitive(true);
        headers.insert(headers::X_REQUEST_ID, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http2_does_not_remember_ids() {
        for mut response in [answer(StatusCode::FORBIDDEN, "r1", false), limited("r1", 1), Response::new(ResponseBody::own(String::new()))]
        {
            set_request_id(response.headers_mut(), "r1");
            let id = &response.headers()[headers::X_REQUEST_ID];
            assert!(id == "r1" && id.is_sensitive(), "{response:?}");
        }
    }
}
