//! What stands beside the logs, for `audit`: the governance folder, configuration files of enforcers, the history of the policy repo.

use std::collections::BTreeSet;

use portreeve_auditor::{Audit, EnforcerConfig, Governance};

use crate::args::AuditArgs;
use crate::commits;
use crate::diagnostics;
use crate::outcome::Failure;

/// Adds what the arguments name.
///
/// # Errors
/// Something cannot be read or is wrong; every complaint is in the failure.
pub(crate) fn add(mut audit: Audit, args: &AuditArgs) -> Result<Audit, Failure> {
    if let Some(dir) = &args.governance {
        let governance = Governance::read_dir(dir).map_err(|found| {
            let count = diagnostics::count(&found);
            Failure::Told(format!("{}error: the governance folder `{}` is wrong: {count}\n", diagnostics::human(&found), dir.display()))
        })?;
        audit = audit.governance(governance);
    }
    for path in &args.config {
        let bytes = std::fs::read(path).map_err(|e| Failure::new(format_args!("cannot read `{}`: {e}", path.display())))?;
        let config = EnforcerConfig::read(&path.display().to_string(), &bytes).map_err(|d| Failure::Told(d.render()))?;
        audit = audit.configs([config]);
    }
    let mut seen = BTreeSet::new();
    for name in &args.commits {
        audit = audit.commits(commits::commits(name)?.into_iter().filter(|c| seen.insert(c.id.clone())));
    }
    Ok(audit)
}
