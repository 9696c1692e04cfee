//! Assessments to render: a small market such as an auditor might hand over, the same with an attacker's text in every field,
//! and a large one. They are written by hand, so that a renderer cannot agree with its own source by accident.

mod declared;

use portreeve_auditor::assessment::{
    Assessment, BundleSummary, CertificateSummary, ChainVerdict, ControlResult, Coverage, DenialSummary, EdgeSummary, EnforcerSummary,
    Evidence, Finding, Input, InvariantSummary, Mark, MatrixCell, Period, RefusalSummary, Rejected, ServiceSummary, Summary, TlsSummary,
    Totals, Verdict, VerdictCount, Weight,
};
use portreeve_engine::{Digest, SpiffeId, Timestamp};

mod reading;

/// Names and zones of the market's services, as the inventory orders them.
const SERVICES: [(&str, &str, &str, &[&str]); 6] = [
    ("payments", "cde", "team-payments", &["pan"]),
    ("tokenizer", "cde", "team-payments", &["pan", "token"]),
    ("invoices", "core", "team-billing", &["token"]),
    ("items", "core", "team-catalogue", &[]),
    ("users", "core", "team-identity", &["personal"]),
    ("gateway", "edge", "team-platform", &[]),
];

/// A market of six services over 31 days.
pub fn market() -> Assessment {
    let mut a = plain();
    reading::add(&mut a);
    a
}

fn plain() -> Assessment {
    Assessment {
        tool: "portreeve 0.1.0".into(),
        subject: "marketplace".into(),
        catalogs: vec!["pci-dss-4.0.1".into()],
        catalog_titles: vec!["PCI DSS 4.0.1".into()],
        period: Some(Period { from: at("2026-10-15T00:00:03.120Z"), to: at("2026-11-14T23:59:58.004Z") }),
        inputs: inputs(),
        bundles: bundles(),
        totals: Totals {
            lines: 12_519_876,
            decided: 12_482_301,
            allowed: 12_481_849,
            denied: 452,
            refused: 38,
            refused_attempts: 1_204,
            lifecycle: 37_518,
            duplicates: 2,
            rejected: 17,
            mismatches: 0,
            not_replayable: 0,
            unrecorded: 3,
            ..Totals::default()
        },
        summary: summary(),
        controls: controls(),
        findings: findings(),
        services: services(),
        edges: edges(),
        matrix: matrix(),
        enforcers: enforcers(),
        certificates: certificates(),
        tls: vec![
            tls("TLSv1.3", "TLS13_AES_128_GCM_SHA256", 12_400_000),
            tls("TLSv1.2", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 82_301),
        ],
        refusals: vec![refusal("certificate-expired", 1_100, 30), refusal("no-certificate", 104, 8)],
        denials: vec![denial("no-permission", 380), denial("condition-unmet", 60), denial("undeclared-operation", 12)],
        invariants: vec![InvariantSummary {
            name: "cde-only-through-tokenizer".into(),
            statement: "Nothing in zone `edge` reaches data of class `pan` except through `tokenizer`.".into(),
            at: "invariants.yaml:3".into(),
            controls: vec!["pci-dss-4.0.1 1.4.4".into(), "own-catalogue A1".into()],
        }],
        governance: declared::governance(),
        analyses: declared::analyses(),
        method: vec![
            "Every line was read and every decision was asked again of the revision in force when it was taken.".into(),
            "The evidence is the enforcers’ own decision logs; traffic that passes no enforcer is not in them.".into(),
        ],
        ..Assessment::default()
    }
}

