//! A program that is ended while it writes leaves nothing half, and what a kill leaves goes with the next attempt.

#![cfg(test)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::common::{root, run_in};

const MARKET: &str = "policies/marketplace";
/// Each is a row of the ledger, so that merging takes a while.
const HOURS: usize = 5_000;

/// A folder with a ledger that takes a while to copy.
fn slow_ledger() -> TempDir {
    static LEDGER: LazyLock<Vec<u8>> = LazyLock::new(build);
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("a.ledger"), &*LEDGER).unwrap();
    dir
}

fn build() -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    let line = |n: usize| {
        format!(
            "[{}-{:02}-{:02}T{:02}:00:00.932Z] - default 10.0.0.1(web_shop_svc_80)->10.0.0.2:5432(items_shop_svc_5432) took 12ms, sent 7 bytes, received: 9 bytes\n",
            1980 + n / 24 / 28 / 12,
            n / 24 / 28 % 12 + 1,
            n / 24 % 28 + 1,
            n % 24
        )
    };
    fs::write(dir.path().join("a.log"), (0..HOURS).map(line).collect::<String>()).unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let run = run_in(root(), &["ledger", "build", "--bundle", MARKET, "--out", &path("a.ledger"), &path("a.log")], b"");
    assert!(run.code == 0 && run.out.is_empty() && run.err.contains(&format!("{HOURS} rows")), "{}", run.err);
    fs::read(path("a.ledger")).unwrap()
}

/// Whoever runs the tests behind a shell has them ignore Ctrl-C, and what they start, too: `env` ends that where it can.
fn merging(dir: &Path) -> Command {
    let listens = Command::new("env").args(["--default-signal", "true"]).stderr(Stdio::null()).status();
    let mut command = if listens.is_ok_and(|status| status.success()) {
        let mut command = Command::new("env");
        command.args(["--default-signal", env!("CARGO_BIN_EXE_portreeve")]);
        command
    } else {
        Command::new(env!("CARGO_BIN_EXE_portreeve"))
    };
    command.args(["ledger", "merge", "--out", "b.ledger", "a.ledger"]).current_dir(dir).stderr(Stdio::null());
    command
}

/// What lies hidden in the folder.
fn hidden(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with('.')).collect()
}

/// Starts something and sends it this signal when its file is there. How it ended; `None` where it was done before anybody could send
/// anything.
fn signalled(dir: &Path, command: &mut Command, signal: &str) -> Option<ExitStatus> {
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    while hidden(dir).is_empty() {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "it wrote nothing that is hidden");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    Some(child.wait().unwrap())
}

/// A merge that a signal ended: one that was done before teaches nothing, and is begun again.
fn broken_off(dir: &Path, signal: &str) -> ExitStatus {
    for _ in 0..TRIES {
        match signalled(dir, &mut merging(dir), signal) {
            Some(status) if !status.success() => return status,
            _ => fs::remove_file(dir.join("b.ledger")).unwrap(),
        }
    }
    panic!("it is always done before {signal} comes");
}

/// How often something is begun that may be done too early on a busy machine.
const TRIES: usize = 50;

#[test]
fn a_signal_leaves_nothing_half() {
    let dir = slow_ledger();
    let merged = dir.path().join("b.ledger");
    assert!(merging(dir.path()).status().unwrap().success());
    let whole = fs::read(&merged).unwrap();
    fs::remove_file(&merged).unwrap();
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        assert_eq!(broken_off(dir.path(), signal).code(), Some(code), "{signal}");
        assert!(hidden(dir.path()).is_empty(), "{:?}", hidden(dir.path()));
        // A signal may come when the file is in its place already.
        assert!(fs::read(&merged).is_ok_and(|found| found == whole) || !merged.exists());
        let _ = fs::remove_file(&merged);
    }
}

#[test]
fn what_a_kill_leaves_goes_with_the_next_attempt() {
    let dir = slow_ledger();
    // One that is killed with its file in its place already leaves nothing.
    let left = (0..TRIES).any(|_| {
        assert_eq!(broken_off(dir.path(), "-KILL").code(), None);
        !hidden(dir.path()).is_empty()
    });
    assert!(left && hidden(dir.path()).len() == 1, "{:?}", hidden(dir.path()));
    assert!(merging(dir.path()).status().unwrap().success());
    assert!(hidden(dir.path()).is_empty() && dir.path().join("b.ledger").exists(), "{:?}", hidden(dir.path()));
}

/// `nohup` has a program ignore that its terminal goes.
#[test]
fn a_signal_that_is_to_be_ignored_is() {
    let dir = slow_ledger();
    let trapped = "trap '' HUP; exec \"$0\" ledger merge --out b.ledger a.ledger";
    let ended = (0..TRIES).find_map(|_| {
        let mut command = Command::new("sh");
        command.args(["-c", trapped, env!("CARGO_BIN_EXE_portreeve")]).current_dir(dir.path()).stderr(Stdio::null());
        signalled(dir.path(), &mut command, "-HUP")
    });
    assert!(ended.expect("it is there to be told").success() && dir.path().join("b.ledger").exists());
}
