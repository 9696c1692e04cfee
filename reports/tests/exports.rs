//! Every format for other tools, held against a judge from outside: the schemas of OSCAL, SARIF, OCSF and JUnit, and a plain
//! reading of CSV. What a format must never say is looked for too.

#![expect(clippy::disallowed_methods, reason = "xmllint is a judge from outside")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot read what it tests has failed")]

#[expect(unreachable_pub, dead_code, reason = "shared with the other tests of this crate and the browser test of the workspace")]
#[cfg(test)]
mod sample;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use jsonschema::Validator;
use portreeve_auditor::Earlier;
use portreeve_auditor::assessment::{Assessment, ControlResult, Verdict};
use portreeve_auditor::baseline::compare;
use portreeve_reports::{Format, Options};
use serde_json::Value;

/// A plain assessment, a hostile one, an empty one, one with a baseline, and one with every verdict.
fn all() -> Vec<Assessment> {
    vec![sample::market(), sample::hostile(), Assessment::default(), compared(), every_verdict()]
}

fn compared() -> Assessment {
    let mut before = sample::market();
    let mut now = sample::market();
    before.findings.remove(0);
    now.findings.pop();
    let before = Earlier::read("before.json", &serde_json::to_vec(&before).unwrap()).unwrap();
    now.baseline = compare(&now, &[before]);
    now
}

fn every_verdict() -> Assessment {
    let mut a = sample::market();
    let control = a.controls[0].clone();
    let findings: Vec<String> = a.findings.iter().map(|f| f.id.clone()).collect();
    a.controls = Verdict::ALL
        .iter()
        .enumerate()
        .map(|(n, verdict)| ControlResult { id: format!("{n}.1"), verdict: *verdict, findings: findings.clone(), ..control.clone() })
        .collect();
    a
}

fn schema(name: &str) -> Validator {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/schemas").join(name);
    let schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    jsonschema::options().should_validate_formats(true).build(&schema).unwrap()
}

fn render(format: Format, a: &Assessment) -> Option<String> {
    let options = Options { policy_prefix: "policies/".to_owned() };
    let text = format.render(a, &options).unwrap();
    assert_eq!(text, format.render(&a.clone(), &options).unwrap(), "the same assessment, other bytes");
    if let Some(text) = &text {
        let lower = text.to_lowercase();
        assert!(!lower.contains("compliant") && !lower.contains("in place"), "words that belong to the assessor in {format:?}");
        assert!(text.is_empty() || text.ends_with('\n'), "{format:?} does not end its last line");
    }
    text
}

fn valid(validator: &Validator, document: &Value) {
    let errors: Vec<String> = validator.iter_errors(document).map(|e| format!("{} at {}", e, e.instance_path())).take(5).collect();
    assert!(errors.is_empty(), "{errors:#?}");
}

#[test]
fn oscal_results_are_valid_and_never_a_bare_satisfied() {
    let validator = schema("oscal-assessment-results-1.1.3.json");
    for a in all() {
        let document: Value = serde_json::from_str(&render(Format::Oscal, &a).unwrap()).unwrap();
        valid(&validator, &document);
        let root = &document["assessment-results"];
        let result = &root["results"][0];
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let declared: BTreeSet<String> = list(&root["local-definitions"]["objectives-and-methods"])
            .iter()
            .map(|o| o["parts"][0]["id"].as_str().unwrap().to_owned())
            .collect();
        let findings = list(&result["findings"]);
        let want = |v: Verdict| a.controls.iter().filter(|c| c.verdict == v).count();
        assert_eq!(findings.len(), want(Verdict::MetTechnical) + want(Verdict::NotMet) + want(Verdict::Waived));
        for finding in &findings {
            let target = &finding["target"];
            assert!(declared.contains(target["target-id"].as_str().unwrap()), "a finding about something the document does not declare");
            assert!(target["target-id"].as_str().unwrap().ends_with(".technical"));
            let verdict = target["props"][0]["value"].as_str().unwrap();
            let state = (target["status"]["state"].as_str().unwrap(), target["status"]["reason"].as_str().unwrap());
            let expected = match verdict {
                "met-technical" => ("satisfied", "pass"),
                "not-met" => ("not-satisfied", "fail"),
                "waived" => ("not-satisfied", "other"),
                other => panic!("a finding with the verdict {other}"),
            };
            assert_eq!(state, expected);
            assert!(target["remarks"].as_str().unwrap().contains("not of the requirement"));
        }
        // Every control has its observation, and every reference leads somewhere.
        let observations: BTreeSet<String> = list(&result["observations"]).iter().map(|o| o["uuid"].as_str().unwrap().to_owned()).collect();
        assert!(observations.len() >= a.controls.len());
        assert_eq!(observations.len(), list(&result["observations"]).len(), "two observations with one identifier");
        let risks: BTreeSet<String> = list(&result["risks"]).iter().map(|o| o["uuid"].as_str().unwrap().to_owned()).collect();
        for finding in &findings {
            assert!(list(&finding["related-observations"]).iter().all(|o| observations.contains(o["observation-uuid"].as_str().unwrap())));
            assert!(list(&finding["related-risks"]).iter().all(|o| risks.contains(o["risk-uuid"].as_str().unwrap())));
        }
    }
    let mut wrong: Value = serde_json::from_str(&render(Format::Oscal, &sample::market()).unwrap()).unwrap();
    wrong["assessment-results"]["results"][0]["findings"][0]["target"]["status"]["state"] = "perhaps".into();
    assert!(!validator.is_valid(&wrong), "the schema notices no mistake");
}

