//! P6: bundles of ten thousand permissions swapped under load; every record is decided again under the revision it names.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use portreeve_engine::path::Paths;
use portreeve_engine::{Authorizer, Bundle, Event, Record, Revision};

use crate::goals::{Bench, two_bundles};
use crate::load::{Mode, Plan};
use crate::rounds::{begin, end};

const RELOADS: usize = 20;
const PERMISSIONS: usize = 10_000;

/// One caller is granted by both bundles, the other by one of them.
pub(crate) fn p6(bench: &Bench) {
    let bundles = two_bundles(&bench.place.dir, PERMISSIONS);
    let link = bench.place.dir.join("bundle-in-force");
    point(&link, &bundles[0]);
    let peer = bench.place.portreeve("reloading", &bench.enforcer, &link, "");
    let log = bench.place.dir.join("reloading.ndjson");
    let load = |identity: &str| {
        let seconds = RELOADS as f64 * 1.0 + 1.0;
        let plan = Plan { identity: identity.to_owned(), connections: 8, rate: Some(1_500.0), seconds, ..bench.plan(Mode::Load) };
        begin(&Plan { target: peer.address, ..plan })
    };
    let (always, sometimes) = (load("caller"), load("sometimes"));
    for n in 1..=RELOADS {
        let began = Instant::now();
        point(&link, &bundles[n % 2]);
        peer.process.hang_up();
        std::thread::sleep(Duration::from_secs(1).saturating_sub(began.elapsed()));
    }
    let (always, sometimes) = (end(always), end(sometimes));
    drop(peer);
    let seen = judge_again(&log, &bundles);
    println!(
        "{} reloads; a caller granted by both bundles saw {:?}, one granted by every other {:?}",
        seen.reloads, always.statuses, sometimes.statuses
    );
    println!("{} records decided again under the revision they name, {} differ", seen.records, seen.differ);
    println!("p99 {:.2} ms, p99.9 {:.2} ms", f64::from(always.p99_us) / 1e3, f64::from(always.p999_us) / 1e3);
    let holds = always.statuses.keys().eq([&200])
        && sometimes.statuses.keys().eq([&200, &403])
        && seen.differ == 0
        && seen.reloads >= RELOADS / 2
        && seen.records >= always.units + sometimes.units;
    println!("{} P6", if holds { "holds " } else { "MISSED" });
}

/// Replaces the link in one step.
fn point(link: &Path, to: &Path) {
    let new = link.with_extension("new");
    let _ = std::fs::remove_file(&new);
    std::os::unix::fs::symlink(to, &new).unwrap();
    std::fs::rename(new, link).unwrap();
}

#[derive(Default)]
struct Seen {
    reloads: usize,
    records: u64,
    differ: u64,
}

fn judge_again(log: &Path, bundles: &[std::path::PathBuf]) -> Seen {
    let authorizers: HashMap<Revision, Authorizer> = bundles
        .iter()
        .map(|dir| {
            let authorizer = Authorizer::compile(&Bundle::read_dir(dir).unwrap()).authorizer.unwrap();
            (*authorizer.revision(), authorizer)
        })
        .collect();
    let mut seen = Seen::default();
    for line in BufReader::new(std::fs::File::open(log).unwrap()).lines() {
        let record = Record::from_line(line.unwrap().as_bytes()).unwrap();
        match record.event {
            Event::Reloaded(_) => seen.reloads += 1,
            Event::Decided(decided) => {
                let authorizer = &authorizers[&decided.revision];
                let request = decided.request(record.at, Paths::default()).unwrap();
                let again = authorizer.decide(&request);
                seen.records += 1;
                if (again.effect, again.reason) != (decided.decision.effect, decided.decision.reason) {
                    seen.differ += 1;
                }
            }
            _ => {}
        }
    }
    seen
}
