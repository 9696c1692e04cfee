//! The git history of the policy repo as evidence: who changed what, who agreed by trailers, and the revision at each commit.

use std::path::Path;

use portreeve_auditor::Commit;
use portreeve_engine::Timestamp;

use crate::bundle;
use crate::limits::COMMITS_MAX;
use crate::outcome::Failure;

/// The commits that touched a folder, given as `REPO:PATH`.
///
/// # Errors
/// It is no folder of a repository, git cannot be run, or there are more commits than are looked at: a part of a history would call
/// the rest unknown.
pub(crate) fn commits(name: &str) -> Result<Vec<Commit>, Failure> {
    let Some((repo, folder)) = name.rsplit_once(':') else {
        return Err(Failure::with_help(format_args!("`{name}` is no folder of a repository"), "give REPO:PATH, such as `.:policies`"));
    };
    let (repo, folder) = (Path::new(repo), folder.trim_start_matches("./").trim_end_matches('/'));
    let folder = if folder == "." { "" } else { folder };
    let trailers = "%(trailers:key=Approved-by,key=Reviewed-by,key=Acked-by,key=Signed-off-by,valueonly,separator=%x1f)";
    let format = format!("--format=%H%x00%an <%ae>%x00%ct%x00{trailers}");
    let most = format!("--max-count={}", COMMITS_MAX + 1);
    let at = if folder.is_empty() { "." } else { folder };
    let log = bundle::git(name, Some(repo), &["log", "-z", &most, &format, "--end-of-options", "HEAD", "--", at], &[])?;
    let log = String::from_utf8_lossy(&log);
    let fields: Vec<&str> = log.split('\0').collect();
    let mut commits = Vec::new();
    for fields in fields.chunks_exact(4) {
        let [id, author, seconds, trailers] = fields else { continue };
        let Ok(seconds) = seconds.trim().parse::<i64>() else { continue };
        let id = id.trim();
        // Where the folder holds what no bundle holds, there is no revision that an enforcer could have had in force.
        let bundle = bundle::load_commit(&format!("{id}:{folder}"), repo, id, folder).ok().flatten();
        commits.push(Commit {
            id: id.to_owned(),
            author: (*author).to_owned(),
            at: Timestamp::from_unix_ms(seconds.saturating_mul(1000)),
            approved_by: trailers.split('\x1f').map(str::trim).filter(|who| !who.is_empty()).map(str::to_owned).collect(),
            revision: bundle.map(|b| b.revision),
        });
    }
    if commits.len() > COMMITS_MAX {
        return Err(Failure::new(format_args!("`{name}` has more than {COMMITS_MAX} commits, more than are looked at")));
    }
    Ok(commits)
}
