//! Decision diagrams over variables with few values each: sets of contexts, held exactly and compared by identity.
//!
//! A node asks one variable and has one child for each of its values; variables stand in one order on every path, equal nodes
//! are one node, and a node whose children are all the same is not made. So two sets are equal exactly if their nodes are.
//!
//! INVARIANT: what would grow beyond its limit ends in [`TooLarge`], never in another set.

use hashbrown::HashMap;

use crate::limits::DIAGRAM_NODES_MAX;

type FixedState = foldhash::fast::FixedState;

/// A set: the number of its top node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Set(u32);

/// The empty set.
pub(crate) const NONE: Set = Set(0);
/// The set of everything.
pub(crate) const ALL: Set = Set(1);

/// More nodes would be needed than the limit allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the conditions tell apart more cases than can be compared")]
pub(crate) struct TooLarge;

/// A variable and the value that a path takes: the n-th of its values.
pub(crate) type Step = (u32, usize);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Node {
    variable: u32,
    children: Box<[Set]>,
}

/// The nodes of one space.
#[derive(Debug)]
pub(crate) struct Diagrams {
    nodes: Vec<Node>,
    numbers: HashMap<Node, Set, FixedState>,
    and_memo: HashMap<(Set, Set), Set, FixedState>,
    not_memo: HashMap<Set, Set, FixedState>,
}

impl Diagrams {
    pub(crate) fn new() -> Self {
        let terminal = || Node { variable: TERMINAL, children: Box::default() };
        Self {
            nodes: vec![terminal(), terminal()],
            numbers: HashMap::default(),
            and_memo: HashMap::default(),
            not_memo: HashMap::default(),
        }
    }

    /// The contexts in which a variable has one of the values marked.
    pub(crate) fn values(&mut self, variable: u32, marked: impl IntoIterator<Item = bool>) -> Result<Set, TooLarge> {
        self.node(variable, marked.into_iter().map(|m| if m { ALL } else { NONE }).collect())
    }

    fn node(&mut self, variable: u32, children: Box<[Set]>) -> Result<Set, TooLarge> {
        if let Some(first) = children.first().filter(|first| children.iter().all(|c| c == *first)) {
            return Ok(*first);
        }
        let node = Node { variable, children };
        if let Some(number) = self.numbers.get(&node) {
            return Ok(*number);
        }
        if self.nodes.len() >= DIAGRAM_NODES_MAX {
            return Err(TooLarge);
        }
        let number = Set(u32::try_from(self.nodes.len()).map_err(|_| TooLarge)?);
        self.nodes.push(node.clone());
        self.numbers.insert(node, number);
        Ok(number)
    }

    fn variable(&self, set: Set) -> u32 {
        self.nodes.get(set.0 as usize).map_or(TERMINAL, |n| n.variable)
    }

    /// The children under a variable: the set itself, for each value, where it does not ask that variable first.
    fn child(&self, set: Set, variable: u32, value: usize) -> Set {
        match self.nodes.get(set.0 as usize) {
            Some(node) if node.variable == variable => node.children.get(value).copied().unwrap_or(NONE),
            _ => set,
        }
    }

    fn width(&self, set: Set) -> usize {
        self.nodes.get(set.0 as usize).map_or(0, |n| n.children.len())
    }

    /// What is in both.
    pub(crate) fn and(&mut self, a: Set, b: Set) -> Result<Set, TooLarge> {
        match (a, b) {
            (NONE, _) | (_, NONE) => return Ok(NONE),
            (ALL, other) | (other, ALL) => return Ok(other),
            (a, b) if a == b => return Ok(a),
            _ => {}
        }
        let key = (a.min(b), a.max(b));
        if let Some(known) = self.and_memo.get(&key) {
            return Ok(*known);
        }
        let (first, second) = (self.variable(a), self.variable(b));
        let variable = first.min(second);
        let width = if first == variable { self.width(a) } else { self.width(b) };
        let mut children = Vec::with_capacity(width);
        for value in 0..width {
            let (a, b) = (self.child(a, variable, value), self.child(b, variable, value));
            children.push(self.and(a, b)?);
        }
        let made = self.node(variable, children.into())?;
        self.and_memo.insert(key, made);
        Ok(made)
    }

    /// What is not in it.
    pub(crate) fn not(&mut self, a: Set) -> Result<Set, TooLarge> {
        match a {
            NONE => return Ok(ALL),
            ALL => return Ok(NONE),
            _ => {}
        }
        if let Some(known) = self.not_memo.get(&a) {
            return Ok(*known);
        }
        let variable = self.variable(a);
        let mut children = Vec::with_capacity(self.width(a));
        for value in 0..self.width(a) {
            children.push(self.not(self.child(a, variable, value))?);
        }
        let made = self.node(variable, children.into())?;
        self.not_memo.insert(a, made);
        self.not_memo.insert(made, a);
        Ok(made)
    }

