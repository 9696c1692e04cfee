//! Random inventories, policies and requests, small enough that they often meet.
//!
//! The test that includes this also includes `dice` and `conditions`.

use std::fmt::Write as _;

use crate::dice::Dice;

const SERVICES: [&str; 5] = ["a", "b", "c", "d", "e"];
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "DELETE", "HEAD", "PURGE"];
const OPERATIONS: [&str; 4] = ["one", "two", "rest", "port"];
const PATHS: [&str; 8] = ["/one", "/one/x", "/two/7", "/two/7/8", "/files/a/b", "/files", "/other", "/two/%C3%A9"];
const TENANTS: [&str; 3] = ["eu", "us", "x, eu"];

/// Five services of one form, and two groups.
pub(crate) fn inventory(dice: &mut Dice) -> String {
    let mut out = String::new();
    for name in SERVICES {
        let pattern = if name == "e" { r#", "spiffe://t.example/job/*/e""# } else { "" };
        let _ = write!(
            out,
            "kind: Service\nname: {name}\nidentities: [spiffe://t.example/sa/{name}, spiffe://t.example/sa/{name}2{pattern}]\nzone: {}\ndata: [{}]\n\
             headers: {{x-tenant: string, x-role: list}}\nquery: {{n: integer, full: boolean}}\nclaims: {{tenant: string, level: integer, roles: list}}\n\
             operations:\n  - {{id: one, method: GET, path: /one}}\n  - {{id: two, method: [GET, POST, PUT], path: \"/two/{{id}}\"}}\n  \
             - {{id: rest, method: [GET, PURGE], path: \"/files/{{rest*}}\"}}\n  - {{id: port, port: 5432}}\n---\n",
            dice.pick(&["edge", "core"]),
            dice.pick(&["pan", "none"]),
        );
    }
    let _ = write!(out, "kind: Group\nname: g\nmembers: [a, b]\n---\nkind: Group\nname: h\nmembers: [g, c]\n---\n");
    out
}

/// A permission about them.
pub(crate) fn permission(dice: &mut Dice, number: usize) -> String {
    let callers = [
        "a",
        "b",
        "c",
        "d",
        "g",
        "h",
        "any-authenticated",
        "spiffe://t.example/sa/d2",
        "spiffe://else.example/sa/x",
        "\"spiffe://t.example/job/*/e\"",
        "\"spiffe://t.example/**\"",
    ];
    let from: Vec<&str> = (0..=dice.below(2)).map(|_| dice.pick(&callers)).collect();
    let to: Vec<&str> = (0..=dice.below(2)).map(|_| dice.pick(&["a", "b", "c", "e", "g", "h"])).collect();
    let operations = match dice.below(4) {
        0 => "'*'".to_owned(),
        1 => "any-path".to_owned(),
        _ => format!("[{}]", dice.pick(&OPERATIONS)),
    };
    let effect = if dice.chance(25) { "deny" } else { "allow" };
    let methods = if dice.chance(25) { format!(", methods: [{}]", dice.pick(&METHODS)) } else { String::new() };
    let mut out = format!(
        "kind: Permission\nname: p{number}\n{effect}: {{from: [{}], to: [{}], operations: {operations}{methods}}}\n",
        from.join(", "),
        to.join(", ")
    );
    let conditions = [
        "jwt: {}",
        "jwt: {issuer: [i1, i2], scopes: [r]}",
        "jwt: {audience: a, scopes_any: [r, w]}",
        "jwt: {claims: {tenant: [eu, us], level: 3}}",
        "jwt: {claims: {roles: admin}}",
        "jwt: {issuer: i1, scopes: [r, w], claims: {tenant: eu}}",
        "jwt: {claims: {roles: [admin, user]}}",
        "source: [10.0.0.0/8, \"2001:db8::/32\"]",
        "source: [10.0.0.0/9, 10.1.0.0/16, 10.1.2.3]",
        "time: {from: \"08:00\", to: \"18:00\"}",
        "time: [{from: \"22:00\", to: \"06:00\"}]",
        "time: {from: \"08:00\", to: \"12:00\"}",
        "not_before: 2026-06-01",
        "not_before: 2026-11-22T09:59:59.999Z",
        "expires: 2026-11-22T10:00:00Z",
        "headers: {x-role: admin}",
        "query: {n: [1, 2]}",
        "query: {n: 3, full: true}",
        "query: {full: true}",
    ];
    let mut picked: Vec<&str> = (0..dice.below(3)).map(|_| dice.pick(&conditions)).collect();
    if effect == "allow" && dice.chance(10) {
        picked.push("headers: {x-tenant: eu}");
    }
    picked.sort_unstable();
    picked.dedup_by_key(|c| c.split(':').next().unwrap().to_owned());
    if !picked.is_empty() {
        let _ = writeln!(out, "when:\n  {}", picked.join("\n  "));
    }
    out.push_str("---\n");
    out
}

/// A Cedar policy about them.
pub(crate) fn cedar(dice: &mut Dice, number: usize) -> String {
    let effect = if dice.chance(40) { "forbid" } else { "permit" };
    let principal = dice.pick(&[
        "principal",
        "principal in Service::\"a\"",
        "principal in Group::\"h\"",
        "principal == Workload::\"spiffe://t.example/sa/b2\"",
        "principal is Workload",
        "principal is Workload in Service::\"c\"",
    ]);
    let action = dice.pick(&[
        "action",
        "action == Action::\"GET\"",
        "action in [Action::\"PUT\", Action::\"connect\"]",
        "action in Action::\"write\"",
        "action in [Action::\"read\", Action::\"PURGE\"]",
    ]);
    let resource = dice.pick(&[
        "resource",
        "resource == Operation::\"b/two\"",
        "resource in Service::\"e\"",
        "resource in Group::\"g\"",
        "resource == Operation::\"a/*\"",
        "resource is Operation",
    ]);
    if dice.chance(60) {
        let depth = 1 + dice.below(4);
        let condition = crate::conditions::condition(dice, depth);
        let clause = dice.pick(&["when", "unless"]);
        return format!("@id(\"c{number}\")\n{effect}({principal}, {action}, {resource}) {clause} {{ {condition} }};\n");
    }
    let condition = dice.pick(&[
        "",
        " when { context has jwt && context.jwt has level && context.jwt.level + 9223372036854775800 > 5 }",
        " when { context.query has n && context.query.n * 3074457345618258603 > 0 }",
        " unless { context.headers has \"x-tenant\" && context.headers[\"x-tenant\"] == \"eu\" }",
        " when { resource.data.contains(\"pan\") }",
        " when { principal in Service::\"b\" || principal in Service::\"e\" }",
        " when { context has source_ip && context.source_ip.isIpv4() && !context.source_ip.isLoopback() }",
        " when { Service::\"a\" has zone && Service::\"a\".zone == \"edge\" }",
        " when { context.time.toTime() < duration(\"12h\") }",
    ]);
    format!("@id(\"c{number}\")\n{effect}({principal}, {action}, {resource}){condition};\n")
}

/// A request to one of them, perhaps malformed.
pub(crate) fn request(dice: &mut Dice) -> String {
    let ids = [
        "t.example/sa/a",
        "t.example/sa/b2",
        "t.example/sa/c",
        "t.example/sa/d2",
        "t.example/sa/e",
        "t.example/job/k/e",
        "t.example/job/k/l/e",
        "t.example/other",
        "else.example/sa/x",
    ];
    let target = if dice.chance(12) {
        format!("\"port\":{}", dice.pick(&["5432", "80"]))
    } else {
        let query = dice.pick(&["", "?n=1", "?n=3&full=true", "?n=x", "?full=false&full=true"]);
        format!("\"method\":\"{}\",\"path\":\"{}{query}\"", dice.pick(&METHODS), dice.pick(&PATHS))
    };
    let mut context = format!(
        "\"time\":\"{}\"",
        dice.pick(&[
            "2026-11-22T10:00:00Z",
            "2026-01-05T07:59:59.999Z",
            "2026-06-01T00:00:00Z",
            "1969-12-31T23:00:00Z",
            "2026-11-22T09:59:59.999Z"
        ])
    );
    if dice.chance(60) {
        let _ =
            write!(context, ",\"source_ip\":\"{}\"", dice.pick(&["10.1.2.3", "127.0.0.1", "2001:db8::1", "::ffff:10.0.0.1", "fe80::1"]));
    }
    if dice.chance(50) {
        let role = dice.pick(&["\"admin\"", "\"user, admin\"", "[\"user\",\"x\"]", "\"\""]);
        let _ = write!(context, ",\"headers\":{{\"x-tenant\":\"{}\",\"x-role\":{role},\"x-hidden\":\"y\"}}", dice.pick(&TENANTS));
    }
    if dice.chance(60) {
        let tenant = dice.pick(&[
            "",
            ",\"tenant\":\"eu\"",
            ",\"tenant\":\"de\",\"level\":3",
            ",\"level\":9,\"roles\":[\"admin\"]",
            ",\"roles\":\"user\"",
            ",\"tenant\":1",
        ]);
        let scope = dice.pick(&["", ",\"scope\":\"r\"", ",\"scope\":\"w  r\""]);
        let _ = write!(
            context,
            ",\"jwt\":{{\"iss\":\"{}\",\"sub\":\"s\",\"aud\":[\"{}\"]{scope}{tenant}}}",
            dice.pick(&["i1", "i3"]),
            dice.pick(&["a", "b"])
        );
    }
    format!(
        "{{\"principal\":\"spiffe://{}\",\"service\":\"{}\",{target},\"context\":{{{context}}}}}",
        dice.pick(&ids),
        dice.pick(&SERVICES)
    )
}
