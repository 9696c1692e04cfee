//! A strict reader of HTTP/1 between the TLS stream and the HTTP library.
//!
//! The library repairs some ambiguous heads before a service sees them. This reader lets only unambiguous ones through: each
//! head is taken whole, judged by its raw bytes, and released; bodies are followed by their framing, so that the reader always
//! knows where the next head begins. A head that is not acceptable never reaches the library: in its place goes a fixed one, the
//! [`Fault`] is kept for the service, which records and answers it, and nothing further is read as a request (A23, A24, A77).
//!
//! INVARIANT: the bytes released are bytes received, unchanged and in order, up to the first fault.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf as _, BytesMut};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::head::Fault;
use crate::limits;

/// Tells the service which request of the connection stands for a head that was not acceptable.
#[derive(Debug)]
pub struct Faults {
    at: AtomicU64,
    fault: Mutex<Option<Fault>>,
}

impl Default for Faults {
    fn default() -> Self {
        Self { at: AtomicU64::new(u64::MAX), fault: Mutex::new(None) }
    }
}

impl Faults {
    /// The fault of request number `n` (from 0) of the connection.
    #[must_use]
    pub fn of(&self, n: u64) -> Option<Fault> {
        if self.at.load(Ordering::Acquire) != n {
            return None;
        }
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, n: u64, fault: Fault) {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        self.at.store(n, Ordering::Release);
    }
}

/// What the next byte is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Of a head.
    Head,
    /// Of a body with this many bytes to come.
    Fixed(u64),
    /// Of a chunk-size line.
    ChunkSize,
    /// Of a chunk with this many bytes to come, its line end included.
    Chunk(u64),
    /// Of trailers, of which this many bytes were seen.
    Trailers(usize),
    /// Of nothing: what comes is thrown away.
    Closed,
}

/// A byte stream of HTTP/1 requests from which only unambiguous ones come out.
#[derive(Debug)]
pub struct Strict<S> {
    inner: S,
    state: State,
    /// Received, not judged.
    raw: BytesMut,
    /// Bytes of `raw` that are known to hold no line end of a head.
    scanned: usize,
    /// Judged, not handed on.
    ready: BytesMut,
    heads: u64,
    head_began: Option<Instant>,
    discarded: usize,
    /// How long a head may take.
    patience: Duration,
    faults: Arc<Faults>,
}

impl<S> Strict<S> {
    /// Reads `inner` strictly and tells `faults` what was not acceptable. A head is whole within `patience`.
    #[must_use]
    pub fn new(inner: S, patience: Duration, faults: Arc<Faults>) -> Self {
        Self {
            inner,
            state: State::Head,
            raw: BytesMut::new(),
            scanned: 0,
            ready: BytesMut::new(),
            heads: 0,
            head_began: None,
            discarded: 0,
            patience,
            faults,
        }
    }

    /// Judges what was received, as far as it goes.
    fn advance(&mut self) -> io::Result<()> {
        while self.ready.is_empty() && !self.raw.is_empty() {
            match self.state {
                State::Head => {
                    if !self.take_head() {
                        return Ok(());
                    }
                }
                State::Fixed(left) => {
                    let left = self.release(left);
                    self.state = if left == 0 { State::Head } else { State::Fixed(left) };
                }
                State::ChunkSize => {
                    let Some(line) = self.line(limits::CHUNK_LINE_BYTES_MAX)? else { return Ok(()) };
                    let size = chunk_size(self.raw.get(..line).unwrap_or_default()).ok_or_else(|| broken("chunk size"))?;
                    self.release_exact(line + 2);
                    self.state = if size == 0 { State::Trailers(0) } else { State::Chunk(size + 2) };
                }
                State::Chunk(left) => {
                    // The last two bytes must be the line end; they are looked at when they are all there.
                    if left <= 2 {
                        let need = usize::try_from(left).unwrap_or(2);
                        let Some(end) = self.raw.get(..need) else { return Ok(()) };
                        if end != b"\r\n" {
                            return Err(broken("chunk end"));
                        }
                        self.release_exact(need);
                        self.state = State::ChunkSize;
                    } else {
                        let left = self.release(left - 2) + 2;
                        self.state = State::Chunk(left);
                    }
                }
                State::Trailers(seen) => {
                    let Some(line) = self.line(limits::HEAD_BYTES_MAX.saturating_sub(seen))? else { return Ok(()) };
                    let text = self.raw.get(..line).unwrap_or_default();
                    let ended = text.is_empty();
                    if !ended && header_line(text).is_none() {
                        return Err(broken("trailer"));
                    }
                    self.release_exact(line + 2);
                    self.state = if ended { State::Head } else { State::Trailers(seen + line + 2) };
                }
                State::Closed => {
                    self.discarded += self.raw.len();
                    self.raw.clear();
                }
            }
        }
        Ok(())
    }

