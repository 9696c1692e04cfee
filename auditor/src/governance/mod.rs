//! The `governance` folder: scope, reviews, attestations, exceptions and records, as YAML with places.
//!
//! Every fault is collected, none is guessed over. The one exception to that is an exception's day: what is no day has expired.
//! It says what people declared; whether that suffices, checks and controls say.

mod exception;
mod read;
mod records;
pub mod schema;
mod scope;
mod summary;

use std::path::Path;

use portreeve_engine::diagnostic::Diagnostic;
use portreeve_engine::time::Date;
use portreeve_engine::{Digest, yaml};

pub use exception::{Exception, Until, Waives};
pub use records::{Alert, Attestation, AuditRun, Certificate, Disposition, Incident, Review, Subject};
pub(crate) use scope::names_control;
pub use scope::{Cidr, Class, Cryptography, Environment, Members, Network, NotApplicable, ParseCidrError, Scope, Tenant, ThirdParty};
pub(crate) use summary::summary;

use crate::limits::{GOVERNANCE_BYTES_MAX, GOVERNANCE_FILES_MAX};

/// Everything that was declared.
#[derive(Clone, Debug, Default)]
pub struct Governance {
    /// The scope; the default one where none was given.
    pub scope: Scope,
    /// Reviews.
    pub reviews: Vec<Review>,
    /// Attestations.
    pub attestations: Vec<Attestation>,
    /// Exceptions.
    pub exceptions: Vec<Exception>,
    /// Audit runs.
    pub runs: Vec<AuditRun>,
    /// Alerts.
    pub alerts: Vec<Alert>,
    /// Incidents.
    pub incidents: Vec<Incident>,
    /// What became of findings.
    pub dispositions: Vec<Disposition>,
    /// Certificates that are answered for.
    pub certificates: Vec<Certificate>,
    /// The files, with their digests; empty where no folder was given.
    pub files: Vec<(String, Digest)>,
}

impl Governance {
    /// Whether a folder was given at all. What a folder does not say counts as not done; without a folder nothing is known.
    #[must_use]
    pub fn is_given(&self) -> bool {
        !self.files.is_empty()
    }

    /// Reads the files of a folder, each given as its path and its bytes.
    ///
    /// # Errors
    /// Everything that is wrong, by file and line.
    pub fn read<P: AsRef<str>>(files: &[(P, Vec<u8>)]) -> Result<Self, Vec<Diagnostic>> {
        let mut files: Vec<(&str, &[u8])> = files.iter().map(|(path, bytes)| (path.as_ref(), bytes.as_slice())).collect();
        files.sort_unstable();
        let mut out = Self::default();
        let mut problems = Vec::new();
        if files.is_empty() {
            let help = "it has `*.yaml` files of the kinds Scope, Review, Attestation, Exception and others";
            problems.push(Diagnostic::error("empty-governance", "there is no governance file in the folder").help(help));
        }
        for (path, bytes) in files {
            out.files.push((path.to_owned(), Digest::of(bytes)));
            let Ok(text) = std::str::from_utf8(bytes) else {
                problems.push(Diagnostic::error("unreadable-governance", format!("`{path}` is not UTF-8")));
                continue;
            };
            let before = problems.len();
            match yaml::parse(path, text) {
                Ok(documents) => documents.iter().filter(|d| !d.is_null()).for_each(|d| read::resource(path, d, &mut out, &mut problems)),
                Err(problem) => problems.push(problem),
            }
            let found = problems.split_off(before);
            problems.extend(found.into_iter().map(|d| if d.source.is_none() { d.with_source(text) } else { d }));
        }
        if problems.is_empty() { Ok(out) } else { Err(problems) }
    }

    /// Reads a folder with all its folders: `*.yaml` and `*.yml`, hidden ones left out.
    ///
    /// # Errors
    /// It cannot be read, or something in it is wrong.
    pub fn read_dir(dir: &Path) -> Result<Self, Vec<Diagnostic>> {
        let mut files = Vec::new();
        let mut bytes = 0;
        let unreadable = |path: &Path, e: &dyn std::fmt::Display| {
            vec![Diagnostic::error("unreadable-governance", format!("cannot read `{}`: {e}", path.display()))]
        };
        let mut open = vec![dir.to_path_buf()];
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(&folder).map_err(|e| unreadable(&folder, &e))? {
                let path = entry.map_err(|e| unreadable(&folder, &e))?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if name.starts_with('.') {
                    continue;
                }
                if path.is_dir() && !path.is_symlink() {
                    open.push(path);
                } else if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
                    let text = std::fs::read(&path).map_err(|e| unreadable(&path, &e))?;
                    bytes += text.len();
                    files.push((path.display().to_string(), text));
                }
            }
            if files.len() > GOVERNANCE_FILES_MAX || bytes > GOVERNANCE_BYTES_MAX {
                let why = format!("it has more than {GOVERNANCE_FILES_MAX} files or {GOVERNANCE_BYTES_MAX} bytes");
                return Err(unreadable(dir, &why));
            }
        }
        Self::read(&files)
    }

    /// The latest review of a subject that can be about this day, and of a revision where one is asked for.
    pub(crate) fn latest(&self, of: Subject, revision: Option<&Digest>, today: Date) -> Option<&Review> {
        let provider = self.scope.service_provider;
        let fits = |r: &&Review| r.of == of && r.is_of(today, provider) && (revision.is_none() || r.revision.as_ref() == revision);
        self.reviews.iter().filter(fits).max_by_key(|r| (r.on, &r.name))
    }
}
