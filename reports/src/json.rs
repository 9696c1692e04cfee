//! The assessment as JSON: a file of its own, and a data block inside the page.
//!
//! Field order is the order of the types; nothing is sorted, dropped or rounded here. INVARIANT: what is written reads back as
//! the same value; characters that could act on a reader or end a script element are written as `\u` escapes.

use std::fmt::Write as _;

use portreeve_auditor::assessment::Assessment;
use serde::Serialize;
use serde_json::Value;

use crate::text::{acts, is_combining};

/// The file: indented, one trailing newline.
pub(crate) fn file(assessment: &Assessment) -> Result<String, serde_json::Error> {
    let mut text = escape(&serde_json::to_string_pretty(assessment)?, acts_in_file);
    text.push('\n');
    Ok(text)
}

/// Another document: indented, one trailing newline.
pub(crate) fn document(value: &Value) -> Result<String, serde_json::Error> {
    let mut text = escape(&serde_json::to_string_pretty(value)?, acts_in_file);
    text.push('\n');
    Ok(text)
}

/// Values one a line.
pub(crate) fn lines(values: &[Value]) -> Result<String, serde_json::Error> {
    let mut out = String::new();
    for value in values {
        out.push_str(&escape(&serde_json::to_string(value)?, acts_in_file));
        out.push('\n');
    }
    Ok(out)
}

/// A data block: compact, inert inside `<script type="application/json">`, and untouched by [`crate::text::tame`].
pub(crate) fn block(value: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(escape(&serde_json::to_string(value)?, |c| acts_in_file(c) || is_combining(c) || matches!(c, '<' | '>' | '&')))
}

// Outside strings JSON is printable ASCII and newlines, so a replacement can only fall inside a string, where `\u` is legal.
fn escape(json: &str, refused: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(json.len() + json.len() / 16);
    let mut units = [0; 2];
    for c in json.chars() {
        if refused(c) {
            for unit in c.encode_utf16(&mut units) {
                let _infallible = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    out
}

fn acts_in_file(c: char) -> bool {
    !c.is_ascii() && acts(c) || c == '\u{7f}'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_read_back_as_the_same_value() {
        let value = serde_json::json!({"k<\u{2028}": "</script><!--\u{202e}\u{7f}\u{0}\u{e0041}\\u003c é & \u{1f600}"});
        let text = escape(&serde_json::to_string(&value).unwrap(), |c| acts_in_file(c) || matches!(c, '<' | '>' | '&'));
        assert!(!text.contains(['<', '>', '&', '\u{2028}', '\u{202e}', '\u{7f}', '\u{e0041}']), "{text}");
        assert!(text.contains("\\udb40\\udc41") && text.contains('\u{1f600}'), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
