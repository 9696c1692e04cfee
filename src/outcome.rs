//! How a verb ends: yes, no, or could not tell; and the exit code that says so.
//!
//! `0` yes, `1` no, `2` could not tell. These numbers are promises to scripts.

use std::fmt;
use std::io;
use std::process::ExitCode;

use portreeve_engine::diagnostic::escape_line;

use crate::output;

/// The answer of a verb that could tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Valid, allowed, passed, no difference.
    Yes,
    /// Invalid, denied, failed, different.
    No,
}

impl Verdict {
    /// `Yes` where `good` holds.
    pub(crate) const fn of(good: bool) -> Self {
        if good { Self::Yes } else { Self::No }
    }
}

/// Why a verb could not tell.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The reader of stdout went away. Nobody is left to be told, so nothing is said; it is still not a yes.
    OutputClosed,
    /// What went wrong, for people; already rendered, it may have several lines.
    Told(String),
}

/// What every verb returns.
pub(crate) type Outcome = Result<Verdict, Failure>;

impl Failure {
    /// A failure with one sentence: lower case, no full stop, input in backticks.
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self::Told(format!("error: {}\n", escape_line(&message.to_string())))
    }

    /// The same with the way out on its own line.
    pub(crate) fn with_help(message: impl fmt::Display, help: impl fmt::Display) -> Self {
        Self::Told(format!("error: {}\n  help: {}\n", escape_line(&message.to_string()), escape_line(&help.to_string())))
    }
}

impl From<io::Error> for Failure {
    /// Errors of stdout; every other operation names its file through [`Failure::new`].
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::OutputClosed
        } else {
            Self::new(format_args!("cannot write to stdout: {error}"))
        }
    }
}

/// The exit code of an outcome; tells a failure on stderr first.
pub(crate) fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(Verdict::Yes) => ExitCode::SUCCESS,
        Ok(Verdict::No) => ExitCode::from(1),
        Err(failure) => {
            if let Failure::Told(text) = failure {
                output::tell(&text);
            }
            ExitCode::from(2)
        }
    }
}
