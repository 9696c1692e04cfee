//! What the pages say. Every section of the configuration, and never a secret: paths of keys, not keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::{Pages, json_page};
use crate::body::ResponseBody;
use crate::config::{self, Bundle, HeadsTo, Issuer, Keep, KeySet, LogTo, Source, UpstreamProtocol};
use crate::fetch::Roots;
use crate::gate::{Caller, Gate};
use crate::metrics::Sample;
use crate::serve::Phase;
use crate::times::Times;
use crate::tls::{Identity, Standing};

impl Pages {
    /// What stands between this enforcer and its work. `all` names files and causes.
    pub(super) fn lacks(&self, all: bool) -> Vec<String> {
        let mut lacks: Vec<String> = Vec::new();
        if *self.phase.borrow() != Phase::Running {
            lacks.push("the enforcer is stopping".to_owned());
        }
        if let Some(lack) = self.readiness.lack() {
            lacks.push(if all { lack.full } else { lack.short.to_owned() });
        }
        if let Some(gate) = self.readiness.gate() {
            if gate.fresh.is_over(self.clock.now()) {
                lacks.push("the bundle is older than it may be".to_owned());
            }
            if !gate.log.is_up() {
                lacks.push("the decision log cannot be written".to_owned());
            }
            match gate.identity.load().standing(self.clock.now()) {
                Standing::Good | Standing::Near => {}
                Standing::Ending => lacks.push("the own certificate is about to expire".to_owned()),
                Standing::Over => lacks.push("the own certificate has expired".to_owned()),
                Standing::Withdrawn => lacks.push("the own identity was taken away".to_owned()),
            }
        }
        lacks
    }

    /// What is well enough and should not stay so.
    pub(super) fn warning(&self) -> &'static str {
        let Some(gate) = self.readiness.gate() else { return "" };
        if gate.fresh.is_stale(self.clock.now()) {
            return "the bundle is older than it may be\n";
        }
        let near = gate.identity.load().standing(self.clock.now()) == Standing::Near;
        if near { "the own certificate ends soon and was not renewed\n" } else { "" }
    }

    /// Brings the metrics that are read rather than counted up to date.
    pub(super) fn refresh(&self) {
        let gate = self.readiness.gate();
        self.metrics.refresh(&Sample {
            now: self.clock.now(),
            ready: self.lacks(false).is_empty(),
            held: self.clock.held(),
            steps_back: self.clock.steps_back(),
            certificate_until: gate.map(|gate| gate.identity.load().not_after()),
            bundle: gate.and_then(|gate| gate.fresh.issue()).map(|issue| (issue.serial, issue.issued_at)),
            log_oldest: gate.and_then(|gate| gate.log.oldest()),
            heads_oldest: self.readiness.oldest_head(),
            log_depth: gate.map_or(0, |gate| gate.log.depth()),
        });
    }

    pub(super) fn in_force(&self, page: impl Fn(&Self, &Arc<Gate>) -> Value) -> Response<ResponseBody> {
        match self.readiness.gate() {
            Some(gate) => json_page(StatusCode::OK, &page(self, gate)),
            None => json_page(StatusCode::SERVICE_UNAVAILABLE, &json!({"lacks": self.lacks(true)})),
        }
    }

    pub(super) fn revision_page(&self, gate: &Arc<Gate>) -> Value {
        let revision = *gate.policy.load().revision();
        let stale = gate.fresh.is_stale(self.clock.now());
        json!({"revision": revision, "service": *self.config.service, "mode": self.config.mode, "bundle": gate.fresh.issue(), "stale": stale})
    }

    /// The configuration in force. It holds paths, never the contents of keys.
    pub(super) fn config_page(&self) -> Value {
        let c = &self.config;
        let identity = self.readiness.gate().map(|gate| gate.identity.load_full());
        json!({
            "digest": c.digest,
            "version": env!("CARGO_PKG_VERSION"),
            "service": *c.service,
            "mode": c.mode,
            "bundle": bundle(&c.bundle),
            "identity": identity_section(&c.identity, identity.as_deref()),
            "inbound": c.inbound.iter().map(|i| json!({
                "listen": i.listen,
                "upstream": i.upstream,
                "upstream_protocol": match i.upstream_protocol {
                    UpstreamProtocol::Http1 => "http1",
                    UpstreamProtocol::Http2 => "http2",
                },
                "identity_headers": {
                    "xfcc": i.introduction.xfcc.iter().map(|part| part.as_str()).collect::<Vec<_>>(),
                    "principal": i.introduction.principal,
                    "claims": i.introduction.claims.iter().cloned().collect::<BTreeMap<_, _>>(),
                },
                "forward_token": i.introduction.forward_token,
                "tcp": i.tcp.map(|tcp| json!({"port": tcp.port, "idle": seconds(tcp.idle)})),
                "connection_lifetime": seconds(i.connection_lifetime),
                "timeouts": times(i),
            })).collect::<Vec<_>>(),
            "tls": {"min_version": c.tls.min_version.as_str()},
            "outbound": crate::outbound::listed(c),
            "proxy": crate::outbound::proxy_listed(c),
            "exchange": crate::outbound::exchange_listed(c.exchange.as_ref()),
            "jwt": c.jwt.iter().map(issuer).collect::<Vec<_>>(),
            "log": self.log_section(),
            "admin": c.admin.as_ref().map(ToString::to_string),
            "health": c.health,
            "traces": c.traces.as_ref().map(|t| json!({"otlp": t.otlp.to_string(), "sample": t.sample, "ca": roots(&t.roots)})),
            "self_check": c.self_check.map(|one_in| json!({"one_in": one_in})),
            "workers": c.workers,
            "drain": seconds(c.drain),
            "share_ports": c.share_ports,
        })
    }

    fn log_section(&self) -> Value {
        let log = &self.config.log;
        let open = self.readiness.gate().map(|gate| match &gate.log.to() {
            LogTo::File(path) => path.display().to_string(),
            LogTo::Stdout => "-".to_owned(),
        });
        json!({
            "path": log.to.to_string(),
            "open": open,
            "durability": log.durability.as_str(),
            "rotate": log.rotate_bytes.map(|size| json!({"size": size, "keep": log.keep.map(keep)})),
            "heartbeat": seconds(log.heartbeat),
            "heads": log.heads.as_ref().map(|h| json!({"every": seconds(h.every), "to": h.to.iter().map(head_place).collect::<Vec<_>>(), "key": h.key})),
        })
    }

    pub(super) fn connections_page(&self) -> Value {
        let one = |caller: &Arc<Caller>| {
            let svid = caller.peer().svid();
            json!({
                "id": svid.id,
                "ip": caller.ip,
                "protocol": caller.protocol,
                "serial": svid.serial,
                "not_after": svid.not_after,
                "age_seconds": caller.opened.elapsed().as_secs(),
                "requests": caller.requests.load(Ordering::Relaxed),
                "running": caller.running.load(Ordering::Relaxed),
                "bytes_sent": caller.bytes.load(Ordering::Relaxed),
            })
        };
        let (listed, open) = self.connections.list();
        json!({"open": open, "connections": listed.iter().map(one).collect::<Vec<_>>()})
    }
}

