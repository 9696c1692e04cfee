//! Reads a log on a thread of its own: reading, hashing and unpacking go on while the lines before are looked at.
//!
//! It gives the bytes, the errors and the digest that reading in place gives, in the same order; blocks that were read ahead are
//! bounded in number. Only what has an end of its own is read ahead: a pipe may stay silent for as long as it likes, and nobody who
//! has found a fault should have to wait for it.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use portreeve_engine::Digest;

use crate::limits::{AHEAD_BLOCKS_MAX, AHEAD_BYTES_MIN, READ_BLOCK_BYTES};
use crate::source::{LogSource, Stream};

/// The decoded bytes of a log, read here or ahead.
pub(crate) enum Bytes<'scope, 'log> {
    Here(Stream<'log>),
    Ahead(Ahead<'scope>),
}

impl<'scope, 'log: 'scope> Bytes<'scope, 'log> {
    /// Opens a log; where threads may be had and it is worth one, it is read ahead.
    pub(crate) fn open(scope: &'scope Scope<'scope, '_>, source: &'log LogSource, threads: usize) -> io::Result<Self> {
        Self::ahead(scope, source, threads).unwrap_or_else(|| source.open().map(Self::Here))
    }

    /// Opens a log whose turn is still to come, so that reading it begins; `None` where it is not to be read ahead.
    pub(crate) fn ahead(scope: &'scope Scope<'scope, '_>, source: &'log LogSource, threads: usize) -> Option<io::Result<Self>> {
        let is_worth_it = threads > 1 && source.known_length().is_some_and(|length| length >= AHEAD_BYTES_MIN);
        is_worth_it.then(|| Ahead::open(scope, source)).flatten().map(|ahead| ahead.map(Self::Ahead))
    }

    /// As [`Stream::is_compressed`].
    pub(crate) const fn is_compressed(&self) -> bool {
        match self {
            Self::Here(stream) => stream.is_compressed(),
            Self::Ahead(ahead) => ahead.is_compressed,
        }
    }

    /// As [`Stream::is_of_rows`].
    pub(crate) const fn is_of_rows(&self) -> bool {
        match self {
            Self::Here(stream) => stream.is_of_rows(),
            Self::Ahead(ahead) => ahead.is_of_rows,
        }
    }

    /// As [`Stream::is_of_container`].
    pub(crate) const fn is_of_container(&self) -> bool {
        match self {
            Self::Here(stream) => stream.is_of_container(),
            Self::Ahead(ahead) => ahead.is_of_container,
        }
    }

    /// As [`Stream::has_failed`].
    pub(crate) fn has_failed(&self) -> bool {
        match self {
            Self::Here(stream) => stream.has_failed(),
            Self::Ahead(ahead) => ahead.failed,
        }
    }

    /// As [`Stream::bytes_read`], but for what is only read ahead.
    pub(crate) fn bytes_read(&self) -> u64 {
        match self {
            Self::Here(stream) => stream.bytes_read(),
            Self::Ahead(ahead) => ahead.stored,
        }
    }

    /// As [`Stream::finish`].
    pub(crate) fn finish(self) -> io::Result<(Digest, u64)> {
        match self {
            Self::Here(stream) => stream.finish(),
            Self::Ahead(ahead) => ahead.finish(),
        }
    }
}

impl Read for Bytes<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Here(stream) => stream.read(buf),
            Self::Ahead(ahead) => ahead.read(buf),
        }
    }
}

/// Bytes of a log, as many as were read at once, and how many stored ones were read up to them.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    pub(crate) length: usize,
    pub(crate) stored: u64,
}

/// What the reading thread says.
enum Said {
    Block(Block),
    /// Reading failed; whether it was the reading of the stored bytes.
    Failed {
        cause: io::Error,
        of_stored: bool,
    },
}

/// A log that another thread reads.
pub(crate) struct Ahead<'scope> {
    said: Receiver<Said>,
    spent: Sender<Vec<u8>>,
    /// Set where the digest is asked for although not everything was read.
    wanted: Arc<AtomicBool>,
    thread: ScopedJoinHandle<'scope, io::Result<(Digest, u64)>>,
    is_compressed: bool,
    is_of_rows: bool,
    is_of_container: bool,
    failed: bool,
    stored: u64,
    held: Vec<u8>,
    at: usize,
    end: usize,
}

