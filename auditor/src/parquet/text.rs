//! Text of JSON: strings with their escapes, times, digits.

/// Writes a string in quotes. Bytes that are not UTF-8 are left as they are: whoever reads the row finds them, and refuses it.
pub(super) fn string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = bytes;
    loop {
        let plain = plain_bytes(rest);
        let (before, from) = rest.split_at_checked(plain).unwrap_or((rest, &[]));
        out.extend_from_slice(before);
        let Some((byte, after)) = from.split_first() else { break };
        escape(*byte, out);
        rest = after;
    }
    out.push(b'"');
}

/// How many bytes come before the first that needs an escape: eight at a time, each told by arithmetic that carries nothing over.
fn plain_bytes(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let (words, _) = bytes.as_chunks::<8>();
    let is_plain = |word: &&[u8; 8]| {
        let word = u64::from_le_bytes(**word);
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
        control | has_zero(word ^ (ONES * u64::from(b'"'))) | has_zero(word ^ (ONES * u64::from(b'\\'))) == 0
    };
    let whole = words.iter().take_while(is_plain).count() * 8;
    let rest = bytes.get(whole..).unwrap_or_default();
    whole + rest.iter().take_while(|b| **b >= 0x20 && !matches!(**b, b'"' | b'\\')).count()
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        byte if byte < 0x20 => {
            out.extend_from_slice(b"\\u00");
            hex(&[byte], out);
        }
        byte => out.push(byte),
    }
}

/// Writes bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8], out: &mut Vec<u8>) {
    let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
    for byte in bytes {
        out.extend([digit(byte >> 4), digit(byte & 15)]);
    }
}

/// Writes a time of UTC as RFC 3339 in quotes: milliseconds, and as many more digits as it has.
pub(super) fn time(seconds: i64, nanos: u32, out: &mut Vec<u8>) {
    out.push(b'"');
    day(seconds.div_euclid(DAY_SECONDS), out);
    out.push(b'T');
    clock(seconds.rem_euclid(DAY_SECONDS), nanos, out);
    out.extend_from_slice(b"Z\"");
}

/// Writes a day, counted from 1970-01-01. Years are those of the Gregorian calendar, which is taken back and forth for ever.
pub(super) fn day(days: i64, out: &mut Vec<u8>) {
    // Counted from 0000-03-01, a leap day is the last of its year, and of its four hundred.
    let days = i128::from(days) + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i128::from(month <= 2);
    if (0..10_000).contains(&year) {
        digits(year.unsigned_abs(), 4, out);
    } else {
        out.extend_from_slice(year.to_string().as_bytes());
    }
    out.push(b'-');
    digits(month.unsigned_abs(), 2, out);
    out.push(b'-');
    digits(date.unsigned_abs(), 2, out);
}

/// Writes a time of day.
pub(super) fn clock(seconds: i64, nanos: u32, out: &mut Vec<u8>) {
    let seconds = seconds.unsigned_abs();
    for (n, part) in [seconds / 3600, seconds / 60 % 60, seconds % 60].into_iter().enumerate() {
        if n > 0 {
            out.push(b':');
        }
        digits(u128::from(part), 2, out);
    }
    out.push(b'.');
    let (fraction, places) = match nanos {
        n if n % 1_000_000 == 0 => (n / 1_000_000, 3),
        n if n % 1000 == 0 => (n / 1000, 6),
        n => (n, 9),
    };
    digits(u128::from(fraction), places, out);
}

/// Writes a number in so many digits.
fn digits(mut n: u128, places: usize, out: &mut Vec<u8>) {
    let from = out.len();
    for _ in 0..places {
        out.push(b'0' + u8::try_from(n % 10).unwrap_or(0));
        n /= 10;
    }
    if let Some(written) = out.get_mut(from..) {
        written.reverse();
    }
}

const DAY_SECONDS: i64 = 86_400;

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_those_of_another_writer() {
        let texts = [
            "",
            "plain",
            "eight by",
            "a \"b\" c\\d",
            "tab\tnew\nline\r",
            "\u{1}\u{1f} \u{7f}é漢😀",
            "0123456789\"",
            "01234567\u{0}",
            "é\"é\\é\u{8}",
        ];
        for text in texts {
            for n in 0..9 {
                let text = format!("{}{text}", "x".repeat(n));
                let got = written(|out| string(text.as_bytes(), out));
                // Shorter forms of two control characters are the other's choice.
                let want = serde_json::to_string(&text).unwrap().replace("\\b", "\\u0008").replace("\\f", "\\u000c");
                assert_eq!(got, want);
            }
        }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        // Held against the engine's own over four hundred years and more, a prime number of days apart.
        for days in (-719_162..2_932_896).step_by(97).chain([-719_162, -1, 0, 1, 11_016, 2_932_896]) {
            let want = portreeve_engine::Timestamp::from_unix_ms(days * 86_400_000).date().to_string();
            assert_eq!(written(|out| day(days, out)), want, "{days}");
        }
        assert_eq!(written(|out| day(2_932_897, out)), "10000-01-01");
        assert!(!written(|out| day(i64::MIN, out)).is_empty() && !written(|out| day(i64::MAX, out)).is_empty());
    }

    #[test]
    fn times_have_the_digits_they_need() {
        for (seconds, nanos, want) in [
            (0, 0, "\"1970-01-01T00:00:00.000Z\""),
            (1_791_100_000, 12_000_000, "\"2026-10-04T07:46:40.012Z\""),
            (-1, 123_456_000, "\"1969-12-31T23:59:59.123456Z\""),
            (86_399, 1, "\"1970-01-01T23:59:59.000000001Z\""),
        ] {
            assert_eq!(written(|out| time(seconds, nanos, out)), want);
        }
    }
}
