//! Every bound of the enforcer is found in one place: the page of the book lists what the sources say, with value and reason.
//!
//! `PORTREEVE_BLESS=1` writes the page anew.

#![cfg(test)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const HEAD: &str = "# Bounds of the enforcer

What has no bound is a denial of service. Here is every one that the enforcer has, with its reason; what a configuration may change is
said in [enforcer](enforcer.md) and [outbound](outbound.md). The page is written by a test (`enforcer/tests/bounds.rs`) from the sources and
fails the build where it does not say what they say.
";

/// The parts, in the order in which the page has them.
const PARTS: [(&str, &str); 8] = [
    ("limits.rs", "Connections, requests, log, policy"),
    ("tls/limits.rs", "Handshakes and certificates"),
    ("jwt/limits.rs", "User tokens and key sets"),
    ("outbound/limits.rs", "Ways out"),
    ("fetch/limits.rs", "Fetches of the control plane"),
    ("workload/limits.rs", "The Workload API, as its client"),
    ("ca/limits.rs", "The built-in authority"),
    ("sts/limits.rs", "The security token service"),
];

struct Bound {
    name: String,
    value: String,
    why: String,
}

/// The constants of a file with the lines of their documentation.
fn bounds(source: &str) -> Vec<Bound> {
    let (mut out, mut why) = (Vec::new(), Vec::new());
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        let line = line.trim();
        if let Some(text) = line.strip_prefix("///") {
            why.push(text.trim().to_owned());
            continue;
        }
        let constant = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).or_else(|| line.strip_prefix("pub(super) "));
        if let Some(rest) = constant.unwrap_or(line).strip_prefix("const ").filter(|rest| !rest.starts_with("fn ")) {
            let mut text = rest.to_owned();
            while !text.ends_with(';') {
                text.push(' ');
                text.push_str(lines.next().expect("a constant ends").trim());
            }
            let (name, value) = text.trim_end_matches(';').split_once(" = ").expect("a constant has a value");
            let name = name.split(':').next().unwrap().to_owned();
            out.push(Bound { name, value: spelled(value), why: std::mem::take(&mut why).join(" ") });
        }
        why.clear();
    }
    out
}

/// `Duration::from_secs(5)` as people say it.
fn spelled(value: &str) -> String {
    for (unit, word) in [("from_secs", "s"), ("from_millis", "ms")] {
        let inside = value.strip_prefix(&format!("Duration::{unit}(")).and_then(|v| v.strip_suffix(')'));
        if let Some(amount) = inside {
            return format!("{} {word}", amount.replace('*', "×"));
        }
    }
    format!("`{}`", value.replace('|', "\\|"))
}

fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, out);
        } else if path.file_name().is_some_and(|name| name == "limits.rs") {
            out.push(path);
        }
    }
}

#[test]
fn the_page_of_bounds_says_what_the_sources_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (src, page) = (root.join("src"), root.join("../docs/bounds.md"));
    let mut found = Vec::new();
    sources(&src, &mut found);
    let mut text = HEAD.to_owned();
    for (file, title) in PARTS {
        let path = src.join(file);
        found.retain(|other| *other != path);
        write!(text, "\n## {title}\n\n| bound | is | because |\n|---|---|---|\n").unwrap();
        let all = bounds(&std::fs::read_to_string(&path).unwrap());
        assert!(!all.is_empty(), "{file} has no bound");
        for Bound { name, value, why } in all {
            assert!(!why.is_empty(), "{file}: `{name}` says nothing of itself");
            writeln!(text, "| `{name}` | {value} | {} |", why.replace('|', "\\|").replace("[`", "`").replace("`]", "`")).unwrap();
        }
    }
    assert!(found.is_empty(), "these have no place in the page: {found:?}");
    if std::env::var_os("PORTREEVE_BLESS").is_some() {
        std::fs::write(&page, &text).unwrap();
    }
    let is = std::fs::read_to_string(&page).unwrap_or_default();
    assert!(
        is == text,
        "docs/bounds.md is not what the sources say; PORTREEVE_BLESS=1 cargo test -p portreeve-enforcer --test bounds writes it anew"
    );
}

/// Constants that look like bounds and are none: the file, the name, what it is.
const NO_BOUNDS: [(&str, &str, &str); 5] = [
    ("h1/timer.rs", "FAR", "where a timer rests that nobody waits for"),
    ("workload/wire.rs", "FIELD_MAX", "a number of the wire format"),
    ("jwt/verifier.rs", "DATE_MS_MAX", "beyond it a number with a fraction is no whole number any more"),
    ("sizes.rs", "", "sizes that tests hold types to"),
    ("fetch/tests.rs", "", "of tests"),
];

/// A time, a size or a count that bounds something stands in a `limits.rs`, and so on the page.
#[test]
fn no_bound_hides_beside_its_use() {
    fn rust(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                rust(&path, out);
            } else if path.extension().is_some_and(|e| e == "rs") {
                out.push(path);
            }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut hidden, mut seen) = (Vec::new(), Vec::new(), 0);
    rust(&src, &mut files);
    for path in files.iter().filter(|path| path.file_name().is_some_and(|name| name != "limits.rs")) {
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for line in code.lines().map(str::trim_start) {
            let line = line
                .strip_prefix("pub ")
                .or_else(|| line.strip_prefix("pub(crate) "))
                .or_else(|| line.strip_prefix("pub(super) "))
                .unwrap_or(line);
            let Some((constant, kind)) =
                line.strip_prefix("const ").filter(|rest| !rest.starts_with("fn ")).and_then(|rest| rest.split_once(": "))
            else {
                continue;
            };
            seen += 1;
            let is_bound = kind.starts_with("Duration") || kind.starts_with("std::time::Duration") || constant.ends_with("_MAX");
            if is_bound && !NO_BOUNDS.iter().any(|(file, of, _)| *file == name && (of.is_empty() || *of == constant)) {
                hidden.push(format!("{name}: {constant}"));
            }
        }
    }
    assert!(seen > 50, "only {seen} constants were seen");
    assert!(hidden.is_empty(), "give these a name and a reason in a `limits.rs`: {hidden:?}");
}
