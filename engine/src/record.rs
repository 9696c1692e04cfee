//! One line of the decision log, and its exact JSON.
//!
//! The enforcer writes records and the auditor reads them; this module is their only contract (INV-2). Writing is
//! [`crate::chain::ChainWriter`]'s work, and [`crate::record_text`] spells lines out; here is what a line says.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::bundle::Revision;
use crate::decision::{Effect, Reason};
use crate::digest::Digest;
use crate::id::SpiffeId;
use crate::path::{CanonicalPath, Paths};
use crate::record_exact;
use crate::request::{Attributes, Context, Malformed, Method, Request, Target, Token};
use crate::time::Timestamp;

/// A line: its place in the chain, its time, and what happened.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Counts from 0 without a gap.
    pub seq: u64,
    /// SHA-256 of the previous line without its newline; zeros for the first.
    pub prev: Digest,
    /// When. For `decided` this is the time that policies saw, unless `context.time` names an earlier one.
    pub at: Timestamp,
    /// What.
    pub event: Event,
}

/// What a line tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// The process began; always the first line of a chain.
    Started(Started),
    /// A rotated file began; `seq` and `prev` run on.
    Continued(Continued),
    /// A question was answered.
    Decided(Box<Decided>),
    /// An allowed request came to its end.
    Ended(Ended),
    /// A stranger was turned away before an identity was proved.
    Refused(Refused),
    /// Another bundle is in force.
    Reloaded(Reloaded),
    /// Still here.
    Heartbeat(Heartbeat),
    /// The process ended in order; always the last line.
    Stopped(Stopped),
}

/// How answers are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// A denial refuses.
    Enforce,
    /// Denials by policy are recorded as denials and forwarded.
    DryRun,
}

/// See [`Event::Started`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Started {
    /// The enforcer's own identity.
    pub enforcer: SpiffeId,
    /// A fresh name for this process.
    pub instance: String,
    /// The bundle in force.
    pub revision: Revision,
    /// Enforce or dry-run.
    pub mode: Mode,
    /// SHA-256 of the configuration file.
    pub config: Digest,
    /// The program's version.
    pub version: String,
    /// The end of the chain of the process before this one, if its log was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<After>,
    /// The file into which a torn tail was put aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovered: Option<String>,
    /// What the bundle, if it is signed, says of its issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Issue>,
}

/// What a signed bundle says of its issue, and how long it counts as fresh where it is enforced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Issue {
    /// Its name.
    pub name: String,
    /// Its serial.
    pub serial: u64,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Until when it counts as fresh, if that is bounded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fresh_until: Option<Timestamp>,
}

/// The last whole line of an earlier chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct After {
    /// That process.
    pub instance: String,
    /// Its last sequence number.
    pub seq: u64,
    /// SHA-256 of that line.
    pub head: Digest,
}

/// See [`Event::Continued`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Continued {
    /// The enforcer's own identity.
    pub enforcer: SpiffeId,
    /// The process.
    pub instance: String,
    /// The bundle in force.
    pub revision: Revision,
    /// Enforce or dry-run.
    pub mode: Mode,
    /// What the bundle, if it is signed, says of its issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Issue>,
}

/// See [`Event::Decided`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Decided {
    /// How the answer was applied.
    pub mode: Mode,
    /// The bundle that answered.
    pub revision: Revision,
    /// Which way the traffic went: absent for inbound, `outbound` for egress recorded by the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub side: Option<Side>,
    /// Who asked.
    pub source: Source,
    /// Who was asked.
    pub destination: Destination,
    /// What was asked.
    pub request: RequestFacts,
    /// What policies could read besides.
    pub context: ContextFacts,
    /// The connection; absent where there was none (egress).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// The answer.
    pub decision: Answer,
}

/// Which side recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The caller's.
    Outbound,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Source {
    /// The verified SPIFFE ID.
    pub id: SpiffeId,
    /// Its service in the inventory, if it has one.
    pub service: Option<String>,
    /// The peer's address.
    pub ip: Option<IpAddr>,
}

/// Who was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Destination {
    /// The destination's own SPIFFE ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<SpiffeId>,
    /// Its name in the inventory.
    pub service: String,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct RequestFacts {
    /// The id on the answer's `x-request-id`.
    pub id: String,
    /// The caller's own id of the request, if it sent one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation: Option<String>,
    /// The trace that the request belongs to (W3C Trace Context), 32 hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// `HTTP/1.1`, `HTTP/2`, `TCP`.
    pub protocol: String,
    /// The method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The canonical path; sensitive segments stand as their `{name}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The protocol to which the connection is to be switched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<String>,
    /// The port of a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The authority named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The declared operation, `null` where undeclared.
    pub operation: Option<String>,
    /// What could not become a request: escaped, at most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
}

/// What policies could read besides principal, action and resource. The address is the source's.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct ContextFacts {
    /// Allow-listed headers.
    #[serde(default)]
    pub headers: Attributes,
    /// Allow-listed query parameters.
    #[serde(default)]
    pub query: Attributes,
    /// The user token's visible claims, or why it was not accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<Token>,
    /// The time that policies saw, where it is not the record's `at`: answers that took long came into the log behind later ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

/// The TLS facts of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Tls {
    /// `TLSv1.3`.
    pub version: String,
    /// The cipher suite, as rustls spells it.
    pub suite: String,
    /// The client certificate's serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 of the client certificate.
    pub sha256: Digest,
    /// When it ends.
    pub not_after: Timestamp,
    /// The name of its issuer. Only in the first record of a connection, as is `key`: it is a fact of the certificate, which `sha256` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The kind of its key, such as `EC P-256`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The answer, as far as it must be kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Answer {
    /// Allow or deny.
    pub effect: Effect,
    /// Why.
    pub reason: Reason,
    /// Ids of the determining policies.
    pub policies: Vec<String>,
    /// What could not be evaluated.
    pub errors: Vec<String>,
    /// Ids of satisfied dry-run policies.
    pub shadow: Vec<String>,
}

