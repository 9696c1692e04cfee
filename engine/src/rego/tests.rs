//! The meaning of a rule, what is refused and where, and the agreement of the two evaluators.

use regorus::{Engine, Value};

use super::{RegoError, RegoModules};
use crate::decision::Effect;

const INPUT: &str = r#"{
    "principal": "spiffe://market.example/ns/shop/sa/invoices", "service": "items", "method": "GET", "path": "/v1/items/42",
    "segments": ["v1", "items", "42"], "operation": "read-item",
    "source": {"id": "spiffe://market.example/ns/shop/sa/invoices", "service": "invoices", "ip": "10.0.0.7"},
    "context": {"time": "2026-11-22T10:00:00.000Z", "source_ip": "10.0.0.7", "headers": {"x-tenant": "eu"}, "query": {},
                "jwt": {"iss": "https://idp", "sub": "ann", "aud": ["items"], "scope": "items:read items:write"}}
}"#;

fn compile(text: &str) -> RegoModules {
    match RegoModules::compile(&[("a.rego", text)]) {
        Ok(modules) => modules,
        Err(faults) => panic!("{text}\n{}", faults.iter().map(crate::Diagnostic::render).collect::<String>()),
    }
}

fn module(body: &str) -> String {
    format!("package portreeve.t\n{body}\n")
}

fn run(text: &str) -> Result<bool, RegoError> {
    let modules = compile(text);
    assert_eq!(modules.rules().len(), 1, "{text}");
    modules.evaluate(0, &Value::from_json_str(INPUT).unwrap())
}

/// The interpreter's answer to the same question: the outside judge.
fn interpreted(text: &str) -> Result<bool, ()> {
    let mut engine = Engine::new();
    engine.set_strict_builtin_errors(true);
    engine.set_rego_v0(text.contains("rego_version: 0"));
    engine.add_policy("a.rego".to_owned(), text.to_owned()).unwrap();
    engine.set_input(Value::from_json_str(INPUT).unwrap());
    let rule = if text.contains("allow") { "data.portreeve.t.allow" } else { "data.portreeve.t.deny" };
    super::evaluate::satisfied("x", engine.eval_rule(rule.to_owned()).map_err(|_| ())?).map_err(|_| ())
}

