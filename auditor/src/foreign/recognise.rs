//! Which format a log has, by its first lines.
//!
//! INVARIANT: a log is one format's or none's; where lines of two formats stand at its head, nothing is read.

use super::json::{Keys, Value};
use super::{Format, Reading};

/// What the head of a log shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recognised {
    /// One format.
    Format(Format),
    /// There is no line.
    Empty,
    /// Two, each with the first line that shows it.
    Several((Format, u64), (Format, u64)),
    /// None.
    Nothing,
}

/// Looks at the first lines.
pub(crate) fn recognise<'l>(lines: impl IntoIterator<Item = &'l [u8]>, _: &Reading) -> Recognised {
    let marks = Marks::new();
    let mut found: Option<(Format, u64)> = None;
    let mut is_empty = true;
    for (number, line) in (1..).zip(lines) {
        is_empty &= line.is_empty();
        let Some(format) = marks.format(line) else { continue };
        match found {
            None => found = Some((format, number)),
            Some((first, at)) if first == format => found = Some((first, at)),
            Some((first, at)) => match both(first, format) {
                Some(one) => found = Some((one, at)),
                None => return Recognised::Several((first, at), (format, number)),
            },
        }
    }
    match found {
        Some((format, _)) => Recognised::Format(format),
        None if is_empty => Recognised::Empty,
        None => Recognised::Nothing,
    }
}

/// Two that are forms of one: Istio's keys are more than Envoy's.
fn both(a: Format, b: Format) -> Option<Format> {
    match (a, b) {
        (Format::EnvoyJson, Format::IstioJson) | (Format::IstioJson, Format::EnvoyJson) => Some(Format::IstioJson),
        _ => None,
    }
}

/// Keys that tell formats of JSON apart.
struct Marks {
    keys: Keys,
}

const MARKS: [&str; 10] = [
    "event",
    "prev",
    "head",
    "sig",
    "start_time",
    "response_code",
    "response_flags",
    "requested_server_name",
    "route_name",
    "upstream_cluster",
];

impl Marks {
    fn new() -> Self {
        Self { keys: Keys::new(MARKS.iter().enumerate().map(|(slot, key)| (*key, slot))) }
    }

    fn format(&self, line: &[u8]) -> Option<Format> {
        if line.trim_ascii_start().first() == Some(&b'{') { self.json(line) } else { None }
    }

    fn json(&self, line: &[u8]) -> Option<Format> {
        let slots = self.keys.read(line).ok()?;
        let has = |key: &str| MARKS.iter().position(|k| *k == key).is_some_and(|slot| *slots.of(slot) != Value::Missing);
        // Heads often lie beside our log, and a pattern takes them along.
        if (has("event") && has("prev")) || (has("head") && has("sig")) {
            Some(Format::Portreeve)
        } else if has("start_time") && (has("response_code") || has("response_flags")) {
            let is_istio = has("requested_server_name") && has("route_name") && has("upstream_cluster");
            Some(if is_istio { Format::IstioJson } else { Format::EnvoyJson })
        } else {
            None
        }
    }
}
