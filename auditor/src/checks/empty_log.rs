//! Logs that were given and have not one line: one that was emptied looks the same as one into which nobody wrote.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check = Check { id: "empty_log", title: "logs without a line", severity: Weight::Low, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let empty = examined.verification.inputs.iter().filter(|input| input.lines == 0);
    empty
        .map(|input| Draft {
            subject: input.path.clone(),
            summary: format!("`{}` was given and has not one line: it was emptied, or nobody wrote to it", input.path),
            remedy: "find out which, and leave it out where it is meant to be empty".to_owned(),
            suspect: true,
            ..Draft::default()
        })
        .collect()
}
