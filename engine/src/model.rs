//! The nouns of a policy repo: who exists, what they offer, what is granted, what must hold.
//!
//! These are the resources after reading and resolving; every name in them refers to something that exists.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::decision::Effect;
use crate::diagnostic::Location;
use crate::id::{IdPattern, SpiffeId};
use crate::outside::HostPattern;
use crate::path::Paths;
use crate::request::{AttributeValue, Method};
use crate::template::PathTemplate;
use crate::time::{Date, Timestamp};

/// A member of the inventory: who it is, what it offers, what it touches.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name, unique among services and groups.
    pub name: Box<str>,
    /// The exact SPIFFE IDs of its workloads.
    pub identities: Vec<SpiffeId>,
    /// Patterns over SPIFFE IDs that are also its workloads.
    pub patterns: Vec<IdPattern>,
    /// The names by which it is reached, where it is outside the mesh: it has no identity then, and whoever calls it records that.
    pub hosts: Vec<HostPattern>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// The zone it lives in; a free word.
    pub zone: Option<String>,
    /// The classes of data it touches.
    pub data: BTreeSet<String>,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// How it reads paths.
    pub paths: Paths,
    /// What it offers.
    pub operations: Vec<Operation>,
    /// What policies may read of requests to it, besides principal, action and resource.
    pub visible: Visible,
    /// Groups it belongs to, directly or through groups, by name.
    pub groups: BTreeSet<Box<str>>,
    /// Where it is declared.
    pub at: Location,
}

impl Service {
    /// Whether it is outside the mesh.
    #[must_use]
    pub const fn is_outside(&self) -> bool {
        !self.hosts.is_empty()
    }
}

/// The attributes that policies may read of requests to one service (INV-7), with their types.
#[derive(Clone, Debug, Default)]
pub struct Visible {
    /// Headers by lower-case name.
    pub headers: BTreeMap<Box<str>, AttributeType>,
    /// Query parameters.
    pub query: BTreeMap<Box<str>, AttributeType>,
    /// Claims besides `iss`, `sub`, `aud` and `scope`.
    pub claims: BTreeMap<Box<str>, AttributeType>,
}

/// The type of a header, query parameter or claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttributeType {
    /// One text.
    Text,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// Several texts. A header is split at its commas.
    List,
}

impl AttributeType {
    /// The word used in the inventory.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "string",
            Self::Integer => "integer",
            Self::Boolean => "boolean",
            Self::List => "list",
        }
    }

    /// The value as one of this type: texts from the network become what the inventory says they are.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that begins with the attribute's name.
    pub fn coerce(self, value: &AttributeValue) -> Result<AttributeValue, &'static str> {
        use AttributeValue as V;
        match (self, value) {
            (Self::Text, V::Text(_)) | (Self::Integer, V::Integer(_)) | (Self::Boolean, V::Boolean(_)) => Ok(value.clone()),
            (Self::Integer, V::Text(text)) => text.parse().map(V::Integer).map_err(|_| "is not a whole number"),
            (Self::Boolean, V::Text(text)) => text.parse().map(V::Boolean).map_err(|_| "is neither `true` nor `false`"),
            (Self::List, V::Text(text)) => Ok(V::List(split_list(text).collect())),
            (Self::List, V::List(list)) => Ok(V::List(list.iter().flat_map(|text| split_list(text)).collect())),
            (_, V::List(_)) => Err("is given more than once, and its type is not `list`"),
            _ => Err("is not of the type that the inventory gives it"),
        }
    }

    /// Whether a value from the network is of this type already. A list is not: its texts may have to be split.
    #[must_use]
    pub const fn is_of(self, value: &AttributeValue) -> bool {
        use AttributeValue as V;
        matches!((self, value), (Self::Text, V::Text(_)) | (Self::Integer, V::Integer(_)) | (Self::Boolean, V::Boolean(_)))
    }

    /// Whether a claim is of this type already.
    #[must_use]
    pub const fn is_claim_of(self, value: &AttributeValue) -> bool {
        matches!((self, value), (Self::List, AttributeValue::List(_))) || self.is_of(value)
    }

    /// The same for a claim of a token, which has types of its own: only headers are split at their commas. A group named
    /// `x,admin` must not make its members `admin`.
    ///
    /// # Errors
    /// As [`AttributeType::coerce`].
    pub fn coerce_claim(self, value: &AttributeValue) -> Result<AttributeValue, &'static str> {
        match (self, value) {
            (Self::List, AttributeValue::List(_)) => Ok(value.clone()),
            (Self::List, AttributeValue::Text(text)) => Ok(AttributeValue::List(vec![text.clone()])),
            _ => self.coerce(value),
        }
    }
}

