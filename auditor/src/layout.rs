//! How the decoded bytes of a log are laid out, by its first bytes: as lines; as one JSON array, of which lines are made; or as a container
//! runtime keeps what a process wrote, of which the lines of the process are made. A byte order mark before all of it says nothing, and is
//! passed over: editors and shells put one before what they save.

use std::io::{self, Read};

use crate::array::{Elements, is_array};
use crate::container::{self, Messages};
use crate::limits::ARRAY_SNIFF_BYTES_MAX;

/// What the decoded bytes of a log are, and what makes lines of them.
#[derive(Debug)]
pub(crate) struct Layout {
    /// Bytes that were looked at and not given out yet.
    peeked: Vec<u8>,
    given: usize,
    /// Why no more could be looked at; told when what was is given out.
    failed: Option<io::Error>,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Lines,
    Array(Elements),
    Container(Box<Messages>),
}

impl Layout {
    /// Lines, which nobody has to look at.
    pub(crate) const fn lines() -> Self {
        Self { peeked: Vec::new(), given: 0, failed: None, shape: Shape::Lines }
    }

    /// Whether the lines stand there as they are.
    #[cfg(test)]
    pub(crate) const fn is_of_lines(&self) -> bool {
        matches!(self.shape, Shape::Lines)
    }

    /// Whether the lines are those of a process whose output a container runtime keeps.
    pub(crate) const fn is_of_container(&self) -> bool {
        matches!(self.shape, Shape::Container(_))
    }

    /// Whether the first bytes that were looked at are these.
    pub(crate) fn begins_with(&self, magic: &[u8]) -> bool {
        self.peeked.starts_with(magic)
    }

    /// Looks at the first bytes.
    pub(crate) fn of(source: &mut dyn Read) -> Self {
        let mut layout = Self::lines();
        let mut block = [0; ARRAY_SNIFF_BYTES_MAX];
        while shape(&layout.peeked).is_none() && layout.peeked.len() < ARRAY_SNIFF_BYTES_MAX {
            let room = block.get_mut(layout.peeked.len()..).unwrap_or_default();
            match source.read(room) {
                Ok(0) => break,
                Ok(n) => layout.peeked.extend_from_slice(room.get(..n).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    layout.failed = Some(error);
                    break;
                }
            }
        }
        layout.shape = shape(&layout.peeked).unwrap_or(Shape::Lines);
        layout.given = layout.peeked.len() - without_mark(&layout.peeked).len();
        layout
    }

    /// Reads lines.
    pub(crate) fn read(&mut self, source: &mut dyn Read, out: &mut [u8]) -> io::Result<usize> {
        let mut shape = std::mem::replace(&mut self.shape, Shape::Lines);
        let read = match &mut shape {
            Shape::Lines => self.raw(source, out),
            Shape::Array(elements) => elements.read(|block| self.raw(source, block), out),
            Shape::Container(messages) => messages.read(|block| self.raw(source, block), out),
        };
        self.shape = shape;
        read
    }

    /// Reads what was looked at, and then what follows.
    fn raw(&mut self, source: &mut dyn Read, out: &mut [u8]) -> io::Result<usize> {
        let left = self.peeked.get(self.given..).unwrap_or_default();
        if left.is_empty() {
            return match self.failed.take() {
                Some(error) => Err(error),
                None => source.read(out),
            };
        }
        let n = left.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..n), left.get(..n)) {
            to.copy_from_slice(from);
        }
        self.given += n;
        Ok(n)
    }
}

/// Whether a file is one array, which cannot be read from a line in its middle on.
pub(crate) fn is_of_one_array(file: impl Read) -> io::Result<bool> {
    let mut head = Vec::new();
    file.take(ARRAY_SNIFF_BYTES_MAX as u64).read_to_end(&mut head)?;
    Ok(matches!(shape(&head), Some(Shape::Array(_))))
}

/// How a log that begins so is laid out; `None` where more has to be seen.
fn shape(bytes: &[u8]) -> Option<Shape> {
    if bytes.len() < MARK.len() && MARK.starts_with(bytes) {
        return None;
    }
    let bytes = without_mark(bytes);
    match (is_array(bytes), container::begins(bytes)) {
        (Some(true), _) => Some(Shape::Array(Elements::default())),
        (_, Some(true)) => Some(Shape::Container(Box::default())),
        (None, _) | (_, None) => None,
        (Some(false), Some(false)) => Some(Shape::Lines),
    }
}

/// What follows a byte order mark, if there is one.
pub(crate) fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(MARK).unwrap_or(bytes)
}

/// U+FEFF in UTF-8.
const MARK: &[u8] = b"\xef\xbb\xbf";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_order_mark_is_passed_over_once_and_at_the_beginning() {
        for (text, want) in [
            ("\u{feff}{}\n\u{feff}{}\n", "{}\n\u{feff}{}\n"),
            ("\u{feff}[{},{}]", "{}\n{}\n"),
            ("\u{feff}2026-11-22T10:00:00Z stdout F {}\n", "{}\n"),
            ("\u{feff}", ""),
            ("\u{feff}\u{feff}a", "\u{feff}a"),
            ("\u{fefe}a", "\u{fefe}a"),
        ] {
            for room in [1, 2, 5, 100] {
                let mut source = text.as_bytes();
                let mut layout = Layout::of(&mut source);
                let (mut out, mut buffer) = (Vec::new(), vec![0; room]);
                while let n @ 1.. = layout.read(&mut source, &mut buffer).unwrap() {
                    out.extend_from_slice(&buffer[..n]);
                }
                assert_eq!(String::from_utf8(out).unwrap(), want, "{text:?} {room}");
            }
        }
    }
}
