//! Bundles too large to keep as files: made here, put to the built binary. What is asserted are exit codes, messages and sizes of
//! output, never wall clock; a hang shows as a test that does not end.

#![cfg(test)]

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

struct Run {
    code: i32,
    err: String,
}

fn check(dir: &Path) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(["check", "b", "--today", "2026-11-22"])
        .current_dir(dir)
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    let run = Run { code: output.status.code().unwrap(), err: String::from_utf8(output.stderr).unwrap() };
    assert!(!run.err.contains("panicked at"), "{}", run.err);
    run
}

/// What a verb says on stdout.
fn portreeve(dir: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_portreeve")).args(args).current_dir(dir).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Checks a bundle of these files: what it must say, how many bytes it may say at most.
fn refused(files: &[(&str, Vec<u8>)], code: i32, says: &str) {
    let dir = TempDir::new().unwrap();
    for (path, bytes) in files {
        let path = dir.path().join("b").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    let run = check(dir.path());
    assert_eq!(run.code, code, "{}", run.err.chars().take(2_000).collect::<String>());
    assert!(run.err.contains(says), "no `{says}` in {}", run.err.chars().take(2_000).collect::<String>());
    // A report is for people: a thousand findings with their excerpts at most.
    assert!(run.err.len() < 2_000_000, "{} bytes of messages", run.err.len());
}

fn service(more: &str) -> Vec<u8> {
    format!("kind: Service\nname: web\nidentities: [spiffe://t.example/web]\n{more}").into_bytes()
}

#[test]
fn files_beyond_the_bound_are_not_read() {
    refused(&[("a.yaml", vec![b'#'; (16 << 20) + 1])], 2, "bundle-too-large");
    let deep = vec!["d"; 20].join("/");
    refused(&[(&*format!("{deep}/a.yaml"), service(""))], 2, "bundle-too-large");
}

/// A device may never end, and a pipe may never begin.
#[test]
fn only_plain_files_are_read() {
    let dir = TempDir::new().unwrap();
    fs::create_dir(dir.path().join("b")).unwrap();
    fs::write(dir.path().join("b/a.yaml"), service("")).unwrap();
    std::os::unix::fs::symlink("/dev/null", dir.path().join("b/b.yaml")).unwrap();
    let run = check(dir.path());
    assert_eq!(run.code, 2, "{}", run.err);
    assert!(run.err.contains("cannot read `b/b.yaml`: it is not a plain file"), "{}", run.err);
}

/// People who never read Rust read what is wrong with a line; an array is no object, whatever order its members have.
#[test]
fn lines_of_the_wrong_shape_are_named_in_words() {
    let dir = TempDir::new().unwrap();
    let asked = r#""principal":"spiffe://t.example/web","service":"web","method":"GET","path":"/""#;
    let requests = [
        "[]".to_owned(),
        r#" ["spiffe://t.example/web","web","GET","/",null,null,{"time":"2026-11-22T10:00:00.000Z"}]"#.to_owned(),
        "7".to_owned(),
        format!(r#"{{{asked},"context":7}}"#),
        format!(r#"{{{asked},"context":{{"time":"2026-11-22T10:00:00.000Z","jwt":7}}}}"#),
        format!(r#"{{{asked},"context":{{"time":"2026-11-22T10:00:00.000Z","jwt":{{"aud":7}}}}}}"#),
        format!(r#"{{{asked},"context":{{"time":"2026-11-22T10:00:00.000Z","query":{{"a":{{}}}}}}}}"#),
    ];
    fs::create_dir(dir.path().join("b")).unwrap();
    fs::write(dir.path().join("b/a.yaml"), service("")).unwrap();
    fs::write(dir.path().join("requests"), requests.join("\n")).unwrap();
    let decided = portreeve(dir.path(), &["decide", "--bundle", "b", "requests"]);
    assert_eq!(decided.lines().count(), requests.len());
    for line in decided.lines() {
        assert!(line.contains("malformed-request") && line.contains("expected "), "{line}");
        assert!(!["struct", "enum", "Json", "variant"].iter().any(|word| line.contains(word)), "{line}");
    }
    let head = format!(r#"{{"instance":"a","seq":1,"head":"sha256:{0}","at":"2026-11-22T10:00:00.000Z","sig":"{0}{0}"}}"#, "0".repeat(64));
    fs::write(dir.path().join("log"), format!("[]\n7\n{{}}\n{{\"v\":1}}\n{head}\n")).unwrap();
    let told = portreeve(dir.path(), &["verify", "--format", "json", "log"]);
    assert!(told.contains("expected an object") && !told.contains("LineOwned"), "{told}");
    assert!(told.contains("it is a signed head, and files of heads are given by `--heads`"), "{told}");
}

#[test]
fn a_file_of_the_greatest_size_is_read_in_bounded_memory() {
    // One line of sixteen megabytes, one label of sixteen megabytes, a million empty documents.
    refused(&[("a.yaml", [b"kind: [".to_vec(), vec![b'x'; (16 << 20) - 7]].concat())], 1, "yaml-syntax");
    let label = [service("labels: {a: \""), vec![b'y'; 15 << 20], b"\"}\nodd: 1\n".to_vec()].concat();
    refused(&[("a.yaml", label)], 1, "`odd` is not a field here");
    refused(&[("a.yaml", [b"---\n".repeat(1 << 20), b"kind: Nothing\nname: n\n".to_vec()].concat())], 1, "unknown-kind");
}

#[test]
fn nesting_has_a_bound_in_every_language() {
    let many = 1 << 20;
    refused(&[("a.yaml", [vec![b'['; many], vec![b']'; many]].concat())], 1, "error[yaml-");
    refused(&[("a.yaml", b"{a: ".repeat(many))], 1, "error[yaml-");
    let cedar = format!("@id(\"p\") forbid(principal, action, resource) when {{ {}true{} }};", "(".repeat(50_000), ")".repeat(50_000));
    refused(&[("a.yaml", service("")), ("a.cedar", cedar.into_bytes())], 1, "error[cedar-");
    let rego = format!("package portreeve.p\n\ndeny if {}1{}\n", "[".repeat(50_000), "]".repeat(50_000));
    refused(&[("a.yaml", service("")), ("a.rego", rego.into_bytes())], 1, "error[rego-");
}

#[test]
fn aliases_never_multiply() {
    let mut text = String::from("kind: Service\nname: web\nlabels:\n  a0: &a0 x\n");
    for n in 1..1_000 {
        text.push_str(&format!("  a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 50].join(", ")));
    }
    refused(&[("a.yaml", text.into_bytes())], 1, "a YAML anchor is not accepted here");
    refused(&[("a.yaml", b"kind: *kind\nname: web\n".to_vec())], 1, "error[yaml-");
}

#[test]
fn a_hundred_thousand_faults_are_told_in_part() {
    let fields: String = (0..100_000).map(|n| format!("odd{n}: 1\n")).collect();
    refused(&[("a.yaml", service(&fields))], 1, "is not a field here");
    let keys: String = (0..100_000).map(|n| format!("k{}: 1\n", n % 50_000)).collect();
    refused(&[("a.yaml", service(&keys))], 1, "is given twice");
    let permissions: String = (0..20_000)
        .map(|n| format!("---\nkind: Permission\nname: p{n}\nallow: {{from: [nobody{n}], to: web, operations: '*'}}\n"))
        .collect();
    refused(&[("a.yaml", service(&permissions))], 1, "unknown-name");
}

#[test]
fn groups_nest_without_blowing_up() {
    // A ladder of groups in which each step has two ways up: 2^200 paths, 400 groups.
    let mut text = String::from_utf8(service("---\n")).unwrap();
    for n in 0..200 {
        let below = if n == 0 { "web".to_owned() } else { format!("l{0}, r{0}", n - 1) };
        text.push_str(&format!("kind: Group\nname: l{n}\nmembers: [{below}]\n---\nkind: Group\nname: r{n}\nmembers: [{below}]\n---\n"));
    }
    text.push_str("kind: Permission\nname: p\nallow: {from: l199, to: r199, operations: [nothing]}\n");
    refused(&[("a.yaml", text.into_bytes())], 1, "unknown-operation");
}

#[test]
fn patterns_that_meet_everywhere_have_a_bound() {
    // Each pattern fixes one of many segments, so any set of them meets in a pattern of its own.
    let pattern = |n: usize| {
        let segments: Vec<String> = (0..24).map(|at| if at == n { format!("s{n}") } else { "*".to_owned() }).collect();
        format!("\"spiffe://p.example/{}\"", segments.join("/"))
    };
    let from: Vec<String> = (0..24).map(pattern).collect();
    let permission = format!("---\nkind: Permission\nname: p\nallow: {{from: [{}], to: web, operations: any-path}}\n", from.join(", "));
    let law = "---\nkind: Invariant\nname: law\nnever: {from: web, to: web}\n";
    refused(&[("a.yaml", service(&format!("{permission}{law}")))], 1, "too-many-patterns");
}
