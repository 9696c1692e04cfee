//! How a service reads paths: strictly, or in one of the ways that Istio calls `pathNormalization`, for those who come from there.
//!
//! INVARIANTS: each way is idempotent, so that a canonical path read again is the same path; what is canonical in the strict way
//! is so in every way. In every way a path is refused that has a broken or a NUL escape, or a byte that RFC 3986 does not let
//! stand in a path (but `\`, which all of Istio's ways know): what cannot be written down without doubt is not judged either.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::{CanonicalPath, Canonicalised, PATH_BYTES_MAX, PathError, canonicalise, hex, is_plain_byte, is_unreserved, strict};

/// How paths are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Paths {
    /// What two servers could read in two ways is refused.
    #[default]
    Strict,
    /// As sent.
    None,
    /// RFC 3986 §6.2.2.2 and §6.2.2.3, and `\` is `/`: unreserved characters are decoded, dot segments resolved.
    Base,
    /// As [`Paths::Base`], then adjacent slashes become one.
    MergeSlashes,
    /// Encoded slashes and backslashes are decoded first, then as [`Paths::MergeSlashes`].
    DecodeAndMergeSlashes,
}

impl Paths {
    /// Every way, strictest first.
    pub const ALL: [Self; 5] = [Self::Strict, Self::DecodeAndMergeSlashes, Self::MergeSlashes, Self::Base, Self::None];

    /// The word of the inventory.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::None => "NONE",
            Self::Base => "BASE",
            Self::MergeSlashes => "MERGE_SLASHES",
            Self::DecodeAndMergeSlashes => "DECODE_AND_MERGE_SLASHES",
        }
    }

    /// Canonicalises a raw path (without its query), without a copy where it is canonical already.
    ///
    /// # Errors
    /// The first reason for which the path is refused.
    pub fn canonicalise(self, raw: &str) -> Result<Canonicalised<'_>, PathError> {
        // What the quick look of the strict way clears is canonical in every way.
        match (self, canonicalise(raw)) {
            (Self::Strict, path) | (_, path @ Ok(Canonicalised::AsSent(_))) => path,
            _ => self.read(raw, false).map(Canonicalised::Changed),
        }
    }

    pub(super) fn read(self, raw: &str, braces: bool) -> Result<CanonicalPath, PathError> {
        match self {
            Self::Strict => strict(raw, braces),
            Self::None => checked(raw, braces).map(|path| CanonicalPath(path.into())),
            Self::Base => Ok(CanonicalPath(resolved(&decoded(checked(raw, braces)?, false)).into())),
            Self::MergeSlashes => Ok(CanonicalPath(merged(&resolved(&decoded(checked(raw, braces)?, false))).into())),
            Self::DecodeAndMergeSlashes => Ok(CanonicalPath(merged(&resolved(&decoded(checked(raw, braces)?, true))).into())),
        }
    }

    /// The path of a raw target, and its query. In the strict way a fragment is refused; in the others it is cut off, and was
    /// never sent.
    #[must_use]
    pub fn split(self, target: &str) -> (&str, Option<&str>) {
        let target = match self {
            Self::Strict => target,
            _ => target.split_once('#').map_or(target, |(before, _)| before),
        };
        target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
    }
}

/// The path, if it has nothing that is refused in every way.
fn checked(raw: &str, braces: bool) -> Result<&str, PathError> {
    if raw.len() > PATH_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    if !raw.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' if hex(bytes.next())? << 4 | hex(bytes.next())? == 0 => return Err(PathError::EncodedControl),
            b'%' | b';' | b'\\' => {}
            b'#' => return Err(PathError::Fragment),
            b'{' | b'}' if braces => {}
            byte if is_plain_byte(byte) => {}
            _ => return Err(PathError::Character),
        }
    }
    Ok(raw)
}

/// Unreserved characters decoded, other escapes as sent, `\` as `/`; with `slashes` those that are encoded too.
///
/// One pass over escapes that were checked: nothing that is decoded can become part of another escape, as `%` itself never is.
fn decoded(path: &str, slashes: bool) -> String {
    let mut out = String::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(if byte == b'\\' { '/' } else { char::from(byte) });
            continue;
        }
        let (Some(high), Some(low)) = (bytes.next(), bytes.next()) else { break };
        match hex(Some(high)).unwrap_or(0) << 4 | hex(Some(low)).unwrap_or(0) {
            b'/' | b'\\' if slashes => out.push('/'),
            byte if is_unreserved(byte) => out.push(char::from(byte)),
            _ => out.extend(['%', char::from(high), char::from(low)]),
        }
    }
    out
}

/// Without dot segments. `..` takes the segment before it away, an empty one too; above the root there is nothing.
fn resolved(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.get(1..).unwrap_or_default().split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
        // A dot segment at the end names a directory.
        if matches!(segment, "." | "..") && segments.peek().is_none() {
            kept.push("");
        }
    }
    format!("/{}", kept.join("/"))
}

