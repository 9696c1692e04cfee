//! Kinds of path: two paths are of one kind if the same patterns match them.
//!
//! Path templates and patterns over SPIFFE IDs are both words of whole segments: a literal, any one segment, or a rest. The
//! search walks all patterns at once, segment by segment, with each literal that is named at that place, one that is named
//! nowhere, and (for request paths) the empty last segment. Where it arrives twice with the same patterns still open it goes on
//! once. So it finds every kind there is, each with one path, and none that no path has.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::algebra::diagram::TooLarge;
use crate::limits::WORD_STEPS_MAX;

/// One segment of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Symbol<'a> {
    Literal(&'a str),
    /// One segment that is not empty.
    Any,
    /// One or more segments, the first of them not empty; only at the end.
    Rest,
}

/// The patterns that match, by position, and a path that they match.
pub(crate) type Kinds = BTreeMap<Vec<u32>, Vec<String>>;

/// A pattern that has matched so far, and whether its rest has begun.
type Open = (u32, bool);

/// Every kind of path. `may_end_empty` says whether the last segment of a path may be empty.
pub(crate) fn kinds(patterns: &[Vec<Symbol<'_>>], may_end_empty: bool) -> Result<Kinds, TooLarge> {
    let mut search = Search { patterns, fresh: fresh(patterns), may_end_empty, steps: 0, seen: BTreeSet::new(), found: Kinds::new() };
    let mut start = Vec::with_capacity(patterns.len());
    for number in 0..patterns.len() {
        start.push((u32::try_from(number).map_err(|_| TooLarge)?, false));
    }
    let mut waiting = VecDeque::from([(start, Vec::<String>::new())]);
    while let Some((open, path)) = waiting.pop_front() {
        search.step(&open, &path, &mut waiting)?;
    }
    Ok(search.found)
}

/// A segment that no pattern names.
fn fresh(patterns: &[Vec<Symbol<'_>>]) -> String {
    let literals: BTreeSet<&str> =
        patterns.iter().flatten().filter_map(|s| if let Symbol::Literal(text) = s { Some(*text) } else { None }).collect();
    (0_u32..).map(|n| if n == 0 { "x".to_owned() } else { format!("x{n}") }).find(|t| !literals.contains(t.as_str())).unwrap_or_default()
}

struct Search<'a> {
    patterns: &'a [Vec<Symbol<'a>>],
    fresh: String,
    may_end_empty: bool,
    steps: usize,
    seen: BTreeSet<(usize, Vec<Open>)>,
    found: Kinds,
}

impl<'a> Search<'a> {
    /// Goes one segment on, in every way that differs.
    fn step(&mut self, open: &[Open], path: &[String], waiting: &mut VecDeque<(Vec<Open>, Vec<String>)>) -> Result<(), TooLarge> {
        self.steps += open.len() + 1;
        if self.steps > WORD_STEPS_MAX {
            return Err(TooLarge);
        }
        let depth = path.len();
        let (mut by_literal, mut wide, mut resting): (BTreeMap<&'a str, Vec<Open>>, Vec<Open>, Vec<Open>) = Default::default();
        for (number, in_rest) in open.iter().copied() {
            if in_rest {
                resting.push((number, true));
                continue;
            }
            match self.patterns.get(number as usize).and_then(|p| p.get(depth)) {
                Some(Symbol::Literal(text)) => by_literal.entry(text).or_default().push((number, false)),
                Some(Symbol::Any) => wide.push((number, false)),
                Some(Symbol::Rest) => wide.push((number, true)),
                None => {}
            }
        }
        let empty = by_literal.remove("").unwrap_or_default();
        if self.may_end_empty {
            let next = joined([empty.as_slice(), &resting]);
            self.arrive(&next, path, "");
        }
        let fresh = self.fresh.clone();
        let others = by_literal.iter().map(|(text, own)| (*text, own.as_slice()));
        for (segment, own) in std::iter::once((fresh.as_str(), &[][..])).chain(others) {
            let next = joined([own, &wide, &resting]);
            let longer = self.arrive(&next, path, segment);
            // Where every open pattern is in its rest, and where none is open, nothing new can come.
            let on = next.iter().any(|(_, in_rest)| !in_rest);
            if on && self.seen.insert((depth + 1, next.clone())) {
                waiting.push_back((next, longer));
            }
        }
        Ok(())
    }

    /// Notes which patterns end here; returns the path to here.
    fn arrive(&mut self, open: &[Open], path: &[String], segment: &str) -> Vec<String> {
        let mut longer = path.to_vec();
        longer.push(segment.to_owned());
        let ends = |number: &u32| self.patterns.get(*number as usize).is_some_and(|p| p.len() == longer.len());
        let matching: Vec<u32> = open.iter().filter(|(number, in_rest)| *in_rest || ends(number)).map(|(number, _)| *number).collect();
        self.found.entry(matching).or_insert_with(|| longer.clone());
        longer
    }
}

fn joined<const N: usize>(parts: [&[Open]; N]) -> Vec<Open> {
    let mut out: Vec<Open> = parts.into_iter().flatten().copied().collect();
    out.sort_unstable();
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::path::CanonicalPath;
    use crate::template::{PathTemplate, Segment};

    fn word(template: &PathTemplate) -> Vec<Symbol<'_>> {
        let mut out = Vec::new();
        for segment in template.segments() {
            out.push(match segment {
                Segment::Literal(text) => Symbol::Literal(text),
                Segment::Parameter { .. } => Symbol::Any,
                Segment::Rest { .. } => Symbol::Rest,
            });
        }
        out
    }

    fn matching(templates: &[PathTemplate], path: &str) -> Vec<u32> {
        let path = CanonicalPath::parse(path).unwrap();
        templates.iter().enumerate().filter(|(_, t)| t.matches(&path)).map(|(n, _)| u32::try_from(n).unwrap()).collect()
    }

    proptest! {
        #[test]
        fn every_path_is_of_a_kind_that_was_found_and_every_kind_has_its_path(
            templates in prop::collection::vec("(/(a|b|\\{x\\})){0,3}(/|/a|/\\{x\\}|/\\{r\\*\\})", 0..8),
            paths in prop::collection::vec("(/(a|b|c)){0,5}/(a|b|c)?", 1..30),
        ) {
            let mut read: Vec<PathTemplate> = Vec::new();
            for text in templates {
                let mut parts = text.split("{x}");
                let mut named = parts.next().unwrap().to_owned();
                for (n, part) in parts.enumerate() {
                    named.push_str(&format!("{{p{n}}}{part}"));
                }
                read.push(named.parse().unwrap());
            }
            let words: Vec<_> = read.iter().map(word).collect();
            let found = kinds(&words, true).unwrap();
            for (kind, path) in &found {
                let path = format!("/{}", path.join("/"));
                prop_assert_eq!(&matching(&read, &path), kind, "{}", path);
            }
            for path in paths {
                prop_assert!(found.contains_key(&matching(&read, &path)), "{} {:?}", path, read);
            }
        }
    }

    #[test]
    fn what_is_shadowed_wholly_has_no_kind_of_its_own() {
        let templates: Vec<PathTemplate> = ["/f/{r*}", "/f/{a}", "/f/{a}/{r*}", "/f/{a}/"].iter().map(|t| t.parse().unwrap()).collect();
        let words: Vec<_> = templates.iter().map(word).collect();
        assert!(kinds(&words, true).unwrap().keys().all(|kind| *kind != [0]));
    }
}
