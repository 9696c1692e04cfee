//! Has the log go to the disk, on a thread of its own, while it is written on.
//!
//! To wait for a disk takes as long as the disk likes, and behind the writer the queue fills: at forty thousand requests a second within
//! two. So where a request does not wait for the disk either (`queued`, `written`), the writer does not: it asks for the file to be
//! synchronised after every [`limits::LOG_AHEAD_BYTES`] and at each heartbeat, and gives a closed file away to be synchronised before
//! anything of the next one is.
//!
//! What the disk has is given up in the system's cache of files, all of it but the newest: a log that is written on and on would fill the
//! memory of the machine, or of its container, with lines that nobody reads, and each of its pages would be a new one, which costs more
//! than one that was just given back.
//!
//! INVARIANT: what a disk did not take is not lost. The system says so once, to whoever asks first, so what this thread hears is kept for
//! the writer, which then stops the log. At most one closed file is not on the disk: whoever closes another waits for it.

use std::fs::File;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::fs::{Advice, fadvise};

use crate::limits;

/// The thread, once there is something for it to do.
#[derive(Debug, Default)]
pub(super) struct Disk {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Bytes since the file was last given to the thread.
    bytes: usize,
    /// What was asked for at the last heartbeat.
    beat: u64,
}

#[derive(Debug, Default)]
struct Shared {
    asked: Mutex<Asked>,
    changed: Condvar,
    /// Whoever holds this holds up the disk.
    #[cfg(test)]
    held: Mutex<()>,
}

#[derive(Debug, Default)]
struct Asked {
    /// A file that was closed, its folder, in which it has a new name, and the number that this was asked under.
    closed: Option<(Arc<File>, PathBuf, u64)>,
    /// The file that is written.
    present: Option<File>,
    /// The thread is at one of them.
    busy: bool,
    /// What the disk said and the writer has not heard yet.
    heard: Option<io::Error>,
    /// Counts what was asked for.
    number: u64,
    /// All that was asked for up to here is on the disk, or was heard of.
    done: u64,
    ended: bool,
}

impl Asked {
    const fn is_idle(&self) -> bool {
        self.closed.is_none() && self.present.is_none() && !self.busy
    }
}

impl Disk {
    /// So many bytes more were written.
    pub(super) fn wrote(&mut self, file: &File, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= limits::LOG_AHEAD_BYTES {
            // What cannot be done beside is done with the next heartbeat, which says why if it cannot be done at all.
            let _ = self.ask(file);
        }
    }

    /// A heartbeat: what came before the last one has to be on the disk, and what came since is asked for.
    ///
    /// # Errors
    /// There is no second descriptor or no thread to be had.
    pub(super) fn beat(&mut self, file: &File) -> io::Result<()> {
        let mut asked = self.shared.lock();
        while asked.done < self.beat {
            asked = self.shared.wait(asked);
        }
        drop(asked);
        self.beat = self.ask(file)?;
        Ok(())
    }

    /// Has the file synchronised from here on, without waiting for it. Under which number.
    fn ask(&mut self, file: &File) -> io::Result<u64> {
        self.begin()?;
        let file = file.try_clone()?;
        let mut asked = self.shared.lock();
        asked.present = Some(file);
        asked.number += 1;
        let number = asked.number;
        drop(asked);
        self.shared.changed.notify_all();
        self.bytes = 0;
        Ok(number)
    }

    /// Has a closed file synchronised, and its new name; waits while one that was closed earlier still is not.
    pub(super) fn close(&mut self, file: File, folder: &Path) {
        self.bytes = 0;
        if self.begin().is_err() {
            if let Err(why) = file.sync_all().and_then(|()| sync_folder(folder)) {
                self.shared.lock().heard.get_or_insert(why);
            }
            return;
        }
        let mut asked = self.shared.lock();
        while asked.closed.is_some() {
            asked = self.shared.wait(asked);
        }
        // The file that was written was this one, and all of it goes to the disk now.
        asked.present = None;
        asked.number += 1;
        asked.closed = Some((Arc::new(file), folder.to_owned(), asked.number));
        drop(asked);
        self.shared.changed.notify_all();
    }

    /// What the disk said meanwhile.
    ///
    /// # Errors
    /// It did not take something. It is told once.
    pub(super) fn heard(&self) -> io::Result<()> {
        self.shared.lock().heard.take().map_or(Ok(()), Err)
    }

