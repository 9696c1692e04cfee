//! Where the decision log and its signed heads go.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve_engine::yaml::{Fields, Node, Text};

use super::reader::{Reader, parse_size, spelled};
use crate::fetch::{Reach, Roots, Url};
use crate::limits;

/// Where the decision log goes.
#[derive(Clone, Debug)]
pub struct Log {
    /// The file, or standard output.
    pub to: LogTo,
    /// Size at which the file is rotated; `None` never.
    pub rotate_bytes: Option<u64>,
    /// Which closed files are kept; without it all of them.
    pub keep: Option<Keep>,
    /// What must have become of a record before its request is forwarded.
    pub durability: Durability,
    /// Interval of heartbeats.
    pub heartbeat: Duration,
    /// Signed heads.
    pub heads: Option<Heads>,
}

/// Which closed files of the log are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// No more than so many.
    pub files: Option<u64>,
    /// None whose last record is older.
    pub age: Option<Duration>,
    /// But every one whose last record is younger than this.
    pub min_age: Duration,
}

/// What must have become of a `decided` record before its request is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// It has its place in the queue. A process that is killed loses what it had not yet written.
    Queued,
    /// It is in the file. A process that is killed loses nothing; a machine that fails may.
    Written,
    /// The file is synchronised with the disk.
    Synced,
}

impl Durability {
    /// The words of the configuration.
    pub const WORDS: [(&'static str, Self); 3] = [("queued", Self::Queued), ("written", Self::Written), ("synced", Self::Synced)];

    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Written => "written",
            Self::Synced => "synced",
        }
    }
}

/// The destination of the decision log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// A file.
    File(PathBuf),
    /// Standard output.
    Stdout,
}

impl LogTo {
    /// Whether several processes can have this configuration at once.
    #[must_use]
    pub fn is_for_many(&self) -> bool {
        match self {
            Self::File(path) => file_name(path).contains(INSTANCE),
            Self::Stdout => true,
        }
    }

    /// The destination of one process: its name stands where the file name leaves a place for it.
    #[must_use]
    pub fn of(&self, instance: &str) -> Self {
        match self {
            Self::File(path) => Self::File(path.with_file_name(file_name(path).replace(INSTANCE, instance))),
            Self::Stdout => Self::Stdout,
        }
    }
}

impl fmt::Display for LogTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Stdout => f.write_str("-"),
        }
    }
}

fn file_name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// Stands for the name of the process.
const INSTANCE: &str = "{instance}";

/// Signed heads.
#[derive(Clone, Debug)]
pub struct Heads {
    /// Interval.
    pub every: Duration,
    /// Where they go: to all of these.
    pub to: Vec<HeadsTo>,
    /// Ed25519 private key, PKCS#8 PEM.
    pub key: PathBuf,
}

/// A destination of signed heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadsTo {
    /// A file they are appended to.
    File(PathBuf),
    /// A server they are posted to.
    Witness(Box<Witness>),
}

/// A server that takes signed heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Where.
    pub url: Url,
    /// Whose certificate is believed.
    pub roots: Roots,
    /// How far it may be.
    pub reach: Reach,
    /// A file with a token for the server.
    pub token: Option<PathBuf>,
}

