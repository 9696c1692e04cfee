//! The one canonical form of a request target (INV-6): judged, recorded and forwarded alike.
//!
//! Strict by default: percent-encoded unreserved characters are decoded, other escapes get upper-case hex, and everything
//! that two servers could read in two ways is refused: encoded slashes and backslashes, dot segments, empty segments,
//! path parameters (`;`), fragments, control bytes (A01, A02, A29, A77). A service of the inventory may ask for a laxer way of
//! reading, [`Paths`].

mod paths;

use std::fmt;

use serde::{Serialize, Serializer};

pub use paths::Paths;

/// A path in canonical form: it begins with `/` and has no query.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CanonicalPath(Box<str>);

/// A canonical path that is borrowed: from a [`CanonicalPath`], or from a raw path that was canonical as it was sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathRef<'p>(&'p str);

/// What canonicalising a raw path gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Canonicalised<'p> {
    /// The path was canonical as it was sent: nothing was copied.
    AsSent(PathRef<'p>),
    /// Escapes were decoded or put in upper case.
    Changed(CanonicalPath),
}

/// Why a request target is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PathError {
    /// It does not begin with `/` (or is empty).
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    /// Longer than [`PATH_BYTES_MAX`].
    #[error("the path is longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
    /// A byte that may not stand in a path: control, space, non-ASCII, or a delimiter such as `"` or `<`.
    #[error("the path has a character that must be percent-encoded")]
    Character,
    /// `#` in the target.
    #[error("the path has a fragment")]
    Fragment,
    /// `\`, or its encoding.
    #[error("the path has a backslash")]
    Backslash,
    /// `%2F`.
    #[error("the path has an encoded slash")]
    EncodedSlash,
    /// An encoded control byte, NUL above all.
    #[error("the path has an encoded control byte")]
    EncodedControl,
    /// `%` without two hexadecimal digits.
    #[error("the path has a broken percent-encoding")]
    BrokenEncoding,
    /// `.` or `..` as a segment, encoded or not.
    #[error("the path has a dot segment")]
    DotSegment,
    /// `//`.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// `;`, which some servers cut off with what follows.
    #[error("the path has a `;` parameter")]
    Parameter,
}

impl CanonicalPath {
    /// Canonicalises a raw path (without its query).
    ///
    /// # Errors
    /// The first reason for which the path is ambiguous or broken.
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        Self::parse_as(raw, Paths::Strict)
    }

    /// Canonicalises a raw path as a service reads it.
    ///
    /// # Errors
    /// As [`CanonicalPath::parse`].
    pub fn parse_as(raw: &str, paths: Paths) -> Result<Self, PathError> {
        paths.canonicalise(raw).map(|path| match path {
            Canonicalised::AsSent(path) => Self(path.0.into()),
            Canonicalised::Changed(path) => path,
        })
    }

    /// Reads a path from a decision log, where a sensitive segment stands as its `{name}`. Braces cannot occur in a path
    /// that came from the network, so the two are never confused.
    ///
    /// # Errors
    /// As [`CanonicalPath::parse`].
    pub fn parse_recorded(raw: &str, paths: Paths) -> Result<Self, PathError> {
        paths.read(raw, true)
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same path, borrowed.
    #[must_use]
    pub const fn borrowed(&self) -> PathRef<'_> {
        PathRef(&self.0)
    }

    /// The segments after the leading slash; `/` has one empty segment.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.borrowed().segments()
    }
}

impl<'p> PathRef<'p> {
    /// The canonical text.
    #[must_use]
    pub const fn as_str(self) -> &'p str {
        self.0
    }

    /// The segments after the leading slash; `/` has one empty segment.
    pub fn segments(self) -> impl Iterator<Item = &'p str> {
        self.0.get(1..).unwrap_or_default().split('/')
    }
}

impl Canonicalised<'_> {
    /// The canonical path.
    #[must_use]
    pub const fn path(&self) -> PathRef<'_> {
        match self {
            Self::AsSent(path) => *path,
            Self::Changed(path) => path.borrowed(),
        }
    }
}

/// Canonicalises a raw path (without its query), without a copy where it is canonical already.
///
/// # Errors
/// As [`CanonicalPath::parse`].
pub fn canonicalise(raw: &str) -> Result<Canonicalised<'_>, PathError> {
    if is_plain(raw) { Ok(Canonicalised::AsSent(PathRef(raw))) } else { strict(raw, false).map(Canonicalised::Changed) }
}

