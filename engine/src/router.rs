//! Path → operation: a trie over whole segments, literal before `{x}` before `{rest*}`, segment by segment.
//!
//! The order is the one that INTERFACES promises, and no two templates of equal rank can be entered. A radix router off the
//! shelf (matchit) refuses `{x}` beside `{rest*}` in one place, which the order just named makes unambiguous.
//!
//! INVARIANT: a look-up visits each node at most once, so its cost is bounded by the inventory, never by the path; it
//! allocates nothing. All services share one arena of nodes, so that a look-up touches few places in memory.

use std::collections::BTreeMap;

use crate::path::PathRef;
use crate::template::{PathTemplate, Segment};

/// The templates of one service and method, while they are gathered.
#[derive(Debug)]
pub(crate) struct Templates {
    nodes: Vec<Draft>,
}

#[derive(Debug, Default)]
struct Draft {
    literals: BTreeMap<Box<str>, usize>,
    parameter: Option<usize>,
    /// The operation of a template that ends here.
    here: Option<usize>,
    /// The operation of a template whose `{rest*}` begins here.
    rest: Option<usize>,
}

impl Templates {
    pub(crate) fn new() -> Self {
        Self { nodes: vec![Draft::default()] }
    }

    /// Enters a template.
    ///
    /// # Errors
    /// The operation that has a template of the same shape already.
    pub(crate) fn insert(&mut self, template: &PathTemplate, operation: usize) -> Result<(), usize> {
        let mut at = 0;
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
    fn child(&mut self, at: usize, take: impl Fn(&mut Draft, usize) -> usize) -> usize {
        let next = self.nodes.len();
        let Some(node) = self.nodes.get_mut(at) else { return at };
        let child = take(node, next);
        if child == next {
            self.nodes.push(Draft::default());
        }
        child
    }

    fn end(&mut self, at: usize, operation: usize, place: impl Fn(&mut Draft) -> &mut Option<usize>) -> Result<(), usize> {
        match self.nodes.get_mut(at).map(place) {
            Some(Some(first)) => Err(*first),
            Some(free) => {
                *free = Some(operation);
                Ok(())
            }
            None => Ok(()),
        }
    }
}

/// The templates of all services and methods.
#[derive(Debug, Default)]
pub(crate) struct Router {
    nodes: Vec<Node>,
    literals: Vec<Literal>,
    /// The literal that leads to a node, where its word does not say it all.
    long: BTreeMap<u32, Box<str>>,
}

/// Where the templates of one service and method begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Root(Link);

/// The number of a node or operation, or [`NONE`].
type Link = u32;

const NONE: Link = u32::MAX;

#[derive(Clone, Copy, Debug)]
struct Node {
    literals_from: u32,
    literals_to: u32,
    parameter: Link,
    here: Link,
    rest: Link,
}

/// A literal segment and the child behind it.
#[derive(Clone, Copy, Debug)]
struct Literal {
    word: Word,
    child: Link,
}

impl Root {
    /// No templates at all.
    pub(crate) const NOWHERE: Self = Self(NONE);
}

impl Router {
    /// Takes the templates of one service and method in.
    pub(crate) fn add(&mut self, templates: Templates) -> Root {
        let base = self.nodes.len();
        let link = |node: usize| u32::try_from(base + node).unwrap_or(NONE);
        let operation = |operation: Option<usize>| operation.and_then(|o| u32::try_from(o).ok()).unwrap_or(NONE);
        for draft in templates.nodes {
            let literals_from = u32::try_from(self.literals.len()).unwrap_or(NONE);
            for (text, child) in draft.literals {
                let (word, child) = (Word::of(text.as_bytes()), link(child));
                self.literals.push(Literal { word, child });
                if !word.is_whole() {
                    self.long.insert(child, text);
                }
            }
            if let Some(own) = self.literals.get_mut(literals_from as usize..) {
                own.sort_unstable_by_key(|literal| literal.word);
            }
            self.nodes.push(Node {
                literals_from,
                literals_to: u32::try_from(self.literals.len()).unwrap_or(NONE),
                parameter: draft.parameter.map_or(NONE, link),
                here: operation(draft.here),
                rest: operation(draft.rest),
            });
        }
        Root(link(0))
    }

