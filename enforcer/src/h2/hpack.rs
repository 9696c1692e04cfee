//! Header compression (RFC 7541), as it is read and as it is written.
//!
//! What is read is checked as it comes: a table never holds more than we offered, a block never more than [`limits::HEAD_BYTES_MAX`]
//! counts (A28), and what goes beyond is still read to its end, since the tables of both sides must stay the same. What is written
//! uses the static table alone: no answer depends on one before it, and there is no table to keep.

use std::collections::VecDeque;
use std::ops::Range;

use crate::h1::buffer;
use crate::h2::huffman;
use crate::limits;

/// The block cannot be read, so nothing that follows on this connection can (RFC 9113, 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the header block is broken: {0}")]
pub struct Broken(pub &'static str);

/// What a block says: fields in their order.
#[derive(Debug, Default)]
pub struct Block {
    bytes: Vec<u8>,
    fields: Vec<Span>,
    /// As the standard counts (RFC 9113, 6.5.2): 32 for each field beside its bytes.
    size: usize,
    too_large: bool,
}

/// Where a field stands: a name, and a value right behind it.
#[derive(Clone, Copy, Debug)]
struct Span {
    at: usize,
    name: usize,
    value: usize,
}

impl Span {
    fn value(self) -> Range<usize> {
        self.at + self.name..self.at + self.name + self.value
    }
}

impl Block {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.fields.clear();
        self.size = 0;
        self.too_large = false;
    }

    /// Gives the memory back.
    pub fn release(&mut self) {
        buffer::hand_back(std::mem::take(self).bytes);
    }

    /// Whether there was more than may be. What there was first is here.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.too_large
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|span| {
            let (name, value) = (span.at..span.at + span.name, span.value());
            (self.bytes.get(name).unwrap_or_default(), self.bytes.get(value).unwrap_or_default())
        })
    }

    /// Puts the pieces of a cookie together, as HTTP/1 wants them (RFC 9113, 8.2.3).
    pub fn join_cookies(&mut self) {
        let is_cookie = |span: &Span, bytes: &[u8]| bytes.get(span.at..span.at + span.name) == Some(b"cookie");
        let mut pieces = self.fields.iter().filter(|span| is_cookie(span, &self.bytes)).map(|span| span.value());
        let (Some(first), Some(second)) = (pieces.next(), pieces.next()) else { return };
        let pieces: Vec<_> = [first, second].into_iter().chain(pieces).collect();
        let at = self.bytes.len();
        self.bytes.extend_from_slice(b"cookie");
        for (n, piece) in pieces.into_iter().enumerate() {
            if n > 0 {
                self.bytes.extend_from_slice(b"; ");
            }
            self.bytes.extend_from_within(piece);
        }
        let whole = Span { at, name: 6, value: self.bytes.len() - at - 6 };
        let (bytes, mut placed) = (&self.bytes, false);
        self.fields.retain_mut(|span| {
            if !is_cookie(span, bytes) {
                return true;
            }
            *span = whole;
            !std::mem::replace(&mut placed, true)
        });
    }

    /// Takes up what stands at the end of the bytes.
    fn push(&mut self, span: Span) {
        if self.has_room(span) {
            self.fields.push(span);
        } else {
            self.bytes.truncate(span.at);
        }
    }

    /// Takes up a field of a table. A byte can name one of thousands, so one that finds no room is not even copied (A28).
    fn put(&mut self, name: &[u8], value: &[u8]) {
        let span = Span { at: self.bytes.len(), name: name.len(), value: value.len() };
        if self.has_room(span) {
            self.bytes.extend_from_slice(name);
            self.bytes.extend_from_slice(value);
            self.fields.push(span);
        }
    }

    /// Counts a field. Whether there is room for it.
    fn has_room(&mut self, span: Span) -> bool {
        self.size += span.name + span.value + ENTRY_EXTRA;
        self.too_large |= self.size > limits::HEAD_BYTES_MAX;
        !self.too_large
    }
}

/// Reads the blocks of one connection.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
}

impl Default for Decoder {
    fn default() -> Self {
        Self { table: Table { bytes: Vec::new(), entries: VecDeque::new(), size: 0, max: limits::H2_TABLE_BYTES } }
    }
}

