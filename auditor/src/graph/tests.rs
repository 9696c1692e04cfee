//! The graph algorithms against their definitions: by trying every way, every set of nodes and every set of edges on small random
//! graphs. The seed of each graph is printed where one fails.

use std::collections::BTreeSet;

use crate::graph::flow::{edge_cut, node_cut};
use crate::graph::net::{Net, trail};
use crate::random::Random;

/// A graph of 2 to 7 nodes, from sparse to dense.
fn random(seed: u64) -> Net {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let nodes = 2 + random.below(6);
    let dense = 1 + random.below(5);
    let mut net = Net::new(nodes);
    for a in 0..nodes {
        for b in 0..nodes {
            if a != b && random.below(8) < dense {
                net.add(a, b);
            }
        }
    }
    net
}

/// Whether there is a way without some nodes and some edges, by walking all of them.
fn reaches(net: &Net, from: usize, to: usize, without: &BTreeSet<usize>, cut: &BTreeSet<(usize, usize)>) -> bool {
    let mut seen = BTreeSet::from([from]);
    loop {
        let more: BTreeSet<usize> =
            net.edges().filter(|e| seen.contains(&e.0) && !without.contains(&e.1) && !cut.contains(e)).map(|e| e.1).collect();
        let before = seen.len();
        seen.extend(more);
        if seen.len() == before {
            return seen.contains(&to);
        }
    }
}

/// Every way without a node twice.
fn simple_ways(net: &Net, from: usize, to: usize) -> Vec<Vec<usize>> {
    let mut done = Vec::new();
    let mut open = vec![vec![from]];
    while let Some(way) = open.pop() {
        let last = *way.last().unwrap();
        if last == to {
            done.push(way);
            continue;
        }
        open.extend(net.next(last).filter(|n| !way.contains(n)).map(|n| way.iter().copied().chain([n]).collect()));
    }
    done
}

/// The size of a smallest subset that `parts`, by trying all of them.
fn smallest<T: Copy + Ord>(of: &[T], parts: impl Fn(&BTreeSet<T>) -> bool) -> Option<usize> {
    (0..1_u32 << of.len())
        .filter(|set| parts(&of.iter().enumerate().filter(|(n, _)| set & (1 << n) != 0).map(|(_, t)| *t).collect()))
        .map(|set| set.count_ones() as usize)
        .min()
}

#[test]
fn ways_are_the_shortest_there_are() {
    for seed in 0..400 {
        let net = random(seed);
        let ways = net.ways([0]);
        for to in 0..net.nodes() {
            let all = simple_ways(&net, 0, to);
            let shortest = all.iter().map(|way| way.len() - 1).min();
            assert_eq!(ways[to].map(|way| way.steps), shortest, "seed {seed}, to {to}");
            if ways[to].is_some() {
                let mut found = trail(&ways, to);
                found.reverse();
                assert!(all.contains(&found), "seed {seed}, to {to}: {found:?}");
            }
        }
        let back = net.reversed().ways([0]);
        for (from, way) in back.iter().enumerate() {
            assert_eq!(way.is_some(), !simple_ways(&net, from, 0).is_empty(), "seed {seed}, from {from}");
        }
    }
}

#[test]
fn dominators_lie_on_every_way() {
    let mut found = 0;
    for seed in 0..400 {
        let net = random(seed);
        for (to, dominators) in net.dominators(0).into_iter().enumerate().skip(1) {
            let ways = simple_ways(&net, 0, to);
            let expected = (!ways.is_empty())
                .then(|| (1..net.nodes()).filter(|n| *n != to && ways.iter().all(|way| way.contains(n))).collect::<BTreeSet<_>>());
            found += expected.as_ref().map_or(0, BTreeSet::len);
            assert_eq!(dominators.clone().map(|d| d.into_iter().collect::<BTreeSet<_>>()), expected, "seed {seed}, to {to}");
            // From the outside in: each way passes them in this order.
            let dominators = dominators.unwrap_or_default();
            for way in &ways {
                let passed: Vec<usize> = way.iter().copied().filter(|n| dominators.contains(n)).collect();
                assert_eq!(passed, dominators, "seed {seed}, to {to}");
            }
        }
    }
    assert!(found > 100, "graphs without a choke point prove nothing: {found}");
}

#[test]
fn node_cuts_are_the_smallest_there_are() {
    let (mut none, mut sizes) = (0, BTreeSet::new());
    for seed in 0..600 {
        let net = random(seed);
        let to = net.nodes() - 1;
        // Every third graph has a node that must stay.
        let stays = (seed % 3 == 0).then_some(1).filter(|n| *n != to);
        let may_go: Vec<usize> = (1..to).filter(|n| Some(*n) != stays).collect();
        let parts = |set: &BTreeSet<usize>| !reaches(&net, 0, to, set, &BTreeSet::new());
        let cut = node_cut(&net, 0, to, |n| may_go.contains(&n));
        assert_eq!(cut.as_ref().map(Vec::len), smallest(&may_go, parts), "seed {seed}: {net:?}");
        match cut {
            Some(cut) => {
                assert!(parts(&cut.iter().copied().collect()), "seed {seed}: {cut:?} does not part");
                assert!(cut.iter().all(|n| may_go.contains(n)), "seed {seed}");
                sizes.insert(cut.len());
            }
            None => none += 1,
        }
    }
    assert!(none > 50 && sizes.len() > 3, "{none} without a cut, sizes {sizes:?}");
}

#[test]
fn edge_cuts_are_the_smallest_there_are() {
    let (mut none, mut sizes) = (0, BTreeSet::new());
    for seed in 0..600 {
        let net = random(seed);
        let edges: Vec<(usize, usize)> = net.edges().collect();
        if edges.len() > 14 {
            continue;
        }
        let to = net.nodes() - 1;
        // Every third graph has edges that must stay.
        let may_go: Vec<_> = edges.iter().copied().filter(|(a, b)| seed % 3 != 0 || (a + b) % 3 != 0).collect();
        let parts = |set: &BTreeSet<(usize, usize)>| !reaches(&net, 0, to, &BTreeSet::new(), set);
        let cut = edge_cut(&net, 0, to, |a, b| may_go.contains(&(a, b)));
        assert_eq!(cut.as_ref().map(Vec::len), smallest(&may_go, parts), "seed {seed}: {net:?}");
        match cut {
            Some(cut) => {
                assert!(parts(&cut.iter().copied().collect()), "seed {seed}: {cut:?} does not part");
                sizes.insert(cut.len());
            }
            None => none += 1,
        }
    }
    assert!(none > 10 && sizes.len() > 3, "{none} without a cut, sizes {sizes:?}");
}

#[test]
fn of_equal_cuts_the_one_nearest_the_target_is_given() {
    let mut line = Net::new(5);
    for n in 0..4 {
        line.add(n, n + 1);
    }
    assert_eq!(node_cut(&line, 0, 4, |_| true), Some(vec![3]));
    assert_eq!(edge_cut(&line, 0, 4, |_, _| true), Some(vec![(3, 4)]));
    assert_eq!(node_cut(&line, 0, 4, |n| n < 3), Some(vec![2]));
    assert_eq!((node_cut(&line, 0, 0, |_| true), edge_cut(&line, 2, 2, |_, _| true)), (None, None));
    assert_eq!(node_cut(&Net::new(2), 0, 1, |_| true), Some(vec![]), "nothing to cut");
}
