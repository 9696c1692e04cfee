//! Bodies of HTTP/1: where they end, and how they are framed anew for the next hop.
//!
//! Framing is never passed on: the chunks of one side are taken apart here and other ones are made for the other side, so that a
//! fault in the one cannot become a different reading in the other. Chunk extensions are refused: nobody needs them, and servers
//! disagree about them.

use crate::h1::scan::{Framing, Lines, header_lines};
use crate::head::Fields;
use crate::headers;
use crate::limits;

/// Takes a body out of the bytes that come.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// This many bytes to come.
    Fixed(u64),
    /// A chunk-size line.
    Size,
    /// A chunk with this many bytes to come.
    Chunk(u64),
    /// The line end after a chunk.
    ChunkEnd,
    /// Trailers.
    Trailers,
    /// Until the connection ends.
    Close,
    /// Nothing.
    Done,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes are framing; more must come.
    More(usize),
    /// So many bytes are framing, so many after them are of the body.
    Data {
        /// Framing.
        skip: usize,
        /// Body.
        len: usize,
    },
    /// So many bytes are framing, and the body is whole.
    End(usize),
}

/// The body's framing is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the body is broken: {0}")]
pub struct Broken(pub &'static str);

impl Decoder {
    /// A decoder of a body that is framed so.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Fixed(0) => State::Done,
            Framing::Fixed(length) => State::Fixed(length),
            Framing::Chunked => State::Size,
            Framing::Close => State::Close,
        };
        Self { state, trailers: Vec::new() }
    }

    /// Whether the body is whole.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether an end of the connection is the end of the body.
    #[must_use]
    pub fn ends_with_connection(&self) -> bool {
        self.state == State::Close
    }

    /// Looks at the bytes at hand. What is told of is used up.
    ///
    /// # Errors
    /// The framing is broken.
    pub fn step(&mut self, bytes: &[u8]) -> Result<Step, Broken> {
        let mut used = 0;
        loop {
            let rest = bytes.get(used..).unwrap_or_default();
            match self.state {
                State::Done => return Ok(Step::End(used)),
                State::Close if rest.is_empty() => return Ok(Step::More(used)),
                State::Close => return Ok(Step::Data { skip: used, len: rest.len() }),
                State::Fixed(left) | State::Chunk(left) => {
                    let len = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    if len == 0 {
                        return Ok(Step::More(used));
                    }
                    let left = left - u64::try_from(len).unwrap_or(left);
                    self.state = match (self.state, left) {
                        (State::Fixed(_), 0) => State::Done,
                        (State::Fixed(_), left) => State::Fixed(left),
                        (_, 0) => State::ChunkEnd,
                        (_, left) => State::Chunk(left),
                    };
                    return Ok(Step::Data { skip: used, len });
                }
                State::Size => {
                    let Some(line) = line(rest, limits::CHUNK_LINE_BYTES_MAX)? else { return Ok(Step::More(used)) };
                    used += line.len() + 2;
                    self.state = match chunk_size(line).ok_or(Broken("a chunk size is no number"))? {
                        0 => State::Trailers,
                        size => State::Chunk(size),
                    };
                }
                State::ChunkEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        used += 2;
                        self.state = State::Size;
                    }
                    [] | [b'\r'] => return Ok(Step::More(used)),
                    _ => return Err(Broken("a chunk is longer than its size")),
                },
                State::Trailers => {
                    let room = limits::HEAD_BYTES_MAX.saturating_sub(self.trailers.len());
                    let Some(line) = line(rest, room)? else { return Ok(Step::More(used)) };
                    used += line.len() + 2;
                    self.trailers.extend_from_slice(line);
                    self.trailers.extend_from_slice(b"\r\n");
                    if line.is_empty() {
                        header_lines(Lines(&self.trailers)).map_err(|_| Broken("a trailer is no header line"))?;
                        self.state = State::Done;
                    }
                }
            }
        }
    }

    /// The trailers, cleaned like headers, as lines. What would change how the message is read has no place there.
    #[must_use]
    pub fn trailers(&self) -> Vec<u8> {
        self.trailers_without(|_| false)
    }

    /// The same, without those of some names.
    #[must_use]
    pub fn trailers_without(&self, held_back: impl Fn(&str) -> bool) -> Vec<u8> {
        // Nearly no body has any.
        if self.trailers.is_empty() {
            return Vec::new();
        }
        header_lines(Lines(&self.trailers)).map(|fields| clean_trailers(fields, held_back)).unwrap_or_default()
    }
}