/// The market with an attacker's text in every field that is a text.
pub fn hostile() -> Assessment {
    let mut a = market();
    let evil = |n: usize| format!("{}{}", ATTACKS[n % ATTACKS.len()], n);
    a.tool = evil(0);
    a.subject = ATTACKS.join(" ");
    a.catalogs = vec![evil(1)];
    a.catalog_titles = vec![evil(2)];
    a.summary.sensitive_data = evil(3);
    a.summary.sensitive_reach = (0..ATTACKS.len()).map(evil).collect();
    for (n, input) in a.inputs.iter_mut().enumerate() {
        input.path = evil(n);
        input.format = evil(n + 1);
        input.rejected_examples = vec![Rejected { line: 1, why: evil(n + 2) }];
        input.faults = vec![Rejected { line: 2, why: evil(n + 3) }];
    }
    a.bundles.iter_mut().enumerate().for_each(|(n, b)| b.path = evil(n));
    for (n, c) in a.controls.iter_mut().enumerate() {
        (c.catalog, c.id, c.family) = (evil(1), evil(n), evil(n / 3));
        (c.title, c.why, c.cannot_show) = (evil(n + 1), evil(n + 2), evil(n + 3));
        (c.checks, c.needs) = (vec![evil(n)], vec![evil(n + 4)]);
        c.findings = vec![evil(n), "unknown\"><script>document.title='owned'</script>".into()];
    }
    for (n, f) in a.findings.iter_mut().enumerate() {
        (f.id, f.check, f.subject, f.summary) = (evil(n), evil(n + 1), evil(n + 2), evil(n + 3));
        f.services = vec![evil(n), evil(n + 3)];
        (f.remedy, f.at, f.controls) = (evil(n + 4), Some(evil(n + 5)), vec![format!("{} {}", evil(1), evil(n)), evil(n)]);
    }
    for (n, s) in a.services.iter_mut().enumerate() {
        (s.name, s.zone, s.owner, s.data) = (evil(n), Some(evil(n / 2)), Some(evil(n + 2)), vec![evil(n + 3)]);
    }
    for (n, e) in a.edges.iter_mut().enumerate() {
        (e.from, e.to, e.operation, e.policies) = (Some(evil(n)), evil(n + 1), Some(evil(n + 2)), vec![evil(n + 3)]);
    }
    for (n, c) in a.matrix.iter_mut().enumerate() {
        (c.from, c.to) = (evil(n % 6), evil((n + 1) % 6));
    }
    for (n, e) in a.enforcers.iter_mut().enumerate() {
        (e.service, e.instance, e.modes) = (Some(evil(n)), evil(n + 1), vec![evil(n + 2)]);
    }
    a.certificates.iter_mut().enumerate().for_each(|(n, c)| c.serial = evil(n));
    a.tls.iter_mut().enumerate().for_each(|(n, t)| (t.version, t.suite) = (evil(n), evil(n + 1)));
    a.refusals.iter_mut().enumerate().for_each(|(n, r)| r.reason = evil(n));
    a.denials.iter_mut().enumerate().for_each(|(n, d)| d.reason = evil(n + 2));
    a.invariants.iter_mut().for_each(|i| (i.name, i.statement, i.at, i.controls) = (evil(0), evil(1), evil(2), vec![evil(3)]));
    a.method = (0..ATTACKS.len()).map(evil).collect();
    declared::spoil(&mut a, evil);
    reading::spoil(&mut a, evil);
    a
}

/// A market of `count` services, each with a few neighbours.
pub fn crowd(count: usize) -> Assessment {
    let mut a = market();
    let zones = ["cde", "core", "edge", "ops"];
    let name = |n: usize| format!("service-{n:03}");
    a.services = (0..count)
        .map(|n| ServiceSummary {
            name: name(n),
            zone: Some(zones[n * zones.len() / count].into()),
            owner: Some("team".into()),
            data: Vec::new(),
            allowed: 1,
            denied: 0,
            observed: true,
        })
        .collect();
    let marks = [Mark::Used, Mark::UsedConditional, Mark::Unused, Mark::Denied, Mark::Shadow];
    a.matrix = (0..count)
        .flat_map(|n| [1, 2, 7, 31].map(|step| (n, (n + step) % count)))
        .map(|(from, to)| cell(&name(from), &name(to), marks[(from * 7 + to) % marks.len()], from % 5 == 0, 10, 2))
        .collect();
    a
}

