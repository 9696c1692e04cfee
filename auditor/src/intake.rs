//! Reads logs line by line, follows their chains, and hands each fresh record to a [`Sink`].
//!
//! INVARIANT (row conservation): every line read is handed over once, or counted as duplicate, or as rejected.

use std::collections::BTreeMap;
use std::io;

use portreeve_engine::{Digest, Record, Timestamp};

use crate::ahead::Bytes;
use crate::assessment::Rejected;
use crate::chains::{Chains, Cursor, Standing};
use crate::foreign::{Adapter, Deciding, Format, Grade, Place, Read, Reading, Recognised, Seen, Sketch, Taken, recognise};
use crate::heads::VerifiedHeads;
use crate::joins::{self, Ends, Half};
use crate::limits::{HALVES_BYTES_MAX, LINE_BYTES_MAX, RECOGNITION_LINES_MAX, REJECTED_EXAMPLES_MAX, SKETCHED_AT_ONCE};
use crate::pan::{Suspicion, field, in_bytes, in_target};
use crate::parsing::{Made, Parsers, made};
use crate::reader::{LineReader, RawLine, reason};
use crate::source::LogSource;

/// Why a log cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It cannot be opened.
    #[error("cannot open `{name}`: {cause}")]
    Open {
        /// The log.
        name: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Reading it failed.
    #[error("cannot read `{name}` after line {line}: {cause}")]
    Read {
        /// The log.
        name: String,
        /// The last line read.
        line: u64,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Its format is not known.
    #[error("none of the first lines of `{name}` is of a format that is known")]
    Unrecognised {
        /// The log.
        name: String,
    },
    /// It has lines of several formats.
    #[error("`{name}` has lines of two formats: line {} is `{}`, line {} is `{}`", first.1, first.0, second.1, second.0)]
    Several {
        /// The log.
        name: String,
        /// A format and the line that shows it.
        first: (Format, u64),
        /// Another.
        second: (Format, u64),
    },
    /// Nothing can be read of this format as it was asked for.
    #[error("`{name}` is to be read as `{format}`, which takes a mapping file")]
    NoMapping {
        /// The log.
        name: String,
        /// The format.
        format: Format,
    },
    /// It holds our own log, and not the bytes of it.
    #[error("`{name}` is a Parquet file, and a decision log is evidence by the bytes of its lines")]
    Copied {
        /// The log.
        name: String,
    },
    /// It has columns, and is to be read as lines of text.
    #[error("`{name}` is a Parquet file, and `{format}` is a format of lines of text")]
    TextOfRows {
        /// The log.
        name: String,
        /// The format.
        format: Format,
    },
}

impl ReadError {
    /// A copy of our own log whose lines are not those that were written, or rows to be read as lines of text.
    fn of_rows(name: &str, format: Format) -> Self {
        let name = name.to_owned();
        if format == Format::Portreeve { Self::Copied { name } } else { Self::TextOfRows { name, format } }
    }

    /// The way out, where there is one to tell.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Open { name, cause } if cause.kind() == io::ErrorKind::IsADirectory => {
                Some(format!("give the logs in it, for example by the pattern '{}/*'", name.trim_end_matches('/')))
            }
            Self::Open { .. } | Self::Read { .. } => None,
            Self::Unrecognised { .. } => {
                Some("say which it is with `--log-format`; a format of your own is read by a mapping file, `--log-mapping FILE`".to_owned())
            }
            Self::Several { .. } => {
                Some("put the lines of each format into a file of their own, or say which one counts with `--log-format`".to_owned())
            }
            Self::NoMapping { .. } => Some("say where the facts stand with `--log-mapping FILE`".to_owned()),
            Self::Copied { .. } => Some("give the log as the enforcer wrote it; gzip and zstd leave its lines as they are".to_owned()),
            Self::TextOfRows { .. } => Some(
                "columns are read as keys of JSON: leave the format out, or say with `--log-mapping FILE` where the facts stand".to_owned(),
            ),
        }
    }
}

