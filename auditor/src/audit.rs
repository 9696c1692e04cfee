//! The whole examination: logs and bundles in, an [`Assessment`] out.
//!
//! INVARIANT: the same inputs give the same bytes. No clock is read: the time of the last record stands for now.

use portreeve_engine::{Authorizer, Diagnostic};

use crate::assemble::assemble;
use crate::assessment::{Assessment, Given, GivenKind};
use crate::baseline::{self, Earlier};
use crate::checks;
use crate::commits::Commit;
use crate::controls::{BUILT_IN, Catalog};
use crate::examined::Examined;
use crate::fold::Fold;
use crate::foreign::{ForeignFold, Reading};
use crate::governance::{Exception, Governance};
use crate::granted::Granted;
use crate::heads::VerifiedHeads;
use crate::history::History;
use crate::intake::{self, ReadError};
use crate::own_checks::{self, OwnChecks};
use crate::replay::Replayer;
use crate::settings::EnforcerConfig;
use crate::source::LogSource;
use crate::verify::Verification;

/// An examination about to be made.
#[derive(Debug)]
pub struct Audit {
    bundles: Vec<(String, Authorizer)>,
    logs: Vec<LogSource>,
    heads: VerifiedHeads,
    catalogs: Vec<Catalog>,
    history: History,
    reading: Reading,
    governance: Governance,
    configs: Vec<EnforcerConfig>,
    commits: Vec<Commit>,
    own_checks: Vec<OwnChecks>,
    baselines: Vec<Earlier>,
    given: Vec<Given>,
}

/// Why an examination could not be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No bundle was given.
    #[error("no bundle was given: there is no law to compare with")]
    NoBundle,
    /// No log was given.
    #[error("no log was given")]
    NoLog,
    /// The built-in catalogue cannot be read.
    #[error("the built-in catalogue is wrong: {}", .0.iter().map(|d| d.message.as_str()).collect::<Vec<_>>().join("; "))]
    Catalog(Vec<Diagnostic>),
}

impl Audit {
    /// An examination under these bundles, each with the name it was given by. Which of them is the newest is read from the
    /// logs: the one last in force, or the last one given where none was.
    #[must_use]
    pub fn new(bundles: Vec<(String, Authorizer)>) -> Self {
        Self {
            bundles,
            logs: Vec::new(),
            heads: VerifiedHeads::default(),
            catalogs: Vec::new(),
            history: History::default(),
            reading: Reading::default(),
            governance: Governance::default(),
            configs: Vec::new(),
            commits: Vec::new(),
            own_checks: Vec::new(),
            baselines: Vec::new(),
            given: Vec::new(),
        }
    }

    /// Adds logs.
    #[must_use]
    pub fn logs(mut self, logs: impl IntoIterator<Item = LogSource>) -> Self {
        self.logs.extend(logs);
        self
    }

    /// Says when which of the bundles was in force.
    #[must_use]
    pub fn history(mut self, history: History) -> Self {
        self.history = history;
        self
    }

    /// Adds signed heads that vouch for the logs.
    #[must_use]
    pub fn heads(mut self, heads: VerifiedHeads) -> Self {
        self.heads.extend(heads);
        self
    }

    /// Says how the logs are to be read. Where nothing is said their format is recognised by content.
    #[must_use]
    pub fn reading(mut self, reading: Reading) -> Self {
        self.reading = reading;
        self
    }

    /// Adds a catalogue. Where none is added, the built-in one of PCI DSS applies.
    #[must_use]
    pub fn catalog(mut self, catalog: Catalog) -> Self {
        self.catalogs.push(catalog);
        self
    }

    /// Adds an earlier assessment to hold this one against.
    #[must_use]
    pub fn baseline(mut self, earlier: Earlier) -> Self {
        self.baselines.push(earlier);
        self
    }

    /// Adds what people declared.
    #[must_use]
    pub fn governance(mut self, governance: Governance) -> Self {
        self.governance = governance;
        self
    }