impl<'scope> Ahead<'scope> {
    /// `None` where the system gives no thread.
    fn open<'log: 'scope>(scope: &'scope Scope<'scope, '_>, source: &'log LogSource) -> Option<io::Result<Self>> {
        let (say, said) = sync_channel(AHEAD_BLOCKS_MAX);
        let (spent, again) = channel();
        let (opened, is_open) = sync_channel(1);
        let wanted = Arc::new(AtomicBool::new(false));
        let still_wanted = Arc::clone(&wanted);
        let read = move || {
            let stream = match source.open() {
                Ok(stream) => stream,
                Err(cause) => {
                    let _ = opened.send(Err(cause));
                    return Err(io::ErrorKind::NotFound.into());
                }
            };
            let _ = opened.send(Ok((stream.is_compressed(), stream.is_of_rows(), stream.is_of_container())));
            read_all(stream, say, &again, &still_wanted)
        };
        let thread = Builder::new().name("log-reader".to_owned()).spawn_scoped(scope, read).ok()?;
        let (is_compressed, is_of_rows, is_of_container) = match is_open.recv().map_err(io::Error::other).flatten() {
            Ok(is) => is,
            Err(cause) => return Some(Err(cause)),
        };
        Some(Ok(Self {
            said,
            spent,
            wanted,
            thread,
            is_compressed,
            is_of_rows,
            is_of_container,
            failed: false,
            stored: 0,
            held: Vec::new(),
            at: 0,
            end: 0,
        }))
    }

    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.at == self.end {
            match self.said.recv() {
                Ok(Said::Block(Block { bytes, length, stored })) => {
                    let spent = std::mem::replace(&mut self.held, bytes);
                    self.give_back(spent);
                    (self.at, self.end, self.stored) = (0, length, stored);
                }
                Ok(Said::Failed { cause, of_stored }) => {
                    self.failed = of_stored;
                    return Err(cause);
                }
                Err(_) => return Ok(0),
            }
        }
        let n = buf.len().min(self.end - self.at);
        if let (Some(to), Some(from)) = (buf.get_mut(..n), self.held.get(self.at..self.at + n)) {
            to.copy_from_slice(from);
        }
        self.at += n;
        Ok(n)
    }

    /// The next bytes in one piece, `None` at the end.
    ///
    /// # Errors
    /// Reading failed there.
    pub(crate) fn block(&mut self) -> io::Result<Option<Block>> {
        if self.at < self.end {
            let bytes = self.held.get(self.at..self.end).unwrap_or_default().to_vec();
            self.at = self.end;
            return Ok(Some(Block { length: bytes.len(), bytes, stored: self.stored }));
        }
        match self.said.recv() {
            Ok(Said::Block(block)) => {
                self.stored = block.stored;
                Ok(Some(block))
            }
            Ok(Said::Failed { cause, of_stored }) => {
                self.failed = of_stored;
                Err(cause)
            }
            Err(_) => Ok(None),
        }
    }

    /// How many stored bytes were read up to the last block.
    pub(crate) const fn stored(&self) -> u64 {
        self.stored
    }

    /// Gives a block back, to be filled again.
    pub(crate) fn give_back(&self, block: Vec<u8>) {
        let _ = self.spent.send(block);
    }

    fn finish(self) -> io::Result<(Digest, u64)> {
        self.wanted.store(true, Ordering::Relaxed);
        // Nobody takes blocks any more: what is left is only hashed.
        drop(self.said);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Reads everything and gives the digest of it. Where nobody takes the blocks any more, the rest is read only if the digest is wanted.
fn read_all(mut stream: Stream<'_>, say: SyncSender<Said>, again: &Receiver<Vec<u8>>, wanted: &AtomicBool) -> io::Result<(Digest, u64)> {
    let mut is_over = false;
    while !is_over {
        let spent = again.try_recv().ok().filter(|bytes| bytes.len() == READ_BLOCK_BYTES);
        let mut bytes = spent.unwrap_or_else(|| vec![0; READ_BLOCK_BYTES]);
        let (length, failed);
        (length, is_over, failed) = fill(&mut stream, &mut bytes);
        let block = (length > 0).then(|| Said::Block(Block { bytes, length, stored: stream.bytes_read() }));
        let failed = failed.map(|cause| Said::Failed { cause, of_stored: stream.has_failed() });
        let is_taken = block.into_iter().chain(failed).all(|said| say.send(said).is_ok());
        if !is_taken {
            if !wanted.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            break;
        }
    }
    // The end is told before the rest of a damaged file is hashed.
    drop(say);
    stream.finish()
}

/// Fills most of a block, however little one read brings: how much, whether it is the last, and why reading failed behind it.
fn fill(stream: &mut Stream<'_>, block: &mut [u8]) -> (usize, bool, Option<io::Error>) {
    let mut length = 0;
    while length <= block.len() / 2 {
        match stream.read(block.get_mut(length..).unwrap_or_default()) {
            Ok(0) => return (length, true, None),
            Ok(n) => length += n,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => return (length, true, Some(cause)),
        }
    }
    (length, false, None)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::random::Random;

    fn big(name: &str, bytes: Vec<u8>) -> LogSource {
        assert!(bytes.len() as u64 >= AHEAD_BYTES_MIN, "{name} is not worth a thread");
        LogSource::Memory { name: name.to_owned(), bytes }
    }

    /// Bytes that do not compress, so that the stored form is long too.
    fn noise(length: usize) -> Vec<u8> {
        let mut random = Random(7);
        (0..length).map(|_| u8::try_from(random.below(256)).unwrap()).collect()
    }

    #[derive(Debug, PartialEq)]
    struct Got {
        bytes: Vec<u8>,
        error: Option<String>,
        is_compressed: bool,
        has_failed: bool,
        finished: Result<(Digest, u64), String>,
    }

    fn get(source: &LogSource, threads: usize) -> Got {
        std::thread::scope(|scope| {
            let mut from = Bytes::open(scope, source, threads).unwrap();
            assert_eq!(matches!(from, Bytes::Ahead(_)), threads > 1);
            let mut bytes = Vec::new();
            let error = from.read_to_end(&mut bytes).err().map(|e| e.to_string());
            let (is_compressed, has_failed) = (from.is_compressed(), from.has_failed());
            Got { bytes, error, is_compressed, has_failed, finished: from.finish().map_err(|e| e.to_string()) }
        })
    }

    #[test]
    fn ahead_gives_what_reading_in_place_gives() {
        let text = noise(1_500_000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let gzip = gzip.finish().unwrap();
        let zstd = zstd::encode_all(&*text, 1).unwrap();
        let mut damaged = gzip.clone();
        damaged.truncate(gzip.len() / 2);
        let mut ended = zstd.clone();
        ended.truncate(zstd.len() / 2);
        let all = [("plain", text), ("gzip", gzip), ("zstd", zstd), ("cut gzip", damaged), ("cut zstd", ended)];
        for (name, bytes) in all {
            let digest = Digest::of(&bytes);
            let source = big(name, bytes);
            let (here, ahead) = (get(&source, 1), get(&source, 2));
            assert!(here == ahead, "{name}");
            assert_eq!(ahead.finished.unwrap().0, digest, "{name}");
            assert_eq!(ahead.error.is_some(), name.contains(' '), "{name}");
        }
    }

    #[test]
    fn whoever_stops_early_gets_the_digest_and_whoever_leaves_does_not_wait() {
        let source = big("noise", noise(4_000_000));
        std::thread::scope(|scope| {
            let mut from = Bytes::open(scope, &source, 2).unwrap();
            let mut first = [0; 100];
            from.read_exact(&mut first).unwrap();
            assert_eq!(from.finish().unwrap(), source.digest().unwrap());
            drop(Bytes::open(scope, &source, 2).unwrap());
        });
        let missing = LogSource::File("no/such/log".into());
        std::thread::scope(|scope| assert!(Bytes::open(scope, &missing, 2).is_err()));
    }
}