impl<'a> Reader<'a> {
    pub(super) fn log(&mut self, node: &'a Node) -> Option<Log> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let to = f.require_text("path", &mut self.out).map(|t| match t.text {
            "-" => LogTo::Stdout,
            path => LogTo::File(self.base.join(path)),
        });
        let rotate = f.take("rotate");
        let (rotate_bytes, keep) = rotate.map_or((None, None), |n| self.rotate(n));
        let durability = self.word(&mut f, "durability", &Durability::WORDS, Durability::Queued);
        let heartbeat = self.duration(&mut f, "heartbeat", limits::HEARTBEAT, limits::HEARTBEAT);
        let heads = f.take("heads").map(|n| self.heads(n));
        f.finish(&mut self.out);
        if to == Some(LogTo::Stdout) && rotate_bytes.is_some() {
            self.fault(
                node.get("rotate").unwrap_or(node),
                "config",
                "standard output cannot be rotated",
                "remove `rotate`, or log to a file",
            );
        }
        if to == Some(LogTo::Stdout) && durability == Some(Durability::Synced) {
            let place = node.get("durability").unwrap_or(node);
            self.fault(place, "config", "standard output cannot be synchronised with a disk", "write `written`, or log to a file");
        }
        if let (Some(place), None) = (keep.and(rotate).and_then(|n| n.get("keep")), &heads) {
            let message = "`keep` deletes records, and nothing would be left that vouches for what followed them";
            self.fault(place, "config", message, "add `heads: {every: 60s, to: …, key: …}` to `log`, and send them to another machine");
        }
        Some(Log {
            to: to?,
            rotate_bytes,
            keep,
            durability: durability?,
            heartbeat: heartbeat?,
            heads: heads.map_or(Some(None), |h| h.map(Some))?,
        })
    }

    fn rotate(&mut self, node: &'a Node) -> (Option<u64>, Option<Keep>) {
        let Some(mut f) = Fields::of(self.file, node, &mut self.out) else { return (None, None) };
        let size = f.require_text("size", &mut self.out);
        let keep = f.take("keep").and_then(|n| self.keep(n));
        f.finish(&mut self.out);
        (size.and_then(|size| self.rotate_size(size)), keep)
    }

    fn keep(&mut self, node: &'a Node) -> Option<Keep> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let files = self.count(&mut f, "files", 1, limits::KEEP_FILES_MAX);
        let min_age = self.duration(&mut f, "min_age", limits::KEEP_AGE, limits::KEEP_AGE_MAX);
        let age_at = f.key("age");
        let age = self.some_duration(&mut f, "age", limits::KEEP_AGE_MAX).map_or(Some(None), |age| age.map(Some));
        f.finish(&mut self.out);
        let (files, age, min_age) = (files.map_or(Some(None), |n| n.map(Some))?, age?, min_age?);
        if files.is_none() && age.is_none() {
            self.fault(
                node,
                "missing-field",
                "`keep` says neither how many files nor how old",
                "write `files: 400` or `age: 400d`, or leave it out to keep all",
            );
        }
        if let Some((place, age)) = age_at.zip(age).filter(|(_, age)| *age < min_age) {
            let message = format!("`age` ({}) is less than `min_age` ({}): no file is deleted before", spelled(age), spelled(min_age));
            let help = "keep records for twelve months (PCI DSS 10.5.1), or say with a shorter `min_age` that they are kept elsewhere";
            self.fault(place, "config", &message, help);
        }
        let files = files.map(|n| u64::try_from(n).unwrap_or(u64::MAX));
        Some(Keep { files, age, min_age })
    }

    fn rotate_size(&mut self, size: Text<'a>) -> Option<u64> {
        match parse_size(size.text) {
            Some(bytes) if bytes >= limits::ROTATE_BYTES_MIN => Some(bytes),
            _ => {
                let message = format!("`{}` is not a size of at least {} bytes", size.text, limits::ROTATE_BYTES_MIN);
                self.fault(size.node, "invalid-value", &message, "write a number and `B`, `KiB`, `MiB` or `GiB`, such as `256MiB`");
                None
            }
        }
    }

    fn heads(&mut self, node: &'a Node) -> Option<Heads> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let every = self.duration(&mut f, "every", limits::HEARTBEAT, Duration::from_secs(86_400));
        f.require("to", &mut self.out);
        let places = f.some_texts("to", &mut self.out);
        let private = f.boolean("private_addresses", &mut self.out).unwrap_or(false);
        let reach = Reach { private_addresses: private, loopback_http: private };
        let roots = f.text("ca", &mut self.out).map_or(Roots::System, |t| Roots::File(self.base.join(t.text)));
        let token = f.text("token", &mut self.out).map(|t| self.base.join(t.text));
        let mut to = Vec::new();
        for place in places {
            if !place.text.contains("://") {
                to.push(HeadsTo::File(self.base.join(place.text)));
            } else if let Some(url) = self.url(place.node, place.text, reach) {
                let roots = if url.is_https() { roots.clone() } else { Roots::Nobody };
                to.push(HeadsTo::Witness(Box::new(Witness { url, roots, reach, token: token.clone() })));
            }
        }
        let key = f.require_text("key", &mut self.out).map(|t| self.base.join(t.text));
        f.finish(&mut self.out);
        Some(Heads { every: every?, to, key: key? })
    }
}
