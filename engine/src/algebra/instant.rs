//! Classes of instants: two instants of one class lie on the same side of every date and in the same time windows.
//!
//! A class is the meeting of a stretch between two dates with a stretch of the day; those that meet nowhere (a night window in
//! a period that ends at noon) do not exist. Each class is kept as one instant of it.

use std::collections::BTreeSet;

use crate::algebra::diagram::TooLarge;
use crate::limits::INSTANT_CLASSES_MAX;
use crate::model::Condition;
use crate::time::Timestamp;

/// One instant of each class that the conditions tell apart.
pub(crate) fn classes<'a>(conditions: impl Iterator<Item = &'a Condition>) -> Result<Vec<Timestamp>, TooLarge> {
    let mut dates: BTreeSet<i64> = BTreeSet::new();
    let mut clocks: BTreeSet<i64> = BTreeSet::from([0]);
    for condition in conditions {
        dates.extend(condition.not_before.iter().chain(&condition.expires).map(|t| t.unix_ms()));
        clocks.extend(condition.time.iter().flat_map(|w| [w.from_ms, w.to_ms]).filter(|ms| *ms < DAY_MS));
    }
    if (dates.len() + 1).saturating_mul(clocks.len()) > INSTANT_CLASSES_MAX {
        return Err(TooLarge);
    }
    let (min, end) = (Timestamp::MIN.unix_ms(), Timestamp::MAX.unix_ms() + 1);
    let starts: Vec<i64> = std::iter::once(min).chain(dates.iter().copied().filter(|d| (min + 1..end).contains(d))).collect();
    let ends = starts.iter().copied().skip(1).chain([end]);
    let mut out = Vec::new();
    for (start, end) in starts.iter().copied().zip(ends) {
        for (at, from) in clocks.iter().copied().enumerate() {
            let to = clocks.iter().copied().nth(at + 1).unwrap_or(DAY_MS);
            out.extend(instant(start, end, from, to).map(Timestamp::from_unix_ms));
        }
    }
    Ok(out)
}

/// An instant from `start` on and before `end` with its time of day from `from` on and before `to`; near a date that a policy
/// names where there is one, so that people recognise it.
fn instant(start: i64, end: i64, from: i64, to: i64) -> Option<i64> {
    let first_from = |start: i64| {
        let clock = start.rem_euclid(DAY_MS);
        if clock < from {
            start - clock + from
        } else if clock < to {
            start
        } else {
            start - clock + DAY_MS + from
        }
    };
    let open = start == Timestamp::MIN.unix_ms();
    let near = match (open, end > Timestamp::MAX.unix_ms()) {
        (true, true) => ORDINARY_DAY_MS,
        (true, false) => end.saturating_sub(DAY_MS).max(start),
        (false, _) => start,
    };
    [near, start].into_iter().map(first_from).find(|at| *at < end)
}

const DAY_MS: i64 = 86_400_000;
/// 2026-01-01, for witnesses of policies that name no date.
const ORDINARY_DAY_MS: i64 = 1_767_225_600_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TimeWindow;

    fn condition(from: Option<&str>, end: Option<&str>, windows: &[(i64, i64)]) -> Condition {
        Condition {
            not_before: from.map(|t| t.parse().unwrap()),
            expires: end.map(|t| t.parse().unwrap()),
            time: windows.iter().map(|(a, b)| TimeWindow { from_ms: a * 3_600_000, to_ms: b * 3_600_000 }).collect(),
            ..Condition::default()
        }
    }

    /// What the conditions say of an instant, part by part.
    fn said(conditions: &[Condition], at: Timestamp) -> Vec<bool> {
        let parts = |c: &Condition| {
            let windows: Vec<bool> = c.time.iter().map(|w| w.contains(at)).collect();
            [windows, vec![c.not_before.is_some_and(|t| at >= t), c.expires.is_some_and(|t| at < t)]].concat()
        };
        conditions.iter().flat_map(parts).collect()
    }

    #[test]
    fn every_instant_has_its_class_and_no_class_is_empty() {
        let cases = [
            vec![Condition::default()],
            vec![condition(Some("2026-06-01T10:00:00Z"), Some("2026-06-01T12:00:00Z"), &[(22, 6)])],
            vec![
                condition(None, Some("2026-06-02T00:00:00Z"), &[(8, 18), (17, 24)]),
                condition(Some("2026-06-01T00:00:00Z"), None, &[(0, 1)]),
            ],
            vec![condition(Some("2026-06-01T23:59:59.999Z"), Some("2026-06-02T00:00:00.001Z"), &[(0, 24)])],
        ];
        for conditions in cases {
            let found = classes(conditions.iter()).unwrap();
            let start: Timestamp = "2026-05-30T00:00:00Z".parse().unwrap();
            for half_hours in 0..(24 * 2 * 5) {
                for off in [-1, 0, 1] {
                    let at = start.plus_ms(half_hours * 1_800_000 + off);
                    assert!(found.iter().any(|t| said(&conditions, *t) == said(&conditions, at)), "{at} {found:?}");
                }
            }
            for (n, at) in found.iter().enumerate() {
                assert!(!found.iter().skip(n + 1).any(|other| other == at), "{at} twice");
            }
        }
        assert_eq!(classes([Condition::default()].iter()).unwrap().first().unwrap().to_string(), "2026-01-01T00:00:00.000Z");
    }

    #[test]
    fn too_many_classes_are_too_many() {
        let date = |n: i64| Condition { expires: Some(Timestamp::from_unix_ms(n * 7)), ..Condition::default() };
        let many: Vec<Condition> = (0..i64::try_from(INSTANT_CLASSES_MAX).unwrap() + 1).map(date).collect();
        assert_eq!(classes(many.iter()), Err(TooLarge));
    }
}
