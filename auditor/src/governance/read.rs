//! Reads each kind of resource. A field that is not known is refused with what was perhaps meant.

use std::collections::BTreeSet;

use portreeve_engine::diagnostic::Diagnostic;
use portreeve_engine::time::Date;
use portreeve_engine::yaml::{Fields, Node, Text, Value};
use portreeve_engine::{Location, Timestamp};

use super::records::{Alert, Attestation, AuditRun, Certificate, Disposition, Incident, Review, Subject};
use super::scope::{Class, Cryptography, Environment, Members, Network, NotApplicable, Scope, Tenant, ThirdParty};
use super::{Exception, Governance, Until, Waives};
use crate::checks::CHECKS;

/// The kinds.
pub(super) const KINDS: [&str; 9] =
    ["Scope", "Review", "Attestation", "Exception", "AuditRun", "Alert", "Incident", "Disposition", "Certificate"];

/// Reads one resource into `out`.
pub(super) fn resource(file: &str, node: &Node, out: &mut Governance, problems: &mut Vec<Diagnostic>) {
    let Some(mut fields) = Fields::of(file, node, problems) else { return };
    let Some(kind) = fields.require_text("kind", problems) else { return };
    if !KINDS.contains(&kind.text) {
        let mut problem = Diagnostic::error("unknown-kind", format!("`{}` is not a kind of governance", kind.text))
            .at(kind.location(file))
            .suggest(kind.text, KINDS);
        if problem.help.is_none() {
            problem = problem.help(format!("the kinds are: {}", KINDS.join(", ")));
        }
        return problems.push(problem);
    }
    let name = fields.require_text("name", problems).map(|t| t.text.to_owned());
    let mut reader = Reader { file, at: fields.location(), fields, problems };
    let r = &mut reader;
    match kind.text {
        "Scope" => scope(r, name, out),
        "Review" => out.reviews.extend(review(r, name)),
        "Attestation" => out.attestations.extend(attestation(r, name)),
        "Exception" => out.exceptions.extend(exception(r, name)),
        "AuditRun" => out.runs.extend(run(r, name)),
        "Alert" => out.alerts.extend(alert(r, name)),
        "Incident" => out.incidents.extend(incident(r, name)),
        "Disposition" => out.dispositions.extend(disposition(r, name)),
        _ => out.certificates.extend(certificate(r, name)),
    }
    let Reader { fields, problems, .. } = reader;
    fields.finish(problems);
}

/// The fields of one resource and the complaints about them.
struct Reader<'n, 'p> {
    file: &'n str,
    at: Location,
    fields: Fields<'n>,
    problems: &'p mut Vec<Diagnostic>,
}

impl<'n> Reader<'n, '_> {
    fn text(&mut self, name: &'static str) -> Option<String> {
        self.fields.text(name, self.problems).map(|t| t.text.to_owned())
    }

    fn required(&mut self, name: &'static str) -> Option<String> {
        self.fields.require_text(name, self.problems).map(|t| t.text.to_owned())
    }

    fn list(&mut self, name: &'static str) -> Vec<String> {
        self.fields.some_texts(name, self.problems).into_iter().map(|t| t.text.to_owned()).collect()
    }

    fn set(&mut self, name: &'static str) -> BTreeSet<String> {
        self.list(name).into_iter().collect()
    }

    /// A list that must be there and hold something.
    fn people(&mut self, name: &'static str) -> Option<Vec<String>> {
        self.fields.require(name, self.problems)?;
        let list = self.list(name);
        (!list.is_empty()).then_some(list)
    }

    fn parsed<T>(&mut self, name: &'static str) -> Option<T>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        self.fields.parse(name, self.problems)
    }

    fn must<T>(&mut self, name: &'static str) -> Option<T>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        self.fields.require(name, self.problems)?;
        self.parsed(name)
    }

    fn each<T>(&mut self, name: &'static str) -> Vec<T>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let texts = self.fields.some_texts(name, self.problems);
        texts.into_iter().filter_map(|text| self.read(text, name)).collect()
    }

    fn read<T>(&mut self, text: Text<'_>, name: &str) -> Option<T>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        let wrong = |e: T::Err| {
            Diagnostic::error("invalid-value", format!("`{}` is not acceptable for `{name}`: {e}", text.text)).at(text.location(self.file))
        };
        text.text.parse().map_err(|e| self.problems.push(wrong(e))).ok()
    }

    /// `90d`, as days.
    fn days(&mut self, name: &'static str) -> Option<i64> {
        let text = self.fields.text(name, self.problems)?;
        let days = text.text.strip_suffix('d').and_then(|n| n.parse::<u16>().ok()).filter(|n| *n > 0);
        if days.is_none() {
            let problem = Diagnostic::error("invalid-value", format!("`{}` is not acceptable for `{name}`", text.text));
            self.problems.push(problem.at(text.location(self.file)).help("write days, such as `90d`"));
        }
        days.map(i64::from)
    }

    /// Reads each item of a list of mappings.
    fn items<T>(&mut self, name: &'static str, mut read: impl FnMut(&mut Reader<'n, '_>) -> Option<T>) -> Vec<T> {
        let Some(node) = self.fields.take(name) else { return Vec::new() };
        let Value::Sequence(items) = &node.value else {
            let problem = Diagnostic::error("wrong-type", format!("expected a list, found {}", node.kind()));
            self.problems.push(problem.at(node.location(self.file)));
            return Vec::new();
        };
        items.iter().filter_map(|item| self.within(item, &mut read)).collect()
    }

    fn within<T>(&mut self, node: &'n Node, read: impl FnOnce(&mut Reader<'n, '_>) -> Option<T>) -> Option<T> {
        let fields = Fields::of(self.file, node, self.problems)?;
        let mut inner = Reader { file: self.file, at: fields.location(), fields, problems: self.problems };
        let value = read(&mut inner);
        let Reader { fields, problems, .. } = inner;
        fields.finish(problems);
        value
    }

    /// A mapping with `zones` and `services`.
    fn members_of(&mut self, name: &'static str) -> Members {
        let node = self.fields.take(name);
        node.and_then(|node| self.within(node, |r| Some(r.members()))).unwrap_or_default()
    }

    /// `zones` and `services` of this mapping.
    fn members(&mut self) -> Members {
        Members { zones: self.set("zones"), services: self.set("services") }
    }
}

