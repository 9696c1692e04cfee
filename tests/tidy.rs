//! What must stay true of the source tree, read from the tree itself: dependency edges (INV-1, INV-2, INV-3), headers, sizes,
//! words, and the pages that every diagnostic and dependency must have. What is not checked, drifts.

#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// `cargo metadata` for one platform, so that crates of other platforms need not be at hand.
fn metadata() -> &'static Value {
    static METADATA: OnceLock<Value> = OnceLock::new();
    METADATA.get_or_init(|| {
        let output = Command::new(env!("CARGO"))
            .current_dir(root())
            .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    })
}

const OURS: [&str; 6] = ["portreeve", "portreeve-engine", "portreeve-enforcer", "portreeve-auditor", "portreeve-reports", "portreeve-demo"];

/// Names of all crates that end up in `package` when it is built for use (not for its tests).
fn transitive(package: &str) -> BTreeSet<String> {
    let list = |value: &Value| value.as_array().unwrap().clone();
    let names: BTreeMap<String, String> = list(&metadata()["packages"])
        .iter()
        .map(|p| (p["id"].as_str().unwrap().to_owned(), p["name"].as_str().unwrap().to_owned()))
        .collect();
    let nodes: BTreeMap<String, Value> =
        list(&metadata()["resolve"]["nodes"]).into_iter().map(|n| (n["id"].as_str().unwrap().to_owned(), n)).collect();
    let mut open: Vec<String> = names.iter().filter(|(_, name)| *name == package).map(|(id, _)| id.clone()).collect();
    assert_eq!(open.len(), 1, "`{package}` is not one package of the workspace");
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        for dependency in list(&nodes[&id]["deps"]) {
            let normal = list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
            let next = dependency["pkg"].as_str().unwrap().to_owned();
            if normal && seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    seen.iter().map(|id| names[id].clone()).collect()
}

/// The crates that `package` itself names in its manifest, by kind (`normal`, `dev`, `build`).
fn direct(package: &str) -> BTreeSet<(String, String)> {
    let packages = metadata()["packages"].as_array().unwrap();
    let package = packages.iter().find(|p| p["name"] == package).unwrap();
    let dependencies = package["dependencies"].as_array().unwrap();
    let pair = |d: &Value| (d["name"].as_str().unwrap().to_owned(), d["kind"].as_str().unwrap_or("normal").to_owned());
    dependencies.iter().map(pair).collect()
}

#[test]
fn inv1_the_engine_has_no_runtime_no_network_no_tls_no_templates() {
    let all = transitive("portreeve-engine");
    for banned in ["tokio", "hyper", "hyper-util", "rustls", "tokio-rustls", "askama", "mio", "socket2", "reqwest"] {
        assert!(!all.contains(banned), "the engine pulls in `{banned}`");
    }
    assert!(all.contains("cedar-policy"), "the list of dependencies is not the engine's");
    for other in OURS {
        assert!(!all.contains(other), "the engine depends on `{other}`");
    }
}

#[test]
fn inv2_enforcer_and_auditor_know_only_the_engine() {
    assert!(!transitive("portreeve-enforcer").contains("portreeve-auditor"));
    assert!(!transitive("portreeve-auditor").contains("portreeve-enforcer"));
    for package in ["portreeve-enforcer", "portreeve-auditor"] {
        let all = transitive(package);
        assert!(all.contains("portreeve-engine"));
        assert!(!all.contains("portreeve-reports"), "{package}");
    }
    for banned in ["tokio", "hyper", "rustls", "askama"] {
        assert!(!transitive("portreeve-auditor").contains(banned), "the auditor pulls in `{banned}`");
    }
}

/// What the town sees from outside is held against the logs; a town that knew the auditor would mark its own homework.
#[test]
fn the_town_knows_the_gate_and_not_the_examiner() {
    let all = transitive("portreeve-demo");
    assert!(all.contains("portreeve-enforcer") && all.contains("portreeve-engine"));
    for banned in ["portreeve-auditor", "portreeve-reports", "portreeve"] {
        assert!(!all.contains(banned), "the town pulls in `{banned}`");
    }
    for package in ["portreeve-enforcer", "portreeve-auditor", "portreeve-reports"] {
        assert!(!transitive(package).contains("portreeve-demo"), "{package} pulls in the town");
    }
}

#[test]
fn inv3_reports_know_only_what_they_render() {
    let ours: BTreeSet<String> =
        direct("portreeve-reports").into_iter().map(|(name, _)| name).filter(|n| OURS.contains(&n.as_str())).collect();
    assert!(ours.is_subset(&BTreeSet::from(["portreeve-auditor".to_owned(), "portreeve-engine".to_owned()])), "{ours:?}");
    for banned in ["portreeve-enforcer", "tokio", "hyper", "rustls"] {
        assert!(!transitive("portreeve-reports").contains(banned), "reports pull in `{banned}`");
    }
}

/// ARCHITECTURE.md has a table `| crate | used by | reason |`; `(dev)` and `(build)` follow a package's short name.
#[test]
fn every_dependency_has_a_line_with_its_reason() {
    let mut documented = BTreeSet::new();
    for line in read("ARCHITECTURE.md").lines().filter(|l| l.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, users, reason] = cells.as_slice() else { continue };
        assert!(reason.len() > 10, "`{name}` has no reason");
        for user in users.split(", ") {
            let (user, kind) = user.split_once(' ').map_or((user, "normal"), |(u, k)| (u, k.trim_matches(['(', ')'])));
            let package = if user == "cli" { "portreeve".to_owned() } else { format!("portreeve-{user}") };
            documented.insert((name.trim_matches('`').to_owned(), kind.to_owned(), package));
        }
    }
    let mut actual = BTreeSet::new();
    for package in OURS {
        for (name, kind) in direct(package).into_iter().filter(|(name, _)| !OURS.contains(&name.as_str())) {
            actual.insert((name, kind, package.to_owned()));
        }
    }
    let missing: Vec<_> = actual.difference(&documented).collect();
    let stale: Vec<_> = documented.difference(&actual).collect();
    assert!(missing.is_empty() && stale.is_empty(), "ARCHITECTURE.md lacks {missing:#?}\nand names in vain {stale:#?}");
}

