//! The agent's own configuration file: which user may have which identity.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve_engine::id::{SpiffeId, TrustDomain};
use portreeve_engine::yaml::{Fields, Node};
use portreeve_engine::{Diagnostic, yaml};

use super::reader::Reader;
use super::{ConfigError, read_text};
use crate::ca::{
    AGENT_LIFETIME_DEFAULT, CaOptions, LEAF_LIFETIME_MAX, LEAF_LIFETIME_MIN, OVERLAP_DEFAULT, ROOT_LIFETIME_DEFAULT, Schedule,
};

/// What the agent needs to run.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The authority's directory.
    pub dir: PathBuf,
    /// The unix socket.
    pub socket: PathBuf,
    /// How long an identity lives.
    pub lifetime: Duration,
    /// Who may have what.
    pub entries: Vec<Entry>,
    /// The roots of other trust domains, PEM.
    pub federation: BTreeMap<TrustDomain, PathBuf>,
    /// When signers are changed.
    pub schedule: Schedule,
}

/// An identity that a user may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The user.
    pub uid: u32,
    /// The identity.
    pub id: SpiffeId,
    /// DNS names beside it.
    pub dns: Vec<String>,
    /// How long it lives, if not as long as the others.
    pub lifetime: Option<Duration>,
    /// What it is for, for a user with several.
    pub hint: String,
}

impl AgentConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The file cannot be read, or everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path)?;
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse(&path.display().to_string(), &text, base).map_err(ConfigError::Invalid)
    }

    /// Reads the text of a configuration. `name` is for messages, `base` is what relative paths are relative to.
    ///
    /// # Errors
    /// Everything that is wrong, with its place.
    pub fn parse(name: &str, text: &str, base: &Path) -> Result<Self, Vec<Diagnostic>> {
        super::parse_with(name, text, base, |reader, root| reader.agent(root))
    }
}

impl<'a> Reader<'a> {
    fn agent(&mut self, root: &'a Node) -> Option<AgentConfig> {
        let mut f = Fields::of(self.file, root, &mut self.out)?;
        let dir = f.require_text("dir", &mut self.out).map(|t| self.base.join(t.text));
        let socket = f.require_text("socket", &mut self.out).map(|t| self.base.join(t.text));
        let lifetime = self.lifetime(&mut f).map(|lifetime| lifetime.unwrap_or(AGENT_LIFETIME_DEFAULT));
        let entries_at = f.require("entries", &mut self.out);
        let entries = self.each(entries_at, Self::entry);
        let federation = f.take("federation").map(|n| self.trust(n)).unwrap_or_default();
        let schedule = f.take("rotate").map_or(Some(DEFAULT), |n| self.schedule(n));
        f.finish(&mut self.out);
        let mut seen = BTreeSet::new();
        for (entry, node) in entries.iter().zip(items(entries_at)) {
            if !seen.insert((entry.uid, entry.id.to_string())) {
                self.fault(node, "duplicate", &format!("user {} has `{}` twice", entry.uid, entry.id), "leave one of the two out");
            }
        }
        Some(AgentConfig { dir: dir?, socket: socket?, lifetime: lifetime?, entries, federation, schedule: schedule? })
    }

    fn entry(&mut self, node: &'a Node) -> Option<Entry> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        f.require("uid", &mut self.out);
        let uid: Option<u32> = f.parse("uid", &mut self.out);
        f.require("id", &mut self.out);
        let id: Option<SpiffeId> = f.parse("id", &mut self.out);
        let dns = f.texts("dns", &mut self.out).into_iter().map(|t| t.text.to_owned()).collect();
        let lifetime = self.lifetime(&mut f);
        let hint = f.text("hint", &mut self.out).map(|t| t.text.to_owned()).unwrap_or_default();
        f.finish(&mut self.out);
        if uid == Some(OVERFLOW_UID) {
            let message = format!("user {OVERFLOW_UID} stands for everybody whom the kernel cannot name here");
            self.fault(node.get("uid").unwrap_or(node), "invalid-value", &message, "give the service a user of its own");
        }
        if id.as_ref().is_some_and(|id| !id.is_workload()) {
            self.fault(node.get("id").unwrap_or(node), "invalid-value", "the id names a trust domain, not a workload", "add a path");
        }
        Some(Entry { uid: uid?, id: id?, dns, lifetime: lifetime?, hint })
    }

    /// `None` where it is not acceptable, `Some(None)` where it is not given.
    fn lifetime(&mut self, f: &mut Fields<'a>) -> Option<Option<Duration>> {
        if f.key("lifetime").is_none() {
            return Some(None);
        }
        let node = f.key("lifetime");
        let lifetime = self.duration(f, "lifetime", AGENT_LIFETIME_DEFAULT, LEAF_LIFETIME_MAX)?;
        if let Some(node) = node.filter(|_| lifetime < LEAF_LIFETIME_MIN) {
            let message = format!("an identity lives at least {} s", LEAF_LIFETIME_MIN.as_secs());
            self.fault(node, "invalid-value", &message, "an hour is a good life: `1h`");
        }
        Some(Some(lifetime))
    }

    fn schedule(&mut self, node: &'a Node) -> Option<Schedule> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let given = f.key("root").is_some();
        let root = self.duration(&mut f, "root", ROOT_LIFETIME_DEFAULT, ROOT_LIFETIME_DEFAULT);
        let overlap = self.duration(&mut f, "overlap", OVERLAP_DEFAULT, LEAF_LIFETIME_MAX);
        f.finish(&mut self.out);
        let (root, overlap) = (root?, overlap?);
        Some(Schedule { root_every: given.then_some(root), overlap, ..DEFAULT })
    }
}

fn items(node: Option<&Node>) -> &[Node] {
    match node.map(|node| &node.value) {
        Some(yaml::Value::Sequence(items)) => items,
        _ => &[],
    }
}

const DEFAULT: Schedule = Schedule { root_every: None, overlap: OVERLAP_DEFAULT, options: CaOptions::DEFAULT };
/// The user that the kernel shows for users of another namespace that have no number here.
const OVERFLOW_UID: u32 = 65_534;
