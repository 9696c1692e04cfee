//! The outbound side: plain HTTP from the local service, mutual TLS to the other service's enforcer.
//!
//! No record is written here: traffic inside the mesh is decided and recorded by the callee.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderValue, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::body::{RequestBody, ResponseBody};
use crate::forward::{answer, status_of};
use crate::gate::Gate;
use crate::headers;
use crate::metrics::Counted;
use crate::pool::{Pool, SendError};
use crate::report::Report;
use crate::serve::{self, Phase};
use crate::strict::{Faults, Strict};

/// One local listener that leads to another service.
#[derive(Debug)]
pub struct Outbound {
    /// For ids, metrics and identity.
    pub gate: Arc<Gate>,
    /// The other service's name.
    pub service: Arc<str>,
    /// The way there.
    pub pool: Arc<Pool>,
    /// The phase of the enforcer.
    pub phase: watch::Receiver<Phase>,
    /// For the operator.
    pub report: Report,
}

impl Outbound {
    /// Serves one local connection to its end.
    pub async fn serve(self: Arc<Self>, stream: TcpStream, _: SocketAddr) {
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let _open = Counted::new(self.gate.metrics.connections_outbound.clone());
        let faults = Arc::new(Faults::default());
        let io = TokioIo::new(Strict::new(stream, Arc::clone(&faults)));
        let count = std::sync::atomic::AtomicU64::new(0);
        let outbound = Arc::clone(&self);
        let service = service_fn(move |request: Request<Incoming>| {
            let fault = faults.of(count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            let outbound = Arc::clone(&outbound);
            async move {
                let id = outbound.gate.ids.next();
                Ok::<_, Infallible>(match fault {
                    Some(fault) => answer(fault.status, &id, true),
                    None => outbound.send(request, &id).await,
                })
            }
        });
        let never = std::future::pending();
        // How a local connection ended concerns nobody but the local service.
        let _ = serve::drive(serve::http1().serve_connection(io, service), self.phase.clone(), never, || ()).await;
    }

    async fn send(&self, request: Request<Incoming>, id: &str) -> Response<ResponseBody> {
        let (mut parts, body) = request.into_parts();
        if parts.headers.contains_key(header::UPGRADE) {
            return answer(StatusCode::NOT_IMPLEMENTED, id, false);
        }
        // Who calls is said by our certificate alone; what the local service says about it would be stripped there anyway. Its
        // own request id travels on, as the callee's record names it.
        let own = parts.headers.get(&headers::X_REQUEST_ID).cloned();
        headers::sanitise(&mut parts.headers);
        let own = own.or_else(|| HeaderValue::from_str(id).ok());
        if let Some(own) = own {
            parts.headers.insert(headers::X_REQUEST_ID, own);
        }
        parts.headers.remove(header::EXPECT);
        if !parts.headers.contains_key(header::HOST) && parts.uri.authority().is_none() {
            match HeaderValue::from_str(&self.service) {
                Ok(host) => parts.headers.insert(header::HOST, host),
                Err(_) => return answer(StatusCode::BAD_REQUEST, id, false),
            };
        }
        parts.version = Version::HTTP_11;
        let (body, progress) = RequestBody::new(body);
        match self.pool.send(Request::from_parts(parts, body), progress).await {
            Ok((response, lease)) => {
                let (mut parts, body) = response.into_parts();
                headers::strip_hop_by_hop(&mut parts.headers);
                parts.version = Version::default();
                Response::from_parts(parts, ResponseBody::stream(body, None, lease))
            }
            Err(error) => {
                self.gate.metrics.outbound_failed(error.as_str());
                // A peer that is not who it should be is for the operator to know; what is merely down is in the metrics.
                if matches!(error, SendError::Peer(_) | SendError::UnknownService) {
                    self.report.tell(&format!("request `{id}` did not reach `{}`: {error}", self.service));
                }
                answer(status_of(&error), id, false)
            }
        }
    }
}
