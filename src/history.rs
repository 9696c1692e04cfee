//! The git history of a bundle's folder as evidence: commits, their approvals by trailers, and the revision at each.

use std::path::Path;

use portreeve_auditor::Commit;
use portreeve_engine::{Bundle, Timestamp};

use crate::bundle::{self, LoadError};
use crate::limits::HISTORY_COMMITS_MAX;
use crate::outcome::Failure;

/// The commits that touched a bundle, given as a directory in a repository or as `REV:PATH`.
///
/// # Errors
/// It does not lie in a repository, git cannot be run, or there are more commits than are looked at: a part of a history would
/// call the rest unknown.
pub(crate) fn commits(name: &str) -> Result<Vec<Commit>, Failure> {
    let is_dir = Path::new(name).is_dir();
    let (dir, rev, folder) = match name.split_once(':') {
        _ if is_dir => (Path::new(name), "HEAD", "."),
        Some((rev, folder)) if !rev.is_empty() => (Path::new("."), rev, folder),
        _ => {
            let help = "give the bundle as a directory of a git repository, or as REV:PATH";
            return Err(Failure::with_help(format!("`{name}` has no git history"), help));
        }
    };
    let trailers = "%(trailers:key=Approved-by,key=Reviewed-by,key=Acked-by,key=Signed-off-by,valueonly,separator=%x1f)";
    let format = format!("--format=%H%x00%an <%ae>%x00%ct%x00{trailers}");
    let most = format!("--max-count={}", HISTORY_COMMITS_MAX + 1);
    let at = if folder.is_empty() { "." } else { folder };
    let log = bundle::git(dir, name, &["log", "-z", &most, &format, "--end-of-options", rev, "--", at], &[])?;
    let log = String::from_utf8_lossy(&log);
    let fields: Vec<&str> = log.split('\0').collect();
    let mut commits = Vec::new();
    for fields in fields.chunks_exact(4) {
        let [id, author, seconds, trailers] = fields else { continue };
        let Ok(seconds) = seconds.parse::<i64>() else { continue };
        commits.push(Commit {
            id: (*id).to_owned(),
            author: (*author).to_owned(),
            at: Timestamp::from_unix_ms(seconds.saturating_mul(1000)),
            approved_by: trailers.split('\x1f').map(str::trim).filter(|who| !who.is_empty()).map(str::to_owned).collect(),
            revision: revision(dir, name, id, at)?,
        });
    }
    if commits.len() > HISTORY_COMMITS_MAX {
        return Err(Failure::new(format_args!("`{name}` has more than {HISTORY_COMMITS_MAX} commits, more than are looked at")));
    }
    Ok(commits)
}

/// The revision of the bundle at a commit; `None` where there was none.
fn revision(dir: &Path, name: &str, commit: &str, folder: &str) -> Result<Option<portreeve_engine::Digest>, Failure> {
    match bundle::read_git(dir, name, commit, folder) {
        Ok(files) => Ok(Bundle::from_files(name, files).ok().map(|b| b.revision)),
        Err(LoadError::NoGit(e)) => Err(Failure::new(LoadError::NoGit(e))),
        // The folder was not there yet, or held what no bundle holds.
        Err(_) => Ok(None),
    }
}
