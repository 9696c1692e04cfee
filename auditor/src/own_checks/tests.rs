//! Checks in Rego over what the real authorizer answered.

use super::*;
use crate::assessment::{Assessment, Verdict};
use crate::audit::Audit;
use crate::controls::Catalog;
use crate::testing::{Log, POLICY, authorizer, id, memory};
use crate::world::{World, ask};

const SHARED_ZONE: &str = include_str!("../../../policies/checks/shared_zone.rego");
const WRONG_DOOR: &str = include_str!("../../../policies/checks/wrong_door.rego");
const HOUSE: &str = include_str!("../../../policies/checks/house.yaml");

fn compile(files: &[(&str, &str)]) -> Result<OwnChecks, String> {
    let files: Vec<_> = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
    OwnChecks::compile(&files).map_err(|d| d.iter().map(Diagnostic::render).collect())
}

fn audit(policy: &str, own: Vec<OwnChecks>, denied: usize) -> Assessment {
    let law = authorizer(policy);
    let names: Vec<String> = own.iter().flat_map(|o| o.names().map(str::to_owned).collect::<Vec<_>>()).collect();
    let mut logs = Vec::new();
    for service in ["gateway", "invoices", "users", "items"] {
        let mut log = Log::start(service, &format!("{service}-1"), *law.revision());
        if service == "items" {
            log.ask(&law, &id("invoices"), "GET", "/v1/items/1");
            (0..denied).for_each(|_| _ = log.ask(&law, &id("users"), "GET", "/v1/items/1"));
        }
        log.stop();
        logs.push(memory(service, &log.out));
    }
    let catalog = Catalog::parse_with("house.yaml", HOUSE, &names).unwrap();
    let audit = Audit::new(vec![("market".to_owned(), law)]).logs(logs).catalog(catalog);
    own.into_iter().fold(audit, Audit::own_checks).run(&mut |_| {}).unwrap()
}

fn verdict(a: &Assessment, id: &str) -> (Verdict, String) {
    let control = a.controls.iter().find(|c| c.id == id).unwrap();
    (control.verdict, control.why.clone())
}

fn both() -> Vec<OwnChecks> {
    vec![compile(&[("shared_zone.rego", SHARED_ZONE), ("wrong_door.rego", WRONG_DOOR)]).unwrap()]
}

#[test]
fn the_example_meets_and_refutes() {
    let quiet = audit(POLICY, both(), 0);
    assert_eq!(verdict(&quiet, "H1").0, Verdict::MetTechnical, "{}", verdict(&quiet, "H1").1);
    assert_eq!(verdict(&quiet, "H2").0, Verdict::MetTechnical, "{}", verdict(&quiet, "H2").1);
    let shared = POLICY.replacen("zone: inner\noperations:\n  - {id: list", "zone: cde\ndata: [pan]\noperations:\n  - {id: list", 1);
    let loud = audit(&shared, both(), 3);
    assert_eq!(verdict(&loud, "H1").0, Verdict::NotMet, "{}", verdict(&loud, "H1").1);
    assert_eq!(verdict(&loud, "H2").0, Verdict::Suspect, "{}", verdict(&loud, "H2").1);
    let finding = loud.findings.iter().find(|f| f.check == "wrong_door").unwrap();
    assert_eq!((finding.subject.as_str(), finding.count, finding.evidence.len()), ("users → items", 3, 3));
    assert!(finding.at.as_deref().is_some_and(|at| at.starts_with("wrong_door.rego:")), "{finding:?}");
    assert!(finding.controls.contains(&"house H2".to_owned()));
    let again = audit(&shared, both(), 3);
    assert_eq!(serde_json::to_string(&loud).unwrap(), serde_json::to_string(&again).unwrap());
}

#[test]
fn a_check_that_fails_is_told_and_its_controls_are_not_assessed() {
    let other = "package portreeve.checks.wrong_door\nfinding contains {\"subject\": \"a\", \"summary\": \"b\"} if false\n";
    for (body, want) in [
        ("finding contains \"x\" if to_number(input.services[0].name) > 1\n", "could not be evaluated"),
        ("finding contains {\"subject\": \"x\"} if true\n", "missing field `summary`"),
        ("finding contains {\"subject\": \"x\", \"summary\": \"y\", \"severty\": \"low\"} if true\n", "unknown field `severty`"),
        ("finding contains {\"subject\": \"x\", \"summary\": \"y\", \"severity\": \"grave\"} if true\n", "grave"),
        ("finding contains 7 if true\n", "a finding has another shape"),
        ("finding contains {\"subject\": \"x\", \"summary\": \"y\", \"count\": -1} if true\n", "the finding about `x` has another shape"),
        ("finding contains {\"subject\": \"x\", \"summary\": \"y\", \"count\": 1e308 * 1000} if true\n", "could not be made"),
        ("finding := \"x\"\n", "is no set"),
    ] {
        let text = format!("package portreeve.checks.shared_zone\n{body}");
        let a = audit(POLICY, vec![compile(&[("a.rego", &text), ("b.rego", other)]).unwrap()], 0);
        let finding = a.findings.iter().find(|f| f.check == FAILED).unwrap_or_else(|| panic!("{body}"));
        assert!(finding.subject == "shared_zone" && finding.summary.contains(want), "{body}: {}", finding.summary);
        // Nobody sees the text in which the reader has its places; the check has one.
        assert!(!finding.summary.contains(" column "), "{body}: {}", finding.summary);
        assert!(finding.at.as_deref().is_some_and(|at| at.starts_with("a.rego:2")), "{:?}", finding.at);
        let (verdict, why) = verdict(&a, "H1");
        assert!(verdict == Verdict::NotAssessed && why.contains("shared_zone"), "{body}: {verdict:?} {why}");
    }
}

