//! Frames (RFC 9113, 4 and 6): their heads, what may be in them, and how ours are written.
//!
//! INVARIANT: a frame that is given out has a length that its kind allows, and is on a stream or on none as its kind wants it.

use crate::limits::H2_FRAME_BYTES_MAX;

/// Why a stream or a connection ends (RFC 9113, 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Code {
    /// In order.
    NoError = 0,
    /// The other side does not keep to the protocol.
    Protocol = 1,
    /// Something failed here.
    Internal = 2,
    /// More was sent than there was room for.
    FlowControl = 3,
    /// The stream is closed already.
    StreamClosed = 5,
    /// A frame has a length that it may not have.
    FrameSize = 6,
    /// Nothing of it was looked at.
    Refused = 7,
    /// Nobody wants the rest.
    Cancel = 8,
    /// A header block cannot be read.
    Compression = 9,
    /// What was asked for costs more than it should.
    Calm = 11,
}

/// What is wrong with the connection, and what it ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong(pub Code, pub &'static str);

/// The head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// How long what follows is.
    pub length: usize,
    /// What it is.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream it is on; 0 is the connection.
    pub stream: u32,
}

impl Head {
    /// The head that these bytes begin with, if it is whole.
    ///
    /// # Errors
    /// The frame may not be so.
    pub fn of(bytes: &[u8]) -> Result<Option<Self>, Wrong> {
        let Some([l2, l1, l0, kind, flags, s3, s2, s1, s0]) = bytes.first_chunk::<HEAD_BYTES>().copied() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes([0, l2, l1, l0])).unwrap_or(usize::MAX);
        let stream = u32::from_be_bytes([s3 & 0x7f, s2, s1, s0]);
        let head = Self { length, kind, flags, stream };
        head.check().map(|()| Some(head))
    }

    fn check(self) -> Result<(), Wrong> {
        let size = |fits: bool| if fits { Ok(()) } else { Err(Wrong(Code::FrameSize, "a frame has a length that it may not have")) };
        size(self.length <= H2_FRAME_BYTES_MAX)?;
        let on_stream = |is: bool| {
            if is == (self.stream != 0) { Ok(()) } else { Err(Wrong(Code::Protocol, "a frame is on a stream that it may not be on")) }
        };
        match self.kind {
            DATA | HEADERS | CONTINUATION => on_stream(true),
            // Whose length is wrong is an error of its stream alone; the other lengths are of frames that change what all see.
            PRIORITY => on_stream(true),
            RST_STREAM => on_stream(true).and_then(|()| size(self.length == 4)),
            SETTINGS => on_stream(false).and_then(|()| size(if self.is(ACK) { self.length == 0 } else { self.length.is_multiple_of(6) })),
            PUSH_PROMISE => Err(Wrong(Code::Protocol, "a client promises")),
            PING => on_stream(false).and_then(|()| size(self.length == 8)),
            GOAWAY => on_stream(false).and_then(|()| size(self.length >= 8)),
            WINDOW_UPDATE => size(self.length == 4),
            _ => Ok(()),
        }
    }

    /// Whether a flag is set.
    #[must_use]
    pub const fn is(self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

/// Takes padding off.
///
/// # Errors
/// There is more of it than there is room for.
pub fn unpadded(head: Head, payload: &[u8]) -> Result<&[u8], Wrong> {
    if !head.is(PADDED) {
        return Ok(payload);
    }
    let wrong = Wrong(Code::Protocol, "a frame is all padding");
    let (padding, rest) = payload.split_first().ok_or(wrong)?;
    rest.len().checked_sub(usize::from(*padding)).and_then(|length| rest.get(..length)).ok_or(wrong)
}

/// Four bytes as a number.
#[must_use]
pub fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |four| u32::from_be_bytes(*four))
}

/// What the other side says of itself, one after the other.
pub fn settings(payload: &[u8]) -> impl Iterator<Item = (u16, u32)> {
    payload.chunks_exact(6).map(|six| {
        (
            u16::from_be_bytes([six.first().copied().unwrap_or(0), six.get(1).copied().unwrap_or(0)]),
            number(six.get(2..).unwrap_or_default()),
        )
    })
}

/// Writes the head of a frame.
pub fn write_head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&head(length, kind, flags, stream));
}

/// Writes the head of a frame where there is room for it already.
pub fn write_head_at(out: &mut [u8], at: usize, length: usize, kind: u8, flags: u8, stream: u32) {
    if let Some(place) = out.get_mut(at..at + HEAD_BYTES) {
        place.copy_from_slice(&head(length, kind, flags, stream));
    }
}

fn head(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEAD_BYTES] {
    let [_, l2, l1, l0] = u32::try_from(length).unwrap_or(0).to_be_bytes();
    let [s3, s2, s1, s0] = stream.to_be_bytes();
    [l2, l1, l0, kind, flags, s3, s2, s1, s0]
}

/// Writes a frame of numbers.
pub fn write_numbers(out: &mut Vec<u8>, kind: u8, stream: u32, numbers: &[u32]) {
    write_head(out, 4 * numbers.len(), kind, 0, stream);
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_be_bytes()));
}

/// Writes what we say of ourselves.
pub fn write_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    write_head(out, 6 * settings.len(), SETTINGS, 0, 0);
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

/// Writes a ping, or the answer to one.
pub fn write_ping(out: &mut Vec<u8>, flags: u8, payload: &[u8]) {
    write_head(out, payload.len(), PING, flags, 0);
    out.extend_from_slice(payload);
}

/// Makes frames of a header block that stands at the end of `out`, from `at` on behind room for one head.
pub fn finish_block(out: &mut Vec<u8>, at: usize, stream: u32, end_stream: bool) {
    let ends = if end_stream { END_STREAM } else { 0 };
    let block = at + HEAD_BYTES;
    let length = out.len().saturating_sub(block);
    if length <= H2_FRAME_BYTES_MAX {
        return write_head_at(out, at, length, HEADERS, END_HEADERS | ends, stream);
    }
    let whole = out.split_off(block);
    out.truncate(at);
    let count = whole.len().div_ceil(H2_FRAME_BYTES_MAX);
    for (n, part) in whole.chunks(H2_FRAME_BYTES_MAX).enumerate() {
        let (kind, mut flags) = if n == 0 { (HEADERS, ends) } else { (CONTINUATION, 0) };
        flags |= if n + 1 == count { END_HEADERS } else { 0 };
        write_head(out, part.len(), kind, flags, stream);
        out.extend_from_slice(part);
    }
}

/// The head of a frame.
pub(super) const HEAD_BYTES: usize = 9;
/// What a client begins with.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The largest window there can be.
pub(super) const LARGEST_WINDOW: i64 = (1 << 31) - 1;
/// The last stream there can be.
pub(super) const LARGEST_STREAM: u32 = (1 << 31) - 1;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const WITH_PRIORITY: u8 = 32;

pub(super) const SETTING_TABLE: u16 = 1;
pub(super) const SETTING_PUSH: u16 = 2;
pub(super) const SETTING_STREAMS: u16 = 3;
pub(super) const SETTING_WINDOW: u16 = 4;
pub(super) const SETTING_FRAME: u16 = 5;
pub(super) const SETTING_HEAD: u16 = 6;
pub(super) const SETTING_CONNECT: u16 = 8;
