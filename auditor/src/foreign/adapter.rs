//! One adapter for each format: a line in, what it says out.
//!
//! Nearly all of what a line says rests on that line alone. Where it rests on lines before, on a counter or on the format that they had,
//! that is a [`Step`]: lines may be read anywhere, and the steps are taken in their order.

use super::deciding::{Deciding, DecidingBytes};
use super::json::Keys;
use super::mapped::Mapped;
use super::quick::{Quick, Sketch};
use super::seen::{Read, Seen};
use super::text::{ENVOY, FormatError, ISTIO, KUMA, TextFormat, Unread};
use super::{Format, Reading, envoy, hubble, linkerd, opa, ztunnel};
use crate::limits::SKETCHED_AT_ONCE;

/// Reads the lines of one format.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    pub(crate) format: Format,
    shape: Shape,
    /// The last sequence number, where lines have one.
    sequence: Option<i64>,
    /// The number of dropped decisions that OPA last told.
    dropped: u64,
    lost: u64,
    /// For formats of flat JSON.
    quick: Option<Quick>,
    /// The deciding bytes of the lines sketched last.
    deciding: [DecidingBytes; SKETCHED_AT_ONCE],
}

#[derive(Clone, Debug)]
enum Shape {
    EnvoyJson(Keys),
    EnvoyText(Texts),
    Linkerd(Keys),
    Ztunnel(Keys),
    Hubble { bare: Keys, wrapped: Keys },
    Opa(Keys),
    Mapped(Box<Mapped>),
}

/// What a line says that rests on the lines before it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// OPA has dropped so many decisions since it began.
    Dropped(u64),
    /// The number of the line in a sequence.
    Sequence(i64),
    /// Of several formats of text it was this one, and another was tried first. A line may be of two.
    Fits { tried: usize, fitted: usize },
}

/// Formats of text, of which the one that last fitted is tried first.
#[derive(Clone, Debug)]
struct Texts {
    formats: Vec<TextFormat>,
    last: usize,
}

impl Adapter {
    /// The adapter of a format; `None` for our own, and for those that need a mapping where there is none.
    pub(crate) fn of(format: Format, reading: &Reading) -> Option<Self> {
        let shape = match format {
            Format::EnvoyJson | Format::IstioJson => Shape::EnvoyJson(envoy::keys()),
            Format::EnvoyText => Shape::EnvoyText(Texts::of(reading)),
            Format::IstioText => Shape::EnvoyText(Texts::built_in(ISTIO.iter().chain([&ENVOY]))),
            Format::Kuma => Shape::EnvoyText(Texts::built_in(&KUMA)),
            Format::LinkerdJson => Shape::Linkerd(linkerd::keys()),
            Format::Ztunnel => Shape::Ztunnel(ztunnel::keys()),
            Format::Hubble => Shape::Hubble { bare: hubble::keys(false), wrapped: hubble::keys(true) },
            Format::Opa => Shape::Opa(opa::keys()),
            Format::NginxJson | Format::HaproxyJson | Format::Mapped => Shape::Mapped(Box::new(Mapped::new(reading.lines.as_ref()?))),
            Format::Portreeve => return None,
        };
        let quick = matches!(shape, Shape::EnvoyJson(_)).then(|| Quick::envoy(format));
        Some(Self { format, shape, sequence: None, dropped: 0, lost: 0, quick, deciding: Default::default() })
    }

    /// Whether the line begins as lines of this format do.
    pub(crate) fn begins(&self, line: &[u8]) -> bool {
        let line = without_prefix(line);
        let is_object = || line.trim_ascii_start().first() == Some(&b'{');
        match &self.shape {
            Shape::EnvoyText(texts) => std::str::from_utf8(line).is_ok_and(|line| texts.formats.iter().any(|f| f.begins(line))),
            Shape::Ztunnel(_) => is_object() || line.first().is_some_and(u8::is_ascii_digit),
            Shape::Mapped(mapped) => !mapped.is_json() || is_object(),
            Shape::EnvoyJson(_) | Shape::Linkerd(_) | Shape::Hubble { .. } | Shape::Opa(_) => is_object(),
        }
    }

