//! `portreeve verify`: are these logs whole, as far as they can show it?

use portreeve_auditor::heads::VerifiedHeads;
use portreeve_engine::chain::HeadVerifier;

use crate::args::{DocumentFormat, VerifyArgs};
use crate::logs::{self, Progress};
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};

/// Follows the chains of all logs and prints what they show.
pub(crate) fn run(args: &VerifyArgs) -> Outcome {
    let heads = heads(args)?;
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

fn heads(args: &VerifyArgs) -> Result<VerifiedHeads, Failure> {
    let (Some(heads), Some(key)) = (&args.heads, &args.key) else { return Ok(VerifiedHeads::default()) };
    let unreadable = |path: &std::path::Path, e: std::io::Error| Failure::new(format_args!("cannot read `{}`: {e}", path.display()));
    let pem = std::fs::read_to_string(key).map_err(|e| unreadable(key, e))?;
    let verifier = HeadVerifier::from_pem(&pem).map_err(|e| Failure::new(format_args!("`{}`: {e}", key.display())))?;
    let bytes = std::fs::read(heads).map_err(|e| unreadable(heads, e))?;
    VerifiedHeads::read(&bytes, &verifier).map_err(|e| Failure::new(format_args!("`{}`: {e}: {}", heads.display(), e.cause)))
}
