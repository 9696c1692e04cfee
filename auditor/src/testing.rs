//! Logs for tests, written by the engine's own chain writer.

use portreeve_engine::chain::ChainWriter;
use portreeve_engine::decision::{Effect, Reason};
use portreeve_engine::record::{
    After, Answer, ContextFacts, Continued, Decided, Deleted, Destination, Ended, Event, Heartbeat, Mode, Outcome, RequestFacts, Source,
    Started, Stopped, Tls, Why,
};
use portreeve_engine::{Digest, SpiffeId, Timestamp};

use crate::source::LogSource;

/// When test logs begin.
pub(crate) fn start() -> Timestamp {
    "2026-11-22T10:00:00Z".parse().unwrap()
}

pub(crate) fn id(service: &str) -> SpiffeId {
    format!("spiffe://market.example/ns/shop/sa/{service}").parse().unwrap()
}

pub(crate) fn memory(name: &str, bytes: &[u8]) -> LogSource {
    LogSource::Memory { name: name.to_owned(), bytes: bytes.to_vec() }
}

/// Writes the log of one process.
#[derive(Clone)]
pub(crate) struct Log {
    pub(crate) chain: ChainWriter,
    pub(crate) out: Vec<u8>,
    pub(crate) at: Timestamp,
    pub(crate) service: String,
    pub(crate) instance: String,
    pub(crate) revision: Digest,
    pub(crate) mode: Mode,
}

impl Log {
    pub(crate) fn start(service: &str, instance: &str, revision: Digest) -> Self {
        Self::start_after(service, instance, revision, None, Mode::Enforce)
    }

    pub(crate) fn start_after(service: &str, instance: &str, revision: Digest, after: Option<After>, mode: Mode) -> Self {
        Self::start_with(service, instance, revision, (start(), Digest::of(b"config")), after, mode)
    }

    /// The same, at a time and with the digest of a configuration.
    pub(crate) fn start_with(
        service: &str,
        instance: &str,
        revision: Digest,
        (at, config): (Timestamp, Digest),
        after: Option<After>,
        mode: Mode,
    ) -> Self {
        let mut log = Self {
            chain: ChainWriter::new(),
            out: Vec::new(),
            at,
            service: service.to_owned(),
            instance: instance.to_owned(),
            revision,
            mode,
        };
        log.push(&Event::Started(Started {
            enforcer: id(service),
            instance: instance.to_owned(),
            revision,
            mode,
            config,
            version: "0.1.0".to_owned(),
            after,
            recovered: None,
            bundle: None,
        }));
        log
    }

    pub(crate) fn push(&mut self, event: &Event) -> u64 {
        self.at = self.at.plus_ms(1000);
        self.chain.append(self.at, event, &mut self.out)
    }

    /// The rest goes to a new file; gives the one that is full.
    pub(crate) fn rotate(&mut self) -> Vec<u8> {
        let full = std::mem::take(&mut self.out);
        let (enforcer, instance) = (id(&self.service), self.instance.clone());
        self.push(&Event::Continued(Continued { enforcer, instance, revision: self.revision, mode: self.mode, bundle: None }));
        full
    }

    pub(crate) fn heartbeat(&mut self, unrecorded: u64) -> u64 {
        self.deletes(Vec::new(), unrecorded)
    }

    /// A heartbeat that tells of files that are deleted.
    pub(crate) fn deletes(&mut self, deleted: Vec<Deleted>, unrecorded: u64) -> u64 {
        self.push(&Event::Heartbeat(Heartbeat {
            revision: self.revision,
            mode: self.mode,
            unrecorded,
            refusals_dropped: 0,
            stale: false,
            deleted,
        }))
    }

    pub(crate) fn stop(&mut self) -> u64 {
        self.push(&Event::Stopped(Stopped { unrecorded: 0 }))
    }

    pub(crate) fn end(&mut self, of: u64) -> u64 {
        let ended = Ended {
            of,
            outcome: Outcome::Forwarded,
            status: Some(200),
            duration_us: 812,
            bytes: 5,
            why: Why::Complete,
            attempts: None,
            detail: None,
        };
        self.push(&Event::Ended(ended))
    }

    pub(crate) fn after(&self) -> After {
        After { instance: self.instance.clone(), seq: self.chain.next_seq() - 1, head: self.chain.head() }
    }

    /// A `decided` line with the answer given.
    pub(crate) fn decide(&mut self, decided: Decided) -> u64 {
        self.push(&Event::Decided(Box::new(decided)))
    }

    /// A `GET` that was allowed by `policy`, with its end.
    pub(crate) fn allow(&mut self, from: &str, path: &str, operation: &str, policy: &str) -> u64 {
        let decided = self.question(from, path, Some(operation), Effect::Allow, Reason::Permitted, &[policy]);
        let of = self.decide(decided);
        self.end(of);
        of
    }

