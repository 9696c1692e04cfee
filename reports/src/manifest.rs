//! The signed manifest of a report: what the report consists of and what it was made from, with digests; and its verification.
//!
//! It says nothing about whether the report is right: it says that nothing in the folder was changed, left out or added since the
//! key's holder signed, and what was read for it: logs, bundles, baselines, governance, configurations, histories, catalogues, checks,
//! mappings, heads. INVARIANT: what could not be looked at is told as such,
//! and nothing is said of files before the signature holds.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use portreeve_auditor::assessment::{Assessment, Given, GivenKind, Period};
use portreeve_auditor::sample::{self, Sample};
use portreeve_engine::bundle::{BundleSigner, BundleVerifier, Seal};
use portreeve_engine::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ReportError;
use crate::limits::{MANIFEST_BYTES_MAX, MANIFEST_FILES_MAX};
use crate::write::replace;

/// The manifest's file.
pub const MANIFEST: &str = "manifest.json";
/// The signature's file.
pub const SIGNATURE: &str = "manifest.sig.json";

/// What a report consists of, and what it was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `portreeve-report`.
    pub kind: String,
    /// The form of this file.
    pub v: u32,
    /// What made the report.
    pub tool: String,
    /// What was examined.
    pub subject: String,
    /// Over which time.
    pub period: Option<Period>,
    /// When it was made, where that was asked for.
    pub generated_at: Option<Timestamp>,
    /// The files of the report, by name.
    pub files: Vec<Output>,
    /// The logs.
    pub inputs: Vec<Named>,
    /// The bundles; a digest here is a revision.
    pub bundles: Vec<Named>,
    /// What else was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Given>,
    /// The assessment compared with.
    pub baseline: Option<Named>,
    /// The root of the sample, to which its proofs lead.
    pub sample_root: Option<Digest>,
}

/// A file of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Its name in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// Something that was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Named {
    /// As given.
    pub path: String,
    /// SHA-256 of a file's bytes, or a bundle's revision.
    pub sha256: Digest,
}

/// Signs a report: writes the manifest of `files` in `dir` and its signature, and names both.
///
/// # Errors
/// A file cannot be read or written.
pub fn sign(a: &Assessment, dir: &Path, files: &[PathBuf], signer: &BundleSigner) -> Result<Vec<PathBuf>, ReportError> {
    let output = |path: &PathBuf| {
        let (sha256, bytes) = digest(path).map_err(|source| ReportError::Write { path: path.clone(), source })?;
        Ok(Output { name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes, sha256 })
    };
    let mut outputs = files.iter().map(output).collect::<Result<Vec<_>, ReportError>>()?;
    outputs.sort_by(|a, b| a.name.cmp(&b.name));
    let manifest = Manifest {
        kind: KIND.to_owned(),
        v: VERSION,
        tool: a.tool.clone(),
        subject: a.subject.clone(),
        period: a.period,
        generated_at: a.generated_at,
        files: outputs,
        inputs: a.inputs.iter().map(|i| Named { path: i.path.clone(), sha256: i.sha256 }).collect(),
        bundles: a.bundles.iter().map(|b| Named { path: b.path.clone(), sha256: b.revision }).collect(),
        given: a.given.iter().filter(|g| a.baseline.as_ref().is_none_or(|b| (&g.path, g.sha256) != (&b.path, b.sha256))).cloned().collect(),
        baseline: a.baseline.as_ref().map(|b| Named { path: b.path.clone(), sha256: b.sha256 }),
        sample_root: a.sample.as_ref().map(|s| s.root),
    };
    let text = document(&manifest)?;
    let seal = document(&signer.seal_report(&Digest::of(text.as_bytes())))?;
    let (manifest, signature) = (dir.join(MANIFEST), dir.join(SIGNATURE));
    replace(&manifest, text.as_bytes())?;
    replace(&signature, seal.as_bytes())?;
    Ok(vec![manifest, signature])
}

