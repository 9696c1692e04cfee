//! The drawing on made-up towns: nothing overlaps, nothing is lost, and order of input does not matter.

use portreeve_auditor::assessment::ServiceSummary;

use super::*;

/// A town of `services` in `zones`, with pairs drawn by a small generator from `seed`.
fn town(services: usize, zones: usize, seed: u64) -> Assessment {
    let name = |n: usize| format!("service-{n:03}");
    let mut state = seed;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    let service = |n: usize| ServiceSummary {
        name: name(n),
        zone: Some(format!("zone-{:02}", n * zones / services)),
        owner: None,
        data: if n.is_multiple_of(5) { vec!["pan".into()] } else { Vec::new() },
        allowed: 0,
        denied: 0,
        observed: true,
    };
    let mut matrix = BTreeMap::new();
    for _ in 0..services * 3 {
        let (from, to, mark) = (next(services), next(services), MARKS[next(5)]);
        let cell = MatrixCell { from: name(from), to: name(to), mark, denied: false, allowed_count: 1, denied_count: 0 };
        matrix.entry((from, to)).or_insert(cell);
    }
    Assessment { services: (0..services).map(service).collect(), matrix: matrix.into_values().collect(), ..Assessment::default() }
}

fn told(map: &ZoneMap) -> String {
    let boxes = map.boxes.iter().map(|b| format!("{} {} {} {} {}\n", b.label, b.x, b.y, b.width, b.height));
    let flows = map.flows.iter().map(|f| format!("{} {} {}\n", f.path, f.class, f.says));
    format!("{} {}\n{}{}", map.width, map.height, boxes.collect::<String>(), flows.collect::<String>())
}

const TOWNS: [(usize, usize, u64); 7] = [(2, 1, 1), (6, 3, 2), (24, 5, 3), (25, 5, 4), (60, 12, 5), (200, 6, 6), (500, 12, 7)];

#[test]
fn the_order_of_the_matrix_does_not_matter() {
    for (services, zones, seed) in TOWNS {
        let mut a = town(services, zones, seed);
        let before = told(&lay_out(&a, &Zones::of(&a)).unwrap());
        a.matrix.reverse();
        let middle = a.matrix.len() / 2;
        a.matrix.rotate_left(middle);
        assert_eq!(told(&lay_out(&a, &Zones::of(&a)).unwrap()), before, "{services} services in {zones} zones, seed {seed}");
    }
}

#[test]
fn boxes_stand_apart_and_inside_the_drawing() {
    for (services, zones, seed) in TOWNS {
        let a = town(services, zones, seed);
        let map = lay_out(&a, &Zones::of(&a)).unwrap();
        assert_eq!(map.boxes.len(), zones);
        for (n, one) in map.boxes.iter().enumerate() {
            assert!(one.x + one.width <= map.width && one.y + one.height <= map.height, "{} stands out", one.label);
            for node in &one.nodes {
                assert!(node.y + ROW <= one.y + one.height && node.x + node.width <= one.x + one.width, "{} stands out", node.label);
            }
            for other in &map.boxes[n + 1..] {
                let apart = one.x + one.width <= other.x
                    || other.x + other.width <= one.x
                    || one.y + one.height <= other.y
                    || other.y + other.height <= one.y;
                assert!(apart, "{} and {} overlap", one.label, other.label);
            }
        }
        for flow in &map.flows {
            assert!(map.boxes.iter().any(|b| flow.y >= b.y && flow.y <= b.y + b.height), "`{}` ends nowhere", flow.says);
        }
    }
}

#[test]
fn every_pair_is_in_the_drawing_once() {
    for (services, zones, seed) in TOWNS {
        let a = town(services, zones, seed);
        let map = lay_out(&a, &Zones::of(&a)).unwrap();
        let drawn: u64 = map.flows.iter().map(|f| f.count).sum();
        let counted: u64 = map.boxes.iter().flat_map(|b| &b.inside).map(|i| i.count).sum();
        assert_eq!(drawn + counted, a.matrix.len() as u64, "{services} services in {zones} zones, seed {seed}");
        let ways: BTreeSet<_> = map.flows.iter().map(|f| &f.path).collect();
        assert_eq!(ways.len(), map.flows.len(), "two flows take the same way");
    }
}

#[test]
fn callers_stand_left_of_what_they_call() {
    let mut a = town(6, 3, 9);
    let cell = |from: usize, to: usize| MatrixCell {
        from: format!("service-{from:03}"),
        to: format!("service-{to:03}"),
        mark: Mark::Used,
        denied: false,
        allowed_count: 1,
        denied_count: 0,
    };
    a.matrix = vec![cell(4, 2), cell(2, 0)];
    let map = lay_out(&a, &Zones::of(&a)).unwrap();
    let x: Vec<_> = map.boxes.iter().map(|b| b.x).collect();
    assert!(x[2] < x[1] && x[1] < x[0], "{x:?}");
}

#[test]
fn nothing_and_too_much_are_not_drawn() {
    assert!(lay_out(&Assessment::default(), &Zones::of(&Assessment::default())).is_none());
    let many = town(ZONES_DRAWN_MAX + 1, ZONES_DRAWN_MAX + 1, 1);
    assert!(lay_out(&many, &Zones::of(&many)).is_none());
}
