//! What checks look at: the declared, allowed and observed graphs side by side, and the words they share.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::decision::Effect;
use portreeve_engine::model::Service;
use portreeve_engine::time::Date;
use portreeve_engine::{Authorizer, Policy, Timestamp};

use crate::assessment::{ChainVerdict, Evidence, Weight};
use crate::chains::Chains;
use crate::commits::Commit;
use crate::fold::Fold;
use crate::foreign::Grade;
use crate::governance::{Exception, Governance, Review, Scope, Subject};
use crate::granted::Granted;
use crate::heads::VerifiedHeads;
use crate::history::History;
use crate::intake::InputRead;
use crate::ledger::{FOLDED_HOUR, Facts, Key, Tally, put};
use crate::limits::EVIDENCE_MAX;
use crate::outages::Outage;
use crate::settings::EnforcerConfig;
use crate::verify::Verification;

/// Everything there is to look at.
pub(crate) struct Examined<'a> {
    pub(crate) newest: &'a Authorizer,
    pub(crate) granted: Granted<'a>,
    pub(crate) fold: &'a Fold<'a>,
    pub(crate) chains: &'a Chains,
    pub(crate) verification: &'a Verification,
    /// The logs as they were read.
    pub(crate) reads: &'a [InputRead],
    /// When which bundle was in force, as far as that was given.
    pub(crate) history: &'a History,
    /// What people declared.
    pub(crate) governance: &'a Governance,
    /// The enforcers' configuration files.
    pub(crate) configs: &'a [EnforcerConfig],
    /// Commits of the policy repo.
    pub(crate) commits: &'a [Commit],
    /// The signed heads given.
    pub(crate) heads: &'a VerifiedHeads,
    /// Exceptions, those of the newest bundle too.
    pub(crate) exceptions: Vec<Exception>,
    /// The time of the last record, which stands for now.
    pub(crate) now: Option<Timestamp>,
    /// While it is set, records whose caller is known less well are not looked at.
    pub(crate) floor: Cell<Option<Grade>>,
}

/// A finding before it has its id and its controls.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draft {
    pub(crate) subject: String,
    pub(crate) summary: String,
    pub(crate) remedy: String,
    pub(crate) at: Option<String>,
    pub(crate) evidence: Vec<Evidence>,
    pub(crate) count: u64,
    /// Where it weighs other than the check does.
    pub(crate) severity: Option<Weight>,
    /// The policy alone shows it, so that broken logs do not weaken it.
    pub(crate) by_policy: bool,
    /// Seen, but not proved.
    pub(crate) suspect: bool,
}

