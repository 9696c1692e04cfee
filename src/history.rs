//! Bundles that were in force: named one by one, or found in a directory of bundles or in the history of a git repository.
//!
//! A bundle of a history that cannot be read or is invalid is told and passed over: it can hardly have been in force, and if it was,
//! its records are counted as not replayable. A bundle named by itself must be valid.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use portreeve_auditor::History;
use portreeve_engine::time::Date;
use portreeve_engine::{Authorizer, Bundle, Digest, Timestamp};

use crate::bundle;
use crate::limits::HISTORY_BUNDLES_MAX;
use crate::outcome::Failure;
use crate::output;

/// Bundles, and when each was in force where that is known.
pub(crate) struct Given {
    /// Each with its name; the newest of a history last.
    pub(crate) bundles: Vec<(String, Authorizer)>,
    /// The times.
    pub(crate) history: History,
}

/// The bundles of some `--bundle` and `--bundle-history` arguments, each revision once.
///
/// # Errors
/// A bundle named by itself cannot be used, or a history holds none.
pub(crate) fn given(names: &[String], histories: &[String]) -> Result<Given, Failure> {
    let mut found = Found::default();
    for name in histories {
        let before = found.spans.len() + found.bundles.len();
        match repository(name) {
            Some((repo, folder)) => found.commits(name, repo, folder)?,
            None => found.children(name)?,
        }
        if found.spans.len() + found.bundles.len() == before {
            return Err(Failure::new(format_args!("`{name}` holds no bundle that can be used")));
        }
    }
    for name in names {
        found.add(name, bundle::authorizer(name)?);
    }
    Ok(Given { bundles: found.bundles, history: History::new(found.spans) })
}

/// `REPO:PATH`; a directory whose own name has a colon is that directory.
fn repository(name: &str) -> Option<(&Path, &str)> {
    let (repo, folder) = name.rsplit_once(':').filter(|_| !Path::new(name).is_dir())?;
    let folder = folder.trim_start_matches("./").trim_end_matches('/');
    Some((Path::new(repo), if folder == "." { "" } else { folder }))
}

#[derive(Default)]
struct Found {
    bundles: Vec<(String, Authorizer)>,
    revisions: BTreeSet<Digest>,
    spans: Vec<(Timestamp, Digest)>,
}

impl Found {
    fn add(&mut self, name: &str, law: Authorizer) {
        if self.revisions.insert(*law.revision()) {
            self.bundles.push((name.to_owned(), law));
        } else if let Some(place) = self.bundles.iter().position(|(_, known)| known.revision() == law.revision()) {
            // What was given again is given last: of bundles that were never in force the last is the newest.
            let again = self.bundles.remove(place);
            self.bundles.push(again);
        }
    }

    /// A bundle of a history: compiled unless its revision is known; told and passed over where it is invalid.
    fn take(&mut self, name: &str, bundle: &Bundle, since: Option<Timestamp>) {
        let revision = bundle.revision;
        if !self.revisions.contains(&revision) {
            match Authorizer::compile(bundle).authorizer {
                Some(law) => self.add(name, law),
                None => return output::tell(&format!("warning: `{name}` is passed over: it is no valid bundle\n")),
            }
        }
        self.spans.extend(since.map(|since| (since, revision)));
    }

    fn commits(&mut self, name: &str, repo: &Path, folder: &str) -> Result<(), Failure> {
        let mut commits = bundle::commits(name, repo, folder)?;
        if commits.len() > HISTORY_BUNDLES_MAX {
            let left_out = commits.len() - HISTORY_BUNDLES_MAX;
            output::tell(&format!("warning: the {left_out} oldest revisions of `{name}` are left out; name those needed with --bundle\n"));
            commits.truncate(HISTORY_BUNDLES_MAX);
        }
        for (commit, time) in commits.iter().rev() {
            let named = format!("{}:{folder}", commit.get(..COMMIT_SHOWN).unwrap_or(commit));
            match bundle::load_commit(&named, repo, commit, folder) {
                Ok(Some(bundle)) => self.take(&named, &bundle, Some(Timestamp::from_unix_ms(time.saturating_mul(1000)))),
                Ok(None) => {}
                Err(error) => output::tell(&format!("warning: `{named}` is passed over: {error}\n")),
            }
        }
        Ok(())
    }

    fn children(&mut self, name: &str) -> Result<(), Failure> {
        let unreadable = |e: std::io::Error| {
            Failure::with_help(
                format_args!("cannot read the history `{name}`: {e}"),
                "give REPO:PATH, such as `.:policies`, or a directory whose children are bundles",
            )
        };
        let mut children = Vec::new();
        for entry in fs::read_dir(name).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let child = entry.file_name().to_string_lossy().into_owned();
            let is_archive = child.ends_with(".tar.gz") || child.ends_with(".tgz");
            if !child.starts_with('.') && (is_archive || entry.path().is_dir()) {
                let issued = if is_archive { bundle::issued_at(&entry.path()) } else { None };
                children.push((issued.or_else(|| named_time(&child)), child));
            }
        }
        children.sort();
        if children.len() > HISTORY_BUNDLES_MAX {
            let left_out = children.len() - HISTORY_BUNDLES_MAX;
            output::tell(&format!("warning: the {left_out} oldest bundles of `{name}` are left out; name those needed with --bundle\n"));
            children.drain(..left_out);
        }
        for (since, child) in children {
            let path = format!("{}/{child}", name.trim_end_matches('/'));
            match bundle::load(&path) {
                Ok(loaded) => self.take(&path, &loaded.bundle, since),
                Err(error) => output::tell(&format!("warning: `{path}` is passed over: {error}\n")),
            }
        }
        Ok(())
    }
}

/// The time or day with which a name begins.
fn named_time(name: &str) -> Option<Timestamp> {
    let time = [24, 20].into_iter().find_map(|n| name.get(..n)?.parse::<Timestamp>().ok());
    time.or_else(|| Some(name.get(..10)?.parse::<Date>().ok()?.start()))
}

/// Digits of a commit in the name of its bundle.
const COMMIT_SHOWN: usize = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_times() {
        let at = |name: &str| named_time(name).map(|t| t.to_string());
        assert_eq!(at("2026-11-22").as_deref(), Some("2026-11-22T00:00:00.000Z"));
        assert_eq!(at("2026-11-22-release.tar.gz").as_deref(), Some("2026-11-22T00:00:00.000Z"));
        assert_eq!(at("2026-11-22T10:00:00Z_x").as_deref(), Some("2026-11-22T10:00:00.000Z"));
        assert_eq!(at("2026-11-22T10:00:00.250Z").as_deref(), Some("2026-11-22T10:00:00.250Z"));
        assert_eq!((at("release-7"), at("2026-13-01"), at("")), (None, None, None));
    }
}
