//! The whole answer: effect, reason, determining policies, errors.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use smallvec::SmallVec;

use crate::bundle::Revision;
use crate::diagnostic::Location;
use crate::model::Limit;

/// Allow or deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Let it through.
    Allow,
    /// Do not.
    Deny,
}

impl Effect {
    /// `allow` or `deny`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why the effect is what it is: the first of these that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The question itself is ambiguous or broken.
    MalformedRequest,
    /// The destination is not in the inventory.
    UnknownService,
    /// A user token was sent and is not acceptable.
    InvalidToken,
    /// A prohibition is satisfied.
    Prohibited,
    /// A policy could not be evaluated (INV-4).
    EvaluationError,
    /// A grant is satisfied.
    Permitted,
    /// No grant, and no service of the inventory has this identity.
    UnknownPrincipal,
    /// No grant, and the inventory does not declare this operation.
    UndeclaredOperation,
    /// A grant's scope matched, its conditions did not.
    ConditionUnmet,
    /// No grant.
    NoPermission,
}

impl Reason {
    /// Every reason, in the order in which they are looked at.
    pub const ALL: [Self; 10] = [
        Self::MalformedRequest,
        Self::UnknownService,
        Self::InvalidToken,
        Self::Prohibited,
        Self::EvaluationError,
        Self::Permitted,
        Self::UnknownPrincipal,
        Self::UndeclaredOperation,
        Self::ConditionUnmet,
        Self::NoPermission,
    ];

    /// The kebab-case word used in decisions and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MalformedRequest => "malformed-request",
            Self::UnknownService => "unknown-service",
            Self::InvalidToken => "invalid-token",
            Self::Prohibited => "prohibited",
            Self::EvaluationError => "evaluation-error",
            Self::Permitted => "permitted",
            Self::UnknownPrincipal => "unknown-principal",
            Self::UndeclaredOperation => "undeclared-operation",
            Self::ConditionUnmet => "condition-unmet",
            Self::NoPermission => "no-permission",
        }
    }

    /// Whether this denial comes from policy, so that a dry run may forward the request all the same.
    #[must_use]
    pub const fn is_policy_denial(self) -> bool {
        !matches!(self, Self::MalformedRequest | Self::UnknownService | Self::InvalidToken | Self::Permitted)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A policy as decisions name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyRef {
    /// The permission's name, the Cedar `@id`, or `package.rule` of Rego.
    pub id: Box<str>,
    /// What it does when satisfied.
    pub effect: Effect,
    /// Where it stands.
    pub at: Location,
    /// What bounds those it allows, for the enforcer; it never alters a decision.
    pub limit: Option<Limit>,
}

impl Serialize for PolicyRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut s = serializer.serialize_struct("PolicyRef", 3)?;
        s.serialize_field("id", &self.id)?;
        s.serialize_field("effect", &self.effect)?;
        s.serialize_field("at", &format_args!("{}:{}", self.at.file, self.at.line))?;
        s.end()
    }
}

/// The answer to one request. It borrows from the authorizer that gave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Decision<'a> {
    /// Allow or deny.
    pub effect: Effect,
    /// Why.
    pub reason: Reason,
    /// The id of the declared operation, `None` where the path is undeclared or was not looked at.
    pub operation: Option<&'a str>,
    /// The satisfied unconditional policies of the deciding effect or, where there are none, the satisfied conditional
    /// ones; by id.
    pub policies: SmallVec<[&'a PolicyRef; 2]>,
    /// What could not be evaluated, or is wrong with the request.
    pub errors: Vec<Box<str>>,
    /// Policies in dry-run that are satisfied.
    pub shadow: SmallVec<[&'a PolicyRef; 0]>,
    /// The revision of the bundle that answered.
    pub revision: &'a Revision,
}

impl Decision<'_> {
    /// Whether the request may pass.
    #[must_use]
    pub fn is_allow(&self) -> bool {
        self.effect == Effect::Allow
    }
}
