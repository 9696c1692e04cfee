//! Path → operation: a trie over whole segments, literal before `{x}` before `{rest*}`, segment by segment.
//!
//! The order is the one that INTERFACES promises, and no two templates of equal rank can be entered. A radix router off the
//! shelf (matchit) refuses `{x}` beside `{rest*}` in one place, which the order just named makes unambiguous.
//!
//! INVARIANT: a look-up visits each node at most once, so its cost is bounded by the inventory, never by the path; it
//! allocates nothing.

use std::collections::BTreeMap;

use crate::path::CanonicalPath;
use crate::template::{PathTemplate, Segment};

/// The templates of one service and method.
#[derive(Debug)]
pub(crate) struct Router {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    literals: BTreeMap<Box<str>, usize>,
    parameter: Option<usize>,
    /// The operation of a template that ends here.
    here: Option<usize>,
    /// The operation of a template whose `{rest*}` begins here.
    rest: Option<usize>,
}

impl Router {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// Enters a template.
    ///
    /// # Errors
    /// The operation that has a template of the same shape already.
    pub(crate) fn insert(&mut self, template: &PathTemplate, operation: usize) -> Result<(), usize> {
        let mut at = ROOT;
        for segment in template.segments() {
            at = match segment {
                Segment::Rest { .. } => return self.end(at, operation, |node| &mut node.rest),
                Segment::Literal(text) => self.child(at, |node, next| *node.literals.entry(text.clone()).or_insert(next)),
                Segment::Parameter { .. } => self.child(at, |node, next| *node.parameter.get_or_insert(next)),
            };
        }
        self.end(at, operation, |node| &mut node.here)
    }

    /// The child that `take` finds or puts in place, given the number that a new node would have.
    fn child(&mut self, at: usize, take: impl Fn(&mut Node, usize) -> usize) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else { return at };
        let child = take(node, next);
        if child == next {
            self.nodes.push(Node::default());
        }
        child
    }

    fn end(&mut self, at: usize, operation: usize, place: impl Fn(&mut Node) -> &mut Option<usize>) -> Result<(), usize> {
        match self.nodes.get_mut(at).map(place) {
            Some(Some(first)) => Err(*first),
            Some(free) => {
                *free = Some(operation);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The operation that a path reaches.
    pub(crate) fn find(&self, path: &CanonicalPath) -> Option<usize> {
        self.descend(ROOT, path.as_str().get(1..)?)
    }

    /// Looks from a node on with what is left of the path: at least one segment, perhaps an empty one.
    fn descend(&self, at: usize, left: &str) -> Option<usize> {
        let node = self.nodes.get(at)?;
        let (segment, rest) = left.split_once('/').map_or((left, None), |(segment, rest)| (segment, Some(rest)));
        let onward = |child: usize| match rest {
            Some(rest) => self.descend(child, rest),
            None => self.nodes.get(child)?.here,
        };
        let literal = node.literals.get(segment).copied().and_then(onward);
        let parameter = || node.parameter.filter(|_| !segment.is_empty()).and_then(onward);
        literal.or_else(parameter).or_else(|| node.rest.filter(|_| !left.is_empty()))
    }
}

const ROOT: usize = 0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn router(templates: &[&str]) -> Router {
        let mut router = Router::new();
        for (n, template) in templates.iter().enumerate() {
            router.insert(&template.parse().unwrap(), n).unwrap();
        }
        router
    }

    #[test]
    fn literal_before_parameter_before_rest() {
        let templates = ["/f/{x}", "/f/{rest*}", "/f/b/{rest*}", "/f/{x}/c", "/f/{y}/c/d", "/f/lit", "/f/", "/", "/{a}/{b}/{c}/{d}"];
        let router = router(&templates);
        for (path, want) in [
            ("/f/1", Some("/f/{x}")),
            ("/f/lit", Some("/f/lit")),
            ("/f/b/q", Some("/f/b/{rest*}")),
            ("/f/b/c", Some("/f/b/{rest*}")),
            ("/f/1/c", Some("/f/{x}/c")),
            ("/f/1/c/d", Some("/f/{y}/c/d")),
            ("/f/1/x/y", Some("/f/{rest*}")),
            ("/f/b", Some("/f/{x}")),
            ("/f/b/", Some("/f/{rest*}")),
            ("/f/", Some("/f/")),
            ("/f", None),
            ("/", Some("/")),
            ("/g/1/2/3", Some("/{a}/{b}/{c}/{d}")),
            ("/g/1/2/", None),
        ] {
            let found = router.find(&CanonicalPath::parse(path).unwrap()).map(|n| templates[n]);
            assert_eq!(found, want, "{path}");
        }
    }

    #[test]
    fn equal_rank_is_refused() {
        for (a, b) in [("/x/{a}", "/x/{b}"), ("/{a*}", "/{b*}"), ("/x", "/x"), ("/{a}/y/{r*}", "/{b}/y/{s*}")] {
            let mut router = Router::new();
            router.insert(&a.parse().unwrap(), 7).unwrap();
            assert_eq!(router.insert(&b.parse().unwrap(), 8), Err(7), "{a} {b}");
        }
    }

    /// The definition, said naively: of the templates that match, the one that is first segment by segment.
    fn naive(templates: &[PathTemplate], path: &CanonicalPath) -> Option<usize> {
        let rank = |template: &PathTemplate| -> Vec<u8> {
            let one = |segment: &Segment| match segment {
                Segment::Literal(_) => 0,
                Segment::Parameter { .. } => 1,
                Segment::Rest { .. } => 2,
            };
            template.segments().iter().map(one).collect()
        };
        let fitting = templates.iter().enumerate().filter(|(_, t)| t.matches(path));
        fitting.min_by_key(|(_, t)| rank(t)).map(|(n, _)| n)
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(
            templates in prop::collection::vec("(/(a|b|\\{x\\})){0,4}(/|/a|/\\{x\\}|/\\{r\\*\\})", 1..12),
            paths in prop::collection::vec("(/(a|b|c)){0,5}/(a|b|c)?", 1..20),
        ) {
            let mut router = Router::new();
            let mut entered: Vec<PathTemplate> = Vec::new();
            for text in templates {
                // Parameters of one template need names of their own.
                let mut n = 0;
                let text: String = text.split("{x}").map(|part| { n += 1; format!("{part}{{p{n}}}") }).collect();
                let text = text.strip_suffix(&format!("{{p{n}}}")).unwrap().to_owned();
                let template: PathTemplate = text.parse().unwrap();
                if router.insert(&template, entered.len()).is_ok() {
                    entered.push(template);
                }
            }
            for path in paths {
                let path = CanonicalPath::parse(&path).unwrap();
                prop_assert_eq!(router.find(&path), naive(&entered, &path), "{} {:?}", path, entered);
            }
        }
    }
}
