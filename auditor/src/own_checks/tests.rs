//! Checks in Rego over what the real authorizer answered.

use super::*;
use crate::assessment::{Assessment, Verdict};
use crate::audit::Audit;
use crate::controls::Catalog;
use crate::testing::{Log, POLICY, authorizer, id, memory};

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

#[test]
fn the_schema_has_what_the_input_has() {
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let law = authorizer(POLICY);
    let mut log = Log::start("items", "items-1", *law.revision());
    log.ask(&law, &id("invoices"), "GET", "/v1/items/1");
    log.stop();
    // The document, as a check hands it back.
    let echo = "package portreeve.checks.echo\nfinding contains {\"subject\": \"input\", \"summary\": json.marshal(input)}\n";
    let audit =
        Audit::new(vec![("market".to_owned(), law)]).logs([memory("items", &log.out)]).own_checks(compile(&[("e.rego", echo)]).unwrap());
    let a = audit.run(&mut |_| {}).unwrap();
    let finding = a.findings.iter().find(|f| f.check == "echo").unwrap_or_else(|| panic!("{:?}", a.findings));
    let document: serde_json::Value = serde_json::from_str(&finding.summary).unwrap();
    let schema = input::json_schema();
    assert_eq!(keys(&document), keys(&schema["properties"]));
    for list in ["services", "policies", "edges", "tls"] {
        let item = &schema["properties"][list]["items"]["properties"];
        let first = document[list].as_array().unwrap().first().unwrap_or_else(|| panic!("{list} is empty"));
        assert_eq!(keys(first), keys(item), "{list}");
    }
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
    ] {
        let text = format!("{package}{body}");
        let said = compile(&[("c.rego", &text)]).unwrap_err();
        assert!(said.contains(want), "{body}: {said}");
    }
    let good = "finding contains name if { some name, _ in input.reach }\nfinding contains \"x\" if input[\"totals\"].decided > 0\n\
        finding contains k if { some k in [\"edges\"]; count(input[k]) > 1000 }\n";
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
