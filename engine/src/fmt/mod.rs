//! The canonical form of policy files. Texts in, texts out; comments stay, and so does the meaning.
//!
//! INVARIANT: what comes out says the same as what went in, or nothing comes out. Each language's part makes sure of that itself, by
//! reading its own result again.

mod cedar;
mod layout;
mod order;
mod yaml;

use crate::bundle::SourceFile;
use crate::diagnostic::Diagnostic;

/// The file in its canonical form; `None` where the language has none here (Rego is left as it is).
///
/// # Errors
/// The file cannot be read as its language, or not be brought into form without a change of meaning.
pub fn file(file: &SourceFile) -> Result<Option<String>, Diagnostic> {
    let extension = file.path.rsplit_once('.').map(|(_, extension)| extension);
    match extension {
        Some("yaml" | "yml") => yaml::format(&file.path, file.text()?).map(Some),
        Some("cedar") => cedar::format(&file.path, file.text()?).map(Some),
        _ => Ok(None),
    }
}

/// The refusal of a file whose result would say something else.
fn unsound(path: &str, why: &str) -> Diagnostic {
    Diagnostic::error("cannot-format", format!("`{path}` cannot be formatted: {why}")).help("the file is left as it is")
}
