//! What of a request a condition can read: its *footprint*, found by static analysis when a bundle is compiled.
//!
//! Two requests that agree on everything in the footprint of a condition get the same answer from it. The memo of conditional
//! answers rests on that (DESIGN §5), and so does the report of `check --cacheability`. A footprint may name more than is
//! read, never less; what cannot be told is [`Footprint::Unbounded`], and its answers are never kept.

use std::collections::BTreeSet;

use crate::model::Condition;
use crate::time::Timestamp;

/// What a condition can read, or why its answers cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Footprint {
    /// It reads at most this.
    Bounded(Reads),
    /// Its answers cannot be kept soundly; the reason as a sentence without its full stop.
    Unbounded(String),
}

/// The parts of a request that a condition can read.
///
/// The caller's service, the called service and the operation (`None` for undeclared ones) are not listed: they select the
/// cell, so every kept answer is for one of each. Facts of the inventory do not change within a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// The caller's SPIFFE ID itself.
    pub principal: bool,
    /// The method.
    pub method: bool,
    /// The path or, of a connection, the port.
    pub path: bool,
    /// The peer's address.
    pub source_ip: bool,
    /// The time.
    pub time: TimeReads,
    /// Headers, by lower-case name.
    pub headers: Names,
    /// Query parameters.
    pub query: Names,
    /// Claims, `iss`, `sub`, `aud` and `scope` among them. Reading any claim reads whether there is a token.
    pub claims: Names,
    /// Whether there is a token.
    pub token: bool,
}

/// How a condition reads the time: only the side of each boundary on which it lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeReads {
    /// Instants it is compared with: the answer may differ before, at, and after each.
    pub instants: BTreeSet<Timestamp>,
    /// Times of day (UTC) it is compared with, in milliseconds from midnight; likewise.
    pub of_day_ms: BTreeSet<i64>,
}

/// Some names, or all there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// These.
    Only(BTreeSet<Box<str>>),
    /// Every name.
    All,
}

impl Default for Names {
    fn default() -> Self {
        Self::Only(BTreeSet::new())
    }
}

impl Names {
    /// Adds a name.
    pub fn add(&mut self, name: &str) {
        if let Self::Only(names) = self {
            names.insert(name.into());
        }
    }

    /// Whether no name is read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Only(names) if names.is_empty())
    }

    fn union(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Only(names), Self::Only(more)) => names.extend(more.iter().cloned()),
            (_, Self::All) => *self = Self::All,
            (Self::All, _) => {}
        }
    }
}

impl TimeReads {
    /// Whether the time is not read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.instants.is_empty() && self.of_day_ms.is_empty()
    }
}

impl Reads {
    /// What is read, in words: `the path`, ``header `x-tenant` ``, `the time at 2026-12-31T00:00:00.000Z`.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let plain = [
            (self.principal, "the caller's SPIFFE ID"),
            (self.method, "the method"),
            (self.path, "the path"),
            (self.source_ip, "the source address"),
            (self.token && self.claims.is_empty(), "whether there is a token"),
        ];
        let mut out: Vec<String> = plain.into_iter().filter(|(read, _)| *read).map(|(_, what)| what.to_owned()).collect();
        for (names, one, all) in [
            (&self.headers, "header", "every header"),
            (&self.query, "query parameter", "every query parameter"),
            (&self.claims, "claim", "every claim"),
        ] {
            match names {
                Names::Only(names) => out.extend(names.iter().map(|name| format!("{one} `{name}`"))),
                Names::All => out.push(all.to_owned()),
            }
        }
        out.extend(self.time.instants.iter().map(|instant| format!("the time at {instant}")));
        let of_day = |ms: &i64| Timestamp::from_unix_ms(*ms).to_string().get(11..23).map(|clock| format!("the time of day at {clock}"));
        out.extend(self.time.of_day_ms.iter().filter_map(of_day));
        out
    }

    /// The attributes that the conditions of a permission name.
    pub(crate) fn attributes_of(when: &Condition) -> Self {
        let mut out = Self::default();
        when.headers.keys().for_each(|name| out.headers.add(name));
        when.query.keys().for_each(|name| out.query.add(name));
        when.jwt.iter().flat_map(|jwt| jwt.claims.keys()).for_each(|name| out.claims.add(name));
        out
    }

    /// Adds everything that `other` reads.
    pub fn union(&mut self, other: &Self) {
        self.principal |= other.principal;
        self.method |= other.method;
        self.path |= other.path;
        self.source_ip |= other.source_ip;
        self.time.instants.extend(&other.time.instants);
        self.time.of_day_ms.extend(&other.time.of_day_ms);
        self.headers.union(&other.headers);
        self.query.union(&other.query);
        self.claims.union(&other.claims);
        self.token |= other.token;
    }
}

impl Footprint {
    /// Whether the answer may depend on the time (never false where it does).
    #[must_use]
    pub fn reads_time(&self) -> bool {
        match self {
            Self::Bounded(reads) => !reads.time.is_empty(),
            Self::Unbounded(_) => true,
        }
    }

    /// The footprint of two conditions together.
    #[must_use]
    pub fn and(self, other: &Self) -> Self {
        match (self, other) {
            (Self::Bounded(mut reads), Self::Bounded(more)) => {
                reads.union(more);
                Self::Bounded(reads)
            }
            (Self::Unbounded(why), _) => Self::Unbounded(why),
            (_, Self::Unbounded(why)) => Self::Unbounded(why.clone()),
        }
    }
}
