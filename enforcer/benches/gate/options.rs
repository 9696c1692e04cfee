//! `--name value` pairs.

use std::collections::BTreeMap;
use std::str::FromStr;

/// What was given on the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut out = BTreeMap::new();
        while let Some(name) = arguments.next() {
            let Some(name) = name.strip_prefix("--").map(str::to_owned) else { panic!("`{name}` is not an option") };
            let value = arguments.next().unwrap_or_else(|| panic!("`--{name}` needs a value"));
            out.insert(name, value);
        }
        Self(out)
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn get<T: FromStr>(&self, name: &str) -> Option<T> {
        let text = self.text(name)?;
        Some(text.parse().unwrap_or_else(|_| panic!("`--{name} {text}` cannot be read")))
    }

    pub(crate) fn or<T: FromStr>(&self, name: &str, default: T) -> T {
        self.get(name).unwrap_or(default)
    }

    pub(crate) fn need<T: FromStr>(&self, name: &str) -> T {
        self.get(name).unwrap_or_else(|| panic!("`--{name}` is missing"))
    }
}
