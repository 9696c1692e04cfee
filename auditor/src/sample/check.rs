//! Checks a sample: that each line stood where it says, and, where the logs are at hand, that the draw was the one the seed gives.

use std::collections::BTreeSet;

use portreeve_engine::Digest;
use serde::Serialize;

use super::tree::{Tree, root_of};
use super::{Draw, KIND, Sample, SampledLine, SampledLog, VERSION, log_leaf};
use crate::examined::many;
use crate::intake::ReadError;
use crate::source::LogSource;

/// A file that is no sample.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SampleError {
    /// It is not the JSON of a sample.
    #[error("not a sample: {0}")]
    Json(String),
    /// It is of a form that is not known here.
    #[error("a sample of version {0}, which is not known here")]
    Version(u32),
}

/// What a check of a sample showed, and what it could not look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SampleReport {
    /// The sample in words.
    pub statement: String,
    /// The root that was proved; it proves something where it is known from elsewhere, such as a signed manifest.
    pub root: Digest,
    /// Records whose proof leads to the root.
    pub proved: u64,
    /// Of those, records whose line is in the sample and has the digest proved.
    pub with_text: u64,
    /// Lines of which two logs hold a half each, both of them proved.
    pub joined: u64,
    /// Logs that were at hand and are those of the sample.
    pub logs_checked: u64,
    /// Logs of the sample.
    pub logs: u64,
    /// Whether the draw was made again, from all logs, and gave the same records.
    pub redrawn: bool,
    /// What is wrong, a sentence each.
    pub faults: Vec<String>,
}

impl SampleReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        self.faults.is_empty()
    }

    /// In words.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        for fault in &self.faults {
            out.push_str(&format!("error: {fault}\n"));
        }
        out.push_str(&format!("sample: {}\n  root {}\n", self.statement, self.root));
        out.push_str(&format!("  {} proved to stand in their logs, {} of them with their line\n", self.proved, self.with_text));
        if self.joined > 0 {
            out.push_str(&format!("  {} cut in two by rotation, with the proofs of both halves\n", many(self.joined, "line")));
        }
        out.push_str(&match (self.logs_checked, self.redrawn) {
            (0, _) => "  the logs were not given: that the draw is the seed's was not checked\n".to_owned(),
            (_, true) => format!("  all {} logs read again: the seed gives these records\n", self.logs),
            (n, false) => format!("  {n} of {} logs read again: their roots; the draw needs all of them\n", self.logs),
        });
        out.push_str(if self.is_sound() {
            "ok: nothing is wrong with what was checked\n"
        } else {
            "FAIL: the sample is not what it says\n"
        });
        out
    }
}

/// Whether a line stands in its log, with the text that the sample has of it.
fn proved(entry: &SampledLine, log: &SampledLog) -> Result<(), String> {
    let place = format!("{}:{}", log.path, entry.line);
    let index = entry.line.checked_sub(1);
    let leads = index.and_then(|index| root_of(entry.sha256.as_bytes(), index, log.lines, &entry.proof));
    if leads != Some(log.root) {
        return Err(format!("the proof of {place} does not lead to the root of its log"));
    }
    let is_it = entry.text.as_ref().is_none_or(|text| Digest::of(text.as_bytes()) == entry.sha256);
    if is_it { Ok(()) } else { Err(format!("the text of {place} is not the line that was proved")) }
}

impl Sample {
    /// Reads a sample.
    ///
    /// # Errors
    /// [`SampleError`].
    pub fn read(bytes: &[u8]) -> Result<Self, SampleError> {
        let sample: Self = serde_json::from_slice(bytes).map_err(|e| SampleError::Json(e.to_string()))?;
        if sample.kind != KIND {
            return Err(SampleError::Json(format!("its kind is not `{KIND}`")));
        }
        if sample.v == VERSION { Ok(sample) } else { Err(SampleError::Version(sample.v)) }
    }

    /// Checks every proof, and the draw where `logs` are given.
    ///
    /// # Errors
    /// A log cannot be read.
    pub fn check(&self, logs: &[LogSource]) -> Result<SampleReport, ReadError> {
        let mut report = SampleReport {
            statement: self.statement.clone(),
            root: self.root,
            proved: 0,
            with_text: 0,
            joined: 0,
            logs_checked: 0,
            logs: self.logs.len() as u64,
            redrawn: false,
            faults: Vec::new(),
        };
        self.check_roots(&mut report);
        self.check_entries(&mut report);
        self.check_joined(&mut report);
        if !logs.is_empty() {
            self.check_logs(logs, &mut report)?;
        }
        Ok(report)
    }