    /// Looks for a whole head. `false` if more bytes are needed.
    fn take_head(&mut self) -> bool {
        let began = *self.head_began.get_or_insert_with(Instant::now);
        if began.elapsed() > self.patience {
            self.refuse("the head did not arrive in time", StatusCode::REQUEST_TIMEOUT);
            return true;
        }
        let mut line_start = self.scanned;
        while let Some(at) = self.raw.get(line_start..).and_then(|rest| rest.iter().position(|b| *b == b'\n')) {
            let end = line_start + at;
            if end.checked_sub(1).and_then(|i| self.raw.get(i)) != Some(&b'\r') {
                self.refuse("a line ends without a carriage return", StatusCode::BAD_REQUEST);
                return true;
            }
            if end + 1 > limits::HEAD_BYTES_MAX {
                break;
            }
            if end == line_start + 1 {
                let head = self.raw.get(..end + 1).unwrap_or_default();
                match judge(head) {
                    Err((why, status)) => self.refuse(why, status),
                    Ok(next) => {
                        self.release_exact(end + 1);
                        self.state = next;
                        self.heads += 1;
                    }
                }
                self.scanned = 0;
                self.head_began = None;
                return true;
            }
            line_start = end + 1;
        }
        if self.raw.len() > limits::HEAD_BYTES_MAX {
            self.refuse("the head is too large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
            return true;
        }
        self.scanned = line_start;
        false
    }

    /// Puts the fixed head in the place of what was received, and reads no further request.
    fn refuse(&mut self, why: &'static str, status: StatusCode) {
        let line = self.raw.as_ref().split(|b: &u8| *b == b'\r' || *b == b'\n').next().unwrap_or_default();
        let raw = without_query(line).iter().take(limits::RAW_BYTES_MAX).copied().collect();
        self.faults.set(self.heads, Fault { why, status, raw });
        self.ready.extend_from_slice(STAND_IN);
        self.raw.clear();
        self.state = State::Closed;
    }

    /// The length of the first line, without its end; `None` if it is not whole yet.
    fn line(&self, max: usize) -> io::Result<Option<usize>> {
        match self.raw.iter().position(|b| *b == b'\n') {
            Some(end) if end > max => Err(broken("line length")),
            Some(end) => match end.checked_sub(1) {
                Some(line) if self.raw.get(line) == Some(&b'\r') => Ok(Some(line)),
                _ => Err(broken("line end")),
            },
            None if self.raw.len() > max => Err(broken("line length")),
            None => Ok(None),
        }
    }

    /// Releases up to `left` bytes and returns how many remain.
    fn release(&mut self, left: u64) -> u64 {
        let n = self.raw.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.release_exact(n);
        left - u64::try_from(n).unwrap_or(left)
    }

    fn release_exact(&mut self, n: usize) {
        let part = self.raw.split_to(n.min(self.raw.len()));
        if self.ready.is_empty() {
            self.ready = part;
        } else {
            self.ready.extend_from_slice(&part);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            this.advance()?;
            if !this.ready.is_empty() {
                let n = this.ready.len().min(buf.remaining());
                buf.put_slice(this.ready.get(..n).unwrap_or_default());
                this.ready.advance(n);
                return Poll::Ready(Ok(()));
            }
            // A body of known length needs no second buffer.
            if let State::Fixed(left) = this.state {
                let max = usize::try_from(left).unwrap_or(usize::MAX).min(buf.remaining());
                let mut part = ReadBuf::new(buf.initialize_unfilled_to(max));
                ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
                let n = part.filled().len();
                buf.advance(n);
                let left = left - u64::try_from(n).unwrap_or(left);
                this.state = if left == 0 { State::Head } else { State::Fixed(left) };
                return Poll::Ready(Ok(()));
            }
            if this.state == State::Closed && this.discarded > limits::H1_BUFFER_BYTES_MAX {
                return Poll::Pending;
            }
            if ready!(read_some(&mut this.inner, &mut this.raw, cx))? == 0 {
                // After a fault the answer is still to be written: an end of the input here would cut it off.
                return if this.state == State::Closed { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
        }
    }
}

fn read_some<S: AsyncRead + Unpin>(inner: &mut S, raw: &mut BytesMut, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    let mut part = [0_u8; READ_BYTES];
    let mut part = ReadBuf::new(&mut part);
    ready!(Pin::new(inner).poll_read(cx, &mut part))?;
    raw.extend_from_slice(part.filled());
    Poll::Ready(Ok(part.filled().len()))
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

/// Judges a whole head and says what follows it.
fn judge(head: &[u8]) -> Result<State, (&'static str, StatusCode)> {
    let bad = |why| (why, StatusCode::BAD_REQUEST);
    let mut lines = head.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let http11 = request_line(lines.next().unwrap_or_default())?;
    let (mut count, mut hosts) = (0, 0);
    let (mut length, mut chunked) = (None, false);
    for line in lines.take_while(|line| !line.is_empty()) {
        count += 1;
        if count > limits::HEADERS_MAX {
            return Err(("too many headers", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        }
        let (name, value) = header_line(line).ok_or(bad("a header line is broken or folded"))?;
        if name.eq_ignore_ascii_case(b"host") {
            hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            let digits = value.len() <= 18 && !value.is_empty() && value.iter().all(u8::is_ascii_digit);
            if length.is_some() || !digits {
                return Err(bad("`content-length` is given more than once or is not a number"));
            }
            length = Some(value.iter().fold(0_u64, |n, d| n * 10 + u64::from(d - b'0')));
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if chunked || !http11 || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(bad("`transfer-encoding` is not exactly `chunked`"));
            }
            chunked = true;
        }
    }
    if chunked && length.is_some() {
        return Err(bad("`content-length` stands beside `transfer-encoding`"));
    }
    if hosts > 1 || (hosts == 0 && http11) {
        return Err(bad("the request has not exactly one `host`"));
    }
    Ok(match length {
        _ if chunked => State::ChunkSize,
        Some(length) if length > 0 => State::Fixed(length),
        _ => State::Head,
    })
}

/// Judges a request line; whether it is HTTP/1.1 rather than 1.0.
fn request_line(line: &[u8]) -> Result<bool, (&'static str, StatusCode)> {
    let bad = |why| (why, StatusCode::BAD_REQUEST);
    let mut parts = line.split(|b| *b == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(bad("the request line does not have three parts"));
    };
    if method.is_empty() || !method.iter().all(|b| is_token(*b)) {
        return Err(bad("the method is not a token"));
    }
    if method == b"CONNECT" {
        return Err(("`CONNECT` is not served", StatusCode::NOT_IMPLEMENTED));
    }
    if target.is_empty() || !target.iter().all(u8::is_ascii_graphic) {
        return Err(bad("the target has a character that must be percent-encoded"));
    }
    if target.contains(&b'#') {
        return Err(bad("the target has a fragment"));
    }
    // What the HTTP library would refuse by itself must be refused here, or it would not be recorded.
    if !target.iter().all(|b| is_plain(*b)) || !target.starts_with(b"/") {
        http::Uri::try_from(target).map_err(|_| bad("the target is not a URI"))?;
    }
    match version {
        b"HTTP/1.1" => Ok(true),
        b"HTTP/1.0" => Ok(false),
        _ => Err(("the version is neither HTTP/1.1 nor HTTP/1.0", StatusCode::HTTP_VERSION_NOT_SUPPORTED)),
    }
}

/// Name and trimmed value of a header line.
fn header_line(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|b| *b == b':')?;
    let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
    if name.is_empty() || !name.iter().all(|b| is_token(*b)) {
        return None;
    }
    let text = |b: &u8| *b == b'\t' || (*b >= b' ' && *b != 0x7f);
    value.iter().all(text).then(|| (name, value.trim_ascii()))
}

const fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Whether a byte may stand in a target without doubt.
const fn is_plain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'/' | b'?' | b'&' | b'=' | b'-' | b'_' | b'.' | b'~' | b'%' | b'+' | b',' | b':' | b'@')
}

/// Chunk extensions are refused: nobody needs them, and servers disagree about them.
fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = (1..=15).contains(&line.len()) && line.iter().all(u8::is_ascii_hexdigit);
    std::str::from_utf8(line).ok().filter(|_| digits).and_then(|text| u64::from_str_radix(text, 16).ok())
}

/// A query can hold secrets, and what is wrong is told beside it.
fn without_query(line: &[u8]) -> &[u8] {
    line.split(|b| *b == b'?').next().unwrap_or_default()
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

const READ_BYTES: usize = 4096;
const STAND_IN: &[u8] = b"GET / HTTP/1.1\r\nhost: refused\r\nconnection: close\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt as _;

    /// What comes out of a stream that delivers `input` in pieces of `piece` bytes, and the fault with its number.
    async fn through(input: &[u8], piece: usize) -> (io::Result<Vec<u8>>, Option<(u64, Fault)>) {
        let (mut client, server) = tokio::io::duplex(piece);
        let input = input.to_vec();
        let feeder = tokio::spawn(async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut client, &input).await;
        });
        let faults = Arc::new(Faults::default());
        let mut strict = Strict::new(server, limits::HEAD_TIMEOUT, Arc::clone(&faults));
        let mut out = Vec::new();
        let read = tokio::time::timeout(Duration::from_millis(100), strict.read_to_end(&mut out)).await;
        feeder.abort();
        let at = faults.at.load(Ordering::Acquire);
        let out = match read {
            Ok(Err(e)) => Err(e),
            _ => Ok(out),
        };
        (out, faults.of(at).map(|f| (at, f)))
    }

    #[tokio::test]
    async fn plain_requests_pass_unchanged() {
        let input: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\nPOST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nGET /PUT /c HTTP/1.1\r\nhost: x\r\ntransfer-encoding: Chunked\r\n\r\n3\r\nabc\r\n0A\r\n0123456789\r\n0\r\nx-sum: 1\r\n\r\nGET /d HTTP/1.0\r\n\r\n";
        for piece in [1, 2, 3, 7, 64, 4096] {
            let (out, fault) = through(input, piece).await;
            assert_eq!(fault, None, "{piece}");
            assert_eq!(out.unwrap(), input, "{piece}");
        }
    }

    #[tokio::test]
    async fn a77_ambiguous_heads_do_not_pass() {
        for (head, says) in [
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "beside"),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", "more than once"),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n", "not a number"),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "exactly"),
            ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "exactly"),
            ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", "exactly"),
            ("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "exactly one `host`"),
            ("GET / HTTP/1.1\r\nAccept: y\r\n\r\n", "exactly one `host`"),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", "folded"),
            ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", "broken"),
            ("GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n", "broken"),
            ("GET / HTTP/1.1\nHost: x\n\n", "carriage return"),
            ("GET / HTTP/1.1\r\nHost: x\rA: b\r\n\r\n", "broken"),
            ("GET /admin#x HTTP/1.1\r\nHost: x\r\n\r\n", "fragment"),
            ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "three parts"),
            ("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "three parts"),
            ("GET /\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n", "percent-encoded"),
            ("GET http:// HTTP/1.1\r\nHost: x\r\n\r\n", "not a URI"),
            ("CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", "not served"),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version"),
            ("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", "three parts"),
        ] {
            let smuggled = format!("{head}0\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n");
            for piece in [1, 4096] {
                let before = "GET /first HTTP/1.1\r\nHost: x\r\n\r\n";
                let (out, fault) = through(format!("{before}{smuggled}").as_bytes(), piece).await;
                let (at, fault) = fault.unwrap_or_else(|| panic!("{head}"));
                assert_eq!(at, 1, "{head}");
                assert!(fault.why.contains(says), "{head}: {}", fault.why);
                assert_eq!(out.unwrap(), [before.as_bytes(), STAND_IN].concat(), "{head}");
            }
        }
    }

    #[tokio::test]
    async fn broken_chunks_end_the_connection() {
        let head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        for body in
            ["3;ext=1\r\nabc\r\n0\r\n\r\n", "0x3\r\nabc\r\n", "3\r\nabcd\r\n", "3\nabc\r\n", "ffffffffffffffff\r\n", "0\r\n bad\r\n\r\n"]
        {
            for piece in [1, 4096] {
                let (out, _) = through(format!("{head}{body}").as_bytes(), piece).await;
                assert_eq!(out.unwrap_err().kind(), io::ErrorKind::InvalidData, "{body}");
            }
        }
    }

    #[tokio::test]
    async fn the_kept_line_has_no_query_and_is_cut() {
        let (_, fault) = through(b"GET /x?token=secret HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 4096).await;
        assert_eq!(fault.unwrap().1.raw, b"GET /x");
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(20_000));
        let (_, fault) = through(long.as_bytes(), 4096).await;
        let (_, fault) = fault.unwrap();
        assert_eq!(fault.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        assert_eq!(fault.raw.len(), limits::RAW_BYTES_MAX);
    }
}