/// What a verification showed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// The signature is of the key, over this manifest. Nothing below is known where it is not.
    pub signed: bool,
    /// Files that are what was signed.
    pub unchanged: Vec<String>,
    /// Files with other bytes.
    pub changed: Vec<String>,
    /// Files that are not there.
    pub missing: Vec<String>,
    /// Files in the folder that were not signed.
    pub added: Vec<String>,
    /// Logs and whatever else was read that are at hand and are what was read.
    pub inputs_unchanged: Vec<String>,
    /// The same that are at hand and are not.
    pub inputs_changed: Vec<String>,
    /// The same that are not where they were, so that nothing can be said of them.
    pub inputs_elsewhere: Vec<String>,
    /// Bundles, by their revisions; they are named by the signature and not looked at.
    pub bundles: Vec<String>,
    /// What the sample in the folder showed, where there is one.
    pub sample: Option<String>,
    /// Anything else that is wrong, a sentence each.
    pub faults: Vec<String>,
}

impl Verified {
    /// Whether nothing is wrong with what could be looked at.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let wrong = [&self.changed, &self.missing, &self.added, &self.inputs_changed, &self.faults];
        self.signed && wrong.iter().all(|list| list.is_empty())
    }

    /// In words.
    #[must_use]
    pub fn render(&self, dir: &Path) -> String {
        let mut out = String::new();
        if !self.signed {
            out.push_str("error: the manifest is not signed by this key; nothing else was checked\n");
        }
        let wrong = [
            (&self.changed, "was changed since it was signed"),
            (&self.missing, "was signed and is missing"),
            (&self.added, "was added: it was not signed"),
            (&self.inputs_changed, "was read for the report and is not what it was"),
        ];
        for (names, what) in wrong {
            names.iter().for_each(|name| out.push_str(&format!("error: `{name}` {what}\n")));
        }
        self.faults.iter().for_each(|fault| out.push_str(&format!("error: {fault}\n")));
        if self.signed {
            out.push_str(&format!("{}: signature of the key over the manifest\n", dir.display()));
            out.push_str(&format!("  {} of the report unchanged\n", files(self.unchanged.len())));
            out.push_str(&format!("  {} it was made from unchanged\n", files(self.inputs_unchanged.len())));
            self.inputs_elsewhere.iter().for_each(|name| out.push_str(&format!("  not checked: `{name}` is not here\n")));
            self.bundles.iter().for_each(|name| out.push_str(&format!("  named, not checked: bundle {name}\n")));
            self.sample.iter().for_each(|said| out.push_str(&format!("  {said}\n")));
        }
        out.push_str(if self.is_sound() {
            "ok: nothing was changed, left out or added\n"
        } else {
            "FAIL: the report is not as it was signed\n"
        });
        out
    }
}

fn files(n: usize) -> String {
    if n == 1 { "1 file".to_owned() } else { format!("{n} files") }
}

/// Holds a report's folder against its signed manifest. What it was made from is looked for under the names it was given by; whether
/// a history is unchanged tells `history`, or `None` where it is not at hand.
///
/// # Errors
/// Manifest or signature are not there or no such things, or a file cannot be read.
pub fn verify(dir: &Path, key: &BundleVerifier, history: &dyn Fn(&Given) -> Option<bool>) -> Result<Verified, VerifyError> {
    let text = bounded(&dir.join(MANIFEST))?;
    let seal = bounded(&dir.join(SIGNATURE))?;
    let seal: Seal = serde_json::from_slice(&seal).map_err(|e| VerifyError::malformed(&dir.join(SIGNATURE), &e.to_string()))?;
    let mut out = Verified::default();
    if key.verify_report(&Digest::of(&text), &seal).is_err() {
        return Ok(out);
    }
    out.signed = true;
    let manifest = read(&dir.join(MANIFEST), &text)?;
    for file in &manifest.files {
        let list = match digest(&dir.join(&file.name)) {
            Ok(found) if found == (file.sha256, file.bytes) => &mut out.unchanged,
            Ok(_) => &mut out.changed,
            Err(e) if e.kind() == io::ErrorKind::NotFound => &mut out.missing,
            Err(source) => return Err(VerifyError::Read { path: dir.join(&file.name), source }),
        };
        list.push(file.name.clone());
    }
    out.added = added(dir, &manifest)?;
    for input in manifest.inputs.iter().chain(&manifest.baseline) {
        let list = match digest(Path::new(&input.path)) {
            Ok((found, _)) if found == input.sha256 => &mut out.inputs_unchanged,
            Ok(_) => &mut out.inputs_changed,
            Err(_) => &mut out.inputs_elsewhere,
        };
        list.push(input.path.clone());
    }
    for given in &manifest.given {
        let same = match given.kind {
            GivenKind::Commits => history(given),
            _ => digest(Path::new(&given.path)).ok().map(|(found, _)| found == given.sha256),
        };
        let list = match same {
            Some(true) => &mut out.inputs_unchanged,
            Some(false) => &mut out.inputs_changed,
            None => &mut out.inputs_elsewhere,
        };
        list.push(format!("{} ({})", given.path, given.kind.words()));
    }
    out.bundles = manifest.bundles.iter().map(|b| format!("{} {}", b.path, b.sha256)).collect();
    check_sample(dir, &manifest, &mut out);
    Ok(out)
}

