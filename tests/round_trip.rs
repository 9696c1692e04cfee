//! The round trip: random traffic through real sidecars, then their own logs held against what was seen from outside and against
//! the policies. Nothing may be missing, nothing may be there twice, and no answer may differ from what the law says; and where
//! a log is altered, exactly the altered records are found.
//!
//! Every town has a seed; a failure prints it. Answers that are due are written down in the town by hand, the books count
//! records, and replay asks the engine: three judges that share no code.

#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use portreeve_auditor::assessment::ChainVerdict;
use portreeve_auditor::{Assessment, Audit, LogSource, VerifiedHeads, verify};
use portreeve_demo::books::{self, Ending};
use portreeve_demo::calls::Questions;
use portreeve_demo::{Day, FIRST, Pages, Plan, Random, Running, SECOND, Slowness, Tally, Town, TownOptions, day, play};
use portreeve_engine::chain::{ChainWriter, HeadVerifier};
use portreeve_engine::record::Decided;
use portreeve_engine::{Authorizer, Bundle, Digest, Effect, Event, Reason, Record};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::sleep;

/// Slow enough that requests overlap with reloads and stops, fast enough for a test.
const SLOW: Slowness = Slowness { one_in: 6, by: Duration::from_millis(150) };

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// A whole day of some requests, with a new bundle and new certificates in the middle.
fn whole_day(seed: u64, requests: u64) -> (TempDir, Day, Pages) {
    let dir = tempfile::tempdir().unwrap();
    let town = Town::build(dir.path(), TownOptions { slowness: Some(SLOW), ..TownOptions::default() }).unwrap();
    let (day, pages) = runtime().block_on(async {
        let running = town.start().await.unwrap();
        let plan = Plan { seed, requests, players: 12, ask: Questions::All };
        let day = day(&running, plan, Arc::default(), |_| ()).await;
        let pages = running.stop().await;
        (day.unwrap(), pages)
    });
    assert_eq!(day.tally.deviations, 0, "seed {seed}: {:#?}\n{:#?}", day.tally.deviations_kept, pages.messages);
    (dir, day, pages)
}

fn authorizer(path: &Path) -> Authorizer {
    Authorizer::compile(&Bundle::read_dir(path).unwrap()).authorizer.unwrap()
}

fn audit(dir: &Path, logs: Vec<LogSource>, heads: VerifiedHeads) -> Assessment {
    let bundles = Running::bundles(dir).into_iter().map(|path| (path.display().to_string(), authorizer(&path))).collect();
    Audit::new(bundles).logs(logs).heads(heads).run(&mut |_| ()).unwrap()
}

fn sources(dir: &Path) -> Vec<LogSource> {
    books::logs(dir).into_iter().map(LogSource::File).collect()
}

fn heads(dir: &Path) -> VerifiedHeads {
    let verifier = HeadVerifier::from_pem(&fs::read_to_string(dir.join("heads.pub")).unwrap()).unwrap();
    let mut all = VerifiedHeads::default();
    for log in books::logs(dir) {
        all.extend(VerifiedHeads::read(&fs::read(log.with_extension("heads.ndjson")).unwrap(), std::slice::from_ref(&verifier)).unwrap());
    }
    all
}

/// The books balance, the chains are whole and vouched for, and replay agrees with every record.
fn sound(dir: &Path, tally: &Tally, pages: &Pages, ending: Ending, seed: u64) -> Assessment {
    let found = books::balance(dir, tally, pages, ending).unwrap();
    assert!(found.faults.is_empty(), "seed {seed}, {} faults: {:#?}", found.faults.len(), found.faults);
    assert!(found.allowed > 0 && found.forwarded > 0 && !found.denied.is_empty() && !found.refused.is_empty(), "seed {seed}: {found:?}");
    let verified = verify(&sources(dir), &heads(dir), &mut |_| ()).unwrap();
    assert!(verified.is_sound(), "seed {seed}: {}", verified.render());
    for input in &verified.inputs {
        assert_eq!((input.verdict, input.open_ended), (ChainVerdict::Vouched, false), "seed {seed}: {}", verified.render());
    }
    let assessment = audit(dir, sources(dir), heads(dir));
    let totals = assessment.totals;
    assert_eq!((totals.mismatches, totals.not_replayable, totals.rejected, totals.duplicates), (0, 0, 0, 0), "seed {seed}: {totals:?}");
    assert_eq!((totals.decided, totals.allowed), (found.decided, found.allowed), "seed {seed}");
    assert_eq!(totals.unrecorded, found.unrecorded, "seed {seed}");
    assert_eq!(totals.refused_attempts, found.refused.values().sum::<u64>(), "seed {seed}");
    assessment
}

