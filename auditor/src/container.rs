//! Logs as a container runtime keeps what a process writes to its output, as the lines that the process wrote:
//!
//! - the kubelet's (Kubernetes CRI): `2026-11-22T10:00:00.000000000Z stdout F {…}`; what is too long for it comes in parts, marked `P`;
//! - Docker's `json-file`: `{"log":"{…}\n","stream":"stdout","time":"…"}`; what is too long has no newline at the end of `log`;
//! - `kubectl logs --timestamps`: a time before each line. This is done for records of our own log alone: in logs of other meshes the
//!   time is passed over where lines are read, and stays a part of them.
//!
//! What was written to the other output, stderr, is no part of a log that goes to stdout, and may be one of another mesh that goes there:
//! it stays marked, in the first form. A line that is none of these is given on as it is. Parts become one line, so the N-th line is the
//! N-th that the process wrote.
//!
//! INVARIANT: no byte that the process wrote is left out or altered; memory is bounded, whatever the lines say.

use std::borrow::Cow;
use std::io;

use memchr::memchr;
use serde::Deserialize;

use crate::foreign::time::parse_time;
use crate::limits::{ARRAY_BLOCK_BYTES, WRAPPED_BYTES_MAX};

/// Whether a log that begins so was kept by a container runtime; `None` where more has to be seen.
pub(crate) fn begins(bytes: &[u8]) -> Option<bool> {
    let space = match memchr(b' ', bytes) {
        _ if DOCKER.starts_with(bytes) => return None,
        _ if bytes.starts_with(DOCKER) => return Some(true),
        None if bytes.len() < TIME_BYTES_MAX && bytes.iter().all(|b| is_of_time(*b)) => return None,
        None => return Some(false),
        Some(space) => space,
    };
    let (time, rest) = bytes.split_at(space);
    if !is_time(time) {
        return Some(false);
    }
    match rest.get(1..).unwrap_or_default() {
        [] => None,
        text if text.len() < OURS.len() && OURS.starts_with(text) => None,
        text if text.starts_with(OURS) => Some(true),
        text => match OUTPUTS.iter().find(|(name, _)| text.starts_with(name) || name.starts_with(text)) {
            Some((name, _)) if text.len() < name.len() => None,
            found => Some(found.is_some()),
        },
    }
}

/// Whether a line is what a process wrote to stderr, as [`Messages`] marks it.
pub(crate) fn is_of_stderr(line: &[u8]) -> bool {
    matches!(Wrapped::of(line), Some(Wrapped { output: Output::Stderr, .. }))
}

/// What a line of the runtime is of what a process wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) is_of_stderr: bool,
    /// The process ended its line with it.
    pub(crate) ends: bool,
}

/// What this line is, where the runtime wrote it.
pub(crate) fn piece_of(line: &[u8]) -> Option<Piece> {
    Wrapped::of(line).map(|wrapped| Piece { is_of_stderr: wrapped.output == Output::Stderr, ends: wrapped.ends })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    Stdout,
    Stderr,
}

/// What a line holds of what a process wrote.
struct Wrapped<'a> {
    output: Output,
    /// The process ended its line here.
    ends: bool,
    time: Cow<'a, str>,
    text: Cow<'a, [u8]>,
}

