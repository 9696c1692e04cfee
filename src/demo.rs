//! `portreeve demo`: the whole product on the marketplace example, in one command.
//!
//! Everything is real: the authority, the sidecars, the traffic, the logs, the audit. It stops by itself and leaves nothing
//! running; what it leaves on the disk is one folder with every file it used.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use portreeve_auditor::{Assessment, Audit, LogSource, Verification, VerifiedHeads};
use portreeve_demo::books::{self, Books, Ending};
use portreeve_demo::calls::Questions;
use portreeve_demo::{Day, Pages, Plan, Running, Town, TownOptions, day, limits};
use portreeve_engine::chain::HeadVerifier;

use crate::args::DemoArgs;
use crate::bundle;
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output;

/// Runs the demo.
pub(crate) fn run(args: &DemoArgs) -> Outcome {
    let began = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new(format_args!("cannot start: {e}")))?;
    let result = runtime.block_on(all(args, began));
    // What may still run is the examination of an interrupted demo; it only reads, and ends with the process.
    runtime.shutdown_background();
    result
}

/// The town's day, then the examination of what it left.
async fn all(args: &DemoArgs, began: Instant) -> Outcome {
    let (day, pages) = play(args).await?;
    let played = began.elapsed();
    output::tell("the sidecars have stopped; now their logs are examined\n");
    let books = books::balance(&args.out, &day.tally, &pages, Ending::Idle).map_err(Failure::new)?;
    let out = args.out.clone();
    let examined = tokio::select! {
        examined = tokio::task::spawn_blocking(move || examine(&out)) => examined.map_err(Failure::new)??,
        _ = tokio::signal::ctrl_c() => return Err(Failure::new("interrupted while the logs were examined; nothing else runs any more")),
    };
    let page = args.out.join("report").join("index.html");
    let good = day.tally.deviations == 0
        && books.faults.is_empty()
        && examined.verification.is_sound()
        && examined.assessment.totals.mismatches == 0
        && examined.assessment.totals.not_replayable == 0;
    output::tell(&summary(args, &day, &books, &examined, (played, began.elapsed()), &page));
    Ok(Verdict::of(good))
}

/// From the first file to the last connection.
async fn play(args: &DemoArgs) -> Result<(Day, Pages), Failure> {
    let out = args.out.clone();
    // Making certificates and files blocks; nothing else runs yet.
    let built = tokio::task::spawn_blocking(move || Town::build(&out, TownOptions::default())).await;
    let town = built.map_err(Failure::new)?.map_err(Failure::new)?;
    output::tell(&format!("a certificate authority, six services and their policies lie in {}\n", args.out.display()));
    let running = town.start().await.map_err(Failure::new)?;
    output::tell(&format!("six sidecars are ready; {} questions follow from seed {}\n", args.requests, args.seed));
    let plan = Plan { seed: args.seed, requests: args.requests, players: limits::PLAYERS, ask: Questions::All };
    let done = Arc::new(AtomicU64::new(0));
    let bar = Bar::new(args.requests);
    let passed = tokio::select! {
        passed = day(&running, plan, Arc::clone(&done), |what| bar.line(what)) => passed.map_err(Failure::new),
        () = bar.follow(&done) => Err(Failure::new("the progress ended before the traffic")),
        _ = tokio::signal::ctrl_c() => Err(Failure::new("interrupted; everything was stopped")),
    };
    drop(bar);
    let pages = running.stop().await;
    Ok((passed?, pages))
}

/// What the auditor says.
struct Examined {
    verification: Verification,
    assessment: Assessment,
}

/// Verifies and audits the logs under both bundles and with the signed heads, and writes the report.
fn examine(dir: &Path) -> Result<Examined, Failure> {
    let logs: Vec<LogSource> = books::logs(dir).into_iter().map(LogSource::File).collect();
    let heads = heads(dir)?;
    let verification = portreeve_auditor::verify(&logs, &heads, &mut |_| ()).map_err(Failure::new)?;
    let mut bundles = Vec::new();
    for path in Running::bundles(dir) {
        let name = path.display().to_string();
        let authorizer = bundle::authorizer(&name)?;
        bundles.push((name, authorizer));
    }
    let assessment = Audit::new(bundles).logs(logs).heads(heads).run(&mut |_| ()).map_err(Failure::new)?;
    portreeve_reports::write_all(&assessment, &dir.join("report")).map_err(Failure::new)?;
    Ok(Examined { verification, assessment })
}

