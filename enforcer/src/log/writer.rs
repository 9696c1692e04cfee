//! The writer: takes batches, chains the lines, writes each batch with one call, rotates, beats, signs. It has a thread of its own;
//! where that gets no time, a request takes its turn ([`Shared::catch_up`]).

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::io::Write as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use portreeve_engine::chain::ChainWriter;
use portreeve_engine::record::{Continued, Heartbeat, Refused, Reloaded, Started, Stopped};
use portreeve_engine::record_text::{EventText, EventTextRef};
use portreeve_engine::{Event, Timestamp};

use super::file::{Found, LogFile, Out};
use super::keep;
use super::queue::{Entry, Waiting, What};
use super::{Batch, LogError, Opening, Shared};
use crate::config::{Durability, LogTo};
use crate::freshness::is_stale;
use crate::heads::HeadWriter;
use crate::limits;
use crate::report::Report;

/// The writer's own thread, until the log is closed. Were a turn ever to break off in the middle, nobody could say what the chain
/// is, and nothing is accepted any more.
pub(super) fn run(shared: &Shared) {
    let broken = |_| shared.up.store(false, Ordering::Release);
    loop {
        let Ok(due) = shared.desk.lock().map(|desk| desk.as_ref().map(Writer::due)).map_err(broken) else { return };
        let Some(due) = due else { return };
        shared.wait(due);
        #[cfg(test)]
        while shared.stalled.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        let Ok(mut desk) = shared.desk.lock().map_err(broken) else { return };
        let Some(writer) = desk.as_mut() else { return };
        if writer.turn(shared, true) {
            // Closes the file.
            *desk = None;
            return;
        }
        let pause = writer.failing.then(|| limits::LOG_RETRY.min(writer.opening.config.heartbeat));
        drop(desk);
        if let Some(pause) = pause {
            std::thread::sleep(pause);
        }
    }
}

/// Spreads numbers of our own, which count up, over a table. Nobody else has a say in them, so nothing stronger is needed.
#[derive(Debug, Default)]
struct ByNumber(u64);

impl Hasher for ByNumber {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, n: u64) {
        // A table takes its place from the low bits and tells neighbours apart by the high ones: counting up fills both.
        self.0 = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

#[derive(Debug)]
pub(super) struct Writer {
    opening: Opening,
    out: Out,
    found: Found,
    chain: ChainWriter,
    /// `seq` of the first line of the present file.
    first_seq: u64,
    /// Lines that are chained and not yet written (or, where that is asked for, synchronised).
    pending: Vec<u8>,
    /// Memory for the texts of `ended`.
    scratch: EventText,
    /// Memory for the next entries to wait in.
    spare: Waiting,
    /// `seq` of the `decided` line of each request that has not ended.
    running: HashMap<u64, u64, BuildHasherDefault<ByNumber>>,
    heads: Option<HeadWriter>,
    report: Report,
    next_beat: Instant,
    next_head: Instant,
    /// When closed files are looked at next.
    next_look: Instant,
    /// What was told of them last, so that it is told once.
    told_of_closed: Option<String>,
    failing: bool,
    /// When it was last told that the disk is slow.
    told_slow: Option<Instant>,
}

impl Writer {
    pub(super) fn open(opening: Opening, report: Report) -> Result<Self, LogError> {
        let heads = opening.config.heads.as_ref().map(|heads| HeadWriter::open(heads, opening.witnesses.clone())).transpose()?;
        let (out, found) = match &opening.config.to {
            LogTo::Stdout => (Out::Stdout, Found::default()),
            LogTo::File(path) => {
                let (file, found) = LogFile::open(path, &opening.instance)?;
                (Out::File(file), found)
            }
        };
        let now = Instant::now();
        Ok(Self {
            next_beat: now + opening.config.heartbeat,
            next_head: now + heads.as_ref().map_or(opening.config.heartbeat, HeadWriter::every),
            next_look: now,
            told_of_closed: None,
            opening,
            out,
            found,
            chain: ChainWriter::new(),
            first_seq: 0,
            pending: Vec::new(),
            scratch: EventText::default(),
            spare: Waiting::default(),
            running: HashMap::default(),
            heads,
            report,
            failing: false,
            told_slow: None,
        })
    }

    /// Where it writes.
    pub(super) fn to(&self) -> &LogTo {
        &self.opening.config.to
    }

