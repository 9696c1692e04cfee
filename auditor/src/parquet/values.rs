//! The values of a page, in the encodings that writers use.
//!
//! INVARIANT: a value lies within its page; what a page declares and does not hold is a fault, never a guess.

use std::ops::Range;

use super::bits::{Delta, Hybrid};
use super::scalar::{Physical, Scalar};

/// Why a page cannot be read.
pub(super) type Why = &'static str;

/// Where the next value of a page comes from.
#[derive(Clone, Debug, Default)]
pub(super) enum Values {
    #[default]
    None,
    /// One behind the other.
    Plain(Range<usize>),
    /// Truth values, eight in a byte.
    Bits { bit: usize, end: usize },
    /// Truth values in runs.
    Runs(Hybrid),
    /// Numbers of values in the dictionary.
    Dictionary(Hybrid),
    /// Whole numbers as differences.
    Delta(Delta),
    /// Texts, of which the lengths come first.
    Lengths { lengths: Delta, at: usize, end: usize },
    /// Texts as what they have in common with the one before, and the rest.
    Prefixes { prefixes: Delta, suffixes: Delta, at: usize, end: usize },
    /// The first bytes of all numbers, then the second ones, and so on.
    Split { next: usize, count: usize, from: usize },
}

/// What a value is made of where it does not lie in the page as it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    bytes: Vec<u8>,
}

impl Values {
    /// The values of a page that are encoded so and lie in this range; `count` of them are there.
    pub(super) fn new(encoding: i64, physical: Physical, page: &[u8], at: Range<usize>, count: u64) -> Result<Self, Why> {
        Ok(match (encoding, physical) {
            (0, Physical::Bool) => Self::Bits { bit: at.start * 8, end: at.end * 8 },
            (0, _) => Self::Plain(at),
            (2 | 8, _) => {
                let width = *page.get(at.start).filter(|_| !at.is_empty()).ok_or(SHORT)?;
                Self::Dictionary(Hybrid::new(at.start + 1..at.end, u32::from(width)))
            }
            (3, Physical::Bool) => {
                // The length of the runs comes first.
                Self::Runs(Hybrid::new((at.start + 4).min(at.end)..at.end, 1))
            }
            (5, Physical::Int32 | Physical::Int64) => Self::Delta(numbers(page, at, count)?.0),
            (6, Physical::Bytes) => {
                let end = at.end;
                let (lengths, at) = numbers(page, at, count)?;
                Self::Lengths { lengths, at, end }
            }
            (7, Physical::Bytes | Physical::Fixed(_)) => {
                let end = at.end;
                let (prefixes, at) = numbers(page, at, count)?;
                let (suffixes, at) = numbers(page, at..end, count)?;
                Self::Prefixes { prefixes, suffixes, at, end }
            }
            (9, physical) => {
                let width = width(physical).ok_or("it is encoded in a way that its type does not have")?;
                // All of the page, for what is null takes no room.
                Self::Split { next: 0, count: at.len() / width, from: at.start }
            }
            (4, _) => return Err("it is encoded in an old way that is not read"),
            _ => return Err("it is encoded in a way that its type does not have"),
        })
    }

