//! The JSON Schema (2020-12) of policy files, for editors: completion, and mistakes underlined while they are typed.
//!
//! It says what can be said of one resource by itself: which fields there are and what they hold. What needs the rest of the
//! bundle, or counting, only `check` knows. The tables below are held against the reader field by field in a test: a field that
//! is read and not here, or here and not read, fails it.

use serde_json::{Value, json};

use crate::model::{GovernanceField, Upgrade};
use crate::path::Paths;

pub mod shape;

use shape::Holds::{Boolean, Count, Date, ListOf, ManyWords, MapToText, MapToTexts, MapToToken, MapToType, NamesOr, Of, OneOrListOf};
use shape::Holds::{SomeTexts, Text, Texts, Token, Words};
use shape::{Field, Shape};

/// The schema of one resource of a policy file.
#[must_use]
pub fn json_schema() -> Value {
    shape::document("Portreeve policy file", KINDS, SHAPES, [("token", json!({"type": "object", "minProperties": 0}))])
}

/// Protocols of `upgrade`.
const UPGRADES: &[&str] = &[Upgrade::WebSocket.as_str()];

const PATHS: &[&str] = &[
    Paths::Strict.as_str(),
    Paths::None.as_str(),
    Paths::Base.as_str(),
    Paths::MergeSlashes.as_str(),
    Paths::DecodeAndMergeSlashes.as_str(),
];

const REQUIRABLE: &[&str] = &[
    GovernanceField::Justification.as_str(),
    GovernanceField::Owner.as_str(),
    GovernanceField::ApprovedBy.as_str(),
    GovernanceField::Ticket.as_str(),
    GovernanceField::ReviewBy.as_str(),
];

/// The kinds of resources.
const KINDS: &[Shape] = &[
    Shape {
        name: "Service",
        doc: "Who exists, what they offer, what they touch",
        one_of: &[],
        fields: &[
            Field("identities", Texts, false, "SPIFFE IDs of its workloads; in a pattern `*` is one segment, a final `**` one or more"),
            Field("hosts", Texts, false, "Names of a place outside the mesh, such as `api.partner.example`; it has no identities then"),
            Field("owner", Text, false, "Who answers for it"),
            Field("zone", Text, false, "The zone it lives in"),
            Field("data", Texts, false, "Classes of data it touches"),
            Field("labels", MapToText, false, "Free labels"),
            Field("headers", MapToType, false, "Headers that policies may read, by lower-case name; they are recorded"),
            Field("query", MapToType, false, "Query parameters that policies may read; they are recorded"),
            Field("claims", MapToType, false, "Claims that policies may read besides iss, sub, aud and scope; they are recorded"),
            Field("paths", Words(PATHS), false, "How it reads paths; `strict` where nothing is said"),
            Field("operations", ListOf("operation"), false, "What it offers"),
        ],
    },
    Shape {
        name: "Group",
        doc: "A named set of services and groups",
        one_of: &[],
        fields: &[Field("members", SomeTexts, true, "Services and groups")],
    },
    Shape {
        name: "Zone",
        doc: "A declared zone; where one is declared, all are",
        one_of: &[],
        fields: &[
            Field("sensitive", Boolean, false, "Whether `check` warns of wide grants into it"),
            Field("require", ManyWords(REQUIRABLE), false, "Governance fields that every policy into it must have"),
        ],
    },
    Shape {
        name: "Permission",
        doc: "One grant or one prohibition",
        one_of: &["allow", "deny"],
        fields: &[
            Field("allow", Of("scope"), false, "A grant"),
            Field("deny", Of("scope"), false, "A prohibition; it beats every grant"),
            Field(
                "mode",
                Words(&["enforce", "dry-run"]),
                false,
                "`dry-run`: named in a decision's `shadow` where satisfied, without a say",
            ),
            Field("when", Of("condition"), false, "Conditions; all must hold"),
            Field("limit", Of("limit"), false, "Limits for the enforcer; they alter no decision"),
            Field("justification", Text, false, "The business reason"),
            Field("owner", Text, false, "Who answers for it"),
            Field("approved_by", SomeTexts, false, "Who agreed"),
            Field("ticket", Text, false, "Where it was discussed"),
            Field("review_by", Date, false, "The day by which it must be looked at again"),
        ],
    },
    Shape {
        name: "Invariant",
        doc: "What must hold for every possible request",
        one_of: &["never", "always"],
        fields: &[
            Field("never", Of("claim"), false, "No such call, or no chain of calls, is ever allowed"),
            Field("always", Of("claim"), false, "Every such call is allowed on no condition"),
            Field("controls", Texts, false, "Controls on which it bears, such as `pci-1.4.4`"),
        ],
    },
    Shape {
        name: "Exception",
        doc: "A deviation that somebody approved, for a reason and until a day",
        one_of: &["invariant", "lint", "control"],
        fields: &[
            Field("invariant", Text, false, "The invariant that may be broken"),
            Field("from", NamesOr("callers"), false, "By these callers"),
            Field("to", NamesOr("called"), false, "What they call"),
            Field("reaches", NamesOr("called"), false, "By chains that end there"),
            Field("lint", Text, false, "The code of the lint that is silent"),
            Field("control", Text, false, "The control that is not asked for"),
            Field("of", Text, false, "The policy, group or service that it is about"),
            Field("reason", Text, true, "Why it is needed"),
            Field("approved_by", SomeTexts, true, "Who agreed"),
            Field("ticket", Text, false, "Where it was discussed"),
            Field("expires", Date, true, "The last day on which it holds"),
        ],
    },
    Shape {
        name: "Test",
        doc: "What the authors meant, case by case",
        one_of: &[],
        fields: &[
            Field("fixtures", MapToToken, false, "Tokens by name, used as `jwt: $name` in any test"),
            Field("cases", ListOf("case"), false, "Questions and their answers"),
        ],
    },
];

