//! One signer takes the place of another without anybody being refused: the new root is made known first, then signed with, and
//! the old one is forgotten when nothing of it lives any more.
//!
//! | stage | enforcers trust | leaves come from |
//! |---|---|---|
//! | settled | the root | its intermediate |
//! | announced | the old and the new root | the old intermediate |
//! | switched | the old and the new root | the new intermediate |
//!
//! An intermediate alone is succeeded in the same way, without a new root: its revocation list must be known before its leaves are.
//!
//! INVARIANT: the stage stands in one file that is replaced whole, and every step can be done again from it: whoever opens the
//! authority after a crash finishes what was begun. One process at a time changes it.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve_engine::Timestamp;
use rcgen::{BasicConstraints, KeyPair};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use super::authority::{
    CERT_MODE, DIR_MODE, INTERMEDIATE_CERT, INTERMEDIATE_KEY, KEY_MODE, RETIRED, ROOT_CERT, ROOT_KEY, Signer, make_intermediate, millis,
    now, read_text, signer_params,
};
use super::limits::{FILE_BYTES_MAX, LEAF_LIFETIME_MAX};
use super::{Ca, CaError, CaOptions};
use crate::files::{read_bounded, replace};

/// How far the change of a signer has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// No change is under way.
    #[default]
    Settled,
    /// The new signer is made known; nothing is signed with it yet.
    Announced {
        /// Since when.
        at: Timestamp,
        /// Whether it is a new root, or an intermediate alone.
        root: bool,
    },
    /// The new root is signed with; the old one is still believed.
    Switched {
        /// When the last leaf of the old root ends.
        until: Timestamp,
    },
}

/// When signers are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The age at which a root is succeeded; `None` leaves that to `portreeve ca rotate`.
    pub root_every: Option<Duration>,
    /// How long a new signer is known before it signs.
    pub overlap: Duration,
    /// How long new signers live.
    pub options: CaOptions,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make a new root, or an intermediate alone, known.
    Announce {
        /// Whether it is a new root.
        root: bool,
    },
    /// Sign with the new one.
    Switch,
    /// Forget the old root.
    Drop,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Announce { root: true } => "a new root is made known; nothing is signed with it yet",
            Self::Announce { root: false } => "a new intermediate is made known; nothing is signed with it yet",
            Self::Switch => "the new signer signs from now on",
            Self::Drop => "the old root is forgotten",
        })
    }
}

/// The stage as it stands in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "lowercase", deny_unknown_fields)]
enum Written {
    Announced { at: Timestamp, root: bool },
    Switching { at: Timestamp, root: bool, old: String, until: Timestamp },
    Switched { old: String, until: Timestamp },
}

/// Held while an authority is changed.
#[derive(Debug)]
pub(super) struct Turn {
    _file: File,
}

impl Turn {
    /// Waits for whoever else changes the authority.
    pub(super) fn take(dir: &Path) -> Result<Self, CaError> {
        let path = dir.join(LOCK);
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(CaError::file(&path))?;
        file.lock().map_err(CaError::file(&path))?;
        Ok(Self { _file: file })
    }
}

impl Ca {
    /// How far the change of a signer has come.
    #[must_use]
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// What is due at `now`.
    #[must_use]
    pub fn due(&self, schedule: &Schedule, now: Timestamp) -> Option<Step> {
        match &self.stage {
            Stage::Announced { at, .. } => (now >= at.plus_ms(millis(schedule.overlap))).then_some(Step::Switch),
            Stage::Switched { until } => (now >= *until).then_some(Step::Drop),
            Stage::Settled => {
                let old = |since: Timestamp, age: Duration| now >= since.plus_ms(millis(age));
                // A root is also succeeded when it could hardly vouch for one more intermediate.
                let ends = self.root.not_after <= now.plus_ms(millis(schedule.options.intermediate_lifetime));
                if ends || schedule.root_every.is_some_and(|every| old(self.root.since, every)) {
                    return Some(Step::Announce { root: true });
                }
                let half = (self.intermediate.not_after.unix_ms() - self.intermediate.since.unix_ms()) / 2;
                (now >= self.intermediate.since.plus_ms(half)).then_some(Step::Announce { root: false })
            }
        }
    }