    pub(crate) fn question(
        &self,
        from: &str,
        path: &str,
        operation: Option<&str>,
        effect: Effect,
        reason: Reason,
        policies: &[&str],
    ) -> Decided {
        let number = self.chain.next_seq();
        Decided {
            mode: self.mode,
            revision: self.revision,
            side: None,
            source: Source { id: id(from), service: Some(from.to_owned()), ip: Some("10.0.0.7".parse().unwrap()) },
            destination: Destination { id: Some(id(&self.service)), service: self.service.clone() },
            request: RequestFacts {
                id: format!("{}-{number}", self.instance),
                protocol: "HTTP/2".to_owned(),
                method: Some("GET".to_owned()),
                path: Some(path.to_owned()),
                operation: operation.map(str::to_owned),
                ..RequestFacts::default()
            },
            context: ContextFacts::default(),
            tls: Some(Tls {
                version: "TLSv1.3".to_owned(),
                suite: "TLS13_AES_128_GCM_SHA256".to_owned(),
                serial: "1f".to_owned(),
                sha256: Digest::of(from.as_bytes()),
                not_after: start().plus_ms(86_400_000),
                issuer: None,
                key: None,
            }),
            decision: Answer {
                effect,
                reason,
                policies: policies.iter().map(|p| (*p).to_owned()).collect(),
                errors: vec![],
                shadow: vec![],
            },
        }
    }
}

/// The lines of a log, each with its newline.
pub(crate) fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect()
}

/// Writes lines again as one consistent chain, as a forger would who can rewrite the whole log.
pub(crate) fn rechain(lines: &[Vec<u8>]) -> Vec<u8> {
    let mut chain = ChainWriter::new();
    let mut out = Vec::new();
    for line in lines {
        let record = portreeve_engine::Record::from_line(line.trim_ascii_end()).unwrap();
        chain.append(record.at, &record.event, &mut out);
    }
    out
}

/// A small market: a gateway at the edge, invoices and users inside, items with card data.
pub(crate) const POLICY: &str = r#"
kind: Service
name: gateway
identities: [spiffe://market.example/ns/shop/sa/gateway]
owner: team-edge
zone: edge
operations:
  - {id: browse, method: GET, path: "/"}
---
kind: Service
name: invoices
identities: [spiffe://market.example/ns/shop/sa/invoices]
owner: team-billing
zone: inner
operations:
  - {id: list, method: GET, path: "/v1/invoices"}
---
kind: Service
name: users
identities: [spiffe://market.example/ns/shop/sa/users]
zone: inner
operations:
  - {id: read-user, method: GET, path: "/v1/users/{id}"}
---
kind: Service
name: items
identities: [spiffe://market.example/ns/shop/sa/items]
owner: team-catalogue
zone: cde
data: [pan]
operations:
  - {id: read-item, method: GET, path: "/v1/items/{id}"}
  - {id: write-item, method: [POST, PUT], path: "/v1/items"}
---
kind: Permission
name: invoices-read-items
allow: {from: [invoices], to: items, operations: [read-item]}
justification: An invoice line names the item sold.
owner: team-billing
approved_by: [security]
review_by: 2027-05-01
---
kind: Permission
name: gateway-lists-invoices
allow: {from: [gateway], to: invoices, operations: [list]}
justification: Customers see their invoices.
owner: team-edge
approved_by: [security]
review_by: 2027-05-01
"#;

pub(crate) fn authorizer(text: &str) -> portreeve_engine::Authorizer {
    let file = portreeve_engine::SourceFile { path: "policy.yaml".to_owned(), bytes: text.as_bytes().to_vec() };
    let compiled = portreeve_engine::Authorizer::compile(&portreeve_engine::Bundle::from_files("market", vec![file]).unwrap());
    let text: String = compiled.diagnostics.iter().map(portreeve_engine::Diagnostic::render).collect();
    compiled.authorizer.unwrap_or_else(|| panic!("{text}"))
}

impl Log {
    /// A request decided by the real authorizer, with its end if it was allowed. Gives the `seq` of `decided`.
    pub(crate) fn ask(&mut self, authorizer: &portreeve_engine::Authorizer, from: &SpiffeId, method: &str, path: &str) -> u64 {
        let decided = self.answered(authorizer, from, method, path, None);
        let is_allow = decided.decision.effect == Effect::Allow;
        let of = self.decide(decided);
        if is_allow {
            self.end(of);
        }
        of
    }

    /// The record of a question as the real authorizer answers it, with a user token where one is given.
    pub(crate) fn answered(
        &self,
        authorizer: &portreeve_engine::Authorizer,
        from: &SpiffeId,
        method: &str,
        path: &str,
        jwt: Option<serde_json::Value>,
    ) -> Decided {
        let at = self.at.plus_ms(1000);
        let mut question = serde_json::json!({
            "principal": from, "service": self.service, "method": method, "path": path,
            "context": {"time": at, "source_ip": "10.0.0.7"}
        });
        if let Some(jwt) = jwt {
            question["context"]["jwt"] = jwt;
        }
        let request = portreeve_engine::Request::from_json(question.to_string().as_bytes()).unwrap();
        let decision = authorizer.decide(&request);
        let (mut facts, context) = authorizer.facts(&request, &decision);
        facts.id = format!("{}-{}", self.instance, self.chain.next_seq());
        "HTTP/2".clone_into(&mut facts.protocol);
        let mut decided = self.question("x", path, None, decision.effect, decision.reason, &[]);
        decided.source = Source {
            id: from.clone(),
            service: authorizer.identify(from).map(|s| s.name.to_string()),
            ip: Some("10.0.0.7".parse().unwrap()),
        };
        (decided.request, decided.context, decided.decision) = (facts, context, Answer::from(&decision));
        if let Some(tls) = &mut decided.tls {
            tls.sha256 = Digest::of(from.as_str().as_bytes());
        }
        decided
    }
}