/// What stands within resources.
const SHAPES: &[Shape] = &[
    Shape {
        name: "operation",
        doc: "One thing a service offers: method and path, a gRPC method, or a port",
        one_of: &["path", "grpc", "port"],
        fields: &[
            Field("id", Text, true, "Unique in its service"),
            Field("method", SomeTexts, false, "HTTP methods"),
            Field("path", Text, false, "A path template such as `/v1/items/{id}` or `/files/{rest*}`"),
            Field("grpc", Text, false, "`package.Service/Method`"),
            Field("port", Count, false, "A TCP port"),
            Field("data", Texts, false, "Classes of data besides its service's"),
            Field("sensitive", Texts, false, "Path parameters that are neither recorded nor visible to policies"),
            Field("upgrade", ManyWords(UPGRADES), false, "Protocols to which a request may switch its connection"),
        ],
    },
    Shape {
        name: "scope",
        doc: "Who may or must not call what",
        one_of: &[],
        fields: &[
            Field("from", SomeTexts, true, "Services, groups, SPIFFE IDs, patterns, or `any-authenticated`"),
            Field("to", SomeTexts, true, "Services and groups"),
            Field("operations", SomeTexts, true, "Operation ids; or `'*'`, every declared one; or `any-path`, undeclared ones too"),
            Field("methods", SomeTexts, false, "Only these methods"),
        ],
    },
    Shape {
        name: "condition",
        doc: "All parts given must hold",
        one_of: &[],
        fields: &[
            Field("jwt", Of("jwt"), false, "A verified user token with these facts"),
            Field("source", SomeTexts, false, "Networks of the connection's address"),
            Field("time", OneOrListOf("window"), false, "Times of day in UTC"),
            Field("not_before", Text, false, "A day or a UTC time"),
            Field("expires", Text, false, "A day, which is still inside, or a UTC time"),
            Field("headers", MapToTexts, false, "Each header has one of these values"),
            Field("query", MapToTexts, false, "Each query parameter has one of these values"),
        ],
    },
    Shape {
        name: "jwt",
        doc: "What must hold of the user token",
        one_of: &[],
        fields: &[
            Field("issuer", SomeTexts, false, "One of these issuers"),
            Field("audience", SomeTexts, false, "One of these audiences"),
            Field("scopes", SomeTexts, false, "All of these scopes"),
            Field("scopes_any", SomeTexts, false, "One of these scopes"),
            Field("claims", MapToTexts, false, "Each claim has, or contains, one of these values"),
        ],
    },
    Shape {
        name: "window",
        doc: "A part of the day in UTC; it may run over midnight",
        one_of: &[],
        fields: &[Field("from", Text, true, "`\"08:00\"`, inside"), Field("to", Text, true, "`\"18:00\"`, no longer inside")],
    },
    Shape {
        name: "limit",
        doc: "For the enforcer",
        one_of: &[],
        fields: &[
            Field("rate", Text, false, "`200/s`, `1000/m` or `50/h`"),
            Field("burst", Count, false, "What may come at once above the rate"),
            Field("concurrency", Count, false, "Requests in flight"),
        ],
    },
    Shape {
        name: "claim",
        doc: "What is claimed of all requests",
        one_of: &["to", "reaches"],
        fields: &[
            Field("from", NamesOr("callers"), true, "Callers"),
            Field("to", NamesOr("called"), false, "What is called"),
            Field("reaches", NamesOr("called"), false, "Where chains of calls end"),
            Field("except_through", SomeTexts, false, "Services through which a chain may lead"),
        ],
    },
    Shape {
        name: "callers",
        doc: "Callers that have all of these",
        one_of: &[],
        fields: &[
            Field("service", SomeTexts, false, "Services and members of groups"),
            Field("zone", SomeTexts, false, "In one of these zones"),
            Field("data", SomeTexts, false, "Touching one of these classes of data"),
            Field("identity", SomeTexts, false, "SPIFFE IDs, patterns, `any-authenticated` or `strangers`"),
        ],
    },
    Shape {
        name: "called",
        doc: "Operations that have all of these",
        one_of: &[],
        fields: &[
            Field("service", SomeTexts, false, "Of services and members of groups"),
            Field("zone", SomeTexts, false, "Of services in one of these zones"),
            Field("data", SomeTexts, false, "Touching one of these classes of data"),
            Field("operation", SomeTexts, false, "Operation ids"),
            Field("method", SomeTexts, false, "HTTP methods"),
        ],
    },
    Shape {
        name: "case",
        doc: "One question and its answer, or one for each combination of the matrix",
        one_of: &[],
        fields: &[
            Field("matrix", MapToTexts, false, "Parameters and their values; `{name}` stands for the value"),
            Field("as", Text, false, "A service or a SPIFFE ID"),
            Field("call", Text, false, "`METHOD service/path`, or `connect service:port`"),
            Field("expect", Words(&["allow", "deny"]), false, "The effect"),
            Field("jwt", Token, false, "A user token, or `$name` of a fixture"),
            Field("headers", MapToTexts, false, "Request headers"),
            Field("source", Text, false, "The address of the connection"),
            Field("time", Text, false, "UTC, such as `2026-11-22T23:30:00Z`"),
            Field("because", Text, false, "The reason expected"),
            Field("policies", Texts, false, "The policies that decide, all of them"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::bundle::declare::{self, Declared};

    /// The fields that the reader knows where `zzzzzzzz` stands.
    fn read(document: &str) -> BTreeSet<String> {
        let mut problems = Vec::new();
        declare::file("t.yaml", document, &mut Declared::default(), &mut problems);
        let unknown = problems.iter().find(|p| p.code == "unknown-field" && p.message.contains("zzzzzzzz"));
        let help = unknown.and_then(|p| p.help.as_deref()).unwrap_or_else(|| panic!("{document}: {problems:#?}"));
        let fields = help.strip_prefix("the fields are: ").unwrap();
        fields.split(", ").filter(|name| !matches!(*name, "kind" | "name")).map(str::to_owned).collect()
    }

    #[test]
    fn the_schema_has_the_fields_that_the_reader_has() {
        let top = |kind: &str| (kind.to_owned(), format!("kind: {kind}\nname: n\nzzzzzzzz: 1\n"));
        let within = |shape: &str, document: &str| (shape.to_owned(), document.to_owned());
        let mut all: Vec<(String, String)> = KINDS.iter().map(|kind| top(kind.name)).collect();
        let permission = |rest: &str| format!("kind: Permission\nname: n\nallow: {{from: a, to: b, operations: c}}\n{rest}");
        all.extend([
            within("operation", "kind: Service\nname: n\noperations: [{zzzzzzzz: 1}]\n"),
            within("scope", "kind: Permission\nname: n\nallow: {zzzzzzzz: 1}\n"),
            within("condition", &permission("when: {zzzzzzzz: 1}\n")),
            within("jwt", &permission("when: {jwt: {zzzzzzzz: 1}}\n")),
            within("window", &permission("when: {time: {zzzzzzzz: 1}}\n")),
            within("limit", &permission("limit: {zzzzzzzz: 1}\n")),
            within("claim", "kind: Invariant\nname: n\nnever: {zzzzzzzz: 1}\n"),
            within("callers+called", "kind: Invariant\nname: n\nnever: {from: {zzzzzzzz: 1}, to: a}\n"),
            within("callers+called", "kind: Invariant\nname: n\nnever: {from: a, to: {zzzzzzzz: 1}}\n"),
            within("case", "kind: Test\nname: n\ncases: [{zzzzzzzz: 1}]\n"),
        ]);
        let mut seen = BTreeSet::new();
        for (names, document) in all {
            // Both sides of a selector have one reader; a part on the wrong side is refused by name. A matrix is gone by the time
            // its case is read.
            let shapes = || SHAPES.iter().chain(KINDS).filter(|shape| names.split('+').any(|name| name == shape.name));
            let mut table: BTreeSet<String> = shapes().flat_map(|shape| shape.fields).map(|f| f.0.to_owned()).collect();
            table.remove("matrix");
            assert_eq!(read(&document), table, "{names}");
            seen.extend(shapes().map(|shape| shape.name));
        }
        assert_eq!(seen.len(), SHAPES.len() + KINDS.len(), "a shape is not held against the reader");
    }

    #[test]
    fn every_field_is_described() {
        for shape in SHAPES.iter().chain(KINDS) {
            assert!(!shape.doc.is_empty() && shape.fields.iter().all(|f| f.3.len() > 5), "{}", shape.name);
            assert!(shape.one_of.iter().all(|name| shape.fields.iter().any(|f| f.0 == *name)), "{}", shape.name);
        }
    }
}