/// Whether a path is canonical as it stands. What this quick look does not clear is looked at with care.
///
/// Both passes run over all bytes without a branch, which the compiler turns into a few instructions for sixteen bytes.
fn is_plain(raw: &str) -> bool {
    let bytes = raw.as_bytes();
    let plain = bytes.iter().fold(true, |plain, byte| plain & is_plain_byte(*byte));
    let after = bytes.get(1..).unwrap_or_default();
    let suspect = bytes.iter().zip(after).fold(false, |suspect, (a, b)| suspect | (*a == b'/') & ((*b == b'/') | (*b == b'.')));
    let absolute = bytes.first() == Some(&b'/') && bytes.len() <= PATH_BYTES_MAX;
    plain && absolute && (!suspect || begin_segments(bytes))
}

/// Whether no slash is followed by an empty segment (but for the last) or a dot segment.
fn begin_segments(bytes: &[u8]) -> bool {
    let refused = |after: &[u8]| matches!(after, [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..]);
    !bytes.iter().enumerate().any(|(at, byte)| *byte == b'/' && refused(bytes.get(at + 1..).unwrap_or_default()))
}

/// Whether a byte may stand in a canonical path as itself: RFC 3986 `pchar` and `/`, without `%` and `;`.
const fn is_plain_byte(byte: u8) -> bool {
    let visible = (byte > b' ') & (byte < 0x7f);
    let refused = (byte == b'"')
        | (byte == b'#')
        | (byte == b'%')
        | (byte == b';')
        | (byte == b'<')
        | (byte == b'>')
        | (byte == b'?')
        | (byte >= b'[') & (byte <= b'^')
        | (byte == b'`')
        | (byte >= b'{') & (byte <= b'}');
    visible & !refused
}

fn strict(raw: &str, braces: bool) -> Result<CanonicalPath, PathError> {
    if raw.len() > PATH_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    if !raw.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    let mut out = String::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => push_escape(&mut out, hex(bytes.next())?, hex(bytes.next())?)?,
            b'#' => return Err(PathError::Fragment),
            b'\\' => return Err(PathError::Backslash),
            b';' => return Err(PathError::Parameter),
            b'{' | b'}' if braces => out.push(char::from(byte)),
            byte if is_plain_byte(byte) => out.push(char::from(byte)),
            _ => return Err(PathError::Character),
        }
    }
    let mut segments = out.get(1..).unwrap_or_default().split('/').peekable();
    while let Some(segment) = segments.next() {
        // A trailing slash is another path, not an error: only inner segments may not be empty.
        if segment.is_empty() && segments.peek().is_some() {
            return Err(PathError::EmptySegment);
        }
        if matches!(segment, "." | "..") {
            return Err(PathError::DotSegment);
        }
    }
    Ok(CanonicalPath(out.into_boxed_str()))
}

fn push_escape(out: &mut String, high: u8, low: u8) -> Result<(), PathError> {
    match high << 4 | low {
        b'/' => return Err(PathError::EncodedSlash),
        b'\\' => return Err(PathError::Backslash),
        b';' => return Err(PathError::Parameter),
        0..=0x1f | 0x7f => return Err(PathError::EncodedControl),
        byte if is_unreserved(byte) => out.push(char::from(byte)),
        _ => {
            out.push('%');
            for digit in [high, low] {
                out.push(char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    Ok(())
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn hex(byte: Option<u8>) -> Result<u8, PathError> {
    match byte {
        Some(b @ b'0'..=b'9') => Ok(b - b'0'),
        Some(b @ b'a'..=b'f') => Ok(b - b'a' + 10),
        Some(b @ b'A'..=b'F') => Ok(b - b'A' + 10),
        _ => Err(PathError::BrokenEncoding),
    }
}

/// Decodes one name or value of a query (`+` is a space). `None` where the encoding is broken, not UTF-8, or hides a
/// control byte.
#[must_use]
pub fn decode_query(raw: &str) -> Option<String> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        let byte = match byte {
            b'%' => hex(bytes.next()).ok()? << 4 | hex(bytes.next()).ok()?,
            b'+' => b' ',
            byte => byte,
        };
        if byte.is_ascii_control() {
            return None;
        }
        out.push(byte);
    }
    String::from_utf8(out).ok()
}

impl fmt::Display for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CanonicalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CanonicalPath({})", self.0)
    }
}

impl fmt::Display for PathRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for PathRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathRef({})", self.0)
    }
}