    /// The next value; of a dictionary its number.
    #[inline]
    pub(super) fn next<'p>(&mut self, physical: Physical, page: &'p [u8], scratch: &'p mut Scratch) -> Result<Next<'p>, Why> {
        Ok(Next::Value(match self {
            Self::None => return Err(SHORT),
            Self::Plain(rest) => plain(physical, page, rest)?,
            Self::Bits { bit, end } => {
                let byte = *page.get(*bit / 8).filter(|_| bit < end).ok_or(SHORT)?;
                let value = byte >> (*bit % 8) & 1 == 1;
                *bit += 1;
                Scalar::Bool(value)
            }
            Self::Runs(hybrid) => Scalar::Bool(hybrid.next(page).ok_or(SHORT)? != 0),
            Self::Dictionary(hybrid) => return Ok(Next::Number(hybrid.next(page).ok_or(SHORT)?)),
            Self::Delta(delta) => {
                let n = delta.next(page).ok_or(SHORT)?;
                if physical == Physical::Int32 {
                    // The sums of differences go round, as the writer's did.
                    let [a, b, c, d, ..] = n.to_le_bytes();
                    Scalar::Int32(i32::from_le_bytes([a, b, c, d]))
                } else {
                    Scalar::Int64(n)
                }
            }
            Self::Lengths { lengths, at, end } => Scalar::Bytes(piece(lengths, page, at, *end)?),
            Self::Prefixes { prefixes, suffixes, at, end } => {
                let same = prefixes.next(page).and_then(|n| usize::try_from(n).ok()).ok_or(WRONG)?;
                if same > scratch.bytes.len() {
                    return Err(WRONG);
                }
                let rest = piece(suffixes, page, at, *end)?;
                scratch.bytes.truncate(same);
                scratch.bytes.extend_from_slice(rest);
                Scalar::Bytes(&scratch.bytes)
            }
            Self::Split { next, count, from } => {
                let width = width(physical).ok_or(WRONG)?;
                if next >= count {
                    return Err(SHORT);
                }
                scratch.bytes.clear();
                scratch.bytes.extend((0..width).filter_map(|n| page.get(*from + n * *count + *next)));
                *next += 1;
                plain(physical, &scratch.bytes, &mut (0..scratch.bytes.len()))?
            }
        }))
    }
}

/// What comes next.
pub(super) enum Next<'p> {
    Value(Scalar<'p>),
    Number(u32),
}

impl Scratch {
    /// Forgets the value before: a page begins anew.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
    }
}

/// Numbers as differences, and where the bytes behind them begin.
fn numbers(page: &[u8], at: Range<usize>, count: u64) -> Result<(Delta, usize), Why> {
    let delta = Delta::new(page, at).ok_or(WRONG)?;
    if delta.left() > count {
        return Err(WRONG);
    }
    let mut ahead = delta.clone();
    while ahead.left() > 0 {
        ahead.next(page).ok_or(SHORT)?;
    }
    Ok((delta, ahead.behind()))
}

fn piece<'p>(lengths: &mut Delta, page: &'p [u8], at: &mut usize, end: usize) -> Result<&'p [u8], Why> {
    let length = lengths.next(page).and_then(|n| usize::try_from(n).ok()).ok_or(WRONG)?;
    let to = at.checked_add(length).filter(|to| *to <= end).ok_or(SHORT)?;
    let out = page.get(*at..to).ok_or(SHORT)?;
    *at = to;
    Ok(out)
}

/// How many bytes a value takes.
const fn width(physical: Physical) -> Option<usize> {
    match physical {
        Physical::Int32 | Physical::Float => Some(4),
        Physical::Int64 | Physical::Double => Some(8),
        Physical::Int96 => Some(12),
        Physical::Fixed(n) => Some(n),
        Physical::Bool | Physical::Bytes => None,
    }
}

/// A value that lies in the page as it is.
#[inline]
pub(super) fn plain<'p>(physical: Physical, page: &'p [u8], rest: &mut Range<usize>) -> Result<Scalar<'p>, Why> {
    let at = page.get(rest.clone()).ok_or(SHORT)?;
    let (value, taken) = match physical {
        Physical::Bool => return Err(WRONG),
        Physical::Int32 => (Scalar::Int32(i32::from_le_bytes(*at.first_chunk().ok_or(SHORT)?)), 4),
        Physical::Int64 => (Scalar::Int64(i64::from_le_bytes(*at.first_chunk().ok_or(SHORT)?)), 8),
        Physical::Float => (Scalar::Float(f32::from_le_bytes(*at.first_chunk().ok_or(SHORT)?)), 4),
        Physical::Double => (Scalar::Double(f64::from_le_bytes(*at.first_chunk().ok_or(SHORT)?)), 8),
        Physical::Int96 => (Scalar::Bytes(at.get(..12).ok_or(SHORT)?), 12),
        Physical::Fixed(n) => (Scalar::Bytes(at.get(..n).ok_or(SHORT)?), n),
        Physical::Bytes => {
            let length = u32::from_le_bytes(*at.first_chunk().ok_or(SHORT)?) as usize;
            (Scalar::Bytes(at.get(4..).and_then(|b| b.get(..length)).ok_or(SHORT)?), 4 + length)
        }
    };
    rest.start += taken;
    Ok(value)
}

const SHORT: Why = "its pages hold fewer values than they declare";
const WRONG: Why = "its values are damaged";
