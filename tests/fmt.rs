//! `portreeve fmt` as its users run it; the form itself is in `engine/tests/formatting.rs`.

#![cfg(test)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use common::{root, run_in};
use tempfile::TempDir;

const UGLY: &str = "# all\nname:   all   # every one\nkind: Group\nmembers: [ web,orders ]\n";
const NICE: &str = "# all\nkind: Group\nname: all   # every one\nmembers: [web, orders]\n";

#[test]
fn a_scaffold_is_in_its_form_and_an_ugly_file_comes_into_it() {
    let dir = TempDir::new().unwrap();
    assert_eq!(run_in(dir.path(), &["init", "repo"], b"").code, 0);
    let check = |args: &[&str]| run_in(dir.path(), &[&["fmt", "repo"], args].concat(), b"");
    let clean = check(&["--check"]);
    assert_eq!((clean.code, clean.out.as_str()), (0, ""), "{}", clean.err);

    let path = dir.path().join("repo/deep");
    fs::create_dir(&path).unwrap();
    let file = path.join("all.yaml");
    fs::write(&file, UGLY).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let listed = check(&["--check"]);
    assert_eq!((listed.code, listed.out.as_str()), (1, "repo/deep/all.yaml\n"), "{}", listed.err);
    assert!(listed.err.contains("1 of 5 files not in their form"), "{}", listed.err);
    let diff = check(&["--diff"]);
    assert_eq!(diff.code, 1);
    assert_eq!(fs::read_to_string(&file).unwrap(), UGLY, "--check and --diff write nothing");

    // Another program makes the same of the diff.
    fs::write(dir.path().join("d.patch"), &diff.out).unwrap();
    if std::process::Command::new("patch").arg("--version").output().is_ok() {
        fs::copy(&file, dir.path().join("copy.yaml")).unwrap();
        let patched = std::process::Command::new("patch").args(["copy.yaml", "d.patch"]).current_dir(dir.path()).output().unwrap();
        assert!(patched.status.success(), "{}\n{}", String::from_utf8_lossy(&patched.stdout), diff.out);
        assert_eq!(fs::read_to_string(dir.path().join("copy.yaml")).unwrap(), NICE);
    } else {
        println!("`patch` is not installed; the diff is not applied");
    }

    let written = check(&[]);
    assert_eq!((written.code, written.out.as_str()), (0, ""), "{}", written.err);
    assert!(written.err.contains("1 of 5 files formatted"), "{}", written.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), NICE);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "something is left over");
    assert_eq!(check(&["--check"]).code, 0);
}

#[test]
fn what_cannot_be_read_is_left_and_told_and_the_rest_is_formatted() {
    let dir = TempDir::new().unwrap();
    let repo = dir.path().join("repo");
    fs::create_dir(&repo).unwrap();
    let files: [(&str, &[u8]); 6] = [
        ("broken.yaml", b"a: [\n"),
        ("twice.yaml", b"a: 1\na: 2\n"),
        ("latin.yaml", b"a: \xe9\n"),
        ("broken.cedar", b"permit(principal\n"),
        ("left.rego", b"package   x\n"),
        ("ugly.yaml", UGLY.as_bytes()),
    ];
    for (name, bytes) in files {
        fs::write(repo.join(name), bytes).unwrap();
    }
    // Links lead out of the folder, and hidden files are no policies.
    fs::write(dir.path().join("outside.yaml"), UGLY).unwrap();
    symlink("../outside.yaml", repo.join("link.yaml")).unwrap();
    symlink("..", repo.join("up")).unwrap();
    fs::write(repo.join(".hidden.yaml"), UGLY).unwrap();
    fs::write(repo.join("notes.txt"), UGLY).unwrap();
    let run = run_in(dir.path(), &["fmt", "repo"], b"");
    assert_eq!(run.code, 2, "{}", run.err);
    for needed in [
        "repo/broken.yaml:",
        "repo/twice.yaml:2:",
        "repo/latin.yaml:1:4",
        "repo/broken.cedar",
        "4 files left alone; 1 of 6 files formatted",
    ] {
        assert!(run.err.contains(needed), "no `{needed}` in\n{}", run.err);
    }
    for (name, bytes) in files.iter().filter(|(name, _)| *name != "ugly.yaml") {
        assert_eq!(&fs::read(repo.join(name)).unwrap(), bytes, "{name}");
    }
    assert_eq!(fs::read_to_string(repo.join("ugly.yaml")).unwrap(), NICE);
    for untouched in [dir.path().join("outside.yaml"), repo.join(".hidden.yaml"), repo.join("notes.txt")] {
        assert_eq!(fs::read_to_string(&untouched).unwrap(), UGLY, "{}", untouched.display());
    }
    assert!(repo.join("link.yaml").is_symlink());

    let one = run_in(dir.path(), &["fmt", "repo/ugly.yaml", "--check"], b"");
    assert_eq!(one.code, 0, "{}", one.err);
    for (args, words) in [(&["fmt", "nothing"][..], "`nothing`"), (&["fmt", "repo/notes.txt"], "no policy file"), (&["fmt"], "Usage")] {
        let run = run_in(dir.path(), args, b"");
        assert!(run.code == 2 && run.err.contains(words), "{args:?}: {}", run.err);
    }
}

#[test]
fn a_file_that_cannot_be_replaced_is_told() {
    let dir = TempDir::new().unwrap();
    let help = run_in(root(), &["fmt", "--help"], b"");
    assert!(help.code == 0 && help.out.contains("Exit codes:") && help.out.contains("Examples:"));
    fs::write(dir.path().join("a.yaml"), UGLY).unwrap();
    // The place of the temporary file is taken by a folder only if the process number is known; a folder without write permission
    // does not stop root, so the name's length does: the temporary name is longer than the file system allows.
    let long = format!("{}.yaml", "a".repeat(249));
    fs::write(dir.path().join(&long), UGLY).unwrap();
    let run = run_in(dir.path(), &["fmt", &long], b"");
    assert_eq!(run.code, 2, "{}", run.err);
    assert!(run.err.contains("cannot write"), "{}", run.err);
    assert_eq!(fs::read_to_string(dir.path().join(&long)).unwrap(), UGLY);
}
