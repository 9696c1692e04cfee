//! Where things stand in the drawing of the access matrix: rows call columns, services grouped by zone.
//!
//! Places only, in whole pixels; the words and the marks come from the assessment. A table with the same content follows the
//! drawing, so nothing is said by shape alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use portreeve_auditor::assessment::{Assessment, Mark, MatrixCell};

use crate::filters::{mark_class, mark_word};
use crate::limits::{AXIS_SHOWN_CHARS, MATRIX_AIRY_MAX, MATRIX_MIDDLING_MAX, MATRIX_ROOMY_MAX, MATRIX_SERVICES_MAX, NAME_SHOWN_CHARS};
use crate::text;

/// The drawing.
pub(crate) struct Matrix {
    pub(crate) class: &'static str,
    pub(crate) lean: i32,
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
}

/// Lays the matrix out, or says nothing where there is nothing to draw or too much.
pub(crate) fn lay_out(assessment: &Assessment) -> Option<Matrix> {
    let services = ordered(assessment);
    let count = services.len();
    if assessment.matrix.is_empty() || count > MATRIX_SERVICES_MAX {
        return None;
    }
    let place = Place::of(&services);
    let at: BTreeMap<&str, usize> = services.iter().enumerate().map(|(i, (_, name))| (*name, i)).collect();
    let marks = assessment.matrix.iter().filter_map(|cell| Some(spot(cell, *at.get(&*cell.from)?, *at.get(&*cell.to)?, &place))).collect();
    let far = place.edge(count);
    Some(Matrix {
        class: place.class,
        lean: if count <= MATRIX_ROOMY_MAX { -58 } else { -90 },
        width: far.0 + place.overhang,
        height: far.1 + 4,
        cell: place.cell,
        badge: if count <= MATRIX_ROOMY_MAX { place.cell * 2 / 5 } else { place.cell / 2 },
        rows: axis(&services, |i| (place.left - 8, place.edge(i).1 + place.cell / 2 + place.baseline)),
        columns: axis(&services, |i| (place.edge(i).0 + place.cell / 2 + place.baseline, place.top - 7)),
        zones: zones(&services, &place),
        grid: lines(0..=count, &place, far),
        borders: lines(borders(&services).into_iter(), &place, far),
        selves: (0..count).map(|i| place.edge(i)).collect(),
        marks,
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
        let (class, cell, letter) = match services.len() {
            0..=MATRIX_AIRY_MAX => ("airy", 40, 8),
            n if n <= MATRIX_ROOMY_MAX => ("roomy", 28, 8),
            n if n <= MATRIX_MIDDLING_MAX => ("middling", 18, 7),
            _ => ("compact", 12, 6),
        };
        let leaning = services.len() <= MATRIX_ROOMY_MAX;
        // Leaning labels stand at 58 degrees and reach over the right edge; the others stand upright.
        let along = longest * letter;
        let (up, overhang) = if leaning { (along * 85 / 100, along * 53 / 100) } else { (along, 4) };
        Self { class, cell, left: along + 16, top: 30 + up + 10, overhang, baseline: if leaning { 4 } else { 3 } }
    }

    /// The upper left corner of the cell `(i, i)`.
    const fn edge(&self, i: usize) -> (usize, usize) {
        (self.left + i * self.cell, self.top + i * self.cell)
    }
}

/// `(zone, name)` of every service, as the inventory has them, then names that stand in the matrix alone.
fn ordered(assessment: &Assessment) -> Vec<(&str, &str)> {
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

fn spot(cell: &MatrixCell, row: usize, column: usize, place: &Place) -> Spot {
    let mut says = format!("{}: {}", pair(&cell.from, &cell.to), mark_word(cell.mark));
    let _infallible = write!(says, "; {} allowed, {} denied", text::thousands(cell.allowed_count), text::thousands(cell.denied_count));
    let denied_too = cell.denied && cell.mark != Mark::Denied;
    Spot { x: place.edge(column).0, y: place.edge(row).1, class: mark_class(cell.mark), denied_too, says }
}

fn blanks(assessment: &Assessment, services: &[(&str, &str)], place: &Place) -> Vec<Spot> {
    if services.len() > MATRIX_ROOMY_MAX {
        return Vec::new();
    }
    let marked: BTreeSet<(&str, &str)> = assessment.matrix.iter().map(|c| (&*c.from, &*c.to)).collect();
    let mut out = Vec::new();
    for (row, (_, from)) in services.iter().enumerate() {
        for (column, (_, to)) in services.iter().enumerate() {
            if row != column && !marked.contains(&(from, to)) {
                let says = format!("{}: no grant, no request", pair(from, to));
                out.push(Spot { x: place.edge(column).0, y: place.edge(row).1, class: "blank", denied_too: false, says });
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
