//! What is wrong with an input, where it stands, and what to do about it.
//!
//! One [`Diagnostic`] has many renderings; this module has the plain data and the human one. Codes are promises: each has a
//! page in the book, and scripts may match on it.

use std::fmt::Write as _;

use serde::Serialize;

/// How much a diagnostic weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; the input is usable.
    Warning,
    /// The input is refused.
    Error,
}

/// A place in a text file. Lines and columns count from one; columns count characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Location {
    /// The file, relative to its bundle (or as the user named it).
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Length of the marked text in characters, at least 1.
    pub length: u32,
}

impl Location {
    /// A place that marks one character.
    #[must_use]
    pub fn new(file: impl Into<String>, line: u32, column: u32) -> Self {
        Self { file: file.into(), line, column, length: 1 }
    }

    /// `file:line`, as decisions name their policies.
    #[must_use]
    pub fn short(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }
}

/// One finding about an input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// A stable kebab-case code, such as `unknown-field`.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// One sentence: lower case, no full stop, input in backticks.
    pub message: String,
    /// Where, if anywhere.
    #[serde(flatten)]
    pub location: Option<Location>,
    /// The way out, on its own line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The source line, for the excerpt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

impl Diagnostic {
    /// An error.
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, severity: Severity::Error, message: message.into(), location: None, help: None, source: None }
    }

    /// A warning.
    #[must_use]
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    /// The same, at a place.
    #[must_use]
    pub fn at(mut self, location: Location) -> Self {
        self.location = Some(location);
        self
    }

    /// The same, with the way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, with `did you mean` among `known`, if one of them is near `word`.
    #[must_use]
    pub fn suggest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(word, known) {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Fills the excerpt from the text of the file.
    #[must_use]
    pub fn with_source(mut self, text: &str) -> Self {
        if let Some(at) = &self.location {
            let line = text.lines().nth(at.line.saturating_sub(1) as usize).unwrap_or_default();
            self.source = Some(line.chars().take(EXCERPT_CHARS_MAX).collect());
        }
        self
    }

    /// Whether this refuses the input.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The human form: message, place, excerpt with a caret line, help. No colour; ends with a newline.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        let severity = if self.is_error() { "error" } else { "warning" };
        let _ = writeln!(out, "{severity}[{}]: {}", self.code, escape_line(&self.message));
        if let Some(at) = &self.location {
            let _ = writeln!(out, "  --> {}:{}:{}", escape_line(&at.file), at.line, at.column);
            if let Some(source) = &self.source {
                let gutter = at.line.to_string().len();
                let pad: String =
                    source.chars().take(at.column.saturating_sub(1) as usize).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
                let room = source.chars().count().saturating_sub(at.column.saturating_sub(1) as usize).max(1);
                let carets = "^".repeat((at.length.max(1) as usize).min(room));
                let _ = writeln!(out, "{:gutter$} |", "");
                let _ = writeln!(out, "{} | {}", at.line, escape_control(source));
                let _ = writeln!(out, "{:gutter$} | {pad}{carets}", "");
            }
        }
        if let Some(help) = &self.help {
            let _ = writeln!(out, "  help: {}", escape_control(help));
        }
        out
    }
}

/// Makes control characters visible, so that hostile input cannot drive a terminal. Tabs stay.
#[must_use]
pub fn escape_control(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' | '\n' => out.push(c),
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}') => {
                out.extend(c.escape_unicode());
            }
            c => out.push(c),
        }
    }
    out
}

/// The same for what is to stay on its line: a name with a line break in it must not write a line of its own.
#[must_use]
pub fn escape_line(text: &str) -> String {
    escape_control(text).replace('\n', "\\u{a}")
}

/// The known word nearest to `word`, if it is near enough to be a slip.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (strsim::osa_distance(&word.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, name)| name)
}

const EXCERPT_CHARS_MAX: usize = 200;
