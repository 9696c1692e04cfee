//! One value of a column, and how it is written as JSON.
//!
//! INVARIANT: what is written is one value of JSON without a line break, but for bytes of a text that are not UTF-8.

use std::io::Write as _;

use super::text;
use crate::limits::LINE_BYTES_MAX;

/// How values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Physical {
    Bool,
    Int32,
    Int64,
    Int96,
    Float,
    Double,
    Bytes,
    Fixed(usize),
}

/// What they mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// What they are.
    Plain,
    Unsigned,
    Text,
    Json,
    Uuid,
    Date,
    /// A time of day.
    Clock(Unit),
    /// A point in time. Where a writer does not say that it is one of UTC, it is taken as one.
    Time(Unit),
    /// A number with so many digits behind the point.
    Decimal(u32),
    /// A number of two bytes.
    Half,
    /// Something that cannot be.
    Unreadable,
}

/// What a time is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Milli,
    Micro,
    Nano,
}

impl Unit {
    pub(super) const fn of(n: i64) -> Option<Self> {
        match n {
            1 => Some(Self::Milli),
            2 => Some(Self::Micro),
            3 => Some(Self::Nano),
            _ => None,
        }
    }

    const fn per_second(self) -> i64 {
        match self {
            Self::Milli => 1000,
            Self::Micro => 1_000_000,
            Self::Nano => 1_000_000_000,
        }
    }

    /// Whole seconds, and nanoseconds beyond.
    fn split(self, n: i64) -> (i64, u32) {
        let per = self.per_second();
        let nanos = n.rem_euclid(per) * (1_000_000_000 / per);
        (n.div_euclid(per), u32::try_from(nanos).unwrap_or(0))
    }
}

/// A value as stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar<'b> {
    Bool(bool),
    Int32(i32),
    Int64(i64),
    Float(f32),
    Double(f64),
    /// Bytes of any length; those of `Int96` too.
    Bytes(&'b [u8]),
}

impl Scalar<'_> {
    /// Writes it. Of bytes that no line can hold so many are written that the line is too long.
    pub(super) fn write(self, physical: Physical, meaning: Meaning, out: &mut Vec<u8>) {
        if let Self::Bytes(bytes) = self
            && let Some(held) = bytes.get(..=LINE_BYTES_MAX)
        {
            return text::string(held, out);
        }
        match (self, meaning) {
            (Self::Bool(value), _) => out.extend_from_slice(if value { b"true" } else { b"false" }),
            (Self::Int32(n), Meaning::Unsigned) => number(n.cast_unsigned(), out),
            (Self::Int64(n), Meaning::Unsigned) => number(n.cast_unsigned(), out),
            (Self::Int32(n), meaning) => integer(i64::from(n), meaning, out),
            (Self::Int64(n), meaning) => integer(n, meaning, out),
            (Self::Float(n), _) => float(n.is_finite(), n, out),
            (Self::Double(n), _) => float(n.is_finite(), n, out),
            (Self::Bytes(bytes), _) if physical == Physical::Int96 => int96(bytes, out),
            (Self::Bytes(bytes), Meaning::Text) => text::string(bytes, out),
            (Self::Bytes(bytes), Meaning::Json) => json(bytes, out),
            (Self::Bytes(bytes), Meaning::Uuid) => uuid(bytes, out),
            (Self::Bytes(bytes), Meaning::Decimal(scale)) => match unscaled(bytes) {
                Some(n) => decimal(n, scale, out),
                None => raw(bytes, out),
            },
            (Self::Bytes(bytes), Meaning::Half) => match bytes {
                [low, high] => {
                    let n = half(u16::from_le_bytes([*low, *high]));
                    float(n.is_finite(), n, out);
                }
                _ => raw(bytes, out),
            },
            // Older writers do not say that a column holds text.
            (Self::Bytes(bytes), _) if matches!(physical, Physical::Bytes) && std::str::from_utf8(bytes).is_ok() => {
                text::string(bytes, out);
            }
            (Self::Bytes(bytes), _) => raw(bytes, out),
        }
    }
}

fn number(n: impl std::fmt::Display, out: &mut Vec<u8>) {
    // Writing into a vector does not fail.
    let _ = write!(out, "{n}");
}

fn integer(n: i64, meaning: Meaning, out: &mut Vec<u8>) {
    match meaning {
        Meaning::Date => {
            out.push(b'"');
            text::day(n, out);
            out.push(b'"');
        }
        Meaning::Time(unit) => {
            let (seconds, nanos) = unit.split(n);
            text::time(seconds, nanos, out);
        }
        Meaning::Clock(unit) => {
            let (seconds, nanos) = unit.split(n);
            out.push(b'"');
            text::clock(seconds, nanos, out);
            out.push(b'"');
        }
        Meaning::Decimal(scale) => decimal(i128::from(n), scale, out),
        _ => number(n, out),
    }
}

/// JSON has no infinities.
fn float(is_finite: bool, n: impl std::fmt::Debug, out: &mut Vec<u8>) {
    let _ = if is_finite { write!(out, "{n:?}") } else { write!(out, "\"{n:?}\"") };
}

fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2_f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        exponent => (1.0 + fraction / 1024.0) * 2_f32.powi(exponent - 15),
    }
}

/// Nanoseconds of a day, and the day by the count of astronomers.
fn int96(bytes: &[u8], out: &mut Vec<u8>) {
    let nanos = bytes.first_chunk::<8>().map_or(0, |b| i64::from_le_bytes(*b));
    let days = bytes.last_chunk::<4>().map_or(0, |b| i64::from(i32::from_le_bytes(*b))) - 2_440_588;
    let (seconds, nanos) = Unit::Nano.split(nanos);
    text::time((days * 86_400).saturating_add(seconds), nanos, out);
}

