//! Reads `traceparent` and `tracestate` (W3C Trace Context, level 1) and nothing that only looks like them.

use crate::head::Fields;

/// What a caller says of its trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// The trace.
    pub id: [u8; 16],
    /// The caller's span.
    pub parent: [u8; 8],
    /// Whether the caller collects spans.
    pub sampled: bool,
    /// The members of `tracestate`, if all of them are well-formed.
    pub state: Option<String>,
}

impl Context {
    /// The context of a head, if it has exactly one that is well-formed.
    #[must_use]
    pub fn of(fields: &Fields<'_>) -> Option<Self> {
        let mut found = fields.named("traceparent");
        let (first, second) = (found.next()?, found.next());
        if second.is_some() {
            return None;
        }
        let (id, parent, sampled) = traceparent(first.value)?;
        Some(Self { id, parent, sampled, state: tracestate(fields) })
    }
}

fn traceparent(value: &[u8]) -> Option<([u8; 16], [u8; 8], bool)> {
    let (known, rest) = value.split_at_checked(LENGTH)?;
    let mut parts = known.split(|b| *b == b'-');
    let version: [u8; 1] = from_hex(parts.next()?)?;
    let id: [u8; 16] = from_hex(parts.next()?)?;
    let parent: [u8; 8] = from_hex(parts.next()?)?;
    let [flags] = from_hex::<1>(parts.next()?)?;
    // Version 0 has just these fields; a later one may have more after another dash. 255 is none.
    let whole = match version {
        [0] => rest.is_empty(),
        [255] => false,
        _ => matches!(rest.first(), None | Some(b'-')),
    };
    let sound = whole && parts.next().is_none() && id != [0; 16] && parent != [0; 8];
    sound.then_some((id, parent, flags & 1 == 1))
}

/// Lower case alone, as the standard has it.
fn from_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    if text.len() != 2 * N {
        return None;
    }
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(out)
}

/// All lines as one list; one bad member spoils it, because who wrote it would have to be guessed.
fn tracestate(fields: &Fields<'_>) -> Option<String> {
    let mut members: Vec<&str> = Vec::new();
    for field in fields.named("tracestate") {
        for member in std::str::from_utf8(field.value).ok()?.split(',').map(|m| m.trim_matches([' ', '\t'])) {
            if member.is_empty() {
                continue;
            }
            let (key, value) = member.split_once('=')?;
            let doubled = members.iter().any(|m| m.split_once('=').is_some_and(|(k, _)| k == key));
            if !is_key(key) || !is_value(value) || doubled || members.len() == crate::limits::TRACE_MEMBERS_MAX {
                return None;
            }
            members.push(member);
        }
    }
    let state = members.join(",");
    (!state.is_empty() && state.len() <= crate::limits::TRACE_STATE_BYTES_MAX).then_some(state)
}

fn is_key(key: &str) -> bool {
    let rest = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'*' | b'/'));
    let begins = |text: &str, digits: bool| text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || (digits && b.is_ascii_digit()));
    match key.split_once('@') {
        None => key.len() <= 256 && begins(key, false) && rest(key),
        Some((tenant, system)) => {
            tenant.len() <= 241 && begins(tenant, true) && rest(tenant) && system.len() <= 14 && begins(system, false) && rest(system)
        }
    }
}

fn is_value(value: &str) -> bool {
    let printable = value.bytes().all(|b| (0x20..=0x7e).contains(&b) && b != b',' && b != b'=');
    !value.is_empty() && value.len() <= 256 && printable && !value.ends_with(' ')
}

/// `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
const LENGTH: usize = 55;

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(lines: &[(&str, &str)]) -> Option<Context> {
        let mut fields = Fields::default();
        for (name, value) in lines {
            fields.push(name, value.as_bytes());
        }
        Context::of(&fields)
    }

    #[test]
    fn what_is_exactly_of_the_form_is_read() {
        let context = read(&[("traceparent", GOOD)]).unwrap();
        assert_eq!((context.sampled, context.parent), (true, [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 2, 0xb7]));
        for (value, sampled) in [
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", false),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true),
            ("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later", true),
        ] {
            assert_eq!(read(&[("traceparent", value)]).map(|c| c.sampled), Some(sampled), "{value}");
        }
    }

    #[test]
    fn what_is_not_is_no_context() {
        for value in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "0-04bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b\u{e4}-1",
        ] {
            assert_eq!(read(&[("traceparent", value)]), None, "{value}");
        }
        assert_eq!(read(&[("traceparent", GOOD), ("traceparent", GOOD)]), None, "two of them");
        assert_eq!(read(&[("tracestate", "a=b")]), None, "a state of nothing");
    }

    #[test]
    fn a_state_is_carried_whole_or_not_at_all() {
        let state = |lines: &[&str]| {
            let lines: Vec<_> = [("traceparent", GOOD)].into_iter().chain(lines.iter().map(|l| ("tracestate", *l))).collect();
            read(&lines).unwrap().state
        };
        let many = |n: usize| (0..n).map(|i| format!("k{i}=v")).collect::<Vec<_>>().join(",");
        assert_eq!(state(&["a=1 , b=2", "", "0t@s=x y"]).as_deref(), Some("a=1,b=2,0t@s=x y"));
        assert_eq!(state(&[&many(32)]), Some(many(32)));
        for bad in ["a", "A=1", "=1", "a=", "a=1,a=2", "a=b=c", "a=\u{e4}", "a@B=1", "1a=1", &many(33), &format!("a={}", "x".repeat(257))] {
            assert_eq!(state(&[bad]), None, "{bad}");
        }
        assert_eq!(state(&[&format!("a={0},b={0}", "x".repeat(256))]), None, "longer than it may be");
        assert_eq!(state(&[]), None);
    }
}
