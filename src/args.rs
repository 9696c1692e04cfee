//! What may stand on the command line. Arguments are texts here; each verb reads its own into types that cannot be wrong.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use portreeve_auditor::foreign::Grade;
use portreeve_auditor::limits::SAMPLE_SIZE_MAX;
use portreeve_engine::time::Date;
use portreeve_engine::{Digest, Timestamp, TrustDomain};
use portreeve_reports::Format;

use crate::help::{self, ABOUT, AFTER};

/// The whole command line.
#[derive(Debug, Parser)]
#[command(name = "portreeve", version, about = "One law, one gate, one examiner for microservices", long_about = ABOUT, after_help = AFTER)]
#[command(max_term_width = 100, arg_required_else_help = true, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Write a small policy repo that passes check and test
    #[command(after_help = help::INIT)]
    Init(InitArgs),
    /// Say whether a bundle is valid: read, resolve, type-check, prove its invariants
    #[command(after_help = help::CHECK)]
    Check(CheckArgs),
    /// Bring policy files into their canonical form; comments stay
    #[command(after_help = help::FMT)]
    Fmt(FmtArgs),
    /// Run the test cases of a bundle
    #[command(after_help = help::TEST)]
    Test(TestArgs),
    /// Answer requests: one JSON object a line in, one decision a line out
    #[command(after_help = help::DECIDE)]
    Decide(DecideArgs),
    /// Say what a change of policy changes, over all requests: newly allowed, newly denied, newly conditional
    #[command(after_help = help::DIFF)]
    Diff(DiffArgs),
    /// From the request id on a refusal to its reason, source lines and nearest grants
    #[command(after_help = help::WHY)]
    Why(WhyArgs),
    /// Put recorded requests again: was every answer lawful, and what would another bundle answer?
    #[command(after_help = help::REPLAY)]
    Replay(ReplayArgs),
    /// Examine decision logs against a bundle and control catalogues, and write the report
    #[command(after_help = help::AUDIT)]
    Audit(Box<AuditArgs>),
    /// Draft policy from traffic: services, operations and permissions of least privilege, to be read by a person
    #[command(after_help = help::SUGGEST)]
    Suggest(SuggestArgs),
    /// Check the chain of decision logs: changes, gaps, rotation links, signed heads
    #[command(after_help = help::VERIFY)]
    Verify(VerifyArgs),
    /// Count logs into ledgers: files that can be kept, continued and merged
    #[command(after_help = help::LEDGER)]
    Ledger(crate::ledgers::LedgerArgs),
    /// Run the sidecar: mutual TLS in and out, decide, record, forward or refuse
    #[command(after_help = help::ENFORCE)]
    Enforce(EnforceArgs),
    /// The whole product on the marketplace example: sidecars, traffic, audit, report
    #[command(after_help = help::DEMO)]
    Demo(DemoArgs),
    /// Write a bundle in the forms that other tools take
    #[command(after_help = help::EXPORT)]
    Export(crate::export::ExportArgs),
    /// Build, sign, verify and show built bundles
    #[command(after_help = help::BUNDLE)]
    Bundle(crate::bundling::BundleArgs),
    /// The built-in certificate authority, for development and small fleets
    #[command(after_help = help::CA)]
    Ca(crate::ca::CaArgs),
}

/// Arguments of `init`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Where to write; made if it does not exist
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
}

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// A directory, a built bundle (.tar.gz), or REV:PATH of the enclosing git repository
    pub(crate) bundle: String,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: CheckFormat,
    /// The day on which reviews and exceptions are looked at [default: today, UTC]
    #[arg(long, value_name = "DATE")]
    pub(crate) today: Option<Date>,
    /// Also tell how the answers of each policy come about, and which cannot be kept and why
    #[arg(long)]
    pub(crate) cacheability: bool,
}

/// Arguments of `fmt`.
#[derive(Debug, Args)]
pub(crate) struct FmtArgs {
    /// A folder, or one file
    pub(crate) bundle: PathBuf,
    /// Write nothing; list the files that are not in their form, and exit with 1 if there are any
    #[arg(long)]
    pub(crate) check: bool,
    /// Write nothing; print what would change as a unified diff, and exit with 1 if anything would
    #[arg(long)]
    pub(crate) diff: bool,
}

/// How `check` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CheckFormat {
    /// With source lines and help, on stderr
    #[default]
    Human,
    /// One JSON document
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Workflow commands, which become annotations on a pull request
    Github,
}

