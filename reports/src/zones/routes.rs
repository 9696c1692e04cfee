//! The ways of the lines: from the side of one box to the side of another, each with a place of its own on that side.
//!
//! To a neighbouring column a line swings through the gap; further it takes a lane of its own above all boxes, so that no line
//! passes behind a box; within one column it swings out to the right.

use std::collections::BTreeMap;

use super::{Flow, FlowLink, HEADER, ROW, ZoneBox};

/// A line to draw.
pub(super) struct Wire {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) class: &'static str,
    pub(super) says: String,
    pub(super) link: FlowLink,
    pub(super) count: u64,
}

/// One end of a line: a zone, or a service in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) zone: usize,
    pub(super) node: Option<usize>,
    pub(super) column: usize,
}

impl Wire {
    /// It passes a column, so that it needs a lane.
    pub(super) const fn is_long(&self) -> bool {
        self.from.column.abs_diff(self.to.column) > 1
    }

    /// It leaves on the right side of its box.
    const fn leaves_right(&self) -> bool {
        self.to.column >= self.from.column
    }

    /// It arrives on the left side of its box.
    const fn arrives_left(&self) -> bool {
        self.to.column > self.from.column
    }
}

/// How many lines meet one side of a zone, the busier side.
pub(super) fn ports(wires: &[Wire], zone: usize) -> usize {
    let side = |right: bool| {
        let leaving = wires.iter().filter(|w| w.from.zone == zone && w.leaves_right() == right).count();
        leaving + wires.iter().filter(|w| w.to.zone == zone && w.arrives_left() != right).count()
    };
    side(true).max(side(false))
}

/// Draws every line.
pub(super) fn draw(wires: &[Wire], boxes: &[ZoneBox]) -> Vec<Flow> {
    let places = places(wires, boxes);
    let mut lane = 0;
    let mut out = Vec::with_capacity(wires.len());
    for (at, wire) in wires.iter().enumerate() {
        let (Some(start), Some(end)) = (places.get(&(at, false)), places.get(&(at, true))) else { continue };
        let path = if wire.is_long() {
            lane += 1;
            over(*start, *end, wire.arrives_left(), lane)
        } else if wire.from.column == wire.to.column {
            let out = start.0.max(end.0) + (26 + start.1.abs_diff(end.1) / 3).min(GAP - 40);
            format!("M{} {}C{out} {} {out} {} {} {}", start.0, start.1, start.1, end.1, end.0, end.1)
        } else {
            let middle = usize::midpoint(start.0, end.0);
            format!("M{} {}C{middle} {} {middle} {} {} {}", start.0, start.1, start.1, end.1, end.0, end.1)
        };
        let beside = if wire.leaves_right() { start.0 + 8 } else { start.0 - 8 };
        out.push(Flow {
            path,
            class: wire.class,
            says: wire.says.clone(),
            link: wire.link.clone(),
            x: end.0,
            y: end.1,
            rightward: wire.arrives_left(),
            leaves_left: !wire.leaves_right(),
            label: wire.from.node.is_none().then_some((beside, start.1 - 3)),
            count: wire.count,
        });
    }
    out
}

/// Where each line meets the sides of its two boxes, by line and whether it is its end.
fn places(wires: &[Wire], boxes: &[ZoneBox]) -> BTreeMap<(usize, bool), (usize, usize)> {
    type Side = (usize, Option<usize>, bool);
    let centre = |end: End| boxes.get(end.zone).map_or(0, |b| end.node.map_or(b.y + b.height / 2, |n| b.y + HEADER + n * ROW + ROW / 2));
    let mut sides: BTreeMap<Side, Vec<(usize, usize, bool)>> = BTreeMap::new();
    for (at, wire) in wires.iter().enumerate() {
        // Lines that take a lane leave above the others, so that they cross none of them.
        let height = |far: End| if wire.is_long() { 0 } else { centre(far) };
        sides.entry((wire.from.zone, wire.from.node, wire.leaves_right())).or_default().push((height(wire.to), at, false));
        sides.entry((wire.to.zone, wire.to.node, !wire.arrives_left())).or_default().push((height(wire.from), at, true));
    }
    let mut out = BTreeMap::new();
    for ((zone, node, right), mut ends) in sides {
        ends.sort_unstable();
        let Some(it) = boxes.get(zone) else { continue };
        let middle = centre(End { zone, node, column: 0 });
        let step = if node.is_some() { ((ROW - 6) / ends.len()).clamp(1, 5) } else { PORT };
        let first = (middle + 1).saturating_sub((ends.len() - 1) * step / 2);
        for (nth, (_, at, is_end)) in ends.into_iter().enumerate() {
            let inset = if node.is_some() { 6 } else { 0 };
            let x = if right { it.x + it.width - inset } else { it.x + inset };
            out.insert((at, is_end), (x, first + nth * step));
        }
    }
    out
}

/// Up to a lane, along, and down again, with round corners.
fn over(start: (usize, usize), end: (usize, usize), rightward: bool, lane: usize) -> String {
    let y = 8 + lane * LANE;
    let aside = 46 + lane % 8 * 6;
    let (up, down, r) = if rightward { (start.0 + aside, end.0 - aside, 6) } else { (start.0 - aside, end.0 + aside, 6) };
    let (before_up, after_up) = if rightward { (up - r, up + r) } else { (up + r, up - r) };
    let (before_down, after_down) = if rightward { (down - r, down + r) } else { (down + r, down - r) };
    format!(
        "M{} {}H{before_up}Q{up} {} {up} {}V{}Q{up} {y} {after_up} {y}H{before_down}Q{down} {y} {down} {}V{}Q{down} {} {after_down} {}H{}",
        start.0,
        start.1,
        start.1,
        start.1.saturating_sub(r),
        y + r,
        y + r,
        end.1.saturating_sub(r),
        end.1,
        end.1,
        end.0
    )
}

/// Between two columns.
pub(super) const GAP: usize = 128;
/// Between two lines at the side of a zone.
pub(super) const PORT: usize = 18;
/// Between two lanes.
pub(super) const LANE: usize = 9;