impl<'a> Wrapped<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        if line.starts_with(DOCKER) { Self::of_docker(line) } else { Self::of_kubelet(line) }
    }

    fn of_docker(line: &'a [u8]) -> Option<Self> {
        let Docker { log, stream, time, .. } = serde_json::from_slice(line).ok()?;
        let output = OUTPUTS.iter().find(|(name, _)| name.strip_suffix(b" ") == Some(stream.as_bytes()))?.1;
        parse_time(&time)?;
        let ends = log.ends_with('\n');
        let text = match log {
            Cow::Borrowed(text) => Cow::Borrowed(text.strip_suffix('\n').unwrap_or(text).as_bytes()),
            Cow::Owned(mut text) => {
                text.truncate(text.len() - usize::from(ends));
                Cow::Owned(text.into_bytes())
            }
        };
        Some(Self { output, ends, time, text })
    }

    fn of_kubelet(line: &'a [u8]) -> Option<Self> {
        let space = memchr(b' ', line.get(..TIME_BYTES_MAX.min(line.len()))?)?;
        let (time, rest) = line.split_at(space);
        if !is_time(time) {
            return None;
        }
        let time = Cow::Borrowed(std::str::from_utf8(time).ok()?);
        let rest = rest.get(1..)?;
        if rest.starts_with(OURS) {
            return Some(Self { output: Output::Stdout, ends: true, time, text: Cow::Borrowed(rest) });
        }
        let (output, rest) = OUTPUTS.iter().find_map(|(name, output)| Some((*output, rest.strip_prefix(*name)?)))?;
        let tags = rest.get(..memchr(b' ', rest)?)?;
        let ends = match tags.split(|b| *b == b':').next() {
            Some(b"F") => true,
            Some(b"P") => false,
            _ => return None,
        };
        Some(Self { output, ends, time, text: Cow::Borrowed(rest.get(tags.len() + 1..)?) })
    }
}

/// A line of Docker's. One with other fields is somebody else's, and stays as it is.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Docker<'a> {
    #[serde(borrow)]
    log: Cow<'a, str>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    time: Cow<'a, str>,
    #[serde(default, rename = "attrs")]
    _attrs: Option<serde::de::IgnoredAny>,
}

/// Gives out what the process wrote.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    /// Read, and not looked at yet.
    line: Vec<u8>,
    /// How much of it is known to hold no newline.
    looked: usize,
    /// The parts so far of a line, of either output.
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    /// To be given out, and how much of it was.
    out: Vec<u8>,
    given: usize,
    ended: bool,
}

impl Messages {
    /// Reads lines.
    pub(crate) fn read(&mut self, mut source: impl FnMut(&mut [u8]) -> io::Result<usize>, room: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.out.get(self.given..).unwrap_or_default();
            let n = left.len().min(room.len());
            if n > 0 || room.is_empty() {
                if let (Some(to), Some(from)) = (room.get_mut(..n), left.get(..n)) {
                    to.copy_from_slice(from);
                }
                self.given += n;
                return Ok(n);
            }
            self.out.clear();
            self.given = 0;
            if self.ended {
                return Ok(0);
            }
            self.more(&mut source)?;
        }
    }

    /// Reads a block and takes the lines in it.
    fn more(&mut self, source: &mut impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<()> {
        let held = self.line.len();
        self.line.resize(held + ARRAY_BLOCK_BYTES, 0);
        let read = source(self.line.get_mut(held..).unwrap_or_default());
        self.line.truncate(held + *read.as_ref().unwrap_or(&0));
        if read? == 0 {
            self.ended = true;
            let last = std::mem::take(&mut self.line);
            if !last.is_empty() {
                self.take(&last, false);
            }
            // What never came to its end is torn.
            self.out.append(&mut self.stdout);
            self.out.append(&mut self.stderr);
            return Ok(());
        }
        let mut block = std::mem::take(&mut self.line);
        let mut from = 0;
        while let Some(end) = memchr(b'\n', block.get(from + self.looked..).unwrap_or_default()) {
            let end = from + self.looked + end;
            self.take(block.get(from..end).unwrap_or_default(), true);
            (from, self.looked) = (end + 1, 0);
        }
        block.drain(..from);
        self.line = block;
        self.looked = self.line.len();
        if self.looked > WRAPPED_BYTES_MAX {
            // No runtime writes such a line. It goes on as it is, for the reader to say so.
            self.out.append(&mut self.line);
            self.looked = 0;
        }
        Ok(())
    }

    /// Takes a line; `whole` where its newline was there.
    fn take(&mut self, line: &[u8], whole: bool) {
        let Some(wrapped) = Wrapped::of(line) else {
            self.out.extend_from_slice(line);
            self.out.extend(whole.then_some(b'\n'));
            return;
        };
        let parts = match wrapped.output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        };
        if parts.is_empty() && wrapped.output == Output::Stderr {
            parts.extend_from_slice(wrapped.time.as_bytes());
            parts.extend_from_slice(b" stderr F ");
        }
        parts.extend_from_slice(&wrapped.text);
        if wrapped.ends {
            self.out.append(parts);
            self.out.extend(whole.then_some(b'\n'));
        } else if parts.len() > WRAPPED_BYTES_MAX {
            self.out.append(parts);
        }
    }
}