#[test]
fn a_day_leaves_books_that_balance() {
    for seed in [1, 20_261_122] {
        let (dir, day, pages) = whole_day(seed, 260);
        sound(dir.path(), &day.tally, &pages, Ending::Idle, seed);
        assert_eq!(day.tally.total(), 260, "seed {seed}");
        for path in books::logs(dir.path()) {
            let reloads = records(&path).iter().filter(|r| matches!(&r.event, Event::Reloaded(r) if r.revision == day.revision)).count();
            assert_eq!(reloads, 1, "seed {seed}: {}", path.display());
            let serials: BTreeSet<String> = records(&path).iter().filter_map(prober_serial).collect();
            assert_eq!(serials.len(), 2, "seed {seed}: the prober's certificates in {}", path.display());
        }
    }
}

#[test]
fn a_stop_midway_leaves_books_that_balance() {
    let mut cut = 0;
    for seed in [2, 3] {
        let dir = tempfile::tempdir().unwrap();
        let slowness = Some(Slowness { one_in: 3, by: Duration::from_millis(600) });
        let town = Town::build(dir.path(), TownOptions { slowness, drain: Duration::from_millis(100) }).unwrap();
        let (tally, pages) = runtime().block_on(async {
            let running = town.start().await.unwrap();
            let done = Arc::new(AtomicU64::new(0));
            let plan = Plan { seed, requests: 100_000, players: 12, ask: Questions::All };
            let playing = tokio::spawn(play(Arc::clone(running.stage()), plan, Arc::clone(&done)));
            while done.load(Ordering::Relaxed) < 40 {
                sleep(Duration::from_millis(5)).await;
            }
            running.reload_bundle().await.unwrap();
            while done.load(Ordering::Relaxed) < 120 {
                sleep(Duration::from_millis(5)).await;
            }
            let pages = running.stop().await;
            (playing.await.unwrap(), pages)
        });
        assert_eq!(tally.deviations, 0, "seed {seed}: {:#?}", tally.deviations_kept);
        assert!(tally.total() < 100_000, "seed {seed}: nothing was stopped");
        sound(dir.path(), &tally, &pages, Ending::Midway, seed);
        cut += books::balance(dir.path(), &tally, &pages, Ending::Midway).unwrap().unanswered;
        // On the terms of a quiet end the same books do not balance, or nothing was under way.
        let strict = books::balance(dir.path(), &tally, &pages, Ending::Idle).unwrap();
        assert!(!strict.faults.is_empty(), "seed {seed}");
    }
    assert!(cut > 0, "no request was under way at any stop");
}

/// The bundle goes back and forth while only such questions are asked as the two answer differently: each answer must be that of
/// the revision beside it in the record.
#[test]
fn every_answer_is_that_of_the_revision_in_its_record() {
    let seed = 7;
    let dir = tempfile::tempdir().unwrap();
    let town = Town::build(dir.path(), TownOptions::default()).unwrap();
    let (tally, pages) = runtime().block_on(async {
        let running = town.start().await.unwrap();
        let plan = Plan { seed, requests: 1_000_000, players: 12, ask: Questions::Refunds };
        let playing = tokio::spawn(play(Arc::clone(running.stage()), plan, Arc::default()));
        for _ in 0..3 {
            running.reload_bundle().await.unwrap();
            running.restore_bundle().await.unwrap();
        }
        let pages = running.stop().await;
        (playing.await.unwrap(), pages)
    });
    assert_eq!(tally.deviations, 0, "seed {seed}: {:#?}", tally.deviations_kept);
    let found = books::balance(dir.path(), &tally, &pages, Ending::Midway).unwrap();
    assert!(found.faults.is_empty(), "seed {seed}: {:#?}", found.faults);
    assert!(tally.allowed > 0 && tally.denied > 0, "seed {seed}: {tally:?}");
    let totals = audit(dir.path(), sources(dir.path()), heads(dir.path())).totals;
    assert_eq!((totals.mismatches, totals.not_replayable), (0, 0), "seed {seed}: {totals:?}");
}

