//! The hash chain over a decision log, and signed heads that let others vouch for it.
//!
//! A chain proves only that lines follow one another; whoever can rewrite the whole file can make a new one. A [`Head`] that
//! left the machine earlier is what makes rewriting visible (INV-10).

use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::record::Event;
use crate::record_text::{EventText, EventTextRef, TimeText};
use crate::time::Timestamp;

/// Writes the lines of one chain. It holds the state, not the file.
#[derive(Clone, Debug)]
pub struct ChainWriter {
    seq: u64,
    prev: Digest,
    at: TimeText,
}

impl Default for ChainWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl ChainWriter {
    /// A new chain: the next line is number 0.
    #[must_use]
    pub const fn new() -> Self {
        Self { seq: 0, prev: Digest::ZERO, at: TimeText::new() }
    }

    /// The number the next line will have.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.seq
    }

    /// SHA-256 of the last line, zeros before the first.
    #[must_use]
    pub const fn head(&self) -> Digest {
        self.prev
    }

    /// Appends one line with its newline to `out` and returns its number.
    pub fn append(&mut self, at: Timestamp, event: &Event, out: &mut Vec<u8>) -> u64 {
        self.append_text(at, EventText::of(event).borrowed(), out)
    }

    /// [`ChainWriter::append`] for an event that is written down already.
    pub fn append_text(&mut self, at: Timestamp, text: EventTextRef<'_>, out: &mut Vec<u8>) -> u64 {
        let (start, seq) = (out.len(), self.seq);
        self.at.set(at);
        text.push_line(out, seq, &self.prev, &self.at);
        self.prev = Digest::of(out.get(start..).unwrap_or_default());
        out.push(b'\n');
        self.seq += 1;
        seq
    }
}

/// Follows the lines of a chain and says whether each one fits.
#[derive(Clone, Debug, Default)]
pub struct ChainReader {
    last: Option<(u64, Digest)>,
}

/// How a line stands to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// The first line of a chain has another number than 0, or names a predecessor.
    #[error("the chain does not begin at its first line (`seq` {seq})")]
    NotFirst {
        /// Its number.
        seq: u64,
    },
    /// Numbers are missing or out of order.
    #[error("`seq` {found} follows {after}: lines are {} or out of order", if .found > .after { "missing" } else { "doubled" })]
    Sequence {
        /// The number before.
        after: u64,
        /// The number found.
        found: u64,
    },
    /// The line before was changed, or this one belongs elsewhere.
    #[error("`prev` of `seq` {seq} is not the digest of the line before: one of the two was changed")]
    Digest {
        /// The number of the line that names a wrong predecessor.
        seq: u64,
    },
}

impl ChainReader {
    /// A reader before the first line.
    #[must_use]
    pub const fn new() -> Self {
        Self { last: None }
    }

    /// A reader that continues after a known line (a rotated file).
    #[must_use]
    pub const fn after(seq: u64, head: Digest) -> Self {
        Self { last: Some((seq, head)) }
    }

    /// The number and digest of the last line seen.
    #[must_use]
    pub const fn last(&self) -> Option<(u64, Digest)> {
        self.last
    }

    /// Takes the next line (without newline) with the numbers read from it. After a fault the reader goes on from this line,
    /// so that one damage is reported once.
    ///
    /// # Errors
    /// The line does not fit.
    pub fn accept(&mut self, seq: u64, prev: Digest, line: &[u8]) -> Result<(), ChainFault> {
        self.accept_hashed(seq, prev, Digest::of(line))
    }

    /// [`ChainReader::accept`] for a line that was hashed already.
    ///
    /// # Errors
    /// The line does not fit.
    pub fn accept_hashed(&mut self, seq: u64, prev: Digest, line: Digest) -> Result<(), ChainFault> {
        let verdict = match self.last {
            None if seq == 0 && prev == Digest::ZERO => Ok(()),
            None => Err(ChainFault::NotFirst { seq }),
            Some((after, _)) if after.checked_add(1) != Some(seq) => Err(ChainFault::Sequence { after, found: seq }),
            Some((_, head)) if head != prev => Err(ChainFault::Digest { seq }),
            Some(_) => Ok(()),
        };
        self.last = Some((seq, line));
        verdict
    }
}

