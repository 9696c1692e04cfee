//! `audit` with what people declared: governance, configuration files, commits, and checks of their own, from the command line.

#![cfg(test)]

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::common::{root, run_in};

const MARKET: &str = "policies/marketplace";

/// `audit` of a log without a record.
fn audit(dir: &Path, more: &[&str]) -> common::Run {
    let log = dir.join("empty.ndjson");
    fs::write(&log, b"").unwrap();
    let always =
        ["audit", "--bundle", MARKET, "--log-format", "portreeve", log.to_str().unwrap(), "--fail-on", "never", "--format", "json"];
    run_in(root(), &[&always, more].concat(), b"")
}

fn assessed(dir: &Path, more: &[&str]) -> Value {
    let run = audit(dir, more);
    assert_eq!(run.code, 0, "{more:?}\n{}", run.err);
    serde_json::from_str(&run.out).unwrap()
}

fn control<'a>(assessment: &'a Value, id: &str) -> &'a Value {
    assessment["controls"].as_array().unwrap().iter().find(|c| c["id"] == id).unwrap()
}

fn git(dir: &Path, args: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=ann", "-c", "user.email=ann@example.org", "-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"])
        .args(args)
        .current_dir(dir)
        .output()
        .unwrap();
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn governance_is_read_from_its_folder() {
    let dir = TempDir::new().unwrap();
    let without = assessed(dir.path(), &[]);
    let with = assessed(dir.path(), &["--governance", "policies/governance"]);
    assert_ne!(control(&without, "1.3.3")["verdict"], "not-applicable");
    assert_eq!(control(&with, "1.3.3")["verdict"], "not-applicable");
    let files: Vec<&str> = with["governance"]["files"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    let wrong = dir.path().join("governance");
    fs::create_dir(&wrong).unwrap();
    fs::write(wrong.join("scope.yaml"), "kind: Scope\nname: x\nuntrusted_zone: [edge]\n").unwrap();
    for (folder, says) in [(wrong.to_str().unwrap(), "did you mean `untrusted_zones`"), ("no/such/folder", "no/such/folder")] {
        let run = audit(dir.path(), &["--governance", folder]);
        assert!(run.code == 2 && run.err.contains(says), "{}\n{}", run.code, run.err);
    }
}

#[test]
fn configuration_files_are_evidence_of_their_settings() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("items.yaml");
    fs::write(&file, "service: items\nmode: dry-run\nadmin: {listen: \"0.0.0.0:9901\"}\n").unwrap();
    let a = assessed(dir.path(), &["--config", file.to_str().unwrap()]);
    let config = &a["governance"]["configs"][0];
    assert_eq!((config["service"].as_str(), config["ran"].as_array().map(Vec::len)), (Some("items"), Some(0)));
    let unsafe_ones: Vec<&Value> = a["findings"].as_array().unwrap().iter().filter(|f| f["check"] == "unsafe_setting").collect();
    assert!(unsafe_ones.iter().any(|f| f["summary"].as_str().unwrap().contains("admin")), "{unsafe_ones:#?}");
    let run = audit(dir.path(), &["--config", "no/such.yaml"]);
    assert!(run.code == 2 && run.err.contains("no/such.yaml"), "{}", run.err);
}

#[test]
fn commits_say_who_agreed() {
    let dir = TempDir::new().unwrap();
    let repo = dir.path().join("repo");
    fs::create_dir_all(repo.join("policies")).unwrap();
    git(&repo, &["init", "-q"]);
    for file in ["inventory.yaml", "permissions.yaml"] {
        fs::copy(root().join(MARKET).join(file), repo.join("policies").join(file)).unwrap();
    }
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "-q", "-m", "First\n\nReviewed-by: Bea <bea@example.org>"]);
    let a = assessed(dir.path(), &["--commits", &format!("{}:policies", repo.display())]);
    let history = a["governance"]["history"].as_array().unwrap();
    assert_eq!(history.len(), 1);
    assert!(history[0]["author"].as_str().unwrap().contains("ann"), "{history:#?}");
    assert!(history[0]["approved_by"][0].as_str().unwrap().contains("bea"), "{history:#?}");
    let run = audit(dir.path(), &["--commits", &format!("{}:policies", dir.path().display())]);
    assert_eq!(run.code, 2, "{}", run.err);
}

#[test]
fn checks_of_a_house_judge_its_own_catalogue() {
    let dir = TempDir::new().unwrap();
    let own = ["--checks", "policies/checks", "--catalog", "policies/checks/house.yaml"];
    let a = assessed(dir.path(), &own);
    assert_eq!(a["catalogs"], serde_json::json!(["house"]));
    assert_eq!(control(&a, "H1")["checks"], serde_json::json!(["shared_zone"]));
    // Without the folder the catalogue names checks that nobody has.
    let run = audit(dir.path(), &own[2..]);
    assert!(run.code == 2 && run.err.contains("there is no check `shared_zone`"), "{}", run.err);
    let broken = dir.path().join("broken.rego");
    fs::write(&broken, "package portreeve.checks.broken\n\nfinding contains f if { f := http.send({}) }\n").unwrap();
    let run = audit(dir.path(), &["--checks", broken.to_str().unwrap()]);
    assert!(run.code == 2 && run.err.contains("broken.rego:3"), "{}", run.err);
}
