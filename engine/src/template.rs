//! Path templates of operations: literals, `{name}` for one segment, a trailing `{name*}` for the rest.

use std::fmt;
use std::str::FromStr;

use crate::path::{CanonicalPath, PathError, PathRef, Paths};

/// A path template such as `/v1/items/{id}` or `/files/{rest*}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PathTemplate {
    text: Box<str>,
    /// The segments.
    segments: Vec<Segment>,
}

/// One segment of a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Segment {
    /// Exactly this text.
    Literal(Box<str>),
    /// One non-empty segment.
    Parameter {
        /// Its name.
        name: Box<str>,
        /// Whether its value is hidden from policies and records.
        sensitive: bool,
    },
    /// One or more segments up to the end.
    Rest {
        /// Its name.
        name: Box<str>,
        /// Whether its value is hidden from policies and records.
        sensitive: bool,
    },
}

/// Why a text is not a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A literal part would not be canonical, so no request could match it.
    #[error("no request can have this path: {0}")]
    Path(#[from] PathError),
    /// The literals are not in canonical form; the canonical form is given.
    #[error("write it in canonical form: `{0}`")]
    NotCanonical(String),
    /// A brace without its other half, or text beside a parameter.
    #[error("`{0}` is not a segment: a parameter is a whole segment such as `{{id}}`")]
    Segment(String),
    /// `{name*}` before the end.
    #[error("`{{{0}*}}` may only be the last segment")]
    RestNotLast(String),
    /// The same name twice.
    #[error("parameter `{0}` is named twice")]
    Duplicate(String),
}

impl PathTemplate {
    /// Its segments.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The template as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the path fits. A parameter stands for one non-empty segment.
    #[must_use]
    pub fn matches(&self, path: &CanonicalPath) -> bool {
        let mut have = path.segments();
        for segment in &self.segments {
            match (segment, have.next()) {
                (Segment::Literal(want), Some(have)) if **want == *have => {}
                (Segment::Parameter { .. }, Some(have)) if !have.is_empty() => {}
                (Segment::Rest { .. }, Some(first)) => return !first.is_empty() || have.next().is_some(),
                _ => return false,
            }
        }
        have.next().is_none()
    }

    /// The parameter names.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|s| match s {
            Segment::Parameter { name, .. } | Segment::Rest { name, .. } => Some(&**name),
            Segment::Literal(_) => None,
        })
    }

    /// Whether any parameter is hidden.
    #[must_use]
    pub fn has_sensitive(&self) -> bool {
        self.segments.iter().any(|s| matches!(s, Segment::Parameter { sensitive: true, .. } | Segment::Rest { sensitive: true, .. }))
    }

    /// Marks the parameter of this name as sensitive; says whether there is one.
    pub fn mark_sensitive(&mut self, parameter: &str) -> bool {
        let mut found = false;
        for segment in &mut self.segments {
            if let Segment::Parameter { name, sensitive } | Segment::Rest { name, sensitive } = segment
                && **name == *parameter
            {
                *sensitive = true;
                found = true;
            }
        }
        found
    }

    /// The path with sensitive segments replaced by their `{name}`.
    #[must_use]
    pub fn redact(&self, path: PathRef<'_>) -> String {
        let mut out = String::with_capacity(path.as_str().len());
        let mut have = path.segments();
        for segment in &self.segments {
            out.push('/');
            let value = have.next().unwrap_or_default();
            match segment {
                Segment::Parameter { name, sensitive: true } => {
                    out.push('{');
                    out.push_str(name);
                    out.push('}');
                }
                Segment::Rest { name, sensitive: true } => {
                    out.push('{');
                    out.push_str(name);
                    out.push('}');
                    return out;
                }
                _ => out.push_str(value),
            }
        }
        for rest in have {
            out.push('/');
            out.push_str(rest);
        }
        out
    }

    /// A path that fits: `x` for each parameter.
    #[must_use]
    pub fn example(&self) -> String {
        self.segments.iter().fold(String::new(), |mut out, segment| {
            out.push('/');
            out.push_str(match segment {
                Segment::Literal(text) => text,
                _ => "x",
            });
            out
        })
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for PathTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `{id*}` would pass as a path with braces; canonicalising the whole text checks the literals in one go.
        let canonical = CanonicalPath::parse_recorded(text, Paths::Strict)?;
        if canonical.as_str() != text {
            return Err(TemplateError::NotCanonical(canonical.as_str().to_owned()));
        }
        let mut segments = Vec::new();
        let mut parts = canonical.segments().peekable();
        while let Some(part) = parts.next() {
            segments.push(segment(part, parts.peek().is_none())?);
        }
        let template = Self { text: text.into(), segments };
        let mut seen = std::collections::BTreeSet::new();
        if let Some(name) = template.parameters().find(|name| !seen.insert(*name)) {
            return Err(TemplateError::Duplicate(name.to_owned()));
        }
        Ok(template)
    }
}

fn segment(part: &str, last: bool) -> Result<Segment, TemplateError> {
    let Some(inner) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) else {
        return if part.contains(['{', '}']) { Err(TemplateError::Segment(part.to_owned())) } else { Ok(Segment::Literal(part.into())) };
    };
    let (name, rest) = inner.strip_suffix('*').map_or((inner, false), |name| (name, true));
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
        return Err(TemplateError::Segment(part.to_owned()));
    }
    match (rest, last) {
        (false, _) => Ok(Segment::Parameter { name: name.into(), sensitive: false }),
        (true, true) => Ok(Segment::Rest { name: name.into(), sensitive: false }),
        (true, false) => Err(TemplateError::RestNotLast(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_match_by_segments() {
        for (template, path, fits) in [
            ("/", "/", true),
            ("/v1/items/{id}", "/v1/items/42", true),
            ("/v1/items/{id}", "/v1/items/", false),
            ("/v1/items/{id}", "/v1/items/42/x", false),
            ("/v1/items/{id}", "/v1/items", false),
            ("/files/{rest*}", "/files/a", true),
            ("/files/{rest*}", "/files/a/b/", true),
            ("/files/{rest*}", "/files", false),
            ("/files/{rest*}", "/files/", false),
            ("/{rest*}", "/", false),
            ("/a/", "/a", false),
            ("/a/", "/a/", true),
        ] {
            let template: PathTemplate = template.parse().unwrap();
            assert_eq!(template.matches(&CanonicalPath::parse(path).unwrap()), fits, "{template} {path}");
        }
    }

    #[test]
    fn odd_templates_are_refused() {
        for text in ["", "a", "/{}", "/{a", "/x{a}", "/{a*}/b", "/{a}/{a}", "//", "/%2f", "/a/../b", "/%61", "/{a b}"] {
            assert!(text.parse::<PathTemplate>().is_err(), "{text}");
        }
    }

    #[test]
    fn sensitive_segments_are_hidden() {
        let mut template: PathTemplate = "/cards/{pan}/x".parse().unwrap();
        assert!(template.mark_sensitive("pan"));
        assert_eq!(template.redact(CanonicalPath::parse("/cards/4111/x").unwrap().borrowed()), "/cards/{pan}/x");
    }
}
