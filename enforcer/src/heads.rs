//! Signed heads: statements that the chain had a given end, appended to a file and handed to witnesses elsewhere.
//!
//! A head that is kept elsewhere is what makes a rewritten log visible (INV-10). Heads are appended, never changed. One place that
//! fails keeps them from none of the others.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portreeve_engine::chain::{HeadError, HeadSigner};
use portreeve_engine::{Digest, Timestamp};

use crate::config::{self, HeadsTo};
use crate::files::could_write;
use crate::limits;
use crate::witness::Witness;

/// Signs heads and appends them.
#[derive(Debug)]
pub struct HeadWriter {
    signer: HeadSigner,
    files: Vec<File>,
    witnesses: Vec<Arc<Witness>>,
    every: Duration,
    last_seq: Option<u64>,
}

/// Why heads cannot be signed or kept.
#[derive(Debug, thiserror::Error)]
pub enum HeadsError {
    /// The key file cannot be read.
    #[error("cannot read the key of the signed heads `{}`: {why}", path.display())]
    ReadKey {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: std::io::Error,
    },
    /// The key is not a key.
    #[error("the key of the signed heads `{}` is not usable: {why}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: HeadError,
    },
    /// The heads file cannot be opened.
    #[error("cannot open the heads file `{}`: {why}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: std::io::Error,
    },
    /// A head cannot be written.
    #[error("cannot write a signed head: {0}")]
    Write(std::io::Error),
}

/// Whether signed heads could be made and kept like this. Writes nothing.
///
/// # Errors
/// See [`HeadsError`].
pub fn check(config: &config::Heads) -> Result<(), HeadsError> {
    signer(config)?;
    config.to.iter().try_for_each(|to| match to {
        HeadsTo::File(path) => could_write(path).map_err(|why| HeadsError::Open { path: path.clone(), why }),
        HeadsTo::Witness(_) => Ok(()),
    })
}

fn signer(config: &config::Heads) -> Result<HeadSigner, HeadsError> {
    let pem = crate::files::read_text(&config.key, limits::KEY_FILE_BYTES_MAX)
        .map_err(|why| HeadsError::ReadKey { path: config.key.clone(), why })?;
    HeadSigner::from_pem(&pem).map_err(|why| HeadsError::Key { path: config.key.clone(), why })
}

impl HeadWriter {
    /// Reads the key and opens the files.
    ///
    /// # Errors
    /// See [`HeadsError`].
    pub fn open(config: &config::Heads, witnesses: Vec<Arc<Witness>>) -> Result<Self, HeadsError> {
        let signer = signer(config)?;
        let mut files = Vec::new();
        for to in &config.to {
            if let HeadsTo::File(path) = to {
                let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
                files.push(file.map_err(|why| HeadsError::Open { path: path.clone(), why })?);
            }
        }
        Ok(Self { signer, files, witnesses, every: config.every, last_seq: None })
    }

    /// The interval between heads.
    #[must_use]
    pub fn every(&self) -> Duration {
        self.every
    }

    /// Signs the head of `instance` after line `seq`, unless that line was signed already.
    ///
    /// # Errors
    /// [`HeadsError::Write`].
    pub fn append(&mut self, instance: &str, seq: u64, head: Digest, at: Timestamp) -> Result<(), HeadsError> {
        if self.last_seq == Some(seq) {
            return Ok(());
        }
        let head = self.signer.sign(instance, seq, head, at);
        let mut line = serde_json::to_vec(&head).map_err(|e| HeadsError::Write(e.into()))?;
        line.push(b'\n');
        self.last_seq = Some(seq);
        for witness in &self.witnesses {
            witness.give(seq, at, &line);
        }
        // All are written to; what the first that failed has to say is enough.
        let mut outcome = Ok(());
        for file in &mut self.files {
            outcome = outcome.and(file.write_all(&line).and_then(|()| file.sync_data()));
        }
        outcome.map_err(HeadsError::Write)
    }
}