impl<'a> Examined<'a> {
    /// What the scope says, or the defaults.
    pub(crate) fn scope(&self) -> &'a Scope {
        &self.governance.scope
    }

    /// The policies that grant something.
    pub(crate) fn grants(&self) -> impl Iterator<Item = &'a Policy> {
        self.newest.policies().iter().filter(|p| p.reference.effect == Effect::Allow)
    }

    /// What is seen when only records whose caller is known at least so well are looked at.
    pub(crate) fn looking_from<T>(&self, grade: Grade, look: impl FnOnce(&Self) -> T) -> T {
        let before = self.floor.replace(Some(grade));
        let seen = look(self);
        self.floor.set(before);
        seen
    }

    fn is_looked_at(&self, facts: &Facts) -> bool {
        self.floor.get().is_none_or(|floor| facts.grade.is_at_least(floor))
    }

    /// Whether some records identify their caller less well than this.
    pub(crate) fn has_below(&self, grade: Grade) -> bool {
        self.fold.ledger.decided.keys().any(|key| !key.grade.is_at_least(grade))
    }

    /// Ids of the policies that determined an allowed record.
    pub(crate) fn used(&self) -> BTreeSet<&str> {
        let allowed = self.fold.ledger.decided.keys().filter(|k| k.effect == Effect::Allow && self.is_looked_at(k));
        allowed.flat_map(|k| k.policies.iter().map(String::as_str)).collect()
    }

    /// Ledger entries that pass, put together by what `by` makes of their key.
    pub(crate) fn group<K: Ord>(&self, mut by: impl FnMut(&'a Key) -> Option<K>) -> BTreeMap<K, Tally> {
        let mut out: BTreeMap<K, Tally> = BTreeMap::new();
        for (key, tally) in self.fold.ledger.decided.iter().filter(|(key, _)| self.is_looked_at(key)) {
            if let Some(group) = by(key) {
                put(&mut out, group, tally);
            }
        }
        out
    }

    /// Denials by the hour, put together by what `by` makes of their facts. Those counted without their hour are left out.
    pub(crate) fn denied_by_hour<K: Ord>(&self, by: impl Fn(&'a Facts) -> K) -> BTreeMap<(K, i64), Tally> {
        let mut out: BTreeMap<(K, i64), Tally> = BTreeMap::new();
        let told = self.fold.ledger.denied.iter().filter(|((facts, hour), _)| *hour != FOLDED_HOUR && self.is_looked_at(facts));
        for ((facts, hour), tally) in told {
            put(&mut out, (by(facts), *hour), tally);
        }
        out
    }

    /// The service whose enforcer wrote a chain.
    pub(crate) fn service_of(&self, chain: usize) -> Option<&'a Service> {
        let enforcer = self.chains.all.get(chain)?.enforcer.as_ref()?;
        self.newest.identify(enforcer)
    }

    /// Every time in which an enforcer failed as a control, with its chain.
    pub(crate) fn outages(&self) -> Vec<(usize, Outage)> {
        let of =
            |what, tally: &Option<Tally>| tally.as_ref().map(|t| Outage { what, from: t.first, to: t.last, evidence: t.evidence.to_vec() });
        let processes = self.fold.processes.iter();
        processes
            .flat_map(|(chain, p)| {
                let more = [of("in dry-run", &p.dry_run), of("under policies older than they may be", &p.stale)];
                p.outages.iter().cloned().chain(more.into_iter().flatten()).map(|o| (*chain, o)).collect::<Vec<_>>()
            })
            .collect()
    }

    /// The outages of which nothing fitting is on record, a draft for each process. Without a governance folder nobody can say, and they are in
    /// doubt. `lacks` is what is not on record.
    pub(crate) fn outages_without(&self, on_record: impl Fn(&str, &Outage) -> bool, lacks: &str, remedy: &str) -> Vec<Draft> {
        let mut out: BTreeMap<String, Draft> = BTreeMap::new();
        for (chain, outage) in self.outages() {
            if self.service_of(chain).is_some_and(|service| on_record(&service.name, &outage)) {
                continue;
            }
            let name = self.process_name(chain);
            let draft = out.entry(name.clone()).or_insert_with(|| Draft {
                summary: format!("{name} was {} from {} to {}, and no {lacks} is on record", outage.what, outage.from, outage.to),
                subject: name,
                remedy: remedy.to_owned(),
                suspect: !self.governance.is_given(),
                ..Draft::default()
            });
            draft.count += 1;
            draft.evidence.extend(few(outage.evidence));
        }
        let told = |mut draft: Draft| {
            if draft.count > 1 {
                draft.summary = format!("{}; {}", draft.summary, many(draft.count - 1, "more such time"));
            }
            draft.evidence = few(draft.evidence);
            draft
        };
        out.into_values().map(told).collect()
    }

    /// The last day in the logs, which stands for today.
    pub(crate) fn today(&self) -> Option<Date> {
        self.now.map(|now| now.date())
    }

    /// The review of a subject that counts: the latest that can be about the last day, has not lapsed, and is of the newest revision where
    /// that matters.
    pub(crate) fn counted_review(&self, of: Subject) -> Option<&'a Review> {
        let revision = of.is_of_revision().then(|| self.newest.revision());
        let today = self.today()?;
        self.governance.latest(of, revision, today).filter(|r| today.days() <= r.due(self.scope().service_provider))
    }

    /// Names of services of which some of the logs are: an enforcer of theirs wrote them, or they were recorded at their side.
    pub(crate) fn logged(&self) -> BTreeSet<&'a str> {
        let enforcers = self.chains.all.iter().filter_map(|c| c.enforcer.as_ref());
        let enforcers = enforcers.filter_map(|id| self.newest.identify(id)).map(|s| &*s.name);
        let called = self.fold.ledger.decided.keys().filter(|key| !key.outbound);
        enforcers.chain(called.filter_map(|key| self.newest.service(&key.to)).map(|s| &*s.name)).collect()
    }

    /// Whether all of this evidence stands in logs with broken chains.
    pub(crate) fn is_weak(&self, evidence: &[Evidence]) -> bool {
        let is_broken = |e: &Evidence| self.verification.inputs.get(e.input).is_some_and(|i| i.verdict == ChainVerdict::Broken);
        !evidence.is_empty() && evidence.iter().all(is_broken)
    }

    /// Where a process's log begins, as evidence of something about the process: its name, and its first input.
    pub(crate) fn process_name(&self, chain: usize) -> String {
        let Some(chain) = self.chains.all.get(chain) else { return String::new() };
        let service = chain.enforcer.as_ref().map(|id| self.newest.identify(id).map_or_else(|| id.to_string(), |s| s.name.to_string()));
        let instance = chain.instance.as_deref().unwrap_or("unnamed process");
        service.map_or_else(|| instance.to_owned(), |service| format!("{service} ({instance})"))
    }
}

/// The caller in words: its service, or its identity where it has none.
pub(crate) fn caller(facts: &Facts) -> String {
    let unknown = || facts.from_name.clone().unwrap_or_else(|| "unknown".to_owned());
    facts.from.clone().or_else(|| facts.from_id.as_ref().map(ToString::to_string)).unwrap_or_else(unknown)
}

/// `1 record`, `2 records`.
pub(crate) fn many(n: u64, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// `was` or `were`.
pub(crate) const fn was(n: u64) -> &'static str {
    if n == 1 { "was" } else { "were" }
}

/// A list in words, cut after a few.
pub(crate) fn list<'t>(names: impl IntoIterator<Item = &'t str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names.iter().take(LIST_MAX).copied().collect::<Vec<_>>().join(", ");
    if names.len() > LIST_MAX { format!("{shown} and {} more", names.len() - LIST_MAX) } else { shown }
}

/// The first few of some evidence.
pub(crate) fn few(evidence: impl IntoIterator<Item = Evidence>) -> Vec<Evidence> {
    evidence.into_iter().take(EVIDENCE_MAX).collect()
}

/// A duration in words.
pub(crate) fn duration(ms: i64) -> String {
    match ms / 1000 {
        s @ ..=119 => format!("{s} s"),
        s @ 120..=7_199 => format!("{} min", s / 60),
        s @ 7_200..=172_799 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}

const LIST_MAX: usize = 5;