/// A crowd about which there is much to say: `findings` of forty kinds, each with five raw lines and under two controls, and two
/// operations between each pair.
pub fn busy(services: usize, findings: usize) -> Assessment {
    let mut a = crowd(services);
    let weights = [Weight::High, Weight::Medium, Weight::Low];
    a.findings = (0..findings)
        .map(|n| {
            let (from, to) = (n % services, (n * 7 + 1) % services);
            let mut it = finding(&format!("kind_{}-{n:06}", n % 40), weights[n * 3 / findings], "", a.controls[n % 16].id.as_str());
            it.subject = format!("service-{from:03} → service-{to:03} read-item");
            it.services = vec![format!("service-{from:03}"), format!("service-{to:03}")];
            it.summary = format!("`service-{from:03}` asked `service-{to:03}` {n} times for what it does not declare");
            it.remedy = "Declare the operation if it exists; otherwise ask the caller's owner.".into();
            it.controls =
                vec![format!("pci-dss-4.0.1 {}", a.controls[n % 16].id), format!("pci-dss-4.0.1 {}", a.controls[(n + 5) % 16].id)];
            it.at = Some(format!("permissions/{}.yaml:{n}", n % 60));
            (it.count, it.evidence) = (n as u64, (0..5).map(|k| evidence(n % 6, 17 + n as u64 + k)).collect());
            it
        })
        .collect();
    for control in &mut a.controls {
        let label = format!("{} {}", control.catalog, control.id);
        control.findings = a.findings.iter().filter(|f| f.controls.contains(&label)).map(|f| f.id.clone()).collect();
    }
    let operation = |cell: &MatrixCell, operation: &str| EdgeSummary {
        from: Some(cell.from.clone()),
        to: cell.to.clone(),
        operation: Some(operation.into()),
        allowed: cell.allowed_count,
        denied: cell.denied_count,
        policies: vec![format!("{}-{operation}", cell.from)],
        ..edges().remove(1)
    };
    a.edges = a.matrix.iter().flat_map(|cell| ["read-item", "write-item"].map(|name| operation(cell, name))).collect();
    a
}

/// The figure a `data-field` names, in the assessment's own JSON.
pub fn figure(assessment: &serde_json::Value, field: &str) -> Option<u64> {
    if let Some(verdict) = field.strip_prefix("summary.verdicts.") {
        let counts = assessment["summary"]["verdicts"].as_array()?;
        return counts.iter().find(|c| c["verdict"] == verdict)?["count"].as_u64();
    }
    if let Some(grade) = field.strip_prefix("reads.grades.") {
        return assessment["reads"]["grades"].as_array()?.iter().find(|c| c["grade"] == grade)?["count"].as_u64();
    }
    field.split('.').try_fold(assessment, |value, key| value.get(key))?.as_u64()
}

/// What attackers write into names, paths and reasons.
pub const ATTACKS: [&str; 8] = [
    "</script><script>document.title='owned'</script>",
    "\"><img src=x onerror=\"document.title='owned'\"><svg onload=document.title='owned'>",
    "'-alert(1)-' javascript:alert(1) {{7*7}} ${7*7} <!-- <!--<script> ]]> <style>*{display:none}</style>",
    "\u{202e}txt.exe\u{2066}\u{200b}\u{2028}\u{0}\u{7f}\u{1b}[31m\r\nSet-Cookie: a=b",
    "e\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}\u{307}\u{308}\u{309}\u{30a} שלום مرحبا 漢字 👩‍👩‍👧",
    "@everyone #1 https://evil.example/x www.evil.example [x](javascript:alert(1)) | ``` `code` *b* _i_ ~~s~~ <b>bold</b>",
    "&lt;script&gt;&amp;#x3c;\\u003cscript\\u003e %3Cscript%3E",
    LONG,
];