    /// Records that lines read since the last call say, by counters or gaps, were lost.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Reads a line in its turn.
    pub(crate) fn read<'l>(&mut self, line: &'l [u8]) -> Read<'l> {
        let (read, step) = self.read_apart(line);
        if let Some(step) = step {
            self.take_step(step);
        }
        read
    }

    /// Whether a line can be read apart from those before it.
    pub(crate) fn can_read_apart(&self) -> bool {
        !matches!(&self.shape, Shape::Mapped(mapped) if !mapped.has_head())
    }

    /// Whether a line of which this is the step would be read here as it was read elsewhere.
    pub(crate) fn agrees(&self, step: Step) -> bool {
        match (step, &self.shape) {
            (Step::Fits { tried, .. }, Shape::EnvoyText(texts)) => tried == texts.last,
            _ => true,
        }
    }

    /// Takes the step of a line that was read.
    pub(crate) fn take_step(&mut self, step: Step) {
        match step {
            Step::Dropped(dropped) => {
                // The counter begins anew when OPA does.
                let since = if dropped < self.dropped { 0 } else { self.dropped };
                self.lost = self.lost.saturating_add(dropped - since);
                self.dropped = dropped;
            }
            Step::Sequence(now) => {
                let gap = self.sequence.map_or(0, |last| now.saturating_sub(last).saturating_sub(1));
                self.lost = self.lost.saturating_add(u64::try_from(gap).unwrap_or(0));
                self.sequence = Some(now);
            }
            Step::Fits { fitted, .. } => {
                if let Shape::EnvoyText(texts) = &mut self.shape {
                    texts.last = fitted;
                }
            }
        }
    }

    /// Reads a line, and what it says that rests on the lines before it too.
    pub(crate) fn read_apart<'l>(&mut self, line: &'l [u8]) -> (Read<'l>, Option<Step>) {
        if let Shape::Mapped(mapped) = &mut self.shape {
            if line.is_empty() {
                return (Read::Bad("the line is empty".to_owned()), None);
            }
            let (read, sequence) = mapped.read(line);
            return (read, sequence.map(Step::Sequence));
        }
        let line = without_prefix(line);
        if line.is_empty() {
            return (Read::Bad("the line is empty".to_owned()), None);
        }
        if is_message(line) {
            return (Read::Other("messages of the proxy itself"), None);
        }
        let read = match &self.shape {
            Shape::EnvoyText(texts) => return texts.read(line),
            Shape::Opa(keys) => match keys.read(line) {
                Ok(facts) => {
                    let step = opa::dropped(&facts).map(Step::Dropped);
                    return (opa::seen(facts), step);
                }
                Err(why) => Read::Bad(why),
            },
            shape => shape.read(line),
        };
        (read, None)
    }

    /// Reads the line that was sketched last; `None` where it takes [`Adapter::read`].
    pub(crate) fn read_sketched<'l>(&self, line: &'l [u8]) -> Option<Read<'l>> {
        self.quick.as_ref()?.facts(line).map(envoy::seen)
    }

    /// Whether lines of the format can be sketched.
    pub(crate) const fn is_quick(&self) -> bool {
        self.quick.is_some()
    }

    /// Sketches a line, where that is possible; see [`Quick`]. Its deciding bytes are kept as those of the `nth` line.
    #[inline]
    pub(crate) fn sketch<'l>(&mut self, nth: usize, line: &'l [u8], caller_address_counts: bool) -> Option<Sketch<'l>> {
        self.quick.as_mut()?.sketch(line, self.deciding.get_mut(nth)?, caller_address_counts)
    }

    /// Whether the line that was to be sketched last may have a run of bytes long enough to be a card number.
    pub(crate) fn may_have_run(&self) -> bool {
        self.quick.as_ref().is_none_or(Quick::has_run)
    }

    /// The deciding bytes of the `nth` line.
    pub(crate) fn deciding(&self, nth: usize) -> Option<Deciding<'_>> {
        self.deciding.get(nth).map(DecidingBytes::deciding)
    }

    /// Their hash.
    pub(crate) fn hash(&self, nth: usize) -> Option<u64> {
        self.deciding.get(nth).map(DecidingBytes::hash)
    }

    /// The deciding bytes of a line that was read.
    pub(crate) fn deciding_of(&mut self, seen: &Seen<'_>) -> Deciding<'_> {
        let [first, ..] = &mut self.deciding;
        first.write(self.format, seen);
        first.deciding()
    }
}