/// Takes fresh records.
pub(crate) trait Sink {
    /// One fresh record. `false` ends the reading.
    fn take(&mut self, line: &Line, record: Record) -> bool;

    /// One request of another mesh. Whoever looks at our own records alone leaves it at this.
    fn seen(&mut self, format: Format, place: &Place<'_>, seen: &Seen<'_>, deciding: Option<&Deciding>) -> Taken {
        let _ = (format, place, seen, deciding);
        Taken::Undetermined
    }

    /// Whether lines of other meshes are to be looked over for card data.
    fn looks_for_cards(&self) -> bool {
        false
    }

    /// A line of another mesh seems to hold card data. `seen` is the request it holds, if it holds one; `last` a time known near it.
    fn card_data(&mut self, place: &Place<'_>, seen: Option<&Seen<'_>>, last: Option<Timestamp>, found: (Suspicion, &'static str)) {
        let _ = (place, seen, last, found);
    }

    /// Whether the address of a caller that has an identity may change what is counted.
    fn caller_address_counts(&self) -> bool {
        true
    }

    /// Whether it remembers requests by their deciding bytes, so that it is worth sketching lines.
    fn remembers(&self) -> bool {
        false
    }

    /// What was sketched of lines that come next, by time and deciding bytes: whatever it will look at for them, it may fetch now.
    fn fetch(&self, sketched: &mut dyn Iterator<Item = (Timestamp, &Deciding)>) {
        let _ = sketched;
    }

    /// One request of another mesh whose like was perhaps seen before; `None` where it was not.
    fn seen_again(&mut self, place: &Place<'_>, sketch: &Sketch<'_>, deciding: &Deciding) -> Option<(Taken, Grade)> {
        let _ = (place, sketch, deciding);
        None
    }
}

/// Where a record stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    pub(crate) input: usize,
    pub(crate) line: u64,
    pub(crate) digest: Digest,
    pub(crate) chain: usize,
}

/// What was read of one log.
#[derive(Clone, Debug)]
pub(crate) struct InputRead {
    pub(crate) path: String,
    pub(crate) sha256: Digest,
    pub(crate) format: Format,
    /// Its lines are made of rows.
    pub(crate) is_of_rows: bool,
    pub(crate) lines: u64,
    pub(crate) rejected: u64,
    pub(crate) rejected_examples: Vec<Rejected>,
    pub(crate) duplicates: u64,
    /// The chains it holds lines of, with the first and last sequence number here.
    pub(crate) chains: BTreeMap<usize, (u64, u64)>,
    pub(crate) foreign: ForeignRead,
    /// The halves of lines at its ends.
    pub(crate) ends: Ends,
}

/// What was read of a log of another mesh.
#[derive(Clone, Debug, Default)]
pub(crate) struct ForeignRead {
    /// Requests of which the line says what the mesh did, by grade.
    pub(crate) decided: BTreeMap<Grade, u64>,
    /// Requests of which it does not.
    pub(crate) undetermined: u64,
    /// Lines that are no requests, by what they are.
    pub(crate) other: BTreeMap<&'static str, u64>,
    /// Records that the log itself says were lost.
    pub(crate) lost: u64,
    /// Rejected lines that were cut where the file begins or ends.
    pub(crate) cut: u64,
}

impl ForeignRead {
    pub(crate) fn took(&mut self, taken: Taken, grade: Grade) {
        match taken {
            Taken::Decided(_) => *self.decided.entry(grade).or_default() += 1,
            Taken::Undetermined => self.undetermined += 1,
        }
    }
}

/// What was read.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) inputs: Vec<InputRead>,
    pub(crate) chains: Chains,
}