    /// Makes a new signer known: a new root with its intermediate, or an intermediate alone.
    ///
    /// # Errors
    /// See [`CaError`]; a change that is under way is ended first.
    pub fn announce(&mut self, root: bool, options: CaOptions) -> Result<(), CaError> {
        let turn = self.in_turn()?;
        if self.stage != Stage::Settled {
            return Err(CaError::UnderWay);
        }
        let next = self.dir.join(NEXT);
        // What an announcement that broke off left behind is nobody's yet.
        remove(&next)?;
        DirBuilder::new().mode(DIR_MODE).create(&next).map_err(CaError::file(&next))?;
        if root {
            let key = KeyPair::generate().map_err(CaError::make("root's key"))?;
            let params = signer_params(&self.trust_domain, "root", BasicConstraints::Constrained(1), now(), options.root_lifetime)?;
            let made = params.self_signed(&key).map_err(CaError::make("root"))?;
            put(&next.join(ROOT_KEY), &key.serialize_pem(), KEY_MODE)?;
            put(&next.join(ROOT_CERT), &made.pem(), CERT_MODE)?;
        }
        let above = if root { Signer::open(&next.join(ROOT_CERT), &next.join(ROOT_KEY))? } else { self.root_again()? };
        let (pem, key) = make_intermediate(&self.trust_domain, &above, options.intermediate_lifetime)?;
        put(&next.join(INTERMEDIATE_KEY), &key, KEY_MODE)?;
        put(&next.join(INTERMEDIATE_CERT), &pem, CERT_MODE)?;
        self.write_stage(Some(&Written::Announced { at: now(), root }))?;
        self.again(&turn)
    }

    /// Signs with the new signer from now on.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn switch(&mut self) -> Result<(), CaError> {
        let turn = self.in_turn()?;
        let Stage::Announced { root, .. } = self.stage else { return Err(CaError::NothingAnnounced) };
        let until = self.leaves_until()?;
        self.write_stage(Some(&Written::Switching { at: now(), root, old: self.root.serial.clone(), until }))?;
        self.again(&turn)
    }

    /// Forgets the old root. Who asks does not look at the time: see [`Ca::due`].
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn drop_old(&mut self) -> Result<(), CaError> {
        let turn = self.in_turn()?;
        if !matches!(self.stage, Stage::Switched { .. }) {
            return Err(CaError::NothingAnnounced);
        }
        let Some(Written::Switched { old, .. }) = read_stage(&self.dir)? else { return Err(CaError::NothingAnnounced) };
        let roots = self.dir.join(ROOT_CERT);
        replace(&roots, self.root.pem.as_bytes(), CERT_MODE).map_err(CaError::file(&roots))?;
        for suffix in ["key", "pem"] {
            remove(&self.dir.join(RETIRED).join(format!("{old}.{suffix}")))?;
        }
        self.write_stage(None)?;
        self.again(&turn)
    }

    /// Does what is due, and says what it did.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn advance(&mut self, schedule: &Schedule, now: Timestamp) -> Result<Option<Step>, CaError> {
        let due = self.due(schedule, now);
        match due {
            None => {}
            Some(Step::Announce { root }) => self.announce(root, schedule.options)?,
            Some(Step::Switch) => self.switch()?,
            Some(Step::Drop) => self.drop_old()?,
        }
        Ok(due)
    }

    /// The signer that takes over next, for its revocation list.
    pub(super) fn next_signers(&self) -> Result<Vec<Signer>, CaError> {
        let next = self.dir.join(NEXT);
        let mut out = Vec::new();
        match &self.stage {
            Stage::Announced { root, .. } => {
                if *root {
                    out.push(Signer::open(&next.join(ROOT_CERT), &next.join(ROOT_KEY))?);
                }
                out.push(Signer::open(&next.join(INTERMEDIATE_CERT), &next.join(INTERMEDIATE_KEY))?);
            }
            Stage::Settled | Stage::Switched { .. } => {}
        }
        Ok(out)
    }

    /// Every root that is to be believed now, DER.
    ///
    /// # Errors
    /// See [`CaError`].
    pub fn roots(&self) -> Result<Vec<CertificateDer<'static>>, CaError> {
        let path = self.root_path();
        let all = CertificateDer::pem_slice_iter(read_text(&path)?.as_bytes()).collect::<Result<Vec<_>, _>>();
        all.map_err(|e| CaError::Content { path, cause: e.to_string() })
    }

    /// Keeps in mind until when leaves of the present root live. The mark is set further than this leaf needs, so that it is
    /// written once in a while and not for every leaf.
    pub(super) fn note_leaf(&self, not_after: Timestamp, lifetime: Duration) -> Result<(), CaError> {
        let path = self.dir.join(LEAVES);
        if self.leaves_until()? >= not_after {
            return Ok(());
        }
        // Looked at again in our turn: somebody else may have set it further, and it never goes back.
        let _turn = Turn::take(&self.dir)?;
        if self.leaves_until()? >= not_after {
            return Ok(());
        }
        let mark = not_after.plus_ms(millis(lifetime / 2)).min(self.intermediate.not_after);
        replace(&path, format!("{}\n", mark.max(not_after)).as_bytes(), CERT_MODE).map_err(CaError::file(&path))
    }

    /// Until when leaves of the present root may live.
    fn leaves_until(&self) -> Result<Timestamp, CaError> {
        let path = self.dir.join(LEAVES);
        match read_text(&path) {
            // An authority that never kept the mark: as late as any leaf may live.
            Err(CaError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                let longest = now().plus_ms(millis(LEAF_LIFETIME_MAX));
                Ok(if self.dir.join(MARKED).exists() { Timestamp::MIN } else { longest })
            }
            text => text?.trim().parse().map_err(|_| CaError::Content { path, cause: "it is not a time".to_owned() }),
        }
    }

    /// Says that the mark of the leaves is kept from the beginning.
    pub(super) fn mark_leaves(dir: &Path) -> Result<(), CaError> {
        let path = dir.join(MARKED);
        replace(&path, b"the ends of all leaves are noted in `leaves-until`\n", CERT_MODE).map_err(CaError::file(&path))
    }

    /// Takes the turn and looks at what there is now: somebody else may have changed it.
    fn in_turn(&mut self) -> Result<Turn, CaError> {
        let turn = Turn::take(&self.dir)?;
        *self = Self::open_in_turn(&self.dir, &turn)?;
        Ok(turn)
    }

    /// Opens the authority as it is now, and writes the revocation lists if there are any: new signers need theirs.
    fn again(&mut self, turn: &Turn) -> Result<(), CaError> {
        *self = Self::open_in_turn(&self.dir, turn)?;
        if self.crl_path().exists() { self.write_crl_in_turn(turn) } else { Ok(()) }
    }

    fn root_again(&self) -> Result<Signer, CaError> {
        Signer::open(&self.dir.join(ROOT_CERT), &self.dir.join(ROOT_KEY))
    }

    fn write_stage(&self, stage: Option<&Written>) -> Result<(), CaError> {
        write_stage(&self.dir, stage)
    }
}

