//! `portreeve verify`: are these logs whole, as far as they can show it?

use crate::args::{DocumentFormat, VerifyArgs};
use crate::logs::{self, Progress};
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};

/// Follows the chains of all logs and prints what they show.
pub(crate) fn run(args: &VerifyArgs) -> Outcome {
    let heads = logs::heads(args.heads.as_deref(), args.key.as_deref())?;
    let logs = logs::sources(&args.logs)?;
    let progress = Progress::over(&logs);
    let found = portreeve_auditor::verify::verify(&logs, &heads, &mut |bytes| progress.at(bytes)).map_err(Failure::new)?;
    drop(progress);
    match args.format {
        DocumentFormat::Human => output::tell(&found.render()),
        DocumentFormat::Json => {
            let mut out = Out::new();
            out.json_document(&found)?;
            out.flush()?;
        }
    }
    Ok(Verdict::of(found.is_sound()))
}
