//! Explanations for people. The content is the engine's; nothing is added here.

use portreeve_engine::explain::{Edit, EditKind, Nearest};

use crate::limits::NEAREST_SHOWN_MAX;

/// The grants that came nearest, one a line.
pub(crate) fn nearest(nearest: &[Nearest]) -> String {
    nearest.iter().take(NEAREST_SHOWN_MAX).fold(String::new(), |mut out, near| {
        out.push_str(&format!("  nearest   `{}` at {}, which lacks: {}\n", near.id, near.at, near.lacks.join("; ")));
        out
    })
}

/// The smallest edit, ready to be done; a new permission stands below, as it would be written. Or what stands in its way.
pub(crate) fn suggestion(edit: Option<&Edit>, obstacle: Option<&str>) -> String {
    let Some(edit) = edit else { return obstacle.map(|why| format!("  to allow  {why}\n")).unwrap_or_default() };
    match edit.kind {
        EditKind::NewPermission => {
            let yaml = edit.text.lines().fold(String::new(), |out, line| out + "              " + line + "\n");
            format!("  to allow  add to {}:\n{yaml}", edit.at)
        }
        EditKind::Request => format!("  to allow  {}; the permission at {} is then satisfied\n", edit.text, edit.at),
        _ => format!("  to allow  {}\n", edit.text),
    }
}
