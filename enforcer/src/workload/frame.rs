//! gRPC's framing: a message is one byte that says whether it is compressed, four with its length, and its bytes. A call ends with
//! a status in the trailers, or in the headers where there is no message at all.

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;

use super::limits::{ERROR_TEXT_MAX, MESSAGE_BYTES_MAX};

/// Bytes before a message.
pub(crate) const FRAME_HEAD_BYTES: usize = 5;

/// A message with its frame.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(FRAME_HEAD_BYTES + message.len());
    out.push(0);
    // Our own messages are far below the bound that readers have.
    out.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(message);
    out.into()
}

/// Why a stream of frames cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// A compressed message, which nobody asked for.
    #[error("the answer is compressed, which was not asked for")]
    Compressed,
    /// A message beyond the bound.
    #[error("the answer has more than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
}

/// Puts messages together from pieces of a stream.
#[derive(Debug, Default)]
pub(super) struct Frames(Vec<u8>);

impl Frames {
    /// Takes a piece.
    ///
    /// # Errors
    /// It begins a message that cannot be taken.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), FrameError> {
        self.0.extend_from_slice(piece);
        self.length().map(|_| ())
    }

    /// The next whole message.
    ///
    /// # Errors
    /// The bytes begin a message that cannot be taken.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        let Some(length) = self.length()? else { return Ok(None) };
        if self.0.len() < FRAME_HEAD_BYTES + length {
            return Ok(None);
        }
        let rest = self.0.split_off(FRAME_HEAD_BYTES + length);
        let mut message = std::mem::replace(&mut self.0, rest);
        Ok(Some(message.split_off(FRAME_HEAD_BYTES)))
    }

    fn length(&self) -> Result<Option<usize>, FrameError> {
        let Some((&[compressed, a, b, c, d], _)) = self.0.split_first_chunk::<FRAME_HEAD_BYTES>() else { return Ok(None) };
        if compressed != 0 {
            return Err(FrameError::Compressed);
        }
        match usize::try_from(u32::from_be_bytes([a, b, c, d])) {
            Ok(length) if length <= MESSAGE_BYTES_MAX => Ok(Some(length)),
            _ => Err(FrameError::TooLong),
        }
    }
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// gRPC's number.
    pub code: u16,
    /// What the other side says of it.
    pub message: String,
}

impl Status {
    /// It ended well.
    pub const OK: u16 = 0;
    /// What was asked is not in order; here: the mandatory header is missing.
    pub const INVALID_ARGUMENT: u16 = 3;
    /// There is no identity for who asks.
    pub const PERMISSION_DENIED: u16 = 7;
    /// There is no such call.
    pub const UNIMPLEMENTED: u16 = 12;
    /// Not now.
    pub const UNAVAILABLE: u16 = 14;

    /// The status in these headers or trailers, if there is one. One that cannot be read is the status "unknown".
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let code = headers.get("grpc-status")?;
        let code = code.to_str().ok().and_then(|code| code.parse().ok()).unwrap_or(2);
        let message = headers.get("grpc-message").map(|text| unescape(text.as_bytes())).unwrap_or_default();
        Some(Self { code, message })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.code {
            Self::OK => "the call ended",
            Self::INVALID_ARGUMENT => "the request is not in order",
            Self::PERMISSION_DENIED => "there is no identity for this process",
            Self::UNIMPLEMENTED => "the call is not offered",
            Self::UNAVAILABLE => "the agent is not available",
            _ => "the call failed",
        };
        write!(f, "{name} (status {})", self.code)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// Percent-encoded text, bounded, with nothing in it that would move a terminal's cursor.
fn unescape(text: &[u8]) -> String {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = match (byte, after) {
            (b'%', [high, low, ..]) => digit(*high).zip(digit(*low)).map(|(high, low)| high << 4 | low),
            _ => None,
        };
        out.push(escaped.unwrap_or(byte));
        rest = if escaped.is_some() { after.get(2..).unwrap_or(&[]) } else { after };
        if out.len() >= ERROR_TEXT_MAX {
            break;
        }
    }
    String::from_utf8_lossy(&out).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_put_together_from_any_pieces() {
        let bytes = [framed(b"one"), framed(b""), framed(&[7; 1000])].concat();
        for piece in [1, 2, 4, 5, 6, 999, 2000] {
            let (mut frames, mut out) = (Frames::default(), Vec::new());
            for part in bytes.chunks(piece) {
                frames.push(part).unwrap();
                while let Some(message) = frames.next().unwrap() {
                    out.push(message.len());
                }
            }
            assert_eq!(out, [3, 0, 1000], "{piece}");
        }
    }

    #[test]
    fn what_is_too_long_or_compressed_is_refused_at_its_head() {
        assert_eq!(Frames::default().push(&[1, 0, 0, 0, 1]), Err(FrameError::Compressed));
        assert_eq!(Frames::default().push(&[0, 0xff, 0, 0, 0]), Err(FrameError::TooLong));
        assert_eq!(Frames::default().push(&[0, 0xff, 0, 0]), Ok(()));
    }

    #[test]
    fn statuses() {
        let headers = |status: &'static str, message: &'static str| {
            HeaderMap::from_iter(
                [("grpc-status", status), ("grpc-message", message)].map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())),
            )
        };
        let denied = Status::of(&headers("7", "no%20identity%0a%zz%")).unwrap();
        assert_eq!((denied.code, denied.message.as_str()), (7, "no identity?%zz%"));
        assert_eq!(denied.to_string(), "there is no identity for this process (status 7): no identity?%zz%");
        assert_eq!(Status::of(&headers("x", "")).unwrap().code, 2);
        assert_eq!(Status::of(&HeaderMap::new()), None);
    }
}
