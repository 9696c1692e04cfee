//! SPIFFE IDs and trust domains, by the rules of the SPIFFE-ID standard.
//!
//! A [`SpiffeId`] that exists is valid and in the one form an issuer may write, so ids compare byte by byte. Patterns match whole path segments only, so `…/ns/obs` never covers `…/ns/obs-x` (A54).

mod patterns;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use patterns::PatternIndex;

/// A SPIFFE ID: `spiffe://trust-domain/path`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpiffeId {
    text: Arc<str>,
    /// Byte offset of the path (of its first `/`), or the length of the text where there is none.
    path_at: usize,
}

/// A trust domain: the authority of a SPIFFE ID.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

/// Why a text is not a SPIFFE ID (SPIFFE-ID §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// The text is empty.
    #[error("a SPIFFE ID cannot be empty")]
    Empty,
    /// It does not begin with `spiffe://`.
    #[error("a SPIFFE ID begins with `spiffe://`")]
    Scheme,
    /// More than 2048 bytes.
    #[error("a SPIFFE ID has at most 2048 bytes")]
    TooLong,
    /// Nothing between `spiffe://` and the path.
    #[error("the trust domain is missing")]
    TrustDomainMissing,
    /// More than 255 bytes of trust domain.
    #[error("a trust domain has at most 255 bytes")]
    TrustDomainTooLong,
    /// A character other than `a-z`, `0-9`, `.`, `-`, `_`.
    #[error("a trust domain has only lower-case letters, digits, dots, dashes and underscores")]
    TrustDomainCharacter,
    /// An empty path segment.
    #[error("a SPIFFE ID path has no empty segments")]
    EmptySegment,
    /// A `.` or `..` segment.
    #[error("a SPIFFE ID path has no dot segments")]
    DotSegment,
    /// The path ends with `/`.
    #[error("a SPIFFE ID path does not end with a slash")]
    TrailingSlash,
    /// A character other than letters, digits, `.`, `-`, `_`.
    #[error("a SPIFFE ID path has only letters, digits, dots, dashes and underscores")]
    SegmentCharacter,
}

impl SpiffeId {
    /// The whole id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The trust domain's name.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        self.text.get(SCHEME.len()..self.path_at).unwrap_or_default()
    }

    /// The path with its leading slash; empty for a trust domain's own id.
    #[must_use]
    pub fn path(&self) -> &str {
        self.text.get(self.path_at..).unwrap_or_default()
    }

    /// Whether the id names a workload (has a path) and not just a trust domain.
    #[must_use]
    pub fn is_workload(&self) -> bool {
        self.path_at < self.text.len()
    }
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(SpiffeIdError::Empty);
        }
        if text.len() > ID_BYTES_MAX {
            return Err(SpiffeIdError::TooLong);
        }
        let (scheme, rest) = text.split_at_checked(SCHEME.len()).ok_or(SpiffeIdError::Scheme)?;
        if scheme != SCHEME {
            return Err(SpiffeIdError::Scheme);
        }
        let domain = rest.split('/').next().unwrap_or_default();
        let path = rest.get(domain.len()..).unwrap_or_default();
        check_trust_domain(domain)?;
        check_path(path)?;
        Ok(Self { text: Arc::from(text), path_at: SCHEME.len() + domain.len() })
    }
}

/// Checks a trust domain. Upper case is refused, as an issuer must write lower case: what cannot be written two ways cannot
/// be compared wrongly.
fn check_trust_domain(domain: &str) -> Result<(), SpiffeIdError> {
    if domain.is_empty() {
        return Err(SpiffeIdError::TrustDomainMissing);
    }
    if domain.len() > TRUST_DOMAIN_BYTES_MAX {
        return Err(SpiffeIdError::TrustDomainTooLong);
    }
    if !domain.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_')) {
        return Err(SpiffeIdError::TrustDomainCharacter);
    }
    Ok(())
}

fn check_path(path: &str) -> Result<(), SpiffeIdError> {
    let Some(path) = path.strip_prefix('/') else { return Ok(()) };
    let mut segments = path.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() {
            return Err(if segments.peek().is_none() { SpiffeIdError::TrailingSlash } else { SpiffeIdError::EmptySegment });
        }
        if matches!(segment, "." | "..") {
            return Err(SpiffeIdError::DotSegment);
        }
        if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
            return Err(SpiffeIdError::SegmentCharacter);
        }
    }
    Ok(())
}

/// By the text alone: where the path begins follows from it.
impl Hash for SpiffeId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpiffeId({})", self.text)
    }
}