/// A URL is shown without its query, which may hold a secret.
fn issuer(issuer: &Issuer) -> Value {
    let jwks = match &issuer.jwks {
        KeySet::File(path) => json!({"path": path}),
        KeySet::Remote(from) => json!({
            "url": from.url.to_string(),
            "private_addresses": from.reach.private_addresses,
            "refresh_s": from.refresh.as_secs(),
            "max_stale_s": from.max_stale.as_secs(),
        }),
    };
    json!({"issuer": issuer.issuer, "audiences": issuer.audiences, "jwks": jwks})
}

fn bundle(bundle: &Bundle) -> Value {
    let mut out = match &bundle.source {
        Source::Directory(path) => json!({"path": path}),
        Source::File { path, key } => json!({"path": path, "key": key}),
        Source::Remote(remote) => json!({
            "url": remote.url.to_string(),
            "key": remote.key,
            "poll": seconds(remote.poll),
            "ca": roots(&remote.roots),
            "private_addresses": remote.reach.private_addresses,
            "token": remote.token,
        }),
    };
    if let Value::Object(fields) = &mut out {
        fields.extend(bundle.cache.as_ref().map(|cache| ("cache".to_owned(), json!(cache))));
        if let Some(freshness) = &bundle.freshness {
            fields.insert("max_age".to_owned(), json!(seconds(freshness.max_age)));
            fields.insert("on_stale".to_owned(), json!(freshness.on_stale.as_str()));
        }
    }
    out
}

fn head_place(to: &HeadsTo) -> Value {
    match to {
        HeadsTo::File(path) => json!(path),
        HeadsTo::Witness(witness) => json!({
            "url": witness.url.to_string(),
            "ca": roots(&witness.roots),
            "private_addresses": witness.reach.private_addresses,
            "token": witness.token,
        }),
    }
}

fn roots(roots: &Roots) -> Value {
    match roots {
        Roots::System => json!("system"),
        Roots::File(path) => json!(path),
        Roots::Nobody => Value::Null,
    }
}

fn seconds(duration: std::time::Duration) -> String {
    match duration.subsec_millis() {
        0 => format!("{}s", duration.as_secs()),
        _ => format!("{}ms", duration.as_millis()),
    }
}

fn keep(keep: Keep) -> Value {
    json!({"files": keep.files, "age": keep.age.map(seconds), "min_age": seconds(keep.min_age)})
}

fn times(inbound: &config::Inbound) -> Value {
    let Times { handshake, first_request, head, idle, connect, response, stream, request, upstream_idle, ping, pong, rotation, wind_down } =
        inbound.times;
    let mut times = json!({"handshake": seconds(handshake), "connect": seconds(connect)});
    if let (None, Some(times)) = (inbound.tcp, times.as_object_mut()) {
        let of_http = [
            ("first_request", first_request),
            ("head", head),
            ("idle", idle),
            ("response", response),
            ("stream", stream),
            ("request", request),
            ("upstream_idle", upstream_idle),
            ("ping", ping),
            ("pong", pong),
            ("rotation", rotation),
            ("wind_down", wind_down),
        ];
        times.extend(of_http.map(|(name, time)| (name.to_owned(), json!(seconds(time)))));
    }
    times
}

/// The identity in use, and where it comes from: places, never what lies there.
fn identity_section(from: &config::Identity, identity: Option<&Identity>) -> Value {
    let mut section = match from {
        config::Identity::Files(files) => json!({
            "cert": files.cert,
            "key": files.key,
            "trust": files.trust.iter().map(|(domain, path)| (domain.to_string(), path)).collect::<BTreeMap<_, _>>(),
            "crl": files.crl,
        }),
        config::Identity::WorkloadApi(api) => json!({"workload_api": api.endpoint.to_string()}),
    };
    if let Some(section) = section.as_object_mut() {
        section.insert("id".to_owned(), json!(identity.map(Identity::id)));
        section.insert("not_after".to_owned(), json!(identity.map(Identity::not_after)));
    }
    section
}