impl Decoder {
    /// Reads a whole block.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn decode(&mut self, bytes: &[u8], block: &mut Block) -> Result<(), Broken> {
        if block.bytes.capacity() == 0 {
            block.bytes = buffer::spare();
        }
        let mut from = Reader(bytes);
        let mut may_resize = true;
        while let Some(first) = from.byte() {
            if first & 0xe0 == 0x20 {
                if !may_resize {
                    return Err(Broken("a table is resized within a block"));
                }
                let max = from.integer(first, 5)?;
                if max > limits::H2_TABLE_BYTES {
                    return Err(Broken("a table is made larger than was offered"));
                }
                self.table.resize(max);
                continue;
            }
            may_resize = false;
            if first & 0x80 != 0 {
                let (name, value) = self.entry(from.integer(first, 7)?)?;
                block.put(name, value);
                continue;
            }
            let at = block.bytes.len();
            let remembered = first & 0x40 != 0;
            let index = if remembered { from.integer(first, 6)? } else { from.integer(first, 4)? };
            let name = if index > 0 {
                let (name, _) = self.entry(index)?;
                block.bytes.extend_from_slice(name);
                name.len()
            } else {
                from.text(&mut block.bytes)?
            };
            let value = from.text(&mut block.bytes)?;
            if remembered {
                self.table.insert(block.bytes.get(at..).unwrap_or_default(), name);
            }
            block.push(Span { at, name, value });
        }
        Ok(())
    }

    /// An entry of the tables: name and value.
    fn entry(&self, index: usize) -> Result<(&[u8], &[u8]), Broken> {
        let nought = Broken("there is no such entry in the tables");
        match index.checked_sub(1).ok_or(nought).map(|at| STATIC.get(at))? {
            Some((name, value)) => Ok((name.as_bytes(), value.as_bytes())),
            None => self.table.get(index - STATIC.len() - 1).ok_or(nought),
        }
    }
}

/// The entries that the other side has us remember. Their bytes lie one behind the other, the newest last.
#[derive(Debug)]
struct Table {
    bytes: Vec<u8>,
    /// The newest first.
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: usize,
    name: usize,
    len: usize,
}

impl Table {
    fn get(&self, nth: usize) -> Option<(&[u8], &[u8])> {
        let entry = self.entries.get(nth)?;
        self.bytes.get(entry.at..entry.at + entry.len)?.split_at_checked(entry.name)
    }

    fn insert(&mut self, field: &[u8], name: usize) {
        let size = field.len() + ENTRY_EXTRA;
        self.shrink(self.max.saturating_sub(size));
        // What is larger than the table only empties it (RFC 7541, 4.4).
        if size > self.max {
            return;
        }
        if self.bytes.len() + field.len() > 2 * limits::H2_TABLE_BYTES {
            self.compact();
        }
        self.entries.push_front(Entry { at: self.bytes.len(), name, len: field.len() });
        self.bytes.extend_from_slice(field);
        self.size += size;
    }

    fn resize(&mut self, max: usize) {
        self.max = max;
        self.shrink(max);
    }

    fn shrink(&mut self, to: usize) {
        while self.size > to
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.len + ENTRY_EXTRA;
        }
        if self.entries.is_empty() {
            self.bytes.clear();
        }
    }

    /// Throws away the bytes of what was driven out.
    fn compact(&mut self) {
        let from = self.entries.back().map_or(self.bytes.len(), |oldest| oldest.at);
        self.bytes.drain(..from);
        self.entries.iter_mut().for_each(|entry| entry.at -= from);
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// An integer with a prefix of `bits` bits (RFC 7541, 5.1). Nothing here is larger than a block, so four further bytes are enough.
    fn integer(&mut self, first: u8, bits: u8) -> Result<usize, Broken> {
        let max = (1_usize << bits) - 1;
        let mut value = usize::from(first) & max;
        if value < max {
            return Ok(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.byte().ok_or(CUT_SHORT)?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Broken("an integer is too large"))
    }

    /// A text, plain or in Huffman's code; how long it is.
    fn text(&mut self, out: &mut Vec<u8>) -> Result<usize, Broken> {
        let first = self.byte().ok_or(CUT_SHORT)?;
        let length = self.integer(first, 7)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(CUT_SHORT)?;
        self.0 = rest;
        let before = out.len();
        if first & 0x80 != 0 {
            huffman::decode(text, out).map_err(|huffman::Broken| Broken("a text is not in Huffman's code"))?;
        } else {
            out.extend_from_slice(text);
        }
        Ok(out.len() - before)
    }
}

/// Writes the status of an answer.
pub fn write_status(out: &mut Vec<u8>, status: u16) {
    match status {
        200 => out.push(0x88),
        204 => out.push(0x89),
        206 => out.push(0x8a),
        304 => out.push(0x8b),
        400 => out.push(0x8c),
        404 => out.push(0x8d),
        500 => out.push(0x8e),
        _ => {
            out.extend_from_slice(&[0x08, 3]);
            out.extend([status / 100, status / 10, status].map(|digit| b'0' + u8::try_from(digit % 10).unwrap_or(0)));
        }
    }
}

/// Writes a field that nobody remembers. The name is in any case, and written in lower case. `secret` asks every hop not to keep it in
/// a table either (RFC 7541, 6.2.3).
pub fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8], secret: bool) {
    let pattern = if secret { 0x10 } else { 0 };
    match known(name) {
        Some(index) => write_integer(out, usize::from(index), 4, pattern),
        None => {
            out.push(pattern);
            write_integer(out, name.len(), 7, 0);
            out.extend(name.iter().map(u8::to_ascii_lowercase));
        }
    }
    write_integer(out, value.len(), 7, 0);
    out.extend_from_slice(value);
}