fn heads(dir: &Path) -> Result<VerifiedHeads, Failure> {
    let read = |path: PathBuf| std::fs::read(&path).map_err(|e| Failure::new(format_args!("cannot read `{}`: {e}", path.display())));
    let pem = read(dir.join("heads.pub"))?;
    let verifier = HeadVerifier::from_pem(&String::from_utf8_lossy(&pem)).map_err(Failure::new)?;
    let mut all = VerifiedHeads::default();
    for log in books::logs(dir) {
        let bytes = read(log.with_extension("heads.ndjson"))?;
        all.extend(VerifiedHeads::read(&bytes, std::slice::from_ref(&verifier)).map_err(Failure::new)?);
    }
    Ok(all)
}

fn summary(args: &DemoArgs, day: &Day, books: &Books, examined: &Examined, (played, taken): (Duration, Duration), page: &Path) -> String {
    let (tally, totals) = (&day.tally, &examined.assessment.totals);
    let mut out = String::from("\n");
    let list = |items: Vec<(String, u64)>| items.into_iter().map(|(name, n)| format!("{n} {name}")).collect::<Vec<_>>().join(", ");
    let per_second = tally.total() as f64 / played.as_secs_f64().max(0.001);
    let mut row = |name: &str, text: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {name:<12}{text}");
    };
    let kinds = tally.sent.len();
    row("asked", format!("{} questions of {kinds} kinds, {} handshakes, about {per_second:.0} a second", tally.total(), tally.handshakes));
    row("decided", format!("{} (with those that services asked each other)", books.decided));
    let cut = if books.unanswered == 0 { String::new() } else { format!(", {} were cut off", books.unanswered) };
    row("allowed", format!("{}; {} reached their service, {} were over a limit{cut}", books.allowed, books.forwarded, books.limited));
    let denied = books.denied.iter().map(|(reason, n)| ((*reason).to_owned(), *n)).collect();
    row("denied", format!("{}: {}", books.denied.values().sum::<u64>(), list(denied)));
    let refused = books.refused.iter().map(|(reason, n)| (reason.clone(), *n)).collect();
    row("strangers", format!("{} refused: {}", books.refused.values().sum::<u64>(), list(refused)));
    let vouched = examined.verification.inputs.iter().map(|input| (word(input.verdict), 1));
    let mut chains = std::collections::BTreeMap::new();
    vouched.for_each(|(verdict, n)| *chains.entry(verdict).or_insert(0) += n);
    row("chains", list(chains.into_iter().collect()));
    row("replayed", format!("{} records, {} mismatches, {} not replayable", totals.decided, totals.mismatches, totals.not_replayable));
    let verdicts = &examined.assessment.summary.verdicts;
    let shown = verdicts.iter().filter(|v| v.count > 0).map(|v| (v.verdict.as_str().to_owned(), v.count)).collect();
    row("controls", list(shown));
    row("report", page.display().to_string());
    row("taken", format!("{:.1} s, of which {:.1} s were traffic", taken.as_secs_f64(), played.as_secs_f64()));
    for deviation in &tally.deviations_kept {
        let _ = writeln!(out, "error: {deviation}");
    }
    if tally.deviations > 0 {
        let _ = writeln!(out, "FAIL {} answers were not what was due; `--seed {}` asks the same again", tally.deviations, args.seed);
    }
    for fault in books.faults.iter().take(limits::DEVIATIONS_KEPT_MAX) {
        let _ = writeln!(out, "error: {fault}");
    }
    if !books.faults.is_empty() {
        let _ = writeln!(out, "FAIL the logs and what was seen from outside differ in {} points", books.faults.len());
    }
    out
}

fn word(verdict: portreeve_auditor::assessment::ChainVerdict) -> String {
    serde_json::to_value(verdict).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

/// Progress of the traffic: a bar on a terminal, plain lines elsewhere.
struct Bar(ProgressBar);

impl Bar {
    fn new(total: u64) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new(total);
        // The template is ours and fixed; were it not to parse, the default bar would do.
        if let Ok(style) = ProgressStyle::with_template("{pos:>7} of {len} questions [{bar:40}] {eta}") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    /// Shows how many are done, for ever.
    async fn follow(&self, done: &AtomicU64) {
        loop {
            self.0.set_position(done.load(Ordering::Relaxed));
            tokio::time::sleep(REDRAW).await;
        }
    }

    /// Tells something without tearing the bar.
    fn line(&self, what: &str) {
        self.0.suspend(|| output::tell(&format!("{what}\n")));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Ten times a second is smooth enough.
const REDRAW: Duration = Duration::from_millis(100);
