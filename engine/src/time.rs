//! Points in time as policies and records know them: UTC, whole milliseconds.
//!
//! Nothing here reads a clock. A caller that owns one makes a [`Timestamp`] from it and hands it in.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Milliseconds since 1970-01-01T00:00:00Z, between the years 0001 and 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest time that can be written: 0001-01-01T00:00:00.000Z.
    pub const MIN: Self = Self(-62_135_596_800_000);
    /// The latest time that can be written: 9999-12-31T23:59:59.999Z.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// Makes a time from milliseconds since the Unix epoch, held within [`Timestamp::MIN`] and [`Timestamp::MAX`].
    #[must_use]
    pub const fn from_unix_ms(ms: i64) -> Self {
        if ms < Self::MIN.0 {
            Self::MIN
        } else if ms > Self::MAX.0 {
            Self::MAX
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since the Unix epoch.
    #[must_use]
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// This time moved by `ms` milliseconds, held within the writable range.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self::from_unix_ms(self.0.saturating_add(ms))
    }

    /// The start of the UTC day of this time.
    #[must_use]
    pub const fn date(self) -> Date {
        Date(self.0.div_euclid(DAY_MS))
    }

    /// Milliseconds since the start of the UTC day.
    #[must_use]
    pub const fn ms_of_day(self) -> i64 {
        self.0.rem_euclid(DAY_MS)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.ms_of_day();
        let (h, m, s, milli) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
        write!(f, "{}T{h:02}:{m:02}:{s:02}.{milli:03}Z", self.date())
    }
}

/// Why a text is not a time of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a UTC time such as `2026-11-22T10:00:00.000Z`")]
pub struct ParseTimestampError;

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    /// Reads RFC 3339 in UTC (`…Z`), with a fraction of up to nine digits, cut to milliseconds.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (date, clock) = text.split_once('T').ok_or(ParseTimestampError)?;
        let clock = clock.strip_suffix('Z').ok_or(ParseTimestampError)?;
        let date: Date = date.parse().map_err(|_| ParseTimestampError)?;
        let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(c, f)| (c, Some(f)));
        let mut parts = clock.split(':');
        let h = field(parts.next(), 2, 23)?;
        let m = field(parts.next(), 2, 59)?;
        let s = field(parts.next(), 2, 59)?;
        if parts.next().is_some() {
            return Err(ParseTimestampError);
        }
        let milli = fraction.map_or(Ok(0), fraction_ms)?;
        Ok(Self(date.0 * DAY_MS + h * 3_600_000 + m * 60_000 + s * 1000 + milli))
    }
}

fn field(text: Option<&str>, digits: usize, max: i64) -> Result<i64, ParseTimestampError> {
    let text = text.filter(|t| t.len() == digits && t.bytes().all(|b| b.is_ascii_digit())).ok_or(ParseTimestampError)?;
    text.parse().ok().filter(|n| *n <= max).ok_or(ParseTimestampError)
}

fn fraction_ms(text: &str) -> Result<i64, ParseTimestampError> {
    if text.is_empty() || text.len() > 9 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ParseTimestampError);
    }
    Ok(text.bytes().chain(*b"00").take(3).fold(0, |n, b| n * 10 + i64::from(b - b'0')))
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A calendar day in UTC, as governance dates (`review_by`, `expires`) are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i64);

impl Date {
    /// The first millisecond of the day.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        Timestamp::from_unix_ms(self.0 * DAY_MS)
    }

    /// The first millisecond of the following day: the day itself is still inside.
    #[must_use]
    pub const fn end(self) -> Timestamp {
        Timestamp::from_unix_ms((self.0 + 1) * DAY_MS)
    }

    /// Days from the Unix epoch.
    #[must_use]
    pub const fn days(self) -> i64 {
        self.0
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (y, m, d) = civil_from_days(self.0);
        write!(f, "{y:04}-{m:02}-{d:02}")
    }
}

/// Why a text is not a date of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a day such as `2026-11-22`")]
pub struct ParseDateError;

impl From<ParseTimestampError> for ParseDateError {
    fn from(_: ParseTimestampError) -> Self {
        Self
    }
}

impl FromStr for Date {
    type Err = ParseDateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('-');
        let y = field(parts.next(), 4, 9999)?;
        let m = field(parts.next(), 2, 12)?;
        let d = field(parts.next(), 2, 31)?;
        if parts.next().is_some() || y == 0 {
            return Err(ParseDateError);
        }
        let days = days_from_civil(y, m, d);
        // A day that does not exist (2026-02-30) comes back as another one.
        if civil_from_days(days) == (y, m, d) { Ok(Self(days)) } else { Err(ParseDateError) }
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Days since 1970-01-01 of a proleptic Gregorian date, by counting 400-year eras that start on 1 March.
fn days_from_civil(y: i64, m: i64, d: i64) -> i64 {
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let year_of_era = y.rem_euclid(400);
    let day_of_year = (153 * ((m + 9) % 12) + 2) / 5 + d - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let m = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(m <= 2), m, doy - (153 * mp + 2) / 5 + 1)
}

const DAY_MS: i64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_and_write() {
        for (text, written) in [
            ("1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"),
            ("2026-11-22T10:00:00.5Z", "2026-11-22T10:00:00.500Z"),
            ("2024-02-29T23:59:59.999999999Z", "2024-02-29T23:59:59.999Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000Z"),
            ("9999-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), written);
        }
        assert_eq!("2001-09-09T01:46:40Z".parse::<Timestamp>().unwrap().unix_ms(), 1_000_000_000_000);
        assert_eq!(Timestamp::MIN.to_string(), "0001-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::MAX.to_string(), "9999-12-31T23:59:59.999Z");
    }

    #[test]
    fn odd_times_are_refused() {
        for text in [
            "",
            "2026-02-30T00:00:00Z",
            "2026-11-22T10:00:00+01:00",
            "2026-11-22 10:00:00Z",
            "2026-11-22T24:00:00Z",
            "2026-11-22T10:00:00.Z",
            "0000-01-01T00:00:00Z",
            "2026-1-2T10:00:00Z",
            "2026-11-22T10:00Z",
            "+026-11-22T10:00:00Z",
        ] {
            assert!(text.parse::<Timestamp>().is_err(), "{text}");
        }
    }
}