/// See [`Event::Ended`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Ended {
    /// `seq` of the `decided` line.
    pub of: u64,
    /// What became of it.
    pub outcome: Outcome,
    /// The status the caller got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// From the decision to the last byte.
    pub duration_us: u64,
    /// Bytes of the response body sent to the caller.
    pub bytes: u64,
    /// What ended it.
    pub why: Why,
    /// How often it was sent, where that was more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// A kebab-case word that says more of `why`: `connect`, `address-refused`, `server-name`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What became of an allowed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The service got it and answered.
    Forwarded,
    /// A limit stood in the way (429).
    Limited,
    /// The service could not be reached or did not answer (502, 503, 504).
    Unavailable,
}

/// What ended an allowed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Why {
    /// The answer was sent whole.
    Complete,
    /// The caller went away.
    Client,
    /// The service failed.
    Upstream,
    /// A new bundle takes the access away.
    Policy,
    /// The certificate or token ran out.
    Expired,
    /// The certificate was revoked.
    Revoked,
    /// The enforcer was stopping.
    Shutdown,
    /// The bundle was older than it may be, and then nothing is let through.
    Stale,
    /// Its record could not be kept as durably as configured, so it was not forwarded.
    Log,
}

/// See [`Event::Refused`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Refused {
    /// The stranger's address.
    pub ip: IpAddr,
    /// A kebab-case word: `no-certificate`, `certificate-expired`, `unknown-issuer`, `uri-san-count`, …
    pub reason: String,
    /// How many times since the last such line.
    pub count: u64,
}

/// See [`Event::Reloaded`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Reloaded {
    /// The bundle now in force. The same as before where it was only issued again.
    pub revision: Revision,
    /// What the bundle, if it is signed, says of its issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bundle: Option<Issue>,
}

/// See [`Event::Heartbeat`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Heartbeat {
    /// The bundle in force.
    pub revision: Revision,
    /// Enforce or dry-run.
    pub mode: Mode,
    /// Requests answered 503 because there was no room for their record, since the last count.
    pub unrecorded: u64,
    /// Refusals of strangers that were not recorded, since the last count.
    pub refusals_dropped: u64,
    /// Whether the bundle is older than it may be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// Closed files of this log that are deleted now, because they had their time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<Deleted>,
}

/// A closed file that was deleted by the enforcer itself, as it was told to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Deleted {
    /// Its name.
    pub file: String,
    /// The process that wrote it.
    pub instance: String,
    /// The number of its first line.
    pub first: u64,
    /// The number of its last line.
    pub last: u64,
    /// SHA-256 of its last line.
    pub head: Digest,
    /// When its last record was made.
    pub until: Timestamp,
}

/// See [`Event::Stopped`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(expecting = "an object")]
pub struct Stopped {
    /// As in [`Heartbeat::unrecorded`], since the last heartbeat.
    pub unrecorded: u64,
}

/// Why a line of a log is not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record: {0}")]
pub struct RecordError(pub String);

#[derive(Deserialize)]
#[serde(expecting = "an object")]
struct LineOwned {
    v: u32,
    seq: u64,
    prev: Digest,
    at: Timestamp,
    #[serde(flatten)]
    event: Event,
}

impl Record {
    /// Reads one line (without its newline).
    ///
    /// # Errors
    /// The line is not JSON of the documented shape, or of another version.
    pub fn from_line(line: &[u8]) -> Result<Self, RecordError> {
        record_exact::read(line).map_or_else(|| Self::from_line_by_serde(line), Ok)
    }

    /// The same for a line of any spelling.
    pub(crate) fn from_line_by_serde(line: &[u8]) -> Result<Self, RecordError> {
        let read: LineOwned = serde_json::from_slice(line).map_err(|e| {
            // Heads often lie beside the log, and a pattern takes them along.
            let head = serde_json::from_slice::<crate::chain::Head>(line).is_ok();
            RecordError(if head { "it is a signed head, and files of heads are given by `--heads`".to_owned() } else { e.to_string() })
        })?;
        if read.v != VERSION {
            return Err(RecordError(format!("version {} is not known, only {VERSION}", read.v)));
        }
        Ok(Self { seq: read.seq, prev: read.prev, at: read.at, event: read.event })
    }
}

impl Decided {
    /// The question this record answers, as it can be put again to a bundle in which the destination reads `paths` so.
    ///
    /// # Errors
    /// [`Malformed`] where the record holds no well-formed request (which then must have been denied as malformed).
    pub fn request(&self, at: Timestamp, paths: Paths) -> Result<Request, Malformed> {
        let facts = &self.request;
        let target = match (&facts.method, &facts.path, facts.port) {
            (Some(method), Some(path), None) => {
                Target::Http { method: Method::parse(method)?, path: CanonicalPath::parse_recorded(path, paths)? }
            }
            (None, None, Some(port)) => Target::Connect { port },
            _ => return Err(Malformed::Carrier("the record has neither method and path nor a port".to_owned())),
        };
        Ok(Request {
            principal: self.source.id.clone(),
            service: self.destination.service.as_str().into(),
            target,
            host: facts.host.as_deref().map(Into::into),
            context: Context {
                // No record makes an answer later than itself.
                time: self.context.time.map_or(at, |time| time.min(at)),
                source_ip: self.source.ip,
                headers: self.context.headers.clone(),
                query: self.context.query.clone(),
                jwt: self.context.jwt.clone(),
            },
        })
    }
}

/// The version written in `v`.
pub const VERSION: u32 = 1;
