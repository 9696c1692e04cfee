//! The columns of a Parquet file, and the tree of objects and arrays that a row is made of.
//!
//! INVARIANT: every column is a leaf of the tree once, in the order of the footer.

use super::Fault;
use super::scalar::{Meaning, Physical, Unit};
use super::text;
use super::thrift::{Bad, Kind, Thrift};
use crate::limits::PARQUET_NESTING_MAX;

/// A column.
#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Its name with the names above it, for messages.
    pub(super) name: String,
    pub(super) physical: Physical,
    pub(super) meaning: Meaning,
    /// The definition level of a value that is there.
    pub(super) def: u32,
    /// How many arrays it lies in.
    pub(super) rep: u32,
}

/// What a row is made of.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) fields: Vec<Field>,
}

/// A member of an object: its key as it is written, and what it holds.
#[derive(Clone, Debug)]
pub(super) struct Field {
    /// `"key":`.
    pub(super) key: Box<[u8]>,
    pub(super) node: Node,
}

/// A value of a row.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// From this definition level on it is there; below it is `null`.
    pub(super) def: u32,
    /// The columns below it.
    pub(super) columns: std::ops::Range<usize>,
    pub(super) kind: NodeKind,
}

#[derive(Clone, Debug)]
pub(super) enum NodeKind {
    Leaf,
    Object(Vec<Field>),
    /// Its items are there from this definition level on, and go on at this repetition level.
    List {
        def: u32,
        rep: u32,
        item: Box<Node>,
    },
    /// The same of keys and values.
    Map {
        def: u32,
        rep: u32,
        key: Box<Node>,
        value: Option<Box<Node>>,
    },
}

/// An element of the schema as the footer has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Element {
    name: Vec<u8>,
    physical: Option<i64>,
    length: i64,
    repetition: i64,
    children: i64,
    converted: Option<i64>,
    scale: i64,
    logical: Option<Logical>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Logical {
    which: i64,
    scale: i64,
    unit: i64,
    signed: bool,
}

