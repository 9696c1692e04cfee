//! The report as files in a folder. Each is written beside its place and renamed into it, so a reader never meets half a file.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use portreeve_auditor::aside::{self, Aside};
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
/// If a report cannot be made, or the folder or a file cannot be written. Where there is no room for all files, none is in its place: an older
/// report is then whole, and no page stands beside the data of another one.
pub fn write_formats(assessment: &Assessment, dir: &Path, formats: &[Format], options: &Options) -> Result<Vec<PathBuf>, ReportError> {
    let made = formats.iter().map(|format| Ok((format.file(), format.render(assessment, options)?)));
    let files = made.collect::<Result<Vec<_>, ReportError>>()?;
    fs::create_dir_all(dir).map_err(|source| ReportError::Folder { path: dir.to_owned(), source })?;
    let (mut written, mut files_aside) = (Vec::new(), Vec::new());
    for (name, content) in &files {
        if let Some(content) = content {
            written.push(dir.join(name));
            files_aside.push(ready(&dir.join(name), content.as_bytes())?);
        }
    }
    aside::put_all(files_aside).map_err(|(path, source)| ReportError::Write { path, source })?;
    for (name, _) in files.iter().filter(|(_, content)| content.is_none()) {
        let path = dir.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(ReportError::Write { path, source }),
            _ => {}
        }
    }
    Ok(written)
}

/// Writes a file whole, or leaves what was there.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), ReportError> {
    ready(path, content)?.put().map_err(|source| ReportError::Write { path: path.to_owned(), source })
}

/// A file that is written whole, and not in its place yet.
fn ready(path: &Path, content: &[u8]) -> Result<Aside, ReportError> {
    let written = Aside::begin(path, 0o666).and_then(|mut aside| aside.write_all(content).map(|()| aside));
    written.map_err(|source| ReportError::Write { path: path.to_owned(), source })
}
