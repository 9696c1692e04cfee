//! The program as its users run it: the built binary, real folders, exit codes, streams.
//!
//! `tests/corpus/bundles/bad/*` are mistakes people make; beside each stands `expected.txt`, what `check` says about it. With
//! `UPDATE_EXPECT=1` the snapshots are written anew: read them as a reader of the message would.

#![cfg(test)]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

mod common;

use common::{Run, root, run_in};

fn run(args: &[&str]) -> Run {
    run_in(root(), args, b"")
}

fn decisions(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

const MARKET: &str = "policies/marketplace";

#[test]
fn init_check_test_in_an_empty_folder() {
    let dir = TempDir::new().unwrap();
    assert_eq!(run_in(dir.path(), &["init", "repo"], b"").code, 0);
    let check = run_in(dir.path(), &["check", "repo", "--today", "2026-11-22"], b"");
    assert_eq!(check.code, 0, "{}", check.err);
    assert!(!check.err.contains("warning["), "the scaffold has warnings:\n{}", check.err);
    // What the workflow beside it runs; its commands are those that are tested here.
    let workflow = fs::read_to_string(dir.path().join("repo/.github/workflows/policies.yml")).unwrap();
    let commands: [&[&str]; 4] = [
        &["fmt", ".", "--check"],
        &["check", ".", "--format", "github"],
        &["check", ".", "--format", "sarif"],
        &["test", ".", "--format", "junit"],
    ];
    for args in commands {
        assert!(workflow.contains(&format!("portreeve {}", args.join(" "))), "{args:?} is not in\n{workflow}");
        let run = run_in(&dir.path().join("repo"), args, b"");
        assert_eq!(run.code, 0, "{args:?}: {}", run.err);
        assert!(!run.out.contains("::"), "{}", run.out);
    }
    let readme = fs::read_to_string(dir.path().join("repo/README.md")).unwrap();
    for verb in ["check", "test", "fmt", "diff", "bundle build", "why"] {
        assert!(readme.contains(&format!("portreeve {verb}")), "{verb}");
    }
    let test = run_in(dir.path(), &["test", "repo"], b"");
    assert_eq!(test.code, 0, "{}", test.err);
    assert!(test.err.contains("5 passed, 0 failed"), "{}", test.err);
    assert!(dir.path().join("repo/.github/workflows/policies.yml").exists());

    fs::write(dir.path().join("repo/tests.yaml"), "mine").unwrap();
    fs::remove_file(dir.path().join("repo/inventory.yaml")).unwrap();
    let again = run_in(dir.path(), &["init", "repo"], b"");
    assert_eq!(again.code, 2);
    assert!(again.err.contains("nothing is overwritten"), "{}", again.err);
    assert_eq!(fs::read_to_string(dir.path().join("repo/tests.yaml")).unwrap(), "mine");
    assert!(!dir.path().join("repo/inventory.yaml").exists(), "files were written although one was in the way");
}

#[test]
fn the_marketplace_is_valid_and_means_what_its_tests_say() {
    let check = run(&["check", MARKET, "--today", "2026-11-22"]);
    assert_eq!(check.code, 0, "{}", check.err);
    assert!(!check.err.contains("warning["), "{}", check.err);
    // Lints that compare dates know the day, and are no errors.
    let later = run(&["check", MARKET, "--today", "2027-03-01"]);
    assert_eq!(later.code, 0, "{}", later.err);
    assert!(later.err.contains("warning[review-overdue]: `invoices-copies-stock` was to be reviewed by 2026-12-31"), "{}", later.err);
    assert!(later.err.contains("kind: Permission") || later.err.contains("name: invoices-copies-stock"), "no excerpt\n{}", later.err);
    assert_eq!(run(&["check", MARKET, "--today", "2026-02-30"]).code, 2);
    let test = run(&["test", MARKET]);
    assert_eq!(test.code, 0, "{}", test.err);
}

#[test]
fn a_broken_invariant_of_the_marketplace_comes_with_the_path_that_breaks_it() {
    let dir = TempDir::new().unwrap();
    let market = dir.path().join("market");
    fs::create_dir(&market).unwrap();
    for file in ["inventory.yaml", "permissions.yaml", "invariants.yaml", "tenants.cedar", "pages.rego"] {
        fs::copy(root().join(MARKET).join(file), market.join(file)).unwrap();
    }
    let law = fs::read_to_string(market.join("invariants.yaml")).unwrap();
    let broken = law.replace(", except_through: [tokenizer]", "");
    assert_ne!(law, broken);
    fs::write(market.join("invariants.yaml"), broken).unwrap();
    let run = run_in(dir.path(), &["check", "market", "--today", "2026-11-22"], b"");
    assert_eq!(run.code, 1);
    let expected = "\
error[invariant-broken]: `card-data-only-through-tokenizer` does not hold: gateway → invoices → tokenizer is possible
  --> invariants.yaml:5:7
  |
5 | name: card-data-only-through-tokenizer
  |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  help: `GET invoices/v1/invoices` from `gateway` by `gateway-reads-invoices` (permissions.yaml:34); `POST tokenizer/v1/charges` from `invoices` by `invoices-charges-cards` (permissions.yaml:108)

error: `market` is invalid: 1 error
";
    assert_eq!(run.err, expected);
}

#[test]
fn every_mistake_is_told_as_expected() {
    let mut folders: Vec<PathBuf> = fs::read_dir(root().join("tests/corpus/bundles/bad")).unwrap().map(|e| e.unwrap().path()).collect();
    folders.sort();
    assert!(folders.len() >= 100, "only {} bundles", folders.len());
    let mut wrong = Vec::new();
    for folder in folders {
        // Run beside the bundle, so that no path of this machine is in the message.
        let name = folder.file_name().unwrap().to_str().unwrap();
        let run = run_in(folder.parent().unwrap(), &["check", name, "--today", "2026-11-22"], b"");
        let said = format!("exit code {}\n\n{}", run.code, run.err);
        assert_eq!(run.out, "", "{name}: people's output went to stdout");
        assert!(!run.err.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{name}: control characters reach the terminal");
        let expected = folder.join("expected.txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&expected, &said).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("--- {name}\n{said}"));
        }
        let code = if name == "empty" { 2 } else { 1 };
        if run.code != code || !run.err.contains("error[") {
            wrong.push(format!("--- {name} is not refused\n{said}"));
        }
    }
    assert!(wrong.is_empty(), "these differ from expected.txt (UPDATE_EXPECT=1 rewrites):\n{}", wrong.join("\n"));
}

#[test]
fn an_invalid_bundle_is_2_for_every_verb_but_check() {
    let bad = "tests/corpus/bundles/bad/unknown-service";
    assert_eq!(run(&["check", bad]).code, 1);
    for args in [&["test", bad][..], &["decide", "--bundle", bad]] {
        let run = run(args);
        assert_eq!(run.code, 2, "{args:?}\n{}", run.err);
        assert!(run.err.contains("unknown-name"), "{}", run.err);
        assert_eq!(run.out, "");
    }
}

#[test]
fn check_speaks_to_machines() {
    let bad = "tests/corpus/bundles/bad/many-faults";
    let json = run(&["check", bad, "--format", "json"]);
    assert_eq!(json.code, 1);
    let document: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(document["valid"], false);
    let all = document["diagnostics"].as_array().unwrap();
    assert!(all.len() >= 3, "{document}");
    assert_eq!(document["errors"].as_u64().unwrap() + document["warnings"].as_u64().unwrap(), all.len() as u64);
    for diagnostic in all {
        for field in ["code", "severity", "message"] {
            assert!(diagnostic[field].is_string(), "{diagnostic}");
        }
    }
    assert!(all.iter().any(|d| d["file"] == "inventory.yaml" && d["line"] == 4), "{document}");

    let github = run(&["check", bad, "--format", "github"]);
    assert_eq!(github.code, 1);
    assert!(github.out.lines().all(|l| l.starts_with("::error ") || l.starts_with("::warning ")), "{}", github.out);
    assert!(github.out.contains("file=tests/corpus/bundles/bad/many-faults/inventory.yaml,line=4,"), "{}", github.out);

    let valid = run(&["check", MARKET, "--format", "json"]);
    let document: Value = serde_json::from_str(&valid.out).unwrap();
    assert_eq!(document["valid"], true);
    assert!(document["revision"].as_str().unwrap().starts_with("sha256:"));
}

#[test]
fn check_tells_how_answers_come_about() {
    let dir = TempDir::new().unwrap();
    for entry in fs::read_dir(root().join(MARKET)).unwrap().map(Result::unwrap).filter(|e| e.path().is_file()) {
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    let rego = "# METADATA\n# custom:\n#   portreeve:\n#     services: [users]\npackage portreeve.night\n\nimport rego.v1\n\ndeny if time.clock(time.parse_rfc3339_ns(input.context.time))[0] < 4\n";
    fs::write(dir.path().join("night.rego"), rego).unwrap();
    let told = run_in(dir.path(), &["check", ".", "--cacheability"], b"");
    assert_eq!(told.code, 0, "{}", told.err);
    assert!(told.out.is_empty(), "{}", told.out);
    assert!(told.err.contains("`tenants-kept-apart` (tenants.cedar:12): kept under header `x-tenant`, claim `tenant`"), "{}", told.err);
    assert!(told.err.contains("`portreeve.night.deny` (night.rego:9): evaluated each time, because "), "{}", told.err);

    let json = run_in(dir.path(), &["check", ".", "--cacheability", "--format", "json"], b"");
    let document: Value = serde_json::from_str(&json.out).unwrap();
    let all = document["cacheability"].as_array().unwrap();
    let of = |id: &str| all.iter().find(|line| line["id"] == id).unwrap_or_else(|| panic!("{id}: {document}"));
    assert_eq!(of("tenants-kept-apart")["answered"], "kept");
    assert_eq!(of("tenants-kept-apart")["reads"], serde_json::json!(["header `x-tenant`", "claim `tenant`"]));
    assert_eq!(of("portreeve.night.deny")["answered"], "each-time");
    assert!(of("portreeve.night.deny")["because"].as_str().unwrap().contains("time"), "{document}");
    assert_eq!(of("prober-reads-health")["answered"], "from-table");
    assert_eq!(of("users-lists-invoices")["answered"], "in-place");
    let plain: Value = serde_json::from_str(&run_in(dir.path(), &["check", ".", "--format", "json"], b"").out).unwrap();
    assert!(plain.get("cacheability").is_none());
}

#[test]
fn sarif_validates_against_its_schema() {
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(root().join("tests/corpus/schemas/sarif-schema-2.1.0.json")).unwrap()).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let bad = root().join("tests/corpus/bundles/bad");
    for folder in fs::read_dir(bad).unwrap().map(|e| e.unwrap().path()).chain([root().join(MARKET)]) {
        let run = run_in(
            root(),
            &["check", folder.strip_prefix(root()).unwrap().to_str().unwrap(), "--today", "2026-11-22", "--format", "sarif"],
            b"",
        );
        if folder.ends_with("empty") {
            assert_eq!(run.code, 2);
            continue;
        }
        let document: Value = serde_json::from_str(&run.out).unwrap();
        let errors: Vec<String> = validator.iter_errors(&document).map(|e| format!("{e} at {}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", folder.display());
        let results = document["runs"][0]["results"].as_array().unwrap();
        assert_eq!(results.is_empty(), run.code == 0, "{}", folder.display());
    }
    // The schema would notice a mistake.
    assert!(!validator.is_valid(&serde_json::json!({"version": "2.1.0", "runs": [{"results": [{"level": "fatal"}]}]})));
}

#[test]
fn failing_tests_say_what_was_expected_and_what_came() {
    let dir = TempDir::new().unwrap();
    assert_eq!(run_in(dir.path(), &["init", "repo"], b"").code, 0);
    let mistaken = "kind: Test\nname: <mistaken> & \"odd\"\ncases:\n\
        - {as: orders, call: GET orders/v1/orders/42, expect: allow}\n\
        - {as: web, call: GET orders/v1/orders/42, expect: deny, because: no-permission}\n\
        - {as: web, call: GET orders/v1/orders/42, expect: allow, policies: []}\n";
    fs::write(dir.path().join("repo/mistaken.yaml"), mistaken).unwrap();
    let human = run_in(dir.path(), &["test", "repo"], b"");
    assert_eq!(human.code, 1);
    for needed in
        ["5 passed, 3 failed", "mistaken.yaml:4", "expected  allow", "came      deny, no-permission", "web-uses-orders", "nearest"]
    {
        assert!(human.err.contains(needed), "no `{needed}` in\n{}", human.err);
    }
    let json = run_in(dir.path(), &["test", "repo", "--format", "json"], b"");
    assert_eq!(json.code, 1);
    let document: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((document["passed"].as_u64(), document["failed"].as_u64()), (Some(5), Some(3)));
    let junit = run_in(dir.path(), &["test", "repo", "--format", "junit"], b"");
    assert_eq!(junit.code, 1);
    assert!(junit.out.contains("name=\"&lt;mistaken&gt; &amp; &quot;odd&quot;\""), "{}", junit.out);
    assert_eq!(junit.out.matches("<failure ").count(), 3);
    assert_eq!(junit.out.matches("<testcase ").count(), 8);

    fs::remove_file(dir.path().join("repo/mistaken.yaml")).unwrap();
    fs::remove_file(dir.path().join("repo/tests.yaml")).unwrap();
    let none = run_in(dir.path(), &["test", "repo"], b"");
    assert_eq!(none.code, 2, "no test cases is not a pass\n{}", none.err);
}

const ALLOWED: &str = r#"{"principal":"spiffe://market.example/ns/shop/sa/invoices","service":"items","method":"GET","path":"/v1/items/42?full=1","host":"items","context":{"time":"2026-11-22T10:00:00.000Z","source_ip":"10.0.0.7","headers":{"x-tenant":"eu"},"jwt":{"iss":"https://idp.market.example","sub":"ann","aud":["items"],"scope":"items:read"}}}"#;
const DENIED: &str = r#"{"principal":"spiffe://market.example/ns/shop/sa/users","service":"items","method":"GET","path":"/v1/items/42","context":{"time":"2026-11-22T10:00:00.000Z"}}"#;

#[test]
fn decide_answers_every_line_in_order() {
    let lines = [
        ALLOWED,
        DENIED,
        "not json",
        "",
        r#"{"principal":"spiffe://market.example/ns/shop/sa/invoices","service":"items","method":"GET","path":"/v1//items","context":{"time":"2026-11-22T10:00:00.000Z"}}"#,
        r#"{"principal":"spiffe://market.example/ns/shop/sa/invoices","service":"itmes","method":"GET","path":"/v1/items","context":{"time":"2026-11-22T10:00:00.000Z"}}"#,
        r#"{"principal":"spiffe://market.example/ns/shop/sa/invoices","service":"items","port":5432,"context":{"time":"2026-11-22T23:00:00.000Z","source_ip":"10.1.1.1"}}"#,
        r#"{"principal":"spiffe://market.example/ns/shop/sa/invoices","service":"items","method":"GET","path":"/v1/items/42","colour":"red","context":{"time":"2026-11-22T10:00:00.000Z"}}"#,
        r#"{"principal":"spiffe://market.example/ns/shop/sa/gateway","service":"users","method":"GET","path":"/v1/users/1","context":{"time":"2026-11-22T10:00:00.000Z","jwt":{"invalid":"expired"}}}"#,
        r#"{"principal":"spiffe://market.example/ns/shop/sa/tokenizer","service":"payments","method":"POST","path":"/v1/refunds","context":{"time":"2026-11-22T10:00:00.000Z"}}"#,
    ];
    let long = format!("{{\"principal\":\"{}\"}}", "x".repeat(3 << 20));
    let input = format!("{}\n{long}\n{ALLOWED}", lines.join("\n"));
    let run = run_in(root(), &["decide", "--bundle", MARKET], input.as_bytes());
    assert_eq!(run.code, 1, "{}", run.err);
    let answers = decisions(&run.out);
    let got: Vec<(&str, &str)> = answers.iter().map(|d| (d["effect"].as_str().unwrap(), d["reason"].as_str().unwrap())).collect();
    let want = [
        ("allow", "permitted"),
        ("deny", "no-permission"),
        ("deny", "malformed-request"),
        ("deny", "malformed-request"),
        ("deny", "malformed-request"),
        ("deny", "unknown-service"),
        ("allow", "permitted"),
        ("deny", "malformed-request"),
        ("deny", "invalid-token"),
        ("deny", "prohibited"),
        ("deny", "malformed-request"),
        ("allow", "permitted"),
    ];
    assert_eq!(got, want);
    assert_eq!(answers[0]["policies"][0]["id"], "invoices-reads-items");
    assert_eq!(answers[0]["operation"], "read-item");
    assert!(answers[0]["policies"][0]["at"].as_str().unwrap().starts_with("permissions.yaml:"));
    assert!(answers.iter().all(|d| d["revision"] == answers[0]["revision"] && d.get("nearest").is_none()));
}

#[test]
fn decide_exits_0_where_all_is_allowed_and_explains_denials() {
    let input = format!("{ALLOWED}\n{ALLOWED}\n");
    let run = run_in(root(), &["decide", "--bundle", MARKET, "--explain", "-"], input.as_bytes());
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(decisions(&run.out).iter().all(|d| d.get("nearest").is_none()));

    let unmet = r#"{"principal":"spiffe://market.example/ns/shop/sa/gateway","service":"users","method":"GET","path":"/v1/users/1","context":{"time":"2026-11-22T10:00:00.000Z"}}"#;
    let run = run_in(root(), &["decide", "--bundle", MARKET, "--explain"], unmet.as_bytes());
    assert_eq!(run.code, 1);
    let answer = &decisions(&run.out)[0];
    assert_eq!(answer["reason"], "condition-unmet");
    let nearest = answer["nearest"].as_array().unwrap();
    assert_eq!(nearest[0]["id"], "gateway-reads-users", "{answer}");
    assert!(!nearest[0]["lacks"].as_array().unwrap().is_empty(), "{answer}");
    assert!(nearest[0]["at"].as_str().unwrap().starts_with("permissions.yaml:"), "{answer}");
}

#[test]
fn the_same_bundle_has_the_same_revision_in_all_forms() {
    let dir = TempDir::new().unwrap();
    let sh = |program: &str, args: &[&str]| {
        let output = Command::new(program).args(args).current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    assert_eq!(run_in(dir.path(), &["init", "policies"], b"").code, 0);
    sh("git", &["init", "-q"]);
    sh("git", &["add", "."]);
    sh("git", &["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "begin"]);
    sh("tar", &["-czf", "built.tar.gz", "-C", "policies", "."]);
    let revision = |bundle: &str| -> String {
        let run = run_in(dir.path(), &["check", bundle, "--format", "json"], b"");
        assert_eq!(run.code, 0, "{bundle}: {}", run.err);
        serde_json::from_str::<Value>(&run.out).unwrap()["revision"].as_str().unwrap().to_owned()
    };
    let first = revision("policies");
    assert_eq!(revision("policies/"), first);
    assert_eq!(revision("HEAD:policies"), first);
    assert_eq!(revision("HEAD:./policies/"), first);
    assert_eq!(revision("built.tar.gz"), first);
    // From inside the folder, as a workflow of the repo itself names it.
    let inside = run_in(&dir.path().join("policies"), &["check", "HEAD:./", "--format", "json"], b"");
    assert!(inside.code == 0 && inside.out.contains(&first), "{}", inside.err);
    fs::write(dir.path().join("policies/extra.yaml"), "kind: Group\nname: all\nmembers: [web, orders]\n").unwrap();
    assert_ne!(revision("policies"), first);
    assert_eq!(revision("HEAD:policies"), first);
}

#[test]
fn archives_cannot_reach_outside() {
    let dir = TempDir::new().unwrap();
    let archive = |name: &str, path: &str, kind: tar::EntryType| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(0);
        header.set_mode(0o644);
        // Written as bytes: the builder itself would refuse such a path.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        let file = fs::File::create(dir.path().join(name)).unwrap();
        let mut builder = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::fast()));
        builder.append(&header, std::io::empty()).unwrap();
        builder.into_inner().unwrap().finish().unwrap();
    };
    archive("up.tar.gz", "../up.yaml", tar::EntryType::Regular);
    archive("root.tar.gz", "/etc/x.yaml", tar::EntryType::Regular);
    archive("link.tar.gz", "x.yaml", tar::EntryType::Symlink);
    fs::write(dir.path().join("plain.tar.gz"), "not an archive").unwrap();
    fs::write(dir.path().join("torn.tar.gz"), [0x1f, 0x8b, 8, 0, 0]).unwrap();
    for name in ["up.tar.gz", "root.tar.gz", "link.tar.gz", "plain.tar.gz", "torn.tar.gz", "nothing", "HEAD:nothing", "--:x"] {
        let run = run_in(dir.path(), &["check", "--", name], b"");
        assert_eq!(run.code, 2, "{name}: {}", run.err);
        assert!(run.err.starts_with("error: ") && run.err.contains(name), "{name}: {}", run.err);
    }
}

#[test]
fn usage_errors_are_2_and_help_is_0() {
    for args in [&["chekc", MARKET][..], &["check"], &["check", MARKET, "--format", "yaml"], &["decide"], &[]] {
        assert_eq!(run(args).code, 2, "{args:?}");
    }
    for verb in ["init", "check", "test", "decide", "why", "replay", "audit", "verify", "enforce"] {
        let help = run(&[verb, "--help"]);
        assert_eq!(help.code, 0);
        assert!(help.out.contains("Exit codes:"), "{verb}");
        assert!(help.out.contains("Example"), "{verb}");
    }
    assert!(run(&["--version"]).out.starts_with("portreeve "));
    let missing = run(&["decide", "--bundle", MARKET, "no-such-file"]);
    assert_eq!(missing.code, 2);
    assert!(missing.err.contains("`no-such-file`"), "{}", missing.err);
}

#[test]
fn a_closed_pipe_is_no_panic_and_no_yes() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(["decide", "--bundle", MARKET])
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let _ = stdin.write_all(format!("{ALLOWED}\n").repeat(2000).as_bytes());
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn enforce_check_says_whether_a_sidecar_could_run() {
    let dir = TempDir::new().unwrap();
    let ca = |args: &[&str]| {
        let run = run_in(dir.path(), &[&["ca"], args].concat(), b"");
        assert_eq!(run.code, 0, "{args:?}: {}", run.err);
    };
    ca(&["init", "--trust-domain", "market.example"]);
    ca(&["issue", "--id", "spiffe://market.example/ns/shop/sa/items", "--out", "items"]);
    ca(&["jwks", "--out", "jwks.json"]);
    // The configuration of README.md, with the bundle where it is.
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let config = readme.split("# enforcer.yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let config = config.replace("./policies/marketplace", root().join(MARKET).to_str().unwrap());
    fs::write(dir.path().join("enforcer.yaml"), &config).unwrap();
    let run = run_in(dir.path(), &["enforce", "--config", "enforcer.yaml", "--check"], b"");
    assert_eq!(run.code, 0, "{}", run.err);
    assert!(!dir.path().join("decisions.ndjson").exists(), "a check opens no log");

    fs::write(dir.path().join("enforcer.yaml"), config.replace("service: items", "service: users")).unwrap();
    let run = run_in(dir.path(), &["enforce", "--config", "enforcer.yaml", "--check"], b"");
    assert_eq!(run.code, 2, "the certificate is of another service\n{}", run.err);
    fs::write(dir.path().join("enforcer.yaml"), config.replace("health:", "heatlh:")).unwrap();
    let run = run_in(dir.path(), &["enforce", "--config", "enforcer.yaml", "--check"], b"");
    assert_eq!(run.code, 2);
    assert!(run.err.contains("unknown-field") && run.err.contains("did you mean `health`?"), "{}", run.err);
    assert_eq!(run_in(dir.path(), &["enforce", "--config", "none.yaml"], b"").code, 2);

    // What is wrong, where, and a way out.
    fs::create_dir_all(dir.path().join("broken")).unwrap();
    fs::write(dir.path().join("broken/a.yaml"), "kind: Service\nname: items\nidentites: []\n").unwrap();
    let bundle = root().join(MARKET).display().to_string();
    for (from, to, says) in [
        (
            bundle.as_str(),
            "./broken",
            "error: the bundle `./broken` is not valid:\nerror[unknown-field]: `identites` is not a field here\n  --> a.yaml:3:1\n",
        ),
        ("service: items", "service: itmes", "  help: did you mean `items`?\n"),
        ("items.key", "none.key", "`none.key`: No such file or directory (os error 2)\n  help: `identity` names it"),
        ("path: decisions.ndjson", "path: nowhere/decisions.ndjson", "  help: make the folder `nowhere`"),
        ("{market.example:", "{other.example:", "  help: add `market.example: FILE`"),
    ] {
        assert!(config.contains(from), "{from}");
        fs::write(dir.path().join("enforcer.yaml"), config.replace(from, to)).unwrap();
        let run = run_in(dir.path(), &["enforce", "--config", "enforcer.yaml", "--check"], b"");
        assert!(run.code == 2 && run.err.contains(says), "{to}: {}", run.err);
    }
}
