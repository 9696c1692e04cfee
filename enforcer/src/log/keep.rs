//! Closed files of the log that have had their time.
//!
//! INVARIANT: only a file that this log closed is named here: its name says which lines of which process it has, and its first and last
//! line bear that out. None is named whose last record is younger than the least age. Nothing is deleted here; whoever does it first
//! puts a line into the log that says so (`super::writer`).

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use portreeve_engine::record::Deleted;
use portreeve_engine::{Digest, Event, Record, Timestamp};

use super::file::{folder_of, tail};
use crate::config::Keep;
use crate::limits;

/// A closed file that is to go, and what is told of it.
#[derive(Debug)]
pub(super) struct Closed {
    pub(super) path: PathBuf,
    pub(super) told: Deleted,
}

/// What a look at the closed files shows.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// How many there are.
    pub(super) closed: usize,
    /// Those that are to go, oldest first.
    pub(super) due: Vec<Closed>,
    /// How many are more than may be kept and too young to go.
    pub(super) young: usize,
    /// Files that have the name of a closed one and are none.
    pub(super) strange: Vec<PathBuf>,
    /// There are more than are deleted at once.
    pub(super) more: bool,
}

/// Looks at the closed files beside `log`.
pub(super) fn look(log: &Path, keep: &Keep, now: Timestamp) -> std::io::Result<Found> {
    let mut files = closed(log)?;
    files.sort();
    let surplus = keep.files.map_or(0, |most| files.len().saturating_sub(usize::try_from(most).unwrap_or(usize::MAX)));
    let mut found = Found { closed: files.len(), ..Found::default() };
    for (n, (changed, path, name)) in files.into_iter().enumerate() {
        let is_surplus = n < surplus;
        // What its last change says is only a reason to look inside; the record in it decides.
        let old = |than: Duration| SystemTime::now().duration_since(changed).is_ok_and(|age| age >= than);
        if !is_surplus && !keep.age.is_some_and(old) {
            continue;
        }
        if found.due.len() >= limits::DELETED_AT_ONCE_MAX {
            found.more = true;
            break;
        }
        let Some(told) = read(&path, &name)? else {
            found.strange.push(path);
            continue;
        };
        let age = Duration::from_millis(u64::try_from(now.unix_ms().saturating_sub(told.until.unix_ms())).unwrap_or(0));
        if age < keep.min_age {
            found.young += usize::from(is_surplus);
        } else if is_surplus || keep.age.is_some_and(|most| age >= most) {
            found.due.push(Closed { path, told });
        }
    }
    Ok(found)
}

/// What the name of a closed file says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    instance: String,
    first: u64,
    last: u64,
}

/// The files beside `log` with the name of a closed one, and when they were changed last.
fn closed(log: &Path) -> std::io::Result<Vec<(SystemTime, PathBuf, Name)>> {
    let folder = folder_of(log);
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().and_then(|name| name_of(log, name)) else { continue };
        // A link is not followed: what it leads to is not ours.
        let about = match entry.metadata() {
            Ok(about) => about,
            // Somebody else took it away meanwhile.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            Err(e) => return Err(e),
        };
        if about.is_file() {
            out.push((about.modified()?, entry.path(), name));
        }
    }
    Ok(out)
}

/// `decisions.01JD….000000000000-000000000041.ndjson` beside `decisions.ndjson`.
fn name_of(log: &Path, name: &str) -> Option<Name> {
    let (stem, extension) = (log.file_stem()?.to_str()?, log.extension().map(|e| e.to_str()));
    let rest = name.strip_prefix(stem)?.strip_prefix('.')?;
    let rest = match extension {
        None => rest,
        Some(extension) => rest.strip_suffix(extension?)?.strip_suffix('.')?,
    };
    let (instance, lines) = rest.rsplit_once('.')?;
    let (first, last) = lines.split_once('-')?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.len() >= SEQ_DIGITS && text.bytes().all(|b| b.is_ascii_digit()));
    Some(Name { instance: instance.to_owned(), first: number(first)?, last: number(last)? })
}

/// What is told of a closed file; `None` where its lines are not those that its name says.
fn read(path: &Path, name: &Name) -> std::io::Result<Option<Deleted>> {
    let mut file = File::open(path)?;
    let mut first = Vec::new();
    BufReader::new((&file).take(limits::LOG_LINE_BYTES_MAX)).read_until(b'\n', &mut first)?;
    let length = file.metadata()?.len();
    let (torn, last) = tail(&mut file, length)?;
    let (Ok(first), Some(last)) = (Record::from_line(first.trim_ascii_end()), last.filter(|_| torn.is_empty())) else { return Ok(None) };
    let Ok(end) = Record::from_line(&last) else { return Ok(None) };
    let is_theirs = match &first.event {
        Event::Started(started) => started.instance == name.instance,
        Event::Continued(continued) => continued.instance == name.instance,
        _ => false,
    };
    if !is_theirs || (first.seq, end.seq) != (name.first, name.last) {
        return Ok(None);
    }
    Ok(Some(Deleted {
        file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        instance: name.instance.clone(),
        first: name.first,
        last: name.last,
        head: Digest::of(&last),
        until: end.at,
    }))
}

