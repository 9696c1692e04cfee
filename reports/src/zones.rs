//! Where things stand in the drawing of the zones: boxes in columns, flows between them by kind.
//!
//! Few services stand in their zone's box one by one, with a line for each pair; many are counted, with a line for each kind of
//! flow between two zones. Places only, in whole pixels. INVARIANT: the same assessment, its matrix in any order, gives the same
//! drawing; boxes never overlap, and every flow between services is in it once. A table of zones says the same in words.

mod routes;

use std::collections::{BTreeMap, BTreeSet};

use portreeve_auditor::assessment::{Assessment, Mark, MatrixCell};

use crate::filters::{mark_class, mark_word};
use crate::limits::{MATRIX_ROOMY_MAX, NAME_SHOWN_CHARS, ZONES_DRAWN_MAX};
use crate::matrix::{self, NO_ZONE};
use crate::text;
use routes::{End, Wire};

/// The drawing.
pub(crate) struct ZoneMap {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) boxes: Vec<ZoneBox>,
    pub(crate) flows: Vec<Flow>,
}

/// A zone.
pub(crate) struct ZoneBox {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) index: usize,
    pub(crate) label: String,
    pub(crate) whole: String,
    /// How many services; how many of them hold a class of data.
    pub(crate) services: u64,
    pub(crate) with_data: u64,
    /// The services themselves, where they are few.
    pub(crate) nodes: Vec<Node>,
    /// Pairs within the zone by kind, where they are many.
    pub(crate) inside: Vec<Inside>,
}

/// A service in its zone.
pub(crate) struct Node {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) width: usize,
    pub(crate) label: String,
    pub(crate) whole: String,
    pub(crate) data: String,
}

/// Pairs of one kind within a zone.
pub(crate) struct Inside {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) class: &'static str,
    pub(crate) count: u64,
}

/// A line.
pub(crate) struct Flow {
    pub(crate) path: String,
    pub(crate) class: &'static str,
    pub(crate) says: String,
    pub(crate) link: FlowLink,
    /// Where it ends.
    pub(crate) x: usize,
    pub(crate) y: usize,
    /// It ends from the left: its head looks to the right.
    pub(crate) rightward: bool,
    /// It leaves to the left, and its number stands there.
    pub(crate) leaves_left: bool,
    /// Where its number stands.
    pub(crate) label: Option<(usize, usize)>,
    pub(crate) count: u64,
}

/// What a line leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FlowLink {
    /// A pair of services.
    Pair(String, String),
    /// The zones with these numbers.
    Zones(usize, usize),
}

/// Zones in the order of the inventory, and the pairs between them by kind.
pub(crate) struct Zones<'a> {
    pub(crate) names: Vec<&'a str>,
    pub(crate) services: Vec<Vec<&'a str>>,
    /// Pairs by caller's zone, called zone and kind.
    pub(crate) pairs: BTreeMap<(usize, usize, Mark), u64>,
    cells: Vec<(usize, usize, &'a MatrixCell)>,
}

impl<'a> Zones<'a> {
    pub(crate) fn of(a: &'a Assessment) -> Self {
        let (mut names, mut services): (Vec<&str>, Vec<Vec<&str>>) = (Vec::new(), Vec::new());
        let mut zone_of = BTreeMap::new();
        for (zone, name) in matrix::ordered(a) {
            if names.last() != Some(&zone) {
                names.push(zone);
                services.push(Vec::new());
            }
            if let Some(last) = services.last_mut() {
                last.push(name);
                zone_of.entry(name).or_insert(names.len() - 1);
            }
        }
        let mut cells: Vec<_> = a.matrix.iter().filter_map(|c| Some((*zone_of.get(&*c.from)?, *zone_of.get(&*c.to)?, c))).collect();
        cells.sort();
        let mut pairs = BTreeMap::new();
        for (from, to, cell) in &cells {
            *pairs.entry((*from, *to, cell.mark)).or_default() += 1;
        }
        Self { names, services, pairs, cells }
    }

    /// The kinds of pairs between two zones, with their numbers.
    pub(crate) fn between(&self, from: usize, to: usize) -> Vec<(Mark, u64)> {
        MARKS.into_iter().filter_map(|mark| Some((mark, *self.pairs.get(&(from, to, mark))?))).collect()
    }