/// Cleans trailers and writes them as lines. What would change how the message is read has no place there, nor what is held back.
#[must_use]
pub fn clean_trailers(mut fields: Fields<'_>, held_back: impl Fn(&str) -> bool) -> Vec<u8> {
    headers::clean(&mut fields);
    fields.retain(|f| headers::may_trail(f.name) && !held_back(f.name));
    let mut out = Vec::new();
    for field in fields.iter() {
        out.extend_from_slice(field.name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(field.value);
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// A line without its end, `None` while it is not whole.
fn line(bytes: &[u8], max: usize) -> Result<Option<&[u8]>, Broken> {
    match memchr::memchr(b'\n', bytes) {
        Some(end) if end > max => Err(Broken("a line is too long")),
        Some(end) => match bytes.get(..end).and_then(|line| line.strip_suffix(b"\r")) {
            Some(line) => Ok(Some(line)),
            None => Err(Broken("a line ends without a carriage return")),
        },
        None if bytes.len() > max => Err(Broken("a line is too long")),
        None => Ok(None),
    }
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = (1..=15).contains(&line.len()) && line.iter().all(u8::is_ascii_hexdigit);
    std::str::from_utf8(line).ok().filter(|_| digits).and_then(|text| u64::from_str_radix(text, 16).ok())
}

/// Frames a body for the next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoder(Framing);

impl Encoder {
    /// An encoder of a body that is framed so.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        Self(framing)
    }

    /// The header line that says so, with its end.
    pub fn head(self, out: &mut Vec<u8>) {
        match self.0 {
            Framing::None | Framing::Close => {}
            Framing::Fixed(length) => {
                out.extend_from_slice(b"content-length: ");
                decimal(length, out);
                out.extend_from_slice(b"\r\n");
            }
            Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        }
    }

    /// Adds a piece of the body.
    pub fn data(self, piece: &[u8], out: &mut Vec<u8>) {
        if piece.is_empty() {
            return;
        }
        if self.0 == Framing::Chunked {
            hexadecimal(piece.len(), out);
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(piece);
            out.extend_from_slice(b"\r\n");
        } else {
            out.extend_from_slice(piece);
        }
    }

    /// Ends the body. Trailers have a place only behind chunks.
    pub fn end(self, trailers: &[u8], out: &mut Vec<u8>) {
        if self.0 == Framing::Chunked {
            out.extend_from_slice(b"0\r\n");
            out.extend_from_slice(trailers);
            out.extend_from_slice(b"\r\n");
        }
    }
}

fn decimal(mut n: u64, out: &mut Vec<u8>) {
    let begin = out.len();
    loop {
        out.push(b'0' + u8::try_from(n % 10).unwrap_or(0));
        n /= 10;
        if n == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(begin..) {
        digits.reverse();
    }
}

fn hexadecimal(n: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - n.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        let digit = u32::try_from((n >> (4 * place)) & 15).unwrap_or(0);
        out.push(char::from_digit(digit, 16).map_or(b'0', |c| u8::try_from(c).unwrap_or(b'0')));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decodes what comes in pieces of `piece` bytes; the body, and what is left behind it.
    fn decode(framing: Framing, input: &[u8], piece: usize) -> Result<(Vec<u8>, usize, Vec<u8>), Broken> {
        let mut decoder = Decoder::new(framing);
        let (mut body, mut at) = (Vec::new(), 0);
        let mut have = 0;
        loop {
            match decoder.step(&input[at..have])? {
                Step::More(used) => {
                    at += used;
                    if have == input.len() {
                        return Err(Broken("cut off"));
                    }
                    have = (have + piece).min(input.len());
                }
                Step::Data { skip, len } => {
                    body.extend_from_slice(&input[at + skip..at + skip + len]);
                    at += skip + len;
                }
                Step::End(used) => return Ok((body, at + used, decoder.trailers())),
            }
        }
    }

    #[test]
    fn bodies_end_where_they_say() {
        for piece in 1..40 {
            assert_eq!(decode(Framing::Fixed(5), b"helloGET /", piece).unwrap(), (b"hello".to_vec(), 5, vec![]));
            let chunks = b"3\r\nabc\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\nx-portreeve-principal: evil\r\nContent-Length: 3\r\n\r\nGET";
            let (body, end, trailers) = decode(Framing::Chunked, chunks, piece).unwrap();
            assert_eq!(
                (body.as_slice(), end, trailers.as_slice()),
                (b"abc0123456789".as_slice(), chunks.len() - 3, b"X-Sum: 1\r\n".as_slice())
            );
            assert_eq!(decode(Framing::None, b"GET", piece).unwrap(), (vec![], 0, vec![]));
        }
    }

    #[test]
    fn a77_broken_chunks_are_refused() {
        for body in [
            "3;ext=1\r\nabc\r\n0\r\n\r\n",
            "3 \r\nabc\r\n0\r\n\r\n",
            " 3\r\nabc\r\n0\r\n\r\n",
            "0x3\r\nabc\r\n0\r\n\r\n",
            "+3\r\nabc\r\n0\r\n\r\n",
            "-1\r\nabc\r\n0\r\n\r\n",
            "\r\nabc\r\n0\r\n\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "3\r\nab\r\n0\r\n\r\n",
            "3\nabc\r\n0\r\n\r\n",
            "3\r\nabc\n0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\n",
            "ffffffffffffffff\r\n",
            "10000000000000000\r\n",
            "0\r\n bad\r\n\r\n",
            "0\r\nbad\r\n\r\n",
            "0\r\na: b\r\n c\r\n\r\n",
        ] {
            for piece in [1, 2, 64] {
                assert!(decode(Framing::Chunked, body.as_bytes(), piece).is_err(), "{body:?}");
            }
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let mut out = Vec::new();
        let encoder = Encoder::new(Framing::Chunked);
        let long = vec![b'x'; 70_000];
        for piece in [b"abc".as_slice(), b"", &long, b"z"] {
            encoder.data(piece, &mut out);
        }
        encoder.end(b"x-sum: 1\r\n", &mut out);
        let (body, end, trailers) = decode(Framing::Chunked, &out, 1000).unwrap();
        assert_eq!((body, end, trailers), ([b"abc", long.as_slice(), b"z"].concat(), out.len(), b"x-sum: 1\r\n".to_vec()));
        for (n, text) in [(1, "1"), (15, "f"), (16, "10"), (4096, "1000"), (0xdead_beef, "deadbeef")] {
            let mut out = Vec::new();
            hexadecimal(n, &mut out);
            assert_eq!(out, text.as_bytes());
        }
        for n in [0, 7, 10, 1024, u64::MAX] {
            let mut out = b"length: ".to_vec();
            decimal(n, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("length: {n}"));
        }
    }
}
