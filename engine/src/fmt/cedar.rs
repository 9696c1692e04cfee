//! Cedar's own formatter, held to keep every comment.

use cedar_policy_formatter::{Config, policies_str_to_pretty};

use crate::cedar::tokens;
use crate::diagnostic::Diagnostic;
use crate::fmt::unsound;
use crate::limits::{CEDAR_DEPTH_MAX, CEDAR_FORMAT_STACK_BYTES};

/// The policies in the form that Cedar's tools write.
pub(super) fn format(path: &str, text: &str) -> Result<String, Diagnostic> {
    let text = text.replace("\r\n", "\n");
    if text.lines().map(str::trim).all(|l| l.is_empty() || l.starts_with("//")) {
        // Comments alone: there is nothing that Cedar would lay out.
        let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
        let text = lines.join("\n");
        return Ok(if text.trim().is_empty() { String::new() } else { format!("{}\n", text.trim_matches('\n')) });
    }
    let (head, text) = head(&text);
    let config = Config { line_width: LINE_WIDTH, indent_width: 2 };
    if tokens::outlines(text).iter().any(|o| o.depth > CEDAR_DEPTH_MAX) {
        return Err(unsound(path, &format!("its expressions nest more than {CEDAR_DEPTH_MAX} deep")));
    }
    // Cedar walks expressions by recursion, and lays them out more deeply than it reads them.
    let pretty = |text: &str| {
        let walk = || policies_str_to_pretty(text, &config).map_err(|e| unsound(path, &words(&e)));
        stacker::maybe_grow(CEDAR_FORMAT_STACK_BYTES, CEDAR_FORMAT_STACK_BYTES, walk)
    };
    let mut out = pretty(text)?;
    // A long comment may move a line break, and only the next pass sees it.
    for _ in 0..PASSES_MAX {
        let again = pretty(&out)?;
        if again == out {
            break;
        }
        out = again;
    }
    if comments(&out) != comments(text) {
        return Err(unsound(path, "a comment would be lost"));
    }
    Ok(head + &out)
}

/// What stands above the first policy and apart from it, which Cedar's formatter would move up to it; and the rest.
fn head(text: &str) -> (String, &str) {
    let (mut at, mut end) = (0, 0);
    for line in text.split_inclusive('\n') {
        let line_text = line.trim();
        if !line_text.is_empty() && !line_text.starts_with("//") {
            break;
        }
        at += line.len();
        if line_text.is_empty() {
            end = at;
        }
    }
    let (head, rest) = text.split_at_checked(end).unwrap_or(("", text));
    let mut out = String::new();
    for line in head.lines().map(str::trim) {
        if !line.is_empty() || !(out.is_empty() || out.ends_with("\n\n")) {
            out.push_str(line);
            out.push('\n');
        }
    }
    (out, rest)
}

/// The causes of an error in one line.
fn words(error: &miette::Report) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The texts of all comments, sorted: the formatter may move one past a brace.
fn comments(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    for line in text.lines() {
        let (mut quoted, mut escaped) = (false, false);
        for (at, c) in line.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                '/' if !quoted => {
                    let rest = line.get(at..).unwrap_or_default();
                    if rest.starts_with("//") {
                        out.push(rest.trim());
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    out.sort_unstable();
    out
}

const LINE_WIDTH: usize = 100;
const PASSES_MAX: usize = 3;