    fn is_few(&self) -> bool {
        self.services.iter().map(Vec::len).sum::<usize>() <= MATRIX_ROOMY_MAX
    }

    /// The column of each zone: who calls more than it is called stands to the left, and every line that can leads to the right.
    fn columns(&self) -> Vec<usize> {
        let linked: BTreeSet<(usize, usize)> =
            self.pairs.keys().filter(|(from, to, mark)| from != to && *mark != Mark::Denied).map(|(from, to, _)| (*from, *to)).collect();
        let count = self.names.len();
        let calls = |z: usize| linked.iter().filter(|(from, _)| *from == z).count();
        let called = |z: usize| linked.iter().filter(|(_, to)| *to == z).count();
        let mut order: Vec<usize> = (0..count).collect();
        // The more it is called beyond what it calls, the later; equal ones as the inventory has them.
        order.sort_by_key(|z| (called(*z) + count - calls(*z).min(count), *z));
        let mut column = vec![0; count];
        for (at, zone) in order.iter().enumerate() {
            let before = order.iter().take(at).filter(|earlier| linked.contains(&(**earlier, *zone)));
            let rank = before.filter_map(|earlier| column.get(*earlier)).map(|c| c + 1).max().unwrap_or(0);
            if let Some(place) = column.get_mut(*zone) {
                *place = rank;
            }
        }
        column
    }
}

/// Lays the drawing out, or says nothing where there is nothing to draw or too much.
pub(crate) fn lay_out(a: &Assessment, zones: &Zones<'_>) -> Option<ZoneMap> {
    if zones.cells.is_empty() || zones.names.len() > ZONES_DRAWN_MAX {
        return None;
    }
    let columns = zones.columns();
    let wires = wires(zones, &columns);
    let lanes = wires.iter().filter(|w| w.is_long()).count();
    let top = if lanes > 0 { MARGIN + 10 + lanes * routes::LANE } else { MARGIN };
    let boxes = boxes(a, zones, &columns, &wires, top);
    let flows = routes::draw(&wires, &boxes);
    let right = boxes.iter().map(|b| b.x + b.width).max().unwrap_or_default();
    let bottom = boxes.iter().map(|b| b.y + b.height).max().unwrap_or_default();
    let bulges = wires.iter().any(|w| w.from.column == w.to.column && columns.iter().all(|c| *c <= w.from.column));
    Some(ZoneMap { width: right + if bulges { routes::GAP - 20 } else { MARGIN }, height: bottom + MARGIN, boxes, flows })
}

/// Every line to draw, from which box to which.
fn wires(zones: &Zones<'_>, columns: &[usize]) -> Vec<Wire> {
    let end = |zone: usize, node: Option<usize>| End { zone, node, column: columns.get(zone).copied().unwrap_or_default() };
    let place = |zone: usize, name: &str| zones.services.get(zone).and_then(|s| s.iter().position(|n| *n == name));
    let names = |zone: usize| zones.names.get(zone).map_or("", |name| *name);
    if zones.is_few() {
        let wire = |(from, to, cell): &(usize, usize, &MatrixCell)| Wire {
            from: end(*from, place(*from, &cell.from)),
            to: end(*to, place(*to, &cell.to)),
            class: line_class(cell.mark),
            says: format!("{}; {} allowed, {} denied", said(&cell.from, &cell.to, cell.mark), cell.allowed_count, cell.denied_count),
            link: FlowLink::Pair(cell.from.clone(), cell.to.clone()),
            count: 1,
        };
        return zones.cells.iter().map(wire).collect();
    }
    let mut kinds: BTreeMap<(usize, usize, &str), (u64, Mark)> = BTreeMap::new();
    for ((from, to, mark), count) in zones.pairs.iter().filter(|((from, to, _), _)| from != to) {
        kinds.entry((*from, *to, line_class(*mark))).or_insert((0, *mark)).0 += count;
    }
    let wire = |((from, to, class), (count, mark)): ((usize, usize, &'static str), (u64, Mark))| Wire {
        from: end(from, None),
        to: end(to, None),
        class,
        says: format!("{}; {count} {}", said(names(from), names(to), mark), if count == 1 { "pair" } else { "pairs" }),
        link: FlowLink::Zones(from, to),
        count,
    };
    kinds.into_iter().map(wire).collect()
}

fn said(from: &str, to: &str, mark: Mark) -> String {
    format!("{} → {}: {}", text::short(from, NAME_SHOWN_CHARS), text::short(to, NAME_SHOWN_CHARS), mark_word(mark))
}

/// A grant on a condition that was used is one kind with a grant that was used: the matrix tells them apart.
const fn line_class(mark: Mark) -> &'static str {
    match mark {
        Mark::UsedConditional => mark_class(Mark::Used),
        other => mark_class(other),
    }
}

