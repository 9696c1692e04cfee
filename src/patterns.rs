//! Arguments that name files: one, or a pattern of many.

use std::path::{Path, PathBuf};

use crate::outcome::Failure;

/// Whether an argument is a pattern. A file whose name has a star or a bracket is that file.
pub(crate) fn is_pattern(argument: &str) -> bool {
    argument.contains(['*', '?', '[']) && !Path::new(argument).exists()
}

/// The files that a pattern matches, sorted by name.
///
/// # Errors
/// A pattern that is broken or matches nothing: reading less than was asked for would prove less than it seems.
pub(crate) fn matching(pattern: &str) -> Result<Vec<PathBuf>, Failure> {
    let paths = glob::glob(pattern).map_err(|e| Failure::new(format_args!("`{pattern}` is not a pattern: {}", e.msg)))?;
    let mut found = Vec::new();
    for path in paths {
        let path = path.map_err(|e| Failure::new(format_args!("cannot read `{}`: {}", e.path().display(), e.error())))?;
        if path.is_file() {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Err(Failure::new(format_args!("no file matches `{pattern}`")));
    }
    Ok(found)
}
