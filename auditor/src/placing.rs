//! Puts the lines of one log where they belong, in their order.
//!
//! Lines of another mesh are sketched or read, and then counted: here one after another, or, where threads may be had, by what threads
//! found in them apart from one another ([`crate::foreign::Looker`]). Either way a line is counted in its turn, from memory where its like
//! was seen before.
//!
//! INVARIANT: both ways ask memory and the sink the same, in the same order.

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::Receiver;

use memchr::memchr;

use crate::ahead::{Ahead, Block, Bytes};
use crate::blocks::{Batch, Cutter};
use crate::chains::{Chains, Cursor, Standing};
use crate::foreign::{Adapter, Hint, Hinted, Hints, Looker, Place, Read, Sketch, Wanted};
use crate::intake::{InputRead, Line, Sink};
use crate::joins::Half;
use crate::limits::{BLOCKS_PER_THREAD, LINE_BYTES_MAX, READ_BLOCK_BYTES, SKETCHED_AT_ONCE};
use crate::pan::{field, in_bytes, in_target};
use crate::parsing::{Made, made};
use crate::reader::{LineReader, RawLine, reason};
use crate::workers::Workers;

/// Puts lines where they belong.
pub(crate) struct Placing<'c> {
    pub(crate) chains: &'c mut Chains,
    pub(crate) cursor: Cursor,
    pub(crate) adapter: Option<Adapter>,
    pub(crate) input: usize,
    /// Beside its lines there may be what the process wrote to stderr.
    pub(crate) is_of_container: bool,
}

