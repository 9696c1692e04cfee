//! Protocol Buffers, as far as the Workload API uses them: fields that are lengths of bytes; others are passed over.
//!
//! The reader takes any message that a newer server may send: unknown fields of every kind are skipped, within the message. It
//! refuses what is no message: a field number of zero, a length past the end, a group, a number of more than ten bytes.

/// A message that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a well-formed message")]
pub(super) struct Malformed;

/// Reads the fields of a message that are lengths of bytes, in order. The others it passes over.
pub(super) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// The next field and its bytes; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u32, &'a [u8])>, Malformed> {
        while !self.0.is_empty() {
            let tag = self.number()?;
            let field = u32::try_from(tag >> 3).ok().filter(|field| (1..=FIELD_MAX).contains(field)).ok_or(Malformed)?;
            match tag & 7 {
                LENGTH => {
                    let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
                    return Ok(Some((field, self.take(length)?)));
                }
                NUMBER => {
                    self.number()?;
                }
                EIGHT_BYTES => {
                    self.take(8)?;
                }
                FOUR_BYTES => {
                    self.take(4)?;
                }
                _ => return Err(Malformed),
            }
        }
        Ok(None)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// A variable-length number of at most 64 bits.
    fn number(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }
}

/// Writes a field of bytes. Empty is the default of its type, which is not written.
pub(super) fn bytes(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    if !value.is_empty() {
        element(out, field, value);
    }
}

/// Writes an element of a repeated field, which is written even if it is empty.
pub(super) fn element(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    number(out, (u64::from(field) << 3) | LENGTH);
    number(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap_or(0) | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or(0));
}

const NUMBER: u64 = 0;
const EIGHT_BYTES: u64 = 1;
const LENGTH: u64 = 2;
const FOUR_BYTES: u64 = 5;
/// The largest field number that the format has.
const FIELD_MAX: u32 = (1 << 29) - 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn all(message: &[u8]) -> Result<Vec<(u32, Vec<u8>)>, Malformed> {
        let (mut fields, mut out) = (Fields::of(message), Vec::new());
        while let Some((field, bytes)) = fields.next()? {
            out.push((field, bytes.to_vec()));
        }
        Ok(out)
    }

    #[test]
    fn what_is_written_is_read_and_strange_fields_are_passed_over() {
        let mut out = Vec::new();
        bytes(&mut out, 1, b"one");
        bytes(&mut out, 2, b"");
        element(&mut out, 3, b"");
        element(&mut out, 100_000, &[7; 300]);
        // Field 4 as a number, 5 as eight bytes, 6 as four.
        out.extend([0x20, 0xff, 0x01, 0x29, 1, 2, 3, 4, 5, 6, 7, 8, 0x35, 1, 2, 3, 4]);
        bytes(&mut out, 7, b"end");
        let expected = vec![(1, b"one".to_vec()), (3, vec![]), (100_000, vec![7; 300]), (7, b"end".to_vec())];
        assert_eq!(all(&out), Ok(expected));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bad in [
            &[0x00][..],
            &[0x02, 0x00],
            &[0x0a],
            &[0x0a, 0x02, 0x01],
            &[0x0b],
            &[0x0c],
            &[0x0e, 0x00],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
            &[0x2d, 1, 2, 3],
            &[0x29, 1],
        ] {
            assert_eq!(all(bad), Err(Malformed), "{bad:x?}");
        }
    }
}
