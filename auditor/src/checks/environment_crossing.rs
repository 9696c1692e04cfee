//! Grants or requests that lead from one environment into another, by the labels `environment` or `env` of the inventory or, where
//! there are none, by zones before production. Attempts that no grant allows and that were all denied are no crossing.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};
use crate::graph::estate::{Kind, drafts};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "environment_crossing", title: "edges between environments", severity: Weight::Medium, about_evidence: false, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    drafts(examined, Kind::Environment, "keep environments apart: remove the grant, and give each environment its own trust domain")
}