/// The sample's proofs must lead to the root that was signed.
fn check_sample(dir: &Path, manifest: &Manifest, out: &mut Verified) {
    let Some(root) = manifest.sample_root else { return };
    if !out.unchanged.iter().any(|name| name == sample::FILE) {
        return;
    }
    let checked =
        fs::read(dir.join(sample::FILE)).map_err(|e| e.to_string()).and_then(|bytes| Sample::read(&bytes).map_err(|e| e.to_string()));
    match checked.and_then(|sample| sample.check(&[]).map_err(|e| e.to_string())) {
        Ok(report) if report.root != root => out.faults.push("the sample's root is not the one that was signed".to_owned()),
        Ok(report) => {
            out.faults.extend(report.faults);
            out.sample = Some(format!("sample: {}, {} proved to the signed root", report.statement, report.proved));
        }
        Err(why) => out.faults.push(format!("`{}`: {why}", sample::FILE)),
    }
}

fn added(dir: &Path, manifest: &Manifest) -> Result<Vec<String>, VerifyError> {
    let known: BTreeSet<&str> = manifest.files.iter().map(|f| &*f.name).chain([MANIFEST, SIGNATURE]).collect();
    let unreadable = |source| VerifyError::Read { path: dir.to_owned(), source };
    let mut out = Vec::new();
    for entry in fs::read_dir(dir).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
        if !known.contains(&*name) {
            out.push(name);
        }
    }
    out.sort();
    Ok(out)
}

fn read(path: &Path, text: &[u8]) -> Result<Manifest, VerifyError> {
    let manifest: Manifest = serde_json::from_slice(text).map_err(|e| VerifyError::malformed(path, &e.to_string()))?;
    if manifest.kind != KIND || manifest.v != VERSION {
        return Err(VerifyError::malformed(path, "its kind or version is not known here"));
    }
    let is_plain = |name: &str| !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != "." && name != "..";
    if manifest.files.len() > MANIFEST_FILES_MAX || manifest.files.iter().any(|f| !is_plain(&f.name)) {
        return Err(VerifyError::malformed(path, "it names a file that cannot be in its folder"));
    }
    Ok(manifest)
}

/// Why a report cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Something cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("`{}` is no part of a signed report: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl VerifyError {
    fn malformed(path: &Path, why: &str) -> Self {
        Self::Malformed { path: path.to_owned(), why: why.to_owned() }
    }
}

fn bounded(path: &Path) -> Result<Vec<u8>, VerifyError> {
    let mut out = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MANIFEST_BYTES_MAX).read_to_end(&mut out));
    read.map(|_| out).map_err(|source| VerifyError::Read { path: path.to_owned(), source })
}

/// SHA-256 and length of a file, read in pieces.
fn digest(path: &Path) -> io::Result<(Digest, u64)> {
    let source = portreeve_auditor::LogSource::File(path.to_owned());
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    source.digest()
}

fn document(value: &impl Serialize) -> Result<String, ReportError> {
    let mut text = serde_json::to_string_pretty(value).map_err(ReportError::Json)?;
    text.push('\n');
    Ok(text)
}

const KIND: &str = "portreeve-report";
const VERSION: u32 = 1;
