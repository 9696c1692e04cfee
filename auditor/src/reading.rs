//! How the logs were read, for the assessment: what each line is, how well callers are known, what could not be asked and why.
//!
//! INVARIANT (row conservation): the parts of an input's coverage add up to its lines.

use std::collections::BTreeMap;

use crate::assessment::{Coverage, GradeCount, JoinedLine, OtherLines, Reads};
use crate::examined::Examined;
use crate::foreign::{Format, Grade, Lawful, fitness};
use crate::intake::InputRead;

/// All of them together.
pub(crate) fn reads(examined: &Examined<'_>, inputs: &[InputRead]) -> Reads {
    let mut all: BTreeMap<Grade, u64> = Grade::ALL.into_iter().map(|g| (g, 0)).collect();
    let mut not_asked: BTreeMap<&str, u64> = BTreeMap::new();
    for (key, tally) in &examined.fold.ledger.decided {
        *all.entry(key.grade).or_default() += tally.count;
        if let Lawful::NotAsked(lack) = &key.lawful {
            *not_asked.entry(lack.as_str()).or_default() += tally.count;
        }
    }
    Reads {
        grades: all.into_iter().map(|(grade, count)| GradeCount { grade, count }).collect(),
        fitness: fitness::fitness(examined),
        not_asked: lines(not_asked),
        lost: inputs.iter().map(|i| i.foreign.lost).fold(0, u64::saturating_add),
        uncompared: examined.fold.foreign.not_paired(),
    }
}

/// The decisions of one input by grade, surplus lines taken out.
pub(crate) fn of_input(examined: &Examined<'_>, index: usize, read: &InputRead) -> BTreeMap<Grade, u64> {
    if read.format == Format::Portreeve {
        return examined.fold.grades.get(&index).cloned().unwrap_or_default();
    }
    let mut grades = read.foreign.decided.clone();
    for (grade, surplus) in examined.fold.foreign.surplus.get(&index).map(|s| &s.decided).into_iter().flatten() {
        if let Some(count) = grades.get_mut(grade) {
            *count = count.saturating_sub(*surplus);
        }
    }
    grades
}

/// The grades that have any.
pub(crate) fn grades(counts: &BTreeMap<Grade, u64>) -> Vec<GradeCount> {
    counts.iter().filter(|(_, n)| **n > 0).map(|(grade, count)| GradeCount { grade: *grade, count: *count }).collect()
}

/// What the lines of one input are.
pub(crate) fn coverage(examined: &Examined<'_>, index: usize, read: &InputRead) -> Coverage {
    let decided = of_input(examined, index, read).values().sum();
    let surplus = examined.fold.foreign.surplus.get(&index);
    let again = surplus.map_or(0, |s| s.decided.values().sum::<u64>() + s.undetermined);
    let undetermined = read.foreign.undetermined - surplus.map_or(0, |s| s.undetermined).min(read.foreign.undetermined);
    let duplicates = read.duplicates + again;
    let refused = examined.fold.refused_lines.get(&index).copied().unwrap_or_default();
    Coverage {
        decided,
        refused,
        // Row conservation makes the rest.
        lifecycle: read.lines.saturating_sub(decided + refused + duplicates + read.rejected),
        duplicates,
        rejected: read.rejected,
        cut: read.foreign.cut,
        joined: read.ends.joined.map(|j| JoinedLine { line: j.line, rest_input: j.rest_input, rest_line: j.rest_line }),
        undetermined,
        other: lines(read.foreign.other.iter().map(|(what, n)| (*what, *n)).collect()),
        lost: read.foreign.lost,
    }
}

fn lines(counts: BTreeMap<&str, u64>) -> Vec<OtherLines> {
    counts.into_iter().map(|(what, count)| OtherLines { what: what.to_owned(), count }).collect()
}
