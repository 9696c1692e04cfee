//! Who may call whom, as the page shows it: pairs of services with their operations under them, the drawings' links into that
//! list, and the zones.

use std::collections::BTreeMap;

use portreeve_auditor::assessment::{Assessment, EdgeSummary, Mark, MatrixCell};
use portreeve_engine::SpiffeId;

use super::Goal;
use crate::limits::{NAME_SHOWN_CHARS, OPERATIONS_MAX, PAIRS_ROWS_MAX, ROWS_MAX};
use crate::matrix::{self, Block, Matrix, NO_ZONE};
use crate::text;
use crate::zones::{self, FlowLink, ZoneMap, Zones};

/// Everything of the section.
pub(super) struct Access<'a> {
    pub(super) matrix: Option<Matrix>,
    pub(super) blocks: Vec<Block>,
    pub(super) map: Option<ZoneMap>,
    pub(super) zones: Vec<ZoneRow>,
    pub(super) pairs: Vec<Pair<'a>>,
    /// All pairs there are, and operations of those listed that only `assessment.json` has.
    pub(super) pairs_of: u64,
    pub(super) operations_left: u64,
    /// Of every pair the places of its operations in the assessment's edges, for the script.
    pub(super) edges: Vec<Vec<usize>>,
    numbers: BTreeMap<(&'a str, &'a str), usize>,
}

/// A caller, a called service, and the operations between them.
pub(super) struct Pair<'a> {
    pub(super) from: Option<&'a str>,
    pub(super) from_id: Option<&'a SpiffeId>,
    /// What another mesh calls a caller that is neither.
    pub(super) from_name: Option<&'a str>,
    pub(super) to: &'a str,
    pub(super) from_zone: &'a str,
    pub(super) to_zone: &'a str,
    pub(super) cell: Option<&'a MatrixCell>,
    /// Each with its place among the assessment's edges.
    pub(super) operations: Vec<(usize, &'a EdgeSummary)>,
}

/// A zone as a row of the table of zones.
pub(super) struct ZoneRow {
    pub(super) name: String,
    pub(super) services: u64,
    pub(super) cells: Vec<ZoneCell>,
}

/// What leads from one zone into another.
pub(super) struct ZoneCell {
    pub(super) to: String,
    pub(super) counts: Vec<(Mark, u64)>,
    pub(super) block: Option<String>,
}

impl<'a> Access<'a> {
    pub(super) fn of(a: &'a Assessment) -> Self {
        let zones = Zones::of(a);
        let mut pairs = pairs(a);
        let numbers = pairs.iter().enumerate().filter_map(|(n, p)| Some(((p.from?, p.to), n))).collect();
        let edges = pairs.iter().map(|p| p.operations.iter().map(|(at, _)| *at).collect()).collect();
        let pairs_of = pairs.len() as u64;
        pairs.truncate(PAIRS_ROWS_MAX);
        let operations_left = cut_operations(&mut pairs);
        let blocks = matrix::blocks(a, &zones);
        Self {
            matrix: matrix::lay_out(a),
            map: zones::lay_out(a, &zones),
            zones: zone_rows(&zones, &blocks),
            blocks,
            pairs,
            pairs_of,
            operations_left,
            edges,
            numbers,
        }
    }

    /// Where a pair stands in the list.
    pub(super) fn pair(&self, from: &str, to: &str) -> Option<Goal> {
        let number = *self.numbers.get(&(from, to))?;
        Some(Goal { anchor: format!("p-{number}"), list: "pairs", on_a_row: number < PAIRS_ROWS_MAX })
    }

    /// Where a line of the drawing of zones leads.
    pub(super) fn flow(&self, link: &FlowLink) -> Option<Goal> {
        match link {
            FlowLink::Pair(from, to) => self.pair(from, to),
            FlowLink::Zones(from, to) => self.block(*from, *to).map(|anchor| Goal { anchor, list: "access", on_a_row: true }),
        }
    }

    fn block(&self, from: usize, to: usize) -> Option<String> {
        self.blocks.iter().any(|b| (b.from_zone, b.to_zone) == (from, to)).then(|| block_anchor(from, to))
    }
}

impl Block {
    pub(super) fn anchor(&self) -> String {
        block_anchor(self.from_zone, self.to_zone)
    }
}

fn block_anchor(from: usize, to: usize) -> String {
    format!("b-{from}-{to}")
}

/// The pairs of the matrix in its order, then those of callers outside the inventory and of services that call themselves.
fn pairs(a: &Assessment) -> Vec<Pair<'_>> {
    type Ends<'a> = (Option<&'a str>, Option<&'a SpiffeId>, Option<&'a str>, &'a str);
    let zones: BTreeMap<&str, &str> = a.services.iter().map(|s| (&*s.name, s.zone.as_deref().unwrap_or(NO_ZONE))).collect();
    let zone = |name: Option<&str>| name.and_then(|n| zones.get(n).copied()).unwrap_or(NO_ZONE);
    let mut edges: BTreeMap<Ends<'_>, Vec<(usize, &EdgeSummary)>> = BTreeMap::new();
    for (at, edge) in a.edges.iter().enumerate() {
        let stranger = edge.from.is_none();
        let (from_id, from_name) = (edge.from_id.as_ref().filter(|_| stranger), edge.from_name.as_deref().filter(|_| stranger));
        edges.entry((edge.from.as_deref(), from_id, from_name, &*edge.to)).or_default().push((at, edge));
    }
    let mut out = Vec::new();
    let mut pair = |(from, from_id, from_name, to), cell, operations| {
        out.push(Pair { from, from_id, from_name, to, from_zone: zone(from), to_zone: zone(Some(to)), cell, operations });
    };
    for cell in &a.matrix {
        let ends = (Some(&*cell.from), None, None, &*cell.to);
        let operations = edges.remove(&ends).unwrap_or_default();
        pair(ends, Some(cell), operations);
    }
    for (ends, operations) in edges {
        pair(ends, None, operations);
    }
    out
}

/// Leaves the operations there is room for, and tells how many it took.
fn cut_operations(pairs: &mut [Pair<'_>]) -> u64 {
    let (mut room, mut left) = (OPERATIONS_MAX, 0);
    for pair in pairs {
        let all = pair.operations.len();
        pair.operations.truncate(room);
        room -= pair.operations.len();
        left += (all - pair.operations.len()) as u64;
    }
    left
}

fn zone_rows(zones: &Zones<'_>, blocks: &[Block]) -> Vec<ZoneRow> {
    let name = |name: &str| text::short(name, NAME_SHOWN_CHARS).into_owned();
    let cell = |from: usize, to: usize, called: &str| ZoneCell {
        to: name(called),
        counts: zones.between(from, to),
        block: blocks.iter().any(|b| (b.from_zone, b.to_zone) == (from, to)).then(|| block_anchor(from, to)),
    };
    let row = |(from, zone): (usize, &&str)| ZoneRow {
        name: name(zone),
        services: zones.services.get(from).map_or(0, Vec::len) as u64,
        cells: zones.names.iter().enumerate().map(|(to, called)| cell(from, to, called)).collect(),
    };
    zones.names.iter().take(ROWS_MAX).enumerate().map(row).collect()
}
