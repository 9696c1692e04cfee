//! Looks at the lines of another mesh's log apart from one another, so that it may be done on any thread: what stands on a line rests on
//! that line alone, but for the steps that it tells of ([`Step`]).
//!
//! What it finds are hints. Whoever takes the lines in their order answers from memory what it knows from them, and reads every other
//! line itself. So nothing is decided here, and the number of threads shows in nothing but the time.
//!
//! INVARIANT: a hint of a request has what reading the line in its turn would give, where [`Adapter::agrees`] with its step.

use std::net::IpAddr;

use memchr::memchr;
use portreeve_engine::Timestamp;

use super::adapter::{Adapter, Step};
use super::deciding::Deciding;
use super::quick::{Address, Sketch};
use super::seen::{Read, Tie};
use crate::blocks::Batch;
use crate::limits::{HINTS_BYTES_MAX, HINTS_MAX};
use crate::pan::{in_bytes, in_target};
use crate::reader::RawLine;

/// What whoever takes the lines wants of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// Lines that seem to hold card data are told from others.
    pub(crate) cards: bool,
    /// The address of a caller that has an identity may change what is counted.
    pub(crate) caller_address: bool,
}

/// Looks at lines.
#[derive(Debug)]
pub(crate) struct Looker {
    adapter: Adapter,
    wanted: Wanted,
}

/// What was found of the lines of a batch, one hint for each up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Hints {
    hints: Vec<Hint>,
    /// The texts of the hints.
    texts: Vec<u8>,
}

/// What was found of one line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hint {
    /// Its bytes, without the newline.
    length: u32,
    step: Option<Step>,
    said: Said,
}

#[derive(Clone, Copy, Debug)]
enum Said {
    /// It has to be read in its turn.
    Unsaid,
    Other(&'static str),
    Request(Request),
}

#[derive(Clone, Copy, Debug)]
struct Request {
    at: Timestamp,
    hash: u64,
    /// Where its texts begin, and how long they are: the three parts of its deciding bytes, what the other side knows, the address.
    from: u32,
    lengths: [u32; TEXTS],
    tie: Option<Tie>,
    caller: Option<IpAddr>,
}

const TEXTS: usize = 5;

/// What a hint says.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hinted<'h> {
    /// The line has to be read in its turn.
    Nothing,
    /// It is no request, but this.
    Other(&'static str),
    /// It is a request.
    Request(Sketch<'h>, Deciding<'h>),
}

impl Looker {
    /// One that reads lines as this adapter does.
    pub(crate) fn new(adapter: &Adapter, wanted: Wanted) -> Self {
        Self { adapter: adapter.clone(), wanted }
    }

    /// Looks at the lines of a batch.
    pub(crate) fn look(&mut self, batch: &Batch, out: &mut Hints) {
        out.hints.clear();
        out.texts.clear();
        match batch.first() {
            Some(RawLine::Whole(line) | RawLine::Unended(line)) => self.line(line, out),
            Some(RawLine::TooLong { .. }) => out.hints.push(Hint { length: 0, step: None, said: Said::Unsaid }),
            None => {}
        }
        let mut rest = batch.whole();
        while let Some(length) = memchr(b'\n', rest) {
            if out.hints.len() >= HINTS_MAX || out.texts.len() >= HINTS_BYTES_MAX {
                break;
            }
            self.line(rest.get(..length).unwrap_or_default(), out);
            rest = rest.get(length + 1..).unwrap_or_default();
        }
    }

    fn line(&mut self, line: &[u8], out: &mut Hints) {
        let (said, step) = match self.sketched(line, out) {
            Some(request) => (Said::Request(request), None),
            None => self.read(line, out),
        };
        out.hints.push(Hint { length: u32::try_from(line.len()).unwrap_or(u32::MAX), step, said });
    }

    fn sketched(&mut self, line: &[u8], out: &mut Hints) -> Option<Request> {
        let sketch = self.adapter.sketch(0, line, self.wanted.caller_address)?;
        let may_hold = self.wanted.cards && self.adapter.may_have_run();
        if may_hold && in_bytes(line).is_some() {
            return None;
        }
        out.request(&sketch, self.adapter.deciding(0)?)
    }

    fn read(&mut self, line: &[u8], out: &mut Hints) -> (Said, Option<Step>) {
        if self.wanted.cards && in_bytes(line).is_some() {
            return (Said::Unsaid, None);
        }
        let (read, step) = self.adapter.read_apart(line);
        if let Some(step) = step {
            self.adapter.take_step(step);
        }
        let said = match read {
            Read::Other(what) => Said::Other(what),
            Read::Request(seen) if !(self.wanted.cards && seen.path.as_deref().and_then(in_target).is_some()) => {
                let deciding = self.adapter.deciding_of(&seen);
                out.request(&Sketch::of(&seen), deciding).map_or(Said::Unsaid, Said::Request)
            }
            Read::Request(_) | Read::Lost(_) | Read::Bad(_) => Said::Unsaid,
        };
        (said, step)
    }
}

impl Hints {
    /// The hints.
    pub(crate) fn all(&self) -> &[Hint] {
        &self.hints
    }

    /// Keeps what was found of a request; `None` where it is too long.
    fn request(&mut self, sketch: &Sketch<'_>, deciding: Deciding<'_>) -> Option<Request> {
        let from = u32::try_from(self.texts.len()).ok()?;
        let (written, caller) = match sketch.caller {
            Address::Unsaid => (&[][..], None),
            Address::Written(text) => (text, None),
            Address::Read(ip) => (&[][..], Some(ip)),
        };
        let [place, asker, ask] = deciding.parts;
        let known_by = sketch.known_by.map_or(&[][..], |(_, by)| by);
        let mut lengths = [0; TEXTS];
        for (text, length) in [place, asker, ask, known_by, written].into_iter().zip(&mut lengths) {
            self.texts.extend_from_slice(text);
            *length = u32::try_from(text.len()).ok()?;
        }
        let tie = sketch.known_by.map(|(tie, _)| tie);
        Some(Request { at: sketch.at, hash: deciding.hash, from, lengths, tie, caller })
    }

    /// What a hint says.
    #[inline]
    pub(crate) fn hinted(&self, hint: &Hint) -> Hinted<'_> {
        let request = match &hint.said {
            Said::Unsaid => return Hinted::Nothing,
            Said::Other(what) => return Hinted::Other(what),
            Said::Request(request) => request,
        };
        let mut rest = self.texts.get(request.from as usize..).unwrap_or_default();
        let [place, asker, ask, known_by, written] = request.lengths.map(|length| {
            let (text, after) = rest.split_at_checked(length as usize).unwrap_or_default();
            rest = after;
            text
        });
        let caller = match request.caller {
            Some(ip) => Address::Read(ip),
            None if written.is_empty() => Address::Unsaid,
            None => Address::Written(written),
        };
        let sketch = Sketch { at: request.at, known_by: request.tie.map(|tie| (tie, known_by)), caller };
        Hinted::Request(sketch, Deciding { parts: [place, asker, ask], hash: request.hash })
    }
}

impl Hint {
    /// The time of the request and the hash of its deciding bytes, where it is one.
    #[inline]
    pub(crate) const fn hash(&self) -> Option<(Timestamp, u64)> {
        match &self.said {
            Said::Request(request) => Some((request.at, request.hash)),
            Said::Unsaid | Said::Other(_) => None,
        }
    }

    /// What the line says that rests on the lines before it too.
    pub(crate) const fn step(&self) -> Option<Step> {
        self.step
    }

    /// The bytes of the line, without the newline.
    pub(crate) const fn length(&self) -> usize {
        self.length as usize
    }
}
