//! Where things stand in the drawing of the access matrix: rows call columns, services grouped by zone.
//!
//! Few services make one drawing; many make one block for each pair of zones, of the services that have a mark in it. Places
//! only, in whole pixels; the words and the marks come from the assessment. A table with the same content follows the drawing,
//! so nothing is said by shape alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use portreeve_auditor::assessment::{Assessment, Mark, MatrixCell};

use crate::filters::{mark_class, mark_word};
use crate::limits::{AXIS_SHOWN_CHARS, BLOCKS_MAX, MATRIX_AIRY_MAX, MATRIX_ROOMY_MAX, NAME_SHOWN_CHARS};
use crate::text;
use crate::zones::Zones;

/// The drawing.
pub(crate) struct Matrix {
    pub(crate) class: &'static str,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) cell: usize,
    /// Side of the sign in a corner.
    pub(crate) badge: usize,
    pub(crate) rows: Vec<Axis>,
    pub(crate) columns: Vec<Axis>,
    pub(crate) zones: Vec<ZoneSpan>,
    /// Thin lines, one path.
    pub(crate) grid: String,
    /// Lines between zones, one path.
    pub(crate) borders: String,
    /// The diagonal.
    pub(crate) selves: Vec<(usize, usize)>,
    pub(crate) marks: Vec<Spot>,
    /// Pairs without a mark, for their tooltip; roomy drawings only.
    pub(crate) blanks: Vec<Spot>,
}

/// A name on an axis.
pub(crate) struct Axis {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) label: String,
    pub(crate) whole: String,
}

/// A zone over its columns.
pub(crate) struct ZoneSpan {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) middle: usize,
    pub(crate) label: String,
    pub(crate) whole: String,
}

/// A cell with something to say.
pub(crate) struct Spot {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) class: &'static str,
    pub(crate) denied_too: bool,
    pub(crate) says: String,
    /// The pair, for its link.
    pub(crate) from: String,
    pub(crate) to: String,
}

/// The part of the matrix between two zones.
pub(crate) struct Block {
    pub(crate) from_zone: usize,
    pub(crate) to_zone: usize,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) counts: Vec<(Mark, u64)>,
    /// Sides of the strip of callers' names, of called names, of the marks, and of a cell.
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) cell: usize,
    pub(crate) rows: Vec<Axis>,
    pub(crate) columns: Vec<Axis>,
    pub(crate) grid: String,
    /// All marks of one kind as one path, with its class.
    pub(crate) shapes: Vec<(&'static str, String)>,
    /// `column row number` of every mark, the number that of its cell in the matrix, for the script.
    pub(crate) places: String,
    /// Too broad for paper.
    pub(crate) broad: bool,
}

/// The blocks of a large matrix, zone by zone; none where the whole matrix is drawn.
pub(crate) fn blocks(assessment: &Assessment, zones: &Zones<'_>) -> Vec<Block> {
    if ordered(assessment).len() <= MATRIX_ROOMY_MAX {
        return Vec::new();
    }
    let zone_of: BTreeMap<&str, usize> =
        zones.services.iter().enumerate().flat_map(|(zone, names)| names.iter().map(move |name| (*name, zone))).collect();
    let mut cells: BTreeMap<(usize, usize), Vec<(usize, &MatrixCell)>> = BTreeMap::new();
    for (number, cell) in assessment.matrix.iter().enumerate() {
        if let (Some(from), Some(to)) = (zone_of.get(&*cell.from), zone_of.get(&*cell.to)) {
            cells.entry((*from, *to)).or_default().push((number, cell));
        }
    }
    cells.into_iter().take(BLOCKS_MAX).map(|((from, to), cells)| block(zones, from, to, &cells)).collect()
}