impl Placing<'_> {
    /// Places the lines that are left one after another; gives whether it was told to stop.
    pub(crate) fn rest(
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

    /// Places the lines of another mesh's log that are left, by what threads find in them.
    pub(crate) fn by_hints(
        &mut self,
        workers: &mut Workers<'_, '_>,
        lines: &mut LineReader<Bytes<'_, '_>>,
        read: &mut InputRead,
        sink: &mut dyn Sink,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<()> {
        while !self.adapter.as_ref().is_some_and(Adapter::can_read_apart) {
            let number = lines.line() + 1;
            let Some(line) = lines.next_line()? else { return Ok(()) };
            self.line(read, sink, number, line);
        }
        let Some(adapter) = &mut self.adapter else { return Ok(()) };
        let wanted = Wanted { cards: sink.looks_for_cards(), caller_address: sink.caller_address_counts() };
        let before = lines.line();
        let mut number = before;
        let (held, Bytes::Ahead(ahead)) = lines.hand_over() else { return Ok(()) };
        let mut ahead = Batches::new(held, ahead);
        let mut under_way: VecDeque<Receiver<(Batch, Hints, Looker)>> = VecDeque::new();
        let mut idle = Vec::new();
        loop {
            while under_way.len() < workers.threads() * BLOCKS_PER_THREAD
                && let Some(batch) = ahead.next()
            {
                let (mut looker, mut hints) = idle.pop().unwrap_or_else(|| (Looker::new(adapter, wanted), Hints::default()));
                under_way.push_back(workers.give(move || {
                    looker.look(&batch, &mut hints);
                    (batch, hints, looker)
                }));
            }
            let Some(next) = under_way.pop_front() else { break };
            let (batch, hints, looker) = next.recv().map_err(io::Error::other)?;
            let mut place = |raw: RawLine<'_>, hint: Option<&Hint>, sink: &mut dyn Sink| {
                number += 1;
                by_hint(adapter, read, sink, (self.input, number), raw, hint.map(|hint| (hints.hinted(hint), hint)));
            };
            each(&batch, &hints, sink, &mut place);
            progress(batch.stored);
            ahead.ahead.give_back(batch.into_block());
            idle.push((looker, hints));
        }
        let failed = ahead.failed;
        // The line under way counts as read, and is gone.
        lines.pass(number - before + u64::from(failed.is_some()));
        failed.map_or(Ok(()), Err)
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
        sink.fetch(&mut known.filter_map(|(at, nth)| Some((at, adapter.hash(nth)?))));
        for ((number, line), sketched) in (number..).zip(&held).zip(&sketched).take(taken) {
            read.lines += 1;
            foreign(adapter, read, sink, (self.input, number), RawLine::Whole(line), Some(*sketched));
        }
        taken
    }

    pub(crate) fn line(&mut self, read: &mut InputRead, sink: &mut dyn Sink, number: u64, line: RawLine<'_>) -> bool {
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
    pub(crate) fn own(&mut self, read: &mut InputRead, sink: &mut dyn Sink, number: u64, made: Made) -> bool {
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

/// The lines of a log that is read ahead, in batches.
struct Batches<'a, 'scope> {
    /// What was taken of it before.
    held: VecDeque<Block>,
    ahead: &'a mut Ahead<'scope>,
    /// `None` at the end.
    cutter: Option<Cutter>,
    failed: Option<io::Error>,
}

impl<'a, 'scope> Batches<'a, 'scope> {
    fn new(held: &[u8], ahead: &'a mut Ahead<'scope>) -> Self {
        let block = |bytes: &[u8]| Block { bytes: bytes.to_vec(), length: bytes.len(), stored: ahead.stored() };
        let held = held.chunks(READ_BLOCK_BYTES).map(block).collect();
        Self { held, ahead, cutter: Some(Cutter::default()), failed: None }
    }

    /// The next batch; `None` at the end, and where reading fails.
    fn next(&mut self) -> Option<Batch> {
        let cutter = self.cutter.as_mut()?;
        if let Some(block) = self.held.pop_front() {
            return Some(cutter.cut(block));
        }
        match self.ahead.block() {
            Ok(Some(block)) => Some(cutter.cut(block)),
            Ok(None) => self.cutter.take()?.end(self.ahead.stored()),
            Err(cause) => {
                (self.cutter, self.failed) = (None, Some(cause));
                None
            }
        }
    }
}

/// Takes a line with its hint, if there is one.
type Take<'t> = dyn FnMut(RawLine<'_>, Option<&Hint>, &mut dyn Sink) + 't;

/// Hands over each line of a batch.
fn each(batch: &Batch, hints: &Hints, sink: &mut dyn Sink, place: &mut Take<'_>) {
    let mut first = batch.first();
    let mut rest = batch.whole();
    for hints_of_several in hints.all().chunks(SKETCHED_AT_ONCE) {
        sink.fetch(&mut hints_of_several.iter().filter_map(Hint::hash));
        for hint in hints_of_several {
            let raw = first.take().unwrap_or_else(|| {
                let (line, after) = rest.split_at_checked(hint.length()).unwrap_or_default();
                rest = after.get(1..).unwrap_or_default();
                RawLine::Whole(line)
            });
            place(raw, Some(hint), sink);
        }
    }
    // Of a great many short lines not each has a hint.
    while let Some(length) = memchr(b'\n', rest) {
        let (line, after) = rest.split_at_checked(length).unwrap_or_default();
        rest = after.get(1..).unwrap_or_default();
        place(RawLine::Whole(line), None, sink);
    }
}

/// A line of another mesh's log, of which something was found before.
fn by_hint(
    adapter: &mut Adapter,
    read: &mut InputRead,
    sink: &mut dyn Sink,
    (input, line): (usize, u64),
    raw: RawLine<'_>,
    hint: Option<(Hinted<'_>, &Hint)>,
) {
    read.lines += 1;
    let hint = hint.filter(|(_, hint)| hint.step().is_none_or(|step| adapter.agrees(step)));
    if let (RawLine::Whole(bytes) | RawLine::Unended(bytes), Some((hinted, hint))) = (raw, hint) {
        let is_taken = match hinted {
            Hinted::Nothing => false,
            Hinted::Other(what) => {
                *read.foreign.other.entry(what).or_default() += 1;
                true
            }
            Hinted::Request(sketch, deciding) => match sink.seen_again(&Place { input, line, bytes }, &sketch, deciding) {
                Some((taken, grade)) => {
                    read.ends.at(sketch.at);
                    if sketch.known_by.is_none() {
                        read.marks.add(sketch.at, line, bytes);
                    }
                    read.foreign.took(taken, grade);
                    true
                }
                None => false,
            },
        };
        if is_taken {
            if let Some(step) = hint.step() {
                adapter.take_step(step);
                read.foreign.lost = read.foreign.lost.saturating_add(adapter.take_lost());
            }
            return;
        }
    }
    foreign(adapter, read, sink, (input, line), raw, None);
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
    let was_sketched = sketched.is_some();
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
            if sketch.known_by.is_none() {
                read.marks.add(sketch.at, line, bytes);
            }
            read.foreign.took(taken, grade);
            return;
        }
        if was_sketched {
            // Others may have been sketched since.
            sketched = Sketched::of(adapter, sink, nth, bytes);
        }
    }
    let sketch = sketched.sketch;
    let said = sketch.and_then(|_| adapter.read_sketched(bytes)).unwrap_or_else(|| adapter.read(bytes));
    read.foreign.lost = read.foreign.lost.saturating_add(adapter.take_lost());
    match said {
        Read::Request(seen) => {
            read.ends.at(seen.at);
            if seen.known_by().is_none() {
                read.marks.add(seen.at, line, bytes);
            }
            if looks && found.is_none() {
                found = seen.path.as_deref().and_then(in_target).map(|found| (found, "query"));
            }
            let mut deciding = sketch.filter(|_| found.is_none()).and_then(|_| adapter.deciding(nth));
            if sketch.is_none() && found.is_none() && sink.recalls(true) {
                let known = adapter.deciding_of(&seen);
                if let Some((taken, grade)) = sink.seen_again(&place, &Sketch::of(&seen), known) {
                    read.foreign.took(taken, grade);
                    return;
                }
                deciding = adapter.deciding(0);
            }
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

/// Lines of stderr beside a log of our own that goes to stdout, where a container runtime keeps both in one file.
const BESIDE: &str = "messages of the process to stderr";
/// How often progress is told.
const PROGRESS_LINES: u64 = 4_096;
