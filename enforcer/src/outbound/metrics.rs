//! What the outbound side counts.
//!
//! INVARIANT: labels are names of configured destinations, words of ours and reasons of decisions (A31); never a host, a path
//! or an id.

use http::StatusCode;
use portreeve_engine::{Effect, Reason};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

type OfService = [(&'static str, String); 1];
type OfServiceAnd = ([(&'static str, String); 1], [(&'static str, &'static str); 1]);
type Word = [(&'static str, &'static str); 1];
type Words = [(&'static str, &'static str); 2];

/// The counters of the outbound side.
#[derive(Clone, Debug, Default)]
pub struct OutboundMetrics {
    requests: Family<OfServiceAnd, Counter>,
    failures: Family<OfServiceAnd, Counter>,
    retries: Family<OfService, Counter>,
    ejections: Family<OfService, Counter>,
    ejected: Family<OfService, Gauge>,
    under_way: Family<OfService, Gauge>,
    checks: Family<OfServiceAnd, Counter>,
    down: Family<OfService, Gauge>,
    egress: Family<Words, Counter>,
    egress_failures: Family<Word, Counter>,
    exchanges: Family<Word, Counter>,
    /// Open tunnels to places outside the mesh.
    pub tunnels: Gauge,
}

/// How a callee answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 1xx to 3xx.
    Ok,
    /// 4xx.
    ClientError,
    /// 5xx.
    ServerError,
}

impl Outcome {
    /// What a status means.
    #[must_use]
    pub fn of(status: StatusCode) -> Self {
        match status.as_u16() {
            400..=499 => Self::ClientError,
            500.. => Self::ServerError,
            _ => Self::Ok,
        }
    }
}

/// The counters of one destination, resolved once.
#[derive(Clone, Debug)]
pub struct Meter {
    service: OfService,
    answers: [Counter; 3],
    failures: Family<OfServiceAnd, Counter>,
    checks: Family<OfServiceAnd, Counter>,
    /// Endpoints that are down as their checks say.
    pub down: Gauge,
    /// Attempts after the first.
    pub retries: Counter,
    /// Times that an endpoint was left aside.
    pub ejections: Counter,
    /// Endpoints that are left aside now.
    pub ejected: Gauge,
    /// Requests whose answer has begun and not ended.
    pub under_way: Gauge,
}

impl Meter {
    /// Counts an answer.
    pub fn answered(&self, outcome: Outcome) {
        let [ok, client, server] = &self.answers;
        match outcome {
            Outcome::Ok => ok.inc(),
            Outcome::ClientError => client.inc(),
            Outcome::ServerError => server.inc(),
        };
    }

    /// Counts a request that got no answer, or not all of one.
    pub fn failed(&self, why: &'static str) {
        self.failures.get_or_create(&(self.service.clone(), [("reason", why)])).inc();
    }

    /// Counts a health check.
    pub fn checked(&self, result: &'static str) {
        self.checks.get_or_create(&(self.service.clone(), [("result", result)])).inc();
    }
}

impl OutboundMetrics {
    /// Makes the counters known.
    pub fn register(&self, r: &mut Registry) {
        r.register("outbound_requests", "Answers of other services, by kind of status", self.requests.clone());
        r.register("outbound_failures", "Requests to other services without an answer, by reason", self.failures.clone());
        r.register("outbound_retries", "Requests sent again to another endpoint", self.retries.clone());
        r.register("outbound_ejections", "Times that an endpoint was left aside", self.ejections.clone());
        r.register("outbound_ejected_endpoints", "Endpoints that are left aside", self.ejected.clone());
        r.register("outbound_under_way", "Answers of other services that have begun and not ended", self.under_way.clone());
        r.register("outbound_health_checks", "Checks of endpoints, by result", self.checks.clone());
        r.register("outbound_down_endpoints", "Endpoints that are down as their checks say", self.down.clone());
        r.register("egress_requests", "Decisions about places outside the mesh, by effect and reason", self.egress.clone());
        r.register("egress_failures", "Allowed egress that did not come about, by reason", self.egress_failures.clone());
        r.register("egress_tunnels", "Open tunnels to places outside the mesh", self.tunnels.clone());
        r.register("token_exchanges", "Exchanges of user tokens, by result", self.exchanges.clone());
    }

    /// The counters of a destination.
    #[must_use]
    pub fn of(&self, service: &str) -> Meter {
        let label = [("service", service.to_owned())];
        let answers =
            ["ok", "client-error", "server-error"].map(|kind| self.requests.get_or_create_owned(&(label.clone(), [("outcome", kind)])));
        Meter {
            answers,
            failures: self.failures.clone(),
            checks: self.checks.clone(),
            down: self.down.get_or_create_owned(&label),
            retries: self.retries.get_or_create_owned(&label),
            ejections: self.ejections.get_or_create_owned(&label),
            ejected: self.ejected.get_or_create_owned(&label),
            under_way: self.under_way.get_or_create_owned(&label),
            service: label,
        }
    }

    /// Counts a decision about a place outside the mesh.
    pub fn egress_decided(&self, effect: Effect, reason: Reason) {
        self.egress.get_or_create(&[("effect", effect.as_str()), ("reason", reason.as_str())]).inc();
    }

    /// Counts allowed egress that did not come about.
    pub fn egress_failed(&self, why: &'static str) {
        self.egress_failures.get_or_create(&[("reason", why)]).inc();
    }

    /// Counts a request to a service of the mesh that has no endpoint here. Which one is in no label: the caller chose the name.
    pub fn no_endpoint(&self) {
        self.failures.get_or_create(&([("service", String::new())], [("reason", "no-endpoint")])).inc();
    }

    /// Counts an exchange of a token.
    pub fn exchanged(&self, result: &'static str) {
        self.exchanges.get_or_create(&[("result", result)]).inc();
    }
}
