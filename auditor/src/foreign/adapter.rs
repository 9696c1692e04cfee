//! One adapter for each format: a line in, what it says out.

use super::envoy;
use super::json::Keys;
use super::quick::{Quick, Sketch};
use super::seen::Read;
use super::{Format, Reading};

/// Reads the lines of one format.
#[derive(Debug)]
pub(crate) struct Adapter {
    pub(crate) format: Format,
    shape: Shape,
    /// For formats of flat JSON.
    quick: Option<Quick>,
    /// The deciding bytes of the line sketched last.
    deciding: Vec<u8>,
}

#[derive(Debug)]
enum Shape {
    /// Wanted keys, then facts.
    EnvoyJson(Keys),
}

impl Adapter {
    /// The adapter of a format; `None` for our own, and for those that need a mapping.
    pub(crate) fn of(format: Format, _: &Reading) -> Option<Self> {
        let shape = match format {
            Format::EnvoyJson | Format::IstioJson => Shape::EnvoyJson(envoy::keys()),
            _ => return None,
        };
        let quick = matches!(shape, Shape::EnvoyJson(_)).then(Quick::envoy);
        Some(Self { format, shape, quick, deciding: Vec::new() })
    }

    /// Whether the line begins as lines of this format do.
    pub(crate) fn begins(&self, line: &[u8]) -> bool {
        match &self.shape {
            Shape::EnvoyJson(_) => line.trim_ascii_start().first() == Some(&b'{'),
        }
    }

    /// Reads a line.
    pub(crate) fn read<'l>(&self, line: &'l [u8]) -> Read<'l> {
        match &self.shape {
            Shape::EnvoyJson(keys) => match keys.read(line) {
                Ok(facts) => envoy::seen(facts),
                Err(why) => Read::Bad(why),
            },
        }
    }

    /// Sketches a line, where that is possible; see [`Quick`].
    #[inline]
    pub(crate) fn sketch<'l>(&mut self, line: &'l [u8], caller_address_counts: bool) -> Option<Sketch<'l>> {
        self.quick.as_mut()?.sketch(line, &mut self.deciding, caller_address_counts)
    }

    /// The deciding bytes of the line sketched last.
    pub(crate) fn deciding(&self) -> &[u8] {
        &self.deciding
    }
}
