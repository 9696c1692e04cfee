//! What people declared, as the report shows it: scope, reviews, attestations, exceptions, configuration files, history of changes.

use portreeve_engine::time::Date;
use portreeve_engine::{Digest, Timestamp};
use serde::Serialize;

/// The governance of what was examined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct GovernanceSummary {
    /// The files read, with their digests; empty where no folder was given.
    pub files: Vec<FileSummary>,
    /// The scope; `None` where none was given and the defaults hold.
    pub scope: Option<ScopeSummary>,
    /// Reviews, by subject and day.
    pub reviews: Vec<ReviewSummary>,
    /// Attestations, by name.
    pub attestations: Vec<AttestationSummary>,
    /// Exceptions, those of the bundle too; the expired first.
    pub exceptions: Vec<ExceptionSummary>,
    /// Days with an audit run whose report somebody looked at.
    pub audit_runs: u64,
    /// Alerts on record.
    pub alerts: u64,
    /// Incidents on record.
    pub incidents: u64,
    /// Findings on record as dealt with.
    pub dispositions: u64,
    /// The enforcers' configuration files.
    pub configs: Vec<ConfigSummary>,
    /// Commits of the policy repo, newest first; empty where no history was given.
    pub history: Vec<CommitSummary>,
}

/// A file and its digest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileSummary {
    /// Its path.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// A scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ScopeSummary {
    /// Its name.
    pub name: String,
    /// Each service with its class, `None` where no class names it.
    pub classes: Vec<ServiceClass>,
    /// Classes of data that are sensitive.
    pub sensitive_data: Vec<String>,
    /// Zones that are not trusted.
    pub untrusted_zones: Vec<String>,
    /// Environments, with whether each is production.
    pub environments: Vec<EnvironmentSummary>,
    /// Tenants.
    pub tenants: Vec<String>,
    /// Networks, with whether each is open or public.
    pub networks: Vec<NetworkSummary>,
    /// Third parties.
    pub third_parties: Vec<String>,
    /// Whether the owner is a service provider.
    pub service_provider: bool,
    /// Controls declared not applicable.
    pub not_applicable: Vec<NotApplicableSummary>,
}

/// A service and its scope class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceClass {
    /// The service.
    pub service: String,
    /// `cde`, `connected_to`, `security_impacting`, `out_of_scope`.
    pub class: Option<String>,
}

/// An environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnvironmentSummary {
    /// Its name.
    pub name: String,
    /// Whether it serves the business.
    pub production: bool,
}

/// A network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkSummary {
    /// Its name.
    pub name: String,
    /// Whether it is open or public.
    pub open_public: bool,
}

/// A control declared not applicable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotApplicableSummary {
    /// The control.
    pub control: String,
    /// Why.
    pub reason: String,
    /// Who agreed.
    pub approved_by: Vec<String>,
    /// Where it is declared.
    pub at: String,
}

/// A review.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReviewSummary {
    /// Its name.
    pub name: String,
    /// Of what.
    pub of: String,
    /// When.
    pub on: Date,
    /// By whom.
    pub by: Vec<String>,
    /// The revision that was looked at.
    pub revision: Option<Digest>,
    /// Whether that is the newest bundle's; `None` where the review names none.
    pub of_newest: Option<bool>,
    /// Who acknowledged it.
    pub acknowledged_by: Vec<String>,
    /// Whether one of these did not make it.
    pub acknowledged: bool,
    /// The services it covers; empty: all.
    pub covers: Vec<String>,
    /// Whether it no longer counts.
    pub overdue: bool,
    /// Days after the last record on which it was made; zero where it was not after it.
    pub days_after: i64,
    /// Whether that is too long after it to count.
    pub too_late: bool,
    /// What came of it.
    pub result: String,
    /// Where it is declared.
    pub at: String,
}

/// An attestation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AttestationSummary {
    /// Its name.
    pub name: String,
    /// What is stated.
    pub statement: String,
    /// By whom.
    pub by: Vec<String>,
    /// When.
    pub on: Date,
    /// The controls it is about.
    pub controls: Vec<String>,
    /// Whether it no longer counts.
    pub overdue: bool,
    /// Where it is declared.
    pub at: String,
}

/// An exception.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExceptionSummary {
    /// Its name.
    pub name: String,
    /// What is excepted.
    pub of: String,
    /// Why.
    pub reason: String,
    /// Who agreed.
    pub approved_by: Vec<String>,
    /// The last day, as written.
    pub until: String,
    /// Whether it waives nothing any more.
    pub expired: bool,
    /// Ids of the findings that it covers, or would if it had not expired.
    pub findings: Vec<String>,
    /// Where it is declared.
    pub at: String,
}

/// By which exception a finding is waived. It is shown all the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waiver {
    /// The exception.
    pub exception: String,
    /// Why.
    pub reason: String,
    /// Who agreed.
    pub approved_by: Vec<String>,
    /// The last day.
    pub until: Date,
}

/// A configuration file of an enforcer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConfigSummary {
    /// Its path.
    pub path: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// The service it is for.
    pub service: Option<String>,
    /// Processes that ran with exactly this file.
    pub ran: Vec<String>,
    /// The settings that matter, with where they stand.
    pub settings: Vec<Setting>,
}

/// A setting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its name, such as `tls.min_version`.
    pub name: String,
    /// Its value; where it is not given, what then holds.
    pub value: String,
    /// `file:line`, where it is given.
    pub at: Option<String>,
}

/// A commit of the policy repo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommitSummary {
    /// Its id.
    pub commit: String,
    /// Who wrote it.
    pub author: String,
    /// When.
    pub at: Timestamp,
    /// Who agreed, by its trailers.
    pub approved_by: Vec<String>,
    /// The revision of the bundle there; `None` where there is none.
    pub revision: Option<Digest>,
    /// Whether an enforcer had it in force.
    pub in_force: bool,
}
