//! Records that a log itself says were lost: a ring that ran over, a buffer that was full, numbers that are missing. Whatever they
//! stood for is unknown, and populations are not whole.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined, many, was};

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "lost_records",
    title: "records that were lost before they were written",
    severity: Weight::Medium,
    about_evidence: true,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let losing = examined.reads.iter().filter(|read| read.foreign.lost > 0);
    losing
        .map(|read| Draft {
            subject: read.path.clone(),
            summary: format!(
                "{} {} lost before being written, as `{}` itself tells",
                many(read.foreign.lost, "record"),
                was(read.foreign.lost),
                read.path
            ),
            remedy: "give what writes it more room, or fewer things to write; until then the log proves no absence".to_owned(),
            count: read.foreign.lost,
            ..Draft::default()
        })
        .collect()
}