/// Reads all logs. `progress` is told the stored bytes read so far.
pub(crate) fn read(
    sources: &[LogSource],
    heads: &VerifiedHeads,
    reading: &Reading,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(u64),
) -> Result<Intake, ReadError> {
    let mut intake = Intake { inputs: Vec::new(), chains: Chains::new(heads) };
    let read = std::thread::scope(|scope| {
        let mut parsers = Parsers::new(scope, reading.threads);
        let (mut before, mut held) = (0, 0);
        for source in sources {
            let bytes = Bytes::open(scope, source, parsers.threads());
            let more = read_one(&mut intake, (source, bytes), reading, &mut parsers, sink, &mut |bytes| progress(before + bytes))?;
            before += more.bytes;
            if let Some(read) = intake.inputs.last_mut() {
                held += read.ends.held();
                if held > HALVES_BYTES_MAX {
                    read.ends.drop_halves();
                }
            }
            if more.ended {
                break;
            }
        }
        Ok(())
    });
    read?;
    joins::join(&mut intake.inputs, reading, sink);
    intake.chains.link();
    Ok(intake)
}

struct ReadOne {
    bytes: u64,
    ended: bool,
}

fn read_one(
    intake: &mut Intake,
    (source, bytes): (&LogSource, io::Result<Bytes<'_, '_>>),
    reading: &Reading,
    parsers: &mut Parsers<'_, '_>,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(u64),
) -> Result<ReadOne, ReadError> {
    let name = source.name();
    let bytes = bytes.map_err(|cause| ReadError::Open { name: name.clone(), cause })?;
    let input = intake.inputs.len();
    let is_of_rows = bytes.is_of_rows();
    let own = match source {
        _ if is_of_rows => Some(reading.of_rows()),
        LogSource::Part { from: 1.., .. } => {
            let head = || source.first_line();
            reading.behind_head(head).map_err(|cause| ReadError::Open { name: name.clone(), cause })?
        }
        _ => None,
    };
    let reading = own.as_ref().unwrap_or(reading);
    let is_of_container = bytes.is_of_container();
    let mut lines = LineReader::new(bytes);
    let head = Head::read(&mut lines, &name, reading)?;
    // A file without rows is of no format, and says nothing.
    if is_of_rows && !head.format.is_of_rows() && (reading.format.is_some() || !head.lines.is_empty()) {
        return Err(ReadError::of_rows(&name, head.format));
    }
    let mut read = InputRead { is_of_rows, ..InputRead::new(name.clone(), head.format) };
    let adapter = head.adapter(reading, &name)?;
    let mut place = Placing { chains: &mut intake.chains, cursor: Cursor::default(), adapter, input, is_of_container };
    let mut ended = false;
    for (number, line) in (1..).zip(&head.lines) {
        ended = ended || !place.line(&mut read, sink, number, line.as_raw());
    }
    let rest = match head.failed {
        Some(cause) => Err(cause),
        None if ended => Ok(true),
        None if place.adapter.is_none() && matches!(lines.inner(), Bytes::Ahead(_)) => {
            let mut take = |number, made| place.own(&mut read, sink, number, made);
            parsers.follow(&mut lines, &mut take, &mut |bytes| progress(bytes.bytes_read()))
        }
        None => place.rest(&mut lines, &mut read, sink, progress),
    };
    let number = lines.line();
    let ended = match rest {
        Ok(ended) => ended,
        Err(cause) => {
            if !lines.inner().is_compressed() || lines.inner().has_failed() {
                return Err(ReadError::Read { name, line: number.saturating_sub(1), cause });
            }
            read.lines += 1;
            read.reject(number, format!("the compressed data is damaged or ends early: {cause}"));
            false
        }
    };
    let (sha256, bytes) = lines.into_inner().finish().map_err(|cause| ReadError::Read { name, line: number, cause })?;
    read.sha256 = sha256;
    progress(bytes);
    intake.inputs.push(read);
    Ok(ReadOne { bytes, ended })
}

/// The first lines of a log, kept until its format is known.
struct Head {
    lines: Vec<HeldLine>,
    format: Format,
    failed: Option<io::Error>,
}

enum HeldLine {
    Whole(Vec<u8>),
    Unended(Vec<u8>),
    TooLong(u64),
}