    /// Writes `started`, durably.
    pub(super) fn begin(&mut self, at: Timestamp) -> Result<(), LogError> {
        let started = Event::Started(Started {
            enforcer: self.opening.enforcer.clone(),
            instance: self.opening.instance.clone(),
            revision: self.opening.revision,
            mode: self.opening.mode,
            config: self.opening.digest,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            after: self.found.after.take(),
            recovered: self.found.recovered.take(),
            bundle: self.opening.bundle.clone(),
        });
        self.line(at, &started);
        self.write().and_then(|()| self.sync()).map_err(|why| LogError::File { path: self.name(), why })
    }

    pub(super) fn durability(&self) -> Durability {
        self.opening.config.durability
    }

    pub(super) fn is_failing(&self) -> bool {
        self.failing
    }

    /// When there is something to do whether anything waits or not.
    fn due(&self) -> Instant {
        // What the disk did not take is tried again, though nothing more is accepted that could wake anybody.
        if self.failing {
            return Instant::now();
        }
        if self.heads.is_some() { self.next_beat.min(self.next_head) } else { self.next_beat }
    }

    /// Takes what waits and writes it. Whether that was the last time.
    pub(super) fn turn(&mut self, shared: &Shared, own: bool) -> bool {
        let spare = std::mem::take(&mut self.spare);
        // While the disk fails strangers stay in their table, which is bounded; their lines would not be.
        let tell = !self.failing && Instant::now() >= self.due();
        let batch = shared.take(tell, spare, own);
        let (stopping, at, upto) = (batch.stopping, batch.at, batch.upto);
        self.spare = self.batch(shared, batch);
        if self.flush(shared) {
            shared.kept.send_if_modified(|kept| std::mem::replace(kept, upto) != upto);
        }
        if !self.failing && (stopping || Instant::now() >= self.next_head) {
            self.sign(at);
        }
        stopping
    }

    /// Chains what was taken, and gives its memory back.
    fn batch(&mut self, shared: &Shared, batch: Batch) -> Waiting {
        let Batch { mut waiting, refusals, refusals_dropped, at, stopping, upto: _ } = batch;
        // A failing disk must not lose its place in the order: no new file before the pending lines are out.
        if !self.failing {
            self.rotate_if_full(waiting.entries.first().map_or(at, |entry| entry.at));
        }
        let count = waiting.entries.len();
        self.entries(&waiting);
        waiting.done();
        let mut told: Vec<_> = refusals.into_iter().collect();
        told.sort_unstable();
        for ((ip, reason), count) in told {
            self.line(at, &Event::Refused(Refused { ip, reason: reason.to_owned(), count }));
        }
        let beat = Instant::now() >= self.next_beat;
        if beat || refusals_dropped > 0 {
            let unrecorded = shared.unrecorded.swap(0, Ordering::Relaxed);
            let (revision, mode) = (self.opening.revision, self.opening.mode);
            let stale = is_stale(self.opening.bundle.as_ref(), at);
            self.line(at, &Event::Heartbeat(Heartbeat { revision, mode, unrecorded, refusals_dropped, stale, deleted: Vec::new() }));
            self.next_beat = Instant::now() + self.opening.config.heartbeat;
        }
        if stopping {
            let unrecorded = shared.unrecorded.swap(0, Ordering::Relaxed);
            self.line(at, &Event::Stopped(Stopped { unrecorded }));
        }
        shared.metrics.log_records.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        if (beat || stopping) && !self.failing {
            // Lines first, then the disk is asked to have them; at the end it is waited for.
            if self.flush(shared)
                && let Err(why) = if stopping { self.sync() } else { self.beat() }
            {
                self.fail(shared, &why);
            }
        }
        if !stopping {
            self.clear_away(shared, at);
        }
        waiting
    }

    fn entries(&mut self, waiting: &Waiting) {
        let mut texts = waiting.texts.iter();
        for Entry { at, what } in &waiting.entries {
            match what {
                What::Decided { ticket, share: _ } => {
                    // Each `decided` brought its text, in this order.
                    let Some(text) = texts.next() else { continue };
                    let seq = self.text(*at, text);
                    if let Some(ticket) = ticket {
                        self.running.insert(*ticket, seq);
                    }
                }
                What::Ended { ticket, end, share: _ } => {
                    // The queue keeps order, so the decision of every ticket was seen before its end.
                    if let Some(of) = self.running.remove(ticket) {
                        self.scratch.ended(&end.event(of));
                        self.chain.append_text(*at, self.scratch.borrowed(), &mut self.pending);
                    }
                }
                What::Reloaded(revision, bundle) => {
                    let bundle = bundle.as_deref().cloned();
                    (self.opening.revision, self.opening.bundle) = (*revision, bundle.clone());
                    self.line(*at, &Event::Reloaded(Reloaded { revision: *revision, bundle }));
                }
            }
        }
    }

