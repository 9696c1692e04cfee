//! What is in a folder, so that a test can say that nothing was written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Every file and folder below this one, with its length and when it was changed last; the folder itself too.
pub(crate) fn listed(dir: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let of = |path: &Path| {
        let found = std::fs::symlink_metadata(path).unwrap();
        (found.len(), found.modified().unwrap())
    };
    let mut out = BTreeMap::from([(dir.to_owned(), of(dir))]);
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        out.insert(path.clone(), of(&path));
        if path.is_dir() {
            out.extend(listed(&path));
        }
    }
    out
}
