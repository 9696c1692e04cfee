//! Watches where a bundle lies and says when it was replaced, so that it may be taken up.
//!
//! INVARIANT: a directory that is still being written is not taken up. Where a symlink leads to another place now, the swap was
//! one step; a directory that took the place of another under the same name must be the same at two looks first. Edits in place
//! are never told (they raise `bundle_drift`).

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use portreeve_engine::Revision;
use tokio::task::spawn_blocking;

use crate::config::Source;
use crate::policy;

/// What was last seen at the place of a bundle.
#[derive(Debug)]
pub struct Lookout {
    source: Source,
    seen: Option<Stamp>,
    settling: Option<(Stamp, Option<Revision>, Instant)>,
}

/// Where the path leads, through whatever symlinks, and which directory or file that is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp {
    real: PathBuf,
    dev: u64,
    ino: u64,
    /// Numbers of removed directories are given again; the time of birth tells them apart.
    born: Option<SystemTime>,
}

impl Lookout {
    /// Remembers what is there now.
    #[must_use]
    pub fn new(source: &Source) -> Self {
        Self { source: source.clone(), seen: source.path().and_then(stamp), settling: None }
    }

    /// Whether something else lies there now, whole, and was not told before.
    pub async fn look(&mut self) -> bool {
        // A path that is missing for a moment, while it is replaced, is not forgotten.
        let Some(now) = self.source.path().and_then(stamp) else { return false };
        if self.seen.as_ref() == Some(&now) {
            self.settling = None;
            return false;
        }
        let moved = self.seen.as_ref().is_some_and(|seen| seen.real != now.real);
        // A signature tells a half from a whole.
        if !moved && matches!(self.source, Source::Directory(_)) && !self.is_settled(&now).await {
            return false;
        }
        (self.seen, self.settling) = (Some(now), None);
        true
    }

    async fn is_settled(&mut self, now: &Stamp) -> bool {
        let source = self.source.clone();
        // One that cannot be read is told too, so that its fault is.
        let revision = spawn_blocking(move || policy::revision_on_disk(&source)).await.ok().flatten();
        match &self.settling {
            Some((stamp, before, since)) if stamp == now && *before == revision => since.elapsed() >= crate::limits::SETTLE,
            _ => {
                self.settling = Some((now.clone(), revision, Instant::now()));
                false
            }
        }
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let real = path.canonicalize().ok()?;
    let metadata = std::fs::metadata(&real).ok()?;
    Some(Stamp { real, dev: metadata.dev(), ino: metadata.ino(), born: metadata.created().ok() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(dir: &Path, name: &str, text: &str) {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join(name), text).unwrap();
    }

    /// Looks as if the wait were over.
    async fn look_later(lookout: &mut Lookout) -> bool {
        if let Some((_, _, since)) = &mut lookout.settling {
            *since -= crate::limits::SETTLE;
        }
        lookout.look().await
    }

    #[tokio::test]
    async fn a_directory_that_grows_is_not_told_until_it_rests() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("policies");
        put(&dir, "a.yaml", "kind: Group\n");
        let mut lookout = Lookout::new(&Source::Directory(dir.clone()));
        put(&dir, "b.yaml", "edited in place\n");
        assert!(!look_later(&mut lookout).await && lookout.settling.is_none());
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(!lookout.look().await, "what is missing is not told");
        put(&dir, "a.yaml", "kind: Group\n");
        assert!(!lookout.look().await, "the first half");
        put(&dir, "b.yaml", "kind: Permission\n");
        assert!(!look_later(&mut lookout).await, "it changed since");
        assert!(!lookout.look().await, "not long enough");
        assert!(look_later(&mut lookout).await);
        assert!(!look_later(&mut lookout).await, "told once");
    }

    #[tokio::test]
    async fn a_symlink_that_leads_elsewhere_is_told_at_once() {
        let root = tempfile::tempdir().unwrap();
        for n in ["1", "2"] {
            put(&root.path().join(n), "a.yaml", n);
        }
        let link = root.path().join("policies");
        std::os::unix::fs::symlink("1", &link).unwrap();
        let mut lookout = Lookout::new(&Source::Directory(link.clone()));
        std::os::unix::fs::symlink("2", root.path().join("new")).unwrap();
        std::fs::rename(root.path().join("new"), &link).unwrap();
        assert!(lookout.look().await);
        assert!(!lookout.look().await);
    }
}
