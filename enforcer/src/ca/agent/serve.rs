//! The agent's socket: who connects, what is asked, and the streams that answer.

use std::convert::Infallible;
use std::fs::Permissions;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderValue, Method, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::AgentError;
use super::budget::Budgets;
use super::feed::{Feed, Kind, status_headers};
use super::keeper::{Keeper, Served};
use crate::ca::Ca;
use crate::ca::limits::{AGENT_CONNECTIONS_MAX, AGENT_CONNECTIONS_USER_MAX, AGENT_FIRST_REQUEST, AGENT_PING, AGENT_STREAMS_MAX};
use crate::clock::Clock;
use crate::config::AgentConfig;
use crate::listening;
use crate::report::Report;
use crate::workload::{Status, Tasks};

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    socket: PathBuf,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    keeping: JoinHandle<()>,
}

impl Agent {
    /// Starts an agent. With `file` its configuration is read again when that changes.
    ///
    /// # Errors
    /// See [`AgentError`]; nothing listens then.
    pub async fn start(config: AgentConfig, file: Option<PathBuf>, report: Report) -> Result<Self, AgentError> {
        Self::start_by(config, file, report, Clock::new()).await
    }

    /// The same, with the clock that tells whether the system's was set.
    ///
    /// # Errors
    /// As [`Agent::start`].
    pub async fn start_by(config: AgentConfig, file: Option<PathBuf>, report: Report, clock: Clock) -> Result<Self, AgentError> {
        let served = watch::Sender::new(Arc::new(Served::read(&config, Ca::open(&config.dir)?, 0)?));
        let socket = config.socket.clone();
        let listener = bind(&socket).await?;
        let stop = watch::Sender::new(false);
        let budgets = Budgets::new(report.clone());
        let desk = Arc::new(Desk { served: served.subscribe(), stop: stop.subscribe(), callers: Mutex::default(), budgets });
        let serve = move |stream| Arc::clone(&desk).connection(stream);
        let serving =
            tokio::spawn(listening::accept(listener, AGENT_CONNECTIONS_MAX, crate::ca::limits::AGENT_DRAIN, stop.subscribe(), serve));
        let keeping = tokio::spawn(Keeper { config, file, served, report, clock, steps: 0 }.keep());
        Ok(Self { socket, stop, serving, keeping })
    }

    /// Ends every stream and takes the socket away.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        // It ends within its drain limit.
        let _ = self.serving.await;
        self.keeping.abort();
        let _ = self.keeping.await;
        // Somebody may have removed it before.
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// Listens on a path. A socket that a dead process left is replaced; one that answers is not.
async fn bind(path: &Path) -> Result<UnixListener, AgentError> {
    let failed = |why| AgentError::Bind { path: path.to_owned(), why };
    if UnixStream::connect(path).await.is_ok() {
        return Err(AgentError::InUse(path.to_owned()));
    }
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        std::fs::remove_file(path).map_err(failed)?;
    }
    let listener = UnixListener::bind(path).map_err(failed)?;
    // Every user may connect; what each is given its entries say.
    std::fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(failed)?;
    Ok(listener)
}

/// What every connection shares.
#[derive(Debug)]
struct Desk {
    served: watch::Receiver<Arc<Served>>,
    stop: watch::Receiver<bool>,
    /// Connections of each user.
    callers: Mutex<std::collections::HashMap<u32, usize>>,
    /// How many identities each user is signed.
    budgets: Budgets,
}

/// A connection of a user, counted as long as this lives.
struct Counted {
    desk: Arc<Desk>,
    uid: u32,
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut callers = self.desk.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = callers.get_mut(&self.uid) {
            *count -= 1;
            if *count == 0 {
                callers.remove(&self.uid);
            }
        }
    }
}

impl Desk {
    fn count(self: &Arc<Self>, uid: u32) -> Option<Counted> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let count = callers.entry(uid).or_default();
        if *count >= AGENT_CONNECTIONS_USER_MAX {
            return None;
        }
        *count += 1;
        Some(Counted { desk: Arc::clone(self), uid })
    }

    async fn connection(self: Arc<Self>, stream: UnixStream) {
        // Who connected is what the kernel says; without that there is nobody to answer.
        let Ok(credentials) = stream.peer_cred() else { return };
        let uid = credentials.uid();
        let Some(_counted) = self.count(uid) else { return };
        let tasks = Tasks::default();
        let (desk, asked) = (Arc::clone(&self), Arc::new(AtomicBool::new(false)));
        let asks = Arc::clone(&asked);
        let service = service_fn(move |request: Request<Incoming>| {
            asks.store(true, Ordering::Relaxed);
            let response = desk.answer(&request, uid);
            async move { Ok::<_, Infallible>(response) }
        });
        let mut builder = http2::Builder::new(tasks.spawner());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(AGENT_STREAMS_MAX)
            .keep_alive_interval(AGENT_PING)
            .keep_alive_timeout(AGENT_PING);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut stop = self.stop.clone();
        let silent = async {
            sleep(AGENT_FIRST_REQUEST).await;
            if asked.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            // How a connection ended concerns its caller.
            _ = connection.as_mut() => return,
            // One that asks nothing is not asked for signs of life either, as HTTP/2 has not begun on it.
            () = silent => return,
            () = stopping(&mut stop) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }

    fn answer(&self, request: &Request<Incoming>, uid: u32) -> Response<Feed> {
        let headers = request.headers();
        let grpc = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if request.method() != Method::POST || !grpc {
            return refused(Status::INVALID_ARGUMENT, "this is a gRPC service");
        }
        if headers.get("workload.spiffe.io").is_none_or(|value| value != "true") {
            return refused(Status::INVALID_ARGUMENT, "the header `workload.spiffe.io: true` is missing");
        }
        let kind = match request.uri().path() {
            "/SpiffeWorkloadAPI/FetchX509SVID" => Kind::Identities,
            "/SpiffeWorkloadAPI/FetchX509Bundles" => Kind::Bundles,
            // The JWT profile is switched off: user tokens come from elsewhere, and services prove themselves by certificate.
            _ => return refused(Status::UNIMPLEMENTED, "only X.509 identities and bundles are served here"),
        };
        if !self.served.borrow().knows(uid) {
            return refused(Status::PERMISSION_DENIED, "no identity for this user");
        }
        grpc_response(Feed::of(kind, self.budgets.of(uid), self.served.clone(), self.stop.clone()))
    }
}

async fn stopping(stop: &mut watch::Receiver<bool>) {
    // The sender is gone only when the agent is.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn refused(status: u16, why: &str) -> Response<Feed> {
    let mut response = grpc_response(Feed::Empty);
    response.headers_mut().extend(status_headers(status, why));
    response
}

fn grpc_response(body: Feed) -> Response<Feed> {
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// Runs the agent of a configuration file until SIGTERM or SIGINT; with `check_only`, only checks that it could.
///
/// # Errors
/// What stands in the way.
pub fn run(path: &Path, check_only: bool, report: &Report) -> Result<(), AgentError> {
    let config = AgentConfig::read(path)?;
    if check_only {
        return Served::read(&config, Ca::look(&config.dir)?, 0).map(|_| ());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AgentError::System)?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(AgentError::System)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(AgentError::System)?;
        let socket = config.socket.display().to_string();
        let entries = config.entries.len();
        let agent = Agent::start(config, Some(path.to_owned()), report.clone()).await?;
        let what = if entries == 1 { "one entry" } else { &*format!("{entries} entries") };
        report.tell(&format!("identities of {what} are served on `unix://{socket}`"));
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        agent.shutdown().await;
        Ok(())
    })
}