    fn check_roots(&self, report: &mut SampleReport) {
        let mut above = Tree::default();
        for log in &self.logs {
            above.push(&log_leaf(log), false);
        }
        if above.finish().0 != self.root {
            report.faults.push("the roots of the logs do not lead to the root of the sample".to_owned());
        }
        let population: u64 = self.logs.iter().map(|l| l.population).fold(0, u64::saturating_add);
        if population != self.population {
            report.faults.push(format!("the logs have {population} records, the sample says {}", self.population));
        }
        if self.entries.len() as u64 != self.size.min(self.population) {
            report.faults.push(format!("the sample has {} records where {} are due", self.entries.len(), self.size.min(self.population)));
        }
        let statement =
            format!("{} of {} records, seed {}", super::grouped(self.entries.len() as u64), super::grouped(self.population), self.seed);
        if statement != self.statement {
            report.faults.push("its statement does not say what it holds".to_owned());
        }
    }

    fn check_entries(&self, report: &mut SampleReport) {
        let mut seen = BTreeSet::new();
        for entry in &self.entries {
            let Some(log) = self.logs.get(entry.log) else {
                report.faults.push(format!("a record is of log {}, which the sample does not have", entry.log));
                continue;
            };
            if !seen.insert((entry.log, entry.line)) {
                report.faults.push(format!("{}:{} stands in the sample twice", log.path, entry.line));
            }
            match proved(entry, log) {
                Ok(()) => {
                    report.proved += 1;
                    report.with_text += u64::from(entry.text.is_some());
                }
                Err(fault) => report.faults.push(fault),
            }
        }
    }

    /// Both halves of joined lines stand where they say, at the end of a log and at the beginning of another, and make the line together.
    fn check_joined(&self, report: &mut SampleReport) {
        for line in &self.joined {
            let [begins, ends] = &line.halves;
            let (Some(first), Some(next)) = (self.logs.get(begins.log), self.logs.get(ends.log)) else {
                report.faults.push(format!("{} is joined of logs that the sample does not have", line.sha256));
                continue;
            };
            let faults: Vec<String> = [proved(begins, first), proved(ends, next)].into_iter().filter_map(Result::err).collect();
            let is_sound = faults.is_empty();
            report.faults.extend(faults);
            let are_ends = begins.log != ends.log && begins.line == first.lines && ends.line == 1;
            let text = begins.text.as_ref().zip(ends.text.as_ref()).map(|(begins, ends)| format!("{begins}{ends}"));
            let is_it = text.is_none_or(|text| Digest::of(text.as_bytes()) == line.sha256);
            if !are_ends || !is_it {
                report.faults.push(format!("{} is not the line that its halves make", line.sha256));
            }
            report.joined += u64::from(is_sound && are_ends && is_it);
        }
    }

    /// Reads the logs that are at hand again: their roots, and with all of them the draw.
    fn check_logs(&self, logs: &[LogSource], report: &mut SampleReport) -> Result<(), ReadError> {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX).min(super::super::limits::SAMPLE_SIZE_MAX);
        let again = Self::draw(logs, Draw { size, seed: self.seed, digests_only: true })?;
        // Each log of the sample answers for one log given: the same one twice is not both of two.
        let mut left: Vec<&SampledLog> = self.logs.iter().collect();
        for log in &again.logs {
            let same = |known: &&SampledLog| {
                (known.sha256, known.lines, known.population, known.root) == (log.sha256, log.lines, log.population, log.root)
            };
            if let Some(place) = left.iter().position(same) {
                left.swap_remove(place);
                report.logs_checked += 1;
            } else if self.logs.iter().any(|known| same(&known)) {
                report.faults.push(format!("`{}` is a log that was given before", log.path));
            } else {
                report.faults.push(format!("`{}` is none of the logs that were drawn from, or was changed since", log.path));
            }
        }
        if again.logs.len() == self.logs.len() && report.logs_checked == report.logs {
            let lines = |s: &Self| -> BTreeSet<(Option<Digest>, u64)> {
                s.entries.iter().map(|e| (s.logs.get(e.log).map(|l| l.sha256), e.line)).collect()
            };
            report.redrawn = true;
            if lines(self) != lines(&again) {
                report.faults.push("the seed gives other records than the sample has: it was not drawn so".to_owned());
            }
        }
        Ok(())
    }
}
