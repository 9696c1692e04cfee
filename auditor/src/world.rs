//! A small mesh for tests in which everything is as it should be, and which a test may spoil in one point: policy, governance,
//! configuration files, history, requests, logs. Questions are answered by the real authorizer.

use portreeve_engine::chain::HeadSigner;
use portreeve_engine::decision::Effect;
use portreeve_engine::record::{After, Decided, Mode, Side};
use portreeve_engine::{Authorizer, Digest, Timestamp};

use crate::assessment::Assessment;
use crate::audit::Audit;
use crate::commits::Commit;
use crate::controls::Catalog;
use crate::governance::Governance;
use crate::heads::VerifiedHeads;
use crate::own_checks::OwnChecks;
use crate::settings::EnforcerConfig;
use crate::source::LogSource;
use crate::testing::{Log, authorizer, id, memory, start};

/// What the mesh is made of.
pub(crate) struct World {
    pub(crate) policy: String,
    /// `REVISION` stands for the revision of the policy.
    pub(crate) governance: String,
    /// Days with logs, today included.
    pub(crate) days: i64,
    /// An `AuditRun` for each day but the last.
    pub(crate) runs: bool,
    pub(crate) asks: Vec<Ask>,
    /// What happens in the logs of today before they end: the service, and what.
    pub(crate) before_stop: Vec<(&'static str, EditLog)>,
    /// What becomes of the bytes of a log of today.
    pub(crate) bytes: Vec<(&'static str, EditBytes)>,
    /// Today's log of this service runs under another policy, without a record of how it came there.
    pub(crate) other_policy: Option<(&'static str, String)>,
    /// Text that stands for another in each configuration file, after its process began.
    pub(crate) config_edit: Option<(&'static str, &'static str)>,
    /// The same, before.
    pub(crate) config_from_start: Option<(&'static str, &'static str)>,
    pub(crate) dry_run: Option<&'static str>,
    pub(crate) heads: bool,
    pub(crate) commits: Vec<(&'static str, Vec<&'static str>, Option<&'static str>)>,
    pub(crate) instances_go_back: bool,
    /// Lines of Istio's log besides.
    pub(crate) istio: Vec<String>,
    /// A check in Rego.
    pub(crate) own_check: Option<&'static str>,
}

/// What happens in a log.
pub(crate) type EditLog = fn(&mut Log);
/// What becomes of its bytes.
pub(crate) type EditBytes = fn(&[u8]) -> Vec<u8>;

/// A request of today.
pub(crate) struct Ask {
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) user: bool,
    pub(crate) alter: Option<fn(&mut Decided)>,
}

/// A request for a person, answered and recorded as it should be.
pub(crate) fn ask(from: &'static str, to: &'static str, method: &'static str, path: &'static str) -> Ask {
    Ask { from, to, method, path, user: true, alter: None }
}

pub(crate) const SERVICES: [(&str, &str, &str); 8] = [
    ("gateway", "edge", ""),
    ("invoices", "inner", ""),
    ("items", "cde", "data: [pan]\n"),
    ("vault", "ops", ""),
    ("console", "ops", ""),
    ("shop-a", "tenant-a", ""),
    ("shop-b", "tenant-b", ""),
    ("probe", "staging", ""),
];

impl World {
    pub(crate) fn good() -> Self {
        let mut policy = String::new();
        for (name, zone, more) in SERVICES {
            policy.push_str(&format!(
                "kind: Service\nname: {name}\nidentities: [spiffe://market.example/ns/shop/sa/{name}]\nowner: team\nzone: {zone}\n{more}\
                 operations:\n  - {{id: read, method: GET, path: \"/v1/{name}/{{id}}\"}}\n  - {{id: write, method: POST, path: \"/v1/{name}\"}}\n---\n"
            ));
        }
        policy.push_str("kind: Service\nname: cards\nhosts: [api.cards.example]\nowner: team\noperations: [{id: tls, port: 443}]\n");
        for (from, to, operation) in [
            ("gateway", "invoices", "read"),
            ("invoices", "items", "read"),
            ("items", "vault", "write"),
            ("shop-a", "invoices", "read"),
            ("shop-b", "invoices", "read"),
            ("invoices", "console", "write"),
            ("gateway", "shop-a", "read"),
            ("invoices", "cards", "tls"),
        ] {
            policy.push_str(&grant(from, to, operation, ""));
        }
        Self {
            policy,
            governance: GOVERNANCE.to_owned() + &reviews(),
            days: 3,
            runs: true,
            asks: vec![
                ask("gateway", "invoices", "GET", "/v1/invoices/1"),
                ask("gateway", "shop-a", "GET", "/v1/shop-a/1"),
                ask("invoices", "items", "GET", "/v1/items/1"),
                ask("items", "vault", "POST", "/v1/vault"),
                ask("shop-a", "invoices", "GET", "/v1/invoices/2"),
                ask("shop-b", "invoices", "GET", "/v1/invoices/3"),
                ask("invoices", "console", "POST", "/v1/console"),
            ],
            before_stop: Vec::new(),
            bytes: Vec::new(),
            other_policy: None,
            config_edit: None,
            config_from_start: None,
            dry_run: None,
            heads: true,
            commits: vec![("ann <ann@market.example>", vec!["bob <bob@market.example>"], None)],
            instances_go_back: false,
            istio: Vec::new(),
            own_check: None,
        }
    }

    /// Replaces a text that must be there.
    pub(crate) fn replace(text: &mut String, from: &str, to: &str) {
        assert!(text.contains(from), "there is no `{from}` in\n{text}");
        *text = text.replacen(from, to, 1);
    }

    /// Examines it.
    pub(crate) fn audit(&self) -> Assessment {
        let law = authorizer(&self.policy);
        let mut bundles = Vec::new();
        if let Some((_, other)) = &self.other_policy {
            bundles.push(("other".to_owned(), authorizer(other)));
        }
        let (logs, heads) = self.logs(&law);
        let commits: Vec<Commit> = self.commits.iter().enumerate().map(|(n, c)| self.commit(n, c, &law)).collect();
        bundles.push(("market".to_owned(), law));
        let revision = bundles.last().map(|(_, law)| law.revision().to_string()).unwrap();
        let mut governance = self.governance.replace("REVISION", &revision);
        if self.runs {
            for day in (1..self.days).rev() {
                let of = start().plus_ms(-day * DAY).date();
                governance.push_str(&format!("---\nkind: AuditRun\nname: d{day}\nof: {of}\non: {of}\nby: [ann]\n"));
            }
        }
        let read = Governance::read(&[("g.yaml", governance.clone().into_bytes())]);
        let governance = read.unwrap_or_else(|e| panic!("{}", e.iter().map(portreeve_engine::Diagnostic::render).collect::<String>()));
        let configs =
            SERVICES.iter().map(|(name, ..)| EnforcerConfig::read(&format!("{name}.yaml"), self.config(name, true).as_bytes()).unwrap());
        let mut audit = Audit::new(bundles).logs(logs).heads(heads).governance(governance).configs(configs).commits(commits);
        for id in crate::controls::BUILT_IN {
            audit = audit.catalog(Catalog::built_in(id).unwrap());
        }
        if let Some(text) = self.own_check {
            audit = audit.own_checks(OwnChecks::compile(&[("own.rego".to_owned(), text.to_owned())]).unwrap());
        }
        audit.run(&mut |_| {}).unwrap()
    }

    fn commit(
        &self,
        n: usize,
        (author, approved_by, policy): &(&'static str, Vec<&'static str>, Option<&'static str>),
        law: &Authorizer,
    ) -> Commit {
        Commit {
            id: format!("c{n}"),
            author: (*author).to_owned(),
            at: start().plus_ms(-DAY * 400),
            approved_by: approved_by.iter().map(|a| (*a).to_owned()).collect(),
            revision: Some(policy.map_or(*law.revision(), |text| Digest::of(text.as_bytes()))),
        }
    }

    fn config(&self, service: &str, given: bool) -> String {
        let mut text = format!(
            "service: {service}\nbundle: {{path: m.tar.gz, key: bundle.pub}}\ninbound: [{{listen: '0.0.0.0:8443', upstream: '127.0.0.1:8080'}}]\n\
             log: {{path: d.ndjson, durability: written, heads: {{every: 60s, to: h.ndjson, key: k}}}}\nadmin: {{listen: '127.0.0.1:9901'}}\nmode: enforce\n"
        );
        for (from, to) in self.config_from_start.into_iter().chain(self.config_edit.filter(|_| given)) {
            Self::replace(&mut text, from, to);
        }
        text
    }

    fn logs(&self, law: &Authorizer) -> (Vec<LogSource>, VerifiedHeads) {
        let signer = HeadSigner::from_seed(&[7; 32]);
        let mut heads = String::new();
        let mut logs = Vec::new();
        for (service, ..) in SERVICES {
            let mut out = Vec::new();
            let mut after: Option<After> = None;
            for day in (0..self.days).rev() {
                let back = if self.instances_go_back && day == 0 { 1 } else { 0 };
                let at = start().plus_ms(-(day + back) * DAY - back * 1000);
                let today = day == 0;
                let other = self.other_policy.as_ref().filter(|(name, _)| today && *name == service).map(|(_, text)| authorizer(text));
                let law = other.as_ref().unwrap_or(law);
                let mode = if self.dry_run == Some(service) && today { Mode::DryRun } else { Mode::Enforce };
                let config = Digest::of(self.config(service, false).as_bytes());
                let instance = format!("{service}-{day:03}");
                let mut log = Log::start_with(service, &instance, *law.revision(), (at, config), after.take(), mode);
                if today {
                    self.today(&mut log, law);
                }
                log.heartbeat(0);
                log.stop();
                if self.heads {
                    let head = signer.sign(&instance, log.chain.next_seq() - 1, log.chain.head(), log.at);
                    heads.push_str(&(serde_json::to_string(&head).unwrap() + "\n"));
                }
                after = Some(log.after());
                let edit = self.bytes.iter().find(|(name, _)| today && *name == service);
                out.extend(edit.map_or_else(|| log.out.clone(), |(_, edit)| edit(&log.out)));
            }
            logs.push(memory(service, &out));
        }
        if !self.istio.is_empty() {
            logs.push(memory("istio", self.istio.concat().as_bytes()));
        }
        (logs, VerifiedHeads::read(heads.as_bytes(), &[signer.verifier()]).unwrap())
    }

    fn today(&self, log: &mut Log, law: &Authorizer) {
        let service = log.service.clone();
        for ask in self.asks.iter().filter(|a| a.to == service) {
            let jwt = serde_json::json!({"iss": "https://idp", "sub": "ann", "aud": [ask.to], "scope": ""});
            let mut decided = log.answered(law, &id(ask.from), ask.method, ask.path, ask.user.then_some(jwt));
            if let Some(alter) = ask.alter {
                alter(&mut decided);
            }
            let is_allow = decided.decision.effect == Effect::Allow;
            let of = log.decide(decided);
            if is_allow {
                log.end(of);
            }
        }
        if service == "invoices" {
            outward(log, law);
        }
        let edits: Vec<_> = self.before_stop.iter().filter(|(name, _)| *name == service).map(|(_, edit)| *edit).collect();
        edits.into_iter().for_each(|edit| edit(log));
    }
}

/// A call to a place outside, recorded by its caller.
fn outward(log: &mut Log, law: &Authorizer) {
    let mut decided = log.question("invoices", "/", None, Effect::Deny, portreeve_engine::decision::Reason::UnknownService, &[]);
    decided.side = Some(Side::Outbound);
    (decided.tls, decided.source.ip, decided.destination.id) = (None, None, None);
    decided.destination.service = "cards".to_owned();
    (decided.request.method, decided.request.path, decided.request.port) = (None, None, Some(443));
    decided.request.host = Some("api.cards.example:443".to_owned());
    let request = decided.request(log.at.plus_ms(1000), portreeve_engine::path::Paths::Strict).unwrap();
    let decision = law.decide(&request);
    decided.request.operation = decision.operation.map(str::to_owned);
    decided.decision = portreeve_engine::record::Answer::from(&decision);
    let is_allow = decision.is_allow();
    let of = log.decide(decided);
    if is_allow {
        log.end(of);
    }
}

/// A grant with everything a grant should have, and more lines at its end.
pub(crate) fn grant(from: &str, to: &str, operation: &str, more: &str) -> String {
    format!(
        "---\nkind: Permission\nname: {from}-{to}-{operation}\nallow: {{from: [{from}], to: {to}, operations: [{operation}]}}\n\
         justification: Somebody needs it.\nowner: team\napproved_by: [security]\nreview_by: 2027-05-01\n{more}"
    )
}

fn reviews() -> String {
    let review = |of: &str| {
        format!("---\nkind: Review\nname: {of}\nof: {of}\non: 2026-11-01\nby: [security]\nrevision: REVISION\nacknowledged_by: [board]\n")
    };
    crate::governance::Subject::ALL.iter().map(|s| review(s.0)).collect()
}

const GOVERNANCE: &str = "kind: Scope
name: market
cde: {zones: [cde]}
connected_to: {zones: [inner, tenant-a, tenant-b]}
security_impacting: {zones: [edge, ops]}
out_of_scope: {zones: [staging]}
sensitive_data: [pan]
untrusted_zones: [edge]
public: [invoices/read, shop-a/read]
environments:
  - {name: live, production: true, zones: [edge, inner, cde, ops, tenant-a, tenant-b]}
  - {name: stage, zones: [staging]}
tenants:
  - {name: a, zones: [tenant-a]}
  - {name: b, zones: [tenant-b]}
provider: {zones: [edge, inner, cde, ops, staging]}
networks:
  - {name: internet, open_public: true, zones: [edge]}
  - {name: inside, addresses: [10.0.0.0/8], zones: [inner, cde, ops, tenant-a, tenant-b, staging]}
third_parties:
  - {name: cards, services: [cards], hosts: [api.cards.example]}
cryptography:
  - {version: TLSv1.3, purpose: between services}
administration: {services: [console]}
log_stores: {services: [vault]}
log_readers: {services: [items]}
approvers: [security]
---
kind: Certificate
name: workloads
identities: ['spiffe://market.example/**']
owner: security
issuer: ours
algorithm: ECDSA P-256
purpose: mutual authentication
";

/// A day.
pub(crate) const DAY: i64 = 86_400_000;

/// A time of today.
pub(crate) fn today(seconds: i64) -> Timestamp {
    start().plus_ms(seconds * 1000)
}
