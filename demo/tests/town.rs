//! The town runs a day: every answer is the one that is due, the bundle and the certificates change, nothing is left over.

#![cfg(test)]

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Instant;

use portreeve_demo::books::{self, Ending};
use portreeve_demo::calls::{Kind, Questions};
use portreeve_demo::{Plan, Town, TownOptions, day, limits};

#[tokio::test(flavor = "multi_thread")]
async fn a_day_passes_as_it_should() {
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let town = Town::build(dir.path(), TownOptions::default()).unwrap();
    let running = town.start().await.unwrap();
    eprintln!("started after {:?}", began.elapsed());
    let plan = Plan { seed: 11, requests: 700, players: limits::PLAYERS, ask: Questions::All };
    let passed = day(&running, plan, Arc::new(AtomicU64::new(0)), |what| eprintln!("{what}")).await;
    eprintln!("played after {:?}", began.elapsed());
    let pages = running.stop().await;
    eprintln!("stopped after {:?}", began.elapsed());
    let day = passed.unwrap();
    assert_eq!(day.tally.deviations, 0, "{:#?}\n{:#?}", day.tally.deviations_kept, pages.messages);
    assert_eq!(pages.faults, Vec::<String>::new());
    assert_eq!(day.tally.total(), 700);
    assert_eq!(day.tally.sent.len(), Kind::ALL.len());
    assert_eq!((day.tally.cut, day.tally.unrecorded), (0, 0));
    for (service, (old, new)) in &day.rotated.serials {
        assert_ne!(old, new, "{service}");
    }
    let books = books::balance(dir.path(), &day.tally, &pages, Ending::Idle).unwrap();
    assert!(books.faults.is_empty(), "{} faults: {:#?}", books.faults.len(), &books.faults[..books.faults.len().min(10)]);
    eprintln!("{} seen, {} handshakes", pages.seen.len(), day.tally.handshakes);
}
