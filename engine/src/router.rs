//! Path → operation: a trie over whole segments, literal before `{x}` before `{rest*}`, segment by segment.
//!
//! The order is the one that INTERFACES promises, and no two templates of equal rank can be entered. A radix router off the
//! shelf (matchit) refuses `{x}` beside `{rest*}` in one place, which the order just named makes unambiguous.
//!
//! INVARIANT: a look-up visits each node at most once, so its cost is bounded by the inventory, never by the path; it
//! allocates nothing.

use crate::path::PathRef;
use crate::template::{PathTemplate, Segment};

/// The templates of one service and method.
#[derive(Debug)]
pub(crate) struct Router {
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    /// By length, then by bytes: most comparisons end with the length.
    literals: Vec<(Box<str>, u32)>,
    parameter: Option<u32>,
    /// The operation of a template that ends here.
    here: Option<u32>,
    /// The operation of a template whose `{rest*}` begins here.
    rest: Option<u32>,
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
                Segment::Literal(text) => self.child(at, |node, next| node.literal_or(text, next)),
                Segment::Parameter { .. } => self.child(at, |node, next| *node.parameter.get_or_insert(next)),
            };
        }
        self.end(at, operation, |node| &mut node.here)
    }

    /// The child that `take` finds or puts in place, given the number that a new node would have.
    fn child(&mut self, at: u32, take: impl Fn(&mut Node, u32) -> u32) -> u32 {
        let next = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        let Some(node) = self.nodes.get_mut(at as usize) else { return at };
        let child = take(node, next);
        if child == next {
            self.nodes.push(Node::default());
        }
        child
    }

    fn end(&mut self, at: u32, operation: usize, place: impl Fn(&mut Node) -> &mut Option<u32>) -> Result<(), usize> {
        match self.nodes.get_mut(at as usize).map(place) {
            Some(Some(first)) => Err(*first as usize),
            Some(free) => {
                *free = u32::try_from(operation).ok();
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The operation that a path reaches.
    pub(crate) fn find(&self, path: PathRef<'_>) -> Option<usize> {
        self.descend(ROOT, path.as_str().get(1..)?).map(|operation| operation as usize)
    }

    /// Looks from a node on with what is left of the path: at least one segment, perhaps an empty one.
    fn descend(&self, at: u32, left: &str) -> Option<u32> {
        let node = self.nodes.get(at as usize)?;
        let (segment, rest) = match left.bytes().position(|b| b == b'/') {
            Some(slash) => (left.get(..slash)?, left.get(slash + 1..)),
            None => (left, None),
        };
        let onward = |child: u32| match rest {
            Some(rest) => self.descend(child, rest),
            None => self.nodes.get(child as usize)?.here,
        };
        let literal = node.literal(segment).and_then(onward);
        let parameter = || node.parameter.filter(|_| !segment.is_empty()).and_then(onward);
        literal.or_else(parameter).or_else(|| node.rest.filter(|_| !left.is_empty()))
    }
}

impl Node {
    fn search(&self, text: &str) -> Result<usize, usize> {
        self.literals.binary_search_by(|(have, _)| have.len().cmp(&text.len()).then_with(|| (**have).cmp(text)))
    }

    fn literal(&self, text: &str) -> Option<u32> {
        // A short list is looked through faster than it is searched.
        if self.literals.len() <= FEW {
            return self.literals.iter().find(|(have, _)| **have == *text).map(|(_, child)| *child);
        }
        self.search(text).ok().and_then(|at| self.literals.get(at)).map(|(_, child)| *child)
    }

    /// The child behind a literal, put in place with this number if it is new.
    fn literal_or(&mut self, text: &str, next: u32) -> u32 {
        match self.search(text) {
            Ok(at) => self.literals.get(at).map_or(next, |(_, child)| *child),
            Err(at) => {
                self.literals.insert(at, (text.into(), next));
                next
            }
        }
    }
}

const ROOT: u32 = 0;

/// Literals of a node that are looked through one by one.
const FEW: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::path::CanonicalPath;

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
            let found = router.find(CanonicalPath::parse(path).unwrap().borrowed()).map(|n| templates[n]);
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
                prop_assert_eq!(router.find(path.borrowed()), naive(&entered, &path), "{} {:?}", path, entered);
            }
        }
    }
}
