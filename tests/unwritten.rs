//! What cannot be written whole is not there: a disk without room for all of it leaves what was there before, and nothing half.
//!
//! The disk is a bound on the size of a file, which the shell sets (`ulimit -f`, in KiB) and of which the program is told as of a full disk.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// Runs the program where no file may be larger; gives its exit code and what it told.
fn bounded(kib: u32, args: &[&str]) -> (Option<i32>, String) {
    let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
    let run = Command::new("bash")
        .args(["-c", &script, env!("CARGO_BIN_EXE_portreeve")])
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    let told = String::from_utf8(run.stderr).unwrap();
    assert!(run.stdout.is_empty() && !told.contains("panicked"), "{told}");
    (run.status.code(), told)
}

/// Every file below a folder with its bytes.
fn held(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { held(&path) } else { [(path.display().to_string(), fs::read(&path).unwrap())].into() })
        .collect()
}

const ISTIO: [&str; 3] = ["--bundle", "tests/corpus/logs/istio", "tests/corpus/logs/istio/access.json"];

#[test]
fn a_report_that_does_not_fit_leaves_the_one_before_it_whole() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("report");
    let audit = |kib: u32, catalog: &str| {
        let args = ["audit", "--fail-on", "never", "--catalog", catalog, "--out", out.to_str().unwrap()];
        bounded(kib, &[&args[..], &ISTIO].concat())
    };
    assert_eq!(audit(100_000, "soc2").0, Some(0));
    let before = held(&out);
    assert_eq!(before.len(), 3);
    let sizes = |name: &str| before.iter().find(|(path, _)| path.ends_with(name)).map(|(_, bytes)| bytes.len()).unwrap();
    // There is room for the data of another examination, and not for its page.
    let kib = u32::try_from(sizes("assessment.json") / 1024 + 10).unwrap();
    assert!(sizes("index.html") > kib as usize * 1024);
    let (code, told) = audit(kib, "soc2");
    assert!(code == Some(2) && told.contains("index.html`: File too large"), "{told}");
    assert_eq!(held(&out), before);
    let (code, told) = audit(1, "pci-dss-4.0.1");
    assert!(code == Some(2) && told.contains("assessment.json`: "), "{told}");
    assert_eq!(held(&out), before);
    // Where there was none, none is begun.
    fs::remove_dir_all(&out).unwrap();
    assert_eq!(audit(kib, "soc2").0, Some(2));
    assert!(held(&out).is_empty());
}

#[test]
fn what_is_drafted_or_laid_out_is_there_whole_or_not_at_all() {
    let dir = TempDir::new().unwrap();
    let place = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (draft, repo) = (place("draft"), place("a/b/repo"));
    let suggest = ["suggest", "tests/corpus/logs/istio/access.json", "--out", &draft];
    let init = ["init", &repo];
    for (args, made) in [(&suggest[..], "draft"), (&init, "a")] {
        let (code, told) = bounded(0, args);
        assert!(code == Some(2) && told.contains("cannot write `"), "{told}");
        assert!(!dir.path().join(made).exists());
        // So it can be asked for again.
        let (code, told) = bounded(1_000, args);
        assert_eq!(code, Some(0), "{told}");
        assert!(held(&dir.path().join(made)).len() > 1);
    }
}

#[test]
fn a_ledger_that_does_not_fit_is_not_there_and_is_gone_on_with() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("a.ledger");
    let build = |kib: u32| bounded(kib, &[&["ledger", "build", "--out", out.to_str().unwrap()], &ISTIO[..]].concat());
    let (code, told) = build(1);
    assert!(code == Some(2) && told.contains("cannot read or write `") && !out.exists(), "{told}");
    let (code, told) = build(1_000);
    assert!(code == Some(0) && out.exists(), "{told}");
    assert_eq!(held(dir.path()).len(), 1, "nothing of the first try is left");
}