impl HeldLine {
    fn of(line: RawLine<'_>) -> Self {
        match line {
            RawLine::Whole(bytes) => Self::Whole(bytes.to_vec()),
            RawLine::Unended(bytes) => Self::Unended(bytes.to_vec()),
            RawLine::TooLong { bytes } => Self::TooLong(bytes),
        }
    }

    fn as_raw(&self) -> RawLine<'_> {
        match self {
            Self::Whole(bytes) => RawLine::Whole(bytes),
            Self::Unended(bytes) => RawLine::Unended(bytes),
            Self::TooLong(bytes) => RawLine::TooLong { bytes: *bytes },
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) | Self::Unended(bytes) => bytes,
            Self::TooLong(_) => &[],
        }
    }
}

impl Head {
    /// Reads as many lines as are needed to know the format; none where it was said.
    fn read(lines: &mut LineReader<Bytes<'_, '_>>, name: &str, reading: &Reading) -> Result<Self, ReadError> {
        let mut head = Self { lines: Vec::new(), format: Format::Portreeve, failed: None };
        if let Some(format) = reading.format {
            head.format = format;
            return Ok(head);
        }
        let mut bytes = 0;
        while head.lines.len() < RECOGNITION_LINES_MAX && bytes < LINE_BYTES_MAX {
            match lines.next_line() {
                Ok(Some(line)) => head.lines.push(HeldLine::of(line)),
                Ok(None) => break,
                Err(cause) => {
                    head.failed = Some(cause);
                    break;
                }
            }
            bytes += head.lines.last().map_or(0, |l| l.bytes().len());
        }
        let name = || name.to_owned();
        head.format = match recognise(head.lines.iter().map(HeldLine::bytes), reading) {
            Recognised::Format(format) => format,
            Recognised::Empty => Format::Portreeve,
            Recognised::Several(first, second) => return Err(ReadError::Several { name: name(), first, second }),
            // Nothing could be read at all: that is told of the compressed data, not of the format.
            Recognised::Nothing if head.failed.is_some() => Format::Portreeve,
            Recognised::Nothing => return Err(ReadError::Unrecognised { name: name() }),
        };
        Ok(head)
    }

    fn adapter(&self, reading: &Reading, name: &str) -> Result<Option<Adapter>, ReadError> {
        if self.format == Format::Portreeve {
            return Ok(None);
        }
        let adapter = Adapter::of(self.format, reading);
        adapter.map(Some).ok_or_else(|| ReadError::NoMapping { name: name.to_owned(), format: self.format })
    }
}

/// Puts lines where they belong.
struct Placing<'c> {
    chains: &'c mut Chains,
    cursor: Cursor,
    adapter: Option<Adapter>,
    input: usize,
    /// Beside its lines there may be what the process wrote to stderr.
    is_of_container: bool,
}

