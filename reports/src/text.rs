//! Words and figures for people: separators, spans of time, cut names, and characters that must not act.
//!
//! Nothing here decides anything. INVARIANT: after [`tame`] a text holds no control character (save tab and line ends), no
//! character that reorders or hides its neighbours, and no tall pile of combining marks.

use std::borrow::Cow;
use std::fmt::Write as _;

use portreeve_auditor::assessment::Period;
use portreeve_engine::Timestamp;

use crate::limits::COMBINING_MARKS_MAX;

/// `12482301` as `12,482,301`.
pub(crate) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A length of time in its two largest units: `31 days`, `2 h 14 min`, `12 s`, `812 ms`.
pub(crate) fn span(ms: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let ms = ms.max(0);
    let Some(at) = UNITS.iter().position(|(size, _)| ms >= *size) else { return format!("{ms} ms") };
    let mut out = String::new();
    let mut rest = ms;
    for (size, unit) in UNITS.iter().skip(at).take(2) {
        let whole = rest / size;
        rest %= size;
        if whole > 0 {
            let space = if out.is_empty() { "" } else { " " };
            let _infallible = write!(out, "{space}{whole} {unit}");
        }
    }
    out
}

/// A length of time for a headline: whole days from two days on, [`span`] below.
pub(crate) fn about(ms: i64) -> String {
    const DAY_MS: i64 = 86_400_000;
    if ms < 2 * DAY_MS {
        return span(ms);
    }
    format!("{} days", ms.saturating_add(DAY_MS / 2) / DAY_MS)
}

/// `15 October – 14 November 2026`, or the times where it is one day, to the second where it is one minute.
pub(crate) fn period(period: Period) -> String {
    let (from, to) = (Day::of(period.from), Day::of(period.to));
    if from == to {
        let (mut begins, mut ends) = (hour(period.from), hour(period.to));
        if begins == ends {
            (begins, ends) = (second(period.from), second(period.to));
        }
        return if begins == ends { format!("{from}, {ends} UTC") } else { format!("{from}, {begins} – {ends} UTC") };
    }
    if from.year == to.year {
        return format!("{} {} – {to}", from.day, from.month_name());
    }
    format!("{from} – {to}")
}

/// `2026-11-22 10:00:00 UTC`; the milliseconds are in the data.
pub(crate) fn moment(at: Timestamp) -> String {
    let text = at.to_string();
    let (date, clock) = text.split_once('T').unwrap_or((&text, ""));
    let clock = clock.split_once('.').map_or(clock, |(seconds, _)| seconds);
    format!("{date} {clock} UTC")
}

/// At most `max` characters, the last an ellipsis where something was cut; tamed first, since that lengthens.
pub(crate) fn short(text: &str, max: usize) -> Cow<'_, str> {
    let text = tame(text);
    if text.chars().nth(max).is_none() {
        return text;
    }
    Cow::Owned(text.chars().take(max.saturating_sub(1)).chain(['…']).collect())
}

/// Only what an anchor may hold: letters, digits, dots and dashes; everything else becomes a dash.
pub(crate) fn slug(text: &str) -> String {
    text.chars().take(crate::limits::NAME_SHOWN_CHARS).map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
}

/// The text with every character that acts instead of being read shown as its code point.
pub(crate) fn tame(text: &str) -> Cow<'_, str> {
    let quiet = text.bytes().all(|b| matches!(b, b' '..=b'~' | b'\n' | b'\t'));
    if quiet {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 64);
    let mut marks = 0;
    for c in text.chars() {
        marks = if is_combining(c) { marks + 1 } else { 0 };
        if acts(c) || marks > COMBINING_MARKS_MAX {
            let _infallible = write!(out, "⟦U+{:04X}⟧", u32::from(c));
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Characters that reorder, hide, break or control instead of being read.
pub(crate) fn acts(c: char) -> bool {
    is_among(&ACTING, c)
}

/// Marks drawn over the letter before them.
pub(crate) fn is_combining(c: char) -> bool {
    is_among(&COMBINING, c)
}

fn is_among(ranges: &[(u32, u32)], c: char) -> bool {
    let c = u32::from(c);
    // Most text is plain, and the page of ten thousand findings is long.
    if (0x20..=0x7e).contains(&c) {
        return false;
    }
    ranges.iter().any(|(first, last)| (*first..=*last).contains(&c))
}

/// The ranges of [`acts`], first and last; the page's script has them from here. Tab and the end of a line are read.
pub(crate) const ACTING: [(u32, u32); 20] = [
    (0x0, 0x8),
    (0xb, 0x1f),
    (0x7f, 0x9f),
    (0xad, 0xad),
    (0x34f, 0x34f),
    (0x61c, 0x61c),
    (0x115f, 0x1160),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x200b, 0x200f),
    (0x2028, 0x202e),
    (0x2060, 0x206f),
    (0x2800, 0x2800),
    (0x3164, 0x3164),
    (0xfe00, 0xfe0f),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfffb),
    (0xfffe, 0xffff),
    (0xe0000, 0xe0fff),
];