#[test]
fn a_plan_has_an_item_for_what_is_refuted_or_waived_and_for_nothing_else() {
    let validator = schema("oscal-poam-1.1.3.json");
    for a in all() {
        let open = a.controls.iter().filter(|c| matches!(c.verdict, Verdict::NotMet | Verdict::Waived)).count();
        let Some(text) = render(Format::Poam, &a) else {
            assert_eq!(open, 0);
            continue;
        };
        let document: Value = serde_json::from_str(&text).unwrap();
        valid(&validator, &document);
        let items = document["plan-of-action-and-milestones"]["poam-items"].as_array().unwrap();
        assert_eq!(items.len(), open);
    }
    assert!(render(Format::Poam, &Assessment::default()).is_none());
}

#[test]
fn sarif_is_valid_and_points_at_lines() {
    let validator = schema("sarif-schema-2.1.0.json");
    for a in all() {
        let document: Value = serde_json::from_str(&render(Format::Sarif, &a).unwrap()).unwrap();
        valid(&validator, &document);
        let results = document["runs"][0]["results"].as_array().unwrap();
        let gone = a.baseline.as_ref().map_or(0, |b| b.findings.gone.len());
        assert_eq!(results.len(), a.findings.len() + gone);
        for (result, finding) in results.iter().zip(&a.findings) {
            assert_eq!(result["partialFingerprints"]["portreeveFinding/v1"], *finding.id);
            // A place without a line is none, and evidence of a log that is not listed either: only a hostile assessment has such.
            let names_line = finding.at.as_deref().and_then(|at| at.rsplit_once(':')).is_some_and(|(_, n)| n.parse::<u64>().is_ok());
            if names_line || finding.evidence.iter().any(|e| e.input < a.inputs.len()) {
                assert_eq!(result["locations"].as_array().unwrap().len(), 1, "{finding:?}");
            }
        }
    }
    let document: Value = serde_json::from_str(&render(Format::Sarif, &compared()).unwrap()).unwrap();
    let states: BTreeSet<&str> =
        document["runs"][0]["results"].as_array().unwrap().iter().map(|r| r["baselineState"].as_str().unwrap()).collect();
    assert_eq!(states, BTreeSet::from(["absent", "new", "unchanged"]));
    let places = document["runs"][0]["results"].as_array().unwrap();
    assert!(places.iter().filter(|r| r["baselineState"] != "absent").all(|r| r["locations"].as_array().unwrap().len() == 1));
    let at = sample::market().findings.into_iter().find_map(|f| f.at).unwrap();
    let (file, line) = at.rsplit_once(':').unwrap();
    let text = render(Format::Sarif, &sample::market()).unwrap();
    assert!(text.contains(&format!("\"uri\": \"policies/{file}\"")), "{file}");
    assert!(text.contains(&format!("\"startLine\": {line}")));
}

