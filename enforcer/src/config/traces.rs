//! Where spans go.

use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;
use crate::fetch::{Reach, Roots, Url};

/// The collector of spans, and how many traces are told of.
#[derive(Clone, Debug)]
pub struct Traces {
    /// Where spans are posted.
    pub otlp: Url,
    /// Whose certificate is believed.
    pub roots: Roots,
    /// How far it may be.
    pub reach: Reach,
    /// Of traces that begin here, this part is told of: 0 to 1.
    pub sample: f64,
}

impl Traces {
    /// A random word below this means that a trace is told of.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a part of all words, in no need of precision"
    )]
    pub fn below(&self) -> u64 {
        if self.sample >= 1.0 { u64::MAX } else { (self.sample * u64::MAX as f64) as u64 }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn traces(&mut self, node: &'a Node) -> Option<Traces> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        // Collectors stand beside what they collect from; the operator names the place, not a caller.
        let reach = Reach { private_addresses: true, loopback_http: true };
        let otlp = f.require_text("otlp", &mut self.out).and_then(|text| {
            let bare = text.text.split_once("://").is_some_and(|(_, rest)| !rest.trim_end_matches('/').contains(['/', '?']));
            let whole = if bare { format!("{}/v1/traces", text.text.trim_end_matches('/')) } else { text.text.to_owned() };
            self.url(text.node, &whole, reach)
        });
        let plain = otlp.as_ref().is_some_and(|url| !url.is_https());
        let roots = f.text("ca", &mut self.out).map(|t| Roots::File(self.base.join(t.text)));
        let roots = roots.unwrap_or(if plain { Roots::Nobody } else { Roots::System });
        let sample = match f.text("sample", &mut self.out) {
            None => Some(SAMPLE),
            Some(text) => {
                let found = text.text.parse::<f64>().ok().filter(|part| (0.0..=1.0).contains(part));
                if found.is_none() {
                    self.fault(
                        text.node,
                        "invalid-value",
                        &format!("`{}` is not a part", text.text),
                        "write a number from 0 to 1, such as `0.01`",
                    );
                }
                found
            }
        };
        f.finish(&mut self.out);
        Some(Traces { otlp: otlp?, roots, reach, sample: sample? })
    }
}

/// One trace in a hundred: enough to see where time goes, little enough to keep.
const SAMPLE: f64 = 0.01;
