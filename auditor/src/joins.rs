//! Joins lines that rotation cut in two: the last line of one file, without its end, and the first line of the next, without its beginning.
//!
//! Halves are joined only where the order of the files is known and the two make one line that can be read: by names, when files of one
//! stream are numbered or dated (`log.2`, `log.1`, `log`; `log-20261121`, `log-20261122`, `log`), or else by times, when of all files just one
//! goes on soon after the torn one ends, and no other half would fit either. Everything else stays as it was read: two rejected lines.
//!
//! Our own log is not looked at: the enforcer rotates between lines, and the chain tells what is missing.
//!
//! INVARIANT (row conservation): a joined line is one record of the file it begins in; its rest is counted among the other lines of the
//! file it ends in. Neither is rejected any more.

use std::collections::BTreeMap;

use portreeve_engine::Timestamp;

use crate::foreign::{Adapter, Place, Read, Reading};
use crate::intake::{InputRead, Sink};
use crate::limits::{JOIN_GAP_MS_MAX, JOINS_BY_TIME_FILES_MAX, LINE_BYTES_MAX};

/// A half of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Half {
    pub(crate) line: u64,
    pub(crate) bytes: Vec<u8>,
    /// It was counted as cut.
    pub(crate) cut: bool,
}

/// The halves at the ends of a log, and the times of its first and last record.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ends {
    /// The first line, where it cannot be read.
    pub(crate) head: Option<Half>,
    /// The last line, where it has no end and cannot be read.
    pub(crate) tail: Option<Half>,
    pub(crate) first: Option<Timestamp>,
    pub(crate) last: Option<Timestamp>,
    /// Where the last line goes on, if it was joined.
    pub(crate) joined: Option<Joined>,
}

impl Ends {
    /// Bytes of its halves.
    pub(crate) fn held(&self) -> usize {
        [&self.head, &self.tail].into_iter().flatten().map(|half| half.bytes.len()).sum()
    }

    /// Lets the halves go.
    pub(crate) fn drop_halves(&mut self) {
        (self.head, self.tail) = (None, None);
    }

    /// A record of this time was read.
    #[inline]
    pub(crate) fn at(&mut self, at: Timestamp) {
        self.last = Some(at);
        if self.first.is_none() {
            self.first = Some(at);
        }
    }
}

/// A line that was joined: the line of its file it begins on, and the file and line its rest stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) line: u64,
    pub(crate) rest_input: usize,
    pub(crate) rest_line: u64,
}

/// Joins what can be joined, and hands each joined line to the sink.
pub(crate) fn join(inputs: &mut [InputRead], reading: &Reading, sink: &mut dyn Sink) {
    let torn: Vec<usize> = inputs.iter().enumerate().filter(|(_, i)| i.ends.tail.is_some()).map(|(n, _)| n).collect();
    if torn.is_empty() {
        return;
    }
    let after = successors(inputs);
    for first in torn {
        let next = match after.get(&first) {
            Some(next) => Some(*next).filter(|next| fits(inputs, reading, first, *next).is_some()),
            None => by_time(inputs, reading, &after, first),
        };
        let Some(next) = next else { continue };
        let Some(bytes) = fits(inputs, reading, first, next) else { continue };
        take(inputs, reading, sink, (first, next), &bytes);
    }
}

/// The line of two halves, where it is one that can be read.
fn fits(inputs: &[InputRead], reading: &Reading, first: usize, next: usize) -> Option<Vec<u8>> {
    let (begins, ends) = (inputs.get(first)?, inputs.get(next)?);
    let (tail, head) = (begins.ends.tail.as_ref()?, ends.ends.head.as_ref()?);
    if first == next || begins.format != ends.format || tail.bytes.len() + head.bytes.len() > LINE_BYTES_MAX {
        return None;
    }
    let bytes = [tail.bytes.as_slice(), &head.bytes].concat();
    let is_record = matches!(Adapter::of(begins.format, reading)?.read(&bytes), Read::Request(_));
    is_record.then_some(bytes)
}

