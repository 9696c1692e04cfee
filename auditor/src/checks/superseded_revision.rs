//! Revisions that still decided more than a day after the history of bundles has another one in force: a rollout that did not reach
//! every enforcer. Only a history of bundles tells; the times of commits stand for the times of rollouts.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, duration};
use crate::limits::ROLLOUT_MS_MAX;

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "superseded_revision",
    title: "decisions under bundles that were replaced",
    severity: Weight::Low,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let decided = examined.fold.revisions.iter();
    decided
        .filter_map(|(revision, tally)| {
            let until = examined.history.until(revision)?;
            let late = tally.last.unix_ms() - until.unix_ms();
            (late > ROLLOUT_MS_MAX).then(|| Draft {
                subject: revision.to_string(),
                summary: format!("{revision} was replaced at {until} and still decided {} later, at {}", duration(late), tally.last),
                remedy: "see that every enforcer takes up a new bundle; `max_age` makes one that does not deny".to_owned(),
                ..Draft::default()
            })
        })
        .collect()
}
