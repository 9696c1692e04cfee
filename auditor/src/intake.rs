//! Reads logs line by line, follows their chains, and hands each fresh record to a [`Sink`].
//!
//! INVARIANT (row conservation): every line read is handed over once, or counted as duplicate, or as rejected.

use std::collections::BTreeMap;

use portreeve_engine::{Digest, Record, Timestamp};

use crate::assessment::Rejected;
use crate::chains::{Chains, Cursor, Standing};
use crate::foreign::{Adapter, Deciding, Format, Grade, Place, Read, Reading, Recognised, Seen, Sketch, Taken, recognise};
use crate::heads::VerifiedHeads;
use crate::joins::{self, Ends, Half};
use crate::limits::{HALVES_BYTES_MAX, LINE_BYTES_MAX, RECOGNITION_LINES_MAX, REJECTED_EXAMPLES_MAX};
use crate::pan::{Suspicion, field, in_bytes, in_target};
use crate::reader::{LineReader, RawLine, parse_line, reason};
use crate::source::{LogSource, Stream};

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
        cause: std::io::Error,
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
        cause: std::io::Error,
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
}

impl ReadError {
    /// The way out, where there is one to tell.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Open { .. } | Self::Read { .. } => None,
            Self::Unrecognised { .. } => {
                Some("say which it is with `--log-format`; a format of your own is read by a mapping file, `--log-mapping FILE`".to_owned())
            }
            Self::Several { .. } => {
                Some("put the lines of each format into a file of their own, or say which one counts with `--log-format`".to_owned())
            }
            Self::NoMapping { .. } => Some("say where the facts stand with `--log-mapping FILE`".to_owned()),
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

/// Reads all logs as our own. `progress` is told the stored bytes read so far.
pub(crate) fn read(
    sources: &[LogSource],
    heads: &VerifiedHeads,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(u64),
) -> Result<Intake, ReadError> {
    read_as(sources, heads, &Reading::ours(), sink, progress)
}

/// Reads all logs. `progress` is told the stored bytes read so far.
pub(crate) fn read_as(
    sources: &[LogSource],
    heads: &VerifiedHeads,
    reading: &Reading,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(u64),
) -> Result<Intake, ReadError> {
    let mut intake = Intake { inputs: Vec::new(), chains: Chains::new(heads) };
    let mut before = 0;
    let mut held = 0;
    for source in sources {
        let more = read_one(&mut intake, source, reading, sink, &mut |bytes| progress(before + bytes))?;
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
    source: &LogSource,
    reading: &Reading,
    sink: &mut dyn Sink,
    progress: &mut dyn FnMut(u64),
) -> Result<ReadOne, ReadError> {
    let name = source.name();
    let stream = source.open().map_err(|cause| ReadError::Open { name: name.clone(), cause })?;
    let input = intake.inputs.len();
    let mut lines = LineReader::new(stream);
    let head = Head::read(&mut lines, &name, reading)?;
    let mut read = InputRead::new(name.clone(), head.format);
    let mut place = Placing { chains: &mut intake.chains, cursor: Cursor::default(), adapter: head.adapter(reading, &name)?, input };
    let mut ended = false;
    for (number, line) in (1..).zip(&head.lines) {
        ended = ended || !place.line(&mut read, sink, number, line.as_raw());
        read.lines += 1;
    }
    let mut failed = head.failed;
    while !ended && failed.is_none() {
        let number = lines.line() + 1;
        match lines.next_line() {
            Ok(None) => break,
            Ok(Some(line)) => ended = !place.line(&mut read, sink, number, line),
            Err(cause) => {
                failed = Some(cause);
                break;
            }
        }
        read.lines += 1;
        if number % PROGRESS_LINES == 0 {
            progress(lines.inner().bytes_read());
        }
    }
    let number = lines.line();
    if let Some(cause) = failed {
        if !lines.inner().is_compressed() || lines.inner().has_failed() {
            return Err(ReadError::Read { name, line: number.saturating_sub(1), cause });
        }
        read.lines += 1;
        read.reject(number, format!("the compressed data is damaged or ends early: {cause}"));
    }
    let stream: Stream<'_> = lines.into_inner();
    let (sha256, bytes) = stream.finish().map_err(|cause| ReadError::Read { name, line: number, cause })?;
    read.sha256 = sha256;
    progress(bytes);
    intake.inputs.push(read);
    Ok(ReadOne { bytes, ended })
}

/// The first lines of a log, kept until its format is known.
struct Head {
    lines: Vec<HeldLine>,
    format: Format,
    failed: Option<std::io::Error>,
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
    fn read(lines: &mut LineReader<Stream<'_>>, name: &str, reading: &Reading) -> Result<Self, ReadError> {
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
}

impl Placing<'_> {
    fn line(&mut self, read: &mut InputRead, sink: &mut dyn Sink, number: u64, line: RawLine<'_>) -> bool {
        match &mut self.adapter {
            Some(adapter) => {
                foreign(adapter, read, sink, (self.input, number), line);
                true
            }
            None => take(self.chains, read, &mut self.cursor, sink, (self.input, number), line),
        }
    }
}

/// A line of another mesh's log.
fn foreign(adapter: &mut Adapter, read: &mut InputRead, sink: &mut dyn Sink, (input, line): (usize, u64), raw: RawLine<'_>) {
    let bytes = match raw {
        RawLine::Whole(bytes) | RawLine::Unended(bytes) => bytes,
        RawLine::TooLong { bytes } => {
            read.reject(line, format!("the line has {bytes} bytes; at most {LINE_BYTES_MAX} are read"));
            return;
        }
    };
    let place = Place { input, line, bytes };
    let looks = sink.looks_for_cards();
    let sketch = adapter.sketch(bytes, sink.caller_address_counts());
    let mut found = if looks && adapter.may_have_run() { in_bytes(bytes).map(|(found, at)| (found, field(bytes, at))) } else { None };
    // What seems to hold card data goes the general way, each time.
    let sketch = sketch.filter(|_| found.is_none());
    if let Some(sketch) = &sketch {
        read.ends.at(sketch.at);
    }
    if let Some((taken, grade)) = sketch.and_then(|sketch| sink.seen_again(&place, &sketch, adapter.deciding())) {
        read.foreign.took(taken, grade);
        return;
    }
    let said = adapter.read(bytes);
    read.foreign.lost = read.foreign.lost.saturating_add(adapter.take_lost());
    match said {
        Read::Request(seen) => {
            read.ends.at(seen.at);
            if looks && found.is_none() {
                found = seen.path.as_deref().and_then(in_target).map(|found| (found, "query"));
            }
            let deciding = sketch.filter(|_| found.is_none()).map(|_| adapter.deciding());
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
            match (line == 1, is_torn) {
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

fn take(
    chains: &mut Chains,
    read: &mut InputRead,
    cursor: &mut Cursor,
    sink: &mut dyn Sink,
    (input, number): (usize, u64),
    line: RawLine<'_>,
) -> bool {
    let (record, bytes) = match (parse_line(line), line) {
        (Ok(record), RawLine::Whole(bytes) | RawLine::Unended(bytes)) => (record, bytes),
        (Ok(_), RawLine::TooLong { .. }) => return true,
        (Err(why), _) => {
            read.reject(number, why);
            return true;
        }
    };
    let placed = chains.accept(cursor, input, number, bytes, &record);
    let (first, last) = read.chains.entry(placed.chain).or_insert((record.seq, record.seq));
    (*first, *last) = ((*first).min(record.seq), (*last).max(record.seq));
    match placed.standing {
        Standing::Fresh => sink.take(&Line { input, line: number, digest: placed.digest, chain: placed.chain }, record),
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

impl InputRead {
    const fn new(path: String, format: Format) -> Self {
        Self {
            path,
            sha256: Digest::ZERO,
            format,
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

/// How often progress is told.
const PROGRESS_LINES: u64 = 4_096;