#[test]
fn deny_toml_bans_what_the_house_refuses() {
    let text = read("deny.toml");
    for needed in ["[advisories]", "[licenses]", "[bans]", "[sources]", "wrappers", "openssl"] {
        assert!(text.contains(needed), "deny.toml lacks `{needed}`");
    }
}

/// Files of the repo with this extension, without build output.
fn files(extension: &str) -> Vec<PathBuf> {
    let mut out = Vec::new();
    let mut open = vec![root().to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with('.') || name == "target" || name == "portreeve-demo" || path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                out.push(path.strip_prefix(root()).unwrap().to_path_buf());
            }
        }
    }
    out.sort();
    assert!(!out.is_empty(), "no `{extension}` files");
    out
}

#[test]
fn every_source_file_says_what_it_is_for() {
    for path in files("rs") {
        assert!(read(&path).starts_with("//!"), "{} does not open with `//!`", path.display());
    }
}

#[test]
fn no_source_file_is_too_long() {
    for path in files("rs") {
        let lines = read(&path).lines().count();
        assert!(lines <= FILE_LINES_MAX, "{} has {lines} lines, at most {FILE_LINES_MAX}", path.display());
    }
}

/// More than this does not fit a head.
const FILE_LINES_MAX: usize = 700;

#[test]
fn refused_words_are_not_used() {
    let this = Path::new("tests/tidy.rs");
    for path in files("rs").into_iter().filter(|p| p != this) {
        let text = read(&path);
        for (number, line) in text.lines().enumerate() {
            let at = format!("{}:{}: {line}", path.display(), number + 1);
            for word in line.split(|c: char| !c.is_alphanumeric() && c != '_') {
                let noun = ["Manager", "Handler", "Helper"].iter().any(|noun| word.ends_with(noun));
                // The path of another crate is not ours to name.
                let utils = word == "utils" && !line.contains("regorus::utils");
                assert!(!noun && !utils, "{at}");
            }
            // Rego and SARIF have the word in their own vocabulary; no type, function or module of ours is called so.
            let foreign = ["rego", "sarif"].iter().any(|w| path.to_string_lossy().contains(w));
            for keyword in ["struct ", "enum ", "trait ", "fn ", "mod "] {
                let name = line.split_once(keyword).map(|(_, name)| name.split(['(', '<', '{', ' ']).next().unwrap_or_default());
                let rule = name
                    .is_some_and(|n| n.split('_').any(|part| matches!(part, "rule" | "rules" | "Rule" | "Rules")) || n.starts_with("Rule"));
                assert!(foreign || !rule, "{at}");
            }
        }
    }
    for path in files("rs").into_iter().chain(files("md")).filter(|p| p != this) {
        for (number, line) in read(&path).lines().enumerate() {
            let lower = line.to_lowercase();
            let foreign = ["envoy", "istio", "mesh", "words we do not use"].iter().any(|w| lower.contains(w));
            assert!(
                foreign || (!lower.contains("audit mode") && !lower.contains("access log")),
                "{}:{}: {line}",
                path.display(),
                number + 1
            );
        }
    }
}

/// The codes that the sources hand to `Diagnostic::error` and `Diagnostic::warning`.
fn codes() -> BTreeMap<String, PathBuf> {
    let mut out = BTreeMap::new();
    for path in files("rs").into_iter().filter(|p| p != Path::new("tests/tidy.rs")) {
        let text = read(&path);
        for call in ["Diagnostic::error(", "Diagnostic::warning("] {
            for rest in text.split(call).skip(1) {
                let Some(rest) = rest.trim_start().strip_prefix('"') else { continue };
                let code = rest.split('"').next().unwrap();
                assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'), "`{code}` in {}", path.display());
                out.insert(code.to_owned(), path.clone());
            }
        }
        // Cedar's and Rego's faults pass through functions of their own; their codes are known by their beginning.
        for rest in text.split('"').skip(1).step_by(2).filter(|_| path.starts_with("engine/src")) {
            let known = ["cedar-", "rego-"].iter().any(|p| rest.starts_with(p) && rest.len() > p.len());
            if known && rest.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
                out.insert(rest.to_owned(), path.clone());
            }
        }
    }
    assert!(out.len() > 5, "the scan finds no codes");
    out
}

#[test]
fn every_diagnostic_has_its_section_in_the_book() {
    let book = read("docs/diagnostics.md");
    let sections: BTreeSet<&str> = book.lines().filter_map(|l| l.strip_prefix("## ")).map(str::trim).collect();
    let missing: Vec<_> = codes().into_iter().filter(|(code, _)| !sections.contains(code.as_str())).collect();
    assert!(missing.is_empty(), "docs/diagnostics.md has no section for {missing:#?}");
}

#[test]
fn links_between_pages_lead_somewhere() {
    for path in files("md") {
        let text = read(&path);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let full = root().join(path.parent().unwrap()).join(file);
            assert!(full.exists(), "{} links to `{target}`, which does not exist", path.display());
        }
    }
}
