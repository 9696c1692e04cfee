//! `portreeve ledger`: counts logs into small files that can be kept, continued, merged, looked at, and held against a policy.

mod review;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use portreeve_auditor::LogSource;
use portreeve_auditor::foreign::Lawful;
use portreeve_auditor::ledger::Key;
use portreeve_auditor::ledgers::{Alike, Build, LedgerError, LedgerFile, Part, RowKey, merge};
use portreeve_engine::Effect;
use serde::Serialize;

use crate::args::{DocumentFormat, Threads};
use crate::bundle;
use crate::diagnostics::many;
use crate::help;
use crate::logs::{self, Progress};
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};

/// Arguments of `ledger`.
#[derive(Debug, Args)]
pub(crate) struct LedgerArgs {
    /// What to do.
    #[command(subcommand)]
    verb: LedgerVerb,
}

/// What can be done with ledgers.
#[derive(Debug, Subcommand)]
enum LedgerVerb {
    /// Count logs into a ledger, or what was appended to them since into the ledger that is there
    #[command(after_help = help::LEDGER_BUILD)]
    Build(BuildArgs),
    /// Make one ledger of several; the order in which they are given does not matter
    #[command(after_help = help::LEDGER_MERGE)]
    Merge {
        /// The ledger to write
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Ledgers
        #[arg(required = true, value_name = "LEDGER")]
        ledgers: Vec<PathBuf>,
    },
    /// Hold a policy beside a ledger: what is granted and was never used, what was allowed and nothing grants
    #[command(after_help = help::LEDGER_REVIEW)]
    Review(review::ReviewArgs),
    /// Show what a ledger was made from and who called whom
    #[command(after_help = help::LEDGER_SHOW)]
    Show {
        /// A ledger
        ledger: PathBuf,
        /// How to print it
        #[arg(long, value_enum, default_value_t)]
        format: DocumentFormat,
    },
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// The bundle by which records of other meshes are judged
    #[arg(long)]
    bundle: String,
    /// The ledger; where it exists, it is continued
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Log files or patterns; gzip, zstd and Parquet are recognised
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<String>,
    /// The format of the logs; by default each log's is recognised by its first lines
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = logs::format)]
    log_format: logs::LogFormat,
    /// Where the facts stand in a log of your own, and what names and addresses mean that the inventory does not know
    #[arg(long, value_name = "FILE")]
    log_mapping: Option<PathBuf>,
    #[command(flatten)]
    threads: Threads,
}

/// Builds, merges, reviews or shows.
pub(crate) fn run(args: &LedgerArgs) -> Outcome {
    match &args.verb {
        LedgerVerb::Build(args) => build(args),
        LedgerVerb::Merge { out, ledgers } => {
            let read = ledgers.iter().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
            let alike = merge(&read, out).map_err(|e| failure(&e))?;
            told(&open(out)?);
            tell_alike(&alike);
            Ok(Verdict::Yes)
        }
        LedgerVerb::Review(args) => review::run(args),
        LedgerVerb::Show { ledger, format } => show(&open(ledger)?, *format),
    }
}

fn build(args: &BuildArgs) -> Outcome {
    let law = bundle::authorizer(&args.bundle)?;
    let sources = logs::sources(&args.logs)?;
    let mut files = Vec::new();
    for source in &sources {
        let LogSource::File(path) = source else {
            let help = "a ledger is continued where it stopped, which needs a file: write the log into one first";
            return Err(Failure::with_help("a ledger cannot be built from standard input", help));
        };
        files.push(path.clone());
    }
    let progress = Progress::over(&sources);
    let build = Build { law: &law, reading: logs::reading(&args.log_format, args.log_mapping.as_deref())?, threads: args.threads.number() };
    let built = build.run(&files, &args.out, &|bytes| progress.at(bytes)).map_err(|e| failure(&e))?;
    drop(progress);
    let mut words = vec![format!("{} read", many(built.read, "part"))];
    if built.kept > 0 {
        words.push(format!("{} known before", built.kept));
    }
    if built.resumed > 0 {
        words.push(format!("{} taken from a build that was broken off", built.resumed));
    }
    if built.joined > 0 {
        words.push(format!("{} that rotation cut in two joined", many(built.joined, "line")));
    }
    if built.left > 0 {
        words.push(format!("{} bytes of unfinished lines left for the next build", built.left));
    }
    output::tell(&format!("{}\n", words.join(", ")));
    told(&open(&args.out)?);
    for unread in &built.rejected {
        output::tell(&format!("  {}:{}: {}\n", unread.log, unread.line, unread.why));
    }
    tell_alike(&built.alike);
    Ok(Verdict::Yes)
}

