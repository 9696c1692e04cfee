//! Where the policy comes from, and how old it may be.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;
use crate::fetch::{Reach, Roots, Url};
use crate::keep::Keep;
use crate::limits;

/// The bundle: where it lies, who must have signed it, and how long it counts.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Where.
    pub source: Source,
    /// How old it may be, if that matters.
    pub freshness: Option<Freshness>,
    /// The directory in which the last good signed bundle is kept, where one is named.
    pub cache: Option<PathBuf>,
}

/// Where a bundle comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A directory, unsigned: whoever can write it decides.
    Directory(PathBuf),
    /// One built file, signed.
    File {
        /// The file.
        path: PathBuf,
        /// The public key. Nothing unsigned is taken up, and no step back in serials.
        key: PathBuf,
    },
    /// One built file on a server, signed.
    Remote(Box<Remote>),
}

/// A server of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Where.
    pub url: Url,
    /// The public key.
    pub key: PathBuf,
    /// How often it is asked for something new.
    pub poll: Duration,
    /// Whose certificate is believed.
    pub roots: Roots,
    /// How far it may be.
    pub reach: Reach,
    /// A file with a token for the server.
    pub token: Option<PathBuf>,
}

/// How old a signed bundle may be, counted from its issue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// This old.
    pub max_age: Duration,
    /// What happens afterwards.
    pub on_stale: OnStale,
}

/// What happens when a bundle is too old.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnStale {
    /// It goes on deciding, and an alarm is raised.
    Alarm,
    /// Nothing is let through any more.
    Deny,
}

impl OnStale {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alarm => "alarm",
            Self::Deny => "deny",
        }
    }
}

impl Bundle {
    /// Where the last good one is kept.
    #[must_use]
    pub fn keep(&self) -> Option<Keep> {
        self.cache.as_deref().map(|dir| Keep::of(dir, &self.source))
    }
}

impl Source {
    /// Where it lies on this machine, if it does.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Directory(path) | Self::File { path, .. } => Some(path),
            Self::Remote(_) => None,
        }
    }

    /// The public key that must have signed it.
    #[must_use]
    pub fn key(&self) -> Option<&Path> {
        match self {
            Self::Directory(_) => None,
            Self::File { key, .. } => Some(key),
            Self::Remote(remote) => Some(&remote.key),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) | Self::File { path, .. } => write!(f, "{}", path.display()),
            Self::Remote(remote) => remote.url.fmt(f),
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn bundle(&mut self, node: &'a Node) -> Option<Bundle> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let source = match f.text("url", &mut self.out) {
            Some(url) => self.remote(node, &mut f, url.node, url.text),
            None => self.on_disk(&mut f),
        };
        let signed = f.key("key").is_some();
        for name in ["cache", "max_age", "on_stale"] {
            if let Some(place) = f.key(name).filter(|_| !signed) {
                let message = format!("`bundle.{name}` needs a signed bundle: only its issue says how old it is and what follows it");
                self.fault(place, "config", &message, "name the public key: `key: bundle.pub`");
            }
        }
        let cache = f.text("cache", &mut self.out).map(|t| self.base.join(t.text));
        let aged = f.key("max_age").is_some();
        let max_age = self.duration(&mut f, "max_age", limits::BUNDLE_AGE_MAX, limits::BUNDLE_AGE_MAX);
        let words = [("alarm", OnStale::Alarm), ("deny", OnStale::Deny)];
        let on_stale = self.word(&mut f, "on_stale", &words, OnStale::Alarm);
        if let Some(place) = f.key("on_stale").filter(|_| !aged) {
            self.fault(place, "config", "`bundle.on_stale` says what happens after `max_age`, and there is none", "add `max_age: 10m`");
        }
        f.finish(&mut self.out);
        let freshness = Freshness { max_age: max_age?, on_stale: on_stale? };
        Some(Bundle { source: source?, freshness: aged.then_some(freshness), cache })
    }

    fn on_disk(&mut self, f: &mut Fields<'a>) -> Option<Source> {
        let path = f.require_text("path", &mut self.out).map(|t| self.base.join(t.text));
        let key = f.text("key", &mut self.out).map(|t| self.base.join(t.text));
        Some(match (path?, key) {
            (path, Some(key)) => Source::File { path, key },
            (path, None) => Source::Directory(path),
        })
    }

    fn remote(&mut self, node: &'a Node, f: &mut Fields<'a>, at: &'a Node, text: &str) -> Option<Source> {
        if let Some(both) = f.take("path") {
            self.fault(both, "config", "a bundle has one place: `url` or `path`", "take one of them out");
        }
        if f.key("key").is_none() {
            let message = "a bundle from a URL must be signed, and no `key` says who must have signed it (A75)";
            self.fault(node, "missing-field", message, "name the public key: `key: bundle.pub`; `portreeve bundle keygen` makes a pair");
        }
        let key = f.text("key", &mut self.out).map(|t| self.base.join(t.text));
        let poll = self.duration(f, "poll", limits::BUNDLE_POLL, limits::BUNDLE_POLL_MAX);
        let roots = f.text("ca", &mut self.out).map_or(Roots::System, |t| Roots::File(self.base.join(t.text)));
        let private = f.boolean("private_addresses", &mut self.out).unwrap_or(false);
        let reach = Reach { private_addresses: private, loopback_http: private };
        let token = f.text("token", &mut self.out).map(|t| self.base.join(t.text));
        let url = self.url(at, text, reach);
        Some(Source::Remote(Box::new(Remote { url: url?, key: key?, poll: poll?, roots, reach, token })))
    }
}