/// The one file that goes on where this one ends, and whose half fits no other torn line.
fn by_time(inputs: &[InputRead], reading: &Reading, after: &BTreeMap<usize, usize>, first: usize) -> Option<usize> {
    let last = inputs.get(first)?.ends.last.filter(|_| inputs.len() <= JOINS_BY_TIME_FILES_MAX)?;
    let later = inputs.iter().enumerate().filter_map(|(n, i)| Some((i.ends.first.filter(|at| *at >= last && n != first)?, n)));
    let (begins, next) = later.min()?;
    if begins > last.plus_ms(JOIN_GAP_MS_MAX) || lacks_one_between(&inputs.get(first)?.path, &inputs.get(next)?.path) {
        return None;
    }
    let claimed = after.values().any(|n| *n == next);
    let others = |n: usize, m: usize| fits(inputs, reading, n, m).is_some();
    let alone = (0..inputs.len()).all(|n| (n == first || !others(n, next)) && (n == next || !others(first, n)));
    (!claimed && alone && others(first, next)).then_some(next)
}

/// Takes a joined line as a record of the log it begins in.
fn take(inputs: &mut [InputRead], reading: &Reading, sink: &mut dyn Sink, (first, next): (usize, usize), bytes: &[u8]) -> Option<()> {
    let format = inputs.get(first)?.format;
    let mut adapter = Adapter::of(format, reading)?;
    let Read::Request(seen) = adapter.read(bytes) else { return None };
    let tail = inputs.get_mut(first)?.ends.tail.take()?;
    let head = inputs.get_mut(next)?.ends.head.take()?;
    let taken = sink.seen(format, &Place { input: first, line: tail.line, bytes }, &seen, None);
    let begins = inputs.get_mut(first)?;
    begins.unreject(&tail);
    begins.foreign.took(taken, seen.grade);
    begins.ends.joined = Some(Joined { line: tail.line, rest_input: next, rest_line: head.line });
    let ends = inputs.get_mut(next)?;
    ends.unreject(&head);
    *ends.foreign.other.entry("rests of lines that another file begins").or_default() += 1;
    Some(())
}

/// Which file follows which, by their names.
fn successors(inputs: &[InputRead]) -> BTreeMap<usize, usize> {
    let mut streams: BTreeMap<String, Vec<(Age, usize)>> = BTreeMap::new();
    for (n, input) in inputs.iter().enumerate() {
        let (stream, age) = age(&input.path);
        streams.entry(stream).or_default().push((age, n));
    }
    let mut out = BTreeMap::new();
    for mut files in streams.into_values() {
        files.sort();
        for pair in files.windows(2) {
            if let [(one, first), (other, next)] = pair
                && other.follows(one)
            {
                out.insert(*first, *next);
            }
        }
    }
    out
}

/// Whether names tell that another file belongs between two.
fn lacks_one_between(first: &str, next: &str) -> bool {
    let (one, other) = (age(first), age(next));
    one.0 == other.0 && one.1 < other.1 && !other.1.follows(&one.1)
}

/// How old a file of a stream is, by its name; the oldest first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Age {
    /// Dated: all its digits.
    Date(String),
    /// `log.3`: the higher the older, so the number is kept negative.
    Rotated(i64),
    /// `part-0003.log`: the higher the newer.
    Part(i64),
    /// Without a number: the one that is still written.
    Now,
}

impl Age {
    /// Whether this file is the next one after the other, for all that names tell.
    fn follows(&self, other: &Self) -> bool {
        match (other, self) {
            // Two of one date have no order; whether one is missing between two dates names do not tell, but the halves do.
            (Self::Date(before), Self::Date(after)) => before < after,
            (Self::Rotated(before), Self::Rotated(after)) | (Self::Part(before), Self::Part(after)) => before + 1 == *after,
            (Self::Rotated(before), Self::Now) => *before >= -1,
            (Self::Date(_), Self::Now) => true,
            _ => false,
        }
    }
}

