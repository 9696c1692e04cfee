//! Tunnels that are asked for over HTTP/2: `CONNECT`, and its extended form for WebSocket (RFC 8441).
//!
//! To the service it is the request of HTTP/1 that means the same: `CONNECT`, or a `GET` with `upgrade`. The tunnel begins with its
//! word alone (A22), is one stream of the caller's connection, and is driven by that connection's task.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use tokio::time::Instant;

use crate::body::ResponseBody;
use crate::forward::{answer, status_of};
use crate::gate::{Barred, Permit, Permitted};
use crate::h1::buffer::Wire;
use crate::h1::call::{Call, stopped};
use crate::h1::exchange::Stop;
use crate::h1::scan::Framing;
use crate::h1::timer::Timer;
use crate::h1::tunnel;
use crate::h1::upstream::Upstream;
use crate::h1::write;
use crate::h2::connection::Reply;
use crate::h2::pipe::Pipe;
use crate::question::Switch;

/// Asks the service for the tunnel that was permitted, and begins it where the service agrees.
pub async fn forward(permit: Box<Permit>, upstream: &Arc<Upstream>, client: Pipe) -> Reply<ResponseBody> {
    let mut permitted = match permit.redeem().await {
        Ok(permitted) => permitted,
        Err(Barred { status, request_id, .. }) => return Reply::Answer(answer(status, &request_id, false)),
    };
    if matches!(permitted.switch, Some(Switch::Upgrade(_))) {
        // Over HTTP/2 there is none; HTTP/1 wants one.
        let Some(key) = key() else {
            permitted.running.unavailable(StatusCode::BAD_GATEWAY);
            return Reply::Answer(answer(StatusCode::BAD_GATEWAY, &permitted.request_id, false));
        };
        permitted.lines.push("sec-websocket-key", key.as_bytes());
    }
    let Permitted { mut running, method, lines, switch, request_id } = permitted;
    let head = write::request(lines, switch, Framing::None);
    let lent = match running.unless_cut(upstream.connect()).await {
        None => return Reply::Answer(stopped(Stop::Denied, &mut running, &request_id)),
        Some(Ok(lent)) => lent,
        Some(Err(error)) => return Reply::Answer(stopped(Stop::Service(status_of(&error)), &mut running, &request_id)),
    };
    let now = Instant::from_std(running.began());
    let mut call = Call::new(lent, head, None, (Framing::None, false), upstream.times(), now);
    let answered = poll_fn(|cx| match running.poll_cut(cx) {
        Poll::Ready(()) => Poll::Ready(Err(Stop::Denied)),
        Poll::Pending => {
            running.begin();
            call.poll_head(cx, method.as_str(), true)
        }
    });
    let read = match answered.await {
        Ok(read) => read,
        Err(stop) => return Reply::Answer(stopped(stop, &mut running, &request_id)),
    };
    let agreed =
        if method.as_str() == "CONNECT" { read.head.status.is_success() } else { read.head.status == StatusCode::SWITCHING_PROTOCOLS };
    if !agreed {
        if read.head.status.is_success() {
            // To the caller a 2xx would mean that the tunnel has begun.
            return Reply::Answer(stopped(Stop::Service(StatusCode::BAD_GATEWAY), &mut running, &request_id));
        }
        return call.answer(read, running, upstream, &request_id);
    }
    let mut head = read.head;
    running.answered(head.status);
    // Over HTTP/2 a tunnel begins with the status of any success (RFC 8441, 5).
    head.status = StatusCode::OK;
    head.push("x-request-id", request_id.as_bytes());
    let (mut service, silence) = (call.into_wire(), upstream.times().stream);
    let carries = async move {
        let mut client = Wire::new(client);
        tunnel::carry(&mut client, &mut service, &mut Timer::default(), &mut running, silence).await;
    };
    Reply::Tunnel(head, Box::pin(carries))
}

/// A fresh nonce of sixteen bytes (RFC 6455, 4.1).
fn key() -> Option<String> {
    let mut nonce = [0; 16];
    SystemRandom::new().fill(&mut nonce).ok()?;
    Some(STANDARD.encode(nonce))
}
