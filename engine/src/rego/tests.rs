//! The meaning of a rule, what is refused and where, and the budget.

use regorus::Value;

use super::{RegoError, RegoModules};

const INPUT: &str = r#"{
    "principal": "spiffe://market.example/ns/shop/sa/invoices", "service": "items", "method": "GET", "path": "/v1/items/42",
    "segments": ["v1", "items", "42"], "operation": "read-item",
    "source": {"id": "spiffe://market.example/ns/shop/sa/invoices", "service": "invoices", "ip": "10.0.0.7"},
    "context": {"time": "2026-11-22T10:00:00.000Z", "source_ip": "10.0.0.7", "headers": {"x-tenant": "eu"}, "query": {},
                "jwt": {"iss": "https://idp", "sub": "ann", "aud": ["items"], "scope": "items:read items:write"}}
}"#;

pub(super) fn compile(text: &str) -> RegoModules {
    match RegoModules::compile(&[("a.rego", text)]) {
        Ok(modules) => modules,
        Err(faults) => panic!("{text}\n{}", faults.iter().map(crate::Diagnostic::render).collect::<String>()),
    }
}

pub(super) fn module(body: &str) -> String {
    format!("package portreeve.t\n{body}\n")
}

fn run(text: &str) -> Result<bool, RegoError> {
    let modules = compile(text);
    assert_eq!(modules.rules().len(), 1, "{text}");
    modules.evaluate(0, &Value::from_json_str(INPUT).unwrap())
}

/// Policies of every construct, and their meaning: `t`, `f`, or an error `e`.
pub(super) const MEANINGS: &[(&str, &str)] = &[
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
    ("allow if {\n x := {s | some s in input.segments}\n x == {\"v1\", \"items\", \"42\"}\n}", "t"),
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
    (
        "allow if roles.admin == {\"ann\"}\nroles[name] contains user if {\n some [name, user] in [[\"admin\", \"ann\"], [\"dev\", \"bob\"]]\n}",
        "t",
    ),
    ("allow if limits.items == 5\nlimits[name] := n if some name, n in {\"items\": 5, \"users\": 3}", "t"),
    ("allow if {\n scopes := split(input.context.jwt.scope, \" \")\n \"items:read\" in scopes\n}", "t"),
    ("allow if net.cidr_contains(\"10.0.0.0/8\", input.context.source_ip)", "t"),
    ("allow if glob.match(\"/v1/items/*\", [\"/\"], input.path)", "t"),
    ("allow if regex.match(`^/v1/items/\\d+$`, input.path)", "t"),
    ("allow if startswith(input.principal, \"spiffe://market.example/\")", "t"),
    ("allow if {\n ns := time.parse_rfc3339_ns(input.context.time)\n [h, _, _] := time.clock([ns, \"Europe/Berlin\"])\n h == 11\n}", "t"),
    ("allow if count(numbers.range(1, 10)) == 10", "t"),
    ("allow if sum([x | some x in numbers.range(1, 100)]) == 5050", "t"),
    ("allow if {\n x := {1, 2} & {2, 3}\n x == {2}\n}", "t"),
    ("allow if {\n x := {1, 2} | {2, 3}\n x == {1, 2, 3}\n}", "t"),
    ("allow if {\n x := {1, 2} - {2, 3}\n x == {1}\n}", "t"),
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
    ("allow if crypto.sha256(\"a\") == \"ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb\"", "t"),
    ("allow if net.cidr_intersects(\"10.0.0.0/8\", \"10.1.0.0/16\")", "t"),
    ("allow if count(numbers.range(1, count(input.segments))) == 3", "t"),
    ("allow if count(numbers.range(1, count(input.segments) * 10000)) == 3", "e"),
    ("allow if units.parse(\"1e999k\") > 1", "e"),
    ("allow if walk(input, [[\"segments\", 1], \"items\"])", "t"),
    ("allow if {\n some path\n walk(input, [path, \"eu\"])\n path[_] == \"x-tenant\"\n}", "t"),
    ("allow if sprintf(input.method, []) == \"GET\"", "t"),
    ("allow if sprintf(\"%999999999d\", [1]) == \"\"", "e"),
    ("allow if sprintf(\"%\u{b2}d\", [1]) == \"\"", "f"),
    ("allow if count(net.cidr_expand(\"10.0.0.0/8\")) > 1", "e"),
    ("allow if count(net.cidr_expand(\"10.0.0.0/30\")) == 4", "t"),
    ("allow if {\n y := {x | x := input.segments[_]; x != \"v1\"}\n y == {\"items\", \"42\"}\n}", "t"),
    ("allow if {\n not any_bad\n}\nany_bad if {\n some s in input.segments\n s == \"bad\"\n}", "t"),
    ("allow if {\n count({s | some s in input.segments; not startswith(s, \"v\")}) == 2\n}", "t"),
    ("allow if {\n every s in input.segments {\n  every c in [1, 2] { count(s) >= c }\n }\n}", "t"),
];

