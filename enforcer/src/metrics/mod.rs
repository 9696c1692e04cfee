//! What the enforcer counts, as Prometheus reads it.
//!
//! INVARIANT: every label has a bounded set of values (A31): no path, no peer, no host ever becomes a label; ids of policies come
//! from the bundle and are capped. Handles are resolved once, so that counting a request takes no lock that another one holds.

mod form;
mod latency;
mod policies;
mod process;
mod sampled;

use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;

use portreeve_engine::{Decision, Effect, Reason};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::outbound::metrics::OutboundMetrics;
use crate::tls::Refusal;
pub use form::Form;
pub use latency::Latency;
pub use policies::ByPolicy;
use process::Process;
pub use sampled::Sample;
use sampled::Sampled;

type Labels = [(&'static str, &'static str); 1];
type Labels2 = [(&'static str, &'static str); 2];

/// Something that is open, counted as long as it lives.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// Counts one more, until this is dropped.
    #[must_use]
    pub fn new(gauge: Gauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// All metrics of one enforcer.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    decisions: [(Counter, Counter); Reason::ALL.len()],
    sampled: Sampled,
    /// From the whole head of a request to its recorded decision.
    pub decision_duration: Latency,
    /// From the decision to the first byte of the service's answer.
    pub response_duration: Latency,
    /// From the decision to the end of an allowed request.
    pub request_duration: Latency,
    /// Decisions by policy.
    pub policies: ByPolicy,
    limited: Family<Labels, Counter>,
    shadow: Family<Labels, Counter>,
    /// Allowed requests that the service did not answer.
    pub unavailable: Counter,
    handshakes: Family<Labels, Counter>,
    /// Completed handshakes.
    pub handshakes_completed: Counter,
    sides: Family<Labels, Gauge>,
    /// Open connections of other services.
    pub connections: Gauge,
    /// Open connections of our own service.
    pub connections_outbound: Gauge,
    /// Connections turned away because the listener was full.
    pub connections_refused: Counter,
    reloads: Family<Labels2, Counter>,
    /// 1 while the last attempt to take up a bundle failed.
    pub bundle_alarm: Gauge,
    /// 1 while the bundle on disk is another one than the one in force.
    pub bundle_drift: Gauge,
    /// 1 while the bundle in force is older than it may be.
    pub bundle_stale: Gauge,
    /// 1 while the last good bundle cannot be kept.
    pub bundle_keep_alarm: Gauge,
    spans: Family<Labels, Counter>,
    clock_steps: Family<Labels, Counter>,
    heads: Family<Labels, Counter>,
    /// 1 while a witness does not take signed heads.
    pub heads_alarm: Gauge,
    /// 1 while the last attempt to take up an identity failed.
    pub identity_alarm: Gauge,
    /// Key sets of token issuers whose last fetch failed.
    pub key_sets_failing: Gauge,
    /// 1 while the decision log cannot be written.
    pub log_alarm: Gauge,
    /// Closed files of the log, as far as they are looked at.
    pub log_closed_files: Gauge,
    /// Closed files that were deleted.
    pub log_deleted_files: Counter,
    /// Requests answered 503 because their record had no place.
    pub unrecorded: Counter<u64, AtomicU64>,
    unrecorded_causes: Family<Labels, Counter>,
    /// How long each write of the decision log took.
    pub log_write_duration: Latency,
    /// Requests answered 503 because their record was not written or synchronised in time.
    pub not_kept: Counter,
    /// Records written.
    pub log_records: Counter,
    /// Times at which a request wrote what the log's own thread had no time for.
    pub log_late: Counter,
    /// 1 while denials by policy are forwarded.
    pub dry_run: Gauge,
    /// The outbound side.
    pub outbound: OutboundMetrics,
    /// Decisions that were made again by the reference evaluators.
    pub self_checks: Counter,
    /// Decisions whose turn came while another was being checked.
    pub self_checks_passed_over: Counter,
    /// Decisions that the reference evaluators do not share; must stay 0.
    pub self_check_disagreements: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All metrics at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<Labels2, Counter>::default();
        let sides = Family::<Labels, Gauge>::default();
        let decisions = Reason::ALL.map(|reason| {
            let handle = |effect: Effect| requests.get_or_create_owned(&[("effect", effect.as_str()), ("reason", reason.as_str())]);
            // An allow has one reason and a deny all the others; the pair that cannot be is not exported.
            match reason {
                Reason::Permitted => (handle(Effect::Allow), Counter::default()),
                _ => (Counter::default(), handle(Effect::Deny)),
            }
        });
        let metrics = Self {
            decisions,
            sampled: Sampled::default(),
            decision_duration: Latency::new(&latency::OF_DECISIONS),
            response_duration: Latency::new(&latency::OF_REQUESTS),
            request_duration: Latency::new(&latency::OF_REQUESTS),
            policies: ByPolicy::default(),
            limited: Family::default(),
            shadow: Family::default(),
            unavailable: Counter::default(),
            handshakes: Family::default(),
            handshakes_completed: Counter::default(),
            connections: sides.get_or_create_owned(&[("side", "inbound")]),
            connections_outbound: sides.get_or_create_owned(&[("side", "outbound")]),
            sides,
            connections_refused: Counter::default(),
            reloads: Family::default(),
            bundle_alarm: Gauge::default(),
            bundle_drift: Gauge::default(),
            bundle_stale: Gauge::default(),
            bundle_keep_alarm: Gauge::default(),
            spans: Family::default(),
            clock_steps: Family::default(),
            heads: Family::default(),
            heads_alarm: Gauge::default(),
            identity_alarm: Gauge::default(),
            log_alarm: Gauge::default(),
            log_closed_files: Gauge::default(),
            log_deleted_files: Counter::default(),
            unrecorded: Counter::default(),
            unrecorded_causes: Family::default(),
            log_write_duration: Latency::new(&latency::OF_WRITES),
            not_kept: Counter::default(),
            log_late: Counter::default(),
            log_records: Counter::default(),
            dry_run: Gauge::default(),
            key_sets_failing: Gauge::default(),
            outbound: OutboundMetrics::default(),
            self_checks: Counter::default(),
            self_checks_passed_over: Counter::default(),
            self_check_disagreements: Counter::default(),
            registry: Registry::default(),
        };
        metrics.register(registry.sub_registry_with_prefix("portreeve"), requests);
        registry.register_collector(Box::new(Process));
        Self { registry, ..metrics }
    }

    fn register(&self, r: &mut Registry, requests: Family<Labels2, Counter>) {
        r.register("build", "What runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        r.register("requests", "Decided requests by effect and reason", requests);
        r.register_collector(Box::new(self.policies.clone()));
        r.register(
            "requests_limited",
            "Allowed requests that a limit of their permission, or of their caller, stood against, by part of the limit",
            self.limited.clone(),
        );
        r.register("requests_shadow", "Requests to which the permissions in dry-run would have given another answer", self.shadow.clone());
        r.register_collector(Box::new(self.sampled.clone()));
        let took = "From the whole head of a request to its recorded decision";
        r.register("decision_duration_seconds", took, self.decision_duration.clone());
        let took = "From the decision to the first byte of the service's answer";
        r.register("response_duration_seconds", took, self.response_duration.clone());
        r.register("request_duration_seconds", "From the decision to the end of an allowed request", self.request_duration.clone());
        r.register("upstream_unavailable", "Allowed requests that the service did not answer", self.unavailable.clone());
        r.register("handshake_failures", "Handshakes refused, by reason", self.handshakes.clone());
        r.register("handshakes", "Completed handshakes", self.handshakes_completed.clone());
        r.register("connections", "Open connections: of other services (inbound) and of our own (outbound)", self.sides.clone());
        r.register("connections_refused", "Connections turned away because the listener was full", self.connections_refused.clone());
        r.register("reloads", "Attempts to take up a new bundle or identity, by result", self.reloads.clone());
        r.register("bundle_alarm", "Is 1 while the last attempt to take up a bundle failed", self.bundle_alarm.clone());
        r.register("bundle_drift", "Is 1 while the bundle on disk is not the one in force", self.bundle_drift.clone());
        r.register("bundle_stale", "Is 1 while the bundle in force is older than it may be", self.bundle_stale.clone());
        r.register("bundle_keep_alarm", "Is 1 while the last good bundle cannot be kept on disk", self.bundle_keep_alarm.clone());
        r.register("clock_steps", "How often the system's clock was set, by direction", self.clock_steps.clone());
        let heads = "Signed heads for witnesses: sent, dropped for want of room; failed counts attempts";
        r.register("heads", heads, self.heads.clone());
        r.register("heads_alarm", "Is 1 while a witness does not take signed heads", self.heads_alarm.clone());
        r.register("spans", "Spans of traces: sent, refused by the collector, dropped for want of room", self.spans.clone());
        r.register("identity_alarm", "Is 1 while the last attempt to take up an identity failed", self.identity_alarm.clone());
        r.register("key_sets_failing", "Key sets of token issuers whose last fetch failed", self.key_sets_failing.clone());
        r.register("log_alarm", "Is 1 while the decision log cannot be written", self.log_alarm.clone());
        r.register("unrecorded", "Requests refused because their record had no place", self.unrecorded.clone());
        let causes = "The same by cause: caller, its share of the queue was full; queue, all of it was; log, it is not written";
        r.register("unrecorded_causes", causes, self.unrecorded_causes.clone());
        r.register("log_write_duration_seconds", "How long each write of the decision log took", self.log_write_duration.clone());
        r.register(
            "log_not_kept",
            "Requests refused because their record was not kept as durably as configured in time",
            self.not_kept.clone(),
        );
        r.register(
            "log_closed_files",
            "Closed files of the decision log, where `rotate.keep` looks at them",
            self.log_closed_files.clone(),
        );
        r.register("log_deleted_files", "Closed files of the decision log that were deleted", self.log_deleted_files.clone());
        r.register("log_late", "Writes of the decision log by a request, as its own thread got no time", self.log_late.clone());
        r.register("log_records", "Records written to the decision log", self.log_records.clone());
        r.register("dry_run", "Is 1 while denials by policy are forwarded", self.dry_run.clone());
        self.outbound.register(r);
        r.register("self_checks", "Decisions made again by the reference evaluators", self.self_checks.clone());
        let passed_over = self.self_checks_passed_over.clone();
        r.register("self_checks_passed_over", "Decisions whose turn came while another was being checked", passed_over);
        let disagreements = self.self_check_disagreements.clone();
        r.register("self_check_disagreements", "Decisions that the reference evaluators do not share; must stay 0", disagreements);
    }

    /// Counts a decision.
    pub fn decided(&self, effect: Effect, reason: Reason) {
        if let Some((allow, deny)) = Reason::ALL.iter().position(|r| *r == reason).and_then(|at| self.decisions.get(at)) {
            let counter = if effect == Effect::Allow { allow } else { deny };
            counter.inc();
        }
    }

    /// How many decisions of this kind were counted.
    #[must_use]
    pub fn decisions(&self, effect: Effect, reason: Reason) -> u64 {
        let found = Reason::ALL.iter().position(|r| *r == reason).and_then(|at| self.decisions.get(at));
        found.map_or(0, |(allow, deny)| if effect == Effect::Allow { allow.get() } else { deny.get() })
    }

    /// Counts a request that was refused because its record had no place, and why it had none.
    pub fn unrecorded(&self, cause: &'static str) {
        self.unrecorded.inc();
        self.unrecorded_causes.get_or_create(&[("cause", cause)]).inc();
    }

    /// Counts an allowed request that has to wait, by the part of the limit (`rate`, `concurrency`, `callers`).
    pub fn limited(&self, by: &'static str) {
        self.limited.get_or_create(&[("by", by)]).inc();
    }

    /// Counts a decision that would be another one if the permissions in dry-run were in force.
    pub fn shadow(&self, decision: &Decision<'_>) {
        if decision.shadow.is_empty() {
            return;
        }
        let some = |effect| decision.shadow.iter().any(|policy| policy.effect == effect);
        let would = match decision.reason {
            Reason::Permitted if some(Effect::Deny) => "deny",
            Reason::Permitted | Reason::Prohibited | Reason::EvaluationError => return,
            // By default, and nothing else stands against a grant.
            _ if some(Effect::Allow) && !some(Effect::Deny) => "allow",
            _ => return,
        };
        self.shadow.get_or_create(&[("would", would)]).inc();
    }

    /// Counts a refused handshake.
    pub fn handshake_refused(&self, why: Refusal) {
        self.handshakes.get_or_create(&[("reason", why.as_str())]).inc();
    }

    /// Counts an attempt to take up a new `what` (`bundle`, `identity`, `jwks`).
    pub fn reloaded(&self, what: &'static str, result: &'static str) {
        self.reloads.get_or_create(&[("what", what), ("result", result)]).inc();
    }

    /// Counts a step of the system's clock.
    pub fn clock_stepped(&self, direction: &'static str) {
        self.clock_steps.get_or_create(&[("direction", direction)]).inc();
    }

    /// Counts signed heads that a witness was `sent`, that were `dropped` for want of room, or attempts that `failed`.
    pub fn heads(&self, result: &'static str, n: usize) {
        self.heads.get_or_create(&[("result", result)]).inc_by(u64::try_from(n).unwrap_or(u64::MAX));
    }

    /// Counts spans that were `sent`, `refused` by the collector or `dropped` for want of room.
    pub fn spans(&self, result: &'static str, n: usize) {
        self.spans.get_or_create(&[("result", result)]).inc_by(u64::try_from(n).unwrap_or(u64::MAX));
    }

    /// The text that Prometheus reads, in the form it asks for.
    #[must_use]
    pub fn render_as(&self, form: Form) -> String {
        form.of(self.render())
    }

    /// The text in the form of OpenMetrics.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        if encode(&mut out, &self.registry).is_err() {
            // Formatting into memory does not fail; were it to, a scraper must see it.
            out.clear();
            let _ = writeln!(out, "# the metrics could not be written");
        }
        out
    }

    /// Sets what is read rather than counted.
    pub fn refresh(&self, sample: &Sample) {
        self.sampled.set(sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_rendered_with_bounded_labels() {
        let metrics = Metrics::new();
        metrics.decided(Effect::Allow, Reason::Permitted);
        metrics.decided(Effect::Deny, Reason::NoPermission);
        metrics.decided(Effect::Deny, Reason::NoPermission);
        metrics.handshake_refused(Refusal::NoCertificate);
        let now = portreeve_engine::Timestamp::from_unix_ms(1_000_000);
        metrics.refresh(&Sample { now, steps_back: 3, certificate_until: Some(now.plus_ms(77_900)), ..Sample::default() });
        let text = metrics.render();
        for line in [
            "portreeve_requests_total{effect=\"allow\",reason=\"permitted\"} 1",
            "portreeve_requests_total{effect=\"deny\",reason=\"no-permission\"} 2",
            "portreeve_handshake_failures_total{reason=\"no-certificate\"} 1",
            "portreeve_certificate_expiry_seconds 77",
            "portreeve_clock_steps_back 3",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(!text.contains("effect=\"allow\",reason=\"no-permission\""));
    }
}