/// Arguments of `test`.
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// A directory, a built bundle (.tar.gz), or REV:PATH of the enclosing git repository
    pub(crate) bundle: String,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: TestFormat,
    /// Tell too which policies decide and which operations are asked for, and what is not covered
    #[arg(long, value_enum, value_name = "FORM")]
    pub(crate) coverage: Option<CoverageFormat>,
    /// Where the coverage is written [default: stdout; for people, stderr]
    #[arg(long, value_name = "FILE", requires = "coverage")]
    pub(crate) coverage_out: Option<PathBuf>,
    /// Fail unless at least so many percent of the policies decide a case, and as many of the operations are asked for
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) coverage_min: Option<u8>,
}

/// How `test --coverage` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum CoverageFormat {
    /// Totals and what is not covered, in words
    Human,
    /// One JSON document
    Json,
    /// A tracefile of lcov
    Lcov,
    /// XML of Cobertura
    Cobertura,
}

/// How `test` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum TestFormat {
    /// Failures with their reasons, on stderr
    #[default]
    Human,
    /// One JSON document
    Json,
    /// JUnit XML
    Junit,
}

/// Arguments of `decide`.
#[derive(Debug, Args)]
pub(crate) struct DecideArgs {
    /// A directory, a built bundle (.tar.gz), or REV:PATH of the enclosing git repository
    #[arg(long)]
    pub(crate) bundle: String,
    /// Add the nearest grants and what each lacked to a default denial
    #[arg(long)]
    pub(crate) explain: bool,
    /// Requests, one JSON object a line; `-` is stdin
    #[arg(default_value = "-")]
    pub(crate) file: PathBuf,
}

/// Arguments of `enforce`.
#[derive(Debug, Args)]
pub(crate) struct EnforceArgs {
    /// The configuration file (YAML)
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// Only say whether it could run: configuration, bundle, identity, key sets, log
    #[arg(long)]
    pub(crate) check: bool,
}

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// The folder that is written; an earlier demo's is replaced, any other must be empty or new
    #[arg(long, value_name = "DIR", default_value = "portreeve-demo")]
    pub(crate) out: PathBuf,
    /// How many questions are asked
    #[arg(long, value_name = "N", default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) requests: u64,
    /// The questions follow from it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The bundle before: a directory, a built bundle (.tar.gz), or REV:PATH of the enclosing git repository
    pub(crate) old: String,
    /// The bundle after
    pub(crate) new: String,
    /// Logs, ours or another mesh's: files, patterns, or `-`; may be repeated. Each recorded request is put to both bundles
    #[arg(long, value_name = "LOG")]
    pub(crate) logs: Vec<String>,
    /// The format of the logs, or `envoy-text:FORMAT`; by default each log's is recognised by its first lines
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = crate::logs::format, requires = "logs")]
    pub(crate) log_format: crate::logs::LogFormat,
    /// Where the facts stand in a log of your own, and what its names and addresses mean (YAML)
    #[arg(long, value_name = "FILE", requires = "logs")]
    pub(crate) log_mapping: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// How to print what differs
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: DiffFormat,
}

/// How `diff` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffFormat {
    /// In words, on stderr
    #[default]
    Human,
    /// One JSON document
    Json,
    /// For a comment on a pull request
    Markdown,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

/// Arguments of `why`.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The `x-request-id` of the answer, or the caller's own id of the request
    pub(crate) request_id: String,
    /// Decision logs: files, patterns, or `-`; gzip, zstd and Parquet are recognised
    #[arg(required = true, value_name = "LOG")]
    pub(crate) logs: Vec<String>,
    /// A bundle to explain with; may be repeated, the one of the record's revision is used
    #[arg(long)]
    pub(crate) bundle: Vec<String>,
    /// How to print the explanation
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: DocumentFormat,
}

/// Which law was in force, of the verbs that decide again.
#[derive(Debug, Args)]
pub(crate) struct LawArgs {
    /// A bundle that was in force; may be repeated
    #[arg(long, required_unless_present = "bundle_history")]
    pub(crate) bundle: Vec<String>,
    /// Every bundle that was in force: REPO:PATH, a folder in the history of a git repository, or a directory whose children are
    /// bundles; may be repeated
    #[arg(long, value_name = "REPO:PATH|DIR")]
    pub(crate) bundle_history: Vec<String>,
}

/// How many threads read logs.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Threads {
    /// Threads that read logs at once; their number shows in nothing but the time [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

impl Threads {
    /// How many.
    pub(crate) fn number(self) -> usize {
        self.threads.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from)
    }
}