    /// What is in one of them or in both.
    pub(crate) fn or(&mut self, a: Set, b: Set) -> Result<Set, TooLarge> {
        let (not_a, not_b) = (self.not(a)?, self.not(b)?);
        let neither = self.and(not_a, not_b)?;
        self.not(neither)
    }

    /// What is in the first and not in the second.
    pub(crate) fn minus(&mut self, a: Set, b: Set) -> Result<Set, TooLarge> {
        let not_b = self.not(b)?;
        self.and(a, not_b)
    }

    /// The contexts that are in the set whatever the values of the variables from `first` on.
    pub(crate) fn whatever_from(&mut self, set: Set, first: u32) -> Result<Set, TooLarge> {
        let mut memo = HashMap::default();
        self.whatever(set, first, &mut memo)
    }

    fn whatever(&mut self, set: Set, first: u32, memo: &mut HashMap<Set, Set, FixedState>) -> Result<Set, TooLarge> {
        let variable = self.variable(set);
        if variable == TERMINAL {
            return Ok(set);
        }
        if variable >= first {
            // Nodes that are not the whole have a way out of the set.
            return Ok(NONE);
        }
        if let Some(known) = memo.get(&set) {
            return Ok(*known);
        }
        let mut children = Vec::with_capacity(self.width(set));
        for value in 0..self.width(set) {
            children.push(self.whatever(self.child(set, variable, value), first, memo)?);
        }
        let made = self.node(variable, children.into())?;
        memo.insert(set, made);
        Ok(made)
    }

    /// Up to `most` ways into the set, those with low values first; a variable that a way leaves out may have any value.
    pub(crate) fn ways(&self, set: Set, most: usize) -> Vec<Vec<Step>> {
        let mut out = Vec::new();
        self.walk(set, most, &mut Vec::new(), &mut out);
        out
    }

    fn walk(&self, set: Set, most: usize, way: &mut Vec<Step>, out: &mut Vec<Vec<Step>>) {
        if set == NONE || out.len() >= most {
            return;
        }
        if set == ALL {
            out.push(way.clone());
            return;
        }
        let variable = self.variable(set);
        for value in 0..self.width(set) {
            way.push((variable, value));
            self.walk(self.child(set, variable, value), most, way, out);
            way.pop();
        }
    }
}

/// The variable of the two sets that ask nothing; it comes after every other.
const TERMINAL: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_behave_like_sets() {
        let mut d = Diagrams::new();
        let a = d.values(0, [true, false, true]).unwrap();
        let b = d.values(1, [false, true]).unwrap();
        let both = d.and(a, b).unwrap();
        assert_eq!(d.ways(both, 9), [vec![(0, 0), (1, 1)], vec![(0, 2), (1, 1)]]);
        let either = d.or(a, b).unwrap();
        let not_a = d.not(a).unwrap();
        assert_eq!(d.minus(either, a).unwrap(), d.and(b, not_a).unwrap());
        assert_eq!(d.minus(both, either).unwrap(), NONE);
        assert_eq!(d.or(a, not_a).unwrap(), ALL);
        assert_eq!(d.values(3, [true, true]).unwrap(), ALL);
    }

    #[test]
    fn what_holds_whatever_the_rest_does() {
        let mut d = Diagrams::new();
        let (a, x) = (d.values(0, [true, false]).unwrap(), d.values(5, [false, true, false]).unwrap());
        let either = d.or(a, x).unwrap();
        assert_eq!(d.whatever_from(either, 5).unwrap(), a);
        assert_eq!(d.whatever_from(x, 5).unwrap(), NONE);
        assert_eq!(d.whatever_from(x, 6).unwrap(), x);
    }

    #[test]
    fn too_large_a_diagram_is_no_diagram() {
        // The pairs are apart in the order, so the set of contexts in which all pairs agree needs a node for each half.
        let mut d = Diagrams::new();
        let mut agree = Ok(ALL);
        for n in 0..24 {
            let pair = |d: &mut Diagrams, value: [bool; 2]| {
                let (a, b) = (d.values(n, value)?, d.values(n + 24, value)?);
                d.and(a, b)
            };
            agree = agree.and_then(|all| {
                let (no, yes) = (pair(&mut d, [true, false])?, pair(&mut d, [false, true])?);
                let same = d.or(no, yes)?;
                d.and(all, same)
            });
        }
        assert_eq!(agree, Err(TooLarge));
    }
}
