//! Reads the shape of the file: every fault is collected with its place.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use portreeve_engine::Diagnostic;
use portreeve_engine::yaml::{Fields, Node, Text, Value};

use crate::limits;

/// Reads the file's shape; collects every fault instead of stopping at the first.
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) base: &'a Path,
    pub(super) out: Vec<Diagnostic>,
    /// Where it listens so far, and on which line that stands.
    pub(super) listens: Vec<(SocketAddr, u32)>,
}

impl<'a> Reader<'a> {
    pub(super) fn each<T>(&mut self, node: Option<&'a Node>, read: fn(&mut Self, &'a Node) -> Option<T>) -> Vec<T> {
        match node.map(|n| (n, &n.value)) {
            None => Vec::new(),
            Some((_, Value::Sequence(items))) => items.iter().filter_map(|item| read(self, item)).collect(),
            Some((node, _)) => {
                self.fault(
                    node,
                    "wrong-type",
                    &format!("expected a list, found {}", node.kind()),
                    "put `- ` before it, or write it in `[…]`",
                );
                Vec::new()
            }
        }
    }

    pub(super) fn address(&mut self, f: &mut Fields<'a>, name: &'static str) -> Option<SocketAddr> {
        let text = f.require_text(name, &mut self.out)?;
        let parsed = text.text.parse();
        if parsed.is_err() {
            let message = format!("`{}` is not an IP address with a port", text.text);
            self.fault(text.node, "invalid-value", &message, "write `127.0.0.1:8080` or `[::1]:8080`; names are not looked up");
        }
        if let (Ok(address), "listen") = (&parsed, name) {
            self.listens_on(text.node, *address);
        }
        parsed.ok()
    }

    /// Two listeners cannot have one address: the system would say that another process has it, and it would be this one.
    pub(super) fn listens_on(&mut self, node: &'a Node, address: SocketAddr) {
        if let Some((_, line)) = self.listens.iter().find(|(other, _)| is_reached_by(address, *other) || is_reached_by(*other, address)) {
            let message = format!("`{address}` is listened on already, on line {line}");
            self.fault(node, "invalid-value", &message, "give each listener a port of its own");
        }
        self.listens.push((address, node.location(self.file).line));
    }

    pub(super) fn word<T: Copy>(&mut self, f: &mut Fields<'a>, name: &'static str, known: &[(&'static str, T)], default: T) -> Option<T> {
        let Some(text) = f.text(name, &mut self.out) else { return Some(default) };
        let found = known.iter().find(|(word, _)| *word == text.text).map(|(_, value)| *value);
        if found.is_none() {
            let words = known.iter().map(|(w, _)| format!("`{w}`")).collect::<Vec<_>>().join(" or ");
            self.fault(text.node, "invalid-value", &format!("`{}` is not acceptable for `{name}`", text.text), &format!("write {words}"));
        }
        found
    }

    /// A whole number; `None` where it is not given, `Some(None)` where it is not acceptable.
    pub(super) fn count(&mut self, f: &mut Fields<'a>, name: &'static str, least: usize, most: usize) -> Option<Option<usize>> {
        let text = f.text(name, &mut self.out)?;
        let found = text.text.parse().ok().filter(|n| (least..=most).contains(n));
        if found.is_none() {
            let message = format!("`{}` is not a whole number from {least} to {most}", text.text);
            self.fault(text.node, "invalid-value", &message, "write one, or leave it out for the default");
        }
        Some(found)
    }

    pub(super) fn duration(&mut self, f: &mut Fields<'a>, name: &'static str, default: Duration, max: Duration) -> Option<Duration> {
        self.duration_within(f, name, default, (limits::INTERVAL_MIN, max))
    }

    pub(super) fn duration_within(
        &mut self,
        f: &mut Fields<'a>,
        name: &'static str,
        default: Duration,
        (min, max): (Duration, Duration),
    ) -> Option<Duration> {
        let Some(text) = f.text(name, &mut self.out) else { return Some(default) };
        self.time_of(text, (min, max), &format!("the default is {}", spelled(default)))
    }

    /// A time that has no default; `None` where it is not given, `Some(None)` where it is not acceptable.
    pub(super) fn some_duration(&mut self, f: &mut Fields<'a>, name: &'static str, max: Duration) -> Option<Option<Duration>> {
        let text = f.text(name, &mut self.out)?;
        Some(self.time_of(text, (limits::INTERVAL_MIN, max), "leave it out for none"))
    }

    fn time_of(&mut self, text: Text<'a>, (min, max): (Duration, Duration), otherwise: &str) -> Option<Duration> {
        let found = parse_duration(text.text).filter(|d| (min..=max).contains(d));
        if found.is_none() {
            let message = format!("`{}` is not a time between {} and {}", text.text, spelled(min), spelled(max));
            let help = format!("write a number and `ms`, `s`, `m`, `h` or `d`, such as `60s`; {otherwise}");
            self.fault(text.node, "invalid-value", &message, &help);
        }
        found
    }

    pub(super) fn fault(&mut self, node: &Node, code: &'static str, message: &str, help: &str) {
        self.out.push(Diagnostic::error(code, message).at(node.location(self.file)).help(help));
    }
}

/// Whether what connects to `address` reaches a listener on `listen`.
pub(super) fn is_reached_by(address: SocketAddr, listen: SocketAddr) -> bool {
    let is_same = address.ip() == listen.ip() || (listen.ip().is_unspecified() && listen.is_ipv4() == address.is_ipv4());
    address.port() != 0 && address.port() == listen.port() && is_same
}

/// A time as a configuration says it.
pub(super) fn spelled(time: Duration) -> String {
    match (time.subsec_millis(), time.as_secs()) {
        (0, days) if days >= 2 * DAY && days.is_multiple_of(DAY) => format!("{}d", days / DAY),
        (0, hours) if hours >= 7200 && hours.is_multiple_of(3600) => format!("{}h", hours / 3600),
        (0, seconds) => format!("{seconds}s"),
        _ => format!("{}ms", time.as_millis()),
    }
}

/// Seconds of a day of 24 hours.
const DAY: u64 = 86_400;

/// Reads `250ms`, `60s`, `5m`, `1h`, `400d`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 1000 * DAY,
        _ => return None,
    };
    number.checked_mul(ms).map(Duration::from_millis)
}

/// Reads `4096B`, `64KiB`, `256MiB`, `1GiB` into bytes.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(at)?;
    Some((number.parse().ok()?, unit))
}