/// Which logs are read, and how.
#[derive(Debug, Args)]
pub(crate) struct LogArgs {
    /// Decision logs: files, patterns, or `-`; gzip, zstd and Parquet are recognised
    #[arg(required = true, value_name = "LOG")]
    pub(crate) logs: Vec<String>,
    /// The format of the logs, or `envoy-text:FORMAT`; by default each log's is recognised by its first lines
    #[arg(long, value_name = "FORMAT", default_value = "auto", value_parser = crate::logs::format)]
    pub(crate) log_format: crate::logs::LogFormat,
    /// Where the facts stand in a log of your own, and what its names and addresses mean (YAML)
    #[arg(long, value_name = "FILE")]
    pub(crate) log_mapping: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) threads: Threads,
}

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) law: LawArgs,
    #[command(flatten)]
    pub(crate) read: LogArgs,
    /// A candidate: every record that it would answer with another effect is told
    #[arg(long, value_name = "BUNDLE")]
    pub(crate) against: Option<String>,
    /// How to print what differs
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: ReplayFormat,
}

/// How `replay` prints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReplayFormat {
    /// In words, on stderr
    #[default]
    Human,
    /// One JSON document
    Json,
    /// For a comment on a pull request
    Markdown,
}

/// Arguments of `audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    pub(crate) law: LawArgs,
    #[command(flatten)]
    pub(crate) read: LogArgs,
    /// A control catalogue: pci-dss-4.0.1, nist-800-53-r5, soc2, or a file; may be repeated [default: pci-dss-4.0.1]
    #[arg(long, value_name = "ID|FILE")]
    pub(crate) catalog: Vec<String>,
    /// A folder with scope, reviews, attestations, exceptions and records
    #[arg(long, value_name = "DIR")]
    pub(crate) governance: Option<PathBuf>,
    /// Checks of your own in Rego: a folder or a file; may be repeated
    #[arg(long, value_name = "DIR|FILE")]
    pub(crate) checks: Vec<PathBuf>,
    /// A configuration file of an enforcer, as evidence of its settings; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Vec<PathBuf>,
    /// The git history of the policies as evidence of who changed what and who approved: REPO:PATH; may be repeated
    #[arg(long, value_name = "REPO:PATH")]
    pub(crate) commits: Vec<String>,
    /// Signed heads kept elsewhere, one a line: files or patterns; may be repeated
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) heads: Vec<String>,
    /// A public key of the heads (Ed25519, PEM); may be repeated, each head is signed by one of them
    #[arg(long, value_name = "FILE", requires = "heads")]
    pub(crate) key: Vec<PathBuf>,
    /// An earlier assessment.json: the gate fails only on what is new since; may be repeated for a trend
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Vec<PathBuf>,
    /// A folder for the report
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// What is written there, several with commas; `all` for everything [default: json,markdown,html]
    #[arg(long, value_name = "FORMAT", value_delimiter = ',', requires = "out")]
    pub(crate) formats: Vec<AuditFormat>,
    /// What is printed on stdout: one of the formats, or nothing with `human`, whose summary goes to stderr in any case
    #[arg(long, value_name = "FORMAT", default_value = "human")]
    pub(crate) format: AuditFormat,
    /// Draw a random sample of so many decided records, with proofs to the raw lines, and write it as sample.json
    #[arg(long, value_name = "N", requires = "out", value_parser = clap::value_parser!(u32).range(1..=SAMPLE_SIZE_MAX as i64))]
    pub(crate) sample: Option<u32>,
    /// What the sample follows from: the same seed and logs give the same records
    #[arg(long, value_name = "SEED", requires = "sample", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Leave the lines out of the sample; digests and proofs stay
    #[arg(long, requires = "sample")]
    pub(crate) sample_digests_only: bool,
    /// Sign the report and what it was made from with this private key (Ed25519, PEM)
    #[arg(long, value_name = "FILE", requires = "out")]
    pub(crate) sign: Option<PathBuf>,
    /// When the report is made, to be said in it; without it every time comes from the inputs
    #[arg(long, value_name = "TIME")]
    pub(crate) generated_at: Option<Timestamp>,
    /// What fails the gate, one or several with commas: not-met, suspect, new, expired-exception, coverage:PERCENT (of the services),
    /// coverage:grade-B:PERCENT (of the decisions, whose callers are known as well as B), or never
    #[arg(long, value_name = "WHAT", value_delimiter = ',', default_value = "not-met")]
    pub(crate) fail_on: Vec<FailOn>,
}

