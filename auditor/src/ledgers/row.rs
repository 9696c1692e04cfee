//! The rows of a ledger, and their text.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use portreeve_engine::decision::{Effect, Reason};
use portreeve_engine::{Digest, SpiffeId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::assessment::Evidence;
use crate::foreign::{Format, Grade, Lack, Lawful};
use crate::ledger::{Facts, Issued, Key, Ledger, Path, Tally, User};
use crate::limits::{ADDRESSES_MAX, EVIDENCE_MAX};

/// What a row counts; rows stand in this order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    /// Decisions of one key in one hour, since 1970.
    Decided(Key, i64),
    /// The use of a client certificate.
    Certificate(SpiffeId, Digest),
    /// Strangers, by the reason they were turned away.
    Refused(String),
}

/// A row: what it counts, how often, and where to look. The `input` of its evidence is the place of a part in the ledger's list, the
/// `line` counts from the beginning of that part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What.
    pub key: RowKey,
    /// How often, and where.
    pub tally: Tally,
    /// Of a certificate: its serial number, its end, uses after it, the addresses it came from, and who issued it for which key.
    pub certificate: Option<(String, Timestamp, u64, BTreeSet<IpAddr>, Issued)>,
    /// Of strangers: how many, which may be more than the lines that tell of them.
    pub attempts: u64,
}

impl Row {
    /// The rows of decisions, and of certificates and strangers of a ledger, in their order.
    pub(super) fn all_of(decided: BTreeMap<(Key, i64), Tally>, ledger: Ledger) -> Vec<Self> {
        let plain = |key, tally| Self { key, tally, certificate: None, attempts: 0 };
        let decided = decided.into_iter().map(|((key, hour), tally)| plain(RowKey::Decided(key, hour), tally));
        let certificates = ledger.certificates.into_iter().map(|((id, sha256), c)| Self {
            certificate: Some((c.serial, c.not_after, c.expired, c.addresses, c.issued)),
            ..plain(RowKey::Certificate(id, sha256), c.seen)
        });
        let refused =
            ledger.refusals.into_iter().map(|(reason, (attempts, lines))| Self { attempts, ..plain(RowKey::Refused(reason), lines) });
        decided.chain(certificates).chain(refused).collect()
    }

    /// Takes in another row of the same key.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.tally.absorb(&other.tally);
        self.attempts = self.attempts.saturating_add(other.attempts);
        if let (Some((serial, not_after, expired, addresses, issued)), Some((s, n, e, a, i))) = (&mut self.certificate, &other.certificate)
        {
            // One certificate has one serial number and one end; where lines disagree the order of reading must not tell.
            if *s < *serial {
                serial.clone_from(s);
            }
            *not_after = (*not_after).min(*n);
            *expired += e;
            issued.absorb(i);
            addresses.extend(a);
            while addresses.len() > ADDRESSES_MAX {
                addresses.pop_last();
            }
        }
    }

    /// Gives the parts of its evidence other places.
    pub(super) fn place(&mut self, to: &[usize]) {
        for evidence in &mut self.tally.evidence {
            evidence.input = to.get(evidence.input).copied().unwrap_or(evidence.input);
        }
        self.tally.evidence.sort();
        self.tally.evidence.truncate(EVIDENCE_MAX);
    }

    /// Its line, without the newline.
    pub(super) fn write(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&Text::of(self))
    }

    /// Reads its line.
    pub(super) fn read(line: &str) -> Result<Self, String> {
        let text: Text = serde_json::from_str(line).map_err(|e| e.to_string())?;
        text.row().ok_or_else(|| "a row lacks what its kind needs".to_owned())
    }
}

/// A row as it is written. Fields that say nothing are left out.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Text {
    row: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_id: Option<SpiffeId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effect: Option<Effect>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    policies: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision: Option<Digest>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    outbound: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hour: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grade: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lawful: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    serial: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_after: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expired: Option<u64>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    addresses: BTreeSet<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u64>,
    count: u64,
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    evidence: Vec<(usize, u64, Digest)>,
}

impl Text {
    fn of(row: &Row) -> Self {
        let tally = &row.tally;
        let mut text = Self {
            count: tally.count,
            first: Some(tally.first),
            last: Some(tally.last),
            evidence: tally.evidence.iter().map(|e| (e.input, e.line, e.sha256)).collect(),
            ..Self::default()
        };
        match &row.key {
            RowKey::Decided(key, hour) => text.decided(key, *hour),
            RowKey::Certificate(id, sha256) => {
                "certificate".clone_into(&mut text.row);
                (text.from_id, text.sha256) = (Some(id.clone()), Some(*sha256));
                if let Some((serial, not_after, expired, addresses, issued)) = &row.certificate {
                    (text.issuer, text.key) = (issued.issuer.clone(), issued.key.clone());
                    (text.serial, text.not_after, text.expired) = (Some(serial.clone()), Some(*not_after), Some(*expired));
                    text.addresses.clone_from(addresses);
                }
            }
            RowKey::Refused(reason) => {
                "refused".clone_into(&mut text.row);
                (text.refusal, text.attempts) = (Some(reason.clone()), Some(row.attempts));
            }
        }
        text
    }

