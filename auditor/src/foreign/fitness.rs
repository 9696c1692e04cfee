//! What the lines of a format lack, which checks that makes impossible, and what to add to the mesh's configuration.
//!
//! It looks at what was read, not at what a format could hold: a log is as fit as its lines are.
//!
//! INVARIANT: a check is called impossible only where no line of the format has the fact it needs.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::SpiffeId;

use crate::assessment::{Fitness, Impossible};
use crate::examined::Examined;
use crate::foreign::{Format, Grade};
use crate::ledger::Key;

/// A fact that checks need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Identity,
    Label,
    Tls,
    Certificate,
    Issuer,
    Key,
    Request,
    Id,
    Connection,
    User,
    Chain,
    Bundle,
}

/// The fitness of each format that was read, but for our own.
pub(crate) fn fitness(examined: &Examined<'_>) -> Vec<Fitness> {
    let mut formats: BTreeMap<Format, Has> = BTreeMap::new();
    // A certificate is of the formats whose lines name its identity.
    let mut of: BTreeMap<&SpiffeId, BTreeSet<Format>> = BTreeMap::new();
    for key in examined.fold.ledger.decided.keys().filter(|key| key.is_foreign()) {
        formats.entry(key.origin).or_default().see(key);
        if let Some(id) = &key.from_id {
            of.entry(id).or_default().insert(key.origin);
        }
    }
    for ((id, _), certificate) in &examined.fold.ledger.certificates {
        for format in of.get(id).into_iter().flatten() {
            let Some(has) = formats.get_mut(format) else { continue };
            has.certificate = true;
            has.issuer |= certificate.issued.issuer.is_some();
            has.key |= certificate.issued.key.is_some();
        }
    }
    formats.into_iter().map(|(format, has)| one(format, Has { untied: examined.fold.foreign.has_untied(format), ..has })).collect()
}

#[derive(Clone, Copy, Debug, Default)]
struct Has {
    identity: bool,
    label: bool,
    tls: bool,
    certificate: bool,
    issuer: bool,
    key: bool,
    request: bool,
    connection: bool,
    untied: bool,
}

impl Has {
    fn see(&mut self, key: &Key) {
        self.identity |= key.grade.is_at_least(Grade::B);
        self.label |= key.grade.is_at_least(Grade::C);
        self.tls |= key.tls.is_some();
        self.request |= key.method.is_some();
        self.connection |= key.method.is_none();
    }
}

fn one(format: Format, has: Has) -> Fitness {
    let lacking: Vec<Need> = [
        (Need::Identity, !has.identity),
        (Need::Label, !has.label),
        (Need::Tls, !has.tls),
        (Need::Certificate, !has.certificate),
        (Need::Issuer, has.certificate && !has.issuer),
        (Need::Key, has.certificate && !has.key),
        (Need::Request, !has.request),
        // Their lines tell of connections and packets, which have none.
        (Need::Id, matches!(format, Format::Hubble | Format::Ztunnel)),
        (
            Need::Connection,
            has.connection && if is_envoys(format) { has.untied } else { !matches!(format, Format::Hubble | Format::Ztunnel) },
        ),
        // No format of another mesh has these.
        (Need::User, true),
        (Need::Chain, true),
        (Need::Bundle, true),
    ]
    .into_iter()
    .filter(|(_, lacks)| *lacks)
    .map(|(need, _)| need)
    .collect();
    let impossible = lacking.iter().flat_map(|need| need.checks().iter().map(|check| (*check, need.words())));
    let mut impossible: Vec<Impossible> =
        impossible.map(|(check, why)| Impossible { check: check.to_owned(), why: format!("no line has {why}") }).collect();
    impossible.sort_by(|a, b| a.check.cmp(&b.check));
    impossible.dedup_by(|a, b| a.check == b.check);
    let of_format = |need: &Need| *need == Need::Connection && is_envoys(format);
    let curable =
        lacking.iter().any(|need| matches!(need, Need::Identity | Need::Tls | Need::Certificate | Need::Issuer) || of_format(need));
    let (snippet, advice) = cure(format, curable);
    Fitness {
        format: format.to_string(),
        lacks: lacking.iter().map(|need| need.words().to_owned()).collect(),
        impossible,
        snippet: snippet.map(str::to_owned),
        advice: advice.to_owned(),
    }
}