/// The certificate with which the prober asked; it keeps each for as long as the town does.
fn prober_serial(record: &Record) -> Option<String> {
    match &record.event {
        Event::Decided(d) if d.source.id.to_string().ends_with("/prober") => d.tls.as_ref().map(|tls| tls.serial.clone()),
        _ => None,
    }
}

fn records(path: &Path) -> Vec<Record> {
    fs::read(path).unwrap().split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(|l| Record::from_line(l).unwrap()).collect()
}

/// Writes the lines of a log anew, with a chain that holds.
fn chained(records: &[Record]) -> Vec<u8> {
    let (mut chain, mut out) = (ChainWriter::new(), Vec::new());
    for record in records {
        chain.append(record.at, &record.event, &mut out);
    }
    out
}

/// A town's logs in memory.
struct Logs(Vec<(String, Vec<Record>)>);

impl Logs {
    fn of(dir: &Path) -> Self {
        Self(books::logs(dir).into_iter().map(|path| (path.display().to_string(), records(&path))).collect())
    }

    fn sources(&self) -> Vec<LogSource> {
        self.0.iter().map(|(name, records)| LogSource::Memory { name: name.clone(), bytes: chained(records) }).collect()
    }

    /// Alters `n` of the records that fit, chosen by `random`; tells how many were altered.
    fn alter(&self, n: usize, random: &mut Random, fits: impl Fn(&Decided) -> bool, change: impl Fn(&mut Decided)) -> (Self, usize) {
        let mut logs = Self(self.0.clone());
        let mut fitting: Vec<&mut Decided> = Vec::new();
        for (_, records) in &mut logs.0 {
            for record in records {
                if let Event::Decided(decided) = &mut record.event
                    && fits(decided)
                {
                    fitting.push(decided);
                }
            }
        }
        let mut altered = 0;
        while altered < n && !fitting.is_empty() {
            let at = usize::try_from(random.below(u64::try_from(fitting.len()).unwrap())).unwrap();
            change(fitting.swap_remove(at));
            altered += 1;
        }
        (logs, altered)
    }

    /// Ids of the requests answered under `revision` whose record follows a reload.
    fn decided_after_reload(&self, revision: Digest) -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        for (_, records) in &self.0 {
            let mut reloaded = false;
            for record in records {
                match &record.event {
                    Event::Reloaded(_) => reloaded = true,
                    Event::Decided(d) if reloaded && d.revision == revision => drop(out.insert(d.request.id.clone())),
                    _ => {}
                }
            }
        }
        out
    }
}

/// What is altered, in how many records, and what must be found.
type Change<'a> = (&'static str, usize, Box<dyn Fn(&Decided) -> bool + 'a>, Box<dyn Fn(&mut Decided) + 'a>);

#[test]
fn exactly_the_altered_records_are_found() {
    let seed = 5;
    let (dir, day, pages) = whole_day(seed, 320);
    sound(dir.path(), &day.tally, &pages, Ending::Idle, seed);
    let first = *authorizer(&dir.path().join(FIRST)).revision();
    let second = *authorizer(&dir.path().join(SECOND)).revision();
    let logs = Logs::of(dir.path());
    // Chained anew without a change, nothing is found: what is found below is found for the change alone.
    assert_eq!(audit(dir.path(), logs.sources(), VerifiedHeads::default()).totals.mismatches, 0);

    let judged = |d: &Decided| d.request.raw.is_none() && d.decision.reason != Reason::MalformedRequest;
    let refund = |d: &Decided| d.request.operation.as_deref() == Some("refund");
    // A request that was being decided during the reload may be recorded after it; there the second revision is in force.
    let late = logs.decided_after_reload(first);
    let changes: Vec<Change<'_>> = vec![
        (
            "effect",
            17,
            Box::new(|_| true),
            Box::new(|d| d.decision.effect = if d.decision.effect == Effect::Allow { Effect::Deny } else { Effect::Allow }),
        ),
        (
            "reason",
            9,
            Box::new(judged),
            Box::new(|d| {
                d.decision.reason = if d.decision.reason == Reason::NoPermission { Reason::Permitted } else { Reason::NoPermission }
            }),
        ),
        ("policies", 13, Box::new(judged), Box::new(|d| d.decision.policies = vec!["prober-reads-health-2".to_owned()])),
        ("operation", 8, Box::new(judged), Box::new(|d| d.request.operation = Some("drop-tables".to_owned()))),
        (
            "revision not yet in force",
            11,
            Box::new(move |d| d.revision == first && !late.contains(&d.request.id)),
            Box::new(move |d| d.revision = second),
        ),
        // Just after a reload the old revision is still believed; what it would have answered is not.
        ("revision no longer in force", 2, Box::new(move |d| d.revision == second && refund(d)), Box::new(move |d| d.revision = first)),
        ("revision unknown", 7, Box::new(|_| true), Box::new(|d| d.revision = Digest::of(b"never in force"))),
    ];
    for (n, (what, count, fits, change)) in changes.into_iter().enumerate() {
        let mut random = Random::new(seed + u64::try_from(n).unwrap());
        let (altered, done) = logs.alter(count, &mut random, fits, change);
        assert_eq!(done, count, "seed {seed}: too few records for `{what}`");
        let totals = audit(dir.path(), altered.sources(), VerifiedHeads::default()).totals;
        assert_eq!(totals.mismatches, u64::try_from(count).unwrap(), "seed {seed}, altered {what}: {totals:?}");
        assert_eq!(totals.rejected, 0, "{what}");
        // Chained anew, the logs contradict the heads that left the machine.
        let verified = verify(&altered.sources(), &heads(dir.path()), &mut |_| ()).unwrap();
        assert_eq!(verified.verdict, ChainVerdict::Broken, "{what}");
        assert_eq!(verify(&altered.sources(), &VerifiedHeads::default(), &mut |_| ()).unwrap().verdict, ChainVerdict::SelfConsistent);
    }
    books_that_are_wrong_do_not_balance(dir.path(), &day.tally, &pages, &logs);
}