/// The stage that an authority stands at, after what was begun was finished.
pub(super) fn settle(dir: &Path, _turn: &Turn) -> Result<Stage, CaError> {
    match read_stage(dir)? {
        None => Ok(Stage::Settled),
        Some(Written::Announced { at, root }) => {
            if root {
                believe_both(dir)?;
            }
            Ok(Stage::Announced { at, root })
        }
        Some(Written::Switching { root, old, until, .. }) => {
            take_over(dir, root)?;
            let stage = Written::Switched { old, until };
            write_stage(dir, root.then_some(&stage))?;
            remove(&dir.join(NEXT))?;
            if root {
                // The new one has no leaves yet.
                remove(&dir.join(LEAVES))?;
            }
            Ok(if root { Stage::Switched { until } } else { Stage::Settled })
        }
        Some(Written::Switched { until, .. }) => Ok(Stage::Switched { until }),
    }
}

/// The stage as it is, for who only reads; `None` where something is half done and must be finished first.
pub(super) fn standing(dir: &Path) -> Result<Option<Stage>, CaError> {
    Ok(match read_stage(dir)? {
        None => Some(Stage::Settled),
        Some(Written::Announced { root: true, .. }) if !both_believed(dir)? => None,
        Some(Written::Announced { at, root }) => Some(Stage::Announced { at, root }),
        Some(Written::Switching { .. }) => None,
        Some(Written::Switched { until, .. }) => Some(Stage::Switched { until }),
    })
}