/// Tells that no table is used (RFC 7541, 6.3).
pub fn write_no_table(out: &mut Vec<u8>) {
    out.push(0x20);
}

fn write_integer(out: &mut Vec<u8>, value: usize, bits: u8, pattern: u8) {
    let max = (1_usize << bits) - 1;
    let low = |n: usize| u8::try_from(n).unwrap_or(u8::MAX);
    if value < max {
        return out.push(pattern | low(value));
    }
    out.push(pattern | low(max));
    let mut rest = value - max;
    while rest >= 0x80 {
        out.push(low(rest % 0x80) | 0x80);
        rest /= 0x80;
    }
    out.push(low(rest));
}

/// Where a name stands in the static table: of those that answers have.
fn known(name: &[u8]) -> Option<u8> {
    let is = |other: &[u8], index: u8| name.eq_ignore_ascii_case(other).then_some(index);
    match name.len() {
        3 => is(b"age", 21).or_else(|| is(b"via", 60)),
        4 => is(b"date", 33).or_else(|| is(b"etag", 34)).or_else(|| is(b"vary", 59)).or_else(|| is(b"link", 45)),
        6 => is(b"server", 54),
        7 => is(b"expires", 36),
        8 => is(b"location", 46),
        10 => is(b"set-cookie", 55),
        11 => is(b"retry-after", 53),
        12 => is(b"content-type", 31),
        13 => is(b"cache-control", 24)
            .or_else(|| is(b"last-modified", 44))
            .or_else(|| is(b"accept-ranges", 18))
            .or_else(|| is(b"content-range", 30)),
        14 => is(b"content-length", 28),
        16 => is(b"content-encoding", 26).or_else(|| is(b"content-language", 27)).or_else(|| is(b"www-authenticate", 61)),
        _ => None,
    }
}

const CUT_SHORT: Broken = Broken("it is cut short");
/// What the standard counts for a field beside its bytes.
const ENTRY_EXTRA: usize = 32;