    /// Waits until all that was asked for is on the disk.
    ///
    /// # Errors
    /// The disk did not take something. It is told once.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        self.bytes = 0;
        let mut asked = self.shared.lock();
        while !asked.is_idle() {
            asked = self.shared.wait(asked);
        }
        asked.heard.take().map_or(Ok(()), Err)
    }

    fn begin(&mut self) -> io::Result<()> {
        if self.thread.is_none() {
            let shared = Arc::clone(&self.shared);
            self.thread = Some(std::thread::Builder::new().name("log-to-disk".to_owned()).spawn(move || shared.run())?);
        }
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, asked: MutexGuard<'a, Asked>) -> MutexGuard<'a, Asked> {
        self.changed.wait(asked).unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut asked = self.lock();
        let mut given_up = 0;
        loop {
            // The closed file first: its lines come before those of the present one.
            let closed = asked.closed.as_ref().map(|(file, folder, number)| (Arc::clone(file), folder.clone(), *number));
            let present = if closed.is_none() { asked.present.take() } else { None };
            let upto = closed.as_ref().map_or(asked.number, |(_, _, number)| *number);
            asked.busy = closed.is_some() || present.is_some();
            if !asked.busy {
                if asked.ended {
                    return;
                }
                asked = self.wait(asked);
                continue;
            }
            drop(asked);
            let is_closed = closed.is_some();
            #[cfg(test)]
            drop(self.held.lock());
            let done = match (closed, present) {
                (Some((file, folder, _)), _) => {
                    let done = file.sync_all().and_then(|()| sync_folder(&folder));
                    give_up(&file, &mut given_up, 0);
                    given_up = 0;
                    done
                }
                (None, Some(file)) => {
                    let done = file.sync_data();
                    give_up(&file, &mut given_up, limits::LOG_CACHED_BYTES);
                    done
                }
                (None, None) => Ok(()),
            };
            asked = self.lock();
            if is_closed {
                asked.closed = None;
            }
            asked.busy = false;
            asked.done = asked.done.max(upto);
            if let Err(why) = done {
                asked.heard.get_or_insert(why);
            }
            self.changed.notify_all();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // It panics nowhere, and there is nobody to tell.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
impl Disk {
    /// Says for the disk that it did not take something.
    pub(super) fn refuse(&self) {
        self.shared.lock().heard = Some(io::ErrorKind::StorageFull.into());
    }
}

/// Has the system forget what it keeps in memory of the file's lines that are on the disk, from where that was done before, except for the
/// newest. It is advice: lines that are not on the disk stay, and where it is not taken nothing is lost but memory.
fn give_up(file: &File, from: &mut u64, except: u64) {
    let upto = file.metadata().map_or(0, |about| about.len()).saturating_sub(except);
    if let Some(bytes) = upto.checked_sub(*from).and_then(NonZeroU64::new)
        && fadvise(file, *from, Some(bytes), Advice::DontNeed).is_ok()
    {
        *from = upto;
    }
}

/// New names in a folder are on the disk when the folder is.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;

    struct Written {
        folder: tempfile::TempDir,
        disk: Disk,
    }

    impl Written {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap(), disk: Disk::default() }
        }

        fn file(&self, name: &str) -> File {
            File::create(self.folder.path().join(name)).unwrap()
        }
    }

    /// Whether something ends although the disk is held up, and that it ends when it no longer is.
    fn waits(disk: &mut Disk, work: impl FnOnce(&mut Disk) + Send) -> bool {
        let shared = Arc::clone(&disk.shared);
        let held = shared.held.lock().unwrap();
        let (done, is_done) = channel();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                work(disk);
                done.send(()).unwrap();
            });
            // Whoever does not wait for a disk is done at once; a second is long even on a busy machine.
            let waited = is_done.recv_timeout(Duration::from_secs(1)).is_err();
            drop(held);
            if waited {
                is_done.recv().unwrap();
            }
            waited
        })
    }

    #[test]
    fn a_quiet_log_has_no_second_thread() {
        let mut written = Written::new();
        let file = written.file("log");
        written.disk.wrote(&file, limits::LOG_AHEAD_BYTES - 1);
        assert!(written.disk.thread.is_none());
        written.disk.wrote(&file, 1);
        assert!(written.disk.thread.is_some() && written.disk.bytes == 0);
        written.disk.settle().unwrap();
        assert_eq!(written.disk.shared.lock().done, 1);
    }

    #[test]
    fn nobody_waits_for_the_disk_but_who_must() {
        let mut written = Written::new();
        let [first, second, third] = ["first", "second", "third"].map(|name| written.file(name));
        let folder = written.folder.path().to_owned();
        let disk = &mut written.disk;
        assert!(!waits(disk, |disk| {
            disk.wrote(&first, limits::LOG_AHEAD_BYTES);
            disk.beat(&first).unwrap();
            disk.close(first, &folder);
            disk.wrote(&second, limits::LOG_AHEAD_BYTES);
        }));
        disk.settle().unwrap();
        // A second closed file, and a heartbeat before which nothing of the last one is on the disk.
        assert!(waits(disk, |disk| {
            disk.close(second, &folder);
            disk.close(third, &folder);
        }));
        let present = File::create(folder.join("present")).unwrap();
        assert!(waits(disk, |disk| (0..2).for_each(|_| disk.beat(&present).unwrap())));
        assert!(waits(disk, |disk| {
            disk.beat(&present).unwrap();
            disk.settle().unwrap();
        }));
        let asked = disk.shared.lock();
        assert!(asked.is_idle() && asked.done == asked.number, "{asked:?}");
    }

    #[test]
    fn what_the_disk_did_not_take_is_told_once() {
        let mut written = Written::new();
        // A device that takes bytes and has nothing to synchronise says so.
        let file = File::options().write(true).open("/dev/null").unwrap();
        written.disk.wrote(&file, limits::LOG_AHEAD_BYTES);
        assert!(written.disk.settle().is_err() && written.disk.settle().is_ok() && written.disk.heard().is_ok());
        // So is a closed file of which the disk has nothing, and the next one is taken all the same.
        let folder = written.folder.path().to_owned();
        written.disk.close(file, &folder);
        let next = written.file("next");
        written.disk.beat(&next).unwrap();
        assert!(written.disk.settle().is_err() && written.disk.settle().is_ok());
    }

    /// Whether the system has this byte of a file in memory; `None` where it does not say.
    fn is_cached(file: &File, at: u64) -> Option<bool> {
        let read = rustix::io::preadv2(file, &mut [io::IoSliceMut::new(&mut [0])], at, rustix::io::ReadWriteFlags::NOWAIT);
        match read {
            Ok(n) => Some(n == 1),
            Err(rustix::io::Errno::AGAIN) => Some(false),
            Err(_) => None,
        }
    }

    /// A file of so many bytes, to be read and written.
    fn of_bytes(written: &Written, name: &str, bytes: u64) -> File {
        let file = File::options().read(true).write(true).create_new(true).open(written.folder.path().join(name)).unwrap();
        io::copy(&mut io::Read::take(io::repeat(b'x'), bytes), &mut &file).unwrap();
        file
    }

    #[test]
    fn what_the_disk_has_need_not_stay_in_memory() {
        let mut written = Written::new();
        // Whether this file system has a cache of its own that can be told anything.
        let other = of_bytes(&written, "other", 1 << 20);
        other.sync_data().unwrap();
        give_up(&other, &mut 0, 0);
        if is_cached(&other, 0) != Some(false) {
            println!("skipped: nothing of this file system can be given up, or is said to be");
            return;
        }
        // More than the system reads ahead of what is asked for here.
        let part = 4 << 20;
        let file = of_bytes(&written, "log", limits::LOG_CACHED_BYTES + 2 * part);
        let cached = |at| is_cached(&file, at);
        assert_eq!((cached(0), cached(limits::LOG_CACHED_BYTES)), (Some(true), Some(true)));
        written.disk.wrote(&file, limits::LOG_AHEAD_BYTES);
        written.disk.settle().unwrap();
        // The newest part stays, for whoever follows the log.
        assert_eq!(
            (cached(0), cached(part), cached(3 * part), cached(limits::LOG_CACHED_BYTES)),
            (Some(false), Some(false), Some(true), Some(true))
        );
        // Of a closed file nothing does, and the next one begins anew.
        let folder = written.folder.path().to_owned();
        written.disk.close(file.try_clone().unwrap(), &folder);
        written.disk.settle().unwrap();
        assert_eq!((cached(3 * part), cached(limits::LOG_CACHED_BYTES)), (Some(false), Some(false)));
        let next = of_bytes(&written, "next", limits::LOG_CACHED_BYTES + part);
        written.disk.wrote(&next, limits::LOG_AHEAD_BYTES);
        written.disk.settle().unwrap();
        assert_eq!((is_cached(&next, 0), is_cached(&next, 2 * part)), (Some(false), Some(true)));
    }

    #[test]
    fn the_end_waits_for_all_that_was_asked() {
        let mut written = Written::new();
        let file = written.file("log");
        let folder = written.folder.path().to_owned();
        let present = written.file("present");
        written.disk.close(file, &folder);
        written.disk.beat(&present).unwrap();
        let shared = Arc::clone(&written.disk.shared);
        drop(written.disk);
        let asked = shared.lock();
        assert!(asked.is_idle() && asked.done == 2 && asked.heard.is_none());
    }
}
