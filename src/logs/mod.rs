//! LOG arguments: files, patterns, standard input, and the progress shown while they are read.

mod unpacked;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};
use portreeve_auditor::assessment::{Given, GivenKind};
use portreeve_auditor::foreign::text::TextFormat;
use portreeve_auditor::foreign::{Format, Mapping, Reading};
use portreeve_auditor::{LogSource, ReadError};
use portreeve_engine::diagnostic::nearest;

use crate::outcome::Failure;
use crate::{diagnostics, heads, output, patterns};

/// The logs of some arguments, each once by whatever names it is given and however often it was copied, files of a pattern sorted by name. What is
/// left out for that, and signed heads that a pattern matches too, is passed over with a word; a file of heads that is named by itself is
/// read as what it was called, and rejected.
///
/// # Errors
/// A pattern that is broken or matches nothing: reading less than was asked for would prove less than it seems.
pub(crate) fn sources(arguments: &[String]) -> Result<Vec<LogSource>, Failure> {
    let mut out: Vec<LogSource> = Vec::new();
    let mut known: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
    for argument in arguments {
        for source in expand(argument)? {
            if out.contains(&source) {
                continue;
            }
            if let LogSource::File(path) = &source
                // What has no length to speak of, such as a pipe, is not the same twice; and what is empty is told of by its name.
                && let Some(length) = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|file| file.len()).filter(|n| *n > 0)
            {
                let alike = known.entry(length).or_default();
                if let Some(other) = alike.iter().find(|other| is_same(path, other)) {
                    output::tell(&format!("note: `{}` holds the same bytes as `{}` and is read once\n", path.display(), other.display()));
                    continue;
                }
                alike.push(path.clone());
            }
            out.push(source);
        }
    }
    Ok(unpacked::each_once(out))
}

/// Whether two files of one length are one, or hold the same bytes. Of one that cannot be read nobody says so here; who reads it next does.
fn is_same(one: &Path, other: &Path) -> bool {
    let (Ok(one), Ok(other)) = (File::open(one), File::open(other)) else { return false };
    let inode = |file: &File| file.metadata().ok().map(|file| (file.dev(), file.ino()));
    if inode(&one).is_some() && inode(&one) == inode(&other) {
        return true;
    }
    are_equal(one, other)
}

/// Whether two readers give the same bytes up to their ends.
fn are_equal(one: impl Read, other: impl Read) -> bool {
    let (mut one, mut other) = (BufReader::with_capacity(COMPARED_BYTES, one), BufReader::with_capacity(COMPARED_BYTES, other));
    loop {
        let (Ok(left), Ok(right)) = (one.fill_buf(), other.fill_buf()) else { return false };
        let n = left.len().min(right.len());
        if n == 0 {
            return left.len() == right.len();
        }
        if left.get(..n) != right.get(..n) {
            return false;
        }
        one.consume(n);
        other.consume(n);
    }
}

fn expand(argument: &str) -> Result<Vec<LogSource>, Failure> {
    if argument == "-" || !patterns::is_pattern(argument) {
        return Ok(vec![LogSource::named(argument)]);
    }
    let (heads, logs): (Vec<_>, Vec<_>) = patterns::matching(argument)?.into_iter().partition(|path| heads::lie_in(path));
    if logs.is_empty() {
        return Err(Failure::new(format_args!(
            "no file that `{argument}` matches is a log: they hold signed heads, which `--heads` takes"
        )));
    }
    match &*heads {
        [] => {}
        [only] => output::tell(&format!("note: `{}` holds signed heads and is passed over; `--heads` takes it\n", only.display())),
        all => output::tell(&format!(
            "note: {} files that `{argument}` matches hold signed heads and are passed over; `--heads` takes them\n",
            all.len()
        )),
    }
    Ok(logs.into_iter().map(LogSource::File).collect())
}

/// The format of some logs: recognised by content, one, or text of a given format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Auto,
    One(Format),
    Text(TextFormat),
}

/// Reads the argument of `--log-format`.
pub(crate) fn format(text: &str) -> Result<LogFormat, String> {
    if text == "auto" {
        return Ok(LogFormat::Auto);
    }
    if let Some(operators) = text.strip_prefix("envoy-text:") {
        return TextFormat::parse(operators).map(LogFormat::Text).map_err(|e| e.to_string());
    }
    let known = || Format::ALL.iter().map(|f| f.as_str());
    Format::parse(text).map(LogFormat::One).ok_or_else(|| match nearest(text, known()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("the formats are auto, {}", known().collect::<Vec<_>>().join(", ")),
    })
}

/// How the logs are to be read. What the command line says of the format counts before the mapping file.
///
/// # Errors
/// The mapping file cannot be read, or something is wrong with it.
pub(crate) fn reading(format: &LogFormat, mapping: Option<&Path>) -> Result<Reading, Failure> {
    reading_given(format, mapping).map(|(reading, _)| reading)
}

/// As [`reading`], and what it was read from.
///
/// # Errors
/// The mapping file cannot be read, or something is wrong with it.
pub(crate) fn reading_given(format: &LogFormat, mapping: Option<&Path>) -> Result<(Reading, Option<Given>), Failure> {
    let mut given = None;
    let mut reading = match mapping {
        None => Reading::default(),
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).map_err(|e| Failure::new(format_args!("cannot read the mapping `{name}`: {e}")))?;
            given = Some(Given::file(GivenKind::Mapping, &name, text.as_bytes()));
            Reading::of(Mapping::parse(&name, &text).map_err(|found| Failure::Told(diagnostics::human(&found)))?)
        }
    };
    match format {
        LogFormat::Auto => {}
        LogFormat::One(format) => reading.format = Some(*format),
        LogFormat::Text(text) => (reading.format, reading.text) = (Some(Format::EnvoyText), Some(text.clone())),
    }
    Ok((reading, given))
}

/// Why logs could not be read, with the way out.
pub(crate) fn unread(error: &ReadError) -> Failure {
    match error.help() {
        Some(help) => Failure::with_help(error, help),
        None => Failure::new(error),
    }
}

/// A bar over the bytes of the logs; nothing where stderr is no terminal.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Begins to show progress over these logs.
    pub(crate) fn over(logs: &[LogSource]) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let size = |log: &LogSource| match log {
            LogSource::File(path) => std::fs::metadata(path).map_or(0, |m| m.len()),
            _ => 0,
        };
        let bar = ProgressBar::new(logs.iter().map(size).sum());
        // The template is ours and fixed; were it not to parse, the default bar would do.
        if let Ok(style) = ProgressStyle::with_template("{bytes:>10} of {total_bytes} [{bar:40}] {binary_bytes_per_sec}, {eta} left") {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar)
    }

    /// So many bytes were read in all.
    pub(crate) fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// What is compared at once of two files; the first such piece tells most of them apart.
const COMPARED_BYTES: usize = 64 << 10;
