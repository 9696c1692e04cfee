//! What a ledger says of a policy: which grants were used and which were not, over as long a time as ledgers were kept for.
//!
//! The analyses are those of an assessment, on counts instead of logs. What a ledger does not have they are not asked: chains, the two
//! sides of a request, records that differ from what policy answers.
//!
//! INVARIANT: of a service that both sides recorded only the called side's rows are looked at, so that no request counts twice.

use std::cell::Cell;
use std::collections::BTreeSet;

use portreeve_engine::{Authorizer, Digest, Timestamp};
use serde::Serialize;

use super::{LedgerError, LedgerFile, Part, Row, RowKey};
use crate::assessment::ChainVerdict;
use crate::assessment::analyses::{self, Window};
use crate::assessment::usage::{
    Crossing, IdentityCertificates, IdentityConcern, PermissionUse, Privilege, Scanner, ShadowEdge, Spike, StaleService, WeakConnection,
    WildcardUse,
};
use crate::chains::Chains;
use crate::examined::Examined;
use crate::fold::Fold;
use crate::foreign::{ForeignFold, Names};
use crate::governance::Governance;
use crate::granted::Granted;
use crate::graph::map::Map;
use crate::graph::needed::Needed;
use crate::graph::{behaviour, estate, identities, window};
use crate::heads::VerifiedHeads;
use crate::history::History;
use crate::ledger::{CertificateTally, Key, Ledger, Tally};
use crate::replay::Replayer;
use crate::verify::Verification;

/// A policy beside what a ledger counted. The `input` of evidence is the place of a part in `parts`, the `line` counts from the beginning of
/// that part.
#[derive(Clone, Debug, Serialize)]
pub struct Review {
    /// The policy.
    pub revision: Digest,
    /// What the ledger was made from.
    pub parts: Vec<Part>,
    /// Decisions looked at.
    pub decisions: u64,
    /// Of these, decided (or, of another mesh's, judged) under another revision: what such a policy granted is not told.
    pub under_other_revisions: u64,
    /// Decisions that the caller's side recorded of services whose own side did, too: they are not looked at.
    pub recorded_twice: u64,
    /// Decisions that were counted without their path or hour, because there were too many.
    pub folded: u64,
    /// The time from the first decision to the last; `None` where there is none.
    pub window: Option<Window>,
    /// Every grant, and whether traffic used it.
    pub permissions: analyses::Part<PermissionUse>,
    /// Wildcards, what of them was needed, and the narrower grants that would have done.
    pub wildcards: analyses::Part<WildcardUse>,
    /// How much of what each service may do it did.
    pub privilege: analyses::Part<Privilege>,
    /// What was allowed and no policy of this revision can allow.
    pub shadow: analyses::Part<ShadowEdge>,
    /// Services that took no part in any allowed request.
    pub stale: analyses::Part<StaleService>,
    /// Hours of many denials.
    pub spikes: analyses::Part<Spike>,
    /// Callers that tried many things that nobody declared or granted.
    pub scanners: analyses::Part<Scanner>,
    /// Calls without TLS, or with weak TLS.
    pub weak_connections: analyses::Part<WeakConnection>,
    /// Certificates by identity.
    pub certificates: analyses::Part<IdentityCertificates>,
    /// Identities that do not fit the inventory or one another.
    pub identities: analyses::Part<IdentityConcern>,
    /// What crosses from one environment, or one tenant, into another.
    pub separation: analyses::Part<Crossing>,
}