fn is_time(text: &[u8]) -> bool {
    text.len() < TIME_BYTES_MAX && text.contains(&b'T') && std::str::from_utf8(text).is_ok_and(|text| parse_time(text).is_some())
}

const fn is_of_time(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'-' | b':' | b'.' | b'+' | b'T' | b'Z')
}

/// How a record of our own begins.
const OURS: &[u8] = b"{\"v\":";
const DOCKER: &[u8] = b"{\"log\":\"";
const OUTPUTS: [(&[u8], Output); 2] = [(b"stdout ", Output::Stdout), (b"stderr ", Output::Stderr)];
/// A time of nanoseconds with an offset has 35.
const TIME_BYTES_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    /// Reads so many bytes at once of `text`, of which the source gives so many at a time.
    fn read(text: &[u8], at_once: usize, room: usize) -> (bool, Vec<u8>) {
        let mut left = text;
        let mut slow = Slow(&mut left, at_once);
        let mut layout = Layout::of(&mut slow);
        let (mut out, mut buffer) = (Vec::new(), vec![0; room]);
        loop {
            let n = layout.read(&mut slow, &mut buffer).unwrap();
            if n == 0 {
                return (layout.is_of_container(), out);
            }
            out.extend_from_slice(&buffer[..n]);
        }
    }

    struct Slow<'a, 'b>(&'a mut &'b [u8], usize);

    impl io::Read for Slow<'_, '_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let n = self.1.min(out.len());
            io::Read::read(self.0, out.get_mut(..n).unwrap_or_default())
        }
    }

    const AT: &str = "2026-11-22T10:00:00.123456789Z";

    /// As a kubelet keeps lines: the long ones in parts, between which the other output writes.
    fn kubelet(lines: &[String], part: usize) -> String {
        let mut out = String::new();
        for line in lines {
            let mut rest = line.as_str();
            while rest.len() > part {
                let (now, later) = rest.split_at(part);
                out.push_str(&format!("{AT} stdout P {now}\n{AT} stderr F beside\n"));
                rest = later;
            }
            out.push_str(&format!("{AT} stdout F {rest}\n"));
        }
        out
    }

    fn docker(lines: &[String], part: usize) -> String {
        let mut out = String::new();
        let mut say = |log: &str, stream: &str| {
            out.push_str(&format!("{{\"log\":{},\"stream\":\"{stream}\",\"time\":\"{AT}\"}}\n", serde_json::json!(log)));
        };
        for line in lines {
            let mut rest = line.as_str();
            while rest.len() > part {
                let (now, later) = rest.split_at(part);
                say(now, "stdout");
                say("beside\n", "stderr");
                rest = later;
            }
            say(&format!("{rest}\n"), "stdout");
        }
        out
    }

    fn lines() -> Vec<String> {
        let long = "x".repeat(3_000);
        [
            "{\"v\":1}",
            "",
            "[2026-11-22T10:00:00.000Z] \"GET / HTTP/1.1\" 200",
            "{\"a\":\"\\u00e9 \\\" \\\\ \\n\"}",
            &long,
            " P F ",
            "stdout F x",
        ]
        .map(str::to_owned)
        .to_vec()
    }

    #[test]
    fn what_a_process_wrote_comes_out_as_it_was_written() {
        let written = lines().join("\n") + "\n";
        let (of_kubelet, of_docker) = (kubelet(&lines(), 10_000), docker(&lines(), 10_000));
        let objects: Vec<String> = lines().into_iter().filter(|l| l.starts_with("{\"v\":")).collect();
        let of_kubectl: String = objects.iter().map(|l| format!("{AT} {l}\n")).collect();
        for (at_once, room) in [(1, 1), (1, 64), (7, 3), (100_000, 100_000)] {
            for (text, want) in [(&of_kubelet, &written), (&of_docker, &written), (&of_kubectl, &(objects.join("\n") + "\n"))] {
                let (is_one, out) = read(text.as_bytes(), at_once, room);
                assert!(is_one && out == want.as_bytes(), "{at_once} {room}: {}", String::from_utf8_lossy(&out));
            }
        }
    }

    #[test]
    fn parts_become_one_line_whatever_is_written_between_them() {
        for (name, text) in [("kubelet", kubelet(&lines(), 700)), ("docker", docker(&lines(), 700))] {
            let (is_one, out) = read(text.as_bytes(), 997, 313);
            let out = String::from_utf8(out).unwrap();
            let (beside, own): (Vec<&str>, Vec<&str>) = out.lines().partition(|line| is_of_stderr(line.as_bytes()));
            assert!(is_one && own == lines(), "{name}: {own:?}");
            assert_eq!(beside, vec![format!("{AT} stderr F beside"); 4], "{name}");
        }
        // What never came to its end is torn: it has no newline.
        assert_eq!(read(format!("{AT} stdout P {{\"a\":\n").as_bytes(), 10, 10), (true, b"{\"a\":".to_vec()));
        assert_eq!(read(format!("{AT} stdout F {{}}\n{AT} stdout F {{\"a\"").as_bytes(), 10, 10), (true, b"{}\n{\"a\"".to_vec()));
    }

    #[test]
    fn what_is_not_kept_by_a_runtime_stays_as_it_is() {
        for text in [
            "{\"v\":1}\n",
            "{\"log\"",
            "2026-11-22T10:00:00Z",
            "2026-11-22T10:00:00Z host haproxy[1]: {}\n",
            "2026-11-22 10:00:00 stdout F {}\n",
            "[2026-11-22T10:00:00.000Z] \"GET\"\n",
            "stdout F {}\n",
            "2026-11-22T10:00:00Z {\"a\":1}\n",
            "2026-11-22T10:00:00Z {\"v",
            "2026-11-22T10:00:00Z stdoutF {}\n",
        ] {
            assert_eq!(read(text.as_bytes(), 3, 5), (false, text.as_bytes().to_vec()), "{text}");
        }
        // In such a log a line of another kind is given on.
        let mixed = format!("{AT} stdout F {{}}\nodd\n{{\"log\":\"x\\n\",\"stream\":\"stdin\",\"time\":\"{AT}\"}}\n{AT} stdout Q x\n");
        let (_, out) = read(mixed.as_bytes(), 64, 64);
        assert_eq!(String::from_utf8(out).unwrap(), mixed.replacen(&format!("{AT} stdout F "), "", 1));
    }

    #[test]
    fn no_line_and_no_parts_are_held_without_bound() {
        let mut messages = Messages::default();
        let mut most = 0;
        let mut given = 0_usize;
        let whole = format!("{AT} stdout P {}\n", "y".repeat(60_000));
        let mut source = std::iter::repeat_n(whole.as_bytes(), 200).flatten().copied().chain(std::iter::repeat_n(b'z', 20_000_000));
        let mut buffer = vec![0; 1 << 16];
        loop {
            let n = messages
                .read(
                    |block| {
                        let mut n = 0;
                        for (to, from) in block.iter_mut().zip(source.by_ref()) {
                            *to = from;
                            n += 1;
                        }
                        Ok(n)
                    },
                    &mut buffer,
                )
                .unwrap();
            most = most.max(messages.line.len() + messages.stdout.len() + messages.out.len());
            given += n;
            if n == 0 {
                break;
            }
        }
        assert_eq!(given, 200 * 60_000 + 20_000_000);
        assert!(most < 4 * WRAPPED_BYTES_MAX, "{most}");
    }
}