fn split_list(text: &str) -> impl Iterator<Item = Box<str>> {
    text.split(',').map(|part| part.trim_matches([' ', '\t'])).filter(|part| !part.is_empty()).map(Into::into)
}

/// What a service offers.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its id, unique in its service.
    pub id: Box<str>,
    /// What reaches it.
    pub endpoint: Endpoint,
    /// Classes of data it touches besides its service's.
    pub data: BTreeSet<String>,
    /// The protocols to which a request may switch its connection. They alter no decision: the gate refuses any other switch.
    pub upgrade: Vec<Upgrade>,
    /// Where it is declared.
    pub at: Location,
}

/// A protocol to which a connection may be switched. Those that would bring further requests past the gate are not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Upgrade {
    /// RFC 6455; over HTTP/2 RFC 8441.
    WebSocket,
}

impl Upgrade {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::WebSocket];

    /// The word used in the inventory and in `upgrade` headers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
        }
    }

    /// Reads the word; case does not count, as in headers.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|u| u.as_str().eq_ignore_ascii_case(word))
    }
}

/// What reaches an operation.
#[derive(Clone, Debug)]
pub enum Endpoint {
    /// Methods on a path. A gRPC method is a POST on `/package.Service/Method`.
    Http {
        /// The methods, in the order written.
        methods: Vec<Method>,
        /// The path template.
        path: PathTemplate,
    },
    /// A TCP port.
    Connect {
        /// The port.
        port: u16,
    },
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { methods, path } => {
                let methods: Vec<_> = methods.iter().map(Method::as_str).collect();
                write!(f, "{} {path}", methods.join("|"))
            }
            Self::Connect { port } => write!(f, "port {port}"),
        }
    }
}

/// A named set of services and groups.
#[derive(Clone, Debug)]
pub struct Group {
    /// Its name, unique among services and groups.
    pub name: Box<str>,
    /// Names of its direct members.
    pub members: Vec<Box<str>>,
    /// Where it is declared.
    pub at: Location,
}

/// One declared grant or prohibition.
#[derive(Clone, Debug)]
pub struct Permission {
    /// Its name, unique among policies.
    pub name: Box<str>,
    /// Grant or prohibition.
    pub effect: Effect,
    /// Who.
    pub from: Vec<Caller>,
    /// Names of services and groups.
    pub to: Vec<Box<str>>,
    /// Which operations of them.
    pub operations: Operations,
    /// Only these methods, where given.
    pub methods: Option<Vec<Method>>,
    /// Under which conditions.
    pub when: Condition,
    /// Limits for the enforcer.
    pub limit: Option<Limit>,
    /// Whether it is only looked at: named where it is satisfied, and without a say.
    pub dry_run: bool,
    /// Why it exists and who answers for it.
    pub governance: Governance,
    /// Where it is declared.
    pub at: Location,
}

/// Who a permission is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// All identities of a service.
    Service(Box<str>),
    /// All identities of the services of a group.
    Group(Box<str>),
    /// One identity.
    Identity(SpiffeId),
    /// The identities a pattern covers.
    Pattern(IdPattern),
    /// Every identity of the inventory.
    AnyAuthenticated,
}

/// Which operations a permission covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operations {
    /// These, by id.
    Listed(Vec<Box<str>>),
    /// `'*'`: every declared one.
    Declared,
    /// `any-path`: declared and undeclared.
    AnyPath,
}

/// What must hold of the context. All parts must; an empty condition always does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Condition {
    /// A verified user token with these facts.
    pub jwt: Option<JwtCondition>,
    /// The peer's address lies in one of these networks; empty: anywhere.
    pub source: Vec<IpNet>,
    /// The time of day lies in one of these windows (UTC); empty: any.
    pub time: Vec<TimeWindow>,
    /// Not before this time.
    pub not_before: Option<Timestamp>,
    /// Before this time.
    pub expires: Option<Timestamp>,
    /// Each of these headers has one of these values.
    pub headers: BTreeMap<Box<str>, Vec<AttributeValue>>,
    /// Each of these query parameters has one of these values.
    pub query: BTreeMap<Box<str>, Vec<AttributeValue>>,
}