    fn decided(&mut self, key: &Key, hour: i64) {
        "decided".clone_into(&mut self.row);
        self.to = Some(key.to.clone());
        self.from.clone_from(&key.from);
        self.from_id.clone_from(&key.from_id);
        self.from_name.clone_from(&key.from_name);
        self.operation.clone_from(&key.operation);
        self.method.clone_from(&key.method);
        self.path = key.path.as_deref().map(str::to_owned);
        (self.effect, self.reason) = (Some(key.effect), key.reason);
        self.policies.clone_from(&key.policies);
        (self.revision, self.dry_run, self.outbound) = (Some(key.revision), key.dry_run, key.outbound);
        self.user = Some(user_name(key.user).to_owned());
        self.tls.clone_from(&key.tls);
        self.hour = Some(hour);
        self.origin = Some(key.origin.as_str().to_owned());
        self.grade = Some(key.grade.as_str().to_owned());
        self.lawful = Some(lawful_name(key.lawful).to_owned());
    }

    fn row(self) -> Option<Row> {
        let evidence = self.evidence.into_iter().map(|(input, line, sha256)| Evidence { input, line, sha256 }).collect();
        let tally = Tally { count: self.count, first: self.first?, last: self.last?, evidence };
        let plain = |key| Row { key, tally, certificate: None, attempts: 0 };
        Some(match self.row.as_str() {
            "decided" => {
                let facts = Facts {
                    to: self.to?,
                    from: self.from,
                    from_id: self.from_id,
                    from_name: self.from_name,
                    operation: self.operation,
                    method: self.method,
                    effect: self.effect?,
                    reason: self.reason,
                    policies: self.policies,
                    revision: self.revision?,
                    dry_run: self.dry_run,
                    outbound: self.outbound,
                    user: USERS.into_iter().find(|u| Some(user_name(*u)) == self.user.as_deref())?,
                    tls: self.tls,
                    origin: Format::parse(&self.origin?)?,
                    grade: Grade::parse(&self.grade?)?,
                    lawful: lawfuls().find(|l| Some(lawful_name(*l)) == self.lawful.as_deref())?,
                };
                plain(RowKey::Decided(Key { facts: Arc::new(facts), path: self.path.map(Path::from) }, self.hour?))
            }
            "certificate" => Row {
                certificate: Some((
                    self.serial?,
                    self.not_after?,
                    self.expired?,
                    self.addresses,
                    Issued { issuer: self.issuer, key: self.key },
                )),
                ..plain(RowKey::Certificate(self.from_id?, self.sha256?))
            },
            "refused" => Row { attempts: self.attempts?, ..plain(RowKey::Refused(self.refusal?)) },
            _ => return None,
        })
    }
}

const USERS: [User; 4] = [User::Absent, User::Invalid, User::Named, User::Unknown];

const fn user_name(user: User) -> &'static str {
    match user {
        User::Absent => "absent",
        User::Invalid => "invalid",
        User::Named => "named",
        User::Unknown => "unknown",
    }
}

fn lawfuls() -> impl Iterator<Item = Lawful> {
    let says = [Lawful::Recorded, Lawful::Says(Effect::Allow), Lawful::Says(Effect::Deny)];
    says.into_iter().chain(Lack::ALL.into_iter().map(Lawful::NotAsked))
}

const fn lawful_name(lawful: Lawful) -> &'static str {
    match lawful {
        Lawful::Recorded => "recorded",
        Lawful::Says(Effect::Allow) => "policy-allows",
        Lawful::Says(Effect::Deny) => "policy-denies",
        Lawful::NotAsked(lack) => match lack {
            Lack::Bundle => "not-asked-bundle",
            Lack::Caller => "not-asked-caller",
            Lack::CallerService => "not-asked-caller-service",
            Lack::Callee => "not-asked-callee",
            Lack::Layer => "not-asked-layer",
            Lack::Target => "not-asked-target",
            Lack::Path => "not-asked-path",
            Lack::Facts => "not-asked-facts",
            Lack::Identity => "not-asked-identity",
        },
    }
}
