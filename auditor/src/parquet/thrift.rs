//! Thrift's compact protocol, as far as Parquet's footers and page heads use it.
//!
//! It reads from bytes that are there, allocates nothing by a count that the bytes declare, and follows nothing deeper than a bound.
//!
//! INVARIANT: whatever the bytes are, reading ends, in time that is linear in their number.

use crate::limits::PARQUET_DEPTH_MAX;

/// Why the bytes are no such message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// They end too early.
    Short,
    /// They say something that cannot be.
    Wrong,
}

/// What kind of value follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool(bool),
    Byte,
    Int,
    Double,
    Binary,
    List,
    Map,
    Struct,
    Uuid,
}

impl Kind {
    const fn of(code: u8) -> Result<Self, Bad> {
        Ok(match code {
            1 => Self::Bool(true),
            2 => Self::Bool(false),
            3 => Self::Byte,
            4..=6 => Self::Int,
            7 => Self::Double,
            8 => Self::Binary,
            9 | 10 => Self::List,
            11 => Self::Map,
            12 => Self::Struct,
            13 => Self::Uuid,
            _ => return Err(Bad::Wrong),
        })
    }
}

/// Reads one value after another.
#[derive(Clone, Debug)]
pub(super) struct Thrift<'b> {
    bytes: &'b [u8],
    at: usize,
    depth: u32,
}

impl<'b> Thrift<'b> {
    pub(super) const fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    /// How many bytes were read.
    pub(super) const fn read(&self) -> usize {
        self.at
    }

    fn byte(&mut self) -> Result<u8, Bad> {
        let byte = *self.bytes.get(self.at).ok_or(Bad::Short)?;
        self.at += 1;
        Ok(byte)
    }

    fn varint(&mut self) -> Result<u64, Bad> {
        let mut out = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            out |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(out);
            }
        }
        Err(Bad::Wrong)
    }

    /// A whole number.
    pub(super) fn int(&mut self) -> Result<i64, Bad> {
        let n = self.varint()?;
        Ok((n >> 1).cast_signed() ^ -(n & 1).cast_signed())
    }

    /// Bytes with their length before them.
    pub(super) fn binary(&mut self) -> Result<&'b [u8], Bad> {
        let length = usize::try_from(self.varint()?).map_err(|_| Bad::Short)?;
        self.take(length)
    }

    fn take(&mut self, length: usize) -> Result<&'b [u8], Bad> {
        let end = self.at.checked_add(length).ok_or(Bad::Short)?;
        let out = self.bytes.get(self.at..end).ok_or(Bad::Short)?;
        self.at = end;
        Ok(out)
    }

    /// The fields of a struct, each by its number. `each` returns whether it has read the value; what it has not is passed over.
    pub(super) fn fields(&mut self, mut each: impl FnMut(&mut Self, i64, Kind) -> Result<bool, Bad>) -> Result<(), Bad> {
        self.deeper()?;
        let mut id = 0_i64;
        loop {
            let head = self.byte()?;
            if head == 0 {
                self.depth -= 1;
                return Ok(());
            }
            let kind = Kind::of(head & 0x0f)?;
            id = if head >> 4 == 0 { self.int()? } else { id.saturating_add(i64::from(head >> 4)) };
            if !each(self, id, kind)? {
                self.skip(kind)?;
            }
        }
    }

    /// The items of a list, each by its place.
    pub(super) fn items(&mut self, mut each: impl FnMut(&mut Self, usize, Kind) -> Result<bool, Bad>) -> Result<(), Bad> {
        let (count, kind) = self.list()?;
        for n in 0..count {
            if !each(self, n, kind)? {
                self.skip_item(kind)?;
            }
        }
        Ok(())
    }

    fn list(&mut self) -> Result<(usize, Kind), Bad> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { usize::try_from(self.varint()?).map_err(|_| Bad::Short)? } else { usize::from(head >> 4) };
        // An item takes a byte at least: a count that the bytes cannot hold is none.
        if count > self.bytes.len().saturating_sub(self.at) {
            return Err(Bad::Short);
        }
        Ok((count, Kind::of(head & 0x0f)?))
    }

    const fn deeper(&mut self) -> Result<(), Bad> {
        if self.depth >= PARQUET_DEPTH_MAX {
            return Err(Bad::Wrong);
        }
        self.depth += 1;
        Ok(())
    }

    /// A value of a list: there, a truth value takes a byte.
    fn skip_item(&mut self, kind: Kind) -> Result<(), Bad> {
        if matches!(kind, Kind::Bool(_)) { self.byte().map(drop) } else { self.skip(kind) }
    }

    fn skip(&mut self, kind: Kind) -> Result<(), Bad> {
        match kind {
            Kind::Bool(_) => Ok(()),
            Kind::Byte => self.byte().map(drop),
            Kind::Int => self.varint().map(drop),
            Kind::Double => self.take(8).map(drop),
            Kind::Uuid => self.take(16).map(drop),
            Kind::Binary => self.binary().map(drop),
            Kind::Struct => self.fields(|_, _, _| Ok(false)),
            Kind::List => {
                self.deeper()?;
                self.items(|_, _, _| Ok(false))?;
                self.depth -= 1;
                Ok(())
            }
            Kind::Map => {
                self.deeper()?;
                let count = self.varint()?;
                if count > 0 {
                    let kinds = self.byte()?;
                    let (key, value) = (Kind::of(kinds >> 4)?, Kind::of(kinds & 0x0f)?);
                    for _ in 0..count {
                        self.skip_item(key)?;
                        self.skip_item(value)?;
                    }
                }
                self.depth -= 1;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_what_is_not_wanted_is_passed_over() {
        // {1: 150, 2: "ab", 4: [true, false], 5: {1: {}}, 6: {"k": 1}, 20: true}
        let bytes =
            [0x15, 0xac, 0x02, 0x18, 2, b'a', b'b', 0x29, 0x21, 1, 2, 0x1c, 0x1c, 0, 0, 0x1b, 1, 0x85, 1, b'k', 2, 0x01, 0x28, 0, 0xff];
        let mut reader = Thrift::new(&bytes);
        let mut seen = Vec::new();
        reader
            .fields(|r, id, kind| {
                seen.push((id, kind));
                Ok(match id {
                    1 => r.int()? == 150,
                    2 => r.binary()? == b"ab",
                    _ => false,
                })
            })
            .unwrap();
        let kinds = [(1, Kind::Int), (2, Kind::Binary), (4, Kind::List), (5, Kind::Struct), (6, Kind::Map), (20, Kind::Bool(true))];
        assert_eq!((seen.as_slice(), reader.read()), (&kinds[..], bytes.len() - 1));
    }

    #[test]
    fn no_bytes_make_it_run_away() {
        let deep = [0x1c_u8].repeat(1 << 16);
        let many = [0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0x0f];
        let long = [0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        for (bytes, want) in
            [(&deep[..], Bad::Wrong), (&many[..], Bad::Short), (&long[..], Bad::Short), (&[0x1e], Bad::Wrong), (&[], Bad::Short)]
        {
            assert_eq!(Thrift::new(bytes).fields(|_, _, _| Ok(false)), Err(want));
        }
    }
}
