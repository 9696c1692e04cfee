//! What stands beside the logs, for `audit`: the governance folder, configuration files of enforcers, the history of the policy repo.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use portreeve_auditor::{Audit, EnforcerConfig, Governance, OwnChecks};

use crate::args::AuditArgs;
use crate::commits;
use crate::diagnostics;
use crate::outcome::Failure;

/// Adds checks of the user's own, and gives their names.
///
/// # Errors
/// They cannot be read or compiled.
pub(crate) fn checks(mut audit: Audit, paths: &[PathBuf]) -> Result<(Audit, Vec<String>), Failure> {
    let mut names = Vec::new();
    for path in paths {
        let own = OwnChecks::read(path).map_err(|found| Failure::Told(diagnostics::human(&found)))?;
        names.extend(own.names().map(str::to_owned));
        audit = audit.own_checks(own);
    }
    match names.iter().enumerate().find(|(n, name)| names.iter().take(*n).any(|other| other == *name)) {
        Some((_, twice)) => Err(Failure::new(format_args!("the check `{twice}` is given twice"))),
        None => Ok((audit, names)),
    }
}

/// What people declared in a folder.
///
/// # Errors
/// It cannot be read or something in it is wrong; every complaint is in the failure.
pub(crate) fn governance(dir: &Path) -> Result<Governance, Failure> {
    Governance::read_dir(dir).map_err(|found| {
        let count = diagnostics::count(&found);
        Failure::Told(format!("{}error: the governance folder `{}` is wrong: {count}\n", diagnostics::human(&found), dir.display()))
    })
}

/// Adds what the arguments name.
///
/// # Errors
/// Something cannot be read or is wrong; every complaint is in the failure.
pub(crate) fn add(mut audit: Audit, args: &AuditArgs) -> Result<Audit, Failure> {
    if let Some(dir) = &args.governance {
        audit = audit.governance(governance(dir)?);
    }
    for path in &args.config {
        let bytes = std::fs::read(path).map_err(|e| Failure::new(format_args!("cannot read `{}`: {e}", path.display())))?;
        let config = EnforcerConfig::read(&path.display().to_string(), &bytes).map_err(|d| Failure::Told(d.render()))?;
        audit = audit.configs([config]);
    }
    let mut seen = BTreeSet::new();
    for name in &args.commits {
        let (commits, given) = commits::commits(name)?;
        audit = audit.commits(commits.into_iter().filter(|c| seen.insert(c.id.clone()))).given([given]);
    }
    Ok(audit)
}
