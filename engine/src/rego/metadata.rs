//! What a module says about itself in the `# METADATA` comment above its `package`.
//!
//! Only `custom.portreeve` is read, and strictly; everything else in such a comment belongs to other tools. The comment is
//! turned into YAML in place, so that every complaint names the line and column of the file.

use super::place;
use crate::bundle::govern::governance;
use crate::diagnostic::{Diagnostic, Location};
use crate::model::Governance;
use crate::yaml::{self, Fields, Node};

/// What the metadata of a module can set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    /// The services its rules are limited to, sorted, and where that is said.
    pub(super) services: Option<(Vec<String>, Location)>,
    /// Whether it is written in the older syntax.
    pub(super) v0: bool,
    /// Why its rules exist and who answers for them.
    pub(super) governance: Governance,
}

/// Reads the metadata of a module.
pub(super) fn read(file: &str, text: &str, out: &mut Vec<Diagnostic>) -> Metadata {
    let mut metadata = Metadata::default();
    let lines: Vec<&str> = text.lines().collect();
    let mut first = 0;
    while let Some(line) = lines.get(first) {
        if !is_heading(line) {
            first += 1;
            continue;
        }
        let comments = lines.iter().skip(first + 1).take_while(|l| l.trim_start().starts_with('#')).count();
        let after = first + 1 + comments;
        let package = lines.get(after).is_some_and(|l| l.split_whitespace().next() == Some("package"));
        if let Some(found) = ours(file, &lines, first + 1, after) {
            match found {
                Err(diagnostic) => out.push(diagnostic.with_source(text)),
                Ok(node) if package => metadata = fields(file, &node, out),
                Ok(node) => out.push(
                    Diagnostic::error("rego-metadata", "`portreeve` metadata stands above something else than the package")
                        .at(node.location(file))
                        .help("put it into the comment right above `package`; it holds for the whole module"),
                ),
            }
        }
        first = after;
    }
    metadata
}

fn is_heading(line: &str) -> bool {
    line.trim().strip_prefix('#').is_some_and(|l| l.trim() == "METADATA")
}

/// The node of `custom.portreeve` in the comment lines from `first` up to `after`, if there is one.
fn ours(file: &str, lines: &[&str], first: usize, after: usize) -> Option<Result<Node, Diagnostic>> {
    let comment = lines.get(first..after)?;
    // Metadata that is not ours may be anything, so a comment without our name is not even parsed.
    if !comment.iter().any(|l| l.contains("portreeve")) {
        return None;
    }
    let mut text = "\n".repeat(first);
    for line in comment {
        text.push_str(&line.replacen('#', " ", 1));
        text.push('\n');
    }
    match yaml::parse(file, &text) {
        Err(diagnostic) => Some(Err(diagnostic)),
        Ok(documents) => documents.first()?.get("custom")?.get("portreeve").cloned().map(Ok),
    }
}

fn fields(file: &str, node: &Node, out: &mut Vec<Diagnostic>) -> Metadata {
    let mut metadata = Metadata::default();
    let Some(mut fields) = Fields::of(file, node, out) else { return metadata };
    if let Some(node) = fields.take("services") {
        let mut services: Vec<String> = yaml::texts(file, node, out).iter().map(|t| t.text.to_owned()).collect();
        services.sort();
        services.dedup();
        if services.is_empty() {
            out.push(
                Diagnostic::error("invalid-value", "a module limited to no service never applies")
                    .at(node.location(file))
                    .help("name a service, or remove `services` to apply to all"),
            );
        }
        metadata.services = Some((services, node.location(file)));
    }
    if let Some(version) = fields.text("rego_version", out) {
        match version.text {
            "0" => metadata.v0 = true,
            "1" => {}
            _ => out.push(
                Diagnostic::error("invalid-value", format!("`{}` is not a version of Rego", version.text))
                    .at(version.location(file))
                    .help("use 1 (the default) or 0"),
            ),
        }
    }
    metadata.governance = governance(&mut fields, out);
    fields.finish(out);
    metadata
}

/// Where the module begins, for what concerns it as a whole.
pub(super) fn top(file: &str, text: &str) -> Location {
    place(file, text, 0, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> (Metadata, Vec<(String, u32, u32)>) {
        let mut out = Vec::new();
        let metadata = read("a.rego", text, &mut out);
        let faults = out
            .into_iter()
            .map(|d| {
                let at = d.location.unwrap();
                (d.message, at.line, at.column)
            })
            .collect();
        (metadata, faults)
    }

    #[test]
    fn services_and_version_are_read() {
        let (m, faults) = check(
            "# a note\n\n# METADATA\n# title: Items\n# custom:\n#   team: x\n#   portreeve:\n#     services: [users, items]\n#     rego_version: 0\npackage portreeve.items\n",
        );
        assert!(faults.is_empty(), "{faults:?}");
        assert!(m.v0);
        let (services, at) = m.services.unwrap();
        assert_eq!(services, ["items", "users"]);
        assert_eq!((at.line, at.column), (8, 17));
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        for text in [
            "package p\n",
            "# METADATA\n# title: [broken\npackage p\n",
            "# METADATA\n# title: about portreeve\npackage p\n",
            "# portreeve: {services: [a]}\npackage p\n",
        ] {
            assert_eq!(check(text), (Metadata::default(), Vec::new()), "{text}");
        }
    }

    #[test]
    fn faults_have_places() {
        for (text, line, column, word) in [
            ("# METADATA\n# custom:\n#   portreeve:\n#     service: [a]\npackage p\n", 4, 7, "service"),
            ("# METADATA\n# custom:\n#   portreeve: {services: []}\npackage p\n", 3, 27, "never applies"),
            ("# METADATA\n# custom:\n#   portreeve: {rego_version: 2}\npackage p\n", 3, 31, "`2`"),
            ("package p\n# METADATA\n# custom: {portreeve: {services: [a]}}\nallow := true\n", 3, 23, "above something else"),
            ("# METADATA\n# custom: {portreeve: {services: &a [x]}}\npackage p\n", 2, 34, "anchor"),
        ] {
            let (_, faults) = check(text);
            assert_eq!(faults.len(), 1, "{text} {faults:?}");
            assert_eq!((faults[0].1, faults[0].2), (line, column), "{text}");
            assert!(faults[0].0.contains(word), "{faults:?}");
        }
    }
}