/// Policies of every construct, and their meaning: `t`, `f`, or an error `e`.
const MEANINGS: &[(&str, &str)] = &[
    ("allow := true", "t"),
    ("allow := false", "f"),
    ("default allow := false\nallow if input.method == \"POST\"", "f"),
    ("default allow := true\nallow := false if input.method == \"GET\"", "f"),
    ("default allow := true", "t"),
    ("default allow := true\nallow if input.nothing", "t"),
    ("allow if input.nothing.below == 1", "f"),
    ("allow if input.method == \"GET\"", "t"),
    ("allow if {\n input.method == \"POST\"\n}\nallow if {\n input.method == \"GET\"\n}", "t"),
    ("allow if not input.nothing", "t"),
    ("allow if not input.method", "f"),
    ("allow if not f(input.method)\nf(x) if x == \"GET\"", "f"),
    ("allow contains \"a\" if input.method == \"GET\"", "t"),
    ("allow contains \"a\" if input.method == \"POST\"", "f"),
    ("deny contains msg if {\n input.method == \"GET\"\n msg := sprintf(\"no %s\", [input.path])\n}", "t"),
    ("deny contains s if some s in input.segments", "t"),
    ("deny contains s if {\n some s in input.segments\n s == \"x\"\n}", "f"),
    ("deny := set()", "f"),
    ("deny := {\"a\"}", "t"),
    ("deny := {1}", "e"),
    ("deny := {\"a\", 1}", "e"),
    ("deny contains 1", "e"),
    ("allow := 1", "e"),
    ("allow := \"yes\"", "e"),
    ("allow := null", "e"),
    ("allow := [true]", "e"),
    ("allow := {\"allowed\": true}", "e"),
    ("allow := true if input.method == \"GET\"\nallow := false if input.path", "e"),
    ("allow if to_number(\"x\") > 0", "e"),
    ("allow if not to_number(\"x\")", "e"),
    ("allow if 1 / 0 == 1", "e"),
    ("allow if \"a\" + 1 == 2", "e"),
    ("allow if regex.match(\"(\", \"a\")", "e"),
    ("allow if some s in input.segments", "t"),
    ("allow if {\n some i\n input.segments[i] == \"items\"\n i == 1\n}", "t"),
    ("allow if \"items\" in input.segments", "t"),
    ("allow if 1, \"items\" in input.segments", "t"),
    ("allow if not \"x\" in input.segments", "t"),
    ("allow if input.segments[_] == \"42\"", "t"),
    ("allow if {\n some k, v in input.context.headers\n k == \"x-tenant\"\n v == \"eu\"\n}", "t"),
    ("allow if every s in input.segments { count(s) > 0 }", "t"),
    ("allow if every s in input.segments { count(s) > 2 }", "f"),
    ("allow if every i, s in input.segments {\n i < 3\n count(s) > 0\n}", "t"),
    ("allow if every s in [] { s == 1 }", "t"),
    ("allow if every s in input.nothing { s == 1 }", "f"),
    ("allow if count([s | some s in input.segments; count(s) > 2]) == 1", "t"),
    ("allow if {\"v1\", \"items\", \"42\"} == {s | some s in input.segments}", "t"),
    ("allow if {\n m := {i: s | some i, s in input.segments}\n m[1] == \"items\"\n}", "t"),
    ("allow if {\n xs := [x | some y in [[1, 2], [3]]; some x in y]\n xs == [1, 2, 3]\n}", "t"),
    ("allow if f(3) == 6\nf(x) := x * 2", "t"),
    ("allow if f(3) == 1\nf(x) := 1 if x > 2\nf(x) := 2 if x <= 2", "t"),
    ("allow if f(1) == \"one\"\nf(1) := \"one\"\nf(2) := \"two\"", "t"),
    ("allow if f([1, 2]) == 3\nf([a, b]) := a + b", "t"),
    ("allow if f(0) == \"small\"\nf(x) := \"large\" if x > 9 else := \"small\" if x < 5 else := \"middle\"", "t"),
    ("allow if f(7) == \"middle\"\nf(x) := \"large\" if x > 9 else := \"small\" if x < 5 else := \"middle\"", "t"),
    ("allow := false if input.method == \"GET\" else := true", "f"),
    ("allow if [a, b] = [1, 2]", "t"),
    ("allow if {\n [_, name, id] := input.segments\n name == \"items\"\n id == \"42\"\n}", "t"),
    ("allow if {\n {\"iss\": iss} := {\"iss\": \"x\"}\n iss == \"x\"\n}", "t"),
    ("allow if members[input.source.service] == 1\nmembers := {\"invoices\": 1}", "t"),
    ("allow if members[input.source.service]\nmembers := {\"invoices\", \"users\"}", "t"),
    ("allow if members[\"ghost\"]\nmembers contains m if some m in [\"a\", \"b\"]", "f"),
    ("allow if roles.admin == {\"ann\"}\nroles[name] contains user if {\n some [name, user] in [[\"admin\", \"ann\"], [\"dev\", \"bob\"]]\n}", "t"),
    ("allow if limits.items == 5\nlimits[name] := n if some name, n in {\"items\": 5, \"users\": 3}", "t"),
    ("allow if {\n scopes := split(input.context.jwt.scope, \" \")\n \"items:read\" in scopes\n}", "t"),
    ("allow if net.cidr_contains(\"10.0.0.0/8\", input.context.source_ip)", "t"),
    ("allow if glob.match(\"/v1/items/*\", [\"/\"], input.path)", "t"),
    ("allow if regex.match(`^/v1/items/\\d+$`, input.path)", "t"),
    ("allow if startswith(input.principal, \"spiffe://market.example/\")", "t"),
    ("allow if {\n ns := time.parse_rfc3339_ns(input.context.time)\n [h, _, _] := time.clock([ns, \"Europe/Berlin\"])\n h == 11\n}", "t"),
    ("allow if count(numbers.range(1, 10)) == 10", "t"),
    ("allow if sum([x | some x in numbers.range(1, 100)]) == 5050", "t"),
    ("allow if {2} == {1, 2} & {2, 3}", "t"),
    ("allow if {\n x := {1, 2} | {2, 3}\n x == {1, 2, 3}\n}", "t"),
    ("allow if {1} == {1, 2} - {2, 3}", "t"),
    ("allow if 7 % 4 == 3", "t"),
    ("allow if object.get(input, [\"context\", \"headers\", \"x-none\"], \"none\") == \"none\"", "t"),
    ("allow if x == 3\nx := y + 1\ny := 2", "t"),
    ("allow if data.portreeve.t.x == 1\nx := 1", "t"),
    ("allow if data.portreeve.t.x[\"a\"].b == 1\nx := {\"a\": {\"b\": 1}}", "t"),
    ("allow if {\n x := {\"a\": [1, {\"b\": 2}]}\n x.a[1].b == 2\n}", "t"),
    ("allow if {\n some x\n pairs[x] == \"b\"\n x == 2\n}\npairs := {1: \"a\", 2: \"b\"}", "t"),
    ("allow if json.unmarshal(\"{\\\"a\\\": 1}\").a == 1", "t"),
    ("allow if concat(\",\", [\"a\", \"b\"]) == \"a,b\"", "t"),
    ("allow if {\n trim_prefix(input.path, \"/v1\") == x\n x = \"/items/42\"\n}", "t"),
    ("a if input.method == \"GET\"\nb if a\nallow if {\n a\n b\n}", "t"),
    ("allow if 0.1 + 0.2 < 1", "t"),
    ("allow if is_string(input.method)", "t"),
    ("allow if null == null", "t"),
    ("allow if false == input.flag", "f"),
    ("allow if [1, 2][_] == 2", "t"),
    ("allow if {\n some i, j\n m := [[1, 2], [3, 4]]\n m[i][j] == 4\n i == j\n}", "t"),
    ("allow if walkable.a.b.c\nwalkable.a.b.c := true", "t"),
    ("allow if {\"items\", \"42\"} == {x | x := input.segments[_]; x != \"v1\"}", "t"),
    ("allow if {\n not any_bad\n}\nany_bad if some s in input.segments; s == \"bad\"", "t"),
    ("allow if {\n count({s | some s in input.segments; not startswith(s, \"v\")}) == 2\n}", "t"),
    ("allow if {\n every s in input.segments {\n  every c in [1, 2] { count(s) >= c }\n }\n}", "t"),
];

#[test]
fn every_construct_has_its_meaning_in_both_evaluators() {
    let mut faults = Vec::new();
    for (body, want) in MEANINGS {
        let text = module(body);
        let word = |r: Result<bool, String>| match r {
            Ok(true) => "t".to_owned(),
            Ok(false) => "f".to_owned(),
            Err(e) => format!("e {e}"),
        };
        let ours = word(run(&text).map_err(|e| e.to_string()));
        let theirs = word(interpreted(&text).map_err(|()| String::new()));
        if !ours.starts_with(want) || !theirs.starts_with(want) {
            faults.push(format!("{body}\n  wanted {want}, got {ours}, the interpreter says {theirs}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
