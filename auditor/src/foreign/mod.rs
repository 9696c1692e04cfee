//! The logs of other meshes: read by adapters into one shape, graded by how well they identify their callers, and put to policy.
//!
//! `line → Adapter → Seen → Judge → cell`. An adapter knows one format and nothing of policy; the judge knows policy and nothing of
//! formats. Our own log does not come here: it holds the whole question and the answer, and a chain.
//!
//! A foreign record has no revision and no chain. It is judged under the bundle in force at its time where the history tells it, else
//! under the newest; what the mesh did and what policy says stand
//! side by side in the ledger's key and are never mixed with mismatches of our own enforcers.
//!
//! INVARIANT: what cannot be read is rejected and counted; what cannot be asked is not replayable, with its reason. Nothing is guessed.

mod adapter;
mod apart;
mod certificates;
mod deciding;
pub mod envoy;
pub(crate) mod fitness;
mod fold;
mod hubble;
pub mod json;
mod judge;
mod linkerd;
mod mapped;
pub mod mapping;
mod memory;
mod names;
mod opa;
mod pairs;
mod quick;
#[cfg(test)]
mod quick_test;
mod recognise;
mod resolve;
mod seen;
pub mod text;
pub(crate) mod time;
pub(crate) mod two;
mod ztunnel;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

pub(crate) use adapter::Adapter;
pub(crate) use apart::{Hint, Hinted, Hints, Looker, Wanted};
pub(crate) use deciding::Deciding;
pub(crate) use fold::{ForeignFold, Place, Taken};
pub(crate) use judge::Judge;
pub use judge::{Lack, Lawful};
pub use mapping::Mapping;
pub use names::{Address, Names, parse_network};
pub(crate) use quick::Sketch;
#[cfg(test)]
pub(crate) use quick_test::logs as lines_of_all_sorts;
pub(crate) use recognise::{Recognised, recognise};
pub use seen::{AddressOf, Callee, Caller, Did, Grade, Read, Reporter, Seen, SeenTls, Tie};
use serde::{Serialize, Serializer};

/// The format of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Our own decision log.
    Portreeve,
    /// Envoy's log as JSON.
    EnvoyJson,
    /// Envoy's log as text, in its default format or a given one.
    EnvoyText,
    /// Istio's JSON: Envoy's, with Istio's keys.
    IstioJson,
    /// Istio's default text.
    IstioText,
    /// Kuma's lines.
    Kuma,
    /// Linkerd's JSON.
    LinkerdJson,
    /// Ztunnel's lines, text or JSON.
    Ztunnel,
    /// Cilium Hubble's flows.
    Hubble,
    /// OPA's decision log, with the input of its Envoy plugin.
    Opa,
    /// NGINX's JSON, read by a mapping file.
    NginxJson,
    /// HAProxy's JSON, read by a mapping file.
    HaproxyJson,
    /// JSON or CSV of any shape, read by a mapping file.
    Mapped,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 13] = [
        Self::Portreeve,
        Self::EnvoyJson,
        Self::EnvoyText,
        Self::IstioJson,
        Self::IstioText,
        Self::Kuma,
        Self::LinkerdJson,
        Self::Ztunnel,
        Self::Hubble,
        Self::Opa,
        Self::NginxJson,
        Self::HaproxyJson,
        Self::Mapped,
    ];

    /// Its name, on the command line and in the assessment.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Portreeve => "portreeve",
            Self::EnvoyJson => "envoy-json",
            Self::EnvoyText => "envoy-text",
            Self::IstioJson => "istio-json",
            Self::IstioText => "istio-text",
            Self::Kuma => "kuma",
            Self::LinkerdJson => "linkerd-json",
            Self::Ztunnel => "ztunnel",
            Self::Hubble => "hubble",
            Self::Opa => "opa",
            Self::NginxJson => "nginx-json",
            Self::HaproxyJson => "haproxy-json",
            Self::Mapped => "mapped",
        }
    }

    /// The format of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.as_str() == name)
    }

    /// Whether rows with columns can be of it, which are read as objects of JSON. A row is a copy of a line, and our own lines are evidence
    /// by their bytes.
    #[must_use]
    pub const fn is_of_rows(self) -> bool {
        !matches!(self, Self::Portreeve | Self::EnvoyText | Self::IstioText | Self::Kuma)
    }

    /// Whether it is read by a mapping file only.
    #[must_use]
    pub const fn needs_mapping(self) -> bool {
        matches!(self, Self::NginxJson | Self::HaproxyJson | Self::Mapped)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Format {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// How logs are to be read.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The format; recognised by content where none is given.
    pub format: Option<Format>,
    /// Names and addresses that the inventory does not know.
    pub names: Names,
    /// How lines of one's own are cut, and where the facts stand.
    pub lines: Option<mapping::Lines>,
    /// A format of Envoy's operators, where `envoy-text` has another than its default.
    pub text: Option<text::TextFormat>,
    /// Threads that may read at once; at least one does. It shows in nothing but the time.
    pub threads: usize,
}

impl Reading {
    /// As our own log, whatever it looks like.
    #[must_use]
    pub fn ours() -> Self {
        Self { format: Some(Format::Portreeve), ..Self::default() }
    }

    /// With so many threads.
    #[must_use]
    pub fn on_threads(self, threads: usize) -> Self {
        Self { threads, ..self }
    }

    /// The same for a part of a table that begins behind its head, which is this line; `None` where nothing of the head has to be known.
    pub(crate) fn behind_head(&self, head: impl FnOnce() -> std::io::Result<Vec<u8>>) -> std::io::Result<Option<Self>> {
        let Some(lines) = self.lines.as_ref().filter(|lines| lines.needs_head()) else { return Ok(None) };
        Ok(mapped::columns(lines, &head()?).map(|lines| Self { lines: Some(lines), ..self.clone() }))
    }

    /// The same for rows with columns, which come as objects of JSON: what a mapping calls a column is a key.
    pub(crate) fn of_rows(&self) -> Self {
        Self { lines: self.lines.as_ref().map(mapping::Lines::of_rows), ..self.clone() }
    }

    /// As a mapping file says. A mapping of names alone leaves the format to be recognised.
    #[must_use]
    pub fn of(mapping: Mapping) -> Self {
        let is_told = mapping.lines.is_some() || mapping.text.is_some() || mapping.format != Format::Mapped;
        Self {
            format: is_told.then_some(mapping.format),
            names: mapping.names,
            lines: mapping.lines,
            text: mapping.text,
            ..Self::default()
        }
    }
}

/// The path and query of a URL, which some logs write whole.
fn path_of_url(url: Cow<'_, str>) -> Cow<'_, str> {
    let Some((_, rest)) = url.split_once("://").filter(|(scheme, _)| scheme.bytes().all(|b| b.is_ascii_alphanumeric())) else { return url };
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    Cow::Owned(path.to_owned())
}
