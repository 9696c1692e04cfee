//! The report as files in a folder. Each is written beside its place and renamed into it, so a reader never meets half a file.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use portreeve_auditor::assessment::Assessment;

use crate::ReportError;

/// Writes `assessment.json`, `summary.md` and `index.html` into `dir`, makes it where it is missing, and names the files.
///
/// # Errors
/// If a report cannot be made, or the folder or a file cannot be written. Files already in place are then whole, old or new.
pub fn write_all(assessment: &Assessment, dir: &Path) -> Result<Vec<PathBuf>, ReportError> {
    let files = [
        ("assessment.json", crate::json(assessment)?),
        ("summary.md", crate::markdown(assessment)),
        ("index.html", crate::html(assessment)?),
    ];
    fs::create_dir_all(dir).map_err(|source| ReportError::Folder { path: dir.to_owned(), source })?;
    let mut written = Vec::with_capacity(files.len());
    for (name, content) in files {
        let path = dir.join(name);
        let beside = dir.join(format!(".{name}.{}.part", std::process::id()));
        if let Err(source) = put(&beside, &path, content.as_bytes()) {
            // The rename did not happen; what is left of the attempt is of use to nobody, and its removal may fail too.
            let _gone_or_not = fs::remove_file(&beside);
            return Err(ReportError::Write { path, source });
        }
        written.push(path);
    }
    Ok(written)
}

fn put(beside: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(beside, path)
}
