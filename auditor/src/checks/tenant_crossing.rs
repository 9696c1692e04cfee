//! Grants or requests that lead from one tenant to another, by the label `tenant` of the inventory. Services without it are shared and
//! on no side. Attempts that no grant allows and that were all denied are no crossing: the gate did its work, and `analyses.separation` counts
//! them.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};
use crate::graph::estate::{Kind, drafts};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "tenant_crossing", title: "edges between tenants", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    drafts(examined, Kind::Tenant, "let tenants meet in a shared service only, or remove the grant")
}