impl Placing<'_> {
    /// Places the lines that are left one after another; gives whether it was told to stop.
    fn rest(
        &mut self,
        lines: &mut LineReader<Bytes<'_, '_>>,
        read: &mut InputRead,
        sink: &mut dyn Sink,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<bool> {
        let mut told = lines.line();
        let is_quick = sink.remembers() && self.adapter.as_ref().is_some_and(Adapter::is_quick);
        loop {
            let number = lines.line() + 1;
            let taken = if is_quick { self.several(read, sink, number, lines) } else { 0 };
            if taken == 0 {
                let Some(line) = lines.next_line()? else { return Ok(false) };
                if !self.line(read, sink, number, line) {
                    return Ok(true);
                }
            }
            if lines.line() - told >= PROGRESS_LINES {
                told = lines.line();
                progress(lines.inner().bytes_read());
            }
        }
    }

    /// Places the next whole lines of another mesh's log, the first of which has this number, as far as they need not be read any more; gives
    /// how many they were.
    fn several(&mut self, read: &mut InputRead, sink: &mut dyn Sink, number: u64, lines: &mut LineReader<Bytes<'_, '_>>) -> usize {
        let Some(adapter) = &mut self.adapter else { return 0 };
        let mut held: [&[u8]; SKETCHED_AT_ONCE] = [&[]; SKETCHED_AT_ONCE];
        let taken = lines.held(&mut held);
        let mut sketched = [const { Sketched::NOTHING }; SKETCHED_AT_ONCE];
        for (nth, (line, to)) in held.iter().zip(&mut sketched).take(taken).enumerate() {
            *to = Sketched::of(adapter, sink, nth, line);
        }
        let known = sketched.iter().take(taken).filter_map(|s| s.sketch.as_ref().map(|sketch| (sketch.at, s.nth)));
        sink.fetch(&mut known.filter_map(|(at, nth)| Some((at, adapter.deciding(nth)?))));
        for ((number, line), sketched) in (number..).zip(&held).zip(&sketched).take(taken) {
            read.lines += 1;
            foreign(adapter, read, sink, (self.input, number), RawLine::Whole(line), Some(*sketched));
        }
        taken
    }

    fn line(&mut self, read: &mut InputRead, sink: &mut dyn Sink, number: u64, line: RawLine<'_>) -> bool {
        match &mut self.adapter {
            Some(adapter) => {
                read.lines += 1;
                foreign(adapter, read, sink, (self.input, number), line, None);
                true
            }
            None => self.own(read, sink, number, made(line)),
        }
    }

    /// A line of our own log.
    fn own(&mut self, read: &mut InputRead, sink: &mut dyn Sink, number: u64, made: Made) -> bool {
        read.lines += 1;
        let (record, digest) = match made {
            Ok(made) => made,
            Err(unread) if unread.is_of_stderr && self.is_of_container => {
                *read.foreign.other.entry(BESIDE).or_default() += 1;
                return true;
            }
            Err(unread) => {
                read.reject(number, unread.why);
                return true;
            }
        };
        let placed = self.chains.accept(&mut self.cursor, self.input, number, digest, &record);
        let (first, last) = read.chains.entry(placed.chain).or_insert((record.seq, record.seq));
        (*first, *last) = ((*first).min(record.seq), (*last).max(record.seq));
        match placed.standing {
            Standing::Fresh => sink.take(&Line { input: self.input, line: number, digest, chain: placed.chain }, record),
            Standing::Duplicate => {
                read.duplicates += 1;
                true
            }
            Standing::Contradicts => {
                read.reject(number, format!("another line with `seq` {} of this process was read before", record.seq));
                true
            }
        }
    }
}

/// What was sketched of a line.
#[derive(Clone, Copy)]
struct Sketched<'l> {
    sketch: Option<Sketch<'l>>,
    may_have_run: bool,
    nth: usize,
}

impl<'l> Sketched<'l> {
    const NOTHING: Self = Self { sketch: None, may_have_run: true, nth: 0 };

    #[inline]
    fn of(adapter: &mut Adapter, sink: &dyn Sink, nth: usize, line: &'l [u8]) -> Self {
        if !sink.remembers() {
            return Self { nth, ..Self::NOTHING };
        }
        let sketch = adapter.sketch(nth, line, sink.caller_address_counts());
        Self { sketch, may_have_run: adapter.may_have_run(), nth }
    }
}