impl Element {
    pub(super) fn read(r: &mut Thrift<'_>) -> Result<Self, Bad> {
        let mut out = Self::default();
        r.fields(|r, id, kind| {
            match (id, kind) {
                (1, Kind::Int) => out.physical = Some(r.int()?),
                (2, Kind::Int) => out.length = r.int()?,
                (3, Kind::Int) => out.repetition = r.int()?,
                (4, Kind::Binary) => out.name = r.binary()?.to_vec(),
                (5, Kind::Int) => out.children = r.int()?,
                (6, Kind::Int) => out.converted = Some(r.int()?),
                (7, Kind::Int) => out.scale = r.int()?,
                (10, Kind::Struct) => out.logical = Some(Logical::read(r)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(out)
    }

    fn is_list(&self) -> bool {
        self.logical.map_or(self.converted == Some(3), |logical| logical.which == 3)
    }

    fn is_map(&self) -> bool {
        self.logical.map_or(matches!(self.converted, Some(1 | 2)), |logical| logical.which == 2)
    }

    /// What the bytes of a column mean.
    fn meaning(&self, physical: Physical) -> Meaning {
        use Meaning as M;
        let decimal = |scale| u32::try_from(scale).ok().filter(|scale| *scale <= DECIMAL_SCALE_MAX).map_or(M::Unreadable, M::Decimal);
        if let Some(logical) = self.logical {
            let unit = Unit::of(logical.unit);
            match (logical.which, unit, physical) {
                (1 | 4, _, Physical::Bytes) => return M::Text,
                (5, _, _) => return decimal(logical.scale),
                (6, _, Physical::Int32) => return M::Date,
                (7, Some(unit), Physical::Int32 | Physical::Int64) => return M::Clock(unit),
                (8, Some(unit), Physical::Int64) => return M::Time(unit),
                (10, _, Physical::Int32 | Physical::Int64) => return if logical.signed { M::Plain } else { M::Unsigned },
                (12, _, Physical::Bytes) => return M::Json,
                (14, _, Physical::Fixed(16)) => return M::Uuid,
                (15, _, Physical::Fixed(2)) => return M::Half,
                _ => {}
            }
        }
        match (self.converted, physical) {
            (Some(0 | 4), Physical::Bytes) => M::Text,
            (Some(5), _) => decimal(self.scale),
            (Some(6), Physical::Int32) => M::Date,
            (Some(7), Physical::Int32) => M::Clock(Unit::Milli),
            (Some(8), Physical::Int64) => M::Clock(Unit::Micro),
            (Some(9), Physical::Int64) => M::Time(Unit::Milli),
            (Some(10), Physical::Int64) => M::Time(Unit::Micro),
            (Some(11..=14), Physical::Int32 | Physical::Int64) => M::Unsigned,
            (Some(19), Physical::Bytes) => M::Json,
            _ => M::Plain,
        }
    }

    fn physical(&self) -> Option<Physical> {
        Some(match self.physical? {
            0 => Physical::Bool,
            1 => Physical::Int32,
            2 => Physical::Int64,
            3 => Physical::Int96,
            4 => Physical::Float,
            5 => Physical::Double,
            6 => Physical::Bytes,
            7 => Physical::Fixed(usize::try_from(self.length).ok().filter(|n| (1..=FIXED_BYTES_MAX).contains(n))?),
            _ => return None,
        })
    }
}

impl Logical {
    fn read(r: &mut Thrift<'_>) -> Result<Self, Bad> {
        let mut out = Self::default();
        r.fields(|r, id, kind| {
            if kind != Kind::Struct {
                return Ok(false);
            }
            out.which = id;
            r.fields(|r, field, kind| {
                match (id, field, kind) {
                    (5, 1, Kind::Int) => out.scale = r.int()?,
                    (7 | 8, 2, Kind::Struct) => r.fields(|_, unit, _| {
                        out.unit = unit;
                        Ok(false)
                    })?,
                    (10, 2, Kind::Bool(signed)) => out.signed = signed,
                    _ => return Ok(false),
                }
                Ok(true)
            })?;
            Ok(true)
        })?;
        Ok(out)
    }
}

/// The tree and the columns of a schema.
pub(super) fn shape(elements: &[Element]) -> Result<(Shape, Vec<Column>), Fault> {
    let mut building = Building { elements, next: 1, columns: Vec::new(), names: Vec::new() };
    let root = elements.first().ok_or(WRONG)?;
    let fields = building.fields(root.children, Levels::default())?;
    if building.next != elements.len() || building.columns.is_empty() {
        return Err(WRONG);
    }
    Ok((Shape { fields }, building.columns))
}

/// The levels that lie above an element.
#[derive(Clone, Copy, Default)]
struct Levels {
    def: u32,
    rep: u32,
    depth: u32,
}

struct Building<'e> {
    elements: &'e [Element],
    next: usize,
    columns: Vec<Column>,
    names: Vec<String>,
}

impl<'e> Building<'e> {
    fn fields(&mut self, count: i64, levels: Levels) -> Result<Vec<Field>, Fault> {
        if count < 1 || levels.depth > PARQUET_NESTING_MAX {
            return Err(WRONG);
        }
        let mut out = Vec::new();
        for _ in 0..count {
            let element = self.element()?;
            let mut key = Vec::with_capacity(element.name.len() + 3);
            text::string(&element.name, &mut key);
            key.push(b':');
            out.push(Field { key: key.into(), node: self.node(element, levels)? });
        }
        Ok(out)
    }

    fn element(&mut self) -> Result<&'e Element, Fault> {
        let element = self.elements.get(self.next).ok_or(WRONG)?;
        self.next += 1;
        Ok(element)
    }

    /// An element as it stands in an object: what is repeated without being called a list is one.
    fn node(&mut self, element: &'e Element, above: Levels) -> Result<Node, Fault> {
        let mut levels = Levels { depth: above.depth + 1, ..above };
        if element.repetition == REPEATED {
            levels.def += 1;
            levels.rep += 1;
            let item = self.named(element, |s| s.content(element, levels))?;
            let columns = item.columns.clone();
            return Ok(Node { def: above.def, columns, kind: NodeKind::List { def: levels.def, rep: levels.rep, item: Box::new(item) } });
        }
        levels.def += u32::from(element.repetition == OPTIONAL);
        self.named(element, |s| s.content(element, levels))
    }

    fn named(&mut self, element: &Element, inner: impl FnOnce(&mut Self) -> Result<Node, Fault>) -> Result<Node, Fault> {
        self.names.push(String::from_utf8_lossy(&element.name).into_owned());
        let node = inner(self);
        self.names.pop();
        node
    }

    /// What an element holds, from its own levels on.
    fn content(&mut self, element: &'e Element, levels: Levels) -> Result<Node, Fault> {
        if levels.depth > PARQUET_NESTING_MAX {
            return Err(WRONG);
        }
        let first = self.columns.len();
        let kind = if element.children == 0 || element.physical.is_some() {
            let physical = element.physical().ok_or(WRONG)?;
            let (def, rep) = (levels.def, levels.rep);
            self.columns.push(Column { name: self.names.join("."), physical, meaning: element.meaning(physical), def, rep });
            NodeKind::Leaf
        } else if element.children == 1 && element.is_list() && self.next_is_repeated() {
            self.list(element, levels)?
        } else if element.children == 1 && element.is_map() && self.next_is_repeated() {
            self.map(levels)?
        } else {
            NodeKind::Object(self.fields(element.children, levels)?)
        };
        Ok(Node { def: levels.def, columns: first..self.columns.len(), kind })
    }

    fn next_is_repeated(&self) -> bool {
        self.elements.get(self.next).is_some_and(|element| element.repetition == REPEATED)
    }

    /// The three levels of a list, or the two of older writers.
    fn list(&mut self, list: &Element, above: Levels) -> Result<NodeKind, Fault> {
        let repeated = self.element()?;
        let levels = Levels { def: above.def + 1, rep: above.rep + 1, depth: above.depth + 1 };
        let (name, old) = (&repeated.name, [list.name.as_slice(), b"_tuple"].concat());
        let is_item = repeated.children != 1 || repeated.physical.is_some() || name == b"array" || *name == old;
        let item = if is_item {
            self.content(repeated, levels)?
        } else {
            let element = self.element()?;
            self.node(element, levels)?
        };
        Ok(NodeKind::List { def: levels.def, rep: levels.rep, item: Box::new(item) })
    }

    fn map(&mut self, above: Levels) -> Result<NodeKind, Fault> {
        let pair = self.element()?;
        let levels = Levels { def: above.def + 1, rep: above.rep + 1, depth: above.depth + 1 };
        if pair.physical.is_some() || !matches!(pair.children, 1 | 2) {
            return Err(WRONG);
        }
        let key = self.element()?;
        let key = self.named(key, |s| s.node(key, levels))?;
        let value = if pair.children == 2 {
            let value = self.element()?;
            Some(Box::new(self.node(value, levels)?))
        } else {
            None
        };
        Ok(NodeKind::Map { def: levels.def, rep: levels.rep, key: Box::new(key), value })
    }
}

const OPTIONAL: i64 = 1;
const REPEATED: i64 = 2;
const WRONG: Fault = Fault::Footer("describes columns that cannot be");
/// A number of 128 bits has no more digits.
const DECIMAL_SCALE_MAX: u32 = 38;
/// Digests have 64, and nothing in a log is of a fixed length and longer than this.
const FIXED_BYTES_MAX: usize = 1 << 16;
