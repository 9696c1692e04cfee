//! What a file is that was given as a log and is none that can be read as it is: said by name, because "no format that is known" sends
//! people to look for a format.
//!
//! INVARIANT: it is asked only about a log of which no line could be read, and never changes how one is read.

use std::fmt;

use crate::reader::{HeldLine, LineReader};
use crate::source::LogSource;

/// What was given in place of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistaken {
    /// A ledger.
    Ledger,
    /// Text in UTF-16.
    Utf16,
    /// What comes out of it is compressed again, by this program.
    Twice(&'static str),
    /// It is compressed in a way that is not read.
    Packed(&'static str),
    /// Several files in one.
    Archive(&'static str),
}

impl Mistaken {
    /// By the first line, or what there is of it.
    pub(crate) fn of(first: &[u8]) -> Option<Self> {
        let begins = |with: &[u8]| first.starts_with(with);
        if begins(b"{\"portreeve_ledger\":") {
            Some(Self::Ledger)
        } else if begins(b"\xff\xfe") || begins(b"\xfe\xff") || begins(b"{\0") || begins(b"\0{") {
            Some(Self::Utf16)
        } else if begins(b"\x1f\x8b") {
            Some(Self::Twice("gzip"))
        } else if begins(b"\x28\xb5\x2f\xfd") {
            Some(Self::Twice("zstd"))
        } else if begins(b"\xfd7zXZ\0") {
            Some(Self::Packed("xz"))
        } else if begins(b"BZh") {
            Some(Self::Packed("bzip2"))
        } else if begins(b"PK\x03\x04") {
            Some(Self::Archive("zip"))
        } else if first.get(TAR_MARK_AT..).is_some_and(|at| at.starts_with(b"ustar")) {
            Some(Self::Archive("tar"))
        } else {
            None
        }
    }

    /// Looks at the first line of a file again. Nobody can look at standard input twice.
    pub(crate) fn look(source: &LogSource) -> Option<Self> {
        if *source == LogSource::Stdin {
            return None;
        }
        let mut lines = LineReader::new(source.open().ok()?);
        let first = lines.next_line().ok()?.map(HeldLine::of)?;
        Self::of(first.bytes())
    }

    /// The way out.
    #[must_use]
    pub fn help(self) -> String {
        match self {
            Self::Ledger => "`portreeve ledger review --bundle BUNDLE LEDGER` holds a policy beside it, `portreeve ledger show LEDGER` \
                             checks and shows it; other verbs take the logs that it was made from"
                .to_owned(),
            Self::Utf16 => "logs are UTF-8: `iconv -f UTF-16 -t UTF-8` makes one of it".to_owned(),
            Self::Twice(program) => format!("unpack it once, with `{program} -dc`"),
            Self::Packed(_) => "unpack it first; gzip and zstd are read as they are".to_owned(),
            Self::Archive(_) => "unpack it and give the logs in it, for example by a pattern".to_owned(),
        }
    }
}

impl fmt::Display for Mistaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ledger => f.write_str("a ledger, which counts logs and is none"),
            Self::Utf16 => f.write_str("text in UTF-16"),
            Self::Twice(program) => write!(f, "compressed twice, with {program} inside"),
            Self::Packed(program) => write!(f, "compressed with {program}, which is not read"),
            Self::Archive(kind) => write!(f, "a {kind} archive"),
        }
    }
}

/// Where tar says what it is.
const TAR_MARK_AT: usize = 257;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_log_is_known_by_its_first_bytes() {
        let tar = [b"logs/a.ndjson".as_slice(), &[0; 244], b"ustar\x0000", &[0; 8], b"{\"v\":1}"].concat();
        let cases: [(&[u8], Option<Mistaken>); 11] = [
            (b"{\"portreeve_ledger\":1,\"parts\":1,\"folded\":0}", Some(Mistaken::Ledger)),
            (b"\xff\xfe{\0\"\0", Some(Mistaken::Utf16)),
            (b"\0{\0\"", Some(Mistaken::Utf16)),
            (b"\x1f\x8b\x08\x00", Some(Mistaken::Twice("gzip"))),
            (b"\x28\xb5\x2f\xfd\x24", Some(Mistaken::Twice("zstd"))),
            (b"\xfd7zXZ\0\0", Some(Mistaken::Packed("xz"))),
            (b"BZh91AY", Some(Mistaken::Packed("bzip2"))),
            (b"PK\x03\x04", Some(Mistaken::Archive("zip"))),
            (&tar, Some(Mistaken::Archive("tar"))),
            (b"{\"portreeve\":1}", None),
            (b"", None),
        ];
        for (first, want) in cases {
            assert_eq!(Mistaken::of(first), want, "{}", String::from_utf8_lossy(first));
        }
    }
}