/// The ranges of [`is_combining`].
pub(crate) const COMBINING: [(u32, u32); 6] =
    [(0x300, 0x36f), (0x483, 0x489), (0x1ab0, 0x1aff), (0x1dc0, 0x1dff), (0x20d0, 0x20ff), (0xfe20, 0xfe2f)];

fn hour(at: Timestamp) -> String {
    let minutes = at.ms_of_day() / 60_000;
    format!("{:02}:{:02}", minutes / 60, minutes % 60)
}

fn second(at: Timestamp) -> String {
    format!("{}:{:02}", hour(at), at.ms_of_day() / 1_000 % 60)
}

#[derive(PartialEq)]
struct Day {
    year: String,
    month: usize,
    day: String,
}

impl Day {
    fn of(at: Timestamp) -> Self {
        let text = at.date().to_string();
        let mut parts = text.split('-');
        let year = parts.next().unwrap_or_default().to_owned();
        let month = parts.next().and_then(|m| m.parse().ok()).unwrap_or_default();
        let day = parts.next().unwrap_or_default().trim_start_matches('0').to_owned();
        Self { year, month, day }
    }

    fn month_name(&self) -> &'static str {
        self.month.checked_sub(1).and_then(|m| MONTHS.get(m)).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.day, self.month_name(), self.year)
    }
}

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        for (n, expected) in
            [(0, "0"), (999, "999"), (1_000, "1,000"), (12_482_301, "12,482,301"), (u64::MAX, "18,446,744,073,709,551,615")]
        {
            assert_eq!(thousands(n), expected);
        }
        for (ms, expected) in [
            (-5, "0 ms"),
            (812, "812 ms"),
            (12_000, "12 s"),
            (8_040_000, "2 h 14 min"),
            (2_678_400_000, "31 d"),
            (86_400_000 + 60_000, "1 d"),
        ] {
            assert_eq!(span(ms), expected, "{ms}");
        }
        for (ms, expected) in [(8_040_000, "2 h 14 min"), (172_800_000, "2 days"), (2_678_394_884, "31 days")] {
            assert_eq!(about(ms), expected, "{ms}");
        }
    }

    #[test]
    fn periods_read_well() {
        for (from, to, expected) in [
            ("2026-11-22T10:00:00.000Z", "2026-11-22T10:42:59.000Z", "22 November 2026, 10:00 – 10:42 UTC"),
            ("2026-11-22T10:00:00.000Z", "2026-11-22T10:00:42.000Z", "22 November 2026, 10:00:00 – 10:00:42 UTC"),
            ("2026-11-22T10:00:42.000Z", "2026-11-22T10:00:42.900Z", "22 November 2026, 10:00:42 UTC"),
            ("2026-10-15T00:00:00.000Z", "2026-11-04T23:59:59.000Z", "15 October – 4 November 2026"),
            ("2025-12-31T00:00:00.000Z", "2026-01-01T00:00:00.000Z", "31 December 2025 – 1 January 2026"),
        ] {
            let given = Period { from: from.parse().unwrap(), to: to.parse().unwrap() };
            assert_eq!(period(given), expected);
        }
        assert_eq!(moment("2026-11-22T10:00:00.123Z".parse().unwrap()), "2026-11-22 10:00:00 UTC");
    }

    #[test]
    fn acting_characters_are_shown_as_code_points() {
        for (given, expected) in [
            ("plain\tand\n", "plain\tand\n"),
            ("gr\u{fc}n", "grün"),
            ("a\u{0}b", "a⟦U+0000⟧b"),
            ("a\u{202e}b", "a⟦U+202E⟧b"),
            ("a\u{2066}b\u{200b}", "a⟦U+2066⟧b⟦U+200B⟧"),
            ("\u{9b}31m", "⟦U+009B⟧31m"),
            ("\u{e0041}", "⟦U+E0041⟧"),
            ("e\u{301}", "e\u{301}"),
        ] {
            assert_eq!(tame(given), expected);
        }
        let pile = format!("a{}", "\u{301}".repeat(50));
        assert_eq!(tame(&pile).matches("⟦U+0301⟧").count(), 50 - COMBINING_MARKS_MAX);
    }

    #[test]
    fn cutting_counts_characters() {
        assert_eq!(short("abc", 3), "abc");
        assert_eq!(short("abcd", 3), "ab…");
        assert_eq!(short("ééééé", 3), "éé…");
        assert_eq!(slug("pci dss/7.2.5\"><"), "pci-dss-7.2.5---");
    }
}
