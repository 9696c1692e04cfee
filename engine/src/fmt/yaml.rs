//! YAML: every line is laid out anew, none is composed from a tree, so that comments and blank lines stay where they are.
//!
//! The parser's events say where values begin and end and what is nested in what; [`Layout`] turns that into lines. At the end the
//! result is read again and compared with the source.

use crate::diagnostic::Diagnostic;
use crate::fmt::layout::Layout;
use crate::fmt::{order, unsound};
use crate::yaml::{self, Node, Value};

/// The file in its canonical form.
pub(super) fn format(path: &str, text: &str) -> Result<String, Diagnostic> {
    // The reader's own complaints come first; they say more than a formatter could.
    let before = yaml::parse(path, text)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut out = once(path, &text)?;
    // Lines that move may change what a comment is next to: the form is where nothing moves any more.
    for _ in 0..PASSES_MAX {
        let again = once(path, &out)?;
        if again == out {
            break;
        }
        out = again;
    }
    let after = yaml::parse(path, &out).map_err(|e| unsound(path, &format!("it would no longer be YAML ({})", e.message)))?;
    let same = before.len() == after.len() && before.iter().zip(&after).all(|(a, b)| same_document(a, b));
    if !same {
        return Err(unsound(path, "a value would change"));
    }
    if comments(&text) != comments(&out) {
        return Err(unsound(path, "a comment would be lost"));
    }
    Ok(out)
}

fn once(path: &str, text: &str) -> Result<String, Diagnostic> {
    let lines = Layout::of(text).and_then(|layout| layout.lines()).map_err(|(line, why)| {
        unsound(path, &why).at(crate::diagnostic::Location::new(path, u32::try_from(line).unwrap_or(u32::MAX), 1)).with_source(text)
    })?;
    let mut out: Vec<String> = Vec::new();
    let mut document = Vec::new();
    for line in lines {
        if line.starts_with("---") || line.starts_with("...") || line.starts_with('%') {
            out.append(&mut order::sort(std::mem::take(&mut document)));
            out.push(line);
        } else {
            document.push(line);
        }
    }
    out.append(&mut order::sort(document));
    let first = out.iter().position(|l| !l.is_empty()).unwrap_or(out.len());
    let last = out.iter().rposition(|l| !l.is_empty()).map_or(0, |at| at + 1);
    let mut text = String::new();
    for line in out.get(first..last).unwrap_or_default() {
        text.push_str(line);
        text.push('\n');
    }
    Ok(text)
}

/// Documents are resources: the order of their own fields says nothing.
fn same_document(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Mapping(a), Value::Mapping(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.iter().any(|(k, v)| same(key, k) && same(value, v)))
        }
        _ => same(a, b),
    }
}

/// Values are the same down to whether they were written plain, unless quotes fell away from a word that is a text either way.
fn same(a: &Node, b: &Node) -> bool {
    match (&a.value, &b.value) {
        (Value::Scalar(a, a_plain), Value::Scalar(b, b_plain)) => a == b && (a_plain == b_plain || (!a_plain && is_plain_text(a))),
        (Value::Sequence(a), Value::Sequence(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Mapping(a), Value::Mapping(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((ak, av), (bk, bv))| same(ak, bk) && same(av, bv))
        }
        _ => false,
    }
}

/// Whether a text says the same without quotes, to every reader of YAML: it begins with a letter or a slash, has no character that
/// means anything, and is none of the words that some version takes for something else.
pub(super) fn is_plain_text(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | '@' | '+' | ':' | ' ');
    let spaced = text.contains("  ") || text.ends_with([' ', ':']) || text.contains(": ") || text.contains(" -");
    let word = text.to_ascii_lowercase();
    begins && text.chars().all(plain) && !spaced && !NOT_TEXTS.contains(&word.as_str())
}

/// All comments, sorted, as fields may move past each other.
fn comments(text: &str) -> Vec<String> {
    let mut out = Layout::of(text).map(|layout| layout.comments()).unwrap_or_default();
    out.sort_unstable();
    out
}

const NOT_TEXTS: [&str; 11] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"];
const PASSES_MAX: usize = 4;
