//! Protocol versions and suites that were seen and that the scope does not list with a purpose.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "unlisted_cryptography",
    title: "protocols in use that nobody listed",
    severity: Weight::Medium,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    if !examined.governance.is_given() {
        return Vec::new();
    }
    let listed = &examined.scope().cryptography;
    let is_listed =
        |version: &str, suite: &str| listed.iter().any(|c| c.version == version && (c.suites.is_empty() || c.suites.contains(suite)));
    let seen = examined.group(|key| key.tls.as_ref().filter(|(version, suite)| !is_listed(version, suite)));
    seen.into_iter()
        .map(|((version, suite), tally)| Draft {
            subject: format!("{version} {suite}"),
            summary: format!("{} ran on {version} with {suite}, which the scope does not list", many(tally.count, "request")),
            remedy: "list it under `cryptography` with its purpose, or stop using it".to_owned(),
            evidence: tally.evidence.into_vec(),
            count: tally.count,
            ..Draft::default()
        })
        .collect()
}
