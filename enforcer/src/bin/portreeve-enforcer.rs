//! The enforcer alone, for sidecar images: the same library as `portreeve enforce`, without the rest of the program.

use std::path::PathBuf;
use std::process::ExitCode;

use portreeve_enforcer::enforce;
use portreeve_enforcer::report::Report;

const USAGE: &str = "usage: portreeve-enforcer --config FILE [--check]";

fn main() -> ExitCode {
    let report = Report::new(say);
    let (config, check) = match arguments(std::env::args_os().skip(1)) {
        Ok(Some(found)) => found,
        Ok(None) => {
            say(USAGE);
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            say(&format!("error: {why}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    match enforce(&config, check, &report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::from(2)
        }
    }
}

/// The configuration file and whether to check only; `None` where help was asked for.
fn arguments(mut given: impl Iterator<Item = std::ffi::OsString>) -> Result<Option<(PathBuf, bool)>, String> {
    let (mut config, mut check) = (None, false);
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--config") => config = Some(PathBuf::from(given.next().ok_or("`--config` needs a file")?)),
            Some("--check") => check = true,
            Some("--help" | "-h") => return Ok(None),
            _ => return Err(format!("`{}` is not an option", argument.to_string_lossy())),
        }
    }
    config.map(|config| Some((config, check))).ok_or_else(|| "`--config` is missing".to_owned())
}

#[expect(clippy::print_stderr, reason = "this is the program, and standard error is where its messages go")]
fn say(message: &str) {
    eprintln!("portreeve-enforcer: {}", portreeve_engine::diagnostic::escape_control(message));
}
