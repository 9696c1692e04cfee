//! Cedar: the schema that the inventory implies, the entities, the policies of `.cedar` files, and the lowered form of YAML
//! permissions.
//!
//! A policy's scope goes into the decision table; only its conditions are evaluated here, and only for requests that the
//! scope covers.

pub(crate) mod analysis;
mod complaints;
#[cfg(test)]
mod corpus_tests;
pub(crate) mod entities;
mod fold;
pub(crate) mod governance;
pub(crate) mod lower;
pub(crate) mod policies;
pub(crate) mod schema;
mod scopes;
pub(crate) mod tokens;

use std::fmt::Write as _;

/// A text as a Cedar string literal, quotes included.
pub(crate) fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The group that every service of the inventory is in.
pub(crate) const ANY_AUTHENTICATED: &str = "any-authenticated";