fn scope(r: &mut Reader<'_, '_>, name: Option<String>, out: &mut Governance) {
    if out.scope.is_given() {
        let problem = Diagnostic::error("duplicate-scope", "there is a scope already");
        r.problems.push(problem.at(r.at.clone()).help("put both into one: a system has one scope"));
    }
    let classes = Class::ALL.map(|(field, _)| r.members_of(field));
    let scope = Scope {
        classes,
        sensitive_data: r.set("sensitive_data"),
        untrusted_zones: r.set("untrusted_zones"),
        public: r.set("public"),
        environments: r.items("environments", |r| {
            let production = r.fields.boolean("production", r.problems).unwrap_or(false);
            let (name, members) = (r.required("name"), r.members());
            Some(Environment { name: name?, production, members })
        }),
        tenants: r.items("tenants", |r| {
            let (name, members) = (r.required("name"), r.members());
            Some(Tenant { name: name?, members })
        }),
        provider: r.members_of("provider"),
        networks: r.items("networks", |r| {
            let open_public = r.fields.boolean("open_public", r.problems).unwrap_or(false);
            let (name, addresses, members) = (r.required("name"), r.each("addresses"), r.members());
            Some(Network { name: name?, addresses, open_public, members })
        }),
        third_parties: r.items("third_parties", |r| {
            let (name, services, hosts) = (r.required("name"), r.set("services"), r.set("hosts"));
            Some(ThirdParty { name: name?, services, hosts })
        }),
        cryptography: r.items("cryptography", |r| {
            let (version, suites, purpose) = (r.required("version"), r.set("suites"), r.required("purpose"));
            Some(Cryptography { version: version?, suites, purpose: purpose? })
        }),
        test_accounts: r.set("test_accounts"),
        administration: r.members_of("administration"),
        log_stores: r.members_of("log_stores"),
        log_readers: r.members_of("log_readers"),
        approvers: r.set("approvers"),
        service_provider: r.fields.boolean("service_provider", r.problems).unwrap_or(false),
        not_applicable: r.items("not_applicable", |r| {
            let (control, reason, approved_by) = (r.required("control"), r.required("reason"), r.people("approved_by"));
            Some(NotApplicable { control: control?, reason: reason?, approved_by: approved_by?, at: r.at.clone() })
        }),
        name: Some(name.unwrap_or_default()),
    };
    out.scope = scope;
}

fn review(r: &mut Reader<'_, '_>, name: Option<String>) -> Option<Review> {
    let of = r.fields.require_text("of", r.problems).and_then(|text| {
        let found = Subject::ALL.iter().find(|s| s.0 == text.text).map(|s| s.1);
        if found.is_none() {
            let known = Subject::ALL.map(|s| s.0);
            let mut problem = Diagnostic::error("invalid-value", format!("`{}` is nothing that a review is of", text.text))
                .at(text.location(r.file))
                .suggest(text.text, known);
            if problem.help.is_none() {
                problem = problem.help(format!("one of: {}", known.join(", ")));
            }
            r.problems.push(problem);
        }
        found
    });
    let (on, by, revision, covers) = (r.must("on"), r.people("by"), r.parsed("revision"), r.set("covers"));
    let (every_days, acknowledged_by, result) = (r.days("every"), r.list("acknowledged_by"), r.text("result").unwrap_or_default());
    let at = r.at.clone();
    Some(Review { name: name?, of: of?, on: on?, by: by?, revision, covers, every_days, acknowledged_by, result, at })
}

fn attestation(r: &mut Reader<'_, '_>, name: Option<String>) -> Option<Attestation> {
    let (statement, by, on) = (r.required("statement"), r.people("by"), r.must("on"));
    let (controls, revision, every_days) = (r.people("controls"), r.parsed("revision"), r.days("every"));
    let at = r.at.clone();
    Some(Attestation { name: name?, statement: statement?, by: by?, on: on?, controls: controls?, revision, every_days, at })
}

