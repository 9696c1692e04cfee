//! Every verb's `--help`: it has an example and the exit codes, and no terminal of 80 columns breaks an example in two.

#![cfg(test)]

use std::path::Path;
use std::process::Command;

/// What `portreeve PATH… --help` prints on a terminal of so many columns.
fn help(path: &[String], columns: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(path)
        .arg("--help")
        .env("COLUMNS", columns)
        .env("NO_COLOR", "1")
        .output()
        .unwrap();
    assert!(output.status.success(), "{path:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The names under `Commands:`.
fn verbs(help: &str) -> Vec<String> {
    let listed = help.split_once("Commands:\n").map_or("", |(_, rest)| rest);
    let lines = listed.lines().take_while(|line| !line.is_empty());
    let names = lines.filter_map(|line| line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')));
    names.filter_map(|rest| rest.split_whitespace().next()).map(str::to_owned).collect()
}

/// All paths of verbs, the empty one first.
fn paths() -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut next = 0;
    while let Some(path) = all.get(next).cloned() {
        next += 1;
        all.extend(verbs(&help(&path, "100")).into_iter().map(|verb| [path.clone(), vec![verb]].concat()));
    }
    all
}

/// From the examples on.
fn tail(help: &str) -> &str {
    let at = ["\nBegin:", "\nExample:", "\nExamples:"].iter().find_map(|mark| help.find(mark));
    help.get(at.unwrap_or_else(|| panic!("no example in\n{help}"))..).unwrap()
}

#[test]
fn every_verb_has_examples_and_exit_codes_that_fit() {
    let paths = paths();
    for path in [&["check"][..], &["bundle", "verify"], &["export", "json-schema"], &["ca", "token"]] {
        assert!(paths.iter().any(|p| p == path), "{path:?} is not in {paths:?}");
    }
    for path in paths {
        let (wide, narrow) = (help(&path, "100"), help(&path, "80"));
        assert!(wide.contains("Exit codes:"), "{path:?}");
        assert_eq!(tail(&wide), tail(&narrow), "`{} --help` is broken at 80 columns", path.join(" "));
        assert!(tail(&wide).lines().all(|line| line.chars().count() <= 80), "{path:?}");
    }
}

/// As its reader does: copied, pasted into a shell, run.
#[test]
fn the_example_of_decide_can_be_pasted() {
    let help = help(&["decide".to_owned()], "80");
    let example: Vec<_> = tail(&help).lines().skip(2).take_while(|line| !line.is_empty()).collect();
    let program = Path::new(env!("CARGO_BIN_EXE_portreeve"));
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap());
    let shell =
        Command::new("sh").arg("-c").arg(example.join("\n")).env("PATH", path).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    let out = String::from_utf8_lossy(&shell.stdout);
    assert_eq!(shell.status.code(), Some(1), "{out}{}", String::from_utf8_lossy(&shell.stderr));
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(out.contains(r#""reason":"no-permission""#) && out.contains(r#""nearest":[{"id":"invoices-reads-items""#), "{out}");
}