/// Digits of a line's number in a file name.
const SEQ_DIGITS: usize = 12;

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use portreeve_engine::chain::{ChainReader, Head};

    use super::super::tests::{CALLER, decided, open, opening};
    use super::*;
    use crate::clock::Clock;
    use crate::config::{Heads, HeadsTo};
    use crate::log::DecisionLog;
    use crate::metrics::Metrics;
    use crate::report::Report;

    fn heads_in(dir: &Path) -> Heads {
        let key = dir.join("head.key");
        let pem =
            "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEICoqKioqKioqKioqKioqKioqKioqKioqKioqKioqKioq\n-----END PRIVATE KEY-----\n";
        std::fs::write(&key, pem).unwrap();
        Heads { every: Duration::from_secs(3600), to: vec![HeadsTo::File(dir.join("heads.jsonl"))], key }
    }

    /// A log that was written over several rotations with this much kept: the folder, what was told as deleted, and all lines there were.
    fn written(keep: Keep, heads: bool) -> (tempfile::TempDir, Vec<Deleted>, BTreeMap<String, Vec<u8>>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.ndjson");
        let mut opening = opening(&path, "A");
        (opening.config.rotate_bytes, opening.config.keep) = (Some(4096), Some(keep));
        opening.config.heads = heads.then(|| heads_in(dir.path()));
        let (log, clock) = open(opening);
        let mut seen: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let decisions = |bytes: &[u8]| memchr::memmem::find_iter(bytes, br#""event":"decided""#).count();
        for n in 1..=120 {
            while log.denied(clock.now(), decided(CALLER)).is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
            // Each record is on disk before the next, so that no file is closed and deleted between two looks.
            loop {
                let now = std::fs::read(&path).unwrap_or_default();
                for (_, path, _) in closed(&path).unwrap() {
                    // It may be deleted while this looks.
                    let Ok(bytes) = std::fs::read(&path) else { continue };
                    seen.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), bytes);
                }
                if seen.values().map(|bytes| decisions(bytes)).sum::<usize>() + decisions(&now) >= n {
                    break;
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        log.stop();
        let mut told = Vec::new();
        for entry in std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()) {
            if entry.extension().is_some_and(|e| e == "ndjson") {
                seen.insert(entry.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&entry).unwrap());
            }
        }
        for line in seen.values().flat_map(|bytes| bytes.split(|b| *b == b'\n')).filter(|line| !line.is_empty()) {
            if let Event::Heartbeat(beat) = Record::from_line(line).unwrap().event {
                told.extend(beat.deleted);
            }
        }
        (dir, told, seen)
    }

    #[test]
    fn files_beyond_their_number_go_and_the_log_says_which() {
        let keep = Keep { files: Some(2), age: None, min_age: Duration::ZERO };
        let (dir, told, seen) = written(keep, true);
        let mut left = closed(&dir.path().join("d.ndjson")).unwrap();
        left.sort_by(|a, b| a.1.cmp(&b.1));
        assert!(left.len() <= 3 && !told.is_empty(), "{} files, {told:?}", left.len());
        // What is told is what is gone, it ended as is told, and the chain goes on behind it.
        for gone in &told {
            assert!(!dir.path().join(&gone.file).exists(), "{gone:?}");
            let lines = &seen[&gone.file];
            let last = lines.strip_suffix(b"\n").unwrap().rsplit(|b| *b == b'\n').next().unwrap();
            assert_eq!((Digest::of(last), Record::from_line(last).unwrap().at), (gone.head, gone.until));
        }
        assert_eq!(told.len() + left.len() + 1, seen.len(), "every file that was closed is there or told of");
        let end = told.iter().max_by_key(|gone| gone.last).unwrap();
        let mut chain = ChainReader::after(end.last, end.head);
        let files = left.iter().map(|(_, path, _)| path.clone()).chain([dir.path().join("d.ndjson")]);
        for line in files.flat_map(|file| std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()) {
            let record = Record::from_line(line.as_bytes()).unwrap();
            chain.accept(record.seq, record.prev, line.as_bytes()).unwrap();
        }
        // A signed head covers each line that tells of a deletion.
        let heads = std::fs::read_to_string(dir.path().join("heads.jsonl")).unwrap();
        let signed = heads.lines().map(|line| Head::from_line(line.as_bytes()).unwrap().seq).max().unwrap();
        assert!(signed > end.last);
    }

    #[test]
    fn nothing_goes_that_is_too_young_or_of_which_no_head_is_signed() {
        let young = Keep { files: Some(1), age: Some(Duration::from_secs(3600)), min_age: Duration::from_secs(3600) };
        let unsigned = Keep { files: Some(1), age: None, min_age: Duration::ZERO };
        for (keep, heads) in [(young, true), (unsigned, false)] {
            let (dir, told, seen) = written(keep, heads);
            let left = closed(&dir.path().join("d.ndjson")).unwrap();
            assert_eq!(left.len() + 1, seen.len(), "{keep:?}");
            assert!(left.len() > 2 && (told.is_empty() || !heads), "{keep:?}: {told:?}");
        }
    }

    #[test]
    fn age_is_that_of_the_last_record_and_a_file_with_other_lines_stays() {
        let keep = Keep { files: Some(1000), age: None, min_age: Duration::ZERO };
        let (dir, told, _) = written(keep, true);
        assert!(told.is_empty());
        let log = dir.path().join("d.ndjson");
        let mut files: Vec<PathBuf> = closed(&log).unwrap().into_iter().map(|(_, path, _)| path).collect();
        files.sort();
        let now = Timestamp::from_unix_ms(i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap());
        let hour = Keep { files: None, age: Some(Duration::from_secs(3600)), min_age: Duration::ZERO };
        // Files that were touched long ago, and whose records are young: the records count.
        for file in &files {
            File::options().write(true).open(file).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        assert!(look(&log, &hour, now).unwrap().due.is_empty());
        let found = look(&log, &hour, now.plus_ms(2 * 3_600_000)).unwrap();
        assert_eq!((found.due.len(), found.strange.len()), (files.len().min(limits::DELETED_AT_ONCE_MAX), 0));
        // One whose name says other lines than it has is not touched.
        let odd = dir.path().join("d.A.000000000001-000000000002.ndjson");
        std::fs::rename(&files[0], &odd).unwrap();
        let found = look(&log, &hour, now.plus_ms(2 * 3_600_000)).unwrap();
        assert_eq!(found.strange, [odd]);
    }

    #[test]
    fn only_names_of_closed_files_are_taken_for_them() {
        let log = Path::new("/var/log/decisions.ndjson");
        let name = |instance: &str, first, last| Some(Name { instance: instance.to_owned(), first, last });
        for (text, found) in [
            ("decisions.01JD.000000000000-000000000041.ndjson", name("01JD", 0, 41)),
            ("decisions.a.b.000000000007-1000000000041.ndjson", name("a.b", 7, 1_000_000_000_041)),
            ("decisions.ndjson", None),
            ("decisions.ndjson.lock", None),
            ("decisions.torn-01JD", None),
            ("decisions.unreadable-before-01JD.ndjson", None),
            ("decisions.01JD.000000000000-000000000041-before-x.ndjson", None),
            ("decisions.01JD.0-41.ndjson", None),
            ("decisions.01JD.000000000000-000000000041.ndjson.gz", None),
            ("other.01JD.000000000000-000000000041.ndjson", None),
            ("decisions2.01JD.000000000000-000000000041.ndjson", None),
        ] {
            assert_eq!(name_of(log, text), found, "{text}");
        }
        assert_eq!(name_of(Path::new("log"), "log.x.000000000000-000000000001"), name("x", 0, 1));
    }

    /// Nobody can give back what a wrong clock took away.
    #[test]
    fn a_clock_that_is_set_ahead_deletes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("d.ndjson");
        let mut opening = opening(&path, "A");
        let year = Duration::from_secs(366 * 24 * 3600);
        (opening.config.rotate_bytes, opening.config.keep) = (Some(4096), Some(Keep { files: Some(1), age: Some(year), min_age: year }));
        opening.config.heads = Some(heads_in(dir.path()));
        let ahead = Arc::new(AtomicU64::new(0));
        let source = Arc::clone(&ahead);
        let clock = Clock::reading(move || SystemTime::now() + Duration::from_secs(source.load(Ordering::Relaxed) * 24 * 3600));
        let clock = Arc::new(clock);
        assert_eq!(clock.look(), None);
        let log = DecisionLog::open(opening, Arc::clone(&clock), Arc::new(Metrics::new()), Report::silent()).unwrap();
        let write = || {
            for _ in 0..40 {
                while log.denied(clock.now(), decided(CALLER)).is_err() {}
                std::thread::sleep(Duration::from_millis(3));
            }
        };
        write();
        let first: Vec<_> = closed(&path).unwrap().into_iter().map(|(_, file, _)| file).collect();
        assert!(first.len() > 1);
        ahead.store(400, Ordering::Relaxed);
        write();
        log.stop();
        assert!(first.iter().all(|file| file.exists()), "{first:?}");
    }
}