fn unscaled(bytes: &[u8]) -> Option<i128> {
    if bytes.len() > 16 || bytes.is_empty() {
        return None;
    }
    let sign = if bytes.first().is_some_and(|b| *b >= 0x80) { -1 } else { 0 };
    Some(bytes.iter().fold(sign, |n: i128, b| n << 8 | i128::from(*b)))
}

fn decimal(n: i128, scale: u32, out: &mut Vec<u8>) {
    let ten = 10_u128.pow(scale);
    let (whole, rest) = (n.unsigned_abs() / ten, n.unsigned_abs() % ten);
    let places = scale as usize;
    let _ = match places {
        0 => write!(out, "{n}"),
        _ => write!(out, "{}{whole}.{rest:0places$}", if n < 0 { "-" } else { "" }),
    };
}

fn uuid(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for (n, byte) in bytes.iter().enumerate() {
        if matches!(n, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        text::hex(&[*byte], out);
    }
    out.push(b'"');
}

/// Bytes that mean nothing in JSON.
fn raw(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\"0x");
    text::hex(bytes, out);
    out.push(b'"');
}

/// JSON within a column: as it is where it is JSON, else a text.
fn json(bytes: &[u8], out: &mut Vec<u8>) {
    if serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok() {
        // A line break can stand only between tokens there.
        out.extend(bytes.iter().map(|b| if *b == b'\n' || *b == b'\r' { b' ' } else { *b }));
    } else {
        text::string(bytes, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_meaning() {
        use Meaning as M;
        use Physical as P;
        let cases: [(Scalar<'_>, P, M, &str); 33] = [
            (Scalar::Bool(true), P::Bool, M::Plain, "true"),
            (Scalar::Int32(-7), P::Int32, M::Plain, "-7"),
            (Scalar::Int32(-1), P::Int32, M::Unsigned, "4294967295"),
            (Scalar::Int64(-1), P::Int64, M::Unsigned, "18446744073709551615"),
            (Scalar::Int64(i64::MIN), P::Int64, M::Plain, "-9223372036854775808"),
            (Scalar::Int32(-1), P::Int32, M::Date, "\"1969-12-31\""),
            (Scalar::Int64(1), P::Int64, M::Time(Unit::Micro), "\"1970-01-01T00:00:00.000001Z\""),
            (Scalar::Int64(-1), P::Int64, M::Time(Unit::Milli), "\"1969-12-31T23:59:59.999Z\""),
            (Scalar::Int64(i64::MAX), P::Int64, M::Time(Unit::Nano), "\"2262-04-11T23:47:16.854775807Z\""),
            (Scalar::Int32(3_600_001), P::Int32, M::Clock(Unit::Milli), "\"01:00:00.001\""),
            (Scalar::Int32(-1234), P::Int32, M::Decimal(2), "-12.34"),
            (Scalar::Int64(5), P::Int64, M::Decimal(3), "0.005"),
            (Scalar::Int64(5), P::Int64, M::Decimal(0), "5"),
            (Scalar::Bytes(&[0xff, 0x85]), P::Bytes, M::Decimal(1), "-12.3"),
            (Scalar::Bytes(&[0x00, 0x7b]), P::Fixed(2), M::Decimal(1), "12.3"),
            (Scalar::Bytes(&[1; 17]), P::Fixed(17), M::Decimal(1), "\"0x0101010101010101010101010101010101\""),
            (Scalar::Float(1.5), P::Float, M::Plain, "1.5"),
            (Scalar::Double(2.0), P::Double, M::Plain, "2.0"),
            (Scalar::Double(1e300), P::Double, M::Plain, "1e300"),
            (Scalar::Double(f64::NAN), P::Double, M::Plain, "\"NaN\""),
            (Scalar::Float(f32::NEG_INFINITY), P::Float, M::Plain, "\"-inf\""),
            (Scalar::Bytes(&[0x00, 0x3e]), P::Fixed(2), M::Half, "1.5"),
            (Scalar::Bytes(&[0x01, 0x80]), P::Fixed(2), M::Half, "-5.9604645e-8"),
            (Scalar::Bytes(b"a\"b"), P::Bytes, M::Text, "\"a\\\"b\""),
            (Scalar::Bytes(b"plain"), P::Bytes, M::Plain, "\"plain\""),
            (Scalar::Bytes(b"\xff"), P::Bytes, M::Plain, "\"0xff\""),
            (Scalar::Bytes(b"ab"), P::Fixed(2), M::Plain, "\"0x6162\""),
            (Scalar::Bytes(b"{\"a\":\n[1]}"), P::Bytes, M::Json, "{\"a\": [1]}"),
            (Scalar::Bytes(b"{\"a\":"), P::Bytes, M::Json, "\"{\\\"a\\\":\""),
            (Scalar::Bytes(b""), P::Bytes, M::Json, "\"\""),
            (Scalar::Bytes(&[0xab; 16]), P::Fixed(16), M::Uuid, "\"abababab-abab-abab-abab-abababababab\""),
            (Scalar::Bytes(&[0, 0, 0, 0, 0, 0, 0, 0, 0x8c, 0x3d, 0x25, 0]), P::Int96, M::Plain, "\"1970-01-01T00:00:00.000Z\""),
            (Scalar::Bytes(&[1, 0, 0, 0, 0, 0, 0, 0, 0x8d, 0x3d, 0x25, 0]), P::Int96, M::Plain, "\"1970-01-02T00:00:00.000000001Z\""),
        ];
        for (value, physical, meaning, want) in cases {
            let mut out = Vec::new();
            value.write(physical, meaning, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), want, "{value:?} {meaning:?}");
        }
    }
}