fn block(zones: &Zones<'_>, from_zone: usize, to_zone: usize, cells: &[(usize, &MatrixCell)]) -> Block {
    let taking_part = |zone: usize, part: fn(&MatrixCell) -> &str| -> Vec<&str> {
        let present: BTreeSet<&str> = cells.iter().map(|(_, c)| part(c)).collect();
        zones.services.get(zone).into_iter().flatten().copied().filter(|name| present.contains(name)).collect()
    };
    let (rows, columns) = (taking_part(from_zone, |c| &c.from), taking_part(to_zone, |c| &c.to));
    let side = |names: &[&str]| names.iter().map(|n| n.chars().count().min(AXIS_SHOWN_CHARS)).max().unwrap_or_default() * 7 + 14;
    let (left, top) = (side(&rows), side(&columns));
    let (width, height) = (columns.len() * BLOCK_CELL + 1, rows.len() * BLOCK_CELL + 1);
    let index = |names: &[&str]| -> BTreeMap<String, usize> { names.iter().enumerate().map(|(i, name)| ((*name).to_owned(), i)).collect() };
    let (row_of, column_of) = (index(&rows), index(&columns));
    let mut shapes: BTreeMap<&'static str, String> = BTreeMap::new();
    let mut places = String::new();
    for (number, cell) in cells {
        let (Some(column), Some(row)) = (column_of.get(&cell.to), row_of.get(&cell.from)) else { continue };
        let (x, y) = (column * BLOCK_CELL, row * BLOCK_CELL);
        let _infallible = write!(places, "{}{column} {row} {number}", if places.is_empty() { "" } else { " " });
        let _infallible = write!(shapes.entry(mark_class(cell.mark)).or_default(), "M{x} {y}{}", shape(cell.mark));
        if cell.denied && cell.mark != Mark::Denied {
            let _infallible = write!(shapes.entry("under").or_default(), "M{} {}h9v9h-9z", x + 9, y + 1);
            let _infallible = write!(shapes.entry("under-denied").or_default(), "M{} {}l5 5m0-5-5 5", x + 11, y + 3);
        }
    }
    let mut grid = String::new();
    for i in 0..=rows.len() {
        let _infallible = write!(grid, "M0 {}.5H{width}", i * BLOCK_CELL);
    }
    for i in 0..=columns.len() {
        let _infallible = write!(grid, "M{}.5 0V{height}", i * BLOCK_CELL);
    }
    let zone = |zone: usize| text::short(zones.names.get(zone).map_or(NO_ZONE, |n| *n), NAME_SHOWN_CHARS).into_owned();
    let label = |name: &&str, x, y| Axis {
        x,
        y,
        label: text::short(name, AXIS_SHOWN_CHARS).into_owned(),
        whole: text::short(name, NAME_SHOWN_CHARS).into_owned(),
    };
    Block {
        from_zone,
        to_zone,
        from: zone(from_zone),
        to: zone(to_zone),
        counts: zones.between(from_zone, to_zone),
        left,
        top,
        width,
        height,
        cell: BLOCK_CELL,
        rows: rows.iter().enumerate().map(|(i, name)| label(name, left - 8, i * BLOCK_CELL + 13)).collect(),
        columns: columns.iter().enumerate().map(|(i, name)| label(name, i * BLOCK_CELL + 13, top - 6)).collect(),
        shapes: shapes.into_iter().collect(),
        places,
        broad: left + width > BLOCK_PAPER_WIDTH,
        grid,
    }
}

/// A mark from the upper left corner of its cell on, as steps of a path.
const fn shape(mark: Mark) -> &'static str {
    match mark {
        Mark::Used => "m3 9a6 6 0 1 1 12 0a6 6 0 1 1-12 0z",
        Mark::UsedConditional => "m3 9a6 6 0 1 1 12 0a6 6 0 1 1-12 0zm4 0a2 2 0 1 0 4 0a2 2 0 1 0-4 0z",
        Mark::Unused => "m4 9a5 5 0 1 1 10 0a5 5 0 1 1-10 0z",
        Mark::Denied => "m4.5 4.5l9 9m0-9-9 9",
        Mark::Shadow => "m9 2.500l6 11.500h-12zm0 4v3.500m0 1.600v.8",
    }
}

/// Lays the matrix out, or says nothing where there is nothing to draw or too much for one drawing.
pub(crate) fn lay_out(assessment: &Assessment) -> Option<Matrix> {
    let services = ordered(assessment);
    let count = services.len();
    if assessment.matrix.is_empty() || count > MATRIX_ROOMY_MAX {
        return None;
    }
    let place = Place::of(&services);
    let at: BTreeMap<&str, usize> = services.iter().enumerate().map(|(i, (_, name))| (*name, i)).collect();
    let marks = assessment.matrix.iter().filter_map(|cell| {
        let (x, _) = place.edge(*at.get(&*cell.to)?);
        let (_, y) = place.edge(*at.get(&*cell.from)?);
        Some(Spot { x, y, ..spot(cell) })
    });
    let far = place.edge(count);
    Some(Matrix {
        class: place.class,
        width: far.0 + place.overhang,
        height: far.1 + 4,
        cell: place.cell,
        badge: place.cell * 2 / 5,
        rows: axis(&services, |i| (place.left - 8, place.edge(i).1 + place.cell / 2 + place.baseline)),
        columns: axis(&services, |i| (place.edge(i).0 + place.cell / 2 + place.baseline, place.top - 7)),
        zones: zones(&services, &place),
        grid: lines(0..=count, &place, far),
        borders: lines(borders(&services).into_iter(), &place, far),
        selves: (0..count).map(|i| place.edge(i)).collect(),
        marks: marks.collect(),
        blanks: blanks(assessment, &services, &place),
    })
}

/// Sizes that follow from how many services there are and how long their names.
struct Place {
    class: &'static str,
    cell: usize,
    left: usize,
    top: usize,
    overhang: usize,
    baseline: usize,
}

impl Place {
    fn of(services: &[(&str, &str)]) -> Self {
        let longest = services.iter().map(|(_, name)| name.chars().count().min(AXIS_SHOWN_CHARS)).max().unwrap_or_default();
        let (class, cell) = if services.len() <= MATRIX_AIRY_MAX { ("airy", 40) } else { ("roomy", 28) };
        // Leaning labels stand at 58 degrees and reach over the right edge.
        let along = longest * 8;
        Self { class, cell, left: along + 16, top: 30 + along * 85 / 100 + 10, overhang: along * 53 / 100, baseline: 4 }
    }

