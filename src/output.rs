//! The two ways out: stdout for machines, stderr for people.
//!
//! Colour and progress appear only where stderr is a terminal and `NO_COLOR` is not set. Text of foreign origin passes
//! through `escape_control` before it reaches either, so that a hostile log or bundle cannot drive a terminal.

use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write as _};

use portreeve_engine::diagnostic::escape_control;
use serde::Serialize;

use crate::outcome::Failure;

/// Buffered stdout.
pub(crate) struct Out(BufWriter<StdoutLock<'static>>);

impl Out {
    /// Takes stdout.
    pub(crate) fn new() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    /// Writes text as it is.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        Ok(self.0.write_all(text.as_bytes())?)
    }

    /// Writes one value as one line of JSON.
    pub(crate) fn json_line<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        self.json(value, serde_json::ser::CompactFormatter)
    }

    /// Writes one value as an indented document.
    pub(crate) fn json_document<T: Serialize>(&mut self, value: &T) -> Result<(), Failure> {
        self.json(value, serde_json::ser::PrettyFormatter::new())
    }

    fn json<T: Serialize, F: serde_json::ser::Formatter>(&mut self, value: &T, formatter: F) -> Result<(), Failure> {
        let mut serializer = serde_json::Serializer::with_formatter(&mut self.0, formatter);
        value.serialize(&mut serializer).map_err(|e| match e.io_error_kind() {
            Some(kind) => Failure::from(io::Error::from(kind)),
            None => Failure::new(format_args!("cannot write JSON: {e}")),
        })?;
        Ok(self.0.write_all(b"\n")?)
    }

    /// Sends what is buffered.
    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        Ok(self.0.flush()?)
    }
}

/// One value as an indented document that ends with a newline.
pub(crate) fn json_text<T: Serialize>(value: &T) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Failure::new(format_args!("cannot write JSON: {e}")))?;
    Ok(text + "\n")
}

/// Tells people something on stderr; control characters are made visible. Where stderr is closed nobody listens.
pub(crate) fn tell(text: &str) {
    let text = escape_control(text);
    let text = if colour() { paint(&text) } else { text };
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Whether stderr takes colour.
pub(crate) fn colour() -> bool {
    let off = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) || std::env::var_os("TERM").is_some_and(|v| v == "dumb");
    !off && io::stderr().is_terminal()
}

/// Colours the words that begin a line. Working on finished text keeps one rendering for terminals and files.
fn paint(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    for line in text.split_inclusive('\n') {
        let mark = [
            ("error", RED),
            ("FAIL", RED),
            ("warning", YELLOW),
            ("newly-allowed", YELLOW),
            ("newly-denied", RED),
            ("newly-conditional", YELLOW),
            ("may-differ", CYAN),
            ("differs", RED),
            ("  help:", CYAN),
            ("  -->", BLUE),
            ("ok", GREEN),
        ]
        .into_iter()
        .find(|(word, _)| line.starts_with(word));
        match mark {
            Some((word, colour)) => {
                let (head, rest) = line.split_at_checked(word.len()).unwrap_or((line, ""));
                out.extend([colour, head, RESET, rest]);
            }
            None => out.push_str(line),
        }
    }
    out
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const GREEN: &str = "\x1b[32m";
const CYAN: &str = "\x1b[36m";
const BLUE: &str = "\x1b[34m";
const RESET: &str = "\x1b[0m";