/// A warning where one log seems to be a copy of another, whole or in part. Lines without an id may be alike by chance, so nothing is refused.
fn tell_alike(alike: &Alike) {
    let Some((one, two)) = &alike.logs else { return };
    let lines = many(usize::try_from(alike.lines).unwrap_or(usize::MAX), "line");
    output::tell(&format!(
        "warning: at least {lines} of these logs stand in two of them, the first in `{one}` and `{two}`: if one is a copy, it is counted twice\n"
    ));
}

fn open(path: &Path) -> Result<LedgerFile, Failure> {
    LedgerFile::open(path).map_err(|e| failure(&e))
}

fn failure(error: &LedgerError) -> Failure {
    match (error, error.help()) {
        (LedgerError::Log(error), _) => logs::unread(error),
        (error, Some(help)) => Failure::with_help(error, help),
        (error, None) => Failure::new(error),
    }
}

fn told(file: &LedgerFile) {
    let sum = |of: fn(&Part) -> u64| file.parts.iter().map(of).sum::<u64>();
    let counted = |n: u64, noun| many(usize::try_from(n).unwrap_or(usize::MAX), noun);
    output::tell(&format!(
        "{}: {} of {}: {} decided, {} without a decision, {} rejected\n",
        file.path().display(),
        counted(file.len(), "row"),
        counted(sum(|p| p.lines), "line"),
        sum(|p| p.decided),
        sum(|p| p.undetermined + p.refused + p.other + p.duplicates),
        sum(|p| p.rejected),
    ));
}

/// What `ledger show --format json` prints.
#[derive(Serialize)]
struct Shown<'f> {
    parts: &'f [Part],
    folded: u64,
    rows: u64,
    edges: Vec<Edge>,
}

/// Who called whom for what, over all hours.
#[derive(Serialize)]
struct Edge {
    from: String,
    to: String,
    operation: Option<String>,
    allowed: u64,
    denied: u64,
    /// Allowed by another mesh and denied by policy.
    unlawful: u64,
    /// Of another mesh, and policy could not be asked.
    not_replayable: u64,
}

fn show(file: &LedgerFile, format: DocumentFormat) -> Outcome {
    let edges = edges(file).map_err(|e| failure(&e))?;
    match format {
        DocumentFormat::Human => {
            told(file);
            for part in &file.parts {
                output::tell(&format!(
                    "  {} bytes {} to {}, {}, {}, {}\n",
                    part.log,
                    part.from,
                    part.to,
                    part.format,
                    many(usize::try_from(part.lines).unwrap_or(usize::MAX), "line"),
                    part.sha256
                ));
                if let Some(rest) = &part.joined {
                    output::tell(&format!("    goes on in {}, line 1, {} bytes, {}\n", rest.log, rest.bytes, rest.sha256));
                }
            }
            for edge in &edges {
                let operation = edge.operation.as_deref().unwrap_or("undeclared paths");
                output::tell(&format!("  {} → {} {operation}: {} allowed, {} denied", edge.from, edge.to, edge.allowed, edge.denied));
                if edge.unlawful > 0 {
                    output::tell(&format!("; policy denies {} that were allowed", edge.unlawful));
                }
                if edge.not_replayable > 0 {
                    output::tell(&format!("; policy could not be asked about {}", edge.not_replayable));
                }
                output::tell("\n");
            }
        }
        DocumentFormat::Json => {
            let mut out = Out::new();
            out.json_document(&Shown { parts: &file.parts, folded: file.folded, rows: file.len(), edges })?;
            out.flush()?;
        }
    }
    Ok(Verdict::Yes)
}

fn edges(file: &LedgerFile) -> Result<Vec<Edge>, LedgerError> {
    let mut edges: BTreeMap<(String, String, Option<String>), Edge> = BTreeMap::new();
    for row in file.rows()? {
        let row = row?;
        let RowKey::Decided(key, _) = row.key else { continue };
        let (from, to, operation) = (caller(&key), key.to.clone(), key.operation.clone());
        let edge = edges.entry((from.clone(), to.clone(), operation.clone())).or_insert(Edge {
            from,
            to,
            operation,
            allowed: 0,
            denied: 0,
            unlawful: 0,
            not_replayable: 0,
        });
        let count = row.tally.count;
        let is_allow = key.effect == Effect::Allow;
        *(if is_allow { &mut edge.allowed } else { &mut edge.denied }) += count;
        edge.unlawful += if is_allow && key.lawful == Lawful::Says(Effect::Deny) { count } else { 0 };
        edge.not_replayable += if matches!(key.lawful, Lawful::NotAsked(_)) { count } else { 0 };
    }
    Ok(edges.into_values().collect())
}

fn caller(key: &Key) -> String {
    let id = || key.from_id.as_ref().map(ToString::to_string);
    key.from.clone().or_else(id).or_else(|| key.from_name.clone()).unwrap_or_else(|| "unknown".to_owned())
}