/// With one slash for each run of them.
fn merged(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !out.ends_with('/') {
            out.push(c);
        }
    }
    out
}

impl FromStr for Paths {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|paths| paths.as_str() == text).ok_or(())
    }
}

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Paths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(paths: Paths, raw: &str) -> Result<String, PathError> {
        paths.canonicalise(raw).map(|found| found.path().as_str().to_owned())
    }

    /// The facts of Istio's and Envoy's own tests.
    #[test]
    fn the_corpus_of_path_normalisation_holds_in_each_way() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/corpus/http-path-normalization/cases.json");
        let corpus: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let mut seen = std::collections::BTreeMap::new();
        for case in corpus["cases"].as_array().unwrap() {
            let [mode, raw] = ["mode", "in"].map(|name| case[name].as_str().unwrap());
            *seen.entry(mode.to_owned()).or_insert(0) += 1;
            let want = case["out"].as_str();
            let found = match mode {
                "MERGE_ONLY" => {
                    let (path, query) = Paths::None.split(raw);
                    Some(query.map_or_else(|| merged(path), |query| format!("{}?{query}", merged(path))))
                }
                "STRIP_QUERY_AND_FRAGMENT" => Some(Paths::None.split(raw).0.to_owned()),
                "RFC3986" => read(Paths::Base, raw).ok(),
                mode => {
                    let paths: Paths = mode.parse().unwrap();
                    read(paths, paths.split(raw).0).ok()
                }
            };
            assert_eq!(found.as_deref(), want.filter(|out| *out != "400"), "{mode} {raw}");
        }
        let want = [
            ("BASE", 10),
            ("DECODE_AND_MERGE_SLASHES", 195),
            ("MERGE_ONLY", 11),
            ("MERGE_SLASHES", 14),
            ("NONE", 11),
            ("RFC3986", 13),
            ("STRIP_QUERY_AND_FRAGMENT", 10),
        ];
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), want.map(|(mode, n)| (mode.to_owned(), n)));
    }

    #[test]
    fn a01_a77_what_no_way_of_reading_can_settle_is_refused_in_all() {
        use PathError::{BrokenEncoding, Character, EncodedControl, NotAbsolute, TooLong};
        let long = format!("/{}", "a".repeat(PATH_BYTES_MAX));
        for (raw, why) in [
            ("", NotAbsolute),
            ("*", NotAbsolute),
            ("/%00", EncodedControl),
            ("/a/%", BrokenEncoding),
            ("/a/%2", BrokenEncoding),
            ("/a/%zz", BrokenEncoding),
            // Left as it is, decoding would make `%2f` of it.
            ("/a%%32f..", BrokenEncoding),
            ("/a b", Character),
            ("/\u{e9}", Character),
            ("/{x}", Character),
            ("/a\"", Character),
            (long.as_str(), TooLong),
        ] {
            for paths in Paths::ALL {
                assert_eq!(read(paths, raw), Err(why), "{paths} {raw}");
            }
        }
    }

    #[test]
    fn words_are_those_of_istio() {
        for paths in Paths::ALL {
            assert_eq!(paths.as_str().parse(), Ok(paths));
        }
        assert_eq!("base".parse::<Paths>(), Err(()));
    }

    proptest::proptest! {
        #[test]
        fn reading_twice_is_reading_once(raw in "/([a./;\\\\]|%2[eEfF5]|%5[cC]|%3[01]|%41){0,12}") {
            for paths in Paths::ALL {
                if let Ok(once) = read(paths, &raw) {
                    proptest::prop_assert_eq!(read(paths, &once), Ok(once.clone()), "{} {}", paths, raw);
                    proptest::prop_assert_eq!(
                        CanonicalPath::parse_recorded(&once, paths).map(|p| p.as_str().to_owned()), Ok(once), "{} {}", paths, raw
                    );
                }
            }
        }

        #[test]
        fn what_is_canonical_strictly_is_so_in_every_way(raw in "/([a./~-]|%41|%20|%c3){0,12}") {
            if let Ok(strict) = read(Paths::Strict, &raw) {
                for paths in Paths::ALL {
                    proptest::prop_assert_eq!(read(paths, &strict), Ok(strict.clone()), "{}", paths);
                }
            }
        }

        #[test]
        fn base_leaves_no_dot_segments_and_merging_no_empty_ones(raw in "/([a./\\\\]|%2[eEfF]|%5[cC]){0,12}") {
            for paths in [Paths::Base, Paths::MergeSlashes, Paths::DecodeAndMergeSlashes] {
                let path = read(paths, &raw).unwrap();
                proptest::prop_assert!(!path.split('/').any(|s| matches!(s, "." | "..")) && !path.contains('\\'), "{} {}", paths, path);
                proptest::prop_assert!(paths == Paths::Base || !path.contains("//"), "{} {}", paths, path);
                if paths == Paths::DecodeAndMergeSlashes {
                    proptest::prop_assert!(!path.to_ascii_lowercase().contains("%2f") && !path.to_ascii_lowercase().contains("%5c"));
                }
            }
        }
    }
}
