//! The verb `demo` as its users run it: one command, one folder, nothing left running.

#![cfg(test)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use portreeve_demo::{FIRST, SECOND};

fn portreeve(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portreeve")).args(args).env("NO_COLOR", "1").output().unwrap()
}

/// Every address in the configurations of a demo.
fn addresses(out: &Path) -> Vec<SocketAddr> {
    let mut all = Vec::new();
    for entry in fs::read_dir(out.join("config")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        all.extend(text.split('"').filter_map(|part| part.parse::<SocketAddr>().ok()));
    }
    all
}

fn nothing_listens(out: &Path) {
    let all = addresses(out);
    assert!(all.len() >= 6 * 3 + 10 * 2, "{all:?}");
    for address in all {
        assert!(address.ip().is_loopback(), "{address}");
        assert!(TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err(), "something still listens on {address}");
    }
}

#[test]
fn one_command_shows_the_whole_product_and_leaves_nothing_running() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("demo");
    let name = out.display().to_string();
    // The second run replaces what the first one left.
    for seed in ["4", "5"] {
        let run = portreeve(&["demo", "--out", &name, "--requests", "200", "--seed", seed]);
        let text = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(0), "{text}");
        assert!(run.stdout.is_empty());
        for says in ["200 questions", "6 vouched", " 0 mismatches, 0 not replayable", "met-technical", &format!("{name}/report/index.html")]
        {
            assert!(text.contains(says), "no `{says}` in\n{text}");
        }
        assert!(!text.contains('\r') && !text.contains('\x1b'), "a bar is for terminals: {text:?}");
        nothing_listens(&out);
    }
    assert!(fs::read_to_string(out.join("report/index.html")).unwrap().contains("</html>"));
    // What it left is an installation: its bundles pass their tests, its logs verify by hand.
    for bundle in [FIRST, SECOND] {
        assert_eq!(portreeve(&["test", &out.join(bundle).display().to_string()]).status.code(), Some(0), "{bundle}");
    }
    let [logs, heads, key, policies] =
        ["logs/*.ndjson", "logs/*.heads.ndjson", "heads.pub", "policies"].map(|name| out.join(name).display().to_string());
    let verified = portreeve(&["verify", &logs, "--heads", &heads, "--key", &key]);
    let text = String::from_utf8_lossy(&verified.stderr);
    assert_eq!(verified.status.code(), Some(0), "{text}");
    assert!(text.contains("note: 6 files that") && text.contains("hold signed heads and are passed over"), "{text}");
    let replayed = portreeve(&["replay", "--bundle-history", &policies, &logs]);
    let text = String::from_utf8_lossy(&replayed.stderr);
    assert!(replayed.status.code() == Some(0) && text.contains(" 0 differ, 0 not replayable"), "{text}");
    // With one of the two bundles it is said which one is missing, and which was there.
    let replayed = portreeve(&["replay", "--bundle", &out.join(FIRST).display().to_string(), &logs]);
    let text = String::from_utf8_lossy(&replayed.stderr);
    assert!(replayed.status.code() == Some(1) && text.contains("was not given"), "{text}");
    assert!(text.contains("\n  help: given were sha256:") && text.contains(&format!("({})", out.join(FIRST).display())), "{text}");
}

#[test]
fn a_folder_of_somebody_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let run = portreeve(&["demo", "--out", &dir.path().display().to_string(), "--requests", "10"]);
    let text = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(2), "{text}");
    assert!(text.contains("it has files in it that are not an earlier demo's"), "{text}");
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["letter.txt"]);
}

#[test]
fn an_interrupt_stops_everything_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("demo");
    let mut child = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(["demo", "--requests", "1000000", "--out", &out.display().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains("are ready") {
        assert!(stderr.read_line(&mut said).unwrap() > 0, "it ended before it was ready: {said}");
    }
    std::thread::sleep(Duration::from_millis(700));
    let began = Instant::now();
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let code = child.wait().unwrap().code();
    let mut text = String::new();
    stderr.read_to_string(&mut text).unwrap();
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("interrupted; everything was stopped"), "{text}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    nothing_listens(&out);
    for entry in fs::read_dir(out.join("logs")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| !name.to_string_lossy().contains(".heads."))
            && path.extension().is_some_and(|e| e == "ndjson")
        {
            let last = fs::read_to_string(&path).unwrap().lines().last().unwrap().to_owned();
            assert!(last.contains("\"event\":\"stopped\""), "{}: {last}", path.display());
        }
    }
}