/// Whether a format may have whatever Envoy's operators say; what Kuma has its proxies write is settled.
const fn is_envoys(format: Format) -> bool {
    matches!(format, Format::EnvoyJson | Format::EnvoyText | Format::IstioJson | Format::IstioText)
}

impl Need {
    const fn words(self) -> &'static str {
        match self {
            Self::Identity => "the caller's verified identity",
            Self::Label => "a label of the platform for the caller",
            Self::Tls => "the version and suite of TLS",
            Self::Certificate => "the caller's certificate",
            Self::Issuer => "the issuer of the caller's certificate",
            Self::Key => "the kind of key of the caller's certificate (weak ones are not found)",
            Self::Request => "method and path",
            Self::Id => "an id of the request",
            Self::Connection => "what tells a connection to the other end (what both ends recorded counts twice)",
            Self::User => "the user behind the caller",
            Self::Chain => "a hash chain or a sequence",
            Self::Bundle => "the policy that was in force",
        }
    }

    /// The checks that find nothing without it.
    const fn checks(self) -> &'static [&'static str] {
        match self {
            Self::Identity => &["unknown_identity_allowed", "unknown_identity_seen"],
            Self::Label => &["shadow_edge", "unlawful_access", "sensitive_data_exposed", "denied_spike"],
            Self::Tls => &["weak_tls"],
            Self::Certificate => {
                &["certificate_near_expiry", "expired_certificate_used", "identity_shared_by_sources", "long_lived_certificate"]
            }
            // The inventory lacks a column; of `weak_tls` the half that looks at connections is left.
            Self::Issuer | Self::Key | Self::Connection => &[],
            Self::Request => &["undeclared_operation_attempts"],
            // Nothing becomes impossible but a comparison of both ends' clocks.
            Self::Id => &["clock_skew"],
            Self::User => &["access_without_user"],
            Self::Chain => &["broken_chain", "open_ended_log", "silent_enforcer", "unrecorded_requests", "missing_end", "stray_end"],
            Self::Bundle => &["enforcement_mismatch", "unknown_revision", "divergent_revision", "stale_policy", "dry_run_window"],
        }
    }
}

/// What to add, and where.
const fn cure(format: Format, curable: bool) -> (Option<&'static str>, &'static str) {
    match format {
        Format::IstioJson | Format::IstioText if curable => {
            (Some(ISTIO), "put it into the mesh's configuration (`meshConfig`), and restart nothing: proxies take it up")
        }
        Format::EnvoyJson | Format::EnvoyText if curable => (Some(ENVOY), "put it where the listener's connection manager has its log"),
        Format::Kuma if curable => (Some(KUMA), "put it into the backend of a MeshAccessLog"),
        Format::IstioJson | Format::IstioText | Format::EnvoyJson | Format::EnvoyText | Format::Kuma => {
            (None, "the log has what this format can have")
        }
        Format::Hubble => (None, "Hubble knows labels and no certificates: for identities use the log of the proxies beside it"),
        Format::Ztunnel => {
            (None, "ztunnel knows connections: for methods, paths and TLS use a waypoint's log with the format in docs/logs.md")
        }
        Format::LinkerdJson => (None, "Linkerd's log names no TLS facts and no decision of policy"),
        Format::Opa => {
            (None, "let Envoy include the peer's certificate (`include_peer_certificate: true`), so that `source.principal` is there")
        }
        Format::NginxJson | Format::HaproxyJson | Format::Mapped => {
            (None, "map a field that holds the caller's SPIFFE ID, and say its grade")
        }
        Format::Portreeve => (None, ""),
    }
}

/// The keys of the recommended format, as Istio's configuration takes them.
const ISTIO: &str = include_str!("../../../docs/formats/istio-mesh-config.yaml");
/// The same for a plain Envoy.
const ENVOY: &str = include_str!("../../../docs/formats/envoy-log.yaml");
/// The same for Kuma.
const KUMA: &str = include_str!("../../../docs/formats/kuma-mesh-access-log.yaml");