/// The new root stands beside the old one in what enforcers trust.
fn believe_both(dir: &Path) -> Result<(), CaError> {
    if both_believed(dir)? {
        return Ok(());
    }
    let path = dir.join(ROOT_CERT);
    let both = read_text(&path)? + &read_text(&dir.join(NEXT).join(ROOT_CERT))?;
    replace(&path, both.as_bytes(), CERT_MODE).map_err(CaError::file(&path))
}

fn both_believed(dir: &Path) -> Result<bool, CaError> {
    Ok(read_text(&dir.join(ROOT_CERT))?.contains(read_text(&dir.join(NEXT).join(ROOT_CERT))?.trim()))
}

/// Puts the new signers in the places of the old ones. Every step is passed over if it was done before.
fn take_over(dir: &Path, root: bool) -> Result<(), CaError> {
    let next = dir.join(NEXT);
    let retired = dir.join(RETIRED);
    DirBuilder::new().recursive(true).mode(DIR_MODE).create(&retired).map_err(CaError::file(&retired))?;
    if root {
        let new = Signer::open(&next.join(ROOT_CERT), &next.join(ROOT_KEY))?;
        let (cert, key) = (dir.join(ROOT_CERT), dir.join(ROOT_KEY));
        // A pair that is whole and not the new one is the old one; once its key is replaced it was kept before.
        if let Ok(old) = Signer::open(&cert, &key)
            && old.serial != new.serial
        {
            keep(&retired, &old, &key)?;
            let both = new.pem.clone() + &old.pem;
            copy(&next.join(ROOT_KEY), &key, KEY_MODE)?;
            replace(&cert, both.as_bytes(), CERT_MODE).map_err(CaError::file(&cert))?;
        } else {
            let first = Signer::first(&cert)?;
            if first.trim() != new.pem.trim() {
                let both = new.pem.clone() + &first;
                replace(&cert, both.as_bytes(), CERT_MODE).map_err(CaError::file(&cert))?;
            }
            copy(&next.join(ROOT_KEY), &key, KEY_MODE)?;
        }
    }
    let new = Signer::open(&next.join(INTERMEDIATE_CERT), &next.join(INTERMEDIATE_KEY))?;
    let (cert, key) = (dir.join(INTERMEDIATE_CERT), dir.join(INTERMEDIATE_KEY));
    if let Ok(old) = Signer::open(&cert, &key)
        && old.serial != new.serial
    {
        keep(&retired, &old, &key)?;
    }
    copy(&next.join(INTERMEDIATE_KEY), &key, KEY_MODE)?;
    copy(&next.join(INTERMEDIATE_CERT), &cert, CERT_MODE)
}

fn keep(retired: &Path, old: &Signer, key: &Path) -> Result<(), CaError> {
    copy(key, &retired.join(format!("{}.key", old.serial)), KEY_MODE)?;
    put(&retired.join(format!("{}.pem", old.serial)), &old.pem, CERT_MODE)
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<(), CaError> {
    let bytes = read_bounded(from, FILE_BYTES_MAX).map_err(CaError::file(from))?;
    replace(to, &bytes, mode).map_err(CaError::file(to))
}

fn put(path: &Path, text: &str, mode: u32) -> Result<(), CaError> {
    replace(path, text.as_bytes(), mode).map_err(CaError::file(path))
}

/// Removes a file or a directory of ours, if it is there.
fn remove(path: &Path) -> Result<(), CaError> {
    let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    match removed {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(CaError::file(path)),
    }
}

fn stage_path(dir: &Path) -> PathBuf {
    dir.join(STAGE)
}

fn read_stage(dir: &Path) -> Result<Option<Written>, CaError> {
    let path = stage_path(dir);
    match read_text(&path) {
        Err(CaError::File { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => serde_json::from_str(&text?).map(Some).map_err(|e| CaError::Content { path, cause: e.to_string() }),
    }
}

fn write_stage(dir: &Path, stage: Option<&Written>) -> Result<(), CaError> {
    let path = stage_path(dir);
    let Some(stage) = stage else { return remove(&path) };
    let text = serde_json::to_string(stage).map_err(CaError::make("stage"))?;
    replace(&path, format!("{text}\n").as_bytes(), CERT_MODE).map_err(CaError::file(&path))
}

const NEXT: &str = "next";
const STAGE: &str = "succession.json";
const LEAVES: &str = "leaves-until";
const MARKED: &str = "leaves-marked";
const LOCK: &str = ".lock";