    /// The operation that a path reaches.
    pub(crate) fn find(&self, root: Root, path: PathRef<'_>) -> Option<usize> {
        let found = self.descend(root.0, path.as_str().as_bytes().get(1..)?);
        (found != NONE).then_some(found as usize)
    }

    /// Looks from a node on with what is left of the path: at least one segment, perhaps an empty one.
    fn descend(&self, at: Link, left: &[u8]) -> Link {
        let Some(node) = self.nodes.get(at as usize) else { return NONE };
        let (segment, rest) = match slash(left) {
            Some(slash) => (left.get(..slash).unwrap_or_default(), left.get(slash + 1..)),
            None => (left, None),
        };
        let onward = |child: Link| match rest {
            Some(rest) => self.descend(child, rest),
            None => self.nodes.get(child as usize).map_or(NONE, |node| node.here),
        };
        let mut found = onward(self.literal(node, segment));
        if found == NONE && node.parameter != NONE && !segment.is_empty() {
            found = onward(node.parameter);
        }
        if found == NONE && !left.is_empty() { node.rest } else { found }
    }

    /// The child behind a literal.
    fn literal(&self, node: &Node, text: &[u8]) -> Link {
        let literals = self.literals.get(node.literals_from as usize..node.literals_to as usize).unwrap_or_default();
        if literals.is_empty() {
            return NONE;
        }
        let word = Word::of(text);
        // A short list is looked through faster than it is searched.
        let near = if literals.len() <= FEW {
            literals
        } else {
            let from = literals.partition_point(|literal| literal.word < word);
            let same = literals.get(from..).unwrap_or_default();
            same.get(..same.partition_point(|literal| literal.word == word)).unwrap_or_default()
        };
        let whole = |child: &Link| word.is_whole() || self.long.get(child).is_some_and(|long| long.as_bytes() == text);
        near.iter().filter(|literal| literal.word.is(word)).map(|literal| literal.child).find(whole).unwrap_or(NONE)
    }
}

/// Where the first slash is, eight bytes at a time.
fn slash(bytes: &[u8]) -> Option<usize> {
    const SLASHES: u64 = u64::from_le_bytes([b'/'; 8]);
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        // A byte that is a slash becomes zero; the lowest zero byte is the first one with its high bit set here.
        let differs = u64::from_le_bytes(*word) ^ SLASHES;
        let zeros = differs.wrapping_sub(ONES) & !differs & (ONES << 7);
        if zeros != 0 {
            return Some(8 * at + zeros.trailing_zeros() as usize / 8);
        }
    }
    rest.iter().position(|byte| *byte == b'/').map(|at| 8 * words.len() + at)
}

/// The length, the first and the last eight bytes of a text: all of it, up to sixteen bytes. Words are compared without
/// following a pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Word {
    first: u64,
    last: u64,
    length: u32,
}

impl Word {
    fn of(bytes: &[u8]) -> Self {
        let (first, last) = match (bytes.first_chunk(), bytes.last_chunk()) {
            (Some(first), Some(last)) => (u64::from_le_bytes(*first), u64::from_le_bytes(*last)),
            // At most seven bytes.
            _ => (bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)), 0),
        };
        Self { first, last, length: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }
    }

    /// Whether the two are equal, without a branch for each part.
    const fn is(self, other: Self) -> bool {
        (self.first ^ other.first) | (self.last ^ other.last) | (self.length ^ other.length) as u64 == 0
    }

    /// Whether it says all of the text.
    const fn is_whole(self) -> bool {
        self.length <= 16
    }
}