#[test]
fn names_are_known_to_catalogues_and_not_taken_twice() {
    let taken = compile(&[("a.rego", "package portreeve.checks.weak_tls\nfinding contains \"x\"\n")]).unwrap_err();
    assert!(taken.contains("a.rego:2") && taken.contains("built-in check `weak_tls`"), "{taken}");
    let unknown = Catalog::parse_with("house.yaml", HOUSE, &["shared_zones".to_owned(), "wrong_door".to_owned()]).unwrap_err();
    assert!(unknown[0].render().contains("did you mean `shared_zones`"), "{}", unknown[0].render());
}

/// Every key of a document is in the schema, and every key of the schema is in the document; `seen` are the ways that were gone.
fn fits(document: &serde_json::Value, schema: &serde_json::Value, way: &str, seen: &mut BTreeSet<String>) {
    seen.insert(way.to_owned());
    match document {
        serde_json::Value::Object(fields) => {
            if let Some(known) = schema["properties"].as_object() {
                for name in schema["required"].as_array().unwrap() {
                    assert!(fields.contains_key(name.as_str().unwrap()), "{way} lacks {name}");
                }
                for (name, value) in fields {
                    let known = known.get(name).unwrap_or_else(|| panic!("the schema has no {way}.{name}"));
                    fits(value, known, &format!("{way}.{name}"), seen);
                }
            } else {
                fields.values().for_each(|value| fits(value, &schema["additionalProperties"], &format!("{way}.*"), seen));
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| fits(item, &schema["items"], &format!("{way}[_]"), seen)),
        value => {
            let is_scalar = schema.get("properties").or_else(|| schema.get("items")).is_none() || value.is_null();
            assert!(is_scalar && schema.is_object(), "{way} is {value}");
        }
    }
}

/// What this world has none of: strangers refused, callers known by a name alone, findings of an exception, reviews of some services.
const UNSEEN: [&str; 4] = [
    "input.refusals[_]",
    "input.edges[_].from_name",
    "input.governance.exceptions[_].findings[_]",
    "input.governance.reviews[_].covers[_]",
];

/// All ways of a schema but those of mappings.
fn ways(schema: &serde_json::Value, way: &str, out: &mut BTreeSet<String>) {
    out.insert(way.to_owned());
    for (name, below) in schema["properties"].as_object().into_iter().flatten() {
        ways(below, &format!("{way}.{name}"), out);
    }
    if schema["items"].is_object() {
        ways(&schema["items"], &format!("{way}[_]"), out);
    }
}

#[test]
fn the_schema_has_what_the_input_has() {
    // The document, as a check hands it back.
    let echo = "package portreeve.checks.echo\nfinding contains {\"subject\": \"input\", \"summary\": json.marshal(input)}\n";
    let mut world = World::good();
    world.own_check = Some(echo);
    world.governance.push_str(
        "---\nkind: Exception\nname: e\nfinding: weak_tls-000000000000\nreason: r\napproved_by: [ann]\nuntil: 2026-12-31\n\
         ---\nkind: Attestation\nname: a\nstatement: s\nby: [ann]\non: 2026-11-01\ncontrols: [pci-1.3.3]\n",
    );
    World::replace(
        &mut world.governance,
        "name: market\n",
        "name: market\nnot_applicable: [{control: pci-1.3.3, reason: no wireless, approved_by: [ann]}]\n",
    );
    world.asks.push(ask("stranger", "items", "GET", "/v1/items/9"));
    let a = world.audit();
    let finding = a.findings.iter().find(|f| f.check == "echo").unwrap_or_else(|| panic!("{:?}", a.findings));
    let document: serde_json::Value = serde_json::from_str(&finding.summary).unwrap();
    let (mut seen, mut all) = (BTreeSet::new(), BTreeSet::new());
    let schema = input::json_schema();
    fits(&document, &schema, "input", &mut seen);
    ways(&schema, "input", &mut all);
    let unseen: Vec<_> = all.difference(&seen).filter(|way| !UNSEEN.iter().any(|unseen| way.starts_with(unseen))).collect();
    assert!(unseen.is_empty(), "{unseen:?}");
}

/// What is undefined finds nothing, and would look like a requirement that holds.
#[test]
fn a_slip_in_a_name_of_the_document_is_no_silence() {
    let package = "package portreeve.checks.slip\n";
    for (body, want) in [
        ("finding contains e.to if some e in input.egdes\n", "did you mean `edges`"),
        ("finding contains \"x\" if count(input.polices) > 0\n", "c.rego:2:"),
        ("import input.certs\nfinding contains \"x\" if count(certs) > 0\n", "`input` has no `certs`"),
        ("finding contains \"x\" if not helper\nhelper if input[\"logs\"]\n", "`input` has no `logs`"),
        ("finding contains e.to if { some e in input.edges; e.alowed > 0 }\n", "`input.edges[_]` has no `alowed`"),
        ("finding contains e.to if { some e in input.edges; e.alowed > 0 }\n", "c.rego:2:51"),
        ("finding contains e.to if { some e in input.edges; not e.evidence[0].lines }\n", "did you mean `line`"),
        ("finding contains input.services[i].name if { some i; input.services[i].zonne == \"a\" }\n", "did you mean `zone`"),
        ("finding contains s.name if { s := input.services[_]; s.sensitiv }\n", "did you mean `sensitive`"),
        ("finding contains n if { some s in input.services; t := s; n := t.nam }\n", "`input.services[_]` has no `nam`"),
        ("finding contains n if n := count([e | some e in input.edges; e.form])\n", "did you mean `from`"),
        ("import input.edges as lines\nfinding contains e.to if { some e in lines; e.form }\n", "did you mean `from`"),
        ("finding contains \"x\" if input.totals.denyed > 0\n", "`input.totals` has no `denyed`"),
        ("finding contains \"x\" if input.edges.allowed > 0\n", "`input.edges` is a list and has no `allowed`"),
        ("finding contains e.to.name if some e in input.edges\n", "`input.edges[_].to` is one value"),
        ("finding contains \"x\" if object.get(input.governance.scope, \"tenant\", []) != []\n", "did you mean `tenants`"),
        ("finding contains \"x\" if { some r in input.governance.reviews; r.overdu }\n", "did you mean `overdue`"),
        ("finding contains \"x\" if { some _, chain in input.reach; chain.first }\n", "is a list and has no `first`"),
    ] {
        let text = format!("{package}{body}");
        let said = compile(&[("c.rego", &text)]).unwrap_err();
        assert!(said.contains(want), "{body}: {said}");
    }
    let good = "finding contains name if { some name, _ in input.reach }\nfinding contains \"x\" if input[\"totals\"].decided > 0\n\
        finding contains k if { some k in [\"edges\"]; count(input[k]) > 1000 }\n\
        finding contains s.name if { some s in input.services; s.labels.whatever; input.reach[s.name][0]; input.reach.gateway }\n\
        finding contains e.to if { some e in input.edges; k := \"to\"; e[k]; e.from_id; e.evidence[0].sha256 }\n\
        finding contains e.to if { some e in [{\"to\": \"a\", \"own\": 1}]; e.own }\n\
        finding contains \"y\" if { some e in input.edges; f({\"own\": e.to}) }\nf(e) if e.own\n\
        finding contains \"z\" if { x := [e | some e in input.edges]; y := [e.own | some e in [{\"own\": 1}]]; count(x) > count(y) }\n\
        finding contains \"w\" if { every e in [{\"own\": 1}] { e.own }; some p in input.policies; p.id; some t, u in p.approved_by; t == u }\n\
        finding contains \"v\" if { input.period.from; not input.governance.scope.name }\n";
    assert!(compile(&[("c.rego", &format!("{package}{good}"))]).is_ok());
}

/// Whatever a check says, what nobody read is shown as no evidence.
#[test]
fn only_lines_that_were_read_are_evidence() {
    let zero = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let lines: Vec<String> = [(3, 1), (3, 0), (3, 999_999), (99, 1)]
        .map(|(input, line)| format!("{{\"input\": {input}, \"line\": {line}, \"sha256\": \"{zero}\"}}"))
        .into();
    let text = format!(
        "package portreeve.checks.wrong_door\nfinding contains {{\"subject\": \"s\", \"summary\": \"s\", \"evidence\": [{}]}}\n",
        lines.join(", ")
    );
    let own = compile(&[("shared_zone.rego", SHARED_ZONE), ("c.rego", &text)]).unwrap();
    let a = audit(POLICY, vec![own], 0);
    let finding = a.findings.iter().find(|f| f.check == "wrong_door").unwrap();
    assert_eq!(finding.evidence.iter().map(|e| (e.input, e.line)).collect::<Vec<_>>(), [(3, 1)]);
}
