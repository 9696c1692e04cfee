//! A program that is ended while it writes leaves nothing half, and what a kill leaves goes with the next attempt.

#![cfg(test)]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
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

fn merging(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
    command.args(["ledger", "merge", "--out", "b.ledger", "a.ledger"]).current_dir(dir).stderr(Stdio::null());
    command
}

/// What lies hidden in the folder.
fn hidden(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with('.')).collect()
}

/// Starts a merge and sends this signal when its file is there.
fn broken_off(dir: &Path, signal: &str) -> Child {
    let mut child = merging(dir).spawn().unwrap();
    let begun = Instant::now();
    while hidden(dir).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(60) && child.try_wait().unwrap().is_none(), "it wrote nothing that is hidden");
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    child
}

#[test]
fn a_signal_leaves_nothing_half() {
    let dir = slow_ledger();
    for (signal, code) in [("-INT", 130), ("-TERM", 143), ("-HUP", 129)] {
        let status = broken_off(dir.path(), signal).wait().unwrap();
        assert_eq!(status.code(), Some(code), "{signal}");
        assert!(hidden(dir.path()).is_empty() && !dir.path().join("b.ledger").exists(), "{:?}", hidden(dir.path()));
    }
}

#[test]
fn what_a_kill_leaves_goes_with_the_next_attempt() {
    let dir = slow_ledger();
    assert_eq!(broken_off(dir.path(), "-KILL").wait().unwrap().code(), None);
    assert_eq!(hidden(dir.path()).len(), 1);
    assert!(merging(dir.path()).status().unwrap().success());
    assert!(hidden(dir.path()).is_empty() && dir.path().join("b.ledger").exists(), "{:?}", hidden(dir.path()));
}

/// `nohup` has a program ignore that its terminal goes.
#[test]
fn a_signal_that_is_to_be_ignored_is() {
    let dir = slow_ledger();
    let mut child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" ledger merge --out b.ledger a.ledger", env!("CARGO_BIN_EXE_portreeve")])
        .current_dir(dir.path())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while hidden(dir.path()).is_empty() {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap().success());
    assert!(child.wait().unwrap().success() && dir.path().join("b.ledger").exists());
}
