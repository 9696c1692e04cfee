//! Random Cedar conditions over the inventory of the generated bundles: every operator and extension type, well typed, with
//! attributes read only where a guard has shown that they are there.
//!
//! Entities: services `a` to `e` with `zone` and `data`, groups `g` and `h`, operations `one`, `two`, `rest`, `port` of each
//! service. Context: headers `x-tenant` (text) and `x-role` (list), query `n` (whole number) and `full` (boolean), claims
//! `tenant` (text), `level` (whole number) and `roles` (list).

use super::dice::Dice;

/// What the guards around an expression have shown to be there.
#[derive(Clone, Copy, Default)]
struct Known {
    ip: bool,
    token: bool,
    tenant: bool,
    level: bool,
    roles: bool,
    header: bool,
    role: bool,
    n: bool,
    full: bool,
}

/// A condition of about this depth. It can err where arithmetic overflows.
pub(crate) fn condition(dice: &mut Dice, depth: usize) -> String {
    truth(dice, depth, Known::default())
}

fn guard(dice: &mut Dice, known: Known) -> (String, Known) {
    let k = known;
    let token = if k.token { "" } else { "context has jwt && " };
    match dice.below(9) {
        0 => ("context has source_ip".to_owned(), Known { ip: true, ..k }),
        1 => ("context has jwt".to_owned(), Known { token: true, ..k }),
        2 => (format!("{token}context.jwt has tenant"), Known { token: true, tenant: true, ..k }),
        3 => (format!("{token}context.jwt has \"level\""), Known { token: true, level: true, ..k }),
        4 => ("context has jwt.roles".to_owned(), Known { token: true, roles: true, ..k }),
        5 => ("context.headers has \"x-tenant\"".to_owned(), Known { header: true, ..k }),
        6 => ("context.headers has \"x-role\"".to_owned(), Known { role: true, ..k }),
        7 => ("context.query has n".to_owned(), Known { n: true, ..k }),
        _ => ("context has query.full".to_owned(), Known { full: true, ..k }),
    }
}

fn truth(dice: &mut Dice, depth: usize, k: Known) -> String {
    if depth == 0 {
        return fact(dice, k);
    }
    let d = depth - 1;
    match dice.below(16) {
        0 => format!("!({})", truth(dice, d, k)),
        1 => format!("({} && {})", truth(dice, d, k), truth(dice, d, k)),
        2 => format!("({} || {})", truth(dice, d, k), truth(dice, d, k)),
        3 => format!("(if {} then {} else {})", truth(dice, d, k), truth(dice, d, k), truth(dice, d, k)),
        4 | 5 => {
            let (guard, known) = guard(dice, k);
            format!("({guard} && {})", truth(dice, d, known))
        }
        6 => {
            let (guard, known) = guard(dice, k);
            format!("(if {guard} then {} else {})", truth(dice, d, known), truth(dice, d, k))
        }
        7 => {
            let (guard, known) = guard(dice, k);
            format!("(if {guard} then {} else true)", truth(dice, d, known))
        }
        8 => format!("({} {} {})", number(dice, d, k), comparison(dice), number(dice, d, k)),
        9 => format!("({} {} {})", text(dice, d, k), dice.pick(&["==", "!="]), text(dice, d, k)),
        10 => texts(dice, d, k),
        11 => format!("({} {} {})", instant(dice, d), comparison(dice), instant(dice, d)),
        12 => format!("({} {} {})", span(dice, d), comparison(dice), span(dice, d)),
        13 => format!("{{a: {}, \"b c\": {}}}{}", truth(dice, d, k), number(dice, d, k), dice.pick(&[".a", "[\"a\"]", " has a"]))
            .replace("} has a", "}.a"),
        14 => format!("{{r: {{t: {}}}}}.r.t == {}", text(dice, d, k), text(dice, d, k)),
        _ => address(dice, k),
    }
}

