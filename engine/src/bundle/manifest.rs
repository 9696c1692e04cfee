//! What a built bundle says of itself, and who vouches for it.
//!
//! The signature covers name, serial, time of issue and revision; the revision covers path and bytes of every policy file. So a
//! valid signature leaves nothing of the content open, and an older bundle of the same name is known by its serial.

use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::bundle::archive::BuiltBundle;
use crate::bundle::declare::is_name;
use crate::bundle::{Bundle, Revision, SourceFile};
use crate::digest::Digest;
use crate::time::Timestamp;

/// What the author says of a build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The name under which its successors will come.
    pub name: String,
    /// Higher than that of every predecessor.
    pub serial: u64,
    /// When it was built.
    pub issued_at: Timestamp,
}

/// The manifest, `.portreeve/manifest.json` in the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "an object")]
pub struct Manifest {
    /// The form of this manifest.
    v: u32,
    /// The name of the bundle.
    pub name: String,
    /// Higher than that of every predecessor.
    pub serial: u64,
    /// When it was built.
    pub issued_at: Timestamp,
    /// The revision of the policy files.
    pub revision: Revision,
    /// Every file, sorted by path.
    pub files: Vec<ManifestFile>,
}

/// A file that the manifest names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "an object")]
pub struct ManifestFile {
    /// Relative to the bundle.
    pub path: String,
    /// How long it is.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// The signature, `.portreeve/signature.json` in the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(expecting = "an object")]
pub struct Seal {
    /// SHA-256 of the public key's 32 bytes: says which key to look for, proves nothing.
    pub key: Digest,
    /// Ed25519 over the statement, hexadecimal.
    pub sig: String,
}

/// How manifest and files differ.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Listed, and not there.
    #[error("the file `{0}` is in the manifest and not in the archive")]
    Missing(String),
    /// There, and not listed.
    #[error("the file `{0}` is in the archive and not in the manifest")]
    Extra(String),
    /// There with other bytes.
    #[error("the file `{0}` is not what the manifest says")]
    Changed(String),
    /// The files give another revision than the manifest names.
    #[error("the files are of revision {found}, and the manifest names {listed}")]
    Revision {
        /// Of the files.
        found: Revision,
        /// In the manifest.
        listed: Revision,
    },
}

/// Why a built bundle is not taken for what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// No manifest.
    #[error("it has no manifest, so nobody can vouch for it")]
    NoManifest,
    /// No signature.
    #[error("it is not signed")]
    Unsigned,
    /// Signed with another key.
    #[error("it is signed with another key: {found}, expected {wanted}")]
    OtherKey {
        /// The key that the signature names.
        found: Digest,
        /// The key asked for.
        wanted: Digest,
    },
    /// The signature does not belong to this content.
    #[error("its signature is not valid")]
    Signature,
    /// Another bundle than asked for.
    #[error("it is the bundle `{found}`, expected `{wanted}`")]
    OtherName {
        /// Its name.
        found: String,
        /// The name asked for.
        wanted: String,
    },
    /// A step back.
    #[error("its serial is {found}, and at least {least} is asked for: an older bundle is not taken in the place of a newer one")]
    OlderSerial {
        /// Its serial.
        found: u64,
        /// The lowest that is acceptable.
        least: u64,
    },
    /// The same serial for another content.
    #[error("serial {0} was given to another revision already")]
    SerialReused(u64),
    /// Issued too long ago.
    #[error("it was issued at {issued_at}, longer ago than is accepted")]
    TooOld {
        /// Its time of issue.
        issued_at: Timestamp,
    },
    /// Issued after now: its age would say nothing.
    #[error("it was issued at {issued_at}, which is in the future")]
    FromTheFuture {
        /// Its time of issue.
        issued_at: Timestamp,
    },
}

/// Why a key is not usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 key in PEM: {0}")]
pub struct KeyError(String);

/// Signs bundles with an Ed25519 key.
pub struct BundleSigner(SigningKey);

/// Checks signatures of bundles with the public half.
#[derive(Clone, Debug)]
pub struct BundleVerifier(VerifyingKey);

/// What a bundle must be, besides signed.
#[derive(Clone, Debug, Default)]
pub struct Demands {
    /// This name.
    pub name: Option<String>,
    /// At least this serial.
    pub serial_min: Option<u64>,
    /// The bundle in force: the same name, and a higher serial unless it is the same revision.
    pub after: Option<(Label, Revision)>,
    /// Not issued before this time and not after that one.
    pub issued: Option<(Timestamp, Timestamp)>,
}