/// What must hold of the user token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JwtCondition {
    /// One of these issuers; empty: any that the enforcer trusts.
    pub issuer: Vec<Box<str>>,
    /// One of these audiences; empty: any that the enforcer accepts.
    pub audience: Vec<Box<str>>,
    /// All of these scopes.
    pub scopes: Vec<Box<str>>,
    /// At least one of these scopes, where not empty.
    pub scopes_any: Vec<Box<str>>,
    /// Each of these claims has (or, being a list, contains) one of these values.
    pub claims: BTreeMap<Box<str>, Vec<AttributeValue>>,
}

/// A part of the day in UTC, `[from, to)`; it may run over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindow {
    /// Milliseconds from midnight.
    pub from_ms: i64,
    /// Milliseconds from midnight.
    pub to_ms: i64,
}

impl Condition {
    /// Whether nothing is asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the answer depends on the time.
    #[must_use]
    pub const fn reads_time(&self) -> bool {
        !self.time.is_empty() || self.not_before.is_some() || self.expires.is_some()
    }

    /// Whether the address lies in one of the networks asked for.
    #[must_use]
    pub fn covers_source(&self, ip: Option<IpAddr>) -> bool {
        self.source.is_empty() || ip.is_some_and(|ip| self.source.iter().any(|net| net.contains(&ip)))
    }
}

/// Limits of a permission, carried for the enforcer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Requests per period.
    pub rate: Option<Rate>,
    /// Requests at once above the rate.
    pub burst: Option<u32>,
    /// Requests in flight.
    pub concurrency: Option<u32>,
}

/// So many requests in so many milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests.
    pub requests: u32,
    /// Milliseconds.
    pub period_ms: u64,
}

/// Why a permission exists and who answers for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Governance {
    /// The business reason.
    pub justification: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// Who agreed.
    pub approved_by: Vec<String>,
    /// Where that was discussed.
    pub ticket: Option<String>,
    /// The day by which it must be looked at again.
    pub review_by: Option<Date>,
}

/// A statement that must hold for every request.
#[derive(Clone, Debug)]
pub struct Invariant {
    /// Its name.
    pub name: Box<str>,
    /// What it says.
    pub claim: Claim,
    /// The controls it bears on, such as `pci-1.4.4`.
    pub controls: Vec<String>,
    /// Where it is declared.
    pub at: Location,
}

/// What an invariant says.
#[derive(Clone, Debug)]
pub enum Claim {
    /// No request from these to those operations is ever allowed, on no condition.
    NeverCalls {
        /// Callers.
        from: Selector,
        /// Called.
        to: Selector,
    },
    /// No chain of allowed calls leads from these to those, unless it passes through one of the services excepted.
    NeverReaches {
        /// Callers.
        from: Selector,
        /// Reached.
        to: Selector,
        /// Names of services through which a chain may lead: at its start, between, or at its end.
        except_through: Vec<Box<str>>,
    },
    /// Every request from these to those declared operations is allowed, on no condition.
    AlwaysCalls {
        /// Callers.
        from: Selector,
        /// Called.
        to: Selector,
    },
}

/// Names a set of callers or of what is called. All given parts must hold.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// Callers that are any of these.
    pub identities: Vec<IdentityPart>,
    /// Any of these services or members of these groups.
    pub services: Vec<Box<str>>,
    /// In any of these zones.
    pub zones: Vec<Box<str>>,
    /// Touching any of these classes of data.
    pub data: Vec<Box<str>>,
    /// Any of these operations (ids).
    pub operations: Vec<Box<str>>,
    /// With any of these methods.
    pub methods: Vec<Method>,
}

/// Callers by identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum IdentityPart {
    /// One identity.
    Id(SpiffeId),
    /// The identities a pattern covers, of the inventory or not.
    Pattern(IdPattern),
    /// Every identity of the inventory.
    AnyAuthenticated,
    /// Every identity outside the inventory.
    Strangers,
}