/// Ten thousand bytes without a place to break.
const LONG: &str = match std::str::from_utf8(&[b'W'; 10_240]) {
    Ok(text) => text,
    Err(_) => "",
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn id(service: &str) -> SpiffeId {
    format!("spiffe://market.example/ns/shop/sa/{service}").parse().unwrap()
}

fn inputs() -> Vec<Input> {
    let log = |service: &str, chain, lines| Input {
        path: format!("logs/{service}/decisions.ndjson.zst"),
        sha256: Digest::of(service.as_bytes()),
        format: "portreeve".into(),
        parquet: false,
        lines,
        rejected: 0,
        rejected_examples: Vec::new(),
        chain,
        faults: Vec::new(),
        open_ended: false,
        grades: vec![],
        coverage: Coverage::default(),
    };
    let mut out = vec![
        log("gateway", ChainVerdict::Vouched, 6_100_000),
        log("invoices", ChainVerdict::Vouched, 2_000_000),
        log("items", ChainVerdict::Broken, 1_419_876),
        log("payments", ChainVerdict::Vouched, 1_000_000),
        log("tokenizer", ChainVerdict::Vouched, 1_000_000),
        log("users", ChainVerdict::SelfConsistent, 1_000_000),
    ];
    out[2].faults = vec![Rejected { line: 881_202, why: "`seq` goes from 881201 to 881340".into() }];
    out[2].rejected = 17;
    out[2].rejected_examples = vec![Rejected { line: 881_203, why: "not JSON: expected value at column 1".into() }];
    out[5].open_ended = true;
    out
}

fn bundles() -> Vec<BundleSummary> {
    let bundle =
        |path: &str, records, policies| BundleSummary { path: path.into(), revision: Digest::of(path.as_bytes()), records, policies };
    vec![bundle("v1.4:policies/marketplace", 4_000_000, 58), bundle("policies/marketplace", 8_482_301, 61)]
}

fn summary() -> Summary {
    let counts = [6, 3, 1, 2, 2, 1, 1];
    Summary {
        verdicts: Verdict::ALL.into_iter().zip(counts).map(|(verdict, count)| VerdictCount { verdict, count }).collect(),
        examined: 10,
        controls: 16,
        sensitive_reach: vec!["gateway".into(), "invoices".into()],
        sensitive_data: "pan".into(),
        grants_unused: 6,
        grants: 61,
        denied_pairs: 3,
    }
}

fn controls() -> Vec<ControlResult> {
    use Verdict::{MetTechnical, NeedsHuman, NotApplicable, NotAssessed, NotMet, Suspect, Waived};
    let (network, transit, access) =
        ("1 · Network security controls", "4 · Protect data in transit", "7 · Restrict access by need to know");
    let (logs, tests, programme) = ("10 · Log and monitor", "11 · Test security regularly", "12 · Policies and programmes");
    let rows = [
        (
            "1.2.5",
            network,
            "Every allowed service, protocol and port is listed, owned and justified",
            NotMet,
            "4 of 61 grants have no business reason",
        ),
        (
            "1.3.1",
            network,
            "Inbound traffic to card systems is limited to what is needed",
            MetTechnical,
            "11 grants, denial by default proved; no other inbound in 12,482,301 records",
        ),
        (
            "1.3.2",
            network,
            "Outbound traffic from card systems is limited to what is needed",
            MetTechnical,
            "3 grants leave zone `cde`; all used",
        ),
        (
            "1.4.4",
            network,
            "Systems that store card data cannot be reached directly from untrusted networks",
            MetTechnical,
            "proved for all requests",
        ),
        ("4.2.1", transit, "Strong cryptography on open, public networks", Suspect, "82,301 of 12,482,301 requests on TLSv1.2"),
        ("4.2.1.1", transit, "An inventory of trusted keys and certificates is kept", MetTechnical, "6 identities, 6 certificates"),
        (
            "7.2.5",
            access,
            "System accounts have the least privilege they need",
            NotMet,
            "6 of 61 grants unused in 31 days, one wildcard into `cde`",
        ),
        ("7.2.5.1", access, "Access of system accounts is reviewed from time to time", NeedsHuman, "61 of 61 grants have a review date"),
        ("7.3.3", access, "Access control denies by default", MetTechnical, "proved; 452 denied requests recorded"),
        ("10.2.2", logs, "Records hold who, what, when, where and outcome", MetTechnical, "all six in 12,482,301 records"),
        (
            "10.3.4",
            logs,
            "Changes to logs are detected",
            NotMet,
            "4 of 6 chains verified to signed heads; `items` does not follow at line 881,202",
        ),
        ("10.5.1", logs, "Twelve months are kept, three at hand", NotAssessed, "only 31 days were given"),
        ("11.4.5", tests, "Segmentation is tested by penetration testing", NeedsHuman, "2 changes to segmentation since the last test"),
        ("11.5.1", tests, "Intrusion is detected at the perimeter", NotAssessed, "no input bears on it"),
        ("12.3.3", programme, "Ciphers and protocols in use are reviewed every 12 months", Waived, "exception EX-7, until 2027-01-31"),
        (
            "12.5.3",
            programme,
            "Scope is confirmed after significant organisational change",
            NotApplicable,
            "declared in the scope file, approved by `ciso`",
        ),
    ];
    rows.into_iter().map(|(id, family, title, verdict, why)| control(id, family, title, verdict, why)).collect()
}

fn control(id: &str, family: &str, title: &str, verdict: Verdict, why: &str) -> ControlResult {
    let findings: &[&str] = match id {
        "1.2.5" => &["unjustified_permission-3a41"],
        "4.2.1" => &["old_tls-77aa"],
        "7.2.5" => &["wildcard_permission-9c1e", "unused_permission-02bd"],
        "10.3.4" => &["broken_chain-5f10"],
        _ => &[],
    };
    let needs: &[&str] = match verdict {
        Verdict::NeedsHuman => {
            &["The dated minutes of the last review, with the names of those present", "The ticket of each change made after it"]
        }
        _ => &[],
    };
    ControlResult {
        catalog: "pci-dss-4.0.1".into(),
        id: id.into(),
        family: family.into(),
        title: title.into(),
        verdict,
        why: why.into(),
        checks: if verdict == Verdict::NotAssessed { Vec::new() } else { vec!["default_deny".into(), "unused_permission".into()] },
        findings: findings.iter().map(|f| (*f).into()).collect(),
        needs: needs.iter().map(|f| (*f).into()).collect(),
        attested: if id == "12.3.3" { vec!["`ciso` on 2026-10-01: ciphers were looked at".into()] } else { Vec::new() },
        cannot_show: "Traffic that passes no enforcer, and systems that are not in the inventory.".into(),
    }
}

fn findings() -> Vec<Finding> {
    let mut chain = finding("broken_chain-5f10", Weight::High, "logs/items/decisions.ndjson.zst", "pci-dss-4.0.1 10.3.4");
    chain.summary = "`items`: the chain of the log does not follow at line 881,202; 138 lines are missing".into();
    chain.remedy = "Find the cause; the hole stays in the evidence.".into();
    (chain.count, chain.evidence) = (1, vec![evidence(2, 881_202)]);

    let mut wildcard = finding("wildcard_permission-9c1e", Weight::High, "invoices-tokenize", "pci-dss-4.0.1 7.2.5");
    wildcard.summary = "A wildcard lets `invoices` call every operation of `tokenizer`; it used 1 of 4 in 31 days".into();
    wildcard.remedy = "Name the operations it needs.".into();
    wildcard.services = vec!["invoices".into(), "tokenizer".into()];
    wildcard.at = Some("permissions/billing.yaml:41".into());

    let mut unjustified = finding("unjustified_permission-3a41", Weight::Medium, "4 permissions", "pci-dss-4.0.1 1.2.5");
    unjustified.summary = "4 grants have no business justification".into();
    unjustified.remedy = "Add one to each, or remove it.".into();
    unjustified.at = Some("permissions/orders.yaml:12".into());

    let mut unused = finding("unused_permission-02bd", Weight::Medium, "6 permissions", "pci-dss-4.0.1 7.2.5");
    unused.summary = "6 grants were never used in 31 days".into();
    unused.remedy = "Remove them, or lengthen the window and look again.".into();
    unused.at = Some("permissions/users.yaml:7".into());

    let mut tls = finding("old_tls-77aa", Weight::Low, "users", "pci-dss-4.0.1 4.2.1");
    tls.summary = "82,301 requests from `users` ran on TLSv1.2".into();
    tls.remedy = "Upgrade the client.".into();
    tls.services = vec!["users".into()];
    (tls.count, tls.evidence) = (82_301, (0..5).map(|n| evidence(5, 17 + n)).collect());
    tls.controls.push("own-catalogue A2".into());
    tls.waived = Some(declared::waiver());
    unjustified.suspect = true;
    vec![chain, wildcard, unjustified, unused, tls]
}

fn finding(id: &str, severity: Weight, subject: &str, control: &str) -> Finding {
    Finding {
        id: id.into(),
        check: id.split_once('-').unwrap().0.into(),
        severity,
        subject: subject.into(),
        services: Vec::new(),
        summary: String::new(),
        remedy: String::new(),
        at: None,
        evidence: Vec::new(),
        count: 0,
        controls: vec![control.into()],
        ..Finding::default()
    }
}

fn evidence(input: usize, line: u64) -> Evidence {
    Evidence { input, line, sha256: Digest::of(&line.to_be_bytes()) }
}

fn services() -> Vec<ServiceSummary> {
    let service = |(name, zone, owner, data): &(&str, &str, &str, &[&str])| ServiceSummary {
        name: (*name).into(),
        zone: Some((*zone).into()),
        owner: (*owner != "team-platform").then(|| (*owner).into()),
        data: data.iter().map(|d| (*d).into()).collect(),
        allowed: 2_080_308,
        denied: 75,
        observed: true,
    };
    SERVICES.iter().map(service).collect()
}

fn edges() -> Vec<EdgeSummary> {
    let edge = |from: Option<&str>, to: &str, operation: Option<&str>, allowed, denied, policy: Option<&str>| EdgeSummary {
        from: from.map(Into::into),
        from_id: if from.is_none() { Some(id("stray")) } else { None },
        from_name: None,
        to: to.into(),
        operation: operation.map(Into::into),
        allowed,
        denied,
        declared: policy.is_some(),
        conditional: policy == Some("invoices-read-items"),
        policies: policy.into_iter().map(Into::into).collect(),
    };
    vec![
        edge(None, "items", Some("read-item"), 0, 12, None),
        edge(Some("gateway"), "users", Some("read-user"), 6_000_000, 0, Some("gateway-users")),
        edge(Some("gateway"), "invoices", Some("read-invoice"), 3_481_849, 60, Some("gateway-invoices")),
        edge(Some("invoices"), "items", Some("read-item"), 2_000_000, 0, Some("invoices-read-items")),
        edge(Some("invoices"), "tokenizer", Some("tokenize"), 1_000_000, 0, Some("invoices-tokenize")),
        edge(Some("users"), "items", None, 0, 380, None),
    ]
}

fn matrix() -> Vec<MatrixCell> {
    vec![
        cell("gateway", "users", Mark::Used, false, 6_000_000, 0),
        cell("gateway", "invoices", Mark::Used, true, 3_481_849, 60),
        cell("invoices", "items", Mark::UsedConditional, false, 2_000_000, 0),
        cell("invoices", "tokenizer", Mark::Used, false, 1_000_000, 0),
        cell("tokenizer", "payments", Mark::Shadow, false, 12, 0),
        cell("users", "invoices", Mark::Unused, false, 0, 0),
        cell("users", "items", Mark::Denied, true, 0, 380),
    ]
}

fn cell(from: &str, to: &str, mark: Mark, denied: bool, allowed_count: u64, denied_count: u64) -> MatrixCell {
    MatrixCell { from: from.into(), to: to.into(), mark, denied, allowed_count, denied_count }
}

fn enforcers() -> Vec<EnforcerSummary> {
    let enforcer = |(name, ..): &(&str, &str, &str, &[&str])| EnforcerSummary {
        enforcer: id(name),
        service: Some((*name).into()),
        instance: format!("01JD8Q7{}", name.to_uppercase()),
        from: at("2026-10-15T00:00:03.120Z"),
        to: at("2026-11-14T23:59:58.004Z"),
        decided: 2_080_383,
        unrecorded: if *name == "gateway" { 3 } else { 0 },
        revisions: bundles().iter().map(|b| b.revision).collect(),
        modes: vec!["enforce".into()],
        stopped: *name != "users",
        silence_ms_max: if *name == "items" { 8_040_000 } else { 60_004 },
    };
    SERVICES.iter().map(enforcer).collect()
}

fn certificates() -> Vec<CertificateSummary> {
    let certificate = |(name, ..): &(&str, &str, &str, &[&str])| CertificateSummary {
        id: id(name),
        serial: Digest::of(name.as_bytes()).hex().chars().take(16).collect(),
        sha256: Digest::of(name.as_bytes()),
        not_after: at("2026-11-15T09:00:00.000Z"),
        from: at("2026-11-14T09:00:00.000Z"),
        to: at("2026-11-14T23:59:58.004Z"),
        requests: 41_000,
    };
    SERVICES.iter().map(certificate).collect()
}

fn tls(version: &str, suite: &str, requests: u64) -> TlsSummary {
    TlsSummary { version: version.into(), suite: suite.into(), requests }
}

fn refusal(reason: &str, count: u64, lines: u64) -> RefusalSummary {
    RefusalSummary { reason: reason.into(), count, lines }
}

fn denial(reason: &str, count: u64) -> DenialSummary {
    DenialSummary { reason: reason.into(), count }
}