    /// The upper left corner of the cell `(i, i)`.
    const fn edge(&self, i: usize) -> (usize, usize) {
        (self.left + i * self.cell, self.top + i * self.cell)
    }
}

/// `(zone, name)` of every service, as the inventory has them, then names that stand in the matrix alone.
pub(crate) fn ordered(assessment: &Assessment) -> Vec<(&str, &str)> {
    let mut out: Vec<_> = assessment.services.iter().map(|s| (s.zone.as_deref().unwrap_or(NO_ZONE), &*s.name)).collect();
    out.sort_by_key(|(zone, _)| zone_rank(assessment, zone));
    let known: BTreeSet<&str> = out.iter().map(|(_, name)| *name).collect();
    let others: BTreeSet<&str> = assessment.matrix.iter().flat_map(|c| [&*c.from, &*c.to]).filter(|name| !known.contains(name)).collect();
    out.extend(others.into_iter().map(|name| (NO_ZONE, name)));
    out
}

// Zones in the order the inventory first names them; services of no zone last.
fn zone_rank(assessment: &Assessment, zone: &str) -> usize {
    if zone == NO_ZONE {
        return usize::MAX;
    }
    assessment.services.iter().position(|s| s.zone.as_deref() == Some(zone)).unwrap_or(usize::MAX)
}

fn axis(services: &[(&str, &str)], place: impl Fn(usize) -> (usize, usize)) -> Vec<Axis> {
    let name = |(i, (_, name)): (usize, &(&str, &str))| {
        let (x, y) = place(i);
        let label = text::short(name, AXIS_SHOWN_CHARS).into_owned();
        Axis { x, y, label, whole: text::short(name, NAME_SHOWN_CHARS).into_owned() }
    };
    services.iter().enumerate().map(name).collect()
}

/// The first index of every zone but the first.
fn borders(services: &[(&str, &str)]) -> Vec<usize> {
    services.windows(2).enumerate().filter(|(_, pair)| matches!(pair, [a, b] if a.0 != b.0)).map(|(i, _)| i + 1).collect()
}

fn zones(services: &[(&str, &str)], place: &Place) -> Vec<ZoneSpan> {
    let mut starts = vec![0];
    starts.extend(borders(services));
    let ends = starts.iter().skip(1).copied().chain([services.len()]);
    let span = |(start, end): (&usize, usize)| {
        let (from, to) = (place.edge(*start).0 + 2, place.edge(end).0 - 2);
        let zone = services.get(*start).map_or("", |(zone, _)| *zone);
        let room = (to - from + 6) / 8;
        let label = if room < 2 { String::new() } else { text::short(zone, room).into_owned() };
        ZoneSpan { from, to, middle: usize::midpoint(from, to), label, whole: text::short(zone, NAME_SHOWN_CHARS).into_owned() }
    };
    starts.iter().zip(ends).map(span).collect()
}

fn lines(at: impl Iterator<Item = usize>, place: &Place, far: (usize, usize)) -> String {
    let mut path = String::new();
    for i in at {
        let (x, y) = place.edge(i);
        let _infallible = write!(path, "M{} {y}H{}M{x} {}V{}", place.left, far.0, place.top, far.1);
    }
    path
}

/// A mark whose place is not known yet.
fn spot(cell: &MatrixCell) -> Spot {
    let mut says = format!("{}: {}", pair(&cell.from, &cell.to), mark_word(cell.mark));
    let _infallible = write!(says, "; {} allowed, {} denied", text::thousands(cell.allowed_count), text::thousands(cell.denied_count));
    let denied_too = cell.denied && cell.mark != Mark::Denied;
    Spot { x: 0, y: 0, class: mark_class(cell.mark), denied_too, says, from: cell.from.clone(), to: cell.to.clone() }
}

fn blanks(assessment: &Assessment, services: &[(&str, &str)], place: &Place) -> Vec<Spot> {
    let marked: BTreeSet<(&str, &str)> = assessment.matrix.iter().map(|c| (&*c.from, &*c.to)).collect();
    let mut out = Vec::new();
    for (row, (_, from)) in services.iter().enumerate() {
        for (column, (_, to)) in services.iter().enumerate() {
            if row != column && !marked.contains(&(from, to)) {
                let says = format!("{}: no grant, no request", pair(from, to));
                out.push(Spot {
                    x: place.edge(column).0,
                    y: place.edge(row).1,
                    class: "blank",
                    denied_too: false,
                    says,
                    from: String::new(),
                    to: String::new(),
                });
            }
        }
    }
    out
}

fn pair(from: &str, to: &str) -> String {
    format!("{} → {}", text::short(from, NAME_SHOWN_CHARS), text::short(to, NAME_SHOWN_CHARS))
}

/// What stands where the inventory names no zone.
pub(crate) const NO_ZONE: &str = "no zone";

const BLOCK_CELL: usize = 18;

/// A sheet of A4 between its margins, in pixels.
const BLOCK_PAPER_WIDTH: usize = 680;