impl BuiltBundle {
    /// A build of these files, not yet signed.
    ///
    /// # Errors
    /// The label's name is not a name.
    pub fn build(bundle: Bundle, label: Label) -> Result<Self, String> {
        let files = bundle.files.iter().map(ManifestFile::of).collect();
        let Label { name, serial, issued_at } = label;
        let manifest = Manifest { v: VERSION, name, serial, issued_at, revision: bundle.revision, files };
        manifest.is_named()?;
        Ok(Self { bundle, manifest: Some(manifest), seal: None })
    }

    /// The same with a signature, in the place of any it has.
    ///
    /// # Errors
    /// [`Distrust::NoManifest`].
    pub fn sign(mut self, signer: &BundleSigner) -> Result<Self, Distrust> {
        let manifest = self.manifest.as_ref().ok_or(Distrust::NoManifest)?;
        let signature = signer.0.sign(manifest.statement().as_bytes());
        let sig = signature.to_bytes().iter().map(|b| format!("{b:02x}")).collect();
        self.seal = Some(Seal { key: key_id(&signer.0.verifying_key()), sig });
        Ok(self)
    }

    /// Makes sure that the bundle is signed with the key, and is what was asked for.
    ///
    /// # Errors
    /// The first demand that is not met; the signature is looked at before what it covers.
    pub fn verify(&self, key: &BundleVerifier, demands: &Demands) -> Result<Label, Distrust> {
        let manifest = self.manifest.as_ref().ok_or(Distrust::NoManifest)?;
        key.verify(manifest, self.seal.as_ref().ok_or(Distrust::Unsigned)?)?;
        let label = manifest.label();
        let other = |wanted: &str| Distrust::OtherName { found: label.name.clone(), wanted: wanted.to_owned() };
        if let Some(wanted) = demands.name.as_ref().filter(|wanted| **wanted != label.name) {
            return Err(other(wanted));
        }
        if let Some(least) = demands.serial_min.filter(|least| label.serial < *least) {
            return Err(Distrust::OlderSerial { found: label.serial, least });
        }
        if let Some((before, revision)) = &demands.after {
            if before.name != label.name {
                return Err(other(&before.name));
            }
            if label.serial < before.serial {
                return Err(Distrust::OlderSerial { found: label.serial, least: before.serial });
            }
            if label.serial == before.serial && manifest.revision != *revision {
                return Err(Distrust::SerialReused(label.serial));
            }
        }
        if let Some((from, to)) = demands.issued {
            if label.issued_at < from {
                return Err(Distrust::TooOld { issued_at: label.issued_at });
            }
            if label.issued_at > to {
                return Err(Distrust::FromTheFuture { issued_at: label.issued_at });
            }
        }
        Ok(label)
    }
}

impl Manifest {
    /// Reads the manifest's file.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        if manifest.v != VERSION {
            return Err(format!("version {} is not known here", manifest.v));
        }
        if manifest.files.iter().zip(manifest.files.iter().skip(1)).any(|(a, b)| a.path >= b.path) {
            return Err("its files are not sorted by path, or one is named twice".to_owned());
        }
        manifest.is_named()?;
        Ok(manifest)
    }

    /// Name, serial and time of issue.
    #[must_use]
    pub fn label(&self) -> Label {
        Label { name: self.name.clone(), serial: self.serial, issued_at: self.issued_at }
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        json(self)
    }

    /// Makes sure that the manifest lists just these files, which are sorted by path.
    pub(crate) fn covers(&self, files: &[SourceFile]) -> Result<(), Mismatch> {
        for listed in &self.files {
            let found = files.binary_search_by(|f| f.path.cmp(&listed.path)).ok().and_then(|at| files.get(at));
            let found = found.ok_or_else(|| Mismatch::Missing(listed.path.clone()))?;
            if ManifestFile::of(found) != *listed {
                return Err(Mismatch::Changed(listed.path.clone()));
            }
        }
        match files.iter().find(|f| self.files.binary_search_by(|l| l.path.cmp(&f.path)).is_err()) {
            Some(extra) => Err(Mismatch::Extra(extra.path.clone())),
            None => Ok(()),
        }
    }

    /// Makes sure that the manifest is of this bundle.
    pub(crate) fn is_of(&self, bundle: &Bundle) -> Result<(), Mismatch> {
        // A listed file that is no policy is not in the revision: nothing may travel under the signature unsigned.
        let is_policy = |l: &&ManifestFile| bundle.files.binary_search_by(|f| f.path.cmp(&l.path)).is_ok();
        if let Some(stranger) = self.files.iter().find(|l| !is_policy(l)) {
            return Err(Mismatch::Extra(stranger.path.clone()));
        }
        if self.revision == bundle.revision { Ok(()) } else { Err(Mismatch::Revision { found: bundle.revision, listed: self.revision }) }
    }

    fn is_named(&self) -> Result<(), String> {
        if is_name(&self.name) { Ok(()) } else { Err(format!("`{}` is not a name: letters, digits, dots, dashes, underscores", self.name)) }
    }

    /// What is signed: a line that no other statement of ours begins with, then one fact a line; a name holds no newline, so no
    /// two manifests have the same statement.
    fn statement(&self) -> String {
        format!("portreeve-bundle-v1\n{}\n{}\n{}\n{}\n", self.name, self.serial, self.issued_at, self.revision)
    }
}

