//! The JSON Schema (2020-12) of the configuration file, for editors: completion, and mistakes underlined while they are typed.
//!
//! It says what can be said of a file by its shape; bounds of times, and what one field means for another far away, only the reader
//! knows (`enforce --check`). Every field of it is held against the reader in a test (`tests/config_schema.rs`).

use serde_json::Value;

/// The schema of a configuration file.
#[must_use]
pub fn json_schema() -> Value {
    // It is a file of ours, read by every test run; were it no JSON, the schema would be one that allows nothing.
    serde_json::from_str(include_str!("schema.json")).unwrap_or(Value::Bool(false))
}
