//! The enforcer alone, for sidecar images: the same library as `portreeve enforce`, without the rest of the program.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use portreeve_enforcer::enforce;
use portreeve_enforcer::report::Report;

/// Memory is asked for some ten to twenty times a request, often for more than the system's allocator keeps at hand.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const USAGE: &str = "usage: portreeve-enforcer --config FILE [--check]";

const HELP: &str = "\
The sidecar: accepts mutual TLS in front of one service, decides every request, records every decision, forwards what is allowed

usage: portreeve-enforcer --config FILE [--check]

  --config FILE    the configuration, in YAML; its JSON Schema: portreeve export json-schema enforcer
  --check          only say whether it could run: configuration, bundle, identity, key sets, log
  -V, --version    print the version
  -h, --help       print this

SIGHUP takes up a new bundle and new certificates; SIGTERM drains and ends.

Exit codes: 0 ended in order (with --check: could run), 2 cannot run. `portreeve enforce` is the same.";

/// What is asked of the program.
enum Asked {
    Run { config: PathBuf, check: bool },
    Help,
    Version,
}

fn main() -> ExitCode {
    let report = Report::new(say);
    let (config, check) = match arguments(std::env::args_os().skip(1)) {
        Ok(Asked::Run { config, check }) => (config, check),
        Ok(Asked::Help) => return tell(HELP),
        Ok(Asked::Version) => return tell(concat!("portreeve-enforcer ", env!("CARGO_PKG_VERSION"))),
        Err(why) => {
            say(&format!("error: {why}\n{USAGE}"));
            return ExitCode::from(2);
        }
    };
    match enforce(&config, check, &report) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(error.render().trim_end());
            ExitCode::from(2)
        }
    }
}

fn arguments(mut given: impl Iterator<Item = std::ffi::OsString>) -> Result<Asked, String> {
    let (mut config, mut check) = (None, false);
    while let Some(argument) = given.next() {
        match argument.to_str() {
            Some("--config") => config = Some(PathBuf::from(given.next().ok_or("`--config` needs a file")?)),
            Some("--check") => check = true,
            Some("--help" | "-h") => return Ok(Asked::Help),
            Some("--version" | "-V") => return Ok(Asked::Version),
            _ => return Err(format!("`{}` is not an option", argument.to_string_lossy())),
        }
    }
    config.map(|config| Asked::Run { config, check }).ok_or_else(|| "`--config` is missing".to_owned())
}

/// What was asked for, on standard output.
fn tell(text: &str) -> ExitCode {
    match writeln!(std::io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(2),
    }
}

#[expect(clippy::print_stderr, reason = "this is the program, and standard error is where its messages go")]
fn say(message: &str) {
    eprintln!("portreeve-enforcer: {}", portreeve_engine::diagnostic::escape_control(message));
}
