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
/// If a report cannot be made, or the folder or a file cannot be written. Where there is no room for all files, none is in its place: an older
/// report is then whole, and no page stands beside the data of another one.
pub fn write_formats(assessment: &Assessment, dir: &Path, formats: &[Format], options: &Options) -> Result<Vec<PathBuf>, ReportError> {
    let made = formats.iter().map(|format| Ok((format.file(), format.render(assessment, options)?)));
    let files = made.collect::<Result<Vec<_>, ReportError>>()?;
    fs::create_dir_all(dir).map_err(|source| ReportError::Folder { path: dir.to_owned(), source })?;
    let mut ready = Vec::with_capacity(files.len());
    for (name, content) in &files {
        if let Some(content) = content {
            ready.push(Ready::write(&dir.join(name), content.as_bytes())?);
        }
    }
    let written = ready.into_iter().map(Ready::put).collect::<Result<Vec<_>, _>>()?;
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
    Ready::write(path, content)?.put().map(drop)
}

/// A file that is written whole, and not in its place yet. Where it never comes there, what is left of the attempt goes.
struct Ready {
    beside: PathBuf,
    path: PathBuf,
}

impl Ready {
    fn write(path: &Path, content: &[u8]) -> Result<Self, ReportError> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let ready = Self { beside: path.with_file_name(format!(".{name}.{}.part", std::process::id())), path: path.to_owned() };
        let written = File::create(&ready.beside).and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()));
        written.map_err(|source| ReportError::Write { path: path.to_owned(), source })?;
        Ok(ready)
    }

    fn put(self) -> Result<PathBuf, ReportError> {
        let path = self.path.clone();
        fs::rename(&self.beside, &path).map_err(|source| ReportError::Write { path: path.clone(), source })?;
        Ok(path)
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        // In its place it is no longer here, and a removal that fails is of no consequence.
        let _gone_or_not = fs::remove_file(&self.beside);
    }
}