fn exception(r: &mut Reader<'_, '_>, name: Option<String>) -> Option<Exception> {
    let finding = r.text("finding");
    let check = r.fields.text("check", r.problems).map(|text| {
        if CHECKS.iter().all(|c| c.id != text.text) && !text.text.contains('.') {
            let problem = Diagnostic::warning("unknown-check", format!("no built-in check is called `{}`", text.text));
            let problem = problem.at(text.location(r.file)).suggest(text.text, CHECKS.iter().map(|c| c.id));
            // A check of the user's own may have any name; only what looks like a slip is refused.
            if problem.help.is_some() {
                r.problems.push(Diagnostic { severity: portreeve_engine::Severity::Error, ..problem });
            }
        }
        text.text.to_owned()
    });
    let (subject, control) = (r.text("subject"), r.text("control"));
    let (reason, approved_by, ticket, until) = (r.required("reason"), r.people("approved_by"), r.text("ticket"), r.required("until"));
    let waives = match (finding, check, subject, control) {
        (Some(id), None, None, None) => Some(Waives::Finding(id)),
        (None, Some(check), subject, None) => Some(Waives::Check { check, subject }),
        (None, None, None, Some(control)) => Some(Waives::Control(control)),
        _ => {
            let problem = Diagnostic::error("exception-shape", "this exception does not say what it excepts");
            r.problems.push(problem.at(r.at.clone()).help("write `finding`; or `check` and perhaps `subject`; or `control`"));
            None
        }
    };
    let until = until?.parse::<Date>().map_or_else(|_| r.text("until").map(Until::Malformed), |day| Some(Until::Day(day)));
    Some(Exception { name: name?, waives: waives?, reason: reason?, approved_by: approved_by?, ticket, until: until?, at: r.at.clone() })
}

fn run(r: &mut Reader<'_, '_>, name: Option<String>) -> Option<AuditRun> {
    let (of, on, by) = (r.must("of"), r.must("on"), r.people("by"));
    let (assessment, revision, open) = (r.parsed("assessment"), r.parsed("revision"), r.parsed("open_findings"));
    Some(AuditRun { name: name?, of: of?, on: on?, by: by?, assessment, revision, open_findings: open.unwrap_or(0), at: r.at.clone() })
}

/// `service`, `from` and `to`.
fn interval(r: &mut Reader<'_, '_>) -> Option<(String, Timestamp, Timestamp)> {
    let (service, from, to) = (r.required("service"), r.must::<Timestamp>("from"), r.must::<Timestamp>("to"));
    let (service, from, to) = (service?, from?, to?);
    if to < from {
        r.problems.push(Diagnostic::error("invalid-value", "`to` lies before `from`").at(r.at.clone()));
        return None;
    }
    Some((service, from, to))
}

fn alert(r: &mut Reader<'_, '_>, name: Option<String>) -> Option<Alert> {
    let (interval, raised) = (interval(r), r.must("raised"));
    let (service, from, to) = interval?;
    Some(Alert { name: name?, service, from, to, raised: raised?, at: r.at.clone() })
}

fn incident(r: &mut Reader<'_, '_>, name: Option<String>) -> Option<Incident> {
    let (interval, cause, action) = (interval(r), r.required("cause"), r.required("action"));
    let (closed, by) = (r.parsed("closed"), r.people("by"));
    let (service, from, to) = interval?;
    Some(Incident { name: name?, service, from, to, cause: cause?, action: action?, closed, by: by?, at: r.at.clone() })
}

fn disposition(r: &mut Reader<'_, '_>, name: Option<String>) -> Option<Disposition> {
    let (finding, ticket, by, closed) = (r.required("finding"), r.required("ticket"), r.people("by"), r.parsed("closed"));
    let confirmed = r.fields.boolean("confirmed", r.problems).unwrap_or(false);
    Some(Disposition { name: name?, finding: finding?, ticket: ticket?, by: by?, confirmed, closed, at: r.at.clone() })
}

fn certificate(r: &mut Reader<'_, '_>, name: Option<String>) -> Option<Certificate> {
    let (identities, sha256) = (r.each("identities"), r.each("sha256"));
    let (owner, issuer, algorithm) = (r.required("owner"), r.required("issuer"), r.required("algorithm"));
    let (purpose, location) = (r.required("purpose"), r.text("location"));
    if identities.is_empty() && sha256.is_empty() {
        let problem = Diagnostic::error("missing-field", "neither `identities` nor `sha256` says which certificates these are");
        r.problems.push(problem.at(r.at.clone()).help("add `identities:` with SPIFFE IDs or patterns, or `sha256:` with fingerprints"));
    }
    let at = r.at.clone();
    Some(Certificate {
        name: name?,
        identities,
        sha256,
        owner: owner?,
        issuer: issuer?,
        algorithm: algorithm?,
        purpose: purpose?,
        location,
        at,
    })
}
