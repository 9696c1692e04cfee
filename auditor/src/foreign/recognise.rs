//! Which format a log has, by its first lines.
//!
//! INVARIANT: a log is one format's or none's; where lines of two formats stand at its head, nothing is read.

use super::adapter::{fits, without_prefix};
use super::json::{Keys, Value};
use super::{Format, Reading, ztunnel};

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
pub(crate) fn recognise<'l>(lines: impl IntoIterator<Item = &'l [u8]>, reading: &Reading) -> Recognised {
    let marks = Keys::new(MARKS.iter().enumerate().map(|(slot, key)| (*key, slot)));
    let mut found: Option<(Format, u64)> = None;
    let mut is_empty = true;
    for (number, line) in (1..).zip(lines) {
        is_empty &= line.is_empty();
        let Some(format) = format(&marks, without_prefix(line), reading) else { continue };
        match found {
            None => found = Some((format, number)),
            Some((first, _)) if first == format => {}
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

/// Two that are forms of one: Istio's lines are Envoy's with more in them, and a gateway's log may have both.
const fn both(a: Format, b: Format) -> Option<Format> {
    match (a, b) {
        (Format::EnvoyJson, Format::IstioJson) | (Format::IstioJson, Format::EnvoyJson) => Some(Format::IstioJson),
        (Format::EnvoyText, Format::IstioText) | (Format::IstioText, Format::EnvoyText) => Some(Format::IstioText),
        _ => None,
    }
}

/// Keys that tell formats of JSON apart.
const MARKS: [&str; 18] = [
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
    r"client\.id",
    r"client\.addr",
    "flow",
    "verdict",
    "lost_events",
    "decision_id",
    r"src\.addr",
    "scope",
];

fn format(marks: &Keys, line: &[u8], reading: &Reading) -> Option<Format> {
    if line.first() == Some(&b'{') {
        return json(marks, line);
    }
    let text = std::str::from_utf8(line).ok()?;
    if ztunnel::is_text(text) {
        return Some(Format::Ztunnel);
    }
    if !text.starts_with('[') {
        return None;
    }
    // In this order: a line of Istio's is none of Envoy's default, nor the other way round.
    let plain = Reading { text: None, ..reading.clone() };
    let is_istio = |line: &[u8]| line.iter().filter(|b| **b == b'"').count() >= ISTIO_QUOTES_MIN;
    if fits(Format::Kuma, &plain, line) {
        Some(Format::Kuma)
    } else if fits(Format::IstioText, &plain, line) {
        Some(if is_istio(line) { Format::IstioText } else { Format::EnvoyText })
    } else {
        None
    }
}

fn json(marks: &Keys, line: &[u8]) -> Option<Format> {
    let slots = marks.read(line).ok()?;
    let has = |key: &str| MARKS.iter().position(|k| *k == key).is_some_and(|slot| *slots.of(slot) != Value::Missing);
    // Heads often lie beside our log, and a pattern takes them along.
    if (has("event") && has("prev")) || (has("head") && has("sig")) {
        Some(Format::Portreeve)
    } else if has("start_time") && (has("response_code") || has("response_flags")) {
        let is_istio = has("requested_server_name") && has("route_name") && has("upstream_cluster");
        Some(if is_istio { Format::IstioJson } else { Format::EnvoyJson })
    } else if has(r"client\.id") || has(r"client\.addr") {
        Some(Format::LinkerdJson)
    } else if has("lost_events") || has("flow") || has("verdict") {
        Some(Format::Hubble)
    } else if has("decision_id") {
        Some(Format::Opa)
    } else if has(r"src\.addr") && has("scope") {
        Some(Format::Ztunnel)
    } else {
        None
    }
}

/// Envoy's default has six values in quotes; Istio's have one more at least.
const ISTIO_QUOTES_MIN: usize = 14;
