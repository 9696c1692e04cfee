//! A policy into a zone that asks for governance fields, and one of them is missing. The zone says `require`, so this is an error
//! of `check`; decisions do not depend on it.
//!
//! ```yaml
//! kind: Zone
//! name: cde
//! require: [justification, owner, approved_by, review_by]
//! ```
//!
//! A permission has these fields itself, a Cedar policy has annotations of these names (`@owner("…")`), a Rego package has them in
//! its metadata under `custom.portreeve`.

use std::collections::BTreeSet;

use crate::diagnostic::Diagnostic;
use crate::lint::{Findings, Lint, Linted};
use crate::model::GovernanceField;

pub(super) const LINT: Lint = Lint { code: "missing-governance", find, dated: false };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    let authorizer = linted.authorizer;
    if authorizer.zones.iter().all(|z| z.require.is_empty()) {
        return;
    }
    for (policy, _, services) in linted.concerned() {
        let zones = services.iter().filter_map(|s| authorizer.zones.iter().find(|z| s.zone.as_deref() == Some(&*z.name)));
        let mut missing: BTreeSet<GovernanceField> = BTreeSet::new();
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for zone in zones {
            let lacking = zone.require.iter().copied().filter(|field| !policy.governance.has(*field));
            let before = missing.len();
            missing.extend(lacking);
            if missing.len() > before {
                names.insert(&zone.name);
            }
        }
        if missing.is_empty() {
            continue;
        }
        let fields: Vec<String> = missing.iter().map(|field| format!("`{}`", field.as_str())).collect();
        let zones: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        let id = &policy.reference.id;
        out.add(
            id,
            Diagnostic::error(
                "missing-governance",
                format!("`{id}` lacks {}, which the zone {} requires", fields.join(", "), zones.join(", ")),
            )
            .at(policy.reference.at.clone())
            .help("say it, or approve an `Exception` for this lint"),
        );
    }
}