fn comparison(dice: &mut Dice) -> &'static str {
    dice.pick(&["<", "<=", ">", ">=", "==", "!="])
}

fn fact(dice: &mut Dice, k: Known) -> String {
    let fixed = [
        "true",
        "false",
        "principal == Workload::\"spiffe://t.example/sa/b2\"",
        "principal != Workload::\"spiffe://t.example/job/k/e\"",
        "principal in Service::\"b\"",
        "principal in [Service::\"a\", Service::\"c\"]",
        "principal in Workload::\"spiffe://t.example/sa/a\"",
        "principal is Workload",
        "principal is Workload in Group::\"g\"",
        "[Workload::\"spiffe://t.example/sa/c\", principal].contains(Workload::\"spiffe://t.example/sa/c\")",
        "action == Action::\"GET\"",
        "action in Action::\"write\"",
        "action in [Action::\"connect\", Action::\"read\"]",
        "resource == Operation::\"b/two\"",
        "resource in Service::\"e\"",
        "resource is Operation in Group::\"g\"",
        "resource != Operation::\"a/*\"",
        "resource.data.contains(\"pan\")",
        "resource.data.isEmpty()",
        "Service::\"a\" in Group::\"h\"",
        "Service::\"a\" has zone && Service::\"a\".zone == \"edge\"",
        "Service::\"c\" has labels.tier",
        "Service::\"d\".data == resource.data",
        "context has source_ip",
        "context has jwt",
        "context has jwt.tenant",
        "context.headers has \"x-role\"",
        "context.query has full && context.query.full",
        "decimal(\"1.5\").lessThan(decimal(\"2.0\"))",
        "context.time.toTime() < duration(\"12h\")",
        "context.time.toDate() == datetime(\"2026-11-22\")",
        "context.time >= datetime(\"2026-06-01T00:00:00+0130\")",
        "[datetime(\"2026-11-22T10:00:00Z\"), datetime(\"2026-06-01\")].contains(context.time)",
        "context.time.durationSince(datetime(\"2026-05-01\")).toDays() < 31",
        "context.time.toTime().toHours() == 9",
        "context.headers == context.headers",
    ];
    match dice.below(fixed.len() + 6) {
        0 if k.full => "context.query.full".to_owned(),
        1 if k.token => {
            dice.pick(&["context.jwt.iss == \"i1\"", "context.jwt.aud.contains(\"a\")", "context.jwt.sub like \"*s\""]).to_owned()
        }
        2 if k.token => dice.pick(&["context.jwt.scopes.containsAll([\"r\", \"w\"])", "context.jwt has scope"]).to_owned(),
        3 if k.tenant => "context.jwt.tenant like \"e*\"".to_owned(),
        4 if k.level => "context.jwt.level > 3".to_owned(),
        5 if k.role => "context.headers[\"x-role\"].containsAny([\"admin\", \"x\"])".to_owned(),
        n => fixed[n % fixed.len()].to_owned(),
    }
}

fn number(dice: &mut Dice, depth: usize, k: Known) -> String {
    if depth > 0 {
        let d = depth - 1;
        match dice.below(7) {
            0 => return format!("({} + {})", number(dice, d, k), number(dice, d, k)),
            1 => return format!("({} - {})", number(dice, d, k), number(dice, d, k)),
            2 => return format!("({} * {})", number(dice, d, k), number(dice, d, k)),
            3 => return format!("-({})", number(dice, d, k)),
            4 => return format!("(if {} then {} else {})", truth(dice, d, k), number(dice, d, k), number(dice, d, k)),
            5 => {
                let unit = dice.pick(&["toMilliseconds", "toSeconds", "toMinutes", "toHours", "toDays"]);
                return format!("{}.{unit}()", span(dice, d));
            }
            _ => {}
        }
    }
    match dice.below(4) {
        0 if k.level => "context.jwt.level".to_owned(),
        1 if k.n => "context.query.n".to_owned(),
        _ => dice.pick(&["0", "1", "3", "-7", "60", "9223372036854775807", "-9223372036854775808", "4611686018427387904"]).to_owned(),
    }
}

