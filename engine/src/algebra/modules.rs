//! The Rego that a rule can reach, as one text: rules whose texts are equal are the same function of their input.
//!
//! Read off the words of the files: a module reaches the modules of its own package and of every package that a `data.…`
//! in it can lead to. A `data` that leads nowhere in particular reaches all. Comments and texts count as words too, so it may
//! be too much, never too little.

use std::collections::BTreeSet;

use crate::bundle::Bundle;

/// The texts of all modules that the rule `package.rule` can reach, in the order of their paths, after the rule's own name.
pub(crate) fn reached(bundle: &Bundle, rule: &str) -> String {
    let files = bundle.files.iter().filter(|f| f.path.ends_with(".rego") && !f.path.ends_with("_test.rego"));
    let modules: Vec<Module<'_>> = files.filter_map(|f| Module::read(f.text().ok()?)).collect();
    let own = rule.rsplit_once('.').map_or(rule, |(package, _)| package);
    let mut taken: BTreeSet<usize> = BTreeSet::new();
    let mut open: Vec<Option<String>> = vec![Some(own.to_owned())];
    while let Some(place) = open.pop() {
        for (number, module) in modules.iter().enumerate() {
            if place.as_deref().is_none_or(|place| module.lies_at(place)) && taken.insert(number) {
                open.extend(module.references());
                open.push(Some(module.package.clone()));
            }
        }
    }
    taken.iter().filter_map(|n| modules.get(*n)).fold(rule.to_owned(), |out, module| format!("{out}\0{}", module.essence()))
}

struct Module<'a> {
    package: String,
    text: &'a str,
}

impl<'a> Module<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let package = text.lines().find_map(|line| line.trim_start().strip_prefix("package")?.split_whitespace().next())?;
        Some(Self { package: package.to_owned(), text })
    }

    /// The text without the lines that are comments or blank; a raw text may hold such lines, and the version is a comment.
    fn essence(&self) -> String {
        if self.text.contains('`') {
            return self.text.to_owned();
        }
        let kept = self.text.lines().filter(|line| {
            let line = line.trim();
            !line.is_empty() && (!line.starts_with('#') || line.contains("rego_version"))
        });
        kept.fold(String::new(), |out, line| out + line.trim_end() + "\n")
    }

    /// Whether a reference to `data.place` may lead here: one path begins with the other.
    fn lies_at(&self, place: &str) -> bool {
        let begins = |long: &str, short: &str| long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        begins(&self.package, place) || begins(place, &self.package) || self.package.contains('[')
    }

    /// Where each `data` in the text leads; `None` for everywhere.
    fn references(&self) -> Vec<Option<String>> {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let uses = self.text.match_indices("data").filter(|(at, found)| {
            let before = self.text.get(..*at).and_then(|t| t.chars().next_back());
            let after = self.text.get(at + found.len()..).and_then(|t| t.chars().next());
            !before.is_some_and(word) && !after.is_some_and(word)
        });
        uses.map(|(at, found)| {
            let rest = self.text.get(at + found.len()..)?;
            let path: String = rest.strip_prefix('.')?.chars().take_while(|c| word(*c) || *c == '.').collect();
            let path = path.trim_end_matches('.');
            (!path.is_empty()).then(|| path.to_owned())
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::SourceFile;

    fn texts(files: &[(&str, &str)], rule: &str) -> usize {
        let files = files.iter().map(|(p, t)| SourceFile { path: (*p).to_owned(), bytes: t.as_bytes().to_vec() }).collect();
        reached(&Bundle::from_files("test", files).unwrap(), rule).matches('\0').count()
    }

    #[test]
    fn a_package_and_what_it_names_are_reached() {
        let a = ("a.rego", "package portreeve.a\nimport data.lib.nets\nallow if nets.inside");
        let b = ("b.rego", "package portreeve.b\ndeny if input.x");
        let lib = ("l.rego", "package lib.nets\ninside if data.lib.more.y");
        let more = ("m.rego", "package lib.more\ny := 1");
        let test = ("a_test.rego", "package portreeve.a\ntest_x if true");
        let all = [a, b, lib, more, test];
        assert_eq!(texts(&all, "portreeve.a.allow"), 3);
        assert_eq!(texts(&all, "portreeve.b.deny"), 1);
        assert_eq!(texts(&[a, b, ("c.rego", "package lib\nz := data[input.x]"), lib], "portreeve.a.allow"), 4);
        assert_eq!(texts(&[("c.rego", "package portreeve.a\nx := data"), b, lib], "portreeve.a.allow"), 3);
    }

    #[test]
    fn comments_make_no_difference_and_the_version_does() {
        let text = |text: &str| {
            let file = SourceFile { path: "a.rego".to_owned(), bytes: text.as_bytes().to_vec() };
            reached(&Bundle::from_files("test", vec![file]).unwrap(), "p.allow")
        };
        let plain = text("package p\nallow if true\n");
        assert_eq!(plain, text("# why\npackage p\n\n  # how\nallow if true"));
        assert_ne!(plain, text("# rego_version: 0\npackage p\nallow if true"));
        assert_ne!(text("package p\nx := `\n# a\n`"), text("package p\nx := `\n# b\n`"));
    }
}