fn boxes(a: &Assessment, zones: &Zones<'_>, columns: &[usize], wires: &[Wire], top: usize) -> Vec<ZoneBox> {
    let few = zones.is_few();
    let height = |zone: usize| {
        let services = zones.services.get(zone).map_or(0, Vec::len);
        let ports = routes::ports(wires, zone);
        if few { HEADER + services * ROW + 8 } else { (ports * routes::PORT + 16).max(COUNTED) }
    };
    let last = columns.iter().copied().max().unwrap_or_default();
    let tall = |column: usize| {
        let all: Vec<usize> = (0..columns.len()).filter(|z| columns.get(*z) == Some(&column)).map(height).collect();
        all.iter().sum::<usize>() + all.len().saturating_sub(1) * BETWEEN
    };
    let tallest = (0..=last).map(tall).max().unwrap_or_default();
    let mut out = Vec::new();
    for column in 0..=last {
        let mut y = top + (tallest - tall(column)) / 2;
        for zone in (0..columns.len()).filter(|z| columns.get(*z) == Some(&column)) {
            let it = zone_box(a, zones, zone, (MARGIN + column * (WIDTH + routes::GAP), y, height(zone)));
            y += it.height + BETWEEN;
            out.push(it);
        }
    }
    out.sort_by_key(|b| b.index);
    out
}

fn zone_box(a: &Assessment, zones: &Zones<'_>, index: usize, (x, y, height): (usize, usize, usize)) -> ZoneBox {
    let name = zones.names.get(index).map_or(NO_ZONE, |name| *name);
    let services = zones.services.get(index).map_or(&[][..], |s| &**s);
    let data = |name: &str| a.services.iter().find(|s| s.name == name).map_or(&[][..], |s| &*s.data);
    let node = |(row, name): (usize, &&str)| Node {
        x: x + 6,
        y: y + HEADER + row * ROW,
        width: WIDTH - 12,
        label: text::short(name, LABEL_CHARS).into_owned(),
        whole: text::short(name, NAME_SHOWN_CHARS).into_owned(),
        data: text::short(&data(name).join(", "), DATA_CHARS).into_owned(),
    };
    let inside = |(at, (mark, count)): (usize, (Mark, u64))| Inside {
        x: x + 12 + at % 3 * 48,
        y: y + 56 + at / 3 * 18,
        class: mark_class(mark),
        count,
    };
    let few = zones.is_few();
    ZoneBox {
        x,
        y,
        width: WIDTH,
        height,
        index,
        label: text::short(name, LABEL_CHARS).into_owned(),
        whole: text::short(name, NAME_SHOWN_CHARS).into_owned(),
        services: services.len() as u64,
        with_data: services.iter().filter(|s| !data(s).is_empty()).count() as u64,
        nodes: if few { services.iter().enumerate().map(node).collect() } else { Vec::new() },
        inside: if few { Vec::new() } else { zones.between(index, index).into_iter().enumerate().map(inside).collect() },
    }
}

/// Every mark, in the order of the key.
pub(crate) const MARKS: [Mark; 5] = [Mark::Used, Mark::UsedConditional, Mark::Unused, Mark::Denied, Mark::Shadow];

const MARGIN: usize = 10;
const WIDTH: usize = 164;
const HEADER: usize = 30;
const ROW: usize = 26;
/// The least height of a zone whose services are counted.
const COUNTED: usize = 104;
const BETWEEN: usize = 26;
const LABEL_CHARS: usize = 16;
const DATA_CHARS: usize = 8;

#[cfg(test)]
mod tests;