impl Shape {
    /// Reads a line of a format of which no line rests on others.
    fn read<'l>(&self, line: &'l [u8]) -> Read<'l> {
        match self {
            Self::EnvoyJson(keys) => json(keys, line, envoy::seen),
            Self::Linkerd(keys) => json(keys, line, linkerd::seen),
            Self::Ztunnel(keys) if line.first() == Some(&b'{') => json(keys, line, ztunnel::seen),
            Self::Ztunnel(_) => match std::str::from_utf8(line).map_err(|_| NOT_UTF8.to_owned()).and_then(ztunnel::text) {
                Ok(Some(facts)) => ztunnel::seen(facts),
                Ok(None) => Read::Other("messages of ztunnel itself"),
                Err(why) => Read::Bad(why),
            },
            Self::Hubble { bare, wrapped } => match bare.read(line) {
                Ok(facts) if hubble::is_wrapped(&facts) => json(wrapped, line, hubble::seen),
                Ok(facts) => hubble::seen(facts),
                Err(why) => Read::Bad(why),
            },
            Self::EnvoyText(_) | Self::Opa(_) | Self::Mapped(_) => Read::Bad(String::new()),
        }
    }
}

fn json<'l>(keys: &Keys, line: &'l [u8], seen: fn(super::json::Slots<'l>) -> Read<'l>) -> Read<'l> {
    match keys.read(line) {
        Ok(facts) => seen(facts),
        Err(why) => Read::Bad(why),
    }
}

impl Texts {
    fn of(reading: &Reading) -> Self {
        match &reading.text {
            Some(format) => Self { formats: vec![format.clone()], last: 0 },
            None => Self::built_in([&ENVOY].into_iter().chain(&ISTIO)),
        }
    }

    fn built_in<'f>(formats: impl IntoIterator<Item = &'f &'static str>) -> Self {
        let formats: Result<Vec<TextFormat>, FormatError> = formats.into_iter().map(|f| TextFormat::parse(f)).collect();
        // They are tested; were one not to parse, no line would fit.
        Self { formats: formats.unwrap_or_default(), last: 0 }
    }

    fn read<'l>(&self, line: &'l [u8]) -> (Read<'l>, Option<Step>) {
        let Ok(line) = std::str::from_utf8(line) else { return (Read::Bad(NOT_UTF8.to_owned()), None) };
        let mut several = false;
        for index in std::iter::once(self.last).chain((0..self.formats.len()).filter(|i| *i != self.last)) {
            match self.formats.get(index).map(|format| format.read(line)) {
                Some(Ok(facts)) => return (envoy::seen(facts), Some(Step::Fits { tried: self.last, fitted: index })),
                Some(Err(Unread::Several)) => several = true,
                Some(Err(Unread::Nothing)) | None => {}
            }
        }
        let why = if several {
            "it can be read in two ways, as when a header holds the quotes that stand between fields"
        } else {
            "it is not of the format"
        };
        (Read::Bad(why.to_owned()), None)
    }
}

/// Whether the facts of a line can be read by one of the formats.
pub(super) fn fits(format: Format, reading: &Reading, line: &[u8]) -> bool {
    matches!(Adapter::of(format, reading).map(|mut a| matches!(a.read(line), Read::Request(_))), Some(true))
}

/// The line without what a container's log puts before it: a time, and with it perhaps the stream and a flag.
pub(super) fn without_prefix(line: &[u8]) -> &[u8] {
    let rest = |line: &'_ [u8]| -> Option<usize> {
        let space = line.iter().position(|b| *b == b' ')?;
        let time = std::str::from_utf8(line.get(..space)?).ok()?;
        if !time.contains('T') || super::time::parse_time(time).is_none() {
            return None;
        }
        let after = line.get(space + 1..)?;
        let flagged = [&b"stdout F "[..], b"stderr F "].into_iter().find(|flag| after.starts_with(flag)).map_or(0, <[u8]>::len);
        let begins = matches!(after.get(flagged), Some(b'{' | b'['));
        (flagged > 0 || begins).then_some(space + 1 + flagged)
    };
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.first() == Some(&b'{') {
        return line;
    }
    rest(line).and_then(|at| line.get(at..)).unwrap_or(line)
}

/// Whether it is a message that Envoy or Istio's agent writes beside its log: `[time][1][warning][runtime] …`, `time\tinfo\t…`.
fn is_message(line: &[u8]) -> bool {
    if line.first() == Some(&b'{') {
        return false;
    }
    let Ok(text) = std::str::from_utf8(line) else { return false };
    if let Some((time, rest)) = text.strip_prefix('[').and_then(|t| t.split_once("][")) {
        let is_time = super::time::parse_time(&format!("{}Z", time.replacen(' ', "T", 1))).is_some();
        return is_time && rest.starts_with(|c: char| c.is_ascii_digit());
    }
    let mut parts = text.split('\t');
    let is_time = parts.next().is_some_and(|time| super::time::parse_time(time).is_some());
    is_time && matches!(parts.next(), Some("info" | "warn" | "error" | "debug" | "trace")) && parts.next() != Some("access")
}

const NOT_UTF8: &str = "it is not UTF-8";
