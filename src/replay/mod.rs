//! `portreeve replay`: was every recorded answer lawful, and what would another bundle have answered?
//!
//! The auditor replays, this loads and renders.

pub(crate) mod human;
pub(crate) mod markdown;

use portreeve_auditor::{Trial, replay_logs};

use crate::args::{ReplayArgs, ReplayFormat};
use crate::bundle;
use crate::history::{self, Given};
use crate::logs::{self, Progress};
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};

/// Replays the logs and prints what differs.
pub(crate) fn run(args: &ReplayArgs) -> Outcome {
    let Given { bundles, history } = history::given(&args.law.bundle, &args.law.bundle_history)?;
    let candidate = args.against.as_deref().map(bundle::authorizer).transpose()?;
    let logs = logs::sources(&args.read.logs)?;
    let progress = Progress::over(&logs);
    let laws: Vec<_> = bundles.iter().map(|(_, law)| law).collect();
    let trial = Trial { bundles: &laws, history: &history, against: candidate.as_ref() };
    let reading = logs::reading(&args.read.log_format, args.read.log_mapping.as_deref())?.on_threads(args.read.threads.number());
    let report = replay_logs(trial, &logs, &reading, &mut |bytes| progress.at(bytes)).map_err(|error| logs::unread(&error))?;
    drop(progress);
    let mut out = Out::new();
    match args.format {
        ReplayFormat::Human => {
            output::tell(&human::render(&report));
            output::tell(&human::missing(&report, &bundles));
        }
        ReplayFormat::Json => out.json_document(&report)?,
        ReplayFormat::Markdown => out.text(&markdown::render(&report, args.against.as_deref()))?,
    }
    out.flush()?;
    if args.format != ReplayFormat::Human {
        output::tell(&human::summary(&report));
    }
    if report.is_void() {
        return Err(Failure::new("no decision is in these logs, so nothing was replayed"));
    }
    Ok(Verdict::of(report.is_clean()))
}
