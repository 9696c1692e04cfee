//! How mutual TLS is spoken.

use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;
use crate::tls::MinVersion;

/// How mutual TLS is spoken, in and out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The oldest version.
    pub min_version: MinVersion,
}

impl<'a> Reader<'a> {
    pub(super) fn tls(&mut self, node: &'a Node) -> Option<Tls> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let known = [("1.2", MinVersion::Tls12), ("1.3", MinVersion::Tls13)];
        let min_version = self.word(&mut f, "min_version", &known, MinVersion::default());
        f.finish(&mut self.out);
        Some(Tls { min_version: min_version? })
    }
}