impl Serialize for SpiffeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for SpiffeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl TrustDomain {
    /// The name, in lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TrustDomain {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_trust_domain(text)?;
        Ok(Self(Arc::from(text)))
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pattern over SPIFFE IDs, by whole segments: `*` stands for one segment, a trailing `**` for one or more.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdPattern {
    text: Box<str>,
    domain: TrustDomain,
    segments: Vec<Segment>,
    open: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Segment {
    Exact(Box<str>),
    Any,
}

/// Why a text is not a pattern over SPIFFE IDs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdPatternError {
    /// With its stars replaced it would not be a SPIFFE ID.
    #[error(transparent)]
    Id(#[from] SpiffeIdError),
    /// `**` stands elsewhere than at the end.
    #[error("`**` may only be the last segment")]
    OpenNotLast,
    /// A star beside other characters.
    #[error("a `*` stands for one whole segment")]
    PartialStar,
    /// No path at all.
    #[error("a pattern needs a path")]
    NoPath,
}

impl IdPattern {
    /// Whether the text has a star, and so is a pattern and not an id.
    #[must_use]
    pub fn is_pattern(text: &str) -> bool {
        text.contains('*')
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `id` is covered, segment by segment.
    #[must_use]
    pub fn matches(&self, id: &SpiffeId) -> bool {
        let Some(path) = id.path().strip_prefix('/') else { return false };
        if id.trust_domain() != self.domain.as_str() {
            return false;
        }
        let mut rest = path.split('/');
        for segment in &self.segments {
            match (segment, rest.next()) {
                (Segment::Any, Some(_)) => {}
                (Segment::Exact(want), Some(have)) if **want == *have => {}
                _ => return false,
            }
        }
        rest.next().is_some() == self.open
    }

    /// Whether some id is covered by both patterns.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let common = self.segments.iter().zip(&other.segments).all(|pair| match pair {
            (Segment::Exact(a), Segment::Exact(b)) => a == b,
            _ => true,
        });
        let lengths = match (self.open, other.open) {
            (false, false) => self.segments.len() == other.segments.len(),
            (true, false) => other.segments.len() > self.segments.len(),
            (false, true) => self.segments.len() > other.segments.len(),
            (true, true) => true,
        };
        self.domain == other.domain && common && lengths
    }

    /// Whether every id that `other` covers is covered by this pattern too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let common = self.segments.iter().zip(&other.segments).all(|(a, b)| *a == Segment::Any || a == b);
        let lengths = if self.open {
            other.segments.len() > self.segments.len() || (other.open && other.segments.len() == self.segments.len())
        } else {
            !other.open && other.segments.len() == self.segments.len()
        };
        self.domain == other.domain && common && lengths
    }

    /// The ids that both patterns cover, as a pattern; `None` where there is none.
    pub(crate) fn meet(&self, other: &Self) -> Option<Self> {
        if !self.overlaps(other) {
            return None;
        }
        let (long, short) = if self.segments.len() >= other.segments.len() { (self, other) } else { (other, self) };
        let narrower = |(at, segment): (usize, &Segment)| match (segment, short.segments.get(at)) {
            (Segment::Any, Some(theirs)) => theirs.clone(),
            _ => segment.clone(),
        };
        let segments = long.segments.iter().enumerate().map(narrower).collect();
        Some(Self::of_parts(self.domain.clone(), segments, self.open && other.open))
    }

    /// Every workload of a trust domain.
    pub(crate) fn whole_domain(domain: TrustDomain) -> Self {
        Self::of_parts(domain, Vec::new(), true)
    }

    fn of_parts(domain: TrustDomain, segments: Vec<Segment>, open: bool) -> Self {
        let words = segments.iter().map(|s| match s {
            Segment::Exact(word) => &**word,
            Segment::Any => "*",
        });
        let text = words.chain(open.then_some("**")).fold(format!("{SCHEME}{domain}"), |text, word| format!("{text}/{word}"));
        Self { text: text.into(), domain, segments, open }
    }

    /// An id that the pattern covers, with `word` for each star and so many of them for a trailing `**` that there are
    /// `depth` segments. Where the word is in no other pattern and the depth beyond all, only patterns that cover this one
    /// whole cover the id.
    pub(crate) fn example_of(&self, word: &str, depth: usize) -> Option<SpiffeId> {
        let words = self.segments.iter().map(|s| match s {
            Segment::Exact(own) => &**own,
            Segment::Any => word,
        });
        let rest = if self.open { depth.saturating_sub(self.segments.len()).max(1) } else { 0 };
        let text =
            words.chain(std::iter::repeat_n(word, rest)).fold(format!("{SCHEME}{}", self.domain), |text, word| format!("{text}/{word}"));
        text.parse().ok()
    }

    /// Its trust domain.
    pub(crate) fn trust_domain(&self) -> &str {
        self.domain.as_str()
    }

    /// Its segments before a closing `**`: a text, or `None` for a star.
    pub(crate) fn segments(&self) -> impl Iterator<Item = Option<&str>> {
        self.segments.iter().map(|s| if let Segment::Exact(text) = s { Some(&**text) } else { None })
    }

    /// Whether it ends with `**`.
    pub(crate) const fn is_open(&self) -> bool {
        self.open
    }

    /// An id that the pattern covers, with `x` for each star.
    #[must_use]
    pub fn example(&self) -> Option<SpiffeId> {
        self.text.replace("**", "x").replace('*', "x").parse().ok()
    }
}

impl FromStr for IdPattern {
    type Err = IdPatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id: SpiffeId = text.replace('*', "x").parse()?;
        let path = text.get(id.path_at..).and_then(|p| p.strip_prefix('/')).ok_or(IdPatternError::NoPath)?;
        let domain: TrustDomain = text.get(SCHEME.len()..id.path_at).unwrap_or_default().parse()?;
        let open = path.ends_with("/**") || path == "**";
        let mut segments = Vec::new();
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            match part {
                "**" if parts.peek().is_none() => {}
                "**" => return Err(IdPatternError::OpenNotLast),
                "*" => segments.push(Segment::Any),
                part if part.contains('*') => return Err(IdPatternError::PartialStar),
                part => segments.push(Segment::Exact(part.into())),
            }
        }
        Ok(Self { text: text.into(), domain, segments, open })
    }
}

const SCHEME: &str = "spiffe://";
const ID_BYTES_MAX: usize = 2048;
const TRUST_DOMAIN_BYTES_MAX: usize = 255;
