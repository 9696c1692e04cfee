//! Clocks that disagree, as the logs of both proxies of a request show it.

#![cfg(test)]

use std::path::Path;

use portreeve_auditor::assessment::Finding;
use portreeve_auditor::{Audit, LogSource};
use portreeve_engine::{Authorizer, Bundle, SourceFile, Timestamp};

/// The findings about clocks of the logs of the called and of the calling side, each with its times shifted by some seconds.
fn skewed(called_by: i64, calling_by: i64) -> Vec<Finding> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/logs/istio");
    let text = std::fs::read_to_string(folder.join("access.json")).unwrap();
    let good = text.lines().filter(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    let (calling, called): (Vec<&str>, Vec<&str>) = good.partition(|line| line.contains("outbound|"));
    let log = |name: &str, lines: Vec<&str>, by: i64| {
        let shifted = lines.into_iter().map(|line| {
            let mut it: serde_json::Value = serde_json::from_str(line).unwrap();
            let at: Timestamp = it["start_time"].as_str().unwrap().parse().unwrap();
            it["start_time"] = at.plus_ms(by * 1000).to_string().into();
            it.to_string() + "\n"
        });
        LogSource::Memory { name: name.to_owned(), bytes: shifted.collect::<String>().into_bytes() }
    };
    let bytes = std::fs::read(folder.join("policy.yaml")).unwrap();
    let bundle = Bundle::from_files("istio", vec![SourceFile { path: "policy.yaml".to_owned(), bytes }]).unwrap();
    let law: Authorizer = Authorizer::compile(&bundle).authorizer.unwrap();
    let logs = [log("called", called, called_by), log("calling", calling, calling_by)];
    let a = Audit::new(vec![("istio".to_owned(), law)]).logs(logs).run(&mut |_| {}).unwrap();
    assert!(a.totals.duplicates > 30, "the sides are found whatever the clocks say");
    a.findings.into_iter().filter(|f| f.check == "clock_skew").collect()
}

#[test]
fn what_was_called_before_it_was_asked_for_proves_that_clocks_disagree() {
    for (called_by, calling_by) in [(-5, 0), (0, 5), (-2, 3)] {
        let found = skewed(called_by, calling_by);
        assert_eq!(found.len(), 1);
        let one = &found[0];
        assert_eq!((one.subject.as_str(), one.suspect), ("calling and called", false));
        assert!(one.count > 30 && one.summary.contains("`called` recorded") && one.summary.contains("by up to 5 s"), "{}", one.summary);
    }
}

#[test]
fn hours_are_told_as_well() {
    let found = skewed(-5 * 3600, 0);
    assert!(found.len() == 1 && !found[0].suspect && found[0].summary.contains("by up to 5 h"), "{found:?}");
}

#[test]
fn what_always_comes_late_is_in_doubt_and_what_agrees_is_not_told() {
    let found = skewed(90, 0);
    assert_eq!(found.len(), 1);
    assert!(found[0].suspect && found[0].summary.contains("at least 90 s after"), "{}", found[0].summary);
    assert_eq!(skewed(0, 0), []);
    assert_eq!(skewed(7, 7), [], "what both have in common nobody can see");
}
