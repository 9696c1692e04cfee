//! A signed report and its sample, as an assessor receives them: whatever was changed, left out or added is told as what it is,
//! and a plain script that knows nothing of this program comes to the same roots and the same draw.

#![cfg(test)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use portreeve_engine::Digest;
use portreeve_engine::chain::HeadSigner;
use serde_json::Value;
use tempfile::TempDir;

use crate::common::{Run, root, run_in};

/// A folder with a key pair, another's, the demo's bundle, a log, and a signed report with a sample.
struct Scene {
    dir: TempDir,
}

impl Scene {
    fn make() -> Self {
        let scene = Self { dir: TempDir::new().unwrap() };
        for name in ["report", "other"] {
            assert_eq!(scene.run(&["bundle", "keygen", "--out", &format!("{name}.key")]).code, 0);
        }
        let log: String = (0..60).map(record).collect();
        fs::write(scene.path("a.ndjson"), &log).unwrap();
        fs::write(scene.path("b.ndjson"), log.lines().take(21).map(|l| format!("{l}\n")).collect::<String>() + "no record").unwrap();
        let made = scene.audit("report", &["--sample", "9", "--seed", "7", "--sign", "report.key"]);
        assert_eq!(made.code, 0, "{}", made.err);
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Run {
        run_in(self.dir.path(), args, b"")
    }

    fn audit(&self, out: &str, more: &[&str]) -> Run {
        let bundle = root().join("policies/marketplace");
        let args = ["audit", "--bundle", bundle.to_str().unwrap(), "a.ndjson", "b.ndjson", "--fail-on", "never", "--out", out];
        self.run(&[&args, more].concat())
    }

    fn verify(&self) -> Run {
        self.run(&["verify", "report", "--key", "report.pub"])
    }
}

/// A line as an enforcer writes it; its chain is of no concern here.
fn record(n: usize) -> String {
    let zero = "0".repeat(64);
    let decision = r#"{"effect":"allow","reason":"permitted","policies":["p"],"errors":[],"shadow":[]}"#;
    format!(
        r#"{{"v":1,"seq":{n},"prev":"sha256:{zero}","at":"2026-11-22T10:{:02}:{:02}.000Z","event":"decided","mode":"enforce","revision":"sha256:{zero}","source":{{"id":"spiffe://market.example/ns/shop/sa/invoices","service":"invoices","ip":"10.0.0.7"}},"destination":{{"id":"spiffe://market.example/ns/shop/sa/items","service":"items"}},"request":{{"id":"r{n}","protocol":"HTTP/2","method":"GET","path":"/v1/items/{n}","host":"items","operation":"read-item"}},"context":{{"headers":{{}},"query":{{}}}},"tls":null,"decision":{decision}}}"#,
        n / 60,
        n % 60
    ) + "\n"
}

#[test]
fn an_untouched_report_verifies_and_every_touch_is_told() {
    let scene = Scene::make();
    let whole = scene.verify();
    assert_eq!((whole.code, &*whole.out), (0, ""), "{}", whole.err);
    for needed in ["4 files of the report unchanged", "2 files it was made from unchanged", "sample: 9 of ", "ok: nothing was changed"] {
        assert!(whole.err.contains(needed), "no `{needed}` in\n{}", whole.err);
    }
    type Touch = fn(&Path);
    let append = |path: &Path| fs::write(path, fs::read(path).unwrap().into_iter().chain(*b" ").collect::<Vec<u8>>()).unwrap();
    let touches: [(&str, Touch, &str); 7] = [
        ("report/index.html", append, "`index.html` was changed since it was signed"),
        ("report/assessment.json", |p| fs::remove_file(p).unwrap(), "`assessment.json` was signed and is missing"),
        ("report/extra.txt", |p| fs::write(p, "x").unwrap(), "`extra.txt` was added: it was not signed"),
        ("report/sample.json", append, "`sample.json` was changed since it was signed"),
        ("a.ndjson", append, "`a.ndjson` was read for the report and is not what it was"),
        ("report/manifest.json", append, "the manifest is not signed by this key; nothing else was checked"),
        ("report/manifest.sig.json", |p| fs::copy(p.with_file_name("../other.sig"), p).map(drop).unwrap(), "not signed by this key"),
    ];
    assert_eq!(scene.audit("other", &["--sign", "other.key"]).code, 0);
    fs::copy(scene.path("other/manifest.sig.json"), scene.path("other.sig")).unwrap();
    for (file, touch, says) in touches {
        let path = scene.path(file);
        let before = fs::read(&path).ok();
        touch(&path);
        let run = scene.verify();
        assert_eq!(run.code, 1, "{file}\n{}", run.err);
        assert!(run.err.contains(says) && run.err.ends_with("FAIL: the report is not as it was signed\n"), "{file}\n{}", run.err);
        match before {
            Some(bytes) => fs::write(&path, bytes).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
    }
    assert_eq!(scene.verify().code, 0);
    // A log that is elsewhere is told, and refutes nothing.
    fs::rename(scene.path("a.ndjson"), scene.path("moved.ndjson")).unwrap();
    let moved = scene.verify();
    assert!(moved.code == 0 && moved.err.contains("not checked: `a.ndjson` is not here"), "{}", moved.err);
    assert_eq!(scene.run(&["verify", "report", "--key", "other.pub"]).code, 1);
    for (args, says) in [
        (&["verify", "report"][..], "verified with one key"),
        (&["verify", ".", "--key", "report.pub"], "holds no signed report"),
        (&["verify", "report", "--key", "report.key"], "report.key"),
        (&["verify", "moved.ndjson", "--key", "report.pub"], "logs are not signed"),
    ] {
        let run = scene.run(args);
        assert!(run.code == 2 && run.err.contains(says), "{args:?}\n{}", run.err);
    }
}

/// Whatever decided the report beside the logs is signed with it, and one byte of it changed is told.
#[test]
fn everything_that_was_read_is_signed() {
    let scene = Scene::make();
    let copy = |from: &str, to: &str| {
        let (from, to) = (root().join(from), scene.path(to));
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    };
    copy("policies/governance/scope.yaml", "governance/scope.yaml");
    let catalogue = fs::read_to_string(root().join("policies/controls/soc2.yaml")).unwrap();
    fs::write(scene.path("own.yaml"), catalogue).unwrap();
    for entry in fs::read_dir(root().join("policies/checks")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "rego") {
            copy(path.to_str().unwrap(), &format!("checks/{}", path.file_name().unwrap().to_str().unwrap()));
        }
    }
    fs::write(scene.path("items.yaml"), CONFIG).unwrap();
    fs::write(scene.path("mapping.yaml"), MAPPING).unwrap();
    // A head of a log of some other enforcer: read, and of no effect here.
    let head = HeadSigner::from_seed(&[7; 32]).sign("items-9", 3, Digest::ZERO, "2026-11-22T10:01:00.000Z".parse().unwrap());
    fs::write(scene.path("heads.ndjson"), serde_json::to_string(&head).unwrap() + "\n").unwrap();
    fs::write(scene.path("head.pub"), HEAD_KEY).unwrap();
    assert_eq!(scene.audit("october", &[]).code, 0);
    let git = |args: &[&str]| {
        let who = ["-c", "user.name=ann", "-c", "user.email=ann@market.example", "-c", "commit.gpgsign=false"];
        let run = Command::new("git").arg("-C").arg(scene.path("repo")).args(who).args(args).output().unwrap();
        assert!(run.status.success(), "{args:?}: {}", String::from_utf8_lossy(&run.stderr));
    };
    fs::create_dir_all(scene.path("repo/policies")).unwrap();
    fs::write(scene.path("repo/policies/note.txt"), "one\n").unwrap();
    git(&["init", "-q"]);
    git(&["add", "."]);
    git(&["commit", "-qm", "one\n\nApproved-by: bob"]);
    let args = [
        "--governance",
        "governance",
        "--catalog",
        "own.yaml",
        "--checks",
        "checks",
        "--config",
        "items.yaml",
        "--log-mapping",
        "mapping.yaml",
        "--baseline",
        "october/assessment.json",
        "--heads",
        "heads.ndjson",
        "--key",
        "head.pub",
        "--commits",
        "repo:policies",
        "--sign",
        "report.key",
    ];
    fs::remove_dir_all(scene.path("report")).unwrap();
    let made = scene.audit("report", &args);
    assert_eq!(made.code, 0, "{}", made.err);
    let manifest: Value = serde_json::from_slice(&fs::read(scene.path("report/manifest.json")).unwrap()).unwrap();
    let kinds: Vec<&str> = manifest["given"].as_array().unwrap().iter().map(|g| g["kind"].as_str().unwrap()).collect();
    for kind in ["governance", "config", "commits", "check", "catalog", "mapping", "heads", "heads-key"] {
        assert!(kinds.contains(&kind), "no {kind} in {kinds:?}");
    }
    assert_eq!(manifest["baseline"]["path"], "october/assessment.json");
    let page = fs::read_to_string(scene.path("report/index.html")).unwrap();
    assert!(page.contains("What else was read") && page.contains("history of the policies"));
    let whole = scene.verify();
    assert!(whole.code == 0 && !whole.err.contains("is not here"), "{}", whole.err);
    let check = manifest["given"].as_array().unwrap().iter().find(|g| g["kind"] == "check").unwrap()["path"].as_str().unwrap();
    for file in
        ["governance/scope.yaml", "own.yaml", check, "items.yaml", "mapping.yaml", "heads.ndjson", "head.pub", "october/assessment.json"]
    {
        let before = fs::read(scene.path(file)).unwrap();
        let mut bytes = before.clone();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(scene.path(file), bytes).unwrap();
        let run = scene.verify();
        assert!(run.code == 1 && run.err.contains(&format!("`{file}")) && run.err.contains("is not what it was"), "{file}\n{}", run.err);
        fs::write(scene.path(file), before).unwrap();
    }
    // A history that goes on is the one that was read; one that was amended is not.
    fs::write(scene.path("repo/policies/note.txt"), "two\n").unwrap();
    git(&["commit", "-qam", "two"]);
    assert_eq!(scene.verify().code, 0);
    git(&["reset", "-q", "--hard", "HEAD~1"]);
    assert_eq!(scene.verify().code, 0);
    git(&["commit", "-q", "--amend", "-m", "one\n\nApproved-by: bot"]);
    let run = scene.verify();
    assert!(
        run.code == 1 && run.err.contains("`repo:policies (history of the policies)` was read for the report and is not"),
        "{}",
        run.err
    );
    fs::rename(scene.path("repo"), scene.path("elsewhere")).unwrap();
    let run = scene.verify();
    assert!(run.code == 0 && run.err.contains("not checked: `repo:policies (history of the policies)` is not here"), "{}", run.err);
}

const CONFIG: &str = "service: items
bundle: {path: ./policies}
identity: {cert: items.pem, key: items.key, trust: {market.example: ca.pem}}
inbound: [{listen: \"0.0.0.0:8443\", upstream: \"127.0.0.1:8080\", protocol: http}]
log: {path: decisions.ndjson}
";

/// The public half of the seed of the heads, as `openssl pkey -pubout` writes it.
const HEAD_KEY: &str =
    "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=\n-----END PUBLIC KEY-----\n";

const MAPPING: &str = "format: portreeve
";

#[test]
fn the_manifest_is_the_same_for_the_same_inputs_and_names_everything() {
    let scene = Scene::make();
    assert_eq!(scene.audit("again", &["--sample", "9", "--seed", "7", "--sign", "report.key"]).code, 0);
    let (one, two) = (fs::read(scene.path("report/manifest.json")).unwrap(), fs::read(scene.path("again/manifest.json")).unwrap());
    assert!(one == two, "the same inputs, another manifest");
    assert!(fs::read(scene.path("report/manifest.sig.json")).unwrap() == fs::read(scene.path("again/manifest.sig.json")).unwrap());
    let manifest: Value = serde_json::from_slice(&one).unwrap();
    let names: Vec<&str> = manifest["files"].as_array().unwrap().iter().map(|f| f["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["assessment.json", "index.html", "sample.json", "summary.md"]);
    let inputs: Vec<&str> = manifest["inputs"].as_array().unwrap().iter().map(|f| f["path"].as_str().unwrap()).collect();
    assert_eq!(inputs, ["a.ndjson", "b.ndjson"]);
    let sample: Value = serde_json::from_slice(&fs::read(scene.path("report/sample.json")).unwrap()).unwrap();
    assert_eq!(manifest["sample_root"], sample["root"]);
    assert_eq!(scene.audit("report", &["--sign", "absent.key"]).code, 2);
    assert_eq!(scene.run(&["audit", "--bundle", "x", "a.ndjson", "--sample", "3"]).code, 2);
}

#[test]
fn a_plain_script_comes_to_the_same_sample() {
    let scene = Scene::make();
    let script = root().join("tests/sample_check.py");
    let python = |args: &[&str]| Command::new("python3").arg(&script).args(args).current_dir(scene.dir.path()).output();
    let Ok(output) = python(&["report/sample.json", "a.ndjson", "b.ndjson"]) else {
        println!("skipped: there is no python3 here");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok 9\n");
    let verify = |more: &[&str]| scene.run(&[&["verify", "report/sample.json"], more].concat());
    let whole = verify(&["a.ndjson", "b.ndjson"]);
    assert!(whole.code == 0 && whole.err.contains("all 2 logs read again: the seed gives these records"), "{}", whole.err);
    assert_eq!(verify(&[]).code, 0);
    assert_eq!(verify(&["--root", &format!("sha256:{}", "0".repeat(64))]).code, 1);
    // The script and the program agree about what is wrong too.
    let text = fs::read_to_string(scene.path("report/sample.json")).unwrap();
    fs::write(scene.path("report/sample.json"), text.replacen("invoices", "invoicez", 1)).unwrap();
    assert_eq!(verify(&[]).code, 1);
    assert!(!python(&["report/sample.json"]).unwrap().status.success());
    let bare = scene.audit("bare", &["--sample", "9", "--seed", "7", "--sample-digests-only"]);
    assert_eq!(bare.code, 0, "{}", bare.err);
    assert!(!fs::read_to_string(scene.path("bare/sample.json")).unwrap().contains("invoices"));
    assert!(python(&["bare/sample.json", "a.ndjson", "b.ndjson"]).unwrap().status.success());
    let stdin = run_in(
        scene.dir.path(),
        &["audit", "--bundle", root().join("policies/marketplace").to_str().unwrap(), "-", "--out", "x", "--sample", "2"],
        b"",
    );
    assert!(stdin.code == 2 && stdin.err.contains("read once only"), "{}", stdin.err);
}