#[test]
fn a_slip_in_the_name_of_a_rule_is_told() {
    for (name, meant) in [("alow", "allow"), ("deyn", "deny"), ("Allow", "allow"), ("denny", "deny")] {
        let text = format!("package portreeve.x\n\n{name} if input.method == \"GET\"\n");
        let found = RegoModules::compile(&[("a.rego", &text)]).unwrap_err();
        assert!(
            found.iter().any(|d| d.code == "rego-head" && d.help.as_deref().is_some_and(|h| h.contains(&format!("`{meant}`")))),
            "{name}: {found:?}"
        );
    }
    for name in ["allowed", "denied", "reasons"] {
        let text = format!("package portreeve.x\n\n{name} if input.method == \"GET\"\nallow if {name}\n");
        assert!(RegoModules::compile(&[("a.rego", &text)]).is_ok(), "{name}");
    }
}

#[test]
fn every_construct_has_its_meaning() {
    let mut faults = Vec::new();
    for (body, want) in MEANINGS {
        let got = match run(&module(body)) {
            Ok(true) => "t".to_owned(),
            Ok(false) => "f".to_owned(),
            Err(e) => format!("e {e}"),
        };
        if !got.starts_with(want) {
            faults.push(format!("{body}\n  wanted {want}, got {got}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn older_modules_say_so() {
    let v0 = "# METADATA\n# custom: {portreeve: {rego_version: 0}}\npackage portreeve.t\n";
    for (body, want) in [
        ("allow { input.method == \"GET\" }", true),
        ("default allow = false\nallow { input.method == \"POST\" }", false),
        ("deny[msg] { input.method == \"GET\"; msg := \"no\" }", true),
        ("deny[msg] { input.method == \"POST\"; msg := \"no\" }", false),
        ("allow { input.segments[_] == \"items\" }", true),
    ] {
        assert_eq!(run(&format!("{v0}{body}\n")), Ok(want), "{body}");
    }
    assert!(RegoModules::compile(&[("a.rego", &module("allow { true }"))]).is_err());
    // The two syntaxes work together.
    let files = [("a.rego", format!("{v0}f(x) {{ x == \"GET\" }}\n")), ("b.rego", module("allow if f(input.method)"))];
    let modules = RegoModules::compile(&files.each_ref().map(|(f, t)| (*f, t.as_str()))).unwrap();
    assert_eq!(modules.evaluate(0, &Value::from_json_str(INPUT).unwrap()), Ok(true));
}

/// What is refused, with the place of it (line and column) and a word of the message or of the way out.
const REFUSALS: &[(&str, u32, u32, &str)] = &[
    ("allow if time.now_ns() > 0", 2, 10, "input.context.time"),
    ("allow if rand.intn(\"a\", 3) == 1", 2, 10, "facts in `input`"),
    ("allow if uuid.rfc4122(\"a\") == \"\"", 2, 10, "another answer every time"),
    ("allow if opa.runtime().env.HOME", 2, 10, "reads the host"),
    ("allow if http.send({\"method\": \"get\", \"url\": \"http://x\"}).status_code == 200", 2, 10, "asks the network"),
    ("allow if io.jwt.decode(\"a\")", 2, 10, "verified claims are in `input.context.jwt`"),
    ("allow if {\n  [_, p, _] := io.jwt.decode_verify(input.token, {})\n}", 3, 16, "verified claims"),
    ("allow if net.lookup_ip_addr(\"localhost\")", 2, 10, "net.cidr_contains"),
    ("allow if crypto.x509.parse_certificates(\"a\")", 2, 10, "are verified before a policy"),
    ("allow if net.cidr_merge([], x)\nx := 1", 2, 10, "write `x := net.cidr_merge(…)`"),
    ("allow if trace(\"a\")", 2, 10, "remove it"),
    ("allow if print(\"a\")", 2, 10, "remove it"),
    ("allow if graph.reachable_paths({}, [])", 2, 10, "graph.reachable"),
    ("allow if count(walk(input)) > 1", 2, 16, "walk(x, [path, value])"),
    ("allow if yaml.unmarshal(\"a\")", 2, 10, "json.unmarshal"),
    ("allow if uuid.parse(\"a\")", 2, 10, "regex.match"),
    ("allow if json.match_schema({}, {})", 2, 10, "fixed shape"),
    ("allow if count(numbers.range(1, 1000000)) > 1", 2, 16, "too many"),
    ("allow if count(numbers.range_step(1, 10, 0)) > 1", 2, 16, "above zero"),
    ("allow if bits.lsh(1, input.n) > 1", 2, 10, "visible bound"),
    ("allow if bits.lsh(1, 1000000) > 1", 2, 10, "visible bound"),
    ("allow if time.clock([1, \"Local\"])", 2, 10, "Local"),
    ("allow if {\n  zone := [1, \"Local\"]\n  time.clock(zone)\n}", 4, 3, "time zone"),
    ("allow if time.weekday([1, input.zone]) == \"Monday\"", 2, 10, "time zone"),
    ("allow if nonsense(1)", 2, 10, "no function `nonsense`"),
    ("allow if startwith(\"a\", \"b\")", 2, 10, "did you mean `startswith`?"),
    ("allow if f(1) with input as {}\nf(x) := x", 2, 15, "`with`"),
    ("allow if f(1) with data.x as {}\nf(x) := x", 2, 15, "`with`"),
    // Not reached by any `allow`, and refused all the same.
    ("allow := true\nother if time.now_ns() > 0", 3, 10, "reads a clock"),
    ("allow := true\nother := [x | x := rand.intn(\"a\", 2)]", 3, 20, "every time"),
    ("allow := true\nother[opa.runtime().x] := 1", 3, 7, "reads the host"),
    ("allow := true if { 1 == 2 } else := time.now_ns()", 2, 37, "reads a clock"),
    ("default f(_) := 1\nf(x) := x\nallow if f(f(f(trace(\"a\"))))", 4, 16, "`trace`"),
    ("allow if data.members[_] == 1", 2, 10, "no `data.members"),
    ("import data.portreeve.lib\nallow if lib.x", 2, 8, "no `data.portreeve.lib`"),
    ("import data.roles as time\nallow if time.x", 2, 8, "hide the built-in"),
    ("allow if data[input.x].y", 2, 10, "as a whole"),
    ("allow if count(data) > 0", 2, 16, "as a whole"),
    ("time.parse_ns(x, y) := x\nallow if time.parse_ns(1, 2)", 2, 1, "hide the built-in"),
    ("allow(x) if x", 2, 1, "takes arguments"),
    ("sub.allow if input.x", 2, 1, "package portreeve.t.sub"),
    ("allow[x] := 1 if some x in [1]", 2, 1, "contains reason"),
    ("p[q].r contains s if {\n some q, s in [1]\n}\np.b.r contains 1\nallow if p.b.r[1]", 2, 1, "computed here"),
    ("f(a, b, c, d, e, g, h, i, j) := 1\nallow if true", 2, 1, "more than 8 arguments"),
    ("allow if f(1)\nf(x) if g(x)\ng(x) if f(x)", 3, 1, "depends on itself"),
    ("allow if b\nb if allow", 2, 1, "depends on itself"),
    ("allow if {\n  input.x ==\n}", 4, 1, "expecting"),
    ("allow if {\n  x := \"abc\n}", 3, 12, "invalid character in string"),
    ("allow { true }", 2, 7, "`if`"),
    ("allow if undefined_name == 1", 2, 10, "undefined_name"),
    ("allow if {\n  x := 1\n  x := 2\n}", 3, 3, "`x` used before"),
    ("f(x) := 1\nf(x, y) := 2\nallow if f(1) == 1", 3, 1, "f"),
];

#[test]
fn a60_what_is_refused_is_named_with_its_place() {
    let mut faults = Vec::new();
    for (body, line, column, word) in REFUSALS {
        match RegoModules::compile(&[("a.rego", &module(body))]) {
            Ok(_) => faults.push(format!("{body}\n  passed")),
            Err(found) => {
                let fits = |d: &crate::Diagnostic| {
                    let at = d.location.as_ref();
                    (d.message.contains(word) || d.help.as_deref().is_some_and(|h| h.contains(word)))
                        && at.is_some_and(|at| (at.line, at.column, at.file.as_str()) == (*line, *column, "a.rego"))
                };
                if !found.iter().any(fits) || found.iter().any(|d| d.message.contains("-->") || d.message.contains("Span")) {
                    let found: String = found.iter().map(crate::Diagnostic::render).collect();
                    faults.push(format!("{body}\n  wanted {line}:{column} {word}, got {found}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn packages_and_files() {
    let input = Value::from_json_str(INPUT).unwrap();
    let modules = RegoModules::compile(&[
        ("lib.rego", "package portreeve.lib\nmembers := {\"invoices\"}\nis_member(x) if x in members\n"),
        ("items.rego", "# METADATA\n# custom:\n#   portreeve:\n#     services: [items]\npackage portreeve.items\nimport data.portreeve.lib\nallow if lib.is_member(input.source.service)\ndeny contains \"late\" if input.context.time > \"2027\"\n"),
        ("envoy.rego", "package envoy.authz\nimport data.portreeve.lib.members as m\ndefault allow := false\nallow if m[input.source.service]\n"),
        ("items_test.rego", "package portreeve.items_test\ntest_it if rand.intn(\"a\", 2) == 1 with input as {}\n"),
    ])
    .unwrap();
    let seen: Vec<_> = modules
        .rules()
        .iter()
        .enumerate()
        .map(|(i, r)| {
            let answer = modules.evaluate(i, &input).unwrap();
            (&*r.id, r.effect.as_str(), r.at.short(), r.services.clone(), r.reads_time, answer)
        })
        .collect();
    let items = Some(vec!["items".to_owned()]);
    assert_eq!(
        seen,
        [
            ("envoy.authz.allow", "allow", "envoy.rego:3".to_owned(), None, false, true),
            ("portreeve.items.allow", "allow", "items.rego:7".to_owned(), items.clone(), false, true),
            ("portreeve.items.deny", "deny", "items.rego:8".to_owned(), items, true, false),
        ]
    );
    assert_eq!(modules.evaluate(3, &input), Err(RegoError::NoSuchRule));
    assert!(RegoModules::compile(&[]).unwrap().rules().is_empty());
    for (file, text, word) in [
        ("a.rego", "package members\nx := 1\n", "never asked"),
        ("a.rego", "package portreeve_x\nallow := true\n", "never asked"),
        ("a.rego", "", "package"),
    ] {
        let found = RegoModules::compile(&[(file, text)]).unwrap_err();
        assert!(found[0].message.contains(word) && found[0].location.is_some(), "{found:?}");
    }
    let split = "package portreeve.t\nallow if input.x\n";
    let limited = "# METADATA\n# custom: {portreeve: {services: [a]}}\npackage portreeve.t\nallow if input.y\n";
    let found = RegoModules::compile(&[("a.rego", split), ("b.rego", limited)]).unwrap_err();
    assert_eq!(found[0].code, "rego-metadata", "{found:?}");
}

#[test]
fn reading_the_time_is_never_missed() {
    for (body, want) in [
        ("allow if input.context.time > \"2026\"", true),
        ("allow if input.context[\"time\"] > \"2026\"", true),
        ("allow if input.context[input.x] > \"2026\"", true),
        ("allow if {\n c := input.context\n c.time > \"2026\"\n}", true),
        ("allow if f(input)\nf(i) if i.context.time > \"2026\"", true),
        ("allow if late\nlate if input.attributes.request.time > \"2026\"", true),
        ("import input.context as c\nallow if c.time > \"2026\"", true),
        ("import input as i\nallow if i.context.time > \"2026\"", true),
        ("allow if data.portreeve.t.late\nlate if input.context.time > \"2026\"", true),
        ("allow if some k, v in input.context", true),
        ("allow if input.method == \"GET\"\nlate if input.context.time > \"2026\"", false),
        ("allow if input.context.headers[input.x] == \"a\"", false),
        ("allow if input.attributes.request.http.method == \"GET\"", false),
    ] {
        assert_eq!(compile(&module(body)).rules()[0].reads_time, want, "{body}");
    }
}

#[test]
fn a61_the_budget_is_an_error_of_its_own_and_the_same_every_time() {
    let busy = module(
        "allow if {\n some a in numbers.range(1, 100)\n some b in numbers.range(1, 100)\n some c in numbers.range(1, 100)\n a + b + c == 1000\n}",
    );
    for _ in 0..2 {
        assert_eq!(run(&busy), Err(RegoError::Budget { rule: "portreeve.t.allow".into() }));
    }
    // Under `not` it stays an error, and a rule within its budget is not touched.
    let negated =
        module("allow if not busy\nbusy if {\n some a in numbers.range(1, 1000)\n some b in numbers.range(1, 1000)\n a + b == 0\n}");
    assert_eq!(run(&negated), Err(RegoError::Budget { rule: "portreeve.t.allow".into() }));
    let modest = module("allow if {\n some a in numbers.range(1, 50)\n some b in numbers.range(1, 50)\n a + b == 100\n}");
    assert_eq!(run(&modest), Ok(true));
}

#[test]
fn errors_name_the_place_and_the_words() {
    let error = run(&module("allow if {\n  to_number(\"x\") > 1\n}")).unwrap_err();
    assert_eq!(error.to_string(), "`portreeve.t.allow` could not be evaluated: could not parse string as number (a.rego:3)");
    let error = run(&module("allow := 1")).unwrap_err();
    assert_eq!(error.to_string(), "`portreeve.t.allow` is a number; it must be a boolean or a set of texts");
}

#[test]
fn the_deepest_policies_that_pass_fit_on_a_small_stack() {
    let chain = |n: usize| (0..n).map(|i| format!("r{i}(x) if r{}(x)\n", i + 1)).collect::<String>() + &format!("r{n}(x) if x == x\n");
    let deepest: Vec<(&str, String)> = vec![
        ("calls", format!("allow if r0(1)\n{}", chain(28))),
        ("brackets", format!("allow if x != 1\nx := {}1{}", "[".repeat(13), "]".repeat(13))),
        ("parens", format!("allow if {}true{}", "(".repeat(23), ")".repeat(23))),
        ("calls in calls", format!("allow if {}1{} == 1", "abs(".repeat(22), ")".repeat(22))),
        (
            "loops in calls",
            (0..28).map(|i| format!("r{i}(x) if {{\n{}r{}(x)\n}}\n", " some _ in [1]\n".repeat(15), i + 1)).collect::<String>()
                + "r28(x) if x == x\nallow if r0(1)\n",
        ),
        ("sum", format!("allow if 1{} == 80", " + 1".repeat(79))),
        ("fields", format!("allow if not input{}", ".a".repeat(80))),
        ("loops", format!("allow if {{\n{}true\n}}", (0..255).map(|i| format!(" some x{i} in [1]\n")).collect::<String>())),
        (
            "comprehensions",
            format!("allow if {}[1]{} == [1]", (0..11).map(|i| format!("[x{i} | some x{i} in ")).collect::<String>(), "]".repeat(11)),
        ),
        ("everys", format!("allow if {{\n{}true{}\n}}", "every x in [1] { ".repeat(11), " }".repeat(11))),
    ];
    for (name, body) in deepest {
        let text = module(&body);
        let worker = std::thread::Builder::new()
            .stack_size(2 << 20)
            .spawn(move || RegoModules::compile(&[("a.rego", &text)]).map(|m| m.evaluate(0, &Value::from_json_str(INPUT).unwrap())));
        let done = worker.unwrap().join().unwrap();
        assert_eq!(done.unwrap_or_else(|d| panic!("{name}: {d:?}")), Ok(true), "{name}");
    }
    let statements = format!("allow if {{\n{}true\n}}", " input.x\n".repeat(300));
    let calls = format!("allow if r0(1)\n{}", chain(40));
    let loops = (0..28).map(|i| format!("r{i}(x) if {{\n{}r{}(x)\n}}\n", " some _ in [1]\n".repeat(60), i + 1)).collect::<String>()
        + "r28(x) if x == x\n";
    for (text, word) in [(statements, "more than 256 statements"), (calls, "more than 32 deep"), (loops, "more than 1024 loops")] {
        let found = RegoModules::compile(&[("a.rego", &module(&text))]).unwrap_err();
        assert!(found[0].message.contains(word), "{found:?}");
    }
}

/// Compiling must not take a time that grows with the square of the bundle. The bound is wide; the square would be minutes.
#[test]
fn a_large_bundle_compiles_in_bounded_time() {
    let rules: String = (0..4000).map(|i| format!("r{i} if input.segments[0] == \"s{i}\"\n")).collect();
    let refused: String = (0..4000).map(|i| format!("r{i} if time.now_ns() > {i}\n")).collect();
    #[expect(clippy::disallowed_methods, reason = "the test measures; what it measures does not")]
    let begun = std::time::Instant::now();
    assert!(RegoModules::compile(&[("a.rego", &module(&format!("{rules}allow if r3999")))]).is_ok());
    assert!(RegoModules::compile(&[("a.rego", &module(&format!("{refused}allow if r3999")))]).unwrap_err().len() <= 4000);
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}

/// A value made deep by chains of literals must not end the process: not when it is compared, not when it is released.
#[test]
fn values_that_nest_in_each_other_do_not_exhaust_the_stack() {
    let nests = |first: &str| {
        (0..250).fold(String::new(), |out, i| {
            let inner = if i == 0 { first.to_owned() } else { format!("x{i}") };
            out + &format!(" x{} := {}{inner}{}\n", i + 1, "[".repeat(10), "]".repeat(10))
        })
    };
    let calls: String = (0..15).map(|i| format!(" z{} := g(z{i})\n", i + 1)).collect();
    for end in ["z15 != 1", "z15 == z15", "z15 < z14", "not z15 in {z14, z13}"] {
        let text = module(&format!("allow if {{\n z0 := 1\n{calls} {end}\n}}\ng(x) := x250 if {{\n{}}}\n", nests("x")));
        let worker = std::thread::Builder::new()
            .stack_size(1 << 20)
            .spawn(move || compile(&text).evaluate(0, &Value::from_json_str(INPUT).unwrap()).is_ok());
        assert!(worker.unwrap().join().unwrap(), "{end}");
    }
    let kept = module(&format!("allow := z15 if {{\n z0 := 1\n{calls}}}\ng(x) := x250 if {{\n{}}}\n", nests("x")));
    assert!(matches!(run(&kept), Err(RegoError::Type { found: "an array", .. })));
}

/// The evaluator tries the next definition of a function after one that spent the budget, so the tries are bounded before.
#[test]
fn a_spent_budget_is_not_spent_a_thousand_times() {
    let busy = " some a in numbers.range(1, 1000)\n some b in numbers.range(1, 1000)\n a + b == 0\n";
    let functions = |each: usize| {
        let calls: String = (0..each).map(|i| format!("f(x) if {{\n x != {i}\n g(x)\n}}\n")).collect();
        calls + &(0..each).map(|i| format!("g(x) if {{\n x != {i}\n{busy}}}\n")).collect::<String>()
    };
    let text = module(&format!("allow if f(9)\n{}", functions(3)));
    assert_eq!(run(&text), Err(RegoError::Budget { rule: "portreeve.t.allow".into() }));
    let found = RegoModules::compile(&[("a.rego", &module(&format!("allow if f(99)\n{}", functions(40))))]).unwrap_err();
    assert!(found[0].message.contains("more than 1024 ways"), "{found:?}");
}

/// Chained doublings, and every other way known to make something large in few steps: an error, in bounded time and memory.
#[test]
fn what_grows_without_bound_is_an_error() {
    let doubled = |step: &str| {
        let steps: String = (0..60).map(|i| format!(" x{} := {}\n", i + 1, step.replace('@', &format!("x{i}")))).collect();
        format!("allow if {{\n x0 := \"aaaaaaaa\"\n{steps} x60 != 1\n}}")
    };
    let lists = |step: &str| doubled(step).replace("\"aaaaaaaa\"", "[1, 2, 3]");
    for body in [
        doubled("concat(\"\", [@, @])"),
        doubled("sprintf(\"%s%s\", [@, @])"),
        doubled("replace(@, \"a\", \"aa\")"),
        doubled("replace(@, \"\", \"aa\")"),
        doubled("strings.replace_n({\"a\": \"aa\"}, @)"),
        doubled("regex.replace(@, \"(a+)\", \"$1$1\")"),
        doubled("hex.encode(@)"),
        doubled("base64.encode(base64.encode(@))"),
        doubled("json.marshal([@, @])"),
        doubled("json.marshal(json.marshal(@))"),
        doubled("concat(@, [@, @])"),
        lists("array.concat(@, @)"),
        lists("array.flatten([@, @])"),
        lists("json.unmarshal(json.marshal([@, @]))"),
        lists("[@, @]").replace(" x60 != 1", " walk(x60, [_, 7])"),
        lists("[sprintf(\"%v\", [[@, @]])]"),
        "allow if count([upper(s) | some i in numbers.range(1, 10000)]) > 0\ns := concat(\"\", [x | some i in numbers.range(1, 9000); x := \"0123456789\"])".to_owned(),
    ] {
        match RegoModules::compile(&[("a.rego", &module(&body))]) {
            // Lists that hold lists twice are seen before they are made.
            Err(found) => assert!(body.contains("[1, 2, 3]") && found[0].message.contains("stand in another"), "{body}: {found:?}"),
            Ok(_) => {
                let answer = run(&module(&body));
                assert!(matches!(&answer, Err(RegoError::Failed { why, .. }) if why.contains("bytes")), "{body}: {answer:?}");
            }
        }
    }
}

/// Comparing two values that share their parts takes as long as if nothing were shared.
#[test]
fn chained_doublings_of_literals_are_refused() {
    let chain = |n: usize, step: &str| {
        (0..n).fold(String::new(), |out, i| out + &format!(" x{} := {}\n", i + 1, step.replace('@', &format!("x{i}"))))
    };
    let calls = (0..28).fold(String::new(), |out, i| out + &format!("f{i}(x) := [y, y] if y := f{}(x)\n", i + 1));
    for (body, refused) in [
        (format!("allow if {{\n x0 := input.a\n{} x40 == 1\n}}", chain(40, "[@, @]")), true),
        (format!("allow if {{\n x0 := input.a\n{} x20 == 1\n}}", chain(20, "{\"a\": @, \"b\": [1, @, @]}")), true),
        (format!("allow if {{\n x0 := input.a\n{} x40 == 1\n}}", chain(40, "[@, 1]")), false),
        (format!("allow if {{\n x0 := input.a\n{} x9 == 1\n}}", chain(9, "[@, @]")), false),
        (format!("allow if {{\n x0 := input.a\n{} x9 == 1\n}}", chain(9, "d(@)")) + "\nd(x) := [x, x, x, x, x, x, x, x, x, x, x]", true),
        (format!("allow if f0(1)\n{calls}f28(x) := x"), false),
        // Reasons are made in the same way in many definitions.
        (
            "t(x) := sprintf(\"%v %v %v\", [x, x, x])\no(x) := {\"a\": x, \"b\": x, \"c\": x}\n".to_owned()
                + &"deny contains t(o(input.path)) if t(o(input.method)) != \"\"\n".repeat(40),
            false,
        ),
        (format!("allow if f0(1)\n{}f28(x) := x", calls.replace("[y, y]", "[y, y, y]")), true),
    ] {
        let found = RegoModules::compile(&[("a.rego", &module(&body))]);
        let told = found.as_ref().is_err_and(|f| f[0].message.contains("more than 1073741824 times"));
        assert_eq!(told, refused, "{body}: {found:?}");
    }
}
