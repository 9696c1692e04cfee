//! Arguments that name files: one, or a pattern of many.

use std::path::{Path, PathBuf};

use crate::outcome::Failure;
use crate::output;

/// Whether an argument is a pattern. A file whose name has a star or a bracket is that file.
pub(crate) fn is_pattern(argument: &str) -> bool {
    argument.contains(['*', '?', '[']) && !Path::new(argument).exists()
}

/// The files that a pattern matches, sorted by name. Folders that it matches too are passed over with a word.
///
/// # Errors
/// A pattern that is broken, matches nothing, or matches what cannot be looked at, such as a link that leads nowhere: reading less than was
/// asked for would prove less than it seems.
pub(crate) fn matching(pattern: &str) -> Result<Vec<PathBuf>, Failure> {
    let paths = glob::glob(pattern).map_err(|e| Failure::new(format_args!("`{pattern}` is not a pattern: {}", e.msg)))?;
    let (mut found, mut passed) = (Vec::new(), Vec::new());
    for path in paths {
        let path = path.map_err(|e| Failure::new(format_args!("cannot read `{}`: {}", e.path().display(), e.error())))?;
        let kind = std::fs::metadata(&path).map_err(|e| Failure::new(format_args!("cannot read `{}`: {e}", path.display())))?;
        if kind.is_file() {
            found.push(path);
        } else {
            passed.push(path);
        }
    }
    if let Some(first) = passed.first() {
        let more = if passed.len() > 1 { format!(" (and {} more)", passed.len() - 1) } else { String::new() };
        output::tell(&format!("note: `{}`{more}, which `{pattern}` matches, is no file and is passed over\n", first.display()));
    }
    if found.is_empty() {
        return Err(Failure::new(format_args!("no file matches `{pattern}`")));
    }
    Ok(found)
}