/// RFC 7541, appendix A.
static STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(block: &Block) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        block.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    fn read(decoder: &mut Decoder, bytes: &[u8]) -> Vec<(String, String)> {
        let mut block = Block::default();
        decoder.decode(bytes, &mut block).unwrap();
        fields(&block)
    }

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().filter(char::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|two| u8::from_str_radix(&two.iter().collect::<String>(), 16).unwrap()).collect()
    }

    fn owned(fields: &[(&str, &str)]) -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// The requests of RFC 7541, appendix C.3 and C.4: three on one connection, plain and in Huffman's code.
    #[test]
    fn the_examples_of_the_standard_are_read() {
        let plain = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ];
        let coded = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ];
        let asked = |scheme, path, more: &[(&'static str, &'static str)]| {
            let pseudo = [(":method", "GET"), (":scheme", scheme), (":path", path), (":authority", "www.example.com")];
            owned(&[&pseudo[..], more].concat())
        };
        let expected = [
            asked("http", "/", &[]),
            asked("http", "/", &[("cache-control", "no-cache")]),
            asked("https", "/index.html", &[("custom-key", "custom-value")]),
        ];
        for blocks in [plain, coded] {
            let mut decoder = Decoder::default();
            for (bytes, expected) in blocks.iter().zip(&expected) {
                assert_eq!(read(&mut decoder, &hex(bytes)), *expected);
            }
            // C.3.3: the newest first, and so much in all.
            assert_eq!((decoder.table.entries.len(), decoder.table.size), (3, 164));
            assert_eq!(decoder.table.get(0).unwrap(), (&b"custom-key"[..], &b"custom-value"[..]));
        }
    }

    /// The answers of C.6: a table of 256 bytes, from which entries are driven out.
    #[test]
    fn entries_are_driven_out_of_a_small_table() {
        let mut decoder = Decoder::default();
        assert_eq!(read(&mut decoder, &[0x3f, 0xe1, 0x01]), []);
        let answers = [
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        ];
        let read: Vec<_> = answers.iter().map(|bytes| read(&mut decoder, &hex(bytes))).collect();
        assert_eq!(
            read[1],
            owned(&[
                (":status", "307"),
                ("cache-control", "private"),
                ("date", "Mon, 21 Oct 2013 20:13:21 GMT"),
                ("location", "https://www.example.com")
            ])
        );
        assert_eq!(read[2][5], ("set-cookie".to_owned(), "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1".to_owned()));
        assert_eq!((decoder.table.entries.len(), decoder.table.size), (3, 215));
    }

    #[test]
    fn a_table_keeps_what_it_should_however_often_it_is_filled() {
        let mut decoder = Decoder::default();
        for n in 0..2000_usize {
            let value = format!("{n:0>width$}", width = n % 300);
            let mut bytes = vec![0x40];
            write_integer(&mut bytes, 3, 7, 0);
            bytes.extend_from_slice(b"x-n");
            write_integer(&mut bytes, value.len(), 7, 0);
            bytes.extend_from_slice(value.as_bytes());
            // The one just remembered, and the one before it.
            bytes.push(0xbe);
            if n > 0 {
                bytes.push(0xbf);
            }
            let got = read(&mut decoder, &bytes);
            assert_eq!(got[1].1, value);
            if n > 0 {
                assert_eq!(got[2].1.parse::<usize>().unwrap(), n - 1);
            }
            assert!(decoder.table.size <= limits::H2_TABLE_BYTES && decoder.table.bytes.len() <= 2 * limits::H2_TABLE_BYTES);
            let kept: usize = decoder.table.entries.iter().map(|entry| entry.len + ENTRY_EXTRA).sum();
            assert_eq!(kept, decoder.table.size);
        }
        // What is larger than the table empties it.
        let mut bytes = vec![0x40, 1, b'x'];
        write_integer(&mut bytes, limits::H2_TABLE_BYTES, 7, 0);
        bytes.extend_from_slice(&vec![b'y'; limits::H2_TABLE_BYTES]);
        read(&mut decoder, &bytes);
        assert!(decoder.table.entries.is_empty() && decoder.table.size == 0);
    }

    #[test]
    fn what_is_broken_is_refused() {
        for (bytes, why) in [
            (&[0x80][..], "no entry has the number nought"),
            (&[0xbe], "nothing was remembered"),
            (&[0x7e, 1, b'x'], "nor its name"),
            (&[0xff, 0x80, 0x80, 0x80, 0x80, 1], "a number without end"),
            (&[0xff], "half a number"),
            (&[0x00, 3, b'x'], "half a name"),
            (&[0x00, 1, b'x'], "no value"),
            (&[0x00, 1, b'x', 0x81, 0x00], "no Huffman code"),
            (&[0x82, 0x20], "a table that is resized within a block"),
            (&[0x3f, 0xe2, 0x1f], "a table that is larger than was offered"),
        ] {
            assert!(Decoder::default().decode(bytes, &mut Block::default()).is_err(), "{why}");
        }
        assert_eq!(read(&mut Decoder::default(), &[0x3f, 0xe1, 0x1f, 0x20, 0x82]), owned(&[(":method", "GET")]));
    }

    #[test]
    fn what_is_written_is_read() {
        let names =
            ["age", "Via", "date", "ETag", "vary", "link", "server", "expires", "location", "set-cookie", "retry-after", "content-type"];
        let more =
            ["cache-control", "last-modified", "accept-ranges", "content-range", "Content-Length", "content-encoding", "content-language"];
        let rest = ["www-authenticate", "x-own", "X-Long-Name-Of-Something-That-No-Table-Has", "grpc-status", "trailer"];
        for status in [100, 200, 204, 206, 304, 400, 403, 404, 431, 500, 503] {
            let mut out = Vec::new();
            write_no_table(&mut out);
            write_status(&mut out, status);
            let mut expected = owned(&[(":status", &status.to_string())]);
            for (n, name) in names.iter().chain(&more).chain(&rest).enumerate() {
                let value = "v".repeat(n * 23);
                write_field(&mut out, name.as_bytes(), value.as_bytes(), n % 2 == 0);
                expected.push((name.to_ascii_lowercase(), value));
            }
            let mut decoder = Decoder::default();
            assert_eq!(read(&mut decoder, &out), expected);
            assert!(decoder.table.entries.is_empty(), "nobody remembers any of it");
        }
    }
}
