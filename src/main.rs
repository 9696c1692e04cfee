//! The command line: reads arguments, calls one verb, turns its outcome into an exit code.
//!
//! No verb has logic of its own: each loads inputs, calls the engine, the enforcer, the auditor or the reports, and renders
//! what comes back. Machine output goes to stdout, everything else to stderr (see `output`). The exit codes are promises.

mod args;
mod audit;
mod bundle;
mod bundling;
mod ca;
mod cacheability;
mod check;
mod commits;
mod coverage;
mod decide;
mod declared;
mod demo;
mod diagnostics;
mod diff;
mod enforce;
mod escape;
mod explained;
mod export;
mod files;
mod fmt;
mod gate;
mod heads;
mod help;
mod history;
mod init;
mod interrupt;
mod junit;
mod ledgers;
mod limits;
mod logs;
mod outcome;
mod output;
mod patterns;
mod reading;
mod rego_tests;
mod replay;
mod sarif;
mod suggest;
mod test;
mod unified;
mod verify;
mod why;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Cli, Verb};
use crate::outcome::Outcome;

fn main() -> ExitCode {
    outcome::exit_code(run(Cli::parse().verb))
}

fn run(verb: Verb) -> Outcome {
    if !matches!(verb, Verb::Enforce(_) | Verb::Demo(_) | Verb::Ca(_)) {
        interrupt::leaves_nothing_half()?;
    }
    match verb {
        Verb::Init(args) => init::run(&args),
        Verb::Check(args) => check::run(&args),
        Verb::Fmt(args) => fmt::run(&args),
        Verb::Test(args) => test::run(&args),
        Verb::Decide(args) => decide::run(&args),
        Verb::Diff(args) => diff::run(&args),
        Verb::Why(args) => why::run(&args),
        Verb::Replay(args) => replay::run(&args),
        Verb::Audit(args) => audit::run(&args),
        Verb::Suggest(args) => suggest::run(&args),
        Verb::Verify(args) => verify::run(&args),
        Verb::Ledger(args) => ledgers::run(&args),
        Verb::Enforce(args) => enforce::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Export(args) => export::run(&args),
        Verb::Bundle(args) => bundling::run(&args),
        Verb::Ca(args) => ca::run(&args),
    }
}
