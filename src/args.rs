//! What may stand on the command line. Arguments are texts here; each verb reads its own into types that cannot be wrong.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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
    #[command(after_help = INIT)]
    Init(InitArgs),
    /// Say whether a bundle is valid: read, resolve, type-check, prove its invariants
    #[command(after_help = CHECK)]
    Check(CheckArgs),
    /// Run the test cases of a bundle
    #[command(after_help = TEST)]
    Test(TestArgs),
    /// Answer requests: one JSON object a line in, one decision a line out
    #[command(after_help = DECIDE)]
    Decide(DecideArgs),
    /// Check the chain of decision logs: changes, gaps, rotation links, signed heads
    #[command(after_help = VERIFY)]
    Verify(VerifyArgs),
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

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Decision logs: files, patterns, or `-`; gzip and zstd are recognised
    #[arg(required = true)]
    pub(crate) logs: Vec<String>,
    /// Signed heads kept elsewhere, one a line
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) heads: Option<PathBuf>,
    /// The public key of the heads (Ed25519, PEM)
    #[arg(long, value_name = "FILE", requires = "heads")]
    pub(crate) key: Option<PathBuf>,
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

const ABOUT: &str = "Portreeve keeps the law of a mesh of services: policies in a repo, tested like code; a sidecar that asks for \
certificates on both sides, decides every request and writes down every decision; and an auditor that reads what was written, \
decides again, and says what the evidence shows.";

const AFTER: &str = "\
Begin:
  portreeve init policies               write a small policy repo
  portreeve check policies              is it valid?
  portreeve test policies               does it say what was meant?

Exit codes:
  0  yes: valid, allowed, passed, no difference
  1  no: invalid, denied, failed, different
  2  could not tell: bad usage, unreadable input, an invalid bundle given to another verb than check

Machine output goes to stdout, everything else to stderr. NO_COLOR is respected.";

const INIT: &str = "\
Examples:
  portreeve init policies
  portreeve init policies && portreeve check policies && portreeve test policies

Existing files are never overwritten.

Exit codes: 0 written, 2 not written";

const CHECK: &str = "\
Examples:
  portreeve check policies
  portreeve check HEAD~1:policies
  portreeve check policies --format sarif > check.sarif

Exit codes: 0 valid (there may be warnings), 1 invalid, 2 the bundle cannot be read";

const TEST: &str = "\
Examples:
  portreeve test policies
  portreeve test policies --format junit > results.xml

Exit codes: 0 all cases pass, 1 a case fails, 2 the bundle is invalid or has no test case";

const DECIDE: &str = "\
Example (one line):
  echo '{\"principal\":\"spiffe://market.example/ns/shop/sa/invoices\",\"service\":\"items\",
         \"method\":\"GET\",\"path\":\"/v1/items/42\",\"context\":{\"time\":\"2026-11-22T10:00:00.000Z\"}}' |
    portreeve decide --bundle policies/marketplace --explain

A request to a TCP port has \"port\" instead of \"method\" and \"path\". A line that is no request is denied as
malformed-request; it does not end the stream. Each line in gives one line out, in the same order.

Exit codes: 0 every answer is allow, 1 some answer is deny, 2 the bundle is invalid or the input cannot be read";

const VERIFY: &str = "\
Examples:
  portreeve verify decisions.ndjson
  portreeve verify 'logs/*.ndjson.zst' --heads heads.ndjson --key head.pub

Without heads from elsewhere a whole log is `self-consistent`: someone who can rewrite all of it leaves no trace.

Exit codes: 0 nothing is wrong, 1 something is, 2 a log, the heads or the key cannot be read";
