//! The client: one call, `FetchX509SVID`, whose answers come as long as the connection lasts. Each answer is the whole truth.

use std::pin::Pin;

use http::header::{CONTENT_TYPE, TE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};
use hyper::client::conn::http2;
use hyper::rt::{Read, Write};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::frame::{FrameError, Frames};
use super::limits::{FIRST_ANSWER_TIMEOUT, PING_INTERVAL, PING_TIMEOUT, WINDOW};
use super::message::MessageError;
use super::{Endpoint, Status, Tasks, X509SvidResponse, framed};
use crate::listening::Whole;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The socket cannot be reached.
    #[error("cannot connect: {0}")]
    Connect(std::io::Error),
    /// No answer in time.
    #[error("no answer in time")]
    Timeout,
    /// HTTP failed.
    #[error("no answer: {0}")]
    Http(hyper::Error),
    /// What answers is no Workload API.
    #[error("what answers is not a Workload API: {0}")]
    Foreign(String),
    /// The call ended with a status.
    #[error("{0}")]
    Status(Status),
    /// The frames cannot be read.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// The answer cannot be used.
    #[error("{0}")]
    Message(#[from] MessageError),
    /// The stream ended without a status.
    #[error("the stream ended")]
    Ended,
}

/// Answers, one after the other.
#[derive(Debug)]
pub struct Stream {
    body: Incoming,
    frames: Frames,
    /// The connection ends with its last sender.
    _sender: http2::SendRequest<Whole>,
    _tasks: Tasks,
}

/// Calls `FetchX509SVID`.
///
/// # Errors
/// See [`FetchError`].
pub async fn fetch(endpoint: &Endpoint) -> Result<Stream, FetchError> {
    let call = async {
        match endpoint {
            Endpoint::Unix(path) => call(TokioIo::new(UnixStream::connect(path).await.map_err(FetchError::Connect)?)).await,
            Endpoint::Tcp(address) => call(TokioIo::new(TcpStream::connect(address).await.map_err(FetchError::Connect)?)).await,
        }
    };
    timeout(FIRST_ANSWER_TIMEOUT, call).await.map_err(|_| FetchError::Timeout)?
}

async fn call<I: Read + Write + Unpin + Send + 'static>(io: I) -> Result<Stream, FetchError> {
    let tasks = Tasks::default();
    let (mut sender, connection) = http2::Builder::new(tasks.spawner())
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .handshake(io)
        .await
        .map_err(FetchError::Http)?;
    tasks.spawn(async move {
        // Its end is seen by whoever reads the stream.
        let _ = connection.await;
    });
    let mut request = Request::new(Whole::of(framed(&[])));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static("http://localhost/SpiffeWorkloadAPI/FetchX509SVID");
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    // Without it an agent refuses: who can only make a server fetch a page cannot send it.
    headers.insert("workload.spiffe.io", HeaderValue::from_static("true"));
    let response = sender.send_request(request).await.map_err(FetchError::Http)?;
    check(&response)?;
    Ok(Stream { body: response.into_body(), frames: Frames::default(), _sender: sender, _tasks: tasks })
}

fn check(response: &Response<Incoming>) -> Result<(), FetchError> {
    if response.status() != StatusCode::OK {
        return Err(FetchError::Foreign(format!("status {}", response.status().as_u16())));
    }
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("application/grpc") {
        return Err(FetchError::Foreign("its answers are not gRPC".to_owned()));
    }
    match Status::of(response.headers()) {
        Some(status) => Err(FetchError::Status(status)),
        None => Ok(()),
    }
}

impl Stream {
    /// The next answer; waits as long as there is none. After an error there are no more.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn next(&mut self) -> Result<X509SvidResponse, FetchError> {
        loop {
            if let Some(message) = self.frames.next()? {
                return Ok(X509SvidResponse::decode(&message)?);
            }
            let frame = std::future::poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await;
            let frame = frame.ok_or(FetchError::Ended)?.map_err(FetchError::Http)?;
            match frame.into_data() {
                Ok(data) => self.frames.push(&data)?,
                Err(other) => match other.into_trailers().ok().as_ref().and_then(Status::of) {
                    Some(status) => return Err(FetchError::Status(status)),
                    None => return Err(FetchError::Ended),
                },
            }
        }
    }

    /// The first answer, which is to come at once.
    ///
    /// # Errors
    /// See [`FetchError`].
    pub async fn first(&mut self) -> Result<X509SvidResponse, FetchError> {
        timeout(FIRST_ANSWER_TIMEOUT, self.next()).await.map_err(|_| FetchError::Timeout)?
    }
}
