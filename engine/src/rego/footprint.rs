//! What of a request a rule can read: the paths below `input` that stand in it and in everything it reaches.
//!
//! The paths come from the syntax tree, so what is passed on as a whole counts as read whole, and a computed part as every
//! part there is. The list of [`FACTS`] mirrors the document that [`super::input()`] builds; a test holds the two together.
//!
//! INVARIANT: never too small. Two requests that agree on a bounded footprint, and on caller, service and operation, have the
//! same answer.

use super::input::CLIENT_CERT;
use crate::footprint::{Footprint, Names, Reads};

/// A path below `input`; `None` where a part is computed.
pub(super) type Path = [Option<String>];

/// A fact of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fact {
    /// The caller's service, the called service, the operation: each cell has its own.
    OfTheCell,
    Principal,
    Method,
    Path,
    SourceIp,
    Time,
    /// What stands below by name is a header, a query parameter or a claim each.
    Headers,
    Query,
    Claims,
    /// As before, but only there where there is an HTTP request.
    HttpHeaders,
    HttpQuery,
}

/// Where the input document holds each fact.
const FACTS: &[(&[&str], Fact)] = &[
    (&["principal"], Fact::Principal),
    (&["service"], Fact::OfTheCell),
    (&["operation"], Fact::OfTheCell),
    (&["method"], Fact::Method),
    (&["path"], Fact::Path),
    (&["segments"], Fact::Path),
    (&["parsed_path"], Fact::Path),
    (&["port"], Fact::Path),
    (&["parsed_query"], Fact::HttpQuery),
    (&["source", "id"], Fact::Principal),
    (&["source", "service"], Fact::OfTheCell),
    (&["source", "ip"], Fact::SourceIp),
    (&["context", "time"], Fact::Time),
    (&["context", "source_ip"], Fact::SourceIp),
    (&["context", "headers"], Fact::Headers),
    (&["context", "query"], Fact::Query),
    (&["context", "jwt"], Fact::Claims),
    (&["attributes", "source", "principal"], Fact::Principal),
    (&["attributes", "source", "address"], Fact::SourceIp),
    (&["attributes", "request", "time"], Fact::Time),
    (&["attributes", "request", "http", "method"], Fact::Method),
    (&["attributes", "request", "http", "path"], Fact::Path),
    (&["attributes", "request", "http", "headers"], Fact::HttpHeaders),
];

/// Whether reading this path may read the time.
pub(super) fn may_reach_time(path: &Path) -> bool {
    FACTS.iter().any(|(place, fact)| *fact == Fact::Time && touches(path, place))
}

/// What reading this path below `input` reads. Where that may be the time, nothing is bounded: a text of the time can be
/// taken apart in any way, so no answer holds beyond its own millisecond. `at` says where it stands, for the reason.
pub(super) fn of(path: &Path, at: &str) -> Footprint {
    if may_reach_time(path) {
        let words: String = path.iter().map(|part| part.as_ref().map_or("[…]".to_owned(), |part| format!(".{part}"))).collect();
        let whole = !FACTS.iter().any(|(place, fact)| *fact == Fact::Time && path.len() >= place.len() && touches(path, place));
        let how = if whole { " as a whole, the time with it" } else { ", which is the time" };
        return Footprint::Unbounded(format!("the Rego at {at} reads `input{words}`{how}"));
    }
    let mut reads = Reads::default();
    for (place, fact) in FACTS.iter().filter(|(place, _)| touches(path, place)) {
        add(*fact, path.get(place.len()), &mut reads);
    }
    Footprint::Bounded(reads)
}

/// Whether a path leads above, to or below a place.
fn touches(path: &Path, place: &[&str]) -> bool {
    path.iter().zip(place).all(|(part, name)| part.as_deref().is_none_or(|part| part == *name))
}

/// Adds a fact. `below` is the part of the path that follows its place.
fn add(fact: Fact, below: Option<&Option<String>>, reads: &mut Reads) {
    let name = |names: &mut Names| match below {
        Some(Some(name)) => names.add(name),
        _ => *names = Names::All,
    };
    match fact {
        Fact::OfTheCell | Fact::Time => {}
        Fact::Principal => reads.principal = true,
        Fact::Method => reads.method = true,
        Fact::Path => reads.path = true,
        Fact::SourceIp => reads.source_ip = true,
        Fact::Headers => name(&mut reads.headers),
        Fact::Query => name(&mut reads.query),
        Fact::Claims => {
            reads.token = true;
            name(&mut reads.claims);
        }
        // That there is a method tells a request from a connection.
        Fact::HttpHeaders => {
            reads.method = true;
            // One of these is made of the caller's identity.
            reads.principal |= !matches!(below, Some(Some(name)) if name != CLIENT_CERT);
            name(&mut reads.headers);
        }
        Fact::HttpQuery => {
            reads.method = true;
            name(&mut reads.query);
        }
    }
}
