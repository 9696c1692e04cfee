//! A prefix of SPIFFE IDs that ends within a segment: `spiffe://market.example/ns/obs` is also how `…/ns/obs-x` begins, and
//! `spiffe://market.example` how `spiffe://market.example.evil` does (A54).
//!
//! YAML patterns stand for whole segments and cannot say this. Cedar's `like "spiffe://…/obs*"` and Rego's
//! `startswith(…, "spiffe://…/obs")` can. Only literals are seen.

use serde_json::Value;

use crate::diagnostic::Diagnostic;
use crate::lint::{Findings, Lint, Linted, is_bare_prefix};

pub(super) const LINT: Lint = Lint { code: "bare-prefix", find, dated: false };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    for policy in &linted.authorizer.cedar {
        let mut prefixes = Vec::new();
        for tree in policy.policies().filter_map(|p| p.to_json().ok()) {
            likes(&tree, &mut prefixes);
        }
        for prefix in prefixes {
            out.add(&policy.id, bare(&policy.id, &prefix).at(policy.at.clone()));
        }
    }
    for (rule, prefix, at) in linted.authorizer.rego.bare_prefixes() {
        out.add(rule, bare(rule, prefix).at(at.clone()));
    }
}

fn bare(policy: &str, prefix: &str) -> Diagnostic {
    Diagnostic::warning("bare-prefix", format!("`{policy}` takes every identity that begins with `{prefix}`, also `{prefix}-x`"))
        .help(format!("end it with a slash, `{prefix}/`, or name whole segments in a YAML pattern"))
}

/// The beginnings that `like` asks for, up to the first star.
fn likes(tree: &Value, out: &mut Vec<String>) {
    match tree {
        Value::Array(items) => items.iter().for_each(|item| likes(item, out)),
        Value::Object(fields) => {
            if let Some(pattern) = fields.get("like").and_then(|like| like.get("pattern")).and_then(Value::as_array) {
                let literal = |part: &Value| part.get("Literal").and_then(Value::as_str).map(str::to_owned);
                let prefix: String = pattern.iter().map_while(literal).collect();
                let open = pattern.iter().any(|part| literal(part).is_none());
                out.extend(Some(prefix).filter(|prefix| open && is_bare_prefix(prefix)));
            }
            fields.values().for_each(|value| likes(value, out));
        }
        _ => {}
    }
}