/// A line of another mesh's log, which may have been sketched before.
fn foreign(
    adapter: &mut Adapter,
    read: &mut InputRead,
    sink: &mut dyn Sink,
    (input, line): (usize, u64),
    raw: RawLine<'_>,
    sketched: Option<Sketched<'_>>,
) {
    let bytes = match raw {
        RawLine::Whole(bytes) | RawLine::Unended(bytes) => bytes,
        RawLine::TooLong { bytes } => {
            read.reject(line, format!("the line has {bytes} bytes; at most {LINE_BYTES_MAX} are read"));
            return;
        }
    };
    let place = Place { input, line, bytes };
    let looks = sink.looks_for_cards();
    let mut sketched = sketched.unwrap_or_else(|| Sketched::of(adapter, sink, 0, bytes));
    let mut found = if looks && sketched.may_have_run { in_bytes(bytes).map(|(found, at)| (found, field(bytes, at))) } else { None };
    if found.is_some() {
        // What seems to hold card data goes the general way, each time.
        sketched.sketch = None;
    }
    let nth = sketched.nth;
    if let Some(sketch) = &sketched.sketch {
        read.ends.at(sketch.at);
        if let Some((taken, grade)) = adapter.deciding(nth).and_then(|deciding| sink.seen_again(&place, sketch, deciding)) {
            read.foreign.took(taken, grade);
            return;
        }
        // Others may have been sketched since.
        sketched = Sketched::of(adapter, sink, nth, bytes);
    }
    let sketch = sketched.sketch;
    let said = sketch.and_then(|_| adapter.read_sketched(bytes)).unwrap_or_else(|| adapter.read(bytes));
    read.foreign.lost = read.foreign.lost.saturating_add(adapter.take_lost());
    match said {
        Read::Request(seen) => {
            read.ends.at(seen.at);
            if looks && found.is_none() {
                found = seen.path.as_deref().and_then(in_target).map(|found| (found, "query"));
            }
            let deciding = sketch.filter(|_| found.is_none()).and_then(|_| adapter.deciding(nth));
            let taken = sink.seen(adapter.format, &place, &seen, deciding);
            read.foreign.took(taken, seen.grade);
            if let Some(found) = found {
                sink.card_data(&place, Some(&seen), None, found);
            }
            return;
        }
        Read::Other(what) => *read.foreign.other.entry(what).or_default() += 1,
        Read::Lost(count) => {
            read.foreign.lost = read.foreign.lost.saturating_add(count);
            *read.foreign.other.entry("notices of lost records").or_default() += 1;
        }
        Read::Bad(why) => {
            let is_tail = line == 1 && !adapter.begins(bytes);
            let is_torn = matches!(raw, RawLine::Unended(_));
            read.foreign.cut += u64::from(is_tail || is_torn);
            let half = || Some(Half { line, bytes: bytes.to_vec(), cut: is_tail || is_torn });
            // Rows are not cut by rotation.
            match (line == 1 && !read.is_of_rows, is_torn) {
                (true, false) => read.ends.head = half(),
                (false, true) => read.ends.tail = half(),
                (true, true) | (false, false) => {}
            }
            let why = match (is_tail, is_torn) {
                (true, _) => format!("the first line begins in its middle, as when a file is cut by rotation: {why}"),
                (false, true) => format!("the last line is torn, as when a file is cut by rotation: {why}"),
                (false, false) => why,
            };
            read.reject(line, reason(&why));
        }
    }
    if let Some(found) = found {
        sink.card_data(&place, None, read.ends.last, found);
    }
}

impl InputRead {
    pub(crate) const fn new(path: String, format: Format) -> Self {
        Self {
            path,
            sha256: Digest::ZERO,
            format,
            is_of_rows: false,
            lines: 0,
            rejected: 0,
            rejected_examples: Vec::new(),
            duplicates: 0,
            chains: BTreeMap::new(),
            foreign: ForeignRead { decided: BTreeMap::new(), undetermined: 0, other: BTreeMap::new(), lost: 0, cut: 0 },
            ends: Ends { head: None, tail: None, first: None, last: None, joined: None },
        }
    }

    /// Takes back that a line was rejected: it was half of one that can be read.
    pub(crate) fn unreject(&mut self, half: &Half) {
        self.rejected = self.rejected.saturating_sub(1);
        self.foreign.cut = self.foreign.cut.saturating_sub(u64::from(half.cut));
        self.rejected_examples.retain(|example| example.line != half.line);
    }

    fn reject(&mut self, line: u64, why: String) {
        self.rejected += 1;
        if self.rejected_examples.len() < REJECTED_EXAMPLES_MAX {
            self.rejected_examples.push(Rejected { line, why });
        }
    }
}

/// Lines of stderr beside a log of our own that goes to stdout, where a container runtime keeps both in one file.
const BESIDE: &str = "messages of the process to stderr";
/// How often progress is told.
const PROGRESS_LINES: u64 = 4_096;
