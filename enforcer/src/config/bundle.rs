//! Where the policy comes from.

use std::path::PathBuf;

use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;

impl<'a> Reader<'a> {
    pub(super) fn bundle(&mut self, node: &'a Node) -> Option<(PathBuf, Option<PathBuf>)> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        for name in ["url", "poll", "max_age"] {
            if f.take(name).is_some() {
                self.fault(
                    f.key(name).unwrap_or(node),
                    "unsupported",
                    &format!("`bundle.{name}` is not supported yet"),
                    "give a directory: `bundle: {path: …}`, or a signed file: `bundle: {path: …, key: …}`",
                );
            }
        }
        let path = f.require_text("path", &mut self.out).map(|t| self.base.join(t.text));
        let key = f.text("key", &mut self.out).map(|t| self.base.join(t.text));
        f.finish(&mut self.out);
        Some((path?, key))
    }
}