/// The stream of a file, and its age.
fn age(path: &str) -> (String, Age) {
    let plain = [".gz", ".zst", ".zstd"].iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path);
    let (folder, name) = plain.rsplit_once('/').map_or(("", plain), |(folder, name)| (folder, name));
    let stream = |rest: String| format!("{folder}/{rest}");
    if let Some((before, date, behind)) = dated(name) {
        return (stream(format!("{}{behind}", before.trim_end_matches(['.', '-', '_']))), Age::Date(date));
    }
    if let Some((before, number)) = name.rsplit_once('.')
        && let Some(number) = small_number(number)
    {
        return (stream(before.to_owned()), Age::Rotated(-number));
    }
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let digits = base.bytes().rev().take_while(u8::is_ascii_digit).count();
    match base.split_at_checked(base.len() - digits) {
        Some((before, number)) if !before.is_empty() && small_number(number).is_some() => {
            (stream(format!("{before}#.{extension}")), Age::Part(small_number(number).unwrap_or(0)))
        }
        _ => (stream(name.to_owned()), Age::Now),
    }
}

/// The text before a date in a name, the digits of the date, and the text behind.
fn dated(name: &str) -> Option<(&str, String, &str)> {
    let of_date = |c: char| c.is_ascii_digit() || matches!(c, '-' | '_' | ':' | 'T' | 'Z' | '.');
    let mut from = 0;
    while let Some(begin) = name.get(from..)?.find(|c: char| c.is_ascii_digit()).map(|at| from + at) {
        let rest = name.get(begin..)?;
        let length = rest.find(|c| !of_date(c)).unwrap_or(rest.len());
        let run = rest.get(..length)?;
        // A dot or hyphen at the end belongs to what follows.
        let run = run.trim_end_matches(['-', '_', ':', 'T', '.']);
        let digits: String = run.chars().filter(char::is_ascii_digit).collect();
        let end = begin + run.len();
        if digits.len() >= DATE_DIGITS_MIN {
            return Some((name.get(..begin)?, digits, name.get(end..)?));
        }
        from = (begin + length).max(begin + 1);
    }
    None
}

fn small_number(text: &str) -> Option<i64> {
    let is_number = !text.is_empty() && text.len() < DATE_DIGITS_MIN && text.bytes().all(|b| b.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Digits that a date has at least: year, month and day.
const DATE_DIGITS_MIN: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_stream_and_the_age() {
        let date = |d: &str| Age::Date(d.to_owned());
        for (name, stream, want) in [
            ("logs/access.log", "logs/access.log", Age::Now),
            ("logs/access.log.1", "logs/access.log", Age::Rotated(-1)),
            ("logs/access.log.12.gz", "logs/access.log", Age::Rotated(-12)),
            ("logs/access.log-20261122", "logs/access.log", date("20261122")),
            ("logs/access.log-20261122.zst", "logs/access.log", date("20261122")),
            ("access-2026-11-22.log", "/access.log", date("20261122")),
            ("access-2026-11-22T10-00-00.000.log", "/access.log", date("20261122100000000")),
            ("access.2026-11-22_10.log", "/access.log", date("2026112210")),
            ("access.log.1764150000", "/access.log", date("1764150000")),
            ("part-0003.ndjson", "/part-#.ndjson", Age::Part(3)),
            ("part3", "/part#.", Age::Part(3)),
            ("7", "/7", Age::Now),
            ("-", "/-", Age::Now),
        ] {
            assert_eq!(age(name), (stream.to_owned(), want), "{name}");
        }
    }

    #[test]
    fn what_follows_what() {
        let follows = |before: &str, after: &str| {
            let (one, other) = (age(before), age(after));
            one.0 == other.0 && one.1 < other.1 && other.1.follows(&one.1)
        };
        for (before, after, want) in [
            ("log.2", "log.1", true),
            ("log.3", "log.1", false),
            ("log.1", "log", true),
            ("log.0", "log", true),
            ("log.2", "log", false),
            ("log.1", "log.2", false),
            ("log-20261121", "log-20261122.gz", true),
            ("log-20261122", "log", true),
            ("log-20261122", "log-20261122", false),
            ("p-1.log", "p-2.log", true),
            ("p-1.log", "p-3.log", false),
            ("a/log.1", "b/log", false),
            ("log", "log.1", false),
        ] {
            assert_eq!(follows(before, after), want, "{before} {after}");
        }
    }
}
