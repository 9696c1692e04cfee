//! Tables of what people declared and of what the analyses found: one shape for all of them, so that each says how many of how many it
//! is about, on what it rests, and what it leaves to `assessment.json`.
//!
//! INVARIANT: cells hold what the assessment holds; nothing is counted here but rows and names that are left out.

#![expect(unused_qualifications, reason = "the code derived for a template has them")]

use askama::Template;
use portreeve_auditor::assessment::analyses::{Part, Ratio};
use portreeve_engine::time::Date;
use portreeve_engine::{Digest, Timestamp};

use super::{Anchors, Link};
use crate::filters;
use crate::limits::{CELL_NAMES_MAX, PART_ROWS_MAX};

/// A table, and what is to be said of it.
#[derive(Default)]
pub(super) struct Table<'a> {
    pub(super) title: &'static str,
    /// The names of its two figures in the assessment, such as `analyses.reach.have`.
    figures: (String, String),
    /// How many of how many, where it is counted so.
    pub(super) count: Option<Ratio>,
    pub(super) what: &'a str,
    pub(super) rests_on: &'a str,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Vec<Cell<'a>>>,
    /// Rows that are left to `assessment.json`.
    pub(super) left: u64,
    /// Checks whose findings say the same in their own way.
    pub(super) checks: Vec<Pick<'a>>,
}

/// A check, and the token by which the list of findings is filtered to it.
pub(super) struct Pick<'a> {
    pub(super) check: &'a str,
    pub(super) token: String,
}

/// A heading of a column.
pub(super) struct Column {
    pub(super) label: &'static str,
    pub(super) is_figure: bool,
}

/// What stands in a row; its template escapes whatever is in it.
#[derive(Template)]
#[template(path = "cell.html", whitespace = "minimize")]
pub(super) enum Cell<'a> {
    /// A stranger's sentence.
    Text(&'a str),
    /// Our own words.
    Words(String),
    /// Our own words where there is nothing to show.
    None(&'static str),
    /// What must not be overlooked.
    Loud(String),
    /// Names, separated by commas.
    Names(Names<'a>),
    /// Names in an order, separated by arrows.
    Chain(Vec<Link<'a>>),
    /// A figure.
    Count(u64),
    /// So many of so many.
    Of(Ratio),
    /// A time.
    When(Timestamp),
    /// A day.
    Day(Date),
    /// A digest.
    Digest(Digest),
    /// One under the other.
    Lines(Vec<Self>),
}

/// The first few of some names.
pub(super) struct Names<'a> {
    pub(super) shown: Vec<Link<'a>>,
    pub(super) left: u64,
}

impl<'a> Table<'a> {
    /// A table over an analysis: what it counts, what it rests on, and its cases.
    pub(super) fn of<T>(title: &'static str, field: &'static str, part: &'a Part<T>, row: impl FnMut(&'a T) -> Vec<Cell<'a>>) -> Self {
        let mut table = Self::plain(title, field, &part.entries, row);
        table.left += part.omitted;
        Self { count: Some(Ratio { have: part.have, of: part.of }), what: &part.what, rests_on: &part.rests_on, ..table }
    }

    /// A table over a list.
    pub(super) fn plain<T: 'a>(
        title: &'static str,
        field: &'static str,
        all: impl IntoIterator<Item = &'a T>,
        row: impl FnMut(&'a T) -> Vec<Cell<'a>>,
    ) -> Self {
        let mut rows = all.into_iter();
        let shown = rows.by_ref().take(PART_ROWS_MAX).map(row).collect();
        let figures = (format!("{field}.have"), format!("{field}.of"));
        Self { title, figures, rows: shown, left: rows.count() as u64, ..Self::default() }
    }

    /// With headings: `#` before one makes it a column of figures.
    pub(super) fn headed(mut self, columns: &[&'static str]) -> Self {
        let column = |label: &&'static str| match label.strip_prefix('#') {
            Some(label) => Column { label, is_figure: true },
            None => Column { label, is_figure: false },
        };
        self.columns = columns.iter().map(column).collect();
        self
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.left == 0
    }

    pub(super) fn is_figure(&self, column: &usize) -> bool {
        self.columns.get(*column).is_some_and(|c| c.is_figure)
    }

    /// The names of its two figures, for the filter `field`.
    pub(super) fn have(&self) -> &str {
        &self.figures.0
    }

    pub(super) fn out_of(&self) -> &str {
        &self.figures.1
    }
}

impl<'a> Cell<'a> {
    /// Its markup.
    pub(super) fn shown(&self) -> Result<String, askama::Error> {
        self.render().map(|text| text.trim().to_owned())
    }

    pub(super) fn name(name: &'a str) -> Self {
        Self::names([name])
    }

    pub(super) fn names(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::links(names.into_iter().map(|label| Link { label, anchor: None }))
    }

    pub(super) fn all(names: &'a [String]) -> Self {
        Self::names(names.iter().map(String::as_str))
    }

    pub(super) fn links(links: impl IntoIterator<Item = Link<'a>>) -> Self {
        let mut links = links.into_iter();
        let shown: Vec<_> = links.by_ref().take(CELL_NAMES_MAX).collect();
        if shown.is_empty() { Self::None("–") } else { Self::Names(Names { shown, left: links.count() as u64 }) }
    }

    pub(super) fn service(name: &'a str, anchors: &Anchors<'a>) -> Self {
        Self::links([anchors.service(name)])
    }

    /// A caller that may be outside the inventory.
    pub(super) fn caller(name: Option<&'a str>, anchors: &Anchors<'a>) -> Self {
        name.map_or(Self::None("identities outside the inventory"), |name| Self::service(name, anchors))
    }

    pub(super) fn services(names: &'a [String], anchors: &Anchors<'a>) -> Self {
        Self::links(names.iter().map(|name| anchors.service(name)))
    }

    pub(super) fn text(text: &'a str) -> Self {
        if text.is_empty() { Self::None("–") } else { Self::Text(text) }
    }

    pub(super) fn when(time: Option<Timestamp>) -> Self {
        time.map_or(Self::None("–"), Self::When)
    }

    pub(super) fn yes(is_so: bool, words: &str) -> Self {
        if is_so { Self::Loud(words.to_owned()) } else { Self::None("–") }
    }
}