#[test]
fn ocsf_events_are_valid_and_pass_only_what_holds() {
    let validator = schema("ocsf-findings.json");
    for a in all() {
        let text = render(Format::Ocsf, &a).unwrap_or_default();
        let events: Vec<Value> = text.lines().filter(|l| !l.is_empty()).map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(events.len(), a.controls.len() + a.findings.len());
        for event in &events {
            valid(&validator, event);
        }
        for (event, control) in events.iter().zip(&a.controls) {
            let status = event["compliance"]["status_id"].as_u64().unwrap();
            let expected = match control.verdict {
                Verdict::MetTechnical => 1,
                Verdict::Suspect => 2,
                Verdict::NotMet => 3,
                _ => 99,
            };
            assert_eq!(status, expected);
        }
        let uids: BTreeSet<&str> = events.iter().map(|e| e["finding_info"]["uid"].as_str().unwrap()).collect();
        assert!(uids.len() == events.len() || a.subject == sample::hostile().subject);
    }
    let mut event: Value = serde_json::from_str(render(Format::Ocsf, &sample::market()).unwrap().lines().next().unwrap()).unwrap();
    event["severity_id"] = 17.into();
    assert!(!validator.is_valid(&event), "the schema notices no mistake");
}

#[test]
fn junit_is_valid_and_skips_what_is_not_shown() {
    let xsd = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/schemas/JUnit.xsd");
    for a in all() {
        let text = render(Format::Junit, &a).unwrap();
        let count = |verdicts: &[Verdict]| a.controls.iter().filter(|c| verdicts.contains(&c.verdict)).count();
        assert_eq!(text.matches("<failure ").count(), count(&[Verdict::NotMet]));
        assert_eq!(text.matches("<error ").count(), count(&[Verdict::Suspect]));
        let skipped = [Verdict::NeedsHuman, Verdict::NotAssessed, Verdict::NotApplicable, Verdict::Waived];
        assert_eq!(text.matches("<skipped ").count(), count(&skipped));
        assert_eq!(text.matches("<testcase ").count(), a.controls.len());
        let spawned = Command::new("xmllint")
            .args(["--nonet", "--noout", "--schema", xsd.to_str().unwrap(), "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = spawned else {
            println!("skipped: there is no xmllint here");
            return;
        };
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Reads CSV as RFC 4180 has it.
fn read_csv(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\r' if !quoted => {
                assert_eq!(chars.next(), Some('\n'));
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            c => cell.push(c),
        }
    }
    assert!(row.is_empty() && cell.is_empty() && !quoted, "the last line does not end");
    rows
}

#[test]
fn csv_has_a_line_for_each_and_no_cell_acts() {
    for a in all() {
        let gone = a.baseline.as_ref().map_or(0, |b| b.findings.gone.len());
        for (format, rows) in
            [(Format::CsvFindings, a.findings.len() + gone), (Format::CsvControls, a.controls.len()), (Format::CsvEdges, a.edges.len())]
        {
            let read = read_csv(&render(format, &a).unwrap());
            assert_eq!(read.len(), rows + 1, "{format:?}");
            for row in &read {
                assert_eq!(row.len(), read[0].len(), "{format:?}");
                for cell in row {
                    assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell:?} acts in a spreadsheet");
                    assert!(!cell.contains(['\n', '\t', '\u{0}', '\u{202e}']), "{cell:?}");
                }
            }
        }
    }
    let read = read_csv(&render(Format::CsvEdges, &sample::market()).unwrap());
    let allowed: u64 = read[1..].iter().map(|r| r[4].parse::<u64>().unwrap()).sum();
    assert_eq!(allowed, sample::market().edges.iter().map(|e| e.allowed).sum::<u64>());
}

#[test]
fn names_and_files_are_distinct() {
    let names: BTreeSet<&str> = Format::ALL.iter().map(|f| f.name()).collect();
    let files: BTreeSet<&str> = Format::ALL.iter().map(|f| f.file()).collect();
    assert_eq!((names.len(), files.len()), (Format::ALL.len(), Format::ALL.len()));
    assert!(Format::ALL.iter().all(|f| Format::named(f.name()) == Some(*f)));
    assert_eq!(Format::named("pdf"), None);
}
