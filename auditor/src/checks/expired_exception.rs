//! Exceptions whose last day lies before the last record, which stands for now: what they excuse counts again.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "expired_exception", title: "exceptions that have ended", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let Some(now) = examined.now else { return Vec::new() };
    let ended = examined.newest.exceptions().iter().filter(|e| e.is_expired(now.date()));
    ended
        .map(|exception| Draft {
            subject: exception.name.to_string(),
            summary: format!("the exception `{}` ended with {}, before the last record", exception.name, exception.expires),
            remedy: "mend what it excuses, or have it approved again".to_owned(),
            at: Some(exception.at.short()),
            by_policy: true,
            ..Draft::default()
        })
        .collect()
}
