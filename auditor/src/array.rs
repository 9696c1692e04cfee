//! A log that is one JSON array (`[{…}, {…}]`, in one line or in many) as lines: each element is one, without the white space outside its
//! texts, as `jq -c '.[]'` would print it. So the N-th element is line N, however the array was laid out.
//!
//! It streams, holds no element, and refuses nothing: what is no object is a line that nobody can read, and is counted as such.
//!
//! INVARIANT: no byte of an element that is not white space between tokens is left out or altered, but a line break inside a text, which
//! JSON does not have: it stays a control character, and the line unreadable.

use std::io;

use crate::limits::ARRAY_BLOCK_BYTES;

/// Whether these first bytes are those of an array of objects; `None` where more have to be seen. A bracket alone would not do: lines of
/// Envoy's text begin with one.
pub(crate) fn is_array(bytes: &[u8]) -> Option<bool> {
    let mut said = bytes.iter().filter(|b| !is_space(**b));
    match (said.next(), said.next()) {
        (Some(b'['), Some(next)) => Some(*next == b'{'),
        (Some(b'['), None) | (None, _) => None,
        (Some(_), _) => Some(false),
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Where the bytes are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// Before an array, or behind it.
    #[default]
    Outside,
    /// Behind the end, in what does not belong there.
    Stray,
    /// In the array, and in no element.
    Between,
    /// In an element, this many brackets deep.
    Element { depth: u32 },
    /// In a text of it.
    Text { depth: u32, escaped: bool },
}

/// Makes lines of elements.
#[derive(Debug, Default)]
pub(crate) struct Elements {
    at: At,
    /// A byte to be given out before any other.
    owed: Option<u8>,
    block: Vec<u8>,
    /// The next byte of the block.
    next: usize,
}

impl Elements {
    /// Reads lines.
    pub(crate) fn read(&mut self, mut source: impl FnMut(&mut [u8]) -> io::Result<usize>, out: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(room) = out.get_mut(filled) {
            if let Some(byte) = self.owed.take() {
                *room = byte;
                filled += 1;
                continue;
            }
            let Some(byte) = self.block.get(self.next).copied() else {
                // What there is is given out before more is waited for.
                if filled > 0 || !self.fill(&mut source)? {
                    break;
                }
                continue;
            };
            self.next += 1;
            if let Some(given) = self.step(byte) {
                *room = given;
                filled += 1;
            }
        }
        Ok(filled)
    }

    /// Reads a block; `false` at the end.
    fn fill(&mut self, source: &mut impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<bool> {
        self.block.resize(ARRAY_BLOCK_BYTES, 0);
        self.next = 0;
        let read = source(&mut self.block);
        self.block.truncate(*read.as_ref().unwrap_or(&0));
        Ok(read? > 0)
    }

    /// What to give out for a byte.
    fn step(&mut self, byte: u8) -> Option<u8> {
        match self.at {
            At::Outside | At::Between if is_space(byte) => None,
            At::Outside if byte == b'[' => {
                self.at = At::Between;
                None
            }
            At::Outside => {
                self.at = At::Stray;
                Some(byte)
            }
            At::Stray => {
                if byte == b'\n' {
                    self.at = At::Outside;
                }
                Some(byte)
            }
            At::Between => match byte {
                b',' => None,
                b']' => {
                    self.at = At::Outside;
                    None
                }
                _ => self.element(0, byte),
            },
            At::Element { depth: 0 } if matches!(byte, b',' | b']') => {
                // The end of a number or a word, which nothing but what follows shows.
                self.at = if byte == b']' { At::Outside } else { At::Between };
                Some(b'\n')
            }
            At::Element { .. } if is_space(byte) => None,
            At::Element { depth } => self.element(depth, byte),
            At::Text { depth, escaped } => {
                let ends = byte == b'"' && !escaped;
                self.at = if ends { At::Element { depth } } else { At::Text { depth, escaped: byte == b'\\' && !escaped } };
                Some(if byte == b'\n' { b'\r' } else { byte })
            }
        }
    }

    fn element(&mut self, depth: u32, byte: u8) -> Option<u8> {
        let deeper = match byte {
            b'{' | b'[' => depth.saturating_add(1),
            b'}' | b']' => depth.saturating_sub(1),
            _ => depth,
        };
        self.at = if byte == b'"' { At::Text { depth, escaped: false } } else { At::Element { depth: deeper } };
        if depth > 0 && deeper == 0 {
            self.at = At::Between;
            self.owed = Some(b'\n');
        }
        Some(byte)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::layout::Layout;
    use crate::limits::ARRAY_SNIFF_BYTES_MAX;

    /// Gives few bytes at a time.
    struct Slow<'b>(&'b [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(self.0.len()).min(out.len());
            let (now, later) = self.0.split_at(n);
            out[..n].copy_from_slice(now);
            self.0 = later;
            Ok(n)
        }
    }

    fn lines(bytes: &[u8], at_once: usize, room: usize) -> (bool, String) {
        let mut source = Slow(bytes, at_once);
        let mut layout = Layout::of(&mut source);
        let (mut out, mut buffer) = (Vec::new(), vec![0; room]);
        loop {
            let n = layout.read(&mut source, &mut buffer).unwrap();
            if n == 0 {
                return (!layout.is_of_lines(), String::from_utf8(out).unwrap());
            }
            out.extend_from_slice(&buffer[..n]);
        }
    }

    #[test]
    fn an_array_gives_its_elements_as_lines_however_it_is_laid_out() {
        let objects: Vec<serde_json::Value> = vec![
            serde_json::json!({"a": [1, {"b": "x ]},[{ \" \\ y"}], "c": {}}),
            serde_json::json!({}),
            serde_json::json!({"text": "two\nlines\tand é \u{1f600}", "empty": [], "deep": [[[[{"a": null}]]]]}),
        ];
        let want: String = objects.iter().map(|o| o.to_string() + "\n").collect();
        let whole = serde_json::Value::Array(objects);
        let pretty = serde_json::to_string_pretty(&whole).unwrap();
        for text in [whole.to_string(), pretty.clone(), pretty.replace('\n', "\r\n"), format!("\n \t{pretty}\n\n")] {
            for (at_once, room) in [(1, 1), (1, 64), (7, 3), (100_000, 100_000)] {
                assert_eq!(lines(text.as_bytes(), at_once, room), (true, want.clone()), "{at_once} {room}");
            }
        }
    }

    #[test]
    fn what_is_no_array_of_objects_stays_as_it_is() {
        for text in [
            "",
            " ",
            "\n",
            "[",
            "[ ",
            "{\"a\":[\n{}]}\n",
            "[2026-11-22T10:00:00.000Z] \"GET / HTTP/1.1\" 200\n",
            "[]\n",
            "[1,2]\n",
            "[[{}]]",
        ] {
            assert_eq!(lines(text.as_bytes(), 3, 5), (false, text.to_owned()));
        }
        let far = " ".repeat(ARRAY_SNIFF_BYTES_MAX) + "[{}]";
        assert_eq!(lines(far.as_bytes(), 100, 100), (false, far.clone()));
    }

    #[test]
    fn what_is_wrong_in_an_array_is_a_line_that_cannot_be_read() {
        for (text, want) in [
            (r#"[{"a":1},2,"x", null ,[3],{"b":2}]"#, "{\"a\":1}\n2\n\"x\"\nnull\n[3]\n{\"b\":2}\n"),
            // Cut off, in an element and between two.
            (r#"[{"a":1}, {"b":"#, "{\"a\":1}\n{\"b\":"),
            (r#"[{"a":1},"#, "{\"a\":1}\n"),
            // A second array, and what does not belong there.
            ("[{\"a\":1}]\n[{\"b\":2}]\nnonsense\n{\"c\":3}\n", "{\"a\":1}\n{\"b\":2}\nnonsense\n{\"c\":3}\n"),
            ("[{\"a\":\"x\ny\"},{}]", "{\"a\":\"x\ry\"}\n{}\n"),
            (r"[{}}},{}]", "{}\n}}\n{}\n"),
        ] {
            assert_eq!(lines(text.as_bytes(), 4, 4), (true, want.to_owned()), "{text}");
        }
    }
}