/// Arguments of `suggest`.
#[derive(Debug, Args)]
pub(crate) struct SuggestArgs {
    #[command(flatten)]
    pub(crate) read: LogArgs,
    /// A policy repo: what it does not allow yet is printed as a unified diff to it
    #[arg(long, value_name = "BUNDLE", conflicts_with = "out")]
    pub(crate) bundle: Option<String>,
    /// The trust domain of callers and callees that lines name by namespace and service account: NAME/ns/NAMESPACE/sa/ACCOUNT [default:
    /// that of the bundle, where all of its identities are of this form]
    #[arg(long, value_name = "NAME")]
    pub(crate) trust_domain: Option<TrustDomain>,
    /// A new folder for the drafted policy repo [default: stdout]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
}

/// A form of the report of `audit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuditFormat {
    /// Nothing on stdout
    Human,
    /// Every format
    All,
    /// One of them
    One(Format),
}

impl std::str::FromStr for AuditFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "human" => Ok(Self::Human),
            "all" => Ok(Self::All),
            _ => Format::named(text).map(Self::One).ok_or_else(|| {
                let names: Vec<&str> = Format::ALL.iter().map(|f| f.name()).collect();
                format!("expected one of {}", names.join(", "))
            }),
        }
    }
}

/// What fails the gate of `audit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailOn {
    /// A control is refuted
    NotMet,
    /// A control is refuted or in doubt
    Suspect,
    /// Some finding is not in the baseline
    New,
    /// An exception to a control has run out, and what it covered counts again
    ExpiredException,
    /// Logs speak of less than so many percent of the services
    Coverage(u8),
    /// Less than so many percent of the decisions know their caller as well as this grade
    Known(Grade, u8),
    /// Nothing
    Never,
}

impl std::str::FromStr for FailOn {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "not-met" => Ok(Self::NotMet),
            "suspect" => Ok(Self::Suspect),
            "new" => Ok(Self::New),
            "expired-exception" => Ok(Self::ExpiredException),
            "never" => Ok(Self::Never),
            _ => match text.strip_prefix("coverage:") {
                Some(covered) => Self::covered(covered),
                None => {
                    Err("expected not-met, suspect, new, expired-exception, coverage:PERCENT, coverage:grade-GRADE:PERCENT or never"
                        .to_owned())
                }
            },
        }
    }
}

impl FailOn {
    /// What stands after `coverage:`: `90`, or `grade-B:95`.
    fn covered(text: &str) -> Result<Self, String> {
        let percent = |text: &str| {
            let read = text.parse::<u8>().ok().filter(|percent| *percent <= 100);
            read.ok_or_else(|| "after `coverage:` stands a number from 0 to 100, or a grade and a number: `coverage:grade-B:95`".to_owned())
        };
        let Some(graded) = text.strip_prefix("grade-") else { return percent(text).map(Self::Coverage) };
        let (letter, share) = graded.split_once(':').unwrap_or((graded, ""));
        let grade = Grade::ALL.into_iter().find(|g| g.as_str().eq_ignore_ascii_case(letter));
        let grade = grade.ok_or_else(|| format!("`{letter}` is no grade: A is the best, E the worst"))?;
        Ok(Self::Known(grade, percent(share)?))
    }
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Decision logs (files, patterns, or `-`); or the folder of a signed report; or a sample.json, and then the logs it is of
    #[arg(required = true, value_name = "LOG|REPORT|SAMPLE")]
    pub(crate) logs: Vec<String>,
    /// Signed heads kept elsewhere, one a line: files or patterns; may be repeated
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) heads: Vec<String>,
    /// A public key of the heads, or the one of the report (Ed25519, PEM); may be repeated, each head is signed by one of them
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Vec<PathBuf>,
    /// The root that a sample's proofs must lead to, where it is known from elsewhere
    #[arg(long, value_name = "DIGEST")]
    pub(crate) root: Option<Digest>,
    #[command(flatten)]
    pub(crate) threads: Threads,
    /// How to print what was found
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: DocumentFormat,
}

/// For people or as one document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum DocumentFormat {
    /// In words, on stderr
    #[default]
    Human,
    /// One JSON document
    Json,
}

/// A number and `s`, `m`, `h` or `d`.
pub(crate) fn lifetime(text: &str) -> Result<Duration, &'static str> {
    let wrong = "expected a number and `s`, `m`, `h` or `d`, such as `24h`";
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(wrong),
    };
    let number = text.get(..text.len() - 1).filter(|n| n.bytes().all(|b| b.is_ascii_digit())).and_then(|n| n.parse::<u64>().ok());
    let seconds = number.and_then(|n| n.checked_mul(unit)).filter(|seconds| *seconds <= LIFETIME_SECONDS_MAX);
    seconds.map(Duration::from_secs).ok_or(wrong)
}

/// A century: longer than anything here may live, and far from any overflow.
const LIFETIME_SECONDS_MAX: u64 = 100 * 365 * 86_400;
