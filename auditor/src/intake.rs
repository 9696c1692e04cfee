//! Reads logs line by line, follows their chains, and hands each fresh record to a [`Sink`].
//!
//! INVARIANT (row conservation): every line read is handed over once, or counted as duplicate, or as rejected.

use std::collections::BTreeMap;
use std::io;

use portreeve_engine::{Digest, Record, Timestamp};

use crate::ahead::Bytes;
use crate::assessment::Rejected;
use crate::chains::{Chains, Cursor};
use crate::copies::Marks;
use crate::foreign::{Adapter, Deciding, Format, Grade, Place, Reading, Recognised, Seen, Sketch, Taken, recognise};
use crate::heads::VerifiedHeads;
use crate::joins::{self, Ends, Half};
use crate::limits::{COPY_MARKS_ALL_MAX, HALVES_BYTES_MAX, LINE_BYTES_MAX, RECOGNITION_LINES_MAX, REJECTED_EXAMPLES_MAX};
use crate::mistaken::Mistaken;
use crate::pan::Suspicion;
use crate::parsing;
use crate::placing::Placing;
use crate::reader::{HeldLine, LineReader};
use crate::source::LogSource;
use crate::workers::Workers;

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
    /// It is none, and what it is can be told.
    #[error("`{name}` is {what}")]
    Mistaken {
        /// What was given.
        name: String,
        /// What it is.
        what: Mistaken,
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

    fn unrecognised(name: String, first: Option<&[u8]>) -> Self {
        match first.and_then(Mistaken::of) {
            Some(what) => Self::Mistaken { name, what },
            None => Self::Unrecognised { name },
        }
    }

    /// Of logs that were read as ours, whether one is no log at all.
    pub(crate) fn of_mistaken(logs: &[LogSource], intake: &Intake) -> Option<Self> {
        let unread = logs.iter().zip(&intake.inputs).filter(|(_, read)| read.lines > 0 && read.rejected == read.lines);
        unread.map(|(log, _)| log).find_map(|log| Some(Self::Mistaken { what: Mistaken::look(log)?, name: log.name() }))
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
            Self::Mistaken { what, .. } => Some(what.help()),
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
    fn seen(&mut self, format: Format, place: &Place<'_>, seen: &Seen<'_>, deciding: Option<Deciding<'_>>) -> Taken {
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

    /// Whether it may know some request again by its deciding bytes, whole or with what names of services make plain set aside. Where it knows none, it does not help that lines are looked at apart.
    fn recalls(&self, whole: bool) -> bool {
        let _ = whole;
        false
    }

    /// What was sketched of lines that come next, by time and the hash of their deciding bytes: whatever it will look at for them, it may fetch
    /// now.
    fn fetch(&self, sketched: &mut dyn Iterator<Item = (Timestamp, u64)>) {
        let _ = sketched;
    }

    /// One request of another mesh whose like was perhaps seen before; `None` where it was not.
    fn seen_again(&mut self, place: &Place<'_>, sketch: &Sketch<'_>, deciding: Deciding<'_>) -> Option<(Taken, Grade)> {
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
    /// Some of its lines, to be known again in another log.
    pub(crate) marks: Marks,
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
        let mut workers = Workers::new(scope, reading.threads);
        let (mut before, mut held, mut marked) = (0, 0, 0);
        let mut next = None;
        for (n, source) in sources.iter().enumerate() {
            let bytes = next.take().unwrap_or_else(|| Bytes::open(scope, source, workers.threads()));
            next = sources.get(n + 1).and_then(|source| Bytes::ahead(scope, source, workers.threads()));
            let more = read_one(&mut intake, (source, bytes), reading, &mut workers, sink, &mut |bytes| progress(before + bytes))?;
            before += more.bytes;
            if let Some(read) = intake.inputs.last_mut() {
                held += read.ends.held();
                if held > HALVES_BYTES_MAX {
                    read.ends.drop_halves();
                }
                marked += read.marks.held();
                if marked > COPY_MARKS_ALL_MAX {
                    marked -= read.marks.held();
                    read.marks = Marks::NONE;
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
    workers: &mut Workers<'_, '_>,
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
            parsing::follow(workers, &mut lines, &mut take, &mut |bytes| progress(bytes.bytes_read()))
        }
        None if place.adapter.as_ref().is_some_and(|adapter| sink.recalls(!adapter.is_quick()))
            && matches!(lines.inner(), Bytes::Ahead(_)) =>
        {
            place.by_hints(workers, &mut lines, &mut read, sink, progress).map(|()| false)
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
            Recognised::Nothing => return Err(ReadError::unrecognised(name(), head.lines.first().map(HeldLine::bytes))),
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
            marks: Marks::NONE,
            ends: Ends { head: None, tail: None, first: None, last: None, joined: None },
        }
    }

    /// Takes back that a line was rejected: it was half of one that can be read.
    pub(crate) fn unreject(&mut self, half: &Half) {
        self.rejected = self.rejected.saturating_sub(1);
        self.foreign.cut = self.foreign.cut.saturating_sub(u64::from(half.cut));
        self.rejected_examples.retain(|example| example.line != half.line);
    }

    pub(crate) fn reject(&mut self, line: u64, why: String) {
        self.rejected += 1;
        if self.rejected_examples.len() < REJECTED_EXAMPLES_MAX {
            self.rejected_examples.push(Rejected { line, why });
        }
    }
}
