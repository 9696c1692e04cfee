//! A log that is given packed and as it was, or packed twice in other ways: its bytes differ, and its lines are the same.
//!
//! Only what begins alike is unpacked to be compared, and only as far as it is alike; where nothing is packed, nothing is looked at.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;

use portreeve_auditor::LogSource;

use super::are_equal;
use crate::output;

/// Of these logs, which differ in their bytes, each that has lines of its own. What is left out is told.
pub(super) fn each_once(logs: Vec<LogSource>) -> Vec<LogSource> {
    if !logs.iter().any(is_packed) {
        return logs;
    }
    let mut known: BTreeMap<Vec<u8>, Vec<LogSource>> = BTreeMap::new();
    let mut out = Vec::new();
    for log in logs {
        if let Some(head) = head(&log) {
            let alike = known.entry(head).or_default();
            if let Some(other) = alike.iter().find(|other| is_same(&log, other)) {
                output::tell(&format!("note: `{}` holds the same lines as `{}` and is read once\n", log.name(), other.name()));
                continue;
            }
            alike.push(log.clone());
        }
        out.push(log);
    }
    out
}

fn is_packed(log: &LogSource) -> bool {
    let LogSource::File(path) = log else { return false };
    let mut magic = [0; 4];
    // A pipe is not looked into: what is read of it here nobody would read again.
    let is_file = std::fs::metadata(path).is_ok_and(|file| file.is_file());
    let read = is_file && File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok();
    read && (magic.starts_with(&GZIP) || magic == ZSTD)
}

/// The first bytes of what is in a file; `None` where it is empty or cannot be read, of which whoever reads it next speaks.
fn head(log: &LogSource) -> Option<Vec<u8>> {
    let LogSource::File(path) = log else { return None };
    if !std::fs::metadata(path).is_ok_and(|file| file.is_file()) {
        return None;
    }
    let mut head = Vec::new();
    log.open().ok()?.take(HEAD_BYTES).read_to_end(&mut head).ok()?;
    (!head.is_empty()).then_some(head)
}

/// Of a damaged file nobody says that it is the same as a whole one.
fn is_same(one: &LogSource, other: &LogSource) -> bool {
    let (Ok(one), Ok(other)) = (one.open(), other.open()) else { return false };
    are_equal(one, other)
}

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Some lines, the times of which tell nearly all logs apart.
const HEAD_BYTES: u64 = 4 << 10;
