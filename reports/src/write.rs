//! The report as files in a folder. Each is written beside its place and renamed into it, so a reader never meets half a file.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use portreeve_auditor::assessment::Assessment;

use crate::{Format, Options, ReportError};

/// Writes `assessment.json`, `summary.md` and `index.html` into `dir`, makes it where it is missing, and names the files.
///
/// # Errors
/// See [`write_formats`].
pub fn write_all(assessment: &Assessment, dir: &Path) -> Result<Vec<PathBuf>, ReportError> {
    write_formats(assessment, dir, &Format::USUAL, &Options::default())
}

/// Writes the report in these formats into `dir`, makes it where it is missing, and names the files. Where a format has no form
/// for this assessment, its file of an earlier one is taken away, so that nobody takes it for part of this report.
///
/// # Errors
/// If a report cannot be made, or the folder or a file cannot be written. Files already in place are then whole, old or new.
pub fn write_formats(assessment: &Assessment, dir: &Path, formats: &[Format], options: &Options) -> Result<Vec<PathBuf>, ReportError> {
    let made = formats.iter().map(|format| Ok((format.file(), format.render(assessment, options)?)));
    let files = made.collect::<Result<Vec<_>, ReportError>>()?;
    fs::create_dir_all(dir).map_err(|source| ReportError::Folder { path: dir.to_owned(), source })?;
    let mut written = Vec::with_capacity(files.len());
    for (name, content) in files {
        let path = dir.join(name);
        let Some(content) = content else {
            match fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(ReportError::Write { path, source }),
                _ => continue,
            }
        };
        replace(&path, content.as_bytes())?;
        written.push(path);
    }
    Ok(written)
}

/// Writes a file whole, or leaves what was there.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), ReportError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
    put(&beside, path, content).map_err(|source| {
        // The rename did not happen; what is left of the attempt is of use to nobody, and its removal may fail too.
        let _gone_or_not = fs::remove_file(&beside);
        ReportError::Write { path: path.to_owned(), source }
    })
}

fn put(beside: &Path, path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(beside)?;
    file.write_all(content)?;
    file.sync_all()?;
    drop(file);
    fs::rename(beside, path)
}
