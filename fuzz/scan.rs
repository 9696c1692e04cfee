//! The auditor's line scanner, held against `serde_json`: for any lines at all the two give the same values or both refuse, and what
//! a line gives does not depend on the lines before it.
//!
//! A fuzz target calls this with random bytes, a test of the auditor with the seeds.

use portreeve_auditor::scan::{Scanner, general};

const WANTED: [&str; 4] = ["path", "method", "code", "who"];

/// All lines of some bytes, through one scanner and through a fresh one each.
pub(crate) fn scan(data: &[u8]) {
    let mut used = Scanner::new(WANTED);
    for line in data.split(|b| *b == b'\n') {
        let parsed = std::str::from_utf8(line).ok().and_then(|text| general(text, &WANTED).ok());
        assert_eq!(used.scan(line).ok(), parsed, "after other lines: {}", line.escape_ascii());
        assert_eq!(Scanner::new(WANTED).scan(line).ok(), parsed, "by itself: {}", line.escape_ascii());
    }
}
