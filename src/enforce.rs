//! `portreeve enforce`: the sidecar, until it is told to stop.

use portreeve_enforcer::report::Report;

use crate::args::EnforceArgs;
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output;

/// Runs the enforcer, or with `--check` says whether it could run.
pub(crate) fn run(args: &EnforceArgs) -> Outcome {
    let report = Report::new(|message| output::tell(&format!("portreeve: {message}\n")));
    portreeve_enforcer::enforce(&args.config, args.check, &report).map_err(|error| Failure::Told(error.render()))?;
    if args.check {
        output::tell(&format!("ok: an enforcer can run with `{}`\n", args.config.display()));
    }
    Ok(Verdict::Yes)
}