/// What the books say, and the change of a log for which they say it.
type Tampering<'a> = (&'static str, Box<dyn Fn(&mut Vec<Record>) + 'a>);

/// Each way in which a log could tell less or more than what happened shows in the books.
fn books_that_are_wrong_do_not_balance(dir: &Path, tally: &Tally, pages: &Pages, logs: &Logs) {
    let users = dir.join("logs/users.ndjson");
    let kept = fs::read(&users).unwrap();
    let (_, whole) = &logs.0[1];
    let position = |wanted: fn(&Event) -> bool| whole.iter().position(|r| wanted(&r.event)).unwrap();
    let allowed = position(|e| matches!(e, Event::Decided(d) if d.decision.effect == Effect::Allow));
    let denied = position(|e| matches!(e, Event::Decided(d) if d.decision.effect == Effect::Deny));
    let ended = position(|e| matches!(e, Event::Ended(_)));
    let refused = position(|e| matches!(e, Event::Refused(_)));
    let beat = position(|e| matches!(e, Event::Heartbeat(_)));
    let wrong: [Tampering<'_>; 6] = [
        ("was answered 200 by `users` and never decided", Box::new(|r| drop(r.remove(allowed)))),
        ("was answered 40", Box::new(|r| drop(r.remove(denied)))),
        ("its end was never told", Box::new(|r| drop(r.remove(ended)))),
        ("strangers were turned away", Box::new(|r| drop(r.remove(refused)))),
        ("was decided twice", Box::new(|r| r.insert(allowed, r[allowed].clone()))),
        (
            "0 requests were answered 503",
            Box::new(|r| {
                if let Event::Heartbeat(beat) = &mut r[beat].event {
                    beat.unrecorded = 1;
                }
            }),
        ),
    ];
    for (says, change) in wrong {
        let mut altered = whole.clone();
        change(&mut altered);
        // Numbers of lines are kept: these books are about what is told, the chain is about the rest.
        let mut bytes = Vec::new();
        for record in &altered {
            let mut line = serde_json::to_value(&record.event).unwrap();
            line["v"] = 1.into();
            line["seq"] = record.seq.into();
            line["prev"] = serde_json::to_value(record.prev).unwrap();
            line["at"] = serde_json::to_value(record.at).unwrap();
            bytes.extend(serde_json::to_vec(&line).unwrap());
            bytes.push(b'\n');
        }
        fs::write(&users, bytes).unwrap();
        let faults = books::balance(dir, tally, pages, Ending::Idle).unwrap().faults;
        assert!(faults.iter().any(|fault| fault.contains(says)), "{says}: {faults:#?}");
    }
    fs::write(&users, kept).unwrap();
    let mut more = pages.clone();
    more.seen.push(more.seen[0].clone());
    let faults = books::balance(dir, tally, &more, Ending::Idle).unwrap().faults;
    assert!(faults.iter().any(|fault| fault.contains("twice")), "{faults:#?}");
}