/// A declared zone. Where a bundle declares none, zones are free words.
#[derive(Clone, Debug)]
pub struct Zone {
    /// Its name.
    pub name: Box<str>,
    /// Whether what lives in it is sensitive; where it is not said, the classes of data decide.
    pub sensitive: Option<bool>,
    /// Governance fields that every permission into it must have.
    pub require: BTreeSet<GovernanceField>,
    /// Where it is declared.
    pub at: Location,
}

/// A field of [`Governance`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GovernanceField {
    /// `justification`
    Justification,
    /// `owner`
    Owner,
    /// `approved_by`
    ApprovedBy,
    /// `ticket`
    Ticket,
    /// `review_by`
    ReviewBy,
}

impl GovernanceField {
    /// Every field, in the order in which they are written.
    pub const ALL: [Self; 5] = [Self::Justification, Self::Owner, Self::ApprovedBy, Self::Ticket, Self::ReviewBy];

    /// The field's name in a policy file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Justification => "justification",
            Self::Owner => "owner",
            Self::ApprovedBy => "approved_by",
            Self::Ticket => "ticket",
            Self::ReviewBy => "review_by",
        }
    }
}

impl Governance {
    /// Whether the field is given.
    #[must_use]
    pub const fn has(&self, field: GovernanceField) -> bool {
        match field {
            GovernanceField::Justification => self.justification.is_some(),
            GovernanceField::Owner => self.owner.is_some(),
            GovernanceField::ApprovedBy => !self.approved_by.is_empty(),
            GovernanceField::Ticket => self.ticket.is_some(),
            GovernanceField::ReviewBy => self.review_by.is_some(),
        }
    }
}

/// Classes of data that are sensitive where no zone says otherwise: primary account numbers and cardholder data.
pub const SENSITIVE_DATA: [&str; 2] = ["pan", "chd"];

/// A deviation that somebody approved, for a reason and until a day. It never alters a decision.
#[derive(Clone, Debug)]
pub struct Exception {
    /// Its name.
    pub name: Box<str>,
    /// From what it excepts.
    pub excepts: Excepted,
    /// Why.
    pub reason: String,
    /// Who agreed.
    pub approved_by: Vec<String>,
    /// Where that was discussed.
    pub ticket: Option<String>,
    /// The last day on which it holds.
    pub expires: Date,
    /// Where it is declared.
    pub at: Location,
}

/// From what an [`Exception`] excepts.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "a bundle has a handful of them, and boxes would be in every reader's way")]
pub enum Excepted {
    /// These may break this invariant.
    Invariant {
        /// The invariant's name.
        invariant: Box<str>,
        /// Callers.
        from: Selector,
        /// Called or, where the invariant says `reaches`, reached.
        to: Selector,
    },
    /// This lint is silent about this resource or policy.
    Lint {
        /// The code of the lint.
        code: Box<str>,
        /// The name of what it is silent about.
        of: Box<str>,
    },
    /// This control is not asked for; carried for the audit.
    Control {
        /// The control, such as `pci-1.4.4`.
        control: Box<str>,
        /// What it is not asked of, if not of everything.
        of: Option<Box<str>>,
    },
}

impl Exception {
    /// Whether it no longer holds on this day.
    #[must_use]
    pub fn is_expired(&self, today: Date) -> bool {
        self.expires < today
    }
}

/// Test cases of a repo.
#[derive(Clone, Debug)]
pub struct TestSuite {
    /// Its name.
    pub name: Box<str>,
    /// Its cases.
    pub cases: Vec<TestCase>,
    /// Where it is declared.
    pub at: Location,
}

/// One expectation.
#[derive(Clone, Debug)]
pub struct TestCase {
    /// The question.
    pub request: crate::request::Request,
    /// Whether the case says what time it is; where it does not, no policy that concerns it reads the time.
    pub timed: bool,
    /// In words: `invoices → GET items/v1/items/42`, and the parameters of its combination.
    pub title: String,
    /// The effect expected.
    pub expect: Effect,
    /// The reason expected, if one is.
    pub because: Option<crate::decision::Reason>,
    /// The determining policies expected, if any are.
    pub policies: Option<Vec<Box<str>>>,
    /// Where it is written.
    pub at: Location,
}