/// Literals of a node that are looked through one by one.
const FEW: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::path::CanonicalPath;

    /// A router with other services around the one asked.
    fn finished(templates: Templates) -> (Router, Root) {
        let mut router = Router::default();
        let other = || {
            let mut other = Templates::new();
            other.insert(&"/{x}/{rest*}".parse().unwrap(), 99).unwrap();
            other
        };
        router.add(other());
        let root = router.add(templates);
        router.add(other());
        (router, root)
    }

    #[test]
    fn literal_before_parameter_before_rest() {
        let templates = ["/f/{x}", "/f/{rest*}", "/f/b/{rest*}", "/f/{x}/c", "/f/{y}/c/d", "/f/lit", "/f/", "/", "/{a}/{b}/{c}/{d}"];
        let mut gathered = Templates::new();
        for (n, template) in templates.iter().enumerate() {
            gathered.insert(&template.parse().unwrap(), n).unwrap();
        }
        let (router, root) = finished(gathered);
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
            let found = router.find(root, CanonicalPath::parse(path).unwrap().borrowed()).map(|n| templates[n]);
            assert_eq!(found, want, "{path}");
        }
    }

    #[test]
    fn literals_of_every_length_are_told_apart() {
        let texts: Vec<String> = (0..40_usize)
            .flat_map(|n| {
                [format!("/{}", "a".repeat(n + 1)), format!("/{}x{}", "a".repeat(n), "a".repeat(n)), format!("/{}b", "a".repeat(n))]
            })
            .collect();
        let templates: Vec<&str> = texts.iter().map(String::as_str).collect();
        let mut gathered = Templates::new();
        let mut entered = Vec::new();
        for (n, template) in templates.iter().enumerate() {
            if gathered.insert(&template.parse().unwrap(), n).is_ok() {
                entered.push((n, *template));
            }
        }
        let (router, root) = finished(gathered);
        for (n, template) in &entered {
            assert_eq!(router.find(root, CanonicalPath::parse(template).unwrap().borrowed()), Some(*n), "{template}");
            let near = format!("{}c", template.strip_suffix(|_| true).unwrap());
            assert_eq!(router.find(root, CanonicalPath::parse(&near).unwrap().borrowed()), None, "{near}");
        }
    }

    #[test]
    fn long_literals_that_begin_and_end_alike_are_told_apart() {
        let texts: Vec<String> = (0..60).map(|n| format!("/beginning-{n:02}-and-the-ending")).collect();
        let mut gathered = Templates::new();
        for (n, text) in texts.iter().enumerate() {
            gathered.insert(&text.parse().unwrap(), n).unwrap();
        }
        let (router, root) = finished(gathered);
        for (n, text) in texts.iter().enumerate() {
            assert_eq!(router.find(root, CanonicalPath::parse(text).unwrap().borrowed()), Some(n), "{text}");
        }
        assert_eq!(router.find(root, CanonicalPath::parse("/beginning-xx-and-the-ending").unwrap().borrowed()), None);
    }

    #[test]
    fn the_first_slash_is_found_wherever_it_is() {
        for length in 0..40 {
            for at in (0..=length).map(|at| (at < length).then_some(at)) {
                // Bytes next to the slash's in value, and of the upper half, must not be taken for it.
                let mut bytes: Vec<u8> = (0..length).map(|n| [b'.', b'0', 0xaf, 0x2e ^ 0x80, 0, 1, 0xff][n % 7]).collect();
                if let Some(place) = at.and_then(|at| bytes.get_mut(at)) {
                    *place = b'/';
                }
                assert_eq!(slash(&bytes), at, "{bytes:?}");
                bytes.extend(b"/x/");
                assert_eq!(slash(&bytes), Some(at.unwrap_or(length)), "{bytes:?}");
            }
        }
    }

    #[test]
    fn equal_rank_is_refused() {
        for (a, b) in [("/x/{a}", "/x/{b}"), ("/{a*}", "/{b*}"), ("/x", "/x"), ("/{a}/y/{r*}", "/{b}/y/{s*}")] {
            let mut gathered = Templates::new();
            gathered.insert(&a.parse().unwrap(), 7).unwrap();
            assert_eq!(gathered.insert(&b.parse().unwrap(), 8), Err(7), "{a} {b}");
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
            let mut gathered = Templates::new();
            let mut entered: Vec<PathTemplate> = Vec::new();
            for text in templates {
                // Parameters of one template need names of their own.
                let mut n = 0;
                let text: String = text.split("{x}").map(|part| { n += 1; format!("{part}{{p{n}}}") }).collect();
                let text = text.strip_suffix(&format!("{{p{n}}}")).unwrap().to_owned();
                let template: PathTemplate = text.parse().unwrap();
                if gathered.insert(&template, entered.len()).is_ok() {
                    entered.push(template);
                }
            }
            let (router, root) = finished(gathered);
            for path in paths {
                let path = CanonicalPath::parse(&path).unwrap();
                prop_assert_eq!(router.find(root, path.borrowed()), naive(&entered, &path), "{} {:?}", path, entered);
            }
        }
    }
}
