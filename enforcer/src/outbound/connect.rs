//! The head of a CONNECT request (RFC 9110 §9.3.6), read strictly.
//!
//! It is always the first request of its connection: a client that would tunnel after other requests is refused by the reader of
//! requests. What follows the head belongs to the tunnel and is never read as a request (A22).

use bytes::{Buf as _, BytesMut};
use portreeve_engine::outside::Host;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

use super::limits::CONNECT_HEAD_BYTES_MAX;
use crate::limits::{CORRELATION_BYTES_MAX, HEAD_TIMEOUT};

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Where to, with its port.
    pub host: Host,
    /// On which port.
    pub port: u16,
    /// The caller's own id of the request.
    pub correlation: Option<String>,
}

/// Why a head is not acceptable: a sentence, and the request line as far as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    /// What is wrong.
    pub why: &'static str,
    /// The request line.
    pub line: Vec<u8>,
}

/// Reads the head. What follows it stays in `seen`. `None` where the client went away.
pub async fn read<S: AsyncRead + Unpin>(stream: &mut S, seen: &mut BytesMut) -> Option<Result<Asked, Odd>> {
    let reading = async {
        loop {
            if let Some(end) = seen.windows(4).position(|w| w == b"\r\n\r\n") {
                return Some(end);
            }
            if seen.len() >= CONNECT_HEAD_BYTES_MAX || !matches!(stream.read_buf(seen).await, Ok(1..)) {
                return None;
            }
        }
    };
    let end = timeout(HEAD_TIMEOUT, reading).await.ok().flatten();
    let Some(end) = end else {
        return (seen.len() >= CONNECT_HEAD_BYTES_MAX).then(|| Err(Odd { why: "the head is too long", line: first_line(seen) }));
    };
    let head = seen.split_to(end);
    seen.advance(4);
    Some(parse(&head).map_err(|why| Odd { why, line: first_line(&head) }))
}

fn first_line(head: &[u8]) -> Vec<u8> {
    head.split(|b| *b == b'\r' || *b == b'\n').next().unwrap_or_default().to_vec()
}

fn parse(head: &[u8]) -> Result<Asked, &'static str> {
    let text = std::str::from_utf8(head).ok().filter(|t| t.is_ascii()).ok_or("the head is not ASCII text")?;
    if text.bytes().any(|b| b.is_ascii_control() && !matches!(b, b'\r' | b'\n' | b'\t')) {
        return Err("the head has a control character");
    }
    let mut lines = text.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (Some("CONNECT"), Some(authority), Some("HTTP/1.1" | "HTTP/1.0"), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("the request line is not `CONNECT host:port HTTP/1.1`");
    };
    let host: Host = authority.parse().map_err(|_| "the target is not a host and a port")?;
    let port = host.port().ok_or("the target has no port")?;
    let (mut named, mut correlation) = (None, None);
    for line in lines {
        if line.contains(['\r', '\n']) {
            return Err("a line ends in another way than by CR and LF");
        }
        let (name, value) = line.split_once(':').ok_or("a header line has no colon")?;
        let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(token) {
            return Err("a header has no proper name");
        }
        let value = value.trim_matches([' ', '\t']);
        match name.to_ascii_lowercase().as_str() {
            "host" if named.is_some() => return Err("the request has more than one `host`"),
            "host" => named = Some(value.parse::<Host>().map_err(|_| "the `host` is none")?),
            "transfer-encoding" => return Err("a CONNECT request has no body"),
            "content-length" if value != "0" => return Err("a CONNECT request has no body"),
            "x-request-id" => correlation = Some(value.chars().take(CORRELATION_BYTES_MAX).collect()).filter(|v: &String| !v.is_empty()),
            _ => {}
        }
    }
    // Some clients leave the port out of `host`; another name or another port is another place.
    if named.is_some_and(|n| n.name() != host.name() || n.port().is_some_and(|p| p != port)) {
        return Err("the target and `host` name different places");
    }
    Ok(Asked { host, port, correlation })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_read_strictly() {
        for (head, good) in [
            ("CONNECT api.cards.example:443 HTTP/1.1", true),
            ("CONNECT API.cards.example:443 HTTP/1.1\r\nHost: api.cards.example:443\r\nUser-Agent: x", true),
            ("CONNECT api.cards.example:443 HTTP/1.0\r\nHost: api.cards.example", true),
            ("CONNECT [2001:db8::1]:443 HTTP/1.1\r\nProxy-Authorization: Basic eDp5\r\nContent-Length: 0", true),
            ("CONNECT api.cards.example HTTP/1.1", false),
            ("CONNECT http://api.cards.example:443 HTTP/1.1", false),
            ("CONNECT  api.cards.example:443 HTTP/1.1", false),
            ("CONNECT api.cards.example:443 HTTP/2", false),
            ("CONNECT a@b:443 HTTP/1.1", false),
            ("CONNECT api.cards.example:0 HTTP/1.1", false),
            ("CONNECT api.cards.example:443 HTTP/1.1\r\nHost: evil.example:443", false),
            ("CONNECT api.cards.example:443 HTTP/1.1\r\nHost: api.cards.example:444", false),
            ("CONNECT api.cards.example:443 HTTP/1.1\r\nHost: api.cards.example\r\nHost: api.cards.example", false),
            ("CONNECT api.cards.example:443 HTTP/1.1\r\nContent-Length: 5", false),
            ("CONNECT api.cards.example:443 HTTP/1.1\r\nTransfer-Encoding: chunked", false),
            ("CONNECT api.cards.example:443 HTTP/1.1\r\nA: b\r\n c", false),
            ("CONNECT api.cards.example:443 HTTP/1.1\r\nA: b\nHost: x", false),
            ("CONNECT api.cards.example:443 HTTP/1.1\r\nA : b", false),
            ("CONNECT api.cards.example:443 HTTP/1.1\r\nA: \0", false),
            ("CONNECT \u{fc}.example:443 HTTP/1.1", false),
        ] {
            assert_eq!(parse(head.as_bytes()).is_ok(), good, "{head}");
        }
    }

    #[tokio::test]
    async fn a22_what_follows_the_head_belongs_to_the_tunnel() {
        let (mut near, mut far) = tokio::io::duplex(1024);
        tokio::io::AsyncWriteExt::write_all(&mut far, b"CT a.example:1 HTTP/1.1\r\nX-Request-Id: mine\r\n\r\nGET / HTTP/1.1")
            .await
            .unwrap();
        let mut seen = BytesMut::from(&b"CONNE"[..]);
        let asked = read(&mut near, &mut seen).await.unwrap().unwrap();
        assert_eq!((asked.host.name(), asked.port, asked.correlation.as_deref()), ("a.example", 1, Some("mine")));
        assert_eq!(&seen[..], b"GET / HTTP/1.1");
    }

    #[tokio::test]
    async fn a_head_has_a_bound() {
        let (mut near, mut far) = tokio::io::duplex(64 * 1024);
        tokio::io::AsyncWriteExt::write_all(&mut far, &[b'a'; 40_000]).await.unwrap();
        let odd = read(&mut near, &mut BytesMut::from(&b"CONNECT "[..])).await.unwrap().unwrap_err();
        assert_eq!(odd.why, "the head is too long");
    }
}
