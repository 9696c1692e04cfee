//! The `--format json` document of `diff`; the other forms are made from it. Its shape is a promise (`docs/diff.md`).

use portreeve_auditor::traffic::{Recorded, Traffic};
use portreeve_engine::diagnostic::Location;
use portreeve_engine::diff::{Change as Compared, ChangedService, Comparison, Direction, Kind, Status, Verdict};
use portreeve_engine::{Authorizer, Decision, PolicyRef};
use serde::Serialize;

/// The whole document.
#[derive(Debug, Serialize)]
pub(crate) struct Report<'a> {
    pub(crate) old: Source<'a>,
    pub(crate) new: Source<'a>,
    pub(crate) verdict: Verdict,
    pub(crate) changes: Vec<Change<'a>>,
    /// What could not be compared.
    pub(crate) unexplored: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logs: Option<&'a Traffic>,
}

/// A bundle as it was named, and its revision.
#[derive(Debug, Serialize)]
pub(crate) struct Source<'a> {
    pub(crate) bundle: &'a str,
    pub(crate) revision: String,
}

impl<'a> Source<'a> {
    pub(crate) fn new(bundle: &'a str, authorizer: &Authorizer) -> Self {
        Self { bundle, revision: authorizer.revision().to_string() }
    }
}

/// One change.
#[derive(Debug, Serialize)]
pub(crate) struct Change<'a> {
    pub(crate) kind: Kind,
    pub(crate) direction: Direction,
    pub(crate) before: Status,
    pub(crate) after: Status,
    pub(crate) callers: &'a [String],
    pub(crate) targets: &'a [ChangedService],
    pub(crate) policies: Both<&'a [PolicyRef]>,
    pub(crate) declarations: Both<Vec<Declaration<'a>>>,
    pub(crate) witness: Option<Witness<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recorded: Option<Recorded>,
}

/// The same of the old and of the new bundle.
#[derive(Debug, Serialize)]
pub(crate) struct Both<T> {
    pub(crate) old: T,
    pub(crate) new: T,
}

/// A service or group, and where it is declared.
#[derive(Debug, Serialize)]
pub(crate) struct Declaration<'a> {
    pub(crate) name: &'a str,
    pub(crate) at: String,
    #[serde(skip)]
    pub(crate) location: &'a Location,
}

/// A request, as `decide` takes it, and both answers, as `decide` gives them.
#[derive(Debug, Serialize)]
pub(crate) struct Witness<'a> {
    pub(crate) request: serde_json::Value,
    pub(crate) old: Decision<'a>,
    pub(crate) new: Decision<'a>,
}

impl<'a> Report<'a> {
    pub(crate) fn new(
        [old, new]: [Source<'a>; 2],
        comparison: &'a Comparison<'_>,
        laws: [&'a Authorizer; 2],
        traffic: Option<&'a Traffic>,
    ) -> Self {
        let changes = comparison.changes.iter().enumerate();
        Self {
            old,
            new,
            verdict: comparison.verdict,
            changes: changes.map(|(n, c)| Change::new(c, laws, traffic.and_then(|t| t.changes.get(n)).copied())).collect(),
            unexplored: &comparison.unexplored,
            logs: traffic,
        }
    }
}

impl<'a> Change<'a> {
    fn new(change: &'a Compared, [old, new]: [&'a Authorizer; 2], recorded: Option<Recorded>) -> Self {
        let [old_policies, new_policies] = &change.policies;
        let [old_declarations, new_declarations] = change
            .declarations
            .each_ref()
            .map(|found| found.iter().map(|d| Declaration { name: &d.name, at: d.at.short(), location: &d.at }).collect::<Vec<_>>());
        let witness = change.witness.as_ref().map(|witness| Witness {
            request: witness.json(),
            old: old.decide(&witness.request),
            new: new.decide(&witness.request),
        });
        Self {
            kind: change.kind,
            direction: change.direction,
            before: change.before,
            after: change.after,
            callers: &change.callers,
            targets: &change.targets,
            policies: Both { old: old_policies, new: new_policies },
            declarations: Both { old: old_declarations, new: new_declarations },
            witness,
            recorded,
        }
    }
}
