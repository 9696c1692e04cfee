//! Permissions in dry-run: looked at beside the others, named in a decision's `shadow`, and without a say in its answer.
//!
//! INVARIANT: nothing here is an input of the answer. They stand in a table of their own, so that neither the decision table, nor
//! proofs, nor the comparison of bundles can take one of them for a permission in force.

use smallvec::SmallVec;

use crate::decision::PolicyRef;
use crate::id::SpiffeId;
use crate::model::{Condition, Permission};
use crate::request::Context;
use crate::table::{MethodBit, Table};

/// The permissions of a bundle that are in dry-run.
#[derive(Debug, Default)]
pub(crate) struct DryRun {
    pub(crate) permissions: Vec<Permission>,
    /// By id; entries of the table refer to them by position. Each with the position of its permission.
    pub(crate) policies: Vec<(PolicyRef, usize)>,
    pub(crate) table: Table,
}

/// A question as far as a permission can look at it.
pub(crate) struct Looked<'q> {
    pub(crate) caller: (Option<usize>, &'q SpiffeId),
    pub(crate) service: usize,
    pub(crate) operation: Option<usize>,
    pub(crate) method: MethodBit,
    pub(crate) context: &'q Context,
}

impl DryRun {
    /// Those that are satisfied, by id.
    pub(crate) fn satisfied(&self, asked: &Looked<'_>) -> SmallVec<[&PolicyRef; 0]> {
        let mut found: SmallVec<[u32; 4]> = SmallVec::new();
        let targets = self.table.targets(asked.service, asked.operation);
        self.table.concerning(asked.caller, targets, asked.method, |entry| found.push(entry.policy));
        // One may stand in several cells.
        found.sort_unstable();
        found.dedup();
        let policies = found.into_iter().filter_map(|n| self.policies.get(n as usize));
        policies.filter(|(_, n)| self.condition(*n).is_some_and(|when| when.holds(asked.context))).map(|(policy, _)| policy).collect()
    }

    fn condition(&self, permission: usize) -> Option<&Condition> {
        self.permissions.get(permission).map(|p| &p.when)
    }

    /// Whether none is in dry-run, as is usual.
    pub(crate) const fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }
}
