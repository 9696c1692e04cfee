//! Lines of another mesh that stand in two logs: whatever was copied is counted twice, and shares and numbers are not those of the traffic.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::copies::copied;
use crate::examined::{Draft, Examined, many};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "copied_lines", title: "lines that stand in two logs", severity: Weight::Low, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let path = |n: usize| examined.reads.get(n).map_or("", |read| read.path.as_str());
    let draft = |found: crate::copies::Copied| {
        let (one, other) = (path(found.logs.0), path(found.logs.1));
        let about = if found.exact { "" } else { "about " };
        Draft {
            subject: format!("{one} and {other}"),
            summary: format!(
                "{about}{} of `{one}` stand in `{other}`, too, the first on line {} and on line {}: if one is a copy, its requests count twice",
                many(found.count, "line"),
                found.lines.0,
                found.lines.1
            ),
            remedy: "give each part of a log once; a line that names its request counts once wherever it stands".to_owned(),
            count: found.count,
            suspect: true,
            ..Draft::default()
        }
    };
    copied(examined.reads).into_iter().map(draft).collect()
}
