//! The decision log of a sidecar, read back: every line parsed, the chain followed, times not going back.

use std::collections::BTreeSet;
use std::path::Path;

use portreeve_engine::chain::ChainReader;
use portreeve_engine::record::{Decided, Ended, Why};
use portreeve_engine::{Effect, Event, Reason, Record};

#[derive(Debug)]
pub(crate) struct Log(pub(crate) Vec<Record>);

impl Log {
    /// Reads one chain. A line that does not fit fails the test. A torn tail, where `torn` permits one, is left out.
    pub(crate) fn read(path: &Path, torn: bool) -> Self {
        let text = std::fs::read(path).unwrap();
        let whole = match text.iter().rposition(|b| *b == b'\n') {
            Some(end) => &text[..end],
            None => &[],
        };
        assert!(torn || whole.len() + 1 == text.len(), "the log ends in a torn line");
        let mut chain = ChainReader::new();
        let mut out: Vec<Record> = Vec::new();
        for line in whole.split(|b| *b == b'\n').filter(|l| !l.is_empty()) {
            let record = Record::from_line(line).unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(line)));
            chain.accept(record.seq, record.prev, line).unwrap();
            assert!(out.last().is_none_or(|before| before.at <= record.at), "time goes back");
            out.push(record);
        }
        Self(out)
    }

    pub(crate) fn decided(&self) -> Vec<&Decided> {
        self.0.iter().filter_map(|r| if let Event::Decided(d) = &r.event { Some(&**d) } else { None }).collect()
    }

    pub(crate) fn ended(&self) -> Vec<&Ended> {
        self.0.iter().filter_map(|r| if let Event::Ended(e) = &r.event { Some(e) } else { None }).collect()
    }

    pub(crate) fn reasons(&self) -> Vec<Reason> {
        self.decided().iter().map(|d| d.decision.reason).collect()
    }

    /// Every refusal of a stranger, as often as it was counted.
    pub(crate) fn refused(&self) -> Vec<&str> {
        let mut out = Vec::new();
        for record in &self.0 {
            if let Event::Refused(refused) = &record.event {
                out.extend(std::iter::repeat_n(refused.reason.as_str(), usize::try_from(refused.count).unwrap()));
            }
        }
        out
    }

    /// What the gate says of the requests that it could not record.
    pub(crate) fn unrecorded(&self) -> u64 {
        let count = |r: &Record| match &r.event {
            Event::Heartbeat(beat) => beat.unrecorded,
            Event::Stopped(stopped) => stopped.unrecorded,
            _ => 0,
        };
        self.0.iter().map(count).sum()
    }

    /// The canonical paths of decisions with this effect.
    pub(crate) fn paths(&self, effect: Effect) -> Vec<&str> {
        self.decided().iter().filter(|d| d.decision.effect == effect).filter_map(|d| d.request.path.as_deref()).collect()
    }

    /// Paths of requests that a new policy cut while they ran.
    pub(crate) fn cut_by_policy(&self) -> Vec<String> {
        let cut: BTreeSet<u64> = self.ended().iter().filter(|e| e.why == Why::Policy).map(|e| e.of).collect();
        let path = |r: &Record| match &r.event {
            Event::Decided(d) if cut.contains(&r.seq) => d.request.path.clone(),
            _ => None,
        };
        self.0.iter().filter_map(path).collect()
    }

    /// Every allowed request has exactly one end, and ends belong to allows.
    pub(crate) fn every_allow_ended(&self) {
        let allowed: Vec<u64> =
            self.0.iter().filter(|r| matches!(&r.event, Event::Decided(d) if d.decision.effect == Effect::Allow)).map(|r| r.seq).collect();
        let mut ended: Vec<u64> = self.ended().iter().map(|e| e.of).collect();
        ended.sort_unstable();
        assert_eq!(ended, allowed, "allows and ends do not match");
    }
}
