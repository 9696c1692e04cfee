//! The Huffman code of HPACK (RFC 7541, appendix B), as it is read. Nothing is written in it: what leaves is short.
//!
//! The code is canonical: within one length codes follow each other in the order of the symbols, and the codes of a length follow those
//! of the one before. So the lengths are all there is to know, and the tables are made of them when this is compiled.

/// What is no text in this code: the end symbol in its midst, or padding that is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Adds the text that `coded` stands for. Every code has five bits or more, so it has at most eight bytes for each five of `coded`.
///
/// # Errors
/// [`Broken`].
pub fn decode(coded: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
    out.reserve(coded.len() * 8 / 5 + 1);
    // The next bits are the highest ones.
    let (mut bits, mut there) = (0_u64, 0_u32);
    let mut rest = coded.iter();
    loop {
        while there <= 56
            && let Some(byte) = rest.next()
        {
            bits |= u64::from(*byte) << (56 - there);
            there += 8;
        }
        let (symbol, length) = next(bits);
        if length > there {
            // What is left is the beginning of the end symbol, which is all ones, and less than a byte of it.
            return if there < 8 && bits == !(u64::MAX.checked_shr(there).unwrap_or(0)) { Ok(()) } else { Err(Broken) };
        }
        out.push(u8::try_from(symbol).map_err(|_| Broken)?);
        bits <<= length;
        there -= length;
    }
}

/// The symbol with which these bits begin, and how many they are.
fn next(bits: u64) -> (u16, u32) {
    let (symbol, length) = QUICK.get(usize::try_from(bits >> 56).unwrap_or(0)).copied().unwrap_or_default();
    if length > 0 { (u16::from(symbol), u32::from(length)) } else { next_long(bits) }
}

/// The same, of a code of more than eight bits.
fn next_long(bits: u64) -> (u16, u32) {
    for (length, codes) in (0_u32..).zip(&BY_LENGTH).skip(9) {
        let ahead = u32::try_from(bits >> (64 - length)).unwrap_or(u32::MAX).wrapping_sub(codes.first);
        if ahead < codes.count {
            let at = codes.at + usize::try_from(ahead).unwrap_or(0);
            return (SYMBOLS.get(at).copied().unwrap_or(END), length);
        }
    }
    // Every thirty bits begin with a code.
    (END, 30)
}

/// The codes of one length.
#[derive(Clone, Copy)]
struct Codes {
    first: u32,
    count: u32,
    /// Where their symbols stand.
    at: usize,
}

const END: u16 = 256;

#[expect(clippy::indexing_slicing, reason = "this runs when compiling")]
const BY_LENGTH: [Codes; 31] = {
    let mut all = [Codes { first: 0, count: 0, at: 0 }; 31];
    let (mut length, mut first, mut at) = (1, 0, 0);
    while length <= 30 {
        let (mut count, mut symbol) = (0, 0);
        while symbol <= END as usize {
            if LENGTHS[symbol] as usize == length {
                count += 1;
            }
            symbol += 1;
        }
        all[length] = Codes { first, count, at };
        at += count as usize;
        first = (first + count) << 1;
        length += 1;
    }
    all
};

/// The symbols in the order of their codes.
#[expect(clippy::indexing_slicing, reason = "this runs when compiling")]
const SYMBOLS: [u16; 257] = {
    let mut all = [0; 257];
    let (mut length, mut at) = (1, 0);
    while length <= 30 {
        let mut symbol = 0;
        while symbol <= END {
            if LENGTHS[symbol as usize] == length {
                all[at] = symbol;
                at += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    all
};

/// What eight bits begin with, and its length; none where the code is longer.
#[expect(clippy::indexing_slicing, reason = "this runs when compiling")]
static QUICK: [(u8, u8); 256] = {
    let mut all = [(0, 0); 256];
    let mut length = 5;
    while length <= 8 {
        let codes = BY_LENGTH[length];
        let mut nth = 0;
        while nth < codes.count {
            let from = ((codes.first + nth) as usize) << (8 - length);
            let mut low = 0;
            while low < 1 << (8 - length) {
                all[from + low] = (SYMBOLS[codes.at + nth as usize] as u8, length as u8);
                low += 1;
            }
            nth += 1;
        }
        length += 1;
    }
    all
};

/// How many bits the code of each symbol has; the last is the end.
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10,
    10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6,
    7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23,
    21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22,
    22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28,
    27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27,
    26, 30,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(coded: &[u8]) -> Result<Vec<u8>, Broken> {
        let mut out = Vec::new();
        decode(coded, &mut out).map(|()| out)
    }

    /// The code of a symbol, from the canonical order alone.
    fn code(symbol: u16) -> (u64, u32) {
        let length = LENGTHS[usize::from(symbol)];
        let codes = BY_LENGTH[usize::from(length)];
        let nth = SYMBOLS[codes.at..].iter().position(|s| *s == symbol).unwrap();
        (u64::from(codes.first) + nth as u64, u32::from(length))
    }

    fn written(text: impl IntoIterator<Item = u16>) -> Vec<u8> {
        let mut bits = String::new();
        for symbol in text {
            let (code, length) = code(symbol);
            bits.push_str(&format!("{code:0width$b}", width = length as usize));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        bits.as_bytes().chunks(8).map(|byte| u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap()).collect()
    }

    /// Codes and texts of the standard (RFC 7541, appendices B and C).
    #[test]
    fn it_is_the_code_of_the_standard() {
        for (symbol, is) in [
            (u16::from(b'0'), (0, 5)),
            (u16::from(b' '), (0x14, 6)),
            (0, (0x1ff8, 13)),
            (10, (0x3fff_fffc, 30)),
            (249, (0xfff_fffe, 28)),
            (END, (0x3fff_ffff, 30)),
        ] {
            assert_eq!(code(symbol), is, "{symbol}");
        }
        for (coded, text) in [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..], "www.example.com"),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf], "custom-value"),
            (
                &[
                    0xd0, 0x7a, 0xbe, 0x94, 0x10, 0x54, 0xd4, 0x44, 0xa8, 0x20, 0x05, 0x95, 0x04, 0x0b, 0x81, 0x66, 0xe0, 0x82, 0xa6, 0x2d,
                    0x1b, 0xff,
                ],
                "Mon, 21 Oct 2013 20:13:21 GMT",
            ),
            (&[], ""),
        ] {
            assert_eq!(read(coded).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn every_byte_and_every_pair_of_bytes_is_read_back() {
        for one in 0..END {
            assert_eq!(read(&written([one])).unwrap(), [one as u8]);
            for other in 0..END {
                assert_eq!(read(&written([one, other])).unwrap(), [one as u8, other as u8]);
            }
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let padded = |text: &str, padding: &[u8]| [&written(text.bytes().map(u16::from)), padding].concat();
        for (coded, why) in [
            (padded("ab", &[0xff]), "more than seven bits of padding"),
            (vec![0xff; 4], "the end symbol begins and is not whole"),
            (written([u16::from(b'a'), END, u16::from(b'b')]), "the end symbol"),
            (vec![0b0000_0110], "padding that is not all ones"),
            (vec![0b0001_1000], "a symbol of five bits, and padding of noughts"),
        ] {
            assert_eq!(read(&coded), Err(Broken), "{why}: {coded:02x?}");
        }
    }
}