impl Review {
    /// Holds a policy beside a ledger. `governance` says what is sensitive, untrusted and separate, where people said so.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub fn of(law: &Authorizer, governance: &Governance, file: &LedgerFile) -> Result<Self, LedgerError> {
        let counted = Counted::of(file)?;
        let decisions = counted.ledger.decided.values().map(|tally| tally.count).sum();
        let of_others = counted.ledger.decided.iter().filter(|(key, _)| key.revision != *law.revision());
        let under_other_revisions = of_others.map(|(_, tally)| tally.count).sum();
        let mut fold = Fold::new(Replayer::new([law]), ForeignFold::new([law], Names::default()));
        (fold.ledger, fold.seen) = (counted.ledger, counted.seen);
        let (heads, history) = (VerifiedHeads::default(), History::default());
        let chains = Chains::new(&heads);
        let verification = Verification { verdict: ChainVerdict::Empty, inputs: Vec::new(), chains: Vec::new(), absent: Vec::new() };
        let examined = Examined {
            newest: law,
            granted: Granted::of(law, &governance.scope),
            fold: &fold,
            chains: &chains,
            verification: &verification,
            reads: &[],
            history: &history,
            governance,
            configs: &[],
            commits: &[],
            heads: &heads,
            exceptions: Vec::new(),
            now: fold.seen.map(|(_, last)| last),
            floor: Cell::new(None),
        };
        let window = window::window(&examined);
        let words = window::words(window.as_ref());
        let map = Map::of(&examined);
        let needed = Needed::of(&map);
        Ok(Self {
            revision: *law.revision(),
            parts: file.parts.clone(),
            decisions,
            under_other_revisions,
            recorded_twice: counted.recorded_twice,
            folded: file.folded,
            permissions: needed.permissions(&map, &words),
            wildcards: needed.wildcards(&map, &words),
            privilege: needed.privilege(&map, &words),
            shadow: behaviour::shadow(&map, &words),
            stale: behaviour::stale(&map, &words),
            spikes: behaviour::spike_part(&examined, &words),
            scanners: behaviour::scanner_part(&examined, &words),
            weak_connections: behaviour::weak_connections(&map, &words),
            certificates: identities::certificates(&examined, &words),
            identities: identities::concern_part(&examined, &words),
            separation: estate::separation(&map, &words),
            window,
        })
    }
}

/// The rows of a ledger as analyses want them.
#[derive(Default)]
struct Counted {
    ledger: Ledger,
    seen: Option<(Timestamp, Timestamp)>,
    recorded_twice: u64,
}

impl Counted {
    /// In two passes over the file, since it may have far more rows (each key by the hour) than keys.
    fn of(file: &LedgerFile) -> Result<Self, LedgerError> {
        let mut called = BTreeSet::new();
        for row in file.rows()? {
            if let RowKey::Decided(key, _) = row?.key
                && !key.outbound
                && !called.contains(&key.to)
            {
                called.insert(key.to.clone());
            }
        }
        let mut counted = Self::default();
        // Rows stand in the order of their keys.
        let mut run: Vec<(Key, Tally)> = Vec::new();
        for row in file.rows()? {
            let Row { key, tally, certificate, attempts } = row?;
            match key {
                RowKey::Decided(key, _) if key.outbound && called.contains(&key.to) => counted.recorded_twice += tally.count,
                RowKey::Decided(key, hour) => counted.decided(&mut run, key, hour, tally),
                RowKey::Certificate(id, sha256) => {
                    if let Some((serial, not_after, expired, addresses, issued)) = certificate {
                        let one = CertificateTally { id: id.clone(), serial, not_after, seen: tally, expired, addresses, issued };
                        counted.ledger.certificates.insert((id, sha256), one);
                    }
                }
                RowKey::Refused(reason) => {
                    counted.ledger.refusals.insert(reason, (attempts, tally));
                }
            }
        }
        counted.ledger.decided.take_in(run);
        counted.ledger.folded = file.folded;
        Ok(counted)
    }

    fn decided(&mut self, run: &mut Vec<(Key, Tally)>, key: Key, hour: i64, tally: Tally) {
        let (first, last) = self.seen.unwrap_or((tally.first, tally.last));
        self.seen = Some((first.min(tally.first), last.max(tally.last)));
        match run.last_mut() {
            Some((known, all)) if *known == key => {
                self.ledger.by_the_hour(known, hour, &tally);
                all.absorb(&tally);
            }
            _ => {
                self.ledger.by_the_hour(&key, hour, &tally);
                run.push((key, tally));
            }
        }
    }
}
