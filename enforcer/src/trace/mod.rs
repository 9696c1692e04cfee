//! Traces: the W3C context of a request, carried or begun, and the spans that tell of it.
//!
//! Never decides and never holds a request up: what a caller says of its trace is checked strictly and then believed for what it
//! is, a name. INVARIANT: a context that is not exactly of the form is not forwarded; a new trace begins instead.

mod context;
mod export;
mod otlp;

use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};

pub use context::Context;
pub use export::{Exporter, Spans};
pub use otlp::Span;

use crate::clock::NoRandom;
use crate::head::{Fields, Lines};

/// Takes up and begins traces, and collects the spans that are asked for.
#[derive(Debug)]
pub struct Traces {
    ids: Ids,
    spans: Option<Spans>,
}

/// The trace of one request, with our own span in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace.
    pub id: [u8; 16],
    /// Our span.
    pub span: [u8; 8],
    /// The caller's span.
    pub parent: Option<[u8; 8]>,
    /// Whether spans of it are collected.
    pub sampled: bool,
    /// What others added, as it came.
    state: Option<String>,
}

impl Traces {
    /// Spans go to `spans`, where there is one.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub fn new(spans: Option<Spans>) -> Result<Self, NoRandom> {
        Ok(Self { ids: Ids::new()?, spans })
    }

    /// Takes the context out of a head, or begins a trace.
    pub fn take(&self, fields: &mut Fields<'_>) -> Trace {
        let found = Context::of(fields);
        fields.retain(|f| !f.is(TRACEPARENT) && !f.is(TRACESTATE));
        let span = self.ids.span();
        match found {
            Some(Context { id, parent, sampled, state }) => Trace { id, span, parent: Some(parent), sampled, state },
            None => {
                let (id, sampled) = self.ids.trace();
                let sampled = self.spans.as_ref().is_some_and(|spans| spans.samples(sampled));
                Trace { id, span, parent: None, sampled, state: None }
            }
        }
    }

    /// Collects a span.
    pub fn collect(&self, span: Span) {
        if let Some(spans) = &self.spans {
            spans.push(span);
        }
    }

    /// Whether a span of this trace is to be collected. It is made only then.
    #[must_use]
    pub fn wants(&self, trace: &Trace) -> bool {
        trace.sampled && self.spans.is_some()
    }
}

impl Trace {
    /// The trace's id as records and headers have it.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.id)
    }

    /// Adds the context to the lines of a head: our span is the parent of what comes next.
    pub fn write(&self, lines: &mut Lines) {
        let flags = if self.sampled { "-01" } else { "-00" };
        lines.push_parts(TRACEPARENT, &[b"00-", &digits::<32>(&self.id), b"-", &digits::<16>(&self.span), flags.as_bytes()]);
        if let Some(state) = &self.state {
            lines.push(TRACESTATE, state.as_bytes());
        }
    }
}

/// Ids of traces and spans: random enough that two processes never meet, and without a system call for each.
#[derive(Debug)]
struct Ids {
    seed: [u64; 2],
    next: AtomicU64,
}

impl Ids {
    fn new() -> Result<Self, NoRandom> {
        let mut bytes = [0; 24];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandom)?;
        let mut words = bytes.chunks_exact(8).map(|word| word.iter().fold(0_u64, |n, byte| (n << 8) | u64::from(*byte)));
        let mut word = || words.next().unwrap_or_default();
        Ok(Self { seed: [word(), word()], next: AtomicU64::new(word()) })
    }

    fn word(&self, seed: u64) -> u64 {
        // The finaliser of SplitMix64 over a count: each word once in 2^64, and none that tells the next.
        let mut z = self.next.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed) ^ seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn span(&self) -> [u8; 8] {
        // All zeros is no id.
        self.word(self.seed[0]).max(1).to_be_bytes()
    }

    /// A new trace, and the word by which it is sampled or not.
    fn trace(&self) -> ([u8; 16], u64) {
        let (high, low) = (self.word(self.seed[0]), self.word(self.seed[1]).max(1));
        ((u128::from(high) << 64 | u128::from(low)).to_be_bytes(), low)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut out = vec![b'0'; 2 * bytes.len()];
    write_digits(bytes, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

/// The first `N` digits of `bytes`.
fn digits<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [b'0'; N];
    write_digits(bytes, &mut out);
    out
}

fn write_digits(bytes: &[u8], out: &mut [u8]) {
    let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
    for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
}

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_carried_with_our_span_in_the_place_of_the_callers() {
        let traces = Traces::new(None).unwrap();
        let mut fields = Fields::default();
        fields.push("Traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        fields.push("tracestate", b"congo=t61rcWkgMzE, rojo=00f067aa0ba902b7");
        fields.push("accept", b"*/*");
        let trace = traces.take(&mut fields);
        assert_eq!(trace.hex(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(fields.len(), 1);
        let mut lines = Lines::of(&fields);
        trace.write(&mut lines);
        let written: Vec<_> =
            lines.iter().map(|(n, v)| (String::from_utf8_lossy(n).into_owned(), String::from_utf8_lossy(v).into_owned())).collect();
        assert_eq!(written[1].1, format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", hex(&trace.span)));
        assert_ne!(hex(&trace.span), "00f067aa0ba902b7");
        assert_eq!(written[2], ("tracestate".to_owned(), "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7".to_owned()));
    }

    #[test]
    fn a_malformed_one_begins_a_new_trace_and_ids_do_not_meet() {
        let traces = Traces::new(None).unwrap();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            let mut fields = Fields::default();
            fields.push("traceparent", b"00-00000000000000000000000000000000-00f067aa0ba902b7-01");
            fields.push("tracestate", b"a=b");
            let trace = traces.take(&mut fields);
            assert!(!trace.sampled && trace.parent.is_none() && trace.state.is_none() && fields.is_empty());
            assert!(seen.insert(trace.hex()) && seen.insert(hex(&trace.span)));
        }
    }
}
