//! What the hash chains of some logs show: faults, gaps, rotation links, signed heads. For `portreeve verify`.
//!
//! INVARIANT (INV-10): a chain for which no signed head vouches is `self-consistent`, however good it looks.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use portreeve_engine::{Digest, Record, SpiffeId};
use serde::Serialize;

use crate::assessment::{ChainVerdict, Rejected};
use crate::chains::Chain;
use crate::examined::many;
use crate::foreign::{Format, Reading};
use crate::heads::VerifiedHeads;
use crate::intake::{self, InputRead, Intake, Line, ReadError, Sink};
use crate::limits::FAULTS_NAMED_MAX;
use crate::source::LogSource;

/// What the chains of some logs show.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The worst verdict of all inputs.
    pub verdict: ChainVerdict,
    /// The logs, in the order given.
    pub inputs: Vec<InputVerification>,
    /// The processes, in the order first met.
    pub chains: Vec<ChainVerification>,
    /// Processes that signed heads name and of which no line was given.
    pub absent: Vec<Absent>,
}

/// What was seen of one log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InputVerification {
    /// As given.
    pub path: String,
    /// SHA-256 of the file as it is.
    pub sha256: Digest,
    /// Lines read.
    pub lines: u64,
    /// Lines that are no records.
    pub rejected: u64,
    /// The first of them.
    pub rejected_examples: Vec<Rejected>,
    /// Lines that were read before.
    pub duplicates: u64,
    /// The verdict on its lines.
    pub verdict: ChainVerdict,
    /// What is wrong, by line.
    pub faults: Vec<Rejected>,
    /// Nothing vouches that its last line is the last of its process.
    pub open_ended: bool,
}

/// What was seen of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ChainVerification {
    /// The process; `None` where the line that names it is missing.
    pub instance: Option<String>,
    /// Whose log it is.
    pub enforcer: Option<SpiffeId>,
    /// The verdict on the chain.
    pub verdict: ChainVerdict,
    /// Its lines.
    pub lines: u64,
    /// Lines read more than once.
    pub duplicates: u64,
    /// First sequence number read.
    pub first_seq: u64,
    /// Last sequence number read.
    pub last_seq: u64,
    /// Runs of sequence numbers that are missing.
    pub missing: Vec<(u64, u64)>,
    /// A signed head vouches for every line up to this one.
    pub vouched_through: Option<u64>,
    /// It said that it stopped.
    pub stopped: bool,
    /// The number after which nothing vouches that the log ends there.
    pub open_ended_after: Option<u64>,
    /// The file into which its start put a torn tail aside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered: Option<String>,
    /// How many things are wrong.
    pub faults: u64,
    /// What else there is to say.
    pub notes: Vec<String>,
}

/// A process that a signed head names and of which no line was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Absent {
    /// The process.
    pub instance: String,
    /// The highest line a head names.
    pub seq: u64,
}

/// Verifies logs against themselves and signed heads.
///
/// # Errors
/// A log cannot be opened or read.
pub fn verify(logs: &[LogSource], heads: &VerifiedHeads, progress: &mut dyn FnMut(u64)) -> Result<Verification, ReadError> {
    verify_on(1, logs, heads, progress)
}

/// [`verify`] with so many threads. Their number shows in nothing but the time.
///
/// # Errors
/// A log cannot be opened or read.
pub fn verify_on(
    threads: usize,
    logs: &[LogSource],
    heads: &VerifiedHeads,
    progress: &mut dyn FnMut(u64),
) -> Result<Verification, ReadError> {
    struct Nothing;
    impl Sink for Nothing {
        fn take(&mut self, _: &Line, _: Record) -> bool {
            true
        }
    }
    let intake = intake::read(logs, heads, &Reading::ours().on_threads(threads), &mut Nothing, progress)?;
    ReadError::of_mistaken(logs, &intake).map_or_else(|| Ok(Verification::of(&intake)), Err)
}

impl Verification {
    pub(crate) fn of(intake: &Intake) -> Self {
        let inputs: Vec<_> = intake.inputs.iter().enumerate().map(|(index, read)| input(index, read, &intake.chains.all)).collect();
        let chains = intake.chains.all.iter().map(chain).collect();
        let absent = intake.chains.absent().map(|(instance, seq)| Absent { instance: instance.to_owned(), seq }).collect();
        Self { verdict: worst(inputs.iter().map(|i| i.verdict)), inputs, chains, absent }
    }

    /// Whether nothing is wrong: no chain is broken, no line rejected, no process absent of which a head speaks.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.verdict != ChainVerdict::Broken && self.absent.is_empty() && self.inputs.iter().all(|i| i.rejected == 0)
    }

    /// Logs in which there was nothing that could have been wrong: not one line.
    #[must_use]
    pub fn void(&self) -> Vec<&str> {
        self.inputs.iter().filter(|i| i.lines == 0).map(|i| &*i.path).collect()
    }

    /// The human form, one statement a line; ends with a newline.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        for input in &self.inputs {
            let _ = writeln!(out, "{}: {}, {}", input.path, many(input.lines, "line"), words(input.verdict));
            for fault in &input.faults {
                let _ = writeln!(out, "  line {}: {}", fault.line, fault.why);
            }
            for rejected in &input.rejected_examples {
                let _ = writeln!(out, "  line {} is rejected: {}", rejected.line, rejected.why);
            }
            if input.rejected > input.rejected_examples.len() as u64 {
                let _ = writeln!(out, "  {} lines are rejected in all", input.rejected);
            }
            if input.duplicates > 0 {
                let _ = writeln!(out, "  {} lines were read before and are counted once", input.duplicates);
            }
        }
        for chain in &self.chains {
            render_chain(chain, &mut out);
        }
        for absent in &self.absent {
            let _ = writeln!(out, "process {}: a signed head names its `seq` {}, but no line of it was given", absent.instance, absent.seq);
        }
        out
    }
}