fn text(dice: &mut Dice, depth: usize, k: Known) -> String {
    if depth > 0 && dice.chance(25) {
        return format!("(if {} then {} else {})", truth(dice, depth - 1, k), text(dice, depth - 1, k), text(dice, depth - 1, k));
    }
    match dice.below(5) {
        0 if k.tenant => "context.jwt.tenant".to_owned(),
        1 if k.token => "context.jwt.sub".to_owned(),
        2 if k.header => "context.headers[\"x-tenant\"]".to_owned(),
        _ => dice.pick(&["\"eu\"", "\"us\"", "\"s\"", "\"\"", "\"x, \\u{65}u\""]).to_owned(),
    }
}

/// A truth about a set of texts.
fn texts(dice: &mut Dice, depth: usize, k: Known) -> String {
    let set = |dice: &mut Dice| match dice.below(7) {
        0 if k.token => "context.jwt.scopes".to_owned(),
        1 if k.token => "context.jwt.aud".to_owned(),
        2 if k.roles => "context.jwt.roles".to_owned(),
        3 if k.role => "context.headers[\"x-role\"]".to_owned(),
        4 => "resource.data".to_owned(),
        5 => "Service::\"b\".data".to_owned(),
        _ => format!("[{}, {}]", text(dice, depth.min(1), k), text(dice, 0, k)),
    };
    let left = set(dice);
    match dice.below(5) {
        0 => format!("{left}.contains({})", text(dice, depth, k)),
        1 => format!("{left}.containsAll({})", set(dice)),
        2 => format!("{left}.containsAny({})", set(dice)),
        3 => format!("{left}.isEmpty()"),
        _ => format!("({left} == {})", set(dice)),
    }
}

fn instant(dice: &mut Dice, depth: usize) -> String {
    if depth > 0 {
        match dice.below(4) {
            0 => return format!("{}.offset({})", instant(dice, depth - 1), span(dice, depth - 1)),
            1 => return format!("{}.toDate()", instant(dice, depth - 1)),
            _ => {}
        }
    }
    dice.pick(&[
        "context.time",
        "context.time",
        "context.time",
        "datetime(\"2026-11-22T10:00:00Z\")",
        "datetime(\"2026-06-01\")",
        "datetime(\"1969-12-31T23:30:00.000Z\")",
        "datetime(\"2026-01-05T08:00:00.001+0001\")",
    ])
    .to_owned()
}

fn span(dice: &mut Dice, depth: usize) -> String {
    if depth > 0 {
        match dice.below(3) {
            0 => return format!("{}.toTime()", instant(dice, depth - 1)),
            1 => return format!("{}.durationSince({})", instant(dice, depth - 1), instant(dice, depth - 1)),
            _ => {}
        }
    }
    dice.pick(&["duration(\"10h\")", "duration(\"-36h30m\")", "duration(\"1ms\")", "duration(\"0ms\")", "duration(\"106751991167d\")"])
        .to_owned()
}

fn address(dice: &mut Dice, k: Known) -> String {
    let one = |dice: &mut Dice| {
        if k.ip && dice.chance(70) {
            "context.source_ip"
        } else {
            dice.pick(&["ip(\"10.0.0.0/8\")", "ip(\"127.0.0.1\")", "ip(\"2001:db8::/32\")", "ip(\"ff02::1\")", "ip(\"10.1.2.3\")"])
        }
    };
    let left = one(dice);
    match dice.below(6) {
        0 => format!("{left}.isIpv4()"),
        1 => format!("{left}.isIpv6()"),
        2 => format!("{left}.isLoopback()"),
        3 => format!("{left}.isMulticast()"),
        4 => format!("({left} == {})", one(dice)),
        _ => format!("{left}.isInRange({})", one(dice)),
    }
}