/// A statement that a chain had a given head, signed so that it can be kept elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Head {
    /// The process.
    pub instance: String,
    /// The number of the line.
    pub seq: u64,
    /// SHA-256 of that line.
    pub head: Digest,
    /// When it was signed.
    pub at: Timestamp,
    /// Ed25519 over the statement, hexadecimal.
    pub sig: String,
}

/// Signs heads with an Ed25519 key.
#[derive(Debug)]
pub struct HeadSigner(SigningKey);

/// Checks signed heads with the public half.
#[derive(Clone, Debug)]
pub struct HeadVerifier(VerifyingKey);

/// Why a key or a head is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The PEM does not hold an Ed25519 key (PKCS#8 or `SubjectPublicKeyInfo`).
    #[error("not an Ed25519 key in PEM: {0}")]
    Key(String),
    /// The line is not a head.
    #[error("not a signed head: {0}")]
    Json(String),
    /// The signature is not of this key over this statement.
    #[error("the signature of the head at `seq` {0} is not valid")]
    Signature(u64),
}

impl HeadSigner {
    /// Reads a PKCS#8 private key in PEM.
    ///
    /// # Errors
    /// [`HeadError::Key`].
    pub fn from_pem(pem: &str) -> Result<Self, HeadError> {
        SigningKey::from_pkcs8_pem(pem).map(Self).map_err(|e| HeadError::Key(e.to_string()))
    }

    /// From the 32 secret bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> HeadVerifier {
        HeadVerifier(self.0.verifying_key())
    }

    /// Signs a head.
    #[must_use]
    pub fn sign(&self, instance: &str, seq: u64, head: Digest, at: Timestamp) -> Head {
        let signature = self.0.sign(statement(instance, seq, &head, at).as_bytes());
        let sig = signature.to_bytes().iter().map(|b| format!("{b:02x}")).collect();
        Head { instance: instance.to_owned(), seq, head, at, sig }
    }
}

impl HeadVerifier {
    /// Reads a public key in PEM (`SubjectPublicKeyInfo`).
    ///
    /// # Errors
    /// [`HeadError::Key`].
    pub fn from_pem(pem: &str) -> Result<Self, HeadError> {
        VerifyingKey::from_public_key_pem(pem).map(Self).map_err(|e| HeadError::Key(e.to_string()))
    }

    /// Checks a head.
    ///
    /// # Errors
    /// [`HeadError::Signature`].
    pub fn verify(&self, head: &Head) -> Result<(), HeadError> {
        let wrong = || HeadError::Signature(head.seq);
        let mut bytes = [0; 64];
        if head.sig.len() != 128 || !head.sig.is_ascii() {
            return Err(wrong());
        }
        for (byte, pair) in bytes.iter_mut().zip(head.sig.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong())?;
        }
        let statement = statement(&head.instance, head.seq, &head.head, head.at);
        self.0.verify_strict(statement.as_bytes(), &Signature::from_bytes(&bytes)).map_err(|_| wrong())
    }
}

impl Head {
    /// Reads one line of a heads file.
    ///
    /// # Errors
    /// [`HeadError::Json`].
    pub fn from_line(line: &[u8]) -> Result<Self, HeadError> {
        serde_json::from_slice(line).map_err(|e| HeadError::Json(e.to_string()))
    }
}

/// What is signed: fixed order, one fact a line, so that no two heads have the same statement.
fn statement(instance: &str, seq: u64, head: &Digest, at: Timestamp) -> String {
    format!("portreeve-head-v1\n{}\n{instance}\n{seq}\n{head}\n{at}\n", instance.len())
}