fn render_chain(chain: &ChainVerification, out: &mut String) {
    let name = chain.instance.as_deref().unwrap_or("(unnamed)");
    let _ = writeln!(out, "process {name}: `seq` {} to {}, {}", chain.first_seq, chain.last_seq, words(chain.verdict));
    for (from, to) in &chain.missing {
        let _ = writeln!(out, "  `seq` {from} to {to} are missing");
    }
    match (chain.verdict, chain.vouched_through) {
        (ChainVerdict::Broken, _) => {}
        (_, Some(through)) if through >= chain.last_seq => {
            let _ = writeln!(out, "  a signed head vouches for every line");
        }
        (_, Some(through)) => {
            let _ = writeln!(out, "  a signed head vouches for the lines up to `seq` {through}, nothing for those after it");
        }
        (_, None) => {
            let _ = writeln!(out, "  no signed head vouches for it: a log rewritten whole would look the same");
        }
    }
    match chain.open_ended_after {
        Some(seq) => {
            let _ = writeln!(out, "  open-ended after `seq` {seq}: neither `stopped` nor a later head says that this is the end");
        }
        None if chain.stopped => {
            let _ = writeln!(out, "  it ended in order");
        }
        None => {}
    }
    if let Some(file) = &chain.recovered {
        let _ = writeln!(out, "  its start put a torn tail aside in {file}");
    }
    for note in &chain.notes {
        let _ = writeln!(out, "  {note}");
    }
}

const fn words(verdict: ChainVerdict) -> &'static str {
    match verdict {
        ChainVerdict::Vouched => "vouched for by a signed head",
        ChainVerdict::SelfConsistent => "self-consistent",
        ChainVerdict::Broken => "broken",
        ChainVerdict::Empty => "no record",
        ChainVerdict::Unchained => "without a chain",
    }
}

/// `broken` before `self-consistent` before `vouched`; `empty` says nothing.
fn worst(verdicts: impl Iterator<Item = ChainVerdict>) -> ChainVerdict {
    let rank = |v: &ChainVerdict| match v {
        ChainVerdict::Empty => 0,
        ChainVerdict::Vouched => 1,
        ChainVerdict::SelfConsistent => 2,
        ChainVerdict::Unchained => 3,
        ChainVerdict::Broken => 4,
    };
    verdicts.max_by_key(rank).unwrap_or(ChainVerdict::Empty)
}

fn input(index: usize, read: &InputRead, chains: &[Chain]) -> InputVerification {
    let mut by_line: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for fault in chains.iter().flat_map(|c| &c.faults).filter(|f| f.input == index) {
        by_line.entry(fault.line).or_default().push(&fault.why);
    }
    let total: usize = by_line.values().map(Vec::len).sum();
    let each = by_line.iter().flat_map(|(line, whys)| whys.iter().map(|why| Rejected { line: *line, why: (*why).to_owned() }));
    let mut faults: Vec<_> = each.take(FAULTS_NAMED_MAX).collect();
    if let Some(line) = by_line.last_key_value().map(|(line, _)| *line).filter(|_| total > faults.len()) {
        faults.push(Rejected { line, why: format!("{} further faults up to here", total - faults.len()) });
    }
    let touched = read.chains.iter().filter_map(|(chain, span)| Some((chains.get(*chain)?, *span)));
    let verdict = if !faults.is_empty() {
        ChainVerdict::Broken
    } else if read.format != Format::Portreeve {
        ChainVerdict::Unchained
    } else {
        worst(touched.clone().map(|(chain, (first, _))| {
            if chain.vouched_through.is_some_and(|through| through >= first) && chain.faults.is_empty() {
                ChainVerdict::Vouched
            } else {
                ChainVerdict::SelfConsistent
            }
        }))
    };
    let open_ended = touched.clone().any(|(chain, (_, last))| chain.open_ended_after().is_some_and(|after| after <= last));
    InputVerification {
        path: read.path.clone(),
        sha256: read.sha256,
        lines: read.lines,
        rejected: read.rejected,
        rejected_examples: read.rejected_examples.clone(),
        duplicates: read.duplicates,
        verdict,
        faults,
        open_ended,
    }
}

fn chain(chain: &Chain) -> ChainVerification {
    let verdict = match (chain.faults.is_empty(), chain.vouched_through) {
        (false, _) => ChainVerdict::Broken,
        (true, Some(_)) => ChainVerdict::Vouched,
        (true, None) => ChainVerdict::SelfConsistent,
    };
    ChainVerification {
        instance: chain.instance.clone(),
        enforcer: chain.enforcer.clone(),
        verdict,
        lines: chain.lines,
        duplicates: chain.duplicates,
        first_seq: chain.first_seq().unwrap_or_default(),
        last_seq: chain.last_seq().unwrap_or_default(),
        missing: chain.missing(),
        vouched_through: chain.vouched_through.filter(|_| chain.faults.is_empty()),
        stopped: chain.stopped.is_some(),
        open_ended_after: chain.open_ended_after(),
        recovered: chain.recovered.clone(),
        faults: chain.fault_count,
        notes: chain.notes.clone(),
    }
}
