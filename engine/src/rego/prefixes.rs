//! Texts that are taken for the beginning of a SPIFFE ID and end within a segment: `…/ns/obs` also begins `…/ns/obs-x` (A54).
//!
//! Only literals are seen. What is computed is not guessed at.

use super::ast::{Use, text};
use super::check::Unit;
use super::place;
use crate::diagnostic::Location;
use crate::lint::is_bare_prefix;

/// Every `startswith(…, "spiffe://…")` whose text ends within a segment: the rule, the text, the place.
pub(super) fn bare(units: &[Unit<'_>]) -> Vec<(Box<str>, String, Location)> {
    let mut out = Vec::new();
    for unit in units {
        for rule in &unit.module.rules {
            for one in &rule.uses {
                let Use::Calls { name: Some(name), arguments, span } = one else { continue };
                let prefix = arguments.get(1).and_then(text).filter(|text| is_bare_prefix(text));
                if let (["startswith"], Some(prefix)) = (name.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), prefix) {
                    let id = [unit.module.package.join("."), rule.name.join(".")].join(".");
                    out.push((id.into(), prefix, place(unit.file, unit.text, span.start, span.end)));
                }
            }
        }
    }
    out
}
