//! Interleaved rounds: in each, every contestant works in turn; ratios are taken within a round, and then their median.

use std::process::Stdio;

use crate::load::{Outcome, Plan};
use crate::peers::{OTHER_CPU, Peer};
use crate::process::pinned;

/// What each contestant did in each round.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    pub(crate) names: Vec<String>,
    /// By contestant, then by round.
    pub(crate) outcomes: Vec<Vec<Outcome>>,
}

/// Starts a generator of load on the other processor; its outcome comes when it is waited for.
pub(crate) fn begin(plan: &Plan) -> std::process::Child {
    let mut command = vec![std::env::current_exe().unwrap().display().to_string()];
    command.extend(plan.arguments());
    pinned(OTHER_CPU, &command).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Waits for a generator.
pub(crate) fn end(child: std::process::Child) -> Outcome {
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "the generator of load failed");
    serde_json::from_slice(&out.stdout).unwrap()
}

impl Rounds {
    /// `n` rounds of `plan` over all peers; every answer must be 200.
    pub(crate) fn run(n: usize, peers: &[Peer], plan: impl Fn(&Peer) -> Plan) -> Self {
        let mut out = Self { names: peers.iter().map(|p| p.name.clone()).collect(), outcomes: vec![Vec::new(); peers.len()] };
        for _ in 0..n {
            for (at, peer) in peers.iter().enumerate() {
                let outcome = end(begin(&Plan { pid: Some(peer.process.pid()), target: peer.address, ..plan(peer) }));
                assert!(outcome.statuses.keys().eq([&200]), "{}: {:?}", peer.name, outcome.statuses);
                out.outcomes[at].push(outcome);
            }
        }
        out
    }

    fn of(&self, name: &str) -> Option<&[Outcome]> {
        self.names.iter().position(|n| n == name).map(|at| self.outcomes[at].as_slice())
    }

    /// A table of processor microseconds for one unit.
    pub(crate) fn print(&self, unit: &str) {
        println!("\n| contestant | µs of processor time for one {unit}, median | range | {unit}s a second | p50 ms | p99 ms | p99.9 ms |");
        println!("|---|---|---|---|---|---|---|");
        for (name, outcomes) in self.names.iter().zip(&self.outcomes) {
            let of = |f: fn(&Outcome) -> f64| Figure::of(outcomes.iter().map(f).collect());
            let us = of(us_per_unit);
            println!(
                "| {name} | {:.1} | {:.1}–{:.1} | {:.0} | {:.2} | {:.2} | {:.2} |",
                us.median,
                us.least,
                us.most,
                of(|o| o.units as f64 / o.seconds).median,
                of(|o| f64::from(o.p50_us) / 1e3).median,
                of(|o| f64::from(o.p99_us) / 1e3).median,
                of(|o| f64::from(o.p999_us) / 1e3).median,
            );
        }
        println!();
    }

    /// Tells whether `ours` costs at most `bound` times what `theirs` does; nothing where one of them was not there.
    pub(crate) fn goal(&self, goal: &str, ours: &str, theirs: &str, bound: f64) {
        let (Some(ours_seen), Some(theirs_seen)) = (self.of(ours), self.of(theirs)) else { return };
        let ratios = ours_seen.iter().zip(theirs_seen).map(|(a, b)| us_per_unit(a) / us_per_unit(b)).collect();
        verdict(&format!("{goal}: {ours} / {theirs}"), ratios, bound);
    }
}

fn us_per_unit(outcome: &Outcome) -> f64 {
    outcome.cpu * 1e6 / outcome.units as f64
}

/// A goal holds when the median and at least five of seven rounds hold.
pub(crate) fn verdict(what: &str, values: Vec<f64>, bound: f64) {
    let holding = values.iter().filter(|v| **v <= bound).count();
    let (rounds, figure) = (values.len(), Figure::of(values));
    let holds = figure.median <= bound && holding * 7 >= rounds * 5;
    println!(
        "{} {what}: {:.3} ({:.3}–{:.3}), goal at most {bound:.3}, {holding} of {rounds} rounds",
        if holds { "holds " } else { "MISSED" },
        figure.median,
        figure.least,
        figure.most
    );
}

/// A median with its range.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Figure {
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        assert!(!values.is_empty(), "nothing was measured");
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) { f64::midpoint(values[middle - 1], values[middle]) } else { values[middle] };
        Self { median, least: values[0], most: values[values.len() - 1] }
    }
}