impl ManifestFile {
    fn of(file: &SourceFile) -> Self {
        Self { path: file.path.clone(), bytes: file.bytes.len() as u64, sha256: Digest::of(&file.bytes) }
    }
}

impl Seal {
    pub(crate) fn from_json(bytes: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(bytes).map_err(|e| e.to_string())
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        json(self)
    }

    fn signature(&self) -> Option<Signature> {
        let mut bytes = [0; 64];
        if self.sig.len() != 128 || !self.sig.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(self.sig.as_bytes().chunks_exact(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Signature::from_bytes(&bytes))
    }
}

impl BundleSigner {
    /// Reads a PKCS#8 private key in PEM.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        SigningKey::from_pkcs8_pem(pem).map(Self).map_err(|e| KeyError(e.to_string()))
    }

    /// From the 32 secret bytes.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> BundleVerifier {
        BundleVerifier(self.0.verifying_key())
    }

    /// Signs the digest of a report's manifest. The statement begins with another line than a bundle's, so that neither signature
    /// can stand for the other.
    #[must_use]
    pub fn seal_report(&self, manifest: &Digest) -> Seal {
        let signature = self.0.sign(report_statement(manifest).as_bytes());
        let sig = signature.to_bytes().iter().map(|b| format!("{b:02x}")).collect();
        Seal { key: key_id(&self.0.verifying_key()), sig }
    }
}

impl std::fmt::Debug for BundleSigner {
    /// Never shows the private half.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BundleSigner").field(&key_id(&self.0.verifying_key())).finish()
    }
}

impl BundleVerifier {
    /// Reads a public key in PEM (`SubjectPublicKeyInfo`).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        VerifyingKey::from_public_key_pem(pem).map(Self).map_err(|e| KeyError(e.to_string()))
    }

    /// SHA-256 of the public key's 32 bytes, as signatures name it.
    #[must_use]
    pub fn id(&self) -> Digest {
        key_id(&self.0)
    }

    /// Makes sure that this key signed the digest of a report's manifest.
    ///
    /// # Errors
    /// [`Distrust::OtherKey`] or [`Distrust::Signature`].
    pub fn verify_report(&self, manifest: &Digest, seal: &Seal) -> Result<(), Distrust> {
        if seal.key != self.id() {
            return Err(Distrust::OtherKey { found: seal.key, wanted: self.id() });
        }
        let signature = seal.signature().ok_or(Distrust::Signature)?;
        self.0.verify_strict(report_statement(manifest).as_bytes(), &signature).map_err(|_| Distrust::Signature)
    }

    fn verify(&self, manifest: &Manifest, seal: &Seal) -> Result<(), Distrust> {
        if seal.key != self.id() {
            return Err(Distrust::OtherKey { found: seal.key, wanted: self.id() });
        }
        let signature = seal.signature().ok_or(Distrust::Signature)?;
        self.0.verify_strict(manifest.statement().as_bytes(), &signature).map_err(|_| Distrust::Signature)
    }
}

/// What is signed of a report.
fn report_statement(manifest: &Digest) -> String {
    format!("portreeve-report-v1\n{manifest}\n")
}

fn key_id(key: &VerifyingKey) -> Digest {
    Digest::of(key.as_bytes())
}

/// Indented, so that `tar -xO` shows something to read; ends with a newline.
fn json(value: &impl Serialize) -> Vec<u8> {
    // Neither type has a map with keys that are not text, or anything else that could fail.
    let mut out = serde_json::to_vec_pretty(value).unwrap_or_default();
    out.push(b'\n');
    out
}

const VERSION: u32 = 1;