    fn text(&mut self, at: Timestamp, text: EventTextRef<'_>) -> u64 {
        self.chain.append_text(at, text, &mut self.pending)
    }

    fn line(&mut self, at: Timestamp, event: &Event) -> u64 {
        self.chain.append(at, event, &mut self.pending)
    }

    fn rotate_if_full(&mut self, at: Timestamp) {
        let (Out::File(file), Some(size)) = (&mut self.out, self.opening.config.rotate_bytes) else { return };
        if file.len() < size || !self.pending.is_empty() {
            return;
        }
        let last = self.chain.next_seq().saturating_sub(1);
        if let Err(why) = file.rotate(&self.opening.instance, self.first_seq, last) {
            self.report.tell(&format!("cannot rotate the decision log `{}`, it goes on in the same file: {why}", self.name()));
            return;
        }
        let continued = Event::Continued(Continued {
            enforcer: self.opening.enforcer.clone(),
            instance: self.opening.instance.clone(),
            revision: self.opening.revision,
            mode: self.opening.mode,
            bundle: self.opening.bundle.clone(),
        });
        self.first_seq = self.line(at, &continued);
        self.next_look = Instant::now();
    }

    /// Deletes closed files that had their time. First a line says so and is on the disk, and a signed head of it is out; a file that
    /// a line names and that is there still, because the process ended in between, is named and deleted by the next look.
    fn clear_away(&mut self, shared: &Shared, at: Timestamp) {
        let (Out::File(file), Some(keep)) = (&self.out, &self.opening.config.keep) else { return };
        if self.failing || Instant::now() < self.next_look {
            return;
        }
        // By a clock that was set ahead every file would have had its time.
        let looked = keep::look(file.path(), keep, shared.clock.settled());
        self.next_look = Instant::now() + limits::KEEP_LOOK;
        let found = match looked {
            Ok(found) => found,
            Err(why) => return self.tell_of_closed(Some(format!("closed files of `{}` cannot be looked at: {why}", self.name()))),
        };
        shared.metrics.log_closed_files.set(i64::try_from(found.closed).unwrap_or(i64::MAX));
        self.tell_of_closed(self.concern(&found));
        if found.due.is_empty() {
            return;
        }
        let deleted = found.due.iter().map(|closed| closed.told.clone()).collect();
        let unrecorded = shared.unrecorded.swap(0, Ordering::Relaxed);
        let (revision, mode) = (self.opening.revision, self.opening.mode);
        let stale = is_stale(self.opening.bundle.as_ref(), at);
        self.line(at, &Event::Heartbeat(Heartbeat { revision, mode, unrecorded, refusals_dropped: 0, stale, deleted }));
        if !self.flush(shared) {
            return;
        }
        if let Err(why) = self.sync() {
            return self.fail(shared, &why);
        }
        if !self.sign(at) {
            // Without a head that tells of it nothing is deleted; the next look names it again.
            return;
        }
        for closed in &found.due {
            match std::fs::remove_file(&closed.path) {
                Ok(()) => drop(shared.metrics.log_deleted_files.inc()),
                Err(why) => self.tell_of_closed(Some(format!("`{}` cannot be deleted: {why}", closed.path.display()))),
            }
        }
        shared.metrics.log_closed_files.dec_by(i64::try_from(found.due.len()).unwrap_or(0));
        if found.more {
            self.next_look = Instant::now();
        }
    }

    /// What an operator should know of the closed files.
    fn concern(&self, found: &keep::Found) -> Option<String> {
        if let Some(path) = found.strange.first() {
            return Some(format!("`{}` is kept: its lines are not those that its name says", path.display()));
        }
        let young = found.young;
        let what = format!(
            "{young} more closed files of `{}` than `log.rotate.keep.files` says are kept: they are younger than `min_age`",
            self.name()
        );
        (young > 0).then_some(what)
    }

    fn tell_of_closed(&mut self, what: Option<String>) {
        // How many they are changes from look to look, and is in the metrics.
        let kind = what.as_ref().map(|text| text.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned());
        if let Some(text) = what.filter(|_| self.told_of_closed != kind) {
            self.report.tell(&text);
        }
        self.told_of_closed = kind;
    }

