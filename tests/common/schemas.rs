//! What the tests of both JSON Schemas share: the schema as it is printed, and YAML as an editor reads it.

use std::process::Command;

use portreeve_engine::yaml::{Node, Value as Yaml};
use serde_json::{Value, json};

/// The schema that `export json-schema` prints for these words.
pub(crate) fn exported(of: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_portreeve")).args(["export", "json-schema"]).args(of).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// As an editor reads it: what is written without quotes may be a number, `true` or `false`.
pub(crate) fn plain(node: &Node) -> Value {
    match &node.value {
        Yaml::Sequence(items) => items.iter().map(plain).collect(),
        Yaml::Mapping(items) => items.iter().map(|(k, v)| (k.as_str().unwrap().to_owned(), plain(v))).collect(),
        Yaml::Scalar(_, _) if node.is_null() => Value::Null,
        Yaml::Scalar(text, true) if matches!(text.as_str(), "true" | "false") => json!(text == "true"),
        Yaml::Scalar(text, true) if text.parse::<i64>().is_ok() => json!(text.parse::<i64>().unwrap()),
        Yaml::Scalar(text, true) if text.parse::<f64>().is_ok() => json!(text.parse::<f64>().unwrap()),
        Yaml::Scalar(text, _) => json!(text),
    }
}
