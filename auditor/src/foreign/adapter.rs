//! One adapter for each format: a line in, what it says out.

use super::deciding::Deciding;
use super::json::Keys;
use super::mapped::Mapped;
use super::quick::{Quick, Sketch};
use super::seen::Read;
use super::text::{ENVOY, FormatError, ISTIO, KUMA, TextFormat, Unread};
use super::{Format, Reading, envoy, hubble, linkerd, opa, ztunnel};
use crate::limits::SKETCHED_AT_ONCE;

/// Reads the lines of one format.
#[derive(Debug)]
pub(crate) struct Adapter {
    pub(crate) format: Format,
    shape: Shape,
    lost: u64,
    /// For formats of flat JSON.
    quick: Option<Quick>,
    /// The deciding bytes of the lines sketched last.
    deciding: [Deciding; SKETCHED_AT_ONCE],
}

#[derive(Debug)]
enum Shape {
    EnvoyJson(Keys),
    EnvoyText(Texts),
    Linkerd(Keys),
    Ztunnel(Keys),
    Hubble {
        bare: Keys,
        wrapped: Keys,
    },
    /// With the number of dropped decisions that OPA last told.
    Opa(Keys, u64),
    Mapped(Box<Mapped>),
}

/// Formats of text, of which the one that last fitted is tried first.
#[derive(Debug)]
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
            Format::Opa => Shape::Opa(opa::keys(), 0),
            Format::NginxJson | Format::HaproxyJson | Format::Mapped => Shape::Mapped(Box::new(Mapped::new(reading.lines.as_ref()?))),
            Format::Portreeve => return None,
        };
        let quick = matches!(shape, Shape::EnvoyJson(_)).then(Quick::envoy);
        Some(Self { format, shape, lost: 0, quick, deciding: Default::default() })
    }

    /// Whether the line begins as lines of this format do.
    pub(crate) fn begins(&self, line: &[u8]) -> bool {
        let line = without_prefix(line);
        let is_object = || line.trim_ascii_start().first() == Some(&b'{');
        match &self.shape {
            Shape::EnvoyText(texts) => std::str::from_utf8(line).is_ok_and(|line| texts.formats.iter().any(|f| f.begins(line))),
            Shape::Ztunnel(_) => is_object() || line.first().is_some_and(u8::is_ascii_digit),
            Shape::Mapped(mapped) => !mapped.is_json() || is_object(),
            Shape::EnvoyJson(_) | Shape::Linkerd(_) | Shape::Hubble { .. } | Shape::Opa(..) => is_object(),
        }
    }

    /// Records that lines read since the last call say, by counters or gaps, were lost.
    pub(crate) fn take_lost(&mut self) -> u64 {
        if let Shape::Mapped(mapped) = &mut self.shape {
            self.lost = self.lost.saturating_add(std::mem::take(&mut mapped.lost));
        }
        std::mem::take(&mut self.lost)
    }

    /// Reads a line.
    pub(crate) fn read<'l>(&mut self, line: &'l [u8]) -> Read<'l> {
        if let Shape::Mapped(mapped) = &mut self.shape {
            return if line.is_empty() { Read::Bad("the line is empty".to_owned()) } else { mapped.read(line) };
        }
        let line = without_prefix(line);
        if line.is_empty() {
            return Read::Bad("the line is empty".to_owned());
        }
        if is_message(line) {
            return Read::Other("messages of the proxy itself");
        }
        match &mut self.shape {
            Shape::EnvoyJson(keys) => json(keys, line, envoy::seen),
            Shape::EnvoyText(texts) => texts.read(line),
            Shape::Linkerd(keys) => json(keys, line, linkerd::seen),
            Shape::Ztunnel(keys) if line.first() == Some(&b'{') => json(keys, line, ztunnel::seen),
            Shape::Ztunnel(_) => match std::str::from_utf8(line).map_err(|_| NOT_UTF8.to_owned()).and_then(ztunnel::text) {
                Ok(Some(facts)) => ztunnel::seen(facts),
                Ok(None) => Read::Other("messages of ztunnel itself"),
                Err(why) => Read::Bad(why),
            },
            Shape::Hubble { bare, wrapped } => match bare.read(line) {
                Ok(facts) if hubble::is_wrapped(&facts) => json(wrapped, line, hubble::seen),
                Ok(facts) => hubble::seen(facts),
                Err(why) => Read::Bad(why),
            },
            Shape::Opa(keys, told) => match keys.read(line) {
                Ok(facts) => {
                    if let Some(dropped) = opa::dropped(&facts) {
                        // The counter begins anew when OPA does.
                        let since = if dropped < *told { 0 } else { *told };
                        self.lost = self.lost.saturating_add(dropped - since);
                        *told = dropped;
                    }
                    opa::seen(facts)
                }
                Err(why) => Read::Bad(why),
            },
            Shape::Mapped(_) => Read::Bad(String::new()),
        }
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
    pub(crate) fn deciding(&self, nth: usize) -> Option<&Deciding> {
        self.deciding.get(nth)
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

    fn read<'l>(&mut self, line: &'l [u8]) -> Read<'l> {
        let Ok(line) = std::str::from_utf8(line) else { return Read::Bad(NOT_UTF8.to_owned()) };
        let mut several = false;
        for index in std::iter::once(self.last).chain((0..self.formats.len()).filter(|i| *i != self.last)) {
            match self.formats.get(index).map(|format| format.read(line)) {
                Some(Ok(facts)) => {
                    self.last = index;
                    return envoy::seen(facts);
                }
                Some(Err(Unread::Several)) => several = true,
                Some(Err(Unread::Nothing)) | None => {}
            }
        }
        Read::Bad(if several {
            "it can be read in two ways, as when a header holds the quotes that stand between fields".to_owned()
        } else {
            "it is not of the format".to_owned()
        })
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
