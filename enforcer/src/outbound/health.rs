//! Health checks of the endpoints of a destination, where they are asked for: whether one answers is found out before a request does.
//!
//! A check is a connection of its own with the whole mutual handshake, the peer known by the inventory as for any request; with a path,
//! a GET after it, which the callee decides and records like any other request of ours. What it finds goes to the balancing
//! ([`super::balance`]), which leaves an endpoint aside that is down. A check takes no place from requests, and nothing but a check makes
//! an endpoint down or up.
//!
//! INVARIANT: labels of what is counted are names of configured services and words of ours.

use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Uri, header};
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::body::Outgoing;
use super::limits;
use super::pool::Pool;
use super::send::{Destination, Failure};
use crate::serve::{Phase, leaving, part};
use crate::tls;

/// How the endpoints of a destination are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for after the handshake.
    pub path: Option<PathAndQuery>,
    /// From one check to the next, a tenth more or less.
    pub interval: Duration,
    /// All of one check.
    pub timeout: Duration,
    /// So many checks in a row that fail make an endpoint down.
    pub down_after: u32,
    /// So many in a row that succeed make it up again.
    pub up_after: u32,
}

impl Default for HealthCheck {
    fn default() -> Self {
        Self {
            path: None,
            interval: limits::HEALTH_INTERVAL,
            timeout: limits::HEALTH_TIMEOUT,
            down_after: limits::HEALTH_DOWN_AFTER,
            up_after: limits::HEALTH_UP_AFTER,
        }
    }
}

/// Checks all endpoints of a destination until the enforcer ends, where its configuration asks for it.
pub async fn watch_over(destination: Arc<Destination>, mut phase: watch::Receiver<Phase>) {
    let Some(check) = destination.settings().health.clone() else { return };
    let each = destination.pools().iter().enumerate().map(|(index, pool)| endpoint(&destination, &check, index, pool));
    tokio::select! {
        _ = futures_util::future::join_all(each) => {}
        () = leaving(&mut phase) => {}
    }
}

async fn endpoint(destination: &Destination, check: &HealthCheck, index: usize, pool: &Arc<Pool>) {
    // Enforcers that were started together do not check together.
    sleep(check.interval.mul_f64(part())).await;
    loop {
        let found = timeout(check.timeout, once(pool, check, &destination.host)).await.unwrap_or(Err(Failed::Timeout));
        destination.checked(index, found.map_err(|why| why.as_str()));
        sleep(check.interval.mul_f64(0.9 + 0.2 * part())).await;
    }
}

/// Why a check failed.
enum Failed {
    /// There is no connection to the peer that is meant.
    Line(Failure),
    /// There is no answer in HTTP.
    Http,
    /// The answer is no success.
    Status,
    /// The callee's law does not let us ask.
    Denied,
    /// It took too long.
    Timeout,
}

impl Failed {
    fn as_str(&self) -> &'static str {
        match self {
            Self::Line(failure) => failure.as_str(),
            Self::Http => "http",
            Self::Status => "status",
            Self::Denied => "denied",
            Self::Timeout => "timeout",
        }
    }
}

async fn once(pool: &Pool, check: &HealthCheck, host: &HeaderValue) -> Result<(), Failed> {
    let (stream, _held) = pool.connected().await.map_err(Failed::Line)?;
    let expected = pool.expected().ok_or(Failed::Line(Failure::UnknownService))?;
    let identity = pool.gate().identity.load_full();
    let (stream, _peer) =
        tls::connect_http1(&identity, expected, stream, check.timeout).await.map_err(|why| Failed::Line(Failure::Peer(why)))?;
    let Some(path) = &check.path else { return Ok(()) };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|_| Failed::Http)?;
    let mut request = Request::new(Outgoing::empty());
    *request.uri_mut() = Uri::from(path.clone());
    request.headers_mut().insert(header::HOST, host.clone());
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static("portreeve-health"));
    request.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    let mut answer = std::pin::pin!(sender.send_request(request));
    // The connection is driven here, and ends with the check; it may end in the moment in which it gives the answer.
    let answer = tokio::select! {
        answer = answer.as_mut() => answer,
        _ = connection => answer.await,
    };
    match answer.map_err(|_| Failed::Http)?.status() {
        status if status.is_success() => Ok(()),
        http::StatusCode::UNAUTHORIZED | http::StatusCode::FORBIDDEN => Err(Failed::Denied),
        _ => Err(Failed::Status),
    }
}
