//! The git history of the policy repo as evidence: who changed what, who agreed by trailers, and the revision at each commit.

use std::path::Path;

use portreeve_auditor::Commit;
use portreeve_auditor::assessment::{Given, GivenKind};
use portreeve_engine::{Digest, Timestamp};

use crate::bundle;
use crate::limits::COMMITS_MAX;
use crate::outcome::Failure;

/// A folder of a repository.
struct Place<'a> {
    name: &'a str,
    repo: &'a Path,
    folder: &'a str,
}

impl<'a> Place<'a> {
    /// Reads `REPO:PATH`.
    fn of(name: &'a str) -> Result<Self, Failure> {
        let Some((repo, folder)) = name.rsplit_once(':') else {
            return Err(Failure::with_help(format_args!("`{name}` is no folder of a repository"), "give REPO:PATH, such as `.:policies`"));
        };
        let folder = folder.trim_start_matches("./").trim_end_matches('/');
        Ok(Self { name, repo: Path::new(repo), folder: if folder == "." { "" } else { folder } })
    }

    fn git(&self, args: &[&str]) -> Result<Vec<u8>, Failure> {
        Ok(bundle::git(self.name, Some(self.repo), args, &[])?)
    }

    fn head(&self) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(&self.git(&["rev-parse", "HEAD"])?).trim().to_owned())
    }

    /// What git tells of the commits that touched the folder, up to this one.
    fn log(&self, at: &str) -> Result<Vec<u8>, Failure> {
        let trailers = "%(trailers:key=Approved-by,key=Reviewed-by,key=Acked-by,key=Signed-off-by,valueonly,separator=%x1f)";
        let format = format!("--format=%H%x00%an <%ae>%x00%ct%x00{trailers}");
        let most = format!("--max-count={}", COMMITS_MAX + 1);
        let folder = if self.folder.is_empty() { "." } else { self.folder };
        self.git(&["log", "-z", &most, &format, "--end-of-options", at, "--", folder])
    }
}

/// Whether a history still is what was read; `None` where its repository is not here. New commits change nothing; a commit that was
/// amended, dropped or put elsewhere does: what was read no longer leads to the present.
pub(crate) fn is_unchanged(given: &Given) -> Option<bool> {
    let place = Place::of(&given.path).ok()?;
    let (head, at) = (place.head().ok()?, given.at.as_deref()?);
    let base = place.git(&["merge-base", "--end-of-options", at, &head]).unwrap_or_default();
    let leads_here = String::from_utf8_lossy(&base).trim() == at;
    Some(leads_here && place.log(at).is_ok_and(|log| Digest::of(&log) == given.sha256))
}

/// The commits that touched a folder, given as `REPO:PATH`, and what they were read from.
///
/// # Errors
/// It is no folder of a repository, git cannot be run, or there are more commits than are looked at: a part of a history would call
/// the rest unknown.
pub(crate) fn commits(name: &str) -> Result<(Vec<Commit>, Given), Failure> {
    let place = Place::of(name)?;
    let Place { repo, folder, .. } = place;
    let at = place.head()?;
    let log = place.log(&at)?;
    let given = Given { kind: GivenKind::Commits, path: name.to_owned(), sha256: Digest::of(&log), at: Some(at) };
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
    Ok((commits, given))
}
