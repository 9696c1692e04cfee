//! What was read beside logs and bundles, with digests: whatever of it had been different could have made another assessment.

use portreeve_engine::Digest;
use serde::{Deserialize, Serialize};

/// Something that was read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// What it was read as.
    pub kind: GivenKind,
    /// The name it was given by.
    pub path: String,
    /// SHA-256 of a file's bytes; of a history, of what git told of its commits.
    pub sha256: Digest,
    /// The last commit of a history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
}

/// What something was read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GivenKind {
    /// A file of the governance folder.
    Governance,
    /// A configuration file of an enforcer.
    Config,
    /// The git history of the policies.
    Commits,
    /// A check of the user's own.
    Check,
    /// A catalogue of the user's own.
    Catalog,
    /// How the fields of a log are named.
    Mapping,
    /// Signed heads from elsewhere.
    Heads,
    /// The public key of the heads.
    HeadsKey,
    /// An earlier assessment.
    Baseline,
}

impl GivenKind {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Governance => "governance",
            Self::Config => "configuration",
            Self::Commits => "history of the policies",
            Self::Check => "check",
            Self::Catalog => "catalogue",
            Self::Mapping => "mapping of fields",
            Self::Heads => "signed heads",
            Self::HeadsKey => "key of the heads",
            Self::Baseline => "earlier assessment",
        }
    }
}

impl Given {
    /// A file of this name and these bytes.
    #[must_use]
    pub fn file(kind: GivenKind, path: impl Into<String>, bytes: &[u8]) -> Self {
        Self { kind, path: path.into(), sha256: Digest::of(bytes), at: None }
    }
}