    /// Adds configuration files of enforcers.
    #[must_use]
    pub fn configs(mut self, configs: impl IntoIterator<Item = EnforcerConfig>) -> Self {
        self.configs.extend(configs);
        self
    }

    /// Adds commits of the policy repo.
    #[must_use]
    pub fn commits(mut self, commits: impl IntoIterator<Item = Commit>) -> Self {
        self.commits.extend(commits);
        self
    }

    /// Adds checks of the user's own.
    #[must_use]
    pub fn own_checks(mut self, checks: OwnChecks) -> Self {
        self.own_checks.push(checks);
        self
    }

    /// Names what the others were read from, where only the caller knows: catalogues, mappings, heads, histories. Files of governance,
    /// configurations, checks and baselines know their own.
    #[must_use]
    pub fn given(mut self, given: impl IntoIterator<Item = Given>) -> Self {
        self.given.extend(given);
        self
    }

    /// Makes the examination. `progress` is told the stored bytes read so far.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<Assessment, AuditError> {
        if self.logs.is_empty() {
            return Err(AuditError::NoLog);
        }
        let built_in;
        let catalogs = if self.catalogs.is_empty() {
            built_in = vec![Catalog::built_in(BUILT_IN[0]).map_err(AuditError::Catalog)?];
            &built_in
        } else {
            &self.catalogs
        };
        let laws = || self.bundles.iter().map(|(_, authorizer)| authorizer);
        let mut fold =
            Fold::new(Replayer::new(laws()), ForeignFold::new(laws(), self.reading.names.clone()).with_history(self.history.clone()));
        let intake = intake::read(&self.logs, &self.heads, &self.reading, &mut fold, progress)?;
        fold.finish();
        let verification = Verification::of(&intake);
        let (name, newest) = self.newest(&fold).ok_or(AuditError::NoBundle)?;
        let examined = Examined {
            newest,
            granted: Granted::of(newest, &self.governance.scope),
            fold: &fold,
            chains: &intake.chains,
            verification: &verification,
            reads: &intake.inputs,
            floor: std::cell::Cell::new(None),
            history: &self.history,
            governance: &self.governance,
            configs: &self.configs,
            commits: &self.commits,
            heads: &self.heads,
            exceptions: self.governance.exceptions.iter().cloned().chain(Exception::of_bundle(newest)).collect(),
            now: fold.seen.map(|(_, last)| last),
        };
        let mut found = checks::run(&examined);
        found.extend(own_checks::run(&self.own_checks, &examined));
        let mut assessment = assemble(&examined, &intake.inputs, &self.bundles, name, catalogs, found);
        assessment.given = self.everything_given();
        assessment.baseline = baseline::compare(&assessment, &self.baselines);
        Ok(assessment)
    }

    fn everything_given(&self) -> Vec<Given> {
        let named = |kind, path: &String, sha256| Given { kind, path: path.clone(), sha256, at: None };
        let mut all = self.given.clone();
        all.extend(self.governance.files.iter().map(|(path, sha256)| named(GivenKind::Governance, path, *sha256)));
        all.extend(self.configs.iter().map(|c| named(GivenKind::Config, &c.path, c.sha256)));
        all.extend(self.own_checks.iter().flat_map(OwnChecks::files).map(|(path, sha256)| named(GivenKind::Check, path, *sha256)));
        all.extend(self.baselines.iter().map(|b| named(GivenKind::Baseline, &b.path, b.sha256)));
        all.sort();
        all.dedup();
        all
    }

    fn newest(&self, fold: &Fold<'_>) -> Option<(&str, &Authorizer)> {
        let in_force = |authorizer: &Authorizer| fold.last_in_force(authorizer.revision());
        // Of equals the last given wins, and a bundle never in force comes before every one that was.
        self.bundles.iter().max_by_key(|(_, authorizer)| in_force(authorizer)).map(|(name, authorizer)| (name.as_str(), authorizer))
    }
}
