//! Lines that stand in two logs of another mesh: what rotation or an export copied, in whole or in part.
//!
//! Records of our own log are known by their chain, and lines that name their request or connection count once however often they are read
//! (see `foreign/pairs.rs`). What names neither counts as often as it stands there. Of such lines some are marked, chosen by their
//! times alone, so that of a copy the same ones are; in a log of few lines each is. Nothing is left out for being marked twice: a line without an
//! id may be alike by chance. It is told.
//!
//! A copy of part of a log is noticed where it has some hundredths of the lines of the larger of the two; of less, chance decides.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher as _;

use foldhash::quality::FixedState;
use portreeve_engine::Timestamp;

use crate::intake::InputRead;
use crate::limits::{COPIED_LINES_MIN, COPIED_PAIRS_MAX, COPY_MARKS_MAX};

/// The marked lines of a log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    kept: Vec<Mark>,
    /// Of the times one in two to the power of this is chosen.
    level: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    at: i64,
    hash: u64,
    line: u64,
}

impl Mark {
    const fn key(&self) -> (i64, u64) {
        (self.at, self.hash)
    }
}

/// Lines of one log that stand in another, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// The logs, by their number.
    pub(crate) logs: (usize, usize),
    /// The first of these lines in each.
    pub(crate) lines: (u64, u64),
    /// How many they are.
    pub(crate) count: u64,
    /// Whether each line was looked at, so that this is their number and not about it.
    pub(crate) exact: bool,
}

impl Marks {
    pub(crate) const NONE: Self = Self { kept: Vec::new(), level: 0 };

    /// A line that names neither its request nor its connection.
    #[inline]
    pub(crate) fn add(&mut self, at: Timestamp, line: u64, bytes: &[u8]) {
        let at = at.unix_ms();
        if is_chosen(at, self.level) {
            self.keep(Mark { at, hash: FixedState::default().hash_one(bytes), line });
        }
    }

    fn keep(&mut self, mark: Mark) {
        self.kept.push(mark);
        while self.kept.len() > COPY_MARKS_MAX && self.level < LEVEL_MAX {
            self.level += 1;
            self.kept.retain(|mark| is_chosen(mark.at, self.level));
        }
        // As many lines of one time tell nothing by their times.
        if self.kept.len() > COPY_MARKS_MAX {
            self.kept.clear();
        }
    }

    /// How many lines it holds.
    pub(crate) const fn held(&self) -> usize {
        self.kept.len()
    }

    /// Those of a choice that both logs made, between two times.
    fn between(&self, level: u32, (first, last): (i64, i64)) -> usize {
        let within = self.kept.iter().filter(|mark| is_chosen(mark.at, level) && (first..=last).contains(&mark.at));
        within.map(Mark::key).collect::<BTreeSet<_>>().len()
    }
}

/// A line of two logs: its time, and where it stands in each.
type Common = (i64, u64, u64);

/// Logs that have lines in common: as many as chance seldom makes, and most of those of the time from the first to the last of them.
pub(crate) fn copied(inputs: &[InputRead]) -> Vec<Copied> {
    let mut known: BTreeMap<(i64, u64), (usize, u64)> = BTreeMap::new();
    let mut pairs: BTreeMap<(usize, usize), Vec<Common>> = BTreeMap::new();
    for (n, input) in inputs.iter().enumerate() {
        for mark in &input.marks.kept {
            let (other, line) = *known.entry(mark.key()).or_insert((n, mark.line));
            if other != n && (pairs.len() < COPIED_PAIRS_MAX || pairs.contains_key(&(other, n))) {
                pairs.entry((other, n)).or_default().push((mark.at, line, mark.line));
            }
        }
    }
    pairs.into_iter().filter_map(|(logs, common)| copy(inputs, logs, &common)).collect()
}

fn copy(inputs: &[InputRead], logs: (usize, usize), common: &[Common]) -> Option<Copied> {
    let (one, other) = (&inputs.get(logs.0)?.marks, &inputs.get(logs.1)?.marks);
    let level = one.level.max(other.level);
    let count = common.len() as u64;
    let times = (common.iter().map(|c| c.0).min()?, common.iter().map(|c| c.0).max()?);
    let of = one.between(level, times).min(other.between(level, times)) as u64;
    let (_, first, second) = *common.iter().min_by_key(|(_, _, line)| *line)?;
    let is_copy = count >= COPIED_LINES_MIN && count * 2 >= of;
    is_copy.then(|| Copied { logs, lines: (first, second), count: count.saturating_mul(1 << level), exact: level == 0 })
}

/// Whether a time is chosen: about one in two to the power of `level`, and of those of a level some at the next.
const fn is_chosen(at: i64, level: u32) -> bool {
    // Multiplication spreads what differs in few bits over the upper ones.
    let spread = at.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 24;
    spread & ((1 << level) - 1) == 0
}

/// One time in a thousand million is chosen: no log is so long.
const LEVEL_MAX: u32 = 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::foreign::Format;

    /// A log of these lines, one each 7 ms.
    fn log(lines: std::ops::Range<u64>, from: u64) -> InputRead {
        let mut read = InputRead::new("log".to_owned(), Format::Kuma);
        for (number, n) in (1..).zip(lines) {
            read.marks.add(
                Timestamp::from_unix_ms(1_790_000_000_000 + i64::try_from(n * 7).unwrap()),
                number,
                format!("{from} {n}").as_bytes(),
            );
        }
        read
    }

    #[test]
    fn what_was_copied_is_told_and_what_was_not_is_not() {
        let found = |logs: &[InputRead]| copied(logs).into_iter().map(|c| (c.logs, c.lines, c.count, c.exact)).collect::<Vec<_>>();
        // The end of one is the beginning of the other.
        assert_eq!(found(&[log(0..100, 0), log(90..200, 0)]), [((0, 1), (91, 1), 10, true)]);
        // Beside each other, at the same times.
        assert_eq!(found(&[log(0..100, 0), log(0..100, 1)]), []);
        assert_eq!(found(&[log(0..100, 0), log(100..200, 0), log(98..100, 0)]), []);
        for (lines, of) in [(30_000..100_000, 20_000), (45_000..46_000, 1_000), (49_000..80_000, 1_000)] {
            let [(logs, _, count, exact)] = found(&[log(0..50_000, 0), log(lines.clone(), 0)])[..] else { panic!("{lines:?}") };
            assert!(logs == (0, 1) && !exact && (of / 2..of * 2).contains(&count), "{count} of {of}");
        }
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let long = log(0..300_000, 0);
        assert!((COPY_MARKS_MAX / 4..=COPY_MARKS_MAX).contains(&long.marks.held()), "{}", long.marks.held());
        let mut marks = Marks::default();
        (0..10_000_u64).for_each(|n| marks.add(Timestamp::from_unix_ms(0), n, &n.to_le_bytes()));
        assert!(marks.held() <= COPY_MARKS_MAX);
    }
}
