//! What people declared beside the logs, for `audit`: the governance folder.

use portreeve_auditor::{Audit, Governance};

use crate::args::AuditArgs;
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
    Ok(audit)
}
