//! Times as other programs write them.

use portreeve_engine::Timestamp;

/// Reads RFC 3339 (any offset, `T` or a space), or seconds, milliseconds, microseconds or nanoseconds since 1970.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return epoch(text);
    }
    let (date, rest) = text.split_at_checked(DATE_CHARS)?;
    let rest = rest.strip_prefix(['T', 't', ' '])?;
    let (clock, offset_ms) = match rest.strip_suffix(['Z', 'z']) {
        Some(clock) => (clock, 0),
        None => {
            let at = rest.rfind(['+', '-'])?;
            let (clock, offset) = rest.split_at_checked(at)?;
            (clock, offset_ms(offset)?)
        }
    };
    let local: Timestamp = format!("{date}T{clock}Z").parse().ok()?;
    Some(local.plus_ms(-offset_ms))
}

/// A whole number of seconds, milliseconds, microseconds or nanoseconds, told apart by size, or seconds with a fraction.
fn epoch(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let whole: i64 = whole.parse().ok()?;
    let milli = fraction.bytes().chain(*b"000").take(3).try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))?;
    let ms = match whole {
        0..SECONDS_MAX => whole * 1000 + milli,
        SECONDS_MAX..MILLISECONDS_MAX => whole,
        MILLISECONDS_MAX..MICROSECONDS_MAX => whole / 1000,
        _ => whole / 1_000_000,
    };
    Some(Timestamp::from_unix_ms(ms))
}

/// `+02:00`, `-0530`, in milliseconds.
fn offset_ms(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('+') {
        Some(digits) => (1, digits),
        None => (-1, text.strip_prefix('-')?),
    };
    let digits: String = digits.chars().filter(|c| *c != ':').collect();
    let number: i64 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    Some(sign * (number / 100 * 60 + number % 100) * 60_000)
}

const DATE_CHARS: usize = "2026-11-22".len();
/// Below these the number counts seconds, milliseconds or microseconds: all mean the years from 1970 to 5138.
const SECONDS_MAX: i64 = 100_000_000_000;
const MILLISECONDS_MAX: i64 = SECONDS_MAX * 1000;
const MICROSECONDS_MAX: i64 = MILLISECONDS_MAX * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_many_writers() {
        let cases = [
            ("2026-11-22T10:00:00.123Z", Some("2026-11-22T10:00:00.123Z")),
            ("2022-08-23T20:33:42.321746212Z", Some("2022-08-23T20:33:42.321Z")),
            ("2026-11-22T10:00:00.123+00:00", Some("2026-11-22T10:00:00.123Z")),
            ("2026-11-22T12:30:00+02:30", Some("2026-11-22T10:00:00.000Z")),
            ("2026-11-22T05:00:00-0500", Some("2026-11-22T10:00:00.000Z")),
            ("2026-11-22 10:00:00.5Z", Some("2026-11-22T10:00:00.500Z")),
            ("1418530010", Some("2014-12-14T04:06:50.000Z")),
            ("1418530010.25", Some("2014-12-14T04:06:50.250Z")),
            ("1418530010250", Some("2014-12-14T04:06:50.250Z")),
            ("1418530010250000", Some("2014-12-14T04:06:50.250Z")),
            ("1418530010250000000", Some("2014-12-14T04:06:50.250Z")),
            ("", None),
            ("-", None),
            ("yesterday", None),
            ("2026-11-22T10:00:00", None),
            ("99999999999999999999", None),
            ("2026-13-22T10:00:00+00:00", None),
            ("é2026-11-22T10:00:00+00:00", None),
            ("1.é", None),
        ];
        for (text, want) in cases {
            assert_eq!(parse_time(text).map(|t| t.to_string()).as_deref(), want, "{text}");
        }
    }
}