impl Serialize for CanonicalPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Longer paths are refused; common servers stop at 8 KiB for the whole request line.
pub const PATH_BYTES_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_forms() {
        for (raw, want) in [
            ("/", "/"),
            ("/v1/items/42", "/v1/items/42"),
            ("/a/", "/a/"),
            ("/%61%7e", "/a~"),
            ("/%c3%a9", "/%C3%A9"),
            ("/a%25b", "/a%25b"),
            ("/a%20b", "/a%20b"),
            ("/a:b@c", "/a:b@c"),
        ] {
            assert_eq!(CanonicalPath::parse(raw).unwrap().as_str(), want, "{raw}");
        }
    }

    #[test]
    fn a01_a02_a29_a77_ambiguous_paths_are_refused() {
        use PathError::*;
        for (raw, why) in [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("http://x/", NotAbsolute),
            ("//admin", EmptySegment),
            ("/a//b", EmptySegment),
            ("/%2Fadmin", EncodedSlash),
            ("/x/..%2fadmin", EncodedSlash),
            ("/%5Cadmin", Backslash),
            ("/x\\..\\admin", Backslash),
            ("/a/../b", DotSegment),
            ("/a/%2e%2E/b", DotSegment),
            ("/.", DotSegment),
            ("/a/..", DotSegment),
            ("/admin#x", Fragment),
            ("/%00", EncodedControl),
            ("/a%0d%0aX", EncodedControl),
            ("/a;b=c", Parameter),
            ("/a%3bb", Parameter),
            ("/%", BrokenEncoding),
            ("/%g0", BrokenEncoding),
            ("/%2", BrokenEncoding),
            ("/a b", Character),
            ("/é", Character),
            ("/{x}", Character),
            ("/a\"b", Character),
            ("/a?b", Character),
        ] {
            assert_eq!(CanonicalPath::parse(raw), Err(why), "{raw}");
        }
    }

    #[test]
    fn the_quick_look_clears_only_what_the_careful_one_leaves_unchanged() {
        for raw in [
            "/",
            "/a",
            "/a/",
            "/a/b",
            "//",
            "/a//",
            "/.",
            "/..",
            "/./",
            "/../",
            "/.a",
            "/..a",
            "/a/.",
            "/a/..",
            "/a/.b",
            "/a/..b/c",
            "/...",
            "/%41",
            "/a%20",
            "/a b",
            "/\u{e9}",
            "/{x}",
            "/a;b",
            "/a?b",
            "/a#b",
            "/a\\b",
            "/a\u{7f}",
            "",
            "a",
            "/~a_-.!$&'()*+,=:@",
        ] {
            let careful = strict(raw, false);
            match canonicalise(raw) {
                Ok(Canonicalised::AsSent(path)) => {
                    assert_eq!(careful.map(|p| p.as_str().to_owned()), Ok(path.as_str().to_owned()), "{raw}")
                }
                Ok(Canonicalised::Changed(path)) => assert_eq!(careful, Ok(path), "{raw}"),
                Err(why) => assert_eq!(careful, Err(why), "{raw}"),
            }
        }
        assert!(matches!(canonicalise("/.well-known/a..b/"), Ok(Canonicalised::AsSent(_))));
    }

    #[test]
    fn plain_bytes_are_those_of_rfc_3986() {
        for byte in 0..=u8::MAX {
            let pchar = is_unreserved(byte) || b"!$&'()*+,=:@/".contains(&byte);
            assert_eq!(is_plain_byte(byte), pchar, "{byte:#x}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_quick_look_agrees_on_any_path(raw in "/[a./%;{~ \\\\]{0,12}") {
            let quick = canonicalise(&raw).map(|c| c.path().as_str().to_owned());
            proptest::prop_assert_eq!(quick, strict(&raw, false).map(|p| p.as_str().to_owned()));
        }
    }

    #[test]
    fn canonicalisation_is_idempotent() {
        for raw in ["/%41/%c3%a9/~", "/a%2Bb", "/x/"] {
            let once = CanonicalPath::parse(raw).unwrap();
            assert_eq!(CanonicalPath::parse(once.as_str()).unwrap(), once);
        }
    }
}