    /// Writes what is pending. Whether everything is in the file now, as durable as configured.
    fn flush(&mut self, shared: &Shared) -> bool {
        // After a failure the disk has to take what it did not take before, too.
        let (began, bytes) = (Instant::now(), self.pending.len());
        let written = self.write().and_then(|()| if self.failing { self.sync() } else { Ok(()) });
        if bytes > 0 {
            self.took(shared, began.elapsed(), bytes);
        }
        match written {
            Err(why) => self.fail(shared, &why),
            Ok(()) if self.failing => {
                self.failing = false;
                shared.up.store(true, Ordering::Release);
                shared.metrics.log_alarm.set(0);
                self.report.tell(&format!("the decision log `{}` is written again", self.name()));
            }
            Ok(()) => {}
        }
        !self.failing
    }

    /// A write took so long.
    fn took(&mut self, shared: &Shared, took: Duration, bytes: usize) {
        shared.metrics.log_write_duration.observe(took);
        // Once for each heartbeat is often enough: a slow disk is slow more than once.
        if took >= limits::LOG_SLOW && self.told_slow.is_none_or(|told| told.elapsed() >= self.opening.config.heartbeat) {
            self.told_slow = Some(Instant::now());
            let (name, ms) = (self.name(), took.as_millis());
            self.report.tell(&format!(
                "writing {bytes} bytes to the decision log `{name}` took {ms} ms; requests whose records have no place meanwhile are refused"
            ));
        }
    }

    /// From now on nothing is accepted, until a later attempt succeeds (A79).
    fn fail(&mut self, shared: &Shared, why: &std::io::Error) {
        shared.up.store(false, Ordering::Release);
        shared.metrics.log_alarm.set(1);
        if !self.failing {
            self.report.tell(&format!("cannot write the decision log `{}`, requests are refused until it can: {why}", self.name()));
        }
        self.failing = true;
        // Those who wait for a write look again, and find that the log is not up.
        shared.kept.send_modify(|_| {});
    }

    fn write(&mut self) -> std::io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        match &mut self.out {
            Out::File(file) if self.opening.config.durability == Durability::Synced => file.append_synced(&self.pending)?,
            Out::File(file) => file.append(&self.pending)?,
            Out::Stdout => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(&self.pending)?;
                stdout.flush()?;
            }
            #[cfg(test)]
            Out::Faulty(disk) => disk.append(&self.pending)?,
        }
        self.pending.clear();
        self.pending.shrink_to(limits::LOG_BUFFER_KEPT);
        Ok(())
    }

    /// Waits until everything is on the disk.
    fn sync(&mut self) -> std::io::Result<()> {
        match &mut self.out {
            Out::File(file) => file.sync(),
            Out::Stdout => Ok(()),
            #[cfg(test)]
            Out::Faulty(_) => Ok(()),
        }
    }

    /// Has everything go to the disk.
    fn beat(&mut self) -> std::io::Result<()> {
        match &mut self.out {
            // Every line is there already.
            Out::File(_) if self.opening.config.durability == Durability::Synced => Ok(()),
            Out::File(file) => file.beat(),
            Out::Stdout => Ok(()),
            #[cfg(test)]
            Out::Faulty(_) => Ok(()),
        }
    }

    /// Bytes that are not written yet.
    #[cfg(test)]
    pub(super) const fn held(&self) -> usize {
        self.pending.len()
    }

    /// Says for the disk that it did not take what it was asked to.
    #[cfg(test)]
    pub(super) fn refuse_beside(&self) {
        if let Out::File(file) = &self.out {
            file.refuse_beside();
        }
    }

    /// Writes to a disk that fails on demand from now on.
    #[cfg(test)]
    pub(super) fn put_on(&mut self, disk: std::sync::Arc<super::file::FaultyDisk>) {
        self.out = Out::Faulty(disk);
    }

    /// Signs the head, where heads are signed. Whether there is one of all that was written.
    fn sign(&mut self, at: Timestamp) -> bool {
        let Some(heads) = &mut self.heads else { return false };
        self.next_head = Instant::now() + heads.every();
        let Some(seq) = self.chain.next_seq().checked_sub(1) else { return false };
        let signed = heads.append(&self.opening.instance, seq, self.chain.head(), at);
        if let Err(why) = &signed {
            self.report.tell(&why.to_string());
        }
        signed.is_ok()
    }

    fn name(&self) -> String {
        self.opening.config.to.to_string()
    }
}
