//! Random Rego modules about the services of `policies`.

use crate::dice::Dice;

/// A module with an `allow` or a `deny` of up to three conditions, limited to some services or not.
pub(crate) fn module(dice: &mut Dice, number: usize) -> String {
    let limited = if dice.chance(40) {
        format!("# METADATA\n# scope: package\n# custom:\n#   portreeve:\n#     services: [{}]\n", dice.pick(&["a", "b, c", "e"]))
    } else {
        String::new()
    };
    let conditions = [
        "input.source.service == \"a\"",
        "input.source.service in {\"b\", \"c\"}",
        "input.service == \"e\"",
        "input.operation == \"two\"",
        "not input.operation",
        "input.method == \"PURGE\"",
        "input.method in {\"GET\", \"HEAD\"}",
        "startswith(input.path, \"/two\")",
        "input.parsed_path[0] == \"files\"",
        "count(input.segments) > 2",
        "input.port == 80",
        "input.principal == \"spiffe://t.example/sa/d2\"",
        "net.cidr_contains(\"10.0.0.0/8\", input.source.ip)",
        "\"x\" in input.context.headers[\"x-role\"]",
        "input.context.headers[\"x-tenant\"] == \"eu\"",
        "to_number(input.context.headers[\"x-tenant\"]) == 1",
        "input.context.query.n > 1",
        "input.context.query.full",
        "input.context.jwt.level >= 2",
        "input.context.jwt.tenant == \"eu\"",
        "\"admin\" in input.context.jwt.roles",
        "input.context.time < \"2026-06-01T00:00:00.000Z\"",
        "1 / input.context.query.n > 0",
    ];
    let body: Vec<&str> = (0..=dice.below(3)).map(|_| dice.pick(&conditions)).collect();
    let body = body.join("\n  ");
    let head = match dice.below(4) {
        0 => "allow if".to_owned(),
        1 => "deny if".to_owned(),
        2 => "deny contains \"reason\" if".to_owned(),
        _ => "default deny := false\n\ndeny if".to_owned(),
    };
    format!("{limited}package portreeve.r{number}\n\nimport rego.v1\n\n{head} {{\n  {body}\n}}\n")
}
